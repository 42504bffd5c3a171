"""A configuration as a value: frozen dataclasses, one to one with rtslib's saveconfig.json. Pure.

    Configuration -> StorageObject -> PortGroup
                  -> Target -> Tpg -> Lun, Portal, NodeAcl -> MappedLun
                  -> FabricModule

Fields have the names of the file's keys. None is "the file does not say": a running object keeps what it
has, a new one gets LIO's default. CHAP names and secrets, and an ACL's tag, are the exception, as in the
file: what is not said is not set. Keys that mean nothing to this version are in `unknown`, and written back.

Flat, a configuration is a dict of keys to objects without what is below them, `flatten` and `unflatten`:

    ("storage_object", plugin, name)         ("port_group", plugin, name, group)      ("fabric_module", name)
    ("target", fabric, wwn)                  ("tpg", fabric, wwn, tag)
    ("lun", fabric, wwn, tag, index)         ("portal", fabric, wwn, tag, ip_address, port)
    ("node_acl", fabric, wwn, tag, node_wwn) ("mapped_lun", fabric, wwn, tag, node_wwn, index)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Value = int | str
Values = Mapping[str, Value]
Unknown = Mapping[str, Any]
Key = tuple[str | int, ...]

MAX_LUN = 65535
MAX_MAPPED_LUN = 4294967295
MAX_TAG = 65535
MAX_PORT = 65535
PLUGINS = ("fileio", "block", "ramdisk", "pscsi", "user")
CHAP_NAMES = ("userid", "password", "mutual_userid", "mutual_password")
DEFAULT_GROUP = "default_tg_pt_gp"
GROUPS = ("attributes", "parameters", "alua", "chap", "discovery")
"""Fields that are groups of values."""


@dataclass(frozen=True, slots=True)
class PortGroup:
    """An ALUA target port group; `alua` has the values of its files by name."""

    name: str
    tg_pt_gp_id: int | None = None
    alua: Values = field(default_factory=dict)
    unknown: Unknown = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StorageObject:
    """A backstore's device. `size` in bytes; what a plugin does not have stays None."""

    plugin: str
    name: str
    dev: str | None = None
    size: int | None = None
    wwn: str | None = None
    write_back: bool | None = None
    readonly: bool | None = None
    exclusive: bool | None = None
    aio: bool | None = None
    nullio: bool | None = None
    config: str | None = None
    hw_max_sectors: int | None = None
    control: str | None = None
    attributes: Values = field(default_factory=dict)
    alua_tpgs: tuple[PortGroup, ...] = ()
    unknown: Unknown = field(default_factory=dict)

    @property
    def path(self) -> str:
        """What a LUN refers to."""
        return f"/backstores/{self.plugin}/{self.name}"


@dataclass(frozen=True, slots=True)
class Lun:
    """A storage object as a portal group exports it. `alias` names a link, and configures nothing."""

    index: int
    storage_object: str
    alias: str | None = None
    alua_tg_pt_gp_name: str | None = None
    unknown: Unknown = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Portal:
    """An address (IPv6 in brackets) and port."""

    ip_address: str
    port: int
    iser: bool | None = None
    offload: bool | None = None
    unknown: Unknown = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MappedLun:
    """LUN `tpg_lun` as an initiator sees it, as number `index`."""

    index: int
    tpg_lun: int
    write_protect: bool | None = None
    alias: str | None = None
    unknown: Unknown = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeAcl:
    """What one initiator may do. `chap` holds those of CHAP_NAMES that are set."""

    node_wwn: str
    tag: str | None = None
    chap: Values = field(default_factory=dict, repr=False)
    attributes: Values = field(default_factory=dict)
    mapped_luns: tuple[MappedLun, ...] = ()
    unknown: Unknown = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tpg:
    """A target portal group; tag is its TPGT."""

    tag: int
    enable: bool | None = None
    chap: Values = field(default_factory=dict, repr=False)
    attributes: Values = field(default_factory=dict)
    parameters: Values = field(default_factory=dict)
    luns: tuple[Lun, ...] = ()
    portals: tuple[Portal, ...] = ()
    node_acls: tuple[NodeAcl, ...] = ()
    unknown: Unknown = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """A target of a fabric."""

    fabric: str
    wwn: str
    attributes: Values = field(default_factory=dict)
    parameters: Values = field(default_factory=dict)
    tpgs: tuple[Tpg, ...] = ()
    unknown: Unknown = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FabricModule:
    """A fabric's discovery authentication; a fabric that is not listed demands none."""

    name: str
    discovery_enable_auth: bool | None = None
    discovery: Values = field(default_factory=dict, repr=False)
    unknown: Unknown = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything."""

    storage_objects: tuple[StorageObject, ...] = ()
    targets: tuple[Target, ...] = ()
    fabric_modules: tuple[FabricModule, ...] = ()
    unknown: Unknown = field(default_factory=dict)


Object = StorageObject | PortGroup | FabricModule | Target | Tpg | Lun | Portal | NodeAcl | MappedLun
Flat = dict[Key, Object]


def flatten(configuration: Configuration) -> Flat:
    """Every object by its key, without what is below it."""
    flat: Flat = {}
    for so in configuration.storage_objects:
        flat["storage_object", so.plugin, so.name] = replace(so, alua_tpgs=())
        for group in so.alua_tpgs:
            flat["port_group", so.plugin, so.name, group.name] = group
    for module in configuration.fabric_modules:
        flat["fabric_module", module.name] = module
    for target in configuration.targets:
        place = (target.fabric, target.wwn)
        flat[("target", *place)] = replace(target, tpgs=())
        for tpg in target.tpgs:
            _flatten_tpg(flat, (*place, tpg.tag), tpg)
    return flat


def _flatten_tpg(flat: Flat, place: Key, tpg: Tpg) -> None:
    flat[("tpg", *place)] = replace(tpg, luns=(), portals=(), node_acls=())
    for lun in tpg.luns:
        flat[("lun", *place, lun.index)] = lun
    for portal in tpg.portals:
        flat[("portal", *place, portal.ip_address, portal.port)] = portal
    for acl in tpg.node_acls:
        flat[("node_acl", *place, acl.node_wwn)] = replace(acl, mapped_luns=())
        for mapped in acl.mapped_luns:
            flat[("mapped_lun", *place, acl.node_wwn, mapped.index)] = mapped


def unflatten(flat: Flat) -> Configuration:
    """The configuration made of these objects, in the order of their keys. Raises KeyError for an orphan."""
    below: dict[Key, list[Object]] = {}
    tops: dict[str, list[Any]] = {"storage_object": [], "fabric_module": [], "target": []}
    for key in sorted(flat, key=sort_key, reverse=True):
        value = flat[key]
        if isinstance(value, StorageObject):
            value = replace(value, alua_tpgs=_of(below, key, PortGroup))
        elif isinstance(value, NodeAcl):
            value = replace(value, mapped_luns=_of(below, key, MappedLun))
        elif isinstance(value, Tpg):
            luns, portals = _of(below, key, Lun), _of(below, key, Portal)
            value = replace(value, luns=luns, portals=portals, node_acls=_of(below, key, NodeAcl))
        elif isinstance(value, Target):
            value = replace(value, tpgs=_of(below, key, Tpg))
        parent = parent_of(key)
        if parent is None:
            tops[str(key[0])].insert(0, value)
        else:
            if parent not in flat:
                raise KeyError(parent)
            below.setdefault(parent, []).insert(0, value)
    return Configuration(tuple(tops["storage_object"]), tuple(tops["target"]), tuple(tops["fabric_module"]))


def _of(below: dict[Key, list[Object]], key: Key, kind: type) -> tuple[Any, ...]:
    return tuple(value for value in below.get(key, ()) if isinstance(value, kind))


def parent_of(key: Key) -> Key | None:
    """The key of the object that this one is in, None at the top."""
    kind = key[0]
    if kind == "port_group":
        return ("storage_object", *key[1:3])
    if kind == "tpg":
        return ("target", *key[1:3])
    if kind in ("lun", "portal", "node_acl"):
        return ("tpg", *key[1:4])
    if kind == "mapped_lun":
        return ("node_acl", *key[1:5])
    return None


RANK = {
    name: rank
    for rank, name in enumerate(
        (
            "storage_object",
            "port_group",
            "fabric_module",
            "target",
            "tpg",
            "lun",
            "node_acl",
            "mapped_lun",
            "portal",
        )
    )
}
"""The order in which LIO lets objects be made; backwards, deleted."""


def sort_key(key: Key) -> tuple[Any, ...]:
    """One order of all keys: by rank, then by name, numbers as numbers."""
    return (
        RANK[str(key[0])],
        *((0, part, "") if isinstance(part, int) else (1, 0, part) for part in key[1:]),
    )


def name_of(key: Key) -> str:
    """An object's path in the shell."""
    kind, *rest = key
    if kind == "storage_object":
        return "/backstores/{}/{}".format(*rest)
    if kind == "port_group":
        return "/backstores/{}/{}/alua/{}".format(*rest)
    if kind == "fabric_module":
        return f"/{rest[0]}"
    path = f"/{rest[0]}/{rest[1]}"
    if len(rest) > 2:
        path += f"/tpg{rest[2]}"
    if kind == "lun":
        path += f"/luns/lun{rest[3]}"
    elif kind == "portal":
        path += f"/portals/{rest[3]}:{rest[4]}"
    elif kind in ("node_acl", "mapped_lun"):
        path += f"/acls/{rest[3]}"
        if kind == "mapped_lun":
            path += f"/mapped_lun{rest[4]}"
    return path
