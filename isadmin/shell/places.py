"""The places that sessions at a terminal have visited: the next one begins where the last one was, as
targetcli's does, and `cd <` goes on back from there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from isadmin.config.files import write_new

MOST = 100
"""Places that are remembered."""


class Places:
    """A file with a path a line, the latest last."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "places"

    def read(self) -> list[str]:
        """Empty where nothing is remembered."""
        try:
            lines = self._file.read_text(errors="replace").splitlines()
        except OSError:
            return []
        return [line for line in lines if line.startswith("/")]

    def write(self, places: Sequence[str]) -> None:
        """Remember these; not worth an error."""
        with suppress(OSError):
            write_new(str(self._file), "".join(f"{place}\n" for place in places[-MOST:]).encode())
