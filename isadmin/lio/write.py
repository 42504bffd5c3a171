"""Creating and deleting what fabrics have - targets, portal groups, LUNs, ACLs, portals - at a cost that does
not grow with what is there.

Each function does one thing whole or not at all: what is left behind when a later step fails is removed. They
raise IsadminError, with the cause and the remedy where the errno tells. What takes one operation on configfs
is done so; rtslib (0.1 s to import) loads fabrics, knows names and makes portal groups with a nexus.
"""

from __future__ import annotations

import errno
import os

from isadmin.config import model
from isadmin.errors import IsadminError, UsageError
from isadmin.lio import files, library, rehearsal, steps
from isadmin.lio.explain import attempting, explain
from isadmin.lio.fabrics import WWN_FORMS, Fabric
from isadmin.lio.listeners import listeners
from isadmin.lio.objects import MAX_LUN, Lio, Lun, MappedLun, NodeAcl, Portal, Target, Tpg, lowest_free
from isadmin.lio.storage_objects import StorageObject

MAX_MAPPED_LUN = 4294967295
MAX_TPGT = 65535
ALWAYS_ON = frozenset({"loopback", "vhost", "xen-pvscsi", "tcm_fc"})
"""Fabrics whose portal groups have no file `enable` (kernel 6.1)."""


# Targets and portal groups


def load_fabric(lio: Lio, fabric: Fabric) -> None:
    """Make a fabric's directory, if it is not there; the kernel's module is loaded for it if need be."""
    if rehearsal.runs() or files.is_dir(f"{lio.path}/{fabric.dirname}"):
        return
    absent = {errno.EINVAL: ("this target does not have it", "")}
    with attempting(f"Could not load the fabric {fabric.name}", absent):
        fabric.rtslib()._check_self()


def normalized_wwn(fabric: Fabric, wwn: str) -> str:
    """The one spelling of a target's or initiator's name. Raises UsageError for what is no name."""
    found = fabric.normalized(wwn)
    if found is None:
        forms = " or ".join(WWN_FORMS.get(kind, kind) for kind in fabric.wwn_types)
        raise UsageError(f"WWN not valid: {wwn}", f"{fabric.name} names are {forms}")
    return found


def create_target(lio: Lio, fabric: Fabric, wwn: str | None = None) -> Target:
    """A target; without a name, one is made up."""
    load_fabric(lio, fabric)
    if wwn is None:
        wwn = _made_up(fabric)
    else:
        wwn = normalized_wwn(fabric, "naa.5" + wwn[5:] if wwn.startswith("naa.6") else wwn)
    target = Target(lio, fabric, wwn)
    if target.exists():
        raise IsadminError(f"Target {wwn} exists")
    if rehearsal.adds(target.path, model.Target(fabric.name, wwn)):
        return target
    with attempting(f"Could not create target {wwn}"):
        os.mkdir(target.path)
    return target


def _made_up(fabric: Fabric) -> str:
    library.load()
    from rtslib.utils import generate_wwn

    return str(generate_wwn(fabric.wwn_types[0]))


def delete_target(target: Target) -> None:
    """Delete it and all below."""
    if rehearsal.removes(target.path):
        return
    for tpg in target.tpgs():
        delete_tpg(tpg)
    with attempting(f"Could not delete target {target.wwn}"):
        os.rmdir(target.path)


def create_tpg(target: Target, tag: int | None = None) -> Tpg:
    """A portal group; without a tag, the lowest free one from 1."""
    tags = [tpg.tag for tpg in target.tpgs()]
    if tag is None:
        tag = lowest_free([0, *tags])
    if not 0 <= tag <= MAX_TPGT:
        raise UsageError(f"Bad portal group tag {tag}", f"tags are 0 to {MAX_TPGT}")
    if tag in tags:
        raise IsadminError(f"Portal group tpg{tag} exists in {target.wwn}")
    if tags and not target.fabric.has("tpgts"):
        raise IsadminError(f"A target of {target.fabric.name} has one portal group only")
    tpg = Tpg(target, tag)
    on = target.fabric.name in ALWAYS_ON
    if rehearsal.adds(tpg.path, model.Tpg(tag, enable=on), enable=str(int(on))):
        return tpg
    with attempting(f"Could not create portal group tpg{tag} in {target.wwn}"):
        if target.fabric.has("nexus"):
            _create_with_nexus(tpg)
        else:
            os.mkdir(tpg.path)
    return tpg


def _create_with_nexus(tpg: Tpg) -> None:
    target = tpg.target
    module = target.fabric.rtslib()
    import rtslib

    rtslib.TPG(rtslib.Target(module, target.wwn, "lookup"), tpg.tag, "create")


def delete_tpg(tpg: Tpg) -> None:
    """End its sessions, then delete it and all below."""
    if rehearsal.removes(tpg.path):
        return
    with attempting(f"Could not delete portal group tpg{tpg.tag} of {tpg.target.wwn}"):
        if tpg.enabled() and os.path.exists(f"{tpg.path}/enable"):
            files.write(f"{tpg.path}/enable", "0")
        for acl in tpg.acls():
            delete_acl(acl)
        for lun in tpg.luns():
            steps.remove(lun.path)
        for portal in tpg.portals():
            os.rmdir(portal.path)
        os.rmdir(tpg.path)


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
        os.mkdir(lun.path)
        with steps.whole(lun.path):
            steps.export(lun.path, so.path)
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
        link = lun.link()
        if link is None or _is_mapped(lun):
            for mapped in lun.mappings():
                delete_mapped_lun(mapped)
        steps.remove(lun.path, link)


def _is_mapped(lun: Lun) -> bool:
    """Does any mapping show a LUN that has its device?

    Taking a LUN's device away first would leave its mappings without their values, for `undo` too. A
    directory that links point at is busy before it is found not to be empty (configfs_detach_prep).
    """
    try:
        os.rmdir(lun.path)
    except OSError as error:
        return error.errno != errno.ENOTEMPTY
    return True


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
        os.mkdir(mapped.path)
        with steps.whole(mapped.path):
            steps.map_lun(mapped.path, lun.path, write_protect=write_protect)
    acl.tpg.target.lio.made(acl.path, number)
    return mapped


def delete_mapped_lun(mapped: MappedLun) -> None:
    """Hide a LUN from an initiator."""
    if rehearsal.removes(mapped.path):
        return
    with attempting(f"Could not delete mapped LUN {mapped.number} of {mapped.acl.wwn}"):
        steps.remove(mapped.path)


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
        os.mkdir(acl.path)
    return acl


def delete_acl(acl: NodeAcl) -> None:
    """Delete it and its mapped LUNs."""
    if rehearsal.removes(acl.path):
        return
    with attempting(f"Could not delete the node ACL of {acl.wwn}"):
        for mapped in acl.mapped_luns():
            delete_mapped_lun(mapped)
        os.rmdir(acl.path)


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
        os.mkdir(portal.path)
    except OSError as error:
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
        os.rmdir(portal.path)


def set_portal_flag(portal: Portal, name: str, value: bool) -> None:
    """iser or cxgbit (offload)."""
    path = f"{portal.path}/{name}"
    if os.path.exists(path):
        with attempting(f"Cannot change {'offload' if name == 'cxgbit' else name} of {portal.name}"):
            files.write(path, str(int(value)))
