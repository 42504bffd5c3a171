"""JSON output: one document a line, for each command and place, and nothing that text would have hidden."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from isadmin import __version__, cli
from isadmin.errors import IsadminError, UsageError
from isadmin.lio.sessions import Connection
from isadmin.lio.sessions import Session as LioSession
from isadmin.shell import output
from tests.schemas import all_valid, valid
from tests.shell.trees import Shown


def documents(line: str, **options: Any) -> list[dict[str, Any]]:
    return all_valid(Shown(as_json=True, **options).run(line))


def document(line: str, **options: Any) -> dict[str, Any]:
    (found,) = documents(line, **options)
    return found


def test_ls_gives_the_tree() -> None:
    found = document("ls")
    assert (found["schema"], found["command"], found["path"]) == (1, "ls", "/")
    top = found["node"]
    assert [child["path"] for child in top["children"]] == ["/a", "/c"]
    assert [child["name"] for child in top["children"][0]["children"]] == ["b1", "b2", "b10"]
    assert top["children"][0]["summary"] == "Boxes: 3"
    assert top["children"][1]["children"] == []


def test_ls_leaves_out_what_is_deeper_than_asked_for() -> None:
    top = document("ls / 1")["node"]
    assert all("children" not in child for child in top["children"])
    assert document("ls /a depth=1")["node"]["path"] == "/a"


def test_get_lists_groups_and_gives_typed_values() -> None:
    content = {"=userid": "u", "=password": "p", "=level": "7", "=kind": "x"}
    assert document("get")["groups"] == ["global", "auth"]
    found = document("get auth", content=content)
    values = {name: one["value"] for name, one in found["parameters"].items()}
    assert values == {"userid": "u", "password": None, "level": 7, "kind": "x"}
    assert found["parameters"]["password"]["hidden"] is True
    assert found["parameters"]["kind"]["writable"] is False
    assert found["parameters"]["level"]["description"] == "How sure."


def test_get_shows_secrets_when_asked_to() -> None:
    found = document("get auth password", content={"=password": "p"}, show_secrets=True)
    assert found["parameters"] == {
        "password": {
            "value": "p",
            "type": "string",
            "writable": True,
            "hidden": False,
            "description": "The secret.",
        }
    }


def test_get_of_an_empty_secret_says_that_it_is_empty() -> None:
    password = document("get auth password")["parameters"]["password"]
    assert (password["value"], password["hidden"]) == ("", False)


def test_preferences_have_their_own_types() -> None:
    found = document("get global color_mode lock_timeout logfile")["parameters"]
    assert [one["value"] for one in found.values()] == [True, 30, None]


def test_status() -> None:
    found = document("/a status")
    assert (found["path"], found["summary"], found["healthy"]) == ("/a", "Boxes: 3", None)


def test_a_command_at_several_places_gives_a_document_for_each() -> None:
    assert [one["path"] for one in documents("/a/* status")] == ["/a/b1", "/a/b2", "/a/b10"]


def test_other_commands_give_what_they_say() -> None:
    found = document("create x")
    assert (found["done"], found["messages"]) == (True, ["Created box x of size 1M."])
    assert document("cd /a")["messages"] == []


def test_a_command_that_fails_before_it_says_anything_prints_nothing() -> None:
    shown = Shown(as_json=True)
    with pytest.raises(IsadminError):
        shown.run("create a")
    with pytest.raises(UsageError):
        shown.run("nonsense")
    assert shown.stdout.getvalue() == ""


def test_text_that_is_not_text_still_makes_a_document() -> None:
    line = output.line("ls", "/\udcff", {"x": "ü\n"})
    assert line.isascii()
    assert json.loads(line)["path"] == "/\udcff"


def test_a_session_that_the_target_tells_little_of_is_null_where_it_is_silent() -> None:
    found = output.session(LioSession("iqn.x"), detail=True)
    line = output.line("sessions", "/", {"sessions": [found]})
    (one,) = valid(line)["sessions"]
    assert (one["dynamic"], one["sid"], one["alias"], one["mapped_luns"]) == (True, None, None, None)


def test_a_session_shows_its_connections() -> None:
    connection = Connection(0, "LOGGED_IN", "::1", "TCP")
    one = LioSession("iqn.x", "me", 4, "0x1", 1, "Normal", "LOGGED_IN", [connection])
    found = output.session(one, detail=False)
    assert found["connections"] == [{"cid": 0, "state": "LOGGED_IN", "address": "::1", "transport": "TCP"}]
    assert "mapped_luns" not in found
    valid(output.line("sessions", "/", {"sessions": [found]}))


@pytest.mark.parametrize("words", [["--version"], ["version"]])
def test_version_needs_no_target(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--output", "json", *words]) == 0
    assert valid(capsys.readouterr().out)["version"] == __version__


def test_an_unknown_format_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--output=xml", "version"]) == UsageError.status
    assert "text|json" in capsys.readouterr().err


def test_formats_are_those_of_the_option() -> None:
    (option,) = [one for one in cli.OPTIONS if one.key == "output"]
    assert option.value == "|".join(output.FORMATS)


def test_a_document_that_breaks_the_schema_is_noticed() -> None:
    with pytest.raises(jsonschema.ValidationError):
        valid(output.line("status", "/", {"summary": 3, "healthy": None}))
    with pytest.raises(jsonschema.ValidationError):
        valid(output.line("create", "/", {}))


def test_closing_news_of_a_session_keeps_to_documents() -> None:
    shown = Shown(as_json=True, savefile=Path("/dev/null/x"))
    shown.run("create x")
    shown.session.finish(save=True)
    assert [one["command"] for one in all_valid(shown.stdout.getvalue())] == ["create", "saveconfig"]


def test_text_is_what_it_was() -> None:
    shown = Shown()
    assert shown.run("status") == "Status for /: Boxes: 2\n"
    assert isinstance(shown.stdout, io.StringIO)
