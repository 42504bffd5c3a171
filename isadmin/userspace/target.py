"""The running target: LIO's objects brought to life.

Implements engine.Engine for the configfs tree (units, portals, LUN maps, live values) and server.Host for the
connections (who may log in, what they see). All of it runs on the event loop's thread.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

from isadmin.userspace import alua_metadata, limits
from isadmin.userspace.connection import Connection
from isadmin.userspace.engine import Counters, LoginCounters, SessionFacts
from isadmin.userspace.fullfeature import FullFeature
from isadmin.userspace.iscsi.chap import ChallengeLedger, ChapSecrets
from isadmin.userspace.iscsi.codes import LoginStatus
from isadmin.userspace.iscsi.errors import LoginError
from isadmin.userspace.iscsi.keys import KEYS, Kind, OurSide
from isadmin.userspace.iscsi.login import Established, Grant, Identity, LoginMachine, introduction
from isadmin.userspace.iscsi.session import Session
from isadmin.userspace.iscsi.text import TargetRecord
from isadmin.userspace.loop import EventLoop, running
from isadmin.userspace.model import (
    Credentials,
    Device,
    Fabric,
    Lun,
    MappedLun,
    NodeAcl,
    Portal,
    TargetPortGroup,
    Tpg,
)
from isadmin.userspace.model import Target as TargetNode
from isadmin.userspace.portals import Listener, Portals
from isadmin.userspace.scsi.nexus import LunPath, Nexus
from isadmin.userspace.scsi.sense import Status
from isadmin.userspace.scsi.unit import LogicalUnit
from isadmin.userspace.server import Server
from isadmin.userspace.sessions import ActiveSession
from isadmin.userspace.storage import open_storage

log = logging.getLogger("isadmin.userspace")

LOGOUT_SECONDS = 3
"""How long stop() waits for initiators to log out."""
DISCOVERY_WINDOW = 16
DEFAULT_DEPTH = 64
MAX_SESSIONS = 0xFFFF
"""A TSIH has 16 bits, and 0 is none (section 6.3.1)."""
MAX_CUT_OFF = 4096
"""Initiator ports remembered as cut off."""


_Port: TypeAlias = tuple[str, bytes, Tpg]
"""An I_T nexus: initiator name and ISID at a target portal group. It has one session (section 4.4.3.1)."""


class Target:
    """The engine behind the tree. Make it on the thread of `loop`, which is the running one by default.

    clock: seconds since the target came up, for last_fail_time (default: since this object was made).
    """

    def __init__(self, loop: EventLoop | None = None, clock: Callable[[], float] | None = None) -> None:
        self.loop = loop if loop is not None else running()
        self.challenges = ChallengeLedger()
        self.server = Server(self, self.loop)
        self.portals = Portals(self.server.accept, self.loop)
        self.dbroot = Path("/var/target")
        self._clock = clock if clock is not None else _since(time.monotonic())
        self._sessions: dict[int, ActiveSession] = {}
        """By TSIH; the oldest first."""
        self._by_port: dict[_Port, ActiveSession] = {}
        self._next_tsih = 1
        self._next_sid = 1
        self._lun_counters: dict[Lun, Counters] = {}
        self._mapped_counters: dict[MappedLun, Counters] = {}
        self._login_counters: dict[TargetNode, LoginCounters] = {}
        self._values: dict[Tpg, OurSide] = {}
        """What param/* says to a login, worked out once."""
        self._grants: dict[tuple[Tpg, NodeAcl | None], Grant] = {}
        """What a login is granted, worked out once; None: without an ACL."""
        self._cut_off: set[_Port] = set()
        """Initiator ports whose session ended without a logout: the next one hears I_T NEXUS LOSS."""

    # Life

    @property
    def listening(self) -> bool:
        return self.portals.listening

    def start_listening(self) -> None:
        """Listen at all portals, and from now on at each new one: call it once the configuration is there."""
        for listener, error in self.portals.start():
            log.error("cannot listen at %s:%d: %s", listener.address, listener.port, error.strerror)

    async def stop(self, seconds: float = LOGOUT_SECONDS) -> None:
        """Ask all initiators to log out, wait for them at most `seconds`, close what is left, and the
        units."""
        self.portals.stop()
        for connection in list(self.server.connections):
            if connection.full is not None:
                connection.full.request_logout(max(1, int(seconds)))
        deadline = self.loop.time() + seconds
        while self._sessions and self.loop.time() < deadline:
            await asyncio.sleep(0.02)
        self.server.close()

    # Units

    def open_unit(self, device: Device) -> LogicalUnit:
        unit = LogicalUnit(device, open_storage(device))
        unit.save_aptpl = partial(self._save_aptpl, device)
        unit.save_alua = self._keep_alua
        unit.abort_tasks = self._abort_tasks
        return unit

    def _save_aptpl(self, device: Device, text: str) -> None:
        """Keep a unit's registrations where LIO keeps them and rtslib looks for them: pr/aptpl_<serial>. In
        a pool thread; when this returns, the file is on the disk, or gone."""
        if not device.serial or "/" in device.serial:
            raise OSError(errno.EINVAL, "registrations are kept by the unit serial number", device.serial)
        directory = self.dbroot / "pr"
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"aptpl_{device.serial}"
        if text:
            replacement = path.with_name(f".{path.name}.new")
            with replacement.open("w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            replacement.replace(path)
        else:
            path.unlink(missing_ok=True)
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _abort_tasks(self, path: LunPath) -> None:
        """PREEMPT AND ABORT: end the commands of a nexus at a unit."""
        for connection in list(self.server.connections):
            full = connection.full
            for task in list(full.tasks.values()) if full is not None else ():
                if full is None or task.command.found is not path:
                    continue
                tell = partial(full.answer_aborted, task, Status.TASK_ABORTED)
                if not path.unit.value("emulate_tas"):
                    full.abort(task)
                elif full.abort(task):
                    tell()
                else:
                    task.on_end.append(tell)

    def close_unit(self, device: Device) -> None:
        unit = device.unit
        assert isinstance(unit, LogicalUnit)
        for active in self._sessions.values():
            for number in [n for n, path in active.nexus.paths.items() if path.unit is unit]:
                active.nexus.remove(number)
            active.refresh_paths()
        self.server.when_idle(unit.gate, unit.storage.close)

    def device_changed(self, device: Device, name: str) -> None:
        unit = device.unit
        if isinstance(unit, LogicalUnit):
            unit.refresh(name)

    def set_dbroot(self, path: str) -> None:
        directory = Path(path)
        if not directory.exists():
            raise OSError(errno.ENOENT, "no such directory", path)
        if not directory.is_dir():
            raise OSError(errno.ENOTDIR, "not a directory", path)
        self.dbroot = directory

    def alua_changed(self, group: TargetPortGroup) -> None:
        unit = group.device.unit
        if isinstance(unit, LogicalUnit):
            unit.alua_changed(group)
        self._keep_alua(group, durably=False)

    def _keep_alua(self, group: TargetPortGroup, *, durably: bool = True) -> None:
        """Keep the states of a group and of its LUNs where LIO does, for those that are to be kept
        (alua_write_metadata, alua_tg_pt_write_md) once they have been changed. As in LIO nothing but tools
        reads them back, and a failure does not undo the change."""
        for path, text in alua_metadata.wanted(group):
            try:
                alua_metadata.keep(self.dbroot / "alua" / path, text, durably=durably)
            except OSError as error:
                log.warning("ALUA metadata %s is not kept: %s", path, error.strerror)

    # Portals

    def open_portal(self, portal: Portal) -> None:
        self.portals.open(portal)

    def close_portal(self, portal: Portal) -> None:
        """Take no more logins there. Sessions that came through it stay, as in LIO."""
        self.portals.close(portal)

    # Groups, LUNs, ACLs

    def _of(self, tpg: Tpg) -> list[ActiveSession]:
        return [active for active in self._sessions.values() if active.tpg is tpg]

    def _end(self, active: ActiveSession, reason: str) -> None:
        for connection in list(active.session.connections.values()):
            connection.close(reason)

    def _forget(self, tpg: Tpg) -> None:
        """What was worked out for logins to a group no longer holds."""
        self._values.pop(tpg, None)
        self._grants.clear()

    def tpg_changed(self, tpg: Tpg) -> None:
        self._forget(tpg)
        for active in self._of(tpg):
            if not tpg.enabled:
                self._end(active, "the target portal group is disabled")
            else:
                self._map(active)

    def tpg_removed(self, tpg: Tpg) -> None:
        self._forget(tpg)
        for active in self._of(tpg):
            self._end(active, "the target portal group is gone")

    def target_removed(self, target: TargetNode) -> None:
        for tpg in target.tpgs.values():
            self.tpg_removed(tpg)
        self._login_counters.pop(target, None)

    def lun_changed(self, lun: Lun) -> None:
        for active in self._of(lun.tpg):
            self._map(active)
        if lun.device is None:
            self._lun_counters.pop(lun, None)

    def acl_added(self, acl: NodeAcl) -> None:
        """A dynamic session of the same initiator becomes the ACL's, as in LIO."""
        for active in self._of(acl.tpg):
            if active.acl is None and active.session.initiator == acl.initiator:
                active.acl = acl
                active.session.dynamic = False
                self._map(active)

    def acl_changed(self, acl: NodeAcl) -> None:
        """A new command window is agreed at login only: LIO ends the sessions that have another one."""
        self._grants.pop((acl.tpg, acl), None)
        for active in self._of(acl.tpg):
            if active.acl is acl and active.session.window != max(1, acl.cmdsn_depth):
                self._end(active, "cmdsn_depth has changed")

    def acl_removed(self, acl: NodeAcl) -> None:
        self._grants.pop((acl.tpg, acl), None)
        for active in self._of(acl.tpg):
            if active.acl is acl:
                self._end(active, "the ACL is gone")

    def mapped_lun_changed(self, mapped: MappedLun) -> None:
        for active in self._of(mapped.acl.tpg):
            if active.acl is mapped.acl:
                self._map(active)
        if mapped.lun is None:
            self._mapped_counters.pop(mapped, None)

    def _wanted(self, active: ActiveSession) -> Iterator[tuple[int, Lun, bool, Counters]]:
        """The LUNs a session ought to see: number, LUN, read-only, counters."""
        tpg, acl = active.tpg, active.acl
        if tpg is None:
            return
        if acl is not None:
            protect = tpg.attrib.get("prod_mode_write_protect", 0) > 0
            for mapped in acl.mapped.values():
                if mapped.lun is not None:
                    yield mapped.number, mapped.lun, mapped.write_protect or protect, self._counters(mapped)
            return
        protect = tpg.attrib.get("demo_mode_write_protect", 1) > 0
        for lun in tpg.luns.values():
            yield lun.number, lun, protect, self._base(lun)

    def _map(self, active: ActiveSession) -> None:
        """Bring a session's nexus to what the configuration says."""
        nexus = active.nexus
        gone = set(nexus.paths)
        for number, lun, read_only, counters in self._wanted(active):
            unit = lun.device.unit if lun.device is not None else None
            if not isinstance(unit, LogicalUnit):
                continue
            gone.discard(number)
            nexus.replace(number, unit, lun, read_only=read_only, counters=counters)
        for number in gone:
            nexus.remove(number)
        active.refresh_paths()

    # Live values

    def active_sessions(self) -> Sequence[ActiveSession]:
        """All that are logged in, the oldest first."""
        return list(self._sessions.values())

    def sessions(self, tpg: Tpg) -> Sequence[SessionFacts]:
        return [active.facts() for active in self._of(tpg)]

    def session(self, acl: NodeAcl) -> SessionFacts | None:
        latest = next((active for active in reversed(self._sessions.values()) if active.acl is acl), None)
        return None if latest is None else latest.facts()

    def _counters(self, mapped: MappedLun) -> Counters:
        return self._mapped_counters.setdefault(mapped, Counters())

    def _base(self, lun: Lun) -> Counters:
        """What dynamic sessions did on a LUN."""
        return self._lun_counters.setdefault(lun, Counters())

    def lun_counters(self, lun: Lun) -> Counters:
        total = Counters()
        for part in (self._base(lun), *(self._counters(mapped) for mapped in lun.mapped)):
            _add(total, part)
        return total

    def mapped_lun_counters(self, mapped: MappedLun) -> Counters:
        return self._counters(mapped)

    def login_counters(self, target: TargetNode) -> LoginCounters:
        counters = self._login_counters.get(target)
        if counters is None:
            counters = self._login_counters[target] = LoginCounters()
        return counters

    # server.Host: logins

    def _find(self, listener: Listener, name: str) -> tuple[TargetNode | None, Tpg | None]:
        """The named target, and its portal group at a listener."""
        portal = listener.portals.get(name)
        if portal is not None:
            return portal.tpg.target, portal.tpg
        fabric = _fabric(listener)
        return None if fabric is None else fabric.targets.get(name), None

    def authority(self, connection: Connection) -> PortalAuthority:
        return PortalAuthority(self, connection)

    def identify(self, connection: Connection, identity: Identity) -> Grant:
        listener = connection.listener
        if identity.discovery:
            return self._identify_discovery(listener, identity)
        _, tpg = self._find(listener, identity.target)
        if tpg is None:
            # A target that exists at other portals only is as good as none here.
            raise LoginError(LoginStatus.NOT_FOUND, f"no target {identity.target} at this portal")
        if not tpg.enabled:
            raise LoginError(LoginStatus.SERVICE_UNAVAILABLE, "the target portal group is disabled")
        connection.limit_login(tpg.attrib.get("login_timeout", limits.LOGIN_TICKS))
        acl = tpg.acls.get(identity.initiator)
        if acl is None and not tpg.attrib.get("generate_node_acls", 0):
            raise LoginError(LoginStatus.AUTHORIZATION_FAILURE, "no ACL for this initiator")
        grant = self._grants.get((tpg, acl))
        if grant is None:
            grant = self._grants[tpg, acl] = self._granted(tpg, acl)
        if identity.tsih:
            active = self._session(identity, tpg)
            if active is None:
                raise LoginError(LoginStatus.SESSION_DOES_NOT_EXIST, f"no session {identity.tsih}")
            grant = grant._replace(inherited=active.session.parameters)
        return grant

    def _granted(self, tpg: Tpg, acl: NodeAcl | None) -> Grant:
        required = tpg.attrib.get("authentication", 1) > 0
        if acl is not None and acl.attrib.get("authentication", -1) >= 0:
            required = acl.attrib["authentication"] > 0
        methods = tuple(method.strip() for method in tpg.param.get("AuthMethod", "CHAP,None").split(","))
        return Grant(
            introduction=introduction(tpg.tag, tpg.param.get("TargetAlias", "")),
            values=self._values_of(tpg),
            auth_required=required,
            methods=methods if required else (*methods, "None"),
            secrets=_secrets(acl.auth if acl is not None else tpg.auth),
        )

    def _values_of(self, tpg: Tpg) -> OurSide:
        values = self._values.get(tpg)
        if values is None:
            values = self._values[tpg] = OurSide(_values(tpg))
        return values

    def _identify_discovery(self, listener: Listener, identity: Identity) -> Grant:
        """discovery_auth decides. Where it is not set, an initiator that offers CHAP nevertheless (tools do,
        with what they use for the target) is held to the credentials of its own ACLs."""
        fabric = _fabric(listener)
        required = fabric is not None and fabric.enforce_discovery_auth
        secrets = _secrets(fabric.discovery_auth) if fabric is not None else ()
        if not secrets and not required:
            acls = [portal.tpg.acls.get(identity.initiator) for portal in listener.portals.values()]
            secrets = tuple(dict.fromkeys(s for acl in acls if acl is not None for s in _secrets(acl.auth)))
        return Grant(introduction=b"", values=_DISCOVERY_SIDE, auth_required=required, secrets=secrets)

    def _session(self, identity: Identity, tpg: Tpg) -> ActiveSession | None:
        active = self._by_port.get((identity.initiator, identity.isid, tpg))
        return active if active is not None and active.session.tsih == identity.tsih else None

    def establish(self, connection: Connection, machine: LoginMachine) -> Established:
        identity, parameters = machine.identity, machine.parameters
        assert identity is not None
        assert parameters is not None
        listener = connection.listener
        if identity.discovery:
            connection.active = self._new_session(machine, None, None)
            return _established(connection.active)
        _, tpg = self._find(listener, identity.target)
        if tpg is None or not tpg.enabled:
            raise LoginError(LoginStatus.SERVICE_UNAVAILABLE, "the target portal group is disabled")
        if identity.tsih:
            connection.active = self._join(connection, identity, tpg)
            return _established(connection.active)
        port = (identity.initiator, identity.isid, tpg)
        old = self._by_port.get(port)
        if old is not None:
            # Session reinstatement (section 6.3.5): the initiator has given the old one up.
            old.logged_out = True
            self._end(old, "the initiator logged in anew")
        acl = tpg.acls.get(identity.initiator)
        if acl is None and not tpg.attrib.get("generate_node_acls", 0):
            raise LoginError(LoginStatus.AUTHORIZATION_FAILURE, "no ACL for this initiator")
        connection.active = active = self._new_session(machine, tpg, acl)
        self._map(active)
        self._sessions[active.session.tsih] = self._by_port[port] = active
        self.login_counters(tpg.target).accepts += 1
        return _established(active)

    def _join(self, connection: Connection, identity: Identity, tpg: Tpg) -> ActiveSession:
        """Another connection of a session, or one in the place of another (section 6.3.4)."""
        active = self._session(identity, tpg)
        if active is None:
            raise LoginError(LoginStatus.SESSION_DOES_NOT_EXIST, f"no session {identity.tsih}")
        session = active.session
        old = session.connections.get(identity.cid)
        if old is None and len(session.connections) >= session.parameters.max_connections:
            raise LoginError(LoginStatus.TOO_MANY_CONNECTIONS, "MaxConnections are there already")
        if old is not None:
            session.connections[identity.cid] = connection
            old.close("the initiator connected anew")
        session.connections[identity.cid] = connection
        return active

    def _new_session(self, machine: LoginMachine, tpg: Tpg | None, acl: NodeAcl | None) -> ActiveSession:
        identity, parameters = machine.identity, machine.parameters
        assert identity is not None
        assert parameters is not None
        tsih, sid = self._new_tsih(), self._next_sid
        self._next_sid += 1
        if acl is not None:
            window = acl.cmdsn_depth
        elif tpg is not None:
            window = tpg.attrib.get("default_cmdsn_depth", DEFAULT_DEPTH)
        else:
            window = DISCOVERY_WINDOW
        session = Session(
            initiator=identity.initiator,
            alias=identity.alias,
            target=identity.target,
            tpgt=tpg.tag if tpg is not None else 0,
            discovery=identity.discovery,
            isid=identity.isid,
            tsih=tsih,
            sid=sid,
            cmd_sn=machine.cmd_sn,
            window=max(1, window),
            parameters=parameters,
            dynamic=acl is None,
        )
        lost = False
        if tpg is not None:
            port = (identity.initiator, identity.isid, tpg)
            lost = port in self._cut_off
            self._cut_off.discard(port)
        nexus = Nexus(identity.initiator, identity.isid, identity.target, session.tpgt, lost=lost)
        return ActiveSession(session, nexus, tpg, acl, parameters.max_recv_data_segment_length)

    def _new_tsih(self) -> int:
        if len(self._sessions) >= MAX_SESSIONS:
            raise LoginError(LoginStatus.OUT_OF_RESOURCES, "there are no session identifiers left")
        while True:
            tsih = self._next_tsih
            self._next_tsih = tsih % MAX_SESSIONS + 1
            if tsih not in self._sessions:
                return tsih

    # server.Host: connections

    def attach(self, connection: Connection, machine: LoginMachine) -> FullFeature:
        parameters = machine.parameters
        assert parameters is not None
        active = connection.active
        assert active is not None
        active.session.connections[machine.cid] = connection
        return FullFeature(connection, active, parameters.max_xmit_data_segment_length)

    def login_failed(self, connection: Connection, machine: LoginMachine, status: LoginStatus) -> None:
        """Note a failed login in its target's counters."""
        identity = machine.identity
        target, _ = self._find(connection.listener, identity.target) if identity is not None else (None, None)
        if target is None:
            return
        counters = self.login_counters(target)
        kind, name = _FAILURES.get(status, (2, "other_fails"))
        setattr(counters, name, getattr(counters, name) + 1)
        counters.last_fail_type = kind
        counters.last_fail_time = self._clock()
        counters.fail_address = connection.peer_host
        counters.fail_address_type = "ipv6" if ":" in connection.peer_host else "ipv4"
        counters.fail_initiator = machine.initiator

    def detached(self, connection: Connection, full: FullFeature) -> None:
        active = full.active
        session = active.session
        if session.connections.get(connection.cid) is connection:
            del session.connections[connection.cid]
        active.rx_octets += connection.rx_octets
        active.tx_octets += connection.tx_octets
        if session.connections:
            return
        active.nexus.close()
        active.refresh_paths()
        tpg = active.tpg
        if tpg is None:
            return
        port = (session.initiator, session.isid, tpg)
        del self._sessions[session.tsih], self._by_port[port]
        counters = self.login_counters(tpg.target)
        if active.logged_out:
            counters.normal_logouts += 1
        else:
            counters.abnormal_logouts += 1
            counters.session_failed(active.failure, session.initiator)
            if len(self._cut_off) < MAX_CUT_OFF:
                self._cut_off.add(port)

    def send_targets(self, connection: Connection, initiator: str, name: str) -> list[TargetRecord]:
        listener = connection.listener
        fabric = _fabric(listener)
        if fabric is None:
            return []
        records = []
        named = (fabric.targets.get(name),) if name else fabric.targets.values()
        for target in named:
            if target is None:
                continue
            addresses: list[tuple[str, int]] = []
            for tpg in target.tpgs.values():
                if _hidden(tpg, initiator):
                    continue
                for portal in tpg.portals.values():
                    address = connection.reachable(portal.address, portal.port)
                    if address is not None and (address, tpg.tag) not in addresses:
                        addresses.append((address, tpg.tag))
            records.append(TargetRecord(target.name, addresses))
        return records


_FAILURES: dict[LoginStatus, tuple[int, str]] = {
    LoginStatus.AUTHORIZATION_FAILURE: (4, "authorize_fails"),
    LoginStatus.AUTHENTICATION_FAILURE: (5, "authenticate_fails"),
    LoginStatus.INITIATOR_ERROR: (6, "negotiate_fails"),
}
"""Failure types of the iSCSI MIB (RFC 4544, iscsiTgtLastFailureType) as LIO counts them; 2 is "other"."""


_DISCOVERY_SIDE = OurSide({})
"""What we say to discovery sessions: the keys' defaults."""


class PortalAuthority:
    """login.Authority for one connection: the target, seen from the portal it came through."""

    def __init__(self, target: Target, connection: Connection) -> None:
        self._target = target
        self._connection = connection
        self.challenges = target.challenges

    def identify(self, identity: Identity) -> Grant:
        return self._target.identify(self._connection, identity)

    def establish(self, machine: LoginMachine) -> Established:
        return self._target.establish(self._connection, machine)


def _add(total: Counters, part: Counters) -> None:
    for name in Counters.__slots__:
        setattr(total, name, getattr(total, name) + getattr(part, name))


def _established(active: ActiveSession) -> Established:
    return Established(active.session.tsih, active.session.max_cmd_sn)


def _since(start: float) -> Callable[[], float]:
    return lambda: time.monotonic() - start


def _fabric(listener: Listener) -> Fabric | None:
    portal = next(iter(listener.portals.values()), None)
    return None if portal is None else portal.tpg.target.fabric


def _hidden(tpg: Tpg, initiator: str) -> bool:
    """Whether SendTargets leaves a portal group out."""
    attrib = tpg.attrib
    if not tpg.enabled and attrib.get("tpg_enabled_sendtargets", 1):
        return True
    demo = attrib.get("generate_node_acls", 0) or attrib.get("demo_mode_discovery", 1)
    return not demo and initiator not in tpg.acls


def _values(tpg: Tpg) -> dict[str, str]:
    """A group's param/* with numbers in decimal, and the data segment length no longer than we take."""
    values = dict(tpg.param)
    for name in (*KEYS, "MaxXmitDataSegmentLength"):
        if name in values and (name not in KEYS or KEYS[name].kind in (Kind.NUMBER, Kind.DECLARED_NUMBER)):
            try:
                values[name] = str(tpg.number(name))
            except ValueError:
                del values[name]
    name = "MaxRecvDataSegmentLength"
    if name in values:
        values[name] = str(min(int(values[name]), limits.MAX_RECV))
    return values


def _secrets(auth: Credentials) -> tuple[ChapSecrets, ...]:
    """Configured credentials without the newlines that configfs keeps; empty where there are none."""
    if not auth.one_way:
        return ()
    mutual = auth.mutual
    found = ChapSecrets(
        auth.userid.strip("\n"),
        _bytes(auth.password),
        auth.userid_mutual.strip("\n") if mutual else "",
        _bytes(auth.password_mutual) if mutual else b"",
    )
    return (found,)


def _bytes(secret: str) -> bytes:
    return secret.strip("\n").encode(errors="surrogateescape")
