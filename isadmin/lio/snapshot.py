"""The whole configuration read in one pass: each file once, nothing looked for.

The result is what rtslib's RTSRoot.dump() gives - the saveconfig format - but for LUNs and mappings whose
link is gone, on which rtslib fails and which could not be restored: they are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isadmin.lio import files
from isadmin.lio.attributes import AUTH, PORT_GROUP_ALUA, find
from isadmin.lio.fabrics import FABRICS, Fabric
from isadmin.lio.objects import Lio, Lun, NodeAcl, Portal, PortGroup, StorageObject, Target, Tpg

Document = dict[str, Any]

_WORDS = {
    "alua_access_status": ("None", "Altered by Explicit STPG", "Altered by Implicit ALUA"),
    "alua_access_type": ("None", "Implicit", "Explicit", "Implicit and Explicit"),
}
CHAP_FILES = {name: "_".join(reversed(name.split("_"))) if "_" in name else name for name in AUTH}
"""mutual_userid -> userid_mutual, the file."""


def dump(lio: Lio) -> Document:
    """The running configuration. Raises OSError if the target goes away meanwhile."""
    return {
        "storage_objects": [_storage_object(so) for so in lio.storage_objects()],
        "targets": [_target(target) for fabric in FABRICS for target in lio.targets(fabric)],
        "fabric_modules": [
            _fabric(lio, fabric)
            for fabric in FABRICS
            if fabric.has("discovery_auth") and _enforced(lio, fabric)
        ],
    }


def _number(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


def _groups(owner: str, path: str) -> Document:
    """`attributes` and `parameters`: the files that can be both read and written."""
    found: Document = {}
    attributes = {name: _number(files.read(p)) for name, p in _writable(owner, "attribute", f"{path}/attrib")}
    if attributes:
        found["attributes"] = attributes
    parameters = {name: files.read(p) for name, p in _writable(owner, "parameter", f"{path}/param")}
    if parameters:
        found["parameters"] = parameters
    return found


def _writable(owner: str, group: str, directory: str) -> list[tuple[str, str]]:
    found = []
    for name in sorted(files.names(directory)):
        path = f"{directory}/{name}"
        entry = find(owner, group, name)
        if entry.writable if entry else Path(path).stat().st_mode & 0o600 == 0o600:
            found.append((name, path))
    return found


def _chap(directory: str, prefix: str) -> Document:
    """The CHAP names and secrets that are set."""
    found = {}
    for name, file in CHAP_FILES.items():
        value = files.read_or(f"{directory}/{file}", "")
        if value and value != "NULL":
            found[f"{prefix}_{name}"] = value
    return found


def _storage_object(so: StorageObject) -> Document:
    facts = so.facts()
    if so.plugin == "user":
        facts["hw_max_sectors"] = _number(str(facts["hw_max_sectors"]))
        facts["control"] = _control(so)
    return {
        **_groups("storage_object", so.path),
        **facts,
        "alua_tpgs": [_port_group(group) for group in so.port_groups()],
    }


def _control(so: StorageObject) -> str:
    """What else the control file of a user object is told, as rtslib puts it together."""
    info = so.info()
    values = {
        "max_data_area_mb": info.word("MaxDataAreaMB"),
        "hw_block_size": files.read_or(f"{so.path}/attrib/hw_block_size", ""),
        "data_pages_per_blk": info.word("DataPagesPerBlk"),
    }
    return ",".join(f"{name}={value}" for name, value in values.items() if value and value != "NULL")


def _port_group(group: PortGroup) -> Document:
    number = int(files.read(f"{group.path}/tg_pt_gp_id"))
    return {"name": group.name, "tg_pt_gp_id": number, **alua_values(group.path)}


def alua_values(path: str) -> dict[str, int | str]:
    """The values of an ALUA group that can be set, access type and status as numbers."""
    found: dict[str, int | str] = {}
    for name, entry in PORT_GROUP_ALUA.items():
        if entry.writable:
            text = files.read(f"{path}/{name}")
            found[name] = _WORDS[name].index(text) if name in _WORDS else int(text)
    return found


def _enforced(lio: Lio, fabric: Fabric) -> bool:
    path = f"{lio.path}/{fabric.dirname}/discovery_auth/enforce_discovery_auth"
    return files.read_or(path, "0") not in ("0", "")


def _fabric(lio: Lio, fabric: Fabric) -> Document:
    path = f"{lio.path}/{fabric.dirname}"
    return {
        **_groups("fabric", path),
        "name": fabric.name,
        **_chap(f"{path}/discovery_auth", "discovery"),
        "discovery_enable_auth": True,
    }


def _target(target: Target) -> Document:
    return {
        **_groups("target", target.path),
        "wwn": target.wwn,
        "fabric": target.fabric.name,
        "tpgs": [_tpg(tpg) for tpg in target.tpgs()],
    }


def _tpg(tpg: Tpg) -> Document:
    luns = [lun for lun in map(_lun, tpg.luns()) if lun]
    numbers = {lun["index"] for lun in luns}
    found: Document = {
        **_groups("tpg", tpg.path),
        "tag": tpg.tag,
        "enable": tpg.enabled(),
        "luns": luns,
        "portals": [_portal(portal) for portal in tpg.portals()],
        "node_acls": [_node_acl(acl, numbers) for acl in tpg.acls()],
    }
    if tpg.fabric.has("auth"):
        found |= _chap(f"{tpg.path}/auth", "chap")
    return found


def _lun(lun: Lun) -> Document:
    link = lun.link()
    if link is None:
        return {}
    return {
        "storage_object": f"/backstores/{StorageObject(link[1]).full_name}",
        "index": lun.number,
        "alias": link[0],
        "alua_tg_pt_gp_name": lun.port_group_name(),
    }


def _portal(portal: Portal) -> Document:
    return {
        "port": portal.port,
        "ip_address": portal.address,
        "iser": portal.iser(),
        "offload": portal.offload(),
    }


def _node_acl(acl: NodeAcl, luns: set[int]) -> Document:
    found: Document = {**_groups("node_acl", acl.path), "node_wwn": acl.wwn, "mapped_luns": []}
    for mapped in acl.mapped_luns():
        link = mapped.link()
        number = int(link[1].rpartition("_")[2], 0) if link else None
        if link and number in luns:
            found["mapped_luns"].append(
                {
                    "write_protect": mapped.write_protected(),
                    "index": mapped.number,
                    "tpg_lun": number,
                    "alias": link[0],
                }
            )
    tag = acl.tag()
    if tag:
        found["tag"] = tag
    if acl.tpg.fabric.has("auth"):
        found |= _chap(f"{acl.path}/auth", "chap")
    return found
