"""iblock: a block device of this host behind a unit.

The device is claimed (O_EXCL), so that a mounted or otherwise used one is EBUSY, as LIO's iblock has it. I/O
goes through the page cache. Whether the device has a volatile cache of its own makes no difference to that:
the page cache is one, so the unit reports a write cache, and SYNCHRONIZE CACHE and FUA flush both.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from pathlib import Path

from isadmin.userspace.storage.base import Facts
from isadmin.userspace.storage.descriptor import UNSUPPORTED, DescriptorStorage

BLKROGET = 0x125E
BLKDISCARD = 0x1277
BLKZEROOUT = 0x127F
BLKSSZGET = 0x1268
BLKPBSZGET = 0x127B
_RANGE = struct.Struct("=QQ")
_INT = struct.Struct("=i")


class BlockStorage(DescriptorStorage):
    __slots__ = ()

    @property
    def size(self) -> int:
        return os.lseek(self.fd, 0, os.SEEK_END)

    def resize(self, size: int) -> None:
        pass

    def discard(self, offset: int, length: int) -> None:
        try:
            fcntl.ioctl(self.fd, BLKDISCARD, _RANGE.pack(offset, length))
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise

    def zero(self, offset: int, length: int) -> None:
        try:
            fcntl.ioctl(self.fd, BLKZEROOUT, _RANGE.pack(offset, length))
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            super().zero(offset, length)
        else:
            if self.write_through:
                self.flush()


def device_facts(fd: int, *, hw_max_bytes: int | None = None, write_cache: bool = True) -> Facts:
    """What the kernel's queue says about an open block device."""
    block_size = _int_ioctl(fd, BLKSSZGET)
    number = os.fstat(fd).st_rdev
    node = _node(number)
    queue = node / "queue" if (node / "queue").is_dir() else node.parent / "queue"
    max_bytes = hw_max_bytes or _queue_value(queue, "max_hw_sectors_kb", 1280) * 1024
    granularity = _queue_value(queue, "discard_granularity", 0)
    discard = _queue_value(queue, "discard_max_hw_bytes", _queue_value(queue, "discard_max_bytes", 0))
    return Facts(
        hw_block_size=block_size,
        hw_max_sectors=max_bytes // block_size,
        hw_queue_depth=_queue_value(queue, "nr_requests", 128),
        write_cache=write_cache,
        unmap_max_lba_count=min(discard // block_size, 0xFFFFFFFF),
        unmap_granularity=granularity // block_size,
        unmap_alignment=_queue_value(node, "discard_alignment", 0) // block_size,
        max_write_same_len=_queue_value(queue, "write_zeroes_max_bytes", 0) // block_size or 0xFFFF,
        rotational=_queue_value(queue, "rotational", 0) == 1,
        physical_block_size=_int_ioctl(fd, BLKPBSZGET),
    )


def open_block(control: dict[str, str]) -> BlockStorage:
    """Open iblock's storage. OSError: EINVAL without udev_path, ENOTBLK for another kind of file, EBUSY when
    the device is claimed, EACCES for a read-only device without readonly=1."""
    name = control.get("udev_path", "").rstrip("\n")
    if not name:
        raise OSError(errno.EINVAL, "Missing udev_path= parameters for IBLOCK")
    if not stat.S_ISBLK(os.stat(name).st_mode):  # noqa: PTH116 - the errno must be the kernel's own
        raise OSError(errno.ENOTBLK, os.strerror(errno.ENOTBLK), name)
    text = control.get("readonly", "0").strip()
    read_only = text.isdigit() and int(text) > 0
    fd = os.open(name, (os.O_RDONLY if read_only else os.O_RDWR) | os.O_EXCL)
    try:
        if not read_only and _int_ioctl(fd, BLKROGET):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), name)
        storage = BlockStorage(fd, 0, device_facts(fd), read_only=read_only)
        number = os.fstat(fd).st_rdev
        storage.names = {
            "name": _node(number).name,
            "major": str(os.major(number)),
            "minor": str(os.minor(number)),
        }
    except BaseException:
        os.close(fd)
        raise
    return storage


def _node(number: int) -> Path:
    """The sysfs directory of a block device."""
    return Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()


def _int_ioctl(fd: int, request: int) -> int:
    value: int = _INT.unpack(fcntl.ioctl(fd, request, bytes(4)))[0]
    return value


def _queue_value(queue: Path, name: str, default: int) -> int:
    try:
        return int((queue / name).read_text())
    except (OSError, ValueError):
        return default
