"""Who may log in: what an initiator is granted, which targets it is told of, and the counts of who came.

What the configuration says to a login is worked out once and remembered, down to the answers to whole
requests (login.Grant.steps); `forget` and `forget_acl` end that, so that each login goes by the configuration
as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from isadmin.userspace import limits
from isadmin.userspace.connection import Connection
from isadmin.userspace.engine import LoginCounters
from isadmin.userspace.iscsi.chap import ChapSecrets
from isadmin.userspace.iscsi.codes import LoginStatus
from isadmin.userspace.iscsi.errors import LoginError
from isadmin.userspace.iscsi.keys import KEYS, Kind, OurSide
from isadmin.userspace.iscsi.login import Grant, Identity, LoginMachine, introduction
from isadmin.userspace.iscsi.text import TargetRecord
from isadmin.userspace.model import Credentials, Fabric, NodeAcl, Tpg
from isadmin.userspace.model import Target as TargetNode
from isadmin.userspace.portals import Listener
from isadmin.userspace.sessions import Sessions

_FAILURES: dict[LoginStatus, tuple[int, str]] = {
    LoginStatus.AUTHORIZATION_FAILURE: (4, "authorize_fails"),
    LoginStatus.AUTHENTICATION_FAILURE: (5, "authenticate_fails"),
    LoginStatus.INITIATOR_ERROR: (6, "negotiate_fails"),
}
"""Failure types of the iSCSI MIB (RFC 4544, iscsiTgtLastFailureType) as LIO counts them; 2 is "other"."""

_DISCOVERY_SIDE = OurSide({})
"""What we say to discovery sessions: the keys' defaults."""


class Admission:
    """The gate to all targets. clock: seconds, for last_fail_time."""

    def __init__(self, sessions: Sessions, clock: Callable[[], float]) -> None:
        self._sessions = sessions
        self._clock = clock
        self._counters: dict[TargetNode, LoginCounters] = {}
        self._grants: dict[tuple[Tpg, NodeAcl | None], Grant] = {}
        """What a login is granted; None: without an ACL."""

    # Changes of the configuration

    def forget(self, tpg: Tpg) -> None:
        """A portal group has changed, or is gone."""
        for key in [key for key in self._grants if key[0] is tpg]:
            del self._grants[key]

    def forget_acl(self, acl: NodeAcl) -> None:
        """An ACL has changed, or is gone."""
        self._grants.pop((acl.tpg, acl), None)

    def forget_target(self, target: TargetNode) -> None:
        """A target is gone."""
        self._counters.pop(target, None)

    # Logins

    def admitted(self, listener: Listener, identity: Identity) -> tuple[Tpg, NodeAcl | None]:
        """The portal group that an initiator finds at a listener, and its ACL there, None in demo mode.
        LoginError when it may not log in."""
        portal = listener.portals.get(identity.target)
        if portal is None:
            # A target that exists at other portals only is as good as none here.
            raise LoginError(LoginStatus.NOT_FOUND, f"no target {identity.target} at this portal")
        tpg = portal.tpg
        if not tpg.enabled:
            raise LoginError(LoginStatus.SERVICE_UNAVAILABLE, "the target portal group is disabled")
        acl = tpg.acls.get(identity.initiator)
        if acl is None and not tpg.attrib.get("generate_node_acls", 0):
            raise LoginError(LoginStatus.AUTHORIZATION_FAILURE, "no ACL for this initiator")
        return tpg, acl

    def identify(self, connection: Connection, identity: Identity) -> Grant:
        """What an initiator is granted that has named itself. LoginError if nothing."""
        if identity.discovery:
            return _for_discovery(connection.listener, identity)
        tpg, acl = admitted = self.admitted(connection.listener, identity)
        connection.limit_login(tpg.attrib.get("login_timeout", limits.LOGIN_TICKS))
        grant = self._grants.get(admitted)
        if grant is None:
            grant = self._grants[admitted] = _granted(tpg, acl)
        if identity.tsih:
            return replace(grant, inherited=self._sessions.joined(identity, tpg).session.parameters)
        return grant

    # What has come of them

    def counters(self, target: TargetNode) -> LoginCounters:
        counters = self._counters.get(target)
        if counters is None:
            counters = self._counters[target] = LoginCounters()
        return counters

    def failed(self, connection: Connection, machine: LoginMachine, status: LoginStatus) -> None:
        """Note a failed login in its target's counters."""
        identity = machine.identity
        target = _named(connection.listener, identity.target) if identity is not None else None
        if target is None:
            return
        counters = self.counters(target)
        kind, name = _FAILURES.get(status, (2, "other_fails"))
        setattr(counters, name, getattr(counters, name) + 1)
        counters.last_fail_type = kind
        counters.last_fail_time = self._clock()
        counters.fail_address = connection.peer_host
        counters.fail_address_type = "ipv6" if ":" in connection.peer_host else "ipv4"
        counters.fail_initiator = machine.initiator


def send_targets(connection: Connection, initiator: str, name: str) -> list[TargetRecord]:
    """The targets that an initiator may see, with all their portals; the named one, or all when name is
    empty."""
    fabric = _fabric(connection.listener)
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


def _fabric(listener: Listener) -> Fabric | None:
    portal = next(iter(listener.portals.values()), None)
    return None if portal is None else portal.tpg.target.fabric


def _named(listener: Listener, name: str) -> TargetNode | None:
    """A target, whether or not it is at this listener."""
    portal = listener.portals.get(name)
    if portal is not None:
        return portal.tpg.target
    fabric = _fabric(listener)
    return None if fabric is None else fabric.targets.get(name)


def _hidden(tpg: Tpg, initiator: str) -> bool:
    """Whether SendTargets leaves a portal group out."""
    attrib = tpg.attrib
    if not tpg.enabled and attrib.get("tpg_enabled_sendtargets", 1):
        return True
    demo = attrib.get("generate_node_acls", 0) or attrib.get("demo_mode_discovery", 1)
    return not demo and initiator not in tpg.acls


def _granted(tpg: Tpg, acl: NodeAcl | None) -> Grant:
    required = tpg.attrib.get("authentication", 1) > 0
    if acl is not None and acl.attrib.get("authentication", -1) >= 0:
        required = acl.attrib["authentication"] > 0
    methods = tuple(method.strip() for method in tpg.param.get("AuthMethod", "CHAP,None").split(","))
    return Grant(
        introduction=introduction(tpg.tag, tpg.param.get("TargetAlias", "")),
        values=OurSide(_values(tpg)),
        auth_required=required,
        methods=methods if required else (*methods, "None"),
        secrets=_secrets(acl.auth if acl is not None else tpg.auth),
    )


def _for_discovery(listener: Listener, identity: Identity) -> Grant:
    """discovery_auth decides. Where it is not set, an initiator that offers CHAP nevertheless (tools do, with
    what they use for the target) is held to the credentials of its own ACLs."""
    fabric = _fabric(listener)
    required = fabric is not None and fabric.enforce_discovery_auth
    secrets = _secrets(fabric.discovery_auth) if fabric is not None else ()
    if not secrets and not required:
        acls = [portal.tpg.acls.get(identity.initiator) for portal in listener.portals.values()]
        secrets = tuple(dict.fromkeys(s for acl in acls if acl is not None for s in _secrets(acl.auth)))
    return Grant(introduction=b"", values=_DISCOVERY_SIDE, auth_required=required, secrets=secrets)


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
