"""Commands that must not overlap any other I/O of their unit: COMPARE AND WRITE, ORWRITE, WRITE ATOMIC
(SBC-4 5).

unit.gate keeps everything else out while one of them runs. Against a loss of power WRITE ATOMIC is as good as
one write to the file or device beneath.
"""

from __future__ import annotations

import struct

from isadmin.userspace.scsi.block import compare
from isadmin.userspace.scsi.command import Command, Handler
from isadmin.userspace.scsi.inquiry import MAX_ATOMIC_BLOCKS, MAX_COMPARE_AND_WRITE_BLOCKS
from isadmin.userspace.scsi.medium import FUA, check_range, check_size, failure, transfer, whole_blocks
from isadmin.userspace.scsi.sense import invalid_field_in_cdb
from isadmin.userspace.scsi.unit import LogicalUnit

_ATOMIC = struct.Struct(">xxQHHxx")


def compare_and_write(command: Command) -> None:
    """SBC-3 5.3: Data-Out is the blocks to compare with, then as many to write."""
    cdb, unit = command.cdb, command.unit
    command.lba, command.blocks = int.from_bytes(cdb[2:10], "big"), cdb[13]
    command.fua = bool(cdb[1] & FUA)
    check_range(unit, command.lba, command.blocks)
    if command.blocks > MAX_COMPARE_AND_WRITE_BLOCKS:
        raise invalid_field_in_cdb(13)
    command.data_out_length = 2 * command.blocks * unit.block_size
    check_size(command, 13)
    if not command.blocks:
        return
    command.blocking = unit.storage.blocking
    command.work = _compare_and_write_work


def _compare_and_write_work(command: Command) -> None:
    unit = command.unit
    data = whole_blocks(command)
    size = command.blocks * unit.block_size
    compare(command, data[:size])
    _store(command, data[size:])


def orwrite(command: Command) -> None:
    """SBC-3 5.12, ORWRITE (16)."""
    command.fua = bool(command.cdb[1] & FUA)
    transfer(command)
    _collect(command, _orwrite_work)


def _orwrite_work(command: Command) -> None:
    unit = command.unit
    data = whole_blocks(command)
    try:
        old = unit.storage.read(command.lba * unit.block_size, len(data))
    except OSError as error:
        raise failure(command, error, writing=False, lba=command.lba) from error
    merged = int.from_bytes(old, "little") | int.from_bytes(data, "little")
    _store(command, merged.to_bytes(len(data), "little"))


def write_atomic(command: Command) -> None:
    """SBC-4 5.48. No boundary, alignment or granularity is needed, so an atomic boundary is refused."""
    cdb, unit = command.cdb, command.unit
    command.lba, boundary, command.blocks = _ATOMIC.unpack(cdb)
    command.fua = bool(cdb[1] & FUA)
    check_range(unit, command.lba, command.blocks)
    if boundary:
        raise invalid_field_in_cdb(10)
    if command.blocks > max_atomic_blocks(unit):
        raise invalid_field_in_cdb(12)
    _collect(command, _write_atomic_work)


def max_atomic_blocks(unit: LogicalUnit) -> int:
    return min(MAX_ATOMIC_BLOCKS, unit.max_blocks)


def _write_atomic_work(command: Command) -> None:
    _store(command, whole_blocks(command))


def _collect(command: Command, work: Handler) -> None:
    if command.blocks:
        command.data_out_length = command.blocks * command.unit.block_size
        command.blocking = command.unit.storage.blocking
        command.work = work


def _store(command: Command, data: bytes | memoryview) -> None:
    unit = command.unit
    try:
        unit.storage.write(command.lba * unit.block_size, data, sync=command.fua)
    except OSError as error:
        raise failure(command, error, writing=True, lba=command.lba) from error
