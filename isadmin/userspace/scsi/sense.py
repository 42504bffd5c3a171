"""Status codes, sense keys, additional sense codes, and sense data in both formats.

Sources: SAM-5 5.3.1 (status), SPC-4 4.5 (sense data) and annex F (additional sense codes).
"""

from __future__ import annotations

import struct
from enum import IntEnum

_FIXED = struct.Struct(">BxBIBIBBx3s")
_DESCRIPTOR = struct.Struct(">BBBBxxxB")
_INFORMATION = struct.Struct(">BBBxQ")
_SPECIFIC = struct.Struct(">BBxx3sx")
_COMMAND_SPECIFIC = struct.Struct(">BBxxQ")


class Status(IntEnum):
    GOOD = 0x00
    CHECK_CONDITION = 0x02
    CONDITION_MET = 0x04
    BUSY = 0x08
    RESERVATION_CONFLICT = 0x18
    TASK_SET_FULL = 0x28
    ACA_ACTIVE = 0x30
    TASK_ABORTED = 0x40


class SenseKey(IntEnum):
    NO_SENSE = 0x0
    RECOVERED_ERROR = 0x1
    NOT_READY = 0x2
    MEDIUM_ERROR = 0x3
    HARDWARE_ERROR = 0x4
    ILLEGAL_REQUEST = 0x5
    UNIT_ATTENTION = 0x6
    DATA_PROTECT = 0x7
    COPY_ABORTED = 0xA
    ABORTED_COMMAND = 0xB
    MISCOMPARE = 0xE


class Asc(IntEnum):
    """Additional sense code and qualifier as one number: ASC << 8 | ASCQ."""

    NO_ADDITIONAL_SENSE = 0x0000
    OPERATION_IN_PROGRESS = 0x0016
    SANITIZE_IN_PROGRESS = 0x041B
    INITIALIZING_COMMAND_REQUIRED = 0x0402
    ALUA_TRANSITION = 0x040A
    ALUA_STANDBY = 0x040B
    ALUA_UNAVAILABLE = 0x040C
    TARGET_PORT_OFFLINE = 0x0412
    UNREACHABLE_COPY_TARGET = 0x0804
    WRITE_ERROR = 0x0C00
    THIRD_PARTY_DEVICE_FAILURE = 0x0D01
    COPY_TARGET_DEVICE_NOT_REACHABLE = 0x0D02
    INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT = 0x0E03
    UNRECOVERED_READ_ERROR = 0x1100
    PARAMETER_LIST_LENGTH_ERROR = 0x1A00
    MISCOMPARE_DURING_VERIFY = 0x1D00
    INVALID_COMMAND_OPERATION_CODE = 0x2000
    LBA_OUT_OF_RANGE = 0x2100
    INVALID_FIELD_IN_CDB = 0x2400
    LOGICAL_UNIT_NOT_SUPPORTED = 0x2500
    INVALID_FIELD_IN_PARAMETER_LIST = 0x2600
    INVALID_RELEASE_OF_PERSISTENT_RESERVATION = 0x2604
    TOO_MANY_TARGET_DESCRIPTORS = 0x2606
    UNSUPPORTED_TARGET_DESCRIPTOR_TYPE = 0x2607
    TOO_MANY_SEGMENT_DESCRIPTORS = 0x2608
    UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE = 0x2609
    WRITE_PROTECTED = 0x2700
    SOFTWARE_WRITE_PROTECTED = 0x2702
    SPACE_ALLOCATION_FAILED = 0x2707
    POWER_ON_RESET = 0x2900
    BUS_DEVICE_RESET = 0x2903
    NEXUS_LOSS = 0x2907
    MODE_PARAMETERS_CHANGED = 0x2A01
    RESERVATIONS_PREEMPTED = 0x2A03
    RESERVATIONS_RELEASED = 0x2A04
    REGISTRATIONS_PREEMPTED = 0x2A05
    ALUA_STATE_CHANGED = 0x2A06
    CAPACITY_CHANGED = 0x2A09
    COMMANDS_CLEARED_BY_ANOTHER_INITIATOR = 0x2F00
    COMMAND_SEQUENCE_ERROR = 0x2C00
    PREVIOUS_BUSY_STATUS = 0x2C07
    PREVIOUS_TASK_SET_FULL_STATUS = 0x2C08
    PREVIOUS_RESERVATION_CONFLICT_STATUS = 0x2C09
    SANITIZE_COMMAND_FAILED = 0x3103
    SAVING_PARAMETERS_NOT_SUPPORTED = 0x3900
    TARGET_CONDITIONS_CHANGED = 0x3F00
    INQUIRY_DATA_CHANGED = 0x3F03
    REPORTED_LUNS_DATA_CHANGED = 0x3F0E
    INTERNAL_TARGET_FAILURE = 0x4400
    PROTOCOL_SERVICE_CRC_ERROR = 0x4705
    SET_TARGET_PORT_GROUPS_FAILED = 0x670A
    INSUFFICIENT_REGISTRATION_RESOURCES = 0x5504


class CheckCondition(Exception):  # noqa: N818 - the standard's name for it, and it is not always an error
    """A command ends with CHECK CONDITION and this sense."""

    def __init__(
        self,
        key: SenseKey,
        asc: Asc,
        *,
        information: int | None = None,
        specific: bytes = b"",
        copy: int | None = None,
    ) -> None:
        super().__init__(key.name, asc.name)
        self.key = key
        self.asc = asc
        self.information = information
        self.specific = specific
        """Sense key specific bytes (SPC-4 4.5.2.4.4): 3 of them, or none."""
        self.copy = copy
        """Command-specific information."""

    def sense(self, *, descriptor: bool) -> bytes:
        return build(
            self.key,
            self.asc,
            descriptor=descriptor,
            information=self.information,
            specific=self.specific,
            command_specific=self.copy,
        )


class ReservationConflict(Exception):  # noqa: N818 - a status, named as the standard names it
    """A command ends with RESERVATION CONFLICT."""


def build(
    key: int,
    asc: int,
    *,
    descriptor: bool = False,
    information: int | None = None,
    specific: bytes = b"",
    command_specific: int | None = None,
) -> bytes:
    """Sense data: fixed format (SPC-4 4.5.3), 18 bytes, or descriptor format (4.5.2).

    information too large for fixed format's four bytes is left out there, as SPC-4 has it.
    """
    code, qualifier = asc >> 8, asc & 0xFF
    if not descriptor:
        valid = information is not None and information <= 0xFFFFFFFF
        shown = information if information is not None and valid else 0
        return _FIXED.pack(
            0xF0 if valid else 0x70,
            key,
            shown,
            10,
            command_specific or 0,
            code,
            qualifier,
            specific.ljust(3, b"\0"),
        )
    descriptors = b""
    if information is not None:
        descriptors += _INFORMATION.pack(0x00, 0x0A, 0x80, information)
    if command_specific is not None:
        descriptors += _COMMAND_SPECIFIC.pack(0x01, 0x0A, command_specific)
    if specific:
        descriptors += _SPECIFIC.pack(0x02, 0x06, specific)
    return _DESCRIPTOR.pack(0x72, key, code, qualifier, len(descriptors)) + descriptors


def field_pointer(byte: int, bit: int | None = None, *, in_cdb: bool = True) -> bytes:
    """The sense key specific bytes that point at a wrong field (SPC-4 4.5.2.4.2)."""
    flags = 0x80 | (0x40 if in_cdb else 0) | (0 if bit is None else 0x08 | bit)
    return bytes((flags, byte >> 8, byte & 0xFF))


def progress_indication(done: int) -> bytes:
    """The sense key specific bytes that tell how much of an operation is done, in 65536ths (SPC-4
    4.5.2.4.4)."""
    return b"\x80" + done.to_bytes(2, "big")


def illegal(asc: Asc) -> CheckCondition:
    return CheckCondition(SenseKey.ILLEGAL_REQUEST, asc)


def invalid_field_in_cdb(byte: int, bit: int | None = None) -> CheckCondition:
    return CheckCondition(
        SenseKey.ILLEGAL_REQUEST, Asc.INVALID_FIELD_IN_CDB, specific=field_pointer(byte, bit)
    )


def invalid_parameter(byte: int, bit: int | None = None) -> CheckCondition:
    specific = field_pointer(byte, bit, in_cdb=False)
    return CheckCondition(SenseKey.ILLEGAL_REQUEST, Asc.INVALID_FIELD_IN_PARAMETER_LIST, specific=specific)


def list_length_error() -> CheckCondition:
    return illegal(Asc.PARAMETER_LIST_LENGTH_ERROR)
