"""What a session remembers in the full-feature phase: command numbering, tasks, and the bookkeeping of
write data.

Sequence numbers are 32-bit serial numbers (RFC 7143 section 4.2.2, RFC 1982). fastpath.py's loop keeps the
common case (the expected CmdSN, all data immediate) to a few lines of its own; everything else is decided
here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from isadmin.userspace.iscsi.codes import RESERVED_TAG
from isadmin.userspace.iscsi.errors import DataError, ProtocolError
from isadmin.userspace.iscsi.keys import Parameters

_HALF = 1 << 31
_MASK = 0xFFFFFFFF


def serial_before(a: int, b: int) -> bool:
    """Whether serial number a comes before b (RFC 1982)."""
    return a != b and (b - a & _MASK) < _HALF


class Session:
    """One session: an I_T nexus's commands, over one or more connections.

    connections maps CIDs to whatever the I/O side keeps for a connection. outstanding counts the tasks that
    have a CmdSN and no answer yet; they hold MaxCmdSN back, so that queues stay as long as `window`.
    """

    __slots__ = (
        "_gap",
        "_gap_ticks",
        "alias",
        "behind",
        "connections",
        "discovery",
        "dynamic",
        "early",
        "early_bytes",
        "exp_cmd_sn",
        "fast_window",
        "initiator",
        "isid",
        "later",
        "max_cmd_sn",
        "outstanding",
        "parameters",
        "sid",
        "target",
        "told",
        "tpgt",
        "tsih",
        "window",
    )

    def __init__(
        self,
        *,
        initiator: str,
        alias: str,
        target: str,
        tpgt: int,
        discovery: bool,
        isid: bytes,
        tsih: int,
        sid: int,
        cmd_sn: int,
        window: int,
        parameters: Parameters,
        dynamic: bool = False,
    ) -> None:
        self.initiator = initiator
        self.alias = alias
        self.target = target
        self.tpgt = tpgt
        self.discovery = discovery
        self.isid = isid
        self.tsih = tsih
        self.sid = sid
        self.dynamic = dynamic
        self.exp_cmd_sn = cmd_sn
        self.window = window
        self.max_cmd_sn = cmd_sn + window - 1 & _MASK
        self.told = self.max_cmd_sn
        """MaxCmdSN as the initiator could know it when it sent what is handled now: answers that are made
        meanwhile have told it nothing yet."""
        self.parameters = parameters
        self.connections: dict[int, Any] = {}
        self.outstanding = 0
        self.early: dict[int, Any] = {}
        """PDUs that came before their turn, by CmdSN; at most `window` of them. None: one that counts as
        received, and is not wanted."""
        self._gap = cmd_sn
        self._gap_ticks = 0
        self.early_bytes = 0
        """Of the budget for write data, what they hold."""
        self.later: deque[Any] = deque()
        """Commands whose turn has come and which are held back nevertheless, and all behind them."""
        self.behind = 0
        """Batches of commands of connections that are gone, which must be over before any other begins."""
        self.fast_window = window
        """`window` as fastpath.py's loop goes by it: 0 while anything waits in `early` or `later`, or would
        (`behind`), so that nothing overtakes that, and what it waits for takes the long way, which goes on
        with it."""

    def look_at_queues(self) -> None:
        """Something has come into `early` or `later`, or is gone from there; or `behind` has changed."""
        self.fast_window = 0 if self.early or self.later or self.behind else self.window

    def tell(self) -> None:
        """What the initiator sends from now on it sends knowing of max_cmd_sn."""
        self.told = self.max_cmd_sn

    def advance_window(self, held_back: bool = False) -> int:
        """MaxCmdSN of the next answer. It never goes back (section 4.2.2.1); held_back: promise no more than
        what is promised already."""
        reach = 0 if held_back else max(self.window - self.outstanding, 0)
        candidate = self.exp_cmd_sn + reach - 1 & _MASK
        if serial_before(self.max_cmd_sn, candidate):
            self.max_cmd_sn = candidate
        return self.max_cmd_sn

    def in_window(self, cmd_sn: int) -> bool:
        """Whether a command with this number may come now: others are ignored (section 4.2.2.1)."""
        return not serial_before(cmd_sn, self.exp_cmd_sn) and not serial_before(self.told, cmd_sn)

    def defer(self, cmd_sn: int, pdu: Any) -> bool:
        """Keep a PDU that came before its turn, over another connection. False: one of its number is there
        already."""
        if cmd_sn in self.early or len(self.early) >= max(self.window, 1):
            return False
        self.early[cmd_sn] = pdu
        self.look_at_queues()
        return True

    def gap_ticks(self) -> int:
        """To be called once a tick: ticks for which the command that others wait for has been missing."""
        if self.early and self.exp_cmd_sn == self._gap:
            self._gap_ticks += 1
        else:
            self._gap = self.exp_cmd_sn
            self._gap_ticks = 0
        return self._gap_ticks

    def discard(self, cmd_sn: int) -> Any:
        """Take the command with this number, which is yet to have its turn, for received, and not for wanted.
        Its PDU, if that is here."""
        pdu = self.early.get(cmd_sn)
        self.early[cmd_sn] = None
        self.look_at_queues()
        return pdu

    def ready(self) -> Iterator[Any]:
        """The kept PDUs whose turn has come, each once; ExpCmdSN goes past each."""
        while self.early:
            if self.exp_cmd_sn not in self.early:
                return
            pdu = self.early.pop(self.exp_cmd_sn)
            self.exp_cmd_sn = self.exp_cmd_sn + 1 & _MASK
            self.look_at_queues()
            if pdu is not None:
                yield pdu


class Transfer:
    """The write data of one command on its way in (RFC 7143 sections 4.2.5.2, 11.7, 11.8).

    length: bytes to receive, at most the expected data transfer length; what unsolicited data goes beyond is
    checked and dropped. unsolicited: bytes that may still come without R2T (0 once its last PDU was there).
    Offsets of one sequence are in order (DataPDUInOrder).
    """

    __slots__ = (
        "_sequences",
        "asked",
        "expected",
        "length",
        "r2t_sn",
        "received",
        "unsolicited_end",
        "unsolicited_next",
        "unsolicited_open",
        "unsolicited_sn",
    )

    def __init__(
        self, *, length: int, expected: int, immediate: int, first_burst: int, more_unsolicited: bool
    ) -> None:
        self.length = length
        self.expected = expected
        self.received = min(immediate, length)
        self.unsolicited_next = immediate
        self.unsolicited_sn = 0
        self.unsolicited_end = min(first_burst, expected)
        self.unsolicited_open = more_unsolicited
        if immediate > self.unsolicited_end:
            raise ProtocolError("more immediate data than FirstBurstLength or the command's length")
        if more_unsolicited and immediate >= self.unsolicited_end:
            raise ProtocolError("unsolicited data announced where none can follow")
        self.asked = self.received
        """Bytes up to this offset are here or asked for."""
        self.r2t_sn = 0
        self._sequences: dict[int, tuple[int, int, int]] = {}
        """Outstanding R2Ts by target transfer tag: next offset, end, next DataSN."""

    @property
    def complete(self) -> bool:
        return self.received >= self.length and not self.unsolicited_open and not self._sequences

    def next_r2t(self, max_burst: int, max_outstanding: int) -> tuple[int, int] | None:
        """Offset and length of the R2T to send now, if any. Tell its tag with `sent_r2t`."""
        if self.unsolicited_open or self.asked >= self.length or len(self._sequences) >= max_outstanding:
            return None
        return self.asked, min(max_burst, self.length - self.asked)

    def sent_r2t(self, ttt: int, offset: int, length: int) -> None:
        self._sequences[ttt] = (offset, offset + length, 0)
        self.asked = offset + length
        self.r2t_sn += 1

    def accept(self, ttt: int, offset: int, length: int, data_sn: int, final: bool) -> None:
        """Check a Data-Out PDU before its data is taken. DataError when it is not what was asked for."""
        if ttt == RESERVED_TAG:
            if not self.unsolicited_open:
                raise DataError("unsolicited data that was not announced")
            if (
                offset != self.unsolicited_next
                or offset + length > self.unsolicited_end
                or data_sn != self.unsolicited_sn
            ):
                raise DataError("unsolicited data out of order or beyond FirstBurstLength")
            self.unsolicited_sn += 1
            self.unsolicited_next = offset + length
            self.received = self.asked = min(self.unsolicited_next, self.length)
            if final:
                self.unsolicited_open = False
            elif self.unsolicited_next >= self.unsolicited_end:
                raise DataError("unsolicited data without its F bit")
            return
        sequence = self._sequences.get(ttt)
        if sequence is None:
            raise DataError("data for an R2T that is not outstanding")
        following, end, number = sequence
        if offset != following or offset + length > end or data_sn != number:
            raise DataError("data out of order or beyond what the R2T asked for")
        if final:
            if offset + length != end:
                raise DataError("less data than the R2T asked for")
            del self._sequences[ttt]
        else:
            if offset + length == end:
                raise DataError("an R2T's last data without its F bit")
            self._sequences[ttt] = (offset + length, end, number + 1)
        self.received += length
