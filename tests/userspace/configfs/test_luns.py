from __future__ import annotations

import errno

import pytest

from tests.userspace.configfs.building import ACL, FILE, RAM, TPG, Box, fails

OTHER_TPG = "iscsi/iqn.2003-01.org.test:t1/tpgt_2"


@pytest.fixture
def box() -> Box:
    box = Box()
    box.fileio()
    box.ramdisk()
    box.tpg()
    box.tree.mkdir(ACL)
    return box


def tpg_of(box: Box) -> object:
    return box.tree.root.fabrics["iscsi"].targets["iqn.2003-01.org.test:t1"].tpgs[1]


@pytest.mark.parametrize(
    "name", ["lun_0", "lun_00", "lun_0x3", "lun_65536", "lun_18446744073709551615", "x_1"]
)
def test_lun_names(box: Box, name: str) -> None:
    box.tree.mkdir(f"{TPG}/lun/{name}")


@pytest.mark.parametrize("name", ["lun", "lun_", "lun_x", "lun_-1", "lun_1_2", "lun_1 "])
def test_what_is_no_lun_name(box: Box, name: str) -> None:
    with fails(errno.EINVAL):
        box.tree.mkdir(f"{TPG}/lun/{name}")
    if name != "lun":
        with fails(errno.EINVAL):
            box.tree.mkdir(f"{ACL}/{name}")


def test_a_mapped_lun_is_called_lun(box: Box) -> None:
    with fails(errno.EINVAL):
        box.tree.mkdir(f"{ACL}/x_1")


def test_two_names_of_one_number(box: Box) -> None:
    tpg = tpg_of(box)
    box.mkdirs(f"{TPG}/lun/lun_0", f"{TPG}/lun/lun_00")
    first = tpg.luns[0]  # type: ignore[attr-defined]
    box.tree.symlink(FILE, f"{TPG}/lun/lun_00/x")
    assert tpg.luns[0].dirname == "lun_00"  # type: ignore[attr-defined]
    box.tree.unlink(f"{TPG}/lun/lun_00/x")
    box.tree.rmdir(f"{TPG}/lun/lun_00")
    box.tree.symlink(FILE, f"{TPG}/lun/lun_0/x")
    assert tpg.luns == {0: first}  # type: ignore[attr-defined]


def test_removing_a_second_name_leaves_the_first(box: Box) -> None:
    box.lun(FILE)
    box.tree.mkdir(f"{TPG}/lun/lun_00")
    box.tree.rmdir(f"{TPG}/lun/lun_00")
    assert tpg_of(box).luns[0].device is not None  # type: ignore[attr-defined]


def test_linking(box: Box) -> None:
    box.fileio("core/fileio_0/off", enable=False)
    box.tree.mkdir(f"{TPG}/lun/lun_0")
    link = f"{TPG}/lun/lun_0/x"
    with fails(errno.ENODEV):
        box.tree.symlink("core/fileio_0/off", link)
    with fails(errno.EFAULT):
        box.tree.symlink(f"{TPG}/lun/lun_0", link)
    assert not box.calls("lun_changed")
    box.tree.symlink(FILE, link)
    with fails(errno.EEXIST):
        box.tree.symlink(RAM, f"{TPG}/lun/lun_0/second")
    assert box.read(f"{FILE}/info").startswith("Status: ACTIVATED")
    assert len(box.calls("lun_changed")) == 1
    box.tree.unlink(link)
    assert box.read(f"{FILE}/info").startswith("Status: DEACTIVATED")
    assert box.calls("lun_changed")[1].device is None


def test_relative_target_ports_are_not_used_again(box: Box) -> None:
    def index(lun: str) -> str:
        return box.read(f"{lun}/statistics/scsi_port/indx")

    first, second = box.lun(FILE, 0), box.lun(FILE, 1)
    assert (index(first), index(second)) == ("1\n", "2\n")
    box.tree.unlink(f"{first}/link")
    box.tree.symlink(FILE, f"{first}/link")
    assert index(first) == "3\n"
    assert index(box.lun(RAM, 2)) == "1\n"


def test_statistics_need_a_device(box: Box) -> None:
    box.mkdirs(f"{TPG}/lun/lun_0", f"{ACL}/lun_0")
    for path in (f"{TPG}/lun/lun_0/statistics/scsi_port/role", f"{ACL}/lun_0/statistics/scsi_auth_intr/dev"):
        with fails(errno.ENODEV):
            box.read(path)
    for path in (f"{TPG}/lun/lun_0/statistics", f"{FILE}/statistics", f"{ACL}/lun_0/statistics"):
        with fails(errno.ENOSYS):
            box.tree.mkdir(f"{path}/x")


def test_mapping(box: Box) -> None:
    lun = box.lun(FILE)
    box.now = 7.5
    mapped = box.mapped(lun)
    assert box.read(f"{mapped}/write_protect") == "0\n"
    assert box.read(f"{mapped}/statistics/scsi_auth_intr/creation_time") == "750\n"
    box.takes(f"{mapped}/write_protect", "1", "0")
    box.refuses(errno.EINVAL, f"{mapped}/write_protect", "2", "y")
    assert len(box.calls("mapped_lun_changed")) == 3


def test_what_cannot_be_mapped(box: Box) -> None:
    box.tree.mkdir(OTHER_TPG)
    foreign = box.lun(RAM, 3, OTHER_TPG)
    box.mkdirs(f"{TPG}/lun/lun_5", f"{ACL}/lun_0")
    for source, number in (
        (foreign, errno.EINVAL),
        (f"{TPG}/lun/lun_5", errno.EINVAL),
        (FILE, errno.EFAULT),
        (f"{TPG}/lun", errno.EFAULT),
    ):
        with fails(number):
            box.tree.symlink(source, f"{ACL}/lun_0/x")


def test_a_number_is_mapped_once(box: Box) -> None:
    lun = box.lun(FILE)
    mapped = box.mapped(lun)
    box.tree.mkdir(f"{ACL}/lun_00")
    for path in (f"{mapped}/second", f"{ACL}/lun_00/x"):
        with fails(errno.EINVAL):
            box.tree.symlink(lun, path)
    assert box.read(f"{ACL}/lun_00/write_protect") == "0\n"


def test_prod_mode_and_read_only_devices_start_write_protected(box: Box) -> None:
    lun = box.lun(FILE)
    box.write(f"{TPG}/attrib/prod_mode_write_protect", "1")
    assert box.read(f"{box.mapped(lun)}/write_protect") == "1\n"
    box.write(f"{TPG}/attrib/prod_mode_write_protect", "0")
    box.mkdirs("core/iblock_0", "core/iblock_0/b")
    box.write("core/iblock_0/b/control", "udev_path=/dev/loop0,readonly=1")
    box.write("core/iblock_0/b/enable", "1")
    assert box.read(f"{box.mapped(box.lun('core/iblock_0/b', 1), 1)}/write_protect") == "1\n"


def test_write_protect_without_a_mapping_is_forgotten(box: Box) -> None:
    box.tree.mkdir(f"{ACL}/lun_0")
    assert box.write(f"{ACL}/lun_0/write_protect", "1") == 1
    assert box.read(f"{ACL}/lun_0/write_protect") == ""


def test_a_dead_mapping(box: Box) -> None:
    """The LUN's link may go while it is mapped; the mapping's own link stays and holds the directory."""
    lun = box.lun(FILE)
    mapped = box.mapped(lun)
    box.tree.unlink(f"{lun}/link")
    assert box.read(f"{mapped}/write_protect") == ""
    with fails(errno.ENODEV):
        box.read(f"{mapped}/statistics/scsi_auth_intr/dev")
    with fails(errno.EBUSY):
        box.tree.rmdir(lun)
    box.tree.symlink(FILE, f"{lun}/link")
    assert box.read(f"{mapped}/write_protect") == ""
    box.tree.unlink(f"{mapped}/link")
    box.tree.symlink(lun, f"{mapped}/link")
    assert box.read(f"{mapped}/write_protect") == "0\n"


def test_tearing_down_in_order(box: Box) -> None:
    lun = box.lun(FILE)
    mapped = box.mapped(lun)
    with fails(errno.ENOTEMPTY):
        box.tree.rmdir(ACL)
    box.tree.unlink(f"{mapped}/link")
    box.tree.rmdir(mapped)
    box.tree.rmdir(ACL)
    box.tree.unlink(f"{lun}/link")
    box.tree.rmdir(lun)
    box.tree.rmdir(TPG)
    box.tree.rmdir("iscsi/iqn.2003-01.org.test:t1")
    box.tree.rmdir("iscsi")
    assert not box.tree.root.fabrics
    assert [name for name in ("acl_removed", "tpg_removed", "target_removed") if box.calls(name)] == [
        "acl_removed",
        "tpg_removed",
        "target_removed",
    ]
