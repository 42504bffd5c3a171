"""Which target is chosen, what may be changed, and one change at a time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Literal

import pytest

from isadmin.errors import LockedError, NoTargetError, PermissionDeniedError
from isadmin.lio import host, library, locks
from isadmin.lio.host import Host
from isadmin.userspace import control

INFO = control.DaemonInfo(1, "/run/x/target", "/var/x", "/run/x", "0", "", "")


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ISADMIN_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.delenv("ISADMIN_STATE_DIR", raising=False)
    (tmp_path / "target" / "core").mkdir(parents=True)
    return tmp_path / "target"


def test_a_given_directory_is_taken(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert host.choose(configfs=target) == Host("given", target, None, target.parent / "run")
    assert host.choose(configfs=target).savefile is None
    monkeypatch.setenv("ISADMIN_STATE_DIR", "/s")
    assert host.choose(configfs=target).savefile == Path("/s/saveconfig.json")


def test_a_directory_that_is_no_target_is_refused(target: Path) -> None:
    for wrong in (target.parent, target / "core", target / "nosuch"):
        with pytest.raises(NoTargetError, match="is no LIO target"):
            host.choose(configfs=wrong)


def test_a_directory_of_somebody_else_is_no_missing_target(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(PermissionDeniedError, match="permission denied"):
        host.choose(configfs=target)


def test_the_daemon_is_started_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "ensure_started", lambda: INFO)
    chosen = host.choose(userspace=True)
    assert chosen == Host("userspace", Path("/run/x/target"), Path("/var/x"), Path("/run/x"))


def test_the_kernels_comes_before_a_running_daemons(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_load_kernel_target", lambda: False)
    monkeypatch.setattr(control, "running", lambda: INFO)
    monkeypatch.setattr(host, "KERNEL", target)
    assert host.choose().kind == "kernel"
    monkeypatch.setattr(host, "KERNEL", target / "nosuch")
    assert host.choose().kind == "userspace"
    monkeypatch.setattr(control, "running", lambda: None)
    with pytest.raises(NoTargetError) as caught:
        host.choose()
    assert caught.value.status == 3
    assert "isadmin userspace start" in caught.value.line()


def test_debians_directory_is_used_where_only_that_is(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = target.parent / "rtslib-fb-target"
    monkeypatch.setattr(host, "KERNEL_STATE", (target.parent / "etc", other))
    assert host.kernel().state == target.parent / "etc"
    other.mkdir()
    assert host.kernel().state == other
    (target.parent / "etc").mkdir()
    assert host.kernel().state == target.parent / "etc"


def test_the_directory_with_a_saved_configuration_is_used(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = target.parent / "etc", target.parent / "rtslib-fb-target"
    monkeypatch.setattr(host, "KERNEL_STATE", (str(first), str(second)))
    (first / "pr").mkdir(parents=True)
    second.mkdir()
    (second / "saveconfig.json").write_text("{}")
    assert (host.kernel().state, host.kernel().other_savefile) == (second, None)
    (first / "saveconfig.json").write_text("{}")
    for own, other in ((first, second), (second, first)):
        monkeypatch.setattr(library, "saves_in", lambda own=own: str(own))
        assert (host.kernel().state, host.kernel().other_savefile) == (own, f"{other}/saveconfig.json")
    (first / "saveconfig.json").unlink()
    (first / "saveconfig.json").symlink_to(second / "saveconfig.json")
    assert (host.kernel().state, host.kernel().other_savefile) == (first, None)


def test_changing_needs_the_right_and_the_target(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = host.given(target)
    chosen.require_change()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionDeniedError):
        chosen.require_change()
    target.rename(target.parent / "gone")
    for require in (chosen.require, chosen.require_change):
        with pytest.raises(NoTargetError, match="is gone"):
            require()


def test_the_lock_names_its_holder_and_leaves_nothing(target: Path) -> None:
    chosen = host.given(target)
    with chosen.lock(1), pytest.raises(LockedError) as caught, chosen.lock(0):
        pass
    assert re.search(rf"\(pid {os.getpid()}\)", str(caught.value))
    assert caught.value.status == 4
    assert list((target.parent / "run").iterdir()) == []
    with chosen.lock(0):
        pass


def test_the_lock_is_let_go_when_the_change_fails(target: Path) -> None:
    chosen = host.given(target)
    with pytest.raises(ZeroDivisionError), chosen.lock(0):
        raise ZeroDivisionError
    with chosen.lock(0):
        pass


def test_the_lock_of_a_dead_process_is_no_lock(target: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from isadmin.lio.host import given\n"
        "held = given(Path(sys.argv[1])).lock(0); held.__enter__(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert len(list((target.parent / "run").iterdir())) == 1
    with host.given(target).lock(0):
        pass


def test_many_at_once_take_turns(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "POLL", 0.001)
    chosen = host.given(target)
    inside: list[int] = []
    most: list[int] = []

    def change() -> None:
        for _ in range(10):
            with chosen.lock(60):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=change) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 50


HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "w+")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["kernel", "userspace"])
def test_targetclis_lock_is_waited_for_and_its_holder_named(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Literal["kernel", "userspace"]
) -> None:
    """targetcli holds it as long as it runs, and writes nothing into it."""
    runtime = tmp_path / "run"
    file = {"kernel": tmp_path / "targetcli.lock", "userspace": runtime / "targetcli.lock"}[kind]
    runtime.mkdir()
    monkeypatch.setattr(host, "TARGETCLI_LOCK", tmp_path / "targetcli.lock")
    monkeypatch.setattr(locks, "PATIENCE", 0.0)
    script = tmp_path / "targetcli"
    script.write_text(HOLDER)
    chosen = Host(kind, target, None, runtime)
    with chosen.lock(0):
        pass
    with subprocess.Popen(
        [sys.executable, str(script), str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LockedError, match=rf"targetcli \(pid {holder.pid}\)"), chosen.lock(0):
            pass
        told: list[str] = []

        def end(who: str) -> None:
            told.append(who)
            assert holder.stdin is not None
            holder.stdin.close()

        with chosen.lock(60, end):
            assert told == [f"targetcli (pid {holder.pid})"]
    assert file.exists()
    assert not list(runtime.glob("change-*"))


def test_rtslib_is_pointed_at_the_target_and_loads_no_module(target: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from isadmin.lio.host import given, rtslib_root\n"
        "import subprocess; subprocess.run = None\n"
        "root = rtslib_root(given(Path(sys.argv[1])))\n"
        "assert root.path == sys.argv[1], root.path\n"
        "import rtslib\n"
        "try: rtslib.fabric.modprobe('iscsi_target_mod')\n"
        "except rtslib.utils.RTSLibError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(target)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "iscsi_target_mod" in done.stdout


def test_file_systems_are_told_apart(tmp_path: Path) -> None:
    assert host._filesystem_of("/proc/self", 0) == "proc"
    assert host._filesystem_of("/", 0) not in ("", "proc")
