"""`isadmin userspace ...`: the words, without a daemon."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from isadmin.errors import NoTargetError, UsageError
from isadmin.userspace import command, control


@pytest.fixture(autouse=True)
def directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ISADMIN_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("ISADMIN_STATE_DIR", str(tmp_path / "state"))
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ["frobnicate"],
        [],
        ["start", "--fast"],
        ["start", "--foregr"],
        ["start", "now"],
        ["stop", "now"],
        ["status", "--output", "xml"],
        ["exec"],
        ["exec", "--"],
    ],
)
def test_wrong_words_are_usage_errors_with_a_remedy(words: list[str], directories: Path) -> None:
    with pytest.raises(UsageError) as caught:
        command.main(words)
    assert "\n" not in caught.value.line()
    assert caught.value.remedy
    assert list(directories.iterdir()) == []


def test_status_of_nothing_is_3_and_makes_nothing(
    directories: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["status"]) == 3
    assert "not running" in capsys.readouterr().out
    assert list(directories.iterdir()) == []


def test_stop_of_nothing_is_0_and_makes_nothing(
    directories: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["stop"]) == 0
    assert "not running" in capsys.readouterr().out
    assert list(directories.iterdir()) == []


def test_exec_without_a_daemon_says_how_to_start_one() -> None:
    with pytest.raises(NoTargetError) as caught:
        command.main(["exec", "--", "true"])
    assert caught.value.status == 3
    assert caught.value.remedy == "isadmin userspace start"


def test_help_tells_every_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(["--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert [line.split()[0] for line in said[said.index("exit status:") :].splitlines()[1:6]] == list("02367")


def test_the_lock_names_its_holder_and_is_free_after_it(directories: Path) -> None:
    directory = control.make_private(directories / "run")
    assert control.lock_holder(directory) == 0
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        control.take_lock(directory)
        os.write(told, b".")
        signal.pause()
        os._exit(0)
    os.read(ready, 1)
    try:
        assert control.lock_holder(directory) == child
        with pytest.raises(control.AlreadyRunningError):
            control.take_lock(directory)
        assert control.running() is None
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert control.lock_holder(directory) == 0


def test_a_directory_that_cannot_be_made_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISADMIN_RUNTIME_DIR", "/dev/null/run")
    with pytest.raises(NoTargetError, match="/dev/null/run"):
        command.main(["start"])


class TestDirectories:
    def test_of_root(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("ISADMIN_RUNTIME_DIR")
        monkeypatch.delenv("ISADMIN_STATE_DIR")
        monkeypatch.setattr("os.geteuid", lambda: 0)
        assert control.runtime_dir() == Path("/run/isadmin")
        assert control.state_dir() == Path("/var/lib/isadmin")
        assert control.saved_configuration() == Path("/var/lib/isadmin/saveconfig.json")

    def test_of_a_user(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("ISADMIN_RUNTIME_DIR")
        monkeypatch.delenv("ISADMIN_STATE_DIR")
        monkeypatch.delenv("XDG_STATE_HOME", raising=False)
        monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
        monkeypatch.setenv("HOME", "/home/user")
        monkeypatch.setattr("os.geteuid", lambda: 1000)
        assert control.runtime_dir() == Path("/run/user/1000/isadmin")
        assert control.state_dir() == Path("/home/user/.local/state/isadmin")
        monkeypatch.setenv("XDG_STATE_HOME", "/state")
        assert control.state_dir() == Path("/state/isadmin")
        monkeypatch.delenv("XDG_RUNTIME_DIR")
        with pytest.raises(NoTargetError, match="XDG_RUNTIME_DIR"):
            control.runtime_dir()
