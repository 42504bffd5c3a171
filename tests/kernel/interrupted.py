"""Runs in a virtual machine until that loses its power: what was kept, then writes and changes that are told.

    python -m tests.kernel.interrupted FIRST [--new]

/dev/vda holds a file system with the userspace target's state and the files behind its LUNs, /dev/vdb is one
more LUN. On standard output, a JSON object a line: what is there after the boot (`found`, `saved`, `broken`),
then, without end, every write that an initiator has been told is durable (`lun`, `block`, `sequence`) and
every configuration that isadmin says is saved (`saved`). All sequence numbers are FIRST or more.
"""

from __future__ import annotations

import gzip
import importlib
import itertools
import json
import os
import random
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path
from typing import Any

from tests.initiator import Initiator
from tests.kernel import forks

DIRECTORY = Path("/mnt")
STATE, PREFERENCES, RUNTIME = DIRECTORY / "state", DIRECTORY / "config", Path("/run/isadmin")
LOG = Path("/run/daemon.log")
"""What the daemon says."""
ENVIRONMENT = {
    "ISADMIN_STATE_DIR": str(STATE),
    "ISADMIN_RUNTIME_DIR": str(RUNTIME),
    "XDG_CONFIG_HOME": str(PREFERENCES),
    "HOME": str(DIRECTORY),
}
TARGET = "iqn.2003-01.org.linux-iscsi.test:kept"
TPG = f"/iscsi/{TARGET}/tpg1"
ACL = f"{TPG}/acls/iqn.2003-01.org.linux-iscsi.test:other"
PORT = 3260
SECTOR, BLOCK, BLOCKS = 512, 4096, 64
FUA, FLUSHED, WRITE_THROUGH, DEVICE, PROMISED_NOTHING = range(5)
"""The LUNs, by what makes a write to them durable."""
NAMES = ("fua", "flushed", "through", "device", "nothing")
GROUP = 6
"""Writes between two flushes."""
CONFIGURE = f"""\
/backstores/fileio create fua {DIRECTORY}/fua.img
/backstores/fileio create flushed {DIRECTORY}/flushed.img
/backstores/fileio create through {DIRECTORY}/through.img write_back=false
/backstores/block create device /dev/vdb
/backstores/fileio create nothing {DIRECTORY}/nothing.img
/iscsi create {TARGET}
{TPG} set attribute generate_node_acls=1 demo_mode_write_protect=0 authentication=0
{TPG}/luns create /backstores/fileio/fua
{TPG}/luns create /backstores/fileio/flushed
{TPG}/luns create /backstores/fileio/through
{TPG}/luns create /backstores/block/device
{TPG}/luns create /backstores/fileio/nothing
{TPG}/acls create {ACL.rsplit("/", 1)[1]}
{ACL} set auth userid=0 password=a-long-enough-secret
saveconfig
"""

_saying = threading.Lock()


def say(**facts: Any) -> None:
    with _saying:
        print(json.dumps(facts), flush=True)


def sh(*words: str) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


class Isadmin:
    """isadmin's command line and daemon, forked from here: to start Python anew takes most of a boot."""

    def __init__(self) -> None:
        forks.warm()
        importlib.import_module(forks.DAEMON)
        from isadmin.cli import main

        self._main = main

    def fork(self, arguments: list[str], typed: str, output: Path) -> int:
        """Start `isadmin ARGUMENTS`; its process."""
        standard_input = Path("/run/typed")
        standard_input.write_text(typed)
        pid = os.fork()
        if pid == 0:
            os.setsid()
            files = [str(standard_input), str(output), str(output)]
            request = {"argv": arguments, "env": os.environ | ENVIRONMENT, "files": files}
            os._exit(forks.become(request, self._main))
        return pid

    def start(self) -> None:
        """The daemon, which restores what is saved."""
        pid = self.fork(["userspace", "start", "--foreground"], "", LOG)
        while '"running": true' not in self.run("userspace", "status", "--output", "json", may_fail=True):
            assert os.waitpid(pid, os.WNOHANG) == (0, 0), LOG.read_text()
            time.sleep(0.2)

    def run(self, *arguments: str, typed: str = "", may_fail: bool = False) -> str:
        """What a command prints; its status must be 0."""
        output = Path("/run/output")
        output.unlink(missing_ok=True)
        status = os.waitstatus_to_exitcode(os.waitpid(self.fork(list(arguments), typed, output), 0)[1])
        assert may_fail or status == 0, (arguments, status, output.read_text())
        return output.read_text()


def mount(*, new: bool) -> None:
    """Nothing reaches the medium by itself: only what is asked for, when it is asked for."""
    sh("modprobe", "-a", "virtio_blk", "ext4", "fuse")
    Path("/proc/sys/vm/dirty_writeback_centisecs").write_text("0")
    if new:
        sh("mkfs.ext4", "-q", "/dev/vda")
    sh("mount", "-t", "ext4", "-o", "noauto_da_alloc,commit=600", "/dev/vda", str(DIRECTORY))
    if new:
        for name in NAMES:
            (DIRECTORY / f"{name}.img").write_bytes(bytes(BLOCK * BLOCKS))
        sh("sync")


def content(block: int, sequence: int) -> bytes:
    """A block: its number and a sequence number, in every 16 bytes."""
    return (block.to_bytes(8, "big") + sequence.to_bytes(8, "big")) * (BLOCK // 16)


class Disk:
    """One LUN, through a session of its own."""

    def __init__(self, lun: int) -> None:
        self.lun = lun
        name = f"iqn.2003-01.org.linux-iscsi.test:{NAMES[lun]}"
        self._initiator = Initiator(("127.0.0.1", PORT), name=name, target=TARGET, timeout=300.0)
        while self.command(bytes(6)):
            """Unit attentions."""

    def command(self, cdb: bytes, data: bytes = b"") -> int:
        return self._initiator.cmd(cdb, lun=self.lun, data_out=data).status

    def write(self, block: int, sequence: int, *, fua: bool = False) -> None:
        address = (block * BLOCK // SECTOR).to_bytes(4, "big")
        cdb = bytes([0x2A, 0x08 * fua]) + address + bytes([0, 0, BLOCK // SECTOR, 0])
        assert self.command(cdb, content(block, sequence)) == 0

    def flush(self) -> None:
        assert self.command(bytes([0x35]) + bytes(9)) == 0

    def found(self) -> list[int]:
        """Of each block the lowest sequence number in it; -1 where there is something else."""
        cdb = bytes([0x28, 0, 0, 0, 0, 0, 0]) + (BLOCKS * BLOCK // SECTOR).to_bytes(2, "big") + b"\0"
        reply = self._initiator.cmd(cdb, lun=self.lun, expected_in=BLOCKS * BLOCK)
        assert reply.status == 0
        assert len(reply.data) == BLOCKS * BLOCK
        return [lowest(block, reply.data[block * BLOCK :][:BLOCK]) for block in range(BLOCKS)]


def lowest(block: int, data: bytes) -> int:
    """The lowest sequence number in a block's sectors, 0 for never written; -1 if a sector is not whole."""
    found = []
    for at in range(0, BLOCK, SECTOR):
        sector = data[at : at + SECTOR]
        sequence = int.from_bytes(sector[8:16], "big")
        whole = content(block if sequence else 0, sequence)[:SECTOR]
        found.append(sequence if sector == whole else -1)
    return min(found)


def write_for_ever(disk: Disk, numbers: itertools.count[int]) -> None:
    choose = random.Random()
    while True:
        group = {choose.randrange(BLOCKS): next(numbers) for _ in range(GROUP if disk.lun == FLUSHED else 1)}
        for block, sequence in group.items():
            disk.write(block, sequence, fua=disk.lun == FUA)
        if disk.lun in (FLUSHED, DEVICE):
            disk.flush()
        for block, sequence in group.items():
            say(lun=disk.lun, block=block, sequence=sequence)
        # A machine in software has to have time for isadmin's commands, too.
        time.sleep(0.5)


def number_in(document: Any) -> int:
    """The number that `configure_for_ever` gave a configuration."""
    (target,) = document["targets"]
    (acl,) = target["tpgs"][0]["node_acls"]
    assert len(target["tpgs"][0]["luns"]) == len(document["storage_objects"]) == len(NAMES)
    return int(acl["chap_userid"])


def configure_for_ever(isadmin: Isadmin, numbers: itertools.count[int]) -> None:
    """Apply a file, save what runs then, again and again."""
    file = Path("/run/wanted.json")
    document = json.loads((STATE / "saveconfig.json").read_text())
    for number in numbers:
        document["targets"][0]["tpgs"][0]["node_acls"][0]["chap_userid"] = str(number)
        file.write_text(json.dumps(document))
        isadmin.run("--userspace", "apply", str(file))
        isadmin.run("--userspace", typed=f"saveconfig\nset global prompt_length={number % 1000}\n")
        say(saved=number)


def content_of(path: Path) -> Any:
    """What a file that isadmin wrote says. OSError, ValueError or EOFError if it is damaged."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return tomllib.loads(content.decode()) if path.suffix == ".toml" else json.loads(content)


def not_whole() -> list[str]:
    """The files of isadmin's that are damaged. What it began to write lies beside them under another name."""
    broken = []
    for path in (*STATE.rglob("*"), *PREFERENCES.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            try:
                content_of(path)
            except (OSError, ValueError, EOFError) as error:
                broken.append(f"{path}: {path.stat().st_size} bytes: {error}")
    return broken


def main() -> None:
    first, new = int(sys.argv[1]), "--new" in sys.argv
    mount(new=new)
    broken = not_whole()
    isadmin = Isadmin()
    isadmin.start()
    if new:
        isadmin.run("--userspace", typed=CONFIGURE)
    elif "No difference" not in (said := isadmin.run("--userspace", "diff", may_fail=True)):
        broken.append(f"diff: {said}")
    disks = [Disk(lun) for lun in range(len(NAMES))]
    saved = number_in(content_of(STATE / "saveconfig.json"))
    kept = max(number_in(content_of(path)) for path in (STATE / "backup").iterdir() if path.suffix == ".gz")
    say(found={disk.lun: disk.found() for disk in disks}, saved=saved, kept=kept, broken=broken)
    numbers = itertools.count(first)
    for disk in disks:
        threading.Thread(target=write_for_ever, args=(disk, numbers), daemon=True).start()
    configure_for_ever(isadmin, numbers)


if __name__ == "__main__":
    try:
        main()
    finally:
        sys.stderr.write(LOG.read_text() if LOG.exists() else "")
