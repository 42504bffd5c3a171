"""What may stand in a saved configuration, and where: the table of its keys, and what is wrong with a
document. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from isadmin.config import model

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a key's value must be. Kinds: text, number, flag, values, list."""

    kind: str
    low: int = 0
    high: int = 0
    required: bool = False
    choices: tuple[str, ...] = ()
    members: str = ""


_TEXT, _FLAG, _VALUES = Rule("text"), Rule("flag"), Rule("values")
_NAME = Rule("text", required=True)
_ANY_NUMBER = Rule("number", 0, 2**64 - 1)


def _list(members: str) -> Rule:
    return Rule("list", members=members)


def _index(high: int, *, required: bool = True) -> Rule:
    return Rule("number", 0, high, required)


def _chap(prefix: str) -> dict[str, Rule]:
    return {prefix + name: _TEXT for name in model.CHAP_NAMES}


RULES: dict[str, dict[str, Rule]] = {
    "": {
        "storage_objects": _list("storage_objects"),
        "targets": _list("targets"),
        "fabric_modules": _list("fabric_modules"),
    },
    "storage_objects": {
        "name": _NAME,
        "plugin": Rule("text", required=True, choices=model.PLUGINS),
        "dev": _TEXT,
        "size": _ANY_NUMBER,
        "wwn": _TEXT,
        "write_back": _FLAG,
        "readonly": _FLAG,
        "exclusive": _FLAG,
        "aio": _FLAG,
        "nullio": _FLAG,
        "config": _TEXT,
        "hw_max_sectors": _ANY_NUMBER,
        "control": _TEXT,
        "attributes": _VALUES,
        "alua_tpgs": _list("alua_tpgs"),
    },
    "alua_tpgs": {"name": _NAME, "tg_pt_gp_id": _index(65535, required=False)},
    "targets": {
        "wwn": _NAME,
        "fabric": _NAME,
        "attributes": _VALUES,
        "parameters": _VALUES,
        "tpgs": _list("tpgs"),
    },
    "tpgs": {
        "tag": _index(model.MAX_TAG),
        "enable": _FLAG,
        "attributes": _VALUES,
        "parameters": _VALUES,
        "luns": _list("luns"),
        "portals": _list("portals"),
        "node_acls": _list("node_acls"),
        **_chap("chap_"),
    },
    "luns": {
        "index": _index(model.MAX_LUN),
        "storage_object": _NAME,
        "alias": _TEXT,
        "alua_tg_pt_gp_name": _TEXT,
    },
    "portals": {"ip_address": _NAME, "port": _index(model.MAX_PORT), "iser": _FLAG, "offload": _FLAG},
    "node_acls": {
        "node_wwn": _NAME,
        "tag": _TEXT,
        "attributes": _VALUES,
        "mapped_luns": _list("mapped_luns"),
        **_chap("chap_"),
    },
    "mapped_luns": {
        "index": _index(model.MAX_MAPPED_LUN),
        "tpg_lun": _index(model.MAX_LUN),
        "write_protect": _FLAG,
        "alias": _TEXT,
    },
    "fabric_modules": {"name": _NAME, "discovery_enable_auth": _FLAG, **_chap("discovery_")},
}
"""What may stand in the objects of each list: key -> what it must be."""

SHAPE = ("storage_objects", "targets", "fabric_modules")
SHAPE_KEYS = frozenset(SHAPE)
REQUIRED = tuple(name for name in RULES if name)

ALUA = frozenset(
    {
        "alua_access_state",
        "alua_access_status",
        "alua_access_type",
        "alua_support_active_nonoptimized",
        "alua_support_active_optimized",
        "alua_support_offline",
        "alua_support_standby",
        "alua_support_transitioning",
        "alua_support_unavailable",
        "alua_write_metadata",
        "implicit_trans_secs",
        "nonop_delay_msecs",
        "preferred",
        "trans_delay_msecs",
    }
)
"""The values of an ALUA group, which stand beside its name."""

ORDER = {
    "storage_objects": ("plugin", "name"),
    "targets": ("fabric", "wwn"),
    "fabric_modules": ("name",),
    "tpgs": ("tag",),
    "luns": ("index",),
    "portals": ("ip_address", "port"),
    "node_acls": ("node_wwn",),
    "mapped_luns": ("index",),
    "alua_tpgs": ("tg_pt_gp_id", "name"),
}
"""What each list is sorted by, so that the same configuration is always the same text."""

IDENTITY = ORDER | {"alua_tpgs": ("name",)}
"""What no two members of a list may share."""

OBSOLETE = {"storage_objects": frozenset({"exists", "buffered_mode"})}
"""Keys that old versions of LIO's tools wrote, and that mean nothing any more."""


# What is wrong


def problem_of(found: object) -> str:
    """The first thing that is wrong with a decoded document, with its place; "" if nothing is."""
    return next(problems_of(found), "")


def problems_of(found: object) -> Iterator[str]:
    """Everything that is wrong with a decoded document, each with its place."""
    if not isinstance(found, dict):
        yield f"not a configuration: {_kind(found)} where an object should be"
        return
    if not SHAPE_KEYS & found.keys():
        yield "not a configuration: no storage_objects and no targets"
        return
    for key, rule in RULES[""].items():
        yield from _problems(found.get(key, []), rule, key)


def _problems(value: Any, rule: Rule, place: str) -> Iterator[str]:
    if rule.kind == "list":
        yield from _list_problems(value, rule.members, place)
    elif rule.kind == "values":
        yield from _values_problems(value, place)
    elif rule.kind == "text":
        if not isinstance(value, str):
            yield f"{place} must be text, not {_kind(value)}"
        elif rule.choices and value not in rule.choices:
            yield f"{place}: '{value}' is not one of {', '.join(rule.choices)}"
        elif "\0" in value or "\n" in value or (rule.required and not value):
            yield f"{place}: it is empty, or holds a newline or NUL"
        elif rule.required and place.endswith(("name", "wwn", "ip_address")) and _no_name(value):
            yield f"{place}: '{value}' is no name for a directory"
    elif rule.kind == "flag":
        if not isinstance(value, bool) and value not in (0, 1):
            yield f"{place} must be true or false, not {_kind(value)}"
    elif isinstance(value, bool) or not isinstance(value, int):
        yield f"{place} must be a number, not {_kind(value)}"
    elif not rule.low <= value <= rule.high:
        yield f"{place}: {value} is not {rule.low}..{rule.high}"


def _no_name(value: str) -> bool:
    return "/" in value or value in (".", "..") or len(value.encode("utf-8", "surrogatepass")) > 255


def _values_problems(value: Any, place: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{place} must be an object, not {_kind(value)}"
        return
    for name, one in value.items():
        if not isinstance(name, str) or _no_name(name) or not name:
            yield f"{place}: '{name}' is no name of a value"
        elif not isinstance(one, int | str):
            yield f"{place}.{name} must be a number or text, not {_kind(one)}"
        elif isinstance(one, str) and "\0" in one:
            yield f"{place}.{name} holds a NUL"


def _list_problems(value: Any, name: str, place: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{place} must be a list, not {_kind(value)}"
        return
    seen: dict[tuple[Any, ...], int] = {}
    for at, member in enumerate(value):
        here = f"{place}[{at}]"
        found = list(_member_problems(member, name, here))
        yield from found
        if not found:
            identity = tuple(member.get(key) for key in IDENTITY[name])
            if identity in seen:
                what = " ".join(str(part) for part in identity)
                yield f"{here}: {what} is in {place}[{seen[identity]}] already"
            seen.setdefault(identity, at)


def _member_problems(member: Any, name: str, place: str) -> Iterator[str]:
    if not isinstance(member, dict):
        yield f"{place} must be an object, not {_kind(member)}"
        return
    for key, rule in RULES[name].items():
        if key not in member:
            if rule.required:
                yield f"{place} has no {key}"
        elif member[key] is not None or rule.required or rule.kind in ("list", "values"):
            yield from _problems(member[key], rule, f"{place}.{key}")
    if name == "alua_tpgs":
        for key in sorted(ALUA & member.keys()):
            if not isinstance(member[key], int | str | None):
                yield f"{place}.{key} must be a number, not {_kind(member[key])}"
    if name == "luns" and isinstance(member.get("storage_object"), str):
        parts = member["storage_object"].split("/")
        if len(parts) != 4 or parts[:2] != ["", "backstores"] or not all(parts[2:]):
            shown = f"'{member['storage_object']}'"
            yield f"{place}.storage_object: {shown} is not /backstores/PLUGIN/NAME"


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number"}
    return "null" if value is None else names.get(type(value), "a number")


def unknown_keys(document: Document) -> list[str]:
    """The places of the keys that mean nothing to this version. They are kept, and do nothing."""
    return list(_unknown(document, "", ""))


def _unknown(found: Mapping[str, Any], name: str, place: str) -> Iterator[str]:
    rules = RULES[name]
    for key, value in found.items():
        here = f"{place}.{key}" if place else key
        if key not in rules:
            if not (name == "alua_tpgs" and key in ALUA) and key not in OBSOLETE.get(name, ()):
                yield here
        elif rules[key].kind == "list":
            for at, member in enumerate(value):
                yield from _unknown(member, rules[key].members, f"{here}[{at}]")
