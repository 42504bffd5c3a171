"""The write data of one connection's commands on its way in: asked for, checked, and put in its place.

What comes unasked, and what is asked for, is held of the server's budget (budget.py) until its command is
over.
"""

from __future__ import annotations

import logging
from functools import partial
from struct import Struct
from typing import TYPE_CHECKING

from isadmin.userspace.answers import Answers
from isadmin.userspace.iscsi.codes import CommandFlag, Opcode
from isadmin.userspace.iscsi.errors import DataError, ProtocolError
from isadmin.userspace.iscsi.pdu import DATA_OUT, R2T
from isadmin.userspace.iscsi.session import Transfer
from isadmin.userspace.iscsi.states import taken
from isadmin.userspace.scsi.sense import Asc, CheckCondition, SenseKey
from isadmin.userspace.sessions import ActiveSession
from isadmin.userspace.tasks import Task

if TYPE_CHECKING:
    from isadmin.userspace.budget import Request
    from isadmin.userspace.connection import Connection

log = logging.getLogger("isadmin.userspace")

CMD_SN = Struct(">24xI")
NUMBERED = frozenset(
    (
        Opcode.NOP_OUT,
        Opcode.SCSI_COMMAND,
        Opcode.TASK_MANAGEMENT_REQUEST,
        Opcode.TEXT_REQUEST,
        Opcode.LOGOUT_REQUEST,
    )
)
"""The requests that carry a CmdSN."""
DIRECT = 4096
"""From this many missing bytes on, a Data-Out segment is received straight into its place."""


class WriteData(Answers):
    """The commands of one connection that data comes for."""

    __slots__ = ("credit", "data_came", "request", "tasks")

    def __init__(self, connection: Connection, active: ActiveSession, max_xmit: int) -> None:
        super().__init__(connection, active, max_xmit)
        self.tasks: dict[int, Task] = {}
        """The commands that wait or are worked on, by their initiator task tag."""
        self.credit = 0
        """Bytes of the server's budget that are held for what the next PDU brings."""
        self.request: Request | None = None
        """The connection waits for them."""
        self.data_came = False
        """Write data has come since the last tick."""

    def _start(self, task: Task) -> None:
        """All data is there."""
        raise NotImplementedError

    def _finish(self, task: Task) -> None:
        """The command is over."""
        raise NotImplementedError

    def has_room(self, header: bytes) -> bool:
        """Whether there is room for the data that a PDU brings, or that follows it unasked. If not, the
        connection is halted until there is; the PDU then comes here again. What is of no use to the PDU is to
        be given back."""
        if self.credit:
            return True
        opcode, flags = header[0] & 0x3F, header[1]
        if opcode == Opcode.SCSI_COMMAND and flags & CommandFlag.WRITE:
            size = int.from_bytes(header[5:8], "big")
            if not flags & CommandFlag.FINAL:
                expected = int.from_bytes(header[20:24], "big")
                size = max(size, min(expected, self.session.parameters.first_burst_length))
        elif opcode in NUMBERED and CMD_SN.unpack_from(header)[0] != self.session.exp_cmd_sn:
            size = int.from_bytes(header[5:8], "big")
        else:
            return True
        # One that is too long is refused.
        if not 0 < size <= max(self.active.max_recv, self.session.parameters.first_burst_length):
            return True
        self.request = self.server.budget.take(self.active.account, size, partial(self._has_room, size))
        if self.request is not None:
            self.connection.halt()
            return False
        self.credit = size
        return True

    def _has_room(self, size: int) -> None:
        self.request = None
        self.credit = size
        self.connection.resume()

    def give_back(self) -> None:
        """A PDU holds nothing of the budget any more but what its task has taken over."""
        if self.credit:
            self.server.budget.release(self.active.account, self.credit)
            self.credit = 0

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
