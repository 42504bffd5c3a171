"""Who is logged in, as far as configfs tells.

An ACL's info file shows its initiator's session (the kernel: the last one only) with its connections; a
portal group's dynamic_sessions file names the initiators that demo mode let in, and nothing else of them.
What is not told stays empty or None: nothing is made up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from isadmin.lio import files
from isadmin.lio.fabrics import FABRICS
from isadmin.lio.objects import Lio, Lun, NodeAcl, Tpg


@dataclass(slots=True)
class Connection:
    """One TCP connection of a session; state is RFC 7143's, as LIO spells it (LOGGED_IN)."""

    cid: int
    state: str = ""
    address: str = ""
    transport: str = ""


@dataclass(frozen=True, slots=True)
class SeenLun:
    """A LUN as one session sees it: `number` is what the initiator calls it, `lun` the portal group's LUN,
    storage_object <plugin>/<name>, `queue` how many of the session's commands wait or are worked on."""

    number: int
    storage_object: str
    read_only: bool
    lun: Lun
    queue: int


@dataclass(slots=True)
class Session:
    """An I_T nexus."""

    initiator: str
    alias: str = ""
    id: int | None = None
    isid: str = ""
    tsih: int | None = None
    type: str = ""
    state: str = ""
    connections: list[Connection] = field(default_factory=list)
    tpg: Tpg | None = None
    acl: NodeAcl | None = None
    """None for an initiator that demo mode let in."""
    luns: list[SeenLun] | None = None
    """What it sees, where the target tells; LIO's files do so by the ACL alone."""
    queue: int | None = None
    """How many of its commands wait or are worked on."""
    commands: int | None = None
    """A number that each command raises by one, modulo 2**32 (its CmdSN)."""
    received: int | None = None
    sent: int | None = None
    """Octets of its connections."""

    @property
    def dynamic(self) -> bool:
        return self.acl is None

    @property
    def authenticated(self) -> bool | None:
        """Has the initiator proven itself by CHAP? True where its ACL lets nobody in without, False where
        there is nothing to prove itself by; None where either may be, and LIO does not tell."""
        acl = self.acl
        if acl is None:
            return None
        try:
            known = [files.read(f"{acl.path}/auth/{name}") for name in ("userid", "password")]
        except OSError:
            return None
        if any(value in ("", "NULL") for value in known):
            return False
        wanted = files.read_or(f"{acl.path}/attrib/authentication", "-1").strip()
        if wanted == "-1":
            wanted = files.read_or(f"{acl.tpg.path}/attrib/authentication", "").strip()
        return True if wanted == "1" else None


_LINES = (
    ("id", re.compile(r"LIO Session ID:\s*(\d+)")),
    ("isid", re.compile(r"ISID:\s*((?:0x)?[0-9a-fA-F ]+?)\s*(?:TSIH|$)")),
    ("tsih", re.compile(r"TSIH:\s*(\d+)")),
    ("type", re.compile(r"SessionType:\s*(\S+)")),
    ("state", re.compile(r"TARG_SESS_STATE_(\S+)")),
)
_CONNECTION = re.compile(r"CID:\s*(\d+)")
_CONNECTION_STATE = re.compile(r"TARG_CONN_STATE_(\S+)")
_ADDRESS = re.compile(r"Address\s+(\S+)\s+(\S+)")


def parse_info(text: str) -> list[Session]:
    """The sessions in an ACL's info file; [] for "No active iSCSI Session ..."."""
    found: list[Session] = []
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "InitiatorName":
            found.append(Session(value.strip()))
            continue
        if not found:
            continue
        session = found[-1]
        if key.strip() == "InitiatorAlias":
            session.alias = value.strip()
            continue
        for name, pattern in _LINES:
            match = pattern.search(line)
            if match:
                word = match.group(1)
                setattr(session, name, int(word) if name in ("id", "tsih") else word)
        _parse_connection(session, line)
    return found


def _parse_connection(session: Session, line: str) -> None:
    cid = _CONNECTION.search(line)
    if cid:
        session.connections.append(Connection(int(cid.group(1))))
    if not session.connections:
        return
    connection = session.connections[-1]
    state = _CONNECTION_STATE.search(line)
    if state:
        connection.state = state.group(1)
    address = _ADDRESS.search(line)
    if address:
        connection.address, connection.transport = address.groups()


def parse_dynamic(text: str) -> list[str]:
    """The initiator names in a dynamic_sessions file: one a line, each followed by a NUL."""
    return [name for name in re.split(r"[\n\0]+", text) if name]


def of_acl(acl: NodeAcl) -> list[Session]:
    """The sessions of an ACL's initiator."""
    found = parse_info(files.read_or(f"{acl.path}/info", ""))
    for session in found:
        session.tpg, session.acl = acl.tpg, acl
    return found


def of_tpg(tpg: Tpg) -> Iterator[Session]:
    """The sessions of a portal group: first the ACLs', then demo mode's."""
    for acl in tpg.acls():
        yield from of_acl(acl)
    for name in parse_dynamic(files.read_or(f"{tpg.path}/dynamic_sessions", "")):
        yield Session(name, tpg=tpg)


def all_sessions(lio: Lio) -> list[Session]:
    """Every session of every fabric."""
    return [
        session
        for fabric in FABRICS
        for target in lio.targets(fabric)
        for tpg in target.tpgs()
        for session in of_tpg(tpg)
    ]
