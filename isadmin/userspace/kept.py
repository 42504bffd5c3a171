"""Small files that follow a state which may change faster than it can be written: the newest text wins.

The state is the event loop's; the writing is done by threads of the pool. Each file has one Kept, so that an
older text is never put over a newer one, and nobody is told that a text is safe before it or a later one is.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock


class Kept:
    """One file's newest text."""

    __slots__ = ("_lock", "_newest", "_safe", "_write")

    def __init__(self, write: Callable[[str], None]) -> None:
        """write: put a text into the file, durably. It may raise OSError."""
        self._write = write
        self._lock = Lock()
        """Held by who writes."""
        self._newest = (0, "")
        self._safe = 0
        """The number of the text that is on the disk."""

    def put(self, text: str) -> Callable[[], None]:
        """Take a new text, on the state's own thread. What is returned may be called on any: it comes back
        once this text, or a later one, is on the disk, and raises OSError if that cannot be."""
        self._newest = (self._newest[0] + 1, text)
        return partial(self._settle, self._newest[0])

    def _settle(self, number: int) -> None:
        with self._lock:
            while self._safe < number:
                newest, text = self._newest
                try:
                    self._write(text)
                except OSError:
                    if self._newest[0] == newest:
                        raise
                else:
                    self._safe = newest


def replace(path: Path, text: str) -> None:
    """Put a text in the place of a file's, whole or not at all. It is on the disk when this returns."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(handle)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """What was done to the names in a directory is on the disk when this returns."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
