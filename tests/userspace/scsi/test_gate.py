"""The gate: exclusive commands run alone, nobody starves, everything keeps its order."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from isadmin.userspace.scsi import dispatch
from isadmin.userspace.scsi.command import Command
from isadmin.userspace.scsi.gate import Gate
from isadmin.userspace.scsi.nexus import Nexus
from tests.userspace.scsi.bench import bench
from tests.userspace.scsi.test_atomic import compare_and_write
from tests.userspace.scsi.test_block import cdb

NEXUS = Nexus("iqn.a", bytes(6), "iqn.t", 1)


def command(*, exclusive: bool) -> Command:
    made = Command(NEXUS, None, b"")
    made.exclusive = exclusive
    return made


def test_commands_that_are_not_exclusive_run_together() -> None:
    gate = Gate()
    first, second = command(exclusive=False), command(exclusive=False)
    assert gate.enter(first)
    assert gate.enter(second)
    assert gate.leave(first) == []
    assert not gate.busy


def test_an_exclusive_command_waits_and_keeps_others_waiting() -> None:
    changes: list[int] = []
    gate = Gate(lambda: changes.append(1))
    running, alone, later = command(exclusive=False), command(exclusive=True), command(exclusive=False)
    assert gate.enter(running)
    assert not gate.enter(alone)
    assert gate.busy
    assert not gate.enter(later)
    assert gate.leave(running) == [alone]
    assert gate.leave(alone) == [later]
    assert not gate.busy
    assert changes


def test_a_head_of_queue_command_waits_for_none_that_waits() -> None:
    gate = Gate()
    running, alone, later = command(exclusive=False), command(exclusive=True), command(exclusive=False)
    first, second = command(exclusive=False), command(exclusive=True)
    first.head_of_queue = second.head_of_queue = True
    assert gate.enter(running)
    assert not gate.enter(alone)
    assert not gate.enter(later)
    assert gate.enter(first), "beside the one that runs"
    assert not gate.enter(second)
    assert gate.leave(first) == []
    assert gate.leave(running) == [second], "before those that came earlier"
    assert gate.leave(second) == [alone]
    assert len(gate) == 2


def test_a_dropped_command_lets_the_next_through() -> None:
    gate = Gate()
    running, alone, later = command(exclusive=False), command(exclusive=True), command(exclusive=False)
    gate.enter(running)
    gate.enter(alone)
    gate.enter(later)
    assert gate.drop(alone) == [later]
    assert not gate.busy


def test_no_path_is_plain_while_an_exclusive_command_runs_or_waits() -> None:
    world = bench()
    disk, other = world.initiator(), world.initiator("b")
    gate = world.unit.gate
    reading = dispatch.admit(disk.nexus, 0, cdb(0x28, 0, 1))
    swapping = dispatch.admit(other.nexus, 0, compare_and_write(0), 1024)
    assert swapping.exclusive
    assert gate.enter(reading)
    assert disk.path.plain
    assert not gate.enter(swapping)
    assert not disk.path.plain
    assert gate.leave(reading) == [swapping]
    assert not disk.path.plain
    assert gate.leave(swapping) == []
    assert disk.path.plain
    assert other.path.plain


class GateMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.notified = False
        self.gate = Gate(self.changed)
        self.running: list[Command] = []
        self.waiting: list[Command] = []

    def changed(self) -> None:
        self.notified = self.gate.busy

    def started(self, commands: list[Command]) -> None:
        assert commands == self.waiting[: len(commands)]
        del self.waiting[: len(commands)]
        self.running += commands

    @rule(exclusive=st.booleans())
    def enter(self, exclusive: bool) -> None:
        made = command(exclusive=exclusive)
        (self.running if self.gate.enter(made) else self.waiting).append(made)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        done = data.draw(st.sampled_from(self.running))
        self.running.remove(done)
        self.started(self.gate.leave(done))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        dropped = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(dropped)
        self.started(self.gate.drop(dropped))

    @invariant()
    def exclusive_commands_are_alone(self) -> None:
        assert len(self.running) <= 1 or not any(c.exclusive for c in self.running)

    @invariant()
    def nothing_waits_for_nothing(self) -> None:
        assert self.running or not self.waiting

    @invariant()
    def changes_are_told(self) -> None:
        assert self.notified == self.gate.busy


TestGateMachine = GateMachine.TestCase
TestGateMachine.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
