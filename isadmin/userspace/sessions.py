"""Sessions that are logged in: iSCSI's numbering and SCSI's nexus brought together with the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from isadmin.userspace.budget import Account
from isadmin.userspace.engine import ConnectionFacts, SessionFacts, SessionFailure
from isadmin.userspace.iscsi.codes import LoginStatus
from isadmin.userspace.iscsi.errors import DigestError, LoginError, ProtocolError
from isadmin.userspace.iscsi.keys import OurSide, shown
from isadmin.userspace.iscsi.login import Identity, LoginMachine
from isadmin.userspace.iscsi.session import Session
from isadmin.userspace.model import NodeAcl, Tpg
from isadmin.userspace.scsi.nexus import LunPath, Nexus
from isadmin.userspace.tasks import Task, when_over

NOPIN_TIMEOUT = 15
NOPIN_RESPONSE_TIMEOUT = 30
"""LIO's defaults, in seconds: what a dynamic session has."""
DISCOVERY_WINDOW = 16
DEFAULT_DEPTH = 64
MAX_SESSIONS = 0xFFFF
"""A TSIH has 16 bits, and 0 is none (section 6.3.1)."""
MAX_CUT_OFF = 4096
"""Initiator ports remembered as cut off."""

_Port: TypeAlias = tuple[str, bytes, Tpg]
"""An I_T nexus: initiator name and ISID at a target portal group. It has one session (section 4.4.3.1)."""


class ActiveSession:
    """One session in full-feature phase. acl is None for a dynamic one; tpg is None in discovery."""

    __slots__ = (
        "account",
        "acl",
        "digest_errors",
        "failure",
        "fast_paths",
        "logged_out",
        "max_recv",
        "nexus",
        "ours",
        "rx_octets",
        "session",
        "timeouts",
        "tpg",
        "tx_octets",
    )

    def __init__(
        self, session: Session, nexus: Nexus, tpg: Tpg | None, acl: NodeAcl | None, ours: OurSide
    ) -> None:
        self.session = session
        self.account = Account()
        """What it holds of the server's budget for write data."""
        self.nexus = nexus
        self.tpg = tpg
        self.acl = acl
        self.max_recv = ours.max_recv_data_segment_length
        self.ours = ours
        """What is negotiated anew is negotiated with this."""
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

    def same_nexus(self, other: ActiveSession) -> bool:
        mine, theirs = self.session, other.session
        return (mine.initiator, mine.isid) == (theirs.initiator, theirs.isid) and self.tpg is other.tpg

    def follow(self, tasks: Iterable[Task]) -> None:
        """No command begins before these are over: what the nexus sent over connections that are gone must
        not be written over what it sends from now on."""
        session = self.session
        left = [task for task in tasks if not task.over]
        if not left:
            return
        session.behind += 1
        session.look_at_queues()
        when_over(left, self._followed)

    def _followed(self) -> None:
        session = self.session
        session.behind -= 1
        session.look_at_queues()
        if session.later:
            first: Task = session.later[0]
            first.full.go_on()

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


class Sessions:
    """All that are logged in to a target, the oldest first. Discovery sessions are numbered here as well, and
    not kept."""

    def __init__(self) -> None:
        self._by_tsih: dict[int, ActiveSession] = {}
        self._by_port: dict[_Port, ActiveSession] = {}
        self._next_tsih = 1
        self._next_sid = 1
        self._cut_off: set[_Port] = set()
        """Initiator ports whose session ended without a logout: the next one hears I_T NEXUS LOSS."""

    def __iter__(self) -> Iterator[ActiveSession]:
        """Those that are there now, whatever happens to them meanwhile."""
        return iter(list(self._by_tsih.values()))

    def __len__(self) -> int:
        return len(self._by_tsih)

    def of(self, tpg: Tpg) -> list[ActiveSession]:
        return [active for active in self._by_tsih.values() if active.tpg is tpg]

    def latest(self, acl: NodeAcl) -> ActiveSession | None:
        return next((active for active in reversed(self._by_tsih.values()) if active.acl is acl), None)

    def same_port(self, identity: Identity, tpg: Tpg) -> ActiveSession | None:
        """The session of this initiator port."""
        return self._by_port.get((identity.initiator, identity.isid, tpg))

    def joined(self, identity: Identity, tpg: Tpg) -> ActiveSession:
        """The session that a login with a TSIH is for. LoginError when there is none."""
        active = self.same_port(identity, tpg)
        if active is None or active.session.tsih != identity.tsih:
            raise LoginError(LoginStatus.SESSION_DOES_NOT_EXIST, f"no session {identity.tsih}")
        return active

    def begin(self, machine: LoginMachine, tpg: Tpg | None, acl: NodeAcl | None) -> ActiveSession:
        """A new session for a login that is complete, kept unless it is one of discovery (tpg None).
        LoginError when there are too many."""
        identity, parameters = machine.identity, machine.parameters
        assert identity is not None
        assert parameters is not None
        if acl is not None:
            window = acl.cmdsn_depth
        elif tpg is not None:
            window = tpg.attrib.get("default_cmdsn_depth", DEFAULT_DEPTH)
        else:
            window = DISCOVERY_WINDOW
        tsih = self._new_tsih()
        sid = self._next_sid
        self._next_sid = sid + 1
        initiator, alias, target, discovery, isid, _, _ = identity
        tpgt = tpg.tag if tpg is not None else 0
        session = Session(
            initiator=initiator,
            alias=alias,
            target=target,
            tpgt=tpgt,
            discovery=discovery,
            isid=isid,
            tsih=tsih,
            sid=sid,
            cmd_sn=machine.cmd_sn,
            window=max(1, window),
            parameters=parameters,
            dynamic=acl is None,
        )
        nexus = Nexus(initiator, isid, target, tpgt)
        active = ActiveSession(session, nexus, tpg, acl, machine.ours)
        if tpg is not None:
            port = (initiator, isid, tpg)
            if port in self._cut_off:
                self._cut_off.discard(port)
                nexus.lost = True
            self._by_tsih[tsih] = self._by_port[port] = active
        return active

    def _new_tsih(self) -> int:
        taken = self._by_tsih
        if len(taken) >= MAX_SESSIONS:
            raise LoginError(LoginStatus.OUT_OF_RESOURCES, "there are no session identifiers left")
        tsih = self._next_tsih
        while tsih in taken:
            tsih = tsih % MAX_SESSIONS + 1
        self._next_tsih = tsih % MAX_SESSIONS + 1
        return tsih

    def end(self, active: ActiveSession) -> None:
        """Its last connection is gone."""
        session, tpg = active.session, active.tpg
        if tpg is None:
            return
        port = (session.initiator, session.isid, tpg)
        del self._by_tsih[session.tsih], self._by_port[port]
        if not active.logged_out and len(self._cut_off) < MAX_CUT_OFF:
            self._cut_off.add(port)


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
