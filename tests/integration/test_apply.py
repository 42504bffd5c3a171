"""Configurations applied to a running target: the fewest changes, whole or not at all, and taken back."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from isadmin.config import diff, document
from isadmin.config.model import Configuration, Flat, StorageObject, flatten, unflatten
from isadmin.lio import apply, snapshot
from isadmin.lio.host import rtslib_root
from isadmin.lio.objects import Lio
from tests.config.values import configurations
from tests.integration.sandbox import Userspace, wait_until
from tests.integration.walk import contents, in_order

TARGET = "iqn.2003-01.org.linux-iscsi.test:t"
INITIATOR = "iqn.2003-01.org.linux-iscsi.test:i"
TPG = f"/iscsi/{TARGET}/tpg1"
EXAMPLES = int(os.environ.get("ISADMIN_APPLY_EXAMPLES", "20"))


def running(lio: Lio) -> Configuration:
    return document.value(snapshot.dump(lio))


@pytest.fixture
def configured(userspace: Userspace, tmp_path: Path) -> Userspace:
    """Two LUNs for one initiator, one of them 4k blocks; saved."""
    lines = [
        "/backstores/ramdisk create r1 4M",
        f"/backstores/fileio create f1 {tmp_path}/f1.img 16M",
        "/backstores/fileio/f1 set attribute block_size=4096",
        f"/iscsi create {TARGET}",
        f"{TPG}/luns create /backstores/ramdisk/r1",
        f"{TPG}/luns create /backstores/fileio/f1",
        f"{TPG} set attribute generate_node_acls=0",
        f"{TPG}/acls create {INITIATOR}",
        f"{TPG}/acls/{INITIATOR} set auth userid=user password=a-long-secret",
        "saveconfig",
    ]
    done = userspace.isadmin(typed="\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr
    return userspace


def saved(world: Userspace) -> dict[str, Any]:
    found = json.loads((world.state / "saveconfig.json").read_text())
    assert isinstance(found, dict)
    return found


def ok(world: Userspace, *words: str) -> str:
    done = world.isadmin(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(path: Path, content: dict[str, Any]) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def test_what_was_saved_comes_back_with_blocks_of_4096(configured: Userspace, tmp_path: Path) -> None:
    text = (configured.state / "saveconfig.json").read_text()
    assert '"block_size": 4096' in text
    ok(configured, "clearconfig", "confirm=true")
    ok(configured, "restoreconfig")
    ok(configured, "saveconfig", f"{tmp_path}/again.json")
    assert (tmp_path / "again.json").read_text() == text


def test_diff_says_by_its_status_whether_there_is_a_difference(configured: Userspace) -> None:
    same = configured.isadmin("diff")
    assert (same.returncode, "No difference" in same.stdout) == (0, True)
    ok(configured, f"{TPG}/acls/{INITIATOR}", "set", "auth", "password=another-secret")
    ok(configured, "/backstores/ramdisk/r1", "set", "attribute", "emulate_caw=0")
    different = configured.isadmin("diff")
    assert different.returncode == 9
    assert different.stdout.splitlines() == [
        "~ /backstores/ramdisk/r1",
        "    attributes emulate_caw: 0 -> 1",
        f"~ {TPG}/acls/{INITIATOR}",
        "    chap password: ******** -> ********",
    ]
    facts = json.loads(configured.isadmin("--output", "json", "diff", "1").stdout)
    assert [change["name"] for change in facts["changes"]] == ["emulate_caw", "password"]
    assert "secret" not in json.dumps(facts["changes"])
    assert configured.isadmin("diff", "7").returncode == 5
    behind = configured.isadmin("diff", "1", "--output", "json")
    assert json.loads(behind.stdout) == facts


def test_enabling_moves_no_login_method_but_by_hand(configured: Userspace) -> None:
    """LIO takes None out of AuthMethod when a portal group is enabled that demands authentication."""
    ok(configured, TPG, "set", "attribute", "authentication=1")
    ok(configured, TPG, "set", "parameter", "AuthMethod=CHAP,None")
    ok(configured, "saveconfig")
    ok(configured, "clearconfig", "confirm=true")
    ok(configured, "restoreconfig")
    assert configured.isadmin("diff").returncode == 0
    ok(configured, TPG, "disable")
    ok(configured, "undo")
    assert configured.isadmin("diff").returncode == 0
    ok(configured, TPG, "disable")
    said = ok(configured, TPG, "enable", "--dry-run")
    assert said.splitlines()[:2] == [f"~ {TPG}", "    parameters AuthMethod: CHAP,None -> CHAP"], said
    ok(configured, TPG, "enable")
    differs = configured.isadmin("diff").stdout.splitlines()
    assert differs == [f"~ {TPG}", "    parameters AuthMethod: CHAP -> CHAP,None"]
    ok(configured, "undo", "2")
    assert configured.isadmin("diff").returncode == 0


def test_one_attribute_is_one_write(configured: Userspace, tmp_path: Path) -> None:
    wanted = saved(configured)
    wanted["storage_objects"][1]["attributes"]["emulate_caw"] = 0
    before = contents(configured.mount)
    assert "1 changes applied" in ok(configured, "apply", write(tmp_path / "x.json", wanted))
    after = contents(configured.mount)
    assert [path for path in after if after[path] != before.get(path)] == [
        path for path in after if path.endswith("r1/attrib/emulate_caw")
    ]
    assert "No change" in ok(configured, "apply", str(tmp_path / "x.json"))


def test_yaml_is_as_good(configured: Userspace, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        "storage_objects:\n- {plugin: ramdisk, name: y, size: 1048576}\n"
        f"targets:\n- fabric: iscsi\n  wwn: {TARGET}\n  tpgs:\n"
        "  - {tag: 1, luns: [{index: 5, storage_object: /backstores/ramdisk/y}]}\n"
    )
    ok(configured, "apply", f"{tmp_path}/x.yaml")
    assert "lun5" in ok(configured, TPG, "ls")
    ok(configured, "apply", f"{configured.state}/saveconfig.json", "--prune")
    assert configured.isadmin("diff").returncode == 0
    (tmp_path / "x.yaml").write_text("storage_objects: [")
    assert configured.isadmin("apply", f"{tmp_path}/x.yaml").returncode == 6


def test_a_step_that_fails_takes_everything_back(configured: Userspace, tmp_path: Path) -> None:
    wanted = saved(configured)
    wanted["storage_objects"][1]["attributes"]["emulate_caw"] = 0
    portal = {"ip_address": "127.0.0.1", "port": 3260, "iser": False, "offload": False}
    wanted["targets"][0]["tpgs"][0]["portals"].append(portal)
    before = contents(configured.mount)
    failed = configured.isadmin("apply", write(tmp_path / "x.json", wanted))
    assert failed.returncode == 1
    assert f"{TPG}/portals/127.0.0.1:3260" in failed.stderr
    assert "everything done before it was undone" in failed.stderr
    assert contents(configured.mount) == before
    kept_going = configured.isadmin("apply", str(tmp_path / "x.json"), "--keep-going")
    assert kept_going.returncode == 7
    assert "emulate_caw: 0 -> 1" in configured.isadmin("diff").stdout


def test_apply_tells_its_result_as_json(configured: Userspace, tmp_path: Path) -> None:
    def result(*words: str) -> dict[str, Any]:
        facts = json.loads(configured.isadmin("--output", "json", "apply", *words).stdout)
        assert isinstance(facts, dict)
        return facts

    changed = change_of(configured, tmp_path)
    for count in (1, 0):
        done = result(changed)
        assert (done["result"], done["changes"], done["done"]) == ("applied", count, True)
    wanted = saved(configured)
    portal = {"ip_address": "127.0.0.1", "port": 3260, "iser": False, "offload": False}
    wanted["targets"][0]["tpgs"][0]["portals"].append(portal)
    refused = write(tmp_path / "x.json", wanted)
    failed = result(refused)
    assert (failed["result"], f"{TPG}/portals/127.0.0.1:3260" in failed["error"]) == ("failed", True)
    partly = result(refused, "--keep-going")
    assert (partly["result"], len(partly["failed"])) == ("partly applied", 1)
    assert result(f"{tmp_path}/none.json")["result"] == "no file"
    (tmp_path / "bad.json").write_text("{")
    assert result(f"{tmp_path}/bad.json")["result"] == "refused"


def test_a_bad_file_changes_nothing_and_every_problem_is_named(configured: Userspace, tmp_path: Path) -> None:
    wanted = saved(configured)
    wanted["targets"][0]["tpgs"][0]["luns"][1]["index"] = 70000
    wanted["storage_objects"][0]["plugin"] = "floppy"
    file = write(tmp_path / "x.json", wanted)
    before = contents(configured.mount)
    done = configured.isadmin("check", file)
    assert done.returncode == 6
    assert done.stdout.splitlines() == [
        f"{file}: storage_objects[0].plugin: 'floppy' is not one of fileio, block, ramdisk, pscsi, user",
        f"{file}: targets[0].tpgs[0].luns[1].index: 70000 is not 0..65535",
    ]
    for command in ("apply", "restoreconfig", "diff"):
        refused = configured.isadmin(command, file)
        assert refused.returncode == 6
        assert "70000 is not 0..65535" in refused.stderr
        assert "floppy" in refused.stderr
    assert contents(configured.mount) == before
    assert "can be applied" in ok(configured, "check", f"{configured.state}/saveconfig.json")


def test_values_that_no_target_takes_are_problems(configured: Userspace, tmp_path: Path) -> None:
    wanted = saved(configured)
    wanted["storage_objects"][0]["attributes"] |= {"block_size": "banana", "optimal_sectors": 99}
    wanted["storage_objects"][1]["alua_tpgs"][0]["alua_access_type"] = "foo"
    wanted["targets"][0]["tpgs"][0]["attributes"]["login_timeout"] = 99
    file = write(tmp_path / "x.json", wanted)
    before = contents(configured.mount)
    places = (
        "storage_objects[0].attributes.block_size: 'banana' is not a number",
        "storage_objects[1].alua_tpgs[0].alua_access_type: 'foo' is not a number",
    )
    done = configured.isadmin("check", file)
    assert (done.returncode, done.stdout.splitlines()) == (6, [f"{file}: {place}" for place in places])
    for command in ("diff", "apply", "restoreconfig"):
        refused = configured.isadmin(command, file)
        assert refused.returncode == 6
        assert all(place in refused.stderr for place in places)
    assert contents(configured.mount) == before
    # Who goes on in spite of what fails, at boot, gets the rest.
    kept_going = configured.isadmin("restoreconfig", file, "--keep-going")
    assert kept_going.returncode == 7, kept_going.stderr
    assert "banana" in kept_going.stderr
    wanted["storage_objects"][0]["attributes"] |= {"block_size": 4096}
    del wanted["storage_objects"][1]["alua_tpgs"]
    doubted = configured.isadmin("check", write(tmp_path / "x.json", wanted))
    assert doubted.returncode == 0
    assert "login_timeout: '99' is not 5 to 30, which kernel 6.1 takes" in doubted.stderr
    assert doubted.stdout == f"{file} can be applied to a target that takes what is warned of\n"


def test_discovery_that_is_turned_off_stays_so_and_comes_back(configured: Userspace, tmp_path: Path) -> None:
    module = {"name": "iscsi", "discovery_enable_auth": False, "discovery_userid": "u"}
    file = write(tmp_path / "x.json", {"fabric_modules": [module]})
    ok(configured, "/iscsi", "set", "discovery_auth", "enable=1", "userid=u", "password=a-long-secret")

    def set_values() -> dict[str, str]:
        return {
            path: "" if text == "NULL\n" else text.strip()
            for path, text in contents(configured.mount).items()
        }

    before = set_values()
    assert "1 changes applied" in ok(configured, "apply", file)
    assert (configured.mount / "iscsi/discovery_auth/enforce_discovery_auth").read_text() == "0\n"
    assert "No change" in ok(configured, "apply", file)
    ok(configured, "undo")
    assert set_values() == before


def test_a_dry_run_tells_what_could_not_be_made(configured: Userspace, tmp_path: Path) -> None:
    gone = {"plugin": "fileio", "name": "gone", "dev": f"{tmp_path}/gone.img", "size": 1 << 20}
    file = tmp_path / "more.json"
    file.write_text(json.dumps({"storage_objects": [gone]}))
    done = configured.isadmin("apply", str(file), "--dry-run")
    assert done.returncode == 0
    assert "+ /backstores/fileio/gone" in done.stdout
    assert f"/backstores/fileio/gone could not be made: there is no {tmp_path}/gone.img" in done.stderr
    file.write_text(json.dumps({"storage_objects": []}))
    for command in ("apply", "restoreconfig"):
        said = ok(configured, command, str(file), "--dry-run")
        assert said.startswith("No change: the running configuration has all")
        assert "No difference" not in said


def test_a_deleted_storage_object_comes_back_with_all_that_hung_on_it(configured: Userspace) -> None:
    assert "Deleted LUN 1" in ok(configured, "/backstores/fileio", "delete", "f1")
    assert configured.isadmin("diff").returncode == 9
    assert "Undone: /backstores/fileio delete f1" in ok(configured, "undo")
    assert configured.isadmin("diff").returncode == 0


def test_changes_are_taken_back_one_after_the_other(configured: Userspace) -> None:
    empty = contents(configured.mount)
    ok(configured, f"{TPG}/portals", "create", "127.0.0.1", "3261")
    ok(configured, TPG, "set", "attribute", "login_timeout=20", "netif_timeout=5")
    ok(configured, f"/iscsi/{TARGET}", "create", "2")
    ok(configured, "clearconfig", "confirm=true")
    assert "Undone: clearconfig" in ok(configured, "undo")
    assert "3261" in ok(configured, TPG, "ls")
    ok(configured, "undo", "3")
    after = contents(configured.mount)
    # Links have names of their own, and storage objects other numbers.
    steady = [path for path in empty if path.startswith("iscsi/") and "/lun_" not in path]
    assert {path: after.get(path) for path in steady} == {path: empty[path] for path in steady}
    assert configured.isadmin("diff").returncode == 0


def test_earlier_generations_come_back(configured: Userspace) -> None:
    def numbers() -> list[int]:
        facts = json.loads(configured.isadmin("--output", "json", "history").stdout)
        assert all(one["user"] and one["time"] for one in facts["generations"])
        assert {one["command"] for one in facts["generations"]} == {"saveconfig"}
        return [one["number"] for one in facts["generations"]]

    ok(configured, TPG, "set", "attribute", "login_timeout=20")
    ok(configured, "saveconfig")
    assert numbers() == [1, 2]
    assert "a-long-secret" not in ok(configured, "history", "show", "1")
    assert [configured.isadmin("diff", number).returncode for number in ("1", "2")] == [9, 0]
    ok(configured, "restoreconfig", "generation=1")
    assert [configured.isadmin("diff", number).returncode for number in ("1", "2")] == [0, 9]
    assert configured.isadmin("restoreconfig", "x.json", "generation=1").returncode == 2
    assert configured.isadmin("restoreconfig", "generation=9").returncode == 5
    ok(configured, "set", "global", "max_backup_files=2")
    ok(configured, "saveconfig")
    assert numbers() == [2, 3]
    ok(configured, "undo")
    assert configured.isadmin("diff", "2").returncode == 0


def test_what_somebody_else_changed_since_is_not_undone_unasked(configured: Userspace) -> None:
    ok(configured, TPG, "set", "attribute", "login_timeout=20")
    file = configured.mount / "iscsi" / TARGET / "tpgt_1/attrib/login_timeout"
    file.write_text("25")
    refused = configured.isadmin("undo")
    assert (refused.returncode, f"{TPG} changed since" in refused.stderr) == (1, True)
    assert file.read_text() == "25\n"
    ok(configured, "undo", "--force")
    assert file.read_text() == "15\n"
    with_nothing_left = configured.isadmin("undo", "60")
    assert with_nothing_left.returncode == 1


def change_of(world: Userspace, tmp_path: Path) -> str:
    wanted = saved(world)
    wanted["storage_objects"][1]["attributes"]["emulate_caw"] = 0
    return write(tmp_path / "change.json", wanted)


def test_what_is_not_confirmed_is_undone(configured: Userspace, tmp_path: Path) -> None:
    ok(configured, "apply", change_of(configured, tmp_path), "--confirm-within", "1")
    wait_until(lambda: configured.isadmin("diff").returncode == 0, "the undoing")
    assert configured.isadmin("confirm").returncode == 1


def test_what_is_confirmed_stays(configured: Userspace, tmp_path: Path) -> None:
    ok(configured, "apply", change_of(configured, tmp_path), "--confirm-within=600")
    second = configured.isadmin("apply", f"{configured.state}/saveconfig.json", "--confirm-within=5")
    assert (second.returncode, "not confirmed yet" in second.stderr) == (1, True)
    assert waiting(configured)
    ok(configured, "confirm")
    wait_until(lambda: not waiting(configured), "the end of the process that would undo")
    assert configured.isadmin("diff").returncode == 9


def waiting(world: Userspace) -> list[int]:
    """The processes that would undo a change of this target."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            if b"isadmin.shell.confirming" in words and str(world.mount).encode() in words:
                found.append(int(entry.name))
    return sorted(found)


def two_waiting(world: Userspace) -> list[int]:
    wait_until(lambda: len(waiting(world)) == 2, "two processes that wait", 30 * world.pace)
    return waiting(world)


def test_one_that_would_undo_is_replaced_when_it_is_killed(configured: Userspace, tmp_path: Path) -> None:
    ok(configured, "apply", change_of(configured, tmp_path), "--confirm-within", str(8 * configured.pace))
    for at in (0, 1):
        before = two_waiting(configured)
        os.kill(before[at], signal.SIGKILL)
        wait_until(lambda gone=before[at]: gone not in waiting(configured), "its end")  # type: ignore[misc]
        assert before[1 - at] in two_waiting(configured)
    limit = 30 * configured.pace
    wait_until(lambda: configured.isadmin("diff").returncode == 0, "the undoing", limit)
    wait_until(lambda: not waiting(configured), "the end of both", limit)


def kill_all(pids: list[int]) -> None:
    """At once: none is to see the end of the other."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            os.kill(pid, number)


def test_what_nobody_is_left_to_undo_the_next_command_does(configured: Userspace, tmp_path: Path) -> None:
    ok(configured, "apply", change_of(configured, tmp_path), "--confirm-within", str(3 * configured.pace))
    kill_all(two_waiting(configured))
    (record,) = configured.host.unconfirmed.iterdir()
    os.utime(record, (0, 0))
    assert configured.isadmin("diff").returncode == 9
    done = configured.isadmin("/backstores/ramdisk", "create", "other", "1M")
    assert "was not confirmed in time and is undone now" in done.stderr
    assert done.returncode == 0
    assert "emulate_caw" not in configured.isadmin("diff").stdout
    too_late = configured.isadmin("confirm")
    assert (too_late.returncode, "no change to confirm" in too_late.stderr) == (1, True)
    ok(configured, "undo")
    assert configured.isadmin("diff").returncode == 0


WITH_SYSTEMD = """
import sys
from pathlib import Path
from isadmin.shell import confirming
confirming.SYSTEMD = Path("/")
confirming.GRACE = 0
from isadmin.cli import main
sys.exit(main(sys.argv[1:]))
"""
"""isadmin as where systemd runs."""


@pytest.fixture
def told_systemd(configured: Userspace, tmp_path: Path) -> Path:
    """The command lines of systemd-run and systemctl, which do nothing, a line each."""
    directory, told = tmp_path / "bin", tmp_path / "told"
    directory.mkdir()
    for name in ("systemd-run", "systemctl"):
        (directory / name).write_text(
            f'#!/bin/sh\nfor word in {name} "$@"; do printf "%s\\t" "$word"; done >>{told}\necho >>{told}\n'
        )
        (directory / name).chmod(0o755)
    configured.env["PATH"] = f"{directory}:{os.environ['PATH']}"
    return told


def with_systemd(world: Userspace, *words: str) -> None:
    command = [sys.executable, "-c", WITH_SYSTEMD, *world.options, *words]
    done = subprocess.run(command, env=world.env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_timer_of_systemd_undoes_it_when_all_that_wait_are_killed(
    configured: Userspace, told_systemd: Path, tmp_path: Path
) -> None:
    with_systemd(configured, "apply", change_of(configured, tmp_path), "--confirm-within", "3")
    kill_all(two_waiting(configured))
    program, *words = told_systemd.read_text().rstrip("\t\n").split("\t")
    at = words.index(sys.executable)
    options = [word for word in words[:at] if word != "--user"]
    assert (program, options[:2], options[4:6]) == (
        "systemd-run",
        ["--quiet", "--collect"],
        ["--on-active=3", "--timer-property=AccuracySec=1s"],
    )
    assert configured.isadmin("diff").returncode == 9
    # As systemd does once the time has passed: in no session, with nothing of its environment.
    subprocess.run(words[at:], env={"PATH": os.environ["PATH"]}, cwd="/", check=True, timeout=60)
    assert configured.isadmin("diff").returncode == 0
    assert "is undone now" in log_of(configured)


def test_a_timer_of_systemd_ends_with_what_is_confirmed(
    configured: Userspace, told_systemd: Path, tmp_path: Path
) -> None:
    with_systemd(configured, "apply", change_of(configured, tmp_path), "--confirm-within", "600")
    with_systemd(configured, "confirm")
    started, stopped = told_systemd.read_text().splitlines()
    (unit,) = [word for word in started.split("\t") if word.startswith("--unit=")]
    assert stopped.rstrip("\t").split("\t")[-2:] == ["stop", f"{unit.removeprefix('--unit=')}.timer"]


def test_commands_that_only_read_warn_of_what_is_overdue(configured: Userspace, tmp_path: Path) -> None:
    ok(configured, "apply", change_of(configured, tmp_path), "--confirm-within", "600")
    assert "not confirmed" not in configured.isadmin("ls").stderr
    kill_all(two_waiting(configured))
    (record,) = (configured.runtime / "unconfirmed").iterdir()
    os.utime(record, (0, 0))
    for words in (("ls",), ("diff",), (TPG, "status")):
        assert "was not confirmed in time and is not undone yet" in configured.isadmin(*words).stderr
    assert "is undone now" in configured.isadmin("confirm").stderr
    assert "not confirmed" not in configured.isadmin("ls").stderr


def test_what_is_not_confirmed_is_not_saved(configured: Userspace, tmp_path: Path) -> None:
    before = saved(configured)
    ok(configured, "apply", change_of(configured, tmp_path), "--confirm-within", "600")
    refused = configured.isadmin("saveconfig")
    assert (refused.returncode, "not confirmed: not saved" in refused.stderr) == (6, True)
    assert saved(configured) == before
    (tmp_path / "link").symlink_to(configured.state)
    for words in (
        ("saveconfig", f"{configured.state}/../{configured.state.name}/saveconfig.json"),
        ("saveconfig", f"{tmp_path}/link/saveconfig.json"),
        ("/backstores/ramdisk/r1", "saveconfig"),
        ("/backstores/ramdisk/r1", "saveconfig", f"{tmp_path}/link/saveconfig.json"),
        ("/backstores/ramdisk", "delete", "r1", "save=true"),
    ):
        refused = configured.isadmin(*words)
        assert (refused.returncode, "not confirmed: not saved" in refused.stderr) == (6, True), words
        assert saved(configured) == before
    assert "r1" in ok(configured, "/backstores/ramdisk", "ls")
    ok(configured, "saveconfig", f"{tmp_path}/elsewhere.json")
    # The target that starts again is as it was saved.
    configured.stop()
    configured.start()
    assert configured.isadmin("diff").returncode == 0
    ok(configured, "/backstores/ramdisk", "create", "other", "1M")
    ok(configured, "saveconfig")
    wait_until(lambda: not waiting(configured), "the end of those that wait")


def log_of(world: Userspace) -> str:
    """What the processes that would undo a change have written."""
    file = world.runtime / "unconfirmed.log"
    return file.read_text() if file.exists() else ""


def test_what_has_come_to_need_an_unconfirmed_change_goes_with_it(
    configured: Userspace, tmp_path: Path
) -> None:
    more = write(tmp_path / "x.json", {"storage_objects": [{"plugin": "ramdisk", "name": "m", "size": 4096}]})
    ok(configured, "apply", more, "--confirm-within", "2")
    ok(configured, f"{TPG}/luns", "create", "/backstores/ramdisk/m")
    wait_until(lambda: configured.isadmin("diff").returncode == 0, "the undoing")
    wait_until(lambda: not waiting(configured), "the end of those that wait")
    assert f"with what has come to need it: {TPG}/luns/lun2" in log_of(configured)
    assert ok(configured, "/backstores/ramdisk", "create", "other", "1M")


def test_what_somebody_else_has_set_since_is_not_undone_with_it(
    configured: Userspace, tmp_path: Path
) -> None:
    ok(configured, "apply", change_of(configured, tmp_path), "--confirm-within", "3")
    ok(configured, "/backstores/ramdisk/r1", "set", "attribute", "emulate_3pc=0")
    wait_until(lambda: not waiting(configured), "the undoing")
    assert configured.isadmin("diff").stdout.splitlines() == [
        "~ /backstores/ramdisk/r1",
        "    attributes emulate_3pc: 0 -> 1",
    ]
    assert "emulate_3pc=0" in ok(configured, "undo")
    assert configured.isadmin("diff").returncode == 0


def test_what_cannot_be_undone_keeps_no_command_from_its_work(configured: Userspace, tmp_path: Path) -> None:
    wanted = saved(configured)
    (gone,) = [so for so in wanted["storage_objects"] if so["name"] == "f1"]
    wanted["storage_objects"].remove(gone)
    tpg = wanted["targets"][0]["tpgs"][0]
    tpg["luns"] = [lun for lun in tpg["luns"] if not lun["storage_object"].endswith("f1")]
    for acl in tpg["node_acls"]:
        acl["mapped_luns"] = [one for one in acl["mapped_luns"] if one["tpg_lun"] == 0]
    ok(configured, "apply", write(tmp_path / "x.json", wanted), "--prune", "--confirm-within", "1")
    Path(gone["dev"]).unlink()
    wait_until(lambda: "cannot be undone" in log_of(configured), "a try to undo it")
    done = configured.isadmin("/backstores/ramdisk", "create", "other", "1M")
    assert done.returncode == 0, done.stderr
    assert "cannot be undone: Could not create /backstores/fileio/f1" in done.stderr
    assert "`confirm` keeps it" in done.stderr
    assert configured.isadmin("undo").returncode == 0
    assert configured.isadmin("/backstores/ramdisk", "delete", "r1").returncode == 0
    confirmed = configured.isadmin("confirm")
    assert (confirmed.returncode, confirmed.stdout) == (0, "Confirmed: the changes stay\n")
    wait_until(lambda: not waiting(configured), "the end of those that wait")
    assert "warning" not in configured.isadmin("saveconfig").stderr


SIGNALLED = """
import os, signal, sys
from isadmin.lio import files
# A run in the background may have been told to ignore them.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
write, count = files.write, [0]
def signalled(path, text):
    count[0] += 1
    if count[0] == 4:
        os.kill(os.getpid(), int(sys.argv[1]))
    write(path, text)
files.write = signalled
from isadmin.cli import main
sys.exit(main(sys.argv[2:]))
"""
"""isadmin that is sent a signal just before its fourth write."""


def signalled(world: Userspace, number: int, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SIGNALLED, str(int(number)), *world.options, *words]
    return subprocess.run(command, env=world.env, check=False, capture_output=True, text=True)


@pytest.fixture
def many_changes(configured: Userspace, tmp_path: Path) -> str:
    """A file that takes six writes."""
    wanted = saved(configured)
    for so in wanted["storage_objects"]:
        so["attributes"] |= {"emulate_caw": 0, "emulate_3pc": 0, "is_nonrot": 1}
    return write(tmp_path / "x.json", wanted)


def test_a_process_that_dies_while_applying_is_undone(configured: Userspace, many_changes: str) -> None:
    died = signalled(configured, signal.SIGKILL, "apply", many_changes, "--confirm-within", "600")
    assert died.returncode == -signal.SIGKILL, died.stderr
    wait_until(lambda: configured.isadmin("diff").returncode == 0, "the undoing")
    wait_until(lambda: not waiting(configured), "the end of those that wait")
    assert "emulate_caw" not in configured.isadmin("undo", "--dry-run").stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda one: one.name)
def test_a_signal_that_ends_an_apply_undoes_it(
    configured: Userspace, many_changes: str, number: signal.Signals
) -> None:
    before = contents(configured.mount)
    last_change = configured.isadmin("undo", "--dry-run").stdout
    for command in ("apply", "restoreconfig"):
        ended = signalled(configured, number, command, many_changes)
        assert ended.returncode == 128 + number, ended.stderr
        assert ended.stderr == f"warning: ended by {number.name}: everything done before it was undone\n"
    assert contents(configured.mount) == before
    assert configured.isadmin("undo", "--dry-run").stdout == last_change


def test_a_signal_does_not_end_the_undoing_of_a_batch(configured: Userspace) -> None:
    before = contents(configured.mount)
    place = "/backstores/ramdisk/r1 set attribute"
    lines = "; ".join((f"{place} emulate_caw=0 emulate_3pc=0 is_nonrot=1", "no-such-command"))
    ended = signalled(configured, signal.SIGTERM, "--atomic", "-c", lines)
    assert ended.returncode == -signal.SIGTERM, ended.stderr
    assert contents(configured.mount) == before


def test_what_a_killed_apply_or_undo_has_done_can_be_undone(configured: Userspace, many_changes: str) -> None:
    before = contents(configured.mount)
    assert signalled(configured, signal.SIGKILL, "apply", many_changes).returncode == -signal.SIGKILL
    half = contents(configured.mount)
    assert len([path for path in before if half[path] != before[path]]) == 3
    assert "Undone: apply" in ok(configured, "undo")
    assert contents(configured.mount) == before
    ok(configured, "apply", many_changes)
    assert signalled(configured, signal.SIGKILL, "undo").returncode == -signal.SIGKILL
    assert contents(configured.mount) != before
    assert "Undone: apply" in ok(configured, "undo")
    assert contents(configured.mount) == before


def test_after_a_change_is_undone_unconfirmed_the_one_before_it_can_be(
    configured: Userspace, tmp_path: Path
) -> None:
    ok(configured, "/backstores/ramdisk/r1", "set", "attribute", "emulate_caw=0")
    wanted = saved(configured)
    for so in wanted["storage_objects"]:
        so["attributes"].pop("emulate_caw")
        so["attributes"]["queue_depth"] = 64
    ok(configured, "apply", write(tmp_path / "x.json", wanted), "--confirm-within", "1")
    wait_until(lambda: not waiting(configured), "the undoing")
    assert "Undone: /backstores/ramdisk/r1 set attribute emulate_caw=0" in ok(configured, "undo")
    assert configured.isadmin("diff").returncode == 0


@pytest.fixture
def writer(configured: Userspace) -> Iterator[subprocess.Popen[str]]:
    """An initiator with LUN 1 open; the test has it write all the while."""
    image = (
        f"driver=iscsi,transport=tcp,portal=127.0.0.1:3260,target={TARGET},lun=1,"
        f"initiator-name={INITIATOR},user=user,password-secret=s"
    )
    secret = "secret,id=s,data=a-long-secret"
    process = subprocess.Popen(
        ["qemu-io", "--object", secret, "--image-opts", image],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def test_sessions_on_what_does_not_change_stay_up(
    configured: Userspace, writer: subprocess.Popen[str], tmp_path: Path
) -> None:
    ok(configured, f"{TPG}/acls", "create", f"{INITIATOR}2")
    info = configured.mount / "iscsi" / TARGET / "tpgt_1/acls" / INITIATOR / "info"

    def write_some(count: int) -> None:
        for at in range(count):
            assert writer.stdin is not None
            assert writer.stdout is not None
            writer.stdin.write(f"write -P {at % 250 + 1} {at * 4096} 4096\n")
            writer.stdin.flush()
            line = writer.stdout.readline()
            assert "wrote 4096/4096" in line, line
            writer.stdout.readline()

    write_some(5)
    session = [line for line in info.read_text().splitlines() if "Session ID" in line]
    wanted = saved(configured)
    wanted["storage_objects"][1]["attributes"]["emulate_caw"] = 0
    wanted["storage_objects"].append({"name": "new", "plugin": "ramdisk", "size": 1 << 20})
    wanted["targets"].append({"fabric": "iscsi", "wwn": f"{TARGET}2", "tpgs": [{"tag": 1}]})
    tpg = wanted["targets"][0]["tpgs"][0]
    tpg["luns"].append({"index": 9, "storage_object": "/backstores/ramdisk/new"})
    tpg["node_acls"] = [acl for acl in tpg["node_acls"] if acl["node_wwn"] == INITIATOR]
    tpg["node_acls"].append({"node_wwn": f"{INITIATOR}3", "mapped_luns": [{"index": 0, "tpg_lun": 9}]})
    file = write(tmp_path / "x.json", wanted)
    command = [sys.executable, "-m", "isadmin", *configured.options, "apply", file, "--prune"]
    applying = subprocess.Popen(command, env=configured.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while applying.poll() is None:
        write_some(1)
    assert applying.returncode == 0, applying.communicate()
    applying.communicate()
    write_some(5)
    assert [line for line in info.read_text().splitlines() if "Session ID" in line] == session
    done = configured.isadmin("restoreconfig", "clear_existing=true")
    assert done.returncode == 0, done.stderr
    assert [line for line in info.read_text().splitlines() if "Session ID" in line] == session


def with_files(value: Configuration, directory: Path) -> Configuration:
    """The same over real files."""
    from dataclasses import replace

    objects = []
    for so in value.storage_objects:
        if so.plugin == "fileio":
            file = directory / Path(so.dev or "").name
            if not file.exists():
                file.write_bytes(bytes(1 << 20))
            so = replace(so, dev=str(file))
        objects.append(so)
    return replace(value, storage_objects=tuple(objects))


def comparable(flat: Flat) -> dict[Any, Any]:
    return {key: one for key, one in flat.items() if not isinstance(one, StorageObject)} | {
        key: (one.dev, one.size, one.wwn, one.write_back)
        for key, one in flat.items()
        if isinstance(one, StorageObject)
    }


@pytest.mark.filterwarnings("ignore:Will be removed in 1.0:DeprecationWarning")
def test_any_configuration_becomes_any_other_and_rtslib_says_the_same(
    module_userspace: Userspace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("files")
    host = module_userspace.host
    lio = host.lio
    os.environ.setdefault("ISADMIN_RUNTIME_DIR", str(module_userspace.runtime))

    root = rtslib_root(host)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(configurations())
    def becomes(wanted: Configuration) -> None:
        wanted = with_files(wanted, directory)
        now = running(lio)
        plan = diff.diff(now, wanted)
        apply.carry_out(lio, plan.changes)
        after = running(lio)
        left = diff.diff(after, wanted)
        assert not left.changes, left.changes[:5]
        assert in_order(snapshot.dump(lio)) == in_order(root.dump())
        # What was already so was not touched.
        untouched = flatten(now).keys() & flatten(after).keys() - plan.keys()
        before, now_there = comparable(flatten(now)), comparable(flatten(after))
        assert {key: before[key] for key in untouched} == {key: now_there[key] for key in untouched}

    becomes()
    plan = diff.exact(flatten(running(lio)), {})
    apply.carry_out(lio, plan.changes)
    assert unflatten(flatten(running(lio))) == Configuration()
