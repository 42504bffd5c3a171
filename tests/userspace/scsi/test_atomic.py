"""COMPARE AND WRITE, ORWRITE, WRITE ATOMIC."""

from __future__ import annotations

import pytest

from tests.userspace.scsi.bench import BLOCK, BLOCKS, Initiator, bench
from tests.userspace.scsi.test_block import cdb


@pytest.fixture
def disk() -> Initiator:
    return bench().initiator()


def compare_and_write(lba: int, blocks: int = 1, flags: int = 0) -> bytes:
    return bytes((0x89, flags)) + lba.to_bytes(8, "big") + bytes((0, 0, 0, blocks, 0, 0))


def write_atomic(lba: int, blocks: int, boundary: int = 0) -> bytes:
    return (
        bytes((0x9C, 0))
        + lba.to_bytes(8, "big")
        + boundary.to_bytes(2, "big")
        + blocks.to_bytes(2, "big")
        + bytes(2)
    )


def test_compare_and_write_that_matches(disk: Initiator) -> None:
    disk.send(compare_and_write(3), bytes(BLOCK) + b"n" * BLOCK).good()
    assert disk.send(cdb(0x28, 3, 1)).good() == b"n" * BLOCK


def test_compare_and_write_that_does_not(disk: Initiator) -> None:
    expected = bytearray(BLOCK)
    expected[17] = 1
    sense = disk.send(compare_and_write(3), bytes(expected) + b"n" * BLOCK).refused(0x0E, 0x1D00)
    assert sense[:7].hex() == "f0000e00000011"
    assert disk.send(cdb(0x28, 3, 1)).good() == bytes(BLOCK)


def test_compare_and_write_wants_just_its_data(disk: Initiator) -> None:
    for size in (BLOCK, 3 * BLOCK):
        sense = disk.send(compare_and_write(0), bytes(size)).refused(5, 0x2400)
        assert sense[15:18].hex() == "c0000d", "the number of blocks"
    disk.send(compare_and_write(0, 0), bytes(2 * BLOCK)).refused(5, 0x2400)
    disk.send(compare_and_write(0, 0)).good()
    disk.send(compare_and_write(0, 2), bytes(4 * BLOCK)).refused(5, 0x2400)
    disk.send(compare_and_write(BLOCKS), bytes(2 * BLOCK)).refused(5, 0x2100)


def test_compare_and_write_can_be_turned_off() -> None:
    bench(emulate_caw=0).initiator().send(compare_and_write(0), bytes(2 * BLOCK)).refused(5, 0x2000)


def test_orwrite(disk: Initiator) -> None:
    disk.send(cdb(0x2A, 1, 2), b"\x0f" * 2 * BLOCK).good()
    disk.send(cdb(0x8B, 1, 2), b"\xa0" * 2 * BLOCK).good()
    assert disk.send(cdb(0x28, 1, 2)).good() == b"\xaf" * 2 * BLOCK
    disk.send(cdb(0x8B, BLOCKS, 1), bytes(BLOCK)).refused(5, 0x2100)
    disk.send(cdb(0x8B, 0, 0)).good()


def test_write_atomic(disk: Initiator) -> None:
    data = b"q" * 256 * BLOCK
    disk.send(write_atomic(0, 256), data).good()
    assert disk.send(cdb(0x88, 0, 256)).good() == data
    disk.send(write_atomic(0, 257), data).refused(5, 0x2400)
    disk.send(write_atomic(0, 1, boundary=8), data).refused(5, 0x2400)
    disk.send(write_atomic(BLOCKS, 1), bytes(BLOCK)).refused(5, 0x2100)
    disk.send(write_atomic(0, 0)).good()
