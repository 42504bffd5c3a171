"""Asymmetric logical unit access (SPC-4 5.11), from the target port groups of configfs."""

from __future__ import annotations

import struct

from isadmin.userspace.model import TargetPortGroup
from isadmin.userspace.scsi.command import Command, Flags, Operation
from isadmin.userspace.scsi.nexus import LunPath, state_of
from isadmin.userspace.scsi.sense import (
    Asc,
    CheckCondition,
    SenseKey,
    illegal,
    invalid_field_in_cdb,
    invalid_parameter,
    list_length_error,
)

OPTIMIZED, NON_OPTIMIZED, STANDBY, UNAVAILABLE, LBA_DEPENDENT = range(5)
OFFLINE = 14
TRANSITIONING = 15
MAX_PORTS = 255
"""REPORT TARGET PORT GROUPS counts a group's ports in one byte; it tells of no more."""
EXPLICIT = 2
"""The bit of access_type that lets SET TARGET PORT GROUPS in."""
STATUS_EXPLICIT = 1

SUPPORT = (
    ("alua_support_transitioning", 0x80),
    ("alua_support_offline", 0x40),
    ("alua_support_lba_dependent", 0x10),
    ("alua_support_unavailable", 0x08),
    ("alua_support_standby", 0x04),
    ("alua_support_active_nonoptimized", 0x02),
    ("alua_support_active_optimized", 0x01),
)
STATE_BIT = {OPTIMIZED: 0x01, NON_OPTIMIZED: 0x02, STANDBY: 0x04, UNAVAILABLE: 0x08, LBA_DEPENDENT: 0x10}

_REFUSED = {
    STANDBY: Asc.ALUA_STANDBY,
    UNAVAILABLE: Asc.ALUA_UNAVAILABLE,
    OFFLINE: Asc.TARGET_PORT_OFFLINE,
    TRANSITIONING: Asc.ALUA_TRANSITION,
}


def refuses(path: LunPath) -> bool:
    """Whether the path's state keeps it from the medium."""
    return state_of(path.lun) in _REFUSED


def check(command: Command, path: LunPath, operation: Operation) -> None:
    """Refuse what the path's access state does not allow; note the delay of a non-optimized one."""
    state = state_of(path.lun)
    if state == OPTIMIZED:
        return
    if state == NON_OPTIMIZED:
        group = path.lun.port_group
        command.delay = group.nonop_delay_msecs / 1000 if group is not None else 0.0
    elif state in _REFUSED:
        allowed = Flags.IN_STANDBY if state == STANDBY else Flags.IN_UNAVAILABLE
        if not operation.flags & allowed:
            raise CheckCondition(SenseKey.NOT_READY, _REFUSED[state])


def _groups(command: Command) -> list[TargetPortGroup]:
    groups = command.unit.device.port_groups.values()
    return sorted((g for g in groups if g.group_id is not None), key=lambda g: g.group_id or 0)


def _supported(group: TargetPortGroup) -> int:
    return sum(bit for name, bit in SUPPORT if group.supported.get(name, 1))


def report_target_port_groups(command: Command) -> None:
    """SPC-4 6.37, in both parameter data formats."""
    cdb = command.cdb
    data_format = cdb[1] >> 5
    if data_format > 1:
        raise invalid_field_in_cdb(1, 7)
    body = b""
    if data_format == 1:
        group = command.path.lun.port_group
        body = struct.pack(">BBH", 0x10, group.implicit_trans_secs if group is not None else 0, 0)
    for group in _groups(command):
        members = group.members[:MAX_PORTS]
        body += struct.pack(
            ">BBHBBBB",
            (0x80 if group.preferred else 0) | group.access_state,
            _supported(group),
            group.group_id,
            0,
            group.access_status,
            0,
            len(members),
        )
        body += b"".join(struct.pack(">HH", 0, lun.relative_target_port) for lun in members)
    command.answer(struct.pack(">I", len(body)) + body, int.from_bytes(cdb[6:10], "big"))


def set_target_port_groups(command: Command) -> None:
    """SPC-4 6.45. Only for a path whose group has explicit ALUA."""
    group = command.path.lun.port_group
    if group is None or not group.access_type & EXPLICIT:
        raise illegal(Asc.INVALID_COMMAND_OPERATION_CODE)
    length = int.from_bytes(command.cdb[6:10], "big")
    if not length:
        return
    if length < 8 or length > 4096:
        raise list_length_error()
    command.data_out_length = length
    command.work = _set_work


def _set_work(command: Command) -> None:
    data = command.parameters()
    if len(data) < 8 or len(data) % 4:
        raise list_length_error()
    groups = {group.group_id: group for group in _groups(command)}
    wanted = []
    for offset in range(4, len(data), 4):
        state, group_id = data[offset] & 0x0F, data[offset + 2] << 8 | data[offset + 3]
        group = groups.get(group_id)
        if group is None:
            raise invalid_parameter(offset + 2)
        if state not in STATE_BIT or not _supported(group) & STATE_BIT[state]:
            raise invalid_parameter(offset, 3)
        wanted.append((group, state))
    changed = []
    for group, state in wanted:
        if group.access_state != state:
            group.access_state = state
            group.access_status = STATUS_EXPLICIT
            command.unit.alua_changed(group, but=command.path)
            changed.append(group)
    keep = command.unit.keep_alua
    if changed and keep is not None:
        # The answer waits until the new states are kept.
        settle = keep(changed)
        command.blocking = True
        command.work = lambda _: settle()
