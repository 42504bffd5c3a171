"""CHAP names and secrets: what is refused, what is warned of, what is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isadmin.errors import UsageError
from isadmin.shell.nodes import auth

SECRET = "never-to-be-shown"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for file in auth.FILES.values():
        (tmp_path / file).write_text("\n")
    return tmp_path


@pytest.mark.parametrize(
    "value", [SECRET * 20, f" {SECRET}", f"{SECRET} ", f"NULL{SECRET}", f"{SECRET}\nx", f"{SECRET}\0x"]
)
def test_refused_without_showing_it(directory: Path, value: str) -> None:
    with pytest.raises(UsageError) as error:
        auth.write([str(directory)], "password", value)
    assert SECRET not in error.value.line()
    assert auth.read(str(directory), "password") == ""


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=60))
def test_anything_else_is_kept_whole(value: str) -> None:
    if value == value.strip() and not value.startswith("NULL"):
        auth.check("password", value)


def test_limits_count_bytes() -> None:
    auth.check("userid", "u" * 255)
    with pytest.raises(UsageError):
        auth.check("userid", "u" * 256)
    with pytest.raises(UsageError):
        auth.check("userid", "ü" * 128)


def test_written_read_and_cleared(directory: Path) -> None:
    (directory / "userid_mutual").write_text("")
    auth.write([str(directory)], "mutual_userid", "me")
    assert (directory / "userid_mutual").read_text() == "me"
    assert auth.read(str(directory), "mutual_userid") == "me"
    auth.write([str(directory)], "mutual_userid", "")
    assert (directory / "userid_mutual").read_text() == "NULL"
    assert auth.read(str(directory), "mutual_userid") == ""


def test_short_secrets_are_warned_of(directory: Path) -> None:
    assert len(auth.weaknesses(str(directory), "password", "secret")) == 1
    assert auth.weaknesses(str(directory), "password", "x" * 12) == []
    assert auth.weaknesses(str(directory), "userid", "u") == []
    assert auth.weaknesses(str(directory), "password", "") == []


def test_one_secret_both_ways_is_warned_of(directory: Path) -> None:
    (directory / "password").write_text(SECRET)
    (warning,) = auth.weaknesses(str(directory), "mutual_password", SECRET)
    assert "the same" in warning
    assert SECRET not in warning
