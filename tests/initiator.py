"""A small blocking iSCSI initiator for tests, written from RFC 7143 alone: it shares no code with isadmin.

    with Initiator(("127.0.0.1", port), name="iqn.2003-01.org.test:i1", target="iqn...") as initiator:
        reply = initiator.cmd(bytes([0x12, 0, 0, 0, 96, 0]), expected_in=96)
        assert reply.status == 0
        reply.data

It keeps to what it is told: every header field can be overridden, so that tests can break the protocol too.
"""

from __future__ import annotations

import hashlib
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType

NONE = 0xFFFFFFFF


class LoginFailed(Exception):  # noqa: N818
    """The target refused the login; `status` is class << 8 | detail."""

    def __init__(self, status: int) -> None:
        super().__init__(f"login status 0x{status:04x}")
        self.status = status


class Closed(Exception):  # noqa: N818
    """The target closed the connection."""


@dataclass
class Pdu:
    """A PDU as received: its 48 header bytes, its data, and the fields every test asks for."""

    header: bytes
    data: bytes = b""

    @property
    def opcode(self) -> int:
        return self.header[0] & 0x3F

    @property
    def flags(self) -> int:
        return self.header[1]

    @property
    def itt(self) -> int:
        return self.word(16)

    @property
    def ttt(self) -> int:
        return self.word(20)

    @property
    def stat_sn(self) -> int:
        return self.word(24)

    @property
    def exp_cmd_sn(self) -> int:
        return self.word(28)

    @property
    def max_cmd_sn(self) -> int:
        return self.word(32)

    def word(self, offset: int) -> int:
        value: int = struct.unpack_from(">I", self.header, offset)[0]
        return value


@dataclass
class Reply:
    """How a command ended."""

    status: int
    data: bytes = b""
    sense: bytes = b""
    flags: int = 0
    residual: int = 0
    pdus: list[Pdu] = field(default_factory=list)
    """All PDUs of the command, R2Ts included."""

    @property
    def overflow(self) -> bool:
        return bool(self.flags & 0x04)

    @property
    def underflow(self) -> bool:
        return bool(self.flags & 0x02)

    @property
    def asc(self) -> int:
        """ASC << 8 | ASCQ of fixed or descriptor sense."""
        at = 2 if self.sense[0] & 0x7F in (0x72, 0x73) else 12
        return self.sense[at] << 8 | self.sense[at + 1]

    @property
    def key(self) -> int:
        return self.sense[1 if self.sense[0] & 0x7F in (0x72, 0x73) else 2] & 0x0F


def pairs(data: bytes) -> list[tuple[str, str]]:
    """The key=value pairs of a text."""
    found = []
    for item in data.split(b"\0"):
        if item:
            key, _, value = item.decode().partition("=")
            found.append((key, value))
    return found


def text(keys: Mapping[str, str]) -> bytes:
    return b"".join(f"{key}={value}\0".encode() for key, value in keys.items())


def crc32c(data: bytes) -> bytes:
    """Castagnoli's CRC bit by bit: slow, and independent of any library."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return (crc ^ 0xFFFFFFFF).to_bytes(4, "little")


HASHES = {"5": "md5", "6": "sha1", "7": "sha256", "8": "sha3_256"}

OPERATIONAL = {
    "HeaderDigest": "None",
    "DataDigest": "None",
    "InitialR2T": "No",
    "ImmediateData": "Yes",
    "MaxRecvDataSegmentLength": "262144",
    "MaxBurstLength": "262144",
    "FirstBurstLength": "65536",
    "DefaultTime2Wait": "2",
    "DefaultTime2Retain": "0",
    "MaxOutstandingR2T": "1",
    "MaxConnections": "1",
    "ErrorRecoveryLevel": "0",
    "DataPDUInOrder": "Yes",
    "DataSequenceInOrder": "Yes",
}


class Initiator:
    """One connection. target="" logs in to a discovery session.

    chap: (name, secret); mutual: (the target's name, its secret). keys: operational keys to offer beside or
    instead of OPERATIONAL; a value of "" leaves the key out. login=False connects only.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        name: str = "iqn.2003-01.org.test:initiator",
        target: str = "",
        chap: tuple[str, str] | None = None,
        mutual: tuple[str, str] | None = None,
        algorithms: str = "7,6,5",
        keys: Mapping[str, str] | None = None,
        isid: bytes = b"\x80\x12\x34\x56\x00\x01",
        tsih: int = 0,
        cid: int = 0,
        cmd_sn: int = 1,
        alias: str = "",
        timeout: float = 10.0,
        login: bool = True,
    ) -> None:
        self.name, self.target, self.alias = name, target, alias
        self.chap, self.mutual, self.algorithms = chap, mutual, algorithms
        offered = {**OPERATIONAL, **(keys or {})}
        if not target:
            offered = {
                k: v for k, v in offered.items() if k in ("HeaderDigest", "DataDigest") or k in (keys or {})
            }
        self.keys = {key: value for key, value in offered.items() if value}
        self.isid, self.tsih, self.cid = isid, tsih, cid
        self.cmd_sn = cmd_sn
        self.max_cmd_sn = cmd_sn
        self.exp_stat_sn = 0
        self.itt = 0x10
        self.results: dict[str, str] = {}
        """What was negotiated, and what the target declared."""
        self.header_digest = self.data_digest = False
        self.sock = socket.create_connection(address, timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        if login:
            try:
                self.login()
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> Initiator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    # PDUs

    def _read(self, count: int) -> bytes:
        while len(self._received) < count:
            try:
                chunk = self.sock.recv(1 << 18)
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                raise Closed
            self._received += chunk
        taken, self._received = self._received[:count], self._received[count:]
        return taken

    @property
    def has_more(self) -> bool:
        """Whether bytes are here that receive() has not looked at."""
        return bool(self._received)

    def receive(self) -> Pdu:
        """The next PDU from the target. Closed when there is none any more, TimeoutError when none comes."""
        header = self._read(48)
        if self.header_digest:
            assert self._read(4) == crc32c(header)
        length = int.from_bytes(header[5:8], "big")
        data = self._read(length + (-length & 3))
        if length and self.data_digest:
            assert self._read(4) == crc32c(data)
        pdu = Pdu(header, data[:length])
        if pdu.opcode != 0x31 and not (pdu.opcode == 0x25 and not pdu.flags & 1):
            self.exp_stat_sn = pdu.stat_sn + 1 & NONE
        if pdu.opcode != 0x23 or self.results:
            self.max_cmd_sn = pdu.max_cmd_sn
        return pdu

    def send(self, header: bytes, data: bytes = b"", *, corrupt: bool = False) -> None:
        """A PDU; the header's data length is filled in, digests are added as negotiated."""
        header = header[:5] + len(data).to_bytes(3, "big") + header[8:]
        message = header
        if self.header_digest:
            message += crc32c(header)
        padded = data + bytes(-len(data) & 3)
        message += padded
        if data and self.data_digest:
            digest = crc32c(padded)
            message += bytes(4) if corrupt else digest
        self.sock.sendall(message)

    # Login

    def login_request(
        self, csg: int, nsg: int, data: bytes, *, transit: bool = True, continued: bool = False
    ) -> Pdu:
        """One login request and its response. LoginFailed on a failure status."""
        flags = transit << 7 | continued << 6 | csg << 2 | nsg
        header = struct.pack(
            ">BBBBI6sHIHHII16x",
            0x43, flags, 0, 0, 0, self.isid, self.tsih, 0x55, self.cid, 0, self.cmd_sn, self.exp_stat_sn,
        )  # fmt: skip
        self.send(header, data)
        response = self.receive()
        assert response.opcode == 0x23, response
        status = int.from_bytes(response.header[36:38], "big")
        if status:
            raise LoginFailed(status)
        for key, value in pairs(response.data):
            self.results[key] = value
        return response

    def _names(self) -> dict[str, str]:
        names = {"InitiatorName": self.name}
        if self.alias:
            names["InitiatorAlias"] = self.alias
        names["SessionType"] = "Normal" if self.target else "Discovery"
        if self.target:
            names["TargetName"] = self.target
        return names

    def login(self) -> None:
        """The whole login: security (CHAP if there are credentials, else None), operational, full feature."""
        method = "CHAP" if self.chap else "None"
        response = self.login_request(0, 1, text({**self._names(), "AuthMethod": method}))
        if self.chap:
            response = self._chap()
        assert response.flags & 0x80, "the target does not leave the security stage"
        response = self.login_request(1, 3, text(self.keys))
        while not response.flags & 0x80:
            response = self.login_request(1, 3, b"")
        self.tsih = int.from_bytes(response.header[14:16], "big")
        self.max_cmd_sn = response.max_cmd_sn
        self.header_digest = self.results.get("HeaderDigest") == "CRC32C"
        self.data_digest = self.results.get("DataDigest") == "CRC32C"

    def _chap(self) -> Pdu:
        assert self.chap is not None
        self.login_request(0, 1, text({"CHAP_A": self.algorithms}), transit=False)
        algorithm = HASHES[self.results["CHAP_A"]]
        identifier = bytes([int(self.results["CHAP_I"])])
        challenge = bytes.fromhex(self.results["CHAP_C"][2:])
        name, secret = self.chap
        answer = hashlib.new(algorithm, identifier + secret.encode() + challenge).hexdigest()
        keys = {"CHAP_N": name, "CHAP_R": "0x" + answer}
        ours = hashlib.sha256(challenge).digest()
        if self.mutual:
            keys |= {"CHAP_I": "77", "CHAP_C": "0x" + ours.hex()}
        response = self.login_request(0, 1, text(keys))
        if self.mutual:
            wanted = hashlib.new(algorithm, b"\x4d" + self.mutual[1].encode() + ours).digest()
            assert self.results["CHAP_N"] == self.mutual[0]
            assert bytes.fromhex(self.results["CHAP_R"][2:]) == wanted
        return response

    # Commands

    def next_itt(self) -> int:
        self.itt += 1
        return self.itt

    def number(self, *, immediate: bool = False) -> int:
        """The CmdSN of the next request."""
        cmd_sn = self.cmd_sn
        if not immediate:
            self.cmd_sn = cmd_sn + 1 & NONE
        return cmd_sn

    def send_command(
        self,
        cdb: bytes,
        *,
        lun: int = 0,
        data_out: bytes = b"",
        expected_in: int = 0,
        expected: int | None = None,
        immediate_data: bytes | None = None,
        final: bool = True,
        flags: int | None = None,
        attribute: int = 1,
        cmd_sn: int | None = None,
        itt: int | None = None,
        immediate: bool = False,
    ) -> int:
        """Send a SCSI Command PDU and return its tag; answers are left to the caller."""
        itt = self.next_itt() if itt is None else itt
        if flags is None:
            flags = final << 7 | bool(expected_in) << 6 | bool(data_out) << 5 | attribute
        header = struct.pack(
            ">BBHIQIIII16s",
            0x41 if immediate else 0x01,
            flags,
            0,
            0,
            lun << 48,
            itt,
            (len(data_out) or expected_in) if expected is None else expected,
            self.number(immediate=immediate) if cmd_sn is None else cmd_sn,
            self.exp_stat_sn,
            cdb.ljust(16, b"\0"),
        )
        self.send(header, immediate_data or b"")
        return itt

    def send_data(
        self,
        itt: int,
        ttt: int,
        offset: int,
        data: bytes,
        *,
        data_sn: int = 0,
        final: bool = True,
        lun: int = 0,
    ) -> None:
        """One Data-Out PDU."""
        header = struct.pack(
            ">BBHIQIIIIIII4x",
            0x05, final << 7, 0, 0, lun << 48, itt, ttt, 0, self.exp_stat_sn, 0, data_sn, offset,
        )  # fmt: skip
        self.send(header, data)

    def cmd(
        self,
        cdb: bytes,
        *,
        lun: int = 0,
        data_out: bytes = b"",
        expected_in: int = 0,
        expected: int | None = None,
        immediate: bool = True,
    ) -> Reply:
        """A whole command: immediate data as negotiated, R2Ts answered, the answer collected.

        immediate=False sends no immediate data even where it could.
        """
        first = b""
        if data_out and immediate and self.results.get("ImmediateData") == "Yes":
            limit = min(
                int(self.results.get("MaxRecvDataSegmentLength", "8192")),
                int(self.results.get("FirstBurstLength", "65536")),
                len(data_out) if expected is None else expected,
            )
            first = data_out[:limit]
        itt = self.send_command(
            cdb, lun=lun, data_out=data_out, expected_in=expected_in, expected=expected, immediate_data=first
        )
        return self.finish(itt, data_out, lun=lun)

    def finish(self, itt: int, data_out: bytes = b"", *, lun: int = 0) -> Reply:
        """Answer R2Ts and collect Data-In until the command `itt` ends."""
        collected = bytearray()
        seen = []
        while True:
            pdu = self.receive()
            if pdu.opcode == 0x20 and pdu.itt == NONE:
                self.answer_ping(pdu)
                continue
            assert pdu.itt == itt, pdu
            seen.append(pdu)
            if pdu.opcode == 0x31:
                self.answer_r2t(pdu, data_out, lun=lun)
            elif pdu.opcode == 0x25:
                offset = pdu.word(40)
                assert offset == len(collected)
                collected += pdu.data
                if pdu.flags & 1:
                    return Reply(pdu.header[3], bytes(collected), b"", pdu.flags & 6, pdu.word(44), seen)
            else:
                assert pdu.opcode == 0x21, pdu
                sense = pdu.data[2 : 2 + int.from_bytes(pdu.data[:2], "big")] if pdu.data else b""
                return Reply(pdu.header[3], bytes(collected), sense, pdu.flags & 6, pdu.word(44), seen)

    def answer_r2t(self, r2t: Pdu, data_out: bytes, *, lun: int = 0) -> None:
        """Send what an R2T asks for."""
        offset, length = r2t.word(40), r2t.word(44)
        segment = int(self.results.get("MaxRecvDataSegmentLength", "8192"))
        at = data_sn = 0
        while at < length:
            count = min(segment, length - at)
            chunk = data_out[offset + at : offset + at + count]
            self.send_data(
                r2t.itt, r2t.ttt, offset + at, chunk, data_sn=data_sn, final=at + count == length, lun=lun
            )
            at += count
            data_sn += 1

    # Other requests

    def nop(self, data: bytes = b"ping") -> Pdu:
        """A NOP-Out and the NOP-In that answers it."""
        header = struct.pack(
            ">BBHIQIIII16x", 0x40, 0x80, 0, 0, 0, self.next_itt(), NONE, self.cmd_sn, self.exp_stat_sn
        )
        self.send(header, data)
        return self.receive()

    def answer_ping(self, ping: Pdu) -> None:
        """Answer a NOP-In of the target's."""
        header = struct.pack(
            ">BBHIQIIII16x", 0x40, 0x80, 0, 0, 0, NONE, ping.ttt, self.cmd_sn, self.exp_stat_sn
        )
        self.send(header)

    def text(self, data: bytes, *, ttt: int = NONE, final: bool = True, itt: int | None = None) -> Pdu:
        """A text request and its response."""
        header = struct.pack(
            ">BBHIQIIII16x",
            0x04,
            0x80 if final else 0x40,
            0,
            0,
            0,
            self.next_itt() if itt is None else itt,
            ttt,
            self.number(),
            self.exp_stat_sn,
        )
        self.send(header, data)
        return self.receive()

    def send_targets(self, what: str = "All") -> dict[str, list[str]]:
        """SendTargets: the targets and their addresses, continued responses included."""
        response = self.text(f"SendTargets={what}\0".encode())
        data = response.data
        while response.flags & 0x40:
            response = self.text(b"", ttt=response.ttt, itt=response.itt)
            data += response.data
        targets: dict[str, list[str]] = {}
        for key, value in pairs(data):
            if key == "TargetName":
                addresses = targets.setdefault(value, [])
            elif key == "TargetAddress":
                addresses.append(value)
        return targets

    def task_management(self, function: int, *, lun: int = 0, tag: int = NONE) -> int:
        """A task management request; the response code."""
        itt = self.next_itt()
        header = struct.pack(
            ">BBHIQIIIIII8x",
            0x42, 0x80 | function, 0, 0, lun << 48, itt, tag, self.cmd_sn, self.exp_stat_sn, 0, 0,
        )  # fmt: skip
        self.send(header)
        while True:
            pdu = self.receive()
            if pdu.opcode == 0x22 and pdu.itt == itt:
                return pdu.header[2]

    def logout(self, reason: int = 0, cid: int | None = None) -> Pdu:
        """A logout request and its response."""
        header = struct.pack(
            ">BBHI8xIHHII16x",
            0x06,
            0x80 | reason,
            0,
            0,
            self.next_itt(),
            self.cid if cid is None else cid,
            0,
            self.number(),
            self.exp_stat_sn,
        )
        self.send(header)
        while True:
            pdu = self.receive()
            if pdu.opcode == 0x26:
                return pdu

    # Shorthands of SCSI

    def read(self, lba: int, blocks: int, *, lun: int = 0, block_size: int = 512) -> Reply:
        """READ (10)."""
        cdb = struct.pack(">BBIBHB", 0x28, 0, lba, 0, blocks, 0)
        return self.cmd(cdb, lun=lun, expected_in=blocks * block_size)

    def write(
        self, lba: int, data: bytes, *, lun: int = 0, block_size: int = 512, immediate: bool = True
    ) -> Reply:
        """WRITE (10)."""
        cdb = struct.pack(">BBIBHB", 0x2A, 0, lba, 0, len(data) // block_size, 0)
        return self.cmd(cdb, lun=lun, data_out=data, immediate=immediate)

    def ready(self, lun: int = 0) -> None:
        """TEST UNIT READY until unit attentions are over."""
        for _ in range(8):
            if self.cmd(bytes(6), lun=lun).status == 0:
                return
        raise AssertionError(f"LUN {lun} does not become ready")
