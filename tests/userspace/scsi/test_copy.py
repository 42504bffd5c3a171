"""EXTENDED COPY and RECEIVE COPY RESULTS."""

from __future__ import annotations

import errno
import struct

import pytest

from isadmin.userspace.scsi import dispatch
from isadmin.userspace.scsi.inquiry import naa
from isadmin.userspace.storage.ramdisk import RamStorage
from tests.userspace.scsi.bench import BLOCK, BLOCKS, SERIAL, Answer, Bench, Initiator, bench, finish
from tests.userspace.scsi.test_block import cdb

OTHER = "99999999-8888-7777-6666-555555555555"


def target(serial: str, *, kind: int = 0xE4, flags: int = 0) -> bytes:
    body = bytes((kind, flags, 0, 0, 1, 3, 0, 16)) + naa(0x001405, serial)
    return body.ljust(32, b"\0")


def segment(source: int, destination: int, blocks: int, source_lba: int, lba: int, flags: int = 0) -> bytes:
    return struct.pack(">BBHHHxxHQQ", 2, flags, 24, source, destination, blocks, source_lba, lba)


def parameters(targets: list[bytes], segments: list[bytes], list_id: int = 1, usage: int = 0) -> bytes:
    descriptors = b"".join(targets), b"".join(segments)
    header = struct.pack(">BBH4xII", list_id, usage, len(descriptors[0]), len(descriptors[1]), 0)
    return header + descriptors[0] + descriptors[1]


def copy(disk: Initiator, data: bytes) -> Answer:
    return disk.send(bytes.fromhex("8300") + bytes(8) + len(data).to_bytes(4, "big") + bytes(2), data)


@pytest.fixture
def world() -> Bench:
    return bench()


@pytest.fixture
def disk(world: Bench) -> Initiator:
    initiator = world.initiator()
    initiator.send(cdb(0x2A, 0, 4), b"s" * 4 * BLOCK).good()
    return initiator


@pytest.fixture
def other(disk: Initiator) -> Bench:
    """A second unit, LUN 1 of the same nexus."""
    second = bench(block_size=1024)
    second.device.serial = OTHER
    disk.nexus.add(1, second.unit, second.lun)
    Initiator(disk.nexus, disk.path).clear()
    disk.send("03 00 00 00 12 00", lun=1).good()
    disk.send("03 00 00 00 12 00", lun=1).good()
    return second


def test_within_one_unit(disk: Initiator) -> None:
    copy(disk, parameters([target(SERIAL)], [segment(0, 0, 4, 0, 100)])).good()
    assert disk.send(cdb(0x28, 100, 4)).good() == b"s" * 4 * BLOCK


@pytest.mark.parametrize(("source", "lba"), [(0, 1), (5, 2)])
def test_overlapping_extents(source: int, lba: int) -> None:
    disk = bench(RamStorage(16 << 20)).initiator()
    data = b"".join(i.to_bytes(2, "big") * 256 for i in range(5000))
    disk.send(cdb(0x8A, source, 5000), data).good()
    copy(disk, parameters([target(SERIAL)], [segment(0, 0, 5000, source, lba)])).good()
    assert disk.send(cdb(0x88, lba, 5000)).good() == data


def test_to_another_unit(disk: Initiator, other: Bench) -> None:
    copy(disk, parameters([target(SERIAL), target(OTHER)], [segment(0, 1, 4, 0, 10)])).good()
    assert other.unit.storage.read(10 * 1024, 4 * BLOCK) == b"s" * 4 * BLOCK
    copy(disk, parameters([target(SERIAL), target(OTHER)], [segment(0, 1, 1, 0, 20, flags=0x02)])).good()
    assert other.unit.storage.read(20 * 1024, 1024) == b"s" * 1024


def test_only_luns_of_the_nexus_are_found(world: Bench, disk: Initiator, other: Bench) -> None:
    stranger = world.initiator("b")
    copy(stranger, parameters([target(SERIAL), target(OTHER)], [segment(0, 1, 4, 0, 0)])).refused(0xA, 0x0804)
    assert other.unit.storage.read(0, BLOCK) == bytes(BLOCK)


def test_a_protected_or_reserved_destination(world: Bench, disk: Initiator) -> None:
    reader = world.initiator("b", read_only=True)
    data = parameters([target(SERIAL)], [segment(0, 0, 1, 0, 9)])
    copy(reader, data).refused(0xA, 0x2700)
    second = bench()
    second.device.serial = OTHER
    holder = second.initiator("holder")
    disk.nexus.add(1, second.unit, second.lun)
    disk.clear()
    holder.send("16 00 00 00 00 00").good()
    copy(disk, parameters([target(SERIAL), target(OTHER)], [segment(0, 1, 1, 0, 9)])).refused(0xA, 0x0D02)


def reserved(world: Bench, kind: int) -> None:
    """By another initiator, with a persistent reservation."""
    holder = world.initiator("holder")
    holder.send("5f 00 00 00 00 00 00 00 18 00", bytes(15) + b"\x01" + bytes(8)).good()
    holder.send(bytes((0x5F, 1, kind, 0, 0, 0, 0, 0, 24, 0)), bytes(7) + b"\x01" + bytes(16)).good()


@pytest.mark.parametrize(("kind", "readable"), [(1, True), (3, False), (5, True), (6, False)])
def test_a_source_that_others_may_only_read_can_be_copied(
    disk: Initiator, other: Bench, kind: int, readable: bool
) -> None:
    reserved(other, kind)
    targets = [target(SERIAL), target(OTHER)]
    answer = copy(disk, parameters(targets, [segment(1, 0, 1, 0, 9)]))
    if readable:
        answer.good()
    else:
        answer.refused(0xA, 0x0D02)
    copy(disk, parameters(targets, [segment(0, 1, 2, 0, 9)])).refused(0xA, 0x0D02)


class Broken(RamStorage):
    """Fails to read or to write beyond its first blocks."""

    __slots__ = ("reads", "writes")

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.reads = self.writes = 0

    def read(self, offset: int, length: int) -> bytes:
        if self.reads and offset >= 16 * BLOCK:
            raise OSError(self.reads, "broken")
        return super().read(offset, length)

    def write(self, offset: int, data: bytes | bytearray | memoryview, *, sync: bool = False) -> None:
        if self.writes and offset >= 16 * BLOCK:
            raise OSError(self.writes, "broken")
        super().write(offset, data, sync=sync)


@pytest.mark.parametrize(
    ("reads", "writes", "key", "asc"),
    [
        (errno.EIO, 0, 0xA, 0x0D01),
        (0, errno.EIO, 0xA, 0x0D01),
        (0, errno.ENOSPC, 0x7, 0x2707),
    ],
)
def test_a_copy_that_fails_says_of_what(reads: int, writes: int, key: int, asc: int) -> None:
    storage = Broken(BLOCKS * BLOCK)
    disk = bench(storage).initiator()
    storage.reads, storage.writes = reads, writes
    there = segment(0, 0, 1, 20, 1) if reads else segment(0, 0, 1, 1, 20)
    data = parameters([target(SERIAL)], [segment(0, 0, 1, 0, 1), there], list_id=7)
    sense = copy(disk, data).refused(key, asc)
    if key == 0xA:
        assert sense[8:12].hex() == "00000001", "the segment that failed"
    assert copy_status(disk, 7) == (2, 1)


def copy_status(disk: Initiator, list_id: int) -> tuple[int, int]:
    """Status, and segments processed."""
    data = disk.send(f"84 00 {list_id:02x} 00 00 00 00 00 00 00 00 00 00 ff 00 00").good()
    return data[4], data[5] << 8 | data[6]


def test_a_copy_in_progress_is_told_of_and_keeps_its_list_id(disk: Initiator) -> None:
    data = parameters([target(SERIAL)], [segment(0, 0, 1, 0, 9)], list_id=7)
    cdb_16 = bytes.fromhex("8300") + bytes(8) + len(data).to_bytes(4, "big") + bytes(2)
    command = dispatch.admit(disk.nexus, 0, cdb_16, len(data))
    command.data_out = data
    dispatch.perform(command)
    disk.send("84 00 07 00 00 00 00 00 00 00 00 00 00 ff 00 00").refused(5, 0x2400)
    dispatch.perform(command)
    assert not command.done
    for _ in range(2):
        assert copy_status(disk, 7) == (0, 0)
    copy(disk, data).refused(5, 0x0016)
    copy(disk, parameters([target(SERIAL)], [segment(0, 0, 1, 0, 9)], list_id=8)).good()
    finish(command, data).good()
    assert copy_status(disk, 7) == (1, 1)
    copy(disk, data).good()


def test_results_are_kept_of_the_last_copies_only(disk: Initiator) -> None:
    for list_id in range(20):
        copy(disk, parameters([target(SERIAL)], [segment(0, 0, 1, 0, 9)], list_id=list_id)).good()
    assert list(disk.path.copy_results) == list(range(4, 20))


@pytest.mark.parametrize(
    ("data", "key", "asc"),
    [
        (parameters([target(SERIAL, kind=0xE0)], []), 5, 0x2607),
        (parameters([target(SERIAL)], [b"\x03" + bytes(27)]), 5, 0x2609),
        (parameters([target(SERIAL)] * 5, []), 5, 0x2606),
        (parameters([target(SERIAL)], [segment(0, 0, 1, 0, 1)] * 17), 5, 0x2608),
        (parameters([target(SERIAL)] * 5, [segment(0, 0, 1, 0, 1)] * 17), 5, 0x1A00),
        (parameters([target(SERIAL)], [segment(0, 1, 1, 0, 1)]), 0xA, 0x0804),
        (parameters([target(SERIAL)], [segment(0, 0, 2, 0, BLOCKS - 1)]), 0xA, 0x0000),
        (parameters([target(SERIAL, flags=0x05)], []), 0xA, 0x0804),
        (parameters([target("00")], []), 0xA, 0x0804),
        (parameters([target(SERIAL)], [segment(0, 0, 1, 0, 1)])[:-1], 5, 0x1A00),
        (parameters([target(SERIAL)], [])[:40], 5, 0x1A00),
        (bytes(8), 5, 0x1A00),
    ],
)
def test_bad_parameters(disk: Initiator, data: bytes, key: int, asc: int) -> None:
    copy(disk, data).refused(key, asc)
    assert disk.send(cdb(0x28, 4, 8)).good() == bytes(8 * BLOCK)


def test_no_parameters_at_all(disk: Initiator) -> None:
    copy(disk, b"").good()


def test_copy_status_is_told_once(disk: Initiator) -> None:
    copy(disk, parameters([target(SERIAL)], [segment(0, 0, 1, 0, 9)], list_id=7)).good()
    assert disk.send("84 00 07 00 00 00 00 00 00 00 00 00 00 ff 00 00").good().hex() == (
        "00000008" + "01" + "0001" + "00" + "00000000"
    )
    disk.send("84 00 07 00 00 00 00 00 00 00 00 00 00 ff 00 00").refused(5, 0x2400)
    copy(disk, parameters([target(SERIAL)], [segment(0, 0, 1, 0, 9)], list_id=8, usage=0x18)).good()
    disk.send("84 00 08 00 00 00 00 00 00 00 00 00 00 ff 00 00").refused(5, 0x2400)


def test_operating_parameters(disk: Initiator) -> None:
    data = disk.send("84 03 00 00 00 00 00 00 00 00 00 00 00 ff 00 00").good()
    assert data.hex() == (
        "0000002a" + "01000000" + "00040010" + "00000240" + "10000000" + "00" * 12 + "00000001" + "01090000"
        "00000002" + "02e4"
    )
    disk.send("84 01 00 00 00 00 00 00 00 00 00 00 00 ff 00 00").refused(5, 0x2400)


def test_copies_can_be_turned_off() -> None:
    disk = bench(emulate_3pc=0).initiator()
    copy(disk, b"").refused(5, 0x2000)
    assert disk.send("12 00 00 00 24 00").good()[5] & 0x08 == 0
