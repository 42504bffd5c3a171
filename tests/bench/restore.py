"""Restoring, saving and changing a large configuration: isadmin, targetcli, and the raw operations.

    python -m tests.bench.restore [--brief] [--luns N] [--growth N]
                                  [--targetcli3 PROGRAM | --without-targetcli]

Ramdisks, each a LUN, each mapped for two initiators: 1,000 by default, 100 with --brief, whose targetcli is
spared too. All on one userspace target, in one run. targetcli is 3.0.2, installed for the run unless it is
given: Debian's fails on mapped LUNs above 255. The floor is a script that does only the operations on
configfs that make the same configuration; for saving, one that reads every file once. Ratios count, not
seconds. With --growth the same is done with N LUNs too, on a target of its own and without targetcli: what a
LUN then takes, against what it takes with the first number, tells whether the time grows faster than the
configuration. Ends with 1 if a limit is missed. Needs root, FUSE and, for the comparison, targetcli.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench._processor import processor_seconds
from tests.bench._targetcli import newest
from tests.bench.configfs_walk import build, walk
from tests.integration.sandbox import COMMAND, Userspace, running_userspace, system_bus

LIMIT = 1 / 20
"""Of targetcli's time. It is stopped once it has taken a little more than the time this leaves it."""
GROWTH = 1.3
"""Of the time a LUN takes, at most, in a configuration many times as large: what is linear stays near 1."""
TIMED_OUT = 124
"""The exit status of timeout(1)."""


class Clock:
    """Times actions: seconds, and processor seconds of this process, its children and the daemon."""

    def __init__(self, daemon: int) -> None:
        self.took: dict[str, float] = {}
        self.used: dict[str, float] = {}
        self._daemon = daemon

    def time(self, name: str, action: Callable[[], object]) -> None:
        before, start = self._processor(), time.perf_counter()
        action()
        self.took[name] = time.perf_counter() - start
        self.used[name] = self._processor() - before

    def _processor(self) -> float:
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(usage.ru_utime + usage.ru_stime for usage in usages) + processor_seconds(self._daemon)


def run(world: Userspace, *words: str) -> None:
    command = [*COMMAND, *world.options, *words]
    done = subprocess.run(command, env=world.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def targetcli(world: Userspace, limit: float, program: str, *words: str) -> None:
    """Run targetcli, for no more than `limit` seconds."""
    command = [sys.executable, "-m", "isadmin", "userspace", "exec", "--"]
    command += ["timeout", "--kill-after=10", str(limit), program, *words]
    done = subprocess.run(command, env=world.env, capture_output=True, text=True, check=False)
    if done.returncode == TIMED_OUT:
        print(f"targetcli was stopped after {limit:.0f} s")
        return
    assert done.returncode == 0, done.stderr + done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--brief", action="store_true")
    parser.add_argument("--luns", type=int, default=0)
    parser.add_argument("--growth", type=int, default=0, metavar="N", help="compare with N LUNs")
    parser.add_argument("--once", action="store_true", help="restore only once")
    parser.add_argument("--without-targetcli", action="store_true")
    parser.add_argument("--targetcli3", metavar="PROGRAM", help="an installed targetcli 3.0.2")
    options = parser.parse_args()
    luns = options.luns or (100 if options.brief else 1000)
    took, missed = measure(luns, options)
    if options.growth:
        options.without_targetcli = True
        more, missed_more = measure(options.growth, options)
        missed |= missed_more
        print(f"What a LUN takes of {options.growth}, against one of {luns}:")
        for what, ratio in growth(took, luns, more, options.growth).items():
            limited = what.startswith("isadmin") and ratio > GROWTH
            missed |= limited
            print(f"{what:36}{ratio:8.3f}, at most {GROWTH:.3f}{'   MISSED' if limited else ''}")
    # A brief run is mostly start-up.
    return int(missed and not options.brief)


def growth(took: dict[str, float], luns: int, more: dict[str, float], many: int) -> dict[str, float]:
    """How much more of its time a LUN takes where there are `many`, by what was timed with both numbers."""
    return {what: (more[what] / many) / (took[what] / luns) for what in took if what in more}


def measure(luns: int, options: argparse.Namespace) -> tuple[dict[str, float], bool]:
    """Times with so many LUNs; was a limit missed?"""
    with running_userspace() as world:
        # As installed: compiled once, not at each start.
        world.env.pop("PYTHONDONTWRITEBYTECODE", None)
        state = world.state
        clock = Clock(world.pid)
        clock.time("floor: build", lambda: build(world.mount, luns, whole=True))
        run(world, "saveconfig")
        saved = state / "saveconfig.json"
        content = json.loads(saved.read_text())
        copy = state / "copy.json"
        shutil.copy(saved, copy)
        clock.time("floor: read everything", lambda: walk(str(world.mount), contents=True))
        clock.time("isadmin saveconfig", lambda: run(world, "saveconfig", f"{state}/again.json"))
        clock.time("isadmin diff", lambda: run(world, "diff", str(copy)))
        content["storage_objects"][0]["attributes"]["emulate_caw"] = 0
        copy.write_text(json.dumps(content))
        clock.time("isadmin apply one attribute", lambda: run(world, "apply", str(copy)))
        clock.time("isadmin clearconfig", lambda: run(world, "clearconfig", "confirm=true"))
        clock.time("isadmin restoreconfig", lambda: run(world, "restoreconfig", str(saved)))
        # It ends with an error if anything is not as saved.
        run(world, "diff", str(saved))
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        daemons = (
            int(re.findall(r"VmRSS:\s+([0-9]+)", Path(f"/proc/{world.pid}/status").read_text())[0]) / 1024
        )
        if not options.once:
            run(world, "clearconfig", "confirm=true")
            clock.time("floor: build again", lambda: build(world.mount, luns, whole=True))
            run(world, "clearconfig", "confirm=true")
            clock.time("isadmin restoreconfig again", lambda: run(world, "restoreconfig", str(saved)))
        if not (options.brief or options.without_targetcli):
            run(world, "clearconfig", "confirm=true")
            with newest(state, options.targetcli3) as program, system_bus(world):
                if program is not None:
                    words = (program, "restoreconfig", f"{state}/saveconfig.json")
                    patience = 1.5 * clock.took["isadmin restoreconfig"] / LIMIT
                    clock.time("targetcli restoreconfig", lambda: targetcli(world, patience, *words))
    took = clock.took
    floor = min(time for name, time in took.items() if name.startswith("floor: build"))
    ours = min(time for name, time in took.items() if name.startswith("isadmin restoreconfig"))
    print(f"{luns} storage objects and LUNs, {2 * luns} mapped LUNs")
    for what, time_taken in took.items():
        used = f"{clock.used[what]:10.2f} s of processor{time_taken / luns * 1e3:8.2f} ms a LUN"
        print(f"{what:32}{time_taken:10.2f} s{used}{time_taken / floor:8.2f} x the floor of building")
    print(f"most memory of a command {memory:.0f} MiB; the daemon then had {daemons:.0f} MiB")
    save = took["isadmin saveconfig"] / took["floor: read everything"]
    limits = [
        ("restoreconfig / floor", ours / floor, 2.0),
        ("saveconfig / floor", save, 2.0),
        ("apply of one attribute - diff, s", took["isadmin apply one attribute"] - took["isadmin diff"], 1.0),
    ]
    if "targetcli restoreconfig" in took:
        limits.append(("restoreconfig / targetcli's", ours / took["targetcli restoreconfig"], LIMIT))
    missed = False
    for what, value, limit in limits:
        missed |= value > limit
        print(f"{what:36}{value:8.3f}, at most {limit:.3f}{'   MISSED' if value > limit else ''}")
    return took, missed


if __name__ == "__main__":
    sys.exit(main())
