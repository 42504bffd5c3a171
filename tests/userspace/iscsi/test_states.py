"""The tables of connection states are sound in themselves. userspace/test_states.py tries connections."""

from __future__ import annotations

import pytest

from isadmin.userspace.iscsi.codes import Opcode
from isadmin.userspace.iscsi.states import AFTER, OPEN, TAKEN, Event, State, taken

REQUESTS = {opcode for opcode in Opcode if opcode < 0x20}


def test_every_state_is_reached_and_left() -> None:
    reached, fresh = {State.XPT_UP}, {State.XPT_UP}
    while fresh:
        fresh = {after for (state, _), after in AFTER.items() if state in fresh} - reached
        reached |= fresh
    assert reached == set(State)
    assert all((state, Event.CLOSED) in AFTER for state in State if state is not State.FREE)


def test_the_end_is_the_end() -> None:
    assert not [pair for pair in AFTER if pair[0] is State.FREE]
    for state in (State.IN_LOGOUT, State.CLEANUP_WAIT):
        assert {AFTER[state, event] for event in Event if (state, event) in AFTER} == {
            State.CLEANUP_WAIT,
            State.FREE,
        }


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("discovery", [False, True])
def test_what_is_taken(state: State, discovery: bool) -> None:
    accepted = taken(state, discovery=discovery)
    assert accepted <= REQUESTS, "nothing that only a target sends"
    assert bool(accepted) == ((state, discovery) in TAKEN)
    assert not accepted or state in OPEN
    assert (Opcode.LOGIN_REQUEST in accepted) == (state in {State.XPT_UP, State.IN_LOGIN} and not discovery)


def test_every_request_is_taken_somewhere() -> None:
    assert frozenset().union(*TAKEN.values()) == REQUESTS
