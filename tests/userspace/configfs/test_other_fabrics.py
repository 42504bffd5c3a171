from __future__ import annotations

import errno

import pytest

from tests.userspace.configfs.building import RAM, Box, fails

LOOP = "loopback/naa.5001405000000001"
VHOST = "vhost/naa.5001405000000003"


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.mark.parametrize("name", ["naa.5001405000000001", "naa.", "fc.1", "iqn.2003-01.org:x"])
def test_target_names(box: Box, name: str) -> None:
    box.mkdirs("loopback", f"loopback/{name}", f"loopback/{name}/tpgt_1")


@pytest.mark.parametrize("name", ["foo", "eui.1"])
def test_what_is_no_target_name(box: Box, name: str) -> None:
    box.tree.mkdir("loopback")
    with fails(errno.EINVAL):
        box.tree.mkdir(f"loopback/{name}")


@pytest.mark.parametrize(("fabric", "tags"), [(LOOP, 32), (VHOST, 256)])
def test_tags_have_an_end(box: Box, fabric: str, tags: int) -> None:
    box.tpg(f"{fabric}/tpgt_{tags - 1}")
    for name in (f"tpgt_{tags}", "tpgt_x", "tpgt_", "x", "tpgt_0x10"):
        with fails(errno.EINVAL):
            box.tree.mkdir(f"{fabric}/{name}")


def test_loopback_has_one_place_a_tag(box: Box) -> None:
    """Where the spelling makes no difference; a kernel that takes both crashes."""
    box.tpg(f"{LOOP}/tpgt_1")
    with fails(errno.EINVAL):
        box.tree.mkdir(f"{LOOP}/tpgt_01")
    box.tpg(f"{VHOST}/tpgt_1")
    box.tree.mkdir(f"{VHOST}/tpgt_01")


@pytest.mark.parametrize(("fabric", "busy"), [(LOOP, errno.EPERM), (VHOST, errno.EBUSY)])
def test_a_nexus(box: Box, fabric: str, busy: int) -> None:
    path = f"{box.tpg(f'{fabric}/tpgt_1')}/nexus"
    with fails(errno.ENODEV):
        box.read(path)
    with fails(errno.ENODEV):
        box.write(path, "NULL")
    for name in ("foo", "iqn.2003-01.org:x", "naa." + "5" * 252):
        with fails(errno.EINVAL):
            box.write(path, name)
    box.write(path, "naa.5001405000000002\n")
    assert box.read(path) == "naa.5001405000000002\n"
    box.refuses(errno.EEXIST, path, "naa.5001405000000009")
    box.ramdisk()
    lun = box.lun(RAM, 0, f"{fabric}/tpgt_1")
    box.refuses(busy, path, "NULL")
    box.tree.unlink(f"{lun}/link")
    box.write(path, "NULL")
    with fails(errno.ENODEV):
        box.read(path)


def test_a_fibre_channel_nexus_loses_its_prefix(box: Box) -> None:
    path = f"{box.tpg('loopback/fc.1/tpgt_1')}/nexus"
    box.write(path, "fc.2")
    assert box.read(path) == "2\n"


def test_no_portals(box: Box) -> None:
    box.tpg(f"{LOOP}/tpgt_1")
    with fails(errno.ENOSYS):
        box.tree.mkdir(f"{LOOP}/tpgt_1/np/127.0.0.1:3260")


def test_transport_status(box: Box) -> None:
    path = f"{box.tpg(f'{LOOP}/tpgt_1')}/transport_status"
    box.takes(path, "offline", "online")
    box.refuses(errno.EINVAL, path, "bogus")


def test_scsi_hosts_are_numbered_from_the_lowest_free(box: Box) -> None:
    for name in ("naa.1", "naa.2"):
        box.tpg(f"loopback/{name}/tpgt_3")
    assert box.read("loopback/naa.2/tpgt_3/address") == "1:0:3\n"
    box.tree.rmdir("loopback/naa.1/tpgt_3")
    box.tree.rmdir("loopback/naa.1")
    box.tpg("loopback/naa.3/tpgt_3")
    assert box.read("loopback/naa.3/tpgt_3/address") == "0:0:3\n"


def test_protection_type(box: Box) -> None:
    path = f"{box.tpg(f'{VHOST}/tpgt_1')}/attrib/fabric_prot_type"
    box.takes(path, "1", "3", "0")
    box.refuses(errno.EINVAL, path, "2")


@pytest.mark.parametrize(("name", "number"), [("naa.1", 6), ("fc.1", 0), ("iqn.1", 5)])
def test_protocols(box: Box, name: str, number: int) -> None:
    box.ramdisk()
    lun = box.lun(RAM, 0, box.tpg(f"loopback/{name}/tpgt_1"))
    assert box.read(f"{lun}/statistics/scsi_transport/proto_id") == f"{number}\n"


def test_texts_call_a_fibre_channel_name_without_its_prefix(box: Box) -> None:
    box.ramdisk()
    lun = box.lun(RAM, 0, box.tpg("vhost/fc.5/tpgt_1"))
    assert box.read(f"{RAM}/alua/default_tg_pt_gp/members") == "vhost/5/tpgt_1/lun_0\n\0"
    assert box.read(f"{lun}/statistics/scsi_tgt_port/port_index") == "5+t+1\n"
    assert box.read(f"{lun}/statistics/scsi_transport/dev_name") == "5+LIO-ORG\n"
    assert box.read(f"{lun}/statistics/scsi_transport/proto_id") == "0\n"


def test_acls_are_taken(box: Box) -> None:
    acl = f"{box.tpg(f'{LOOP}/tpgt_1')}/acls/naa.9"
    box.tree.mkdir(acl)
    assert box.tree.listdir(acl) == ["fabric_statistics", "param", "auth", "attrib"]
    with fails(errno.ENOTEMPTY):
        box.tree.rmdir(f"{LOOP}/tpgt_1")
    box.tree.rmdir(acl)
