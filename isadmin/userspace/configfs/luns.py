"""LUNs, node ACLs' directories and mapped LUNs, as every fabric has them."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable

from isadmin.userspace.configfs import statistics
from isadmin.userspace.configfs.alua import BOOLEAN, LUN_FILES, join_port_group
from isadmin.userspace.configfs.context import Context
from isadmin.userspace.configfs.schema import File, Group, Kind, group, kind
from isadmin.userspace.configfs.values import U16, fail, one_of, signed, unsigned
from isadmin.userspace.model import Device, Lun, MappedLun, NodeAcl, Target, Tpg

# LUNs


def make_lun(context: Context, tpg: Tpg, name: str) -> tuple[Kind, Lun]:
    """<anything>_<number>; the kernel does not look whether another name has the number already."""
    _, underscore, number = name.partition("_")
    if not underscore:
        fail(errno.EINVAL)
    lun = Lun(tpg, unsigned(number), name)
    tpg.luns.setdefault(lun.number, lun)
    return LUN, lun


def _drop_lun(context: Context, lun: Lun) -> None:
    if lun.tpg.luns.get(lun.number) is lun:
        del lun.tpg.luns[lun.number]


def _check_lun_link(context: Context, lun: Lun, source: object) -> None:
    if not isinstance(source, Device):
        fail(errno.EFAULT)
    if source.unit is None:
        fail(errno.ENODEV)
    if lun.device is not None:
        fail(errno.EEXIST)


def _relative_target_port(device: Device) -> int:
    """A number that no other LUN of the device has (SPC-4 7.8.6.5: 1 and up)."""
    taken = {lun.relative_target_port for lun in device.exports} if device.next_rtpi > U16 else set()
    while True:
        number = device.next_rtpi & U16
        device.next_rtpi += 1
        if number and number not in taken:
            return number


def _link_lun(context: Context, lun: Lun, source: object, name: str) -> None:
    assert isinstance(source, Device)
    lun.device = source
    lun.link_name = name
    lun.relative_target_port = _relative_target_port(source)
    lun.tpg.luns[lun.number] = lun
    source.exports.append(lun)
    if source.plugin != "pscsi":
        join_port_group(context, lun, source.port_groups["default_tg_pt_gp"])
    context.engine.lun_changed(lun)


def _unlink_lun(context: Context, lun: Lun) -> None:
    """Mappings of the LUN stay and are dead; its port's secondary state is that of what is linked next."""
    device = lun.device
    if device is None:
        return
    for name in [*dict.fromkeys(mapped.acl.initiator for mapped in lun.mapped), ""]:
        context.engine.access_lost(lun, name)
    device.exports.remove(lun)
    lun.device = None
    lun.link_name = ""
    join_port_group(context, lun, None)
    for mapped in lun.mapped:
        mapped.lun = None
    lun.mapped.clear()
    context.engine.lun_changed(lun)


LUN = kind(
    LUN_FILES,
    [statistics.LUN],
    drop=_drop_lun,
    check_link=_check_lun_link,
    link=_link_lun,
    unlink=_unlink_lun,
)


# Mapped LUNs


def make_mapped_lun(context: Context, acl: NodeAcl, name: str) -> tuple[Kind, MappedLun]:
    if not name.startswith("lun_"):
        fail(errno.EINVAL)
    mapped = MappedLun(acl, unsigned(name[4:]))
    acl.mapped.setdefault(mapped.number, mapped)
    return MAPPED_LUN, mapped


def _drop_mapped_lun(context: Context, mapped: MappedLun) -> None:
    if mapped.acl.mapped.get(mapped.number) is mapped:
        del mapped.acl.mapped[mapped.number]


def _check_mapped_link(context: Context, mapped: MappedLun, source: object) -> None:
    if not isinstance(source, Lun):
        fail(errno.EFAULT)
    tpg = mapped.acl.tpg
    if source.device is None or source.tpg is not tpg or statistics.mapping(mapped) is not None:
        fail(errno.EINVAL)


def _link_mapped(context: Context, mapped: MappedLun, source: object, name: str) -> None:
    assert isinstance(source, Lun)
    mapped.lun = source
    mapped.link_name = name
    mapped.created = context.clock()
    tpg = mapped.acl.tpg
    device = source.device
    read_only = device is not None and device.control.get("readonly", "0") != "0"
    mapped.write_protect = read_only or bool(tpg.attrib.get("prod_mode_write_protect"))
    source.mapped.append(mapped)
    mapped.acl.mapped[mapped.number] = mapped
    context.engine.mapped_lun_changed(mapped)


def _unlink_mapped(context: Context, mapped: MappedLun) -> None:
    if mapped.lun is not None:
        context.engine.access_lost(mapped.lun, mapped.acl.initiator)
        mapped.lun.mapped.remove(mapped)
    mapped.lun = None
    mapped.link_name = ""
    mapped.write_protect = False
    context.engine.mapped_lun_changed(mapped)


def _show_write_protect(context: Context, mapped: MappedLun) -> str:
    current = statistics.mapping(mapped)
    return "" if current is None else f"{int(current.write_protect)}\n"


def _store_write_protect(context: Context, mapped: MappedLun, text: str) -> None:
    """Without a mapping it is taken and forgotten."""
    value = one_of(text, BOOLEAN)
    current = statistics.mapping(mapped)
    if current is not None:
        current.write_protect = bool(value)
        context.engine.mapped_lun_changed(current)


MAPPED_LUN = kind(
    [File("write_protect", _show_write_protect, _store_write_protect)],
    [statistics.MAPPED_LUN],
    drop=_drop_mapped_lun,
    check_link=_check_mapped_link,
    link=_link_mapped,
    unlink=_unlink_mapped,
)


# Node ACLs


def new_acl(context: Context, tpg: Tpg, name: str) -> NodeAcl:
    context.acls_made += 1
    acl = NodeAcl(tpg, name, index=context.acls_made)
    tpg.acls[name] = acl
    return acl


def drop_acl(context: Context, acl: NodeAcl) -> None:
    del acl.tpg.acls[acl.initiator]
    context.engine.acl_removed(acl)


def acl_kind(files: Iterable[File], groups: Iterable[Group]) -> Kind:
    """attrib, auth, param and fabric_statistics are always there, if empty for some fabrics."""
    given = {g.name: g for g in groups}
    names = ("attrib", "auth", "param", "fabric_statistics")
    return kind(files, [given.get(n, group(n)) for n in names], make_mapped_lun, drop=drop_acl)


# Portal groups' fixed directories


def tpg_groups(
    make_acl: Callable[[Context, Tpg, str], tuple[Kind, NodeAcl]], groups: Iterable[Group]
) -> list[Group]:
    """lun, np, acls, attrib, auth, param: the same for every fabric, with what `groups` gives in place of the
    empty ones. Without portals mkdir in np is ENOSYS."""
    given = {g.name: g for g in groups}
    listed = [
        group("lun", make=make_lun),
        group("np", make_errno=errno.ENOSYS),
        group("acls", make=make_acl),
        group("attrib"),
        group("auth"),
        group("param"),
    ]
    return [given.get(g.name, g) for g in listed]


# Targets' fixed directories


def _store_affinity(context: Context, target: Target, text: str) -> None:
    try:
        value = signed(text)
    except OSError:
        fail(errno.EINVAL)
    if not -2 <= value < context.cpus:
        fail(errno.EINVAL)
    target.cmd_completion_affinity = value


def target_param() -> Group:
    return group(
        "param",
        [
            File(
                "cmd_completion_affinity",
                lambda context, target: f"{target.cmd_completion_affinity}\n",
                _store_affinity,
            )
        ],
    )
