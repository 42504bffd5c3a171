"""The loop's short way: watched descriptors, beside everything asyncio does."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from isadmin.userspace import loop as loop_module
from isadmin.userspace.loop import INPUT, OUTPUT, EventLoop, run, running


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


Pair = tuple[socket.socket, socket.socket]


def test_handler_is_called_for_each_input_until_unwatched(pair: Pair) -> None:
    ours, theirs = pair

    async def main() -> list[bytes]:
        got: list[bytes] = []
        three = asyncio.Event()

        def readable() -> None:
            got.append(ours.recv(1))
            if len(got) == 3:
                running().unwatch(ours.fileno())
                three.set()

        running().watch(ours.fileno(), INPUT, readable)
        theirs.send(b"abcd")
        await three.wait()
        await asyncio.sleep(0)
        return got

    assert run(main()) == [b"a", b"b", b"c"]
    assert ours.recv(9) == b"d"


def test_what_a_handler_schedules_runs_without_further_events(pair: Pair) -> None:
    ours, theirs = pair

    async def main() -> str:
        loop = running()
        done = loop.create_future()

        def readable() -> None:
            ours.recv(9)
            loop.call_soon(lambda: loop.call_later(0.001, done.set_result, "done"))

        loop.watch(ours.fileno(), INPUT, readable)
        theirs.send(b"x")
        answer = await done
        loop.unwatch(ours.fileno())
        return str(answer)

    assert run(main()) == "done"


def test_a_descriptor_that_was_forgotten_and_closed_can_be_another_ones(pair: Pair) -> None:
    _, theirs = pair

    async def main() -> bytes:
        loop = running()
        done = loop.create_future()
        old, peer = socket.socketpair()
        number = old.fileno()
        loop.watch(number, INPUT, lambda: done.set_result(b"from the old one"))
        peer.send(b"said to the old one")
        loop.forget(number)
        old.close()
        new = socket.socket(fileno=os.dup(pair[0].fileno()))
        with new, peer:
            assert new.fileno() == number
            loop.watch(number, INPUT, lambda: done.done() or done.set_result(new.recv(9)))
            theirs.send(b"new")
            answer: bytes = await done
            loop.unwatch(number)
        return answer

    assert run(main()) == b"new"


def test_timers_and_other_descriptors_get_their_turn_beside_a_busy_one(pair: Pair) -> None:
    ours, _ = pair
    reading, writing = os.pipe()

    async def main() -> list[str]:
        loop = running()
        seen: list[str] = []
        both = asyncio.Event()

        def note(what: str) -> None:
            seen.append(what)
            if len(seen) == 2:
                both.set()

        def piped() -> None:
            os.read(reading, 1)
            note("pipe")

        # A socket that can always be written to: its handler is called without end.
        loop.watch(ours.fileno(), OUTPUT, lambda: None)
        loop.add_reader(reading, piped)
        loop.call_later(0.01, note, "timer")
        os.write(writing, b"x")
        await both.wait()
        loop.unwatch(ours.fileno())
        loop.remove_reader(reading)
        return seen

    try:
        assert sorted(run(main())) == ["pipe", "timer"]
    finally:
        os.close(reading)
        os.close(writing)


def test_watching_anew_replaces_events_and_handler(pair: Pair) -> None:
    ours, theirs = pair

    async def main() -> str:
        loop = running()
        done = loop.create_future()
        loop.watch(ours.fileno(), INPUT, lambda: done.set_result("input"))
        loop.watch(ours.fileno(), OUTPUT, lambda: done.done() or done.set_result("output"))
        theirs.send(b"x")
        answer = await done
        loop.unwatch(ours.fileno())
        return str(answer)

    assert run(main()) == "output"


def test_error_of_a_handler_is_logged_and_ends_nothing(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = pair

    async def main() -> int:
        loop = running()
        calls = 0
        twice = asyncio.Event()

        def readable() -> None:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise ZeroDivisionError
            ours.recv(9)
            twice.set()

        loop.watch(ours.fileno(), INPUT, readable)
        theirs.send(b"x")
        await twice.wait()
        loop.unwatch(ours.fileno())
        return calls

    with caplog.at_level(logging.ERROR):
        assert run(main()) == 2
    assert "error of our own" in caplog.text


def test_error_that_comes_again_and_again_holds_up_nobody(pair: Pair) -> None:
    ours, theirs = pair
    others, end = socket.socketpair()
    logging.getLogger("isadmin.userspace").addFilter(refuse := lambda record: False)

    async def main() -> bytes:
        loop = running()
        done = loop.create_future()

        def readable() -> None:
            raise RuntimeError("again")

        loop.watch(ours.fileno(), INPUT, readable)
        loop.watch(others.fileno(), INPUT, lambda: done.set_result(others.recv(9)))
        theirs.send(b"x")
        await asyncio.sleep(0)
        end.send(b"y")
        got = bytes(await asyncio.wait_for(done, 30))
        loop.unwatch(others.fileno())
        # As a signal does, from outside of the loop.
        called = loop.create_future()
        threading.Thread(target=loop.call_soon_threadsafe, args=(called.set_result, None)).start()
        await asyncio.wait_for(called, 30)
        loop.unwatch(ours.fileno())
        return got

    try:
        with others, end:
            assert run(main()) == b"y"
    finally:
        logging.getLogger("isadmin.userspace").removeFilter(refuse)


def test_closed_peer_wakes_the_handler(pair: Pair) -> None:
    ours, theirs = pair

    async def main() -> bytes:
        loop = running()
        done = loop.create_future()

        def readable() -> None:
            loop.unwatch(ours.fileno())
            done.set_result(ours.recv(9))

        loop.watch(ours.fileno(), INPUT, readable)
        theirs.close()
        return bytes(await done)

    assert run(main()) == b""


def test_a_turn_comes_after_the_events_that_are_there_already(pair: Pair) -> None:
    ours, theirs = pair

    async def main() -> list[str]:
        loop = running()
        seen: list[str] = []
        done = loop.create_future()

        def readable() -> None:
            seen.append(ours.recv(1).decode())
            if seen == ["a"]:
                loop.after_others(turn)

        def turn() -> None:
            seen.append("turn")
            if len(seen) < 5:
                loop.after_others(turn)
            else:
                done.set_result(None)

        loop.watch(ours.fileno(), INPUT, readable)
        theirs.send(b"ab")
        await done
        loop.unwatch(ours.fileno())
        return seen

    assert run(main()) == ["a", "turn", "b", "turn", "turn"]


def test_others_wait_when_another_descriptor_or_asyncio_has_something(pair: Pair) -> None:
    ours, theirs = pair

    async def main() -> list[bool]:
        loop = running()
        seen: list[bool] = []
        done = loop.create_future()

        def readable() -> None:
            mine = ours.fileno()
            seen.append(loop.others_wait(mine))
            seen.append(loop.others_wait(theirs.fileno()))
            loop.watch(theirs.fileno(), OUTPUT, lambda: None)
            seen.append(loop.others_wait(mine))
            loop.unwatch(theirs.fileno())
            seen.append(loop.others_wait(mine))
            loop.call_soon(done.set_result, None)
            seen.append(loop.others_wait(mine))
            loop.unwatch(mine)

        loop.watch(ours.fileno(), INPUT, readable)
        theirs.send(b"x")
        await done
        return seen

    assert run(main()) == [False, True, True, False, True]


class _Looks:
    """An epoll that takes note of its time limits."""

    def __init__(self, epoll: select.epoll) -> None:
        self.epoll = epoll
        self.limits: list[float | None] = []

    def poll(self, timeout: float | None, most: int) -> list[tuple[int, int]]:
        self.limits.append(timeout)
        return self.epoll.poll(timeout, most)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.epoll, name)


@pytest.mark.parametrize("soon", [True, False])
def test_after_a_short_sleep_the_loop_looks_a_while_for_the_next_request(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, soon: bool
) -> None:
    """But not without end: when nothing comes, it sleeps, and so the next time."""
    ours, theirs = pair
    monkeypatch.setattr(loop_module, "_SHORT", float("inf"))
    monkeypatch.setattr(loop_module, "_LOOKS", 5)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    loop = EventLoop()
    looks = _Looks(loop._direct.epoll)
    monkeypatch.setattr(loop._direct, "epoll", looks)

    async def main() -> None:
        asked = 0
        done = loop.create_future()

        def readable() -> bool:
            nonlocal asked
            ours.recv(1)
            asked += 1
            if asked == 1:
                # While the loop sleeps.
                threading.Timer(0.05, theirs.send, (b"b",)).start()
            elif asked == 2:
                looks.limits.clear()
                threading.Timer(0.2, theirs.send, (b"c",)).start()
            else:
                loop.unwatch(ours.fileno())
                done.set_result(None)
            return soon

        loop.watch(ours.fileno(), INPUT, readable)
        theirs.send(b"a")
        await asyncio.wait_for(done, 20)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())
    sleeps = [limit for limit in looks.limits if limit]
    if soon:
        assert looks.limits[:5] == [0] * 5
        assert looks.limits[5] == sleeps[0]
    else:
        assert looks.limits[0] == sleeps[0]


def test_another_kind_of_loop_is_refused() -> None:
    async def main() -> EventLoop:
        return running()

    with pytest.raises(TypeError, match="EventLoop"):
        asyncio.run(main())
