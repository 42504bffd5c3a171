"""ALUA: logical unit groups, target port groups, and what a LUN shows of its group (SPC-4 5.15)."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator

from isadmin.userspace.configfs.context import Context
from isadmin.userspace.configfs.schema import File, Kind, Show, Store, kind
from isadmin.userspace.configfs.values import PAGE_SIZE, TEXT, U16, as_int, fail, one_of, stripped, unsigned
from isadmin.userspace.model import Device, LuGroup, Lun, TargetPortGroup

NAME_BUFFER = 256
BOOLEAN = frozenset({0, 1})
LBA_DEPENDENT = 4
OFFLINE = 14
TRANSITIONING = 15
STATES = {
    0: ("active_optimized", "Active/Optimized"),
    1: ("active_nonoptimized", "Active/NonOptimized"),
    2: ("standby", "Standby"),
    3: ("unavailable", "Unavailable"),
    LBA_DEPENDENT: ("lba_dependent", "LBA Dependent"),
    OFFLINE: ("offline", "Offline"),
    TRANSITIONING: ("transitioning", "Transitioning"),
}
STATUSES = ("None", "Altered by Explicit STPG", "Altered by Implicit ALUA")
IMPLICIT_STATUS = 2
IMPLICIT, EXPLICIT = 1, 2
TYPES = ("None", "Implicit", "Explicit", "Implicit and Explicit")


def page(lines: Iterator[str]) -> str:
    """As many whole lines as a page takes."""
    text, size = [], 0
    for line in lines:
        size += len(line.encode(*TEXT))
        if size > PAGE_SIZE:
            break
        text.append(line)
    return "".join(text)


# Logical unit groups


def make_lu_group(context: Context, root: object, name: str) -> tuple[Kind, LuGroup]:
    lu_group = LuGroup(name)
    context.root.lu_groups[name] = lu_group
    return LU_GROUP, lu_group


def join_lu_group(device: Device, lu_group: LuGroup | None) -> None:
    if device.lu_group is not None:
        device.lu_group.members.remove(device)
    device.lu_group = lu_group
    if lu_group is not None:
        lu_group.members.append(device)


def _drop_lu_group(context: Context, lu_group: LuGroup) -> None:
    """Members fall back to the default group."""
    del context.root.lu_groups[lu_group.name]
    for device in tuple(lu_group.members):
        join_lu_group(device, context.default_lu_group)


def _store_lu_group_id(context: Context, lu_group: LuGroup, text: str) -> None:
    number = unsigned(text)
    if number > U16 or lu_group.group_id is not None:
        fail(errno.EINVAL)
    taken = {other.group_id for other in context.root.lu_groups.values()}
    if number in taken:
        fail(errno.EINVAL)
    while not number or number in taken:
        context.lu_group_ids += 1
        number = context.lu_group_ids & U16
    lu_group.group_id = number


def _lu_group_members(context: Context, lu_group: LuGroup) -> str:
    return page(f"{device.hba.dirname}/{device.name}\n" for device in lu_group.members)


def _group_id(context: Context, item: LuGroup | TargetPortGroup) -> str:
    return "" if item.group_id is None else f"{item.group_id}\n"


LU_GROUP = kind(
    [File("lu_gp_id", _group_id, _store_lu_group_id), File("members", _lu_group_members)],
    drop=_drop_lu_group,
)


def show_device_lu_group(context: Context, device: Device) -> str:
    lu_group = device.lu_group
    return "" if lu_group is None else f"LU Group Alias: {lu_group.name}\nLU Group ID: {lu_group.group_id}\n"


def store_device_lu_group(context: Context, device: Device, text: str) -> None:
    """Before `enable`, and for pscsi, nothing is a member of a group: accepted without effect."""
    if device.unit is None or device.plugin == "pscsi":
        return
    if len(text) > NAME_BUFFER:
        fail(errno.EINVAL)
    name = stripped(text)
    if name == "NULL":
        if device.lu_group is None:
            fail(errno.EINVAL)  # this write crashes a kernel
        join_lu_group(device, None)
        return
    lu_group = context.root.lu_groups.get(name)
    if lu_group is None or lu_group.group_id is None:
        fail(errno.ENODEV)
    join_lu_group(device, lu_group)


# Target port groups


def make_port_group(context: Context, device: Device, name: str) -> tuple[Kind, TargetPortGroup]:
    port_group = _new_port_group(device, name)
    device.port_groups[name] = port_group
    return PORT_GROUP, port_group


def _new_port_group(device: Device, name: str) -> TargetPortGroup:
    supported = {f"alua_support_{word}": int(state != LBA_DEPENDENT) for state, (word, _) in STATES.items()}
    return TargetPortGroup(device, name, supported=supported)


def default_port_group(context: Context, device: Device) -> Iterable[tuple[str, str, Kind, object]]:
    port_group = _new_port_group(device, "default_tg_pt_gp")
    port_group.group_id = 0
    device.port_groups[port_group.name] = port_group
    yield "alua", port_group.name, PORT_GROUP, port_group


def join_port_group(context: Context, lun: Lun, port_group: TargetPortGroup | None) -> None:
    changed = []
    if lun.port_group is not None:
        lun.port_group.members.remove(lun)
        changed.append(lun.port_group)
    lun.port_group = port_group
    if port_group is not None:
        port_group.members.append(lun)
        changed.append(port_group)
    for each in changed:
        context.engine.alua_changed(each)


def _drop_port_group(context: Context, port_group: TargetPortGroup) -> None:
    """Members fall back to the default group."""
    device = port_group.device
    del device.port_groups[port_group.name]
    for lun in tuple(port_group.members):
        join_port_group(context, lun, device.port_groups["default_tg_pt_gp"])


def _store_port_group_id(context: Context, port_group: TargetPortGroup, text: str) -> None:
    number = unsigned(text)
    if number > U16 or port_group.group_id is not None:
        fail(errno.EINVAL)
    taken = {other.group_id for other in port_group.device.port_groups.values()}
    if number and number in taken:
        fail(errno.EINVAL)
    if not number:
        number = next(candidate for candidate in range(1, U16 + 1) if candidate not in taken)
    port_group.group_id = number
    context.engine.alua_changed(port_group)


def _port_group_members(context: Context, port_group: TargetPortGroup) -> str:
    """Each line has a NUL after it, as the kernel leaves it there."""
    return page(
        f"{FABRIC_NAMES[lun.tpg.target.fabric.name]}/{lun.tpg.target.wwn}"
        f"/tpgt_{lun.tpg.tag}/{lun.dirname}\n\0"
        for lun in port_group.members
    )


FABRIC_NAMES = {"iscsi": "iSCSI", "loopback": "loopback", "vhost": "vhost"}
"""What each fabric calls itself in texts."""


def _together(port_group: TargetPortGroup) -> Iterator[TargetPortGroup]:
    """The groups that change with this one: those of its id on every device of its logical unit group."""
    yield port_group
    lu_group = port_group.device.lu_group
    if lu_group is None or not lu_group.group_id:
        return
    for device in lu_group.members:
        for other in device.port_groups.values():
            if other is not port_group and other.group_id == port_group.group_id is not None:
                yield other


def _store_access_state(context: Context, port_group: TargetPortGroup, text: str) -> None:
    if port_group.group_id is None:
        fail(errno.EINVAL)
    if port_group.device.unit is None:
        fail(errno.ENODEV)
    state = as_int(unsigned(text))
    if not port_group.access_type & IMPLICIT:
        fail(errno.EINVAL)
    if state == LBA_DEPENDENT and port_group.access_type & EXPLICIT:
        fail(errno.EINVAL)
    if state not in STATES or not port_group.supported[f"alua_support_{STATES[state][0]}"]:
        fail(errno.EINVAL)
    for each in _together(port_group):
        if each.access_state != state:
            each.access_state = state
            each.access_status = IMPLICIT_STATUS
            context.engine.alua_changed(each)


def _store_access_status(context: Context, port_group: TargetPortGroup, text: str) -> None:
    if port_group.group_id is None:
        fail(errno.EINVAL)
    status = as_int(unsigned(text))
    if status not in range(len(STATUSES)):
        fail(errno.EINVAL)
    port_group.access_status = status
    context.engine.alua_changed(port_group)


def _store_support(name: str) -> Store:
    def store(context: Context, port_group: TargetPortGroup, text: str) -> None:
        if port_group.group_id is None:
            fail(errno.EINVAL)
        port_group.supported[name] = one_of(text, BOOLEAN)
        context.engine.alua_changed(port_group)

    return store


def _show_support(name: str) -> Show:
    return lambda context, port_group: f"{port_group.supported[name]}\n"


def _number(name: str, attribute: str, allowed: range) -> File:
    def store(context: Context, port_group: TargetPortGroup, text: str) -> None:
        setattr(port_group, attribute, one_of(text, allowed))
        context.engine.alua_changed(port_group)

    return File(name, lambda context, port_group: f"{getattr(port_group, attribute)}\n", store)


def _supports() -> Iterator[File]:
    for state in (TRANSITIONING, OFFLINE, LBA_DEPENDENT, 3, 2, 0, 1):
        name = f"alua_support_{STATES[state][0]}"
        yield File(name, _show_support(name), _store_support(name))


def _store_access_type(context: Context, port_group: TargetPortGroup, text: str) -> None:
    port_group.access_type = one_of(text, range(len(TYPES)))
    context.engine.alua_changed(port_group)


PORT_GROUP = kind(
    [
        File("alua_access_state", lambda context, g: f"{g.access_state}\n", _store_access_state),
        File("alua_access_status", lambda context, g: f"{STATUSES[g.access_status]}\n", _store_access_status),
        File("alua_access_type", lambda context, g: f"{TYPES[g.access_type]}\n", _store_access_type),
        *_supports(),
        _number("alua_write_metadata", "write_metadata", range(2)),
        _number("nonop_delay_msecs", "nonop_delay_msecs", range(10_001)),
        _number("trans_delay_msecs", "trans_delay_msecs", range(30_001)),
        _number("implicit_trans_secs", "implicit_trans_secs", range(256)),
        _number("preferred", "preferred", range(2)),
        File("tg_pt_gp_id", _group_id, _store_port_group_id),
        File("members", _port_group_members),
    ],
    drop=_drop_port_group,
)


# What a LUN shows


def _linked(lun: Lun) -> Device:
    if lun.device is None:
        fail(errno.ENODEV)
    return lun.device


def _show_lun_group(context: Context, lun: Lun) -> str:
    _linked(lun)
    g = lun.port_group
    if g is None:
        return ""
    return (
        f"TG Port Alias: {g.name}\nTG Port Group ID: {g.group_id}\n"
        f"TG Port Primary Access State: {STATES[g.access_state][1]}\n"
        f"TG Port Primary Access Status: {STATUSES[g.access_status]}\n"
        f"TG Port Secondary Access State: {'Offline' if lun.offline else 'None'}\n"
        f"TG Port Secondary Access Status: {STATUSES[lun.secondary_status]}\n"
    )


def _store_lun_group(context: Context, lun: Lun, text: str) -> None:
    device = _linked(lun)
    if lun.port_group is None:
        fail(errno.ENODEV)
    if len(text) > NAME_BUFFER:
        fail(errno.EINVAL)
    name = stripped(text)
    wanted = device.port_groups.get("default_tg_pt_gp" if name == "NULL" else name)
    if wanted is None or wanted.group_id is None:
        fail(errno.ENODEV)
    join_port_group(context, lun, wanted)


def _store_offline(context: Context, lun: Lun, text: str) -> None:
    _linked(lun)
    if lun.port_group is None:
        fail(errno.ENODEV)
    lun.offline = one_of(text, BOOLEAN)
    lun.secondary_status = IMPLICIT_STATUS
    context.engine.alua_changed(lun.port_group)


def _store_secondary_status(context: Context, lun: Lun, text: str) -> None:
    _linked(lun)
    lun.secondary_status = one_of(text, range(len(STATUSES)))


def _store_secondary_write_metadata(context: Context, lun: Lun, text: str) -> None:
    _linked(lun)
    lun.secondary_write_metadata = one_of(text, BOOLEAN)


def _lun_number(attribute: str) -> Show:
    def show(context: Context, lun: Lun) -> str:
        _linked(lun)
        return f"{getattr(lun, attribute)}\n"

    return show


LUN_FILES = (
    File("alua_tg_pt_gp", _show_lun_group, _store_lun_group),
    File("alua_tg_pt_offline", _lun_number("offline"), _store_offline),
    File("alua_tg_pt_status", _lun_number("secondary_status"), _store_secondary_status),
    File("alua_tg_pt_write_md", _lun_number("secondary_write_metadata"), _store_secondary_write_metadata),
)
