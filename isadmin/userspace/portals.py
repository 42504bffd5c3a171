"""Portals: listening sockets, and LIO's rules about which addresses go together.

Conflicts between our own portals are decided by rule, not by bind(2), so that the answer does not depend on
what listens already. Every refusal is EINVAL, as kernel 6.1 has it.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

from isadmin.userspace.loop import INPUT, EventLoop
from isadmin.userspace.model import Portal

log = logging.getLogger("isadmin.userspace")

IP_FREEBIND = 15
IPV6_FREEBIND = 78
"""Linux's socket options (linux/in.h, linux/in6.h), which the socket module does not name."""
BACKLOG = 4096
"""Connections that wait to be accepted, as many as Linux allows by itself: after a restart all initiators
come at once, and one that is turned away waits for a second or longer."""
PAUSE = 0.2
"""Seconds to wait when there are no descriptors left."""

SocketName: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse(address: str) -> Address:
    """OSError(EINVAL) for anything but a numeric address."""
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        raise OSError(errno.EINVAL, "not an IP address", address) from None


def collide(a: Address, b: Address) -> bool:
    """Whether two different addresses cannot both be listened at on one port: a wildcard takes in all
    addresses of its family, and :: takes in IPv4 as well."""
    if a.is_unspecified and (a.version == 6 or b.version == 4):
        return True
    return b.is_unspecified and (b.version == 6 or a.version == 4)


class Listener:
    """One bound socket and the portals (of any number of targets) that share it."""

    def __init__(self, address: Address, port: int) -> None:
        self.address = address
        self.port = port
        self.portals: dict[str, Portal] = {}
        """By target name: a target has one here."""
        self.listening = False
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        try:
            self.sock = _bound(family, address, port)
        except OSError as error:
            raise OSError(errno.EINVAL, f"cannot bind: {error.strerror}", str(address)) from error

    @property
    def wildcard(self) -> bool:
        return self.address.is_unspecified

    @property
    def bound_port(self) -> int:
        """The port, also where the portal says 0."""
        port: int = self.sock.getsockname()[1]
        return port


def _bound(family: socket.AddressFamily, address: Address, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Every connection inherits it.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host = str(address)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address.is_unspecified else 1)
            if not address.is_unspecified:
                sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
            sock.bind(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4])
        else:
            # An address that is not on this host yet: a cluster's, which comes with fail-over.
            sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
            sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


class Portals:
    """All listeners. `accepted` is called with each new connection's socket, its peer's socket name and its
    listener."""

    def __init__(
        self, accepted: Callable[[socket.socket, SocketName, Listener], None], loop: EventLoop
    ) -> None:
        self._accepted = accepted
        self._loop = loop
        self._listeners: list[Listener] = []
        self.listening = False

    def __iter__(self) -> Iterator[Listener]:
        return iter(self._listeners)

    def open(self, portal: Portal) -> None:
        """Bind, and listen once start() was called. OSError(EINVAL) on a conflict or when bind(2) refuses."""
        address = parse(portal.address)
        shared: Listener | None = None
        for listener in self._listeners:
            if listener.port != portal.port:
                continue
            if listener.address == address:
                if portal.tpg.target.name in listener.portals:
                    raise OSError(errno.EINVAL, "this target has the portal already", portal.dirname)
                shared = listener
            elif portal.port and collide(address, listener.address):
                raise OSError(errno.EINVAL, f"conflicts with the portal {listener.address}", portal.dirname)
        if shared is None:
            shared = Listener(address, portal.port)
            self._listeners.append(shared)
            if self.listening:
                try:
                    self._listen(shared)
                except OSError as error:
                    self._listeners.remove(shared)
                    shared.sock.close()
                    raise OSError(errno.EINVAL, f"cannot listen: {error.strerror}", portal.dirname) from error
        shared.portals[portal.tpg.target.name] = portal

    def close(self, portal: Portal) -> Listener | None:
        """Forget a portal. Its listener, when that was the last one there."""
        for listener in self._listeners:
            if listener.portals.get(portal.tpg.target.name) is portal:
                del listener.portals[portal.tpg.target.name]
                if listener.portals:
                    return None
                self._listeners.remove(listener)
                self._shut(listener)
                return listener
        return None

    def start(self) -> list[tuple[Listener, OSError]]:
        """Listen at every portal; those that could not."""
        self.listening = True
        failed = []
        for listener in self._listeners:
            if not listener.listening:
                try:
                    self._listen(listener)
                except OSError as error:
                    failed.append((listener, error))
        return failed

    def stop(self) -> None:
        """Take no more connections; forget all portals."""
        self.listening = False
        for listener in self._listeners:
            self._shut(listener)
        self._listeners.clear()

    def _listen(self, listener: Listener) -> None:
        listener.sock.listen(BACKLOG)
        listener.listening = True
        self._watch(listener)

    def _watch(self, listener: Listener) -> None:
        if listener.listening:
            self._loop.watch(listener.sock.fileno(), INPUT, partial(self._accept, listener))

    def _shut(self, listener: Listener) -> None:
        if listener.listening:
            listener.listening = False
            self._loop.unwatch(listener.sock.fileno())
        listener.sock.close()

    def _accept(self, listener: Listener) -> bool:
        """Take one connection, which will soon say something; if more wait, the next look at the descriptors
        finds them, along with what those say that were taken before."""
        try:
            sock, name = listener.sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            # No descriptors or no memory: who waits stays in the backlog until there are.
            where = f"{listener.address}:{listener.port}"
            log.warning("cannot take connections at %s: %s", where, error.strerror)
            self._loop.unwatch(listener.sock.fileno())
            self._loop.call_later(PAUSE, self._watch, listener)
            return False
        self._accepted(sock, name, listener)
        return True
