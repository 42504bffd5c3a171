"""The loads that the bench of the data path puts on a target. Each takes a server and seconds."""

from __future__ import annotations

import re
import struct
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import google_crc32c

from tests.bench._processor import processor_seconds
from tests.bench._targets import IQN, SIZE, Server
from tests.initiator import NONE, Initiator


@dataclass
class Load:
    operations: float
    seconds: float


Run: TypeAlias = Callable[[Server, float], Load]


def perf(*options: str) -> Run:
    """iscsi-perf, which reads."""

    def run(server: Server, seconds: float) -> Load:
        whole = max(1, round(seconds))
        command = ["iscsi-perf", "-t", str(whole), *options, server.url]
        start = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds * 5 + 20)
        took = time.monotonic() - start
        found = re.findall(r"iops average (\d+)", done.stdout + done.stderr)
        if not found:
            raise RuntimeError(f"iscsi-perf at {server.name}: {done.stdout[-300:]}{done.stderr[-300:]}")
        return Load(int(found[-1]) * min(whole, took), min(whole, took))

    return run


def qemu(depth: int, size: int, *, write: bool) -> Run:
    """qemu-img bench; each request a stride of a good megabyte from the last."""

    def run(server: Server, seconds: float) -> Load:
        count = max(64, int(seconds * (20000 if size <= 4096 else 3000)))
        stride = (1 << 20) + size if size <= 4096 else size
        command = [
            "qemu-img",
            "bench",
            "-c",
            str(count),
            "-d",
            str(depth),
            "-s",
            str(size),
            "-S",
            str(stride),
        ]
        command += ["-t", "none", "-f", "raw", *(["-w"] if write else []), server.url]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
        match = re.search(r"([\d.]+) seconds", done.stdout)
        assert match is not None, done.stdout
        return Load(count, float(match[1]))

    return run


class Light:
    """A client that costs next to nothing: `depth` commands are outstanding, answers are counted in bytes."""

    def __init__(
        self,
        server: Server,
        depth: int,
        size: int,
        *,
        write: bool,
        digests: bool = False,
        name: str = "light",
    ) -> None:
        keys = {"FirstBurstLength": "262144"}
        if digests:
            keys |= {"HeaderDigest": "CRC32C", "DataDigest": "CRC32C"}
        self.initiator = Initiator(
            ("127.0.0.1", server.port),
            target=IQN,
            keys=keys,
            name=f"iqn.2003-01.org.example:{name}",
            timeout=60,
        )
        self.lun, self.depth, self.size, self.digests = server.lun, depth, size, digests
        assert self.initiator.data_digest == digests
        self.initiator.ready(self.lun)
        data = bytes(size) if write else b""
        self.requests = bytearray()
        for number in range(depth):
            cdb = struct.pack(">BBIBHB", 0x2A if write else 0x28, 0, self._lba(number), 0, size // 512, 0)
            self.requests += struct.pack(
                ">BBHIQIIII16s", 1, 0xA1 if write else 0xC1, 0, len(data), self.lun << 48, 0, size, 0, 0,
                cdb.ljust(16, b"\0"),
            )  # fmt: skip
            self.requests += bytes(4 * digests) + data
            if data and digests:
                self.requests += _digest(data)
        self.length = len(self.requests) // depth
        self.view = memoryview(self.requests)
        self.place = 0
        """Of the next request, in a row that begins anew."""
        self.answer = self._answer_bytes()

    def _lba(self, number: int) -> int:
        return number * 7919 % (SIZE // self.size - 1) * (self.size // 512)

    def _answer_bytes(self) -> int:
        """Bytes of one answer, learnt by reading those to all requests."""
        self._send(self.depth, 0)
        left, answers = self.depth, 0
        while left:
            pdu = self.initiator.receive()
            digests = 4 * (1 + bool(pdu.data)) if self.digests else 0
            answers += 48 + len(pdu.data) + (-len(pdu.data) & 3) + digests
            if pdu.opcode == 0x21 or (pdu.opcode == 0x25 and pdu.flags & 1):
                assert pdu.header[3] == 0
                left -= 1
        assert not answers % self.depth
        return answers // self.depth

    def _send(self, count: int, exp_stat_sn: int) -> None:
        """Send so many of the next requests."""
        initiator, requests, length = self.initiator, self.requests, self.length
        while count:
            start = place = self.place
            run = min(count, self.depth - start // length)
            count -= run
            for _ in range(run):
                cmd_sn = initiator.cmd_sn
                _number(requests, place + 16, cmd_sn, self.size, cmd_sn, exp_stat_sn)
                initiator.cmd_sn = cmd_sn + 1 & NONE
                if self.digests:
                    requests[place + 48 : place + 52] = _digest(requests[place : place + 48])
                place += length
            self.place = place % len(requests)
            initiator.sock.sendall(self.view[start:place])

    def run(self, seconds: float) -> Load:
        sock, buffer, answer = self.initiator.sock, bytearray(1 << 20), self.answer
        first = exp_stat_sn = self.initiator.exp_stat_sn
        self._send(self.depth, exp_stat_sn)
        received = answered = 0
        start = now = time.perf_counter()
        while now - start < seconds:
            received += sock.recv_into(buffer)
            new = received // answer - answered
            if new:
                answered += new
                exp_stat_sn = first + answered & NONE
                self._send(new, exp_stat_sn)
            now = time.perf_counter()
        left = (answered + self.depth) * answer - received
        while left:
            left -= sock.recv_into(buffer, min(left, len(buffer)))
        return Load(answered, now - start)

    def close(self) -> None:
        self.initiator.close()


_number = struct.Struct(">IIII").pack_into
"""ITT, expected data transfer length, CmdSN, ExpStatSN (RFC 7143 section 11.3)."""


def _digest(data: bytes | bytearray) -> bytes:
    value: int = google_crc32c.value(bytes(data))
    return value.to_bytes(4, "little")


def light(depth: int, size: int, *, write: bool, digests: bool = False) -> Run:
    def run(server: Server, seconds: float) -> Load:
        client = Light(server, depth, size, write=write, digests=digests)
        try:
            return client.run(seconds)
        finally:
            client.close()

    return run


def beside_a_streamer(server: Server, seconds: float) -> Load:
    """A reader at depth 1 while another client reads 1 MiB at a time, at depth 4. RuntimeError when that one
    does not go on all the while."""
    command = ["iscsi-perf", "-t", str(round(seconds) + 10), "-m", "4", "-b", "2048", server.url]
    streamer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while processor_seconds(streamer.pid) < 0.1:
            if streamer.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no stream from {server.name}")
            time.sleep(0.02)
        load = perf("-m", "1", "-b", "8", "-r")(server, seconds)
        if streamer.poll() is not None:
            raise RuntimeError(f"the stream from {server.name} has ended")
        return load
    finally:
        streamer.kill()
        streamer.wait()


def together(clients: int, load: Run) -> Run:
    """The same load from several clients at once."""

    def run(server: Server, seconds: float) -> Load:
        with ThreadPoolExecutor(clients) as pool:
            loads = list(pool.map(lambda _: load(server, seconds), range(clients)))
        longest = max(load.seconds for load in loads)
        return Load(sum(load.operations for load in loads), longest)

    return run
