"""Any sequence of operations: no error but OSError, the refused change nothing, tree and model agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from isadmin.userspace.model import Root
from tests.userspace.configfs.building import Box
from tests.userspace.configfs.replay import dump

TARGET = "iscsi/iqn.t"
TPGS = (f"{TARGET}/tpgt_1", f"{TARGET}/tpgt_2")
ACLS = tuple(f"{tpg}/acls/iqn.i" for tpg in TPGS)
LUNS = tuple(f"{tpg}/lun/{name}" for tpg in TPGS for name in ("lun_0", "lun_00", "lun_1"))
MAPPED = tuple(f"{acl}/{name}" for acl in ACLS for name in ("lun_0", "lun_00", "lun_1"))
DEVICES = ("core/fileio_0/f", "core/rd_mcp_1/r")
GROUPS = tuple(f"{device}/alua/g" for device in DEVICES)
DIRECTORIES = (
    *("core/fileio_0", "core/rd_mcp_1", *DEVICES, *GROUPS, "core/alua/lu_gps/lug"),
    *("iscsi", TARGET, *TPGS, *ACLS, *LUNS, *MAPPED, "loopback", "loopback/naa.1"),
    *(f"{tpg}/np/{name}" for tpg in TPGS for name in ("127.0.0.1:3260", "0.0.0.0:3260", "[::0]:3260")),
    *("core", "version", f"{TPGS[0]}/attrib", "nosuch/x", f"{DEVICES[0]}/statistics/x"),
)
LINKS = tuple(f"{place}/x" for place in (*LUNS, *MAPPED, *TPGS))
FILES = (
    *(f"{device}/{name}" for device in DEVICES for name in ("enable", "alua_lu_gp", "attrib/block_size")),
    *(f"{device}/{name}" for device in DEVICES for name in ("attrib/emulate_tpu", "wwn/vpd_unit_serial")),
    *(f"{group}/{name}" for group in GROUPS for name in ("tg_pt_gp_id", "alua_access_state")),
    *(f"{lun}/alua_tg_pt_gp" for lun in LUNS),
    *(f"{mapped}/write_protect" for mapped in MAPPED),
    *(f"{tpg}/{name}" for tpg in TPGS for name in ("enable", "attrib/authentication", "param/AuthMethod")),
    *("core/alua/lu_gps/lug/lu_gp_id", "dbroot", "version", f"{ACLS[0]}/auth/userid"),
)
VALUES = ("0", "1", "2", "512", "4096", "NULL", "g", "lug", "None", "CHAP,None", "x", "", "/etc\n", "\udcff")
START: tuple[Callable[[Box], Any], ...] = (
    lambda box: [box.tpg(tpg) for tpg in TPGS],
    lambda box: box.fileio(DEVICES[0]),
    lambda box: box.ramdisk(DEVICES[1]),
)


def check_model(root: Root) -> None:
    """References of the model lead both ways."""
    devices = [device for hba in root.hbas.values() for device in hba.devices.values()]
    for device in devices:
        assert all(lun.device is device for lun in device.exports)
        assert len({lun.relative_target_port for lun in device.exports}) == len(device.exports)
        for group in device.port_groups.values():
            assert all(lun.port_group is group and lun.device is device for lun in group.members)
        if device.lu_group is not None:
            assert device in device.lu_group.members
        assert device.unit is not None or not device.exports
    for fabric in root.fabrics.values():
        for target in fabric.targets.values():
            for tag, tpg in target.tpgs.items():
                assert (tpg.tag, tpg.target) == (tag, target)
                for number, lun in tpg.luns.items():
                    assert (lun.number, lun.tpg) == (number, tpg)
                    assert lun.device is None or lun in lun.device.exports
                    assert all(mapped.lun is lun for mapped in lun.mapped)
                for acl in tpg.acls.values():
                    for number, mapped in acl.mapped.items():
                        assert mapped.number == number
                        assert mapped.lun is None or mapped in mapped.lun.mapped


class AnyOperations(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.box = Box()
        for make in START:
            make(self.box)
        self.seen = dump(self.box.tree)

    def attempt(self, operation: Callable[..., Any], *arguments: Any) -> None:
        before, refused = self.seen, 0
        try:
            operation(*arguments)
        except OSError as error:
            refused = error.errno or -1
        self.seen = dump(self.box.tree)
        assert not refused or (refused > 0 and self.seen == before)

    @rule(path=st.sampled_from(DIRECTORIES))
    def mkdir(self, path: str) -> None:
        self.attempt(self.box.tree.mkdir, path)

    @rule(path=st.sampled_from(DIRECTORIES))
    def rmdir(self, path: str) -> None:
        self.attempt(self.box.tree.rmdir, path)

    @rule(source=st.sampled_from((*DEVICES, *LUNS, "core", "/etc")), path=st.sampled_from(LINKS))
    def symlink(self, source: str, path: str) -> None:
        self.attempt(self.box.tree.symlink, source, path)

    @rule(lun=st.sampled_from(LUNS), device=st.sampled_from(DEVICES))
    def export(self, lun: str, device: str) -> None:
        self.attempt(self.box.tree.mkdir, lun)
        self.attempt(self.box.tree.symlink, device, f"{lun}/x")

    @rule(mapped=st.sampled_from(MAPPED), lun=st.sampled_from(LUNS))
    def map(self, mapped: str, lun: str) -> None:
        self.attempt(self.box.tree.mkdir, mapped.rpartition("/")[0])
        self.attempt(self.box.tree.mkdir, mapped)
        self.attempt(self.box.tree.symlink, lun, f"{mapped}/x")

    @rule(path=st.sampled_from((*LINKS, "core", "version")))
    def unlink(self, path: str) -> None:
        self.attempt(self.box.tree.unlink, path)

    @rule(path=st.sampled_from(FILES), value=st.sampled_from(VALUES))
    def write(self, path: str, value: str) -> None:
        self.attempt(self.box.tree.write, path, value.encode(errors="surrogateescape"))

    @invariant()
    def directories_add_up(self) -> None:
        below = Counter(path.rpartition("/")[0] for path, e in self.seen.items() if e["type"] == "dir")
        for path, entry in self.seen.items():
            if entry["type"] == "dir":
                assert entry["nlink"] == 2 + below[path], path
                names = self.box.tree.listdir(path.removeprefix("target").strip("/"))
                assert len(set(names)) == len(names)
            elif entry["type"] == "link":
                target = "target/" + entry["target"].partition("target/")[2]
                assert self.seen[target]["type"] == "dir"

    @invariant()
    def the_model_agrees(self) -> None:
        check_model(self.box.tree.root)


TestAnyOperations = AnyOperations.TestCase
TestAnyOperations.settings = settings(
    max_examples=6,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
