"""fileio: a regular file (or any device node) behind a unit, as LIO's fileio backstore has it.

The file need not be as long as the unit: what lies beyond its end reads as zeros, a write extends it.
Opening, sizes and errnos follow what kernel 6.1 answers to `enable`.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from isadmin.userspace.storage import extents
from isadmin.userspace.storage.base import Facts
from isadmin.userspace.storage.block import device_facts
from isadmin.userspace.storage.descriptor import (
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_ZERO_RANGE,
    UNSUPPORTED,
    DescriptorStorage,
    fallocate,
)

MAX_BYTES = 8 << 20
"""LIO's FD_MAX_BYTES: one I/O of fileio."""
MAX_UNMAP_BLOCKS = 0x2000
MAX_WRITE_SAME_BLOCKS = 0x1000


class FileStorage(DescriptorStorage):
    __slots__ = ("regular",)

    def __init__(self, fd: int, size: int, facts: Facts, *, regular: bool = True) -> None:
        super().__init__(fd, size, facts, read_only=False)
        self.regular = regular
        self.discard_zeroes = regular
        self.tells_holes = regular

    @property
    def size(self) -> int:
        if self.regular:
            return self._size
        # The whole device, whatever fd_dev_size says: so does LIO, which looks at its size each time.
        return os.lseek(self.fd, 0, os.SEEK_END)

    def past_end(self, view: memoryview) -> None:
        if not self.regular:
            super().past_end(view)
        view[:] = bytes(len(view))

    def discard(self, offset: int, length: int) -> None:
        try:
            fallocate(self.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            self.zero(offset, length)
        else:
            if self.write_through:
                self.flush()

    def zero(self, offset: int, length: int) -> None:
        try:
            fallocate(self.fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, length)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            super().zero(offset, length)
        else:
            if self.write_through:
                self.flush()

    def extent(self, offset: int) -> tuple[bool, int]:
        size = self.size
        if not self.regular:
            return True, size
        return extents.extent(self.fd, offset, size)


def size_of(control: dict[str, str]) -> int:
    """fd_dev_size, read as the kernel's strtoull reads it; 0 when unset."""
    text = control.get("fd_dev_size", "0").strip()
    return int(text, 0) if not text.isdigit() else int(text)


def open_file(control: dict[str, str]) -> FileStorage:
    """Open fileio's storage, creating a missing file. OSError: EINVAL without a name, or without a size for a
    regular file; else what open(2) says."""
    name = control.get("fd_dev_name", "")
    if not name:
        raise OSError(errno.EINVAL, "Missing fd_dev_name=")
    path = Path(name)
    buffered = control.get("fd_buffered_io") == "1"
    existed = path.exists()
    if existed and stat.S_ISFIFO(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a file", name)
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        regular = not stat.S_ISBLK(os.fstat(fd).st_mode)
        if not regular:
            facts = device_facts(fd, hw_max_bytes=MAX_BYTES, write_cache=buffered)
            return FileStorage(fd, 0, facts, regular=False)
        if "fd_dev_size" not in control:
            raise OSError(errno.EINVAL, "Missing fd_dev_size=", name)
        if not existed:
            _sync_directory(path.parent)
        facts = Facts(
            hw_max_sectors=MAX_BYTES // 512,
            write_cache=buffered,
            unmap_max_lba_count=MAX_UNMAP_BLOCKS,
            unmap_granularity=1,
            max_write_same_len=MAX_WRITE_SAME_BLOCKS,
            # LIO calls every regular file rotating (is_nonrot=0): it cannot know better.
            rotational=True,
        )
        return FileStorage(fd, size_of(control), facts)
    except BaseException:
        os.close(fd)
        raise


def _sync_directory(path: Path) -> None:
    """A new file is not safe until its name is: fdatasync of the file does not see to that."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
