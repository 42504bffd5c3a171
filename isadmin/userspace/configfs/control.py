"""control and info: how a storage object's backing is named before `enable`, and what info says of it."""

from __future__ import annotations

import errno
from collections.abc import Callable

from isadmin.userspace.configfs.context import Context
from isadmin.userspace.configfs.values import TEXT, U32, control_tokens, fail, loose_integer, unsigned
from isadmin.userspace.model import Device

FILE_NAME_MAX = 256
PATH_MAX = 512
CONFIG_MAX = 256
PAGES_PER_TABLE = 2048
"""Scatter-gather entries in one table of a RAM disk."""


def _truncated(text: str, size: int) -> str:
    return text.encode(*TEXT)[: size - 1].decode(*TEXT)


Key = Callable[[Device, str], str | None]
"""The value to keep, None to ignore the pair. One with an empty value never gets here: it matches nothing."""


def _file_name(device: Device, value: str) -> str:
    return _truncated(value, FILE_NAME_MAX)


def _size(device: Device, value: str) -> str:
    return str(unsigned(value))


def _only_one(device: Device, value: str) -> str | None:
    """A flag that can be set and not cleared."""
    number = loose_integer(value)
    if number is None:
        return None
    if number != 1:
        fail(errno.EINVAL)
    return "1"


def _one_or_ignored(device: Device, value: str) -> str | None:
    return "1" if loose_integer(value) == 1 else None


def _u32(device: Device, value: str) -> str | None:
    number = loose_integer(value)
    return None if number is None else str(number & U32)


def _int(device: Device, value: str) -> str | None:
    number = loose_integer(value)
    return None if number is None else str(number)


def _udev_path(device: Device, value: str) -> str:
    if device.unit is not None:
        fail(errno.EEXIST)
    return _truncated(value, PATH_MAX)


def _unsigned_or_ignored(device: Device, value: str) -> str | None:
    number = loose_integer(value)
    if number is None:
        return None
    if number < 0:
        fail(errno.EINVAL)
    return str(number)


def _config(device: Device, value: str) -> str:
    return _truncated(value, CONFIG_MAX)


def _attribute(name: str, *, positive: bool = False, before_enable: bool = False) -> Key:
    """A user device's key that is an attribute too."""

    def key(device: Device, value: str) -> str | None:
        number = unsigned(value) if name == "dev_size" else loose_integer(value)
        if number is None:
            return None
        if (positive and number <= 0) or (before_enable and device.unit is not None):
            fail(errno.EINVAL)
        device.attrib[name] = number
        return str(number)

    return key


KEYS: dict[str, dict[str, Key]] = {
    "fileio": {
        "fd_dev_name": _file_name,
        "fd_dev_size": _size,
        "fd_buffered_io": _only_one,
        "fd_async_io": _only_one,
    },
    "rd_mcp": {"rd_pages": _u32, "rd_nullio": _one_or_ignored, "rd_dummy": _one_or_ignored},
    "iblock": {"udev_path": _udev_path, "readonly": _unsigned_or_ignored},
    "pscsi": {
        "scsi_host_id": _int,
        "scsi_channel_id": _int,
        "scsi_target_id": _int,
        "scsi_lun_id": _int,
    },
    "user": {
        "dev_config": _config,
        "dev_size": _attribute("dev_size"),
        "hw_block_size": _attribute("hw_block_size", positive=True),
        "hw_max_sectors": _attribute("hw_max_sectors", positive=True),
        "nl_reply_supported": _attribute("nl_reply_supported"),
        "max_data_area_mb": _attribute("max_data_area_mb", positive=True, before_enable=True),
        "data_pages_per_blk": _attribute("data_pages_per_blk", positive=True, before_enable=True),
        "cmd_ring_size_mb": _attribute("cmd_ring_size_mb", positive=True, before_enable=True),
    },
}


def store_control(context: Context, device: Device, text: str) -> None:
    """Unknown keys, and values of the wrong form for a number, are ignored; what stands before a refused pair
    stays."""
    keys = KEYS[device.plugin]
    for name, value in control_tokens(text):
        key = keys.get(name)
        if key is None or not value:
            continue
        kept = key(device, value)
        if kept is not None:
            device.control[name] = kept
            if device.unit is not None:
                context.engine.device_changed(device, name)


def check_control(device: Device) -> None:
    """What a plugin demands before it opens anything: EINVAL."""
    control = device.control
    needed: tuple[str, ...] = ()
    if device.plugin == "fileio":
        needed = ("fd_dev_name",)
    elif device.plugin == "rd_mcp":
        needed = ("rd_pages",)
        if not 0 < int(control.get("rd_pages", 0)) < 1 << 31:
            fail(errno.EINVAL)
    elif device.plugin == "iblock":
        needed = ("udev_path",)
    elif device.plugin == "pscsi":
        needed = ("scsi_channel_id", "scsi_target_id", "scsi_lun_id")
    if any(name not in control for name in needed):
        fail(errno.EINVAL)


def _fileio_info(device: Device) -> str:
    control = device.control
    mode = "Buffered-WCE" if "fd_buffered_io" in control else "O_DSYNC"
    return (
        f"TCM FILEIO ID: {device.plugin_id}        File: {control.get('fd_dev_name', '')}"
        f"  Size: {control.get('fd_dev_size', 0)}  Mode: {mode} Async: {int('fd_async_io' in control)}\n"
    )


def start_tables(device: Device) -> None:
    """What `enable` gives a ramdisk; what control is told later changes nothing in it."""
    control = device.control
    if device.plugin == "rd_mcp" and "rd_nullio" not in control:
        device.tables = int(control["rd_pages"]) // PAGES_PER_TABLE + 1


def _ramdisk_info(device: Device) -> str:
    control = device.control
    pages = int(control.get("rd_pages", 0))
    nullio = int("rd_nullio" in control)
    return (
        f"TCM RamDisk ID: {device.plugin_id}  RamDisk Makeup: rd_mcp\n"
        f"        PAGES/PAGE_SIZE: {pages}*4096  SG_table_count: {device.tables}"
        f"  nullio: {nullio} dummy: {int('rd_dummy' in control)}\n"
    )


def _iblock_info(device: Device) -> str:
    control = device.control
    path = f"  UDEV PATH: {control['udev_path']}" if "udev_path" in control else ""
    readonly = f"  readonly: {control.get('readonly', 0)}\n"
    if device.unit is None:
        return f"{path}{readonly}        Major: 0 Minor: 0\n"
    facts = device.unit.facts
    return (
        f"iBlock device: {facts.get('name', '')}{path}{readonly}"
        f"        Major: {facts.get('major', 0)} Minor: {facts.get('minor', 0)}  CLAIMED: IBLOCK\n"
    )


def _pscsi_info(device: Device) -> str:
    control = device.control
    text = (
        f"SCSI Device Bus Location: Channel ID: {control.get('scsi_channel_id', 0)}"
        f" Target ID: {control.get('scsi_target_id', 0)} LUN: {control.get('scsi_lun_id', 0)}"
        f" Host ID: {control.get('scsi_host_id', 0)}\n"
    )
    if device.unit is None:
        return text
    facts = device.unit.facts
    vendor, model, rev = (facts.get(name, "") for name in ("vendor", "model", "rev"))
    return f"{text}        Vendor: {vendor:8} Model: {model:16} Rev: {rev}\n"


def _user_info(device: Device) -> str:
    attrib = device.attrib
    return (
        f"Config: {device.control.get('dev_config') or 'NULL'} Size: {attrib['dev_size']}"
        f" MaxDataAreaMB: {attrib['max_data_area_mb']} DataPagesPerBlk: {attrib['data_pages_per_blk']}"
        f" CmdRingSizeMB: {attrib['cmd_ring_size_mb']}\n"
    )


_INFO = {
    "fileio": _fileio_info,
    "rd_mcp": _ramdisk_info,
    "iblock": _iblock_info,
    "pscsi": _pscsi_info,
    "user": _user_info,
}


def show_info(context: Context, device: Device) -> str:
    """ACTIVATED means exported by a LUN, not enabled."""
    attrib = device.attrib
    status = "ACTIVATED" if device.exports else "DEACTIVATED"
    return (
        f"Status: {status}  Max Queue Depth: {device.queue_depth_written}  SectorSize: {attrib['block_size']}"
        f"  HwMaxSectors: {attrib['hw_max_sectors']}\n        {_INFO[device.plugin](device)}"
    )
