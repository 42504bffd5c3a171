"""The event loop: asyncio's, with a short way for the sockets that carry data.

asyncio spends some microseconds on every event: a handle, a queue, a context. `EventLoop.watch` leaves them
out: select() calls the handlers of watched descriptors itself, and comes back to asyncio only when there is
something for asyncio to do. Watched descriptors are in an epoll of their own, which also watches asyncio's.

A sleep costs as much time as some dozen looks at the descriptors, most of it in waking up again. Where the
next request is expected sooner than that, as of a client that waits for each answer before it goes on, the
loop looks for it a while before it sleeps.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import select
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from time import monotonic
from typing import Any, TypeAlias, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

log = logging.getLogger("isadmin.userspace")

_OURS = "an error of our own in the handler of a %s"
"""It ends nothing: all others that have something to do get their turn."""

INPUT = select.EPOLLIN
OUTPUT = select.EPOLLOUT
HANGUP = select.EPOLLRDHUP
"""The peer sends nothing more: for who does not read meanwhile."""

_MOST = 64
"""Events of one look: who has waited longest is in the next one, however many others there are."""
_LOOKS = 40
"""Looks at the descriptors, of less than a microsecond each, in place of a sleep that would be short."""
_SHORT = 60e-6
"""Seconds of such a sleep, its waking up included."""

Handler: TypeAlias = Callable[[], bool | None]
"""What a descriptor's event calls. True: what was asked for was answered, and the next request is likely to
come very soon."""


class _Selector(selectors.EpollSelector):
    """asyncio's selector, which serves watched descriptors while asyncio waits."""

    def __init__(self) -> None:
        super().__init__()
        self.handlers: dict[int, Handler] = {}
        self.events: dict[int, int] = {}
        self.turns: deque[Callable[[], None]] = deque()
        """Calls that come after the next look at the descriptors."""
        self.interrupted = False
        """asyncio has got something to do since select() was called."""
        self.epoll = select.epoll()
        self.epoll.register(self.fileno(), INPUT)
        self._looks = 0
        """_LOOKS when the last sleep was short."""
        self._alone = len(os.sched_getaffinity(0)) == 1
        """On a single processor, a client of this machine would have to wait until the loop sleeps."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        poll, handler, turns = self.epoll.poll, self.handlers.get, self.turns
        deadline = None if timeout is None else monotonic() + timeout
        soon: bool | None
        self.interrupted = soon = False
        while True:
            if turns:
                events = poll(0, _MOST)
            elif soon:
                events = self._look(timeout)
            else:
                events = poll(timeout, _MOST)
            soon = False
            for descriptor, _ in events:
                try:
                    # asyncio's own has no handler, nor has one that another handler has just unwatched.
                    soon = handler(descriptor, self._interrupt)()
                except Exception:
                    log.exception(_OURS, "descriptor")
            for _ in range(len(turns)):
                try:
                    turns.popleft()()
                except Exception:
                    log.exception(_OURS, "turn")
            if self.interrupted:
                return super().select(0)
            if deadline is not None:
                timeout = deadline - monotonic()
                if timeout <= 0:
                    return []

    def _look(self, timeout: float | None) -> list[tuple[int, int]]:
        """The next events, which are likely to come very soon."""
        poll = self.epoll.poll
        looks, self._looks = self._looks, 0
        for _ in range(looks):
            if events := poll(0, _MOST):
                self._looks = looks
                return events
        began = monotonic()
        events = poll(timeout, _MOST)
        if not looks and not self._alone and monotonic() - began < _SHORT:
            self._looks = _LOOKS
        return events

    def _interrupt(self) -> None:
        self.interrupted = True

    def close(self) -> None:
        self.epoll.close()
        super().close()


class EventLoop(asyncio.SelectorEventLoop):
    """A loop that calls the handlers of watched descriptors at once."""

    def __init__(self) -> None:
        self._direct = _Selector()
        super().__init__(self._direct)

    def watch(self, descriptor: int, events: int, handler: Handler) -> None:
        """From now on call `handler` whenever INPUT or OUTPUT is possible without waiting, or the descriptor
        is in error; in place of what was watched there before."""
        direct = self._direct
        known = direct.events.get(descriptor)
        direct.handlers[descriptor] = handler
        direct.events[descriptor] = events
        if known is None:
            direct.epoll.register(descriptor, events)
        elif known != events:
            direct.epoll.modify(descriptor, events)

    def unwatch(self, descriptor: int) -> None:
        """Call no handler any more. Do this before the descriptor is closed."""
        if self._direct.handlers.pop(descriptor, None) is not None:
            del self._direct.events[descriptor]
            self._direct.epoll.unregister(descriptor)

    def forget(self, descriptor: int) -> None:
        """The same for a descriptor that is closed at once, which ends its part in any epoll."""
        if self._direct.handlers.pop(descriptor, None) is not None:
            del self._direct.events[descriptor]

    def others_wait(self, descriptor: int) -> bool:
        """Whether there is anything to do but for this descriptor: another one's event, or something for
        asyncio."""
        direct = self._direct
        return direct.interrupted or any(other != descriptor for other, _ in direct.epoll.poll(0, _MOST))

    def after_others(self, turn: Callable[[], None]) -> None:
        """Call `turn` once, after the handlers of all events that are there already."""
        self._direct.turns.append(turn)

    # What is scheduled by a handler must not wait for the end of select().

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        self._direct.interrupted = True
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self._direct.interrupted = True
        return super().call_at(when, callback, *args, context=context)


def run(main: Coroutine[Any, Any, T]) -> T:
    """asyncio.run, on a loop of this kind."""
    with asyncio.Runner(loop_factory=EventLoop) as runner:
        return runner.run(main)


def settle() -> None:
    """What the start has made stays: no garbage collection needs to look at it again, and few are needed, for
    little of what connections make goes round in circles. They would hold up all traffic."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def running() -> EventLoop:
    """The loop that runs in this thread. TypeError when it is none of ours."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, EventLoop):
        raise TypeError(f"the target needs an {EventLoop.__name__}")
    return loop
