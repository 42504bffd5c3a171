"""What is long is told of at a terminal, and leaves nothing there."""

from __future__ import annotations

import io
import time
from types import SimpleNamespace
from typing import Any

import pytest

from isadmin.shell import waiting


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_many_changes_are_counted_and_the_line_goes() -> None:
    screen = Terminal()
    progress = waiting.Progress(screen, "changes")
    for done in range(401):
        progress(done, 400)
    assert screen.getvalue().split("\r")[1:3] == ["0 of 400 changes", "50 of 400 changes"]
    assert screen.getvalue().endswith("\r350 of 400 changes\r\033[K")
    progress.hide()
    assert screen.getvalue().count("\033[K") == 1


def test_what_fails_can_hide_the_line() -> None:
    screen = Terminal()
    progress = waiting.Progress(screen, "changes")
    progress(0, 400)
    progress.hide()
    assert screen.getvalue() == "\r0 of 400 changes\r\033[K"


def test_few_changes_and_no_terminal_are_not_told_of() -> None:
    screen, file = Terminal(), io.StringIO()
    for done in range(11):
        waiting.Progress(screen, "changes")(done, 10)
        waiting.Progress(file, "changes")(done * 50, 500)
    assert screen.getvalue() == file.getvalue() == ""


def test_what_is_slow_is_named_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 0.01)
    for screen, shown in ((Terminal(), "\rreading ...\r\033[K"), (io.StringIO(), "")):
        session: Any = SimpleNamespace(err=screen)
        with waiting.slow(session, "reading"):
            deadline = time.monotonic() + 10
            while shown and not screen.getvalue() and time.monotonic() < deadline:
                time.sleep(0.01)
        assert screen.getvalue() == shown


def test_what_is_quick_is_not_named() -> None:
    screen = Terminal()
    session: Any = SimpleNamespace(err=screen)
    with waiting.slow(session, "reading"):
        pass
    assert screen.getvalue() == ""
