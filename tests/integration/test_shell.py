"""The shell on a running target: a person at a terminal, several at once, and what is saved and restored."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.integration.sandbox import COMMAND, Userspace
from tests.integration.terminal import Terminal

pytestmark = pytest.mark.integration

IQN = "iqn.2003-01.org.test:shell"


@contextmanager
def terminal(userspace: Userspace, term: str, status: int = 0, place: str = "/") -> Iterator[Any]:
    """A session at a pseudo-terminal, which must begin at `place` and end with `status`."""
    shell = pexpect.spawn(
        sys.executable,
        ["-m", "isadmin"],
        env=userspace.env | {"TERM": term},
        dimensions=(40, 160),
        encoding="utf-8",
        timeout=60,
    )
    try:
        shell.expect_exact(f"{place}> ")
        yield shell
        shell.expect(pexpect.EOF)
        shell.wait()
        assert shell.exitstatus == status
    finally:
        shell.close(force=True)


def send(shell: Any, keys: str, *shown: str) -> None:
    shell.send(keys)
    for text in shown:
        shell.expect_exact(text)


@pytest.mark.parametrize("term", ["xterm-256color", "vt100", "dumb"])
def test_a_person_at_a_terminal(userspace: Userspace, term: str) -> None:
    with terminal(userspace, term) as shell:
        send(shell, "/backstores/ramdisk create disk 1M\r", "Created ramdisk disk", "/> ")
        send(shell, "cd iscsi\r", "/iscsi> ")
        send(shell, "half a line\x03", "/iscsi> ")
        send(shell, "creat\r", "did you mean create?", "/iscsi> ")
        send(shell, f"create {IQN}\r", f"Created target {IQN}", "/iscsi> ")
        send(shell, f"{IQN}/tpg1/acls create {IQN}:i\r", "Created Node ACL", "/iscsi> ")
        send(shell, f"{IQN}/tpg1/acls/{IQN}:i set auth password=aVerySecretOne\r", "now set", "/iscsi> ")
        send(shell, f"cd {IQN}/tpg1/luns\r", "tpg1/luns> ")
        send(shell, "create ?\r", "SYNTAX", "luns> ")
        send(shell, "\x04")
    assert "password" not in Path(userspace.env["HOME"], ".local/state/isadmin/history").read_text()
    saved = json.loads((userspace.state / "saveconfig.json").read_text())
    assert [one["wwn"] for one in saved["targets"]] == [IQN]


def test_a_dumb_terminal_shows_what_is_run(userspace: Userspace) -> None:
    """It edits the line itself; nothing happens that it does not show."""
    with terminal(userspace, "dumb") as shell:
        send(shell, "pwdx\x7f\r", "pwdx\b \b\r\n/\r\n", "/> ")
        send(shell, "/backstores/ramdisk\tpwd\r", "/> ")
        send(shell, "\x1b[A\r", "/> ")
        send(shell, "set global prompt_length=0\r", "/> ")
        send(shell, "exit\r")


def test_a_session_begins_where_the_last_one_was(userspace: Userspace) -> None:
    with terminal(userspace, "xterm-256color") as shell:
        send(shell, "cd /backstores/fileio\r", "fileio> ")
        send(shell, "exit\r")
    for term in ("xterm-256color", "dumb"):
        with terminal(userspace, term, place="/backstores/fileio") as shell:
            send(shell, "cd <\r", "Taking you back to /.", "/> ")
            send(shell, "cd >\r", "Taking you back to /backstores/fileio.", "fileio> ")
            send(shell, "exit\r")


def test_history_is_searched(userspace: Userspace) -> None:
    with terminal(userspace, "xterm-256color") as shell:
        send(shell, "/backstores/ramdisk pwd\r", "/backstores/ramdisk\r\n", "/> ")
        send(shell, "pwd\r", "/\r\n", "/> ")
        send(shell, "\x12", "(reverse-i-search)")
        send(shell, "amdisk", "amdisk\x1b[0m")
        send(shell, "\r\r", "/backstores/ramdisk\r\n", "/> ")
        shell.send("\x04")


def test_tab_completes_from_the_running_target(userspace: Userspace) -> None:
    assert userspace.isadmin("/backstores/ramdisk", "create", "zebra", "1M").returncode == 0
    with terminal(userspace, "xterm-256color") as shell:
        send(shell, "/backstores/ramdisk/ze\t", "bra/")
        send(shell, " inf\t", "o")
        send(shell, "\r", "plugin: ramdisk", "/> ")
        send(shell, "exit\r")


def test_what_is_wrong_is_underlined_as_it_is_typed(userspace: Userspace) -> None:
    shell = Terminal([sys.executable, "-m", "isadmin"], userspace.env)
    try:
        shell.wait_for("/>$")
        shell.keys("/backstores/ramdisk creat")
        shell.wait_for("creat$")
        assert shell.underlined == ""
        shell.keys(" x")
        shell.wait_for_underlined("creat")
        shell.keys("\x03/backstores/ramdisk create x size=1M siez=1M")
        shell.wait_for_underlined("siez=")
        shell.keys("\x03")
        shell.wait_for("/>$")
        shell.keys("\x04")
        assert shell.ended() == 0
    finally:
        shell.close()


@pytest.mark.parametrize("key", ["\x1b", "\x03", "\x04", "q"])
def test_the_menu_of_places_is_left_by_a_key(userspace: Userspace, key: str) -> None:
    shell = Terminal([sys.executable, "-m", "isadmin"], userspace.env)
    try:
        shell.wait_for("/>$")
        shell.keys("cd\r")
        shell.wait_for(r"\(\*\) / ")
        shell.keys(key)
        shell.wait_for("/>$")
        shell.keys("\x04")
        assert shell.ended() == 0
    finally:
        shell.close()


def test_a_paste_runs_to_its_first_error(userspace: Userspace) -> None:
    with terminal(userspace, "xterm-256color") as shell:
        lines = ["cd /backstores/ramdisk", "create a 1M", "create a 1M", "create b 1M"]
        send(shell, "\x1b[200~" + "\n".join(lines) + "\x1b[201~")
        send(shell, "\r", "Created ramdisk a", "the line after this one was not run", "ramdisk> ")
        send(shell, "exit\r")
    assert "b " not in userspace.isadmin("ls", "/backstores/ramdisk", "1").stdout


def test_a_killed_target_is_said_and_the_session_can_go_on_with_the_next(userspace: Userspace) -> None:
    with terminal(userspace, "dumb") as shell:
        userspace.kill()
        send(shell, "ls\r", "is gone", "/> ")
        userspace.start()
        send(shell, "ls\r", "backstores", "/> ")
        send(shell, "exit\r")


def test_changes_by_many_at_once_all_happen(userspace: Userspace) -> None:
    # A machine in software needs longer for eight than one waits by default.
    assert userspace.isadmin("set", "global", "lock_timeout=600").returncode == 0
    running = [
        subprocess.Popen(
            [*COMMAND, "/backstores/ramdisk", "create", f"disk{number}", "1M"],
            env=userspace.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(8)
    ]
    ends = [(process.communicate(), process.returncode) for process in running]
    assert [status for _, status in ends] == [0] * 8, ends
    assert userspace.isadmin("ls", "/backstores/ramdisk", "1").stdout.count("disk") == 9


def test_a_change_waits_for_its_turn_and_says_for_whom(userspace: Userspace) -> None:
    code = (
        "import sys; from isadmin.lio.host import choose\n"
        "with choose().lock(0): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code],
        env=userspace.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    assert userspace.isadmin("set", "global", "lock_timeout=0").returncode == 0
    refused = userspace.isadmin("/backstores/ramdisk", "create", "disk", "1M")
    assert (refused.returncode, f"(pid {holder.pid})" in refused.stderr) == (4, True), refused.stderr
    assert userspace.isadmin("ls").returncode == 0
    assert userspace.isadmin("set", "global", "lock_timeout=2").returncode == 0
    waited = userspace.isadmin("/backstores/ramdisk", "create", "disk", "1M")
    first, last = waited.stderr.splitlines()
    assert first.startswith("warning: waiting for ")
    assert f"(pid {holder.pid}), which has the lock" in first
    assert (waited.returncode, f"(pid {holder.pid}) is changing" in last) == (4, True)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert userspace.isadmin("/backstores/ramdisk", "create", "disk", "1M").returncode == 0


def configured(userspace: Userspace, tmp_path: Path) -> None:
    commands = f"""
        /backstores/ramdisk create disk 1M
        /backstores/fileio create file {tmp_path}/file.img 2M
        /iscsi create {IQN}
        /iscsi/{IQN}/tpg1 set attribute authentication=1
        /iscsi/{IQN}/tpg1/luns create /backstores/ramdisk/disk
        /iscsi/{IQN}/tpg1/luns create /backstores/fileio/file
        /iscsi/{IQN}/tpg1/acls create {IQN}:i
        /iscsi/{IQN}/tpg1/acls/{IQN}:i set auth userid=user "password=a \\" b # c ' d"
        /iscsi/{IQN}/tpg1/acls/{IQN}:i set auth password="a \\" b # c ' d"
    """
    done = userspace.isadmin(typed="\n".join(line.strip() for line in commands.splitlines()[:-2]))
    assert done.returncode == 2, "the quoted key is no key"
    done = userspace.isadmin(typed="\n".join(line.strip() for line in commands.splitlines()[-2:]))
    assert done.returncode == 0, done.stderr


def without_aliases(text: str) -> str:
    """A saved configuration without the names of links, which are made up."""
    return re.sub(r'"alias": "[^"]*"', "", text)


def test_an_atomic_batch_that_fails_leaves_nothing_but_others_changes(
    userspace: Userspace, tmp_path: Path
) -> None:
    configured(userspace, tmp_path)
    assert userspace.isadmin("saveconfig").returncode == 0
    listed, saved = userspace.isadmin("ls").stdout, (userspace.state / "saveconfig.json").read_text()
    tpg = f"/iscsi/{IQN}/tpg1"
    lines = [
        "/backstores/ramdisk create another 2M",
        f"{tpg}/luns create /backstores/ramdisk/another 7",
        f"{tpg} set attribute demo_mode_write_protect=0",
        f"{tpg} set parameter MaxBurstLength=131072",
        f"{tpg}/acls create {IQN}:new",
        f"{tpg}/acls/{IQN}:i set auth password=something-else-now",
        f"{tpg}/portals create 127.0.0.1 3270",
        f"{tpg}/luns delete lun1",
        "/iscsi create iqn.2003-01.org.test:whole",
        "/backstores/fileio delete file",
        "/iscsi set discovery_auth userid=me password=discovery-secret enable=1",
    ]
    for more in ([], ["clearconfig confirm=true"]):
        done = userspace.isadmin("--atomic", typed="\n".join([*lines, *more, f"{tpg}/luns create /nosuch"]))
        assert done.returncode != 0
        assert done.stderr.splitlines()[-1] == "warning: the batch failed: everything before it was undone"
        assert userspace.isadmin("ls").stdout == listed
        assert userspace.isadmin("saveconfig", f"{tmp_path}/after.json").returncode == 0
        assert without_aliases((tmp_path / "after.json").read_text()) == without_aliases(saved)
        assert (userspace.state / "saveconfig.json").read_text() == saved

    done = userspace.isadmin("--atomic", "-c", "; ".join(lines))
    assert done.returncode == 0, done.stderr
    assert "another" in userspace.isadmin("ls").stdout


def test_an_atomic_batch_that_fails_undoes_no_change_of_others(userspace: Userspace, tmp_path: Path) -> None:
    configured(userspace, tmp_path)
    tpg = f"/iscsi/{IQN}/tpg1"
    batch = subprocess.Popen(
        [*COMMAND, *userspace.options, "--atomic"],
        env=userspace.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert batch.stdin is not None
    assert batch.stdout is not None
    for line, answer in (
        (f"{tpg} set attribute demo_mode_write_protect=0", "Parameter demo_mode"),
        (f"{tpg}/luns delete lun1", "Deleted LUN 1"),
    ):
        batch.stdin.write(f"{line}\n")
        batch.stdin.flush()
        assert batch.stdout.readline().startswith(answer)
    for words in (
        (tpg, "set", "attribute", "login_timeout=20"),
        (f"{tpg}/acls", "create", f"{IQN}:other"),
        ("/backstores/ramdisk", "create", "others", "1M"),
        (f"{tpg}/luns", "create", "/backstores/ramdisk/others", "9"),
    ):
        assert userspace.isadmin(*words).returncode == 0
    batch.stdin.write(f"{tpg} set attribute demo_mode_discovery=0\n")
    batch.stdin.flush()
    assert batch.stdout.readline().startswith("Parameter demo_mode_discovery")
    _, said = batch.communicate("/iscsi create nonsense\n")
    assert batch.returncode == 2
    assert said.splitlines()[-1] == "warning: the batch failed: everything before it was undone"
    values = userspace.isadmin(tpg, "get", "attribute", "demo_mode_write_protect", "login_timeout").stdout
    assert values.split() == ["demo_mode_write_protect=1", "login_timeout=20"]
    listed = userspace.isadmin("ls", tpg).stdout
    for name in ("lun1 ", "lun9 ", f"{IQN}:other ", "LUNs: 3"):
        assert name in listed


def test_an_atomic_batch_that_fails_leaves_files_as_they_were(userspace: Userspace, tmp_path: Path) -> None:
    configured(userspace, tmp_path)
    assert userspace.isadmin("saveconfig").returncode == 0
    part, new, image = tmp_path / "part.json", tmp_path / "new.json", tmp_path / "made.img"
    part.write_text('{"storage_objects": [], "targets": []}')
    part.chmod(0o640)
    settings = Path(userspace.env["XDG_CONFIG_HOME"], "isadmin")
    watched = [
        userspace.state / "saveconfig.json",
        part,
        settings / "config.toml",
        settings / "bookmarks.toml",
    ]

    def contents() -> list[bytes | None]:
        return [path.read_bytes() if path.exists() else None for path in watched]

    before = contents()
    lines = [
        "set global prompt_length=77",
        "cd /backstores/fileio",
        "bookmarks add atom",
        f"create made {image} 1M",
        f"made saveconfig {part}",
        "/ saveconfig",
        f"/ saveconfig {new}",
        "nosuch",
    ]
    done = userspace.isadmin("--atomic", typed="\n".join(lines))
    assert done.returncode == 2
    assert f"warning: files that it made stay: {image}" in done.stderr
    assert done.stderr.splitlines()[-1] == "warning: the batch failed: everything before it was undone"
    assert contents() == before
    assert part.stat().st_mode & 0o777 == 0o640
    assert not new.exists()
    assert userspace.isadmin("diff").returncode == 0


def test_an_atomic_batch_that_changed_nothing_says_so(userspace: Userspace) -> None:
    done = userspace.isadmin("--atomic", "-c", "ls / 1; /iscsi create nonsense")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "warning: the batch failed: nothing had been changed"


def test_a_secret_is_typed_unseen(userspace: Userspace) -> None:
    acl = f"/iscsi/{IQN}/tpg1/acls/{IQN}:i"
    made = userspace.isadmin("-c", f"/iscsi create {IQN}; /iscsi/{IQN}/tpg1/acls create {IQN}:i")
    assert made.returncode == 0, made.stderr
    words = ["-m", "isadmin", "--ask", acl, "set", "auth", "userid=me", "password="]
    asked = pexpect.spawn(sys.executable, words, env=userspace.env, encoding="utf-8", timeout=60)
    for _ in range(2):
        asked.expect("password.*: ")
        asked.sendline("unseen # secret")
    asked.expect("Parameter password is now set")
    asked.expect(pexpect.EOF)
    assert "unseen" not in asked.before
    asked.wait()
    assert asked.exitstatus == 0
    shown = userspace.isadmin("--show-secrets", acl, "get", "auth", "password")
    assert shown.stdout == "password=unseen # secret \n"


def test_what_is_saved_is_restored_whole(userspace: Userspace, tmp_path: Path) -> None:
    configured(userspace, tmp_path)
    before = userspace.isadmin("ls").stdout
    assert userspace.isadmin("saveconfig", f"{tmp_path}/one.json").returncode == 0
    assert (
        json.loads((tmp_path / "one.json").read_text())["targets"][0]["tpgs"][0]["node_acls"][0][
            "chap_password"
        ]
        == "a \" b # c ' d"
    )
    again = userspace.isadmin("restoreconfig", f"{tmp_path}/one.json")
    assert (again.returncode, "(no change)" in again.stdout) == (0, True)
    assert userspace.isadmin("ls").stdout == before
    assert userspace.isadmin("clearconfig", "confirm=true").returncode == 0
    assert userspace.isadmin("restoreconfig", f"{tmp_path}/one.json").returncode == 0
    assert userspace.isadmin("ls").stdout == before
    assert userspace.isadmin("saveconfig", f"{tmp_path}/two.json").returncode == 0
    assert (tmp_path / "one.json").read_text() == (tmp_path / "two.json").read_text()


def test_a_part_is_restored_after_what_it_needs(userspace: Userspace, tmp_path: Path) -> None:
    configured(userspace, tmp_path)
    before = userspace.isadmin("ls").stdout
    userspace.isadmin("saveconfig", f"{tmp_path}/x.json")
    userspace.isadmin("clearconfig", "confirm=true")
    restore = ("restoreconfig", f"{tmp_path}/x.json")
    hollow = userspace.isadmin(*restore, f"target={IQN}")
    assert (hollow.returncode, "needs /backstores/fileio/file" in hollow.stderr) == (6, True)
    assert IQN not in userspace.isadmin("ls").stdout
    for part in ("storage_object=disk", "storage_object=file", f"target={IQN}"):
        done = userspace.isadmin(*restore, part)
        assert done.returncode == 0, done.stderr
    assert userspace.isadmin("ls").stdout == before


def test_what_cannot_be_restored_is_listed_and_the_rest_is_there(
    userspace: Userspace, tmp_path: Path
) -> None:
    configured(userspace, tmp_path)
    userspace.isadmin("saveconfig", f"{tmp_path}/x.json")
    userspace.isadmin("clearconfig", "confirm=true")
    saved = json.loads((tmp_path / "x.json").read_text())
    saved["storage_objects"].append({"name": "gone", "plugin": "fileio", "dev": f"{tmp_path}/no/such"})
    (tmp_path / "x.json").write_text(json.dumps(saved))
    all_or_nothing = userspace.isadmin("restoreconfig", f"{tmp_path}/x.json")
    assert all_or_nothing.returncode == 1
    assert "/backstores/fileio/gone" in all_or_nothing.stderr
    assert IQN not in userspace.isadmin("ls").stdout
    done = userspace.isadmin("restoreconfig", f"{tmp_path}/x.json", "--keep-going")
    assert done.returncode == 7
    assert done.stderr.splitlines()[-1].startswith("isadmin: Configuration restored from")
    assert any("gone" in line for line in done.stderr.splitlines() if line.startswith("warning: "))
    assert IQN in userspace.isadmin("ls").stdout
