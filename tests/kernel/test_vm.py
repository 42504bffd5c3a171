"""The virtual machine: what a command says and how it ends comes back, and nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.sandbox import wait_until
from tests.kernel.vm import ROOT, Vm, VmDiedError

pytestmark = pytest.mark.vm

LIMIT = 300.0
"""Seconds; it only ends a run that hangs."""


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[Vm]:
    with Vm(kvm=request.config.getoption("kvm")) as vm:
        yield vm


def test_output_and_status_come_back(machine: Vm) -> None:
    done = machine.run("cat; echo error >&2; exit 3", input="one\ntwo\n")
    assert (done.returncode, done.stdout, done.stderr) == (3, "one\ntwo\n", "error\n")


def test_signal_is_a_negative_status(machine: Vm) -> None:
    assert machine.run("kill -TERM $$").returncode == -signal.SIGTERM


def test_unknown_program_is_status_127(machine: Vm) -> None:
    done = machine.run(["no-such-program"])
    assert done.returncode == 127
    assert "no-such-program" in done.stderr


def test_long_output_is_whole(machine: Vm) -> None:
    done = machine.run("seq 100000")
    assert done.stdout == "".join(f"{n}\n" for n in range(1, 100001))


def test_command_that_hangs_is_killed(machine: Vm) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        machine.run("echo $$ >/run/hanging; sleep 1000", timeout=3)
    assert machine.run("while kill -0 $(cat /run/hanging); do sleep 0.1; done 2>/dev/null").returncode == 0


def test_commands_run_beside_each_other(machine: Vm) -> None:
    waiting = machine.launch("mkfifo /run/fifo; echo made; cat /run/fifo")
    lines = waiting.lines(60)
    assert next(lines) == b"made"
    machine.run("echo hello >/run/fifo", check=True)
    assert list(lines) == [b"hello"]
    assert waiting.wait(60) == 0


def test_daemon_left_behind_does_not_hold_its_command(machine: Vm) -> None:
    assert machine.run("sleep 1000 & echo started").stdout == "started\n"


def test_files_go_in_and_out(machine: Vm) -> None:
    data = bytes(range(256)) * 1000
    machine.write_bytes("/root/some/where", data)
    assert machine.read_bytes("/root/some/where") == data
    assert not Path("/root/some/where").exists()
    with pytest.raises(FileNotFoundError, match="no/such"):
        machine.read_bytes("/no/such")


def test_this_checkout_is_there_and_the_host_is_not_written(machine: Vm, tmp_path: Path) -> None:
    assert machine.run(["cat", "pyproject.toml"]).stdout == (ROOT / "pyproject.toml").read_text()
    machine.run(["touch", str(tmp_path / "written")], check=True)
    assert not (tmp_path / "written").exists()


def test_no_network_but_loopback(machine: Vm) -> None:
    assert machine.run("ls /sys/class/net").stdout == "lo\n"


def test_panic_is_told_with_the_consoles_last_lines(machine: Vm) -> None:
    pid = machine.pid
    sleeping = machine.launch("sleep 1000")
    crash = machine.launch("echo c >/proc/sysrq-trigger")
    for running in (sleeping, crash):
        with pytest.raises(VmDiedError, match="Kernel panic - not syncing: sysrq triggered crash"):
            running.wait(60)
    machine.kill()
    with pytest.raises(VmDiedError):
        machine.run("true")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def started_by(run: Path) -> list[str]:
    """The processes of a run with this directory for temporary files."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"TMPDIR={run}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "comm").read_text().strip())
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ended_run_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    # What a shell starts in the background has SIGINT ignored, and so has what that starts.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    with subprocess.Popen(
        [*command, "--kernel=vm", "tests/kernel/test_lio.py"],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as tests:
        try:
            wait_until(lambda: any(one.startswith("qemu") for one in started_by(tmp_path)), "qemu", LIMIT)
            tests.send_signal(number)
            said, _ = tests.communicate(timeout=LIMIT)
        finally:
            tests.kill()
    assert tests.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 2), said
    wait_until(lambda: not started_by(tmp_path), "the end of all that it started", LIMIT)
    if number != signal.SIGKILL:
        assert not list(tmp_path.iterdir())
