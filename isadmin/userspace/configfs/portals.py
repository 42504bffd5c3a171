"""np/ of an iSCSI portal group: addresses, and which of them cannot stand beside each other."""

from __future__ import annotations

import errno
import ipaddress

from isadmin.userspace.configfs.context import Context
from isadmin.userspace.configfs.schema import File, Kind, group, kind
from isadmin.userspace.configfs.values import U16, U32, fail, one_of, unsigned
from isadmin.userspace.model import Portal, Target, Tpg

NAME_MAX = 170
BOOLEAN = frozenset({0, 1})
WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - names to compare with, nothing binds here


def parse_portal(name: str) -> tuple[str, int]:
    """address:port or [address]:port -> canonical address and port, which is read in base 0: 03260 is octal.
    EINVAL."""
    if "[" in name:
        address, bracket, rest = name.partition("[")[2].partition("]")
        if not bracket or ":" not in rest:
            fail(errno.EINVAL)
        port = rest.partition(":")[2]
    else:
        address, colon, port = name.partition(":")
        if not colon:
            fail(errno.EINVAL)
    try:
        return str(ipaddress.ip_address(address)), unsigned(port, U16)
    except (ValueError, OSError):
        fail(errno.EINVAL)


def _same(new: tuple[str, int], old: Portal) -> bool:
    """As the kernel compares within a target: the IPv6 wildcard equals any IPv4 address."""
    address, port = new
    if port != old.port:
        return False
    return address == old.address or (address == "::" and ":" not in old.address)


def _collide(new: tuple[str, int], old: Portal) -> bool:
    """Whether two sockets cannot listen beside each other: one is the wildcard of the other's family. That of
    IPv6 takes IPv4 too."""
    address, port = new
    if port != old.port or not port or address == old.address:
        return False
    if "::" in (address, old.address):
        return True
    if (":" in address) != (":" in old.address):
        return False
    return address in WILDCARDS or old.address in WILDCARDS


def check_portal(target: Target, address: str, port: int) -> None:
    """EINVAL where the kernel cannot have both: the same within a target, a wildcard beside a specific one on
    a port anywhere. The same in another target is one socket."""
    new = (address, port)
    for other in target.fabric.targets.values():
        for tpg in other.every_tpg():
            for portal in tpg.portals.values():
                if (other is target and _same(new, portal)) or _collide(new, portal):
                    fail(errno.EINVAL)


def make_portal(context: Context, tpg: Tpg, name: str) -> tuple[Kind, Portal]:
    """Every failure is EINVAL, binding included. The address need not be on this host; port 0 is taken."""
    if len(name) > NAME_MAX:
        fail(errno.EINVAL)
    address, port = parse_portal(name)
    check_portal(tpg.target, address, port)
    portal = Portal(tpg, name, address, port)
    try:
        context.engine.open_portal(portal)
    except OSError as error:
        raise OSError(errno.EINVAL, error.strerror or "cannot listen", name) from error
    tpg.portals[name] = portal
    return PORTAL, portal


def _drop_portal(context: Context, portal: Portal) -> None:
    del portal.tpg.portals[portal.dirname]
    context.engine.close_portal(portal)


def _store_iser(context: Context, portal: Portal, text: str) -> None:
    """Taken without an RDMA device too, as the kernel does: nothing listens on it then."""
    portal.iser = bool(one_of(text, BOOLEAN, U32))


def _store_cxgbit(context: Context, portal: Portal, text: str) -> None:
    """Only Chelsio adapters have this."""
    if one_of(text, BOOLEAN, U32):
        fail(errno.EINVAL)


PORTAL = kind(
    [
        File("iser", lambda context, portal: f"{int(portal.iser)}\n", _store_iser),
        File("cxgbit", lambda context, portal: f"{int(portal.cxgbit)}\n", _store_cxgbit),
    ],
    drop=_drop_portal,
)
PORTAL_GROUP = group("np", make=make_portal)
