"""Every state of a connection with every PDU, on running connections: what the table takes goes on, all else
is rejected (closed before the login), and another initiator does not notice."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isadmin.userspace import model
from isadmin.userspace.iscsi.codes import Opcode
from isadmin.userspace.iscsi.errors import ProtocolError
from isadmin.userspace.iscsi.states import OPEN, State, taken
from tests.initiator import NONE, Closed, Initiator
from tests.userspace.rig import Rig
from tests.userspace.test_target import eventually

pytestmark = pytest.mark.usefixtures("clean_log")

REJECT, PROTOCOL_ERROR, NOT_SUPPORTED, SNACK_REJECTED = 0x3F, 0x04, 0x05, 0x03
LOGIN_TEXT = b"InitiatorName=iqn.2003-01.org.test:i\0SessionType=Discovery\0AuthMethod=None\0"
STATES = [
    (State.XPT_UP, False),
    (State.IN_LOGIN, False),
    (State.LOGGED_IN, False),
    (State.LOGGED_IN, True),
    (State.LOGOUT_REQUESTED, False),
    (State.LOGOUT_REQUESTED, True),
]


@dataclass
class Place:
    rig: Rig
    tpg: model.Tpg
    neighbour: Initiator

    @contextmanager
    def connection(self, state: State, *, discovery: bool) -> Iterator[Initiator]:
        """An initiator whose connection is in a state."""
        known = set(self.rig.target.server.connections)
        login = state in {State.LOGGED_IN, State.LOGOUT_REQUESTED}
        options = {"target": ""} if discovery else {}
        with self.rig.login(self.tpg, login=login, timeout=30, **options) as initiator:
            if state is State.IN_LOGIN:
                initiator.login_request(0, 0, LOGIN_TEXT, transit=False)
            if login and not discovery:
                initiator.ready()
            eventually(lambda: bool(self.rig.target.server.connections - known))
            (mine,) = self.rig.target.server.connections - known
            if state is State.LOGOUT_REQUESTED:
                full = mine.full
                assert full is not None
                self.rig.call(lambda: full.request_logout(3))
                assert initiator.receive().header[36] == 1
            assert mine.state is state
            yield initiator
        eventually(lambda: mine.state is State.FREE)

    def others_are_fine(self) -> None:
        assert goes_on(self.neighbour)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    rig = Rig()
    try:
        tpg = rig.serve(rig.ramdisk(1 << 20))
        with rig.login(tpg, name="iqn.2003-01.org.test:neighbour") as neighbour:
            neighbour.ready()
            yield Place(rig, tpg, neighbour)
    finally:
        rig.close()


def request(initiator: Initiator, opcode: int, *, immediate: bool) -> bytes:
    """A harmless PDU of this opcode: a ping, TEST UNIT READY, data for no command, ... ."""
    numbered = opcode in {0x00, 0x01, 0x02, 0x04, 0x06} and not immediate
    flags = {0x01: 0x81, 0x02: 0x81, 0x06: 0x80, 0x10: 0x81}.get(opcode, 0x80)
    header = struct.pack(
        ">BBHIQIIII16x",
        opcode | (0x40 if immediate else 0),
        flags,
        0,
        0,
        0,
        initiator.next_itt(),
        0 if opcode == 0x01 else initiator.cid << 16 if opcode == 0x06 else NONE,
        initiator.number(immediate=not numbered),
        initiator.exp_stat_sn,
    )
    if opcode != 0x04:
        return header
    text = b"SendTargets=\0"
    return header[:5] + len(text).to_bytes(3, "big") + header[8:] + text + bytes(-len(text) % 4)


def goes_on(initiator: Initiator) -> bool:
    """A ping, or a text where that is all that is taken, is answered. Answers to what was sent before it are
    passed by."""
    opcode = 0x00 if initiator.target else 0x04
    header = struct.pack(
        ">BBHIQIIII16x", 0x40 | opcode, 0x80, 0, 0, 0, 0xAAAA, NONE, initiator.cmd_sn, initiator.exp_stat_sn
    )
    try:
        initiator.send(header, b"X-on=1\0")
        while (answer := initiator.receive()).itt != 0xAAAA:
            if answer.opcode == REJECT and answer.header[2] != SNACK_REJECTED:
                return False
    except (Closed, OSError):
        return False
    return answer.opcode == 0x20 | opcode


@pytest.mark.parametrize(("state", "discovery"), STATES)
@pytest.mark.parametrize("immediate", [False, True])
def test_every_state_with_every_opcode(place: Place, state: State, discovery: bool, immediate: bool) -> None:
    accepted = taken(state, discovery=discovery)
    for opcode in range(64):
        with place.connection(state, discovery=discovery) as initiator:
            initiator.sock.sendall(request(initiator, opcode, immediate=immediate))
            if opcode not in accepted:
                if state in {State.LOGGED_IN, State.LOGOUT_REQUESTED}:
                    answer = initiator.receive()
                    known = opcode in Opcode._value2member_map_
                    reason = PROTOCOL_ERROR if known else NOT_SUPPORTED
                    assert (answer.opcode, answer.header[2]) == (REJECT, reason), opcode
                with pytest.raises(Closed):
                    initiator.receive()
            elif opcode == Opcode.LOGIN_REQUEST:
                assert initiator.receive().opcode == 0x23
            elif opcode == Opcode.LOGOUT_REQUEST:
                assert initiator.receive().opcode == 0x26
                with pytest.raises(Closed):
                    initiator.receive()
            else:
                assert goes_on(initiator), opcode
    place.others_are_fine()


def test_the_states_tried_are_all_that_take_anything() -> None:
    assert {state for state, _ in STATES} == OPEN


def test_a_connection_that_is_gone_stays_so(place: Place) -> None:
    """An error may be noticed after the connection was lost in mid-answer."""
    known = set(place.rig.target.server.connections)
    with place.rig.login(place.tpg) as initiator:
        (connection,) = place.rig.target.server.connections - known

        def lost_and_wrong() -> None:
            connection.close("lost", quiet=True)
            connection.reject(ProtocolError("wrong"), bytes(48))

        place.rig.call(lost_and_wrong)
        assert connection.state is State.FREE
        with pytest.raises(Closed):
            initiator.receive()


@settings(max_examples=150)
@given(
    where=st.sampled_from(STATES[2:]),
    sent=st.lists(
        st.tuples(st.sampled_from([int(each) for each in Opcode if each < 0x20]), st.booleans()), max_size=8
    ),
)
def test_any_requests_in_a_row(place: Place, where: tuple[State, bool], sent: list[tuple[int, bool]]) -> None:
    """The connection ends with the first that is not taken, or with the logout, and not before."""
    state, discovery = where
    accepted = taken(state, discovery=discovery) - {Opcode.LOGOUT_REQUEST}
    ends = any(opcode not in accepted for opcode, _ in sent)
    with place.connection(state, discovery=discovery) as initiator:
        initiator.sock.sendall(
            b"".join(request(initiator, opcode, immediate=immediate) for opcode, immediate in sent)
        )
        assert goes_on(initiator) is not ends
    place.others_are_fine()
