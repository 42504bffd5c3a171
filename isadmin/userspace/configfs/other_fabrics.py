"""loopback and vhost, as configuration only: nothing here makes SCSI disks or serves virtual machines."""

from __future__ import annotations

import errno

from isadmin.userspace.configfs.context import Context
from isadmin.userspace.configfs.luns import acl_kind, new_acl, target_param, tpg_groups
from isadmin.userspace.configfs.schema import File, Kind, group, kind
from isadmin.userspace.configfs.values import TEXT, fail, one_of, unsigned
from isadmin.userspace.model import Fabric, NodeAcl, Target, Tpg

PREFIXES = ("naa.", "fc.", "iqn.")
NAME_MAX = 255
PROTECTION_TYPES = frozenset({0, 1, 3})
TAGS = {"loopback": 32, "vhost": 256}
VERSIONS = {
    "loopback": "TCM Loopback Fabric module v2.1-rc2\n",
    "vhost": "TCM_VHOST fabric module v0.1 on {0}/{1}on {2}\n",
}
FABRIC_PROT_TYPE = "fabric_prot_type"


def _prefix(name: str) -> str:
    """Which kind of name it is, by the first prefix found anywhere in it: EINVAL without one."""
    found = next((prefix for prefix in PREFIXES if prefix in name), None)
    if found is None:
        fail(errno.EINVAL)
    return found


# Node ACLs: taken, without any effect


def _make_acl(context: Context, tpg: Tpg, name: str) -> tuple[Kind, NodeAcl]:
    acl = new_acl(context, tpg, name)
    context.engine.acl_added(acl)
    return ACL, acl


ACL = acl_kind((), ())


# Portal groups


def _make_tpg(context: Context, target: Target, name: str) -> tuple[Kind, Tpg]:
    """Loopback's place for a tag is taken once: removing two spellings of one (tpgt_1, tpgt_01) crashes a
    kernel."""
    fabric = target.fabric.name
    if not name.startswith("tpgt_"):
        fail(errno.EINVAL)
    try:
        tag = unsigned(name[5:], base=10)
    except OSError:
        fail(errno.EINVAL)
    if tag >= TAGS[fabric] or (fabric == "loopback" and tag in target.tpgs):
        fail(errno.EINVAL)
    tpg = Tpg(target, tag, attrib={FABRIC_PROT_TYPE: 0})
    target.add_tpg(tpg)
    return TPGS[fabric], tpg


def _drop_tpg(context: Context, tpg: Tpg) -> None:
    context.engine.tpg_removed(tpg)
    tpg.target.remove_tpg(tpg)


def _show_nexus(context: Context, tpg: Tpg) -> str:
    if not tpg.nexus:
        fail(errno.ENODEV)
    return f"{tpg.nexus}\n"


def _store_nexus(context: Context, tpg: Tpg, text: str) -> None:
    """The initiator's name, of the same kind as the target's; NULL drops it, unless LUNs are linked."""
    if text.startswith("NULL"):
        if not tpg.nexus:
            fail(errno.ENODEV)
        if any(lun.device is not None for lun in tpg.luns.values()):
            fail(errno.EPERM if tpg.target.fabric.name == "loopback" else errno.EBUSY)
        tpg.nexus = ""
        return
    if len(text.encode(*TEXT)) > NAME_MAX:
        fail(errno.EINVAL)
    prefix = _prefix(text)
    if prefix != _prefix(tpg.target.name):
        fail(errno.EINVAL)
    if tpg.nexus:
        fail(errno.EEXIST)
    tpg.nexus = text.removesuffix("\n")[3 if prefix == "fc." else 0 :]


def _store_protection_type(context: Context, tpg: Tpg, text: str) -> None:
    tpg.attrib[FABRIC_PROT_TYPE] = one_of(text, PROTECTION_TYPES)


def _address(context: Context, tpg: Tpg) -> str:
    return f"{tpg.target.scsi_host}:0:{tpg.tag}\n"


def _store_transport_status(context: Context, tpg: Tpg, text: str) -> None:
    if text.startswith("online"):
        tpg.transport_online = True
    elif text.startswith("offline"):
        tpg.transport_online = False
    else:
        fail(errno.EINVAL)


_NEXUS = File("nexus", _show_nexus, _store_nexus)
_ATTRIB = group(
    "attrib",
    [
        File(
            FABRIC_PROT_TYPE,
            lambda context, tpg: f"{tpg.attrib[FABRIC_PROT_TYPE]}\n",
            _store_protection_type,
        )
    ],
)
TPGS = {
    "loopback": kind(
        [
            _NEXUS,
            File(
                "transport_status",
                lambda context, tpg: f"{'online' if tpg.transport_online else 'offline'}\n",
                _store_transport_status,
            ),
            File("address", _address),
        ],
        tpg_groups(_make_acl, [_ATTRIB]),
        drop=_drop_tpg,
    ),
    "vhost": kind([_NEXUS], tpg_groups(_make_acl, [_ATTRIB]), drop=_drop_tpg),
}


# Targets and fabrics


def _make_target(context: Context, fabric: Fabric, name: str) -> tuple[Kind, Target]:
    _prefix(name)
    target = Target(fabric, name)
    if fabric.name == "loopback":
        host = context.first_scsi_host
        while host in context.scsi_hosts:
            host += 1
        context.scsi_hosts.add(host)
        target.scsi_host = host
    fabric.targets[name] = target
    return TARGET, target


def _drop_target(context: Context, target: Target) -> None:
    del target.fabric.targets[target.name]
    if target.fabric.name == "loopback":
        context.scsi_hosts.discard(target.scsi_host)
    context.engine.target_removed(target)


TARGET = kind(groups=[group("fabric_statistics"), target_param()], make=_make_tpg, drop=_drop_target)


def _version(context: Context, fabric: Fabric) -> str:
    return VERSIONS[fabric.name].format(*context.system)


def _drop_fabric(context: Context, fabric: Fabric) -> None:
    del context.root.fabrics[fabric.name]


def _fabric_kind() -> Kind:
    return kind([File("version", _version)], [group("discovery_auth")], make=_make_target, drop=_drop_fabric)


LOOPBACK = _fabric_kind()
VHOST = _fabric_kind()
