"""What a terminal shows while something takes long; nothing elsewhere, and nothing of what is quick."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

    from isadmin.shell.session import Session

PATIENCE = 1.0
"""Seconds after which one wants to know what goes on."""
MANY, STEP = 200, 50
"""So many changes take long; how many are done between two looks."""


class PassingLine:
    """A line at a terminal that is drawn anew and leaves nothing behind; nothing elsewhere."""

    def __init__(self, screen: TextIO) -> None:
        self.screen = screen if screen.isatty() else None
        self._is_shown = False

    def draw(self, text: str) -> None:
        """Show a text over what was shown before; one that can be shorter erases the rest itself."""
        self._write(f"\r{text}")
        self._is_shown = True

    def hide(self) -> None:
        """Make room for other output."""
        if self._is_shown:
            self._write("\r\033[K")
            self._is_shown = False

    def _write(self, text: str) -> None:
        if self.screen is not None:
            with suppress(OSError):
                self.screen.write(text)
                self.screen.flush()


class Progress(PassingLine):
    """Tells how many of many changes are done."""

    def __init__(self, screen: TextIO, what: str) -> None:
        super().__init__(screen)
        self._what = what

    def __call__(self, done: int, of: int) -> None:
        if of < MANY or (done % STEP and done < of):
            return
        if done == of:
            self.hide()
        else:
            self.draw(f"{done} of {of} {self._what}")


@contextmanager
def slow(session: Session, what: str) -> Iterator[None]:
    """Say what goes on if the block takes longer than one likes to wait without a word."""
    line = PassingLine(session.err)
    if line.screen is None:
        yield
        return
    from threading import Lock, Timer

    drawing = Lock()
    ended = False

    def show() -> None:
        with drawing:
            if not ended:
                line.draw(f"{what} ...")

    timer = Timer(PATIENCE, show)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with drawing:
            ended = True
            line.hide()
