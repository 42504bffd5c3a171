"""What LIO would not take of a document, value by value: what its shape (config.shape) does not tell.

Problems are what no LIO takes: no number where one belongs, no name of a target, no address. Doubts are
what kernel 6.1 does not take, by the table in attributes.py, and another one may: it is the judge of them.
Whatever the shape of a document, all of it is looked at.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from isadmin.config.model import CHAP_NAMES
from isadmin.lio.attributes import CHAP_MAX, PORT_GROUP_ALUA, Attribute, find
from isadmin.lio.fabrics import FABRICS, WWN_FORMS

Finding = tuple[str, bool]
"""What was found, with its place; and is it a problem, or a doubt?"""
_UNMADE = "it cannot be made here, only by hand: "
"""Of names. LIO takes any, and one that is there already stands in no way of `apply`."""
_FABRICS = {fabric.name: fabric for fabric in FABRICS}


def problems(document: object) -> list[str]:
    """What no LIO would take, each with its place."""
    return [text for text, is_problem in _findings(document) if is_problem and _UNMADE not in text]


def problems_and_names(document: object) -> list[str]:
    """The same, and what LIO would take, but no tool of its makes."""
    return [text for text, is_problem in _findings(document) if is_problem]


def doubts(document: object) -> list[str]:
    """What LIO of kernel 6.1 would not take, and another one may, each with its place."""
    return [text for text, is_problem in _findings(document) if not is_problem]


def _findings(document: object) -> Iterator[Finding]:
    for place, so in _members(document, "storage_objects", ""):
        yield from _storage_object(so, place)
    for place, module in _members(document, "fabric_modules", ""):
        name = module.get("name")
        fabric = _FABRICS.get(name) if isinstance(name, str) else None
        if isinstance(name, str) and (fabric is None or not fabric.has("discovery_auth")):
            yield f"{place}.name: no fabric '{name}' has discovery authentication", True
        yield from _chap(module, "discovery_", place)
    for place, target in _members(document, "targets", ""):
        yield from _target(target, place)


def _members(owner: object, key: str, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    listed = owner.get(key) if isinstance(owner, dict) else None
    for at, member in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(member, dict):
            yield f"{place}.{key}[{at}]" if place else f"{key}[{at}]", member


def _storage_object(so: dict[str, Any], place: str) -> Iterator[Finding]:
    name, plugin = so.get("name"), so.get("plugin")
    if isinstance(name, str) and any(c in name for c in " \t"):
        yield f"{place}.name: {_UNMADE}'{name}' has blanks", True
    needed = {"fileio": "dev", "block": "dev", "pscsi": "dev", "ramdisk": "size", "user": "config"}
    key = needed.get(plugin) if isinstance(plugin, str) else None
    if key and so.get(key) in (None, "", 0):
        yield f"{place} has no {key}: it cannot be made, only changed where it is there", False
    yield from _values(so, "attributes", ("storage_object", "attribute"), place)
    for here, group in _members(so, "alua_tpgs", place):
        for name in sorted(PORT_GROUP_ALUA.keys() & group.keys()):
            if isinstance(group[name], int | str):
                yield from _about("port_group", "alua", name, group[name], here)


def _target(target: dict[str, Any], place: str) -> Iterator[Finding]:
    name, wwn = target.get("fabric"), target.get("wwn")
    fabric = _FABRICS.get(name) if isinstance(name, str) else None
    if isinstance(name, str) and fabric is None:
        yield f"{place}.fabric: '{name}' is not one of {', '.join(_FABRICS)}", True
    # The names of hardware ports only the machine knows that has them.
    if fabric is not None and not fabric.hardware and isinstance(wwn, str) and not fabric.is_valid(wwn):
        forms = " or ".join(WWN_FORMS[kind] for kind in fabric.wwn_types)
        yield f"{place}.wwn: {_UNMADE}'{wwn}' is no name for a target of {name}: {forms}", True
    yield from _values(target, "parameters", ("target", "parameter"), place)
    for here, tpg in _members(target, "tpgs", place):
        yield from _chap(tpg, "chap_", here)
        yield from _values(tpg, "attributes", ("tpg", "attribute"), here)
        yield from _values(tpg, "parameters", ("tpg", "parameter"), here)
        for where, portal in _members(tpg, "portals", here):
            address = portal.get("ip_address")
            if isinstance(address, str) and (wrong := _wrong_address(address)):
                yield f"{where}.ip_address: '{address}' {wrong}", True
        for where, acl in _members(tpg, "node_acls", here):
            yield from _chap(acl, "chap_", where)
            yield from _values(acl, "attributes", ("node_acl", "attribute"), where)


def _chap(owner: dict[str, Any], prefix: str, place: str) -> Iterator[Finding]:
    for name in CHAP_NAMES:
        value = owner.get(prefix + name)
        if isinstance(value, str) and len(value.encode("utf-8", "surrogatepass")) > CHAP_MAX:
            yield f"{place}.{prefix}{name} is longer than {CHAP_MAX} bytes: LIO would cut it off", True


def _values(owner: dict[str, Any], key: str, table: tuple[str, str], place: str) -> Iterator[Finding]:
    values = owner.get(key)
    for name, value in values.items() if isinstance(values, dict) else ():
        if isinstance(name, str) and isinstance(value, int | str):
            yield from _about(*table, name, value, f"{place}.{key}")


def _about(owner: str, group: str, name: str, value: int | str, place: str) -> Iterator[Finding]:
    is_problem, text = _verdict(owner, group, name, value, isinstance(value, bool))
    if text:
        yield f"{place}.{name}: {text}", is_problem


@lru_cache(maxsize=4096)
def _verdict(owner: str, group: str, name: str, value: int | str, said: bool) -> tuple[bool, str]:
    """Of one value: is what is wrong with it a problem, and what is; "" for nothing. The same value is at
    thousands of objects. `said`: is it true or false, not 1 or 0, which are equal?"""
    entry = find(owner, group, name)
    if entry is None or not entry.writable:
        return False, ""
    shown = f"'{value}'" if len(str(value)) <= 50 else "it"
    if entry.type == "yesno":
        return True, "" if said or value in entry.choices else f"{shown} is not Yes or No"
    if entry.type == "number":
        return _number_verdict(owner, entry, str(int(value) if said else value), shown)
    words = [word.strip() for word in str(value).split(",")]
    if entry.choices and not all(word in entry.choices for word in words):
        return False, f"{shown} is not {entry.legal()}, which kernel 6.1 takes"
    return False, ""


def _number_verdict(owner: str, entry: Attribute, text: str, shown: str) -> tuple[bool, str]:
    is_flag = (entry.low, entry.high) == (0, 1)
    if is_flag and owner == "storage_object" and text[:2].lower() in _BOOLEANS:
        return False, ""
    try:
        # As the kernel reads numbers, base 0: hexadecimal and octal, too.
        number = int(text.replace("_", "?"), 8 if text[:1] == "0" and text.isdecimal() else 0)
    except ValueError:
        return True, f"{shown} is not a number"
    if is_flag and number not in (0, 1):
        return True, f"{shown} is not 0 or 1"
    in_range = entry.low is None or entry.high is None or entry.low <= number <= entry.high
    if in_range and (not entry.choices or str(number) in entry.choices):
        return False, ""
    return False, f"{shown} is not {entry.legal()}, which kernel 6.1 takes"


_BOOLEANS = frozenset({"y", "n", "ye", "no", "on", "of", "t", "f", "tr", "fa"})
"""How words begin that kstrtobool takes, of this kernel or a newer one."""


def _wrong_address(address: str) -> str:
    """What is wrong with a portal's address; "" for nothing. LIO wants IPv6 in brackets."""
    bare = address[1:-1] if address[:1] == "[" and address[-1:] == "]" else ""
    for family, text in ((socket.AF_INET, address), (socket.AF_INET6, bare.partition("%")[0])):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return ""
    if ":" in address and not bare:
        return "is no address: IPv6 stands in brackets"
    return "is no address"
