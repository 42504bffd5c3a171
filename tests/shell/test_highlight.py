"""What a line's parts are shown as, at any point of typing it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from isadmin.shell.highlight import Commands, Part, parts

COMMANDS: Commands = {"create": frozenset({"name", "size"}), "info": None}


def known(path: str) -> Commands | None:
    return {"": COMMANDS, "/a": COMMANDS, "/nosuch": {}}.get(path)


def shown(line: str) -> list[tuple[str, str, bool]]:
    return [(line[p.start : p.end], p.kind, p.wrong) for p in parts(line, known) if p.kind != "blank"]


def test_each_part_has_its_kind() -> None:
    assert shown("/a create 'b c' size=2M # new") == [
        ("/a", "path", False),
        ("create", "command", False),
        ("'b c'", "value", False),
        ("size=", "key", False),
        ("2M", "value", False),
        ("# new", "comment", False),
    ]


def wrong(line: str) -> list[str]:
    return [text for text, _, is_wrong in shown(line) if is_wrong]


def test_what_is_wrong_is_marked_once_it_is_certain() -> None:
    assert wrong("crea") == []
    assert wrong("nosuch") == []
    assert wrong("nosuch ") == ["nosuch"]
    assert wrong("/nosuch") == []
    assert wrong("/nosuch create") == ["/nosuch"]
    assert wrong("/unknown nosuch x=1") == []
    assert wrong("create nosuch=1") == ["nosuch="]
    assert wrong("create size=1 size=2") == ["size="]
    assert wrong("info nosuch=1") == []
    assert wrong("size=1") == ["size=1"]
    assert wrong("create a\u00a0b") == ["\u00a0b"]
    assert wrong("create 'still open") == []


@given(st.text(alphabet=" \t\u00a0ac/@.*='\"\\#x", max_size=30))
def test_the_parts_are_the_whole_line(line: str) -> None:
    found = parts(line, known)
    assert "".join(line[p.start : p.end] for p in found) == line
    assert all(isinstance(p, Part) and p.end > p.start for p in found)
