"""How fast the userspace target serves, beside tgt, the C target that people use for the same purpose.

    python -m tests.bench.datapath [--brief] [--rounds N] [--seconds S] [--only TEXT]

Both serve one file each on /dev/shm. All targets run at the same time and are measured in turn, several
rounds, medians printed: on a shared machine ratios mean something, absolute figures little. tgt is run
four ways (rdwr and aio, with its defaults and tuned to 256 KiB segments); each figure is compared with
the BEST of them. isadmin is run with LIO's default parameters and with 256 KiB segments as well.
Clients: libiscsi's iscsi-perf for reads, `qemu-img bench` for writes, and a load generator that does
nothing but count bytes, because the others cannot keep up. "cpu" is the target process's CPU time for an
operation, from /proc: the steadiest figure.

Needs Debian's tgt, libiscsi-bin, qemu-utils and qemu-block-extra; 1 GiB in /dev/shm.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from isadmin.userspace.loop import run
from tests.initiator import NONE, Initiator

IQN = "iqn.2003-01.org.example:bench"
SIZE = 128 << 20
TUNED = {
    "MaxRecvDataSegmentLength": "262144",
    "FirstBurstLength": "262144",
    "MaxBurstLength": "262144",
    "InitialR2T": "No",
}
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Server:
    """A target that runs: its name, port, LUN and process."""

    name: str
    port: int
    lun: int
    pid: int

    @property
    def url(self) -> str:
        return f"iscsi://127.0.0.1:{self.port}/{IQN}/{self.lun}"

    def cpu(self) -> float:
        """Seconds of CPU time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


@cache
def interpreter() -> str:
    """The Python that serves: the distribution's, which users have, where it is of the version that runs the
    bench and can take its libraries. Like tgt it is built with all optimizations; one built by hand without
    them takes half as long again for every operation."""
    for path in (os.environ.get("ISADMIN_BENCH_PYTHON", ""), "/usr/bin/python3"):
        tell = "import sys; print(sys.version_info[:2])"
        if path and Path(path).exists():
            done = subprocess.run([path, "-c", tell], capture_output=True, text=True, check=False)
            if done.stdout.strip() == str(sys.version_info[:2]):
                return path
    return sys.executable


@contextmanager
def isadmin(directory: Path, *, tuned: bool) -> Iterator[Server]:
    """Our target in a process of its own."""
    port = free_port()
    image = directory / f"isadmin-{port}"
    with image.open("wb") as file:
        file.truncate(SIZE)
    command = [interpreter(), "-m", "tests.bench.datapath", "--serve", str(port), str(image)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), *filter(None, sys.path)])}
    with subprocess.Popen(command + (["--tuned"] if tuned else []), env=environment) as process:
        try:
            wait_for(port)
            yield Server(f"isadmin{' 256k' if tuned else ''}", port, 0, process.pid)
        finally:
            process.send_signal(signal.SIGTERM)


async def serve(port: int, image: Path, *, tuned: bool) -> None:
    """The process behind `isadmin`."""
    from isadmin.userspace import model
    from isadmin.userspace.target import Target
    from tests.userspace.rig import ATTRIB, PARAM

    target = Target()
    fabric = model.Fabric("iscsi")
    node = fabric.targets[IQN] = model.Target(fabric, IQN)
    tpg = node.tpgs[1] = model.Tpg(node, 1, enabled=True, attrib=dict(ATTRIB), param=dict(PARAM))
    if tuned:
        tpg.param.update(TUNED)
    hba = model.Hba("fileio", "fileio_0", 0)
    control = {"fd_dev_name": str(image), "fd_dev_size": str(SIZE), "fd_buffered_io": "1"}
    device = model.Device(hba, "disk", control=control, attrib={"emulate_write_cache": 1})
    device.unit = target.open_unit(device)
    tpg.luns[0] = model.Lun(tpg, 0, device=device, relative_target_port=1)
    portal = model.Portal(tpg, f"127.0.0.1:{port}", "127.0.0.1", port)
    target.open_portal(portal)
    tpg.portals[portal.dirname] = portal
    target.start_listening()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await target.stop(0)


@contextmanager
def tgt(directory: Path, store: str, *, tuned: bool) -> Iterator[Server]:
    """tgtd with one of its backing stores."""
    port, control = free_port(), free_port() % 30000 + 1
    image = directory / f"tgt-{port}"
    with image.open("wb") as file:
        file.truncate(SIZE)
    command = ["tgtd", "-f", "-C", str(control), "--iscsi", f"portal=127.0.0.1:{port}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(port)

            def admin(*words: str) -> None:
                subprocess.run(["tgtadm", "-C", str(control), "--lld", "iscsi", *words], check=True)

            admin("--mode", "target", "--op", "new", "--tid", "1", "-T", IQN)
            if tuned:
                for key, value in {**TUNED, "MaxXmitDataSegmentLength": "262144"}.items():
                    admin("--mode", "target", "--op", "update", "--tid", "1", "-n", key, "-v", value)
            new_unit = ["--mode", "logicalunit", "--op", "new", "--tid", "1", "--lun", "1"]
            admin(*new_unit, "-b", str(image), "--bstype", store)
            admin("--mode", "target", "--op", "bind", "--tid", "1", "-I", "ALL")
            yield Server(f"tgt {store}{' 256k' if tuned else ''}", port, 1, process.pid)
        finally:
            process.kill()


# Loads. Each takes a server and seconds and returns operations, the seconds they took, and a latency or 0.


@dataclass
class Load:
    operations: float
    seconds: float


def perf(*options: str) -> Callable[[Server, float], Load]:
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


def qemu(depth: int, size: int, *, write: bool) -> Callable[[Server, float], Load]:
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


class Burst:
    """A client that costs next to nothing: `depth` commands go out at once, answers are counted in bytes."""

    def __init__(self, server: Server, depth: int, size: int, *, write: bool, name: str = "burst") -> None:
        keys = {"FirstBurstLength": "262144"}
        self.initiator = Initiator(
            ("127.0.0.1", server.port),
            target=IQN,
            keys=keys,
            name=f"iqn.2003-01.org.example:{name}",
            timeout=60,
        )
        self.lun, self.depth, self.size, self.write = server.lun, depth, size, write
        self.initiator.ready(self.lun)
        cdbs = [
            struct.pack(">BBIBHB", 0x2A if write else 0x28, 0, self._lba(n), 0, size // 512, 0)
            for n in range(depth)
        ]
        data = bytes(size)
        parts = []
        for number, cdb in enumerate(cdbs):
            flags = 0xA1 if write else 0xC1
            head = struct.pack(">BBHIQI", 1, flags, 0, size if write else 0, self.lun << 48, 0x1000 + number)
            parts.append(bytearray(head + struct.pack(">III", size, 0, 0) + cdb.ljust(16, b"\0")))
        self.requests = bytearray()
        self.places = []
        for part in parts:
            self.places.append(len(self.requests) + 24)
            self.requests += part + (data if write else b"")
        self.answer = 0

    def _lba(self, number: int) -> int:
        return number * 7919 % (SIZE // self.size - 1) * (self.size // 512)

    def first(self) -> None:
        """Run a burst by reading every PDU, to learn how many bytes the answers have."""
        self._send()
        left = self.depth
        self.answer = 0
        while left:
            pdu = self.initiator.receive()
            self.answer += 48 + len(pdu.data) + (-len(pdu.data) & 3)
            if pdu.opcode == 0x21 or (pdu.opcode == 0x25 and pdu.flags & 1):
                assert pdu.header[3] == 0
                left -= 1

    def _send(self) -> None:
        initiator = self.initiator
        for place in self.places:
            struct.pack_into(">I", self.requests, place, initiator.cmd_sn)
            initiator.cmd_sn = initiator.cmd_sn + 1 & NONE
        initiator.sock.sendall(self.requests)

    def run(self, seconds: float) -> Load:
        self.first()
        sock, buffer = self.initiator.sock, bytearray(1 << 20)
        start = now = time.perf_counter()
        count = 0
        while now - start < seconds:
            self._send()
            left = self.answer
            while left:
                left -= sock.recv_into(buffer, min(left, len(buffer)))
            count += self.depth
            now = time.perf_counter()
        return Load(count, now - start)

    def close(self) -> None:
        self.initiator.close()


def burst(depth: int, size: int, *, write: bool) -> Callable[[Server, float], Load]:
    def run(server: Server, seconds: float) -> Load:
        client = Burst(server, depth, size, write=write)
        try:
            return client.run(seconds)
        finally:
            client.close()

    return run


def beside_a_streamer(server: Server, seconds: float) -> Load:
    """A reader at depth 1 while another client reads 1 MiB at a time."""
    stop = threading.Event()

    def stream() -> None:
        client = Burst(server, 1, 1 << 20, write=False, name="streamer")
        while not stop.is_set():
            client.run(0.1)
        client.close()

    thread = threading.Thread(target=stream)
    thread.start()
    try:
        return burst(1, 4096, write=False)(server, seconds)
    finally:
        stop.set()
        thread.join()


def logins(server: Server, seconds: float) -> Load:
    start = now = time.perf_counter()
    count = 0
    while now - start < seconds:
        initiator = Initiator(("127.0.0.1", server.port), target=IQN)
        initiator.logout()
        initiator.close()
        count += 1
        now = time.perf_counter()
    return Load(count, now - start)


@dataclass
class Figure:
    """One line of the table. floor: how many times tgt's best rate; cap: of its best CPU time (0: no aim)."""

    name: str
    load: Callable[[Server, float], Load]
    unit: str
    floor: float
    cap: float = 0.0
    block: int = 0


FIGURES = [
    Figure("4k random read, depth 32 (iscsi-perf)", perf("-m", "32", "-b", "8", "-r"), "IOPS", 2.5, 0.5),
    Figure("4k read, depth 32 (burst)", burst(32, 4096, write=False), "IOPS", 2.5, 0.5),
    Figure("4k write, depth 32 (qemu-img)", qemu(32, 4096, write=True), "IOPS", 2.0, 0.5),
    Figure("4k write, depth 32 (burst)", burst(32, 4096, write=True), "IOPS", 2.0, 0.5),
    Figure("256k read, depth 8 (iscsi-perf)", perf("-m", "8", "-b", "512"), "MB/s", 1.4, 0.5, 256 << 10),
    Figure("256k write, depth 8 (qemu-img)", qemu(8, 256 << 10, write=True), "MB/s", 1.2, 0.7, 256 << 10),
    Figure("4k read, depth 1 (iscsi-perf)", perf("-m", "1", "-b", "8", "-r"), "IOPS", 1.0),
    Figure("4k read, depth 1, beside a streamer", beside_a_streamer, "IOPS", 3.0),
    Figure("logins", logins, "/s", 0.5),
]


@dataclass
class Result:
    rate: float
    cpu: float
    """Microseconds of CPU time for an operation."""


def measure(figure: Figure, servers: list[Server], rounds: int, seconds: float) -> dict[str, Result]:
    samples: dict[str, list[Result]] = {server.name: [] for server in servers}
    for _ in range(rounds):
        for server in servers:
            before = server.cpu()
            load = figure.load(server, seconds)
            used = server.cpu() - before
            rate = load.operations / load.seconds * (figure.block / 1e6 or 1)
            samples[server.name].append(Result(rate, used / load.operations * 1e6))
    return {
        name: Result(statistics.median(r.rate for r in found), statistics.median(r.cpu for r in found))
        for name, found in samples.items()
    }


def report(figure: Figure, results: dict[str, Result]) -> bool:
    """Print a figure's lines; whether it reaches its floors."""
    ours = [result for name, result in results.items() if name.startswith("isadmin")]
    theirs = [result for name, result in results.items() if name.startswith("tgt")]
    print(f"\n{figure.name}, {figure.unit}")
    for name, result in results.items():
        print(f"  {name:<16} {result.rate:>10,.0f}   cpu {result.cpu:8.1f} us/op")
    rate = max(r.rate for r in ours) / max(r.rate for r in theirs)
    cpu = min(r.cpu for r in ours) / max(min(r.cpu for r in theirs), 0.01)
    good = rate >= figure.floor and (not figure.cap or cpu <= figure.cap)
    aims = f"at least {figure.floor}" + (f", cpu at most {figure.cap}" if figure.cap else "")
    print(
        f"  best against best: rate x{rate:.2f}, cpu x{cpu:.2f} ({aims}) {'ok' if good else 'NOT REACHED'}",
        flush=True,
    )
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--brief", action="store_true", help="one short round, two kinds of tgt")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--only", default="", help="figures whose name has this text")
    parser.add_argument("--serve", nargs=2, metavar=("PORT", "FILE"), help=argparse.SUPPRESS)
    parser.add_argument("--tuned", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        run(serve(int(options.serve[0]), Path(options.serve[1]), tuned=options.tuned))
        return 0
    rounds, seconds = (1, 1.0) if options.brief else (options.rounds, options.seconds)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        servers = [stack.enter_context(isadmin(directory, tuned=tuned)) for tuned in (False, True)]
        for store in ("rdwr", "aio"):
            ways = (True,) if options.brief else (False, True)
            servers += [stack.enter_context(tgt(directory, store, tuned=tuned)) for tuned in ways]
        wanted = [figure for figure in FIGURES if options.only in figure.name]
        missed = [f.name for f in wanted if not report(f, measure(f, servers, rounds, seconds))]
    if missed:
        print(f"\nnot reached: {'; '.join(missed)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
