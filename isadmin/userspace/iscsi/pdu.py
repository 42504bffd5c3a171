"""iSCSI PDUs: their 48-byte basic header segments as values, and the splitting of a byte stream into them.

Every PDU is one small class with one precompiled layout (RFC 7143 section 11). `decode` looks the class up by
opcode; `frame` finds the next whole PDU in a buffer. READ and WRITE commands do not come through here in the
full-feature phase: connection.py unpacks header and CDB with `COMMAND` in one step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import ClassVar, NamedTuple

from isadmin.userspace.iscsi.codes import IMMEDIATE, RESERVED_TAG, Opcode, RejectReason
from isadmin.userspace.iscsi.digest import crc32c
from isadmin.userspace.iscsi.errors import DigestError, ProtocolError

BHS_LENGTH = 48

COMMAND = Struct(">BBHIQIIIIBBQIH")
"""A SCSI Command BHS with its CDB opened: opcode, flags, reserved, AHS length << 24 | data length, LUN,
initiator task tag, expected data transfer length, CmdSN, ExpStatSN, CDB bytes 0, 1, 2-9, 10-13, 14-15.
Bytes 2-9 are a 16-byte CDB's LBA, and LBA << 32 | group << 24 | length << 8 | control of a 10-byte one."""

DATA_IN = Struct(">IIQIIIIIIII")
"""opcode, flags and status; data length; LUN; ITT; TTT; StatSN; ExpCmdSN; MaxCmdSN; DataSN; buffer offset;
residual count."""

SCSI_RESPONSE = Struct(">IIQIIIIIIII")
"""opcode, flags, response and status; data length; reserved; ITT; SNACK tag; StatSN; ExpCmdSN; MaxCmdSN;
ExpDataSN; bidirectional residual; residual count."""

DATA_OUT = Struct(">BBHIQIIIIIII")
"""opcode, flags, reserved, data length, LUN, ITT, TTT, reserved, ExpStatSN, reserved, DataSN, buffer offset
(the last four bytes of the header are reserved)."""

_LENGTHS = Struct(">I")


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
    (lengths,) = _LENGTHS.unpack_from(buffer, start + 4)
    ahs = (lengths >> 24) * 4
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
    layout: ClassVar[Struct]

    data: bytes = field(default=b"", kw_only=True)
    immediate: bool = field(default=False, kw_only=True)
    """The I bit (requests only)."""

    def _values(self) -> tuple[int | bytes, ...]:
        """The fields of `layout` after the opcode byte."""
        raise NotImplementedError

    def header(self) -> bytes:
        """The basic header segment."""
        first = self.opcode | (IMMEDIATE if self.immediate else 0)
        return self.layout.pack(first, *self._values())

    def encode(self, *, header_digest: bool = False, data_digest: bool = False) -> bytes:
        """The whole PDU as it goes on the wire."""
        return assemble(self.header(), bytes(self.data), header_digest=header_digest, data_digest=data_digest)

    @classmethod
    def parse(cls, header: bytes | memoryview, data: bytes, immediate: bool) -> Pdu:
        """A PDU out of its 48 header bytes."""
        raise NotImplementedError


_CLASSES: dict[int, type[Pdu]] = {}


def _register(cls: type[Pdu]) -> type[Pdu]:
    _CLASSES[cls.opcode] = cls
    return cls


def decode(header: bytes | memoryview, data: bytes = b"") -> Pdu:
    """A PDU as a value. ProtocolError(COMMAND_NOT_SUPPORTED) for an unknown opcode."""
    first = header[0]
    cls = _CLASSES.get(first & 0x3F)
    if cls is None or first & 0x80:
        raise ProtocolError(f"unknown opcode 0x{first:02x}", RejectReason.COMMAND_NOT_SUPPORTED)
    return cls.parse(header, data, bool(first & IMMEDIATE))


@dataclass(slots=True)
class ScsiCommand(Pdu):
    """Section 11.3."""

    opcode = Opcode.SCSI_COMMAND
    layout = Struct(">BBHIQIIII16s")

    flags: int
    lun: int
    itt: int
    expected_length: int
    cmd_sn: int
    exp_stat_sn: int
    cdb: bytes

    def _values(self) -> tuple[int | bytes, ...]:
        return (
            self.flags,
            0,
            len(self.data),
            self.lun,
            self.itt,
            self.expected_length,
            self.cmd_sn,
            self.exp_stat_sn,
            self.cdb,
        )

    @classmethod
    def parse(cls, header: bytes | memoryview, data: bytes, immediate: bool) -> Pdu:
        _, flags, _, _, lun, itt, expected, cmd_sn, exp_stat_sn, cdb = cls.layout.unpack(header)
        return cls(flags, lun, itt, expected, cmd_sn, exp_stat_sn, cdb, data=data, immediate=immediate)


@dataclass(slots=True)
class ScsiResponse(Pdu):
    """Section 11.4. The data segment is SenseLength and sense data when there is sense."""

    opcode = Opcode.SCSI_RESPONSE
    layout = Struct(">BBBBIQIIIIIIII")

    itt: int
    status: int
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    flags: int = 0x80
    response: int = 0
    exp_data_sn: int = 0
    residual: int = 0

    def _values(self) -> tuple[int | bytes, ...]:
        return (
            self.flags,
            self.response,
            self.status,
            len(self.data),
            0,
            self.itt,
            0,
            self.stat_sn,
            self.exp_cmd_sn,
            self.max_cmd_sn,
            self.exp_data_sn,
            0,
            self.residual,
        )

    @classmethod
    def parse(cls, header: bytes | memoryview, data: bytes, immediate: bool) -> Pdu:
        _, flags, response, status, _, _, itt, _, stat, exp, maximum, exp_data_sn, _, residual = (
            cls.layout.unpack(header)
        )
        return cls(itt, status, stat, exp, maximum, flags, response, exp_data_sn, residual, data=data)


@dataclass(slots=True)
class TaskManagementRequest(Pdu):
    """Section 11.5."""

    opcode = Opcode.TASK_MANAGEMENT_REQUEST
    layout = Struct(">BBHIQIIIIII8x")

    function: int
    lun: int
    itt: int
    referenced_tag: int
    cmd_sn: int
    exp_stat_sn: int
    ref_cmd_sn: int = 0
    exp_data_sn: int = 0

    def _values(self) -> tuple[int | bytes, ...]:
        return (
            0x80 | self.function,
            0,
            len(self.data),
            self.lun,
            self.itt,
            self.referenced_tag,
            self.cmd_sn,
            self.exp_stat_sn,
            self.ref_cmd_sn,
            self.exp_data_sn,
        )

    @classmethod
    def parse(cls, header: bytes | memoryview, data: bytes, immediate: bool) -> Pdu:
        _, function, _, _, lun, itt, referenced, cmd_sn, exp_stat_sn, ref_cmd_sn, exp_data_sn = (
            cls.layout.unpack(header)
        )
        return cls(
            function & 0x7F,
            lun,
            itt,
            referenced,
            cmd_sn,
            exp_stat_sn,
            ref_cmd_sn,
            exp_data_sn,
            data=data,
            immediate=immediate,
        )


@dataclass(slots=True)
class TaskManagementResponse(Pdu):
    """Section 11.6."""

    opcode = Opcode.TASK_MANAGEMENT_RESPONSE
    layout = Struct(">BBBBI8xI4xIII12x")

    itt: int
    response: int
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int

    def _values(self) -> tuple[int | bytes, ...]:
        return (0x80, self.response, 0, 0, self.itt, self.stat_sn, self.exp_cmd_sn, self.max_cmd_sn)

    @classmethod
    def parse(cls, header: bytes | memoryview, data: bytes, immediate: bool) -> Pdu:
        _, _, response, _, _, itt, stat_sn, exp_cmd_sn, max_cmd_sn = cls.layout.unpack(header)
        return cls(itt, response, stat_sn, exp_cmd_sn, max_cmd_sn, data=data)


@dataclass(slots=True)
class LoginRequest(Pdu):
    """Section 11.12. Always immediate."""

    opcode = Opcode.LOGIN_REQUEST
    layout = Struct(">BBBBI6sHIHHII16x")

    transit: bool
    continued: bool
    csg: int
    nsg: int
    isid: bytes
    tsih: int
    itt: int
    cid: int
    cmd_sn: int
    exp_stat_sn: int
    version_max: int = 0
    version_min: int = 0

    def _values(self) -> tuple[int | bytes, ...]:
        flags = self.transit << 7 | self.continued << 6 | self.csg << 2 | self.nsg
        return (
            flags,
            self.version_max,
            self.version_min,
            len(self.data),
            self.isid,
            self.tsih,
            self.itt,
            self.cid,
            0,
            self.cmd_sn,
            self.exp_stat_sn,
        )

    @classmethod
    def parse(cls, header: bytes | memoryview, data: bytes, immediate: bool) -> Pdu:
        _, flags, v_max, v_min, _, isid, tsih, itt, cid, _, cmd_sn, exp_stat_sn = cls.layout.unpack(header)
        return cls(
            bool(flags & 0x80),
            bool(flags & 0x40),
            flags >> 2 & 3,
            flags & 3,
            isid,
            tsih,
            itt,
            cid,
            cmd_sn,
            exp_stat_sn,
            v_max,
            v_min,
            data=data,
            immediate=immediate,
        )


@dataclass(slots=True)
class LoginResponse(Pdu):
    """Section 11.13. `status` is Status-Class << 8 | Status-Detail."""

    opcode = Opcode.LOGIN_RESPONSE
    layout = Struct(">BBBBI6sHI4xIIIH10x")

    transit: bool
    continued: bool
    csg: int
    nsg: int
    isid: bytes
    tsih: int
    itt: int
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    status: int = 0

    def _values(self) -> tuple[int | bytes, ...]:
        flags = self.transit << 7 | self.continued << 6 | self.csg << 2 | self.nsg
        return (
            flags,
            0,
            0,
            len(self.data),
            self.isid,
            self.tsih,
            self.itt,
            self.stat_sn,
            self.exp_cmd_sn,
            self.max_cmd_sn,
            self.status,
        )

    @classmethod
    def parse(cls, header: bytes | memoryview, data: bytes, immediate: bool) -> Pdu:
        _, flags, _, _, _, isid, tsih, itt, stat_sn, exp, maximum, status = cls.layout.unpack(header)
        return cls(
            bool(flags & 0x80),
            bool(flags & 0x40),
            flags >> 2 & 3,
            flags & 3,
            isid,
            tsih,
            itt,
            stat_sn,
            exp,
            maximum,
            status,
            data=data,
        )


@dataclass(slots=True)
class TextRequest(Pdu):
    """Section 11.10."""

    opcode = Opcode.TEXT_REQUEST
    layout = Struct(">BBHIQIIII16x")

    final: bool
    continued: bool
    lun: int
    itt: int
    ttt: int
    cmd_sn: int
    exp_stat_sn: int

    def _values(self) -> tuple[int | bytes, ...]:
        return (
            self.final << 7 | self.continued << 6,
            0,
            len(self.data),
            self.lun,
            self.itt,
            self.ttt,
            self.cmd_sn,
            self.exp_stat_sn,
        )

    @classmethod
    def parse(cls, header: bytes | memoryview, data: bytes, immediate: bool) -> Pdu:
        _, flags, _, _, lun, itt, ttt, cmd_sn, exp_stat_sn = cls.layout.unpack(header)
        return cls(
            bool(flags & 0x80),
            bool(flags & 0x40),
            lun,
            itt,
            ttt,
            cmd_sn,
            exp_stat_sn,
            data=data,
            immediate=immediate,
        )


@dataclass(slots=True)
class TextResponse(Pdu):
    """Section 11.11."""

    opcode = Opcode.TEXT_RESPONSE
    layout = Struct(">BBHIQIIIII12x")

    final: bool
    continued: bool
    lun: int
    itt: int
    ttt: int
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int

    def _values(self) -> tuple[int | bytes, ...]:
        return (
            self.final << 7 | self.continued << 6,
            0,
            len(self.data),
            self.lun,
            self.itt,
            self.ttt,
            self.stat_sn,
            self.exp_cmd_sn,
            self.max_cmd_sn,
        )

    @classmethod
    def parse(cls, header: bytes | memoryview, data: bytes, immediate: bool) -> Pdu:
        _, flags, _, _, lun, itt, ttt, stat_sn, exp_cmd_sn, max_cmd_sn = cls.layout.unpack(header)
        return cls(
            bool(flags & 0x80),
            bool(flags & 0x40),
            lun,
            itt,
            ttt,
            stat_sn,
            exp_cmd_sn,
            max_cmd_sn,
            data=data,
        )


@dataclass(slots=True)
class DataOut(Pdu):
    """Section 11.7."""

    opcode = Opcode.DATA_OUT
    layout = Struct(">BBHIQIIIIIII4x")

    final: bool
    lun: int
    itt: int
    ttt: int
    exp_stat_sn: int
    data_sn: int
    offset: int

    def _values(self) -> tuple[int | bytes, ...]:
        return (
            self.final << 7,
            0,
            len(self.data),
            self.lun,
            self.itt,
            self.ttt,
            0,
            self.exp_stat_sn,
            0,
            self.data_sn,
            self.offset,
        )

    @classmethod
    def parse(cls, header: bytes | memoryview, data: bytes, immediate: bool) -> Pdu:
        _, flags, _, _, lun, itt, ttt, _, exp_stat_sn, _, data_sn, offset = cls.layout.unpack(header)
        return cls(bool(flags & 0x80), lun, itt, ttt, exp_stat_sn, data_sn, offset, data=data)


@dataclass(slots=True)
class DataIn(Pdu):
    """Section 11.7. `status` counts when the S bit is in flags."""

    opcode = Opcode.DATA_IN
    layout = Struct(">BBBBIQIIIIIIII")

    flags: int
    status: int
    lun: int
    itt: int
    ttt: int
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    data_sn: int
    offset: int
    residual: int = 0

    def _values(self) -> tuple[int | bytes, ...]:
        return (
            self.flags,
            0,
            self.status,
            len(self.data),
            self.lun,
            self.itt,
            self.ttt,
            self.stat_sn,
            self.exp_cmd_sn,
            self.max_cmd_sn,
            self.data_sn,
            self.offset,
            self.residual,
        )

    @classmethod
    def parse(cls, header: bytes | memoryview, data: bytes, immediate: bool) -> Pdu:
        _, flags, _, status, _, lun, itt, ttt, stat, exp, maximum, data_sn, offset, residual = (
            cls.layout.unpack(header)
        )
        return cls(flags, status, lun, itt, ttt, stat, exp, maximum, data_sn, offset, residual, data=data)


@dataclass(slots=True)
class R2T(Pdu):
    """Section 11.8."""

    opcode = Opcode.R2T
    layout = Struct(">BBHIQIIIIIIII")

    lun: int
    itt: int
    ttt: int
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    r2t_sn: int
    offset: int
    length: int

    def _values(self) -> tuple[int | bytes, ...]:
        return (
            0x80,
            0,
            0,
            self.lun,
            self.itt,
            self.ttt,
            self.stat_sn,
            self.exp_cmd_sn,
            self.max_cmd_sn,
            self.r2t_sn,
            self.offset,
            self.length,
        )

    @classmethod
    def parse(cls, header: bytes | memoryview, data: bytes, immediate: bool) -> Pdu:
        _, _, _, _, lun, itt, ttt, stat_sn, exp, maximum, r2t_sn, offset, length = cls.layout.unpack(header)
        return cls(lun, itt, ttt, stat_sn, exp, maximum, r2t_sn, offset, length)


@dataclass(slots=True)
class AsyncMessage(Pdu):
    """Section 11.9."""

    opcode = Opcode.ASYNC_MESSAGE
    layout = Struct(">BBHIQI4xIIIBBHHH4x")

    event: int
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    parameter1: int = 0
    parameter2: int = 0
    parameter3: int = 0
    lun: int = 0
    vendor_code: int = 0

    def _values(self) -> tuple[int | bytes, ...]:
        return (
            0x80,
            0,
            len(self.data),
            self.lun,
            RESERVED_TAG,
            self.stat_sn,
            self.exp_cmd_sn,
            self.max_cmd_sn,
            self.event,
            self.vendor_code,
            self.parameter1,
            self.parameter2,
            self.parameter3,
        )

    @classmethod
    def parse(cls, header: bytes | memoryview, data: bytes, immediate: bool) -> Pdu:
        _, _, _, _, lun, _, stat_sn, exp, maximum, event, vendor, p1, p2, p3 = cls.layout.unpack(header)
        return cls(event, stat_sn, exp, maximum, p1, p2, p3, lun, vendor, data=data)


@dataclass(slots=True)
class LogoutRequest(Pdu):
    """Section 11.14."""

    opcode = Opcode.LOGOUT_REQUEST
    layout = Struct(">BBHI8xIHHII16x")

    reason: int
    itt: int
    cid: int
    cmd_sn: int
    exp_stat_sn: int

    def _values(self) -> tuple[int | bytes, ...]:
        return (
            0x80 | self.reason,
            0,
            len(self.data),
            self.itt,
            self.cid,
            0,
            self.cmd_sn,
            self.exp_stat_sn,
        )

    @classmethod
    def parse(cls, header: bytes | memoryview, data: bytes, immediate: bool) -> Pdu:
        _, reason, _, _, itt, cid, _, cmd_sn, exp_stat_sn = cls.layout.unpack(header)
        return cls(reason & 0x7F, itt, cid, cmd_sn, exp_stat_sn, data=data, immediate=immediate)


@dataclass(slots=True)
class LogoutResponse(Pdu):
    """Section 11.15. Times are in seconds."""

    opcode = Opcode.LOGOUT_RESPONSE
    layout = Struct(">BBBBI8xI4xIII4xHH4x")

    itt: int
    response: int
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    time2wait: int = 0
    time2retain: int = 0

    def _values(self) -> tuple[int | bytes, ...]:
        return (
            0x80,
            self.response,
            0,
            0,
            self.itt,
            self.stat_sn,
            self.exp_cmd_sn,
            self.max_cmd_sn,
            self.time2wait,
            self.time2retain,
        )

    @classmethod
    def parse(cls, header: bytes | memoryview, data: bytes, immediate: bool) -> Pdu:
        _, _, response, _, _, itt, stat_sn, exp, maximum, wait, retain = cls.layout.unpack(header)
        return cls(itt, response, stat_sn, exp, maximum, wait, retain)


@dataclass(slots=True)
class SnackRequest(Pdu):
    """Section 11.16."""

    opcode = Opcode.SNACK_REQUEST
    layout = Struct(">BBHIQII4xI8xII")

    kind: int
    lun: int
    itt: int
    ttt: int
    exp_stat_sn: int
    beg_run: int
    run_length: int

    def _values(self) -> tuple[int | bytes, ...]:
        return (
            0x80 | self.kind,
            0,
            len(self.data),
            self.lun,
            self.itt,
            self.ttt,
            self.exp_stat_sn,
            self.beg_run,
            self.run_length,
        )

    @classmethod
    def parse(cls, header: bytes | memoryview, data: bytes, immediate: bool) -> Pdu:
        _, kind, _, _, lun, itt, ttt, exp_stat_sn, beg_run, run_length = cls.layout.unpack(header)
        return cls(kind & 0x0F, lun, itt, ttt, exp_stat_sn, beg_run, run_length, data=data)


@dataclass(slots=True)
class Reject(Pdu):
    """Section 11.17. The data segment is the header of the rejected PDU."""

    opcode = Opcode.REJECT
    layout = Struct(">BBBBI8xI4xIIII8x")

    reason: int
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    data_sn: int = 0

    def _values(self) -> tuple[int | bytes, ...]:
        return (
            0x80,
            self.reason,
            0,
            len(self.data),
            RESERVED_TAG,
            self.stat_sn,
            self.exp_cmd_sn,
            self.max_cmd_sn,
            self.data_sn,
        )

    @classmethod
    def parse(cls, header: bytes | memoryview, data: bytes, immediate: bool) -> Pdu:
        _, _, reason, _, _, _, stat_sn, exp, maximum, data_sn = cls.layout.unpack(header)
        return cls(reason, stat_sn, exp, maximum, data_sn, data=data)


@dataclass(slots=True)
class NopOut(Pdu):
    """Section 11.18."""

    opcode = Opcode.NOP_OUT
    layout = Struct(">BBHIQIIII16x")

    lun: int
    itt: int
    ttt: int
    cmd_sn: int
    exp_stat_sn: int

    def _values(self) -> tuple[int | bytes, ...]:
        return (0x80, 0, len(self.data), self.lun, self.itt, self.ttt, self.cmd_sn, self.exp_stat_sn)

    @classmethod
    def parse(cls, header: bytes | memoryview, data: bytes, immediate: bool) -> Pdu:
        _, _, _, _, lun, itt, ttt, cmd_sn, exp_stat_sn = cls.layout.unpack(header)
        return cls(lun, itt, ttt, cmd_sn, exp_stat_sn, data=data, immediate=immediate)


@dataclass(slots=True)
class NopIn(Pdu):
    """Section 11.19."""

    opcode = Opcode.NOP_IN
    layout = Struct(">BBHIQIIIII12x")

    lun: int
    itt: int
    ttt: int
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int

    def _values(self) -> tuple[int | bytes, ...]:
        return (
            0x80,
            0,
            len(self.data),
            self.lun,
            self.itt,
            self.ttt,
            self.stat_sn,
            self.exp_cmd_sn,
            self.max_cmd_sn,
        )

    @classmethod
    def parse(cls, header: bytes | memoryview, data: bytes, immediate: bool) -> Pdu:
        _, _, _, _, lun, itt, ttt, stat_sn, exp_cmd_sn, max_cmd_sn = cls.layout.unpack(header)
        return cls(lun, itt, ttt, stat_sn, exp_cmd_sn, max_cmd_sn, data=data)


for _cls in (
    ScsiCommand,
    ScsiResponse,
    TaskManagementRequest,
    TaskManagementResponse,
    LoginRequest,
    LoginResponse,
    TextRequest,
    TextResponse,
    DataOut,
    DataIn,
    R2T,
    AsyncMessage,
    LogoutRequest,
    LogoutResponse,
    SnackRequest,
    Reject,
    NopOut,
    NopIn,
):
    _register(_cls)
