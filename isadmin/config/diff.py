"""Two configurations -> the shortest ordered list of changes that LIO accepts. Pure.

The order: portal groups that are to go or to be off are switched off; what goes is deleted, from the mapped
LUNs down to the storage objects; then from the storage objects up to the portals things are made and set;
portal groups are switched on last.

An object is replaced - deleted, then made again - only if LIO cannot change it in place; a storage object's
values that LIO freezes while it is exported are set while its LUNs are taken away. Both take along what
depends on the object, and the plan says why. The names of links (`alias`) configure nothing: a difference in
them alone is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from isadmin.config.changes import Change, Create, Delete, Plan, Set, deletable
from isadmin.config.model import (
    CHAP_NAMES,
    DEFAULT_GROUP,
    GROUPS,
    Configuration,
    FabricModule,
    Flat,
    Key,
    Lun,
    MappedLun,
    NodeAcl,
    Object,
    Portal,
    PortGroup,
    StorageObject,
    Tpg,
    Value,
    flatten,
    name_of,
    parent_of,
    sort_key,
)
from isadmin.config.order import in_order
from isadmin.config.spelling import respelled

PAGE = 4096
"""What a ramdisk's size is rounded to, in bytes."""

FROZEN = frozenset(
    {
        "block_size",
        "queue_depth",
        "optimal_sectors",
        "pi_prot_type",
        "force_pr_aptpl",
        "emulate_model_alias",
        "emulate_ua_intlck_ctrl",
        "wwn",
    }
)
"""What LIO refuses to change while the storage object is exported (kernel 6.1)."""

IN_PLACE: dict[type, tuple[str, ...]] = {
    StorageObject: ("wwn",),
    Lun: ("alua_tg_pt_gp_name",),
    MappedLun: ("write_protect",),
    Portal: ("iser", "offload"),
    NodeAcl: ("tag",),
    Tpg: ("enable",),
    FabricModule: ("discovery_enable_auth",),
}
"""Fields that can be set; groups of values can as well; all other fields mean another object."""

IGNORED = frozenset({"emulate_dpo", "emulate_fua_read"})
"""Attributes that LIO lets be set and does not set (kernel 6.1, DEF_CONFIGFS_ATTRIB_STORE_STUB)."""

OPEN = ("attributes", "parameters", "alua")
"""Groups of which each version of LIO has other names; what an object does not have cannot be set."""
NOT_COMPARED = frozenset({"unknown", "alias", "write_back"})
SAID_BY_SILENCE = frozenset({"tag", "nullio"})
"""Fields that are in a file only if they are set."""


class DanglingError(ValueError):
    """The result would refer to what it does not have; `problems` says which, one text each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def diff(now: Configuration, wanted: Configuration, *, prune: bool = True) -> Plan:
    """The changes that make `now` into `wanted`; without `prune`, nothing is deleted for not being wanted.

    Raises DanglingError if a LUN or mapped LUN of the result would show what is not there.
    """
    there = flatten(now)
    return exact(there, merged(there, respelled(flatten(wanted), there), prune=prune))


# What the result is to be


def merged(now: Flat, wanted: Flat, *, prune: bool, within: Callable[[Key], bool] | None = None) -> Flat:
    """What there will be: each wanted object, with the values now of what it does not say; without `prune`,
    or where `within` says no, what is there now stays."""
    result = {key: one for key, one in now.items() if not prune or (within and not within(key))}
    for key, value in wanted.items():
        result[key] = _settled(_overlaid(now.get(key), _normal(value)))
        if not getattr(result[key], "discovery_enable_auth", True):
            # What LIO shows of one that demands nothing is nothing.
            del result[key]
    for key, value in now.items():
        # The kernel makes this group with the storage object, and keeps it as long.
        kept = key[0] == "port_group" and key[-1] == DEFAULT_GROUP and parent_of(key) in result
        if kept and key not in result:
            result[key] = value
    return result


def not_had(now: Flat, wanted: Flat) -> list[str]:
    """The values that are wanted of objects that do not have them: a newer or older LIO's, one text each."""
    found = []
    for key, value in wanted.items():
        for group in OPEN if key in now else ():
            has = getattr(now[key], group, {})
            missing = [name for name in getattr(value, group, {}) if has and name not in has]
            found += [f"{name} of {name_of(key)}" for name in missing]
    return found


def _normal(value: Object) -> Object:
    """The value with what LIO makes of it."""
    if not isinstance(value, StorageObject):
        return value
    if value.wwn == "":
        value = replace(value, wwn=None)
    if value.plugin == "ramdisk" and value.size is not None:
        value = replace(value, size=max(round(value.size / PAGE), 1) * PAGE)
    if value.plugin == "fileio" and "emulate_write_cache" in value.attributes:
        value = replace(value, write_back=value.attributes["emulate_write_cache"] not in (0, "0"))
    elif value.plugin == "fileio" and value.write_back is not None:
        attributes = {**value.attributes, "emulate_write_cache": int(value.write_back)}
        value = replace(value, attributes=attributes)
    return value


def _settled(value: Object) -> Object:
    """The whole value with what LIO makes of values that depend on each other (kernel 6.1)."""
    if isinstance(value, Tpg) and value.attributes.get("generate_node_acls") in (1, "1"):
        attributes = value.attributes
        if attributes.get("cache_dynamic_acls") in (0, "0"):
            return replace(value, attributes={**attributes, "cache_dynamic_acls": 1})
    if isinstance(value, StorageObject) and value.attributes.get("pi_prot_type") in (0, "0"):
        attributes = value.attributes
        if attributes.get("pi_prot_verify") in (1, "1"):
            return replace(value, attributes={**attributes, "pi_prot_verify": 0})
    return value


def _overlaid(old: Object | None, new: Object) -> Object:
    if old is None:
        return replace(new, enable=True) if isinstance(new, Tpg) and new.enable is None else new
    values: dict[str, Any] = {}
    for field in fields(new):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if field.name in OPEN:
            has = after if not before else {name: after[name] for name in after if name in before}
            values[field.name] = {**before, **has}
        elif field.name == "alias" or (after is None and field.name not in SAID_BY_SILENCE):
            values[field.name] = before
        else:
            values[field.name] = after
    return type(new)(**values)


# From here to there


def exact(now: Flat, wanted: Flat) -> Plan:
    """The changes from one flat configuration to another, whose objects say everything they are to be."""
    problems = dangling(wanted)
    if problems:
        raise DanglingError(problems)
    again = _made_again(now, wanted)
    gone = {key for key in now if key not in wanted} | again.keys()
    new = {key for key in wanted if key not in now} | again.keys()
    changes: list[Change] = []
    for key in sorted(now, key=sort_key):
        value = now[key]
        if isinstance(value, Tpg) and value.enable:
            after = wanted.get(key)
            if after is None or not isinstance(after, Tpg) or not after.enable:
                changes.append(Set(key, "", "enable", True, False))
    changes += [Delete(key, now[key]) for key in sorted(gone, key=sort_key, reverse=True) if deletable(key)]
    on: list[Change] = []
    for key in sorted(wanted, key=sort_key):
        value = wanted[key]
        if key in new:
            if isinstance(value, Tpg):
                if value.enable:
                    on.append(Set(key, "", "enable", False, True))
                value = replace(value, enable=False)
            changes.append(Create(key, value))
            continue
        sets = list(_sets(key, now[key], value))
        on += [change for change in sets if change.name == "enable" and change.new]
        changes += [change for change in sets if change.name != "enable"]
        if isinstance(value, Lun) and (regrouped := _regrouped(key, value, again, sets)):
            changes.append(regrouped)
    shown = {key: why for key, why in again.items() if key in now}
    return Plan(tuple(changes + on), shown, wanted)


def _regrouped(key: Key, lun: Lun, again: Mapping[Key, str], sets: list[Set]) -> Set | None:
    """Putting a LUN back into its ALUA group, which is made again under it."""
    group, plugin_and_name = lun.alua_tg_pt_gp_name, lun.storage_object.split("/")[2:]
    if group is None or sets or ("port_group", *plugin_and_name, group) not in again:
        return None
    return Set(key, "", "alua_tg_pt_gp_name", DEFAULT_GROUP, group)


def dangling(flat: Flat) -> list[str]:
    """What refers to something that is not there, one text each."""
    return [text for _, text in _dangling(flat)]


def without_dangling(flat: Flat) -> Flat:
    """The same without what refers to something that is not there."""
    while gone := {key for key, _ in _dangling(flat)}:
        flat = {key: one for key, one in flat.items() if key not in gone}
    return flat


def _dangling(flat: Flat) -> Iterator[tuple[Key, str]]:
    there = {value.path for value in flat.values() if isinstance(value, StorageObject)}
    for key, value in flat.items():
        if isinstance(value, Lun) and value.storage_object not in there:
            yield key, f"{name_of(key)} needs {value.storage_object}, which is not there"
        elif isinstance(value, MappedLun) and ("lun", *key[1:4], value.tpg_lun) not in flat:
            yield key, f"{name_of(key)} needs lun{value.tpg_lun}, which its portal group does not have"
        parent = parent_of(key)
        if parent is not None and parent not in flat:
            yield key, f"{name_of(key)} needs {name_of(parent)}, which is not there"


def _made_again(now: Flat, wanted: Flat) -> dict[Key, str]:
    """What has to be deleted and made again, and why."""
    again: dict[Key, str] = {}
    taken_away: dict[str, str] = {}
    for key, value in now.items():
        after = wanted.get(key)
        if after is None:
            continue
        fixed = list(_identity(value, after))
        if fixed:
            again[key] = f"{_listed(fixed)} cannot be changed in place"
        elif isinstance(value, StorageObject):
            frozen = [change.name for change in _sets(key, value, after) if change.name in FROZEN]
            if frozen:
                names = _listed(dict.fromkeys(frozen))
                taken_away[value.path] = f"{names} of {value.path} can change only while it is not exported"
    for key in [key for key in again if key[0] == "storage_object"]:
        value = now[key]
        assert isinstance(value, StorageObject)
        taken_away[value.path] = f"{value.path} is made again"
    replaced = {key for key in again if key[0] == "storage_object"}
    for key, value in now.items():
        if key not in wanted:
            continue
        parent = parent_of(key)
        if key[0] == "port_group" and parent in replaced:
            again.setdefault(key, f"{name_of(parent)} is made again")
        if isinstance(value, Lun) and value.storage_object in taken_away:
            again.setdefault(key, taken_away[value.storage_object])
    for key, value in now.items():
        if isinstance(value, MappedLun) and key in wanted:
            lun = ("lun", *key[1:4], value.tpg_lun)
            if lun in again:
                again.setdefault(key, f"{name_of(lun)} is made again")
    return again


def _listed(names: Iterable[str]) -> str:
    return " and ".join(names)


def _settable(old: Object, new: Object) -> tuple[str, ...]:
    """The fields that can be set where both are objects of one key."""
    settable = IN_PLACE.get(type(new), ())
    if isinstance(old, StorageObject) and isinstance(new, StorageObject) and _is_same_file(old, new):
        return (*settable, "size")
    return settable


def _is_same_file(old: StorageObject, new: StorageObject) -> bool:
    """Are both over one file, which LIO lets grow and shrink?"""
    same = old.dev is not None and new.dev in (None, old.dev)
    return old.plugin == "fileio" and same and not _is_device(old.dev or "")


def _identity(old: Object, new: Object) -> Iterator[str]:
    """The names of fields in which two objects of one key differ, and that LIO cannot change."""
    settable = _settable(old, new)
    for field in fields(old):
        name = field.name
        if name in settable or name in GROUPS or name in NOT_COMPARED:
            continue
        before, after = getattr(old, name), getattr(new, name)
        said = after is not None or name in SAID_BY_SILENCE
        if before != after and said and not _same(old, new, name):
            yield name
    if isinstance(old, StorageObject) and isinstance(new, StorageObject) and old.plugin == "fileio":
        # The file is open for delayed writes: telling initiators that there is no cache would be a lie.
        yield from ("write_back",) if old.write_back and new.write_back is False else ()


def _same(old: Object, new: Object, name: str) -> bool:
    """Is a field that differs the same to LIO?"""
    if isinstance(old, StorageObject) and isinstance(new, StorageObject):
        before, after = getattr(old, name), getattr(new, name)
        if name in ("nullio", "readonly", "aio"):
            return bool(before) == bool(after)
        if before is None and name == "exclusive":
            return after is True
        if name == "size":
            # A device has the size it has; LIO does not look at this one.
            return old.plugin in ("block", "pscsi") or _is_device(new.dev or "")
    return isinstance(old, PortGroup) and old.name == DEFAULT_GROUP


def differing(key: Key, old: Object, new: Object) -> bool:
    """Is there anything to change from one to the other?"""
    return any(_identity(old, new)) or any(True for _ in _sets(key, old, new))


def _is_device(path: str) -> bool:
    """As far as a name tells: /dev/shm holds files."""
    return path.startswith("/dev/") and not path.startswith("/dev/shm/")  # noqa: S108


def _sets(key: Key, old: Object, new: Object) -> Iterator[Set]:
    """What to set in an object that stays."""
    for group in GROUPS:
        if hasattr(new, group):
            sets = list(_group_sets(key, group, getattr(old, group), getattr(new, group)))
            yield from sets
            if group == "attributes" and isinstance(old, Tpg) and isinstance(new, Tpg):
                # Setting authentication moves AuthMethod, too.
                moved = any(change.name == "authentication" for change in sets)
                now, wanted = old.parameters.get("AuthMethod"), new.parameters.get("AuthMethod")
                if moved and now == wanted and wanted is not None:
                    yield Set(key, "parameters", "AuthMethod", now, wanted)
    for name in _settable(old, new):
        before, after = getattr(old, name), getattr(new, name)
        if before != after and not (after is None and name != "tag"):
            if before is None and after is False:
                continue
            yield Set(key, "", name, before, after)


def _group_sets(key: Key, group: str, old: Mapping[str, Value], new: Mapping[str, Value]) -> Iterator[Set]:
    if group in ("chap", "discovery"):
        for name in CHAP_NAMES:
            before, after = old.get(name, ""), new.get(name, "")
            if before != after:
                yield Set(key, group, name, before, after)
        return
    others = {
        name: new[name] for name in new if str(old.get(name, "")) != str(new[name]) and name not in IGNORED
    }
    for name, value in in_order(str(key[0]), group, old, others, new):
        yield Set(key, group, name, old.get(name), value)
