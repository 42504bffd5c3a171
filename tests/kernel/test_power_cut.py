"""The power fails while initiators write and configurations are applied and saved: nothing promised is lost.

The machine's process is killed, and with it the cache of its disks' file system; a write that was promised
nothing is the check that it is lost indeed. ISADMIN_POWER_CUTS=N for more than once.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.kernel.interrupted import BLOCK, BLOCKS, NAMES, PROMISED_NOTHING
from tests.kernel.vm import Vm, VmDiedError

pytestmark = pytest.mark.vm

CUTS = int(os.environ.get("ISADMIN_POWER_CUTS", "1"))
LIMIT = 900.0
"""Seconds between two lines of the machine's; it only ends a run that hangs."""
BUSY = 60.0
"""Seconds after which the power fails at the latest, however slow the machine is."""
MORE = 1_000_000
"""More sequence numbers than are used between two power cuts."""


class Ledger:
    """What was promised, and what was found after a power cut."""

    def __init__(self) -> None:
        self.written: dict[tuple[int, int], int] = {}
        """(LUN, block) -> the highest sequence number that is durable."""
        self.saved = 0
        self.to_be_lost = 0
        """Writes since the last power cut of which nothing was promised."""
        self.lost_unpromised = 0
        self.lines = 0

    def promised(self, line: bytes) -> str:
        """Note a line of the machine's; what kind it is."""
        facts = json.loads(line)
        self.lines += 1
        if "lun" in facts:
            key = facts["lun"], facts["block"]
            self.written[key] = max(self.written.get(key, 0), facts["sequence"])
            self.to_be_lost += facts["lun"] == PROMISED_NOTHING
            return "written"
        self.saved = max(self.saved, facts["saved"])
        return "saved"

    def compare(self, line: bytes, limit: int) -> list[str]:
        """What is lost or damaged of what was promised; then what is there counts."""
        facts = json.loads(line)
        wrong: list[str] = list(facts["broken"])
        self.to_be_lost = 0
        for lun, blocks in facts["found"].items():
            for block, sequence in enumerate(blocks):
                key = int(lun), block
                promised = self.written.get(key, 0)
                if int(lun) == PROMISED_NOTHING:
                    self.lost_unpromised += sequence < promised
                elif not promised <= sequence < limit:
                    wrong.append(f"LUN {NAMES[int(lun)]} block {block}: {sequence}, promised {promised}")
                self.written[key] = sequence
        wrong += [
            f"{what} configuration {facts[what]}, promised {self.saved}"
            for what in ("saved", "kept")
            if not self.saved <= facts[what] < limit
        ]
        self.saved = facts["saved"]
        return wrong


@pytest.fixture
def disks(tmp_path: Path) -> list[Path]:
    sizes = {"file-system": 64 << 20, "device": BLOCK * BLOCKS}
    for name, size in sizes.items():
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    return [tmp_path / name for name in sizes]


def told(machine: Vm, first: int) -> Iterator[bytes]:
    """The lines of the program in a machine just booted; AssertionError with what it said if it ends."""
    options = ["--new"] if first == 1 else []
    running = machine.launch([sys.executable, "-m", "tests.kernel.interrupted", str(first), *options])
    yield from running.lines(LIMIT)
    pytest.fail(f"the machine's program ended: {running.stderr.decode()[-3000:]}\n{machine.epitaph()}")


def test_what_was_promised_is_there_after_a_power_cut(
    disks: list[Path], request: pytest.FixtureRequest
) -> None:
    ledger = Ledger()
    seed = random.randrange(1 << 32)
    choose = random.Random(seed)
    for cut in range(CUTS + 1):
        with Vm(kvm=request.config.getoption("kvm"), disks=disks) as machine:
            lines = told(machine, 1 + cut * MORE)
            wrong = ledger.compare(next(lines), 1 + cut * MORE)
            assert not wrong, (seed, cut, wrong)
            if cut == CUTS:
                break
            # In the middle of writes, or of what isadmin does between two configurations saved.
            kind, left = choose.choice([("written", choose.randint(1, 150)), ("saved", choose.randint(1, 2))])
            until = time.monotonic() + BUSY
            while not ledger.to_be_lost or (left > 0 and time.monotonic() < until):
                left -= ledger.promised(next(lines)) == kind
            power = threading.Timer(choose.random(), os.kill, (machine.pid, signal.SIGKILL))
            power.start()
            try:
                # What is promised while the power fails is lost most easily.
                with suppress(VmDiedError):
                    while True:
                        ledger.promised(next(lines))
            finally:
                power.cancel()
    assert ledger.lost_unpromised
