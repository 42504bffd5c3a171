"""Sessions: where one is, what a line does there, what is locked, counted as a change, kept and hidden."""

from __future__ import annotations

from pathlib import Path

import pytest

from isadmin.errors import IsadminError, LockedError, PermissionDeniedError, UsageError
from isadmin.shell.preferences import Bookmarks, Preferences
from isadmin.shell.session import OutputClosedError
from tests.shell.trees import Shown


@pytest.fixture
def shown() -> Shown:
    return Shown()


def names(listing: str) -> list[str]:
    return [line.split("- ")[1].split(" ")[0] for line in listing.splitlines()]


def test_ls_sorts_numbers_at_the_end_as_numbers(shown: Shown) -> None:
    assert names(shown.run("ls")) == ["/", "a", "b1", "b2", "b10", "c"]
    assert names(shown.run("ls a 1")) == ["a", "b1", "b2", "b10"]
    assert names(shown.run("ls / 1")) == ["/", "a", "c"]


def test_paths_lead(shown: Shown) -> None:
    for line, path in [
        ("cd a", "/a"),
        ("/a/b1", "/a/b1"),
        ("..", "/a"),
        ("cd ../c", "/c"),
        ("cd .", "/c"),
        ("cd /", "/"),
        ("a/b2", "/a/b2"),
        ("../../c", "/c"),
        ("cd //a//b10/", "/a/b10"),
        ("/../..", "/"),
    ]:
        shown.run(line)
        assert shown.path == path


def test_cd_goes_back_and_forth(shown: Shown) -> None:
    for path in ("/a", "/c", "/a/b1"):
        shown.run(f"cd {path}")
    assert shown.run("cd <") == "Taking you back to /c.\n"
    shown.run("cd <")
    assert shown.path == "/a"
    shown.run("cd >")
    assert shown.path == "/c"
    shown.run("/a delete b1")
    assert "end of the path history" in shown.run("cd >")
    assert shown.path == "/c"


def test_cd_without_a_path_asks_only_who_can_answer(shown: Shown) -> None:
    with pytest.raises(UsageError, match="missing path"):
        shown.run("cd")
    shown.session.choose = lambda node: "/a"
    shown.run("cd")
    assert shown.path == "/a"


def test_pwd_and_status(shown: Shown) -> None:
    assert shown.run("/a pwd") == "/a\n"
    assert shown.run("/a status") == "Status for /a: Boxes: 3\n"


def test_a_star_is_every_child(shown: Shown) -> None:
    assert shown.run("/a/* pwd") == "[/a/b1]\n/a/b1\n[/a/b2]\n/a/b2\n[/a/b10]\n/a/b10\n"
    assert shown.run("* pwd") == "[/a]\n/a\n[/c]\n/c\n"
    assert names(shown.run("/a/*").replace("[/a/b", "o- [/a/b")).count("b1") == 1
    with pytest.raises(UsageError, match="3 places"):
        shown.run("ls /a/*")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nosuch", "Command not found nosuch"),
        ("creat x", "did you mean create?"),
        ("c", "type c/"),
        ("/nosuch ls", "No such path /nosuch"),
        ("ls /a/nosuch", "No such path /a/nosuch"),
        ("@nosuch", "No such bookmark nosuch"),
        ("create", "missing name: usage: create name [size] [wwn]"),
        ("create a b c d", "unexpected argument 'd'"),
        ("create x nosuch=1", "unexpected parameter 'nosuch'"),
        ("create x name=y", "name is given twice"),
        ("create x self=y", "unexpected parameter 'self'"),
        ("info self=y", "unexpected parameter 'self'"),
        ("ls / 1 -y", "unexpected argument '-y': options stand before the command"),
        ("'ls' / 1 '='", "unexpected argument '=': write NAME=VALUE without blanks"),
        ("ls / -1", "must be a number"),
        ("ls / x", "must be a number"),
        ("help nosuch", "Cannot find help topic nosuch"),
        ("get nosuch", "Unknown configuration group: nosuch"),
        ("get auth nosuch", "No parameter 'nosuch' in group 'auth'"),
        ("set nosuch a=1", "Unknown configuration group: nosuch"),
        ("set auth nosuch=1", "Unknown parameter nosuch in group 'auth'"),
        ("set auth kind=1", "Parameter kind is read-only"),
        ("set auth level=x", "Not setting level! Syntax error, 'x' is not a NUMBER"),
        ("set global color_mode=maybe", "Not setting color_mode!"),
        ("bookmarks add", "see 'help bookmarks'"),
        ("bookmarks nosuch", "see 'help bookmarks'"),
        ("bookmarks del nosuch", "No such bookmark nosuch"),
    ],
)
def test_wrong_words_are_a_usage_error_and_change_nothing(shown: Shown, line: str, words: str) -> None:
    before = repr(shown.content)
    with pytest.raises(UsageError) as caught:
        shown.run(line)
    assert words in caught.value.line()
    assert caught.value.status == 2
    assert repr(shown.content) == before


def test_preferences_are_listed_with_their_types(shown: Shown) -> None:
    listed = shown.run("set global").splitlines()
    assert {"color_mode=bool", "color_path=color", "prompt_length=number"} <= set(listed)


def test_one_wrong_value_keeps_the_others_from_being_set(shown: Shown) -> None:
    with pytest.raises(UsageError):
        shown.run("a/ set auth userid=u level=x")
    assert "=userid" not in shown.content["a"]


def test_changes_are_made_under_the_lock_and_counted(shown: Shown) -> None:
    shown.run("get auth")
    shown.run("set global")
    shown.run("ls")
    assert (shown.host.locked, shown.session.changed) == (0, False)
    assert shown.run("create d size=2M") == "Created box d of size 2M.\n"
    assert (shown.host.locked, shown.session.changed) == (1, True)
    shown.run("set auth userid=me")
    assert shown.host.locked == 2
    assert not shown.host.held


def test_a_failed_change_may_have_changed_something(shown: Shown) -> None:
    with pytest.raises(IsadminError, match="Box a exists"):
        shown.run("create a")
    assert shown.session.changed
    assert not shown.host.held


def test_a_change_that_was_not_tried_is_none(shown: Shown) -> None:
    with pytest.raises(UsageError):
        shown.run("create")
    assert not shown.session.changed


def test_who_may_not_change_may_look(shown: Shown) -> None:
    shown.host.allowed = False
    shown.run("ls")
    with pytest.raises(PermissionDeniedError):
        shown.run("create d")
    assert "d" not in shown.content


def test_a_held_lock_stops_changes_only(shown: Shown) -> None:
    shown.host.busy = True
    shown.run("ls")
    with pytest.raises(LockedError):
        shown.run("create d")


def test_a_mistake_in_the_program_is_one_line(shown: Shown) -> None:
    with pytest.raises(IsadminError, match="crash failed: unforeseen") as caught:
        shown.run("crash")
    assert caught.value.status == 1


def test_changes_from_elsewhere_show_at_the_next_command(shown: Shown) -> None:
    shown.run("cd /a/b1")
    shown.content["z"] = {}
    assert "z" in names(shown.run("ls /"))
    del shown.content["a"]["b1"]
    assert shown.run("pwd") == "/a\n"
    assert shown.stderr.getvalue() == "warning: /a/b1 is gone; you are now at /a\n"


def test_only_what_is_on_the_way_is_looked_at(shown: Shown) -> None:
    shown.run("/a/b1 pwd")
    root = shown.session.root
    assert root.get_child("c").looked == 0  # type: ignore[attr-defined]


def test_values_are_shown_with_their_meaning(shown: Shown) -> None:
    shown.run("set auth userid=me level=3")
    assert shown.run("get auth userid kind") == "userid=me \nkind= [ro]\n"
    assert shown.run("get auth") == (
        "AUTH CONFIG GROUP\n=================\n"
        "kind= [ro]\n----------\nWhat it is.\n\n"
        "level=3\n-------\nHow sure.\n\n"
        "password=\n---------\nThe secret.\n\n"
        "userid=me\n---------\nThe userid auth parameter.\n"
    )
    assert shown.run("get") == "AVAILABLE CONFIGURATION GROUPS\n==============================\nglobal auth\n"
    assert "level=number" in shown.run("set auth")
    assert "kind" not in shown.run("set auth")


def test_secrets_are_shown_only_when_asked_for() -> None:
    shown = Shown()
    assert shown.run("set auth password='a b' userid=me") == (
        "Parameter password is now set.\nParameter userid is now 'me'.\n"
    )
    assert shown.content["=password"] == "a b"
    assert shown.run("get auth password") == "password=******** \n"
    shown.session.show_secrets = True
    assert shown.run("get auth password") == "password=a b \n"
    assert shown.run("set auth password=") == "Parameter password is now empty.\n"


def test_a_command_takes_any_words_where_it_says_so(shown: Shown) -> None:
    assert shown.run("info x 'y z' k=v") == "(('x', 'y z'), {'k': 'v'})\n"


def test_help(shown: Shown) -> None:
    listed = shown.run("help")
    assert "  - create name [size] [wwn] \n" in listed
    assert listed == shown.run("?")
    assert shown.run("help create") == (
        "\nSYNTAX\n======\ncreate name [size] [wwn] \n\n\n"
        "DEFAULT VALUES\n==============\nsize=1M\n\n\n"
        "DESCRIPTION\n===========\n\nMakes a box.\n\nSEE ALSO\n========\ndelete\n"
    )


def test_preferences_are_a_group_everywhere(tmp_path: Path) -> None:
    shown = Shown(preferences=Preferences(tmp_path / "config.toml"))
    assert shown.run("a/ get global auto_cd_after_create") == "auto_cd_after_create=false \n"
    assert shown.run("a/ set global auto_cd_after_create=true prompt_length=0") == (
        "Parameter auto_cd_after_create is now 'true'.\nParameter prompt_length is now '0'.\n"
    )
    assert shown.run("a/ create new") == "Created box new of size 1M.\nEntering new node /a/new\n"
    assert shown.path == "/a/new"
    assert Preferences(tmp_path / "config.toml").flag("auto_cd_after_create")
    assert "Parameter" in shown.run("set global color_path=default")
    assert shown.run("get global color_path logfile") == "color_path=default \nlogfile=n/a \n"


def test_bookmarks(tmp_path: Path) -> None:
    shown = Shown(bookmarks=Bookmarks(tmp_path / "bookmarks.toml"))
    assert "No bookmarks yet." in shown.run("bookmarks show")
    assert shown.run("a/b1 bookmarks add mine") == "Bookmarked /a/b1 as mine.\n"
    with pytest.raises(IsadminError, match="already exists"):
        shown.run("bookmarks add mine")
    shown.run("bookmarks go mine")
    assert shown.path == "/a/b1"
    assert shown.run("@mine/.. pwd") == "/a\n"
    assert shown.run("ls @mine").startswith("o- b1 ")
    shown.run("/c create last_one")
    shown.session.finish(save=False)
    again = Shown(bookmarks=Bookmarks(tmp_path / "bookmarks.toml"))
    assert "mine\n----\n/a/b1\n" in again.run("bookmarks show")
    assert "last\n----\n/c/last_one\n" in again.run("bookmarks show")
    assert again.run("bookmarks del mine") == "Deleted bookmark mine.\n"


def test_the_prompt_leaves_out_the_middle_of_a_long_path(shown: Shown) -> None:
    assert shown.session.prompt() == "/> "
    shown.content["x" * 20] = {"y" * 20: {}}
    shown.run(f"cd {'x' * 20}/{'y' * 20}")
    assert shown.session.prompt() == f"/{'x' * 12}...{'y' * 13}> "


def test_nobody_reading_ends_it_quietly(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(text: str) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(shown.stdout, "write", closed)
    with pytest.raises(OutputClosedError):
        shown.run("pwd")


def test_exit_ends_the_session(shown: Shown) -> None:
    shown.run("exit")
    assert shown.session.exiting
