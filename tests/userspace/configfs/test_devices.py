"""Storage objects: enabling, attributes, identity, reservations."""

from __future__ import annotations

import errno

import pytest

from isadmin.userspace.engine import Registration, Reservation
from tests.userspace.configfs.building import FILE, RAM, Box, fails, refuse
from tests.userspace.configfs.recorded import RecordedUnit

APTPL = "initiator_node=iqn.i,target_node=iqn.t,sa_res_key=0x1234,res_holder=1,res_type=08,tpgt=1"


@pytest.fixture
def box() -> Box:
    return Box()


def unit_of(box: Box, path: str = FILE) -> RecordedUnit:
    _, hba, name = path.split("/")
    unit = box.tree.root.hbas[hba].devices[name].unit
    assert isinstance(unit, RecordedUnit)
    return unit


@pytest.mark.parametrize(
    "name",
    ["fileio_7", "rd_mcp_7", "iblock_7", "pscsi_7", "user_7", "fileio_0x10", "fileio_010", "fileio_+1"],
)
def test_hba_names(box: Box, name: str) -> None:
    box.tree.mkdir(f"core/{name}")
    assert name in box.tree.root.hbas


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("fileio", errno.EINVAL),
        ("fileio_", errno.EINVAL),
        ("fileio_x", errno.EINVAL),
        ("rd_0", errno.EINVAL),
        ("ramdisk_0", errno.EINVAL),
        ("fileio_1_2", errno.EINVAL),
        ("fileio_18446744073709551616", errno.ERANGE),
        ("n" * 64, errno.ENAMETOOLONG),
    ],
)
def test_what_is_no_hba_name(box: Box, name: str, number: int) -> None:
    with fails(number):
        box.tree.mkdir(f"core/{name}")


def test_hbas_and_devices_are_numbered_as_they_come(box: Box) -> None:
    box.fileio("core/fileio_5/a")
    box.fileio("core/fileio_5/b")
    assert box.read("core/fileio_5/hba_info") == "HBA Index: 1 plugin: fileio version: v5.0\n"
    assert box.read("core/fileio_5/b/statistics/scsi_dev/indx") == "2\n"
    assert "TCM FILEIO ID: 1 " in box.read("core/fileio_5/b/info")


def test_enable_calls_the_engine_once(box: Box) -> None:
    path = box.fileio(enable=False)
    box.refuses(errno.EINVAL, f"{path}/enable", "0", "2", "x")
    box.write(f"{path}/enable", " 1\n")
    assert len(box.calls("open_unit")) == 1
    box.refuses(errno.EEXIST, f"{path}/enable", "1")
    assert box.calls("device_changed") == [(box.tree.root.hbas["fileio_0"].devices["f1"], "")]


def test_what_the_engine_refuses_is_not_enabled(box: Box) -> None:
    path = box.fileio(enable=False)
    box.engine.open_unit = refuse(errno.ENOENT)  # type: ignore[method-assign]
    box.refuses(errno.ENOENT, f"{path}/enable", "1")
    assert box.read(f"{path}/info").startswith("Status: DEACTIVATED  Max Queue Depth: 0  SectorSize: 0")


@pytest.mark.parametrize(
    ("hba", "control"),
    [
        ("fileio_0", "fd_dev_size=1"),
        ("rd_mcp_0", "rd_nullio=1"),
        ("rd_mcp_0", "rd_pages=0"),
        ("rd_mcp_0", "rd_pages=-5"),
        ("iblock_0", "readonly=1"),
        ("pscsi_0", "scsi_lun_id=0"),
    ],
)
def test_a_plugin_must_be_told_enough(box: Box, hba: str, control: str) -> None:
    box.mkdirs(f"core/{hba}", f"core/{hba}/d")
    box.write(f"core/{hba}/d/control", control)
    box.refuses(errno.EINVAL, f"core/{hba}/d/enable", "1")
    assert not box.calls("open_unit")


def test_info_says_the_queue_depth_that_was_written(box: Box) -> None:
    path = box.fileio()
    assert box.read(f"{path}/attrib/queue_depth") == "128\n"
    assert "Max Queue Depth: 0 " in box.read(f"{path}/info")
    box.write(f"{path}/attrib/queue_depth", "64")
    assert "Max Queue Depth: 64 " in box.read(f"{path}/info")


def test_info_says_the_tables_that_a_ramdisk_was_enabled_with(box: Box) -> None:
    path = box.ramdisk()
    box.write(f"{path}/control", "rd_pages=1000000,rd_nullio=1")
    assert "PAGES/PAGE_SIZE: 1000000*4096  SG_table_count: 1  nullio: 1" in box.read(f"{path}/info")
    box.mkdirs("core/rd_mcp_1/null")
    box.write("core/rd_mcp_1/null/control", "rd_pages=16,rd_nullio=1")
    box.write("core/rd_mcp_1/null/enable", "1")
    assert "SG_table_count: 0  nullio: 1" in box.read("core/rd_mcp_1/null/info")


def test_removing_closes_the_unit(box: Box) -> None:
    box.fileio()
    device = box.tree.root.hbas["fileio_0"].devices["f1"]
    box.tree.rmdir(FILE)
    assert box.calls("close_unit") == [device]
    assert box.read("core/alua/lu_gps/default_lu_gp/members") == ""
    box.fileio(enable=False)
    box.tree.rmdir(FILE)
    assert len(box.calls("close_unit")) == 1


def test_control_ignores_what_it_does_not_know(box: Box) -> None:
    path = box.fileio(enable=False)
    for control in ("foo=bar", "fd_dev_name", "fd_dev_name=", "fd_buffered_io=x", ",,\n"):
        box.write(f"{path}/control", control)
    assert "File: /srv/f1  Size: 1048576" in box.read(f"{path}/info")


@pytest.mark.parametrize("control", ["fd_dev_size=x", "fd_dev_size=-1", "fd_buffered_io=0", "fd_async_io=2"])
def test_control_refuses_bad_values(box: Box, control: str) -> None:
    box.refuses(errno.EINVAL, f"{box.fileio(enable=False)}/control", control)


def test_control_keeps_what_stands_before_a_bad_value(box: Box) -> None:
    path = box.fileio(enable=False)
    with fails(errno.EINVAL):
        box.write(f"{path}/control", "fd_dev_name=/other,fd_dev_size=x")
    assert "File: /other " in box.read(f"{path}/info")


def test_control_after_enable_shows_and_is_told(box: Box) -> None:
    path = box.fileio()
    box.write(f"{path}/control", "fd_dev_size=2097152")
    assert "Size: 2097152" in box.read(f"{path}/info")
    assert box.calls("device_changed")[-1][1] == "fd_dev_size"


def test_a_name_is_cut_to_its_buffer(box: Box) -> None:
    path = box.fileio(enable=False)
    box.write(f"{path}/control", "fd_dev_name=/" + "n" * 300)
    assert "File: /" + "n" * 254 + " " in box.read(f"{path}/info")


@pytest.mark.parametrize("name", ["emulate_tpu", "emulate_tpws"])
def test_discarding_on_an_unopened_file_is_refused(box: Box, name: str) -> None:
    """A kernel crashes here."""
    box.refuses(errno.EINVAL, f"{box.fileio(enable=False)}/attrib/{name}", "1")


def test_a_ramdisk_does_not_discard(box: Box) -> None:
    box.refuses(errno.ENOSYS, f"{box.ramdisk()}/attrib/emulate_tpu", "1")


def test_enable_sets_what_the_backing_says(box: Box) -> None:
    path = box.fileio(enable=False)
    box.write(f"{path}/attrib/block_size", "4096")
    box.write(f"{path}/enable", "1")
    expected = {
        "block_size": 512,
        "hw_max_sectors": 16384,
        "optimal_sectors": 16384,
        "queue_depth": 128,
        "emulate_write_cache": 1,
        "max_unmap_lba_count": 8192,
        "max_unmap_block_desc_count": 1,
        "max_write_same_len": 4096,
        "is_nonrot": 0,
    }
    assert {name: int(box.read(f"{path}/attrib/{name}")) for name in expected} == expected


def test_a_files_limit_is_in_bytes(box: Box) -> None:
    path = box.fileio()
    box.write(f"{path}/attrib/block_size", "4096")
    assert box.read(f"{path}/attrib/hw_max_sectors") == "2048\n"
    assert box.read(f"{path}/attrib/optimal_sectors") == "16384\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("block_size", "4096"),
        ("queue_depth", "64"),
        ("optimal_sectors", "1024"),
        ("pi_prot_type", "1"),
        ("force_pr_aptpl", "1"),
        ("emulate_model_alias", "1"),
        ("emulate_ua_intlck_ctrl", "1"),
        ("emulate_tas", "0"),
    ],
)
def test_frozen_while_exported(box: Box, name: str, value: str) -> None:
    path = f"{box.fileio()}/attrib/{name}"
    box.tpg()
    lun = box.lun(FILE)
    box.refuses(errno.EINVAL, path, value)
    box.tree.unlink(f"{lun}/link")
    box.takes(path, value)


@pytest.mark.parametrize("name", ["vendor_id", "product_id", "revision", "vpd_unit_serial"])
def test_identity_is_frozen_while_exported(box: Box, name: str) -> None:
    box.fileio()
    box.tpg()
    box.lun(FILE)
    box.refuses(errno.EINVAL, f"{FILE}/wwn/{name}", "x")


@pytest.mark.parametrize("name", ["emulate_write_cache", "is_nonrot", "emulate_pr", "emulate_caw"])
def test_free_while_exported(box: Box, name: str) -> None:
    box.fileio()
    box.tpg()
    box.lun(FILE)
    box.takes(f"{FILE}/attrib/{name}", "0", "1")


def test_the_engine_may_refuse_an_attribute(box: Box) -> None:
    path = f"{box.fileio()}/attrib/pi_prot_type"
    box.engine.device_changed = refuse(errno.ENOSYS)  # type: ignore[method-assign]
    box.refuses(errno.ENOSYS, path, "1")
    box.refuses(errno.ENOSYS, f"{FILE}/wwn/vpd_unit_serial", "new")


def test_what_is_protected_is_checked_until_told_otherwise(box: Box) -> None:
    attrib = f"{box.fileio()}/attrib"
    box.write(f"{attrib}/pi_prot_verify", "1")
    assert box.read(f"{attrib}/pi_prot_verify") == "0\n"
    box.takes(f"{attrib}/pi_prot_type", "1")
    assert box.read(f"{attrib}/pi_prot_verify") == "1\n"
    box.takes(f"{attrib}/pi_prot_verify", "0")
    box.takes(f"{attrib}/pi_prot_type", "3")
    assert box.read(f"{attrib}/pi_prot_verify") == "1\n"
    box.takes(f"{attrib}/pi_prot_type", "0")
    assert box.read(f"{attrib}/pi_prot_verify") == "0\n"


def test_memory_takes_no_format(box: Box) -> None:
    for plugin, number in (("fileio", errno.ENODEV), ("rd_mcp", errno.ENOSYS), ("iblock", errno.ENOSYS)):
        box.mkdirs(f"core/{plugin}_7", f"core/{plugin}_7/x")
        box.refuses(number, f"core/{plugin}_7/x/attrib/pi_prot_format", "1")


def test_a_block_devices_cache_is_its_own(box: Box) -> None:
    box.mkdirs("core/iblock_0", "core/iblock_0/b")
    box.refuses(errno.EINVAL, "core/iblock_0/b/attrib/emulate_write_cache", "1")
    box.refuses(errno.ENOSYS, "core/iblock_0/b/attrib/pi_prot_type", "1")


def test_pass_through_can_change_what_others_cannot(box: Box) -> None:
    box.mkdirs("core/pscsi_0", "core/pscsi_0/p")
    box.fileio()
    box.takes("core/pscsi_0/p/attrib/pgr_support", "1", "0")
    box.refuses(errno.ENOSYS, f"{FILE}/attrib/pgr_support", "0")
    box.takes(f"{FILE}/attrib/pgr_support", "1")


def test_the_model_alias_is_the_objects_name(box: Box) -> None:
    path = box.fileio("core/fileio_0/a-name-longer-than-16")
    box.write(f"{path}/attrib/emulate_model_alias", "1")
    assert box.read(f"{path}/wwn/product_id") == "a-name-longer-th\n"
    box.write(f"{path}/attrib/emulate_model_alias", "0")
    assert box.read(f"{path}/wwn/product_id") == "FILEIO\n"


def test_what_is_written_before_a_device_is_enabled_stays(box: Box) -> None:
    path = box.fileio(enable=False)
    written = {"vendor_id": "V", "product_id": "P", "revision": "R"}
    assert box.read(f"{path}/wwn/vendor_id") == "LIO-ORG\n"
    for name, value in written.items():
        box.write(f"{path}/wwn/{name}", value)
    box.write(f"{path}/enable", "1")
    assert {name: box.read(f"{path}/wwn/{name}").strip() for name in written} == written


def test_identity(box: Box) -> None:
    wwn = f"{box.fileio()}/wwn"
    box.takes(f"{wwn}/vendor_id", "V", "12345678")
    box.refuses(errno.EOVERFLOW, f"{wwn}/vendor_id", "123456789")
    box.refuses(errno.EINVAL, f"{wwn}/vendor_id", "ü")
    box.takes(f"{wwn}/product_id", "p" * 16)
    box.refuses(errno.EOVERFLOW, f"{wwn}/product_id", "p" * 17)
    box.refuses(errno.EOVERFLOW, f"{wwn}/revision", "12345")
    box.refuses(errno.EOVERFLOW, f"{wwn}/company_id", "0x1000000")
    box.refuses(errno.EINVAL, f"{wwn}/company_id", "x")
    box.write(f"{wwn}/company_id", "0xabcdef")
    assert box.read(f"{wwn}/company_id") == "0xabcdef\n"
    box.refuses(errno.EOVERFLOW, f"{wwn}/vpd_unit_serial", "s" * 254)
    box.write(f"{wwn}/vpd_unit_serial", "  a serial \n")
    assert box.read(f"{wwn}/vpd_unit_serial") == "T10 VPD Unit Serial Number: a serial\n"


def test_a_scsi_devices_serial_is_its_own(box: Box) -> None:
    path = "core/pscsi_0/p"
    box.mkdirs("core/pscsi_0", path)
    box.write(f"{path}/control", "scsi_host_id=0,scsi_channel_id=0,scsi_target_id=0,scsi_lun_id=0")
    box.write(f"{path}/enable", "1")
    box.refuses(errno.EOPNOTSUPP, f"{path}/wwn/vpd_unit_serial", "mine")


def test_alias_and_udev_path(box: Box) -> None:
    for name in ("alias", "udev_path"):
        path = f"{box.fileio(f'core/fileio_0/{name}')}/{name}"
        assert box.read(path) == ""
        assert box.write(path, "\n") == 1
        assert box.read(path) == "\n"
        box.takes(path, "a" * 511)
        box.refuses(errno.EINVAL, path, "a" * 512)


def test_dbroot_keeps_the_tail_of_a_longer_path(box: Box) -> None:
    box.write("dbroot", "/etc\n")
    assert box.read("dbroot") == "/etc\n"
    box.write("dbroot", "/srv/target")
    box.write("dbroot", "/var")
    assert box.read("dbroot") == "/var/target\n"
    box.refuses(errno.ENOENT, "dbroot", "relative")
    box.refuses(errno.EINVAL, "dbroot", "/" * 256)


def test_saved_registrations_wait_for_the_unit(box: Box) -> None:
    path = box.fileio(enable=False)
    box.write(f"{path}/pr/res_aptpl_metadata", APTPL)
    box.write(f"{path}/enable", "1")
    box.write(f"{path}/pr/res_aptpl_metadata", APTPL.replace("iqn.i", "iqn.other"))
    first, second = unit_of(box).aptpl
    assert "initiator_node=iqn.i," in first
    assert "res_type=8" in first
    assert "initiator_node=iqn.other," in second


@pytest.mark.parametrize(
    "without", ["initiator_node=iqn.i,", "target_node=iqn.t,", "sa_res_key=0x1234,", "res_type=08,"]
)
def test_incomplete_registrations_are_refused(box: Box, without: str) -> None:
    path = f"{box.fileio()}/pr/res_aptpl_metadata"
    box.refuses(errno.EINVAL, path, APTPL.replace(without, ""))


def test_registrations_are_refused_while_exported(box: Box) -> None:
    box.fileio()
    box.tpg()
    box.lun(FILE)
    box.refuses(errno.EINVAL, f"{FILE}/pr/res_aptpl_metadata", APTPL)


def test_reservations_are_shown(box: Box) -> None:
    pr = f"{box.fileio()}/pr"
    holder = Registration("iqn.i", "00023d000001", 0xAB, "iqn.t", 1, 2, True, True, 0)
    other = Registration("iqn.j", "", 1, "iqn.t", 1, 2, False, False, 0)
    unit_of(box).reserved = Reservation(3, True, (holder, other), holder, 5)
    assert box.read(f"{pr}/res_holder") == ("SPC-3 Reservation: iSCSI Initiator: iqn.i,i,0x00023d000001\n")
    assert box.read(f"{pr}/res_pr_type") == (
        "SPC-3 Reservation Type: Write Exclusive Access, Registrants Only\n"
    )
    assert box.read(f"{pr}/res_pr_generation") == "0x00000003\n"
    assert box.read(f"{pr}/res_aptpl_active") == "APTPL Bit Status: Activated\n"
    assert box.read(f"{pr}/res_pr_all_tgt_pts") == "SPC-3 Reservation: All Target Ports registration\n"
    assert "Relative Port Identifier Tag: 2 iSCSI Portal Group Tag: 1" in box.read(
        f"{pr}/res_pr_holder_tg_port"
    )
    assert box.read(f"{pr}/res_pr_registered_i_pts") == (
        "SPC-3 PR Registrations:\n"
        "iSCSI Node: iqn.i,i,0x00023d000001 Key: 0x00000000000000ab PRgen: 0x00000003\n"
        "iSCSI Node: iqn.j Key: 0x0000000000000001 PRgen: 0x00000003\n"
    )
    box.write(f"{FILE}/attrib/emulate_pr", "0")
    assert box.read(f"{pr}/res_holder") == box.read(f"{pr}/res_type") == "SPC_RESERVATIONS_DISABLED\n"


def test_an_old_reservation_is_shown(box: Box) -> None:
    pr = f"{box.fileio()}/pr"
    unit_of(box).reserved = Reservation(spc2_holder="iqn.i")
    assert box.read(f"{pr}/res_holder") == "SPC-2 Reservation: iSCSI Initiator: iqn.i\n"
    assert box.read(f"{pr}/res_type") == "SPC2_RESERVATIONS\n"


def test_counters_are_shown(box: Box) -> None:
    path = f"{box.ramdisk()}/statistics/scsi_lu"
    counters = unit_of(box, RAM).counters
    counters.num_cmds, counters.read_bytes, counters.write_bytes = 7, 3 << 20, (2 << 20) - 1
    assert [box.read(f"{path}/{name}") for name in ("num_cmds", "read_mbytes", "write_mbytes")] == [
        "7\n",
        "3\n",
        "1\n",
    ]
    assert box.read(f"{path}/creation_time") == "500\n"


def test_any_lba_map_makes_groups_support_what_depends_on_the_block(box: Box) -> None:
    device = box.fileio()
    box.mkdirs(f"{device}/alua/no-number")
    box.refuses(errno.EINVAL, f"{device}/lba_map", "x")
    supports = [
        f"{device}/alua/{name}/alua_support_lba_dependent" for name in ("default_tg_pt_gp", "no-number")
    ]
    assert [box.read(path) for path in supports] == ["0\n", "0\n"]
    box.write(f"{device}/lba_map", "\n")
    assert [box.read(path) for path in supports] == ["1\n", "0\n"]


def test_lba_map(box: Box) -> None:
    path = f"{box.fileio()}/lba_map"
    box.write(path, "512 4\n0 1023 0:O 1:S\n1024 2047 0:S 1:O\n")
    assert box.read(path) == "512 4\n0 1023 0:O 1:S\n1024 2047 0:S 1:O\n"
    box.refuses(errno.EINVAL, path, "x", "512 4\n0 1023", "512 4\n0 1023 0:X", "512 4\n0 1 0:O\n2 3 0:O 1:S")
    box.write(path, "1 2")
    assert box.read(path) == ""


def test_actions_of_user_devices(box: Box) -> None:
    box.mkdirs("core/user_0", "core/user_0/u")
    action = "core/user_0/u/action"
    box.refuses(errno.EINVAL, f"{action}/block_dev", "1")
    box.write("core/user_0/u/enable", "1")
    box.write(f"{action}/block_dev", "1")
    assert box.read(f"{action}/block_dev") == "blocked\n"
    box.refuses(errno.EINVAL, f"{action}/reset_ring", "3")
    box.refuses(errno.ENOENT, f"{action}/free_kept_buf", "1")
    box.refuses(errno.ESRCH, "core/user_0/u/attrib/dev_config", "x")
    with fails(errno.EPERM):
        box.tree.mkdir(f"{action}/x")


def test_user_devices_are_configured_before_enable(box: Box) -> None:
    box.mkdirs("core/user_0", "core/user_0/u")
    path = "core/user_0/u"
    box.write(f"{path}/control", "dev_config=glfs/vol@host/f,dev_size=1048576,max_data_area_mb=16")
    assert "Config: glfs/vol@host/f Size: 1048576 MaxDataAreaMB: 16 " in box.read(f"{path}/info")
    box.takes(f"{path}/attrib/dev_config", "other")
    box.refuses(errno.EINVAL, f"{path}/control", "hw_max_sectors=0", "dev_size=x")
