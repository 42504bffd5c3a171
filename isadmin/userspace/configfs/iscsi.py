"""The iSCSI fabric: targets, portal groups, portals, node ACLs."""

from __future__ import annotations

import errno

from isadmin.userspace.configfs import iscsi_attributes as settings
from isadmin.userspace.configfs import iscsi_statistics
from isadmin.userspace.configfs.alua import page
from isadmin.userspace.configfs.context import Context
from isadmin.userspace.configfs.luns import acl_kind, new_acl, target_param, tpg_groups
from isadmin.userspace.configfs.portals import PORTAL_GROUP
from isadmin.userspace.configfs.schema import File, Kind, group, kind
from isadmin.userspace.configfs.values import TEXT, U16, U32, boolean, fail, unsigned
from isadmin.userspace.model import Fabric, NodeAcl, Target, Tpg

NAME_MAX = 223
TAG_MAX = 63
DEPTH_MAX = 512


# Node ACLs


def _make_acl(context: Context, tpg: Tpg, name: str) -> tuple[Kind, NodeAcl]:
    acl = new_acl(context, tpg, name)
    acl.attrib = {each: default for each, (default, _) in settings.ACL_ATTRIBUTES.items()}
    acl.attrib["default_erl"] = tpg.attrib["default_erl"]
    acl.cmdsn_depth = tpg.attrib["default_cmdsn_depth"]
    context.engine.acl_added(acl)
    return ACL, acl


def _store_depth(context: Context, acl: NodeAcl, text: str) -> None:
    depth = unsigned(text, U32)
    if depth > DEPTH_MAX:
        fail(errno.EINVAL)
    acl.cmdsn_depth = depth or 1
    context.engine.acl_changed(acl)


def _store_tag(context: Context, acl: NodeAcl, text: str) -> None:
    if len(text.encode(*TEXT)) > TAG_MAX:
        fail(errno.EINVAL)
    acl.tag = "" if text.startswith("NULL") else text
    context.engine.acl_changed(acl)


ACL = acl_kind(
    [
        File("info", iscsi_statistics.show_info),
        File("cmdsn_depth", lambda context, acl: f"{acl.cmdsn_depth}\n", _store_depth),
        File("tag", lambda context, acl: acl.tag, _store_tag),
    ],
    [
        group("attrib", settings.ACL_ATTRIB_FILES),
        group("auth", settings.ACL_AUTH_FILES),
        group("param", iscsi_statistics.ACL_PARAM_FILES),
        iscsi_statistics.ACL,
    ],
)


# Portal groups


def _make_tpg(context: Context, target: Target, name: str) -> tuple[Kind, Tpg]:
    """...tpgt_<tag>. Every fault of the name is EINVAL; another name of the same tag is not one."""
    _, prefix, number = name.partition("tpgt_")
    if not prefix:
        fail(errno.EINVAL)
    try:
        tag = unsigned(number, U16)
    except OSError:
        fail(errno.EINVAL)
    tpg = Tpg(
        target,
        tag,
        attrib={each: default for each, (default, _) in settings.TPG_ATTRIBUTES.items()},
        param={each: key.default for each, key in settings.KEYS.items()},
    )
    target.add_tpg(tpg)
    return TPG, tpg


def _drop_tpg(context: Context, tpg: Tpg) -> None:
    context.engine.tpg_removed(tpg)
    tpg.target.remove_tpg(tpg)


def _store_enable(context: Context, tpg: Tpg, text: str) -> None:
    """Enabling with authentication on leaves no method but CHAP."""
    value = bool(boolean(text))
    if value == tpg.enabled:
        return
    method = tpg.param["AuthMethod"]
    if value and tpg.attrib["authentication"]:
        others = [one for one in method.split(",") if one != "None"]
        tpg.param["AuthMethod"] = ",".join(others) or "CHAP"
    tpg.enabled = value
    try:
        context.engine.tpg_changed(tpg)
    except OSError:
        tpg.enabled = not value
        tpg.param["AuthMethod"] = method
        raise


def _dynamic_sessions(context: Context, tpg: Tpg) -> str:
    """Initiators without an ACL of their own. Each line has a NUL after it, as the kernel leaves it there."""
    return page(f"{session.initiator}\n\0" for session in context.engine.sessions(tpg) if session.dynamic)


TPG = kind(
    [
        File("dynamic_sessions", _dynamic_sessions),
        File("enable", lambda context, tpg: f"{int(tpg.enabled)}\n", _store_enable),
    ],
    tpg_groups(
        _make_acl,
        [
            PORTAL_GROUP,
            group("attrib", settings.TPG_ATTRIB_FILES),
            group("auth", settings.TPG_AUTH_FILES),
            group("param", settings.PARAM_FILES),
        ],
    ),
    drop=_drop_tpg,
)


# Targets


def _make_target(context: Context, fabric: Fabric, name: str) -> tuple[Kind, Target]:
    """Any name that is not too long: LIO leaves its form to who types it."""
    if len(name.encode(*TEXT)) > NAME_MAX:
        fail(errno.EINVAL)
    target = Target(fabric, name, context.targets_made)
    context.targets_made += 1
    fabric.targets[name] = target
    return TARGET, target


def _drop_target(context: Context, target: Target) -> None:
    del target.fabric.targets[target.name]
    context.engine.target_removed(target)


TARGET = kind(groups=[iscsi_statistics.TARGET, target_param()], make=_make_tpg, drop=_drop_target)


# The fabric


def _cpu_list(text: str, cpus: int) -> str:
    """A list of ranges, joined where they touch; commas and blanks separate them."""
    chosen: set[int] = set()
    for part in text.replace(",", " ").split():
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            fail(errno.EINVAL)
        low, high = int(first), int(last or first)
        if max(low, high) >= 1 << 32:
            fail(errno.EOVERFLOW)
        # The largest number stands for the last processor, which only the kernel itself may name.
        if high < low or high == (1 << 32) - 1:
            fail(errno.EINVAL)
        if high >= cpus:
            fail(errno.ERANGE)
        chosen.update(range(low, high + 1))
    return show_cpus(chosen)


def show_cpus(cpus: set[int]) -> str:
    ranges: list[list[int]] = []
    for cpu in sorted(cpus):
        if ranges and ranges[-1][1] == cpu - 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(f"{low}" if low == high else f"{low}-{high}" for low, high in ranges)


def _store_cpus(context: Context, fabric: Fabric, text: str) -> None:
    fabric.cpus_allowed = _cpu_list(text, context.cpus)


def start_fabric(context: Context, fabric: Fabric) -> None:
    before = context.root.removed_fabrics.pop(fabric.name, None)
    if before is None:
        fabric.cpus_allowed = show_cpus(set(range(context.cpus)))
    else:
        fabric.cpus_allowed = before.cpus_allowed
        fabric.discovery_auth = before.discovery_auth
        fabric.enforce_discovery_auth = before.enforce_discovery_auth


def _drop_fabric(context: Context, fabric: Fabric) -> None:
    del context.root.fabrics[fabric.name]
    context.root.removed_fabrics[fabric.name] = fabric


FABRIC = kind(
    [
        File("lio_version", lambda context, fabric: "Datera Inc. iSCSI Target v4.1.0\n"),
        File("cpus_allowed_list", lambda context, fabric: f"{fabric.cpus_allowed}\n", _store_cpus),
    ],
    [group("discovery_auth", settings.DISCOVERY_AUTH_FILES)],
    make=_make_target,
    drop=_drop_fabric,
)
