"""Secrets from files, standard input and unseen typing; wrong ones are refused, and never shown."""

from __future__ import annotations

import getpass
import io
import os
import sys
from pathlib import Path

import pytest

from isadmin.errors import IsadminError, UsageError
from tests.shell.trees import Shown


def given_stdin(monkeypatch: pytest.MonkeyPatch, content: bytes, *, terminal: bool = False) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(content))
    monkeypatch.setattr(stdin, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stdin", stdin)


def typed_unseen(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Answer the questions of a terminal; they are listed as they come."""
    rest = list(answers)
    questions: list[str] = []

    def answer(question: str) -> str:
        questions.append(question)
        return rest.pop(0)

    monkeypatch.setattr(getpass, "getpass", answer)
    monkeypatch.setattr(os, "open", lambda *_: os.dup(0))
    return questions


@pytest.mark.parametrize("content", [b"a b#'c", b"a b#'c\n", b"a b#'c\r\n"])
def test_a_secret_from_a_file_is_its_text_without_the_last_newline(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    shown = Shown()
    assert shown.run(f"set auth password_file={tmp_path}/x") == "Parameter password is now set.\n"
    assert shown.content["=password"] == "a b#'c"
    assert shown.host.locked == 1


@pytest.mark.parametrize(
    ("content", "said", "status"),
    [
        (None, "No such file ", 5),
        (b"", "There is no password in ", 2),
        (b"\n", "There is no password in ", 2),
        (b"hidden\nhidden\n", "is not one line of text", 2),
        (b"hidden\0", "is not one line of text", 2),
        (b"hidden" * 1000, "is not one line of text", 2),
        (b"hidden\xff", "is not UTF-8 text", 2),
    ],
)
def test_a_file_that_holds_no_secret_is_refused_unseen(
    tmp_path: Path, content: bytes | None, said: str, status: int
) -> None:
    if content is not None:
        (tmp_path / "x").write_bytes(content)
    shown = Shown()
    with pytest.raises(IsadminError) as caught:
        shown.run(f"set auth userid=me password_file={tmp_path}/x")
    assert said in caught.value.line()
    assert "hidden" not in caught.value.line()
    assert caught.value.status == status
    assert "=userid" not in shown.content
    assert shown.host.locked == 0


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(IsadminError, match="Is a directory"):
        Shown().run(f"set auth password_file={tmp_path}")


def test_only_secrets_come_from_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Unknown parameter userid_file"):
        Shown().run(f"set auth userid_file={tmp_path}/x")
    with pytest.raises(UsageError, match="Both password and password_file"):
        Shown().run("set auth password=a password_file=b")


def test_standard_input_gives_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    given_stdin(monkeypatch, b"first one\nsecond\n")
    shown = Shown()
    shown.run("set auth password_file=-")
    assert shown.content["=password"] == "first one"
    shown.run("set group=auth password_file=-")
    assert shown.content["=password"] == "second"
    with pytest.raises(UsageError, match="at its end"):
        shown.run("set auth password_file=-")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="is closed"):
        shown.run("set auth password_file=-")


def test_standard_input_that_holds_the_commands_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    given_stdin(monkeypatch, b"next command\n")
    shown = Shown()
    shown.session.stdin_taken = True
    with pytest.raises(UsageError, match="holds the commands"):
        shown.run("set auth password_file=-")


def test_a_terminal_is_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    given_stdin(monkeypatch, b"", terminal=True)
    questions = typed_unseen(monkeypatch, "s3cret", "s3cret", "one", "another")
    shown = Shown()
    shown.run("set auth password_file=-")
    assert shown.content["=password"] == "s3cret"
    assert questions == ["password: ", "password again: "]
    with pytest.raises(UsageError, match="was not the same"):
        shown.run("set auth password_file=-")
    assert shown.content["=password"] == "s3cret"


def test_with_ask_empty_secrets_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown(ask=True)
    typed_unseen(monkeypatch, "s3cret", "s3cret")
    shown.run("set auth userid= password=")
    assert (shown.content["=userid"], shown.content["=password"]) == (None, "s3cret")
    shown.session.ask = False
    shown.run("set auth password=")
    assert not shown.content["=password"]


def test_where_nobody_can_be_asked_a_file_is_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> int:
        raise OSError(6, "No such device or address")

    monkeypatch.setattr(os, "open", none)
    with pytest.raises(UsageError, match="there is no terminal"):
        Shown(ask=True).run("set auth password=")


def test_the_users_end_of_file_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(question: str) -> str:
        raise EOFError

    typed_unseen(monkeypatch)
    monkeypatch.setattr(getpass, "getpass", end)
    with pytest.raises(UsageError, match="No password was typed"):
        Shown(ask=True).run("set auth password=")
