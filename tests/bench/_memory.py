"""What clients that overdo it cost our target in memory, in bytes beyond what it had before."""

from __future__ import annotations

import select
import selectors
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Event, Thread

from tests.bench._targets import DEPTH, IQN, Server
from tests.initiator import NONE, Initiator, Pdu

MIB = 1 << 20
WRITE = struct.pack(">BBIBHB", 0x2A, 0, 0, 0, MIB // 512, 0)
READ = struct.pack(">BBIBHB", 0x28, 0, 0, 0, MIB // 512, 0)
FIRST = 256 << 10
"""Bytes of a write that come unasked."""
ZEROS = bytes(FIRST)
R2T = 0x31
NOP_IN = 0x20


@contextmanager
def watched(server: Server) -> Iterator[list[int]]:
    """How many bytes the process has grown by at most while this lasts: its one item."""
    before, most, over = server.memory(), [0], Event()

    def watch() -> None:
        while not over.wait(0.01):
            most[0] = max(most[0], server.memory() - before)

    thread = Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def command(initiator: Initiator, cdb: bytes, flags: int) -> bytes:
    """The PDU of a command that moves 1 MiB, none of it with the PDU."""
    return struct.pack(
        ">BBHIQIIII16s", 1, flags, 0, 0, 0, initiator.next_itt(), MIB, initiator.number(),
        initiator.exp_stat_sn, cdb.ljust(16, b"\0"),
    )  # fmt: skip


def outstanding_writes(server: Server, sessions: int, seconds: float) -> tuple[int, int, int]:
    """While `sessions` x DEPTH writes of 1 MiB want to be sent: how many R2Ts are out before any data comes;
    the writes that end within some seconds while it does; growth all the time."""
    with ExitStack() as stack:
        initiators = []
        for number in range(sessions):
            isid = b"\x80" + number.to_bytes(5, "big")
            keys = {"ImmediateData": "No", "InitialR2T": "Yes"}
            initiator = Initiator(("127.0.0.1", server.port), target=IQN, isid=isid, keys=keys, timeout=60)
            initiators.append(stack.enter_context(initiator))
            initiator.ready(server.lun)
        growth = stack.enter_context(watched(server))
        for initiator in initiators:
            initiator.sock.sendall(b"".join(command(initiator, WRITE, 0xA1) for _ in range(DEPTH)))
        waiting: list[tuple[Initiator, Pdu]] = []
        while not waiting:
            waiting = _arrived(initiators, 1.0)
        asked, done = len(waiting), 0
        until = time.monotonic() + seconds
        while time.monotonic() < until or not done:
            for initiator, request in waiting:
                _send_data(initiator, request)
            waiting = []
            for initiator, pdu in _arrived(initiators, 0.1):
                if pdu.opcode == R2T:
                    waiting.append((initiator, pdu))
                else:
                    assert (pdu.opcode, pdu.header[3]) == (0x21, 0), pdu
                    done += 1
        return asked, done, growth[0]


def _arrived(initiators: list[Initiator], patience: float) -> list[tuple[Initiator, Pdu]]:
    """What comes until nothing has come for `patience` seconds."""
    by_socket = {initiator.sock: initiator for initiator in initiators}
    arrived = []
    while ready := select.select(list(by_socket), [], [], patience)[0]:
        for sock in ready:
            initiator = by_socket[sock]
            arrived.append((initiator, initiator.receive()))
            while initiator.has_more:
                arrived.append((initiator, initiator.receive()))
    return arrived


def _send_data(initiator: Initiator, request: Pdu) -> None:
    """What an R2T asks for."""
    offset, length = request.word(40), request.word(44)
    segment = int(initiator.results["MaxRecvDataSegmentLength"])
    for number, start in enumerate(range(0, length, segment)):
        size = min(segment, length - start)
        initiator.send_data(
            request.itt,
            request.ttt,
            offset + start,
            bytes(size),
            data_sn=number,
            final=start + size == length,
        )


class _Stream:
    """A session that sends some writes, the first 256 KiB of each unasked, and what R2Ts ask for behind all
    of them. It sends what its socket takes, and waits for nothing."""

    def __init__(self, initiator: Initiator, lun: int, depth: int) -> None:
        self.initiator = initiator
        self.done = 0
        self._out: deque[memoryview] = deque()
        for _ in range(depth):
            header = bytearray(command(initiator, WRITE, 0xA1))
            header[5:8] = FIRST.to_bytes(3, "big")
            header[8:16] = (lun << 48).to_bytes(8, "big")
            self._out += (memoryview(header), memoryview(ZEROS)[:FIRST])
        initiator.sock.setblocking(False)
        self._in = bytearray()

    def send(self) -> None:
        while self._out:
            try:
                sent = self.initiator.sock.send(self._out[0])
            except BlockingIOError:
                return
            self._out[0] = self._out[0][sent:]
            if not self._out[0]:
                self._out.popleft()

    def receive(self) -> None:
        received = self.initiator.sock.recv(1 << 16)
        assert received, "the target has closed a connection"
        self._in += received
        while len(self._in) >= 48:
            length = int.from_bytes(self._in[5:8], "big") + 3 & ~3
            if len(self._in) < 48 + length:
                return
            pdu = Pdu(bytes(self._in[:48]))
            del self._in[: 48 + length]
            if pdu.opcode == R2T:
                self._answer(pdu)
            elif pdu.opcode == NOP_IN:
                if pdu.ttt != NONE:
                    words = NONE, pdu.ttt, self.initiator.cmd_sn, pdu.stat_sn
                    self._out.append(memoryview(struct.pack(">BBHIQIIII16x", 0x40, 0x80, 0, 0, 0, *words)))
            else:
                assert (pdu.opcode, pdu.header[3]) == (0x21, 0), pdu
                self.done += 1

    def _answer(self, request: Pdu) -> None:
        offset, length = request.word(40), request.word(44)
        for number, start in enumerate(range(0, length, FIRST)):
            size = min(FIRST, length - start)
            final = 0x80 if start + size == length else 0
            words = request.itt, request.ttt, 0, 0, 0, number, offset + start
            header = struct.pack(">BBHI8xIIIIIII4x", 5, final, 0, size, *words)
            self._out += (memoryview(header), memoryview(ZEROS)[:size])


def unasked_writes(
    port: int,
    sessions: int,
    until: Callable[[int], bool],
    *,
    lun: int = 0,
    depth: int = DEPTH,
    target: str = IQN,
) -> int:
    """While `sessions` x `depth` writes of 1 MiB are sent, as much of them unasked as may be: those that have
    ended when `until`, given their number, says that it is enough, or all have."""
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        streams = []
        for number in range(sessions):
            keys = {"FirstBurstLength": str(FIRST)}
            isid = b"\x81" + number.to_bytes(5, "big")
            initiator = Initiator(("127.0.0.1", port), target=target, isid=isid, keys=keys, timeout=60)
            stack.enter_context(initiator)
            initiator.ready(lun)
            streams.append(_Stream(initiator, lun, depth))
            selector.register(initiator.sock, selectors.EVENT_READ, streams[-1])
        while (done := sum(stream.done for stream in streams)) < sessions * depth and not until(done):
            for stream in streams:
                stream.send()
            for key, _ in selector.select(0.01):
                key.data.receive()
        return done


def never_read(server: Server, seconds: float) -> int:
    """Growth while a client asks for 1 MiB again and again and never reads an answer."""
    with Initiator(("127.0.0.1", server.port), target=IQN, timeout=60) as initiator:
        initiator.ready(server.lun)
        with watched(server) as growth:
            initiator.sock.settimeout(seconds)
            try:
                while True:
                    initiator.sock.sendall(command(initiator, READ, 0xC1))
            except TimeoutError:
                pass
            # Another client is served meanwhile.
            with Initiator(("127.0.0.1", server.port), target=IQN, isid=b"\x80\1\2\3\4\5") as other:
                assert other.nop(b"x").data == b"x"
        return growth[0]
