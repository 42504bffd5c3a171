"""What the commands that touch the medium share: extents, their checks, and errors of storage as sense."""

from __future__ import annotations

import errno
import struct

from isadmin.userspace.scsi.command import Command
from isadmin.userspace.scsi.sense import Asc, CheckCondition, SenseKey, illegal, invalid_field_in_cdb
from isadmin.userspace.scsi.unit import LogicalUnit
from isadmin.userspace.storage.base import FailedAt

FUA = 0x08
CHUNK = 1 << 20
"""Bytes held in memory at once by the commands that work through a long extent."""
LENGTH_FIELD = {0: 4, 1: 7, 2: 7, 4: 10, 5: 6}
"""The CDB byte at which the transfer length starts, by group code."""
_CDB_10 = struct.Struct(">xxIxHx")
_CDB_12 = struct.Struct(">xxIIxx")
_CDB_16 = struct.Struct(">xxQIxx")

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_PROTECTED = frozenset({errno.EROFS, errno.EPERM, errno.EACCES})
_MEDIUM = frozenset({errno.EIO, errno.ENODATA, errno.EILSEQ, errno.EUCLEAN})


def extent(cdb: bytes) -> tuple[int, int]:
    """LBA and transfer length, in logical blocks, of a CDB of 6, 10, 12 or 16 bytes, by its group code."""
    group = cdb[0] >> 5
    if group in {4, 5}:
        lba, blocks = (_CDB_16 if group == 4 else _CDB_12).unpack(cdb)
        return lba, blocks
    if group == 0:
        # SBC-3 5.10: a transfer length of 0 is 256 blocks in READ (6) and WRITE (6) only.
        return (cdb[1] & 0x1F) << 16 | cdb[2] << 8 | cdb[3], cdb[4] or 256
    lba, blocks = _CDB_10.unpack(cdb)
    return lba, blocks


def check_range(unit: LogicalUnit, lba: int, blocks: int) -> None:
    """SBC-3: the extent must be within the unit. A block number beyond the end is refused even for 0
    blocks."""
    end = lba + blocks
    if end > unit.blocks or lba > unit.blocks:
        unit.refresh_capacity()
        if end > unit.blocks or lba > unit.blocks:
            raise illegal(Asc.LBA_OUT_OF_RANGE)


def transfer(command: Command) -> None:
    """Take the CDB's extent: within the unit, and no longer than MAXIMUM TRANSFER LENGTH (SBC-3 6.6.4)."""
    cdb, unit = command.cdb, command.unit
    lba, blocks = extent(cdb)
    check_range(unit, lba, blocks)
    if blocks > unit.max_blocks:
        raise invalid_field_in_cdb(LENGTH_FIELD[cdb[0] >> 5])
    command.lba = lba
    command.blocks = blocks


def check_size(command: Command, field: int) -> None:
    """For commands whose Data-Out only makes sense whole: the initiator must have announced just that. field:
    the CDB byte that says how long it is. Where nothing may be written, that is the matter."""
    if command.path.read_only:
        return
    if command.expected is not None and command.expected != command.data_out_length:
        raise invalid_field_in_cdb(field)


def whole_blocks(command: Command) -> memoryview:
    """The Data-Out: fewer blocks than the CDB means if the initiator announced less (RFC 7143 11.4.5.2), but
    whole ones."""
    data = memoryview(command.data_out or b"")[: command.data_out_length]
    if len(data) % command.unit.block_size:
        raise illegal(Asc.INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT)
    return data


def flush(command: Command) -> None:
    """Everything written before is on the medium when this returns. If what the nexus has written was lost in
    a flush of somebody else, it hears of that here."""
    path, unit = command.path, command.unit
    written = path.counters.write_bytes
    try:
        unit.storage.flush()
    except OSError as error:
        unit.flush_failed(path)
        raise sense_of(error, writing=True) from error
    path.flushed = written
    if path.lost:
        path.lost = False
        raise CheckCondition(SenseKey.MEDIUM_ERROR, Asc.WRITE_ERROR)


def failure(command: Command, error: OSError, *, writing: bool, lba: int) -> CheckCondition:
    """The sense of an error met while reading or writing from `lba` on; the storage may know better where it
    was."""
    information: int | None = lba
    if isinstance(error, FailedAt):
        information = None if error.offset is None else error.offset // command.unit.block_size
        if information is None:
            command.unit.flush_failed(command.path)
    return sense_of(error, writing=writing, information=information)


def sense_of(error: OSError, *, writing: bool, information: int | None = None) -> CheckCondition:
    """The sense an error of the storage becomes.

    ENOSPC is SBC-3 4.7.3.6's SPACE ALLOCATION FAILED WRITE PROTECT; what the medium could not do is MEDIUM
    ERROR; the rest is HARDWARE ERROR.
    """
    if writing and error.errno in _NO_SPACE:
        return CheckCondition(SenseKey.DATA_PROTECT, Asc.SPACE_ALLOCATION_FAILED, information=information)
    if writing and error.errno in _PROTECTED:
        return CheckCondition(SenseKey.DATA_PROTECT, Asc.WRITE_PROTECTED)
    if error.errno in _MEDIUM:
        asc = Asc.WRITE_ERROR if writing else Asc.UNRECOVERED_READ_ERROR
        return CheckCondition(SenseKey.MEDIUM_ERROR, asc, information=information)
    return CheckCondition(SenseKey.HARDWARE_ERROR, Asc.INTERNAL_TARGET_FAILURE)
