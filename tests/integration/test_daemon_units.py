"""The systemd units: verified by systemd itself, and their command lines run as they stand."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from isadmin.config import journal
from tests.integration.sandbox import Userspace, wait_until

UNITS = resources.files("isadmin.userspace") / "units"
NAMES = ("isadmin-userspace.service", "isadmin-restore.service")
TARGET = "iqn.2003-01.org.example:t1"


def lines_of(name: str, key: str) -> list[str]:
    text = (UNITS / name).read_text()
    return [line.removeprefix(f"{key}=") for line in text.splitlines() if line.startswith(f"{key}=")]


@pytest.fixture
def bin_directory(tmp_path: Path) -> Path:
    """`isadmin` as it is installed, on a PATH of its own; modprobe, which a machine of the tests may lack."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name, script in (("isadmin", f'exec {sys.executable} -m isadmin "$@"'), ("modprobe", "true")):
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)
    return directory


@pytest.mark.parametrize("name", NAMES)
def test_systemd_accepts_it(name: str, bin_directory: Path, tmp_path: Path) -> None:
    text = (UNITS / name).read_text()
    for program in ("isadmin", "modprobe"):
        text = text.replace(f"={program} ", f"={bin_directory / program} ")
    unit = tmp_path / name
    unit.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_only_one_unit_restores_the_kernel_target_at_boot() -> None:
    assert lines_of("isadmin-restore.service", "Conflicts") == ["target.service rtslib-fb-targetctl.service"]


def test_the_daemons_start_line_runs_it(world: Userspace, bin_directory: Path) -> None:
    (line,) = lines_of("isadmin-userspace.service", "ExecStart")
    command = shlex.split(line)
    environment = world.env | {"PATH": f"{bin_directory}:{os.environ['PATH']}"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as daemon:
        try:
            wait_until(lambda: world.isadmin("userspace", "status").returncode == 0, "ready")
        finally:
            daemon.terminate()
        daemon.communicate(timeout=60)
    assert daemon.returncode == 0


def test_the_restore_lines_restore_and_clear(
    userspace: Userspace, bin_directory: Path, tmp_path: Path
) -> None:
    """Under exec, which shows the userspace target where the kernel's is."""

    def run(line: str) -> subprocess.CompletedProcess[str]:
        path = f"PATH={bin_directory}:{os.environ['PATH']}"
        given = lines_of("isadmin-restore.service", "Environment")
        return userspace.isadmin("userspace", "exec", "--", "env", path, *given, *shlex.split(line))

    def result(line: str) -> tuple[int, str]:
        """The exit status, and what the line says as JSON."""
        done = run(line.replace("isadmin ", "isadmin --output json ", 1))
        return done.returncode, json.loads(done.stdout)["result"]

    (start,) = lines_of("isadmin-restore.service", "ExecStart")
    (stop,) = lines_of("isadmin-restore.service", "ExecStop")
    (successes,) = lines_of("isadmin-restore.service", "SuccessExitStatus")
    absent, partly = map(int, successes.split())
    nothing = run(start)
    assert nothing.returncode == absent, nothing.stderr
    assert result(start) == (5, "no file")

    lines = (f"/backstores/fileio create f1 {tmp_path}/f1.img 8M", f"/iscsi create {TARGET}", "saveconfig")
    made = userspace.isadmin(typed="\n".join(lines) + "\n")
    assert made.returncode == 0, made.stderr
    cleared = run(stop)
    assert cleared.returncode == 0, cleared.stderr
    assert not (userspace.mount / "iscsi" / TARGET).exists()
    restored = run(start)
    assert restored.returncode == 0, restored.stderr
    assert (userspace.mount / "iscsi" / TARGET / "tpgt_1").is_dir()
    assert result(start) == (0, "restored")
    # What was restored is not what `undo` takes back.
    noted = [entry.origin.command for entry in journal.newest(userspace.host.journal, journal.MOST)]
    assert len(noted) == 2, noted
    assert not [command for command in noted if command.startswith(("restoreconfig", "clearconfig"))], noted

    file = userspace.state / "saveconfig.json"
    saved = json.loads(file.read_text())
    saved["storage_objects"].append({"plugin": "block", "name": "lost", "dev": "/dev/is-not-there"})
    file.write_text(json.dumps(saved))
    assert result(start) == (partly, "partly restored")
    assert run(stop).returncode == 0
    assert json.loads(file.read_text()) == saved
    assert result(start) == (partly, "partly restored")
    assert result(start.replace(" --keep-going", "")) == (1, "failed")
    saved["targets"] = "none"
    file.write_text(json.dumps(saved))
    assert result(start) == (6, "refused")
