"""Long output goes to a pager, short output and what comes late to the terminal."""

from __future__ import annotations

import os
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from isadmin.shell import pager
from isadmin.shell.pager import Pager

ROWS = 5


class Screen:
    """A pseudo-terminal; `shown` is what came to it."""

    def __init__(self) -> None:
        self._there, here = os.openpty()
        termios.tcsetwinsize(here, (ROWS, 80))
        self.file: TextIO = os.fdopen(here, "w")

    @property
    def shown(self) -> str:
        os.write(self._there, b"")
        self.file.write("end")
        self.file.flush()
        seen = b""
        while not seen.endswith(b"end"):
            seen += os.read(self._there, 1000)
        return seen.decode().removesuffix("end").replace("\r\n", "\n")

    def close(self) -> None:
        self.file.close()
        os.close(self._there)


@pytest.fixture
def screen() -> Iterator[Screen]:
    made = Screen()
    yield made
    made.close()


def pager_into(file: Path) -> list[str]:
    return [sys.executable, "-c", f"import sys; open({str(file)!r}, 'w').write(sys.stdin.read())"]


def test_what_fits_the_screen_is_shown_there(screen: Screen, tmp_path: Path) -> None:
    shown = Pager(screen.file, pager_into(tmp_path / "paged"))
    assert shown.isatty()
    assert shown.fileno() == screen.file.fileno()
    shown.write("line\n" * (ROWS - 1))
    shown.finish()
    assert screen.shown == "line\n" * (ROWS - 1)
    assert not (tmp_path / "paged").exists()


def test_what_is_longer_goes_to_the_pager_whole(screen: Screen, tmp_path: Path) -> None:
    shown = Pager(screen.file, pager_into(tmp_path / "paged"))
    for number in range(100):
        shown.write(f"{number}\n")
        shown.flush() if number > 50 else None
    shown.finish()
    assert (tmp_path / "paged").read_text() == "".join(f"{number}\n" for number in range(100))
    assert screen.shown == ""


def test_a_pager_that_is_left_early_is_no_error(screen: Screen) -> None:
    shown = Pager(screen.file, [sys.executable, "-c", ""])
    for _ in range(1000):
        shown.write("x" * 1000 + "\n")
    shown.finish()


def test_a_pager_that_cannot_run_is_none(screen: Screen) -> None:
    shown = Pager(screen.file, ["/nosuch/pager"])
    shown.write("line\n" * 10)
    shown.finish()
    assert screen.shown == "line\n" * 10


def test_which_pager(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value, words in [
        ("PAGER", "cat", []),
        ("PAGER", "", []),
        ("PAGER", "/nosuch/pager -x", []),
        ("PAGER", "sh 'unclosed", []),
        ("PAGER", "sh -c 'cat -n'", ["sh", "-c", "cat -n"]),
        ("ISADMIN_PAGER", "env", ["env"]),
    ]:
        monkeypatch.setenv(name, value)
        assert pager.command() == words
