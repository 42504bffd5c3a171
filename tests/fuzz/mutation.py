"""Millions of inputs: valid ones, changed at random, fed to one part of the engine after the other.

Hypothesis (beside this) finds small examples and tries few; this tries many and keeps no account of them.
Each batch has a random generator of its own, made of the seed, the target's name and the batch's number, so
that a finding is found again by running its batch alone.
"""

from __future__ import annotations

import gc
import os
import random
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

PATIENCE = 60.0
"""Seconds that a batch may take: some 20 ms are usual."""
EDGES = (0, 1, 2, 3, 4, 7, 8, 0x0F, 0x10, 0x3F, 0x40, 0x7F, 0x80, 0xFE, 0xFF)
WIDE = (0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 1 << 63, (1 << 64) - 1)
PAGE = os.sysconf("SC_PAGESIZE")


def mutated(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """`data` with one to four changes; `other` is what it may be spliced with."""
    result = bytearray(data)
    for _ in range(1 + chance.getrandbits(2)):
        kind = chance.getrandbits(4)
        size = len(result)
        if not size:
            return other
        at = int(chance.random() * size)
        if kind < 5:
            result[at] ^= 1 << chance.getrandbits(3)
        elif kind < 8:
            result[at] = EDGES[int(chance.random() * len(EDGES))]
        elif kind < 11:
            width = (2, 4, 8)[int(chance.random() * 3)]
            number = WIDE[int(chance.random() * len(WIDE))] & (1 << 8 * width) - 1
            result[at : at + width] = number.to_bytes(width, "big")[: size - at]
        elif kind == 11:
            result[at] = chance.getrandbits(8)
        elif kind == 12:
            del result[at:]
        elif kind == 13:
            result[at:at] = chance.randbytes(1 + chance.getrandbits(4))
        elif kind == 14:
            result[at:] = other[at:]
        else:
            piece = result[at : at + 16]
            result[at:at] = piece
    return bytes(result)


class HangError(BaseException):
    """A batch did not end. Nothing catches it on its way."""


@dataclass
class Finding:
    """An input that was answered by something else than an answer."""

    target: str
    batch: int
    what: str
    sent: str


@dataclass
class Outcome:
    """What a run has seen. Memory is the process's resident set, in bytes, after a tenth of the run and at
    its end."""

    inputs: int = 0
    findings: list[Finding] = field(default_factory=list)
    memory_before: int = 0
    memory_after: int = 0

    @property
    def grown(self) -> int:
        return self.memory_after - self.memory_before


class FuzzTarget:
    """One part of the engine. `feed` handles one input made from `chance`, and returns how many inputs that
    were; what it raises is a finding."""

    name: str
    batch: int = 1000
    """Inputs in a batch."""
    last: bytes = b""
    """What was fed last, for the report."""

    def renew(self) -> None:
        """Begin with a fresh state: called before each batch."""

    def feed(self, chance: random.Random) -> int:
        raise NotImplementedError

    def close(self) -> None:
        """The run is over."""


def choose(chance: random.Random, items: Sequence[bytes]) -> bytes:
    """Faster than random.choice."""
    return items[int(chance.random() * len(items))]


def resident() -> int:
    """Bytes of this process in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def run(
    target: FuzzTarget,
    count: int,
    *,
    seed: int = 0,
    first_batch: int = 0,
    progress: Callable[[int, Outcome], None] = lambda batch, outcome: None,
) -> Outcome:
    """Feed `count` inputs or a few more. It stops at ten findings, and at a hang."""
    outcome = Outcome()

    def too_long(number: int, frame: FrameType | None) -> None:
        raise HangError(f"batch {batch} takes more than {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, too_long)
    batch = first_batch
    try:
        while outcome.inputs < count and len(outcome.findings) < 10:
            if not outcome.memory_before and outcome.inputs >= count // 10:
                outcome.memory_before = resident()
            signal.setitimer(signal.ITIMER_REAL, PATIENCE)
            _batch(target, outcome, batch, random.Random(f"{seed}:{target.name}:{batch}"), count)
            batch += 1
            progress(batch, outcome)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        target.close()
    outcome.memory_after = resident()
    return outcome


def _batch(target: FuzzTarget, outcome: Outcome, batch: int, chance: random.Random, count: int) -> None:
    target.renew()
    end = min(outcome.inputs + target.batch, count)
    while outcome.inputs < end:
        try:
            outcome.inputs += target.feed(chance)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            what = f"{type(error).__name__}: {error}"
            outcome.findings.append(Finding(target.name, batch, what, target.last.hex()))
            return
