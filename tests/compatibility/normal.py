"""Answers, trees and saved configurations without what differs each time or is a program's own wording."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from isadmin.config import document
from isadmin.config.model import flatten
from tests.integration.replay import headings, masked

_DOTS = re.compile(r" \.* ?\[(?=[^\[]*\]$)", re.MULTILINE)
"""Between a name and its summary; few or none if both are long."""
_LEVEL = re.compile(r"^(?:(?:Info|Warning|warning): )+", re.MULTILINE)
_ADVICE = re.compile(r"^the attribute authentication=0 leaves this .*\n", re.MULTILINE)
"""What isadmin warns of beyond targetcli."""
_SECRET = re.compile(r"^(Parameter (?:mutual_)?password is now) .*$", re.MULTILINE)
"""`set` does not repeat a secret."""
_HBA = re.compile(r"HBA Index: \d+")
_QUEUE_DEPTH = re.compile(r"Max Queue Depth: \d+")
"""0 until it is written, and isadmin writes only what differs when it restores; attrib/queue_depth counts."""
_PLUGIN = re.compile(r"\b(fileio|iblock|rd_mcp|pscsi|user)_\d+\b")
"""A storage object's HBA: the lowest free number, so it depends on the order in which they were made."""
_LINK = re.compile(r"(/lun_\d+/)[0-9a-f]{10}$")
"""The name that is made up for a LUN's link."""
_PATH_NAME = re.compile(r"\b(?:\w+-)+(?=loop\d|disk\.img)")
"""Before 3.0 a storage object that is made on the way to a LUN is named after the whole path."""
_UNTOLD = ("alias", "exclusive", "unknown")
"""Made up; not told before 3.0; empty."""
_FABRIC = re.compile(r"(iscsi|loopback|vhost)(/[a-z_]*version|/cpus_allowed_list|/discovery_auth(/\w+)?)?$")
"""A fabric stays once something has looked at it."""
_NO_CHAP = {"", "\n", "NULL\n"}


def listed(line: str, out: str) -> set[str] | None:
    """The underlined lines of an answer of `get`, `set` or `help`, None for another one.

    The types that `set` lists are left out: what the kernel has beyond targetcli's own list is text to it.
    """
    words = line.split()
    if not {"get", "set", "help"} & set(words):
        return None
    found = headings(out)
    if found == ["AVAILABLE CONFIGURATION GROUPS"]:
        return set(out.split())
    if not found or "get" in words or "help" in words:
        return {one for one in found if not one.startswith("logfile=")} or None
    return {one.partition("=")[0] for one in found}


def answer(line: str, out: str) -> str:
    """What is compared of an answer: its lines, in any order where targetcli's order is a set's."""
    out = _SECRET.sub(r"\1 hidden", _ADVICE.sub("", _LEVEL.sub("", out)))
    out = _DOTS.sub(" ... [", _PATH_NAME.sub("", masked(out)))
    lines = [one for one in out.splitlines() if one]
    return "\n".join(lines if "ls" in line.split() else sorted(lines))


def tree(found: Mapping[str, str]) -> dict[str, str]:
    """What is compared of a tree."""
    normal = {}
    for path, content in found.items():
        if _FABRIC.match(path):
            continue
        if "/auth/" in path and content in _NO_CHAP:
            content = "NULL\n"
        content = _QUEUE_DEPTH.sub("Max Queue Depth: -", _HBA.sub("HBA Index: -", masked(content)))
        content = _PLUGIN.sub(r"\1_-", content)
        if path.endswith("/members"):
            content = "\n".join(sorted(content.split("\n")))
        path = _PLUGIN.sub(r"\1_-", _LINK.sub(r"\1<link>", path))
        normal[_PATH_NAME.sub("", masked(path))] = _PATH_NAME.sub("", content)
    return normal


def saved(found: Mapping[str, Any]) -> dict[str, str]:
    """What is compared of a saved configuration: each object, by its key."""
    normal = {}
    for key, value in flatten(document.value(dict(found))).items():
        facts = {name: fact for name, fact in asdict(value).items() if name not in _UNTOLD}
        text = masked(json.dumps(facts, sort_keys=True, default=str))
        normal[_PATH_NAME.sub("", masked(str(key)))] = _PATH_NAME.sub("", text)
    return normal
