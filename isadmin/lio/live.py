"""Who is logged in, with all that the userspace target tells of it, else with what LIO's files tell."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

from isadmin.lio import sessions
from isadmin.lio.fabrics import fabric
from isadmin.lio.objects import Lun, NodeAcl, Target, Tpg
from isadmin.lio.sessions import Connection, SeenLun, Session
from isadmin.lio.storage_objects import PLUGINS

if TYPE_CHECKING:
    from pathlib import Path

    from isadmin.lio.host import Host
    from isadmin.lio.objects import Lio

PATIENCE = 2.0
"""Seconds to wait for the daemon."""


def all_sessions(host: Host) -> list[Session]:
    """Every session of every fabric."""
    from isadmin.userspace import control

    told = _ask(host.runtime / control.LIVE_SOCKET) if host.kind == "userspace" else None
    if told is None:
        return sessions.all_sessions(host.lio)
    found = [_session(host.lio, one) for one in told]
    # What is no session of a network (loopback, vhost) has no initiator to tell of.
    return sorted(found, key=lambda one: one.id or 0)


def _ask(path: Path) -> list[dict[str, Any]] | None:
    """The daemon's list, None if there is no daemon or none that tells."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as channel:
            channel.settimeout(PATIENCE)
            channel.connect(str(path))
            parts = []
            while part := channel.recv(1 << 16):
                parts.append(part)
        found: list[dict[str, Any]] = json.loads(b"".join(parts))["sessions"]
    except (OSError, ValueError):
        return None
    return found


def _session(lio: Lio, told: dict[str, Any]) -> Session:
    tpg = Tpg(Target(lio, fabric(told["fabric"]), told["target"]), told["tpgt"])
    isid = bytes.fromhex(told["isid"]).hex(" ")
    return Session(
        told["initiator"],
        alias=told["alias"],
        id=told["sid"],
        isid=f"0x{isid}",
        tsih=told["tsih"],
        type="Normal",
        state=told["state"].removeprefix("TARG_SESS_STATE_"),
        connections=[
            Connection(one["cid"], one["state"].removeprefix("TARG_CONN_STATE_"), one["address"], "TCP")
            for one in told["connections"]
        ],
        tpg=tpg,
        acl=None if told["dynamic"] else NodeAcl(tpg, told["initiator"]),
        luns=[
            SeenLun(
                one["number"],
                f"{PLUGINS[one['plugin']]}/{one['name']}",
                one["read_only"],
                Lun(tpg, one["lun"]),
                one["queue"],
            )
            for one in told["luns"]
        ],
        queue=told["queue"],
        commands=told["cmd_sn"],
        received=told["received"],
        sent=told["sent"],
    )
