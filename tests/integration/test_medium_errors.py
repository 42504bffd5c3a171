"""What the medium refuses reaches the initiator as sense data, and never as GOOD: errors given to the
daemon's own system calls, and a file system that is really full."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.initiator import Initiator, Reply
from tests.integration.sandbox import Userspace
from tests.integration.test_load import QemuIo, name
from tests.integration.tracing import strace

TARGET = "iqn.2003-01.org.linux-iscsi.test:many"
SIZE = 4 << 20
BLOCK = b"\x5a" * 512
MEDIUM_ERROR, DATA_PROTECT = 0x3, 0x7
WRITE_ERROR, UNRECOVERED_READ_ERROR, SPACE_ALLOCATION_FAILED = 0x0C00, 0x1100, 0x2707
SYNCS, WRITES, READS = "fdatasync,fsync", "pwrite64,pwritev,pwritev2", "pread64,preadv,preadv2"
LUNS = {"write-back": 0, "write-through": 1, "full": 2}


def failing(pid: int, calls: str, error: str) -> AbstractContextManager[None]:
    """These system calls of the daemon fail."""
    return strace(pid, "-e", f"trace={calls}", "-e", f"inject={calls}:error={error}", "-o", "/dev/null")


@pytest.fixture(scope="module")
def full_disk(module_tmp: Path) -> Iterator[Path]:
    """A file system with room for a few blocks."""
    mount = module_tmp / "full"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mount)], check=True)
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=False)


@pytest.fixture(scope="module")
def served(module_userspace: Userspace, module_tmp: Path, full_disk: Path) -> Userspace:
    tpg = f"/iscsi/{TARGET}/tpg1"
    places = {"write-back": module_tmp, "write-through": module_tmp, "full": full_disk}
    lines = [f"/iscsi create {TARGET}"]
    for kind, place in places.items():
        write_back = "false" if kind == "write-through" else "true"
        lines += [
            f"/backstores/fileio create {kind} {place}/{kind}.img {SIZE} write_back={write_back}",
            f"/backstores/fileio/{kind} set attribute emulate_tpu=1 emulate_tpws=1",
            f"{tpg}/luns create /backstores/fileio/{kind}",
        ]
    lines += [f"{tpg}/acls create {name(0)}"]
    done = module_userspace.isadmin(typed="\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr
    return module_userspace


@pytest.fixture
def initiator(served: Userspace) -> Iterator[Initiator]:
    with Initiator(("127.0.0.1", 3260), target=TARGET, name=name(0), timeout=60) as session:
        for lun in LUNS.values():
            session.ready(lun)
        yield session


def write(opcode: int, flags: int, blocks: int = 1) -> bytes:
    return struct.pack(">BBQIBB", opcode, flags, 8, blocks, 0, 0)


FUA = 0x08
COMPARE_AND_WRITE = struct.pack(">BBQ3xBxx", 0x89, 0, 8, 1)
UNMAP = struct.pack(">BB5xHx", 0x42, 0, 24)
UNMAP_LIST = struct.pack(">HHxxxxQIxxxx", 22, 16, 8, 8)
SYNCED: dict[str, tuple[int, bytes, bytes]] = {
    "WRITE with FUA": (0, write(0x8A, FUA), BLOCK),
    "WRITE AND VERIFY": (0, write(0x8E, 0), BLOCK),
    "WRITE ATOMIC with FUA": (0, write(0x9C, FUA), BLOCK),
    "ORWRITE with FUA": (0, write(0x8B, FUA), BLOCK),
    "SYNCHRONIZE CACHE (10)": (0, bytes((0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0)), b""),
    "SYNCHRONIZE CACHE (16)": (0, write(0x91, 0, 0), b""),
    "START STOP UNIT, stop": (0, bytes((0x1B, 0, 0, 0, 0, 0)), b""),
    "WRITE, write-through": (1, write(0x8A, 0), BLOCK),
    "WRITE SAME, write-through": (1, write(0x93, 0, 8), BLOCK),
    "WRITE SAME with UNMAP, write-through": (1, write(0x93, FUA, 8), bytes(512)),
    "UNMAP, write-through": (1, UNMAP, UNMAP_LIST),
    "WRITE AND VERIFY, write-through": (1, write(0x8E, 0), BLOCK),
    "WRITE ATOMIC, write-through": (1, write(0x9C, 0), BLOCK),
    "ORWRITE, write-through": (1, write(0x8B, 0), BLOCK),
    "COMPARE AND WRITE, write-through": (1, COMPARE_AND_WRITE, BLOCK * 2),
}
"""Commands that are answered once the data is on the medium: LUN, CDB, data."""


def every(initiator: Initiator, done: Callable[[str, Reply], None]) -> None:
    assert initiator.write(8, BLOCK * 8, lun=1).status == 0, "what COMPARE AND WRITE compares"
    for what, (lun, cdb, data) in SYNCED.items():
        done(what, initiator.cmd(cdb, lun=lun, data_out=data))


def test_data_that_cannot_be_made_durable_is_not_acknowledged(
    served: Userspace, initiator: Initiator
) -> None:
    def good(what: str, reply: Reply) -> None:
        assert reply.status == 0, (what, reply)
        if "stop" in what:
            assert initiator.cmd(bytes((0x1B, 0, 0, 0, 1, 0))).status == 0

    def failed(what: str, reply: Reply) -> None:
        assert (reply.status, reply.key, hex(reply.asc)) == (2, MEDIUM_ERROR, hex(WRITE_ERROR)), (what, reply)

    every(initiator, good)
    assert initiator.write(8, BLOCK * 8, lun=1).status == 0
    with failing(served.pid, SYNCS, "EIO"):
        for what, (lun, cdb, data) in SYNCED.items():
            failed(what, initiator.cmd(cdb, lun=lun, data_out=BLOCK * 2 if cdb[0] == 0x89 else data))
        assert initiator.write(8, BLOCK).status == 0, "which nobody has promised to be durable yet"
    every(initiator, good)


def test_a_stock_initiator_hears_of_it(served: Userspace) -> None:
    client = QemuIo(0)
    try:
        assert "wrote" in client.do("write -P 1 0 4096")
        with failing(served.pid, SYNCS, "EIO"):
            assert "failed" in client.do("write -f -P 2 0 4096")
            assert "failed" in client.do("flush")
        assert "failed" not in client.do("flush")
    finally:
        client.close()


def test_writes_and_reads_that_fail(served: Userspace, initiator: Initiator) -> None:
    assert initiator.write(8, BLOCK).status == 0
    with failing(served.pid, WRITES, "EIO"):
        for lun in (0, 1):
            reply = initiator.write(8, BLOCK, lun=lun)
            assert (reply.status, reply.key, reply.asc) == (2, MEDIUM_ERROR, WRITE_ERROR)
    with failing(served.pid, READS, "EIO"):
        for lun in (0, 1):
            reply = initiator.read(8, 1, lun=lun)
            assert (reply.status, reply.key, reply.asc) == (2, MEDIUM_ERROR, UNRECOVERED_READ_ERROR)
    assert initiator.read(8, 1).data == BLOCK


def test_no_space_left(initiator: Initiator) -> None:
    """Thin provisioning's sense, until UNMAP gives room again; what was written before is still there."""
    lun = LUNS["full"]
    chunk = BLOCK * 16
    written = 0
    while (reply := initiator.write(written * 16, chunk, lun=lun)).status == 0:
        written += 1
        assert written < 64
    assert (reply.key, reply.asc) == (DATA_PROTECT, SPACE_ALLOCATION_FAILED)
    assert written > 2
    assert initiator.read(0, written * 16, lun=lun).data == chunk * written
    assert initiator.cmd(UNMAP, lun=lun, data_out=struct.pack(">HHxxxxQIxxxx", 22, 16, 0, 32)).status == 0
    assert initiator.write(4096, chunk, lun=lun).status == 0
