"""Long results at a terminal go through a pager, as with other tools: $ISADMIN_PAGER, $PAGER, else less."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import signal
import subprocess
from contextlib import suppress
from typing import TextIO


def command() -> list[str]:
    """The pager to use, [] for none: it is not wanted ("" or "cat"), or there is none."""
    wanted = os.environ.get("ISADMIN_PAGER", os.environ.get("PAGER", "less"))
    try:
        words = shlex.split(wanted)
    except ValueError:
        return []
    if not words or words[0] == "cat" or shutil.which(words[0]) is None:
        return []
    return words


class Pager(io.TextIOBase):
    """A terminal in which one command's output is shown: short ones as they are, long ones in a pager.

    Output is kept back until it is flushed, or is longer than the screen.
    """

    def __init__(self, screen: TextIO, pager: list[str]) -> None:
        self._screen = screen
        self._pager = pager
        self._kept: list[str] = []
        self._room = os.get_terminal_size(screen.fileno()).lines - 1
        self._process: subprocess.Popen[str] | None = None

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._screen.fileno()

    def write(self, text: str) -> int:
        if self._process is not None:
            self._send(text)
            return len(text)
        self._kept.append(text)
        self._room -= text.count("\n")
        if self._room < 0 and self._pager:
            self._start()
        return len(text)

    def flush(self) -> None:
        """Show what is kept. What comes after it is no reason for a pager."""
        if self._process is None:
            self._show()

    def _show(self) -> None:
        self._screen.write("".join(self._kept))
        self._screen.flush()
        self._kept = []

    def _start(self) -> None:
        environment = {"LESS": "FRX", "LV": "-c"} | dict(os.environ)
        try:
            self._process = subprocess.Popen(
                self._pager, stdin=subprocess.PIPE, text=True, errors="backslashreplace", env=environment
            )
        except OSError:
            self._pager = []
            return
        kept, self._kept = self._kept, []
        self._send("".join(kept))

    def _send(self, text: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        # A user who has seen enough ends the pager, not the command.
        with suppress(BrokenPipeError):
            self._process.stdin.write(text)

    def finish(self) -> None:
        """The command has ended: let the user read on to the end."""
        if self._process is None:
            self._show()
            return
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with suppress(BrokenPipeError):
                self._process.communicate()
        finally:
            signal.signal(signal.SIGINT, before)
        self._process = None
