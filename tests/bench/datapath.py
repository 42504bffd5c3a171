"""How fast the userspace target serves, beside tgt, the C target that people use for the same purpose.

    python -m tests.bench.datapath [--brief] [--rounds N] [--seconds S] [--only EXPRESSION]

Both serve one file each on /dev/shm. All targets run at the same time and are measured in turn, several
rounds, medians printed: on a shared machine ratios mean something, absolute figures little. tgt is run
four ways (rdwr and aio, with its defaults and tuned to 256 KiB segments); each figure is compared with
the BEST of them. isadmin is run with LIO's default parameters and with 256 KiB segments as well.
tgt takes a buffer for each command from glibc, which maps and unmaps those of 256 KiB until a longer one has
been freed (mallopt(3), M_MMAP_THRESHOLD): after the figure with the 1 MiB streamer tgt needs less than half
the time for 256 KiB. What stands below that figure has met the faster tgt.
Clients: libiscsi's iscsi-perf for reads, `qemu-img bench` for writes, and a light one that does nothing but
count bytes, because the others cannot keep up. "cpu" is the target process's CPU time for an operation: the
steadiest figure; "busy" is the share of a processor that it took; "client" is the clients' CPU time for an
operation. Where that alone allows no rate at the floor, whatever the target does, the rate is shown and the
CPU time judged; the same with several clients tells of the rate. A figure that does not reach its floor comes
with its profile. "stolen" is the share of the processors that this machine's host took for others.
At last, what clients cost in memory that send more than they may, or read nothing.

Needs Debian's tgt, libiscsi-bin, qemu-utils and qemu-block-extra; 1 GiB in /dev/shm.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path

from isadmin.userspace import limits
from isadmin.userspace.loop import run
from tests.bench._loads import Run, beside_a_streamer, light, perf, qemu, together
from tests.bench._logins import at_once, beside_a_storm, logins, raise_descriptor_limit
from tests.bench._memory import FIRST, MIB, never_read, outstanding_writes, unasked_writes, watched
from tests.bench._processor import clients_seconds, stolen_ticks
from tests.bench._profile import profile
from tests.bench._targets import DEPTH, Server, interpreter, isadmin, serve, tgt


@dataclass
class Figure:
    """One line of the table. floor: how many times tgt's best rate; cap: of its best CPU time (0: no aim).
    tuned: only for targets that take 256 KiB at once. clients: processors that its clients can use."""

    name: str
    load: Run
    unit: str
    floor: float = 0.0
    cap: float = 0.0
    block: int = 0
    tuned: bool = False
    clients: int = 1


RANDOM_4K = ("-b", "8", "-r")

STORM = 1000
"""Sessions that come back at once after a restart."""

FIGURES = [
    Figure("4k random read, depth 32 (iscsi-perf)", perf("-m", "32", *RANDOM_4K), "IOPS", 2.5, 0.5),
    Figure("the same, four clients", together(4, perf("-m", "32", *RANDOM_4K)), "IOPS", 2.5, 0.5, clients=4),
    Figure("4k read, depth 32 (light)", light(32, 4096, write=False), "IOPS", 2.5, 0.5),
    Figure("4k random write, depth 32 (qemu-img)", qemu(32, 4096, write=True), "IOPS", 2.0, 0.5),
    Figure(
        "4k random write, four clients (qemu-img)",
        together(4, qemu(32, 4096, write=True)), "IOPS", 2.0, 0.5, clients=4,
    ),
    Figure("4k write, depth 32 (light)", light(32, 4096, write=True), "IOPS", 2.0, 0.5),
    Figure("256k read, depth 8 (iscsi-perf)", perf("-m", "8", "-b", "512"), "MB/s", 1.4, 0.5, 256 << 10),
    Figure("256k write, depth 8 (qemu-img)", qemu(8, 256 << 10, write=True), "MB/s", 1.2, 0.7, 256 << 10),
    Figure("4k read, depth 1 (iscsi-perf)", perf("-m", "1", *RANDOM_4K), "IOPS", 1.0),
    Figure("4k read, depth 1, beside a 1 MiB streamer", beside_a_streamer, "IOPS", 3.0, clients=2),
    Figure("logins, one after another", logins(1), "/s", 0.5),
    Figure("logins, eight at a time", logins(8), "/s", 0.5),
    Figure(f"logins, {STORM} at once", at_once(STORM), "/s", 0.5),
    Figure("4k read, depth 32, digests (light)", light(32, 4096, write=False, digests=True), "IOPS"),
    Figure("4k write, depth 32, digests (light)", light(32, 4096, write=True, digests=True), "IOPS"),
    Figure("256k read, depth 8 (light)", light(8, 256 << 10, write=False), "MB/s", 1.4, 0.5, 256 << 10),
    Figure(
        "256k write, depth 8 (light)",
        light(8, 256 << 10, write=True), "MB/s", 1.2, 0.7, 256 << 10, tuned=True,
    ),
    Figure(
        "256k read, depth 8, digests (light)",
        light(8, 256 << 10, write=False, digests=True), "MB/s", block=256 << 10,
    ),
]  # fmt: skip


@dataclass
class Result:
    rate: float
    cpu: float
    """Microseconds of CPU time for an operation."""
    busy: float
    """CPU time for a second."""
    client: float
    """Microseconds of the clients' CPU time for an operation."""


def measure(figure: Figure, servers: list[Server], rounds: int, seconds: float) -> dict[str, Result]:
    samples: dict[str, list[Result]] = {server.name: [] for server in servers}
    for _ in range(rounds):
        for server in servers:
            before, mine = server.cpu(), clients_seconds()
            load = figure.load(server, seconds)
            used, mine = server.cpu() - before, clients_seconds() - mine
            rate = load.operations / load.seconds * (figure.block / 1e6 or 1)
            each = 1e6 / load.operations
            samples[server.name].append(Result(rate, used * each, used / load.seconds, mine * each))
    median = statistics.median
    return {
        name: Result(*(median(getattr(one, field.name) for one in found) for field in fields(Result)))
        for name, found in samples.items()
    }


def report(figure: Figure, results: dict[str, Result]) -> bool:
    """Print a figure's lines; whether it reaches its floors."""
    ours = [result for name, result in results.items() if name.startswith("isadmin")]
    theirs = [result for name, result in results.items() if name.startswith("tgt")]
    for name, result in results.items():
        print(
            f"  {name:<16} {result.rate:>10,.0f}   cpu {result.cpu:8.1f} us/op   busy {result.busy:4.0%}"
            f"   client {result.client:8.1f} us/op"
        )
    best = max(r.rate for r in theirs)
    rate = max(r.rate for r in ours) / best
    cpu = min(r.cpu for r in ours) / max(min(r.cpu for r in theirs), 0.01)
    possible = clients_most(figure, min(r.client for r in ours)) / best
    fast = rate >= figure.floor or (figure.cap > 0 and possible < figure.floor)
    good = fast and (not figure.cap or cpu <= figure.cap)
    verdict = f"at least {figure.floor}" + (f", cpu at most {figure.cap}" if figure.cap else "")
    if possible < figure.floor:
        verdict += f"; its clients allow x{possible:.2f} at most"
    verdict = f"{verdict}: {'ok' if good else 'NOT REACHED'}" if figure.floor else "no floor"
    print(f"  best against best: rate x{rate:.2f}, cpu x{cpu:.2f} ({verdict})", flush=True)
    return good


def clients_most(figure: Figure, each: float) -> float:
    """The rate that clients reach at a target which takes no time, when an operation takes them `each`
    microseconds."""
    processors = min(figure.clients, len(os.sched_getaffinity(0)))
    return processors * 1e6 / max(each, 0.01) * (figure.block / 1e6 or 1)


def memory(server: Server, sessions: int, seconds: float) -> list[str]:
    """Print what clients that overdo it cost in memory; what was more than it may be."""
    budget = limits.WRITE_BUDGET
    asked, done, growth = outstanding_writes(server, sessions, seconds)
    print(
        f"\n{sessions} sessions x {DEPTH} outstanding writes of 1 MiB: data of {asked} asked for at first, "
        f"{done} done in {seconds} s;\n"
        f"  resident memory grows by {growth / MIB:.1f} MiB, x{growth / budget:.2f} of the write budget"
    )
    end = time.monotonic() + seconds
    with watched(server) as most:
        done = unasked_writes(
            server.port, sessions, lambda done: done > 0 and time.monotonic() > end, lun=server.lun
        )
    unasked = most[0]
    print(
        f"the same with {FIRST >> 10} KiB of each sent unasked: {done} done in {seconds} s;\n"
        f"  resident memory grows by {unasked / MIB:.1f} MiB, x{unasked / budget:.2f} of the write budget"
    )
    unread = never_read(server, seconds)
    print(f"a client that never reads its answers: {unread / MIB:.1f} MiB", flush=True)
    missed = []
    if growth > 2 * budget:
        missed.append("outstanding writes are held back")
    if unasked > 2 * budget:
        missed.append("outstanding writes with unasked data are held back")
    if unread > budget / 4:
        missed.append("answers that nobody reads are held back")
    return missed


def stalls(servers: list[Server]) -> None:
    """Print how long a client waits for its reads while many others log in."""
    print(f"\n4k reads, depth 1, while {STORM} sessions log in at once, ms")
    for server in servers:
        median, longest = beside_a_storm(server, STORM)
        print(f"  {server.name:<16} median {median:8.2f}   longest {longest:8.1f}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--brief", action="store_true", help="one short round, two kinds of tgt")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--only", default="", help="figures whose name matches this expression")
    parser.add_argument("--serve", nargs=2, metavar=("PORT", "FILE"), help=argparse.SUPPRESS)
    parser.add_argument("--tuned", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        run(serve(int(options.serve[0]), Path(options.serve[1]), tuned=options.tuned))
        return 0
    rounds, seconds = (1, 0.4) if options.brief else (options.rounds, options.seconds)
    print(f"isadmin runs in {interpreter()}")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        raise_descriptor_limit()
        servers = [stack.enter_context(isadmin(directory, tuned=tuned)) for tuned in (False, True)]
        for store in ("rdwr", "aio"):
            ways = (True,) if options.brief else (False, True)
            servers += [stack.enter_context(tgt(directory, store, tuned=tuned)) for tuned in ways]
        wanted = [figure for figure in FIGURES if re.search(options.only, figure.name)]
        missed = []
        for figure in wanted:
            measured = [server for server in servers if server.tuned or not figure.tuned]
            before = stolen_ticks()
            results = measure(figure, measured, rounds, seconds)
            stolen, ticks = (now - then for now, then in zip(stolen_ticks(), before, strict=True))
            print(f"\n{figure.name}, {figure.unit} (stolen {stolen / max(ticks, 1):.0%})")
            if report(figure, results):
                continue
            missed.append(figure.name)
            if not options.brief:
                mine = [server for server in measured if server in servers[:2]]
                best = min(mine, key=lambda server: results[server.name].cpu)
                print(f"  where the time of {best.name} goes:")
                for line in profile(best, figure.load, seconds):
                    print(f"    {line}", flush=True)
        if re.search(options.only, "stalls"):
            stalls([servers[0], servers[2]])
        if re.search(options.only, "memory"):
            missed += memory(servers[1], 20 if options.brief else 200, seconds)
    if missed:
        print(f"\nnot reached: {'; '.join(missed)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
