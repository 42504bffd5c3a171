"""What an error shows of what was typed."""

from __future__ import annotations

import ast
from pathlib import Path

import isadmin
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


def test_what_has_a_remedy_behind_it_is_no_sentence() -> None:
    """`What: remedy` is one line; what comes before the colon has no full stop."""
    stopped = [
        f"{file.name}:{node.lineno}"
        for file in Path(isadmin.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and len(node.args) == 2 and _ends_with_a_stop(node)
    ]
    assert stopped == []


def _ends_with_a_stop(call: ast.Call) -> bool:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    what = call.args[0]
    last = what.values[-1] if isinstance(what, ast.JoinedStr) and what.values else what
    text = last.value if isinstance(last, ast.Constant) else ""
    return name.endswith("Error") and isinstance(text, str) and text.endswith((".", ":", "!"))
