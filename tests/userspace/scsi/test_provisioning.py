"""WRITE SAME, UNMAP, GET LBA STATUS, SANITIZE, READ DEFECT DATA."""

from __future__ import annotations

import errno
import struct
from pathlib import Path
from unittest.mock import Mock

import pytest

from isadmin.userspace.scsi import dispatch, provisioning, sanitize
from isadmin.userspace.scsi.command import Command
from isadmin.userspace.storage.file import open_file
from isadmin.userspace.storage.ramdisk import RamStorage
from tests.userspace.scsi.bench import BLOCK, BLOCKS, Bench, Initiator, bench, finish
from tests.userspace.scsi.test_block import cdb

THIN = {"emulate_tpu": 1, "emulate_tpws": 1}


@pytest.fixture
def world() -> Bench:
    return bench(**THIN)


@pytest.fixture
def disk(world: Bench) -> Initiator:
    initiator = world.initiator()
    initiator.send(cdb(0x88 + 2, 0, BLOCKS), b"o" * BLOCKS * BLOCK).good()
    return initiator


@pytest.fixture
def file_world(tmp_path: Path) -> Bench:
    """A thin unit on a sparse file of 1 MiB."""
    path = tmp_path / "disk"
    storage = open_file({"fd_dev_name": str(path), "fd_dev_size": str(BLOCKS * BLOCK), "fd_buffered_io": "1"})
    return bench(storage, **THIN)


@pytest.mark.parametrize("opcode", [0x41, 0x93])
@pytest.mark.parametrize("pattern", [b"p", b"\0"])
@pytest.mark.parametrize("flags", [0x00, 0x08])
def test_write_same(disk: Initiator, opcode: int, pattern: bytes, flags: int) -> None:
    disk.send(cdb(opcode, 10, 20, flags), pattern * BLOCK).good()
    assert disk.send(cdb(0x28, 9, 22)).good() == b"o" * BLOCK + pattern * 20 * BLOCK + b"o" * BLOCK


def test_write_same_without_data(disk: Initiator) -> None:
    disk.send(cdb(0x93, 10, 20, 0x01)).good()
    assert disk.send(cdb(0x28, 10, 20)).good() == bytes(20 * BLOCK)
    disk.send(cdb(0x41, 10, 20, 0x01)).refused(5, 0x2400)


def test_write_same_of_0_blocks_goes_to_the_end(disk: Initiator) -> None:
    disk.send(cdb(0x41, BLOCKS - 3, 0), b"e" * BLOCK).good()
    assert disk.send(cdb(0x28, BLOCKS - 4, 4)).good() == b"o" * BLOCK + b"e" * 3 * BLOCK
    disk.send(cdb(0x93, BLOCKS + 1, 0), bytes(BLOCK)).refused(5, 0x2100)


def test_write_same_limits() -> None:
    disk = bench(max_write_same_len=8).initiator()
    disk.send(cdb(0x41, 0, 8), bytes(BLOCK)).good()
    disk.send(cdb(0x41, 0, 9), bytes(BLOCK)).refused(5, 0x2400)
    disk.send(cdb(0x41, 0, 0), bytes(BLOCK)).refused(5, 0x2400)
    bench(max_write_same_len=0).initiator().send(cdb(0x41, 0, 1), bytes(BLOCK)).refused(5, 0x2000)


@pytest.mark.parametrize("flags", [0x10, 0x18, 0x02, 0x04, 0x20])
def test_write_same_flags_that_are_refused(disk: Initiator, flags: int) -> None:
    disk.send(cdb(0x93, 0, 1, flags), bytes(BLOCK)).refused(5, 0x2400)


def test_write_same_with_unmap_needs_tpws() -> None:
    bench().initiator().send(cdb(0x41, 0, 1, 0x08), bytes(BLOCK)).refused(5, 0x2400)


@pytest.mark.parametrize("size", [0, BLOCK // 2, 2 * BLOCK])
def test_write_same_wants_one_block(disk: Initiator, size: int) -> None:
    disk.send(cdb(0x41, 0, 1), bytes(size)).refused(5, 0x2400)


def unmap_list(*extents: tuple[int, int]) -> bytes:
    body = b"".join(struct.pack(">QI4x", *extent) for extent in extents)
    return struct.pack(">HH4x", len(body) + 6, len(body)) + body


def test_unmap(disk: Initiator) -> None:
    disk.send("42 00 00 00 00 00 00 0018 00", unmap_list((4, 8))).good()
    assert disk.send(cdb(0x28, 3, 10)).good() == b"o" * BLOCK + bytes(8 * BLOCK) + b"o" * BLOCK


@pytest.mark.parametrize(
    ("data", "asc"),
    [
        (unmap_list((0, 1), (5, 1)), 0x2600),
        (unmap_list((0, BLOCKS + 1)), 0x2100),
        (unmap_list((BLOCKS + 1, 0)), 0x2100),
        (bytes(7), 0x1A00),
    ],
)
def test_unmap_that_is_refused_unmaps_nothing(disk: Initiator, data: bytes, asc: int) -> None:
    disk.send(f"42 00 00 00 00 00 00 {len(data):04x} 00", data).refused(5, asc)
    assert disk.send(cdb(0x88, 0, BLOCKS)).good() == b"o" * BLOCKS * BLOCK


def test_unmap_of_nothing(disk: Initiator) -> None:
    disk.send("42 00 00 00 00 00 00 0000 00").good()
    disk.send("42 00 00 00 00 00 00 0008 00", unmap_list()).good()
    disk.send("42 00 00 00 00 00 00 0018 00", unmap_list((0, 0))).good()
    disk.send("42 01 00 00 00 00 00 0018 00", unmap_list((0, 1))).refused(5, 0x2400)


def test_unmap_limits() -> None:
    disk = bench(**THIN, max_unmap_lba_count=4, max_unmap_block_desc_count=2).initiator()
    disk.send("42 00 00 00 00 00 00 0028 00", unmap_list((0, 2), (4, 2))).good()
    disk.send("42 00 00 00 00 00 00 0028 00", unmap_list((0, 2), (4, 3))).refused(5, 0x2600)
    disk.send("42 00 00 00 00 00 00 0018 00", unmap_list((0, 5))).refused(5, 0x2600)


def test_unmap_needs_tpu() -> None:
    bench().initiator().send("42 00 00 00 00 00 00 0018 00", unmap_list((0, 1))).refused(5, 0x2000)


class Undiscarding(RamStorage):
    """Like a block device whose discarded blocks keep what they held."""

    __slots__ = ()
    discard_zeroes = False

    def discard(self, offset: int, length: int) -> None:
        pass


@pytest.mark.parametrize(("promised", "left"), [(1, b"\0"), (0, b"x")])
def test_unmapped_blocks_read_as_zeros_where_that_is_promised(promised: int, left: bytes) -> None:
    disk = bench(Undiscarding(1 << 20), **THIN, unmap_zeroes_data=promised).initiator()
    disk.send(cdb(0x2A, 0, 1), b"x" * BLOCK).good()
    disk.send("42 00 00 00 00 00 00 0018 00", unmap_list((0, 1))).good()
    assert disk.send(cdb(0x28, 0, 1)).good() == left * BLOCK


def status(disk: Initiator, lba: int, length: int = 24) -> bytes:
    return disk.send(b"\x9e\x12" + lba.to_bytes(8, "big") + length.to_bytes(4, "big") + bytes(2)).good()


def test_lba_status_of_a_thick_unit() -> None:
    disk = bench().initiator()
    assert status(disk, 5).hex() == "00000014" + "00000000" + "0000000000000005" + "000007fb" + "00000000"
    disk.send("9e 12 00 00 00 00 00 00 08 00 00 00 00 18 00 00").refused(5, 0x2100)


def test_lba_status_of_a_file_with_holes(file_world: Bench) -> None:
    disk = file_world.initiator()
    assert status(disk, 0).hex() == "00000014" + "00000000" + "0000000000000000" + "00000800" + "01000000"
    disk.send(cdb(0x2A, 8, 8), b"d" * 8 * BLOCK).good()
    extents = status(disk, 0, 8 + 3 * 16)[8:]
    assert [struct.unpack_from(">QIB", extents, 16 * i) for i in range(3)] == [
        (0, 8, 1),
        (8, 8, 0),
        (16, BLOCKS - 16, 1),
    ]
    disk.send("42 00 00 00 00 00 00 0018 00", unmap_list((8, 8))).good()
    assert status(disk, 8)[20] == 1


@pytest.mark.parametrize("same", ["93 01" + "00" * 8 + "00000010 00 00", "41 00 00000000 00 0010 00"])
def test_what_was_written_as_zeros_is_mapped(file_world: Bench, same: str) -> None:
    """WRITE SAME without UNMAP writes; with it, the blocks are given back."""
    disk = file_world.initiator()
    disk.send(cdb(0x2A, 0, 32), b"d" * 32 * BLOCK).good()
    file_world.unit.storage.flush()
    disk.send(same, bytes(BLOCK)).good()
    mapped = "00000000" + "0000000000000000" + "00000020" + "00000000"
    assert status(disk, 0).hex() == "00000014" + mapped
    disk.send("93 08" + "00" * 8 + "00000010 00 00", bytes(BLOCK)).good()
    assert status(disk, 0)[20] == 1


class Patchwork(RamStorage):
    """Every block is told of by itself; with holes: every other one is one."""

    __slots__ = ("holes",)
    tells_holes = True

    def __init__(self, size: int, *, holes: bool) -> None:
        super().__init__(size)
        self.holes = holes

    def extent(self, offset: int) -> tuple[bool, int]:
        lba = offset // BLOCK
        return not (self.holes and lba % 2), (lba + 1) * BLOCK


def test_lba_status_in_parts() -> None:
    whole = bench(Patchwork(BLOCKS * BLOCK, holes=False), **THIN).initiator()
    assert status(whole, 0, 1024).hex() == "00000014" + "0" * 8 + "0" * 16 + "00000800" + "00000000"
    patches = bench(Patchwork(BLOCKS * BLOCK, holes=True), **THIN).initiator()
    data = status(patches, 0, 1024)
    assert [data[i + 12] for i in range(8, len(data) - 15, 16)] == [0, 1] * 31 + [0]


def test_lba_status_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provisioning, "MAX_STATUS", 256)
    patches = bench(Patchwork(BLOCKS * BLOCK, holes=True), **THIN).initiator()
    assert len(status(patches, 0, 0xFFFFFFFF)) == 8 + 15 * 16


def test_sanitize_block_erase_of_a_file(file_world: Bench) -> None:
    disk = file_world.initiator()
    assert disk.send("12 01 b1 00 08 00").good()[7] == 0x40
    disk.send(cdb(0x8A, 0, BLOCKS), b"d" * BLOCKS * BLOCK).good()
    disk.send("48 02 00 00 00 00 00 0000 00").good()
    assert status(disk, 0).hex() == "00000014" + "00000000" + "0000000000000000" + "00000800" + "01000000"
    assert disk.send(cdb(0x28, 0, 1)).good() == bytes(BLOCK)


def test_sanitize_overwrite(disk: Initiator, world: Bench) -> None:
    pattern = bytes([0x01, 0, 2, 0]) + b"z" * BLOCK
    disk.send("48 01 00 00 00 00 00 0204 00", pattern).good()
    assert disk.send(cdb(0x88, 0, BLOCKS)).good() == b"z" * BLOCKS * BLOCK
    disk.send("48 01 00 00 00 00 00 0007 00", bytes([0x82, 0, 0, 3]) + b"\x0f\xf0\x3c").good()
    assert disk.send(cdb(0x28, 0, 1)).good() == (b"\x0f\xf0\x3c" * 171)[:BLOCK]


def test_a_unit_answers_little_while_it_is_sanitized(disk: Initiator, world: Bench) -> None:
    command = dispatch.admit(disk.nexus, 0, bytes.fromhex("48810000000000000500"), 5)
    assert command.exclusive
    assert command.data_out_length == 5
    command.data_out = bytes([0x01, 0, 0, 1, 0])
    assert world.unit.gate.enter(command)
    dispatch.perform(command)
    assert command.early
    assert not command.done
    disk.send("00 00 00 00 00 00").refused(2, 0x041B)
    disk.send(cdb(0x28, 0, 1)).refused(2, 0x041B)
    disk.send("1b 00 00 00 01 00").refused(2, 0x041B)
    disk.send("12 00 00 00 24 00").good()
    assert disk.send("03 00 00 00 12 00").good()[2] == 2
    finish(command).good()
    assert world.unit.gate.leave(command) == []
    assert disk.path.plain
    assert disk.send(cdb(0x28, 0, 1)).good() == bytes(BLOCK)


class Worn(RamStorage):
    """Fails to write beyond half of itself, while `worn`; notes writes (by their first byte) and flushes."""

    __slots__ = ("seen", "worn")

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.worn = True
        self.seen = b""

    def write(self, offset: int, data: bytes | bytearray | memoryview, *, sync: bool = False) -> None:
        if self.worn and offset >= self.size // 2:
            raise OSError(errno.ENOSPC, "worn")
        self.seen += bytes(data[:1])
        super().write(offset, data, sync=sync)

    def flush(self) -> None:
        self.seen += b"|"


@pytest.fixture
def worn(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(sanitize, "CHUNK", 1 << 18)
    return bench(Worn(BLOCKS * BLOCK))


def overwrite(who: Initiator, flags: int = 0, count: int = 1) -> Command:
    """A SANITIZE, OVERWRITE that was admitted and has begun."""
    command = dispatch.admit(who.nexus, 0, bytes((0x48, 1 | flags, 0, 0, 0, 0, 0, 0, 5, 0)), 5)
    if not command.done:
        command.data_out = bytes([0x80 | count, 0, 0, 1, 0x0F])
        dispatch.perform(command)
    return command


@pytest.mark.parametrize("immediate", [0, 0x80])
def test_a_failed_sanitize_keeps_the_medium_closed_and_says_so(worn: Bench, immediate: int) -> None:
    disk, other = worn.initiator("a"), worn.initiator("b")
    command = overwrite(disk, immediate)
    assert command.early == bool(immediate)
    finish(command).refused(3, 0x3103)
    for who in (disk, other):
        for needs_medium in ("00" * 6, cdb(0x28, 0, 1), cdb(0x2A, 0, 1), cdb(0x35, 0, 1)):
            who.send(needs_medium, bytes(BLOCK)).refused(3, 0x3103)
        assert not who.path.plain
        sense = who.send("03 00 00 00 12 00").good()
        assert (sense[2], sense[12:14].hex()) == (3, "3103")
        for other_command in ("12 00 00 00 24 00", "1a 00 08 00 ff 00", "a0" + "00" * 5 + "00000100 00 00"):
            who.send(other_command).good()


def test_the_only_way_out_of_a_restricted_failure_is_a_success(worn: Bench) -> None:
    disk = worn.initiator()
    finish(overwrite(disk)).refused(3, 0x3103)
    disk.send("48 1f 00 00 00 00 00 0000 00").refused(5, 0x2400)
    finish(overwrite(disk, flags=0x20)).refused(5, 0x2400)
    finish(overwrite(disk)).refused(3, 0x3103)
    worn.unit.reset()
    disk.send(cdb(0x28, 0, 1)).refused(6, 0x2903)
    disk.send(cdb(0x28, 0, 1)).refused(3, 0x3103)
    worn.unit.storage.worn = False  # type: ignore[attr-defined]
    finish(overwrite(disk)).good()
    assert disk.send(cdb(0x28, BLOCKS - 1, 1)).good() == b"\x0f" * BLOCK
    assert disk.path.plain
    disk.send("48 1f 00 00 00 00 00 0000 00").good()


def test_an_unrestricted_failure_can_be_left(worn: Bench) -> None:
    disk = worn.initiator()
    finish(overwrite(disk, flags=0x20)).refused(3, 0x3103)
    disk.send(cdb(0x28, 0, 1)).refused(3, 0x3103)
    disk.send("48 1f 00 00 00 00 00 0000 00").good()
    disk.send(cdb(0x28, 0, 1)).good()
    assert disk.path.plain


def test_progress_is_told(worn: Bench) -> None:
    disk = worn.initiator()
    command = overwrite(disk, flags=0x80, count=2)
    told = []

    def write(offset: int, data: object, *, sync: bool = False) -> None:
        told.append(disk.send(cdb(0x28, 0, 1)).refused(2, 0x041B)[15:18].hex())
        told.append(disk.send("03 00 00 00 12 00").good()[15:18].hex())

    storage = Mock(wraps=worn.unit.storage)
    storage.write = write
    storage.blocking = False
    worn.unit.storage = storage
    finish(command).good()
    # Four pieces in each of two passes.
    assert told[::2] == told[1::2]
    assert told[::2] == [f"80{step:x}000" for step in range(0, 16, 2)]


def test_every_pass_of_an_overwrite_reaches_the_medium(worn: Bench) -> None:
    storage = worn.unit.storage
    assert isinstance(storage, Worn)
    storage.worn = False
    finish(overwrite(worn.initiator(), count=3)).good()
    first, second, third, last = storage.seen.split(b"|")[:4]
    assert (first, second, third, last) == (b"\x0f" * 4, b"\xf0" * 4, b"\x0f" * 4, b"")


def test_sanitize_that_is_refused(disk: Initiator) -> None:
    for data in (
        b"\x00\x00\x02\x00" + bytes(BLOCK),
        b"\x01\x00\x00\x00" + bytes(BLOCK),
        b"\x01\x00\x02\x04" + bytes(BLOCK),
    ):
        disk.send("48 01 00 00 00 00 00 0204 00", data).refused(5, 0x2400)
    for length in ("0000", "0004", "0205"):
        disk.send(f"48 01 00 00 00 00 00 {length} 00", bytes(600)).refused(5, 0x2400)
    disk.send("48 02 00 00 00 00 00 0008 00", bytes(8)).refused(5, 0x2400)
    disk.send("48 1f 00 00 00 00 00 0008 00", bytes(8)).refused(5, 0x2400)
    disk.send("48 03 00 00 00 00 00 0000 00").refused(5, 0x2400)
    disk.send("48 1f 00 00 00 00 00 0000 00").good()
    bench().initiator().send("48 02 00 00 00 00 00 0000 00").refused(5, 0x2400)


def test_read_defect_data(disk: Initiator) -> None:
    assert disk.send("37 00 1d 00 00 00 00 00 ff 00").good().hex() == "001d0000"
    assert disk.send("b7 1d 00 00 00 00 00 00 00 ff 00 00").good().hex() == "001d000000000000"
