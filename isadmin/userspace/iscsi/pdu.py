"""iSCSI PDUs: their 48-byte basic header segments as values, and the splitting of a byte stream into them.

Every PDU is one small class whose annotations say where each field lies (RFC 7143 section 11): encoding and
decoding are made from them. `decode` looks the class up by opcode; `frame` finds the next whole PDU in a
buffer. The PDUs of SCSI commands and their data do not become objects in the full-feature phase:
commands.py packs and unpacks them with the layouts right below, fastpath.py with its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import ClassVar, NamedTuple, Self, TypeVar

from isadmin.userspace.iscsi.codes import IMMEDIATE, RESERVED_TAG, Opcode, RejectReason
from isadmin.userspace.iscsi.digest import crc32c
from isadmin.userspace.iscsi.errors import DigestError, ProtocolError
from isadmin.userspace.iscsi.layout import (
    BHS_LENGTH,
    Byte2,
    Byte3,
    Byte36,
    Byte37,
    Cdb,
    Cid,
    Code,
    Continued,
    CurrentStage,
    Final,
    Flags,
    Half36,
    Half38,
    Half40,
    Half42,
    Isid,
    Layout,
    Lun,
    NextStage,
    SnackType,
    TaskTag,
    Tsih,
    Word20,
    Word24,
    Word28,
    Word32,
    Word36,
    Word40,
    Word44,
)

SCSI_COMMAND = Struct(">BBHIQIIII16s")
"""opcode, flags, reserved, AHS length << 24 | data length, LUN, initiator task tag, expected data transfer
length, CmdSN, ExpStatSN, CDB."""

DATA_IN = Struct(">IIQIIIIIIII")
"""opcode, flags and status; data length; LUN; ITT; TTT; StatSN; ExpCmdSN; MaxCmdSN; DataSN; buffer offset;
residual count."""

SCSI_RESPONSE = Struct(">IIQIIIIIIII")
"""opcode, flags, response and status; data length; reserved; ITT; SNACK tag; StatSN; ExpCmdSN; MaxCmdSN;
ExpDataSN; bidirectional residual; residual count."""

DATA_OUT = Struct(">BBHIQIIIIIII")
"""opcode, flags, reserved, data length, LUN, ITT, TTT, reserved, ExpStatSN, reserved, DataSN, buffer offset
(the last four bytes of the header are reserved)."""

_lengths = Struct(">I").unpack_from


class Frame(NamedTuple):
    """Where one PDU lies in a buffer: its header at `start`, additional headers, its data segment (without
    padding), and the first byte after it with padding and digests."""

    start: int
    data: int
    data_end: int
    end: int
    ahs: int
    """Bytes of additional header segments after the BHS."""


def frame(
    buffer: bytearray | memoryview | bytes,
    start: int,
    end: int,
    *,
    max_data: int,
    header_digest: bool = False,
    data_digest: bool = False,
) -> Frame | None:
    """The PDU at `start` of `buffer[:end]`, or None while some of it is missing.

    ProtocolError when its data segment exceeds max_data (MaxRecvDataSegmentLength), as soon as the header is
    there; DigestError when a digest does not match (RFC 7143 section 7.7).
    """
    if end - start < BHS_LENGTH:
        return None
    (lengths,) = _lengths(buffer, start + 4)
    ahs = lengths >> 24 << 2
    length = lengths & 0xFFFFFF
    if length > max_data:
        raise ProtocolError(
            f"a data segment of {length} bytes, {max_data} are allowed", RejectReason.PROTOCOL_ERROR
        )
    data = start + BHS_LENGTH + ahs
    if header_digest:
        if end < data + 4:
            return None
        if crc32c(buffer[start:data]) != bytes(buffer[data : data + 4]):
            raise DigestError("header digest mismatch")
        data += 4
    data_end = data + length
    after = data + (length + 3 & ~3)
    if data_digest and length:
        if end < after + 4:
            return None
        if crc32c(buffer[data:after]) != bytes(buffer[after : after + 4]):
            raise DigestError("data digest mismatch")
        after += 4
    if end < after:
        return None
    return Frame(start, data, data_end, after, ahs)


def padding(length: int) -> bytes:
    """The zero bytes that bring a segment to a multiple of four."""
    return b"\0\0\0"[: -length & 3]


def assemble(
    header: bytes, data: bytes = b"", *, header_digest: bool = False, data_digest: bool = False
) -> bytes:
    """A whole PDU of a BHS that already has its data length, with padding and digests."""
    if not (header_digest or data_digest):
        return header + data + padding(len(data)) if data else header
    parts = [header]
    if header_digest:
        parts.append(crc32c(header))
    if data:
        padded = data + padding(len(data))
        parts.append(padded)
        if data_digest:
            parts.append(crc32c(padded))
    return b"".join(parts)


@dataclass(slots=True)
class Pdu:
    """What all PDUs share. `data` is the data segment without padding."""

    opcode: ClassVar[Opcode]
    layout: ClassVar[Layout]

    data: bytes = field(default=b"", kw_only=True)
    immediate: bool = field(default=False, kw_only=True)
    """The I bit (requests only)."""

    @property
    def data_length(self) -> int:
        """DataSegmentLength; there are no additional header segments."""
        return len(self.data)

    def header(self) -> bytes:
        """The basic header segment."""
        layout = self.layout
        flags = layout.closed[layout.bits(self)]
        return layout.struct.pack(self.opcode | self.immediate << 6, flags, *layout.words(self))

    def encode(self, *, header_digest: bool = False, data_digest: bool = False) -> bytes:
        """The whole PDU as it goes on the wire."""
        return assemble(self.header(), bytes(self.data), header_digest=header_digest, data_digest=data_digest)

    @classmethod
    def parse(cls, header: bytes | memoryview, data: bytes) -> Self:
        """A PDU out of its 48 header bytes."""
        layout = cls.layout
        values = layout.struct.unpack(header)
        arguments = layout.order(layout.opened[values[1]] + values)
        return cls(*arguments, data=data, immediate=values[0] & IMMEDIATE != 0)


_CLASSES: dict[int, type[Pdu]] = {}
_P = TypeVar("_P", bound=Pdu)


def _registered(cls: type[_P]) -> type[_P]:
    cls.layout = Layout(cls)
    _CLASSES[cls.opcode] = cls
    return cls


def decode(header: bytes | memoryview, data: bytes = b"") -> Pdu:
    """A PDU as a value. ProtocolError(COMMAND_NOT_SUPPORTED) for an unknown opcode."""
    first = header[0]
    cls = _CLASSES.get(first & 0x3F)
    if cls is None or first & 0x80:
        raise ProtocolError(f"unknown opcode 0x{first:02x}", RejectReason.COMMAND_NOT_SUPPORTED)
    return cls.parse(header, data)


@_registered
@dataclass(slots=True)
class ScsiCommand(Pdu):
    """Section 11.3."""

    opcode = Opcode.SCSI_COMMAND

    flags: Flags
    lun: Lun
    itt: TaskTag
    expected_length: Word20
    cmd_sn: Word24
    exp_stat_sn: Word28
    cdb: Cdb


@_registered
@dataclass(slots=True)
class ScsiResponse(Pdu):
    """Section 11.4. The data segment is SenseLength and sense data when there is sense."""

    opcode = Opcode.SCSI_RESPONSE

    itt: TaskTag
    status: Byte3
    stat_sn: Word24
    exp_cmd_sn: Word28
    max_cmd_sn: Word32
    flags: Flags = 0x80
    response: Byte2 = 0
    exp_data_sn: Word36 = 0
    residual: Word44 = 0


@_registered
@dataclass(slots=True)
class TaskManagementRequest(Pdu):
    """Section 11.5."""

    opcode = Opcode.TASK_MANAGEMENT_REQUEST

    function: Code
    lun: Lun
    itt: TaskTag
    referenced_tag: Word20
    cmd_sn: Word24
    exp_stat_sn: Word28
    ref_cmd_sn: Word32 = 0
    exp_data_sn: Word36 = 0


@_registered
@dataclass(slots=True)
class TaskManagementResponse(Pdu):
    """Section 11.6."""

    opcode = Opcode.TASK_MANAGEMENT_RESPONSE

    itt: TaskTag
    response: Byte2
    stat_sn: Word24
    exp_cmd_sn: Word28
    max_cmd_sn: Word32


@_registered
@dataclass(slots=True)
class LoginRequest(Pdu):
    """Section 11.12. Always immediate."""

    opcode = Opcode.LOGIN_REQUEST

    transit: Final
    continued: Continued
    csg: CurrentStage
    nsg: NextStage
    isid: Isid
    tsih: Tsih
    itt: TaskTag
    cid: Cid
    cmd_sn: Word24
    exp_stat_sn: Word28
    version_max: Byte2 = 0
    version_min: Byte3 = 0


@_registered
@dataclass(slots=True)
class LoginResponse(Pdu):
    """Section 11.13. `status` is Status-Class << 8 | Status-Detail."""

    opcode = Opcode.LOGIN_RESPONSE

    transit: Final
    continued: Continued
    csg: CurrentStage
    nsg: NextStage
    isid: Isid
    tsih: Tsih
    itt: TaskTag
    stat_sn: Word24
    exp_cmd_sn: Word28
    max_cmd_sn: Word32
    status: Half36 = 0


@_registered
@dataclass(slots=True)
class TextRequest(Pdu):
    """Section 11.10."""

    opcode = Opcode.TEXT_REQUEST

    final: Final
    continued: Continued
    lun: Lun
    itt: TaskTag
    ttt: Word20
    cmd_sn: Word24
    exp_stat_sn: Word28


@_registered
@dataclass(slots=True)
class TextResponse(Pdu):
    """Section 11.11."""

    opcode = Opcode.TEXT_RESPONSE

    final: Final
    continued: Continued
    lun: Lun
    itt: TaskTag
    ttt: Word20
    stat_sn: Word24
    exp_cmd_sn: Word28
    max_cmd_sn: Word32


@_registered
@dataclass(slots=True)
class DataOut(Pdu):
    """Section 11.7."""

    opcode = Opcode.DATA_OUT

    final: Final
    lun: Lun
    itt: TaskTag
    ttt: Word20
    exp_stat_sn: Word28
    data_sn: Word36
    offset: Word40


@_registered
@dataclass(slots=True)
class DataIn(Pdu):
    """Section 11.7. `status` counts when the S bit is in flags."""

    opcode = Opcode.DATA_IN

    flags: Flags
    status: Byte3
    lun: Lun
    itt: TaskTag
    ttt: Word20
    stat_sn: Word24
    exp_cmd_sn: Word28
    max_cmd_sn: Word32
    data_sn: Word36
    offset: Word40
    residual: Word44 = 0


@_registered
@dataclass(slots=True)
class R2T(Pdu):
    """Section 11.8."""

    opcode = Opcode.R2T

    lun: Lun
    itt: TaskTag
    ttt: Word20
    stat_sn: Word24
    exp_cmd_sn: Word28
    max_cmd_sn: Word32
    r2t_sn: Word36
    offset: Word40
    length: Word44


@_registered
@dataclass(slots=True)
class AsyncMessage(Pdu):
    """Section 11.9."""

    opcode = Opcode.ASYNC_MESSAGE

    event: Byte36
    stat_sn: Word24
    exp_cmd_sn: Word28
    max_cmd_sn: Word32
    parameter1: Half38 = 0
    parameter2: Half40 = 0
    parameter3: Half42 = 0
    lun: Lun = 0
    vendor_code: Byte37 = 0
    itt: TaskTag = RESERVED_TAG


@_registered
@dataclass(slots=True)
class LogoutRequest(Pdu):
    """Section 11.14."""

    opcode = Opcode.LOGOUT_REQUEST

    reason: Code
    itt: TaskTag
    cid: Cid
    cmd_sn: Word24
    exp_stat_sn: Word28


@_registered
@dataclass(slots=True)
class LogoutResponse(Pdu):
    """Section 11.15. Times are in seconds."""

    opcode = Opcode.LOGOUT_RESPONSE

    itt: TaskTag
    response: Byte2
    stat_sn: Word24
    exp_cmd_sn: Word28
    max_cmd_sn: Word32
    time2wait: Half40 = 0
    time2retain: Half42 = 0


@_registered
@dataclass(slots=True)
class SnackRequest(Pdu):
    """Section 11.16."""

    opcode = Opcode.SNACK_REQUEST

    kind: SnackType
    lun: Lun
    itt: TaskTag
    ttt: Word20
    exp_stat_sn: Word28
    beg_run: Word40
    run_length: Word44


@_registered
@dataclass(slots=True)
class Reject(Pdu):
    """Section 11.17. The data segment is the header of the rejected PDU."""

    opcode = Opcode.REJECT

    reason: Byte2
    stat_sn: Word24
    exp_cmd_sn: Word28
    max_cmd_sn: Word32
    data_sn: Word36 = 0
    itt: TaskTag = RESERVED_TAG


@_registered
@dataclass(slots=True)
class NopOut(Pdu):
    """Section 11.18."""

    opcode = Opcode.NOP_OUT

    lun: Lun
    itt: TaskTag
    ttt: Word20
    cmd_sn: Word24
    exp_stat_sn: Word28


@_registered
@dataclass(slots=True)
class NopIn(Pdu):
    """Section 11.19."""

    opcode = Opcode.NOP_IN

    lun: Lun
    itt: TaskTag
    ttt: Word20
    stat_sn: Word24
    exp_cmd_sn: Word28
    max_cmd_sn: Word32
