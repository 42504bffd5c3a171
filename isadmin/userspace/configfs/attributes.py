"""attrib/ of a storage object: names, defaults, and what may be written when."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from isadmin.userspace.configfs.context import Context
from isadmin.userspace.configfs.schema import File, Store
from isadmin.userspace.configfs.values import U16, U32, boolean, fail, signed, unsigned
from isadmin.userspace.model import Device

Rule = Callable[[Context, Device, str], int | None]
"""The value to keep, or None for a write that is taken and forgotten."""


@dataclass(frozen=True, slots=True)
class Attribute:
    name: str
    default: int = 0
    rule: Rule | None = None
    """None: read-only."""


def _exported(device: Device) -> None:
    """Some values are frozen while a LUN exports the device."""
    if device.exports:
        fail(errno.EINVAL)


def _frozen(rule: Rule) -> Rule:
    def checked(context: Context, device: Device, text: str) -> int | None:
        value = rule(context, device, text)
        _exported(device)
        return value

    return checked


def _flag(context: Context, device: Device, text: str) -> int:
    return boolean(text)


def _u32(context: Context, device: Device, text: str) -> int:
    return unsigned(text, U32)


def _ignored(context: Context, device: Device, text: str) -> None:
    """Deprecated: taken and forgotten."""


def _discard(context: Context, device: Device, text: str) -> int:
    """emulate_tpu, emulate_tpws: only where the backing can discard. The kernel asks the backing anew, and
    crashes when there is none yet."""
    value = boolean(text)
    if value and not device.attrib["max_unmap_block_desc_count"]:
        if device.plugin == "rd_mcp":
            fail(errno.ENOSYS)
        if device.unit is None:
            fail(errno.EINVAL)
        if not device.unit.unmap_max_lba_count:
            fail(errno.ENOSYS)
        start_discard(device)
    return value


def _unmap_zeroes_data(context: Context, device: Device, text: str) -> int:
    value = boolean(text)
    _exported(device)
    if value and not device.attrib["max_unmap_block_desc_count"]:
        fail(errno.ENOSYS)
    return value


def _write_cache(context: Context, device: Device, text: str) -> int:
    """A block device's cache is its own."""
    value = boolean(text)
    if value and device.plugin in ("iblock", "pscsi"):
        fail(errno.EINVAL)
    return value


def _ua_intlck(context: Context, device: Device, text: str) -> int:
    value = unsigned(text, U32)
    if value > 2:
        fail(errno.EINVAL)
    return value


def _restricted_reordering(context: Context, device: Device, text: str) -> int:
    if boolean(text):
        fail(errno.ENOSYS)
    return 0


def _model_alias(context: Context, device: Device, text: str) -> int:
    value = boolean(text)
    _exported(device)
    device.product = device.name[:16] if value else INQUIRY_PRODUCTS[device.plugin]
    return value


def _fixed(name: str) -> Rule:
    """pgr_support, alua_support: only pass-through plugins can change them."""

    def rule(context: Context, device: Device, text: str) -> int:
        value = boolean(text)
        if value != device.attrib[name] and device.plugin not in ("pscsi", "user"):
            fail(errno.ENOSYS)
        return value

    return rule


def _queue_depth(context: Context, device: Device, text: str) -> int:
    value = unsigned(text, U32)
    _exported(device)
    if not value or value > device.attrib["hw_queue_depth"]:
        fail(errno.EINVAL)
    return value


def _optimal_sectors(context: Context, device: Device, text: str) -> int:
    value = unsigned(text, U32)
    _exported(device)
    if value > device.attrib["hw_max_sectors"]:
        fail(errno.EINVAL)
    return value


def _block_size(context: Context, device: Device, text: str) -> int:
    """hw_max_sectors follows where the limit is one of bytes; optimal_sectors stays."""
    value = unsigned(text, U32)
    _exported(device)
    if value not in (512, 1024, 2048, 4096):
        fail(errno.EINVAL)
    if device.plugin == "fileio" and device.unit is not None:
        device.attrib["hw_max_sectors"] = FILE_MAX_BYTES // value
    return value


def _protection_type(context: Context, device: Device, text: str) -> int | None:
    value = unsigned(text, U32)
    if value > 3:
        fail(errno.EINVAL)
    if value == 2:
        fail(errno.ENOSYS)
    if device.plugin == "iblock":
        if value:
            fail(errno.ENOSYS)
        return None
    if device.unit is None:
        fail(errno.ENODEV)
    _exported(device)
    return value


def _protection_format(context: Context, device: Device, text: str) -> None:
    """Reads as 0 always; 1 formats, which needs a type."""
    if not boolean(text):
        return
    if device.plugin != "fileio":
        fail(errno.ENOSYS)
    if device.unit is None:
        fail(errno.ENODEV)
    _exported(device)
    if not device.attrib["pi_prot_type"]:
        fail(errno.ENODEV)


def _protection_verify(context: Context, device: Device, text: str) -> int | None:
    """Without protection the write is taken and forgotten."""
    value = boolean(text)
    if value and not device.attrib["pi_prot_type"]:
        return None
    return value


# user


def _seconds(context: Context, device: Device, text: str) -> int:
    value = unsigned(text, U32)
    _exported(device)
    return value


def _qfull_seconds(context: Context, device: Device, text: str) -> int:
    value = signed(text)
    if value < -1:
        fail(errno.EINVAL)
    return value


def _reconfigure(device: Device) -> None:
    """Only the program behind a user device can change these while it runs, and nobody listens: ESRCH."""
    if device.unit is not None:
        fail(errno.ESRCH)


def _user_write_cache(context: Context, device: Device, text: str) -> int:
    value = unsigned(text, 255)
    _reconfigure(device)
    return value


def _user_size(context: Context, device: Device, text: str) -> int:
    value = unsigned(text)
    _reconfigure(device)
    return value


def _netlink(context: Context, device: Device, text: str) -> int:
    return signed(text, 8)


def _tmr_notification(context: Context, device: Device, text: str) -> int:
    value = unsigned(text, U16)
    if value > 1:
        fail(errno.EINVAL)
    return value


FILE_MAX_BYTES = 8 << 20
"""The longest I/O of a file."""
INQUIRY_PRODUCTS = {
    "fileio": "FILEIO",
    "rd_mcp": "RAMDISK-MCP",
    "iblock": "IBLOCK",
    "pscsi": "",
    "user": "",
}

_PASSTHROUGH = (
    Attribute("hw_pi_prot_type"),
    Attribute("hw_block_size"),
    Attribute("hw_max_sectors"),
    Attribute("hw_queue_depth"),
    Attribute("emulate_pr", 1, _flag),
    Attribute("alua_support", 1, _fixed("alua_support")),
    Attribute("pgr_support", 1, _fixed("pgr_support")),
)

_EMULATED = (
    Attribute("emulate_model_alias", 0, _model_alias),
    Attribute("emulate_dpo", 1, _ignored),
    Attribute("emulate_fua_write", 1, _flag),
    Attribute("emulate_fua_read", 1, _ignored),
    Attribute("emulate_write_cache", 0, _write_cache),
    Attribute("emulate_ua_intlck_ctrl", 0, _frozen(_ua_intlck)),
    Attribute("emulate_tas", 1, _frozen(_flag)),
    Attribute("emulate_tpu", 0, _discard),
    Attribute("emulate_tpws", 0, _discard),
    Attribute("emulate_caw", 1, _flag),
    Attribute("emulate_3pc", 1, _flag),
    Attribute("emulate_pr", 1, _flag),
    Attribute("pi_prot_type", 0, _protection_type),
    Attribute("hw_pi_prot_type"),
    Attribute("pi_prot_format", 0, _protection_format),
    Attribute("pi_prot_verify", 0, _protection_verify),
    Attribute("enforce_pr_isids", 1, _flag),
    Attribute("is_nonrot", 0, _flag),
    Attribute("emulate_rest_reord", 0, _restricted_reordering),
    Attribute("force_pr_aptpl", 0, _frozen(_flag)),
    Attribute("hw_block_size"),
    Attribute("block_size", 0, _block_size),
    Attribute("hw_max_sectors"),
    Attribute("optimal_sectors", 0, _optimal_sectors),
    Attribute("hw_queue_depth"),
    Attribute("queue_depth", 0, _queue_depth),
    Attribute("max_unmap_lba_count", 0, _u32),
    Attribute("max_unmap_block_desc_count", 0, _u32),
    Attribute("unmap_granularity", 0, _u32),
    Attribute("unmap_granularity_alignment", 0, _u32),
    Attribute("unmap_zeroes_data", 0, _unmap_zeroes_data),
    Attribute("max_write_same_len", 0, _u32),
    Attribute("alua_support", 1, _fixed("alua_support")),
    Attribute("pgr_support", 1, _fixed("pgr_support")),
)

_USER = (
    *_PASSTHROUGH,
    Attribute("enforce_pr_isids", 1, _flag),
    Attribute("force_pr_aptpl", 0, _frozen(_flag)),
    Attribute("cmd_time_out", 30, _seconds),
    Attribute("qfull_time_out", -1, _qfull_seconds),
    Attribute("max_data_area_mb", 1024),
    Attribute("data_pages_per_blk", 1),
    Attribute("cmd_ring_size_mb", 8),
    Attribute("dev_size", 0, _user_size),
    Attribute("emulate_write_cache", 0, _user_write_cache),
    Attribute("tmr_notification", 0, _tmr_notification),
    Attribute("nl_reply_supported", 0, _netlink),
)

ATTRIBUTES: Mapping[str, tuple[Attribute, ...]] = {
    "fileio": _EMULATED,
    "rd_mcp": _EMULATED,
    "iblock": _EMULATED,
    "pscsi": tuple(
        Attribute(a.name, 0, a.rule) if a.name in ("alua_support", "pgr_support") else a for a in _PASSTHROUGH
    ),
    "user": _USER,
}


def defaults(plugin: str) -> dict[str, int]:
    """Values before `enable`. Every device has a block size, if not always a file that shows it."""
    return {"block_size": 0} | {attribute.name: attribute.default for attribute in ATTRIBUTES[plugin]}


def start_discard(device: Device) -> None:
    """What the backing can discard, in blocks."""
    unit = device.unit
    attrib = device.attrib
    if unit is not None and unit.unmap_max_lba_count:
        attrib["max_unmap_lba_count"] = unit.unmap_max_lba_count
        attrib["max_unmap_block_desc_count"] = 1
        attrib["unmap_granularity"] = unit.unmap_granularity
        attrib["unmap_granularity_alignment"] = unit.unmap_alignment


def start_attributes(device: Device) -> None:
    """What `enable` sets: limits of the backing, and sizes that go back to its own."""
    unit = device.unit
    if unit is None:
        return
    attrib = device.attrib
    attrib["hw_block_size"] = unit.hw_block_size
    attrib["hw_queue_depth"] = unit.hw_queue_depth
    attrib["hw_max_sectors"] = unit.hw_max_sectors
    attrib["block_size"] = unit.hw_block_size
    if device.plugin in ("pscsi", "user"):
        return
    attrib["queue_depth"] = unit.hw_queue_depth
    attrib["optimal_sectors"] = unit.hw_max_sectors
    if device.plugin != "rd_mcp":
        start_discard(device)
        attrib["max_write_same_len"] = unit.max_write_same_len
    if unit.write_cache:
        attrib["emulate_write_cache"] = 1
    if not unit.rotational:
        attrib["is_nonrot"] = 1


def change(context: Context, device: Device, name: str, value: int) -> None:
    """Set, and tell the engine, which may refuse."""
    old = device.attrib[name]
    device.attrib[name] = value
    if device.unit is not None:
        try:
            context.engine.device_changed(device, name)
        except OSError:
            device.attrib[name] = old
            raise
    if name == "queue_depth":
        device.queue_depth_written = value
    if name == "pi_prot_type":
        # What is protected is checked, until told otherwise.
        device.attrib["pi_prot_verify"] = int(value != 0)


def _file(attribute: Attribute) -> File:
    name, rule = attribute.name, attribute.rule
    store: Store | None = None
    if rule is not None:
        kept_rule = rule

        def _store(context: Context, device: Device, text: str) -> None:
            value = kept_rule(context, device, text)
            if value is not None:
                change(context, device, name, value)

        store = _store
    return File(name, lambda context, device: f"{device.attrib[name]}\n", store)


def _show_dev_config(context: Context, device: Device) -> str:
    return f"{device.control.get('dev_config', '')}\n"


def _store_dev_config(context: Context, device: Device, text: str) -> None:
    if not text or len(text) >= 256:
        fail(errno.EINVAL)
    _reconfigure(device)
    device.control["dev_config"] = text.removesuffix("\n")


def files(plugin: str) -> list[File]:
    listed = [_file(attribute) for attribute in ATTRIBUTES[plugin]]
    if plugin == "user":
        listed.append(File("dev_config", _show_dev_config, _store_dev_config))
    return listed
