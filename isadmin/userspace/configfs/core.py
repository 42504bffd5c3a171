"""The top of the tree: target/ itself, core/, its HBAs and logical unit groups."""

from __future__ import annotations

import errno
from collections.abc import Iterable

from isadmin.userspace.configfs import iscsi, other_fabrics
from isadmin.userspace.configfs.alua import LU_GROUP, make_lu_group
from isadmin.userspace.configfs.context import Context
from isadmin.userspace.configfs.devices import DEVICE_KINDS, make_device
from isadmin.userspace.configfs.schema import File, Kind, group, kind
from isadmin.userspace.configfs.values import TEXT, fail, unsigned
from isadmin.userspace.model import Fabric, Hba, Root

VERSION = "v5.0"
HBA_NAME_MAX = 64
DBROOT_MAX = 256

FABRICS = {
    "iscsi": iscsi.FABRIC,
    "loopback": other_fabrics.LOOPBACK,
    "vhost": other_fabrics.VHOST,
    # srpt, qla2xxx, tcm_fc, sbp, xen-pvscsi and the USB gadget have no row: each needs hardware (an RDMA or
    # Fibre Channel port, a FireWire link, a hypervisor) that a process has not. They are unknown: EINVAL.
}


# HBAs


def _hba_info(context: Context, hba: Hba) -> str:
    return f"HBA Index: {hba.index} plugin: {hba.plugin} version: {VERSION}\n"


def _store_hba_mode(context: Context, hba: Hba, text: str) -> None:
    """Only pscsi has a mode, and its physical one needs a SCSI host that no process can have."""
    if hba.plugin != "pscsi":
        fail(errno.EINVAL)
    mode = unsigned(text)
    if mode or hba.devices:
        fail(errno.EINVAL)


def _drop_hba(context: Context, hba: Hba) -> None:
    del context.root.hbas[hba.dirname]


HBAS = {
    plugin: kind(
        [File("hba_info", _hba_info), File("hba_mode", lambda context, hba: "0\n", _store_hba_mode)],
        make=make_device,
        drop=_drop_hba,
    )
    for plugin in DEVICE_KINDS
}


def _make_hba(context: Context, root: Root, name: str) -> tuple[Kind, Hba]:
    """<plugin>_<number>, where the plugin may hold one "_" itself (rd_mcp)."""
    if len(name.encode(*TEXT)) >= HBA_NAME_MAX:
        fail(errno.ENAMETOOLONG)
    plugin, underscore, number = name.partition("_")
    if not underscore:
        fail(errno.EINVAL)
    second, underscore, rest = number.partition("_")
    if underscore:
        plugin, number = f"{plugin}_{second}", rest
    unsigned(number)
    if plugin not in HBAS:
        fail(errno.EINVAL)
    context.hbas_made += 1
    hba = Hba(plugin, name, context.hbas_made)
    root.hbas[name] = hba
    return HBAS[plugin], hba


# The root


def _make_fabric(context: Context, root: Root, name: str) -> tuple[Kind, Fabric]:
    if name not in FABRICS:
        fail(errno.EINVAL)
    fabric = Fabric(name)
    if name == "iscsi":
        iscsi.start_fabric(context, fabric)
    root.fabrics[name] = fabric
    return FABRICS[name], fabric


def _version(context: Context, root: Root) -> str:
    system, machine, release = context.system
    return f"Target Engine Core ConfigFS Infrastructure {VERSION} on {system}/{machine} on {release}\n"


def _store_dbroot(context: Context, root: Root, text: str) -> int:
    """The kernel copies the new path over the old one without ending it, so a longer old path's tail stays
    unless a newline came along."""
    new, old = text.encode(*TEXT), root.dbroot.encode(*TEXT)
    if len(new) > DBROOT_MAX - 1:
        fail(errno.EINVAL)
    wanted = text.removesuffix("\n")
    context.engine.set_dbroot(wanted)
    root.dbroot = wanted if wanted != text else (new + old[len(new) :]).decode(*TEXT)
    return len(new)


def _default_lu_group(context: Context, root: Root) -> Iterable[tuple[str, str, Kind, object]]:
    yield "core/alua/lu_gps", context.default_lu_group.name, LU_GROUP, context.default_lu_group


ROOT = kind(
    [File("version", _version), File("dbroot", lambda context, root: f"{root.dbroot}\n", _store_dbroot)],
    [group("core", groups=[group("alua", groups=[group("lu_gps", make=make_lu_group)])], make=_make_hba)],
    make=_make_fabric,
    start=_default_lu_group,
)
