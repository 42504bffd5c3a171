"""What one connection in full-feature phase sends: PDUs with their numbers, responses, data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isadmin.userspace.iscsi.codes import RESERVED_TAG, Opcode, RejectReason, ResponseFlag
from isadmin.userspace.iscsi.pdu import DATA_IN, SCSI_RESPONSE, NopIn, Pdu, Reject
from isadmin.userspace.sessions import ActiveSession

if TYPE_CHECKING:
    from isadmin.userspace.connection import Connection
    from isadmin.userspace.tasks import Task

_DATA_IN_FIRST = Opcode.DATA_IN << 24
_RESPONSE_FIRST = Opcode.SCSI_RESPONSE << 24


class Answers:
    """The answers of one connection."""

    __slots__ = (
        "_next_ttt",
        "active",
        "connection",
        "max_burst",
        "max_xmit",
        "server",
        "session",
    )

    def __init__(self, connection: Connection, active: ActiveSession, max_xmit: int) -> None:
        self.connection = connection
        self.server = connection.server
        self.active = active
        self.session = active.session
        self.max_xmit = max_xmit
        """The longest data segment the initiator takes on this connection."""
        self.max_burst = active.session.parameters.max_burst_length
        self._next_ttt = 1

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

    def send_reject(self, reason: RejectReason, header: bytes) -> None:
        self._send(Reject(reason, *self._status_numbers(), data=header))

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

    def _new_tag(self) -> int:
        ttt = self._next_ttt
        self._next_ttt = ttt + 1 if ttt < RESERVED_TAG - 1 else 1
        return ttt
