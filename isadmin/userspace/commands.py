"""SCSI commands of one connection, from their PDU to their answer.

A command becomes a Task (tasks.py): it is admitted by scsi.dispatch, collects its data, waits its turn at the
unit's gate, is performed (in the thread pool if it would block), and is answered.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from isadmin.userspace import limits
from isadmin.userspace.iscsi.codes import (
    IMMEDIATE,
    RESERVED_TAG,
    CommandFlag,
    Opcode,
    RejectReason,
    ResponseFlag,
    TaskAttribute,
)
from isadmin.userspace.iscsi.errors import DataError, ProtocolError
from isadmin.userspace.iscsi.pdu import (
    DATA_IN,
    DATA_OUT,
    R2T,
    SCSI_COMMAND,
    SCSI_RESPONSE,
    NopIn,
    Pdu,
    Reject,
)
from isadmin.userspace.iscsi.session import Transfer
from isadmin.userspace.iscsi.states import taken
from isadmin.userspace.scsi import dispatch
from isadmin.userspace.scsi.command import Command
from isadmin.userspace.scsi.nexus import lun_number
from isadmin.userspace.scsi.sense import Asc, CheckCondition, SenseKey, Status
from isadmin.userspace.sessions import ActiveSession, count
from isadmin.userspace.tasks import Task, carried_out_now, carry_out

if TYPE_CHECKING:
    from isadmin.userspace.budget import Request
    from isadmin.userspace.connection import Connection

log = logging.getLogger("isadmin.userspace")

DIRECT = 4096
"""From this many missing bytes on, a Data-Out segment is received straight into its place."""

_DATA_IN_FIRST = Opcode.DATA_IN << 24
_RESPONSE_FIRST = Opcode.SCSI_RESPONSE << 24


class Commands:
    """The SCSI commands of one connection in full-feature phase."""

    __slots__ = (
        "_next_ttt",
        "active",
        "connection",
        "credit",
        "data_came",
        "max_burst",
        "max_xmit",
        "paths",
        "request",
        "server",
        "session",
        "tasks",
    )

    def __init__(self, connection: Connection, active: ActiveSession, max_xmit: int) -> None:
        self.connection = connection
        self.server = connection.server
        self.active = active
        self.session = active.session
        self.paths = active.fast_paths
        self.max_xmit = max_xmit
        """The longest data segment the initiator takes on this connection."""
        self.max_burst = active.session.parameters.max_burst_length
        self.tasks: dict[int, Task] = {}
        self.credit = 0
        """Bytes of the server's budget that are held for what the next PDU brings."""
        self.request: Request | None = None
        """The connection waits for them."""
        self.data_came = False
        """Write data has come since the last tick."""
        self._next_ttt = 1

    # PDUs out

    def _send(self, pdu: Pdu) -> None:
        self.connection.send_pdu(pdu.header(), pdu.data)

    def _status_numbers(self) -> tuple[int, int, int]:
        """StatSN, ExpCmdSN and MaxCmdSN of an answer that advances StatSN."""
        connection, session = self.connection, self.session
        stat_sn = connection.stat_sn
        connection.stat_sn = stat_sn + 1 & 0xFFFFFFFF
        return stat_sn, session.exp_cmd_sn, self._promise()

    def _numbers(self) -> tuple[int, int, int]:
        """The same for a PDU that does not advance StatSN."""
        return self.connection.stat_sn, self.session.exp_cmd_sn, self._promise()

    def _promise(self) -> int:
        """MaxCmdSN of the next answer: no further commands while there is no room for write data."""
        pressed = self.server.budget.pressed
        if pressed:
            self.server.short_windows.add(self)
        return self.session.advance_window(pressed)

    def tell_window(self) -> None:
        """Promise more commands, if no answer is to come that does."""
        session = self.session
        before = session.max_cmd_sn
        if session.outstanding or session.advance_window() == before:
            return
        self._send(NopIn(0, RESERVED_TAG, RESERVED_TAG, *self._numbers()))
        self.server.flush_soon(self.connection)

    def give_back(self) -> None:
        """A PDU holds nothing of the budget any more but what its task has taken over."""
        if self.credit:
            self.server.budget.release(self.active.account, self.credit)
            self.credit = 0

    def send_reject(self, reason: RejectReason, header: bytes) -> None:
        self._send(Reject(reason, *self._status_numbers(), data=header))

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

    def _hold(self, task: Task, size: int) -> None:
        """The task takes over what its PDU holds of the budget, as much as it keeps of the data."""
        self.data_came = True
        size = min(size, self.credit)
        self.credit -= size
        task.reserved = size

    def _expect(self, task: Task, *, more: bool = True) -> None:
        """Data is to come for a task, or not any more."""
        if task.expecting is not more:
            task.expecting = more
            task.stalled = 0
            self.server.budget.expect(self.active.account, 1 if more else -1)

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

    def _ask(self, task: Task) -> None:
        """Send the R2Ts that a task may send now; the first one needs the whole buffer."""
        transfer = task.transfer
        assert transfer is not None
        if transfer.complete:
            self._collected(task)
            return
        if task.request is not None or transfer.unsolicited_open:
            return
        if len(task.buffer) < transfer.length:
            self._expect(task, more=False)
            size = transfer.length - task.reserved
            granted = partial(self._granted, task, transfer, size)
            task.request = self.server.budget.take(self.active.account, size, granted, asked=True)
            if task.request is not None:
                return
            self._enlarge(task, transfer, size)
        parameters = self.session.parameters
        while (r2t := transfer.next_r2t(self.max_burst, parameters.max_outstanding_r2t)) is not None:
            offset, length = r2t
            ttt = self._new_tag()
            self._send(R2T(task.lun, task.itt, ttt, *self._numbers(), transfer.r2t_sn, offset, length))
            transfer.sent_r2t(ttt, offset, length)

    def _granted(self, task: Task, transfer: Transfer, size: int) -> None:
        task.request = None
        self._enlarge(task, transfer, size)
        self._ask(task)
        self.server.flush_soon(self.connection)

    def _enlarge(self, task: Task, transfer: Transfer, size: int) -> None:
        task.reserved += size
        self._expect(task)
        first = task.buffer
        task.buffer = self.server.take_buffer(transfer.length)
        memoryview(task.buffer)[: len(first)] = first

    def _new_tag(self) -> int:
        ttt = self._next_ttt
        self._next_ttt = ttt + 1 if ttt < RESERVED_TAG - 1 else 1
        return ttt

    def _take_data(self, header: bytes, data: memoryview) -> None:
        """A whole Data-Out PDU."""
        _, flags, _, _, _, itt, ttt, _, _, _, data_sn, offset = DATA_OUT.unpack_from(header)
        task = self.tasks.get(itt)
        transfer = task.transfer if task is not None else None
        if task is None or transfer is None:
            log.debug("data for no command from %s is dropped", self.connection.peer)
            return
        length = len(data)
        if not self._accept(task, transfer, ttt, offset, length, data_sn, flags):
            return
        keep = min(length, len(task.buffer) - offset)
        if keep > 0:
            memoryview(task.buffer)[offset : offset + keep] = data[:keep]
        self._ask(task)

    def _accept(
        self, task: Task, transfer: Transfer, ttt: int, offset: int, length: int, data_sn: int, flags: int
    ) -> bool:
        """Take note of a Data-Out PDU. False when it does not fit its sequence: the command has ended."""
        task.stalled = 0
        self.data_came = True
        try:
            transfer.accept(ttt, offset, length, data_sn, bool(flags & 0x80))
        except DataError as error:
            log.info("command from %s failed: %s", self.connection.peer, error)
            task.command.check(CheckCondition(SenseKey.ABORTED_COMMAND, Asc.PROTOCOL_SERVICE_CRC_ERROR))
            self._finish(task)
            return False
        return True

    def data_out(self, view: memoryview, position: int, end: int) -> int:
        """The Data-Out PDU at `position` of a receive buffer, without digests; the position after it, or -1
        while too little of it is there. A long segment that is not whole yet is received straight into the
        command's buffer from here on."""
        fields: tuple[int, ...] = DATA_OUT.unpack_from(view, position)
        opcode, flags, _, lengths, _, itt, ttt, _, _, _, data_sn, offset = fields
        if lengths >> 24 or lengths > self.active.max_recv:
            raise ProtocolError("a Data-Out PDU that is too long")
        start = position + 48
        stop = start + (lengths + 3 & ~3)
        whole = stop <= end
        task = self.tasks.get(itt)
        transfer = task.transfer if task is not None else None
        if not whole and (lengths & 3 or stop - end < DIRECT or transfer is None):
            return -1
        if task is None or transfer is None:
            if opcode not in taken(self.connection.state, discovery=self.session.discovery):
                raise ProtocolError(f"write data in state {self.connection.state.name}")
            log.debug("data for no command from %s is dropped", self.connection.peer)
            return stop
        if not whole and offset + lengths > len(task.buffer):
            return -1
        if not self._accept(task, transfer, ttt, offset, lengths, data_sn, flags):
            return stop if whole else -1
        if whole:
            keep = min(lengths, len(task.buffer) - offset)
            if keep > 0:
                memoryview(task.buffer)[offset : offset + keep] = view[start : start + keep]
            self._ask(task)
            return stop
        here = end - start
        place = memoryview(task.buffer)[offset : offset + lengths]
        place[:here] = view[start:end]
        self.connection.receive_into(place[here:], lambda: self._arrived(task))
        return end

    def _arrived(self, task: Task) -> None:
        if not task.over:
            self._ask(task)

    def _collected(self, task: Task) -> None:
        """All data is here; what comes beyond it is dropped."""
        transfer, task.transfer = task.transfer, None
        assert transfer is not None
        self._expect(task, more=False)
        if not task.command.done:
            task.command.data_out = memoryview(task.buffer)[: transfer.length]
        self._start(task)

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

    def _respond(self, task: Task, status: int, sense: bytes, short: int) -> None:
        """A SCSI Response; short: expected bytes that were not moved, negative for bytes that did not fit."""
        flags = int(ResponseFlag.FINAL)
        if short > 0:
            flags |= ResponseFlag.UNDERFLOW
        elif short < 0:
            flags |= ResponseFlag.OVERFLOW
        self.active.nexus.responses += 1
        segment = len(sense).to_bytes(2, "big") + sense if sense else b""
        stat_sn, exp_cmd_sn, max_cmd_sn = self._status_numbers()
        header = SCSI_RESPONSE.pack(
            _RESPONSE_FIRST | flags << 16 | status,
            len(segment), 0, task.itt, 0, stat_sn, exp_cmd_sn, max_cmd_sn, 0, 0, abs(short),
        )  # fmt: skip
        self.connection.send_pdu(header, segment)

    def send_data_in(self, itt: int, data: bytes | bytearray | memoryview, length: int, short: int) -> None:
        """Data-In PDUs; the last one carries the status GOOD (section 11.7.3). short: see _respond."""
        connection, session = self.connection, self.session
        view = data if length <= self.max_xmit and length == len(data) else memoryview(data)
        offset = data_sn = 0
        burst = self.max_burst
        while True:
            segment = min(self.max_xmit, length - offset, burst)
            burst -= segment
            last = offset + segment == length
            flags = 0
            if last or not burst:
                flags = int(ResponseFlag.FINAL)
                burst = self.max_burst
            stat_sn = residual = 0
            if last:
                flags |= ResponseFlag.STATUS
                if short:
                    flags |= ResponseFlag.UNDERFLOW if short > 0 else ResponseFlag.OVERFLOW
                    residual = abs(short)
                stat_sn, exp_cmd_sn, max_cmd_sn = self._status_numbers()
            else:
                exp_cmd_sn, max_cmd_sn = session.exp_cmd_sn, session.max_cmd_sn
            header = DATA_IN.pack(
                _DATA_IN_FIRST | flags << 16,
                segment, 0, itt, RESERVED_TAG, stat_sn, exp_cmd_sn, max_cmd_sn,
                data_sn, offset, residual,
            )  # fmt: skip
            whole = segment == len(data)
            connection.send_pdu(header, data if whole else view[offset : offset + segment])
            if last:
                return
            offset += segment
            data_sn += 1

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
