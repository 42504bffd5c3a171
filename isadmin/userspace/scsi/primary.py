"""Commands of every device type (SPC-4): TEST UNIT READY, REQUEST SENSE, REPORT LUNS, ... ."""

from __future__ import annotations

from isadmin.userspace.scsi import sanitize
from isadmin.userspace.scsi.command import Command
from isadmin.userspace.scsi.medium import flush
from isadmin.userspace.scsi.nexus import lun_field
from isadmin.userspace.scsi.sense import (
    Asc,
    SenseKey,
    build,
    invalid_field_in_cdb,
)


def test_unit_ready(command: Command) -> None:
    """SPC-4 6.48. What keeps a unit from being ready is checked before any handler."""
    command.unit.refresh_capacity()


def request_sense(command: Command) -> None:
    """SPC-4 6.39: a pending unit attention, or else the unit's state, as parameter data."""
    cdb = command.cdb
    descriptor = bool(cdb[1] & 1)
    path = command.found
    key, asc, specific = SenseKey.NO_SENSE, Asc.NO_ADDITIONAL_SENSE, b""
    if path is None:
        key, asc = SenseKey.ILLEGAL_REQUEST, Asc.LOGICAL_UNIT_NOT_SUPPORTED
    else:
        attention = path.next_attention()
        condition = sanitize.condition(path.unit)
        if attention is not None:
            key, asc = SenseKey.UNIT_ATTENTION, attention
        elif condition is not None:
            key, asc, specific = condition.key, condition.asc, condition.specific
        elif path.unit.stopped:
            key, asc = SenseKey.NOT_READY, Asc.INITIALIZING_COMMAND_REQUIRED
    command.answer(build(key, asc, descriptor=descriptor, specific=specific), cdb[4])


def report_luns(command: Command) -> None:
    """SPC-4 6.33. Without a single LUN, LUN 0 is reported, as LIO does."""
    cdb = command.cdb
    allocation_length = int.from_bytes(cdb[6:10], "big")
    if allocation_length < 16:
        raise invalid_field_in_cdb(6)
    select_report = cdb[2]
    paths = command.nexus.paths
    if select_report in {0x00, 0x02}:
        numbers = sorted(paths) or [0]
    elif select_report in {0x01, 0x11, 0x12}:
        numbers = []  # no well-known, administrative or subsidiary logical units
    elif select_report == 0x10:
        numbers = []
    else:
        raise invalid_field_in_cdb(2)
    command.nexus.forget(Asc.REPORTED_LUNS_DATA_CHANGED)
    body = b"".join(map(lun_field, numbers))
    command.answer(len(body).to_bytes(4, "big") + bytes(4) + body, allocation_length)


def start_stop_unit(command: Command) -> None:
    """SBC-3 5.25. There is no medium to load or eject; power conditions are taken note of by doing
    nothing."""
    cdb, unit = command.cdb, command.unit
    power_condition, start, load_eject = cdb[4] >> 4, bool(cdb[4] & 1), bool(cdb[4] & 2)
    if load_eject and not power_condition:
        raise invalid_field_in_cdb(4, 1)
    if power_condition:
        if power_condition not in {0x1, 0x2, 0x3, 0x7, 0xA, 0xB}:
            raise invalid_field_in_cdb(4, 7)
        return
    if not start and not cdb[4] & 4 and unit.volatile:
        command.blocking = unit.storage.blocking
        command.work = _flush_and_stop
        return
    _set_stopped(command, not start)


def _flush_and_stop(command: Command) -> None:
    flush(command)
    command.blocking = False
    command.work = lambda c: _set_stopped(c, True)


def _set_stopped(command: Command, stopped: bool) -> None:
    if command.unit.stopped != stopped:
        command.unit.stopped = stopped
        command.unit.refresh_paths()


def prevent_allow(command: Command) -> None:
    """SPC-4 6.17: taken note of; the medium cannot be removed in any case."""
    if command.cdb[4] & 1:
        command.unit.prevented.add(command.path)
    else:
        command.unit.prevented.discard(command.path)


LOG_PAGES = (0x00, 0x2F)
"""Supported log pages; informational exceptions."""


def log_sense(command: Command) -> None:
    """SPC-4 6.9 and 7.3: the list of pages, and the informational exceptions page (nothing to report)."""
    cdb = command.cdb
    page_code, subpage = cdb[2] & 0x3F, cdb[3]
    allocation_length = cdb[7] << 8 | cdb[8]
    if cdb[1] & 1:
        raise invalid_field_in_cdb(1, 0)  # SP: nothing is saved
    if page_code == 0x00 and subpage == 0x00:
        body = bytes(LOG_PAGES)
    elif page_code == 0x00 and subpage == 0xFF:
        body = b"".join(bytes((page, 0)) for page in LOG_PAGES)
        body = b"\x00\x00\x00\xff" + body[2:]
    elif page_code == 0x2F and subpage == 0x00:
        body = b"\x00\x00\x03\x04" + bytes(4)
    else:
        raise invalid_field_in_cdb(2 if page_code not in LOG_PAGES else 3)
    code = page_code | (0x40 if subpage else 0)
    command.answer(bytes((code, subpage)) + len(body).to_bytes(2, "big") + body, allocation_length)
