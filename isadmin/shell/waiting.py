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


class Progress:
    """One line that tells how many of many changes are done."""

    def __init__(self, screen: TextIO, what: str) -> None:
        self._screen = screen if screen.isatty() else None
        self._what = what
        self._is_shown = False

    def __call__(self, done: int, of: int) -> None:
        if of < MANY or (done % STEP and done < of):
            return
        if done == of:
            self.hide()
        else:
            self._write(f"\r{done} of {of} {self._what}")
            self._is_shown = True

    def hide(self) -> None:
        """Make room for other output."""
        if self._is_shown:
            self._write("\r\033[K")
            self._is_shown = False

    def _write(self, text: str) -> None:
        if self._screen is not None:
            with suppress(OSError):
                self._screen.write(text)
                self._screen.flush()


@contextmanager
def slow(session: Session, what: str) -> Iterator[None]:
    """Say what goes on if the block takes longer than one likes to wait without a word."""
    screen = session.err
    if not screen.isatty():
        yield
        return
    from threading import Lock, Timer

    writing = Lock()
    shown = ended = False

    def show() -> None:
        nonlocal shown
        with writing, suppress(OSError):
            if not ended:
                screen.write(f"\r{what} ...")
                screen.flush()
                shown = True

    timer = Timer(PATIENCE, show)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with writing, suppress(OSError):
            ended = True
            if shown:
                screen.write("\r\033[K")
                screen.flush()
