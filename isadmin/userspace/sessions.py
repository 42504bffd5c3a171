"""Sessions that are logged in: iSCSI's numbering and SCSI's nexus brought together with the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from isadmin.userspace.engine import ConnectionFacts, SessionFacts, SessionFailure
from isadmin.userspace.iscsi.errors import DigestError, ProtocolError
from isadmin.userspace.iscsi.keys import shown
from isadmin.userspace.iscsi.session import Session
from isadmin.userspace.model import NodeAcl, Tpg
from isadmin.userspace.scsi.nexus import LunPath, Nexus

if TYPE_CHECKING:
    from isadmin.userspace.commands import Task

NOPIN_TIMEOUT = 15
NOPIN_RESPONSE_TIMEOUT = 30
"""LIO's defaults, in seconds: what a dynamic session has."""


class ActiveSession:
    """One session in full-feature phase. acl is None for a dynamic one; tpg is None in discovery."""

    __slots__ = (
        "acl",
        "digest_errors",
        "failure",
        "fast_paths",
        "logged_out",
        "max_recv",
        "max_xmit_limit",
        "nexus",
        "rx_octets",
        "session",
        "timeouts",
        "tpg",
        "tx_octets",
    )

    def __init__(
        self, session: Session, nexus: Nexus, tpg: Tpg | None, acl: NodeAcl | None, max_recv: int
    ) -> None:
        self.session = session
        self.nexus = nexus
        self.tpg = tpg
        self.acl = acl
        self.max_recv = max_recv
        self.max_xmit_limit = (1 << 24) - 1
        self.fast_paths: dict[int, LunPath] = {}
        """The nexus's paths by the LUN field as a number, in each form that names the LUN."""
        self.logged_out = False
        self.failure = SessionFailure.TIMEOUT
        """Why it ended, should it end without a logout: LIO counts a lost connection as a time-out, once the
        time is over for which it waits for another."""
        self.timeouts = 0
        self.digest_errors = 0
        self.rx_octets = 0
        self.tx_octets = 0
        """Octets of connections that are gone."""

    def broken(self, error: ProtocolError) -> None:
        """The initiator broke the protocol; the connection ends."""
        if isinstance(error, DigestError):
            self.digest_errors += 1
            self.failure = SessionFailure.DIGEST
        else:
            self.failure = SessionFailure.PDU_FORMAT

    def refresh_paths(self) -> None:
        """The nexus has other paths than before: rebuild fast_paths (in place: fastpath.py's loop holds
        it)."""
        fast = self.fast_paths
        fast.clear()
        for number, path in self.nexus.paths.items():
            if number < 1 << 14:
                fast[number << 48] = path
                fast[(number | 0x4000) << 48] = path

    def _attrib(self, name: str, default: int) -> int:
        return self.acl.attrib.get(name, default) if self.acl is not None else default

    @property
    def nopin_timeout(self) -> int:
        """Seconds of silence before a NOP-In; 0: never."""
        return self._attrib("nopin_timeout", NOPIN_TIMEOUT)

    @property
    def nopin_response_timeout(self) -> int:
        return self._attrib("nopin_response_timeout", NOPIN_RESPONSE_TIMEOUT)

    @property
    def dataout_timeout(self) -> int:
        """Seconds after which missing write data ends the connection: LIO's time with all its retries."""
        return self._attrib("dataout_timeout", 3) * (self._attrib("dataout_timeout_retries", 5) + 1)

    def tasks(self) -> Iterator[Task]:
        """The commands that wait or are worked on, on all connections."""
        for connection in self.session.connections.values():
            if connection.full is not None:
                yield from connection.full.tasks.values()

    def facts(self) -> SessionFacts:
        session = self.session
        connections = []
        rx, tx = self.rx_octets, self.tx_octets
        for cid, connection in session.connections.items():
            connections.append(
                ConnectionFacts(
                    cid,
                    f"TARG_CONN_STATE_{connection.state.name}",
                    connection.peer_host,
                    connection.stat_sn,
                )
            )
            rx += connection.rx_octets
            tx += connection.tx_octets
        return SessionFacts(
            initiator=session.initiator,
            alias=session.alias,
            sid=session.sid,
            isid=session.isid,
            tsih=session.tsih,
            dynamic=session.dynamic,
            state="TARG_SESS_STATE_LOGGED_IN",
            cmd_window=session.window,
            cmd_window_configured=session.window,
            exp_cmd_sn=session.exp_cmd_sn,
            max_cmd_sn=session.max_cmd_sn,
            itt=0,
            ttt=0,
            connections=tuple(connections),
            parameters=shown(session.parameters),
            cmd_pdus=self.nexus.commands,
            rsp_pdus=self.nexus.responses,
            rx_data_octets=self.nexus.write_bytes,
            tx_data_octets=self.nexus.read_bytes,
            rx_octets=rx,
            tx_octets=tx,
            digest_errors=self.digest_errors,
            timeout_errors=self.timeouts,
            index=session.sid,
        )


def count(path: LunPath, commands: int, read_bytes: int, write_bytes: int) -> None:
    """Add a run of plain commands to the counters."""
    counters, of_unit = path.counters, path.unit.counters
    counters.num_cmds += commands
    of_unit.num_cmds += commands
    nexus = path.nexus
    nexus.commands += commands
    nexus.responses += commands
    if read_bytes:
        counters.read_bytes += read_bytes
        of_unit.read_bytes += read_bytes
        nexus.read_bytes += read_bytes
    if write_bytes:
        counters.write_bytes += write_bytes
        of_unit.write_bytes += write_bytes
        nexus.write_bytes += write_bytes
