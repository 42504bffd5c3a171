"""The states of a connection as the target sees them (RFC 7143 section 8.1), in two tables: what leads from
one state to another, and which requests are taken in each. A request without an entry breaks the protocol.

    XPT_UP --> IN_LOGIN --> LOGGED_IN --> IN_LOGOUT --> FREE
      |           |          |     |          ^          ^
      |           |          |     v          |          |
      |           |          |  LOGOUT_REQUESTED         |
      v           v          v     v                     |
      +-----------+-----> CLEANUP_WAIT ------------------+

From every state it is one step to FREE: the TCP connection may be lost at any time. At ErrorRecoveryLevel 0 a
session has no states of its own: it is there as long as one of its connections is logged in.
"""

from __future__ import annotations

from enum import IntEnum

from isadmin.userspace.iscsi.codes import Opcode


class State(IntEnum):
    """The numbers are the standard's: S1, S3, ... ."""

    FREE = 1
    XPT_UP = 3
    """Connected, and nothing said."""
    IN_LOGIN = 4
    LOGGED_IN = 5
    IN_LOGOUT = 6
    """The answer to the logout is on its way; nothing more is taken."""
    LOGOUT_REQUESTED = 7
    """We have asked the initiator to log out."""
    CLEANUP_WAIT = 8
    """A login failed or the protocol was broken: what is queued goes out, then the connection ends."""


class Event(IntEnum):
    LOGIN_REQUEST = 1
    LOGIN_COMPLETE = 2
    LOGOUT_ASKED = 3
    """An asynchronous message asks for a logout."""
    LOGGED_OUT = 4
    BROKEN = 5
    """A refused login, or a protocol error."""
    CLOSED = 6


AFTER: dict[tuple[State, Event], State] = {
    (State.XPT_UP, Event.LOGIN_REQUEST): State.IN_LOGIN,
    (State.IN_LOGIN, Event.LOGIN_REQUEST): State.IN_LOGIN,
    (State.IN_LOGIN, Event.LOGIN_COMPLETE): State.LOGGED_IN,
    (State.LOGGED_IN, Event.LOGOUT_ASKED): State.LOGOUT_REQUESTED,
    (State.LOGGED_IN, Event.LOGGED_OUT): State.IN_LOGOUT,
    (State.LOGOUT_REQUESTED, Event.LOGGED_OUT): State.IN_LOGOUT,
    **{(state, Event.BROKEN): State.CLEANUP_WAIT for state in State if state is not State.FREE},
    **{(state, Event.CLOSED): State.FREE for state in State if state is not State.FREE},
}
"""What an event leads to. A pair that is not here cannot happen: KeyError is an error of our own."""

_LOGIN = frozenset((Opcode.LOGIN_REQUEST,))
_DISCOVERY = frozenset((Opcode.TEXT_REQUEST, Opcode.LOGOUT_REQUEST))
"""All else MUST be rejected in a discovery session (section 4.3), as LIO does."""
_NORMAL = frozenset(
    (
        Opcode.NOP_OUT,
        Opcode.SCSI_COMMAND,
        Opcode.TASK_MANAGEMENT_REQUEST,
        Opcode.TEXT_REQUEST,
        Opcode.DATA_OUT,
        Opcode.LOGOUT_REQUEST,
        Opcode.SNACK_REQUEST,
    )
)

TAKEN: dict[tuple[State, bool], frozenset[Opcode]] = {
    (State.XPT_UP, False): _LOGIN,
    (State.IN_LOGIN, False): _LOGIN,
    (State.LOGGED_IN, False): _NORMAL,
    (State.LOGGED_IN, True): _DISCOVERY,
    (State.LOGOUT_REQUESTED, False): _NORMAL,
    (State.LOGOUT_REQUESTED, True): _DISCOVERY,
}
"""The requests that are taken in a state, and in a discovery session (True); in states that are not here,
none."""

OPEN = frozenset(state for state, _ in TAKEN)
"""The states in which anything is received."""
_NOTHING: frozenset[Opcode] = frozenset()


def taken(state: State, *, discovery: bool = False) -> frozenset[Opcode]:
    """The requests that are taken."""
    return TAKEN.get((state, discovery), _NOTHING)
