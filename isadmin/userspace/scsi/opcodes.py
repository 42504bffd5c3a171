"""The table of commands: operation code and service action -> handler, CDB usage, flags.

Everything that knows the commands reads it here: admission (which refuses bits outside the usage data),
REPORT SUPPORTED OPERATION CODES, and tests. Usage data is SPC-4 6.35.3's: bits set are evaluated or
ignored, bits clear must be zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from isadmin.userspace.scsi import (
    alua,
    atomic,
    block,
    copy,
    inquiry,
    mode,
    persistent,
    primary,
    provisioning,
    referrals,
    report,
    reservations,
    sanitize,
)
from isadmin.userspace.scsi.command import Command, Flags, Handler, Operation
from isadmin.userspace.scsi.unit import LogicalUnit

READS = Flags.MEDIUM
WRITES = Flags.MEDIUM | Flags.WRITES
SYNC = Flags.MEDIUM | Flags.CHANGES
STANDBY = Flags.IN_STANDBY
ANY_TIME = Flags.IN_STANDBY | Flags.IN_UNAVAILABLE | Flags.WHILE_SANITIZING
ALWAYS = Flags.NO_UNIT | Flags.FREE | Flags.FREE_SPC2 | ANY_TIME
QUIET = Flags.IN_STANDBY | Flags.WHILE_SANITIZING
LBA32 = "ff ff ff ff"
LBA64 = "ff ff ff ff ff ff ff ff"
LENGTH32 = "ff ff ff ff"


def _row(
    name: str,
    opcode: int,
    usage: str,
    handler: Handler,
    flags: Flags,
    *,
    action: int | None = None,
    timeout: int = 30,
    offered: Callable[[LogicalUnit], bool] = lambda unit: True,
) -> Operation:
    """usage is in hex, without its first byte, the operation code."""
    return Operation(
        name, opcode, action, bytes([opcode]) + bytes.fromhex(usage), handler, flags, timeout, offered
    )


def _with(attribute: str) -> Callable[[LogicalUnit], bool]:
    """Offered where a device attribute is not 0."""
    return lambda unit: unit.value(attribute) > 0


def _primary() -> Iterator[Operation]:
    """Commands of SPC-4."""
    yield _row("TEST UNIT READY", 0x00, "00 00 00 00 00", primary.test_unit_ready, READS | Flags.FREE)
    yield _row("REQUEST SENSE", 0x03, "01 00 00 ff 00", primary.request_sense, ALWAYS)
    yield _row("INQUIRY", 0x12, "01 ff ff ff 00", inquiry.inquiry, ALWAYS)
    yield _row("REPORT LUNS", 0xA0, "00 ff 00 00 00 ff ff ff ff 00 00", primary.report_luns, ALWAYS)
    yield _row("MODE SENSE (6)", 0x1A, "08 ff ff ff 00", mode.sense_6, QUIET)
    yield _row("MODE SENSE (10)", 0x5A, "18 ff ff 00 00 00 ff ff 00", mode.sense_10, QUIET)
    yield _row("MODE SELECT (6)", 0x15, "11 00 00 ff 00", mode.select_6, Flags.CHANGES | STANDBY)
    yield _row(
        "MODE SELECT (10)", 0x55, "11 00 00 00 00 00 ff ff 00", mode.select_10, Flags.CHANGES | STANDBY
    )
    yield _row("LOG SENSE", 0x4D, "01 ff ff 00 ff ff ff ff 00", primary.log_sense, Flags.FREE | QUIET)
    yield _row("PREVENT ALLOW MEDIUM REMOVAL", 0x1E, "00 00 00 03 00", primary.prevent_allow, Flags.CHANGES)


def _maintenance() -> Iterator[Operation]:
    """MAINTENANCE IN and OUT: ALUA, and the table itself. The table's own two rows are added below."""
    alua_on = _with("alua_support")
    yield _row(
        "REPORT TARGET PORT GROUPS",
        0xA3,
        f"ff 00 00 00 00 {LENGTH32} 00 00",
        alua.report_target_port_groups,
        Flags.FREE | ANY_TIME,
        action=0x0A,
        offered=alua_on,
    )
    yield _row(
        "SET TARGET PORT GROUPS",
        0xA4,
        f"1f 00 00 00 00 {LENGTH32} 00 00",
        alua.set_target_port_groups,
        Flags.CHANGES | STANDBY | Flags.IN_UNAVAILABLE,
        action=0x0A,
        offered=alua_on,
    )


def _reservations() -> Iterator[Operation]:
    on = _with("emulate_pr")
    spc2 = Flags.FREE | STANDBY
    yield _row("RESERVE (6)", 0x16, "00 00 00 00 00", reservations.reserve, spc2, offered=on)
    yield _row(
        "RELEASE (6)", 0x17, "00 00 00 00 00", reservations.release, spc2 | Flags.FREE_SPC2, offered=on
    )
    yield _row("RESERVE (10)", 0x56, "00 00 00 00 00 00 00 00 00", reservations.reserve, spc2, offered=on)
    yield _row(
        "RELEASE (10)",
        0x57,
        "00 00 00 00 00 00 00 00 00",
        reservations.release,
        spc2 | Flags.FREE_SPC2,
        offered=on,
    )
    for action, name, handler in (
        (0x00, "READ KEYS", persistent.read_keys),
        (0x01, "READ RESERVATION", persistent.read_reservation),
        (0x02, "REPORT CAPABILITIES", persistent.report_capabilities),
        (0x03, "READ FULL STATUS", persistent.read_full_status),
    ):
        yield _row(
            f"PERSISTENT RESERVE IN, {name}",
            0x5E,
            "1f 00 00 00 00 00 ff ff 00",
            handler,
            Flags.FREE | QUIET,
            action=action,
            offered=on,
        )
    for action, name, step in (
        (0x00, "REGISTER", persistent.register),
        (0x01, "RESERVE", persistent.reserve),
        (0x02, "RELEASE", persistent.release),
        (0x03, "CLEAR", persistent.clear),
        (0x04, "PREEMPT", persistent.preempt),
        (0x05, "PREEMPT AND ABORT", persistent.preempt_and_abort),
        (0x06, "REGISTER AND IGNORE EXISTING KEY", persistent.register_and_ignore),
        (0x07, "REGISTER AND MOVE", persistent.register_and_move),
    ):
        yield _row(
            f"PERSISTENT RESERVE OUT, {name}",
            0x5F,
            "1f ff 00 00 ff ff ff ff 00",
            persistent.out(step),
            Flags.FREE | STANDBY,
            action=action,
            offered=on,
        )


def _copies() -> Iterator[Operation]:
    on = _with("emulate_3pc")
    yield _row(
        "EXTENDED COPY (LID1)",
        0x83,
        f"1f 00 00 00 00 00 00 00 00 {LENGTH32} 00 00",
        copy.extended_copy,
        SYNC,
        action=0x00,
        timeout=600,
        offered=on,
    )
    for action, name, handler in (
        (0x00, "COPY STATUS", copy.copy_status),
        (0x03, "OPERATING PARAMETERS", copy.operating_parameters),
    ):
        yield _row(
            f"RECEIVE COPY RESULTS, {name}",
            0x84,
            f"1f ff 00 00 00 00 00 00 00 {LENGTH32} 00 00",
            handler,
            Flags.FREE | QUIET,
            action=action,
            offered=on,
        )


_TAILS = {10: f"{LBA32} 1f ff ff 00", 12: f"{LBA32} {LENGTH32} 1f 00", 16: f"{LBA64} {LENGTH32} 1f 00"}
"""What follows the flags byte in a CDB with an LBA and a transfer length. A group number changes nothing
here."""


def _lengths(
    name: str, opcodes: dict[int, int], flags_byte: str, handler: Handler, flags: Flags, *, timeout: int = 30
) -> Iterator[Operation]:
    """One row for each CDB length that a command comes in."""
    for length, opcode in opcodes.items():
        yield _row(
            f"{name} ({length})", opcode, f"{flags_byte} {_TAILS[length]}", handler, flags, timeout=timeout
        )


def _block() -> Iterator[Operation]:
    """Commands of SBC-3 and SBC-4."""
    dpo_fua = Flags.DPO_FUA
    yield _row("START STOP UNIT", 0x1B, "01 00 0f f7 00", primary.start_stop_unit, Flags.CHANGES, timeout=60)
    yield _row(
        "READ CAPACITY (10)",
        0x25,
        f"00 {LBA32} 00 00 00 00",
        block.read_capacity_10,
        READS | Flags.FREE | STANDBY,
    )
    yield _row(
        "READ CAPACITY (16)",
        0x9E,
        f"1f {LBA64} {LENGTH32} 00 00",
        block.read_capacity_16,
        READS | Flags.FREE | STANDBY,
        action=0x10,
    )
    yield _row("READ (6)", 0x08, "1f ff ff ff 00", block.read_6, READS)
    yield _row("WRITE (6)", 0x0A, "1f ff ff ff 00", block.write_6, WRITES)
    yield from _lengths("READ", {10: 0x28, 12: 0xA8, 16: 0x88}, "18", block.read, READS | dpo_fua)
    yield from _lengths("WRITE", {10: 0x2A, 12: 0xAA, 16: 0x8A}, "18", block.write, WRITES | dpo_fua)
    yield from _lengths("VERIFY", {10: 0x2F, 12: 0xAF, 16: 0x8F}, "16", block.verify, READS | dpo_fua)
    yield from _lengths(
        "WRITE AND VERIFY",
        {10: 0x2E, 12: 0xAE, 16: 0x8E},
        "16",
        block.write_and_verify,
        WRITES | dpo_fua,
        timeout=60,
    )
    yield from _lengths("PRE-FETCH", {10: 0x34, 16: 0x90}, "02", block.pre_fetch, READS)
    yield from _lengths(
        "SYNCHRONIZE CACHE", {10: 0x35, 16: 0x91}, "06", block.synchronize_cache, SYNC, timeout=60
    )
    yield _row(
        "ORWRITE (16)",
        0x8B,
        f"18 {_TAILS[16]}",
        atomic.orwrite,
        WRITES | dpo_fua | Flags.EXCLUSIVE,
    )
    yield _row(
        "COMPARE AND WRITE",
        0x89,
        f"18 {LBA64} 00 00 00 ff 1f 00",
        atomic.compare_and_write,
        WRITES | dpo_fua | Flags.EXCLUSIVE,
        offered=_with("emulate_caw"),
    )
    yield _row(
        "WRITE ATOMIC (16)",
        0x9C,
        f"18 {LBA64} {LENGTH32} 1f 00",
        atomic.write_atomic,
        WRITES | dpo_fua | Flags.EXCLUSIVE,
    )
    yield _row(
        "READ DEFECT DATA (10)", 0x37, "00 1f 00 00 00 00 ff ff 00", sanitize.read_defect_data_10, READS
    )
    yield _row(
        "READ DEFECT DATA (12)",
        0xB7,
        f"1f {LBA32} {LENGTH32} 00 00",
        sanitize.read_defect_data_12,
        READS,
    )


def _provisioning() -> Iterator[Operation]:
    same = _with("max_write_same_len")
    yield _row(
        "WRITE SAME (10)",
        0x41,
        f"18 {_TAILS[10]}",
        provisioning.write_same,
        WRITES,
        timeout=60,
        offered=same,
    )
    yield _row(
        "WRITE SAME (16)",
        0x93,
        f"19 {_TAILS[16]}",
        provisioning.write_same,
        WRITES,
        timeout=60,
        offered=same,
    )
    yield _row(
        "UNMAP",
        0x42,
        "01 00 00 00 00 1f ff ff 00",
        provisioning.unmap,
        WRITES,
        timeout=60,
        offered=_with("emulate_tpu"),
    )
    yield _row(
        "GET LBA STATUS",
        0x9E,
        f"1f {LBA64} {LENGTH32} 00 00",
        provisioning.get_lba_status,
        READS,
        action=0x12,
    )
    yield _row(
        "REPORT REFERRALS",
        0x9E,
        f"1f {LBA64} {LENGTH32} 00 00",
        referrals.report_referrals,
        Flags.FREE | ANY_TIME,
        action=0x13,
        offered=lambda unit: referrals.lba_map(unit) is not None,
    )
    for action, name, handler in (
        (0x01, "OVERWRITE", sanitize.overwrite),
        (0x02, "BLOCK ERASE", sanitize.block_erase),
        (0x1F, "EXIT FAILURE MODE", sanitize.exit_failure_mode),
    ):
        yield _row(
            f"SANITIZE, {name}",
            0x48,
            "bf 00 00 00 00 00 ff ff 00",
            handler,
            WRITES | Flags.EXCLUSIVE,
            action=action,
            timeout=3600,
            offered=(lambda unit: unit.erasable) if handler is sanitize.block_erase else (lambda unit: True),
        )


_COMMANDS = (
    *_primary(),
    *_maintenance(),
    *_reservations(),
    *_block(),
    *_provisioning(),
    *_copies(),
    _row(
        "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS",
        0xA3,
        f"1f 80 00 00 00 {LENGTH32} 00 00",
        report.supported_task_management_functions,
        QUIET,
        action=0x0D,
    ),
)


def _report(command: Command) -> None:
    _report_table(command)


TABLE: tuple[Operation, ...] = (
    *_COMMANDS,
    _row(
        "REPORT SUPPORTED OPERATION CODES",
        0xA3,
        f"1f 87 ff ff ff {LENGTH32} 00 00",
        _report,
        QUIET,
        action=0x0C,
    ),
)
_report_table = report.supported_operation_codes(TABLE)

BY_OPCODE: dict[int, Operation] = {row.opcode: row for row in TABLE if row.service_action is None}
BY_ACTION: dict[tuple[int, int], Operation] = {
    (row.opcode, row.service_action): row for row in TABLE if row.service_action is not None
}
WITH_ACTIONS = frozenset(opcode for opcode, _ in BY_ACTION)
