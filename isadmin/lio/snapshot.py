"""The whole configuration read in one pass: each file once, nothing looked for.

The result is what rtslib's RTSRoot.dump() gives - the saveconfig format - but for what rtslib fails on and
could not be restored, which is left out: LUNs and mappings whose link is gone, LUNs of a kind of storage
unheard of, ALUA groups without a number, objects under another spelling of their number (tpgt_01), and what
is deleted, or made together with its storage object, while this reads it.
"""

from __future__ import annotations

import os

from isadmin.light import Path
from isadmin.lio import files
from isadmin.lio.attributes import AUTH, PORT_GROUP_ALUA, find
from isadmin.lio.fabrics import FABRICS, Fabric
from isadmin.lio.objects import Lio, Lun, MappedLun, NodeAcl, Portal, Target, Tpg
from isadmin.lio.storage_objects import PortGroup, StorageObject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Protocol

    Document = dict[str, Any]

    class _Object(Protocol):
        @property
        def path(self) -> str: ...


_WORDS = {
    "alua_access_status": ("None", "Altered by Explicit STPG", "Altered by Implicit ALUA"),
    "alua_access_type": ("None", "Implicit", "Explicit", "Implicit and Explicit"),
}
CHAP_FILES = {name: "_".join(reversed(name.split("_"))) if "_" in name else name for name in AUTH}
"""mutual_userid -> userid_mutual, the file."""


def dump(lio: Lio) -> Document:
    """The running configuration. Raises OSError if the target goes away meanwhile."""
    with files.looking(lio.path):
        found: Document = {
            "storage_objects": _each(_whole_storage_object, lio.storage_objects()),
            "targets": [found for fabric in FABRICS for found in _each(_whole_target, lio.targets(fabric))],
            "fabric_modules": [
                fabric_module(lio, fabric)
                for fabric in FABRICS
                if fabric.has("discovery_auth") and demands_discovery(lio, fabric)
            ],
        }
    leave_out_dangling(found)
    return found


def leave_out_dangling(found: Document) -> None:
    """Take out of a configuration the LUNs whose storage object is not in it, and what is mapped of them."""
    known = {f"/backstores/{so['plugin']}/{so['name']}" for so in found["storage_objects"]}
    for group in (group for one in found["targets"] for group in one["tpgs"]):
        luns = [one for one in group["luns"] if one["storage_object"] in known]
        if len(luns) < len(group["luns"]):
            group["luns"], left = luns, {one["index"] for one in luns}
            for acl in group["node_acls"]:
                acl["mapped_luns"] = [one for one in acl["mapped_luns"] if one["tpg_lun"] in left]


def _each(reading: Callable[[Any], Document], objects: Iterable[_Object]) -> list[Document]:
    """What there is to say of each object that is still there when it has been read."""
    found = []
    for one in objects:
        try:
            facts = reading(one)
        except OSError:
            if not os.path.isdir(one.path):  # noqa: PTH112 - reading a target needs no pathlib
                continue
            # Somebody may have deleted it and made it again.
            facts = reading(one)
        if facts:
            found.append(facts)
    return found


def _whole_storage_object(so: StorageObject) -> Document:
    return {**storage_object(so), "alua_tpgs": _each(port_group, so.port_groups())}


def _whole_target(one: Target) -> Document:
    return {**target(one), "tpgs": _each(_whole_tpg, one.tpgs())}


def _whole_tpg(one: Tpg) -> Document:
    luns = _each(lun, one.luns())
    alive = {found["index"] for found in luns}
    return {
        **tpg(one),
        "luns": luns,
        "portals": _each(portal, one.portals()),
        "node_acls": _each(lambda acl: _whole_node_acl(acl, alive), one.acls()),
    }


def _whole_node_acl(acl: NodeAcl, alive: set[int]) -> Document:
    mapped = [found for found in _each(mapped_lun, acl.mapped_luns()) if found["tpg_lun"] in alive]
    return {**node_acl(acl), "mapped_luns": mapped}


def number_or_text(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


def _groups(owner: str, path: str) -> Document:
    """`attributes` and `parameters`: the files that can be both read and written."""
    found: Document = {}
    attributes = _writable(owner, "attribute", f"{path}/attrib")
    if attributes:
        found["attributes"] = {name: number_or_text(text) for name, text in attributes.items()}
    parameters = _writable(owner, "parameter", f"{path}/param")
    if parameters:
        found["parameters"] = parameters
    return found


def _writable(owner: str, group: str, directory: str) -> dict[str, str]:
    found = {}
    told = files.contents(directory)
    for name in sorted(files.names(directory) if told is None else told):
        path = f"{directory}/{name}"
        entry = find(owner, group, name)
        if entry.writable if entry else Path(path).stat().st_mode & 0o600 == 0o600:
            found[name] = files.read(path) if told is None else told[name]
    return found


def _chap(directory: str, prefix: str) -> Document:
    """The CHAP names and secrets that are set."""
    found = {}
    for name, file in CHAP_FILES.items():
        value = files.read_or(f"{directory}/{file}", "")
        if value and value != "NULL":
            found[f"{prefix}_{name}"] = value
    return found


def storage_object(so: StorageObject) -> Document:
    """A storage object without its ALUA groups."""
    facts = so.facts()
    if so.plugin == "user":
        facts["hw_max_sectors"] = number_or_text(str(facts["hw_max_sectors"]))
        facts["control"] = _control(so)
    return {**_groups("storage_object", so.path), **facts}


def _control(so: StorageObject) -> str:
    """What else the control file of a user object is told, as rtslib puts it together."""
    info = so.info()
    values = {
        "max_data_area_mb": info.word("MaxDataAreaMB"),
        "hw_block_size": files.read_or(f"{so.path}/attrib/hw_block_size", ""),
        "data_pages_per_blk": info.word("DataPagesPerBlk"),
    }
    return ",".join(f"{name}={value}" for name, value in values.items() if value and value != "NULL")


def port_group(group: PortGroup) -> Document:
    """An ALUA group; {} if it has no number yet."""
    told = files.contents(group.path) or {}
    number = told.get("tg_pt_gp_id") or files.read(f"{group.path}/tg_pt_gp_id")
    if not number:
        return {}
    return {"name": group.name, "tg_pt_gp_id": int(number), **alua_values(group.path, told)}


def alua_values(path: str, told: Mapping[str, str] | None = None) -> dict[str, int | str]:
    """The values of an ALUA group that can be set, access type and status as numbers. `told`: what its files
    say, if that is known."""
    told = files.contents(path) or {} if told is None else told
    return {
        name: alua_value(name, told[name] if name in told else files.read(f"{path}/{name}"))
        for name, entry in PORT_GROUP_ALUA.items()
        if entry.writable
    }


def alua_value(name: str, text: str) -> int:
    """What a file of an ALUA group says, access type and status as numbers."""
    return _WORDS[name].index(text) if name in _WORDS else int(text)


def demands_discovery(lio: Lio, fabric: Fabric) -> bool:
    """Whether a fabric demands CHAP for discovery: only then it is in a saved configuration."""
    path = f"{lio.path}/{fabric.dirname}/discovery_auth/enforce_discovery_auth"
    return files.read_or(path, "0") not in ("0", "")


def fabric_module(lio: Lio, fabric: Fabric) -> Document:
    """A fabric's discovery authentication."""
    path = f"{lio.path}/{fabric.dirname}"
    return {
        **_groups("fabric", path),
        "name": fabric.name,
        **_chap(f"{path}/discovery_auth", "discovery"),
        "discovery_enable_auth": True,
    }


def target(one: Target) -> Document:
    """A target without its portal groups."""
    return {**_groups("target", one.path), "wwn": one.wwn, "fabric": one.fabric.name}


def tpg(one: Tpg) -> Document:
    """A portal group without what is in it."""
    found: Document = {**_groups("tpg", one.path), "tag": one.tag, "enable": one.enabled()}
    if one.fabric.has("auth"):
        found |= _chap(f"{one.path}/auth", "chap")
    return found


def lun(one: Lun) -> Document:
    """A LUN; {} if its link is gone."""
    link = one.link()
    if link is None:
        return {}
    so = StorageObject(link[1])
    return {
        "storage_object": f"/backstores/{so.full_name}",
        "index": one.number,
        "alias": link[0],
        "alua_tg_pt_gp_name": one.port_group_name(so),
    }


def portal(one: Portal) -> Document:
    """A portal."""
    return {"port": one.port, "ip_address": one.address, "iser": one.iser(), "offload": one.offload()}


def node_acl(acl: NodeAcl) -> Document:
    """An ACL without its mapped LUNs."""
    found: Document = {**_groups("node_acl", acl.path), "node_wwn": acl.wwn}
    tag = acl.tag()
    if tag:
        found["tag"] = tag
    if acl.tpg.fabric.has("auth"):
        found |= _chap(f"{acl.path}/auth", "chap")
    return found


def mapped_lun(mapped: MappedLun) -> Document:
    """A mapped LUN; {} if its link is gone."""
    link = mapped.link()
    if link is None:
        return {}
    return {
        "write_protect": mapped.write_protected(),
        "index": mapped.number,
        "tpg_lun": int(link[1].rpartition("_")[2], 0),
        "alias": link[0],
    }
