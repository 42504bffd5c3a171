"""What a command costs: in a small and in a large configuration, as the first and as the 10,000th line, and
against targetcli's.

    python -m tests.bench.commands [--brief] [--luns N] [--lines N] [--targetcli3 PROGRAM]

1. One more LUN, mapped in two ACLs, in a configuration of 10 and in one of 5,000: in a running shell, and by
   a process of its own; medians.
2. A batch of 10,000 lines in one process: its rate over each tenth.
3. A batch that makes storage objects and LUNs and sets attributes, by isadmin and by targetcli 3.0.2
   (Debian's where that cannot be installed), with what a batch without commands takes subtracted.

Needs root, FUSE and a D-Bus daemon.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from tests.bench._targetcli import DEBIANS, newest
from tests.bench.configfs_walk import IQN, build, cpu_seconds
from tests.integration.sandbox import COMMAND, Userspace, running_userspace, system_bus

LUNS = f"/iscsi/{IQN}/tpg1/luns"


class Shell:
    """A running isadmin that is given one line after the other."""

    def __init__(self, world: Userspace) -> None:
        self._process = subprocess.Popen(
            [*COMMAND, "--userspace", "-f", "-"],
            env=world.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._daemon = world.pid

    def run(self, line: str, answers: int = 1) -> tuple[float, float, float]:
        """Milliseconds until a command has printed so many lines; of processor: the shell's, the daemon's."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        mine, daemons = cpu_seconds(self._process.pid), cpu_seconds(self._daemon)
        start = time.perf_counter()
        print(line, file=self._process.stdin, flush=True)
        for _ in range(answers):
            assert self._process.stdout.readline()
        took = time.perf_counter() - start
        used = cpu_seconds(self._process.pid) - mine, cpu_seconds(self._daemon) - daemons
        return took * 1e3, used[0] * 1e3, used[1] * 1e3

    def close(self) -> None:
        self._process.communicate()
        assert self._process.returncode == 0


def one_more_lun(sizes: Iterable[int], rounds: int) -> None:
    print("One more LUN with two mappings: milliseconds (processor of the shell; of the daemon)")
    medians = []
    for size in sizes:
        with running_userspace() as world:
            world.env.pop("PYTHONDONTWRITEBYTECODE", None)
            build(world.mount, size, whole=True)
            shell = Shell(world)
            shell.run("/backstores/ramdisk create warm 1M nullio=true")
            shell.run(f"{LUNS} create /backstores/ramdisk/warm", answers=3)
            inside, alone = [], []
            for number in range(rounds):
                shell.run(f"/backstores/ramdisk create in{number} 1M nullio=true")
                inside.append(shell.run(f"{LUNS} create /backstores/ramdisk/in{number}", answers=3))
                shell.run(f"/backstores/ramdisk create one{number} 1M nullio=true")
                start = time.perf_counter()
                done = world.isadmin(LUNS, "create", f"/backstores/ramdisk/one{number}")
                alone.append((time.perf_counter() - start) * 1e3)
                assert done.returncode == 0, done.stderr
            shell.close()
        took, mine, daemons = (statistics.median(row[at] for row in inside) for at in range(3))
        mine, daemons = (statistics.fmean(row[at] for row in inside) for at in (1, 2))
        medians.append((took, statistics.median(alone)))
        print(
            f"  {size:6d} LUNs: in a shell {took:7.1f} ({mine:.1f}; {daemons:.1f}), "
            f"by a process of its own {medians[-1][1]:7.1f}"
        )
    print(f"  ratio: {medians[-1][0] / medians[0][0]:.2f}, alone {medians[-1][1] / medians[0][1]:.2f}")


def steady(lines: int) -> None:
    print(f"A batch of {lines} lines that set an attribute: milliseconds a line, processor")
    with running_userspace() as world:
        world.env.pop("PYTHONDONTWRITEBYTECODE", None)
        build(world.mount, 10, whole=True)
        shell = Shell(world)
        shell.run("/backstores/ramdisk/r0 set attribute emulate_caw=0")
        tenth = max(lines // 10, 1)
        rates = []
        for _ in range(10):
            rows = [
                shell.run(f"/backstores/ramdisk/r{n % 10} set attribute emulate_caw={n // 10 % 2}")
                for n in range(tenth)
            ]
            rates.append((sum(row[0] for row in rows) / tenth, sum(row[1] for row in rows) / tenth))
        shell.close()
    print("  time:      " + " ".join(f"{took:6.2f}" for took, _ in rates))
    print("  processor: " + " ".join(f"{used:6.2f}" for _, used in rates))
    print(f"  last tenth / first: {rates[-1][0] / rates[0][0]:.2f}, {rates[-1][1] / rates[0][1]:.2f}")


def against_targetcli(program: str, count: int) -> None:
    """What a line costs in a batch."""
    lines = [
        line
        for n in range(count)
        for line in (
            f"/backstores/ramdisk create x{n} 1M nullio=true",
            f"{LUNS} create /backstores/ramdisk/x{n}",
            f"/backstores/ramdisk/x{n} set attribute emulate_caw=0",
            f"/backstores/ramdisk/x{n} get attribute emulate_caw",
        )
    ]
    cost = {}
    for name, command in (("isadmin", COMMAND), ("targetcli", [program])):
        with running_userspace() as world, system_bus(world):
            world.env.pop("PYTHONDONTWRITEBYTECODE", None)
            build(world.mount, 10, whole=True)
            inside = [*COMMAND, "userspace", "exec", "--", *command]

            def batch(text: str, inside: list[str] = inside, world: Userspace = world) -> float:
                start = time.perf_counter()
                done = subprocess.run(inside, env=world.env, input=text, capture_output=True, text=True)
                assert done.returncode == 0, done.stderr + done.stdout
                return time.perf_counter() - start

            batch("set global auto_save_on_exit=false\nexit\n")
            empty = batch("exit\n")
            cost[name] = (batch("\n".join([*lines, "exit"]) + "\n") - empty) / len(lines) * 1e3
            made = len(list((world.mount / "core").glob("rd_mcp_*/x*")))
            assert made == count, f"{name} made {made} of {count}"
    print(f"A batch of {len(lines)} lines: milliseconds a line")
    print("  " + ", ".join(f"{name} {took:.1f}" for name, took in cost.items()))
    print(f"  targetcli / isadmin: {cost['targetcli'] / cost['isadmin']:.1f}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--brief", action="store_true", help="few LUNs and lines, no targetcli")
    parser.add_argument("--luns", type=int, help="in the large configuration")
    parser.add_argument("--lines", type=int, help="of the long batch")
    parser.add_argument("--targetcli3", metavar="PROGRAM", help="an installed targetcli 3.0.2")
    parser.add_argument("--only", choices=("lun", "steady", "targetcli"), help="one of the three parts")
    given = parser.parse_args()
    brief, parts = given.brief, [given.only] if given.only else ["lun", "steady", "targetcli"]
    if "lun" in parts:
        one_more_lun((10, given.luns or (40 if brief else 5000)), 2 if brief else 15)
    if "steady" in parts:
        steady(given.lines or (20 if brief else 10000))
    if "targetcli" in parts and not brief:
        with tempfile.TemporaryDirectory() as directory, newest(Path(directory), given.targetcli3) as program:
            program = program or shutil.which(DEBIANS)
            if program is not None:
                against_targetcli(program, 25)
    return 0


if __name__ == "__main__":
    sys.exit(main())
