"""Restoring, saving and changing a large configuration: isadmin, targetcli, and the raw operations.

    python -m tests.bench.restore [--brief] [--luns N] [--without-targetcli]

Ramdisks, each a LUN, each mapped for two initiators: 1,000 by default, 100 with --brief, whose targetcli is
spared too. All on one userspace target, in one run. The floor is a script that does only the operations on
configfs that make the same configuration; for saving, one that reads every file once. Ratios count, not
seconds. Ends with 1 if a limit is missed. Needs root, FUSE and, for the comparison, targetcli.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

from tests.bench.configfs_walk import build, walk
from tests.integration.sandbox import Userspace, running_userspace, system_bus

TARGETCLI = "/usr/bin/targetcli"


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def run(world: Userspace, *words: str) -> None:
    done = world.isadmin(*words)
    assert done.returncode == 0, done.stderr


def targetcli(world: Userspace, *words: str) -> None:
    command = [sys.executable, "-m", "isadmin", "userspace", "exec", "--", TARGETCLI, *words]
    done = subprocess.run(command, env=world.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--brief", action="store_true")
    parser.add_argument("--luns", type=int, default=0)
    parser.add_argument("--without-targetcli", action="store_true")
    options = parser.parse_args()
    luns = options.luns or (100 if options.brief else 1000)
    compared = not (options.brief or options.without_targetcli) and shutil.which(TARGETCLI) is not None
    took: dict[str, float] = {}
    with running_userspace() as world:
        state = world.state
        took["floor: build"] = seconds(lambda: build(world.mount, luns, whole=True))
        run(world, "saveconfig")
        saved = state / "saveconfig.json"
        content = json.loads(saved.read_text())
        copy = state / "copy.json"
        shutil.copy(saved, copy)
        took["floor: read everything"] = seconds(lambda: walk(str(world.mount), contents=True))
        took["isadmin saveconfig"] = seconds(lambda: run(world, "saveconfig", f"{state}/again.json"))
        took["isadmin diff"] = seconds(lambda: run(world, "diff", str(copy)))
        content["storage_objects"][0]["attributes"]["emulate_caw"] = 0
        copy.write_text(json.dumps(content))
        took["isadmin apply one attribute"] = seconds(lambda: run(world, "apply", str(copy)))
        took["isadmin clearconfig"] = seconds(lambda: run(world, "clearconfig", "confirm=true"))
        took["isadmin restoreconfig"] = seconds(lambda: run(world, "restoreconfig", str(saved)))
        run(world, "clearconfig", "confirm=true")
        took["floor: build again"] = seconds(lambda: build(world.mount, luns, whole=True))
        run(world, "clearconfig", "confirm=true")
        took["isadmin restoreconfig again"] = seconds(lambda: run(world, "restoreconfig", str(saved)))
        run(world, "clearconfig", "confirm=true")
        if compared:
            with system_bus(world):
                name = f"{state}/saveconfig.json"
                took["targetcli restoreconfig"] = seconds(lambda: targetcli(world, "restoreconfig", name))
    floor = min(took["floor: build"], took["floor: build again"])
    ours = min(took["isadmin restoreconfig"], took["isadmin restoreconfig again"])
    print(f"{luns} storage objects and LUNs, {2 * luns} mapped LUNs")
    for what, time_taken in took.items():
        print(f"{what:32}{time_taken:10.2f} s{time_taken / floor:10.2f} x the floor of building")
    save = took["isadmin saveconfig"] / took["floor: read everything"]
    limits = [
        ("restoreconfig / floor", ours / floor, 2.0),
        ("saveconfig / floor", save, 2.0),
        ("apply of one attribute - diff, s", took["isadmin apply one attribute"] - took["isadmin diff"], 1.0),
    ]
    if "targetcli restoreconfig" in took:
        limits.append(("restoreconfig / targetcli's", ours / took["targetcli restoreconfig"], 1 / 20))
    missed = False
    for what, value, limit in limits:
        missed |= value > limit
        print(f"{what:36}{value:8.3f}, at most {limit:.3f}{'   MISSED' if value > limit else ''}")
    # A brief run is mostly start-up.
    return int(missed and not options.brief)


if __name__ == "__main__":
    sys.exit(main())
