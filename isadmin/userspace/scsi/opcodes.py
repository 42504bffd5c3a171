"""The table of commands: operation code and service action -> handler, CDB usage, flags.

Everything that knows the commands reads it here: admission (which refuses bits outside the usage data),
REPORT SUPPORTED OPERATION CODES, and tests. Usage data is SPC-4 6.35.3's: bits set are evaluated or
ignored, bits clear must be zero.
"""

from __future__ import annotations

from isadmin.userspace.scsi import block, inquiry, mode, primary
from isadmin.userspace.scsi.command import Flags, Handler, Operation

READS = Flags.MEDIUM
WRITES = Flags.MEDIUM | Flags.WRITES
SYNC = Flags.MEDIUM | Flags.CHANGES
ANY = Flags.FREE | Flags.FREE_SPC2 | Flags.IN_STANDBY


def _row(
    name: str,
    opcode: int,
    usage: str,
    handler: Handler,
    flags: Flags,
    *,
    action: int | None = None,
    timeout: int = 30,
    emulated_by: str = "",
) -> Operation:
    """usage is written in hex without its first byte, the operation code."""
    return Operation(
        name, opcode, action, bytes([opcode]) + bytes.fromhex(usage), handler, flags, timeout, emulated_by
    )


LBA32 = "ff ff ff ff"
LBA64 = "ff ff ff ff ff ff ff ff"

TABLE: tuple[Operation, ...] = (
    _row("TEST UNIT READY", 0x00, "00 00 00 00 00", primary.test_unit_ready, Flags.MEDIUM | Flags.FREE),
    _row("REQUEST SENSE", 0x03, "01 00 00 ff 00", primary.request_sense, ANY | Flags.NO_UNIT),
    _row("INQUIRY", 0x12, "01 ff ff ff 00", inquiry.inquiry, ANY | Flags.NO_UNIT),
    _row("REPORT LUNS", 0xA0, "00 ff 00 00 00 ff ff ff ff 00 00", primary.report_luns, ANY | Flags.NO_UNIT),
    _row("MODE SENSE (6)", 0x1A, "08 ff ff ff 00", mode.sense_6, Flags.IN_STANDBY),
    _row("MODE SENSE (10)", 0x5A, "18 ff ff 00 00 00 ff ff 00", mode.sense_10, Flags.IN_STANDBY),
    _row("MODE SELECT (6)", 0x15, "11 00 00 ff 00", mode.select_6, Flags.CHANGES | Flags.IN_STANDBY),
    _row(
        "MODE SELECT (10)",
        0x55,
        "11 00 00 00 00 00 ff ff 00",
        mode.select_10,
        Flags.CHANGES | Flags.IN_STANDBY,
    ),
    _row("LOG SENSE", 0x4D, "01 ff ff 00 ff ff ff ff 00", primary.log_sense, Flags.FREE | Flags.IN_STANDBY),
    _row("START STOP UNIT", 0x1B, "01 00 0f f7 00", primary.start_stop_unit, Flags.CHANGES, timeout=60),
    _row("PREVENT ALLOW MEDIUM REMOVAL", 0x1E, "00 00 00 03 00", primary.prevent_allow, Flags.FREE),
    _row("READ CAPACITY (10)", 0x25, f"01 {LBA32} 00 00 00 00", block.read_capacity_10, READS | Flags.FREE),
    _row(
        "READ CAPACITY (16)",
        0x9E,
        f"1f {LBA64} ff ff ff ff 01 00",
        block.read_capacity_16,
        READS | Flags.FREE,
        action=0x10,
    ),
    _row("READ (6)", 0x08, "1f ff ff ff 00", block.read_6, READS),
    _row("READ (10)", 0x28, f"18 {LBA32} 00 ff ff 00", block.read, READS),
    _row("READ (12)", 0xA8, f"18 {LBA32} ff ff ff ff 00 00", block.read, READS),
    _row("READ (16)", 0x88, f"18 {LBA64} ff ff ff ff 00 00", block.read, READS),
    _row("WRITE (6)", 0x0A, "1f ff ff ff 00", block.write_6, WRITES),
    _row("WRITE (10)", 0x2A, f"18 {LBA32} 00 ff ff 00", block.write, WRITES),
    _row("WRITE (12)", 0xAA, f"18 {LBA32} ff ff ff ff 00 00", block.write, WRITES),
    _row("WRITE (16)", 0x8A, f"18 {LBA64} ff ff ff ff 00 00", block.write, WRITES),
    _row("WRITE AND VERIFY (10)", 0x2E, f"16 {LBA32} 00 ff ff 00", block.write_and_verify, WRITES),
    _row("WRITE AND VERIFY (12)", 0xAE, f"16 {LBA32} ff ff ff ff 00 00", block.write_and_verify, WRITES),
    _row("WRITE AND VERIFY (16)", 0x8E, f"16 {LBA64} ff ff ff ff 00 00", block.write_and_verify, WRITES),
    _row("VERIFY (10)", 0x2F, f"16 {LBA32} 00 ff ff 00", block.verify, READS),
    _row("VERIFY (12)", 0xAF, f"16 {LBA32} ff ff ff ff 00 00", block.verify, READS),
    _row("VERIFY (16)", 0x8F, f"16 {LBA64} ff ff ff ff 00 00", block.verify, READS),
    _row("PRE-FETCH (10)", 0x34, f"02 {LBA32} 00 ff ff 00", block.pre_fetch, READS),
    _row("PRE-FETCH (16)", 0x90, f"02 {LBA64} ff ff ff ff 00 00", block.pre_fetch, READS),
    _row(
        "SYNCHRONIZE CACHE (10)", 0x35, f"06 {LBA32} 00 ff ff 00", block.synchronize_cache, SYNC, timeout=60
    ),
    _row(
        "SYNCHRONIZE CACHE (16)",
        0x91,
        f"06 {LBA64} ff ff ff ff 00 00",
        block.synchronize_cache,
        SYNC,
        timeout=60,
    ),
)

BY_OPCODE: dict[int, Operation] = {row.opcode: row for row in TABLE if row.service_action is None}
BY_ACTION: dict[tuple[int, int], Operation] = {
    (row.opcode, row.service_action): row for row in TABLE if row.service_action is not None
}
WITH_ACTIONS = frozenset(opcode for opcode, _ in BY_ACTION)
CDB_LENGTHS = {0: 6, 1: 10, 2: 10, 4: 16, 5: 12}
"""CDB length by group code (SPC-4 4.2.5.1); others are variable or vendor specific."""
