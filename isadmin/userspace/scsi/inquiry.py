"""INQUIRY: standard data and vital product data pages (SPC-4 6.6 and 7.8, SBC-3 6.6), as LIO makes them."""

from __future__ import annotations

import struct
from collections.abc import Callable

from isadmin.userspace.scsi import referrals
from isadmin.userspace.scsi.command import Command
from isadmin.userspace.scsi.nexus import LunPath
from isadmin.userspace.scsi.sense import invalid_field_in_cdb

MAX_COMPARE_AND_WRITE_BLOCKS = 1
MAX_ATOMIC_BLOCKS = 256
NOT_CONNECTED = 0x7F
"""Peripheral qualifier 011b, device type 1Fh: no unit at this LUN."""
VERSIONS = (0x00A0, 0x0960, 0x0460, 0x04C0)
"""SAM-5, iSCSI, SPC-4, SBC-3 (no version claimed)."""
PROTOCOL_ISCSI = 0x5
REFERRALS = 0xB3
"""A page that units have with an lba_map only."""
_HEADER = struct.Struct(">BBH")
_BLOCK_LIMITS = struct.Struct(">BBHIIIIIIIQIIIII")


def inquiry(command: Command) -> None:
    cdb = command.cdb
    evpd, page_code = cdb[1] & 1, cdb[2]
    allocation_length = cdb[3] << 8 | cdb[4]
    path = command.found
    if path is None:
        if evpd or page_code:
            raise invalid_field_in_cdb(2 if page_code else 1)
        command.answer(bytes((NOT_CONNECTED, 0, 6, 2, 91)).ljust(96, b"\0"), allocation_length)
    elif evpd:
        page = PAGES.get(page_code)
        if page is None or page_code not in supported_pages(path):
            raise invalid_field_in_cdb(2)
        body = page(path)
        command.answer(_HEADER.pack(0, page_code, len(body)) + body, allocation_length)
    elif page_code:
        raise invalid_field_in_cdb(2)
    else:
        command.answer(standard_data(path), allocation_length)


def text(value: str, length: int) -> bytes:
    """Left-aligned ASCII, padded with spaces (SPC-4 4.4.1)."""
    return value.encode("ascii", "replace")[:length].ljust(length)


def standard_data(path: LunPath) -> bytes:
    unit = path.unit
    device = unit.device
    group = path.lun.port_group
    tpgs = group.access_type if group is not None else 0
    copies = 0x08 if unit.value("emulate_3pc") else 0
    data = bytearray(96)
    data[2] = 0x06  # SPC-4
    data[3] = 0x02  # response data format
    data[4] = len(data) - 5
    data[5] = tpgs << 4 | copies
    data[7] = 0x02  # CMDQUE
    data[8:16] = text(device.vendor, 8)
    data[16:32] = text(device.product, 16)
    data[32:36] = text(device.revision, 4)
    for index, version in enumerate(VERSIONS):
        struct.pack_into(">H", data, 58 + 2 * index, version)
    return bytes(data)


def supported_pages(path: LunPath) -> bytes:
    referred = referrals.lba_map(path.unit) is not None
    return bytes(page for page in sorted(PAGES) if page != REFERRALS or referred)


def serial_number(path: LunPath) -> bytes:
    return path.unit.device.serial.encode()[:252]


def naa(company_id: int, serial: str) -> bytes:
    """LIO's NAA IEEE Registered Extended identifier (SPC-4 7.8.6.6.5): the company id, then the first 25 hex
    digits that the unit serial number holds, whatever stands between them."""
    digits = "".join(c for c in serial if c in "0123456789abcdefABCDEF")[:25]
    return bytes.fromhex(f"6{company_id & 0xFFFFFF:06x}{digits:0<25}")


def device_identification(path: LunPath) -> bytes:
    """The designators in LIO's order (SPC-4 7.8.6)."""
    device = path.unit.device
    target = path.nexus.target
    lun = path.lun
    parts = []
    if device.serial:
        parts.append(designator(0x01, 0x03, naa(device.company_id, device.serial)))
    name = f"{device.product}:{device.serial}" if device.serial else ""
    parts.append(designator(0x02, 0x01, text(device.vendor, 8) + name.encode() + b"\0"))
    port = PROTOCOL_ISCSI << 4
    parts.append(designator(port | 0x01, 0x94, struct.pack(">HH", 0, lun.relative_target_port)))
    if lun.port_group is not None and lun.port_group.group_id is not None:
        parts.append(designator(port | 0x01, 0x95, struct.pack(">HH", 0, lun.port_group.group_id)))
    if device.lu_group is not None and device.lu_group.group_id is not None:
        parts.append(designator(0x01, 0x06, struct.pack(">HH", 0, device.lu_group.group_id)))
    parts.append(designator(port | 0x03, 0x98, name_string(f"{target},t,0x{path.nexus.tpgt:04x}")))
    parts.append(designator(port | 0x03, 0xA8, name_string(target)))
    return b"".join(parts)


def designator(protocol_and_code_set: int, kind: int, body: bytes) -> bytes:
    return bytes((protocol_and_code_set, kind, 0, len(body))) + body


def name_string(value: str) -> bytes:
    """A SCSI name string: UTF-8, ended and padded to a multiple of four with NULs (SPC-4 7.8.6.11)."""
    data = value.encode() + b"\0"
    return (data + bytes(-len(data) % 4))[:252]


def extended_inquiry(path: LunPath) -> bytes:
    """SPC-4 7.8.7."""
    body = bytearray(60)
    body[1] = 0x07  # HEADSUP, ORDSUP, SIMPSUP
    body[2] = 0x01 if path.unit.volatile else 0  # V_SUP
    body[3] = 0x01  # LUICLR: one unit that tells of a changed LUN inventory tells for all of the nexus
    if referrals.lba_map(path.unit) is not None:
        body[4] = 0x10  # R_SUP
    return bytes(body)


def block_limits(path: LunPath) -> bytes:
    """SBC-3 6.6.4."""
    unit = path.unit
    thin = unit.thin
    alignment = unit.value("unmap_granularity_alignment") if thin else 0
    atomic = min(MAX_ATOMIC_BLOCKS, unit.max_blocks)
    optimal = unit.value("optimal_sectors") * unit.hw_block_size // unit.block_size
    body = bytearray(60)
    _BLOCK_LIMITS.pack_into(
        body,
        0,
        0,  # WSNZ: WRITE SAME of 0 blocks goes to the end of the unit
        MAX_COMPARE_AND_WRITE_BLOCKS if unit.value("emulate_caw") else 0,
        max(1, unit.storage.facts.physical_block_size // unit.block_size),
        unit.max_blocks,
        min(optimal, unit.max_blocks),
        0,
        unit.value("max_unmap_lba_count") if thin else 0,
        unit.value("max_unmap_block_desc_count") if thin else 0,
        unit.value("unmap_granularity") if thin else 0,
        alignment | (0x8000_0000 if alignment else 0),
        unit.value("max_write_same_len"),
        atomic,
        0,
        0,
        0,
        0,
    )
    return bytes(body)


def device_characteristics(path: LunPath) -> bytes:
    """SBC-3 6.6.5: whether the medium rotates, and what follows a SANITIZE."""
    body = bytearray(60)
    body[1] = 1 if path.unit.value("is_nonrot") else 0
    # WABEREQ 01b: after SANITIZE BLOCK ERASE, where that is offered, reads work.
    body[3] = 0x40 if path.unit.erasable else 0
    return bytes(body)


def provisioning(path: LunPath) -> bytes:
    """SBC-3 6.6.6."""
    unit = path.unit
    bits = 0
    if unit.value("emulate_tpu"):
        bits |= 0x80
    if unit.value("emulate_tpws"):
        bits |= 0x60
    if unit.thin and unit.value("unmap_zeroes_data"):
        bits |= 0x04
    return bytes((0, bits, 2 if unit.thin else 0, 0))


PAGES: dict[int, Callable[[LunPath], bytes]] = {
    0x00: supported_pages,
    0x80: serial_number,
    0x83: device_identification,
    0x86: extended_inquiry,
    0xB0: block_limits,
    0xB1: device_characteristics,
    0xB2: provisioning,
    REFERRALS: referrals.page,
}
