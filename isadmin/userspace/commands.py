"""SCSI commands of one connection, from their PDU to their answer.

A command becomes a Task (tasks.py): it is admitted by scsi.dispatch, collects its data (writedata.py), waits
its turn at the unit's gate, is performed (in the thread pool if it would block), and is answered
(answers.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from isadmin.userspace import limits
from isadmin.userspace.iscsi.codes import IMMEDIATE, CommandFlag, RejectReason, TaskAttribute
from isadmin.userspace.iscsi.errors import ProtocolError
from isadmin.userspace.iscsi.pdu import SCSI_COMMAND
from isadmin.userspace.iscsi.session import Transfer
from isadmin.userspace.scsi import dispatch
from isadmin.userspace.scsi.command import Command
from isadmin.userspace.scsi.nexus import lun_number
from isadmin.userspace.scsi.sense import Status
from isadmin.userspace.sessions import ActiveSession, count
from isadmin.userspace.tasks import Task, carried_out_now, carry_out
from isadmin.userspace.writedata import WriteData

if TYPE_CHECKING:
    from isadmin.userspace.connection import Connection


class Commands(WriteData):
    """The SCSI commands of one connection in full-feature phase."""

    __slots__ = ("paths",)

    def __init__(self, connection: Connection, active: ActiveSession, max_xmit: int) -> None:
        super().__init__(connection, active, max_xmit)
        self.paths = active.fast_paths

    # Commands in

    def _scsi_command(self, header: bytes, data: memoryview, ahs: bytes) -> None:
        _, flags, _, _, lun, itt, expected, _, _, cdb = SCSI_COMMAND.unpack(header)
        session = self.session
        self.active.nexus.commands += 1
        if itt in self.tasks:
            self.send_reject(RejectReason.TASK_IN_PROGRESS, header)
            return
        parameters = session.parameters
        immediate = len(data)
        final = bool(flags & CommandFlag.FINAL)
        writes = bool(flags & CommandFlag.WRITE)
        if immediate and not (writes and parameters.immediate_data):
            raise ProtocolError("immediate data where none is allowed")
        if not final and not (writes and not parameters.initial_r2t):
            raise ProtocolError("unsolicited data announced where none is allowed")
        if ahs:
            cdb += _extended_cdb(ahs)
        number = lun_number(lun.to_bytes(8, "big"))
        command = dispatch.admit(self.active.nexus, number, cdb, expected if writes else 0)
        numbered = not header[0] & IMMEDIATE
        if not command.done and (refusal := self._no_room(command, numbered=numbered)):
            command.end(refusal)
        task = Task(self, command, flags, lun, itt, expected, numbered=numbered)
        if numbered:
            session.outstanding += 1
        wanted = 0 if command.done else command.data_out_length
        length = min(wanted, expected) if writes else 0
        attribute = flags & 7
        if attribute == TaskAttribute.ORDERED:
            command.exclusive = True
        elif attribute == TaskAttribute.HEAD_OF_QUEUE:
            command.head_of_queue = True
        if immediate >= length and final:
            if length:
                command.data_out = bytes(data[:length])
                self._hold(task, length)
            self._start(task)
            return
        self.tasks[itt] = task
        task.transfer = transfer = Transfer(
            length=length,
            expected=expected,
            immediate=immediate,
            first_burst=parameters.first_burst_length,
            more_unsolicited=not final,
        )
        held = transfer.unsolicited_end if transfer.unsolicited_open else immediate
        task.buffer = bytearray(max(held, 0) if transfer.length > held else transfer.length)
        self._hold(task, len(task.buffer))
        keep = min(immediate, len(task.buffer))
        task.buffer[:keep] = data[:keep]
        if transfer.unsolicited_open:
            self._expect(task)
        self._ask(task)

    def _no_room(self, command: Command, *, numbered: bool) -> Status:
        """The status that refuses a command because too many are there already (SAM-5 5.3.1), or GOOD. Those
        with a CmdSN are held back by the command window; immediate ones, and the sum over all sessions, are
        not."""
        if not numbered and len(self.tasks) >= self.session.window:
            return Status.TASK_SET_FULL
        found = command.found
        if found is None or len(found.unit.gate) < limits.TASK_SET:
            return Status.GOOD
        mine = any(task.command.found is found for task in self.active.tasks())
        return Status.TASK_SET_FULL if mine else Status.BUSY

    def _start(self, task: Task) -> None:
        """Perform it as soon as the unit's gate lets it through."""
        command = task.command
        if command.done:
            self._finish(task)
            return
        if command.delay:
            delay, command.delay = command.delay, 0.0
            self.tasks[task.itt] = task
            self.server.loop.call_later(delay, self._start_late, task)
            return
        session = self.session
        waits = session.behind or (session.later and not command.head_of_queue)
        if waits or self._reads_enough(task):
            self.tasks[task.itt] = task
            task.held_back = True
            session.later.append(task)
            session.look_at_queues()
            return
        self._begin(task)

    def _reads_enough(self, task: Task) -> bool:
        """Whether the task must wait because there is enough that others read for the same connection."""
        if not task.flags & CommandFlag.READ:
            return False
        connection = self.connection
        there = connection.reading + (connection.out_bytes if connection.blocked else 0)
        return there > 0 and there + task.expected > limits.READ_AHEAD

    def _begin(self, task: Task) -> None:
        command = task.command
        if task.flags & CommandFlag.READ:
            task.reading = task.expected
            self.connection.reading += task.reading
        if command.found is None:
            self._perform(task)
            return
        task.ahead.append(command.unit.gate)
        self._pass_gates(task)

    def go_on(self) -> None:
        """Begin with the commands that are held back, in their order, as far as that goes now."""
        session = self.session
        later = session.later
        while later and not session.behind:
            task: Task = later[0]
            full = task.full
            if full._reads_enough(task):
                return
            later.popleft()
            session.look_at_queues()
            task.held_back = False
            full._begin(task)
            if full.connection.out_bytes >= limits.FLUSH_AT:
                full.connection.flush()
            else:
                self.server.flush_soon(full.connection)

    def _pass_gates(self, task: Task) -> None:
        """Through the gates ahead, then on with the command."""
        command = task.command
        if task.aborted:
            self.leave_gates(task)
            self.forget(task)
            return
        while task.ahead:
            gate = task.ahead.pop()
            task.gates.append(gate)
            if not gate.enter(command):
                self.tasks[task.itt] = task
                self.server.parked[command] = task
                return
        self._perform(task)

    def _start_late(self, task: Task) -> None:
        if not task.over and not self.connection.closed:
            self._start(task)
            self.server.flush_soon(self.connection)

    def _perform(self, task: Task) -> None:
        command = task.command
        if not command.blocking:
            carry_out(command)
            self._performed(task)
            return
        if carried_out_now(command):
            self._performed(task)
            return
        if not task.over:
            self.tasks[task.itt] = task
        task.pooled = True
        self.server.submit(lambda: carry_out(command), lambda: self._performed_in_pool(task))

    def _performed_in_pool(self, task: Task) -> None:
        task.pooled = False
        self._performed(task)
        self.server.flush_soon(self.connection)

    def _performed(self, task: Task) -> None:
        command = task.command
        if not command.done:
            # A further step.
            if command.early:
                self._answer_early(task)
            if command.awaits is not None and not task.aborted:
                if not task.over:
                    self.tasks[task.itt] = task
                awaits, command.awaits = command.awaits, None
                awaits(partial(self._waited, task))
            elif command.others:
                self._gather(task)
            else:
                self._perform(task)
            return
        try:
            # Answers come in the order in which commands had their turn.
            self._finish(task)
        finally:
            self.leave_gates(task)

    def _waited(self, task: Task) -> None:
        """What the next step had to wait for is over. The task may be so too; then it has left its gates."""
        if not task.over:
            self._perform(task)
            self.server.flush_soon(self.connection)

    def _answer_early(self, task: Task) -> None:
        """The command is answered before it is done; it goes on without its tag."""
        task.command.early = False
        if not task.aborted and not self.connection.closed:
            self._respond(task, task.command.status, b"", task.expected - task.command.data_out_length)
        self.forget(task)

    def _gather(self, task: Task) -> None:
        """The next step touches other units too. All commands that hold several gates came to them in the
        same order, and those that keep others out hold one: nobody waits in a circle."""
        command = task.command
        gates = {unit.gate for unit in (command.unit, *command.others)}
        command.others = ()
        self.leave_gates(task)
        task.ahead = sorted(gates, key=id)
        self._pass_gates(task)

    def leave_gates(self, task: Task) -> None:
        """The task is past its units' gates no more; let those through that waited for it."""
        task.ahead.clear()
        while task.gates:
            gate = task.gates.pop()
            parked = self.server.parked.pop(task.command, None)
            self._let_through(gate.leave(task.command) if parked is None else gate.drop(task.command))

    def _let_through(self, commands: Iterable[Command]) -> None:
        """Each in its turn: one that is over at once lets further ones through, as many as there are."""
        server = self.server
        passing = server.passing
        busy = bool(passing)
        passing.extend(server.parked.pop(command) for command in commands)
        if busy:
            return
        while passing:
            # It stays in the queue meanwhile, as the sign that somebody is at work on it.
            task = passing[0]
            try:
                task.full._pass_gates(task)
            except Exception as error:  # noqa: BLE001
                task.full.connection.fail(error)
            passing.popleft()
            server.flush_soon(task.full.connection)

    # Answers

    def _finish(self, task: Task) -> None:
        """Answer a command that is done, unless it was aborted or has its answer."""
        answered = task.aborted or task.over
        self.forget(task)
        if answered or self.connection.closed:
            return
        command = task.command
        data = command.data_in
        if isinstance(data, list):
            data = data[0] if len(data) == 1 else b"".join(data)
        expected_in = task.expected if task.flags & CommandFlag.READ else 0
        length = len(data)
        if command.found is not None and (length or command.data_out):
            count(command.found, 0, min(length, expected_in), len(command.data_out or b""))
        if length and expected_in and not command.status:
            self.active.nexus.responses += 1
            self.send_data_in(task.itt, data, min(length, expected_in), task.expected - length)
            return
        if task.flags & CommandFlag.WRITE and not task.flags & CommandFlag.READ:
            moved = length or command.data_out_length
        else:
            moved = length
        self._respond(task, command.status, command.sense, task.expected - moved)

    def forget(self, task: Task) -> None:
        """The task is over: what it held is free again. Who is to hear that it was aborted does so."""
        goes_on = task.aborted or not task.command.done
        task.over = True
        if self.tasks.get(task.itt) is task:
            del self.tasks[task.itt]
        session = self.session
        if task.numbered:
            task.numbered = False
            session.outstanding -= 1
        if task.held_back:
            task.held_back = False
            session.later.remove(task)
            session.look_at_queues()
        self.connection.reading -= task.reading
        task.reading = 0
        if session.later:
            self.server.loop.call_soon(self.go_on)
        if task.expecting:
            self._expect(task, more=False)
        if task.request is not None:
            self.server.budget.withdraw(self.active.account, task.request)
            task.request = None
        if task.reserved:
            size, task.reserved = task.reserved, 0
            buffer, task.buffer = task.buffer, b""
            # What was aborted may still be received into, or worked on.
            if not goes_on and isinstance(buffer, bytearray):
                self.server.return_buffer(buffer)
            self.server.budget.release(self.active.account, size)
        if task.told and not self.connection.closed:
            task.told = False
            self._respond(task, Status.TASK_ABORTED, b"", task.expected)
            self.server.flush_soon(self.connection)
        if task.on_end:
            waiting, task.on_end = task.on_end, []
            for callback in waiting:
                callback()

    def abort(self, task: Task) -> None:
        """End a task that is marked as aborted (see tasks.abort_all), unless a pool thread is at work on it:
        then it ends with that, or, if it is to go on, its task alone ends now."""
        if task.over or (task.pooled and not task.command.endures):
            return
        if not task.pooled:
            self.leave_gates(task)
        self.forget(task)


def _extended_cdb(ahs: bytes) -> bytes:
    """The part of a CDB beyond 16 bytes (section 11.2.2.3), without its padding."""
    length = int.from_bytes(ahs[:2], "big")
    if ahs[2] != 1 or length < 1 or length + 3 > len(ahs):
        raise ProtocolError("an additional header segment that is not understood")
    return ahs[4 : 3 + length]
