"""statistics/ of storage objects, LUNs and mapped LUNs: the tables of the SCSI MIB (RFC 4455)."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping

from isadmin.userspace.configfs.alua import FABRIC_NAMES
from isadmin.userspace.configfs.context import Context
from isadmin.userspace.configfs.schema import File, Group, Show, group
from isadmin.userspace.configfs.values import U32, fail
from isadmin.userspace.engine import SessionFacts
from isadmin.userspace.model import Device, Lun, MappedLun, Tpg

NEVER = 3367284360
"""The creation time of what was never created: the kernel's arithmetic on an unset time."""
PROTOCOLS = {"fc": 0, "iqn": 5, "naa": 6}
"""SPC-4 7.6.1 protocol identifiers, by the prefix of a WWN."""


def hundredths(seconds: float) -> int:
    return round(seconds * 100) & U32


def mebibytes(octets: int) -> int:
    return octets >> 20


def _padded(text: str, length: int) -> str:
    """A fixed-length field: what cannot be printed is a space."""
    return "".join(c if " " <= c <= "~" else " " for c in text[:length].ljust(length)) + "\n"


def table(name: str, columns: Mapping[str, Callable[[Context, object], object]]) -> Group:
    return group(name, [File(column, _line(show)) for column, show in columns.items()])


def _line(show: Callable[[Context, object], object]) -> Show:
    def line(context: Context, item: object) -> str:
        value = show(context, item)
        return value if isinstance(value, str) else f"{value}\n"

    return line


def _constant(value: object) -> Callable[[Context, object], object]:
    return lambda context, item: value


# Storage objects

DeviceColumn = Callable[[Context, Device], object]


def _of_device(show: DeviceColumn) -> Callable[[Context, object], object]:
    def column(context: Context, item: object) -> object:
        assert isinstance(item, Device)
        return show(context, item)

    return column


def _device_counter(name: str, *, in_mebibytes: bool = False) -> Callable[[Context, object], object]:
    def show(context: Context, device: Device) -> int:
        if device.unit is None:
            return 0
        count: int = getattr(device.unit.counters, name)
        return mebibytes(count) if in_mebibytes else count

    return _of_device(show)


def _device_type(context: Context, device: Device) -> object:
    if device.plugin != "pscsi":
        return 0
    return 127 if device.unit is None else device.unit.facts.get("device_type", "0") + "\n"


_INSTANCE = _of_device(lambda context, device: device.hba.index + 1)
_INDEX = _of_device(lambda context, device: device.index)

DEVICE = group(
    "statistics",
    groups=[
        table(
            "scsi_dev",
            {
                "inst": _INSTANCE,
                "indx": _INDEX,
                "role": _constant("Target\n"),
                "ports": _of_device(lambda context, device: len(device.exports)),
            },
        ),
        table(
            "scsi_tgt_dev",
            {
                "inst": _INSTANCE,
                "indx": _INDEX,
                "num_lus": _constant(1),
                "status": _of_device(
                    lambda context, device: "activated" if device.exports else "deactivated"
                ),
                "non_access_lus": _of_device(lambda context, device: int(not device.exports)),
                "resets": _device_counter("resets"),
                "aborts_complete": _device_counter("aborts_complete"),
                "aborts_no_task": _device_counter("aborts_no_task"),
            },
        ),
        table(
            "scsi_lu",
            {
                "inst": _INSTANCE,
                "dev": _INDEX,
                "indx": _constant(1),
                "lun": _constant(0),
                "lu_name": _of_device(lambda context, device: f"{device.serial or 'None'}\n"),
                "vend": _of_device(lambda context, device: _padded(device.vendor, 8)),
                "prod": _of_device(lambda context, device: _padded(device.product, 16)),
                "rev": _of_device(lambda context, device: _padded(device.revision, 4)),
                "dev_type": _of_device(_device_type),
                "status": _of_device(
                    lambda context, device: "available\n" if device.exports else "notavailable\n"
                ),
                "state_bit": _constant("exposed\n"),
                "num_cmds": _device_counter("num_cmds"),
                "read_mbytes": _device_counter("read_bytes", in_mebibytes=True),
                "write_mbytes": _device_counter("write_bytes", in_mebibytes=True),
                "resets": _device_counter("resets"),
                "full_stat": _constant(0),
                "hs_num_cmds": _constant(0),
                "creation_time": _of_device(
                    lambda context, device: NEVER if device.unit is None else hundredths(device.created)
                ),
            },
        ),
    ],
    make_errno=errno.ENOSYS,
)


# LUNs: everything reads ENODEV without a device


def _of_lun(show: Callable[[Context, Lun, Device], object]) -> Callable[[Context, object], object]:
    def column(context: Context, item: object) -> object:
        assert isinstance(item, Lun)
        if item.device is None:
            fail(errno.ENODEV)
        return show(context, item, item.device)

    return column


def instance_index(tpg: Tpg) -> int:
    return tpg.target.index if tpg.target.fabric.name == "iscsi" else 1


def _protocol(context: Context, lun: Lun, device: Device) -> int:
    target = lun.tpg.target
    if target.fabric.name == "iscsi":
        return PROTOCOLS["iqn"]
    return PROTOCOLS[target.name.partition(".")[0]]


def _lun_counter(name: str, *, in_mebibytes: bool = False) -> Callable[[Context, object], object]:
    def show(context: Context, lun: Lun, device: Device) -> int:
        count: int = getattr(context.engine.lun_counters(lun), name)
        return mebibytes(count) if in_mebibytes else count

    return _of_lun(show)


def _fabric(lun: Lun) -> str:
    return FABRIC_NAMES[lun.tpg.target.fabric.name]


_LUN_INSTANCE = _of_lun(lambda context, lun, device: device.hba.index + 1)
_LUN_DEVICE = _of_lun(lambda context, lun, device: device.index)
_LUN_PORT = _of_lun(lambda context, lun, device: lun.relative_target_port)
_LUN_ZERO = _of_lun(lambda context, lun, device: 0)

LUN = group(
    "statistics",
    groups=[
        table(
            "scsi_port",
            {
                "inst": _LUN_INSTANCE,
                "dev": _LUN_DEVICE,
                "indx": _LUN_PORT,
                "role": _of_lun(lambda context, lun, device: f"Device{device.index}\n"),
                "busy_count": _LUN_ZERO,
            },
        ),
        table(
            "scsi_tgt_port",
            {
                "inst": _LUN_INSTANCE,
                "dev": _LUN_DEVICE,
                "indx": _LUN_PORT,
                "name": _of_lun(
                    lambda context, lun, device: f"{_fabric(lun)}Port#{lun.relative_target_port}\n"
                ),
                "port_index": _of_lun(lambda context, lun, device: f"{lun.tpg.target.wwn}+t+{lun.tpg.tag}\n"),
                "in_cmds": _lun_counter("num_cmds"),
                "write_mbytes": _lun_counter("write_bytes", in_mebibytes=True),
                "read_mbytes": _lun_counter("read_bytes", in_mebibytes=True),
                "hs_in_cmds": _LUN_ZERO,
            },
        ),
        table(
            "scsi_transport",
            {
                "inst": _LUN_INSTANCE,
                "device": _of_lun(lambda context, lun, device: f"scsiTransport{_fabric(lun)}\n"),
                "indx": _of_lun(lambda context, lun, device: instance_index(lun.tpg)),
                "dev_name": _of_lun(
                    lambda context, lun, device: f"{lun.tpg.target.wwn}+{device.serial or device.vendor}\n"
                ),
                "proto_id": _of_lun(_protocol),
            },
        ),
    ],
    make_errno=errno.ENOSYS,
)


# Mapped LUNs: ENODEV unless something is mapped there; two names of one number see the same mapping


def mapping(mapped: MappedLun) -> MappedLun | None:
    """The living mapping at this number, whichever directory made it."""
    current = mapped.acl.mapped.get(mapped.number)
    return current if current is not None and current.live else None


def _of_mapped(show: Callable[[Context, MappedLun], object]) -> Callable[[Context, object], object]:
    def column(context: Context, item: object) -> object:
        assert isinstance(item, MappedLun)
        current = mapping(item)
        if current is None:
            fail(errno.ENODEV)
        return show(context, current)

    return column


def _of_session(show: Callable[[MappedLun, SessionFacts], object]) -> Callable[[Context, object], object]:
    def column(context: Context, item: object) -> object:
        assert isinstance(item, MappedLun)
        session = context.engine.session(item.acl)
        if session is None:
            fail(errno.ENODEV)
        return show(item, session)

    return column


def _mapped_counter(name: str, *, in_mebibytes: bool = False) -> Callable[[Context, object], object]:
    def show(context: Context, mapped: MappedLun) -> int:
        count: int = getattr(context.engine.mapped_lun_counters(mapped), name)
        return mebibytes(count) if in_mebibytes else count

    return _of_mapped(show)


def _mapped_device(context: Context, mapped: MappedLun) -> int:
    lun = mapped.lun
    return lun.device.index if lun is not None and lun.device is not None else 0


_MAPPED_INSTANCE = _of_mapped(lambda context, mapped: instance_index(mapped.acl.tpg))
_MAPPED_PORT = _of_mapped(lambda context, mapped: mapped.acl.tpg.tag)
_MAPPED_INDEX = _of_mapped(lambda context, mapped: mapped.acl.index)
_MAPPED_ZERO = _of_mapped(lambda context, mapped: 0)
_MAPPED_ONE = _of_mapped(lambda context, mapped: 1)

MAPPED_LUN = group(
    "statistics",
    groups=[
        table(
            "scsi_auth_intr",
            {
                "inst": _MAPPED_INSTANCE,
                "dev": _of_mapped(_mapped_device),
                "port": _MAPPED_PORT,
                "indx": _MAPPED_INDEX,
                "dev_or_port": _MAPPED_ONE,
                "intr_name": _of_mapped(lambda context, mapped: f"{mapped.acl.initiator}\n"),
                "map_indx": _MAPPED_ZERO,
                "att_count": _MAPPED_ONE,
                "num_cmds": _mapped_counter("num_cmds"),
                "read_mbytes": _mapped_counter("read_bytes", in_mebibytes=True),
                "write_mbytes": _mapped_counter("write_bytes", in_mebibytes=True),
                "hs_num_cmds": _MAPPED_ZERO,
                "creation_time": _of_mapped(lambda context, mapped: hundredths(mapped.created)),
                "row_status": _of_mapped(lambda context, mapped: "Ready\n"),
            },
        ),
        table(
            "scsi_att_intr_port",
            {
                "inst": _MAPPED_INSTANCE,
                "dev": _of_mapped(_mapped_device),
                "port": _MAPPED_PORT,
                "indx": _of_session(lambda mapped, session: session.index),
                "port_auth_indx": _MAPPED_INDEX,
                "port_ident": _of_session(
                    lambda mapped, session: f"{mapped.acl.initiator}+i+{session.isid.hex()}\n"
                ),
            },
        ),
    ],
    make_errno=errno.ENOSYS,
)
