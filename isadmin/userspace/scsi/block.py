"""READ, WRITE, VERIFY, WRITE AND VERIFY in all lengths, READ CAPACITY, SYNCHRONIZE CACHE, PRE-FETCH (SBC-3
5)."""

from __future__ import annotations

import struct

from isadmin.userspace.scsi.command import Command
from isadmin.userspace.scsi.medium import (
    CHUNK,
    FUA,
    check_range,
    extent,
    failure,
    flush,
    transfer,
    whole_blocks,
)
from isadmin.userspace.scsi.sense import (
    Asc,
    CheckCondition,
    SenseKey,
    Status,
    illegal,
    invalid_field_in_cdb,
)

MAX_PREFETCH = 64 << 20
_CAPACITY_16 = struct.Struct(">QIBBH16x")


def read_capacity_10(command: Command) -> None:
    """SBC-3 5.16."""
    cdb, unit = command.cdb, command.unit
    if any(cdb[2:6]):
        raise invalid_field_in_cdb(2)  # an LBA without PMI
    unit.refresh_capacity()
    command.data_in = struct.pack(">II", min(unit.blocks - 1, 0xFFFFFFFF), unit.block_size)


def read_capacity_16(command: Command) -> None:
    """SBC-3 5.17."""
    cdb, unit = command.cdb, command.unit
    if any(cdb[2:10]):
        raise invalid_field_in_cdb(2)
    unit.refresh_capacity()
    ratio = max(1, unit.storage.facts.physical_block_size // unit.block_size)
    provisioned = 0x8000 if unit.thin else 0
    if provisioned and unit.value("unmap_zeroes_data"):
        provisioned |= 0x4000
    exponent = ratio.bit_length() - 1
    data = _CAPACITY_16.pack(unit.blocks - 1, unit.block_size, 0, exponent, provisioned)
    command.answer(data, int.from_bytes(cdb[10:14], "big"))


def read_6(command: Command) -> None:
    _read(command)


def read(command: Command) -> None:
    command.fua = bool(command.cdb[1] & FUA)
    _read(command)


def _read(command: Command) -> None:
    transfer(command)
    if command.blocks:
        command.blocking = command.unit.storage.blocking
        command.work = _read_work


def _read_work(command: Command) -> None:
    unit = command.unit
    size = command.blocks * unit.block_size
    if command.fua:
        # SBC-3 4.15: what a cache holds newer than the medium goes there first.
        flush(command)
    try:
        command.data_in = unit.storage.read(command.lba * unit.block_size, size)
    except OSError as error:
        raise failure(command, error, writing=False, lba=command.lba) from error


def write_6(command: Command) -> None:
    _write(command)


def write(command: Command) -> None:
    command.fua = bool(command.cdb[1] & FUA)
    _write(command)


def _write(command: Command) -> None:
    transfer(command)
    if command.blocks:
        command.blocking = command.unit.storage.blocking
        command.data_out_length = command.blocks * command.unit.block_size
        command.work = _write_work


def _write_work(command: Command) -> None:
    unit = command.unit
    try:
        unit.storage.write(command.lba * unit.block_size, whole_blocks(command), sync=command.fua)
    except OSError as error:
        raise failure(command, error, writing=True, lba=command.lba) from error


def write_and_verify(command: Command) -> None:
    """SBC-3 5.42. BYTCHK 0 and 1 both compare what was written with what the medium then holds."""
    if command.cdb[1] & 0x04:
        raise invalid_field_in_cdb(1, 2)
    _write(command)
    if command.blocks:
        command.work = _write_and_verify_work


def _write_and_verify_work(command: Command) -> None:
    command.fua = True
    _write_work(command)
    compare(command, whole_blocks(command))


def verify(command: Command) -> None:
    """SBC-3 5.36. BYTCHK 0: readable; 1: equal to the Data-Out; 3: every block equal to one block of it."""
    unit = command.unit
    byte_check = command.cdb[1] >> 1 & 3
    if byte_check == 2:
        raise invalid_field_in_cdb(1, 2)
    transfer(command)
    if not command.blocks:
        return
    command.blocking = unit.storage.blocking
    if byte_check:
        command.data_out_length = unit.block_size * (command.blocks if byte_check == 1 else 1)
    command.work = (_verify_readable, _verify_equal, _verify_readable, _verify_same)[byte_check]


def _verify_readable(command: Command) -> None:
    unit = command.unit
    offset, end = command.lba * unit.block_size, (command.lba + command.blocks) * unit.block_size
    buffer = memoryview(bytearray(min(CHUNK, end - offset)))
    try:
        while offset < end:
            count = min(CHUNK, end - offset)
            unit.storage.read_into(offset, buffer[:count])
            offset += count
    except OSError as error:
        raise failure(command, error, writing=False, lba=offset // unit.block_size) from error


def _verify_equal(command: Command) -> None:
    compare(command, whole_blocks(command))


def _verify_same(command: Command) -> None:
    pattern = bytes(whole_blocks(command))
    if pattern:
        compare(command, memoryview(pattern * command.blocks))


def compare(command: Command, expected: memoryview) -> None:
    """Compare the medium at the command's LBA with `expected`.

    A difference is MISCOMPARE; the information field is the offset of its first byte (SBC-3 5.3).
    """
    unit = command.unit
    start = command.lba * unit.block_size
    for offset in range(0, len(expected), CHUNK):
        part = expected[offset : offset + CHUNK]
        try:
            found = unit.storage.read(start + offset, len(part))
        except OSError as error:
            raise failure(command, error, writing=False, lba=(start + offset) // unit.block_size) from error
        if found != part:
            raise CheckCondition(
                SenseKey.MISCOMPARE,
                Asc.MISCOMPARE_DURING_VERIFY,
                information=offset + first_difference(found, part),
            )


def first_difference(left: bytes | bytearray | memoryview, right: bytes | bytearray | memoryview) -> int:
    """Where two buffers of one length, known to differ, first do."""
    low, high = 0, len(left)
    left, right = memoryview(left), memoryview(right)
    while high - low > 1:
        middle = (low + high) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle
    return low


def synchronize_cache(command: Command) -> None:
    """SBC-3 5.29. The whole cache is written back, whatever the range; IMMED is answered no sooner."""
    check_range(command.unit, *extent(command.cdb))
    command.blocking = command.unit.storage.blocking
    command.work = flush


def pre_fetch(command: Command) -> None:
    """SBC-3 5.13. CONDITION MET: all of it fits the cache; GOOD: not all does. 0 blocks: up to the end of the
    unit."""
    unit = command.unit
    lba, blocks = extent(command.cdb)
    if lba > unit.blocks - 1 + (not blocks) or lba + blocks > unit.blocks:
        raise illegal(Asc.LBA_OUT_OF_RANGE)
    command.lba = lba
    command.blocks = blocks or unit.blocks - lba
    command.blocking = unit.storage.blocking
    command.work = _pre_fetch_work


def _pre_fetch_work(command: Command) -> None:
    unit = command.unit
    whole = command.blocks * unit.block_size
    size = min(whole, MAX_PREFETCH)
    try:
        unit.storage.prefetch(command.lba * unit.block_size, size)
    except OSError as error:
        raise failure(command, error, writing=False, lba=command.lba) from error
    if size == whole:
        command.status = Status.CONDITION_MET
