"""SANITIZE (SBC-3 4.11, 5.24) and READ DEFECT DATA (SBC-3 5.18, 5.19)."""

from __future__ import annotations

import struct

from isadmin.userspace.scsi.command import Command
from isadmin.userspace.scsi.medium import CHUNK, sense_of
from isadmin.userspace.scsi.sense import Asc, illegal, invalid_field_in_cdb
from isadmin.userspace.scsi.unit import LogicalUnit

IMMED = 0x80
INVERT = 0x80
_INVERSE = bytes(range(255, -1, -1))


def overwrite(command: Command) -> None:
    """The parameter list holds a pattern of 1 byte to one block. Errors in it are reported against the CDB,
    as conformance tests of this command expect."""
    length = _list_length(command)
    if not 4 < length < command.unit.block_size + 5:
        raise invalid_field_in_cdb(7)
    command.data_out_length = length
    command.work = _overwrite_start


def block_erase(command: Command) -> None:
    """Offered on thin provisioned files only: afterwards no block is mapped."""
    if _list_length(command):
        raise invalid_field_in_cdb(7)
    command.scratch = _erase
    command.work = _start


def exit_failure_mode(command: Command) -> None:
    """Nothing here can end a sanitize operation halfway and leave the unit locked."""
    if _list_length(command):
        raise invalid_field_in_cdb(7)


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
    unit.refresh_paths()
    command.early = bool(command.cdb[1] & IMMED)
    command.endures = True
    command.blocking = unit.storage.blocking
    command.work = _run


def _run(command: Command) -> None:
    unit = command.unit
    failure = None
    try:
        command.scratch(unit)
        unit.storage.flush()
    except OSError as error:
        failure = sense_of(error, writing=True)
    command.blocking = False
    command.scratch = failure
    command.work = _open


def _open(command: Command) -> None:
    command.unit.sanitizing = False
    command.unit.refresh_paths()
    if command.scratch is not None:
        raise command.scratch


def _erase(unit: LogicalUnit) -> None:
    length = unit.blocks * unit.block_size
    if unit.storage.discard_zeroes:
        unit.storage.discard(0, length)
    else:
        unit.storage.zero(0, length)


def _overwrite(unit: LogicalUnit, pattern: bytes, count: int, *, inverts: bool) -> None:
    block = (pattern * -(-unit.block_size // len(pattern)))[: unit.block_size]
    end = unit.blocks * unit.block_size
    for turn in range(count):
        odd = inverts and (count - 1 - turn) % 2
        chunk = memoryview((block.translate(_INVERSE) if odd else block) * max(1, CHUNK // unit.block_size))
        for offset in range(0, end, len(chunk)):
            unit.storage.write(offset, chunk[: end - offset])


def read_defect_data_10(command: Command) -> None:
    """A file has no defects: an empty list, in the format asked for."""
    cdb = command.cdb
    command.answer(struct.pack(">BBH", 0, cdb[2] & 0x1F, 0), cdb[7] << 8 | cdb[8])


def read_defect_data_12(command: Command) -> None:
    cdb = command.cdb
    header = struct.pack(">BBHI", 0, cdb[1] & 0x1F, 0, 0)
    command.answer(header, int.from_bytes(cdb[6:10], "big"))
