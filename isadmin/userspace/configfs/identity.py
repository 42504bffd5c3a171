"""wwn/ of a storage object: INQUIRY strings, company identifier, serial number (SPC-4 6.6.2, 7.8)."""

from __future__ import annotations

import errno

from isadmin.userspace.configfs.context import Context
from isadmin.userspace.configfs.schema import File, Show, Store
from isadmin.userspace.configfs.values import TEXT, U32, fail, printable_ascii, stripped, unsigned
from isadmin.userspace.model import Device

SERIAL_BUFFER = 254
COMPANY_ID_MAX = 0xFFFFFF


def _set(context: Context, device: Device, attribute: str, value: str | int, name: str) -> None:
    """Frozen while exported; the engine may refuse."""
    if device.exports:
        fail(errno.EINVAL)
    old = getattr(device, attribute)
    setattr(device, attribute, value)
    if device.unit is not None:
        try:
            context.engine.device_changed(device, name)
        except OSError:
            setattr(device, attribute, old)
            raise


def _store_serial(context: Context, device: Device, text: str) -> None:
    if device.unit is not None and device.unit.facts.get("serial"):
        fail(errno.EOPNOTSUPP)
    if len(text.encode(*TEXT)) + 1 > SERIAL_BUFFER:
        fail(errno.EOVERFLOW)
    _set(context, device, "serial", stripped(text), "vpd_unit_serial")


def _store_company_id(context: Context, device: Device, text: str) -> None:
    value = unsigned(text, U32)
    if value > COMPANY_ID_MAX:
        fail(errno.EOVERFLOW)
    _set(context, device, "company_id", value, "company_id")


def _inquiry(attribute: str, length: int, name: str) -> Store:
    def store(context: Context, device: Device, text: str) -> None:
        value = stripped(text)
        # A trailing newline and a NUL fit into the kernel's buffer, more does not.
        if len(text.encode(*TEXT)) > length + 1 or len(value) > length:
            fail(errno.EOVERFLOW)
        if not printable_ascii(value):
            fail(errno.EINVAL)
        _set(context, device, attribute, value, name)

    return store


def _vpd(name: str) -> Show:
    return lambda context, device: "" if device.unit is None else device.unit.facts.get(name, "")


FILES = (
    File("vendor_id", lambda context, d: f"{d.vendor}\n", _inquiry("vendor", 8, "vendor_id")),
    File("product_id", lambda context, d: f"{d.product}\n", _inquiry("product", 16, "product_id")),
    File("revision", lambda context, d: f"{d.revision}\n", _inquiry("revision", 4, "revision")),
    File("company_id", lambda context, d: f"{d.company_id:#08x}\n", _store_company_id),
    File("vpd_unit_serial", lambda context, d: f"T10 VPD Unit Serial Number: {d.serial}\n", _store_serial),
    File("vpd_protocol_identifier", _vpd("vpd_protocol_identifier")),
    File("vpd_assoc_logical_unit", _vpd("vpd_assoc_logical_unit")),
    File("vpd_assoc_target_port", _vpd("vpd_assoc_target_port")),
    File("vpd_assoc_scsi_target_device", _vpd("vpd_assoc_scsi_target_device")),
)
