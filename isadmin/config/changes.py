"""Changes of a configuration, an object or a value each, and what they make of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from isadmin.config.model import DEFAULT_GROUP, Flat, Key, Object, StorageObject, Value, parent_of


@dataclass(frozen=True, slots=True)
class Create:
    """Make an object with all its values; a portal group stays off."""

    key: Key
    value: Object


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object below which nothing is left."""

    key: Key
    value: Object


@dataclass(frozen=True, slots=True)
class Set:
    """Set one value: of a group ("attributes", "parameters", "alua", "chap", "discovery"), or, with group
    "", of the object itself. "" clears a CHAP value, None a tag."""

    key: Key
    group: str
    name: str
    old: Value | None
    new: Value | None

    @property
    def secret(self) -> bool:
        return self.group in ("chap", "discovery") and self.name.endswith("password")


Change = Create | Delete | Set


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, in order; `because` tells of each object that is made again why."""

    changes: tuple[Change, ...]
    because: Mapping[Key, str]
    result: Flat

    def __bool__(self) -> bool:
        return bool(self.changes)

    def keys(self) -> set[Key]:
        """Every object that is touched."""
        return {change.key for change in self.changes}


def verb(change: Change) -> str:
    """The change in one word."""
    if isinstance(change, Set):
        if change.name == "enable" or change.name == "discovery_enable_auth":
            return "enable" if change.new else "disable"
        return "set"
    mapping = change.key[0] == "mapped_lun"
    if isinstance(change, Create):
        return "map" if mapping else "create"
    return "unmap" if mapping else "delete"


def deletable(key: Key) -> bool:
    """LIO lets it be deleted by itself."""
    return not (key[0] == "port_group" and key[-1] == DEFAULT_GROUP)


def applied(now: Flat, changes: Iterable[Change]) -> Flat:
    """What the changes make of a flat configuration: what LIO would, as far as values tell."""
    flat = dict(now)
    for change in changes:
        if isinstance(change, Create):
            assert change.key not in flat or not deletable(change.key), change
            flat[change.key] = change.value
        elif isinstance(change, Delete):
            del flat[change.key]
            for key in [key for key in flat if parent_of(key) == change.key]:
                assert not deletable(key), key
                del flat[key]
        else:
            flat[change.key] = _with(flat[change.key], change)
    return flat


def _with(value: Object, change: Set) -> Object:
    if not change.group:
        return replace(value, **{change.name: change.new})  # type: ignore[arg-type]
    group = {**getattr(value, change.group)}
    if change.group in ("chap", "discovery") and change.new in ("", None):
        group.pop(change.name, None)
    else:
        assert change.new is not None
        group[change.name] = change.new
    value = replace(value, **{change.group: group})  # type: ignore[arg-type]
    if isinstance(value, StorageObject) and change.name == "emulate_write_cache" and value.plugin == "fileio":
        value = replace(value, write_back=change.new not in (0, "0"))
    return value
