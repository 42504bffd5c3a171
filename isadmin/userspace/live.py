"""What the running target tells of its sessions beyond LIO's files: how many commands wait, what each session
has done, which LUNs one without an ACL sees. Whoever connects to the socket gets one JSON document.

configfs has no place for it, and a file more there would make this target another one than LIO.
"""

from __future__ import annotations

import json
import socket
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from isadmin.userspace.sessions import ActiveSession

SCHEMA = 1
SEND_BUFFER = 8 << 20
"""Bytes: a document is sent at once or not at all."""


class LiveSocket:
    """The listening socket at `path`; `sessions` is asked anew for each document."""

    def __init__(self, path: Path, sessions: Callable[[], Iterable[ActiveSession]]) -> None:
        self._sessions = sessions
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._socket.bind(str(path))
        self._socket.listen()

    def fileno(self) -> int:
        return self._socket.fileno()

    def answer(self) -> None:
        """Somebody has connected."""
        with suppress(OSError):
            channel, _ = self._socket.accept()
            with channel:
                channel.setblocking(False)
                channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
                channel.send(json.dumps(document(self._sessions())).encode())

    def close(self) -> None:
        self._socket.close()


def document(sessions: Iterable[ActiveSession]) -> dict[str, object]:
    """All sessions of targets; discovery sessions are none."""
    return {"schema": SCHEMA, "sessions": [_session(one) for one in sessions if one.tpg is not None]}


def _session(active: ActiveSession) -> dict[str, object]:
    tpg, session = active.tpg, active.session
    assert tpg is not None
    facts = active.facts()
    waiting = _waiting(active)
    return {
        "fabric": tpg.target.fabric.name,
        "target": tpg.target.name,
        "tpgt": tpg.tag,
        "initiator": facts.initiator,
        "alias": facts.alias,
        "sid": facts.sid,
        "isid": facts.isid.hex(),
        "tsih": facts.tsih,
        "dynamic": active.acl is None,
        "state": facts.state,
        "connections": [
            {"cid": one.cid, "state": one.state, "address": one.address} for one in facts.connections
        ],
        "luns": [
            {
                "number": path.number,
                "lun": path.lun.number,
                "plugin": path.unit.device.plugin,
                "name": path.unit.device.name,
                "read_only": path.configured_read_only,
                "queue": waiting[path.number],
            }
            for _, path in sorted(active.nexus.paths.items())
        ],
        "queue": session.outstanding,
        "cmd_sn": facts.exp_cmd_sn,
        "received": facts.rx_octets,
        "sent": facts.tx_octets,
    }


def _waiting(active: ActiveSession) -> Counter[int]:
    """LUN -> how many commands of the session wait for it or are worked on."""
    found = (task.command.found for task in active.tasks())
    return Counter(path.number for path in found if path is not None)
