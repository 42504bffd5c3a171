"""core/<hba>/<name>: a storage object."""

from __future__ import annotations

import contextlib
import errno

from isadmin.userspace.configfs import identity, reservations, statistics
from isadmin.userspace.configfs.alua import (
    default_port_group,
    join_lu_group,
    make_port_group,
    show_device_lu_group,
    store_device_lu_group,
)
from isadmin.userspace.configfs.attributes import (
    ATTRIBUTES,
    INQUIRY_PRODUCTS,
    defaults,
    files,
    start_attributes,
)
from isadmin.userspace.configfs.context import Context
from isadmin.userspace.configfs.control import check_control, show_info, start_tables, store_control
from isadmin.userspace.configfs.lba_map import store_lba_map
from isadmin.userspace.configfs.schema import File, Kind, Show, Store, group, kind
from isadmin.userspace.configfs.values import TEXT, U16, fail, unsigned
from isadmin.userspace.model import Device, Hba

TEXT_MAX = 511
"""Bytes of alias and udev_path."""
EMULATED_REVISION = "4.0"


def make_device(context: Context, hba: Hba, name: str) -> tuple[Kind, Device]:
    plugin = hba.plugin
    device = Device(hba, name, attrib=defaults(plugin), product=INQUIRY_PRODUCTS[plugin])
    if device.product:
        device.revision = EMULATED_REVISION
    hba.devices[name] = device
    return DEVICE_KINDS[plugin], device


def _drop_device(context: Context, device: Device) -> None:
    join_lu_group(device, None)
    if device.unit is not None:
        context.engine.close_unit(device)
        device.unit = None
    del device.hba.devices[device.name]


def _text(attribute: str) -> tuple[Show, Store]:
    """alias and udev_path: a newline at the end is cut off, and an empty one still reads as a line."""
    flag = f"{attribute}_set"

    def show(context: Context, device: Device) -> str:
        return f"{getattr(device, attribute)}\n" if getattr(device, flag) else ""

    def store(context: Context, device: Device, text: str) -> int:
        size = len(text.encode(*TEXT))
        if not 0 < size <= TEXT_MAX:
            fail(errno.EINVAL)
        setattr(device, attribute, text.removesuffix("\n"))
        setattr(device, flag, True)
        if device.unit is not None and attribute == "alias":
            context.engine.device_changed(device, attribute)
        return size

    return show, store


def _store_enable(context: Context, device: Device, text: str) -> None:
    """Any text with a 1 in it enables. The device index is taken first and lost when the backing refuses."""
    if "1" not in text:
        fail(errno.EINVAL)
    if device.unit is not None:
        fail(errno.EEXIST)
    context.devices_enabled += 1
    check_control(device)
    unit = context.engine.open_unit(device)
    device.unit = unit
    device.index = context.devices_enabled
    device.created = context.clock()
    device.plugin_id = device.hba.next_plugin_id
    device.hba.next_plugin_id += 1
    start_attributes(device)
    start_tables(device)
    if device.plugin == "pscsi":
        facts = unit.facts
        device.vendor = facts.get("vendor", device.vendor)
        device.product = facts.get("model", "")
        device.revision = facts.get("rev", "")
        device.serial = facts.get("serial", device.serial)
    else:
        join_lu_group(device, context.default_lu_group)
    context.engine.device_changed(device, "")
    saved, device.aptpl = device.aptpl, []
    for metadata in saved:
        # What only the unit finds wrong must not stop a device that was opened.
        with contextlib.suppress(OSError):
            unit.load_aptpl(metadata)


# action/ of user devices


def _running(device: Device) -> None:
    if device.unit is None:
        fail(errno.EINVAL)


def _store_block_dev(context: Context, device: Device, text: str) -> None:
    _running(device)
    value = unsigned(text, 255)
    if value > 1:
        fail(errno.EINVAL)
    device.blocked = bool(value)


def _store_reset_ring(context: Context, device: Device, text: str) -> None:
    _running(device)
    if unsigned(text, 255) not in (1, 2):
        fail(errno.EINVAL)


def _store_free_kept_buf(context: Context, device: Device, text: str) -> None:
    """No command is ever kept."""
    _running(device)
    unsigned(text, U16)
    fail(errno.ENOENT)


_ACTIONS = (
    File("block_dev", lambda context, device: f"{'' if device.blocked else 'un'}blocked\n", _store_block_dev),
    File("reset_ring", None, _store_reset_ring),
    File("free_kept_buf", None, _store_free_kept_buf),
)


def _device_kind(plugin: str) -> Kind:
    return kind(
        [
            File("info", show_info),
            File("control", None, store_control),
            File("alias", *_text("alias")),
            File("udev_path", *_text("udev_path")),
            File("enable", lambda context, device: f"{int(device.unit is not None)}\n", _store_enable),
            File("alua_lu_gp", show_device_lu_group, store_device_lu_group),
            File("lba_map", lambda context, device: device.lba_map, store_lba_map),
        ],
        [
            group("action", _ACTIONS if plugin == "user" else ()),
            group("attrib", files(plugin)),
            group("pr", reservations.FILES),
            group("wwn", identity.FILES),
            group("alua", make=make_port_group),
            statistics.DEVICE,
        ],
        drop=_drop_device,
        start=default_port_group,
    )


DEVICE_KINDS = {plugin: _device_kind(plugin) for plugin in ATTRIBUTES}
