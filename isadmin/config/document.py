"""A saved configuration as JSON text: read with every error naming its place, written in one order. Pure.

The format is rtslib's: a dict of `storage_objects`, `targets` and `fabric_modules`, each a list of dicts.
"""

from __future__ import annotations

import json
from typing import Any

from isadmin.errors import RefusedFileError

Document = dict[str, Any]

SHAPE: dict[str, Any] = {
    "storage_objects": {"attributes": {}, "alua_tpgs": [{}]},
    "targets": {
        "parameters": {},
        "tpgs": [
            {
                "attributes": {},
                "parameters": {},
                "luns": [{}],
                "portals": [{}],
                "node_acls": [{"attributes": {}, "parameters": {}, "mapped_luns": [{}]}],
            }
        ],
    },
    "fabric_modules": {},
}
"""What is inside each member of the top level's lists: a dict is an object, a list a list of objects."""

REQUIRED: dict[str, dict[str, type]] = {
    "storage_objects": {"name": str, "plugin": str},
    "targets": {"wwn": str, "fabric": str},
    "fabric_modules": {"name": str},
    "tpgs": {"tag": int},
    "luns": {"index": int, "storage_object": str},
    "portals": {"ip_address": str, "port": int},
    "node_acls": {"node_wwn": str},
    "mapped_luns": {"index": int, "tpg_lun": int},
}
"""Keys without which a member of the list named on the left means nothing."""

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


def parse(content: bytes, source: str) -> Document:
    """The configuration in a file's content; `source` names it in errors.

    Raises RefusedFileError if it is empty, cut off, no JSON, or of the wrong shape.
    """
    remedy = "restore another file, for one from the backup directory"
    if not content.strip():
        raise RefusedFileError(f"{source} is empty", remedy)
    try:
        found = json.loads(content)
    except UnicodeDecodeError as error:
        raise RefusedFileError(f"{source}: not UTF-8 text at byte {error.start}", remedy) from error
    except json.JSONDecodeError as error:
        what = "cut off" if error.pos >= len(content.rstrip()) else "not JSON"
        place = f"{source}:{error.lineno}:{error.colno}"
        raise RefusedFileError(f"{place}: {what}: {error.msg}", remedy) from error
    except RecursionError as error:
        raise RefusedFileError(f"{source}: nested too deeply", remedy) from error
    problem = problem_of(found)
    if problem:
        raise RefusedFileError(f"{source}: {problem}", remedy)
    assert isinstance(found, dict)
    return found


def problem_of(found: object) -> str:
    """What is wrong with a decoded document's shape, with its place; "" if nothing is."""
    if not isinstance(found, dict):
        return f"not a configuration: {_kind(found)} where an object should be"
    if not SHAPE.keys() & found.keys():
        return "not a configuration: no storage_objects and no targets"
    for name, inside in SHAPE.items():
        problem = _list_problem(found.get(name, []), name, name, inside)
        if problem:
            return problem
    return ""


def _list_problem(value: Any, name: str, place: str, inside: dict[str, Any]) -> str:
    if not isinstance(value, list):
        return f"{place} must be a list, not {_kind(value)}"
    for at, member in enumerate(value):
        problem = _member_problem(member, name, f"{place}[{at}]", inside)
        if problem:
            return problem
    return ""


def _member_problem(member: Any, name: str, place: str, inside: dict[str, Any]) -> str:
    if not isinstance(member, dict):
        return f"{place} must be an object, not {_kind(member)}"
    for key, kind in REQUIRED.get(name, {}).items():
        if key not in member:
            return f"{place} has no {key}"
        if not isinstance(member[key], kind) or isinstance(member[key], bool):
            return f"{place}.{key} must be {_kind(kind())}, not {_kind(member[key])}"
    for key, shape in inside.items():
        value = member.get(key, type(shape)())
        if isinstance(shape, list):
            problem = _list_problem(value, key, f"{place}.{key}", shape[0])
            if problem:
                return problem
        elif not isinstance(value, dict):
            return f"{place}.{key} must be an object, not {_kind(value)}"
    return ""


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number"}
    return "null" if value is None else names.get(type(value), "a number")


def is_empty(configuration: Document) -> bool:
    """Does it configure nothing that a user made?"""
    return not any(configuration.get(name) for name in SHAPE)


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
