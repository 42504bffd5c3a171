"""A connection: the thin shell of a socket around iscsi/ and scsi/.

The shape is the one that was measured to be fast. One receive buffer serves all connections; every wake-up
of a connection receives once, handles every complete PDU in place (fastpath.py), and sends all answers with
one system call. What would block goes to a thread pool. While a send is blocked nothing more is read from
that connection, so a client that never reads its answers costs a bounded amount of memory; and after
limits.TURN bytes of answers, fewer while there are any, the other connections have their turn.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

from isadmin.userspace import limits
from isadmin.userspace.fastpath import Receiver, receiver
from isadmin.userspace.iscsi.codes import IMMEDIATE, Opcode
from isadmin.userspace.iscsi.errors import IscsiError, ProtocolError
from isadmin.userspace.iscsi.login import LoginMachine
from isadmin.userspace.iscsi.pdu import decode, frame
from isadmin.userspace.iscsi.states import AFTER, OPEN, Event, State
from isadmin.userspace.loop import HANGUP, INPUT, Handler
from isadmin.userspace.sending import Sender
from isadmin.userspace.sessions import NOPIN_RESPONSE_TIMEOUT, NOPIN_TIMEOUT, ActiveSession

if TYPE_CHECKING:
    from isadmin.userspace.fullfeature import FullFeature
    from isadmin.userspace.portals import Listener, SocketName
    from isadmin.userspace.server import Server

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

log = logging.getLogger("isadmin.userspace")


_ENTERED = {step: (state, state not in OPEN, state is State.FREE) for step, state in AFTER.items()}
"""The state that a step leads to; whether nothing more is received in it; whether the connection is over."""


class Connection(Sender):
    """One TCP connection of an initiator."""

    __slots__ = (
        "_direct",
        "_direct_done",
        "_heard_octets",
        "_receiver",
        "_stalled_ticks",
        "_watched",
        "active",
        "cid",
        "full",
        "halted",
        "heard",
        "held",
        "listener",
        "login_ticks",
        "machine",
        "max_recv",
        "more",
        "peer_host",
        "peer_port",
        "reading",
        "rx_octets",
        "stat_sn",
        "state",
    )

    def __init__(self, server: Server, sock: socket.socket, name: SocketName, listener: Listener) -> None:
        super().__init__(server, sock)
        self.listener = listener
        self.peer_host, self.peer_port = _host(name), name[1]
        self.machine: LoginMachine | None = LoginMachine(server.host.authority(self))
        self.active: ActiveSession | None = None
        self.full: FullFeature | None = None
        self.cid = 0
        self.stat_sn = 0
        self.state = State.XPT_UP
        self.heard = True
        self.login_ticks = limits.LOGIN_TICKS
        self.rx_octets = 0
        self._heard_octets = 0
        """Of them, those that the last tick knew of."""
        self.reading = 0
        """Bytes that commands which run or wait for their unit are to read for this connection."""
        self.more = False
        """Whole PDUs are held back for this connection's next turn."""
        self.halted = False
        """Not read from: there is no room for the data that comes next."""
        self.max_recv = 8192
        """The longest data segment we have declared to take."""
        self.held = b""
        """What was received and waits."""
        self._receiver: Receiver | None = None
        """From the full-feature phase on."""
        self._direct: memoryview | None = None
        self._direct_done: Callable[[], None] | None = None
        self._watched = 0
        self._stalled_ticks = 0

    @property
    def peer(self) -> str:
        """The initiator's end, for the log."""
        return _joined(self.peer_host, self.peer_port)

    def start(self) -> None:
        self.sock.setblocking(False)
        self.watch(INPUT)
        # Most often the first request has come by now.
        self._readable()

    def watch(self, events: int) -> None:
        """Be woken up by INPUT, by OUTPUT, by HANGUP, or by nothing (0)."""
        if events == self._watched or self.closed:
            return
        self._watched = events
        loop = self.server.loop
        if events == HANGUP:
            loop.watch(self.sock.fileno(), events, self.ended)
        elif events:
            loop.watch(self.sock.fileno(), events, self._input_handler if events == INPUT else self._writable)
        else:
            loop.unwatch(self.sock.fileno())

    # Receiving

    @property
    def _input_handler(self) -> Handler:
        """What INPUT is for, as things are."""
        if self._direct is not None:
            return self._receive_directly
        return self._readable if self._receiver is None else self._receiver.__next__

    def _turn_input(self) -> None:
        """INPUT is for something else from now on."""
        if self._watched == INPUT:
            self.server.loop.watch(self.sock.fileno(), INPUT, self._input_handler)

    @property
    def receiving(self) -> bool:
        """The next bytes of the stream have their place already (receive_into)."""
        return self._direct is not None

    def _readable(self) -> bool:
        """Before the full-feature phase; then it is fastpath.receiver that receives. Who has begun to log in
        goes on at once."""
        view = self.server.view
        try:
            if self.held:
                end = self.receive_behind()
            else:
                end = self.sock.recv_into(view, limits.RECEIVE)
                self.rx_octets += end
        except BlockingIOError:
            return True
        except OSError as error:
            self.close(f"{error.strerror}")
            return False
        if end:
            self._log_in(view, end)
        else:
            self.ended()
        return not self.closing

    def receive_behind(self) -> int:
        """Receive into the server's buffer, behind what was held back, which goes there as well. How much is
        there then; 0 when nothing more comes."""
        if self.more:
            # What is held comes first; its turn has been called already.
            raise BlockingIOError
        view, held = self.server.view, self.held
        start = len(held)
        received = self.sock.recv_into(view[start : start + self.server.budget.appetite])
        if not received:
            return 0
        self.rx_octets += received
        view[:start] = held
        self.held = b""
        return start + received

    def ended(self) -> None:
        """The initiator sends nothing more."""
        self.close("the initiator closed it", quiet=self.full is None or self.full.idle)

    def _handle(self, view: memoryview, end: int) -> None:
        """Handle view[:end], which was received."""
        if self._receiver is None:
            self._log_in(view, end)
        else:
            self._receiver.send((view[:end], end))

    def _log_in(self, view: memoryview, end: int) -> None:
        """The same before the full-feature phase."""
        try:
            position = self._login(view, end)
        except Exception as error:  # noqa: BLE001
            self.fail(error)
            return
        if self.closing or position == end:
            return
        if self._receiver is None:
            self.held = bytes(view[position:end])
        else:
            self._receiver.send((view[position:end], end - position))

    def _receive_directly(self) -> None:
        view, direct, done = self.server.view, self._direct, self._direct_done
        assert direct is not None
        assert done is not None
        try:
            received = self.sock.recvmsg_into([direct, view[: limits.RECEIVE_AHEAD]])[0]
        except BlockingIOError:
            return
        except OSError as error:
            self.close(f"{error.strerror}")
            return
        if not received:
            self.ended()
            return
        self.rx_octets += received
        end = received - len(direct)
        if end < 0:
            self._direct = direct[received:]
            return
        self._direct = self._direct_done = None
        try:
            done()
        except Exception as error:  # noqa: BLE001
            self.fail(error)
        if self.closing:
            return
        self._turn_input()
        if self.held or self.blocked:
            # What came behind it waits as well.
            self.held += bytes(view[:end])
        else:
            self._handle(view, end)

    def waits_for_turn(self) -> bool:
        """Whether anybody else wants to be served: then the PDUs that are left wait for the next turn."""
        loop = self.server.loop
        self.more = loop.others_wait(self.sock.fileno())
        if self.more:
            loop.after_others(self._take_turn)
        return self.more

    def _take_turn(self) -> None:
        self.more = False
        self.go_on()

    def fail(self, error: Exception, header: bytes = b"") -> None:
        """An exception in one step of protocol is the end of this connection only. header: of the PDU that
        was handled."""
        if isinstance(error, ProtocolError):
            self.reject(error, header)
        elif isinstance(error, IscsiError):
            self.close(str(error))
        else:
            log.error("connection from %s: an error of our own; it is closed", self.peer, exc_info=error)
            self.close("internal error", quiet=True)

    def keep(self, view: memoryview, position: int, end: int) -> None:
        """view[position:end] is not handled yet: it waits for its turn, or for the end of a PDU."""
        waits = end - position < 48 or self.blocked or self.more or self.halted
        if waits or not self._set_apart(view, position, end):
            self.held = bytes(view[position:end])

    def _set_apart(self, view: memoryview, position: int, end: int) -> bool:
        """Give a large PDU whose end is not there yet a buffer of its own, to be received into."""
        server = self.server
        length = int.from_bytes(view[position + 5 : position + 8], "big")
        if self._direct is not None or length > self.max_recv:
            return False
        total = 48 + 4 * view[position + 4] + (length + 3 & ~3)
        total += 4 * self.header_digest + 4 * (self.data_digest and length > 0)
        here = end - position
        if total - here < limits.DIRECT:
            return False
        whole = server.take_buffer(total)
        place = memoryview(whole)
        place[:here] = view[position:end]
        self.receive_into(place[here:], lambda: self._apart(whole, place))
        return True

    def _apart(self, whole: bytearray, place: memoryview) -> None:
        """A PDU with a buffer of its own is complete."""
        self._handle(place, len(whole))
        self.server.return_buffer(whole)

    def one(self, full: FullFeature, view: memoryview, position: int, end: int) -> int:
        """Hand one PDU of any kind on; the position after it, or -1 while it is not whole, or there is no
        room for what it brings."""
        header = bytes(view[position : position + 48])
        try:
            if not full.has_room(header):
                return -1
            found = frame(
                view,
                position,
                end,
                max_data=self.max_recv,
                header_digest=self.header_digest,
                data_digest=self.data_digest,
            )
            if found is None:
                return -1
            ahs = bytes(view[position + 48 : position + 48 + found.ahs]) if found.ahs else b""
            full.handle(header, view[found.data : found.data_end], ahs)
        except ProtocolError as error:
            self.reject(error, header)
            return end
        full.give_back()
        return found.end

    def halt(self) -> None:
        """Nothing is read until there is room for the data of the next PDU."""
        self.halted = True
        if not self.blocked:
            self.watch(HANGUP)

    def resume(self) -> None:
        """There is room now."""
        self.halted = False
        if not self.closed:
            self.server.loop.call_soon(self.go_on)

    def receive_into(self, destination: memoryview, done: Callable[[], None]) -> None:
        """The next bytes of the stream go to `destination`; `done` is called once it is full."""
        self._direct = destination
        self._direct_done = done
        self._turn_input()

    def _login(self, view: memoryview, end: int) -> int:
        position = 0
        machine = self.machine
        while position < end and machine is not None and not self.closing:
            found = frame(view, position, end, max_data=self.max_recv)
            if found is None:
                return position
            header = bytes(view[position : position + 48])
            if header[0] & ~IMMEDIATE != Opcode.LOGIN_REQUEST:
                # Of all requests, the states before the login take this one.
                raise IscsiError(f"a {type(decode(header)).__name__} before the login")
            if self.state is not State.IN_LOGIN:
                self.enter(Event.LOGIN_REQUEST)
            response = machine.receive(header, bytes(view[found.data : found.data_end]))
            if machine.done:
                self._logged_in(machine)
            self.answer(response)
            if machine.failed is not None:
                self.server.host.login_failed(self, machine, machine.failed)
                log.info("login of %a from %s refused: %s", machine.initiator, self.peer, machine.reason)
                self.close_after_flush()
            position = found.end
            machine = self.machine
        return position

    def _logged_in(self, machine: LoginMachine) -> None:
        parameters = machine.parameters
        assert parameters is not None
        self.header_digest = parameters.header_digest
        self.data_digest = parameters.data_digest
        self.max_recv = parameters.max_recv_data_segment_length
        self.stat_sn = machine.stat_sn
        self.cid = machine.cid
        self.machine = None
        self.full = full = self.server.host.attach(self, machine)
        if full.session.discovery:
            _keep_alive(self.sock)
        self._receiver = receiver(self, full)
        next(self._receiver)
        self._turn_input()
        self.enter(Event.LOGIN_COMPLETE)

    # Going on

    def _writable(self) -> None:
        self.heard = True
        self.blocked = False
        self.flush()
        if self.blocked or self.closed:
            return
        if self._arena is not None:
            self.server.return_arena(self._arena)
            self._arena = None
        if self.closing:
            self.watch(0)
        else:
            self.watch(HANGUP if self.halted else INPUT)
        if self.full is not None and not self.closing:
            self.full.go_on()
        self.go_on()

    def limit_login(self, seconds: int) -> None:
        """The TPG's login_timeout, in place of limits.LOGIN_TICKS."""
        self.login_ticks += seconds - limits.LOGIN_TICKS

    def go_on(self) -> None:
        """Read again, with what was received and not handled first, unless something stands in the way."""
        if self.blocked or self.more or self.halted or self.closing or self.closed:
            return
        self.watch(INPUT)
        held = self.held
        if held and self._direct is None:
            self.held = b""
            view = self.server.view
            view[: len(held)] = held
            self._handle(view, len(held))

    # Ending

    def reject(self, error: ProtocolError, header: bytes | bytearray) -> None:
        """Answer with a Reject PDU and close: what was wrong cannot be put right at ErrorRecoveryLevel 0."""
        if self.full is not None:
            self.full.active.broken(error)
            self.full.send_reject(error.reason, bytes(header))
        log.warning("connection from %s broke the protocol: %s", self.peer, error)
        self.close_after_flush()

    def enter(self, event: Event) -> None:
        """The state that an event leads to."""
        self.state, self.closing, self.closed = _ENTERED[self.state, event]

    def close_after_flush(self, event: Event = Event.BROKEN) -> None:
        """Send what is queued, then close; nothing more is read."""
        if self.closed:
            return
        self.enter(event)
        if not self._out:
            self.close("", quiet=True)
        elif not self.blocked:
            self.flush()

    def close(self, reason: str, *, quiet: bool = False) -> None:
        """End the connection now. One log line unless quiet."""
        if self.closed:
            return
        self.server.loop.forget(self.sock.fileno())
        self.enter(Event.CLOSED)
        if not quiet:
            log.info("connection from %s ended: %s", self.peer, reason)
        self.sock.close()
        self._out.clear()
        self.out_bytes = 0
        self.held = b""
        self._receiver = self._direct = self._direct_done = None
        if self._arena is not None:
            self.server.return_arena(self._arena)
            self._arena = None
        else:
            self.server.arena_used = 0
        self.server.connections.discard(self)
        if self.server.served is self:
            self.server.served = None
        if self.machine is not None:
            self.machine.close()
        full = self.full
        if full is not None:
            self.full = None
            full.connection_closed()
            self.server.host.detached(self, full)

    def reachable(self, address: str, port: int) -> str | None:
        """address:port of a portal as this initiator can reach it: a wildcard stands for the address at which
        it found us. None where a wildcard of the other family says nothing to it."""
        if address not in ("0.0.0.0", "::"):  # noqa: S104
            return _joined(address, port)
        here = _host(self.sock.getsockname())
        return None if ":" in here and address != "::" else _joined(here, port)

    def tick(self) -> None:
        """One limits.TICK has passed."""
        if self.full is None:
            self.login_ticks -= 1
            if self.login_ticks <= 0:
                self.close("no login in time")
            return
        self.full.look_for_stalls()
        if self.full is not None:
            self.full.look_for_gap()
        if self.closed:
            return
        if self.heard or self.rx_octets != self._heard_octets:
            self.heard = False
            self._heard_octets = self.rx_octets
            self._stalled_ticks = 0
            self.full.heard()
            return
        if self.blocked or self.closing:
            self._stalled_ticks += 1
            if self._stalled_ticks > self.full.stall_limit:
                self.close("the initiator reads nothing")
            return
        if self.halted:
            # It may have said all it had to say, behind what we do not read.
            return
        self.full.tick()


def _keep_alive(sock: socket.socket) -> None:
    """Let the kernel find out whether a peer is there that we must not ask ourselves."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, NOPIN_TIMEOUT),
        (socket.TCP_KEEPINTVL, NOPIN_RESPONSE_TIMEOUT // 3),
        (socket.TCP_KEEPCNT, 3),
    ):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _host(name: SocketName) -> str:
    """A socket name's address; an IPv4 one also where an IPv6 socket met it."""
    host = name[0]
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def _joined(host: str, port: int) -> str:
    """192.0.2.1:3260, [2001:db8::1]:3260."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
