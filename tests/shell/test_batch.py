"""Batches: what goes on after an error, and how far a long one is."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pexpect
import pytest

from isadmin.errors import IsadminError
from isadmin.shell import batch
from isadmin.shell.language import LanguageError
from tests.shell.trees import Shown


class Reports:
    """What a batch reported."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, error: IsadminError, before: str, behind: str) -> int:
        self.lines.append(f"{before}{error}{behind}")
        return error.status


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_it_stops_at_the_first_error_unless_told() -> None:
    for keep_going, made in ((False, {"x"}), (True, {"x", "y", "z"})):
        shown, reports = Shown({}, savefile=Path("/x")), Reports()
        given = batch.given("create x; create x; create y; nosuch\ncreate z")
        assert batch.run(shown.session, given, reports, keep_going=keep_going) == 1
        assert set(shown.content) == made
        assert reports.lines[0] == "isadmin: -c:2: Box x exists (in: create x)"
        assert len(reports.lines) == 1 + keep_going
        assert shown.host.saved == 0
    assert "2 of 5 lines failed; the configuration was not saved" in shown.stderr.getvalue()


def test_without_an_error_it_is_saved() -> None:
    shown = Shown({}, savefile=Path("/x"))
    assert batch.run(shown.session, batch.given("create x; exit; create y"), Reports(), keep_going=True) == 0
    assert (set(shown.content), shown.host.saved) == ({"x"}, 1)


def test_a_line_in_an_error_hides_secrets_and_has_an_end() -> None:
    error = IsadminError("x")
    assert batch.shown(" set auth password=hidden ", error) == "set auth password=********"
    assert len(batch.shown("x" * 10_000, error)) < 500
    assert "HERE" in batch.shown("x" * 5000 + "HERE" + "x" * 5000, LanguageError("x", "", 5000))


def test_a_terminal_sees_how_far_a_slow_batch_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "SLOW", 0.0)
    monkeypatch.setattr(batch, "REDRAW", 0.0)
    screen = Terminal()
    progress = batch.Progress("file", screen)
    progress.hide()
    assert screen.getvalue() == ""
    progress.at(12)
    assert screen.getvalue().startswith("\rfile: line 12, ")
    progress.hide()
    progress.hide()
    assert screen.getvalue().endswith("\r\x1b[K")
    assert screen.getvalue().count("\r") == 2


def test_results_come_on_a_line_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "SLOW", 0.0)
    monkeypatch.setattr(batch, "REDRAW", 0.0)
    shown = Shown({})
    shown.session.out = shown.session.err = screen = Terminal()
    batch.run(shown.session, batch.given("pwd; create x"), Reports())
    assert screen.getvalue().split("\r")[-1] == "\x1b[KCreated box x of size 1M.\n"


PROGRAM = """
import sys
from isadmin import cli
from isadmin.shell import batch
batch.SLOW = batch.REDRAW = 0.0
sys.exit(cli.main(sys.argv[1:]))
"""


def test_a_batch_at_a_real_terminal_shows_how_far_it_is_and_then_its_error(tmp_path: Path) -> None:
    file = tmp_path / "boxes.txt"
    file.write_text("pwd\n\npwd nothing\npwd\n")
    child = pexpect.spawn(sys.executable, ["-c", PROGRAM, "-f", str(file)], encoding="utf-8", timeout=60)
    for number in (1, 2, 3):
        child.expect(rf"\r{re.escape(str(file))}: line {number}, \d+ lines a second\x1b\[K")
        if number == 1:
            child.expect_exact("\r\x1b[K/\r\n")
    child.expect_exact(f"\r\x1b[Kisadmin: {file}:3: pwd: unexpected argument 'nothing'")
    child.expect_exact("(in: pwd nothing)\r\n")
    assert "line 4" not in child.read()
    child.wait()
    assert child.exitstatus == 2


def test_elsewhere_there_is_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "SLOW", 0.0)
    screen = io.StringIO()
    batch.Progress("file", screen).at(1)
    assert screen.getvalue() == ""
