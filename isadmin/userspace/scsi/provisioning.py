"""WRITE SAME, UNMAP and GET LBA STATUS (SBC-3 4.7.3, 5.28, 5.40, 5.7)."""

from __future__ import annotations

import struct

from isadmin.userspace.scsi.command import Command
from isadmin.userspace.scsi.medium import CHUNK, check_range, check_size, extent, failure, sense_of
from isadmin.userspace.scsi.sense import (
    Asc,
    illegal,
    invalid_field_in_cdb,
    invalid_parameter,
    list_length_error,
)
from isadmin.userspace.scsi.unit import LogicalUnit

UNMAP = 0x08
ANCHOR = 0x10
NDOB = 0x01
MAX_STATUS = 1 << 20
"""Bytes of GET LBA STATUS at most, whatever there is room for."""
MAPPED, DEALLOCATED = 0, 1
_UNMAP_HEADER = struct.Struct(">HH4x")
_UNMAP_DESCRIPTOR = struct.Struct(">QI4x")
_STATUS_DESCRIPTOR = struct.Struct(">QIB3x")


def write_same(command: Command) -> None:
    """WRITE SAME (10) and (16). 0 blocks means all up to the end of the unit (WSNZ is clear); no
    more than MAXIMUM WRITE SAME LENGTH in either case."""
    unit = command.unit
    cdb = command.cdb
    long_form = len(cdb) == 16
    flags = cdb[1]
    command.lba, command.blocks = extent(cdb)
    check_range(unit, command.lba, command.blocks)
    length_field = 10 if long_form else 7
    command.blocks = command.blocks or unit.blocks - command.lba
    if command.blocks > unit.value("max_write_same_len"):
        raise invalid_field_in_cdb(length_field)
    if flags & UNMAP and not unit.value("emulate_tpws"):
        raise invalid_field_in_cdb(1, 3)
    if flags & ANCHOR:
        raise invalid_field_in_cdb(1, 4)
    command.scratch = bool(flags & UNMAP)
    command.blocking = unit.storage.blocking
    command.work = _write_same_work if command.blocks else None
    if long_form and flags & NDOB:
        return
    command.data_out_length = unit.block_size
    check_size(command, length_field)


def _write_same_work(command: Command) -> None:
    unit = command.unit
    storage = unit.storage
    pattern = bytes(command.data_out or b"")[: unit.block_size]
    offset, length = command.lba * unit.block_size, command.blocks * unit.block_size
    try:
        if any(pattern):
            # SBC-3 4.7.3.4.4: with UNMAP too, what would not read back as this pattern must be written.
            repeated = pattern * max(1, CHUNK // len(pattern))
            end = offset + length
            while offset < end:
                part = memoryview(repeated)[: end - offset]
                storage.write(offset, part)
                offset += len(part)
        elif command.scratch and storage.discard_zeroes:
            storage.discard(offset, length)
        else:
            storage.zero(offset, length)
    except OSError as error:
        raise failure(command, error, writing=True, lba=offset // unit.block_size) from error


def unmap(command: Command) -> None:
    """UNMAP: everything is checked before anything is unmapped."""
    cdb = command.cdb
    if cdb[1] & 1:
        raise invalid_field_in_cdb(1, 0)  # ANCHOR: VPD B2h says that it is not supported
    length = cdb[7] << 8 | cdb[8]
    if not length:
        return
    if length < _UNMAP_HEADER.size:
        raise list_length_error()
    command.data_out_length = length
    command.work = _unmap_check


def _unmap_check(command: Command) -> None:
    unit = command.unit
    data = command.parameters()
    if len(data) < _UNMAP_HEADER.size:
        raise list_length_error()
    _, descriptors_length = _UNMAP_HEADER.unpack_from(data)
    available = min(descriptors_length, len(data) - _UNMAP_HEADER.size)
    count = available // _UNMAP_DESCRIPTOR.size
    if count > unit.value("max_unmap_block_desc_count"):
        raise invalid_parameter(2)
    extents = [
        _UNMAP_DESCRIPTOR.unpack_from(data, _UNMAP_HEADER.size + i * _UNMAP_DESCRIPTOR.size)
        for i in range(count)
    ]
    for lba, blocks in extents:
        check_range(unit, lba, blocks)
    if sum(blocks for _, blocks in extents) > unit.value("max_unmap_lba_count"):
        raise invalid_parameter(_UNMAP_HEADER.size + 8)
    command.scratch = [(lba, blocks) for lba, blocks in extents if blocks]
    if command.scratch:
        command.blocking = unit.storage.blocking
        command.work = _unmap_work


def _unmap_work(command: Command) -> None:
    unit = command.unit
    storage = unit.storage
    # LBPRZ promises zeros; a device that does not keep that promise by discarding is written to.
    zeroed = unit.value("unmap_zeroes_data") and not storage.discard_zeroes
    for lba, blocks in command.scratch:
        try:
            (storage.zero if zeroed else storage.discard)(lba * unit.block_size, blocks * unit.block_size)
        except OSError as error:
            raise failure(command, error, writing=True, lba=lba) from error


def get_lba_status(command: Command) -> None:
    """GET LBA STATUS: extents from the given LBA on, as many as fit. What was put down as zeros is mapped;
    what only has space kept for it is too, since ANCHOR is not to be had (nor is it in LIO)."""
    cdb, unit = command.cdb, command.unit
    command.lba = int.from_bytes(cdb[2:10], "big")
    if command.lba >= unit.blocks:
        raise illegal(Asc.LBA_OUT_OF_RANGE)
    command.blocking = unit.storage.blocking
    command.work = _get_lba_status_work


def _get_lba_status_work(command: Command) -> None:
    allocation_length = int.from_bytes(command.cdb[10:14], "big")
    room = max(1, (min(allocation_length, MAX_STATUS) - 8) // _STATUS_DESCRIPTOR.size)
    body = bytearray()
    told = None
    try:
        lba = command.lba
        while lba < command.unit.blocks and room:
            mapped, end = _block_extent(command.unit, lba)
            count = min(end - lba, 0xFFFFFFFF)
            if told is not None and told[2] == mapped and told[1] + count <= 0xFFFFFFFF:
                # The storage tells of long runs in parts.
                del body[-_STATUS_DESCRIPTOR.size :]
                told = (told[0], told[1] + count, mapped)
            else:
                told = (lba, count, mapped)
                room -= 1
            body += _STATUS_DESCRIPTOR.pack(told[0], told[1], MAPPED if mapped else DEALLOCATED)
            lba += count
    except OSError as error:
        raise sense_of(error, writing=False) from error
    command.answer(struct.pack(">I4x", len(body) + 4) + body, allocation_length)


def _block_extent(unit: LogicalUnit, lba: int) -> tuple[bool, int]:
    """Whether a block is mapped, and the LBA at which that changes. A block that is partly a hole is
    mapped."""
    if not unit.thin:
        return True, unit.blocks
    size = unit.block_size
    mapped, end = unit.storage.extent(lba * size)
    if mapped:
        return True, min(max(lba + 1, -(-end // size)), unit.blocks)
    if end >= unit.blocks * size:
        return False, unit.blocks
    if end // size > lba:
        return False, end // size
    return True, lba + 1
