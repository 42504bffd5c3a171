"""MODE SENSE and MODE SELECT (SPC-4 6.11 to 6.14, 7.5; SBC-3 6.5): the pages, and which bits may be
changed."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from isadmin.userspace.scsi.command import Command
from isadmin.userspace.scsi.nexus import LunPath
from isadmin.userspace.scsi.sense import (
    Asc,
    illegal,
    invalid_field_in_cdb,
    invalid_parameter,
    list_length_error,
)
from isadmin.userspace.scsi.unit import LogicalUnit

ALL_PAGES = 0x3F
ALL_SUBPAGES = 0xFF
CURRENT, CHANGEABLE, DEFAULT, SAVED = range(4)
WP = 0x80
DPOFUA = 0x10
SWP = 0x08
D_SENSE = 0x04
_DESCRIPTOR = struct.Struct(">II")
_LONG_DESCRIPTOR = struct.Struct(">QII")


@dataclass(frozen=True, slots=True)
class Page:
    """One mode page: its bytes after the two of its header."""

    code: int
    current: Callable[[LogicalUnit], bytes]
    changeable: bytes

    def whole(self, unit: LogicalUnit, page_control: int) -> bytes:
        if page_control == CHANGEABLE:
            body = self.changeable
        elif page_control == DEFAULT:
            body = bytes(b & ~m for b, m in zip(self.current(unit), self.changeable, strict=True))
        else:
            body = self.current(unit)
        return bytes((self.code, len(body))) + body


def error_recovery(unit: LogicalUnit) -> bytes:
    return bytes(10)


def caching(unit: LogicalUnit) -> bytes:
    body = bytearray(18)
    body[0] = 0x04 if unit.volatile else 0  # WCE
    body[10] = 0x20  # DRA
    return bytes(body)


def control(unit: LogicalUnit) -> bytes:
    body = bytearray(10)
    body[0] = 0x02 | (D_SENSE if unit.descriptor_sense else 0)  # GLTSD: nothing is saved
    body[1] = 0 if unit.value("emulate_rest_reord") else 0x10  # unrestricted reordering
    body[2] = {1: 0x20, 2: 0x30}.get(unit.value("emulate_ua_intlck_ctrl"), 0)
    if unit.software_write_protect:
        body[2] |= SWP
    body[3] = 0x40 if unit.value("emulate_tas") else 0
    body[6:8] = b"\xff\xff"  # busy timeout: unlimited
    body[9] = 30  # extended self-test completion time
    return bytes(body)


def informational_exceptions(unit: LogicalUnit) -> bytes:
    return bytes(10)


PAGES = {
    page.code: page
    for page in (
        Page(0x01, error_recovery, bytes(10)),
        Page(0x08, caching, bytes(18)),
        Page(0x0A, control, bytes((D_SENSE, 0, SWP)).ljust(10, b"\0")),
        Page(0x1C, informational_exceptions, bytes(10)),
    )
}


def device_specific_parameter(path: LunPath) -> int:
    return (WP if path.read_only else 0) | (DPOFUA if path.unit.dpo_fua else 0)


def _pages(unit: LogicalUnit, cdb: bytes) -> bytes:
    page_control, code, subpage = cdb[2] >> 6, cdb[2] & 0x3F, cdb[3]
    if page_control == SAVED:
        raise illegal(Asc.SAVING_PARAMETERS_NOT_SUPPORTED)
    if subpage not in {0, ALL_SUBPAGES}:
        raise invalid_field_in_cdb(3)
    if code == ALL_PAGES:
        return b"".join(page.whole(unit, page_control) for page in PAGES.values())
    page = PAGES.get(code)
    if page is None:
        raise invalid_field_in_cdb(2, 5)
    return page.whole(unit, page_control)


def sense_6(command: Command) -> None:
    cdb, unit = command.cdb, command.unit
    descriptor = b"" if cdb[1] & 0x08 else _short_descriptor(unit)
    pages = _pages(unit, cdb)
    specific = device_specific_parameter(command.path)
    length = 3 + len(descriptor) + len(pages)
    command.answer(bytes((length, 0, specific, len(descriptor))) + descriptor + pages, cdb[4])


def sense_10(command: Command) -> None:
    cdb, unit = command.cdb, command.unit
    long_lba = bool(cdb[1] & 0x10)
    if cdb[1] & 0x08:
        descriptor = b""
    elif long_lba:
        descriptor = _LONG_DESCRIPTOR.pack(unit.blocks, 0, unit.block_size)
    else:
        descriptor = _short_descriptor(unit)
    pages = _pages(unit, cdb)
    header = struct.pack(
        ">HBBBxH",
        6 + len(descriptor) + len(pages),
        0,
        device_specific_parameter(command.path),
        1 if long_lba and descriptor else 0,
        len(descriptor),
    )
    command.answer(header + descriptor + pages, cdb[7] << 8 | cdb[8])


def _short_descriptor(unit: LogicalUnit) -> bytes:
    return _DESCRIPTOR.pack(min(unit.blocks, 0xFFFFFFFF), unit.block_size)


def select_6(command: Command) -> None:
    _select(command, command.cdb[4], 4)


def select_10(command: Command) -> None:
    _select(command, command.cdb[7] << 8 | command.cdb[8], 8)


def _select(command: Command, length: int, header: int) -> None:
    flags = command.cdb[1]
    if not flags & 0x10:
        raise invalid_field_in_cdb(1, 4)  # PF: only pages are understood
    if flags & 0x01:
        raise invalid_field_in_cdb(1, 0)  # SP: nothing is saved
    if not length:
        return
    if length < header:
        raise list_length_error()
    command.data_out_length = length
    command.work = _select_work


def _select_work(command: Command) -> None:
    unit = command.unit
    data = command.parameters()
    long_header = command.cdb[0] == 0x55
    header = 8 if long_header else 4
    if len(data) < header:
        raise list_length_error()
    descriptor_length = data[6] << 8 | data[7] if long_header else data[3]
    if long_header and data[4] & 1 and descriptor_length not in {0, 16}:
        raise invalid_parameter(6)
    _check_descriptor(unit, data, header, descriptor_length, long_lba=long_header and bool(data[4] & 1))
    offset = header + descriptor_length
    changed: dict[int, bytes] = {}
    while offset < len(data):
        offset = _check_page(unit, data, offset, changed)
    if 0x0A in changed:
        body = changed[0x0A]
        unit.descriptor_sense = bool(body[0] & D_SENSE)
        unit.software_write_protect = bool(body[2] & SWP)
        unit.refresh_paths()
    if changed:
        unit.attend(Asc.MODE_PARAMETERS_CHANGED, but=command.path)


def _check_descriptor(unit: LogicalUnit, data: bytes, header: int, length: int, *, long_lba: bool) -> None:
    """A block descriptor may repeat what is, or say 0 blocks (no change); no other size can be had."""
    if not length:
        return
    if length != (16 if long_lba else 8):
        raise invalid_parameter(header - 2 if header == 8 else 3)
    if len(data) < header + length:
        raise list_length_error()
    if long_lba:
        blocks, _, block_size = _LONG_DESCRIPTOR.unpack_from(data, header)
    else:
        blocks, block_size = _DESCRIPTOR.unpack_from(data, header)
        block_size &= 0xFFFFFF
    if blocks not in {0, unit.blocks, 0xFFFFFFFF}:
        raise invalid_parameter(header)
    if block_size not in {0, unit.block_size}:
        raise invalid_parameter(header + length - 3)


def _check_page(unit: LogicalUnit, data: bytes, offset: int, changed: dict[int, bytes]) -> int:
    """Check the page at `offset`; note it in `changed` if it is news. Returns where the next one starts."""
    code = data[offset] & 0x3F
    page = PAGES.get(code)
    if page is None or data[offset] & 0x40:
        raise invalid_parameter(offset, 5)
    if offset + 2 > len(data):
        raise list_length_error()
    current = changed.get(code) or page.current(unit)
    if data[offset + 1] != len(current):
        raise invalid_parameter(offset + 1)
    start = offset + 2
    body = data[start : start + len(current)]
    if len(body) < len(current):
        raise list_length_error()
    for index, (old, new, mask) in enumerate(zip(current, body, page.changeable, strict=True)):
        if (old ^ new) & ~mask:
            raise invalid_parameter(start + index)
    if body != current:
        changed[code] = body
    return start + len(body)
