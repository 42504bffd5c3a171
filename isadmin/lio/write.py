"""Creating and deleting LIO's objects, through rtslib, at a cost that does not grow with what is there.

Each function does one thing whole or not at all: what is left behind when a later step fails is removed. They
raise IsadminError, with the cause and the remedy where the errno tells. rtslib is imported here (0.1 s),
so this module is imported by commands that change something, when they run.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import rtslib
from rtslib import tcm
from rtslib.utils import RTSLibError

from isadmin.config import model
from isadmin.errors import IsadminError, UsageError
from isadmin.lio import files, library, rehearsal
from isadmin.lio.explain import attempting, explain
from isadmin.lio.exports import exports_of
from isadmin.lio.fabrics import WWN_FORMS, Fabric
from isadmin.lio.listeners import listeners
from isadmin.lio.objects import (
    MAX_LUN,
    PREFIXES,
    Lio,
    Lun,
    MappedLun,
    NodeAcl,
    Portal,
    PortGroup,
    StorageObject,
    Target,
    Tpg,
    device_size,
    is_block_device,
    lowest_free,
)

library.load()

MAX_MAPPED_LUN = 4294967295
MAX_TPGT = 65535
PAGE = os.sysconf("SC_PAGE_SIZE")
ALWAYS_ON = frozenset({"loopback", "vhost", "xen-pvscsi", "tcm_fc"})
"""Fabrics whose portal groups have no file `enable` (kernel 6.1)."""


class _MappedLUN(rtslib.MappedLUN):  # type: ignore[misc]
    """rtslib's, but for looking at every LUN of the group to find one whose number is known."""

    def _configure(self, tpg_lun: Any, write_protect: Any, alias: str | None) -> None:
        path = f"{self.parent_nodeacl.parent_tpg.path}/lun/lun_{int(tpg_lun)}"
        Path(self.path, alias or _alias()).symlink_to(path)
        files.write(f"{self.path}/write_protect", "1" if write_protect else "0")


def _alias() -> str:
    return str(uuid.uuid4())[-10:]


def _rts_storage_object(so: StorageObject) -> Any:
    return tcm.StorageObject.so_from_path(so.path)


def _rts_target(target: Target) -> Any:
    return rtslib.Target(target.fabric.rtslib(), target.wwn, "lookup")


def _rts_tpg(tpg: Tpg) -> Any:
    return rtslib.TPG(_rts_target(tpg.target), tpg.tag, "lookup")


def _rts_acl(acl: NodeAcl) -> Any:
    return rtslib.NodeACL(_rts_tpg(acl.tpg), acl.wwn, "lookup")


# Storage objects


def create_fileio(
    lio: Lio, name: str, dev: str, size: int | None, *, write_back: bool, wwn: str | None
) -> StorageObject:
    """A file or block device. size in bytes for a file, None for a device."""
    return _create_storage_object(
        lio,
        model.StorageObject(
            "fileio",
            name,
            dev=dev,
            size=device_size(dev) if size is None and is_block_device(dev) else size,
            wwn=wwn,
            write_back=write_back,
        ),
        lambda index: rtslib.FileIOStorageObject(
            name, dev, size, wwn=wwn, write_back=write_back, index=index
        ),
    )


def create_block(
    lio: Lio, name: str, dev: str, *, readonly: bool, exclusive: bool, wwn: str | None
) -> StorageObject:
    """A block device, or a partition of one."""
    return _create_storage_object(
        lio,
        model.StorageObject("block", name, dev=dev, wwn=wwn, readonly=readonly, exclusive=exclusive),
        lambda index: rtslib.BlockStorageObject(
            name, dev, readonly=readonly, wwn=wwn, exclusive=exclusive, index=index
        ),
    )


def create_ramdisk(lio: Lio, name: str, size: int, *, nullio: bool, wwn: str | None) -> StorageObject:
    """Memory (size in bytes, rounded to pages), or with nullio nothing: writes vanish, reads are zeroes."""
    pages = max(round(size / PAGE), 1)
    return _create_storage_object(
        lio,
        model.StorageObject("ramdisk", name, size=pages * PAGE, wwn=wwn, nullio=nullio),
        lambda index: rtslib.RDMCPStorageObject(name, size, wwn, nullio, index),
    )


def create_pscsi(lio: Lio, name: str, dev: str) -> StorageObject:
    """A SCSI device passed through; dev is a path or H:C:T:L."""
    return _create_storage_object(
        lio,
        model.StorageObject("pscsi", name, dev=dev),
        lambda index: rtslib.PSCSIStorageObject(name, dev, index),
    )


def create_user(
    lio: Lio,
    name: str,
    config: str,
    size: int,
    *,
    wwn: str | None,
    hw_max_sectors: str | None,
    control: str | None,
) -> StorageObject:
    """A device served by a process (tcmu-runner); config is <handler>/<its argument>."""
    return _create_storage_object(
        lio,
        model.StorageObject("user", name, config=config, size=size, wwn=wwn, control=control),
        lambda index: rtslib.UserBackedStorageObject(name, config, size, wwn, hw_max_sectors, control, index),
    )


def _create_storage_object(
    lio: Lio, value: model.StorageObject, create: Callable[[int], Any]
) -> StorageObject:
    plugin, name = value.plugin, value.name
    what = f"Could not create {plugin} {name}"
    if not name or any(c in name for c in "/ \t\n"):
        raise UsageError(f"Bad name '{name}'", "a storage object's name has no blanks and no /")
    if lio.find_storage_object(plugin, name) is not None:
        raise IsadminError(f"Storage object {plugin}/{name} exists")
    index = lio.free_hba()
    path = f"{lio.path}/core/{PREFIXES[plugin]}_{index}/{name}"
    if rehearsal.adds(path, value, enable="1", info=_info(value)):
        return StorageObject(path)
    # rtslib remembers the numbers it gave; ours are not among them.
    tcm.bs_cache.clear()
    try:
        created = create(index)
    except (OSError, RTSLibError) as error:
        # rtslib cleans up, unless what failed is something that its cleaning up needs.
        hba = Path(lio.path, "core", f"{PREFIXES[plugin]}_{index}")
        for leftover in (hba / name, hba):
            with suppress(OSError):
                leftover.rmdir()
        raise explain(what, error, _STORAGE_CAUSES) from error
    lio.made_storage_object(str(created.path))
    return StorageObject(str(created.path))


def _info(so: model.StorageObject) -> str:
    """What the info file of a new storage object says."""
    device = f"File: {so.dev} " if so.plugin == "fileio" else ""
    pages = f"PAGES/PAGE_SIZE: {so.size // PAGE}*{PAGE}" if so.plugin == "ramdisk" and so.size else ""
    return f"Status: DEACTIVATED {device}Size: {so.size or 0} {pages}"


_STORAGE_CAUSES = {
    errno.EBUSY: ("the device is in use", "unmount it, or stop what has it open"),
    errno.ENOENT: ("there is no such file or device", ""),
    errno.ENODEV: ("there is no such device", ""),
    errno.EINVAL: ("the target does not accept it", "is the device in use, or the wrong kind?"),
}


def delete_storage_object(lio: Lio, so: StorageObject) -> list[Lun]:
    """Delete it, first the LUNs it is exported as, which are returned. Files and devices keep their data."""
    with attempting(f"Could not delete storage object {so.name}"):
        exports = exports_of(lio, so)
        for lun in exports:
            delete_lun(lun)
        if rehearsal.removes(so.path):
            return exports
        for group in so.port_groups():
            if group.name != "default_tg_pt_gp":
                Path(group.path).rmdir()
        Path(so.path).rmdir()
        hba = Path(so.path).parent
        tcm.bs_cache.clear()
        with suppress(OSError):
            hba.rmdir()
    return exports


def resize_fileio(so: StorageObject, size: int) -> None:
    """Another size, in bytes, for a fileio object and its file: both or neither. A file that is longer
    already is cut only where its object shrinks."""
    file = so.udev_path()
    shrinks = size < so.size()
    with attempting(f"Could not resize {file}"):
        before = Path(file).stat().st_size
        if before < size and not rehearsal.runs():
            os.truncate(file, size)
    try:
        with attempting(f"Could not resize {so.full_name}"):
            files.write(f"{so.path}/control", f"fd_dev_size={size}")
    except IsadminError:
        if before < size and not rehearsal.runs():
            with suppress(OSError):
                os.truncate(file, before)
        raise
    with attempting(f"Could not shrink {file}"):
        if shrinks and before > size and not rehearsal.runs():
            os.truncate(file, size)


def create_port_group(so: StorageObject, name: str, tag: int) -> PortGroup:
    """An ALUA target port group; tag is its identifier, 1 to 65535."""
    group = PortGroup(so, name)
    if rehearsal.adds(group.path, model.PortGroup(name, tag)):
        return group
    with attempting(f"Could not create ALUA group {name}", _GROUP_CAUSES):
        rtslib.ALUATargetPortGroup(_rts_storage_object(so), name, tag)
    return group


_GROUP_CAUSES = {errno.EINVAL: ("the tag is in use or out of range", "tags are 1 to 65535, one a group")}


def delete_port_group(group: PortGroup) -> None:
    """LUNs in it fall back to default_tg_pt_gp."""
    if rehearsal.removes(group.path):
        return
    with attempting(f"Could not delete ALUA group {group.name}"):
        rtslib.ALUATargetPortGroup(_rts_storage_object(group.storage_object), group.name).delete()


# Targets and portal groups


def load_fabric(fabric: Fabric) -> Any:
    """rtslib's fabric with its directory made; the kernel's module is loaded for it if need be."""
    module = fabric.rtslib()
    if rehearsal.runs():
        return module
    absent = {errno.EINVAL: ("this target does not have it", "")}
    with attempting(f"Could not load the fabric {fabric.name}", absent):
        module._check_self()
    return module


def normalized_wwn(fabric: Fabric, wwn: str) -> str:
    """The one spelling of a target's or initiator's name. Raises UsageError for what is no name."""
    try:
        return str(fabric.rtslib().to_normalized_wwn(wwn)[0])
    except RTSLibError as error:
        forms = " or ".join(WWN_FORMS.get(kind, kind) for kind in fabric.wwn_types)
        raise UsageError(f"WWN not valid: {wwn}", f"{fabric.name} names are {forms}") from error


def create_target(lio: Lio, fabric: Fabric, wwn: str | None = None) -> Target:
    """A target; without a name, one is made up."""
    module = load_fabric(fabric)
    if wwn is not None:
        wwn = normalized_wwn(fabric, "naa.5" + wwn[5:] if wwn.startswith("naa.6") else wwn)
        if Path(lio.path, fabric.dirname, fabric.wwn_directory(wwn)).is_dir():
            raise IsadminError(f"Target {wwn} exists")
    if rehearsal.runs():
        named = Target(lio, fabric, wwn or str(rtslib.utils.generate_wwn(fabric.wwn_types[0])))
        rehearsal.adds(named.path, model.Target(fabric.name, named.wwn))
        return named
    with attempting(f"Could not create target {wwn or ''}".rstrip()):
        return Target(lio, fabric, str(rtslib.Target(module, wwn, "create").wwn))


def delete_target(target: Target) -> None:
    """Delete it and all below."""
    if rehearsal.removes(target.path):
        return
    for tpg in target.tpgs():
        delete_tpg(tpg)
    with attempting(f"Could not delete target {target.wwn}"):
        Path(target.path).rmdir()


def create_tpg(target: Target, tag: int | None = None) -> Tpg:
    """A portal group; without a tag, the lowest free one from 1."""
    tags = [tpg.tag for tpg in target.tpgs()]
    if tag is None:
        tag = lowest_free([0, *tags])
    if not 0 <= tag <= MAX_TPGT:
        raise UsageError(f"Bad portal group tag {tag}", f"tags are 0 to {MAX_TPGT}")
    if tag in tags:
        raise IsadminError(f"Portal group tpg{tag} exists in {target.wwn}")
    tpg = Tpg(target, tag)
    on = target.fabric.name in ALWAYS_ON
    if rehearsal.adds(tpg.path, model.Tpg(tag, enable=on), enable=str(int(on))):
        return tpg
    with attempting(f"Could not create portal group tpg{tag} in {target.wwn}"):
        rtslib.TPG(_rts_target(target), tag, "create")
    return tpg


def delete_tpg(tpg: Tpg) -> None:
    """End its sessions, then delete it and all below."""
    if rehearsal.removes(tpg.path):
        return
    with attempting(f"Could not delete portal group tpg{tpg.tag} of {tpg.target.wwn}"):
        if tpg.enabled() and Path(tpg.path, "enable").exists():
            files.write(f"{tpg.path}/enable", "0")
        for acl in tpg.acls():
            delete_acl(acl)
        for lun in tpg.luns():
            _remove_lun(lun)
        for portal in tpg.portals():
            Path(portal.path).rmdir()
        Path(tpg.path).rmdir()


# LUNs


def create_lun(tpg: Tpg, so: StorageObject, number: int | None = None) -> Lun:
    """Export a storage object; without a number, under the lowest free one."""
    if number is None:
        number = tpg.free_lun()
        if number > MAX_LUN:
            raise IsadminError(f"All LUNs 0-{MAX_LUN} are in use")
    if not 0 <= number <= MAX_LUN:
        raise UsageError(f"Bad LUN {number}", f"LUNs are 0 to {MAX_LUN}")
    lun = Lun(tpg, number)
    if lun.exists():
        raise IsadminError(f"LUN {number} exists in tpg{tpg.tag} of {tpg.target.wwn}")
    if rehearsal.adds(lun.path, model.Lun(number, f"/backstores/{so.full_name}")):
        return lun
    with attempting(f"Could not create LUN {number} for {so.full_name}", _LUN_CAUSES):
        rtslib.LUN(_rts_tpg(tpg), number, _rts_storage_object(so))
    tpg.target.lio.made(f"{tpg.path}/lun", number)
    return lun


_LUN_CAUSES = {
    errno.ENODEV: ("the storage object is not enabled", "delete it and create it again"),
    errno.EFAULT: ("it is not a storage object", ""),
}


def delete_lun(lun: Lun) -> None:
    """Delete it and every mapping to it."""
    if rehearsal.removes(lun.path):
        return
    with attempting(f"Could not delete LUN {lun.number} of tpg{lun.tpg.tag}"):
        for acl in lun.tpg.acls():
            # A mapping mostly has its LUN's own number: no need to look at all of them.
            mapped = MappedLun(acl, lun.number)
            if mapped.lun_number() == lun.number:
                delete_mapped_lun(mapped)
        if _is_mapped(lun):
            for mapped in lun.mappings():
                delete_mapped_lun(mapped)
        _remove_lun(lun)


def _is_mapped(lun: Lun) -> bool:
    """Does any mapping show it?

    Taking a LUN's device away first would leave its mappings without their values, for `undo` too. A
    directory that links point at is busy before it is found not to be empty (configfs_detach_prep).
    """
    if lun.link() is not None:
        try:
            Path(lun.path).rmdir()
        except OSError as error:
            return error.errno != errno.ENOTEMPTY
    return True


def _remove_lun(lun: Lun) -> None:
    link = lun.link()
    if link is not None:
        Path(lun.path, link[0]).unlink()
    Path(lun.path).rmdir()


def create_mapped_lun(acl: NodeAcl, number: int, lun: Lun, *, write_protect: bool = False) -> MappedLun:
    """Show a LUN to an initiator as LUN `number`."""
    if not 0 <= number <= MAX_MAPPED_LUN:
        raise UsageError(f"Bad mapped LUN {number}", f"mapped LUNs are 0 to {MAX_MAPPED_LUN}")
    mapped = MappedLun(acl, number)
    if mapped.exists():
        raise IsadminError(f"Mapped LUN {number} exists in the ACL of {acl.wwn}")
    if rehearsal.adds(mapped.path, model.MappedLun(number, lun.number, write_protect)):
        return mapped
    with attempting(f"Could not create mapped LUN {number} for {acl.wwn}"):
        _MappedLUN(_rts_acl(acl), number, lun.number, write_protect)
    acl.tpg.target.lio.made(acl.path, number)
    return mapped


def delete_mapped_lun(mapped: MappedLun) -> None:
    """Hide a LUN from an initiator."""
    if rehearsal.removes(mapped.path):
        return
    with attempting(f"Could not delete mapped LUN {mapped.number} of {mapped.acl.wwn}"):
        link = mapped.link()
        if link is not None:
            Path(mapped.path, link[0]).unlink()
        Path(mapped.path).rmdir()


# ACLs and portals


def create_acl(tpg: Tpg, wwn: str) -> NodeAcl:
    """Let an initiator in."""
    wwn = normalized_wwn(tpg.fabric, wwn)
    acl = NodeAcl(tpg, wwn)
    if acl.exists():
        raise IsadminError(f"Node ACL {wwn} exists in tpg{tpg.tag} of {tpg.target.wwn}")
    if rehearsal.adds(acl.path, model.NodeAcl(wwn)):
        return acl
    with attempting(f"Could not create a node ACL for {wwn}"):
        rtslib.NodeACL(_rts_tpg(tpg), wwn, "create")
    return acl


def delete_acl(acl: NodeAcl) -> None:
    """Delete it and its mapped LUNs."""
    if rehearsal.removes(acl.path):
        return
    with attempting(f"Could not delete the node ACL of {acl.wwn}"):
        for mapped in acl.mapped_luns():
            delete_mapped_lun(mapped)
        Path(acl.path).rmdir()


def create_portal(tpg: Tpg, address: str, port: int) -> Portal:
    """Listen on an address (IPv6 in brackets) and port."""
    portal = Portal(tpg, address, port)
    if portal.exists():
        raise IsadminError(f"Portal {portal.name} exists in tpg{tpg.tag} of {tpg.target.wwn}")
    what = f"Could not create portal {portal.name}"
    if rehearsal.runs() and (other := _in_the_way(portal)) is not None:
        raise PortalConflictError(what, other.name)
    if rehearsal.adds(portal.path, model.Portal(address, port)):
        return portal
    try:
        rtslib.NetworkPortal(_rts_tpg(tpg), address, port, "create")
    except (OSError, RTSLibError) as error:
        other = _in_the_way(portal)
        if other is not None:
            where = f"tpg{other.tpg.tag} of {other.tpg.target.wwn}"
            raise PortalConflictError(what, f"{other.name} in {where}") from error
        who = ", ".join(listeners(port)) or "the address and port are not acceptable or in use"
        raise explain(what, error, {errno.EINVAL: (who, "take another address or port")}) from error
    return portal


class PortalConflictError(IsadminError):
    """Another portal, `other_name`, keeps this one from listening."""

    def __init__(self, what: str, other_name: str) -> None:
        super().__init__(f"{what}: {other_name} is in its way", "delete that one or take another port")
        self.other_name = other_name


WILDCARDS = ("0.0.0.0", "[::0]", "[::]")  # noqa: S104 - names of what the user may ask for


def _in_the_way(portal: Portal) -> Portal | None:
    """The portal with which this one conflicts: LIO says EINVAL for every conflict (kernel 6.1)."""
    lio, fabric, wwn = portal.tpg.target.lio, portal.tpg.fabric, portal.tpg.target.wwn
    wild = portal.address in WILDCARDS
    for target in lio.targets(fabric):
        for other in (p for tpg in target.tpgs() for p in tpg.portals() if p.port == portal.port):
            same = other.address == portal.address
            other_wild = other.address in WILDCARDS
            if wild != other_wild or (wild and not same) or (same and target.wwn == wwn):
                return other
    return None


def delete_portal(portal: Portal) -> None:
    """Stop listening there."""
    if not portal.exists():
        raise IsadminError(f"No portal {portal.name} in tpg{portal.tpg.tag} of {portal.tpg.target.wwn}")
    if rehearsal.removes(portal.path):
        return
    with attempting(f"Could not delete portal {portal.name}"):
        for name in ("iser", "cxgbit"):
            if files.read_or(f"{portal.path}/{name}", "0") not in ("0", ""):
                files.write(f"{portal.path}/{name}", "0")
        Path(portal.path).rmdir()


def set_portal_flag(portal: Portal, name: str, value: bool) -> None:
    """iser or cxgbit (offload)."""
    path = f"{portal.path}/{name}"
    if os.path.exists(path):  # noqa: PTH110 - one stat
        with attempting(f"Cannot change {'offload' if name == 'cxgbit' else name} of {portal.name}"):
            files.write(path, str(int(value)))
