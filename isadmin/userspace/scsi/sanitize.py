"""SANITIZE (SBC-3 4.11, 5.24) and READ DEFECT DATA (SBC-3 5.18, 5.19).

A sanitize operation that fails leaves the medium closed until another one succeeds, or, if it was to allow
that (AUSE), until EXIT FAILURE MODE. That is not remembered through a restart of the daemon.
"""

from __future__ import annotations

import struct

from isadmin.userspace.scsi.command import Command
from isadmin.userspace.scsi.medium import CHUNK
from isadmin.userspace.scsi.sense import (
    Asc,
    CheckCondition,
    SenseKey,
    illegal,
    invalid_field_in_cdb,
    progress_indication,
)
from isadmin.userspace.scsi.unit import NO_FAILURE, RESTRICTED, UNRESTRICTED, LogicalUnit

OPCODE = 0x48
IMMED = 0x80
AUSE = 0x20
INVERT = 0x80
ERASED_AT_ONCE = 1 << 30
"""Bytes, between two looks at how far it is."""
WHOLE = 0x10000
"""What progress is counted in (SPC-4 4.5.2.4.4)."""
_INVERSE = bytes(range(255, -1, -1))


def condition(unit: LogicalUnit) -> CheckCondition | None:
    """What a sanitize operation, running or failed, makes commands that need the medium end with."""
    if unit.sanitizing:
        progress = progress_indication(min(unit.sanitized, WHOLE - 1))
        return CheckCondition(SenseKey.NOT_READY, Asc.SANITIZE_IN_PROGRESS, specific=progress)
    if unit.sanitize_failure:
        return CheckCondition(SenseKey.MEDIUM_ERROR, Asc.SANITIZE_COMMAND_FAILED)
    return None


def overwrite(command: Command) -> None:
    """The parameter list holds a pattern of 1 byte to one block. Errors in it are reported against the CDB,
    as conformance tests of this command expect."""
    _check_restriction(command)
    length = _list_length(command)
    if not 4 < length < command.unit.block_size + 5:
        raise invalid_field_in_cdb(7)
    command.data_out_length = length
    command.work = _overwrite_start


def block_erase(command: Command) -> None:
    """Offered on thin provisioned files only: afterwards no block is mapped."""
    _check_restriction(command)
    if _list_length(command):
        raise invalid_field_in_cdb(7)
    command.scratch = _erase
    command.work = _start


def exit_failure_mode(command: Command) -> None:
    """Open the medium after a failure, if the failed operation allowed that."""
    unit = command.unit
    if unit.sanitize_failure == RESTRICTED:
        raise invalid_field_in_cdb(1, 4)
    if _list_length(command):
        raise invalid_field_in_cdb(7)
    if unit.sanitize_failure:
        command.work = _exit


def _exit(command: Command) -> None:
    command.unit.sanitize_failure = NO_FAILURE
    command.unit.refresh_paths()


def _check_restriction(command: Command) -> None:
    """5.24.1: after a failure in restricted completion mode no other mode is to be had."""
    if command.cdb[1] & AUSE and command.unit.sanitize_failure == RESTRICTED:
        raise invalid_field_in_cdb(1, 5)


def _list_length(command: Command) -> int:
    return command.cdb[7] << 8 | command.cdb[8]


def _overwrite_start(command: Command) -> None:
    data = command.parameters()
    if len(data) < command.data_out_length:
        raise illegal(Asc.PARAMETER_LIST_LENGTH_ERROR)
    count = data[0] & 0x1F
    size = data[2] << 8 | data[3]
    pattern = data[4 : 4 + size]
    if data[0] & 0x60 or not count or not size or size > command.unit.block_size or len(pattern) < size:
        raise invalid_field_in_cdb(7)
    inverts = bool(data[0] & INVERT)
    command.scratch = lambda unit: _overwrite(unit, pattern, count, inverts=inverts)
    _start(command)


def _start(command: Command) -> None:
    """At the gate's head: close the unit to everybody. From here on neither task management nor a reset ends
    it (SBC-3 4.11.3)."""
    unit = command.unit
    unit.sanitizing = True
    unit.sanitized = 0
    unit.refresh_paths()
    command.early = bool(command.cdb[1] & IMMED)
    command.endures = True
    command.blocking = unit.storage.blocking
    command.work = _run


def _run(command: Command) -> None:
    unit = command.unit
    failed = False
    try:
        command.scratch(unit)
        unit.storage.flush()
    except OSError:
        failed = True
    command.blocking = False
    command.scratch = failed
    command.work = _open


def _open(command: Command) -> None:
    unit = command.unit
    failed: bool = command.scratch
    unit.sanitizing = False
    unit.sanitize_failure = NO_FAILURE
    if failed:
        unit.sanitize_failure = UNRESTRICTED if command.cdb[1] & AUSE else RESTRICTED
    unit.refresh_paths()
    if failed:
        raise CheckCondition(SenseKey.MEDIUM_ERROR, Asc.SANITIZE_COMMAND_FAILED)


def _erase(unit: LogicalUnit) -> None:
    end = unit.blocks * unit.block_size
    erase = unit.storage.discard if unit.storage.discard_zeroes else unit.storage.zero
    for offset in range(0, end, ERASED_AT_ONCE):
        size = min(ERASED_AT_ONCE, end - offset)
        erase(offset, size)
        unit.sanitized = WHOLE * (offset + size) // end


def _overwrite(unit: LogicalUnit, pattern: bytes, count: int, *, inverts: bool) -> None:
    block = (pattern * -(-unit.block_size // len(pattern)))[: unit.block_size]
    end = unit.blocks * unit.block_size
    for turn in range(count):
        odd = inverts and (count - 1 - turn) % 2
        chunk = memoryview((block.translate(_INVERSE) if odd else block) * max(1, CHUNK // unit.block_size))
        for offset in range(0, end, len(chunk)):
            part = chunk[: end - offset]
            unit.storage.write(offset, part)
            unit.sanitized = WHOLE * (turn * end + offset + len(part)) // (count * end)
        # Else the next pass would only change what the page cache still holds of this one.
        unit.storage.flush()


def read_defect_data_10(command: Command) -> None:
    """A file has no defects: an empty list, in the format asked for."""
    cdb = command.cdb
    command.answer(struct.pack(">BBH", 0, cdb[2] & 0x1F, 0), cdb[7] << 8 | cdb[8])


def read_defect_data_12(command: Command) -> None:
    cdb = command.cdb
    header = struct.pack(">BBHI", 0, cdb[1] & 0x1F, 0, 0)
    command.answer(header, int.from_bytes(cdb[6:10], "big"))
