"""Order between exclusive commands (COMPARE AND WRITE, ORWRITE, ...) and all other I/O of one unit.

Commands that are not exclusive run together. An exclusive one waits for those that run, and keeps later ones
waiting, so that none starves; everything waits in the order in which it came, but for HEAD OF QUEUE commands,
which wait for no other that waits. While one runs or waits, no
path of the unit is plain, so that the server's fast path joins the queue too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from isadmin.userspace.scsi.command import Command


class Gate:
    __slots__ = ("_changed", "alone", "running", "used", "waiting")

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._changed = changed
        """Called when `busy` changes."""
        self.running = 0
        self.alone = False
        """The one that runs is exclusive."""
        self.used = False
        """There has been an exclusive one: of a unit that has such commands, what is read is copied at once,
        so that nothing shows in it of what they write later."""
        self.waiting: deque[Command] = deque()

    def __len__(self) -> int:
        """Commands that run or wait."""
        return self.running + len(self.waiting)

    @property
    def busy(self) -> bool:
        return self.alone or bool(self.waiting)

    def enter(self, command: Command) -> bool:
        """Whether the command may run now. If not, a later leave() or drop() returns it."""
        others_first = self.alone if command.head_of_queue else self.busy
        if others_first or (command.exclusive and self.running):
            if command.head_of_queue:
                self.waiting.appendleft(command)
            else:
                self.waiting.append(command)
            if len(self.waiting) == 1 and not self.alone:
                self._changed()
            return False
        self._start(command)
        return True

    def leave(self, command: Command) -> list[Command]:
        """The command, which entered, is over. Returns those that run from now on."""
        was_busy = self.busy
        self.running -= 1
        if command.exclusive:
            self.alone = False
        return self._next(was_busy)

    def drop(self, command: Command) -> list[Command]:
        """Forget a command that still waits (it was aborted). Returns those that run from now on."""
        was_busy = self.busy
        self.waiting.remove(command)
        return self._next(was_busy)

    def _start(self, command: Command) -> None:
        self.running += 1
        if command.exclusive:
            self.alone = self.used = True
            self._changed()

    def _next(self, was_busy: bool) -> list[Command]:
        started: list[Command] = []
        while self.waiting and not self.alone and not (self.waiting[0].exclusive and self.running):
            command = self.waiting.popleft()
            started.append(command)
            self._start(command)
        if was_busy and not self.busy:
            self._changed()
        return started
