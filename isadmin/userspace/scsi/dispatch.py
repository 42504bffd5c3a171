"""The way of a command through the unit: all checks (admit), then the work (perform).

The server calls admit on the event loop's thread. If the command is not `done` it collects
`data_out_length` bytes into `data_out`, waits for its turn at `unit.gate`, and calls perform until the
command is done: in a pool thread each time `blocking` is set, else on the loop's thread.

The checks come in the order of SAM-5 5.3 and SPC-4 5.12: LUN, unit attentions, reservations, then the CDB;
last write protection, so that what is wrong with a command is said where it may not write too.
"""

from __future__ import annotations

from isadmin.userspace.scsi import alua, referrals, sanitize
from isadmin.userspace.scsi.command import Command, Flags, Operation
from isadmin.userspace.scsi.medium import sense_of
from isadmin.userspace.scsi.nexus import LunPath, Nexus, lun_number, state_of
from isadmin.userspace.scsi.opcodes import BY_ACTION, BY_OPCODE, WITH_ACTIONS
from isadmin.userspace.scsi.sense import (
    Asc,
    CheckCondition,
    ReservationConflict,
    SenseKey,
    Status,
    illegal,
    invalid_field_in_cdb,
)
from isadmin.userspace.scsi.unit import LogicalUnit

NACA = 0x04


def admit(
    nexus: Nexus, lun: int | bytes | memoryview, cdb: bytes | memoryview, expected: int | None = None
) -> Command:
    """Check a command and prepare it.

    lun is a LUN number, or the 8 bytes of a LUN field. cdb may be longer than its command's CDB (a transport
    pads it). expected is how many bytes the initiator has announced to send, if the transport knows: 0 for
    none.
    """
    number = lun if isinstance(lun, int) else lun_number(lun)
    path = nexus.paths.get(number)
    nexus.used = True
    command = Command(nexus, path, bytes(cdb), expected)
    try:
        _admit(command, path)
    except CheckCondition as condition:
        command.data_out_length = 0
        command.check(condition)
    except ReservationConflict:
        command.end(Status.RESERVATION_CONFLICT)
    else:
        command.done = command.work is None
    return command


def perform(command: Command) -> None:
    """Run the next step of an admitted command; `done` says whether it was the last."""
    work = command.work
    command.work = None
    try:
        if work is not None:
            work(command)
    except CheckCondition as condition:
        command.check(condition)
    except ReservationConflict:
        command.end(Status.RESERVATION_CONFLICT)
    except OSError as error:
        command.check(sense_of(error, writing=False))
    command.done = command.work is None


def _admit(command: Command, path: LunPath | None) -> None:
    cdb = command.cdb
    operation = _find(cdb)
    flags = operation.flags if operation is not None else Flags.NONE
    if path is None:
        if not flags & Flags.NO_UNIT:
            raise illegal(Asc.LOGICAL_UNIT_NOT_SUPPORTED)
    else:
        path.counters.num_cmds += 1
        path.unit.counters.num_cmds += 1
        if path.attentions and not flags & Flags.NO_UNIT:
            _report_attention(path)
        if operation is not None:
            _check_unit(command, path, operation)
    if operation is None:
        raise _unknown(cdb, path.unit if path is not None else None)
    if path is not None and not operation.offered(path.unit):
        raise _unknown(cdb, path.unit)
    length = len(operation.usage)
    command.cdb = cdb = cdb[:length].ljust(length, b"\0")
    if cdb[-1] & NACA:
        raise invalid_field_in_cdb(length - 1, 2)
    _check_usage(cdb, operation.usage if path is None else operation.usage_for(path.unit))
    command.operation = operation
    command.exclusive = bool(flags & Flags.EXCLUSIVE)
    operation.handler(command)
    if path is not None and flags & Flags.WRITES:
        _check_protection(path)
    if path is not None and state_of(path.lun) == referrals.LBA_DEPENDENT:
        referrals.check(command)


def _find(cdb: bytes) -> Operation | None:
    opcode = cdb[0]
    if opcode in WITH_ACTIONS:
        return BY_ACTION.get((opcode, cdb[1] & 0x1F))
    return BY_OPCODE.get(opcode)


def _unknown(cdb: bytes, unit: LogicalUnit | None = None) -> CheckCondition:
    """SPC-4 4.2.5.2: a service action that is missing is a wrong field where others of its opcode exist."""
    opcode = cdb[0]
    if any(row.opcode == opcode and (unit is None or row.offered(unit)) for row in BY_ACTION.values()):
        return invalid_field_in_cdb(1, 4)
    return illegal(Asc.INVALID_COMMAND_OPERATION_CODE)


def _report_attention(path: LunPath) -> None:
    # UA_INTLCK_CTRL 10b and 11b keep a unit attention until REQUEST SENSE fetches it (SPC-4 7.5.10).
    asc = path.next_attention(keep=path.unit.value("emulate_ua_intlck_ctrl") > 0)
    if asc is not None:
        raise CheckCondition(SenseKey.UNIT_ATTENTION, asc)


def _check_unit(command: Command, path: LunPath, operation: Operation) -> None:
    """ALUA, reservations and readiness."""
    unit = path.unit
    flags = operation.flags
    alua.check(command, path, operation)
    if unit.reservations.conflicts(path, operation, command.cdb):
        if unit.value("emulate_ua_intlck_ctrl") == 2:
            path.attend(Asc.PREVIOUS_RESERVATION_CONFLICT_STATUS)
        raise ReservationConflict
    condition = sanitize.condition(unit)
    if condition is not None:
        allowed = (
            flags & Flags.WHILE_SANITIZING
            if unit.sanitizing
            else not flags & Flags.MEDIUM or operation.opcode == sanitize.OPCODE
        )
        if not allowed:
            raise condition
    if unit.stopped and flags & Flags.MEDIUM:
        raise CheckCondition(SenseKey.NOT_READY, Asc.INITIALIZING_COMMAND_REQUIRED)


def _check_protection(path: LunPath) -> None:
    if path.read_only:
        software = path.unit.software_write_protect
        asc = Asc.SOFTWARE_WRITE_PROTECTED if software else Asc.WRITE_PROTECTED
        raise CheckCondition(SenseKey.DATA_PROTECT, asc)


def _check_usage(cdb: bytes, usage: bytes) -> None:
    """Refuse bits that mean nothing in this command, pointing at the first."""
    for index, (byte, mask) in enumerate(zip(cdb, usage, strict=True)):
        wrong = byte & ~mask
        if wrong and index:
            raise invalid_field_in_cdb(index, wrong.bit_length() - 1)
