"""A saved configuration as text: read with all its errors named (shape.py), each with its place; written in
one order. Pure.

The format is rtslib's: a JSON object of `storage_objects`, `targets` and `fabric_modules`, each a list of
objects; the same in YAML is read as well. As a `Document` it is a plain dict, as a model.Configuration it
is typed; keys that are not known survive both ways.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from isadmin.config import model, reading
from isadmin.config.reading import REMEDY
from isadmin.config.shape import ALUA, IDENTITY, ORDER, RULES, SHAPE, Document, problems_of
from isadmin.config.spelling import normalized
from isadmin.errors import RefusedFileError

T = TypeVar("T")


class BadDocumentError(RefusedFileError):
    """A file that is no acceptable configuration; `problems` has every one, with its place."""

    def __init__(self, source: str, problems: list[str]) -> None:
        count = f"{len(problems)} problems: " if len(problems) > 1 else ""
        super().__init__(f"{source}: {count}{'; '.join(problems)}", REMEDY)
        self.source = source
        self.problems = problems


Judge = Callable[[object], Iterable[str]]
"""Tells what else is wrong with a document, whatever its shape, each with its place."""


def parse(content: bytes, source: str, *, yaml: bool = False, judge: Judge | None = None) -> Document:
    """The configuration in a file's content; `source` names it in errors.

    Raises BadDocumentError if it is empty, cut off, no JSON (or YAML), of the wrong shape, says something
    twice, or if the `judge` finds anything.
    """
    if not content.strip():
        raise RefusedFileError(f"{source} is empty", REMEDY)
    found = reading.of_yaml(content, source) if yaml else reading.of_json(content, source)
    problems = [*reading.given_twice(found), *problems_of(found)]
    if judge is not None:
        problems += judge(found)
    if problems:
        raise BadDocumentError(source, problems)
    assert isinstance(found, dict)
    return found


def carrying(new: Document, old: Document, name: str = "") -> Document:
    """A configuration with what an older one of the same objects has and this target cannot show: keys that
    are not known, and values of a newer or older LIO."""
    rules = RULES[name]
    found = dict(new)
    for key, one in old.items():
        if key not in rules and not (name == "alua_tpgs" and key in ALUA):
            found.setdefault(key, one)
    for key, rule in rules.items():
        if not old.get(key) or not new.get(key):
            continue
        if rule.kind == "values" and old[key].keys() - new[key].keys():
            found[key] = {**old[key], **new[key]}
        elif rule.kind == "list":
            names = IDENTITY[rule.members]
            before = {_identity(one, names): one for one in old[key]}
            found[key] = [
                carrying(one, before.get(_identity(one, names), {}), rule.members) for one in new[key]
            ]
    return found


def _identity(one: Document, names: tuple[str, ...]) -> tuple[Any, ...]:
    """What tells a member of a list from the others, whatever the spelling of its WWN."""
    return tuple(normalized(str(one.get(part))) if part.endswith("wwn") else one.get(part) for part in names)


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


_SAID: dict[str, dict[bool, model.Value]] = {
    "attributes": {False: 0, True: 1},
    "parameters": {False: "No", True: "Yes"},
}
"""How LIO says true and false: iSCSI's keys have words (RFC 7143 section 6.1)."""
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
            said = _SAID[key]
            values[key] = {name: said[v] if isinstance(v, bool) else v for name, v in one.items()}
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
