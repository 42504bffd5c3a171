"""`isadmin userspace exec`: LIO's own tools on the userspace target, and the host's files left alone."""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.sandbox import COMMAND, Userspace

KERNEL_TARGET_FILES = ("/etc/target", "/etc/rtslib-fb-target", "/var/target")
EXEC = ("userspace", "exec", "--")
TARGET = "iqn.2003-01.org.example:t1"

SNAPSHOT = """
import json, os, sys
def facts(path):
    if not os.path.lexists(path):
        return None
    s = os.lstat(path)
    content = open(path, "rb").read().hex() if os.path.isfile(path) else ""
    below = {name: facts(f"{path}/{name}") for name in os.listdir(path)} if os.path.isdir(path) else {}
    return [s.st_ino, s.st_mode, s.st_mtime_ns, s.st_ctime_ns, content, below]
print(json.dumps([facts(path) for path in sys.argv[1:]]))
"""


def snapshot() -> object:
    """Inode, mode, times and content of all that is the kernel target's; None where there is nothing."""
    command = [sys.executable, "-c", SNAPSHOT, *KERNEL_TARGET_FILES]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def tool(world: Userspace, *command: str) -> str:
    """Run a command under exec; its output."""
    done = world.isadmin(*EXEC, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def but_nexus(listed: str) -> str:
    """Without the nexus of loopback and vhost targets: this targetcli makes a new one at each restore."""
    return re.sub(r"\.+ \[naa\.\w+", "", listed)


def test_it_ends_with_the_commands_status_and_passes_its_streams(userspace: Userspace) -> None:
    script = "read word; echo got $word; echo bad >&2; exit 41"
    done = userspace.isadmin(*EXEC, "sh", "-c", script, typed="hello\n")
    assert (done.returncode, done.stdout, done.stderr) == (41, "got hello\n", "bad\n")
    done = userspace.isadmin(*EXEC, "sh", "-c", "kill -9 $$")
    assert done.returncode == -9


@pytest.mark.parametrize(
    ("command", "status"), [("no-such-command", 127), ("/no/such", 127), ("/etc/passwd", 126)]
)
def test_a_command_that_cannot_be_run(userspace: Userspace, command: str, status: int) -> None:
    done = userspace.isadmin(*EXEC, command)
    assert done.returncode == status
    assert done.stderr.startswith(f"isadmin: cannot run {command}")
    assert done.stderr.count("\n") == 1


def test_it_sees_the_mount_where_the_kernels_is_and_the_host_as_it_was(userspace: Userspace) -> None:
    (userspace.mount / "core" / "fileio_7").mkdir()
    assert "fileio_7" in tool(userspace, "ls", "/sys/kernel/config/target/core")
    (userspace.state / "mark").touch()
    for directory in ("/etc/target", "/etc/rtslib-fb-target"):
        assert "mark" in tool(userspace, "ls", directory)
    assert tool(userspace, "cat", "/etc/passwd") == Path("/etc/passwd").read_text()
    hidden = {"config"} | {path.name for path in Path("/sys/kernel").iterdir()}
    assert set(tool(userspace, "ls", "/sys/kernel").split()) == hidden
    assert str(userspace.mount) + " " not in tool(userspace, "cat", "/proc/self/mounts").replace(
        f"isadmin {userspace.mount} ", ""
    )


def test_targetctl_saves_and_restores(userspace: Userspace, tmp_path: Path) -> None:
    before = snapshot()
    userspace.isadmin(*f"/backstores/fileio create f1 {tmp_path}/f1.img 8M".split())
    tool(userspace, "/usr/bin/targetctl", "save")
    saved = json.loads((userspace.state / "saveconfig.json").read_text())
    assert [storage_object["name"] for storage_object in saved["storage_objects"]] == ["f1"]
    tool(userspace, "/usr/bin/targetctl", "clear")
    assert not list((userspace.mount / "core").glob("fileio_*"))
    tool(userspace, "/usr/bin/targetctl", "restore")
    assert list((userspace.mount / "core").glob("fileio_*/f1"))
    assert snapshot() == before


def test_targetcli_configures_saves_clears_and_restores(
    userspace: Userspace, system_bus: None, tmp_path: Path
) -> None:
    before = snapshot()
    home = set(Path.home().iterdir())
    for line in (
        f"/backstores/fileio create f1 {tmp_path}/f1.img 8M",
        "/backstores/ramdisk create r1 4M",
        f"/iscsi create {TARGET}",
        f"/iscsi/{TARGET}/tpg1/luns create /backstores/fileio/f1",
        f"/iscsi/{TARGET}/tpg1/acls create iqn.2003-01.org.example:i1",
        "/loopback create naa.5001405000000001",
        "/loopback/naa.5001405000000001/luns create /backstores/ramdisk/r1",
        "/vhost create naa.5001405000000002",
    ):
        tool(userspace, "/usr/bin/targetcli", *line.split())
    listed = tool(userspace, "/usr/bin/targetcli", "ls")
    for name in ("f1", "r1", TARGET, "iqn.2003-01.org.example:i1", "mapped_lun0", "naa.5001405000000001"):
        assert name in listed
    tool(userspace, "/usr/bin/targetcli", "saveconfig")
    assert (userspace.state / "saveconfig.json").is_file()
    tool(userspace, "/usr/bin/targetcli", "clearconfig", "confirm=True")
    assert TARGET not in tool(userspace, "/usr/bin/targetcli", "ls")
    tool(userspace, "/usr/bin/targetcli", "restoreconfig")
    assert but_nexus(tool(userspace, "/usr/bin/targetcli", "ls")) == but_nexus(listed)
    assert snapshot() == before
    assert set(Path.home().iterdir()) == home
    assert userspace.isadmin("userspace", "stop").returncode == 0
    assert not userspace.runtime.exists()


FAKE_HOST = """
import subprocess, sys
from pathlib import Path
from isadmin.userspace import namespace

snapshot_code, paths, prefix = sys.argv[1], sys.argv[2].split(), sys.argv[3].split()
namespace._graft("/etc", ["target", "rtslib-fb-target"])
for directory in ("/etc/target", "/etc/rtslib-fb-target"):
    # What this host has there itself is no part of the test.
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", directory], check=True)
    Path(directory, "pr").mkdir()
    for name in ("saveconfig.json", "pr/aptpl_0"):
        Path(directory, name).write_text("the kernel target's")

def snapshot():
    return subprocess.check_output([sys.executable, "-c", snapshot_code, *paths])

before = snapshot()
assert b"the kernel target's".hex().encode() in before
targetctl = "/usr/bin/targetctl"
touch = ["touch", "/etc/target/new"]
for words in ([targetctl, "save"], [targetctl, "restore"], [targetctl, "clear"], touch):
    assert subprocess.run([sys.executable, "-m", "isadmin", *prefix, *words]).returncode == 0, words
assert snapshot() == before
"""


def test_the_kernel_targets_files_are_out_of_reach(userspace: Userspace, tmp_path: Path) -> None:
    """On a host that has a kernel target's configuration in both places."""
    done = subprocess.run(
        [
            "unshare",
            "-m",
            sys.executable,
            "-c",
            FAKE_HOST,
            SNAPSHOT,
            " ".join(KERNEL_TARGET_FILES),
            " ".join(EXEC),
        ],
        env=userspace.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (userspace.state / "new").exists()
    assert "the kernel" not in (userspace.state / "saveconfig.json").read_text()


def test_without_a_daemon_it_says_how_to_start_one(world: Userspace) -> None:
    done = world.isadmin(*EXEC, "true")
    assert (done.returncode, done.stderr) == (
        3,
        "isadmin: the userspace target is not running: isadmin userspace start\n",
    )


def test_an_ordinary_user_has_a_userspace_target_too(world: Userspace) -> None:
    """As far as fusermount3 and user namespaces go: start, a change, exec, stop."""
    user = pwd.getpwnam("nobody")
    os.chown(world.state.parent, user.pw_uid, user.pw_gid)
    # The interpreter may be in root's home: the right to read there is the only one the user gets.
    become = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    become += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--"]

    def isadmin(*words: str) -> subprocess.CompletedProcess[str]:
        command = [*become, *COMMAND, *words]
        return subprocess.run(command, env=world.env, capture_output=True, text=True, check=False, cwd="/")

    started = isadmin("userspace", "start")
    assert started.returncode == 0, started.stderr
    listed = isadmin("userspace", "exec", "--", "ls", "/sys/kernel/config/target")
    assert listed.returncode == 0, listed.stderr
    assert "core" in listed.stdout
    assert isadmin("userspace", "exec", "--", "id", "-u").stdout == "0\n"
    assert isadmin("userspace", "exec", "--", "mkdir", "/sys/kernel/config/target/iscsi").returncode == 0
    stopped = isadmin("userspace", "stop")
    assert stopped.returncode == 0, stopped.stderr
    assert not world.runtime.exists()
