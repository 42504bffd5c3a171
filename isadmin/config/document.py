"""A saved configuration as text: read with all its errors named, each with its place; written in one order.
Pure.

The format is rtslib's: a JSON object of `storage_objects`, `targets` and `fabric_modules`, each a list of
objects; the same in YAML is read as well. As a `Document` it is a plain dict, as a model.Configuration it
is typed; keys that are not known survive both ways.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from isadmin.config import model
from isadmin.errors import RefusedFileError

Document = dict[str, Any]
T = TypeVar("T")

REMEDY = "restore another file, for one from the backup directory"


class BadDocumentError(RefusedFileError):
    """A file that is no acceptable configuration; `problems` has every one, with its place."""

    def __init__(self, source: str, problems: list[str]) -> None:
        count = f"{len(problems)} problems: " if len(problems) > 1 else ""
        super().__init__(f"{source}: {count}{'; '.join(problems)}", REMEDY)
        self.source = source
        self.problems = problems


@dataclass(frozen=True, slots=True)
class _Rule:
    """What a key's value must be. Kinds: text, number, flag, values, list."""

    kind: str
    low: int = 0
    high: int = 0
    required: bool = False
    choices: tuple[str, ...] = ()
    members: str = ""


_TEXT, _FLAG, _VALUES = _Rule("text"), _Rule("flag"), _Rule("values")
_NAME = _Rule("text", required=True)
_ANY_NUMBER = _Rule("number", 0, 2**64 - 1)


def _list(members: str) -> _Rule:
    return _Rule("list", members=members)


def _index(high: int, *, required: bool = True) -> _Rule:
    return _Rule("number", 0, high, required)


def _chap(prefix: str) -> dict[str, _Rule]:
    return {prefix + name: _TEXT for name in model.CHAP_NAMES}


RULES: dict[str, dict[str, _Rule]] = {
    "": {
        "storage_objects": _list("storage_objects"),
        "targets": _list("targets"),
        "fabric_modules": _list("fabric_modules"),
    },
    "storage_objects": {
        "name": _NAME,
        "plugin": _Rule("text", required=True, choices=model.PLUGINS),
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


def parse(content: bytes, source: str, *, yaml: bool = False) -> Document:
    """The configuration in a file's content; `source` names it in errors.

    Raises BadDocumentError if it is empty, cut off, no JSON (or YAML), or of the wrong shape.
    """
    if not content.strip():
        raise RefusedFileError(f"{source} is empty", REMEDY)
    found = _yaml(content, source) if yaml else _json(content, source)
    problems = list(problems_of(found))
    if problems:
        raise BadDocumentError(source, problems)
    assert isinstance(found, dict)
    return found


def _json(content: bytes, source: str) -> object:
    try:
        return json.loads(content)
    except UnicodeDecodeError as error:
        raise RefusedFileError(f"{source}: not UTF-8 text at byte {error.start}", REMEDY) from error
    except json.JSONDecodeError as error:
        what = "cut off" if error.pos >= len(content.rstrip()) else "not JSON"
        place = f"{source}:{error.lineno}:{error.colno}"
        raise RefusedFileError(f"{place}: {what}: {error.msg}", REMEDY) from error
    except (RecursionError, ValueError) as error:
        raise RefusedFileError(f"{source}: nested too deeply, or a number is too long", REMEDY) from error


def _yaml(content: bytes, source: str) -> object:
    try:
        import yaml
    except ImportError as error:
        raise RefusedFileError(
            f"{source}: YAML cannot be read here", "install PyYAML, or use JSON"
        ) from error
    try:
        return yaml.safe_load(content)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
        raise RefusedFileError(f"{place}: not YAML: {getattr(error, 'problem', error)}", REMEDY) from error
    except (RecursionError, ValueError) as error:
        raise RefusedFileError(f"{source}: not YAML: {error}", REMEDY) from error


def problem_of(found: object) -> str:
    """The first thing that is wrong with a decoded document, with its place; "" if nothing is."""
    return next(problems_of(found), "")


def problems_of(found: object) -> Iterator[str]:
    """Everything that is wrong with a decoded document, each with its place."""
    if not isinstance(found, dict):
        yield f"not a configuration: {_kind(found)} where an object should be"
        return
    if not set(SHAPE) & found.keys():
        yield "not a configuration: no storage_objects and no targets"
        return
    for key, rule in RULES[""].items():
        yield from _problems(found.get(key, []), rule, key)


def _problems(value: Any, rule: _Rule, place: str) -> Iterator[str]:
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


def carrying(new: Document, old: Document, name: str = "") -> Document:
    """A configuration with the unknown keys that an older one of the same objects has."""
    rules = RULES[name]
    found = dict(new)
    for key, one in old.items():
        if key not in rules and not (name == "alua_tpgs" and key in ALUA):
            found.setdefault(key, one)
    for key, rule in rules.items():
        if rule.kind == "list" and old.get(key) and new.get(key):
            names = IDENTITY[rule.members]
            before = {tuple(one.get(part) for part in names): one for one in old[key]}
            found[key] = [
                carrying(one, before.get(tuple(one.get(part) for part in names), {}), rule.members)
                for one in new[key]
            ]
    return found


HIDDEN = "********"


def without_secrets(found: Any) -> Any:
    """The same with every secret replaced, to be shown."""
    if isinstance(found, dict):
        return {
            key: HIDDEN if key.endswith("password") and one else without_secrets(one)
            for key, one in found.items()
        }
    return [without_secrets(one) for one in found] if isinstance(found, list) else found


def is_empty(configuration: Document) -> bool:
    """Does it configure nothing that a user made?"""
    return not any(configuration.get(name) for name in SHAPE)


# As typed values


def value(document: Document) -> model.Configuration:
    """The typed value of a document that has no problems."""
    return model.Configuration(
        tuple(_storage_object(raw) for raw in document.get("storage_objects", ())),
        tuple(_target(raw) for raw in document.get("targets", ())),
        tuple(_build(model.FabricModule, raw, "discovery_") for raw in document.get("fabric_modules", ())),
        {key: one for key, one in document.items() if key not in SHAPE},
    )


def _storage_object(raw: Document) -> model.StorageObject:
    groups = tuple(_port_group(one) for one in raw.get("alua_tpgs", ()))
    return _build(model.StorageObject, raw, alua_tpgs=groups)


def _port_group(raw: Document) -> model.PortGroup:
    alua = {key: one for key, one in raw.items() if key in ALUA and one is not None}
    rest = {key: one for key, one in raw.items() if key not in ALUA}
    return _build(model.PortGroup, rest, alua=alua)


def _target(raw: Document) -> model.Target:
    return _build(model.Target, raw, tpgs=tuple(_tpg(one) for one in raw.get("tpgs", ())))


def _tpg(raw: Document) -> model.Tpg:
    return _build(
        model.Tpg,
        raw,
        "chap_",
        luns=tuple(_build(model.Lun, one) for one in raw.get("luns", ())),
        portals=tuple(_build(model.Portal, one) for one in raw.get("portals", ())),
        node_acls=tuple(_node_acl(one) for one in raw.get("node_acls", ())),
    )


def _node_acl(raw: Document) -> model.NodeAcl:
    mapped = tuple(_build(model.MappedLun, one) for one in raw.get("mapped_luns", ()))
    return _build(model.NodeAcl, raw, "chap_", mapped_luns=mapped)


_FLAGS = frozenset(key for rules in RULES.values() for key, rule in rules.items() if rule.kind == "flag")
_FIELDS: dict[type, frozenset[str]] = {
    kind: frozenset(field.name for field in fields(kind)) - {"unknown", "chap", "discovery", "alua"}
    for kind in (
        model.StorageObject,
        model.PortGroup,
        model.FabricModule,
        model.Target,
        model.Tpg,
        model.Lun,
        model.Portal,
        model.NodeAcl,
        model.MappedLun,
    )
}


def _build(kind: type[T], raw: Document, prefix: str = "", **made: Any) -> T:
    """An object of the model from a file's: `made` are the values made already; a key with the prefix is
    one of its CHAP values."""
    known = _FIELDS[kind]
    values: dict[str, Any] = dict(made)
    unknown: Document = {}
    chap: dict[str, str] = {}
    for key, one in raw.items():
        if prefix and key.startswith(prefix) and key[len(prefix) :] in model.CHAP_NAMES:
            if one:
                chap[key[len(prefix) :]] = one
        elif key not in known:
            unknown[key] = one
        elif key in made or one is None:
            continue
        elif key in ("attributes", "parameters"):
            values[key] = {name: int(v) if isinstance(v, bool) else v for name, v in one.items()}
        else:
            values[key] = bool(one) if key in _FLAGS else one
    if prefix:
        values["discovery" if prefix == "discovery_" else "chap"] = chap
    make: Callable[..., T] = kind
    return make(unknown=unknown, **values)


def of(configuration: model.Configuration) -> Document:
    """The document of a typed value: what is not said is not in it."""
    found = {
        "storage_objects": [_of(one) for one in configuration.storage_objects],
        "targets": [_of(one) for one in configuration.targets],
        "fabric_modules": [_of(one) for one in configuration.fabric_modules],
    }
    return found | dict(configuration.unknown)


_ALWAYS = frozenset({"alua_tpgs", "tpgs", "luns", "portals", "node_acls", "mapped_luns"})


def _of(one: Any) -> Document:
    found: Document = dict(one.unknown)
    for field in fields(one):
        inner = getattr(one, field.name)
        if field.name == "unknown":
            continue
        if field.name in ("chap", "discovery"):
            found |= {f"{field.name}_{name}": text for name, text in inner.items()}
        elif field.name == "alua":
            found |= inner
        elif field.name in _ALWAYS:
            found[field.name] = [_of(member) for member in inner]
        elif isinstance(inner, Mapping):
            if inner:
                found[field.name] = dict(inner)
        elif inner is not None:
            found[field.name] = inner
    return found


# As text


def ordered(value: Any, name: str = "") -> Any:
    """The same configuration with every list in one order that does not depend on who listed it."""
    if isinstance(value, dict):
        return {key: ordered(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        keys = ORDER.get(name, ())
        members = [ordered(member) for member in value]
        if keys and all(isinstance(member, dict) for member in members):
            members.sort(key=lambda member: [_sortable(member.get(key)) for key in keys])
        return members
    return value


def _sortable(value: object) -> tuple[int, int, str]:
    return (0, value, "") if isinstance(value, int) else (1, 0, str(value))


def render(configuration: Document) -> str:
    """The text to save, as rtslib lays it out: keys sorted, two blanks a level, a newline at the end."""
    return json.dumps(ordered(configuration), sort_keys=True, indent=2) + "\n"


def raw_of(one: model.Object) -> Document:
    """One object's document, without what is below it."""
    return {key: inner for key, inner in _of(one).items() if key not in _ALWAYS}


_MAKERS: dict[str, Callable[[Document], model.Object]] = {
    "storage_object": _storage_object,
    "port_group": _port_group,
    "fabric_module": lambda raw: _build(model.FabricModule, raw, "discovery_"),
    "target": _target,
    "tpg": _tpg,
    "lun": lambda raw: _build(model.Lun, raw),
    "portal": lambda raw: _build(model.Portal, raw),
    "node_acl": _node_acl,
    "mapped_lun": lambda raw: _build(model.MappedLun, raw),
}


def object_of(kind: str, raw: Document) -> model.Object:
    """The object of a kind, a key's first part, that such a document is of."""
    return _MAKERS[kind](raw)
