"""Which objects a command touches, and what they were before: what undoing it needs, at the cost of what it
touches.

Everything that changes a target makes or removes directories and links in configfs, or writes its files,
whoever does it, rtslib included. Python tells of each such call before it happens (sys.audit, PEP 578): the
object it concerns is read then, once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

from isadmin.config import document
from isadmin.config.model import DEFAULT_GROUP, Key, Object
from isadmin.lio import snapshot
from isadmin.lio.fabrics import FABRICS
from isadmin.lio.objects import PLUGINS, Lio, Lun, MappedLun, NodeAcl, Portal, PortGroup
from isadmin.lio.objects import StorageObject as StorageObjectHandle
from isadmin.lio.objects import Target as TargetHandle
from isadmin.lio.objects import Tpg as TpgHandle

_EVENTS = {"os.mkdir": 0, "os.rmdir": 0, "os.remove": 0, "os.symlink": 1, "open": 0}
"""Audit event -> which of its arguments is the path that changes."""
_FABRICS = {fabric.dirname: fabric for fabric in FABRICS}


class Touched:
    """The objects touched so far: `before` has what each was, None for nothing."""

    def __init__(self, lio: Lio) -> None:
        self._lio = lio
        self._places: dict[Key, str] = {}
        self.before: dict[Key, Object | None] = {}
        self.left: dict[Key, Object | None] = {}
        """What each was when the command that touched it ended: what differs now is others' doing."""

    def note(self, path: str, *, removed: bool = False) -> None:
        """Something at this path is about to change, or to be removed."""
        below = path[len(self._lio.path) + 1 :]
        key = key_of(below)
        if key is None:
            return
        if below.startswith("core/"):
            # Its name does not tell; to search for it, once changed, would take a look at all there are.
            self._places[key] = "/".join([self._lio.path, *below.split("/")[:3]])
        if key in self.before:
            return
        self.before[key] = self._read(key)
        if removed and key[0] == "storage_object":
            # It goes with its storage object, unnoticed.
            group = ("port_group", *key[1:], DEFAULT_GROUP)
            self._places[group] = self._places[key]
            self.before.setdefault(group, self._read(group))

    def after(self) -> dict[Key, Object | None]:
        """What the objects are now."""
        self.left = {key: self._read(key) for key in self.before}
        return self.left

    def take_in(self, later: Touched) -> None:
        """Add what a later block touched. What others changed in between belongs to what was before."""
        for key, value in later.before.items():
            if key in self.left:
                value = rebased(self.before[key], self.left[key], value)
            elif key in self.before:
                continue
            self.before[key] = value
        self.left |= later.left

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
        watching.note(path, removed=event == "os.rmdir")
    finally:
        _active = watching


@contextmanager
def watching(lio: Lio) -> Iterator[Touched]:
    """Note what the block touches of a target; within another such block, for that one too. Not for several
    threads."""
    global _active, _hooked
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    outer, inner = _active, Touched(lio)
    _active = inner
    try:
        yield inner
    finally:
        _active = outer
        if outer is not None:
            outer.take_in(inner)


def rebased(before: Any, left: Any, now: Any) -> Any:
    """What an object would be now if it had not been changed from `before` to `left`: each value that was is
    as before, the others are as they are now. One that came or went altogether is as before."""
    if isinstance(before, Mapping) and isinstance(left, Mapping) and isinstance(now, Mapping):
        names = dict.fromkeys([*before, *now])
        values = {n: rebased(before.get(n), left.get(n), now.get(n)) for n in names}
        return {name: value for name, value in values.items() if value is not None}
    same = type(before) is type(left) is type(now) and is_dataclass(before)
    if same and not isinstance(before, type):
        triples = {f.name: [getattr(one, f.name) for one in (before, left, now)] for f in fields(before)}
        return type(before)(**{name: rebased(*triple) for name, triple in triples.items()})
    return now if left == before else before


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
        if so is None or not so.exists() or not so.enabled():
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
    if not tpg.exists():
        return None
    if kind == "tpg":
        return snapshot.tpg(tpg)
    if kind == "lun":
        return snapshot.lun(Lun(tpg, int(names[3])))
    if kind == "portal":
        portal = Portal(tpg, names[3], int(names[4]))
        return snapshot.portal(portal) if portal.exists() else None
    acl = NodeAcl(tpg, names[3])
    if not acl.exists():
        return None
    return (
        snapshot.node_acl(acl) if kind == "node_acl" else snapshot.mapped_lun(MappedLun(acl, int(names[4])))
    )
