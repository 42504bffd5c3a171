"""What of a file or device is in memory, so that it can be sent without waiting for a disk."""

from __future__ import annotations

import ctypes
import mmap
import os

_libc = ctypes.CDLL(None, use_errno=True)
_mmap = getattr(_libc, "mmap64", None) or _libc.mmap
_mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64)
_mmap.restype = ctypes.c_void_p
_munmap = _libc.munmap
_munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_mincore = _libc.mincore
_mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
_PROT_NONE = 0
_MAP_FAILED = ctypes.c_void_p(-1).value
_PAGE = mmap.PAGESIZE


class PageCache:
    """Which pages of a file or device are in memory: mincore(2), on a mapping that nobody may touch."""

    __slots__ = ("_base", "_fd", "_length", "_pages")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._base: int | None = None
        self._length = 0
        self._pages = ctypes.create_string_buffer(0)

    def has(self, offset: int, length: int) -> bool:
        """Whether all of these bytes are there. False also where that cannot be told."""
        first = offset // _PAGE * _PAGE
        end = offset + length
        if end > self._length and not self._map(end):
            return False
        assert self._base is not None
        count = -(-(end - first) // _PAGE)
        if len(self._pages) < count:
            self._pages = ctypes.create_string_buffer(count)
        if _mincore(self._base + first, end - first, self._pages):
            return False
        return self._pages.raw[:count].count(1) == count

    def _map(self, end: int) -> bool:
        self.close()
        try:
            size = max(end, os.lseek(self._fd, 0, os.SEEK_END))
        except OSError:
            return False
        base = _mmap(None, size, _PROT_NONE, mmap.MAP_SHARED, self._fd, 0)
        if base == _MAP_FAILED:
            return False
        self._base, self._length = base, size
        return True

    def close(self) -> None:
        if self._base is not None:
            _munmap(self._base, self._length)
            self._base, self._length = None, 0
