"""The budget for write data: how many bytes all commands together may hold, and who may hold more, and when.

What an R2T asks for is asked for once there is room for it. What comes unasked, with a command or right
behind it (ImmediateData, InitialR2T=No), cannot be refused: a connection that brings what there is no room
for is not read from until there is.

Whatever such a connection was asked for comes behind that in its stream. When all that anybody is asked for
is behind such a halt, nothing would ever make room: then one session after the other is favoured. It takes in
all that it brings, and one command at a time is asked for its data whatever that exceeds, until it holds
nothing any more. So the excess is at most what the command window of one session may bring unasked, and one
command.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from isadmin.userspace import limits


class Request:
    """Bytes that somebody waits for. asked: they are for what an R2T is to ask for."""

    __slots__ = ("asked", "granted", "size")

    def __init__(self, size: int, granted: Callable[[], None], *, asked: bool) -> None:
        self.size = size
        self.granted = granted
        self.asked = asked


class Account:
    """What one session has of the budget."""

    __slots__ = ("expecting", "halts", "held", "waiting")

    def __init__(self) -> None:
        self.held = 0
        """Bytes."""
        self.expecting = 0
        """Commands that hold some, and that data is still to come for."""
        self.halts = 0
        """Connections that are not read from: of those that wait, the ones that were not asked for."""
        self.waiting: deque[Request] = deque()


class Budget:
    """Its state changes within calls, and callbacks are called later, by way of `soon`.

    relieved: called when nobody waits any more.
    """

    def __init__(
        self, size: int, soon: Callable[[Callable[[], None]], object], relieved: Callable[[], None]
    ) -> None:
        self.free = size
        """May be negative."""
        self.appetite = limits.RECEIVE
        """Bytes that a connection is to receive at once: it keeps what it has no room for."""
        self.favoured: Account | None = None
        self._soon = soon
        self._relieved = relieved
        self._queue: dict[Account, None] = {}
        """Those that wait, in their order: each has one request granted at a time."""
        self._expecting: set[Account] = set()
        self._settling = False

    @property
    def pressed(self) -> bool:
        """Whether anybody waits: sessions then promise no more commands (MaxCmdSN)."""
        return bool(self._queue)

    def take(
        self, account: Account, size: int, granted: Callable[[], None], *, asked: bool = False
    ) -> Request | None:
        """Hold so many bytes from now on (None), or once `granted` is called."""
        if account is self.favoured:
            fits = self._favours(account, size, asked=asked)
        else:
            fits = not self._queue and size <= self.free
        if fits:
            self._charge(account, size)
            return None
        request = Request(size, granted, asked=asked)
        if asked:
            account.waiting.append(request)
        else:
            # What is asked for cannot come before it is read.
            account.waiting.appendleft(request)
            account.halts += 1
        self._queue.setdefault(account)
        self.appetite = limits.RECEIVE_UNDER_PRESSURE
        self._settle_soon()
        return request

    def withdraw(self, account: Account, request: Request) -> None:
        """Nobody waits for it any more."""
        self._unqueue(account, request)
        self._settle_soon()

    def release(self, account: Account, size: int) -> None:
        """So many bytes are not held any more."""
        self._charge(account, -size)
        if self._queue or self.favoured is account:
            self._settle_soon()

    def expect(self, account: Account, more: int) -> None:
        """For so many more commands data is to come; negative: so many fewer."""
        account.expecting += more
        if account.expecting:
            self._expecting.add(account)
        else:
            self._expecting.discard(account)

    def _charge(self, account: Account, size: int) -> None:
        self.free -= size
        account.held += size

    def _favours(self, account: Account, size: int, *, asked: bool) -> bool:
        return not asked or not account.expecting or size <= self.free

    def _unqueue(self, account: Account, request: Request) -> None:
        account.waiting.remove(request)
        if not request.asked:
            account.halts -= 1
        if not account.waiting:
            del self._queue[account]

    def _settle_soon(self) -> None:
        if not self._settling:
            self._settling = True
            self._soon(self._settle)

    def _settle(self) -> None:
        """Grant what there is room for, and see to it that there will be room."""
        self._settling = False
        self._choose()
        while (account := self._next()) is not None:
            request = account.waiting[0]
            self._unqueue(account, request)
            if account.waiting:
                # The others have their turn first.
                del self._queue[account]
                self._queue[account] = None
            self._charge(account, request.size)
            request.granted()
            self._choose()
        if not self._queue and self.appetite != limits.RECEIVE:
            self.appetite = limits.RECEIVE
            self._relieved()

    def _choose(self) -> None:
        """Whom to favour, if anybody."""
        favoured = self.favoured
        if favoured is not None and not (favoured.held or favoured.waiting):
            self.favoured = favoured = None
        if favoured is None and self._queue and all(account.halts for account in self._expecting):
            first = next(iter(self._queue))
            if first.waiting[0].size > self.free:
                self.favoured = first

    def _next(self) -> Account | None:
        """Whose request is granted next."""
        favoured = self.favoured
        if favoured is not None and favoured.waiting:
            request = favoured.waiting[0]
            if self._favours(favoured, request.size, asked=request.asked):
                return favoured
        first = next(iter(self._queue), None)
        return first if first is not None and first.waiting[0].size <= self.free else None
