"""How fast the shell is: `isadmin ls` and `saveconfig` against Debian's targetcli and against a raw walk.

    python -m tests.bench.shell [--brief] [--without-targetcli]

All of them run as commands of their own, in turn, on one userspace target (in `isadmin userspace exec`, where
targetcli finds it): with 10 ramdisks, then 250, each a LUN, mapped in two ACLs; then 1,000, which Debian's
targetcli cannot list (10 and 100 with --brief). The floors are small programs that read what the command has
to read, each thing once, and nothing else; "start" is what it takes to start Python. Needs root, FUSE and a
D-Bus daemon.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

from tests.bench.configfs_walk import build
from tests.integration.sandbox import COMMAND, Userspace, running_userspace, system_bus

TARGETCLI_MOST = 256
"""Debian's rtslib fails on a mapped LUN above 255, and targetcli with it."""
FLOORS = {
    # Every name; of each storage object its state, of each LUN and mapping its link.
    "ls": """
import os
def walk(directory, depth):
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_symlink():
                os.readlink(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                if entry.name not in ("attrib", "param", "statistics", "wwn", "auth", "alua", "pr", "action"):
                    walk(entry.path, depth + 1)
            elif entry.name in ("info", "enable", "write_protect", "tag", "udev_path", "alua_tg_pt_gp"):
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


def compared(luns: int, rounds: int, *, targetcli: bool) -> None:
    with running_userspace() as world, system_bus(world):
        # As installed: compiled once, not at each start.
        world.env.pop("PYTHONDONTWRITEBYTECODE", None)
        world.isadmin("ls")
        build(world.mount, luns)
        inside = Inside(world)
        saved = str(world.state / "saved.json")
        commands = {
            "start": [sys.executable, "-I", "-S", "-c", "pass"],
            "floor ls": [sys.executable, "-I", "-S", "-c", FLOORS["ls"]],
            "isadmin --version": [*COMMAND, "--version"],
            "isadmin pwd": [*COMMAND, "pwd"],
            "isadmin ls": [*COMMAND, "ls"],
            "floor saveconfig": [sys.executable, "-I", "-S", "-c", FLOORS["saveconfig"]],
            "isadmin saveconfig": [*COMMAND, "saveconfig", saved],
        }
        rows = measure(inside, commands, rounds)
        if targetcli:
            rows |= measure(inside, {"targetcli ls": ["targetcli", "ls"]}, 1 if luns > 100 else rounds)
        inside.close()
    print(f"\n{luns} LUNs, {2 * luns} mapped LUNs (medians of {rounds})")
    print(f"{'':22}{'seconds':>9}{'CPU':>8}{'lines':>8}")
    for name, (seconds, cpu, lines) in rows.items():
        print(f"{name:22}{seconds:9.3f}{cpu:8.3f}{lines:8d}")
    start = rows["start"][0]
    for name in ("ls", "saveconfig"):
        floor, ours = rows[f"floor {name}"][0], rows[f"isadmin {name}"][0]
        print(f"isadmin {name} is {ours / floor:.1f} times its floor", end="")
        work = ours - rows["isadmin pwd"][0]
        print(f", {max(work, 0) / max(floor - start, 1e-9):.1f} times without what it takes to start")
    if targetcli:
        ratio = rows["targetcli ls"][0] / rows["isadmin ls"][0]
        cpu = rows["targetcli ls"][1] / rows["isadmin ls"][1]
        print(f"targetcli ls takes {ratio:.1f} times as long as isadmin's, {cpu:.1f} times the processor")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--brief", action="store_true", help="100 LUNs in place of 1,000, fewer rounds")
    parser.add_argument("--without-targetcli", action="store_true", help="only isadmin and the floors")
    given = parser.parse_args()
    for luns in (10, 100) if given.brief else (10, 250, 1000):
        targetcli = not given.without_targetcli and luns <= TARGETCLI_MOST
        compared(luns, 3 if given.brief or luns > 100 else 5, targetcli=targetcli)
    return 0


if __name__ == "__main__":
    sys.exit(main())
