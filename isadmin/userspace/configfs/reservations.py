"""pr/ of a storage object: reservations as they stand, and registrations given back after a restart."""

from __future__ import annotations

import errno

from isadmin.userspace.configfs.context import Context
from isadmin.userspace.configfs.schema import File
from isadmin.userspace.configfs.values import control_tokens, fail, loose_integer, unsigned
from isadmin.userspace.engine import Registration, Reservation
from isadmin.userspace.model import Device

DISABLED = "SPC_RESERVATIONS_DISABLED\n"
NO_HOLDER = "No SPC-3 Reservation holder\n"
TYPES = {
    1: "Write Exclusive Access",
    3: "Exclusive Access",
    5: "Write Exclusive Access, Registrants Only",
    6: "Exclusive Access, Registrants Only",
    7: "Write Exclusive Access, All Registrants",
    8: "Exclusive Access, All Registrants",
}
"""SPC-4 table 61."""
_NONE = Reservation()
_APTPL_TEXTS = (
    "initiator_fabric",
    "initiator_node",
    "initiator_sid",
    "sa_res_key",
    "target_fabric",
    "target_node",
)
_APTPL_NUMBERS = (
    "res_holder",
    "res_type",
    "res_scope",
    "res_all_tg_pt",
    "mapped_lun",
    "tpgt",
    "port_rtpi",
    "target_lun",
)


def _state(device: Device) -> Reservation:
    return _NONE if device.unit is None else device.unit.reservation()


def _passthrough(device: Device) -> bool:
    return not device.attrib["pgr_support"]


def _initiator(registration: Registration) -> str:
    isid = f",i,0x{registration.isid}" if registration.isid else ""
    return f"{registration.initiator}{isid}"


def _holder(context: Context, device: Device) -> str:
    if not device.attrib["emulate_pr"]:
        return DISABLED
    if _passthrough(device):
        return "Passthrough\n"
    state = _state(device)
    if state.spc2_holder:
        return f"SPC-2 Reservation: iSCSI Initiator: {state.spc2_holder}\n"
    if state.holder is None:
        return NO_HOLDER
    return f"SPC-3 Reservation: iSCSI Initiator: {_initiator(state.holder)}\n"


def _all_target_ports(context: Context, device: Device) -> str:
    holder = _state(device).holder
    if holder is None:
        return NO_HOLDER
    which = "All Target Ports" if holder.all_target_ports else "Single Target Port"
    return f"SPC-3 Reservation: {which} registration\n"


def _holder_port(context: Context, device: Device) -> str:
    holder = _state(device).holder
    if holder is None:
        return NO_HOLDER
    return (
        f"SPC-3 Reservation: iSCSI Target Node Endpoint: {holder.target}\n"
        f"SPC-3 Reservation: Relative Port Identifier Tag: {holder.relative_target_port}"
        f" iSCSI Portal Group Tag: {holder.tpgt} iSCSI Logical Unit: {holder.mapped_lun}\n"
    )


def _registered(context: Context, device: Device) -> str:
    state = _state(device)
    lines = [
        f"iSCSI Node: {_initiator(registration)} Key: 0x{registration.key:016x}"
        f" PRgen: 0x{state.generation:08x}\n"
        for registration in state.registrations
    ]
    return "SPC-3 PR Registrations:\n" + ("".join(lines) or "None\n")


def _type(context: Context, device: Device) -> str:
    state = _state(device)
    if state.holder is None:
        return NO_HOLDER
    return f"SPC-3 Reservation Type: {TYPES[state.type_code]}\n"


def _reservation_kind(context: Context, device: Device) -> str:
    if not device.attrib["emulate_pr"]:
        return DISABLED
    if _passthrough(device):
        return "SPC_PASSTHROUGH\n"
    if _state(device).spc2_holder:
        return "SPC2_RESERVATIONS\n"
    return "SPC3_PERSISTENT_RESERVATIONS\n"


def _aptpl_off(device: Device) -> bool:
    return not device.attrib["emulate_pr"] or _passthrough(device)


def _aptpl_active(context: Context, device: Device) -> str:
    if _aptpl_off(device):
        return ""
    return f"APTPL Bit Status: {'Activated' if _state(device).aptpl else 'Disabled'}\n"


def _aptpl_metadata(context: Context, device: Device) -> str:
    return "" if _aptpl_off(device) else "Ready to process PR APTPL metadata..\n"


def _number(text: str) -> int:
    """Zero-padded as the saved file has it (res_type=08), or as any other number."""
    if text.isdecimal():
        return int(text)
    return loose_integer(text) or 0


def _store_aptpl_metadata(context: Context, device: Device, text: str) -> None:
    """One saved registration. Without emulated reservations, and with an SPC-2 one held, it is forgotten."""
    if _aptpl_off(device) or _state(device).spc2_holder:
        return
    if device.exports:
        fail(errno.EINVAL)
    fields = {name: value for name, value in control_tokens(text) if value}
    numbers = {name: _number(fields.get(name, "0")) for name in _APTPL_NUMBERS}
    key = unsigned(fields.get("sa_res_key", "0"))
    if not fields.get("initiator_node") or not fields.get("target_node") or not key:
        fail(errno.EINVAL)
    if numbers["res_holder"] and not numbers["res_type"]:
        fail(errno.EINVAL)
    known = {name: fields[name] for name in _APTPL_TEXTS if name in fields}
    known |= {name: str(number) for name, number in numbers.items()}
    metadata = ",".join(f"{name}={value}" for name, value in known.items())
    if device.unit is None:
        device.aptpl.append(metadata)
    else:
        device.unit.load_aptpl(metadata)


FILES = (
    File("res_holder", _holder),
    File("res_pr_all_tgt_pts", _all_target_ports),
    File("res_pr_generation", lambda context, device: f"0x{_state(device).generation:08x}\n"),
    File("res_pr_holder_tg_port", _holder_port),
    File("res_pr_registered_i_pts", _registered),
    File("res_pr_type", _type),
    File("res_type", _reservation_kind),
    File("res_aptpl_active", _aptpl_active),
    File("res_aptpl_metadata", _aptpl_metadata, _store_aptpl_metadata),
)
