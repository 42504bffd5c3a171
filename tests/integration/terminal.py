"""A person at a terminal: keystrokes into a pseudo-terminal, and the screen as it would be seen."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

import pexpect
import pyte

COLUMNS, LINES = 160, 50


class _Screen(pyte.HistoryScreen):
    """Answers the terminal's queries (cursor position) as a real one does."""

    def __init__(self, answer: pexpect.spawn[bytes]) -> None:
        super().__init__(COLUMNS, LINES, history=10_000)
        self._answer = answer

    def write_process_input(self, data: str) -> None:
        self._answer.send(data.encode())


class Terminal:
    """A program started in a terminal of its own."""

    def __init__(self, command: Sequence[str], env: dict[str, str]) -> None:
        self._child = pexpect.spawn(
            command[0], list(command[1:]), env=env | {"TERM": "xterm-256color"}, dimensions=(LINES, COLUMNS)
        )
        self._screen = _Screen(self._child)
        self._stream = pyte.ByteStream(self._screen)

    def keys(self, text: str) -> None:
        self._child.send(text.encode())

    @property
    def lines(self) -> list[str]:
        """What is on the screen, without trailing blanks."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def line(self) -> str:
        """The line that the cursor is in."""
        return self.lines[self._screen.cursor.y]

    @property
    def underlined(self) -> str:
        """What is underlined in the line that the cursor is in."""
        cells = self._screen.buffer[self._screen.cursor.y]
        return "".join(cells[x].data for x in range(COLUMNS) if cells[x].underscore)

    def _pump(self) -> bool:
        """Take in what the program has printed; False once it has ended."""
        try:
            self._stream.feed(self._child.read_nonblocking(65536, timeout=0.05))
        except pexpect.TIMEOUT:
            pass
        except pexpect.EOF:
            return False
        return True

    def wait_for(self, pattern: str, seconds: float = 60.0) -> None:
        """Until the cursor's line matches; the limit only ends a run that hangs."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.line):
            assert self._pump(), "the program has ended:\n" + "\n".join(self.lines)
            assert time.monotonic() < deadline, "waited in vain:\n" + "\n".join(self.lines)

    def wait_for_underlined(self, text: str, seconds: float = 60.0) -> None:
        """Until just this is underlined; the limit only ends a run that hangs."""
        deadline = time.monotonic() + seconds
        while self.underlined != text:
            assert self._pump(), "the program has ended:\n" + "\n".join(self.lines)
            assert time.monotonic() < deadline, f"{self.underlined!r} is underlined in {self.line}"

    def command(self, text: str, prompt: str) -> list[str]:
        """Type a line and wait for the prompt after it; what was printed between, as seen."""
        self.wait_for(prompt)
        self._screen.reset()
        self.keys(text + "\r")
        deadline = time.monotonic() + 60.0
        while True:
            assert self._pump(), "the program has ended:\n" + "\n".join(self.lines)
            if self._screen.cursor.y and re.search(prompt, self.line) and not self._more():
                break
            assert time.monotonic() < deadline, "no prompt:\n" + "\n".join(self.lines)
        return [line for line in self.lines if line and not re.search(prompt, line)]

    def _more(self) -> bool:
        """Is more coming right now?"""
        try:
            self._stream.feed(self._child.read_nonblocking(65536, timeout=0.1))
        except pexpect.TIMEOUT:
            return False
        except pexpect.EOF:
            return False
        return True

    def ended(self, seconds: float = 60.0) -> int:
        """Wait for the program's end; its exit status."""
        deadline = time.monotonic() + seconds
        while self._pump():
            assert time.monotonic() < deadline, "it does not end:\n" + "\n".join(self.lines)
        self._child.close()
        assert self._child.exitstatus is not None
        return int(self._child.exitstatus)

    def close(self) -> None:
        self._child.close(force=True)
