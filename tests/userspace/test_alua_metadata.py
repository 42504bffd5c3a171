"""ALUA states are kept in the files LIO keeps them in, and only where that is wanted."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from isadmin.userspace import limits, model
from tests.userspace.rig import IQN, Rig

SET_STANDBY = bytes.fromhex("00000000" + "02000007")
SET = bytes.fromhex("a40a00000000000000080000")


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the pool is given first is done first: see changed()."""
    monkeypatch.setattr(limits, "POOL_THREADS", 1)


@pytest.fixture
def group(rig: Rig, tmp_path: Path) -> model.TargetPortGroup:
    """The group of the one LUN of a target, whose dbroot is an empty directory."""
    rig.call(lambda: rig.target.set_dbroot(str(tmp_path)))
    device = rig.ramdisk()
    tpg = rig.serve(device)
    supported = {"alua_support_lba_dependent": 0}
    group = model.TargetPortGroup(device, "gold", 7, supported=supported, write_metadata=1)
    device.port_groups[group.name] = group
    lun = tpg.luns[0]
    lun.port_group = group
    group.members.append(lun)
    return group


def test_an_explicit_change_is_kept_before_its_answer(
    rig: Rig, group: model.TargetPortGroup, tmp_path: Path
) -> None:
    with rig.login(group.members[0].tpg) as initiator:
        initiator.ready()
        assert initiator.cmd(SET, data_out=SET_STANDBY).status == 0
        kept = tmp_path / "alua" / f"tpgs_{group.device.serial}" / "gold"
        assert kept.read_text() == "tg_pt_gp_id=7\nalua_access_state=0x02\nalua_access_status=0x01\n"
        assert initiator.cmd(bytes(6)).asc == 0x040B
    assert [path.name for path in kept.parent.iterdir()] == ["gold"]


def changed(rig: Rig, group: model.TargetPortGroup) -> None:
    """Tell of a change, and wait for what the pool has to do for it."""
    done = threading.Event()
    rig.call(lambda: rig.target.alua_changed(group))
    rig.call(lambda: rig.target.server.submit(lambda: None, done.set))
    assert done.wait(10)


def test_an_implicit_change_is_kept(rig: Rig, group: model.TargetPortGroup, tmp_path: Path) -> None:
    group.access_state, group.access_status = 1, 2
    changed(rig, group)
    kept = tmp_path / "alua" / f"tpgs_{group.device.serial}" / "gold"
    assert kept.read_text() == "tg_pt_gp_id=7\nalua_access_state=0x01\nalua_access_status=0x02\n"


def test_a_lun_taken_offline_is_kept_and_refuses(
    rig: Rig, group: model.TargetPortGroup, tmp_path: Path
) -> None:
    lun = group.members[0]
    lun.secondary_write_metadata = 1
    with rig.login(lun.tpg) as initiator:
        initiator.ready()
        lun.offline, lun.secondary_status = 1, 2
        changed(rig, group)
        kept = tmp_path / "alua" / "iSCSI" / f"{IQN}+1" / "lun_0"
        assert kept.read_text() == "alua_tg_pt_offline=1\nalua_tg_pt_status=0x02\n"
        # News of it, then the refusal: on the path of READs too.
        assert initiator.read(0, 1).asc == 0x2A06
        assert initiator.read(0, 1).asc == 0x0412


def test_nothing_is_kept_unasked(rig: Rig, group: model.TargetPortGroup, tmp_path: Path) -> None:
    changed(rig, group)  # never altered
    group.write_metadata = 0
    group.access_state, group.access_status = 1, 2
    changed(rig, group)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_kept_is_said_and_changes_all_the_same(
    rig: Rig, group: model.TargetPortGroup, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "alua").write_text("in the way")
    with rig.login(group.members[0].tpg) as initiator, caplog.at_level(logging.WARNING):
        initiator.ready()
        assert initiator.cmd(SET, data_out=SET_STANDBY).status == 0
    assert group.access_state == 2
    assert [record for record in caplog.records if "is not kept" in record.getMessage()]
