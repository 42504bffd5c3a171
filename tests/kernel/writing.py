"""A writer that goes on until it is told to stop, and knows afterwards what must be on the disk."""

from __future__ import annotations

import mmap
import os
import random
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.integration.sandbox import wait_until
from tests.kernel.openiscsi import LIMIT

BLOCK = 8192
FLUSH_EVERY = 16


class Disk:
    """A block device without the page cache."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_DIRECT)
        self._buffer = mmap.mmap(-1, BLOCK)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)
        self._buffer.close()

    def write(self, block: int, data: bytes) -> None:
        """OSError as the kernel gives it: EBADE is a reservation conflict."""
        self._buffer[:] = data
        assert os.pwrite(self._fd, self._buffer, block * BLOCK) == BLOCK

    def read(self, block: int) -> bytes:
        assert os.preadv(self._fd, [self._buffer], block * BLOCK) == BLOCK
        return bytes(self._buffer)

    def flush(self) -> None:
        os.fdatasync(self._fd)


def content(block: int, number: int) -> bytes:
    """A block that tells where it belongs and which write it is."""
    return (block.to_bytes(8, "big") + number.to_bytes(8, "big")) * (BLOCK // 16)


class Writer(threading.Thread):
    """Writes to `blocks` in random order, one after another, flushing now and then, until `stop()` or until
    a write fails: `error` is how."""

    def __init__(self, disk: Path, blocks: range) -> None:
        super().__init__(daemon=True)
        self._disk = disk
        self._blocks = blocks
        self._over = threading.Event()
        self.written: dict[int, int] = {}
        """Block -> number of the last write to it; without the block of a failed write, which may hold it."""
        self.number = 0
        """Writes that succeeded."""
        self.error: OSError | None = None

    def run(self) -> None:
        chosen = random.Random(len(self._blocks))
        try:
            with Disk(self._disk) as disk:
                while not self._over.is_set():
                    block = chosen.choice(self._blocks)
                    self.written.pop(block, None)
                    disk.write(block, content(block, self.number + 1))
                    self.number += 1
                    self.written[block] = self.number
                    if self.number % FLUSH_EVERY == 0:
                        disk.flush()
        except OSError as error:
            self.error = error

    def wait_for_more(self, writes: int = 20) -> None:
        """Until that many more writes have succeeded."""
        enough = self.number + writes
        wait_until(lambda: self.error is not None or self.number >= enough, "writes", LIMIT)
        assert self.error is None, self.error

    def wait_for_error(self) -> OSError:
        wait_until(lambda: self.error is not None, "a write's failure", LIMIT)
        assert self.error
        return self.error

    def stop(self) -> dict[int, int]:
        """End it; every write must have succeeded. What it has written."""
        self._over.set()
        self.join(LIMIT)
        assert not self.is_alive()
        assert self.error is None, self.error
        return self.written


def check(disk: Path, written: dict[int, int]) -> None:
    """Every block holds the last thing written to it."""
    assert written
    with Disk(disk) as device:
        wrong = [block for block, number in written.items() if device.read(block) != content(block, number)]
    assert not wrong, wrong
