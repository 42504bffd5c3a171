"""Commands whose connection has gone while a pool thread works on them: nobody is told that it is all over,
and no later command of their initiator port begins, before they have ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from isadmin.userspace import model
from tests.initiator import Initiator
from tests.userspace.holding import Held
from tests.userspace.rig import Rig
from tests.userspace.test_target import eventually
from tests.userspace.test_task_management import (
    LUN_RESET,
    READ,
    TASK_ABORTED,
    WRITE,
    manage,
    reserve_out,
    response,
    until_ping,
    write,
)

OLD, NEW = b"A" * 512, b"N" * 512
VICTIM, OTHER = "iqn.2003-01.org.test:victim", "iqn.2003-01.org.test:other"
REGISTER, RESERVE, PREEMPT_AND_ABORT = 0, 1, 5
APTPL = 1


@pytest.fixture
def disk(rig: Rig, tmp_path: Path) -> model.Tpg:
    rig.call(lambda: rig.target.set_dbroot(str(tmp_path)))
    return rig.serve(rig.file(tmp_path / "disk", buffered=False, emulate_tas=1))


def victim(rig: Rig, disk: model.Tpg) -> Initiator:
    return rig.login(disk, name=VICTIM)


def begun(rig: Rig, disk: model.Tpg, held: Held) -> Initiator:
    """The victim, of which a pool thread writes something."""
    old = victim(rig, disk)
    old.ready()
    write(old, held)
    return old


def log_in_anew(rig: Rig, disk: model.Tpg, old: Initiator) -> Initiator:
    return victim(rig, disk)


def be_cut_off(rig: Rig, disk: model.Tpg, old: Initiator) -> Initiator:
    old.close()
    eventually(lambda: not rig.target.active_sessions())
    return victim(rig, disk)


@pytest.mark.parametrize("again", [log_in_anew, be_cut_off])
def test_what_an_initiator_writes_anew_stays(
    rig: Rig, disk: model.Tpg, held: Held, again: Callable[[Rig, model.Tpg, Initiator], Initiator]
) -> None:
    with begun(rig, disk, held) as old, again(rig, disk, old) as new:
        new.ready()  # what touches no medium is answered
        itt = new.send_command(WRITE, data_out=NEW, immediate_data=NEW)
        assert until_ping(new) == []
        assert held.begun == 1
        held.go.set()
        assert new.finish(itt).status == 0
        assert new.read(0, 1).data == NEW
        assert not rig.target.server.orphans
        assert new.write(0, OLD).status == 0, "all is as ever"


def test_what_is_plain_waits_too(rig: Rig, tmp_path: Path, held: Held) -> None:
    """Reads of what is in memory, which wait for nothing else."""
    tpg = rig.serve(rig.file(tmp_path / "disk"))
    with begun(rig, tpg, held), victim(rig, tpg) as new:
        new.ready()
        for _ in range(3):
            new.send_command(READ, expected_in=512)
        assert until_ping(new) == []
        held.go.set()
        assert [new.receive().opcode for _ in range(3)] == [0x25] * 3


def test_others_do_not_wait(rig: Rig, disk: model.Tpg, held: Held) -> None:
    begun(rig, disk, held).close()
    with rig.login(disk, name=OTHER) as other:
        other.ready()
        assert other.read(0, 1).status == 0


def test_commands_that_wait_can_be_aborted(rig: Rig, disk: model.Tpg, held: Held) -> None:
    with begun(rig, disk, held), victim(rig, disk) as new:
        new.ready()
        itt = new.send_command(WRITE, data_out=NEW, immediate_data=NEW)
        assert new.task_management(1, tag=itt) == 0
        held.go.set()
        assert new.read(0, 1).data == OLD
        assert until_ping(new) == []


def test_a_reset_waits_for_what_has_lost_its_connection(rig: Rig, disk: model.Tpg, held: Held) -> None:
    begun(rig, disk, held).close()
    with rig.login(disk, name=OTHER) as other:
        eventually(lambda: len(rig.target.server.orphans) == 1)
        itt = manage(other, LUN_RESET)
        assert until_ping(other) == []
        held.go.set()
        assert response(other, itt) == 0


@pytest.mark.parametrize("flags", [0, APTPL])
@pytest.mark.parametrize("gone", [False, True])
def test_preempt_and_abort_waits_for_the_writes_of_the_preempted(
    rig: Rig, disk: model.Tpg, held: Held, flags: int, gone: bool
) -> None:
    """Who has its answer may write, and nothing of the other's comes after that (SPC-4 5.13.11.2.6)."""
    with victim(rig, disk) as old, rig.login(disk, name=OTHER) as other:
        for key, each in enumerate((old, other), 1):
            each.ready()
            assert each.finish(reserve_out(each, REGISTER, 0, key, flags)).status == 0
        assert old.finish(reserve_out(old, RESERVE, 1, 0)).status == 0
        tag = write(old, held)
        if gone:
            old.close()
            eventually(lambda: len(rig.target.server.orphans) == 1)
        itt = reserve_out(other, PREEMPT_AND_ABORT, 2, 1)
        eventually(lambda: preempted(rig))
        assert until_ping(other) == []
        held.go.set()
        assert other.finish(itt).status == 0
        assert other.read(0, 1).data == OLD
        assert other.write(0, NEW).status == 0
        if not gone:
            assert [(pdu.itt, pdu.header[3]) for pdu in until_ping(old)] == [(tag, TASK_ABORTED)]
        assert other.read(0, 1).data == NEW


def preempted(rig: Rig) -> bool:
    """Of the two registrations one is left."""
    unit = rig.root.hbas["fileio"].devices["d1"].unit
    assert unit is not None
    return len(unit.reservation().registrations) == 1


def test_who_waits_for_others_can_be_aborted_and_leaves_its_gate(
    rig: Rig, disk: model.Tpg, held: Held
) -> None:
    with victim(rig, disk) as old, rig.login(disk, name=OTHER) as other:
        for key, each in enumerate((old, other), 1):
            each.ready()
            assert each.finish(reserve_out(each, REGISTER, 0, key)).status == 0
        write(old, held)
        itt = reserve_out(other, PREEMPT_AND_ABORT, 2, 1)
        eventually(lambda: preempted(rig))
        assert other.task_management(1, tag=itt) == 0
        held.go.set()
        assert other.write(0, NEW).status == 0
        assert until_ping(other) == []
