"""Preferences and bookmarks survive in TOML files that people may edit."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isadmin.errors import IsadminError, RefusedFileError
from isadmin.shell import preferences
from isadmin.shell.preferences import TABLE, Bookmarks, Preferences

TARGETCLI_GLOBALS = {
    "auto_add_default_portal": "true",
    "auto_add_mapped_luns": "true",
    "auto_cd_after_create": "false",
    "auto_enable_tpgt": "true",
    "auto_save_on_exit": "true",
    "auto_use_daemon": "false",
    "color_command": "cyan",
    "color_default": "none",
    "color_keyword": "cyan",
    "color_mode": "true",
    "color_parameter": "magenta",
    "color_path": "magenta",
    "daemon_use_batch_mode": "false",
    "export_backstore_name_as_model": "true",
    "loglevel_console": "info",
    "loglevel_file": "debug",
    "max_backup_files": "10",
    "prompt_length": "30",
    "tree_max_depth": "0",
    "tree_round_nodes": "true",
    "tree_show_root": "true",
    "tree_status_mode": "true",
}
"""What targetcli 3.0 answers to `get global` on a fresh machine; its log file is none here."""


def test_every_global_of_targetcli_is_there_with_its_default() -> None:
    fresh = Preferences()
    shown = {name: preferences.show_value(TABLE[name], fresh[name]) for name in fresh}
    assert {name: shown[name] for name in TARGETCLI_GLOBALS} == TARGETCLI_GLOBALS
    assert shown.keys() - TARGETCLI_GLOBALS.keys() == {"logfile", "default_portal", "lock_timeout"}
    assert shown["default_portal"] == "0.0.0.0:3260"


def test_the_users_file_wins_over_the_systems(tmp_path: Path) -> None:
    system, user = tmp_path / "system.toml", tmp_path / "user.toml"
    system.write_text("prompt_length = 10\ncolor_mode = false\n")
    user.write_text('prompt_length = 20\nunknown = "kept"\n')
    both = Preferences(user, system)
    assert both.number("prompt_length") == 20
    assert not both.flag("color_mode")


def test_a_change_keeps_the_rest_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('# mine\nprompt_length = 10 # short\nunknown = "kept"\n\n[table]\nprompt_length = 1\n')
    wanted = Preferences(file)
    wanted.set("prompt_length", 12)
    wanted.set("color_mode", False)
    assert file.read_text() == (
        '# mine\nprompt_length = 12\nunknown = "kept"\ncolor_mode = false\n\n[table]\nprompt_length = 1\n'
    )


def test_the_first_change_makes_the_file(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "config.toml"
    Preferences(file).set("default_portal", "[::1]:3261")
    assert Preferences(file).text("default_portal") == "[::1]:3261"
    assert file.stat().st_mode & 0o777 == 0o600
    Preferences(file).set("logfile", None)
    assert Preferences(file)["logfile"] is None


@pytest.mark.parametrize(
    "text", ["prompt_length = ", "prompt_length = true", 'color_path = "pink"', "prompt_length = -1", "\0"]
)
def test_a_bad_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(RefusedFileError, match=r"config\.toml"):
        Preferences(file)


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(IsadminError, match="Cannot write"):
        Preferences(tmp_path / "file" / "config.toml").set("prompt_length", 1)


@pytest.mark.parametrize("text", ["127.0.0.1", "127.0.0.1:port", "[::1", "host.example:3260"])
def test_a_malformed_default_portal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Malformed port"):
        preferences.parse_value(TABLE["default_portal"], text)


TEXTS = st.text(st.characters(codec="utf-8"))


@given(TEXTS, TEXTS)
def test_any_text_survives_the_file(name: str, value: str) -> None:
    line = f"{preferences._toml(name)} = {preferences._toml(value)}\n"
    assert tomllib.loads(line) == {name: value}


def test_bookmarks_are_written_when_saved(tmp_path: Path) -> None:
    file = tmp_path / "bookmarks.toml"
    marks = Bookmarks(file)
    marks.note("last", "/a")
    assert not file.exists()
    marks.save()
    assert dict.fromkeys(Bookmarks(file)) == {"last": None}
    assert Bookmarks(file)["last"] == "/a"
