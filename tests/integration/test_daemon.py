"""The daemon's life: start, stop, status, kill, restore, as an administrator types them."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.sandbox import COMMAND, Userspace, wait_until


def ended(pid: int) -> bool:
    """Gone, or waiting for whoever adopted it to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def mounts_of(world: Userspace) -> list[str]:
    return [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(world.runtime) in line]


def test_start_says_where_and_a_second_start_that_it_runs(world: Userspace) -> None:
    first = world.isadmin("userspace", "start")
    assert (first.returncode, first.stderr) == (0, "")
    assert str(world.mount) in first.stdout
    assert {"core", "version"} <= {path.name for path in world.mount.iterdir()}
    pid = world.pid
    second = world.isadmin("userspace", "start")
    assert (second.returncode, second.stderr) == (0, "")
    assert "already" in second.stdout
    assert str(world.mount) in second.stdout
    assert world.pid == pid


def test_stop_leaves_nothing_behind(world: Userspace) -> None:
    world.start()
    pid = world.pid
    stopped = world.isadmin("userspace", "stop")
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert not world.runtime.exists()
    assert mounts_of(world) == []
    assert ended(pid)
    again = world.isadmin("userspace", "stop")
    assert (again.returncode, again.stderr) == (0, "")
    assert "not running" in again.stdout


def test_status_tells_by_words_by_json_and_by_exit_status(world: Userspace) -> None:
    off = world.isadmin("userspace", "status")
    assert (off.returncode, off.stdout) == (3, "The userspace target is not running.\n")
    off = world.isadmin("userspace", "status", "--output", "json")
    assert (off.returncode, json.loads(off.stdout)) == (3, {"schema": 1, "running": False})
    world.start()
    on = world.isadmin("userspace", "status")
    assert on.returncode == 0
    assert str(world.mount) in on.stdout
    assert str(world.state) in on.stdout
    facts = json.loads(world.isadmin("userspace", "status", "--output", "json").stdout)
    assert facts["running"] is True
    assert facts["mount"] == str(world.mount)
    assert facts["state_dir"] == str(world.state)
    assert Path(f"/proc/{facts['pid']}/cmdline").read_bytes().count(b"userspace") == 1


def test_two_starts_at_once_make_one_daemon(world: Userspace) -> None:
    command = [*COMMAND, "userspace", "start"]
    starts = [subprocess.Popen(command, env=world.env, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [start.communicate(timeout=60)[0] for start in starts]
    assert [start.returncode for start in starts] == [0, 0, 0]
    assert sorted("already" in words for words in said) == [False, True, True]
    assert len(mounts_of(world)) == 1
    assert all(f"(pid {world.pid})" in words for words in said)


def test_what_a_killed_daemon_leaves_is_cleared_at_the_next_start(userspace: Userspace) -> None:
    userspace.kill()
    with pytest.raises(OSError, match="not connected"):
        os.listdir(userspace.mount)  # noqa: PTH208 - the error is wanted
    assert userspace.isadmin("userspace", "status").returncode == 3
    userspace.start()
    assert "core" in os.listdir(userspace.mount)  # noqa: PTH208
    assert len(mounts_of(userspace)) == 1


def test_stop_clears_what_a_killed_daemon_leaves(userspace: Userspace) -> None:
    userspace.kill()
    stopped = userspace.isadmin("userspace", "stop")
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert mounts_of(userspace) == []
    assert not userspace.mount.exists()


def test_a_user_inside_the_mount_does_not_prevent_stop(userspace: Userspace) -> None:
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, cwd=userspace.mount / "core", stdin=subprocess.PIPE) as inside:
        assert userspace.isadmin("userspace", "stop").returncode == 0
        assert mounts_of(userspace) == []
        inside.communicate(b"\n")


def test_unmounted_by_somebody_else_it_is_mounted_again(userspace: Userspace) -> None:
    (userspace.mount / "core" / "fileio_0").mkdir()
    subprocess.run(["umount", userspace.mount], check=True)
    wait_until(lambda: (userspace.mount / "core").is_dir(), "mounted again")
    assert (userspace.mount / "core" / "fileio_0").is_dir()


def test_the_log_is_private_and_says_what_happened(userspace: Userspace) -> None:
    log = userspace.runtime / "daemon.log"
    assert log.stat().st_mode & 0o777 == 0o600
    assert str(userspace.mount) in log.read_text()
    assert userspace.runtime.stat().st_mode & 0o777 == 0o700
    assert userspace.state.stat().st_mode & 0o777 == 0o700


def test_in_the_foreground_it_logs_to_standard_error_and_ends_at_sigterm(world: Userspace) -> None:
    environment = world.env | {"JOURNAL_STREAM": "9:1"}
    command = [*COMMAND, "userspace", "start", "--foreground"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as daemon:
        wait_until(lambda: world.isadmin("userspace", "status").returncode == 0, "ready")
        daemon.terminate()
        _, said = daemon.communicate(timeout=60)
    assert daemon.returncode == 0
    assert f"<6>userspace target ready, mounted at {world.mount}\n" in said
    assert not world.runtime.exists()


def test_it_tells_systemd_when_it_is_ready(world: Userspace, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(60)
        environment = world.env | {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        command = [*COMMAND, "userspace", "start", "--foreground"]
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as daemon:
            assert channel.recv(4096).startswith(b"READY=1\n")
            assert (world.mount / "core").is_dir()
            daemon.terminate()
            assert channel.recv(4096) == b"STOPPING=1"


TARGET = "iqn.2003-01.org.example:t1"
WAITS_AFTER_RESTORING = """
import atexit, pathlib, sys, time
def wait():
    go = pathlib.Path({go!r})
    go.with_name("waiting").touch()
    while not go.exists():
        time.sleep(0.02)
if "restoreconfig" in sys.orig_argv:
    atexit.register(wait)
"""


@pytest.fixture(scope="module")
def configuration(module_userspace: Userspace, module_tmp: Path) -> str:
    """A saved configuration of one disk on one portal."""
    lines = (
        f"/backstores/fileio create f1 {module_tmp}/f1.img 16M",
        f"/iscsi create {TARGET}",
        f"/iscsi/{TARGET}/tpg1/luns create /backstores/fileio/f1",
        "saveconfig",
    )
    done = module_userspace.isadmin(typed="\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr
    # Its portal must be free for the daemons that restore this.
    module_userspace.stop()
    return (module_userspace.state / "saveconfig.json").read_text()


def restore_of(world: Userspace) -> str:
    """What became of the saved configuration, as programs read it."""
    done = world.isadmin("userspace", "status", "--output", "json")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["restore"])


class TestRestore:
    """The saved configuration at a start."""

    @pytest.fixture
    def saved(self, world: Userspace, configuration: str) -> Path:
        """The saved configuration of a stopped userspace target: one disk, one portal."""
        world.state.mkdir(mode=0o700)
        file = world.state / "saveconfig.json"
        file.write_text(configuration)
        return file

    def test_it_is_restored(self, world: Userspace, saved: Path) -> None:
        started = world.isadmin("userspace", "start")
        assert (started.returncode, started.stderr) == (0, "")
        assert str(saved) in started.stdout
        assert (world.mount / f"iscsi/{TARGET}/tpgt_1/lun/lun_0").is_dir()
        assert str(saved) in world.isadmin("userspace", "status").stdout
        assert restore_of(world) == "restored"
        assert "There is no change to undo" in world.isadmin("undo").stderr

    def test_empty_does_not_restore(self, world: Userspace, saved: Path) -> None:
        before = saved.read_bytes()
        world.start("--empty")
        assert not (world.mount / "iscsi").exists()
        assert saved.read_bytes() == before

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"storage_objects": 5}'])
    def test_a_refused_file_is_reported_and_the_daemon_runs(
        self, world: Userspace, saved: Path, content: str
    ) -> None:
        saved.write_text(content)
        started = world.isadmin("userspace", "start")
        assert started.returncode == 6
        assert str(world.mount) in started.stdout
        assert started.stderr.count("\n") == 1
        assert restore_of(world) == "refused"
        assert started.stderr.count("isadmin: ") == 1
        assert saved.read_text() == content

    def test_a_partly_restored_file_is_reported_and_the_daemon_runs(
        self, world: Userspace, saved: Path
    ) -> None:
        configuration = json.loads(saved.read_text())
        lost = json.loads(json.dumps(configuration["storage_objects"][0]))
        lost |= {"name": "lost", "dev": "/nowhere/lost.img", "wwn": "0123", "plugin": "block"}
        configuration["storage_objects"].append(lost)
        saved.write_text(json.dumps(configuration))
        before = saved.read_bytes()
        started = world.isadmin("userspace", "start")
        assert started.returncode == 7
        assert restore_of(world) == "partly restored"
        assert str(world.mount) in started.stdout
        assert (world.mount / f"iscsi/{TARGET}/tpgt_1/lun/lun_0").is_dir()
        assert saved.read_bytes() == before

    def test_no_portal_listens_before_all_is_restored(
        self, world: Userspace, saved: Path, tmp_path: Path
    ) -> None:
        """A reconnecting initiator finds no listener, rather than a target that is not there yet."""
        go = tmp_path / "go"
        (tmp_path / "sitecustomize.py").write_text(WAITS_AFTER_RESTORING.format(go=str(go)))
        environment = world.env | {"PYTHONPATH": str(tmp_path)}
        with subprocess.Popen([*COMMAND, "userspace", "start"], env=environment) as start:
            try:
                portal = world.mount / f"iscsi/{TARGET}/tpgt_1/np/0.0.0.0:3260"
                wait_until(lambda: go.with_name("waiting").exists(), "the restore to wait")
                assert portal.is_dir()
                assert (world.mount / f"iscsi/{TARGET}/tpgt_1/lun/lun_0").is_dir()
                with socket.socket() as client:
                    assert client.connect_ex(("127.0.0.1", 3260)) == errno.ECONNREFUSED
                assert world.isadmin("userspace", "status").returncode == 3
                assert start.poll() is None
            finally:
                go.touch()
            assert start.wait(60) == 0
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", 3260)) == 0


def test_without_fuse_one_line_names_what_to_install(world: Userspace) -> None:
    """In a namespace where /dev/fuse is no device."""
    script = 'mount --bind /dev/null /dev/fuse && exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *COMMAND, "userspace", "start"],
        env=world.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "--device /dev/fuse" in done.stderr


def test_a_restarted_daemon_does_not_answer_for_the_old_one(world: Userspace) -> None:
    """A description left by a killed daemon, whose process number somebody else has now, is not believed."""
    world.start()
    world.kill()
    left = json.loads((world.runtime / "daemon.json").read_text())
    (world.runtime / "daemon.json").write_text(json.dumps(left | {"pid": os.getpid()}))
    assert world.isadmin("userspace", "status").returncode == 3
    assert world.isadmin("userspace", "stop").returncode == 0
