"""Commands that hold more than their own unit's gate, and those that go on without their task."""

from __future__ import annotations

import time

import pytest

from isadmin.userspace import limits, model
from isadmin.userspace.scsi.command import Command
from isadmin.userspace.scsi.sense import Status
from isadmin.userspace.scsi.unit import LogicalUnit
from isadmin.userspace.storage.ramdisk import RamStorage
from tests.initiator import Initiator
from tests.userspace.rig import Rig
from tests.userspace.scsi.test_copy import parameters, segment, target
from tests.userspace.test_target import eventually

SOURCE, DESTINATION = b"s" * 512, b"d" * 512


def unit_of(device: model.Device) -> LogicalUnit:
    assert isinstance(device.unit, LogicalUnit)
    return device.unit


def two_disks(rig: Rig) -> tuple[model.Device, model.Device]:
    """Their designators come from the first digits of their serial numbers."""
    one, two = rig.ramdisk(), rig.ramdisk()
    one.serial, two.serial = "1" + one.serial[1:], "2" + two.serial[1:]
    return one, two


class Alone:
    """An exclusive command at a unit, as long as one likes."""

    def __init__(self, rig: Rig, unit: LogicalUnit) -> None:
        self.rig, self.unit = rig, unit
        self.full = next(iter(rig.target.server.connections)).full
        assert self.full is not None
        self.command = Command(self.full.active.nexus, None, bytes(16))
        self.command.exclusive = True
        assert rig.call(lambda: unit.gate.enter(self.command))

    def leave(self) -> None:
        full = self.full
        assert full is not None
        self.rig.call(lambda: full._let_through(self.unit.gate.leave(self.command)))


def start_copy(initiator: Initiator, source: model.Device, destination: model.Device) -> int:
    """Copy block 0 to block 0; the task tag."""
    data = parameters([target(source.serial), target(destination.serial)], [segment(0, 1, 1, 0, 0)])
    cdb = bytes.fromhex("8300") + bytes(8) + len(data).to_bytes(4, "big") + bytes(2)
    return initiator.send_command(cdb, data_out=data, immediate_data=data)


def test_a_copy_waits_for_exclusive_commands_of_its_destination(rig: Rig) -> None:
    source, destination = two_disks(rig)
    with rig.login(rig.serve(source, destination)) as initiator:
        initiator.ready()
        initiator.ready(1)
        assert initiator.write(0, SOURCE).status == 0
        assert initiator.write(0, DESTINATION, lun=1).status == 0
        alone = Alone(rig, unit_of(destination))
        itt = start_copy(initiator, source, destination)
        eventually(lambda: bool(unit_of(destination).gate.waiting))
        assert initiator.nop(b"meanwhile").data == b"meanwhile"
        assert bytes(unit_of(destination).storage.read(0, 512)) == DESTINATION
        alone.leave()
        assert initiator.finish(itt).status == 0
        assert initiator.read(0, 1, lun=1).data == SOURCE
        eventually(lambda: not unit_of(source).gate.running and not unit_of(destination).gate.running)


def test_copies_both_ways_between_exclusive_commands_do_not_wait_in_a_circle(rig: Rig) -> None:
    one, two = two_disks(rig)
    with rig.login(rig.serve(one, two)) as initiator:
        initiator.ready()
        initiator.ready(1)
        first, second = Alone(rig, unit_of(one)), Alone(rig, unit_of(two))
        tags = [start_copy(initiator, *pair) for pair in ((one, two), (two, one), (one, two))]
        eventually(lambda: len(unit_of(one).gate.waiting) == 3)
        first.leave()
        eventually(lambda: bool(unit_of(two).gate.waiting))
        third = Alone(rig, unit_of(one)) if not unit_of(one).gate.running else None
        second.leave()
        if third is not None:
            third.leave()
        assert sorted(_ends(initiator, len(tags))) == sorted(tags)
        eventually(lambda: not unit_of(one).gate.running and not unit_of(two).gate.running)


def _ends(initiator: Initiator, count: int) -> list[int]:
    """The task tags of the next answers, all GOOD."""
    tags = []
    for _ in range(count):
        pdu = initiator.receive()
        assert (pdu.opcode, pdu.header[3]) == (0x21, 0)
        tags.append(pdu.itt)
    return tags


def test_a_copy_aborted_while_it_waits_leaves_every_gate(rig: Rig) -> None:
    source, destination = two_disks(rig)
    with rig.login(rig.serve(source, destination)) as initiator:
        initiator.ready()
        initiator.ready(1)
        assert initiator.write(0, DESTINATION, lun=1).status == 0
        alone = Alone(rig, unit_of(destination))
        itt = start_copy(initiator, source, destination)
        eventually(lambda: bool(unit_of(destination).gate.waiting))
        assert initiator.task_management(1, tag=itt) == 0
        gates = unit_of(source).gate, unit_of(destination).gate
        assert [(gate.running, len(gate.waiting)) for gate in gates] == [(0, 0), (1, 0)]
        alone.leave()
        assert initiator.read(0, 1, lun=1).data == DESTINATION


def test_a_sanitize_operation_outlives_its_command(rig: Rig) -> None:
    device = rig.ramdisk()
    unit = unit_of(device)
    unit.storage = Slow(unit.storage)  # type: ignore[assignment]
    with rig.login(rig.serve(device)) as initiator:
        initiator.ready()
        pattern = bytes.fromhex("01000001") + b"z"
        itt = initiator.send_command(
            bytes.fromhex("480100000000000005") + b"\0", data_out=pattern, immediate_data=pattern
        )
        eventually(lambda: unit.sanitizing)
        assert initiator.task_management(1, tag=itt) == 0
        assert initiator.task_management(5) == 0
        assert unit.sanitizing
        initiator.cmd(bytes(6))
        assert initiator.cmd(bytes(6)).asc == 0x041B
        unit.storage.go = True  # type: ignore[attr-defined]
        eventually(lambda: not unit.sanitizing)
        assert initiator.read(0, 1).data == b"z" * 512


class Slow:
    """Storage in a pool thread, whose writes wait until `go`."""

    blocking = True
    go = False

    def __init__(self, storage: object) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> object:
        return getattr(self._storage, name)

    def write(self, offset: int, data: bytes, *, sync: bool = False) -> None:
        while not self.go:
            time.sleep(0.01)
        self._storage.write(offset, data, sync=sync)  # type: ignore[attr-defined]


def test_data_for_a_command_that_has_it_all_is_dropped(rig: Rig) -> None:
    """It runs, or waits for its turn: more data neither ends it nor gets into what it writes."""
    disk = rig.ramdisk()
    with rig.login(rig.serve(disk)) as initiator:
        initiator.ready()
        data = bytes(range(256)) * 64
        alone = Alone(rig, unit_of(disk))
        write = bytes.fromhex("2a00 00000000 00 0020 00".replace(" ", ""))
        immediate = initiator.send_command(
            write, data_out=data[:8192], expected=8192, immediate_data=data[:8192]
        )
        asked = initiator.send_command(write, data_out=data)
        r2t = initiator.receive()
        assert (r2t.opcode, r2t.itt) == (0x31, asked)
        initiator.answer_r2t(r2t, data)
        for itt, ttt in ((immediate, 0xFFFFFFFF), (asked, r2t.ttt), (asked, 0xFFFFFFFF)):
            initiator.send_data(itt, ttt, 0, b"!" * 8192, data_sn=2)
        assert initiator.nop(b"there").data == b"there"
        alone.leave()
        assert initiator.finish(immediate).status == 0
        assert initiator.finish(asked).status == 0
        assert initiator.read(0, 32).data == data


READ = bytes.fromhex("28000000000000000100")


def test_too_many_commands_are_refused(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """TASK SET FULL for those that have some there, BUSY for others; those that wait are answered."""
    monkeypatch.setattr(limits, "TASK_SET", 6)
    disk = rig.ramdisk()
    tpg = rig.serve(disk)
    with rig.login(tpg) as one, rig.login(tpg, name="iqn.2003-01.org.test:other") as other:
        one.ready()
        other.ready()
        alone = Alone(rig, unit_of(disk))
        tags = [one.send_command(READ, expected_in=512) for _ in range(8)]
        for tag in tags[5:]:
            assert one.finish(tag).status == Status.TASK_SET_FULL
        assert other.read(0, 1).status == Status.BUSY
        alone.leave()
        for tag in tags[:5]:
            assert one.finish(tag).status == 0
        assert other.read(0, 1).status == 0


def test_immediate_commands_are_no_way_round_the_window(rig: Rig) -> None:
    disk = rig.ramdisk()
    tpg = rig.serve(disk, default_cmdsn_depth=4)
    with rig.login(tpg) as initiator:
        initiator.ready()
        alone = Alone(rig, unit_of(disk))
        tags = [initiator.send_command(READ, expected_in=512, immediate=True) for _ in range(6)]
        for tag in tags[4:]:
            assert initiator.finish(tag).status == Status.TASK_SET_FULL
        alone.leave()
        for tag in tags[:4]:
            assert initiator.finish(tag).status == 0


def test_a_head_of_queue_command_is_first(rig: Rig) -> None:
    disk = rig.ramdisk()
    with rig.login(rig.serve(disk)) as initiator:
        initiator.ready()
        alone = Alone(rig, unit_of(disk))
        ordered = initiator.send_command(READ, expected_in=512, attribute=2)
        simple = initiator.send_command(READ, expected_in=512)
        first = initiator.send_command(READ, expected_in=512, attribute=3)
        assert initiator.nop(b"there").data == b"there"
        alone.leave()
        assert [initiator.receive().itt for _ in range(3)] == [first, ordered, simple]


def test_a_session_counts_commands_and_answers(rig: Rig) -> None:
    disk = rig.ramdisk()
    tpg = rig.serve(disk)
    with rig.login(tpg) as initiator:
        initiator.ready()
        initiator.read(0, 1)

        def counted() -> tuple[int, int]:
            (facts,) = rig.target.sessions(tpg)
            return facts.cmd_pdus, facts.rsp_pdus

        commands, answers = rig.call(counted)
        assert commands == answers > 1
        alone = Alone(rig, unit_of(disk))
        tags = [initiator.send_command(READ, expected_in=512) for _ in range(3)]
        assert initiator.nop(b"there").data == b"there"
        assert rig.call(counted) == (commands + 3, answers)
        alone.leave()
        for tag in tags:
            initiator.finish(tag)
        assert rig.call(counted) == (commands + 3, answers + 3)


def test_errors_of_our_own_come_in_the_format_that_was_asked_for(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Descriptor format with D_SENSE, as any other sense."""
    device = rig.ramdisk()
    unit_of(device).descriptor_sense = True
    with rig.login(rig.serve(device)) as initiator:
        initiator.ready()

        def broken(storage: object, offset: int, length: int) -> bytes:
            raise ZeroDivisionError

        monkeypatch.setattr(RamStorage, "read", broken)
        reply = initiator.cmd(bytes.fromhex("2f020000000000000100"), data_out=bytes(512))
        assert (reply.sense[0] & 0x7F, reply.key, reply.asc) == (0x72, 4, 0x4400)
