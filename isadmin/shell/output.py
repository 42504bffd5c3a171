"""Results as JSON, for `--output json`: one document a line, one line for each place a command ran at.

Every document has `schema`, the version of all this, `command` and `path`; what else depends on the command:

    ls          node: name, path, summary, healthy, children (absent below the depth asked for)
    get         groups; or group and parameters: name -> value, type, writable, hidden, description
    info        facts: name -> value; of a fabric and an ACL more than one kind of it
    sessions    sessions
    status      summary, healthy
    version     of, version
    others      done (false: it failed, the error is on standard error), messages: what they say as text

`healthy` is true, false, or null where a place does not tell. A secret that is not shown is null, with
`hidden` true. What the target does not tell is null, never made up. A new key does not change the version, a
key that goes or changes its meaning does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isadmin.lio.objects import MappedLun
    from isadmin.lio.sessions import Session as LioSession
    from isadmin.shell.node import Node

SCHEMA = 1
FORMATS = ("text", "json")
"""What --output can be."""


def line(command: str, path: str, facts: Mapping[str, object]) -> str:
    """A result's document as one line without its newline. Bytes that are no text become \\udcXX."""
    return json.dumps({"schema": SCHEMA, "command": command, "path": path, **facts})


def tree(top: Node, depth: int | None) -> dict[str, Any]:
    """A place and what is below it, `depth` levels deep (None: all)."""
    return _branch(top, top.path, depth)


def _branch(node: Node, path: str, depth: int | None) -> dict[str, Any]:
    summary, healthy = node.summary()
    branch: dict[str, Any] = {"name": node.name, "path": path, "summary": summary, "healthy": healthy}
    if depth is None or depth > 0:
        above = path.rstrip("/")
        deeper = None if depth is None else depth - 1
        branch["children"] = [
            _branch(child, f"{above}/{child.name}", deeper) for child in node.sorted_children()
        ]
    return branch


def typed(value: object, kind: str) -> object:
    """A group's value, as `get` shows it, as JSON has it: numbers and booleans as such, none as null."""
    if not isinstance(value, str):
        return value
    if kind == "number":
        return int(value) if re.fullmatch(r"-?[0-9]+", value) else None if value == "n/a" else value
    if kind == "bool":
        return value == "true"
    return None if value == "n/a" else value


def session(one: LioSession, *, detail: bool) -> dict[str, Any]:
    """A session, with the LUNs it sees if `detail`; null for what the target does not tell."""
    tpg = one.tpg
    facts: dict[str, Any] = {
        "initiator": one.initiator,
        "alias": one.alias or None,
        "sid": one.id,
        "isid": one.isid or None,
        "tsih": one.tsih,
        "type": one.type or None,
        "state": one.state or None,
        "dynamic": one.dynamic,
        "fabric": tpg.fabric.name if tpg else None,
        "target": tpg.target.wwn if tpg else None,
        "tpgt": tpg.tag if tpg else None,
        "connections": [
            {
                "cid": connection.cid,
                "state": connection.state or None,
                "address": connection.address or None,
                "transport": connection.transport or None,
            }
            for connection in one.connections
        ],
    }
    if detail:
        luns: list[dict[str, Any]] | None = None
        if one.luns is not None:
            luns = [
                {
                    "mapped_lun": lun.number,
                    "storage_object": f"/backstores/{lun.storage_object}",
                    "write_protect": lun.read_only,
                }
                for lun in one.luns
            ]
        elif one.acl is not None:
            luns = [_mapped(lun) for lun in sorted(one.acl.mapped_luns(), key=lambda lun: lun.number)]
        facts |= {"mapped_luns": luns, "queue": one.queue, "authenticated": one.authenticated}
    return facts


def _mapped(mapped: MappedLun) -> dict[str, Any]:
    lun = mapped.lun()
    so = lun.storage_object() if lun else None
    return {
        "mapped_lun": mapped.number,
        "storage_object": f"/backstores/{so.full_name}" if so else None,
        "write_protect": mapped.write_protected(),
    }
