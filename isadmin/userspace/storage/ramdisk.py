"""rd_mcp: anonymous memory behind a unit, or nothing at all (rd_nullio).

Pages come into being when they are first written, so a large ramdisk costs what is used of it.
"""

from __future__ import annotations

import errno
import mmap
import socket
from collections.abc import Mapping
from types import MappingProxyType

from isadmin.userspace.storage.base import Buffer, Facts

PAGE = 4096
FACTS = Facts(hw_max_sectors=4294967288)
ZEROS = bytes(64 << 10)


class _Memory:
    """What both kinds share: they never wait, never fail, and have nothing to flush."""

    __slots__ = ("_size", "read_only", "write_through")

    facts = FACTS
    names: Mapping[str, str] = MappingProxyType({})
    blocking = False
    discard_zeroes = True
    tells_holes = False

    def __init__(self, size: int) -> None:
        self._size = size
        self.read_only = False
        self.write_through = False

    @property
    def size(self) -> int:
        return self._size

    def resize(self, size: int) -> None:
        pass

    def flush(self) -> None:
        pass

    def prefetch(self, offset: int, length: int) -> None:
        pass

    def extent(self, offset: int) -> tuple[bool, int]:
        return True, self._size


class RamStorage(_Memory):
    __slots__ = ("_view", "memory")

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._view = memoryview(self.memory)

    def read(self, offset: int, length: int) -> bytes:
        return self.memory[offset : offset + length]

    read_now = read

    def read_into(self, offset: int, buffer: bytearray | memoryview) -> None:
        memoryview(buffer)[:] = self._view[offset : offset + len(buffer)]

    def read_into_now(self, offset: int, buffer: bytearray | memoryview) -> int:
        self.read_into(offset, buffer)
        return len(buffer)

    def write(self, offset: int, data: Buffer, *, sync: bool = False) -> None:
        self.memory[offset : offset + len(data)] = data

    def write_now(self, offset: int, data: Buffer) -> bool:
        self.memory[offset : offset + len(data)] = data
        return True

    def zero(self, offset: int, length: int) -> None:
        end = offset + length
        first, last = -(-offset // PAGE) * PAGE, end // PAGE * PAGE
        if first < last:
            self.memory.madvise(mmap.MADV_DONTNEED, first, last - first)
            self._clear(offset, first)
            self._clear(last, end)
        else:
            self._clear(offset, end)

    discard = zero

    def at_hand(self, offset: int, length: int) -> bool:
        return True

    def send_now(self, sock: socket.socket, offset: int, length: int) -> int:
        try:
            return sock.send(self._view[offset : offset + length])
        except BlockingIOError:
            return 0

    def _clear(self, start: int, end: int) -> None:
        self.memory[start:end] = bytes(end - start)

    def close(self) -> None:
        self._view.release()
        self.memory.close()


class NullStorage(_Memory):
    """rd_nullio: reads zeros, forgets writes; for measuring everything but the storage."""

    __slots__ = ()

    def read(self, offset: int, length: int) -> Buffer:
        return ZEROS[:length] if length <= len(ZEROS) else bytes(length)

    read_now = read

    def read_into(self, offset: int, buffer: bytearray | memoryview) -> None:
        memoryview(buffer)[:] = bytes(len(buffer))

    def read_into_now(self, offset: int, buffer: bytearray | memoryview) -> int:
        self.read_into(offset, buffer)
        return len(buffer)

    def at_hand(self, offset: int, length: int) -> bool:
        return False

    def send_now(self, sock: socket.socket, offset: int, length: int) -> int:
        return 0

    def write(self, offset: int, data: Buffer, *, sync: bool = False) -> None:
        pass

    def write_now(self, offset: int, data: Buffer) -> bool:
        return True

    def zero(self, offset: int, length: int) -> None:
        pass

    discard = zero

    def close(self) -> None:
        pass


def pages_of(control: dict[str, str]) -> int:
    """rd_pages, read as the kernel's integer parser reads it; 0 when unset or unreadable."""
    try:
        return int(control.get("rd_pages", "0").strip(), 0)
    except ValueError:
        return 0


def open_ramdisk(control: dict[str, str]) -> RamStorage | NullStorage:
    """OSError: EINVAL without a page count, ENOMEM when the host has no such memory."""
    pages = pages_of(control)
    if pages <= 0:
        raise OSError(errno.EINVAL, "Illegal page count for Ramdisk device")
    if control.get("rd_nullio") == "1":
        return NullStorage(pages * PAGE)
    try:
        return RamStorage(pages * PAGE)
    except (OverflowError, ValueError) as error:
        raise OSError(errno.ENOMEM, "Not enough memory for Ramdisk device") from error
