"""The budget for write data: who gets how much of it and when, alone and under connections."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable

import pytest

from isadmin.userspace import limits, model
from isadmin.userspace.budget import Account, Budget
from tests.bench._memory import FIRST, unasked_writes
from tests.initiator import NONE, Closed
from tests.userspace.rig import IQN, Rig
from tests.userspace.test_target import eventually

NAME = "iqn.2003-01.org.test:slow"
LARGE = {
    "MaxRecvDataSegmentLength": "262144",
    "FirstBurstLength": "262144",
    "MaxBurstLength": "262144",
    "InitialR2T": "No",
}


class World:
    """A budget of 100 bytes, and what becomes of requests, by name."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []
        self.granted: list[str] = []
        self.relieved = 0
        self.budget = Budget(100, self.calls.append, self._relieved)

    def _relieved(self) -> None:
        self.relieved += 1

    def settle(self) -> list[str]:
        """Call what is to be called soon; the requests that this grants."""
        before = len(self.granted)
        while self.calls:
            self.calls.pop(0)()
        return self.granted[before:]

    def take(self, account: Account, size: int, name: str, *, asked: bool = True) -> bool:
        request = self.budget.take(account, size, lambda: self.granted.append(name), asked=asked)
        return request is None


@pytest.fixture
def world() -> World:
    return World()


def test_what_there_is_room_for_is_held_at_once(world: World) -> None:
    one, other = Account(), Account()
    assert world.take(one, 60, "one")
    assert world.take(other, 40, "other")
    assert not world.budget.pressed
    world.budget.release(one, 60)
    assert (one.held, other.held, world.budget.free) == (0, 40, 60)
    assert world.settle() == []
    assert world.relieved == 0


def test_sessions_have_their_turns(world: World) -> None:
    one, other = Account(), Account()
    assert world.take(one, 100, "")
    world.budget.expect(one, 1)
    for name in ("a", "b", "c"):
        assert not world.take(one, 50, name)
    assert not world.take(other, 50, "d")
    assert world.settle() == []
    assert world.budget.pressed
    world.budget.release(one, 100)
    assert world.settle() == ["a", "d"]
    world.budget.release(other, 50)
    assert world.settle() == ["b"]
    assert not world.relieved
    world.budget.release(one, 50)
    assert world.settle() == ["c"]
    assert world.relieved == 1
    assert not world.budget.pressed


def test_a_small_request_does_not_overtake_a_large_one(world: World) -> None:
    one, other = Account(), Account()
    world.take(one, 90, "")
    world.budget.expect(one, 1)
    assert not world.take(other, 50, "large")
    assert not world.take(Account(), 1, "small")
    assert world.settle() == []
    world.budget.release(one, 90)
    assert world.settle() == ["large", "small"]


def test_who_is_halted_comes_before_what_it_would_be_asked_for(world: World) -> None:
    one, other = Account(), Account()
    world.take(other, 100, "")
    world.budget.expect(other, 1)
    world.take(one, 30, "asked")
    world.take(one, 30, "unasked", asked=False)
    assert one.halts == 1
    world.budget.release(other, 100)
    assert world.settle() == ["unasked", "asked"]
    assert one.halts == 0


def test_one_session_is_favoured_when_all_are_halted(world: World) -> None:
    """Each is asked for something which comes behind what there is no room for."""
    one, other = Account(), Account()
    for account in (one, other):
        world.take(account, 50, "")
        world.budget.expect(account, 1)
    world.take(one, 20, "one", asked=False)
    assert world.settle() == [], "the other goes on"
    world.take(other, 20, "other", asked=False)
    assert world.settle() == ["one"]
    assert world.budget.favoured is one
    assert world.take(one, 500, "more", asked=False), "all that it brings"
    assert not world.take(one, 500, "an R2T"), "it is asked for something already"
    world.budget.expect(one, -1)
    world.budget.release(one, 50)
    assert world.settle() == ["an R2T"]
    world.budget.release(one, 20)
    world.budget.release(one, 500)
    assert world.settle() == []
    world.budget.release(one, 500)
    assert world.settle() == ["other"]
    assert world.budget.favoured is None
    assert world.budget.free == 30


def test_what_exceeds_the_whole_budget_has_its_turn(world: World) -> None:
    account = Account()
    assert not world.take(account, 1000, "huge")
    assert world.settle() == ["huge"]
    world.budget.release(account, 1000)
    world.settle()
    assert (world.budget.free, world.budget.favoured) == (100, None)


def test_a_request_that_is_withdrawn_holds_up_no_other(world: World) -> None:
    one, other = Account(), Account()
    world.take(one, 80, "")
    world.budget.expect(one, 1)
    request = world.budget.take(other, 50, lambda: world.granted.append("never"))
    assert request is not None
    world.take(Account(), 20, "behind")
    assert world.settle() == []
    world.budget.withdraw(other, request)
    assert world.settle() == ["behind"]


def test_less_is_received_at_once_while_anybody_waits(world: World) -> None:
    account = Account()
    assert world.budget.appetite == limits.RECEIVE
    world.take(account, 100, "")
    world.budget.expect(account, 1)
    world.take(account, 1, "one")
    assert world.budget.appetite == limits.RECEIVE_UNDER_PRESSURE
    world.budget.release(account, 100)
    world.settle()
    assert world.budget.appetite == limits.RECEIVE


# Under connections


def test_unasked_data_is_held_back_and_all_of_it_written(rig: Rig) -> None:
    """Each session brings 4 MiB unasked, all together 16 times the budget; what R2Ts ask for comes last."""
    tpg = rig.serve(rig.ramdisk(1 << 20), param=LARGE)
    budget = rig.target.server.budget
    room = budget.free = 4 << 20
    sessions, depth, peak = 16, 16, 0
    over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.0005):
            kept = sum(len(connection.held) for connection in list(rig.target.server.connections))
            peak = max(peak, room - budget.free + kept)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        until = time.monotonic() + 60
        port = rig.address(tpg)[1]
        done = unasked_writes(port, sessions, lambda _: time.monotonic() > until, depth=depth, target=IQN)
    finally:
        over.set()
        watcher.join()
    assert done == sessions * depth
    assert room < peak <= room + depth * FIRST + (1 << 20) + sessions * limits.RECEIVE
    eventually(lambda: budget.free == room)
    assert not budget.pressed
    assert budget.favoured is None


def slow(rig: Rig, **param: str) -> model.Tpg:
    """A target that does not wait long for write data of NAME."""
    tpg = rig.serve(rig.ramdisk(1 << 20), param={**LARGE, **param}, generate_node_acls=0)
    acl = rig.acl(tpg, NAME, dataout_timeout=2, dataout_timeout_retries=1, nopin_timeout=0)
    rig.map(acl, tpg.luns[0])
    return tpg


WRITE = struct.pack(">BBIBHB", 0x2A, 0, 0, 0, 256, 0)
DATA = bytes(range(256)) * 512


def test_announced_data_that_never_comes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TICK", 0.02)
    free = rig.target.server.budget.free
    with rig.login(slow(rig), name=NAME) as initiator:
        initiator.ready()
        initiator.send_command(WRITE, data_out=DATA, final=False)
        eventually(lambda: rig.target.server.budget.free < free)
        with pytest.raises(Closed):
            initiator.receive()
    eventually(lambda: rig.target.server.budget.free == free)


def test_who_is_halted_is_neither_pinged_nor_given_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TICK", 0.02)
    tpg = rig.serve(rig.ramdisk(1 << 20), param=LARGE, generate_node_acls=0)
    for name, seconds in ((NAME, 2), ("iqn.2003-01.org.test:other", 0)):
        acl = rig.acl(tpg, name, nopin_timeout=seconds, nopin_response_timeout=3, dataout_timeout=60)
        rig.map(acl, tpg.luns[0])
    budget = rig.target.server.budget
    budget.free = 128 << 10
    with rig.login(tpg, name="iqn.2003-01.org.test:other") as other, rig.login(tpg, name=NAME) as initiator:
        for each in (other, initiator):
            each.ready()
        theirs = other.send_command(WRITE, data_out=DATA)
        r2t = other.receive()
        assert r2t.opcode == 0x31
        # Of each write something is missing: it is no plain one.
        first = DATA[: 64 << 10]
        mine = initiator.send_command(WRITE, data_out=DATA, immediate_data=first)
        eventually(lambda: any(connection.halted for connection in rig.target.server.connections))
        (connection,) = (each for each in rig.target.server.connections if each.halted)
        time.sleep(0.5)
        assert not connection.closed
        assert other.nop(b"x").data == b"x"
        other.answer_r2t(r2t, DATA)
        assert other.finish(theirs).status == 0
        assert initiator.finish(mine, DATA).status == 0
        assert initiator.nop(b"x").data == b"x"
        assert not connection.halted


def test_an_aborted_or_lost_command_gives_back_what_it_holds(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk(1 << 20), param=LARGE)
    budget = rig.target.server.budget
    free = budget.free = 128 << 10
    with rig.login(tpg) as initiator:
        initiator.ready()
        first = DATA[: 64 << 10]
        half = initiator.send_command(WRITE, data_out=DATA, immediate_data=first[:512], final=False)
        waits = initiator.send_command(WRITE, data_out=DATA)
        with rig.login(tpg, name="iqn.2003-01.org.test:halted") as other:
            other.ready()
            other.send_command(WRITE, data_out=DATA, immediate_data=first)
            eventually(lambda: any(connection.halted for connection in rig.target.server.connections))
        eventually(lambda: len(rig.target.server.connections) == 1)
        assert initiator.task_management(1, tag=waits) == 0
        assert initiator.task_management(1, tag=half) == 0
        assert rig.call(lambda: (budget.free, budget.pressed)) == (free, False)


def test_the_window_opens_again_when_there_is_room(rig: Rig) -> None:
    """An initiator that has used all of it hears so, though none of its commands is to be answered."""
    tpg = rig.serve(rig.ramdisk(1 << 20), param=LARGE, default_cmdsn_depth=4)
    rig.target.server.budget.free = 128 << 10
    with rig.login(tpg) as one, rig.login(tpg, name="iqn.2003-01.org.test:other") as other:
        for initiator in (one, other):
            initiator.ready()
        itt = one.send_command(WRITE, data_out=DATA)
        r2t = one.receive()
        second = one.send_command(WRITE, data_out=DATA)
        eventually(lambda: rig.target.server.budget.pressed)
        while other.cmd_sn <= other.max_cmd_sn:
            assert other.cmd(bytes(6)).status == 0
        one.answer_r2t(r2t, DATA)
        assert one.finish(itt).status == 0
        pdu = other.receive()
        assert (pdu.opcode, pdu.itt, pdu.ttt) == (0x20, NONE, NONE)
        assert pdu.max_cmd_sn == other.cmd_sn + 3
        assert one.finish(second, DATA).status == 0
        assert other.cmd(bytes(6)).status == 0


def test_one_connection_cannot_bring_much_before_its_turn(rig: Rig) -> None:
    """Nothing else could bring what is missing."""
    tpg = rig.serve(rig.ramdisk(1 << 20), param=LARGE)
    free = rig.target.server.budget.free
    with rig.login(tpg) as initiator:
        initiator.ready()
        initiator.cmd_sn += 1
        for _ in range(9):
            initiator.send_command(WRITE, data_out=DATA, immediate_data=DATA)
        assert initiator.receive().opcode == 0x3F
        with pytest.raises(Closed):
            initiator.receive()
    eventually(lambda: rig.target.server.budget.free == free)


def test_what_waits_for_its_turn_is_part_of_the_budget(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk(1 << 20), param=LARGE)
    budget = rig.target.server.budget
    free = budget.free
    with rig.login(tpg) as initiator:
        initiator.ready()
        number = initiator.cmd_sn
        late = initiator.send_command(WRITE, data_out=DATA, immediate_data=DATA, cmd_sn=number + 1)
        eventually(lambda: budget.free == free - len(DATA))
        early = initiator.send_command(bytes(6), cmd_sn=number)
        for itt in (early, late):
            assert initiator.finish(itt).status == 0
        initiator.cmd_sn = number + 2
        assert rig.call(lambda: budget.free) == free
        assert initiator.read(0, 256).data == DATA
        initiator.send_command(WRITE, data_out=DATA, immediate_data=DATA, cmd_sn=number + 4)
        eventually(lambda: budget.free == free - len(DATA))
    eventually(lambda: budget.free == free)
