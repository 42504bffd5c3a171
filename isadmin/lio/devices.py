"""Making storage objects of files, memory and block devices: what is written into a new one's directory, in
rtslib's order.
"""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Callable
from pathlib import Path

from isadmin.config.model import StorageObject
from isadmin.errors import IsadminError
from isadmin.lio import files
from isadmin.lio.objects import is_block_device

PR_START, PR_END = "PR_REG_START:", "PR_REG_END:"


def _ramdisk(path: str, so: StorageObject) -> None:
    pages = max(round((so.size or 0) / os.sysconf("SC_PAGE_SIZE")), 1)
    files.write(f"{path}/control", f"rd_pages={pages}")
    if so.nullio:
        files.write(f"{path}/control", "rd_nullio=1")


def _fileio(path: str, so: StorageObject) -> None:
    dev = so.dev or ""
    state = Path(dev).stat()
    if stat.S_ISBLK(state.st_mode):
        _refuse_in_use(dev)
        files.write(f"{path}/control", f"fd_dev_name={dev}")
    elif not stat.S_ISREG(state.st_mode):
        raise IsadminError(f"{dev} is neither a file nor a block device")
    else:
        size = state.st_size if so.size is None else so.size
        files.write(f"{path}/control", f"fd_dev_name={dev},fd_dev_size={size}")
    if so.write_back:
        files.write(f"{path}/attrib/emulate_write_cache", "1")
        files.write(f"{path}/control", "fd_buffered_io=1")
    if so.aio:
        files.write(f"{path}/control", "fd_async_io=1")
    files.write(f"{path}/udev_path", dev)


def _block(path: str, so: StorageObject) -> None:
    dev = so.dev or ""
    Path(dev).stat()
    if not is_block_device(dev):
        raise IsadminError(f"{dev} is not a block device")
    if so.exclusive is not False:
        _refuse_in_use(dev)
    files.write(f"{path}/udev_path", dev)
    files.write(f"{path}/control", f"udev_path={dev}")
    files.write(f"{path}/control", f"readonly={int(bool(so.readonly))}")
    files.write(f"{path}/control", f"exclusive={int(so.exclusive is not False)}")


MAKERS: dict[str, Callable[[str, StorageObject], None]] = {
    "ramdisk": _ramdisk,
    "fileio": _fileio,
    "block": _block,
}
"""Plugin -> what tells a new directory of it what it is to be. Raises OSError, IsadminError."""


def identify(path: str, so: StorageObject, dbroot: str) -> None:
    """Switch it on, and give it its serial number and the reservations that were kept for that in `dbroot`.
    Raises OSError."""
    files.write(f"{path}/enable", "1\n")
    wwn = so.wwn or str(uuid.uuid4())
    files.write(f"{path}/wwn/vpd_unit_serial", f"{wwn}\n")
    for reservation in _reservations(f"{dbroot}/pr/aptpl_{wwn}"):
        files.write(f"{path}/pr/res_aptpl_metadata", reservation)


def alike(so: StorageObject) -> tuple[object, ...] | None:
    """What all fresh storage objects share their values with, None for those that mirror a device."""
    if so.plugin == "ramdisk":
        return ("storage_object", "ramdisk", so.nullio)
    if so.plugin == "fileio" and so.dev and not is_block_device(so.dev):
        return ("storage_object", "fileio", so.write_back, so.aio)
    return None


def _refuse_in_use(dev: str) -> None:
    """Raises IsadminError if a device is mounted or held by somebody else."""
    try:
        os.close(os.open(dev, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise IsadminError(f"{dev} is in use", "unmount it, or stop what has it open") from error
        raise


def _reservations(file: str) -> list[str]:
    """The persistent reservations that LIO keeps in a file for a serial number, as it takes them back."""
    try:
        words = Path(file).read_text().split()
    except (OSError, UnicodeDecodeError):
        return []
    found: list[str] = []
    lines: list[str] = []
    for word in words:
        if word.startswith(PR_START):
            lines = []
        elif word.startswith(PR_END):
            found.append(",".join(lines))
        else:
            lines.append(word)
    return found
