"""Storage on a file descriptor: what regular files and block devices share.

Data outside the page cache must not stall the event loop, so the `_now` forms ask the kernel not to wait
(RWF_NOWAIT). Files on tmpfs have nothing to wait for and need no such flag; on a filesystem that supports
neither reading nor writing that way, the `_now` forms decline. No byte of a file or device is touched through
a mapping: a truncated file or a bad sector under one is SIGBUS, the end of every session of the daemon.

What is sent without a copy (sendfile) is the page cache's own pages: a write to them which comes before the
initiator has taken the data in shows in it, as in any READ that has not ended when a WRITE begins.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from isadmin.userspace.storage.base import Buffer, Facts, FailedAt
from isadmin.userspace.storage.pagecache import PageCache

FALLOC_FL_KEEP_SIZE = 1
FALLOC_FL_PUNCH_HOLE = 2
FALLOC_FL_ZERO_RANGE = 16
ZEROS = bytes(1 << 20)
UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENOTTY})
_OF_SOCKETS = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTUNREACH})

_libc = ctypes.CDLL(None, use_errno=True)
_fallocate = getattr(_libc, "fallocate64", None) or _libc.fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_fallocate.restype = ctypes.c_int


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2), which the os module does not offer with a mode. Releases the GIL."""
    while _fallocate(fd, mode, offset, length):
        code = ctypes.get_errno()
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))


def in_memory(fd: int) -> bool:
    """Whether the file lives on tmpfs or ramfs, where I/O has nothing to wait for."""
    status = os.fstat(fd)
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return False
    for line in mounts:
        fields = line.split()
        if fields[2] == device:
            return fields[fields.index("-") + 1] in {"tmpfs", "ramfs"}
    return False


def nowait_flag(fd: int) -> int | None:
    """The preadv2 flag that keeps a read from waiting: RWF_NOWAIT; 0: no read waits; None: there is none."""
    if in_memory(fd):
        return 0
    try:
        os.preadv(fd, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return os.RWF_NOWAIT
    except OSError:
        return None
    return os.RWF_NOWAIT


class DescriptorStorage:
    """Reads and writes of an open descriptor; the size and the ways to free space are the subclass's."""

    __slots__ = (
        "_cache",
        "_size",
        "discard_zeroes",
        "facts",
        "failures",
        "fd",
        "names",
        "read_flag",
        "read_only",
        "tells_holes",
        "write_flag",
        "write_through",
    )

    blocking = True

    def __init__(self, fd: int, size: int, facts: Facts, *, read_only: bool) -> None:
        self.fd = fd
        self._size = size
        self.facts = facts
        self.names: Mapping[str, str] = {}
        self.discard_zeroes = False
        self.tells_holes = False
        self.read_only = read_only
        self.write_through = not facts.write_cache
        self.failures = 0
        """Flushes that failed."""
        self.read_flag = nowait_flag(fd)
        self.write_flag = self.read_flag
        self._cache = PageCache(fd)

    @property
    def size(self) -> int:
        return self._size

    def resize(self, size: int) -> None:
        self._size = size

    def read(self, offset: int, length: int) -> bytearray:
        buffer = bytearray(length)
        self.read_into(offset, buffer)
        return buffer

    def read_into(self, offset: int, buffer: bytearray | memoryview) -> None:
        view = memoryview(buffer)
        while view:
            try:
                count = os.preadv(self.fd, (view,), offset)
            except OSError as error:
                raise FailedAt(error, offset) from error
            if not count:
                self.past_end(view)
                return
            view = view[count:]
            offset += count

    def past_end(self, view: memoryview) -> None:
        """A read met the end of the medium before the end of the unit."""
        raise OSError(errno.EIO, "read beyond the end of the device")

    def read_now(self, offset: int, length: int) -> bytearray | None:
        buffer = bytearray(length)
        return buffer if self.read_into_now(offset, buffer) == length else None

    def read_into_now(self, offset: int, buffer: bytearray | memoryview) -> int:
        if self.read_flag is None:
            return -1
        try:
            count = os.preadv(self.fd, (buffer,), offset, self.read_flag)
            if count == len(buffer):
                return count
            if self.read_flag:
                # The rest may be on the disk only.
                return -1
            self.read_into(offset + count, memoryview(buffer)[count:])
        except OSError:
            return -1
        return len(buffer)

    def at_hand(self, offset: int, length: int) -> bool:
        return self.read_flag == 0 or self._cache.has(offset, length)

    def send_now(self, sock: socket.socket, offset: int, length: int) -> int:
        try:
            return os.sendfile(sock.fileno(), self.fd, offset, length)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno in _OF_SOCKETS:
                raise
            return 0

    def write(self, offset: int, data: Buffer, *, sync: bool = False) -> None:
        view = memoryview(data)
        failures = self.failures
        while view:
            try:
                count = os.pwrite(self.fd, view, offset)
            except OSError as error:
                raise FailedAt(error, offset) from error
            view = view[count:]
            offset += count
        if sync or self.write_through:
            self._sync(failures)

    def write_now(self, offset: int, data: Buffer) -> bool:
        if self.write_flag is None or self.write_through:
            return False
        try:
            if not self.write_flag:
                # What pwritev would do, with less to unwrap.
                return os.pwrite(self.fd, data, offset) == len(data)
            return os.pwritev(self.fd, (data,), offset, self.write_flag) == len(data)
        except BlockingIOError:
            return False
        except OSError as error:
            # Few filesystems take RWF_NOWAIT for writes; those that do not say so at the first one.
            if error.errno in UNSUPPORTED:
                self.write_flag = None
            return False

    def flush(self) -> None:
        self._sync(self.failures)

    def _sync(self, failures: int) -> None:
        """failures: how many there had been before what is to be safe was written. Linux tells of lost data
        once: if another thread was told meanwhile, it may have been this one's."""
        try:
            os.fdatasync(self.fd)
        except OSError as error:
            self.failures += 1
            raise FailedAt(error, None) from error
        if self.failures != failures:
            raise FailedAt(OSError(errno.EIO, "a flush failed meanwhile"), None)

    def zero(self, offset: int, length: int) -> None:
        while length:
            count = min(length, len(ZEROS))
            self.write(offset, ZEROS[:count])
            offset += count
            length -= count

    def prefetch(self, offset: int, length: int) -> None:
        os.posix_fadvise(self.fd, offset, length, os.POSIX_FADV_WILLNEED)

    def extent(self, offset: int) -> tuple[bool, int]:
        return True, self.size

    def close(self) -> None:
        self._cache.close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
