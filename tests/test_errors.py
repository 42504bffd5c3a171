"""What an error shows of what was typed."""

from __future__ import annotations

from isadmin.errors import LONGEST, IsadminError


def test_what_and_remedy_in_one_line() -> None:
    assert IsadminError("No such disk", "look at `ls`").line() == "No such disk: look at `ls`"
    assert IsadminError("first\nsecond").line() == "first second"


def test_a_huge_text_is_cut_in_its_middle() -> None:
    line = IsadminError(f"No '{'x' * 100_000}' here", "y" * 100_000).line()
    assert line.startswith("No 'xxx")
    assert "xxx' here: yyy" in line
    assert len(line) < 2 * LONGEST


def test_nothing_moves_the_cursor() -> None:
    line = IsadminError("No 'a\x1b[2J\x07\r\udc80\u2028' here, but na\u00efve \U0001f4be").line()
    assert line == "No 'a\\x1b[2J\\x07\\r\\udc80\\u2028' here, but na\u00efve \U0001f4be"
