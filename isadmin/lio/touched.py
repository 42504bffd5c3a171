"""Which objects a command touches, and what they were before: what undoing it needs, at the cost of what it
touches.

Everything that changes a target makes or removes directories and links in configfs, or writes its files,
whoever does it, rtslib included. Python tells of each such call before it happens (sys.audit, PEP 578): what
it concerns is read then, once. Of an object in which values are set, that is these values, and those that LIO
sets along with them; of one that is deleted, all of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from isadmin.config import document, parts
from isadmin.config.model import DEFAULT_GROUP, Key, Object, Value
from isadmin.config.parts import Known, Name, Part
from isadmin.lio import files, snapshot
from isadmin.lio.attributes import PORT_GROUP_ALUA
from isadmin.lio.fabrics import FABRICS
from isadmin.lio.objects import Lio, Lun, MappedLun, NodeAcl, Portal
from isadmin.lio.objects import Target as TargetHandle
from isadmin.lio.objects import Tpg as TpgHandle
from isadmin.lio.storage_objects import PLUGINS, PortGroup
from isadmin.lio.storage_objects import StorageObject as StorageObjectHandle

_EVENTS = {"os.mkdir": 0, "os.rmdir": 0, "os.remove": 0, "os.symlink": 1, "open": 0}
"""Audit event -> which of its arguments is the path that changes."""
_FABRICS = {fabric.dirname: fabric for fabric in FABRICS}


class Touched:
    """The objects touched so far: `before` has what is known of each as it was."""

    def __init__(self, lio: Lio) -> None:
        self._lio = lio
        self._places: dict[Key, str] = {}
        self._files: dict[Key, dict[Name, str]] = {}
        """The paths of the values that were set, of objects of which no more is known."""
        self.before: dict[Key, Known] = {}
        self.left: dict[Key, Known] = {}
        """What is known of each when the command that touched it ended: what differs now is others' doing."""

    def note(self, path: str, *, written: bool = False, removed: bool = False) -> None:
        """Something at this path is about to change: a file to be written, a directory to be removed."""
        below = path[len(self._lio.path) + 1 :]
        key = key_of(below)
        if key is None:
            return
        if below.startswith("core/"):
            # Its name does not tell; to search for it, once changed, would take a look at all there are.
            self._places[key] = "/".join([self._lio.path, *below.split("/")[:3]])
        if key in self.before and not isinstance(self.before[key], Part):
            return
        if written and self._note_values(key, below):
            return
        self._note_whole(key)
        if removed and key[0] == "storage_object":
            # It goes with its storage object, unnoticed.
            group = ("port_group", *key[1:], DEFAULT_GROUP)
            self._places[group] = self._places[key]
            self._note_whole(group)

    def _note_values(self, key: Key, below: str) -> bool:
        """Note what a write to a file changes of an object; False if that is not known."""
        found = {name: f"{self._lio.path}/{one}" for name, one in files_of(key, below).items()}
        if not found:
            return False
        seen = self._files.get(key, {})
        new = {name: file for name, file in found.items() if name not in seen}
        try:
            self._note(key, _values(new))
        except (OSError, ValueError):
            return False
        self._files[key] = seen | new
        return True

    def _note_whole(self, key: Key) -> None:
        self._note(key, self._read(key))
        self._files.pop(key, None)

    def _note(self, key: Key, one: Known) -> None:
        """What was noted of it earlier is what it was."""
        self.before[key] = parts.over(one, self.before[key]) if key in self.before else one

    def after(self) -> dict[Key, Known]:
        """What is known of the objects as they are now."""
        self.left = {key: self._now(key) for key in self.before}
        return self.left

    def _now(self, key: Key) -> Known:
        try:
            if key in self._files:
                return _values(self._files[key])
        except (OSError, ValueError):
            return None
        if key[0] == "storage_object" and self.before[key] is None:
            return _created(StorageObjectHandle(self._places[key]))
        return self._read(key)

    def take_in(self, later: Touched) -> None:
        """Add what a later block touched. What others changed in between belongs to what was before."""
        for key, value in later.before.items():
            if key in self.left:
                self.before[key] = parts.rebased(self.before[key], self.left[key], value)
            else:
                self._note(key, value)
        self.left |= {key: parts.over(self.left.get(key), one) for key, one in later.left.items()}

    def _read(self, key: Key) -> Object | None:
        return read(self._lio, key, self._places.get(key))


_active: Touched | None = None
_hooked = False


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    global _active
    watching = _active
    if watching is None or event not in _EVENTS:
        return
    path = arguments[_EVENTS[event]]
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    if event == "open":
        flags = arguments[2]
        if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR):
            return
    if not isinstance(path, str) or not path.startswith(watching._lio.path + "/"):
        return
    _active = None
    try:
        watching.note(path, written=event == "open", removed=event == "os.rmdir")
    finally:
        _active = watching
        if files.remembered is not None:
            files.remembered.changes(path)


@contextmanager
def watching(lio: Lio) -> Iterator[Touched]:
    """Note what the block touches of a target; within another such block, for that one too. Not for several
    threads."""
    global _active, _hooked
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    outer, inner = _active, Touched(lio)
    _active, files.remembered = inner, files.Memory()
    try:
        yield inner
    finally:
        _active, files.remembered = outer, None if outer is None else files.Memory()
        if outer is not None:
            outer.take_in(inner)


# Single values

_GROUPS = {"attrib": "attributes", "param": "parameters"}
_CHAP = {file: name for name, file in snapshot.CHAP_FILES.items()}
_DEPTHS = {"storage_object": 3, "port_group": 5, "target": 2, "tpg": 3, "node_acl": 5}
"""How many names lead from target/ to an object whose values can be known one by one."""
_LIMITS = tuple(
    f"attrib/{name}"
    for name in (
        "max_unmap_lba_count",
        "max_unmap_block_desc_count",
        "unmap_granularity",
        "unmap_granularity_alignment",
    )
)
_ALONG: dict[tuple[str, str], tuple[str, ...]] = {
    ("tpg", "attrib/authentication"): ("param/AuthMethod",),
    ("tpg", "enable"): ("param/AuthMethod",),
    ("tpg", "attrib/generate_node_acls"): ("attrib/cache_dynamic_acls",),
    ("port_group", "alua_access_state"): ("alua_access_status",),
    ("storage_object", "attrib/pi_prot_type"): ("attrib/pi_prot_verify",),
    ("storage_object", "attrib/emulate_tpu"): _LIMITS,
    ("storage_object", "attrib/emulate_tpws"): _LIMITS,
}
"""Kind of an object and one of its files -> the files that LIO may write along with it (kernel 6.1)."""


def files_of(key: Key, below: str) -> dict[Name, str]:
    """The values that writing a file changes, and their files, all as paths below target/; none if that is
    not known."""
    kind = str(key[0])
    if kind not in _DEPTHS or key[:2] == ("storage_object", "user"):
        return {}
    names = below.split("/")
    directory, file = "/".join(names[: _DEPTHS[kind]]), "/".join(names[_DEPTHS[kind] :])
    found = {_name_of(kind, one): f"{directory}/{one}" for one in (file, *_ALONG.get((kind, file), ()))}
    return {} if None in found else {name: path for name, path in found.items() if name is not None}


def _name_of(kind: str, file: str) -> Name | None:
    """What a configuration calls the value in an object's file, None if that is no value by itself."""
    directory, _, name = file.rpartition("/")
    if directory in _GROUPS and (kind, directory) != ("node_acl", "param"):
        return _GROUPS[directory], name
    if directory == "auth" and name in _CHAP:
        return "chap", _CHAP[name]
    if kind == "port_group" and file in PORT_GROUP_ALUA and PORT_GROUP_ALUA[file].writable:
        return "alua", file
    return ("", file) if (kind, file) == ("tpg", "enable") else None


def _values(paths: Mapping[Name, str]) -> Part:
    """Values as a configuration has them. Raises OSError, ValueError."""
    return Part({name: _value(name, files.known(path)) for name, path in paths.items()})


def _value(name: Name, text: str) -> Value | None:
    group, file = name
    if group == "attributes":
        return snapshot.number_or_text(text)
    if group == "alua":
        return snapshot.alua_value(file, text)
    if group == "chap":
        return None if text in ("", "NULL") else text
    return text if group else text != "0"


def _created(so: StorageObjectHandle) -> Part | None:
    """What there is to know of a new storage object: that it is this one. Its values are LIO's defaults. One
    that has its serial number is switched on."""
    if not so.exists():
        return None
    if so.plugin == "pscsi":
        return Part({}) if so.enabled() else None
    wwn = so.wwn()
    return Part({("", "wwn"): wwn}) if wwn else None


# Whole objects


def key_of(path: str) -> Key | None:
    """The key of the object that a path below `target/` is or belongs to; None for none."""
    top, *rest = path.split("/")
    if top == "core":
        if len(rest) < 2:
            return None
        plugin = PLUGINS.get(rest[0].rpartition("_")[0])
        if plugin is None:
            return None
        if len(rest) > 3 and rest[2] == "alua":
            return ("port_group", plugin, rest[1], rest[3])
        return ("storage_object", plugin, rest[1])
    fabric = _FABRICS.get(top)
    if fabric is None or not rest:
        return None
    if rest[0] == "discovery_auth":
        return ("fabric_module", fabric.name)
    place: Key = (fabric.name, fabric.wwn(rest[0]))
    if len(rest) < 2 or not rest[1].startswith("tpgt_"):
        return ("target", *place)
    place = (*place, int(rest[1].removeprefix("tpgt_")))
    if len(rest) > 3 and rest[2] == "lun":
        return ("lun", *place, int(rest[3].removeprefix("lun_")))
    if len(rest) > 3 and rest[2] == "np":
        address, _, port = rest[3].rpartition(":")
        return ("portal", *place, address, int(port))
    if len(rest) > 3 and rest[2] == "acls":
        wwn = fabric.wwn(rest[3])
        if len(rest) > 4 and rest[4].startswith("lun_"):
            return ("mapped_lun", *place, wwn, int(rest[4].removeprefix("lun_")))
        return ("node_acl", *place, wwn)
    return ("tpg", *place)


def read(lio: Lio, key: Key, place: str | None = None) -> Object | None:
    """The object at a key as it is now, without what is below it; None if there is none that is whole.
    `place`: the directory of its storage object, where that is known."""
    try:
        raw = _raw(lio, key, place)
    except (OSError, ValueError):
        return None
    return None if not raw else document.object_of(str(key[0]), raw)


def _raw(lio: Lio, key: Key, place: str | None) -> snapshot.Document | None:
    kind, *rest = key
    names = [str(part) for part in rest]
    if kind in ("storage_object", "port_group"):
        so = StorageObjectHandle(place) if place else lio.find_storage_object(names[0], names[1])
        if so is None or not so.exists() or files.known(f"{so.path}/enable") == "0":
            return None
        if kind == "storage_object":
            return snapshot.storage_object(so)
        group = PortGroup(so, names[2])
        return snapshot.port_group(group) if group.exists() else None
    fabric = next(one for one in FABRICS if one.name == names[0])
    if kind == "fabric_module":
        return snapshot.fabric_module(lio, fabric) if snapshot.demands_discovery(lio, fabric) else None
    target = TargetHandle(lio, fabric, names[1])
    if kind == "target":
        return snapshot.target(target) if target.exists() else None
    tpg = TpgHandle(target, int(names[2]))
    if kind == "tpg":
        return snapshot.tpg(tpg) if tpg.exists() else None
    if kind == "lun":
        return snapshot.lun(Lun(tpg, int(names[3])))
    if kind == "portal":
        portal = Portal(tpg, names[3], int(names[4]))
        return snapshot.portal(portal) if portal.exists() else None
    acl = NodeAcl(tpg, names[3])
    if kind == "node_acl":
        return snapshot.node_acl(acl) if acl.exists() else None
    return snapshot.mapped_lun(MappedLun(acl, int(names[4])))
