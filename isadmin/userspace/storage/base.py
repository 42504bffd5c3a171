"""What a logical unit asks of the bytes beneath it.

Offsets and lengths are bytes. `read`, `write`, `flush`, `discard` and `zero` may block and may be called
from any thread; the `_now` forms are for the event loop's thread and never wait for a disk: they answer None,
-1 or False when they would have to, or when anything else is amiss, and the caller takes the blocking form,
which reports the error. Every error is an OSError; scsi/medium.py says which sense data it becomes.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Facts:
    """What the device under a unit is able to do: the hw_* values and the first values of some attributes."""

    hw_block_size: int = 512
    hw_max_sectors: int = 16384
    hw_queue_depth: int = 128
    write_cache: bool = False
    """Writes are volatile until flushed."""
    unmap_max_lba_count: int = 0
    """Logical blocks of hw_block_size in one discard; 0: it cannot discard."""
    unmap_granularity: int = 0
    """Logical blocks of hw_block_size."""
    unmap_alignment: int = 0
    max_write_same_len: int = 0
    """Logical blocks; 0: no WRITE SAME."""
    rotational: bool = False
    physical_block_size: int = 512


class FailedAt(OSError):  # noqa: N818 - named for what it adds
    """An error of the medium, of which it is known where it was; or that nobody knows (a flush)."""

    def __init__(self, error: OSError, offset: int | None) -> None:
        super().__init__(error.errno, error.strerror)
        self.offset = offset


class Storage(Protocol):
    facts: Facts
    names: Mapping[str, str]
    """Block devices: 'name', 'major' and 'minor', as the kernel knows them. Empty for others."""
    discard_zeroes: bool
    """What was discarded reads as zeros."""
    tells_holes: bool
    """extent() tells holes from data."""
    read_only: bool
    blocking: bool
    """Whether read, write, flush, ... can wait for a device, so that they belong in a pool thread."""
    write_through: bool
    """Every write must be on the medium when it is answered: write_now then always declines."""

    @property
    def size(self) -> int: ...

    def resize(self, size: int) -> None:
        """Take `size` as the new size. Ignored where the device itself says its size."""
        ...

    def read(self, offset: int, length: int) -> Buffer:
        """Exactly `length` bytes."""
        ...

    def read_now(self, offset: int, length: int) -> Buffer | None: ...

    def read_into(self, offset: int, buffer: bytearray | memoryview) -> None:
        """Fill the whole buffer."""
        ...

    def read_into_now(self, offset: int, buffer: bytearray | memoryview) -> int:
        """Fill the whole buffer and return its length, or return -1."""
        ...

    def at_hand(self, offset: int, length: int) -> bool:
        """Whether send_now() has these bytes to send without waiting for a disk."""
        ...

    def send_now(self, sock: socket.socket, offset: int, length: int) -> int:
        """Send from the medium to a socket that does not block, without a copy in between. How many bytes are
        gone: fewer than `length`, or none, when the socket takes no more or the storage has no such way.
        OSError is the socket's."""
        ...

    def write(self, offset: int, data: Buffer, *, sync: bool = False) -> None:
        """Write all of `data`; with `sync`, it is on the medium when this returns."""
        ...

    def write_now(self, offset: int, data: Buffer) -> bool: ...

    def flush(self) -> None:
        """Everything written before is on the medium when this returns."""
        ...

    def discard(self, offset: int, length: int) -> None:
        """Give the space back. The range reads as zeros afterwards where the device can promise it."""
        ...

    def zero(self, offset: int, length: int) -> None: ...

    def prefetch(self, offset: int, length: int) -> None:
        """Advice: the range will be read soon."""
        ...

    def extent(self, offset: int) -> tuple[bool, int]:
        """Whether the byte at `offset` has space behind it, and the offset at which that changes or ends."""
        ...

    def close(self) -> None: ...
