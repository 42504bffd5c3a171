"""What is offered at every point of a line."""

from __future__ import annotations

from pathlib import Path
from stat import S_IFREG

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isadmin.shell.suggest import Suggestion, paths_like, suggest, suggest_fuzzily
from tests.shell.trees import Shown


@pytest.fixture
def shown() -> Shown:
    return Shown()


def texts(line: str, shown: Shown) -> list[str]:
    return [one.text for one in suggest(line, shown.session.current)]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("cre", ["create "]),
        ("h", ["help "]),
        ("c", ["cd ", "crash ", "create ", "c/"]),
        ("/", ["/a/", "/c/"]),
        ("/a/", ["/a/b1/", "/a/b2/", "/a/b10/"]),
        ("/a/b1", ["/a/b1/", "/a/b10/"]),
        ("a/../c/", []),
        ("/a cre", ["create "]),
        ("/a/b", ["/a/b1/", "/a/b2/", "/a/b10/"]),
        ("ls /a/b2", ["/a/b2/"]),
        ("/a ls b2", ["b2/"]),
        ("cd ", ["a/", "c/", "path="]),
        ("create ", ["disk1 ", "'disk 2' ", "name=", "size=", "wwn="]),
        ("create di", ["disk1 ", "'disk 2' "]),
        ("create x ", ["1M ", "2M ", "size=", "wwn="]),
        ("create x size=", ["1M ", "2M "]),
        ("create x size=2", ["2M "]),
        ("create x 1M wwn=", []),
        ("create x --", ["--dry-run "]),
        ("create x --dry", ["--dry-run "]),
        ("info --", []),
        ("set auth userid=x --", ["--dry-run "]),
        ("set global color_mode=true --", []),
        ("create x s", ["size="]),
        ("get ", ["global ", "auth ", "group="]),
        ("get auth ", ["kind ", "level ", "password ", "userid "]),
        ("set auth u", ["userid="]),
        ("set auth ", ["level=", "password=", "userid=", "password_file="]),
        ("set global color_mode=", ["true ", "false "]),
        ("set global color_path=bl", ["black ", "blue "]),
        ("help cr", ["crash ", "create "]),
        ("bookmarks g", ["go "]),
        ("nosuch ", []),
        ("/nosuch/", []),
        ("/nosuch c", []),
        ("create # c", []),
        ("create \u00a0", []),
    ],
)
def test_offered(line: str, offered: list[str], shown: Shown) -> None:
    assert texts(line, shown) == offered


def test_bookmarks_are_offered(shown: Shown) -> None:
    shown.run("a/b1 bookmarks add mine")
    assert texts("@m", shown) == ["@mine/"]
    assert texts("cd @m", shown) == ["@mine/"]
    assert texts("bookmarks go ", shown)[:1] == ["mine "]


def test_each_comes_with_its_kind_place_and_meaning(shown: Shown) -> None:
    shown.run("cd /a")
    here = shown.session.current
    assert suggest("  crea", here) == [Suggestion("create ", 4, "command", "Makes a box.")]
    assert suggest("cd b1", here)[0] == Suggestion("b1/", 2, "value", "Boxes: 0")
    assert suggest("create x si", here) == [Suggestion("size=", 2, "parameter", "default 1M")]
    assert suggest("create x size=2", here) == [Suggestion("2M ", 1, "value")]
    assert suggest("set auth lev", here) == [Suggestion("level=", 3, "parameter", "How sure.")]


def test_a_secrets_file_is_offered(shown: Shown, tmp_path: Path) -> None:
    (tmp_path / "secret").touch()
    assert texts(f"set auth password_file={tmp_path}/s", shown) == [f"{tmp_path}/secret "]
    (found,) = suggest("set auth password_", shown.session.current)
    assert found.meaning == "The password from a file, or - for standard input"


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("cre", ["create "]),
        ("eat", ["create "]),
        ("/a/10", ["/a/b10/"]),
        ("/A", ["/a/"]),
        ("create x sz", ["size="]),
        ("set auth pw", ["password=", "password_file="]),
        ("set global color_mode=ue", ["true "]),
        ("ls", ["ls "]),
        ("create x 1M wwn=zz", []),
        ("xyz", []),
    ],
)
def test_where_nothing_begins_so_what_holds_it_is_offered(
    line: str, offered: list[str], shown: Shown
) -> None:
    assert [one.text for one in suggest_fuzzily(line, shown.session.current)] == offered


def test_the_nearest_comes_first(shown: Shown) -> None:
    shown.content.update({"disk-a": {}, "x-disk": {}, "d-i-s-k": {}})
    found = suggest_fuzzily("ls /isk", shown.session.current)
    assert [one.text for one in found] == ["/disk-a/", "/x-disk/", "/d-i-s-k/"]


def test_parameters_come_with_what_help_says_of_them(shown: Shown) -> None:
    here = shown.session.current
    assert suggest("ls pat", here)[-1].meaning.startswith("The place: an absolute or relative path")
    assert suggest("ls dep", here)[-1].meaning == "How many levels to show below it, 0 for all"


LINES = ["/a create 'disk 2' size=2M", "set auth password='a b'", "ls @mine 2", "../a/b1 get auth # x"]


@pytest.mark.parametrize("line", LINES)
def test_a_line_cut_anywhere_is_no_error(line: str, shown: Shown) -> None:
    for end in range(len(line) + 1):
        for one in suggest(line[:end], shown.session.current):
            assert one.length <= end


@given(st.text(max_size=30))
def test_any_text_is_no_error(line: str) -> None:
    for one in suggest(line, Shown().session.current):
        assert one.length <= len(line)


def test_files(tmp_path: Path) -> None:
    for name in ("disk1.img", "disk2.img", ".hidden"):
        (tmp_path / name).touch()
    (tmp_path / "disks").mkdir()
    assert paths_like(f"{tmp_path}/di") == [f"{tmp_path}/{n}" for n in ("disk1.img", "disk2.img", "disks/")]
    assert paths_like(f"{tmp_path}/", S_IFREG) == paths_like(f"{tmp_path}/di", S_IFREG)
    assert paths_like(f"{tmp_path}/.h") == [f"{tmp_path}/.hidden"]
    assert paths_like(f"{tmp_path}/nosuch/") == []
