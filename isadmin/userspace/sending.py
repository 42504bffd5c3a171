"""The sending half of a connection: what is queued, its turns among others, a socket that takes no more."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from isadmin.userspace import limits
from isadmin.userspace.iscsi.digest import crc32c
from isadmin.userspace.iscsi.pdu import padding
from isadmin.userspace.loop import OUTPUT
from isadmin.userspace.storage.base import Storage

if TYPE_CHECKING:
    from isadmin.userspace.server import Server


class Sender:
    """A socket's way out. The answers of a wake-up go with one system call; while a send is blocked they wait
    in the arena they were made in, which the connection keeps until it has drained."""

    __slots__ = (
        "_arena",
        "_out",
        "_short_turns",
        "blocked",
        "closed",
        "closing",
        "data_digest",
        "header_digest",
        "out_bytes",
        "server",
        "sock",
        "tx_octets",
    )

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self.server = server
        self.sock = sock
        self.closed = False
        """The connection's state is FREE."""
        self.closing = False
        """Nothing more is received: what is queued goes out, then the connection ends."""
        self.blocked = False
        """The socket takes no more, or has taken its turn's share: what is queued goes first."""
        self.header_digest = False
        self.data_digest = False
        self.tx_octets = 0
        self.out_bytes = 0
        """Bytes queued."""
        self._out: list[bytes | bytearray | memoryview] = []
        self._arena: memoryview | None = None
        self._short_turns = 0
        """So many turns are to be short, because others are waiting."""

    def close(self, reason: str, *, quiet: bool = False) -> None:
        raise NotImplementedError

    def watch(self, events: int) -> None:
        """Be woken up by INPUT, by OUTPUT, or by nothing (0)."""
        raise NotImplementedError

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Queue bytes; they go with the next flush."""
        self._out.append(data)
        self.out_bytes += len(data)

    def answer(self, data: bytes) -> None:
        """Send a few bytes at once, unless others go first."""
        if self._out or self.blocked:
            self.send(data)
            return
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.close(f"{error.strerror}")
            return
        self.tx_octets += sent
        if sent < len(data):
            self.block(data[sent:])

    def send_pdu(self, header: bytes, data: bytes | bytearray | memoryview = b"") -> None:
        """Queue a PDU whose header has its lengths, with padding and digests as negotiated."""
        self.send(header)
        if self.header_digest:
            self.send(crc32c(header))
        length = len(data)
        if length:
            self.send(data)
            pad = padding(length)
            if pad:
                self.send(pad)
            if self.data_digest:
                self.send(crc32c(bytes(data) + pad if pad else data))

    def send_stored(self, storage: Storage, offset: int, length: int) -> None:
        """Send what is queued, then bytes that a storage has at hand: from there as far as the socket takes
        them at once; the rest is queued in the arena, which must have room for all of them."""
        room = self._room() - self.out_bytes
        gone = 0
        if room > 0 and not self.blocked and self._send_first():
            try:
                gone = storage.send_now(self.sock, offset, min(length, room))
            except OSError as error:
                self.close(f"{error.strerror}")
        if self.closed:
            return
        self.tx_octets += gone
        server = self.server
        if gone == length:
            if self._arena is None:
                server.arena_used = 0
            return
        used = server.arena_used
        rest = server.arena[used : used + length - gone]
        try:
            storage.read_into(offset + gone, rest)
        except OSError as error:
            # The header, with its status, is on its way. The initiator asks again, and then hears of it.
            self.close(f"what it reads was at hand, and is not any more: {error.strerror}")
            return
        self.send(rest)
        server.arena_used = used + len(rest)
        if not self.blocked:
            self.block()

    def _send_first(self) -> bool:
        """Whether all that is queued is gone, as the beginning of what comes next."""
        out = self._out
        try:
            self._sent(self.sock.sendmsg(out[: limits.MAX_IOV], (), socket.MSG_MORE))
        except BlockingIOError:
            return False
        except OSError as error:
            self.close(f"{error.strerror}")
        return not out

    def _room(self) -> int:
        """Bytes that this connection may send in its turn, which begins."""
        server = self.server
        other = server.served
        if other is not self:
            server.served = self
            self._short_turns = limits.SHORT_TURNS if other is not None else 0
        if self._short_turns:
            self._short_turns -= 1
            return limits.SHORT_TURN
        return limits.TURN

    def flush(self) -> None:
        """Send what is queued, as far as the socket takes it and the connection's turn allows."""
        out = self._out
        if self.closed or self.blocked:
            return
        sock, server = self.sock, self.server
        room = self._room()
        try:
            if len(out) == 1 and self.out_bytes <= room:
                # Most often it is one run, and the socket takes it.
                sent = sock.send(out[0])
                if sent == self.out_bytes:
                    out.clear()
                    self.out_bytes = 0
                    self.tx_octets += sent
                else:
                    self._sent(sent)
                    self.block()
                    return
            while out:
                sent = sock.sendmsg(self._batch(room))
                self._sent(sent)
                room -= sent
                if room <= 0 and out:
                    self.block()
                    return
        except BlockingIOError:
            self.block()
            return
        except OSError as error:
            self.close(f"{error.strerror}")
            return
        if self._arena is None:
            server.arena_used = 0
        if self.closing:
            self.close("", quiet=True)

    def _batch(self, room: int) -> list[bytes | bytearray | memoryview]:
        """The first queued buffers: as many as one sendmsg takes, and about `room` bytes."""
        out = self._out
        if self.out_bytes <= room:
            return out[: limits.MAX_IOV]
        batch: list[bytes | bytearray | memoryview] = []
        for data in out[: limits.MAX_IOV]:
            if len(data) > room:
                batch.append(memoryview(data)[:room])
                break
            batch.append(data)
            room -= len(data)
        return batch

    def _sent(self, count: int) -> None:
        """So many of the queued bytes are gone."""
        out = self._out
        self.tx_octets += count
        self.out_bytes -= count
        index = 0
        while index < len(out) and count >= len(out[index]):
            count -= len(out[index])
            index += 1
        del out[:index]
        if count:
            out[0] = memoryview(out[0])[count:]

    def block(self, data: memoryview | bytes = b"") -> None:
        """What is left goes, with `data` behind it, once the socket takes it; nothing is read meanwhile."""
        if data:
            self.send(data)
        self.blocked = True
        if self.server.arena_used and self._arena is None:
            self._arena = self.server.take_arena()
        self.watch(OUTPUT)
