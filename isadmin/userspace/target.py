"""The running target: LIO's objects brought to life.

Implements engine.Engine for the configfs tree (units, portals, LUN maps, live values) and server.Host for the
connections: who may log in is admission.py's, what they see is lunmaps.py's. All of it runs on the event
loop's thread.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePath

from isadmin.userspace import alua_metadata, aptpl_metadata
from isadmin.userspace.admission import Admission, send_targets
from isadmin.userspace.connection import Connection
from isadmin.userspace.engine import Counters, LoginCounters, SessionFacts
from isadmin.userspace.fullfeature import FullFeature
from isadmin.userspace.iscsi.chap import ChallengeLedger
from isadmin.userspace.iscsi.codes import LoginStatus
from isadmin.userspace.iscsi.errors import LoginError
from isadmin.userspace.iscsi.login import Established, Grant, Identity, LoginMachine
from isadmin.userspace.iscsi.text import TargetRecord
from isadmin.userspace.kept import Kept
from isadmin.userspace.loop import EventLoop, running
from isadmin.userspace.lunmaps import LunMaps
from isadmin.userspace.model import Device, Lun, MappedLun, NodeAcl, Portal, TargetPortGroup, Tpg
from isadmin.userspace.model import Target as TargetNode
from isadmin.userspace.portals import Portals
from isadmin.userspace.scsi.command import Wait
from isadmin.userspace.scsi.nexus import LunPath
from isadmin.userspace.scsi.unit import LogicalUnit
from isadmin.userspace.server import Server
from isadmin.userspace.sessions import ActiveSession, Sessions
from isadmin.userspace.storage import open_storage
from isadmin.userspace.tasks import abort_all, when_over

log = logging.getLogger("isadmin.userspace")

LOGOUT_SECONDS = 3
"""How long stop() waits for initiators to log out."""


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
        self._sessions = Sessions()
        self._admission = Admission(self._sessions, clock if clock is not None else _since(time.monotonic()))
        self._maps = LunMaps()
        self._alua_files: dict[Path, Kept] = {}

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
        while len(self._sessions) and self.loop.time() < deadline:
            await asyncio.sleep(0.02)
        self.server.close()

    # Units

    def open_unit(self, device: Device) -> LogicalUnit:
        unit = LogicalUnit(device, open_storage(device))
        unit.keep_aptpl = Kept(partial(self._keep_aptpl, device)).put
        unit.keep_alua = self._keep_alua
        unit.abort_tasks = partial(self._abort_tasks, unit)
        return unit

    def _keep_aptpl(self, device: Device, text: str) -> None:
        aptpl_metadata.keep(self.dbroot, device.serial, text)

    def _abort_tasks(self, unit: LogicalUnit, wanted: Callable[[LunPath], bool]) -> Wait | None:
        """PREEMPT AND ABORT: end the commands of some nexuses at a unit."""
        left = abort_all(
            [task for task in self.server.tasks_at(unit) if wanted(task.command.path)],
            lambda task: unit.value("emulate_tas") > 0,
        )
        return partial(when_over, left) if left else None

    def close_unit(self, device: Device) -> None:
        unit = device.unit
        assert isinstance(unit, LogicalUnit)
        for active in self._sessions:
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
        if any(alua_metadata.wanted(group)):
            self.server.submit(self._keep_alua([group]), lambda: None)

    def _keep_alua(self, groups: Sequence[TargetPortGroup]) -> Callable[[], None]:
        """Keep the states of groups and of their LUNs where LIO does, for those that are to be kept
        (alua_write_metadata, alua_tg_pt_write_md) once they have been changed; what is returned does the
        writing. As in LIO nothing but tools reads them back, and a failure does not undo the change."""
        texts = [found for group in groups for found in alua_metadata.wanted(group)]
        return partial(_settle_alua, [(path, self._alua_file(path).put(text)) for path, text in texts])

    def _alua_file(self, name: PurePath) -> Kept:
        path = self.dbroot / "alua" / name
        if path not in self._alua_files:
            self._alua_files[path] = Kept(partial(alua_metadata.keep, path))
        return self._alua_files[path]

    # Portals

    def open_portal(self, portal: Portal) -> None:
        self.portals.open(portal)

    def close_portal(self, portal: Portal) -> None:
        """Take no more logins there. Sessions that came through it stay, as in LIO."""
        self.portals.close(portal)

    # Groups, LUNs, ACLs

    def _end(self, active: ActiveSession, reason: str, *, told: bool = True) -> None:
        """End a session. told: its initiator, which has not asked for that, hears of it first."""
        for connection in list(active.session.connections.values()):
            if told and connection.full is not None:
                connection.full.tell_drop()
            connection.close(reason)

    def tpg_changed(self, tpg: Tpg) -> None:
        self._admission.forget(tpg)
        for active in self._sessions.of(tpg):
            if not tpg.enabled:
                self._end(active, "the target portal group is disabled")
            else:
                self._maps.apply(active)

    def tpg_removed(self, tpg: Tpg) -> None:
        self._admission.forget(tpg)
        for active in self._sessions.of(tpg):
            self._end(active, "the target portal group is gone")

    def target_removed(self, target: TargetNode) -> None:
        for tpg in target.tpgs.values():
            self.tpg_removed(tpg)
        self._admission.forget_target(target)

    def lun_changed(self, lun: Lun) -> None:
        unit = lun.device.unit if lun.device is not None else None
        if isinstance(unit, LogicalUnit):
            unit.linked(lun)
        for active in self._sessions.of(lun.tpg):
            self._maps.apply(active)
        if lun.device is None:
            self._maps.forget_lun(lun)

    def access_lost(self, lun: Lun, initiator: str) -> None:
        unit = lun.device.unit if lun.device is not None else None
        if isinstance(unit, LogicalUnit):
            unit.access_lost(lun, initiator)

    def acl_added(self, acl: NodeAcl) -> None:
        """A dynamic session of the same initiator becomes the ACL's, as in LIO."""
        for active in self._sessions.of(acl.tpg):
            if active.acl is None and active.session.initiator == acl.initiator:
                active.acl = acl
                active.session.dynamic = False
                self._maps.apply(active)

    def acl_changed(self, acl: NodeAcl) -> None:
        """A new command window is agreed at login only: LIO ends the sessions that have another one."""
        self._admission.forget_acl(acl)
        for active in self._sessions.of(acl.tpg):
            if active.acl is acl and active.session.window != max(1, acl.cmdsn_depth):
                self._end(active, "cmdsn_depth has changed")

    def acl_removed(self, acl: NodeAcl) -> None:
        self._admission.forget_acl(acl)
        for active in self._sessions.of(acl.tpg):
            if active.acl is acl:
                self._end(active, "the ACL is gone")

    def mapped_lun_changed(self, mapped: MappedLun) -> None:
        for active in self._sessions.of(mapped.acl.tpg):
            if active.acl is mapped.acl:
                self._maps.apply(active)
        if mapped.lun is None:
            self._maps.forget_mapped_lun(mapped)

    # Live values

    def active_sessions(self) -> Sequence[ActiveSession]:
        """All that are logged in, the oldest first."""
        return list(self._sessions)

    def sessions(self, tpg: Tpg) -> Sequence[SessionFacts]:
        return [active.facts() for active in self._sessions.of(tpg)]

    def session(self, acl: NodeAcl) -> SessionFacts | None:
        latest = self._sessions.latest(acl)
        return None if latest is None else latest.facts()

    def lun_counters(self, lun: Lun) -> Counters:
        return self._maps.lun_counters(lun)

    def mapped_lun_counters(self, mapped: MappedLun) -> Counters:
        return self._maps.mapped_lun_counters(mapped)

    def login_counters(self, target: TargetNode) -> LoginCounters:
        return self._admission.counters(target)

    # server.Host: logins

    def authority(self, connection: Connection) -> PortalAuthority:
        return PortalAuthority(self, connection)

    def identify(self, connection: Connection, identity: Identity) -> Grant:
        return self._admission.identify(connection, identity)

    def establish(self, connection: Connection, machine: LoginMachine) -> Established:
        """A login is complete: make its session, or join it."""
        identity = machine.identity
        assert identity is not None
        sessions = self._sessions
        if identity.discovery:
            active = sessions.begin(machine, None, None)
        else:
            # Asked again: the configuration may have changed since the first request.
            tpg, acl = self._admission.admitted(connection.listener, identity)
            if identity.tsih:
                active = self._join(connection, identity, tpg)
            else:
                old = sessions.same_port(identity, tpg)
                if old is not None:
                    # Session reinstatement (section 6.3.5): the initiator has given the old one up.
                    old.logged_out = True
                    self._end(old, "the initiator logged in anew", told=False)
                active = sessions.begin(machine, tpg, acl)
                if old is not None:
                    active.nexus.lost = True
                active.follow(task for task in self.server.orphans if active.same_nexus(task.full.active))
                self._maps.apply(active)
                self._admission.counters(tpg.target).accepts += 1
        connection.active = active
        session = active.session
        return Established(session.tsih, session.exp_cmd_sn, session.max_cmd_sn)

    def _join(self, connection: Connection, identity: Identity, tpg: Tpg) -> ActiveSession:
        """Another connection of a session, or one in the place of another (section 6.3.4)."""
        active = self._sessions.joined(identity, tpg)
        session = active.session
        old = session.connections.get(identity.cid)
        if old is None and len(session.connections) >= session.parameters.max_connections:
            raise LoginError(LoginStatus.TOO_MANY_CONNECTIONS, "MaxConnections are there already")
        if old is not None:
            session.connections[identity.cid] = connection
            old.close("the initiator connected anew")
        session.connections[identity.cid] = connection
        return active

    def login_failed(self, connection: Connection, machine: LoginMachine, status: LoginStatus) -> None:
        self._admission.failed(connection, machine, status)

    # server.Host: connections

    def attach(self, connection: Connection, machine: LoginMachine) -> FullFeature:
        parameters = machine.parameters
        assert parameters is not None
        active = connection.active
        assert active is not None
        active.session.connections[machine.cid] = connection
        return FullFeature(connection, active, parameters.max_xmit_data_segment_length)

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
        active.fast_paths.clear()
        self._sessions.end(active)
        tpg = active.tpg
        if tpg is None:
            return
        counters = self._admission.counters(tpg.target)
        if active.logged_out:
            counters.normal_logouts += 1
        else:
            counters.abnormal_logouts += 1
            counters.session_failed(active.failure, session.initiator)

    def send_targets(self, connection: Connection, initiator: str, name: str) -> list[TargetRecord]:
        return send_targets(connection, initiator, name)


class PortalAuthority:
    """login.Authority for one connection: the target, seen from the portal it came through."""

    __slots__ = ("_connection", "_target", "challenges")

    def __init__(self, target: Target, connection: Connection) -> None:
        self._target = target
        self._connection = connection
        self.challenges = target.challenges

    def identify(self, identity: Identity) -> Grant:
        return self._target.identify(self._connection, identity)

    def establish(self, machine: LoginMachine) -> Established:
        return self._target.establish(self._connection, machine)


def _settle_alua(files: Sequence[tuple[PurePath, Callable[[], None]]]) -> None:
    for path, settle in files:
        try:
            settle()
        except OSError as error:
            log.warning("ALUA metadata %s is not kept: %s", path, error.strerror)


def _since(start: float) -> Callable[[], float]:
    return lambda: time.monotonic() - start
