"""REPORT SUPPORTED OPERATION CODES and REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4 6.35, 6.36).

Both tell what the opcode table holds: opcodes.py hands it in, so that no import goes round in a circle.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from isadmin.userspace.scsi.command import Command, Handler, Operation
from isadmin.userspace.scsi.sense import invalid_field_in_cdb
from isadmin.userspace.scsi.unit import LogicalUnit

RCTD = 0x80
CTDP_ALL, SERVACTV = 0x02, 0x01
CTDP_ONE = 0x80
NOT_SUPPORTED, SUPPORTED = 0x01, 0x03
# ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET, TARGET RESET; nothing of the second byte.
TASK_MANAGEMENT = bytes((0x80 | 0x40 | 0x10 | 0x08 | 0x02, 0))


def supported_operation_codes(table: Iterable[Operation]) -> Handler:
    """The command's handler for a table."""
    rows = tuple(sorted(table, key=lambda row: (row.opcode, row.service_action or 0)))
    by_code = {(row.opcode, row.service_action): row for row in rows}
    with_actions = {row.opcode for row in rows if row.service_action is not None}

    def handler(command: Command) -> None:
        cdb, unit = command.cdb, command.unit
        timeouts, option = bool(cdb[2] & RCTD), cdb[2] & 7
        allocation_length = int.from_bytes(cdb[6:10], "big")
        if option == 0:
            body = b"".join(_entry(row, timeouts) for row in rows if row.offered(unit))
            data = struct.pack(">I", len(body)) + body
        else:
            row = _one(by_code, with_actions, option, cdb[3], cdb[4] << 8 | cdb[5])
            data = _one_command(row, unit, timeouts)
        command.answer(data, allocation_length)

    return handler


def _timeouts(row: Operation) -> bytes:
    return struct.pack(">HxBII", 10, 0, 0, row.timeout)


def _entry(row: Operation, timeouts: bool) -> bytes:
    flags = (CTDP_ALL if timeouts else 0) | (SERVACTV if row.service_action is not None else 0)
    entry = struct.pack(">BxHxBH", row.opcode, row.service_action or 0, flags, len(row.usage))
    return entry + (_timeouts(row) if timeouts else b"")


def _one(
    by_code: Mapping[tuple[int, int | None], Operation],
    with_actions: set[int],
    option: int,
    opcode: int,
    action: int,
) -> Operation | None:
    """Reporting options 001b (no service action), 010b (with one), 011b (either)."""
    has_actions = opcode in with_actions
    if option == 1:
        if has_actions:
            raise invalid_field_in_cdb(2, 2)
        return by_code.get((opcode, None))
    if option == 2:
        if not has_actions and (opcode, None) in by_code:
            raise invalid_field_in_cdb(2, 2)
        return by_code.get((opcode, action))
    if option == 3:
        if has_actions:
            return by_code.get((opcode, action))
        return None if action else by_code.get((opcode, None))
    raise invalid_field_in_cdb(2, 2)


def _one_command(row: Operation | None, unit: LogicalUnit, timeouts: bool) -> bytes:
    if row is None or not row.offered(unit):
        return bytes((0, NOT_SUPPORTED, 0, 0))
    usage = bytearray(row.usage_for(unit))
    if row.service_action is not None:
        # 6.35.3: the SERVICE ACTION field holds the service action itself.
        usage[1] = usage[1] & 0xE0 | row.service_action
    head = struct.pack(">BBH", 0, SUPPORTED | (CTDP_ONE if timeouts else 0), len(usage))
    return head + bytes(usage) + (_timeouts(row) if timeouts else b"")


def supported_task_management_functions(command: Command) -> None:
    allocation_length = int.from_bytes(command.cdb[6:10], "big")
    if allocation_length < 4:
        raise invalid_field_in_cdb(6)
    if command.cdb[2] & RCTD:  # REPD: the extended format
        data = TASK_MANAGEMENT + bytes((0, 12)) + bytes(12)
    else:
        data = TASK_MANAGEMENT + bytes(2)
    command.answer(data, allocation_length)
