"""Text Requests and Responses of one connection in full-feature phase (RFC 7143 sections 11.10, 11.11).

An exchange is one text, in one or more requests, and its answer, in one or more responses. As long as it goes
on, a target transfer tag of ours names it; a request without a tag begins a new one, whatever is left of the
last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from isadmin.userspace.iscsi.codes import RESERVED_TAG, RejectReason
from isadmin.userspace.iscsi.errors import ProtocolError
from isadmin.userspace.iscsi.pdu import TextRequest
from isadmin.userspace.iscsi.text import MAX_TEXT, parse_pairs


class Part(NamedTuple):
    """One response."""

    final: bool
    continued: bool
    """There is more of the answer."""
    tag: int
    """For the initiator to go on with; RESERVED_TAG once the exchange is over."""
    data: bytes


class TextExchange:
    """The exchange that goes on, if any. new_tag: makes target transfer tags."""

    __slots__ = ("_asked", "_new_tag", "_rest", "_tag")

    def __init__(self, new_tag: Callable[[], int]) -> None:
        self._new_tag = new_tag
        self._tag = RESERVED_TAG
        self._asked = b""
        """What requests that are continued have said."""
        self._rest = b""
        """What is left of the answer."""

    def receive(self, pdu: TextRequest, answer: Callable[[str, str], bytes], most: int) -> Part:
        """What goes back for a request, with no more than `most` bytes; `answer` has the answer to one key.
        ProtocolError for a tag that names nothing, and for a text that is none or has no end."""
        if pdu.ttt == RESERVED_TAG:
            self._asked = self._rest = b""
        elif pdu.ttt != self._tag:
            raise ProtocolError("an unknown target transfer tag", RejectReason.INVALID_PDU_FIELD)
        if pdu.data or not self._rest:
            # Anything but asking for the rest of an answer gives that up.
            self._rest = b""
            self._asked += pdu.data
            if len(self._asked) > MAX_TEXT:
                raise ProtocolError("a text without end")
            if pdu.continued:
                return self._part(b"", final=False)
            pairs = parse_pairs(self._asked)
            self._asked = b""
            self._rest = b"".join(answer(key, value) for key, value in pairs)
        data, self._rest = self._rest[:most], self._rest[most:]
        # An answer is final only if the initiator has said that it has nothing more to say.
        return self._part(data, final=pdu.final and not self._rest)

    def _part(self, data: bytes, *, final: bool) -> Part:
        self._tag = RESERVED_TAG if final else self._new_tag()
        return Part(final, bool(self._rest), self._tag, data)
