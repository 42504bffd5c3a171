"""How fast the mounted configfs tree is read: one pass over it, and rtslib's dump of it.

    python -m tests.bench.configfs_walk [--brief]

Makes 1,000 ramdisks, each a LUN, with 1,000 mapped LUNs for each of two initiators (a tenth of all that with
--brief), in a userspace target of its own. Needs root and FUSE.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench._processor import processor_seconds
from tests.integration.sandbox import Userspace, running_userspace

IQN = "iqn.2003-01.org.example:bench"
INITIATORS = tuple(f"iqn.2003-01.org.example:initiator{number}" for number in (1, 2))
DUMP = """
import json, time
import rtslib
root = rtslib.RTSRoot()
start = time.perf_counter()
dumped = root.dump()
print(json.dumps([time.perf_counter() - start, len(dumped["storage_objects"])]))
"""


def store(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def build(mount: Path, luns: int, *, whole: bool = False) -> int:
    """The configuration, by the fewest operations; how many objects. `whole` writes what a restore has to:
    a serial number for each storage object and the write protection of each mapped LUN."""
    tpg = mount / "iscsi" / IQN / "tpgt_1"
    for directory in (mount / "iscsi", tpg.parent, tpg):
        directory.mkdir(exist_ok=True)
    for name in INITIATORS:
        (tpg / "acls" / name).mkdir()
    for number in range(luns):
        device = mount / "core" / f"rd_mcp_{number}" / f"r{number}"
        device.parent.mkdir()
        device.mkdir()
        store(device / "control", "rd_pages=256")
        store(device / "enable", "1")
        if whole:
            store(device / "wwn/vpd_unit_serial", f"serial-{number}\n")
        lun = tpg / "lun" / f"lun_{number}"
        lun.mkdir()
        (lun / "link").symlink_to(device)
        for name in INITIATORS:
            mapped = tpg / "acls" / name / f"lun_{number}"
            mapped.mkdir()
            (mapped / "link").symlink_to(lun)
            if whole:
                store(mapped / "write_protect", "0")
    return 4 * luns


def walk(directory: str, *, contents: bool) -> int:
    """Everything below `directory`; with `contents`, every file read once. The number of entries."""
    count = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            count += 1
            if entry.is_symlink():
                os.readlink(entry.path)  # noqa: PTH115 - as fast as it can be
            elif entry.is_dir(follow_symlinks=False):
                count += walk(entry.path, contents=contents)
            elif contents:
                read(entry.path)
    return count


def read(path: str) -> None:
    """Some files cannot be read (write-only, or nothing there yet): that costs a call as well."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.read(descriptor, 16384)
    except OSError:
        pass
    finally:
        os.close(descriptor)


@dataclass
class Row:
    name: str
    seconds: float
    daemon: float
    things: int


def timed(name: str, pid: int, action: Callable[[], tuple[float, int]]) -> Row:
    before = processor_seconds(pid)
    seconds, things = action()
    return Row(name, seconds, processor_seconds(pid) - before, things)


def here(action: Callable[[], int]) -> Callable[[], tuple[float, int]]:
    def run() -> tuple[float, int]:
        start = time.perf_counter()
        things = action()
        return time.perf_counter() - start, things

    return run


def rtslib_dump(world: Userspace) -> tuple[float, int]:
    done = subprocess.run(
        [sys.executable, "-m", "isadmin", "userspace", "exec", "--", sys.executable, "-c", DUMP],
        env=world.env,
        check=True,
        capture_output=True,
        text=True,
    )
    seconds, objects = json.loads(done.stdout)
    return seconds, objects


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--brief", action="store_true", help="a tenth of the objects")
    luns = 100 if parser.parse_args().brief else 1000
    with running_userspace() as world:
        mount, pid = str(world.mount), world.pid
        rows = [
            timed("build", pid, here(lambda: build(world.mount, luns))),
            timed("walk, names only", pid, here(lambda: walk(mount, contents=False))),
            timed("walk, names only, again", pid, here(lambda: walk(mount, contents=False))),
            timed("walk with contents", pid, here(lambda: walk(mount, contents=True))),
            timed("rtslib's dump", pid, lambda: rtslib_dump(world)),
        ]
    one_pass = rows[-2].seconds
    print(f"{luns} LUNs, {2 * luns} mapped LUNs")
    print(f"{'':26}{'seconds':>10}{'daemon CPU':>12}{'things':>10}{'us each':>10}{'x one pass':>12}")
    for row in rows:
        each, ratio = row.seconds / row.things * 1e6, row.seconds / one_pass
        print(f"{row.name:26}{row.seconds:10.2f}{row.daemon:12.2f}{row.things:10d}{each:10.1f}{ratio:12.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
