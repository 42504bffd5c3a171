"""READ, WRITE, VERIFY and their kin, in all lengths."""

from __future__ import annotations

import errno
from random import Random
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isadmin.userspace.scsi import block, dispatch
from isadmin.userspace.storage.base import FailedAt
from isadmin.userspace.storage.ramdisk import RamStorage
from tests.userspace.scsi.bench import BLOCK, BLOCKS, Bench, Initiator, bench, finish

READS = {6: 0x08, 10: 0x28, 12: 0xA8, 16: 0x88}
WRITES = {6: 0x0A, 10: 0x2A, 12: 0xAA, 16: 0x8A}
VERIFIES = {10: 0x2F, 12: 0xAF, 16: 0x8F}
WRITES_AND_VERIFIES = {10: 0x2E, 12: 0xAE, 16: 0x8E}


def cdb(opcode: int, lba: int, blocks: int, flags: int = 0) -> bytes:
    """A CDB with an LBA and a transfer length, its length by the operation code's group."""
    match opcode >> 5:
        case 0:
            return bytes((opcode, lba >> 16, lba >> 8 & 0xFF, lba & 0xFF, blocks & 0xFF, 0))
        case 4:
            return bytes((opcode, flags)) + lba.to_bytes(8, "big") + blocks.to_bytes(4, "big") + bytes(2)
        case 5:
            return bytes((opcode, flags)) + lba.to_bytes(4, "big") + blocks.to_bytes(4, "big") + bytes(2)
    return bytes((opcode, flags)) + lba.to_bytes(4, "big") + b"\0" + blocks.to_bytes(2, "big") + b"\0"


class FailingStorage(RamStorage):
    """Memory that fails: a read, a write or a flush ends with this errno."""

    __slots__ = ("flushed", "on_flush", "on_read", "on_write")

    def __init__(self, size: int = BLOCKS * BLOCK) -> None:
        super().__init__(size)
        self.on_read = self.on_write = self.on_flush = 0
        self.flushed = 0

    def read(self, offset: int, length: int) -> bytes:
        if self.on_read:
            raise OSError(self.on_read, "read")
        return super().read(offset, length)

    def write(self, offset: int, data: bytes | bytearray | memoryview, *, sync: bool = False) -> None:
        if self.on_write:
            raise OSError(self.on_write, "write")
        super().write(offset, data)
        if sync:
            self.flush()

    def flush(self) -> None:
        if self.on_flush:
            raise FailedAt(OSError(self.on_flush, "flush"), None)
        self.flushed += 1


@pytest.fixture
def world() -> Bench:
    return bench()


@pytest.fixture
def disk(world: Bench) -> Initiator:
    return world.initiator()


def test_read_capacity(disk: Initiator) -> None:
    assert disk.send("25 00 00 00 00 00 00 00 00 00").good().hex() == "000007ff00000200"
    assert disk.send("9e 10" + "00" * 8 + "00000020 00 00").good().hex() == (
        "00000000000007ff" + "00000200" + "00" * 20
    )
    assert len(disk.send("9e 10" + "00" * 8 + "0000000c 00 00").good()) == 12


def test_read_capacity_refuses_an_lba(disk: Initiator) -> None:
    disk.send("25 00 00 00 00 01 00 00 00 00").refused(5, 0x2400)
    disk.send("9e 10 00 00 00 00 00 00 00 01 00000020 00 00").refused(5, 0x2400)
    disk.send("25 00 00 00 00 00 00 00 01 00").refused(5, 0x2400)


def test_read_capacity_tells_of_thin_provisioning() -> None:
    thin = bench(emulate_tpu=1, unmap_zeroes_data=1).initiator()
    assert thin.send("9e 10" + "00" * 8 + "00000020 00 00").good()[14:16].hex() == "c000"


def test_read_capacity_of_a_4k_unit() -> None:
    disk = bench(block_size=4096).initiator()
    assert disk.send("25 00 00 00 00 00 00 00 00 00").good().hex() == "000000ff00001000"


@pytest.mark.parametrize("length", READS)
def test_what_was_written_is_read(disk: Initiator, length: int) -> None:
    data = bytes(range(256)) * 6
    assert disk.send(cdb(WRITES[length], 5, 3), data).good() == b""
    assert disk.send(cdb(READS[length], 5, 3)).good() == data
    assert disk.send(cdb(READS[length], 4, 1)).good() == bytes(BLOCK)


def test_read_6_and_write_6_of_0_blocks_are_256(disk: Initiator) -> None:
    data = bytes([7]) * (256 * BLOCK)
    disk.send(cdb(0x0A, 0, 0), data).good()
    assert disk.send(cdb(0x08, 0, 0)).good() == data


@pytest.mark.parametrize("length", [10, 12, 16])
def test_0_blocks_move_nothing(disk: Initiator, length: int) -> None:
    assert disk.send(cdb(READS[length], 0, 0)).good() == b""
    assert disk.send(cdb(WRITES[length], BLOCKS, 0)).good() == b""


@pytest.mark.parametrize("opcode", [*READS.values(), *WRITES.values(), *VERIFIES.values()])
@pytest.mark.parametrize(("lba", "blocks"), [(BLOCKS, 1), (BLOCKS - 1, 2), (BLOCKS + 1, 1)])
def test_beyond_the_end(disk: Initiator, opcode: int, lba: int, blocks: int) -> None:
    disk.send(cdb(opcode, lba, blocks), bytes(blocks * BLOCK)).refused(5, 0x2100)


@pytest.mark.parametrize("length", [10, 12, 16])
def test_0_blocks_far_beyond_the_end(disk: Initiator, length: int) -> None:
    disk.send(cdb(READS[length], BLOCKS + 1, 0)).refused(5, 0x2100)


def test_a_transfer_longer_than_the_limit() -> None:
    disk = bench(RamStorage(16 << 20)).initiator()
    assert disk.send(cdb(0x88, 0, 16385)).refused(5, 0x2400)[15:18].hex() == "c0000a"
    assert len(disk.send(cdb(0x88, 0, 16384)).good()) == 8 << 20


@pytest.mark.parametrize("opcode", [0x28, 0xA8, 0x88, 0x2A, 0xAA, 0x8A, 0x2F, 0x2E, 0x8E])
@pytest.mark.parametrize("protect", [0x20, 0x80, 0xE0])
def test_protection_is_refused(disk: Initiator, opcode: int, protect: int) -> None:
    disk.send(cdb(opcode, 0, 1, protect), bytes(BLOCK)).refused(5, 0x2400)


@pytest.mark.parametrize("opcode", [0x28, 0xA8, 0x88, 0x2A, 0xAA, 0x8A, 0x8B, 0x89, 0x9C])
@pytest.mark.parametrize("flags", [0x10, 0x08, 0x18])
def test_dpo_and_fua_are_refused_where_mode_sense_denies_them(opcode: int, flags: int) -> None:
    disk = bench(emulate_write_cache=0).initiator()
    disk.send(cdb(opcode, 0, 1, flags), bytes(BLOCK)).refused(5, 0x2400)
    disk = bench(emulate_fua_write=0).initiator()
    disk.send(cdb(opcode, 0, 1, flags), bytes(BLOCK)).refused(5, 0x2400)


def test_fua_and_synchronize_cache_flush() -> None:
    storage = FailingStorage()
    disk = bench(storage).initiator()
    disk.send(cdb(0x2A, 0, 1), bytes(BLOCK)).good()
    assert storage.flushed == 0
    disk.send(cdb(0x2A, 0, 1, 0x08), bytes(BLOCK)).good()
    assert storage.flushed == 1
    disk.send(cdb(0x28, 0, 1, 0x08)).good()
    assert storage.flushed == 2
    disk.send("35 00 00 00 00 00 00 00 00 00").good()
    assert storage.flushed == 3
    disk.send("91 02" + "00" * 14).good()
    assert storage.flushed == 4
    disk.send(cdb(0x35, BLOCKS, 1)).refused(5, 0x2100)


@pytest.mark.parametrize(
    ("code", "key", "asc"),
    [
        (errno.EIO, 3, 0x0C00),
        (errno.ENODATA, 3, 0x0C00),
        (errno.ENOSPC, 7, 0x2707),
        (errno.EDQUOT, 7, 0x2707),
        (errno.EROFS, 7, 0x2700),
        (errno.ENXIO, 4, 0x4400),
        (errno.ENOMEM, 4, 0x4400),
    ],
)
def test_errors_of_writing_become_sense(code: int, key: int, asc: int) -> None:
    storage = FailingStorage()
    disk = bench(storage).initiator()
    storage.on_write = code
    sense = disk.send(cdb(0x2A, 9, 1), bytes(BLOCK)).refused(key, asc)
    if key == 3:
        assert sense[3:7].hex() == "00000009"


def test_errors_of_reading_and_flushing_become_sense() -> None:
    storage = FailingStorage()
    disk = bench(storage).initiator()
    storage.on_read = errno.EIO
    disk.send(cdb(0x28, 0, 1)).refused(3, 0x1100)
    storage.on_flush = errno.EIO
    disk.send("35 00 00 00 00 00 00 00 00 00").refused(3, 0x0C00)
    disk.send(cdb(0x2A, 0, 1, 0x08), bytes(BLOCK)).refused(3, 0x0C00)


def test_fewer_bytes_than_the_cdb_means(disk: Initiator) -> None:
    disk.send(cdb(0x2A, 0, 2), b"a" * 2 * BLOCK).good()
    disk.send(cdb(0x2A, 0, 2), b"b" * BLOCK).good()
    assert disk.send(cdb(0x28, 0, 2)).good() == b"b" * BLOCK + b"a" * BLOCK
    disk.send(cdb(0x2A, 0, 2), b"c" * 200).refused(5, 0x0E03)
    assert disk.send(cdb(0x28, 0, 1)).good() == b"b" * BLOCK
    disk.send(cdb(0x2A, 0, 1)).good()


@pytest.mark.parametrize("opcode", VERIFIES.values())
def test_verify(disk: Initiator, opcode: int) -> None:
    data = bytes(range(256)) * 4
    disk.send(cdb(0x2A, 0, 2), data).good()
    disk.send(cdb(opcode, 0, 2)).good()
    disk.send(cdb(opcode, 0, 2, 0x02), data).good()
    wrong = bytearray(data)
    wrong[700] ^= 1
    assert disk.send(cdb(opcode, 0, 2, 0x02), wrong).refused(0x0E, 0x1D00)[:7].hex() == "f0000e000002bc"
    disk.send(cdb(opcode, 0, 2, 0x04)).refused(5, 0x2400)
    disk.send(cdb(opcode, 0, 0, 0x02)).good()


@pytest.mark.parametrize("opcode", VERIFIES.values())
def test_verify_every_block_against_one(disk: Initiator, opcode: int) -> None:
    disk.send(cdb(0x2A, 0, 2), b"x" * 2 * BLOCK).good()
    disk.send(cdb(opcode, 0, 2, 0x06), b"x" * BLOCK).good()
    disk.send(cdb(opcode, 0, 3, 0x06), b"x" * BLOCK).refused(0x0E, 0x1D00)


@pytest.mark.parametrize("opcode", WRITES_AND_VERIFIES.values())
def test_write_and_verify(opcode: int) -> None:
    storage = FailingStorage()
    disk = bench(storage).initiator()
    for flags in (0x00, 0x02, 0x10):
        disk.send(cdb(opcode, 3, 1, flags), bytes([flags]) * BLOCK).good()
        assert disk.send(cdb(0x28, 3, 1)).good() == bytes([flags]) * BLOCK
    assert storage.flushed == 3
    disk.send(cdb(opcode, 3, 1, 0x04), bytes(BLOCK)).refused(5, 0x2400)


@pytest.mark.parametrize(
    ("offset", "information"),
    [(5 * BLOCK, "f0000300000005"), (None, "70000300000000")],
)
def test_a_medium_error_tells_the_block_that_failed(offset: int | None, information: str) -> None:
    """Where the storage knows it; an error of a flush belongs to no block."""
    storage = Mock(wraps=RamStorage(BLOCKS * BLOCK), facts=RamStorage.facts, read_only=False, blocking=False)
    storage.size = BLOCKS * BLOCK
    storage.read.side_effect = storage.write.side_effect = FailedAt(OSError(errno.EIO, "bad"), offset)
    disk = bench(storage).initiator()
    assert disk.send(cdb(0x28, 2, 8)).refused(3, 0x1100)[:7].hex() == information
    assert disk.send(cdb(0x2A, 2, 8), bytes(8 * BLOCK)).refused(3, 0x0C00)[:7].hex() == information


def wrote(who: Initiator) -> None:
    who.send(cdb(0x2A, 0, 1), bytes(BLOCK)).good()
    who.path.counters.write_bytes += BLOCK  # which the transport counts


@pytest.mark.parametrize("told_by", [cdb(0x35, 0, 0), cdb(0x2A, 0, 1, 0x08)])
def test_a_failed_flush_is_told_once_to_all_that_have_written_since_their_last(told_by: bytes) -> None:
    """Linux tells of it once, to whoever flushes first."""
    storage = FailingStorage()
    world = bench(storage, emulate_fua_write=1, emulate_dpo=1)
    a, b, flushed, idle = (world.initiator(name) for name in "abcd")
    for who in (a, b, flushed):
        wrote(who)
    synchronize = cdb(0x35, 0, 0)
    flushed.send(synchronize).good()
    storage.on_flush = errno.EIO
    a.send(told_by, bytes(BLOCK)).refused(3, 0x0C00)
    storage.on_flush = 0
    wrote(b)
    b.send(synchronize).refused(3, 0x0C00)
    for who in (a, b, flushed, idle):
        who.send(synchronize).good()


def test_pre_fetch_of_more_than_is_fetched_is_only_good(
    disk: Initiator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block, "MAX_PREFETCH", 8 * BLOCK)
    assert disk.send(cdb(0x34, 0, 8)).status == 4
    disk.send(cdb(0x34, 0, 9)).good()


def test_pre_fetch(disk: Initiator) -> None:
    for command in (cdb(0x34, 0, 8), cdb(0x90, 0, 8), cdb(0x34, 0, 0), cdb(0x34, 0, 1, 0x02)):
        answer = disk.send(command)
        assert (answer.status, answer.data) == (4, b"")
    disk.send(cdb(0x34, BLOCKS, 1)).refused(5, 0x2100)
    disk.send(cdb(0x34, BLOCKS + 1, 0)).refused(5, 0x2100)
    disk.send(cdb(0x90, 1 << 63, 0)).refused(5, 0x2100)


def test_a_write_protected_path_reads_only(world: Bench) -> None:
    reader = world.initiator("ro", read_only=True)
    reader.send(cdb(0x2A, 0, 1), bytes(BLOCK)).refused(7, 0x2700)
    reader.send(cdb(0x0A, 0, 1), bytes(BLOCK)).refused(7, 0x2700)
    reader.send(cdb(0x28, 0, 1)).good()
    assert reader.path.plain
    assert reader.path.read_only


def test_the_capacity_is_looked_at_again(world: Bench, disk: Initiator) -> None:
    class Growing(RamStorage):
        __slots__ = ()

    other = world.initiator("b")
    world.unit.storage = Growing(2 * BLOCKS * BLOCK)
    assert disk.send("25 00 00 00 00 00 00 00 00 00").good().hex() == "00000fff00000200"
    assert not other.path.plain
    other.send(cdb(0x28, 0, 1)).refused(6, 0x2A09)
    disk.send(cdb(0x28, 0, 1)).refused(6, 0x2A09)
    disk.send(cdb(0x28, BLOCKS, 1)).good()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, BLOCKS - 1), st.integers(1, 64), st.integers())
def test_any_extent_reads_back(lba: int, blocks: int, seed: int) -> None:
    disk = bench().initiator()
    blocks = min(blocks, BLOCKS - lba)
    data = Random(seed).randbytes(blocks * BLOCK)
    disk.send(cdb(0x8A, lba, blocks), data).good()
    whole = disk.send(cdb(0x88, 0, BLOCKS)).good()
    assert whole[lba * BLOCK : (lba + blocks) * BLOCK] == data
    assert not any(whole[: lba * BLOCK])
    assert not any(whole[(lba + blocks) * BLOCK :])


def test_what_is_wrong_with_a_write_is_said_of_a_protected_unit_too(world: Bench) -> None:
    """Only what could be written is refused for the protection; sizes that do not fit are not looked at."""
    reader = world.initiator("reader", read_only=True)
    for opcode in (0x2A, 0xAA, 0x8A, 0x2E, 0x8B, 0x41, 0x93):
        reader.send(cdb(opcode, BLOCKS, 1), bytes(BLOCK)).refused(5, 0x2100)
        reader.send(cdb(opcode, 0, 1, flags=0xE0), bytes(BLOCK)).refused(5, 0x2400)
        command = dispatch.admit(reader.nexus, 0, cdb(opcode, 0, 1).ljust(16, b"\0"), BLOCK)
        finish(command).refused(7, 0x2700)
        assert command.data_out_length == 0
    reader.send(cdb(0x41, 0, 1), b"").refused(7, 0x2700)
    reader.send("48 1f 00 00 00 00 00 0000 00").refused(7, 0x2700)
    reader.send("48 1f 00 00 00 00 00 0001 00", b"x").refused(5, 0x2400)
