"""How fast the shell lists and saves: isadmin against targetcli and against a raw walk of the same tree.

    python -m tests.bench.shell [--brief] [--luns N]... [--targetcli3 PROGRAM | --without-targetcli]

All of them run as commands of their own, in turn, on one userspace target (in `isadmin userspace exec`, where
targetcli finds it): with 10 ramdisks, each a LUN, mapped in two ACLs; then 100, 1,000, 10,000 (10 and 30 with
--brief). targetcli is Debian's, as far as it can list (255 mapped LUNs), and 3.0.2, up to 1,000, which is
installed for the run unless it is given. The floors are small programs that read what the command has to
read, each thing once, and nothing else; they start as any Python program does, as isadmin must. "start" is
only that. Needs root, FUSE and a D-Bus daemon.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.bench._targetcli import DEBIANS, newest
from tests.bench.configfs_walk import build
from tests.integration.sandbox import COMMAND, Userspace, running_userspace, system_bus

DEBIANS_MOST = 255
"""Debian's rtslib fails on a mapped LUN above 255, and targetcli with it."""
NEWEST_MOST = 1000
"""With more LUNs targetcli 3.0.2 takes minutes, its time growing with the square."""
START = [sys.executable, "-c"]
FLOORS = {
    # Every name; the states of storage objects and their ALUA groups; the links of LUNs and mappings.
    "ls": """
import os
READ = "info enable write_protect tag udev_path alua_tg_pt_gp alua_access_state".split()
def walk(directory, depth):
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_symlink():
                os.readlink(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                if entry.name not in ("attrib", "param", "statistics", "wwn", "auth", "pr", "action"):
                    walk(entry.path, depth + 1)
            elif entry.name in READ:
                read(entry.path)
def read(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.read(fd, 65536)
    except OSError:
        pass
    os.close(fd)
walk("/sys/kernel/config/target", 0)
""",
    # Every name, and every file of values.
    "saveconfig": """
import os
def walk(directory):
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_symlink():
                os.readlink(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                if entry.name != "statistics":
                    walk(entry.path)
            elif os.access(entry.path, os.R_OK):
                read(entry.path)
def read(path):
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.read(fd, 65536)
    except OSError:
        pass
    os.close(fd)
walk("/sys/kernel/config/target")
""",
}
TIMER = """
import json, resource, subprocess, sys, time
def used():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
for line in sys.stdin:
    words = json.loads(line)
    cpu, start = used(), time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True)
    took = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{words}: status {done.returncode}: {done.stderr}{done.stdout[-500:]}")
    print(json.dumps([took, used() - cpu, done.stdout.count("\\n")]), flush=True)
"""


class Inside:
    """Runs commands inside `userspace exec`, where the target is the kernel's, and times each there."""

    def __init__(self, world: Userspace) -> None:
        command = [*COMMAND, "userspace", "exec", "--", sys.executable, "-c", TIMER]
        self._process = subprocess.Popen(
            command, env=world.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, *words: str) -> tuple[float, float, int]:
        """Wall seconds, processor seconds of the command, lines that it printed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(words), file=self._process.stdin, flush=True)
        seconds, cpu, lines = json.loads(self._process.stdout.readline())
        return seconds, cpu, lines

    def close(self) -> None:
        self._process.communicate()


Row = tuple[float, float, int]
"""Wall seconds, processor seconds, lines printed."""


def measure(inside: Inside, commands: dict[str, list[str]], rounds: int) -> dict[str, Row]:
    """Each command in turn, `rounds` times; the medians."""
    found: dict[str, list[Row]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, words in commands.items():
            found[name].append(inside.run(*words))
    return {
        name: (statistics.median(r[0] for r in rows), statistics.median(r[1] for r in rows), rows[0][2])
        for name, rows in found.items()
    }


def compared(luns: int, rounds: int, newest_targetcli: str | None, *, debians: bool) -> None:
    with running_userspace() as world, system_bus(world):
        # As installed: compiled once, not at each start.
        world.env.pop("PYTHONDONTWRITEBYTECODE", None)
        world.isadmin("ls")
        build(world.mount, luns, whole=True)
        inside = Inside(world)
        saved = str(world.state / "saved.json")
        rows = measure(
            inside,
            {
                "start": [*START, "pass"],
                "floor ls": [*START, FLOORS["ls"]],
                "isadmin --version": [*COMMAND, "--version"],
                "isadmin pwd": [*COMMAND, "pwd"],
                "isadmin ls": [*COMMAND, "ls"],
                "floor saveconfig": [*START, FLOORS["saveconfig"]],
                "isadmin saveconfig": [*COMMAND, "saveconfig", saved],
            },
            rounds,
        )
        peers = {}
        if debians and luns <= DEBIANS_MOST:
            peers["targetcli 2.1 ls"] = [DEBIANS, "ls"]
        if newest_targetcli is not None and luns <= NEWEST_MOST:
            peers["targetcli 3.0 ls"] = [newest_targetcli, "ls"]
        rows |= measure(inside, peers, 1 if luns > 10 else rounds)
        inside.close()
    print(f"\n{luns} LUNs, {2 * luns} mapped LUNs (medians of {rounds})")
    print(f"{'':22}{'seconds':>9}{'CPU':>8}{'lines':>8}{'ms/LUN':>8}")
    for name, (seconds, cpu, lines) in rows.items():
        print(f"{name:22}{seconds:9.3f}{cpu:8.3f}{lines:8d}{seconds / luns * 1e3:8.2f}")
    for name in ("ls", "saveconfig"):
        ratios = [rows[f"isadmin {name}"][at] / rows[f"floor {name}"][at] for at in (0, 1)]
        print(f"isadmin {name} takes {ratios[0]:.2f} times its floor, {ratios[1]:.2f} times the processor")
    for peer in peers:
        ratios = [rows[peer][at] / rows["isadmin ls"][at] for at in (0, 1)]
        print(f"{peer} takes {ratios[0]:.1f} times as long as isadmin's, {ratios[1]:.1f} times the processor")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--brief", action="store_true", help="few LUNs, few rounds, no targetcli 3")
    parser.add_argument("--luns", type=int, action="append", help="this many, instead (repeatable)")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--targetcli3", metavar="PROGRAM", help="an installed targetcli 3.0.2")
    parser.add_argument("--without-targetcli", action="store_true", help="only isadmin and the floors")
    given = parser.parse_args()
    without, program = given.without_targetcli, given.targetcli3
    with ExitStack() as made:
        targetcli = None
        if not (without or given.brief):
            directory = made.enter_context(tempfile.TemporaryDirectory())
            targetcli = made.enter_context(newest(Path(directory), program))
        for luns in given.luns or ((10, 30) if given.brief else (10, 100, 1000, 10000)):
            rounds = given.rounds or (2 if given.brief or luns > 1000 else 5)
            compared(luns, rounds, targetcli, debians=not without)
    return 0


if __name__ == "__main__":
    sys.exit(main())
