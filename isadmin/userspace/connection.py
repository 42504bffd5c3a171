"""A connection: the thin shell of a socket around iscsi/ and scsi/.

The shape is the one that was measured to be fast. One receive buffer serves all connections; every wake-up
of a connection receives once, handles every complete PDU in place, and sends all answers with one system
call. READ and WRITE that need no special care (see LunPath.plain) are carried out right in
`Connection._consume`, without an object, a slice or a task for each; everything else goes to
fullfeature.py. What would block goes to a thread pool. While a send is blocked nothing more is read from
that connection, so a client that never reads its answers costs a bounded amount of memory.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from isadmin.userspace import limits
from isadmin.userspace.iscsi.codes import Opcode
from isadmin.userspace.iscsi.digest import crc32c
from isadmin.userspace.iscsi.errors import IscsiError, ProtocolError
from isadmin.userspace.iscsi.login import LoginMachine
from isadmin.userspace.iscsi.pdu import COMMAND, DATA_IN, SCSI_RESPONSE, LoginRequest, decode, frame, padding
from isadmin.userspace.sessions import ActiveSession, count

if TYPE_CHECKING:
    from isadmin.userspace.fullfeature import FullFeature
    from isadmin.userspace.portals import Listener
    from isadmin.userspace.scsi.nexus import LunPath
    from isadmin.userspace.server import Server

log = logging.getLogger("isadmin.userspace")

_READ_FLAGS = frozenset((0xC0, 0xC1))
"""F and R, task attribute untagged or simple."""
_WRITE_FLAGS = frozenset((0xA0, 0xA1))
_GOOD_DATA_IN = 0x25810000
"""Data-In, F and S bits, status GOOD."""
_GOOD_RESPONSE = 0x21800000
_NO_TAG = 0xFFFFFFFF


class Connection:
    """One TCP connection of an initiator."""

    __slots__ = (
        "_arena",
        "_blocked",
        "_closing",
        "_data_digest",
        "_direct",
        "_direct_done",
        "_header_digest",
        "_held",
        "_max_recv",
        "_out",
        "_out_bytes",
        "_reading",
        "_stalled_ticks",
        "active",
        "cid",
        "closed",
        "full",
        "heard",
        "listener",
        "local_host",
        "login_ticks",
        "machine",
        "peer",
        "peer_host",
        "reading",
        "rx_octets",
        "server",
        "sock",
        "stat_sn",
        "tx_octets",
    )

    def __init__(self, server: Server, sock: socket.socket, listener: Listener) -> None:
        self.server = server
        self.sock = sock
        self.listener = listener
        self.peer_host, peer_port = _host(sock.getpeername()), sock.getpeername()[1]
        self.peer = _joined(self.peer_host, peer_port)
        self.local_host = _host(sock.getsockname())
        self.machine: LoginMachine | None = LoginMachine(server.host.authority(self))
        self.active: ActiveSession | None = None
        self.full: FullFeature | None = None
        self.cid = 0
        self.stat_sn = 0
        self.closed = False
        self.heard = True
        self.login_ticks = limits.LOGIN_TICKS
        self.rx_octets = 0
        self.tx_octets = 0
        self.reading = 0
        """Bytes that commands in the thread pool are reading for this connection."""
        self._held = b""
        self._direct: memoryview | None = None
        self._direct_done: Callable[[], None] | None = None
        self._out: list[bytes | bytearray | memoryview] = []
        self._out_bytes = 0
        self._blocked = False
        self._arena: memoryview | None = None
        self._closing = False
        self._reading = False
        self._max_recv = 8192
        self._header_digest = False
        self._data_digest = False
        self._stalled_ticks = 0

    def start(self) -> None:
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read_on()

    def _read_on(self) -> None:
        if not self._reading and not self.closed:
            self._reading = True
            self.server.loop.add_reader(self.sock.fileno(), self._on_readable)

    def _read_off(self) -> None:
        if self._reading:
            self._reading = False
            self.server.loop.remove_reader(self.sock.fileno())

    # Receiving

    def _on_readable(self) -> None:
        self.heard = True
        view = self.server.view
        try:
            direct = self._direct
            if direct is None:
                start = len(self._held)
                received = self.sock.recv_into(view[start : start + limits.RECEIVE])
                if start:
                    view[:start] = self._held
                end = start + received
            else:
                received = self.sock.recvmsg_into([direct, view[: limits.RECEIVE]])[0]
                end = received - len(direct)
        except BlockingIOError:
            return
        except OSError as error:
            self.close(f"{error.strerror}")
            return
        if not received:
            self.close("the initiator closed it", quiet=self.full is None or self.full.idle)
            return
        self.rx_octets += received
        if direct is not None:
            if end < 0:
                self._direct = direct[received:]
                return
            done = self._direct_done
            self._direct = self._direct_done = None
            assert done is not None
            if not self._guard(done) or self._closing:
                return
            if self._held:
                # It waits for its turn, and what came behind it waits as well.
                self._held += bytes(view[:end])
                self._read_off()
                end = 0
        if end:
            self._process(end)
        elif self._out:
            self.flush()

    def _process(self, end: int) -> None:
        """Handle what the receive buffer holds up to `end`, answer, and keep what is not a whole PDU yet."""
        server = self.server
        position = self._handled(server.buffer, server.view, end)
        if position < 0:
            return
        left = end - position
        if left and not (left >= 48 and not self._blocked and self._set_apart(position, end)):
            self._held = bytes(server.view[position:end])
        else:
            self._held = b""
        if self._out:
            self.flush()
        if self.reading >= limits.READ_AHEAD:
            self._read_off()

    def _handled(self, buffer: bytearray, view: memoryview, end: int) -> int:
        """Handle the whole PDUs in a buffer; the position after them, or -1 when the connection is over."""
        position = 0
        try:
            position = self._consume(buffer, view, end)
        except ProtocolError as error:
            self.reject(error, b"")
            return -1
        except IscsiError as error:
            self.close(str(error))
            return -1
        except Exception:
            log.exception("connection from %s: an error of our own; it is closed", self.peer)
            self.close("internal error", quiet=True)
            return -1
        return -1 if self.closed else position

    def _set_apart(self, position: int, end: int) -> bool:
        """Give a large PDU whose end is not there yet a buffer of its own, to be received into."""
        server = self.server
        view = server.view
        length = int.from_bytes(view[position + 5 : position + 8], "big")
        if self._direct is not None or length > self._max_recv:
            return False
        total = 48 + 4 * view[position + 4] + (length + 3 & ~3)
        total += 4 * self._header_digest + 4 * (self._data_digest and length > 0)
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
        position = self._handled(whole, place, len(whole))
        if position == 0 and not self._closing:
            # Its turn has not come: the way out is blocked, or the pool has enough to read.
            self._held = bytes(whole)
        place.release()
        self.server.return_buffer(whole)

    def _guard(self, step: Callable[[], None]) -> bool:
        """Carry out one step of protocol; what is wrong ends this connection only."""
        try:
            step()
        except ProtocolError as error:
            self.reject(error, b"")
        except IscsiError as error:
            self.close(str(error))
        except Exception:
            log.exception("connection from %s: an error of our own; it is closed", self.peer)
            self.close("internal error", quiet=True)
        return not self.closed

    def _consume(self, buffer: bytearray, view: memoryview, end: int) -> int:
        """Handle all whole PDUs of a buffer; the position of the first that is not whole."""
        full = self.full
        if full is None:
            position = self._login(view, end)
            full = self.full
            if full is None:
                return position
        else:
            position = 0
        unpack, pack_data_in, pack_response = COMMAND.unpack_from, DATA_IN.pack, SCSI_RESPONSE.pack
        server, session, out = self.server, full.session, self._out
        paths, arena_size, flush_at = full.paths, limits.ARENA, limits.FLUSH_AT
        read_ahead = limits.READ_AHEAD
        fast = not (self._header_digest or self._data_digest)
        max_segment = full.max_xmit
        exp_cmd_sn = session.exp_cmd_sn
        ahead = session.window - 1 - session.outstanding
        commands = read_bytes = write_bytes = 0
        counted: LunPath | None = None
        data: bytes | bytearray | memoryview | None
        while end - position >= 48 and not self._blocked and self.reading < read_ahead:
            (
                opcode, flags, _, lengths, lun, itt, expected, cmd_sn, _, cdb0, cdb1, middle, tail, last,
            ) = unpack(buffer, position)  # fmt: skip
            if opcode == 0x01 and cmd_sn == exp_cmd_sn and fast and ahead >= 0:
                if cdb0 == 0x28 or cdb0 == 0x2A:
                    lba, blocks = middle >> 32, middle >> 8 & 0xFFFF
                    odd = cdb1 or middle & 0xFF0000FF
                elif cdb0 == 0x88 or cdb0 == 0x8A:
                    lba, blocks, odd = middle, tail, cdb1 or last
                else:
                    odd = 1
                path = None if odd else paths.get(lun)
                if path is not None and path.plain:
                    unit = path.unit
                    length = blocks << unit.block_shift
                    if expected == length and length and lba + blocks <= unit.blocks:
                        storage = unit.storage
                        if cdb0 == 0x28 or cdb0 == 0x88:
                            if flags in _READ_FLAGS and not lengths and length <= arena_size:
                                if storage.blocking:
                                    used = server.arena_used
                                    if used + length > arena_size:
                                        self.flush()
                                        if self._blocked:
                                            continue
                                        used = server.arena_used
                                    data = place = server.arena[used : used + length]
                                    if storage.read_into_now(lba << unit.block_shift, place) == length:
                                        server.arena_used = used + length
                                    else:
                                        data = None
                                else:
                                    data = storage.read_now(lba << unit.block_shift, length)
                                if data is not None:
                                    exp_cmd_sn = exp_cmd_sn + 1 & 0xFFFFFFFF
                                    position += 48
                                    if length <= max_segment:
                                        header = pack_data_in(
                                            _GOOD_DATA_IN, length, 0, itt, _NO_TAG, self.stat_sn,
                                            exp_cmd_sn, exp_cmd_sn + ahead & 0xFFFFFFFF, 0, 0, 0,
                                        )  # fmt: skip
                                        out.append(header)
                                        out.append(data)
                                        self.stat_sn = self.stat_sn + 1 & 0xFFFFFFFF
                                        self._out_bytes += length
                                    else:
                                        session.exp_cmd_sn = exp_cmd_sn
                                        full.send_data_in(itt, data, length, 0)
                                    if path is not counted:
                                        if counted is not None:
                                            count(counted, commands, read_bytes, write_bytes)
                                        counted, commands, read_bytes, write_bytes = path, 0, 0, 0
                                    commands += 1
                                    read_bytes += length
                                    if self._out_bytes >= flush_at:
                                        self.flush()
                                    continue
                        elif (
                            flags in _WRITE_FLAGS
                            and lengths == length
                            and not path.read_only
                            and position + 48 + length <= end
                            and storage.write_now(
                                lba << unit.block_shift, view[position + 48 : position + 48 + length]
                            )
                        ):
                            exp_cmd_sn = exp_cmd_sn + 1 & 0xFFFFFFFF
                            header = pack_response(
                                _GOOD_RESPONSE, 0, 0, itt, 0, self.stat_sn,
                                exp_cmd_sn, exp_cmd_sn + ahead & 0xFFFFFFFF, 0, 0, 0,
                            )  # fmt: skip
                            out.append(header)
                            self.stat_sn = self.stat_sn + 1 & 0xFFFFFFFF
                            position += 48 + length
                            if path is not counted:
                                if counted is not None:
                                    count(counted, commands, read_bytes, write_bytes)
                                counted, commands, read_bytes, write_bytes = path, 0, 0, 0
                            commands += 1
                            write_bytes += length
                            continue
            session.exp_cmd_sn = exp_cmd_sn
            if opcode == Opcode.DATA_OUT and fast:
                following = full.data_out(view, position, end)
            else:
                following = self._one(full, view, position, end)
            if following < 0:
                break
            position = following
            if self.closed or self._closing:
                return end
            exp_cmd_sn = session.exp_cmd_sn
            ahead = session.window - 1 - session.outstanding
            if self._direct is not None:
                break
        session.exp_cmd_sn = exp_cmd_sn
        session.advance_window()
        if counted is not None:
            count(counted, commands, read_bytes, write_bytes)
        return position

    def _one(self, full: FullFeature, view: memoryview, position: int, end: int) -> int:
        """Hand one PDU of any kind on; the position after it, or -1 while it is not whole."""
        header = bytes(view[position : position + 48])
        try:
            found = frame(
                view,
                position,
                end,
                max_data=self._max_recv,
                header_digest=self._header_digest,
                data_digest=self._data_digest,
            )
            if found is None:
                return -1
            ahs = bytes(view[position + 48 : position + 48 + found.ahs]) if found.ahs else b""
            full.handle(header, view[found.data : found.data_end], ahs)
        except ProtocolError as error:
            self.reject(error, header)
            return end
        return found.end

    def receive_into(self, destination: memoryview, done: Callable[[], None]) -> None:
        """The next bytes of the stream go to `destination`; `done` is called once it is full."""
        self._direct = destination
        self._direct_done = done

    def _login(self, view: memoryview, end: int) -> int:
        server = self.server
        position = 0
        while self.full is None and not self._closing:
            found = frame(view, position, end, max_data=self._max_recv)
            if found is None:
                return position
            pdu = decode(bytes(view[position : position + 48]), bytes(view[found.data : found.data_end]))
            if not isinstance(pdu, LoginRequest):
                raise IscsiError("something else than a login request before the login")
            machine = self.machine
            assert machine is not None
            response = machine.receive(pdu)
            if machine.done:
                assert machine.parameters is not None
                self.stat_sn = machine.stat_sn
                self.cid = machine.cid
                self.full = server.host.attach(self, machine)
                self.machine = None
                response.max_cmd_sn = self.full.session.max_cmd_sn
            self.send(response.encode())
            if machine.failed is not None:
                server.host.login_failed(self, machine, machine.failed)
                log.info("login of %a from %s refused: %s", machine.initiator, self.peer, machine.reason)
                self.close_after_flush()
            if machine.done:
                parameters = machine.parameters
                assert parameters is not None
                self._header_digest = parameters.header_digest
                self._data_digest = parameters.data_digest
                self._max_recv = parameters.max_recv_data_segment_length
            position = found.end
        return position

    # Sending

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Queue bytes; they go with the next flush."""
        self._out.append(data)
        self._out_bytes += len(data)

    def send_pdu(self, header: bytes, data: bytes | bytearray | memoryview = b"") -> None:
        """Queue a PDU whose header has its lengths, with padding and digests as negotiated."""
        out = self._out
        out.append(header)
        if self._header_digest:
            out.append(crc32c(header))
        length = len(data)
        self._out_bytes += 48 + length
        if length:
            out.append(data)
            pad = padding(length)
            if pad:
                out.append(pad)
            if self._data_digest:
                out.append(crc32c(bytes(data) + pad))

    def flush(self) -> None:
        """Send all that is queued, or as much as the socket takes."""
        out = self._out
        if self.closed or self._blocked:
            return
        sock = self.sock
        try:
            while out:
                batch = out if len(out) <= limits.MAX_IOV else out[: limits.MAX_IOV]
                total = sum(map(len, batch))
                sent = sock.sendmsg(batch)
                self.tx_octets += sent
                if sent == total:
                    del out[: len(batch)]
                    continue
                index = 0
                while sent >= len(out[index]):
                    sent -= len(out[index])
                    index += 1
                del out[:index]
                out[0] = memoryview(out[0])[sent:]
        except BlockingIOError:
            self._block()
            return
        except OSError as error:
            self.close(f"{error.strerror}")
            return
        self._out_bytes = 0
        if self._arena is None:
            self.server.arena_used = 0
        if self._closing:
            self.close("", quiet=True)

    def _block(self) -> None:
        """The socket takes no more: wait until it does, and read nothing meanwhile."""
        self._blocked = True
        if self.server.arena_used and self._arena is None:
            self._arena = self.server.take_arena()
        self._read_off()
        self.server.loop.add_writer(self.sock.fileno(), self._on_writable)

    def _on_writable(self) -> None:
        self.heard = True
        self._blocked = False
        self.server.loop.remove_writer(self.sock.fileno())
        self.flush()
        if self._blocked or self.closed:
            return
        if self._arena is not None:
            self.server.return_arena(self._arena)
            self._arena = None
        self.go_on()

    def limit_login(self, seconds: int) -> None:
        """The TPG's login_timeout, in place of limits.LOGIN_TICKS."""
        self.login_ticks += seconds - limits.LOGIN_TICKS

    @property
    def paused(self) -> bool:
        """Nothing is read although nothing blocks the way out: reads in the pool had to come first."""
        return not (self._reading or self._blocked or self._closing or self.closed)

    def go_on(self) -> None:
        """Read again, with what was received and not handled first, unless something stands in the way."""
        if self._blocked or self._closing or self.closed or self.reading >= limits.READ_AHEAD:
            return
        self._read_on()
        held = self._held
        if held and self._direct is None:
            self.server.view[: len(held)] = held
            self._process(len(held))

    # Ending

    def reject(self, error: ProtocolError, header: bytes | bytearray) -> None:
        """Answer with a Reject PDU and close: what was wrong cannot be put right at ErrorRecoveryLevel 0."""
        if self.full is not None:
            self.full.send_reject(error.reason, bytes(header))
        log.warning("connection from %s broke the protocol: %s", self.peer, error)
        self.close_after_flush()

    def close_after_flush(self) -> None:
        """Send what is queued, then close; nothing more is read."""
        self._closing = True
        self._read_off()
        if not self._blocked:
            self.flush()

    def close(self, reason: str, *, quiet: bool = False) -> None:
        """End the connection now. One log line unless quiet."""
        if self.closed:
            return
        self.closed = True
        if not quiet:
            log.info("connection from %s ended: %s", self.peer, reason)
        self._read_off()
        if self._blocked:
            self.server.loop.remove_writer(self.sock.fileno())
        self.sock.close()
        self._out.clear()
        self._held = b""
        self._direct = self._direct_done = None
        if self._arena is not None:
            self.server.return_arena(self._arena)
            self._arena = None
        self.server.connections.discard(self)
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
        if address == "0.0.0.0":  # noqa: S104
            return _joined(self.local_host, port) if ":" not in self.local_host else None
        if address == "::":
            return _joined(self.local_host, port)
        return _joined(address, port)

    def tick(self) -> None:
        """One limits.TICK has passed."""
        if self.full is None:
            self.login_ticks -= 1
            if self.login_ticks <= 0:
                self.close("no login in time")
            return
        self.full.look_for_stalls()
        if self.closed:
            return
        if self.heard:
            self.heard = False
            self._stalled_ticks = 0
            self.full.heard()
            return
        if self._blocked or self._closing or self.reading >= limits.READ_AHEAD:
            self._stalled_ticks += 1
            if self._stalled_ticks > self.full.stall_limit:
                self.close("the initiator reads nothing")
            return
        self.full.tick()


def _host(name: tuple[str, int] | tuple[str, int, int, int]) -> str:
    """A socket name's address; an IPv4 one also where an IPv6 socket met it."""
    host = name[0]
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def _joined(host: str, port: int) -> str:
    """192.0.2.1:3260, [2001:db8::1]:3260."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
