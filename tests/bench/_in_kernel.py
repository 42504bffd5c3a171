"""Runs in the virtual machine: times commands and raw operations on the kernel's target; see kernel.py.

Reads one JSON object of options, prints a JSON object a row: name, seconds, and of commands processor seconds
and peak memory in KiB.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

from tests.bench.configfs_walk import INITIATORS, IQN, build, read
from tests.kernel import world

SAVED = "/run/saved.json"
COMMANDS = {
    "ls": ("ls",),
    "create one": ("/backstores/ramdisk", "create", "one-more", "1M"),
    "saveconfig": ("saveconfig", SAVED),
    "clearconfig": ("clearconfig", "confirm=True"),
    "restoreconfig": ("restoreconfig", SAVED),
}


COUNTERS = ("statistics", "fabric_statistics")
UNLISTED = (*COUNTERS, "attrib", "param", "auth", "pr", "wwn", "action")
"""Directories in which a listing has nothing to look for."""
LISTED = ("info", "enable", "write_protect")
"""Files of which it shows something."""


def say(name: str, seconds: float, **facts: float) -> None:
    print(json.dumps({"name": name, "seconds": seconds} | facts), flush=True)


def raw(name: str, action: Callable[[], object]) -> None:
    start = time.perf_counter()
    action()
    say(f"floor {name}", time.perf_counter() - start)


def run(name: str, words: list[str]) -> None:
    """Run a command and tell what it took. SystemExit with what it said if it fails."""
    start = time.perf_counter()
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{words}: status {process.returncode}\n{said.decode()[-2000:]}")
    seconds = time.perf_counter() - start
    say(name, seconds, cpu=used.ru_utime + used.ru_stime, peak=used.ru_maxrss)


def read_tree(directory: str, without: Collection[str], files: Collection[str] | None = None) -> None:
    """Read directories but those of some names, their links, and all files or those of some names."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_symlink():
                os.readlink(entry.path)  # noqa: PTH115 - as fast as it can be
            elif entry.is_dir(follow_symlinks=False):
                if entry.name not in without:
                    read_tree(entry.path, without, files)
            elif files is None or entry.name in files:
                read(entry.path)


def unbuild(mount: Path, luns: int) -> None:
    """Take down what configfs_walk.build has built, looking for nothing."""
    tpg = mount / "iscsi" / IQN / "tpgt_1"
    for name in INITIATORS:
        acl = tpg / "acls" / name
        for number in range(luns):
            mapped = acl / f"lun_{number}"
            (mapped / "link").unlink()
            mapped.rmdir()
        acl.rmdir()
    for number in range(luns):
        lun = tpg / "lun" / f"lun_{number}"
        (lun / "link").unlink()
        lun.rmdir()
        device = mount / "core" / f"rd_mcp_{number}" / f"r{number}"
        device.rmdir()
        device.parent.rmdir()
    tpg.rmdir()
    tpg.parent.rmdir()


def create_one() -> None:
    device = world.MOUNT / "core" / "rd_mcp_99999" / "one-more"
    device.parent.mkdir()
    device.mkdir()
    for name, value in (("control", "rd_pages=256"), ("enable", "1"), ("wwn/vpd_unit_serial", "one-more")):
        descriptor = os.open(device / name, os.O_WRONLY)
        os.write(descriptor, value.encode())
        os.close(descriptor)


def delete_one() -> None:
    for device in world.MOUNT.glob("core/rd_mcp_*/one-more"):
        device.rmdir()
        device.parent.rmdir()


def measure(luns: int, tools: dict[str, list[str]]) -> None:
    """`tools`: name -> the words that start it. The first one begins with what the floor has built, each
    other one with what the one before it has restored."""
    mount = world.MOUNT
    raw("restoreconfig", lambda: build(mount, luns, whole=True))
    raw("ls", lambda: read_tree(str(mount), UNLISTED, LISTED))
    raw("saveconfig", lambda: read_tree(str(mount), COUNTERS))
    raw("create one", create_one)
    delete_one()
    raw("clearconfig", lambda: unbuild(mount, luns))
    build(mount, luns, whole=True)
    for tool, words in tools.items():
        run(f"{tool} --version", [*words, "--version"])
        for name in ("ls", "create one"):
            run(f"{tool} {name}", [*words, *COMMANDS[name]])
        delete_one()
        for name in ("saveconfig", "clearconfig", "restoreconfig"):
            run(f"{tool} {name}", [*words, *COMMANDS[name]])
    world.clear()


def main() -> None:
    options = json.loads(sys.stdin.read())
    world.load()
    Path("/run/dbus").mkdir(exist_ok=True)
    bus = subprocess.Popen(["dbus-daemon", "--system", "--nopidfile", "--nofork"])
    try:
        while not Path("/run/dbus/system_bus_socket").is_socket():
            time.sleep(0.1)
        for words in options["tools"].values():
            # The first time, its modules are read from the host: half of what a command takes.
            for name in ("ls", "saveconfig"):
                subprocess.run([*words, *COMMANDS[name]], stdout=subprocess.DEVNULL, check=True)
        for luns in options["luns"]:
            say("luns", luns)
            measure(luns, options["tools"] if luns <= options["most"] else options["ours"])
    finally:
        bus.terminate()
        bus.wait()


if __name__ == "__main__":
    main()
