"""What a command costs: in a small and in a large configuration, as the first and as the 10,000th line, and
against targetcli's.

    python -m tests.bench.commands [--brief] [--luns N] [--lines N] [--targetcli3 PROGRAM]

1. One more LUN, mapped in two ACLs, in a configuration of 10 and in one of 5,000: in a running shell, and by
   a process of its own; medians.
2. A batch of 10,000 lines in one process: its rate over each tenth.
3. A line that makes, changes, reads or deletes something, in a running isadmin and in a running targetcli
   3.0.2 (Debian's where that cannot be installed).

All of it is in memory, as /run is, where isadmin keeps its locks and what can be undone. Needs root, FUSE and
a D-Bus daemon.
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
from contextlib import ExitStack
from pathlib import Path

from tests.bench._processor import processor_seconds
from tests.bench._targetcli import DEBIANS, newest
from tests.bench.configfs_walk import IQN, build
from tests.integration.sandbox import COMMAND, Userspace, running_userspace, system_bus

IN_MEMORY = Path("/dev/shm")
LUNS = f"/iscsi/{IQN}/tpg1/luns"


Cost = tuple[float, float, float]
"""Milliseconds; of processor: the shell's, the daemon's."""


class Shell:
    """A running shell that is given one line after the other."""

    def __init__(self, world: Userspace, command: list[str] | None = None) -> None:
        self._process = subprocess.Popen(
            command or [*COMMAND, "--userspace", "-f", "-"],
            env=world.env | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._daemon = world.pid

    def run(self, *lines: str) -> Cost:
        """What it costs until it has done these lines."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        mine, daemons = processor_seconds(self._process.pid), processor_seconds(self._daemon)
        start = time.perf_counter()
        print(*lines, "pwd", sep="\n", file=self._process.stdin, flush=True)
        while (answer := self._process.stdout.readline().rstrip()) not in ("/", "/> /"):
            # targetcli prints its prompt in front of each answer, and says nothing more once it has ended.
            assert answer or self._process.poll() is None, f"{lines}: ended"
        took = time.perf_counter() - start
        used = processor_seconds(self._process.pid) - mine, processor_seconds(self._daemon) - daemons
        return took * 1e3, used[0] * 1e3, used[1] * 1e3

    def close(self) -> None:
        self._process.communicate("exit\n")
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
            shell.run(f"{LUNS} create /backstores/ramdisk/warm")
            inside, alone = [], []
            for number in range(rounds):
                shell.run(f"/backstores/ramdisk create in{number} 1M nullio=true")
                inside.append(shell.run(f"{LUNS} create /backstores/ramdisk/in{number}"))
            # Apart: what others change, a running shell has to look at again.
            for number in range(rounds):
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


KINDS = {
    "create a ramdisk": "/backstores/ramdisk create {name} 1M nullio=true",
    "create its LUN": f"{LUNS} create /backstores/ramdisk/{{name}}",
    "set an attribute": "/backstores/ramdisk/{name} set attribute emulate_caw=0",
    "get an attribute": "/backstores/ramdisk/{name} get attribute emulate_caw",
    "delete both": "/backstores/ramdisk delete {name}",
}


def against_targetcli(program: str, count: int) -> None:
    """What a line costs in a running shell, without what tells that it is done, which is run alone just
    before. Both run at once, and take turns line by line: what else the machine does falls on both."""
    cost: dict[str, dict[str, list[tuple[float, float]]]] = {}
    with ExitStack() as running:
        worlds, shells = {}, {}
        for name, command in (("isadmin", COMMAND), ("targetcli", [program])):
            world = worlds[name] = running.enter_context(running_userspace())
            running.enter_context(system_bus(world))
            world.env.pop("PYTHONDONTWRITEBYTECODE", None)
            build(world.mount, 10, whole=True)
            shell = shells[name] = Shell(world, [*COMMAND, "userspace", "exec", "--", *command])
            shell.run("set global auto_save_on_exit=false")
            # targetcli fails at a LUN whose number one had that went with its storage object.
            shell.run(*(line.format(name="warm") for line in list(KINDS.values())[:-1]))
            cost[name] = {kind: [] for kind in KINDS}
        for kind, line in KINDS.items():
            for number in range(count):
                for name, shell in shells.items():
                    # The first after the other's turn finds the processor's caches without its things.
                    shell.run()
                    nothing, done = shell.run(), shell.run(line.format(name=f"x{number}"))
                    took, *used = (a - b for a, b in zip(done, nothing, strict=True))
                    cost[name][kind].append((took, sum(used)))
            for name, world in worlds.items():
                there = len(list((world.mount / "core").glob("rd_mcp_*/x*")))
                assert there == (0 if kind == "delete both" else count), f"{name} {kind}: {there}"
        for shell in shells.values():
            shell.close()
    print(f"A line in a running shell, {count} of each kind: milliseconds (processor, with the daemon's)")
    totals = {name: [0.0, 0.0] for name in cost}
    for kind in KINDS:
        rows = {
            name: [statistics.median(column) for column in zip(*kinds[kind], strict=True)]
            for name, kinds in cost.items()
        }
        for name, row in rows.items():
            totals[name] = [a + b for a, b in zip(totals[name], row, strict=True)]
        _print_ratio(kind, rows)
    _print_ratio("all of them", totals)


def _print_ratio(kind: str, rows: dict[str, list[float]]) -> None:
    mine, theirs = rows["isadmin"], rows["targetcli"]
    shown = "   ".join(f"{name} {row[0]:6.2f} ({row[1]:6.2f})" for name, row in rows.items())
    print(f"  {kind:20} {shown}   ratio {theirs[0] / mine[0]:5.1f} ({theirs[1] / mine[1]:5.1f})")


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
    if IN_MEMORY.is_dir():
        tempfile.tempdir = str(IN_MEMORY)
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
