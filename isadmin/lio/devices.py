"""Making a storage object: its directories, and what is written into them, in rtslib's order."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from isadmin.config.model import StorageObject
from isadmin.errors import IsadminError
from isadmin.lio import files
from isadmin.lio.storage_objects import PREFIXES, is_block_device

PAGE = os.sysconf("SC_PAGE_SIZE")
PR_START, PR_END = "PR_REG_START:", "PR_REG_END:"


def make(core: str, number: int, so: StorageObject, dbroot: Callable[[], str]) -> str:
    """Make a storage object in a backstore's directory of its own, core/<prefix>_<number>, whole or not at
    all, and switch it on; returns its path. `dbroot` says where reservations are kept. Raises OSError,
    IsadminError, RTSLibError."""
    backstore = f"{core}/{PREFIXES[so.plugin]}_{number}"
    path = f"{backstore}/{so.name}"
    os.mkdir(backstore)
    try:
        os.mkdir(path)
        _MAKERS[so.plugin](path, so)
        files.write(f"{path}/enable", "1\n")
        if so.plugin != "pscsi":
            # Its serial number is the device's.
            _identify(path, so.wwn, dbroot)
    except BaseException:
        for leftover in (path, backstore):
            with suppress(OSError):
                os.rmdir(leftover)
        raise
    return path


def _identify(path: str, wwn: str | None, dbroot: Callable[[], str]) -> None:
    """Give it its serial number, and the reservations that were kept for that: none are under a new one."""
    files.write(f"{path}/wwn/vpd_unit_serial", f"{wwn or uuid.uuid4()}\n")
    if wwn:
        for reservation in _reservations(f"{dbroot()}/pr/aptpl_{wwn}"):
            files.write(f"{path}/pr/res_aptpl_metadata", reservation)


def paged(size: int) -> int:
    """The bytes that a ramdisk of a size has: whole pages."""
    return max(round(size / PAGE), 1) * PAGE


def _ramdisk(path: str, so: StorageObject) -> None:
    nothing = ",rd_nullio=1" if so.nullio else ""
    files.write(f"{path}/control", f"rd_pages={paged(so.size or 0) // PAGE}{nothing}")


def _fileio(path: str, so: StorageObject) -> None:
    dev = so.dev or ""
    state = Path(dev).stat()
    if stat.S_ISBLK(state.st_mode):
        _refuse_no_disk(dev)
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
    _refuse_no_disk(dev)
    if so.exclusive is not False:
        _refuse_in_use(dev)
    files.write(f"{path}/udev_path", dev)
    files.write(f"{path}/control", f"udev_path={dev}")
    files.write(f"{path}/control", f"readonly={int(bool(so.readonly))}")
    files.write(f"{path}/control", f"exclusive={int(so.exclusive is not False)}")


def _user(path: str, so: StorageObject) -> None:
    config = so.config or ""
    if "/" not in config or ":" in config:
        raise IsadminError(f"Bad config '{config}'", "it is HANDLER/WHAT IT IS TOLD, without ':'")
    files.write(f"{path}/control", f"dev_config={config}")
    files.write(f"{path}/control", f"dev_size={so.size or 0}")
    if so.hw_max_sectors is not None:
        files.write(f"{path}/control", f"hw_max_sectors={so.hw_max_sectors}")
    if so.control is not None:
        files.write(f"{path}/control", so.control)


def _pscsi(path: str, so: StorageObject) -> None:
    from rtslib import utils

    dev = (so.dev or "").strip()
    try:
        address = utils.convert_scsi_path_to_hctl(dev)
    except utils.RTSLibError:
        words = dev.split(":")
        if len(words) != 4 or not all(word.isdecimal() for word in words):
            raise IsadminError(f"{dev} is no SCSI device", "name one by its path, or as H:C:T:L") from None
        address = [int(word) for word in words]
        dev = utils.convert_scsi_hctl_to_path(*address)
    if utils.is_dev_in_use(dev):
        raise IsadminError(f"{dev} is in use", "unmount it, or stop what has it open")
    names = ("scsi_host_id", "scsi_channel_id", "scsi_target_id", "scsi_lun_id")
    told = ",".join(f"{name}={number}" for name, number in zip(names, address, strict=True))
    files.write(f"{path}/control", told)
    files.write(f"{path}/udev_path", dev)


_MAKERS: dict[str, Callable[[str, StorageObject], None]] = {
    "ramdisk": _ramdisk,
    "fileio": _fileio,
    "block": _block,
    "user": _user,
    "pscsi": _pscsi,
}
"""Plugin -> what tells a new directory of it what it is to be. Raises OSError, IsadminError, RTSLibError."""


def alike(so: StorageObject) -> tuple[object, ...] | None:
    """What all fresh storage objects share their values with, None for those that mirror a device."""
    if so.plugin == "ramdisk":
        return ("storage_object", "ramdisk", so.nullio)
    if so.plugin == "fileio" and so.dev and not is_block_device(so.dev):
        return ("storage_object", "fileio", so.write_back, so.aio)
    return None


def _refuse_no_disk(dev: str) -> None:
    """Raises IsadminError for a block device that is no disk: its peripheral device type
    (SPC-4 section 6.6.2) is another than 0."""
    number = os.stat(dev).st_rdev
    kind = files.read_or(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/device/type", "0")
    # Some drivers that are not SCSI's have words there.
    if kind.isdecimal() and int(kind):
        raise IsadminError(f"{dev} is no disk", "others are for /backstores/pscsi")


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
