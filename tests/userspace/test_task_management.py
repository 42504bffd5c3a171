"""Task management while commands run and wait: each ends once, with one answer or none (SAM-5 7)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from isadmin.userspace.scsi.unit import LogicalUnit
from tests.initiator import NONE, Initiator, Pdu
from tests.userspace.holding import Held
from tests.userspace.rig import IQN, Rig
from tests.userspace.test_target import eventually, two_connections

ABORT_TASK, ABORT_TASK_SET, CLEAR_TASK_SET, LUN_RESET, WARM_RESET = 1, 2, 4, 5, 6
ORDERED, HEAD_OF_QUEUE = 2, 3
READ = bytes.fromhex("28000000000000000100")
WRITE = bytes.fromhex("2a000000000000000100")
TASK_ABORTED = 0x40
BLOCK = b"A" * 512


@pytest.fixture
def pair(rig: Rig, held: Held, tmp_path: Path) -> Iterator[tuple[Initiator, Initiator]]:
    """Two initiators at a disk whose writes are held: one that has commands there, and another."""
    disk = rig.file(tmp_path / "disk", 1 << 20, buffered=False, emulate_tas=1)
    tpg = rig.serve(disk, default_cmdsn_depth=512)
    with rig.login(tpg) as victim, rig.login(tpg, name="iqn.2003-01.org.test:other") as other:
        victim.ready()
        other.ready()
        yield victim, other


def write(initiator: Initiator, held: Held) -> int:
    """Start one that a pool thread is at work on; its tag."""
    begun = held.begun
    itt = initiator.send_command(WRITE, data_out=BLOCK, immediate_data=BLOCK)
    eventually(lambda: held.begun > begun)
    return itt


def manage(initiator: Initiator, function: int, tag: int = NONE, *, ref: int = 0) -> int:
    """Send a request, and leave its response to the caller; its tag. ref: RefCmdSN."""
    itt = initiator.next_itt()
    words = itt, tag, initiator.cmd_sn, initiator.exp_stat_sn, ref, 0
    initiator.send(struct.pack(">BBHIQIIIIII8x", 0x42, 0x80 | function, 0, 0, 0, *words))
    return itt


def until_ping(initiator: Initiator) -> list[Pdu]:
    """What comes before the answer to a ping."""
    itt = initiator.next_itt()
    initiator.send(struct.pack(">BBHIQIIII16x", 0x40, 0x80, 0, 0, 0, itt, NONE, initiator.cmd_sn, 0))
    found = []
    while (pdu := initiator.receive()).itt != itt:
        found.append(pdu)
    return found


def response(initiator: Initiator, itt: int) -> int:
    pdu = initiator.receive()
    assert (pdu.opcode, pdu.itt) == (0x22, itt)
    return pdu.header[2]


def test_two_functions_that_end_a_task_answer_it_once(pair: tuple[Initiator, Initiator], held: Held) -> None:
    victim, other = pair
    itt = write(victim, held)
    functions = [manage(other, function) for function in (LUN_RESET, WARM_RESET, CLEAR_TASK_SET)]
    assert until_ping(other) == []
    held.go.set()
    assert [response(other, each) for each in functions] == [0, 0, 0]
    assert [(pdu.itt, pdu.header[3]) for pdu in until_ping(victim)] == [(itt, TASK_ABORTED)]


@pytest.mark.parametrize("tas", [0, 1])
def test_clear_task_set_is_told_once_to_those_whose_commands_it_ends(
    rig: Rig, pair: tuple[Initiator, Initiator], held: Held, tas: int
) -> None:
    """With TAS by TASK ABORTED, without it by a unit attention (SAM-5 5.6)."""
    victim, other = pair
    rig.root.hbas["fileio"].devices["d1"].attrib["emulate_tas"] = tas
    with rig.login(rig.fabric.targets[IQN].tpgs[1], name="iqn.2003-01.org.test:idle") as idle:
        idle.ready()
        itt = write(victim, held)
        cleared = manage(other, CLEAR_TASK_SET)
        held.go.set()
        assert response(other, cleared) == 0
        assert [(pdu.itt, pdu.header[3]) for pdu in until_ping(victim)] == [(itt, TASK_ABORTED)] * tas
        replies = [each.cmd(bytes(6)) for each in (victim, other, idle)]
        assert [reply.asc if reply.status else 0 for reply in replies] == [0 if tas else 0x2F00, 0, 0]


def test_a_task_that_its_own_initiator_has_aborted_has_no_answer(
    pair: tuple[Initiator, Initiator], held: Held
) -> None:
    victim, other = pair
    itt = write(victim, held)
    own = manage(victim, ABORT_TASK, itt)
    assert until_ping(victim) == []
    foreign = manage(other, LUN_RESET)
    assert until_ping(other) == []
    held.go.set()
    assert response(victim, own) == response(other, foreign) == 0
    assert until_ping(victim) == []


def test_a_task_that_both_abort_is_told_of_the_first(pair: tuple[Initiator, Initiator], held: Held) -> None:
    """The foreign reset comes first: its initiator hears TASK ABORTED, then that its own request is done."""
    victim, other = pair
    itt = write(victim, held)
    foreign = manage(other, LUN_RESET)
    assert until_ping(other) == []
    own = manage(victim, ABORT_TASK, itt)
    assert until_ping(victim) == []
    held.go.set()
    assert response(other, foreign) == 0
    pdu = victim.receive()
    assert (pdu.opcode, pdu.itt, pdu.header[3]) == (0x21, itt, TASK_ABORTED)
    assert response(victim, own) == 0


def waiting(rig: Rig) -> int:
    (device,) = rig.root.hbas["fileio"].devices.values()
    unit = device.unit
    assert isinstance(unit, LogicalUnit)
    return len(unit.gate.waiting)


@pytest.mark.parametrize("how", ["reset", "preempt and abort"])
def test_a_task_that_is_to_end_is_not_let_through_by_another(
    rig: Rig, pair: tuple[Initiator, Initiator], held: Held, how: str
) -> None:
    victim, other = pair
    if how != "reset":
        for initiator, key in ((victim, 1), (other, 2)):
            # REGISTER, then who preempts has the other's key removed.
            assert initiator.finish(reserve_out(initiator, 0, 0, key)).status == 0
    held_back = [write(victim, held)]
    held_back.append(victim.send_command(READ, expected_in=512, attribute=ORDERED))
    held_back += [victim.send_command(READ, expected_in=512) for _ in range(3)]
    eventually(lambda: waiting(rig) == 4)
    if how == "reset":
        itt = manage(other, LUN_RESET)
        eventually(lambda: waiting(rig) == 0)
        held.go.set()
        assert response(other, itt) == 0
    else:
        itt = reserve_out(other, 5, 2, 1)
        eventually(lambda: waiting(rig) == 0)
        held.go.set()
        assert other.finish(itt).status == 0
    ends = [victim.receive() for _ in held_back]
    assert sorted((pdu.opcode, pdu.itt, pdu.header[3]) for pdu in ends) == sorted(
        (0x21, itt, TASK_ABORTED) for itt in held_back
    )
    assert until_ping(victim) == []
    victim.ready()
    assert victim.read(0, 1).status == 0


def reserve_out(initiator: Initiator, action: int, own: int, other: int, flags: int = 0) -> int:
    """Send a PERSISTENT RESERVE OUT with two keys; its tag."""
    data = struct.pack(">QQ4xB3x", own, other, flags)
    cdb = struct.pack(">BBB2xI", 0x5F, action, 1, len(data))
    # It need not wait for ordered commands.
    return initiator.send_command(cdb, data_out=data, immediate_data=data, attribute=HEAD_OF_QUEUE)


def test_many_ordered_commands_are_let_through_one_after_another(
    rig: Rig, pair: tuple[Initiator, Initiator], held: Held
) -> None:
    """More than a call for each has room for on Python's stack."""
    victim, other = pair
    first = write(other, held)
    tags = [victim.send_command(READ, expected_in=512, attribute=ORDERED) for _ in range(400)]
    eventually(lambda: waiting(rig) == len(tags))
    held.go.set()
    assert other.finish(first).status == 0
    assert [victim.receive().itt for _ in tags] == tags


# Commands whose turn has yet to come


@pytest.fixture
def connections(rig: Rig) -> Iterator[tuple[Initiator, Initiator]]:
    tpg = rig.serve(rig.ramdisk(), rig.ramdisk(), param={"MaxConnections": "2"})
    with two_connections(rig, tpg) as (one, other):
        one.ready(1)
        other.cmd_sn = one.cmd_sn
        yield one, other


def early(rig: Rig, initiator: Initiator, ahead: int, lun: int = 0) -> int:
    """A write that comes before `ahead` others; its tag."""
    queue = rig.target.active_sessions()[0].session.early
    before = len(queue)
    number = initiator.cmd_sn + ahead
    tag = initiator.send_command(WRITE, lun=lun, data_out=BLOCK, immediate_data=BLOCK, cmd_sn=number)
    eventually(lambda: len(queue) == before + 1)
    return tag


def test_a_command_that_waits_for_its_turn_is_aborted(
    rig: Rig, connections: tuple[Initiator, Initiator]
) -> None:
    """Section 11.6.1: it is taken for received, and never carried out."""
    one, other = connections
    number = one.cmd_sn
    tag = early(rig, other, 1)
    kept = early(rig, other, 2)
    other.cmd_sn = number + 3
    assert response(other, manage(other, ABORT_TASK, kept, ref=number + 1)) == 1, "another task's number"
    assert response(other, manage(other, ABORT_TASK, tag, ref=number + 1)) == 0
    assert response(other, manage(other, ABORT_TASK, tag, ref=number + 1)) == 0, "it is received once more"
    assert response(other, manage(other, ABORT_TASK, kept, ref=number + 2)) == 0
    assert one.cmd(bytes(6)).status == 0
    one.cmd_sn = number + 3
    assert one.read(0, 1).data == bytes(512)
    assert until_ping(other) == []


def test_a_command_that_has_not_come_is_aborted_before_it_does(
    rig: Rig, connections: tuple[Initiator, Initiator]
) -> None:
    """It counts as received; what waited for it goes on."""
    one, other = connections
    number = one.cmd_sn
    waits = early(rig, other, 1)
    other.cmd_sn = number + 2
    assert response(other, manage(other, ABORT_TASK, 0x999, ref=number + 2)) == 1, "not before the request"
    assert response(other, manage(other, ABORT_TASK, 0x999, ref=number - 1)) == 1, "it has been"
    itt = manage(other, ABORT_TASK, 0x999, ref=number)
    assert other.finish(waits).status == 0
    assert response(other, itt) == 0
    one.send_command(WRITE, data_out=b"B" * 512, immediate_data=b"B" * 512, cmd_sn=number, itt=0x999)
    assert until_ping(one) == []
    one.cmd_sn = number + 2
    assert one.read(0, 1).data == BLOCK


@pytest.mark.parametrize("function", [ABORT_TASK_SET, CLEAR_TASK_SET, LUN_RESET, WARM_RESET])
def test_functions_end_what_waits_for_its_turn(
    rig: Rig, connections: tuple[Initiator, Initiator], function: int
) -> None:
    """At their LUN (a target reset: everywhere), and sent before them."""
    one, other = connections
    number = one.cmd_sn
    for ahead, lun in ((1, 0), (2, 1), (4, 0)):
        early(rig, other, ahead, lun)
    other.cmd_sn = number + 4
    assert response(other, manage(other, function)) == 0
    for cmd_sn in (number, number + 3):
        one.send_command(bytes(6), cmd_sn=cmd_sn)
    answers = {other.receive().itt for _ in range(1 if function == WARM_RESET else 2)}
    assert until_ping(other) == []
    assert len(answers) == (1 if function == WARM_RESET else 2)
    assert rig.target.active_sessions()[0].session.exp_cmd_sn == number + 5
