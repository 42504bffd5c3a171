"""The full-feature phase of a connection: everything but the plain READs and WRITEs of fastpath.py's loop.

PDUs come in through `FullFeature.handle`, whole; it puts them in the order of CmdSN. SCSI commands are in
commands.py, task management in taskmanagement.py; pings, texts and logouts are here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, NamedTuple

from isadmin.userspace import limits
from isadmin.userspace.commands import Commands
from isadmin.userspace.iscsi.codes import (
    IMMEDIATE,
    RESERVED_TAG,
    AsyncEvent,
    LogoutReason,
    LogoutResponse,
    Opcode,
    RejectReason,
)
from isadmin.userspace.iscsi.errors import ProtocolError
from isadmin.userspace.iscsi.exchange import TextExchange
from isadmin.userspace.iscsi.keys import KEYS, NO_VALUES, NOT_UNDERSTOOD, REJECT
from isadmin.userspace.iscsi.pdu import (
    AsyncMessage,
    LogoutRequest,
    NopIn,
    NopOut,
    Pdu,
    SnackRequest,
    TaskManagementRequest,
    TextRequest,
    TextResponse,
    decode,
)
from isadmin.userspace.iscsi.pdu import LogoutResponse as LogoutResponsePdu
from isadmin.userspace.iscsi.session import serial_before
from isadmin.userspace.iscsi.states import Event, State, taken
from isadmin.userspace.iscsi.text import format_pairs, send_targets
from isadmin.userspace.scsi.nexus import lun_number
from isadmin.userspace.sessions import ActiveSession
from isadmin.userspace.taskmanagement import TaskManagement
from isadmin.userspace.tasks import abort_all
from isadmin.userspace.writedata import CMD_SN, NUMBERED

if TYPE_CHECKING:
    from isadmin.userspace.connection import Connection
    from isadmin.userspace.scsi.unit import LogicalUnit

log = logging.getLogger("isadmin.userspace")


class Early(NamedTuple):
    """A PDU that came before its turn. credit: see WriteData.credit."""

    full: FullFeature
    header: bytes
    data: bytes
    ahs: bytes
    credit: int

    @property
    def opcode(self) -> int:
        return self.header[0] & 0x3F

    @property
    def itt(self) -> int:
        return int.from_bytes(self.header[16:20], "big")


class FullFeature(Commands):
    """One connection in full-feature phase."""

    __slots__ = (
        "_nop_ticks",
        "_texts",
        "idle_ticks",
    )

    def __init__(self, connection: Connection, active: ActiveSession, max_xmit: int) -> None:
        super().__init__(connection, active, max_xmit)
        self.idle_ticks = 0
        self._nop_ticks = -1
        """Ticks since an unanswered NOP-In; -1: none is out."""
        self._texts = TextExchange(self._new_tag)

    @property
    def idle(self) -> bool:
        return not self.tasks

    @property
    def stall_limit(self) -> int:
        """Ticks for which the initiator may leave our answers unread."""
        return (self.active.nopin_timeout or 15) + self.active.nopin_response_timeout

    # PDUs in

    def handle(self, header: bytes, data: memoryview, ahs: bytes = b"") -> None:
        """One whole PDU. ProtocolError when it cannot be made sense of: the caller rejects it and closes."""
        session = self.session
        opcode = header[0] & 0x3F
        if opcode in NUMBERED and not header[0] & IMMEDIATE:
            (cmd_sn,) = CMD_SN.unpack_from(header)
            if not session.in_window(cmd_sn):
                log.debug("a command outside its window from %s is ignored", self.connection.peer)
                return
            if cmd_sn != session.exp_cmd_sn:
                self._defer(cmd_sn, header, data, ahs)
                return
            session.exp_cmd_sn = cmd_sn + 1 & 0xFFFFFFFF
            self._dispatch(opcode, header, data, ahs)
            if session.early:
                self._handle_early()
            return
        self._dispatch(opcode, header, data, ahs)

    def _defer(self, cmd_sn: int, header: bytes, data: memoryview, ahs: bytes) -> None:
        """Keep a PDU until its turn comes, and what it holds of the budget with it."""
        session = self.session
        credit = self.credit
        if session.defer(cmd_sn, Early(self, header, bytes(data), ahs, credit)):
            self.credit = 0
            session.early_bytes += credit
            if session.early_bytes > limits.EARLY and len(session.connections) == 1:
                raise ProtocolError("commands that nothing but a missing one can come before")

    def _handle_early(self) -> None:
        session = self.session
        for early in session.ready():
            full = early.full
            session.early_bytes -= early.credit
            # What it has got for the next PDU stays with that.
            others, full.credit = full.credit, early.credit
            if not full.connection.closed:
                try:
                    full._dispatch(early.opcode, early.header, memoryview(early.data), early.ahs)
                except ProtocolError as error:
                    full.connection.reject(error, early.header)
            full.give_back()
            full.credit = others
            if full is not self and not full.connection.closed:
                self.server.flush_soon(full.connection)

    def discard(self, pdu: TaskManagementRequest) -> bool:
        """Whether an ABORT TASK is for a command whose turn has yet to come: one that counts as received from
        now on (section 11.6.1, b)."""
        session, cmd_sn = self.session, pdu.ref_cmd_sn
        if not session.in_window(cmd_sn) or not serial_before(cmd_sn, pdu.cmd_sn):
            return False
        early: Early | None = session.early.get(cmd_sn)
        if early is not None and early.itt != pdu.referenced_tag:
            return False
        self._discard([cmd_sn])
        return True

    def discard_before(self, cmd_sn: int, units: Collection[LogicalUnit]) -> None:
        """Take all commands to some units that are here, numbered before cmd_sn, and have yet to have their
        turn, for done."""
        found = []
        paths = self.active.nexus.paths
        for number, early in self.session.early.items():
            if early is not None and early.opcode == Opcode.SCSI_COMMAND and serial_before(number, cmd_sn):
                path = paths.get(lun_number(early.header[8:16]))
                if path is not None and path.unit in units:
                    found.append(number)
        self._discard(found)

    def _discard(self, numbers: Iterable[int]) -> None:
        session = self.session
        for cmd_sn in numbers:
            early: Early | None = session.discard(cmd_sn)
            if early is not None:
                session.early_bytes -= early.credit
                self.server.budget.release(self.active.account, early.credit)
        self._handle_early()

    def _dispatch(self, opcode: int, header: bytes, data: memoryview, ahs: bytes) -> None:
        if opcode not in taken(self.connection.state, discovery=self.session.discovery):
            pdu = decode(header)
            raise ProtocolError(f"a {type(pdu).__name__} in state {self.connection.state.name}")
        if opcode == Opcode.SCSI_COMMAND:
            self._scsi_command(header, data, ahs)
            return
        if opcode == Opcode.DATA_OUT:
            self._take_data(header, data)
            return
        pdu = decode(header, bytes(data))
        _HANDLERS[type(pdu)](self, pdu)

    # Requests

    def request_logout(self, seconds: int) -> None:
        """Ask the initiator to log out within so many seconds (asynchronous event 1)."""
        if self.connection.state is not State.LOGGED_IN:
            return
        self.connection.enter(Event.LOGOUT_ASKED)
        self._send(AsyncMessage(AsyncEvent.LOGOUT_REQUEST, *self._status_numbers(), parameter3=seconds))
        self.connection.flush()

    def tell_drop(self) -> None:
        """Say that all connections of the session are about to end (asynchronous event 3), unless the
        initiator would not hear of it."""
        connection = self.connection
        if connection.closing or connection.blocked:
            return
        numbers = self._status_numbers()
        wait = self.session.parameters.default_time2wait
        self._send(AsyncMessage(AsyncEvent.SESSION_DROP, *numbers, parameter2=wait, parameter3=0))
        connection.flush()

    def _nop_out(self, pdu: NopOut) -> None:
        if pdu.ttt != RESERVED_TAG:
            self._nop_ticks = -1
        if pdu.itt == RESERVED_TAG:
            return
        data = pdu.data[: self.max_xmit]
        self._send(NopIn(pdu.lun, pdu.itt, RESERVED_TAG, *self._status_numbers(), data=data))

    def _task_management(self, pdu: TaskManagementRequest) -> None:
        TaskManagement(self, pdu).run()

    def send_management_response(self, pdu: Pdu) -> None:
        self._send(pdu)
        self.server.flush_soon(self.connection)

    def numbers_for_response(self) -> tuple[int, int, int]:
        return self._status_numbers()

    def _text_request(self, pdu: TextRequest) -> None:
        part = self._texts.receive(pdu, self._answer_key, self.max_xmit)
        numbers = self._status_numbers()
        self._send(
            TextResponse(part.final, part.continued, pdu.lun, pdu.itt, part.tag, *numbers, data=part.data)
        )

    def _answer_key(self, key: str, value: str) -> bytes:
        session = self.session
        if key == "SendTargets":
            if value == "All" and session.discovery:
                name = ""
            elif value in ("", "All"):
                # In a normal session it is about the session's own target (section 13.3).
                if value == "All" or session.discovery:
                    return format_pairs([(key, REJECT)])
                name = session.target
            elif session.discovery or value == session.target:
                name = value
            else:
                return format_pairs([(key, REJECT)])
            host = self.server.host
            return send_targets(host.send_targets(self.connection, session.initiator, name))
        if key == "MaxRecvDataSegmentLength":
            text, number = self.active.ours.answer(KEYS[key], value)
            if number is not None:
                self.max_xmit = number
            return b"" if text is None else format_pairs([(key, text)])
        if key == "InitiatorAlias" or value in NO_VALUES:
            return b""
        return format_pairs([(key, REJECT if key in KEYS else NOT_UNDERSTOOD)])

    def _logout(self, pdu: LogoutRequest) -> None:
        session = self.session
        response = LogoutResponse.CLOSED
        others: list[Connection] = []
        closing = True
        if pdu.reason == LogoutReason.CLOSE_SESSION:
            others = [c for c in session.connections.values() if c is not self.connection]
        elif session.discovery:
            raise ProtocolError("a discovery session ends as a whole")
        elif pdu.reason == LogoutReason.CLOSE_CONNECTION:
            named = session.connections.get(pdu.cid)
            if named is None:
                response, closing = LogoutResponse.CID_NOT_FOUND, False
            elif named is not self.connection:
                others, closing = [named], False
        elif pdu.reason == LogoutReason.REMOVE_FOR_RECOVERY:
            response, closing = LogoutResponse.RECOVERY_NOT_SUPPORTED, False
        else:
            self.send_reject(RejectReason.INVALID_PDU_FIELD, pdu.header())
            return
        for other in others:
            other.close("logged out", quiet=True)
        if closing and list(session.connections.values()) == [self.connection]:
            self.active.logged_out = True
        answer = LogoutResponsePdu(
            pdu.itt,
            response,
            *self._status_numbers(),
            time2wait=session.parameters.default_time2wait,
            time2retain=0,
        )
        self.connection.answer(answer.encode(header_digest=self.connection.header_digest))
        if closing:
            self.connection.close_after_flush(Event.LOGGED_OUT)

    def _snack(self, pdu: Pdu) -> None:
        # ErrorRecoveryLevel 0: nothing is kept to be sent again.
        self.send_reject(RejectReason.SNACK_REJECT, pdu.header())

    # Time

    def look_for_stalls(self) -> None:
        """A tick has passed. Write data that is asked for or announced, and does not come, holds memory that
        others wait for."""
        if self.data_came or self.connection.halted:
            # It may be behind other data, or behind what there is no room for.
            self.data_came = False
            return
        limit = self.active.dataout_timeout
        for task in self.tasks.values():
            if task.expecting:
                task.stalled += 1
                if task.stalled > limit:
                    self.active.timeouts += 1
                    self.connection.close("the write data it was asked for does not come")
                    return

    def look_for_gap(self) -> None:
        """A tick has passed. A command that others wait for may have been lost with a connection: at
        ErrorRecoveryLevel 0 nothing brings it again, and the session is to be recovered (section 7.1.4.4)."""
        session = self.session
        connections = list(session.connections.values())
        if connections[0] is not self.connection or any(each.blocked or each.halted for each in connections):
            return
        if session.gap_ticks() > self.active.dataout_timeout:
            self.active.timeouts += 1
            for connection in connections:
                connection.close("a command that others wait for does not come")

    def tick(self) -> None:
        """A tick in which nothing was heard from the initiator. One in a discovery session is not pinged
        (section 4.3): keep_alive looks after that."""
        if self.session.discovery:
            return
        if self._nop_ticks >= 0:
            self._nop_ticks += 1
            if self._nop_ticks > self.active.nopin_response_timeout:
                self.active.timeouts += 1
                self.connection.close("no answer to NOP-In")
            return
        self.idle_ticks += 1
        if self.active.nopin_timeout and self.idle_ticks >= self.active.nopin_timeout:
            self.idle_ticks = 0
            self._nop_ticks = 0
            self._send(NopIn(0, RESERVED_TAG, self._new_tag(), *self._numbers()))
            self.connection.flush()

    def heard(self) -> None:
        """Something came: the initiator lives, answered or not."""
        self.idle_ticks = 0
        self._nop_ticks = -1

    def connection_closed(self) -> None:
        """The connection is gone, and its commands with it (section 4.2.3.1: allegiance)."""
        if self.request is not None:
            self.server.budget.withdraw(self.active.account, self.request)
            self.request = None
        self.give_back()
        self.server.short_windows.discard(self)
        session = self.session
        for cmd_sn, early in session.early.items():
            if early is not None and early.full is self:
                session.early_bytes -= early.credit
                self.server.budget.release(self.active.account, early.credit)
                session.early[cmd_sn] = early._replace(data=b"", ahs=b"", credit=0)
        left = abort_all(self.tasks.values())
        self.server.adopt(left)
        self.active.follow(left)


_HANDLERS: dict[type[Pdu], Callable[..., None]] = {
    NopOut: FullFeature._nop_out,
    TaskManagementRequest: FullFeature._task_management,
    TextRequest: FullFeature._text_request,
    LogoutRequest: FullFeature._logout,
    SnackRequest: FullFeature._snack,
}
