from __future__ import annotations

import errno

import pytest

from tests.userspace.configfs.building import FILE, RAM, TPG, Box, fails

GROUP = f"{FILE}/alua/g"
DEFAULT = f"{FILE}/alua/default_tg_pt_gp"
LU_GROUP = "core/alua/lu_gps/lug"


@pytest.fixture
def box() -> Box:
    box = Box()
    box.fileio()
    box.tree.mkdir(GROUP)
    return box


def test_a_group_without_an_id_takes_little(box: Box) -> None:
    assert box.read(f"{GROUP}/tg_pt_gp_id") == ""
    for name in ("alua_access_state", "alua_access_status", "alua_support_offline"):
        box.refuses(errno.EINVAL, f"{GROUP}/{name}", "1")
    box.write(f"{GROUP}/alua_access_type", "1")
    assert box.read(f"{GROUP}/alua_access_type") == "Implicit\n"


def test_an_id_is_given_once_and_to_one_group(box: Box) -> None:
    box.refuses(errno.EINVAL, f"{GROUP}/tg_pt_gp_id", "65536", "x", "-1")
    box.takes(f"{GROUP}/tg_pt_gp_id", "7")
    box.refuses(errno.EINVAL, f"{GROUP}/tg_pt_gp_id", "7", "8")
    box.tree.mkdir(f"{FILE}/alua/other")
    box.refuses(errno.EINVAL, f"{FILE}/alua/other/tg_pt_gp_id", "7")
    box.write(f"{FILE}/alua/other/tg_pt_gp_id", "0")
    assert box.read(f"{FILE}/alua/other/tg_pt_gp_id") == "1\n"


def test_states(box: Box) -> None:
    path = f"{DEFAULT}/alua_access_state"
    box.takes(path, "1", "2", "3", "14", "15", "0")
    assert box.read(f"{DEFAULT}/alua_access_status") == "Altered by Implicit ALUA\n"
    box.refuses(errno.EINVAL, path, "4", "5", "99", "x")
    box.write(f"{DEFAULT}/alua_support_standby", "0")
    box.refuses(errno.EINVAL, path, "2")
    box.write(f"{DEFAULT}/alua_access_type", "2")
    box.refuses(errno.EINVAL, path, "1")


def test_lba_dependent_is_for_implicit_groups_that_support_it(box: Box) -> None:
    path = f"{DEFAULT}/alua_access_state"
    box.write(f"{DEFAULT}/alua_support_lba_dependent", "1")
    box.refuses(errno.EINVAL, path, "4")
    box.write(f"{DEFAULT}/alua_access_type", "1")
    box.takes(path, "4")


def test_a_state_needs_a_device(box: Box) -> None:
    box.fileio("core/fileio_0/new", enable=False)
    box.refuses(errno.ENODEV, "core/fileio_0/new/alua/default_tg_pt_gp/alua_access_state", "1")


def test_a_state_that_does_not_change_leaves_the_status(box: Box) -> None:
    box.write(f"{DEFAULT}/alua_access_state", "0")
    assert box.read(f"{DEFAULT}/alua_access_status") == "None\n"


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("alua_write_metadata", "1", "2"),
        ("nonop_delay_msecs", "10000", "10001"),
        ("trans_delay_msecs", "30000", "30001"),
        ("implicit_trans_secs", "255", "256"),
        ("preferred", "1", "2"),
    ],
)
def test_ranges(box: Box, name: str, good: str, bad: str) -> None:
    box.takes(f"{GROUP}/{name}", good)
    box.refuses(errno.EINVAL, f"{GROUP}/{name}", bad, "x")


def test_the_engine_hears_of_changes(box: Box) -> None:
    box.write(f"{DEFAULT}/alua_access_state", "1")
    device = box.tree.root.hbas["fileio_0"].devices["f1"]
    assert box.calls("alua_changed")[-1] is device.port_groups["default_tg_pt_gp"]


def test_a_lun_moves_between_groups(box: Box) -> None:
    box.tpg()
    lun = box.lun(FILE)
    path = f"{lun}/alua_tg_pt_gp"
    assert box.read(f"{DEFAULT}/members") == "iSCSI/iqn.2003-01.org.test:t1/tpgt_1/lun_0\n\0"
    box.refuses(errno.ENODEV, path, "nosuch", "g")
    box.refuses(errno.EINVAL, path, "g" * 257)
    box.write(f"{GROUP}/tg_pt_gp_id", "3")
    box.write(path, "g\n")
    assert box.read(path).startswith("TG Port Alias: g\nTG Port Group ID: 3\n")
    assert box.read(f"{DEFAULT}/members") == ""
    box.write(path, "NULL")
    assert box.read(path).startswith("TG Port Alias: default_tg_pt_gp\n")


def test_members_of_a_removed_group_fall_back(box: Box) -> None:
    box.tpg()
    lun = box.lun(FILE)
    box.write(f"{GROUP}/tg_pt_gp_id", "3")
    box.write(f"{lun}/alua_tg_pt_gp", "g")
    box.tree.rmdir(GROUP)
    assert box.read(f"{lun}/alua_tg_pt_gp").startswith("TG Port Alias: default_tg_pt_gp\n")


def test_a_lun_without_a_device_has_no_group(box: Box) -> None:
    box.tpg()
    box.tree.mkdir(f"{TPG}/lun/lun_0")
    for name in ("alua_tg_pt_gp", "alua_tg_pt_offline", "alua_tg_pt_status", "alua_tg_pt_write_md"):
        with fails(errno.ENODEV):
            box.read(f"{TPG}/lun/lun_0/{name}")
        with fails(errno.ENODEV):
            box.write(f"{TPG}/lun/lun_0/{name}", "1")


def test_a_lun_offline(box: Box) -> None:
    box.tpg()
    lun = box.lun(FILE)
    box.takes(f"{lun}/alua_tg_pt_offline", "1")
    assert box.read(f"{lun}/alua_tg_pt_gp").endswith(
        "TG Port Secondary Access State: Offline\nTG Port Secondary Access Status: Altered by Implicit ALUA\n"
    )
    box.refuses(errno.EINVAL, f"{lun}/alua_tg_pt_status", "3")
    box.refuses(errno.EINVAL, f"{lun}/alua_tg_pt_write_md", "2")


def test_what_a_lun_was_stays_for_the_next_link(box: Box) -> None:
    box.tpg()
    lun = box.lun(FILE)
    names = ("alua_tg_pt_offline", "alua_tg_pt_write_md", "alua_tg_pt_status")
    for name in names:
        box.write(f"{lun}/{name}", "1")
    box.tree.unlink(f"{lun}/link")
    box.tree.symlink(box.ramdisk(), f"{lun}/other")
    assert [box.read(f"{lun}/{name}") for name in names] == ["1\n"] * 3


def test_an_int_is_kept_of_a_state_and_its_status(box: Box) -> None:
    for name, shown in (("alua_access_status", "Altered by Explicit STPG"), ("alua_access_state", "1")):
        box.write(f"{DEFAULT}/{name}", "4294967297")
        assert box.read(f"{DEFAULT}/{name}") == f"{shown}\n"
        box.refuses(errno.EINVAL, f"{DEFAULT}/{name}", "4294967295", "-1")
        box.refuses(errno.ERANGE, f"{DEFAULT}/{name}", "18446744073709551617")


def test_lu_groups(box: Box) -> None:
    path = f"{FILE}/alua_lu_gp"
    assert box.read(path) == "LU Group Alias: default_lu_gp\nLU Group ID: 0\n"
    box.tree.mkdir(LU_GROUP)
    box.refuses(errno.ENODEV, path, "lug", "nosuch", "default_lu_gp")
    box.takes(f"{LU_GROUP}/lu_gp_id", "5")
    box.refuses(errno.EINVAL, f"{LU_GROUP}/lu_gp_id", "6", "65536")
    box.write(path, "lug")
    assert box.read(f"{LU_GROUP}/members") == "fileio_0/f1\n"
    assert box.read("core/alua/lu_gps/default_lu_gp/members") == ""
    box.tree.rmdir(LU_GROUP)
    assert box.read(path) == "LU Group Alias: default_lu_gp\nLU Group ID: 0\n"


def test_leaving_the_lu_group_twice_is_refused(box: Box) -> None:
    """A kernel crashes here."""
    box.write(f"{FILE}/alua_lu_gp", "NULL")
    assert box.read(f"{FILE}/alua_lu_gp") == ""
    box.refuses(errno.EINVAL, f"{FILE}/alua_lu_gp", "NULL")


def test_groups_of_one_id_change_together_across_an_lu_group(box: Box) -> None:
    box.ramdisk()
    box.tree.mkdir(LU_GROUP)
    box.write(f"{LU_GROUP}/lu_gp_id", "5")
    box.tree.mkdir(f"{RAM}/alua/twin")
    for group in (GROUP, f"{RAM}/alua/twin"):
        box.write(f"{group}/tg_pt_gp_id", "9")
    for device in (FILE, RAM):
        box.write(f"{device}/alua_lu_gp", "lug")
    box.write(f"{GROUP}/alua_access_state", "2")
    assert box.read(f"{RAM}/alua/twin/alua_access_state") == "2\n"
    assert box.read(f"{RAM}/alua/default_tg_pt_gp/alua_access_state") == "0\n"


def test_members_stop_at_a_page(box: Box) -> None:
    box.tpg()
    for number in range(100):
        box.lun(FILE, number)
    members = box.tree.read(f"{DEFAULT}/members")
    assert len(members) <= 4096
    assert members.endswith(b"\n\0")
