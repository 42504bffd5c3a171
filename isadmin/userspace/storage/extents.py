"""Which bytes of a regular file have space behind them.

SEEK_DATA does not tell: ext4 and XFS put zeros down as space that was never written to, which it passes over
like a hole. FIEMAP knows; where a filesystem has none (tmpfs), zeros are data and SEEK_DATA is right.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

FS_IOC_FIEMAP = 0xC020660B
AT_ONCE = 64
"""Extents of one look. A file's neighbouring extents beyond that are told apart."""
_HEADER = struct.Struct("=QQIIII")
_EXTENT = struct.Struct("=QQQQQIIII")


def extent(fd: int, offset: int, size: int) -> tuple[bool, int]:
    """Whether the byte at `offset` has space behind it, and the offset, no more than `size`, at which that
    changes or may change."""
    found = _allocated(fd, offset, size)
    if found is None:
        return _data(fd, offset, size)
    end = offset
    for start, stop in found:
        if start > end:
            break
        end = stop
    if end > offset:
        return True, min(end, size)
    return False, min(found[0][0], size) if found else size


def _allocated(fd: int, offset: int, size: int) -> list[tuple[int, int]] | None:
    """The first extents from `offset` on, or None where the filesystem does not tell."""
    request = bytearray(_HEADER.size + AT_ONCE * _EXTENT.size)
    _HEADER.pack_into(request, 0, offset, size - offset, 0, 0, AT_ONCE, 0)
    try:
        fcntl.ioctl(fd, FS_IOC_FIEMAP, request)
    except OSError:
        return None
    _, _, _, count, _, _ = _HEADER.unpack_from(request)
    places = range(_HEADER.size, _HEADER.size + count * _EXTENT.size, _EXTENT.size)
    extents = (_EXTENT.unpack_from(request, place) for place in places)
    return [(start, start + length) for start, _, length, *_ in extents]


def _data(fd: int, offset: int, size: int) -> tuple[bool, int]:
    try:
        data = os.lseek(fd, offset, os.SEEK_DATA)
    except OSError as error:
        return error.errno != errno.ENXIO, size
    if data > offset:
        return False, min(data, size)
    return True, min(os.lseek(fd, offset, os.SEEK_HOLE), size)
