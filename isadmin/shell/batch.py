"""Many commands at once: from a file, from standard input, or from one option; where each came from, what
became of it, and how far it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from isadmin.errors import IsadminError, NoFileError, UsageError
from isadmin.shell.language import LanguageError, masked, split_commands
from isadmin.shell.session import Session
from isadmin.shell.waiting import PassingLine

Report = Callable[[IsadminError, str, str], int]
"""(error, what to print before it, and behind it) -> exit status."""
SLOW = 2.0
"""Seconds before progress is shown."""
REDRAW = 0.2
"""Seconds between two looks of it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """`lines` of commands, and what their source is called in errors. Iterating may raise UsageError."""

    name: str
    lines: Iterable[str]
    is_stdin: bool = False


@contextmanager
def opened(name: str) -> Iterator[Batch]:
    """The commands in a file, "-" for standard input. Raises NoFileError, IsadminError, UsageError."""
    if name == "-":
        if sys.stdin is None:
            raise UsageError("Standard input is closed", "give a command")
        yield Batch("<stdin>", _decoded("<stdin>", sys.stdin.buffer), is_stdin=True)
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 - opening and reading fail differently
    except FileNotFoundError as error:
        raise NoFileError(f"No such file {name}") from error
    except OSError as error:
        raise IsadminError(f"Cannot read {name}: {error.strerror}") from error
    with file:
        yield Batch(name, _decoded(name, file))


def _decoded(name: str, lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        try:
            yield line.rstrip(b"\r\n").decode()
        except UnicodeDecodeError as error:
            raise UsageError(f"{name}:{number}: not UTF-8 text") from error


def given(text: str) -> Batch:
    """The commands in a text, parted by ";" at the end of a word, or by newlines. Raises LanguageError."""
    return Batch("-c", split_commands(text))


def run(
    session: Session, batch: Batch, report: Report, *, keep_going: bool = False, atomic: bool = False
) -> int:
    """Run line after line until one fails, or to the end; the exit status is that of the first that failed.

    What ran before stays done, unless `atomic`: then it is undone. It is saved only if no line failed.
    Raises IsadminError if undoing fails.
    """
    session.stdin_taken = batch.is_stdin
    progress = Progress(batch.name, session.err)
    session.before_output = progress.hide
    try:
        if not atomic:
            status = _run(session, batch, report, progress, keep_going=keep_going)
        else:
            status = _run_whole(session, batch, report, progress)
    finally:
        progress.hide()
    session.finish(save=not status)
    return status


def _run(
    session: Session, batch: Batch, report: Report, progress: Progress, *, keep_going: bool = False
) -> int:
    status = failed = number = 0
    for number, line in enumerate(batch.lines, 1):
        progress.at(number)
        try:
            session.run_line(line)
        except IsadminError as error:
            progress.hide()
            ended = report(error, f"isadmin: {batch.name}:{number}: ", f" (in: {shown(line, error)})")
            status, failed = status or ended, failed + 1
            if not keep_going:
                break
        if session.exiting:
            break
    if failed and keep_going:
        session.warn(f"{failed} of {number} lines failed; the configuration was not saved")
    return status


def _run_whole(session: Session, batch: Batch, report: Report, progress: Progress) -> int:
    from isadmin.shell import atomic

    with atomic.whole(session) as done:
        try:
            status = _run(session, batch, report, progress)
        except BaseException:
            progress.hide()
            session.warn(f"the batch stopped: {done.take_back()}")
            raise
        if status:
            session.warn(f"the batch failed: {done.take_back()}")
    return status


def shown(line: str, error: IsadminError) -> str:
    """A line as its error shows it: without secrets, and cut where it is very long."""
    text = masked(line.strip())
    at = error.position if isinstance(error, LanguageError) else 0
    return text if len(text) <= 500 else f"...{text[max(0, at - 200) : at + 200]}..."


class Progress(PassingLine):
    """Tells how far a long batch is."""

    def __init__(self, name: str, screen: TextIO) -> None:
        super().__init__(screen)
        self.name = name
        self._start = self._drawn = time.monotonic()

    def at(self, number: int) -> None:
        """Line `number` begins."""
        if self.screen is None:
            return
        now = time.monotonic()
        if now - self._start < SLOW or now - self._drawn < REDRAW:
            return
        self._drawn = now
        self.draw(f"{self.name}: line {number}, {number / (now - self._start):.0f} lines a second\033[K")
