"""What is fuzzed by mutation: the PDU decoder, the login, commands with their parameters, connections."""

from __future__ import annotations

import errno
import logging
import random
import socket
import struct
import tempfile
from pathlib import Path

from isadmin.userspace.iscsi import pdu as pdus
from isadmin.userspace.iscsi.chap import ChapSecrets
from isadmin.userspace.iscsi.codes import LoginStatus
from isadmin.userspace.iscsi.errors import ProtocolError
from isadmin.userspace.iscsi.keys import KEYS
from isadmin.userspace.iscsi.login import LoginMachine
from isadmin.userspace.scsi.opcodes import TABLE
from tests.fuzz.mutation import FuzzTarget, choose, mutated
from tests.fuzz.seeds import CDBS
from tests.fuzz.test_commands import BLOCK, is_sound, reservations, world
from tests.userspace.iscsi.test_login import NAMES, Targets
from tests.userspace.iscsi.test_pdu import VECTORS
from tests.userspace.rig import IQN, Rig
from tests.userspace.test_target import eventually

MAX_DATA = 8192
PDUS = [bytes.fromhex(text) for _, text in VECTORS.values()]


class Decoder(FuzzTarget):
    """A byte stream: split, decoded, encoded again, with and without digests."""

    name = "decoder"

    def feed(self, chance: random.Random) -> int:
        self.last = data = mutated(chance, choose(chance, PDUS), choose(chance, PDUS))
        options = {"header_digest": False, "data_digest": False}
        if not chance.getrandbits(3):
            options = {"header_digest": True, "data_digest": bool(chance.getrandbits(1))}
        try:
            found = pdus.frame(data, 0, len(data), max_data=MAX_DATA, **options)
            if found is None:
                return 1
            assert 48 <= found.data <= found.data_end <= found.end <= len(data)
            header, segment = data[:48], data[found.data : found.data_end]
            pdu = pdus.decode(header, segment)
            again = pdus.decode(pdu.header(), segment)
            assert again == pdu
        except ProtocolError:
            pass
        return 1


def text(*pairs: str) -> bytes:
    return b"".join(pair.encode() + b"\0" for pair in pairs)


_NAMES = [f"{key}={value}" for key, value in NAMES.items()]
_VALUES = ("Yes", "No", "0", "1", "512", "65536", "16777215", "0x10", "None", "CRC32C,None", "Reject", "?")
_KEYS = [text(f"{key}={value}") for key in KEYS for value in _VALUES]
_TEXTS = [
    text(*_NAMES, "SessionType=Normal", "AuthMethod=CHAP,None"),
    text(*_NAMES, "AuthMethod=None", "HeaderDigest=CRC32C,None", "MaxRecvDataSegmentLength=65536"),
    text(*_NAMES, "AuthMethod=CHAP"),
    text("InitiatorName=iqn.2003-01.org.test:i", "SessionType=Discovery"),
    text("CHAP_A=5,6,7"),
    text("CHAP_A=7"),
    text("CHAP_N=alice", "CHAP_R=0x" + "5a" * 16),
    text("CHAP_N=alice", "CHAP_R=0b" + "QUJD" * 8, "CHAP_I=3", "CHAP_C=0x" + "7e" * 24),
    b"".join(_KEYS[::7]),
    b"",
]
_STAGES = ((0, 0, False), (0, 1, True), (0, 3, True), (1, 1, False), (1, 3, True))


class Login(FuzzTarget):
    """Logins of up to six requests; each request is an input. Nobody gets in who had to know the secret."""

    name = "login"

    def feed(self, chance: random.Random) -> int:
        required = bool(chance.getrandbits(1))
        secret = ChapSecrets("alice", b"alice-and-a-long-secret")
        targets = Targets(auth_required=required, secrets=(secret,))
        machine = LoginMachine(targets)
        sent = 0
        for number in range(1 + int(chance.random() * 6)):
            csg, nsg, transit = _STAGES[int(chance.random() * len(_STAGES))]
            data = choose(chance, _TEXTS[:3]) if not number else choose(chance, _TEXTS)
            if chance.getrandbits(2):
                data += choose(chance, _KEYS)
            if chance.getrandbits(1):
                data = mutated(chance, data, choose(chance, _TEXTS))
            request = pdus.LoginRequest(
                transit, False, csg, nsg, b"\x80\0\0\0\0\x01", 0, 9, 1, 100, 0, data=data, immediate=True
            )
            wire = request.encode()
            if not chance.getrandbits(2):
                wire = mutated(chance, wire[:48], wire) + wire[48:]
            self.last = wire
            sent += 1
            try:
                found = pdus.frame(wire, 0, len(wire), max_data=MAX_DATA)
                if found is None:
                    continue
                pdu = pdus.decode(wire[:48], wire[found.data : found.data_end])
            except ProtocolError:
                break
            if not isinstance(pdu, pdus.LoginRequest):
                break
            answer = machine.receive(wire[:48], pdu.data)
            response = pdus.decode(answer[:48], answer[48:])
            assert isinstance(response, pdus.LoginResponse)
            assert response.status in LoginStatus._value2member_map_
            assert (machine.failed is None) == (response.status == 0)
            if machine.failed is not None or machine.done:
                break
        machine.close()
        assert not (required and machine.done)
        return sent


def _parameters() -> list[bytes]:
    """Parameter lists that some command takes."""
    unit, initiators = world()
    key = bytes(7) + b"\x01"
    port = b"\x45\0\0\x20" + b"iqn.2003-01.org.test:i\0".ljust(32, b"\0")
    designator = initiators[0].send(b"\x12\x01\x83\0\xff\0").good()[4:24]
    target = (b"\xe4\0\0\0" + designator).ljust(28, b"\0") + b"\0\0\x02\0"
    segment = b"\x02\0\0\x18" + bytes(6) + b"\0\x08" + bytes(8) + (64).to_bytes(8, "big")
    copied = struct.pack(">BBHIIi", 1, 0, len(target), 0, len(segment), 0) + target + segment
    lists = [
        b"",
        bytes(8) + key + bytes(8),
        key + bytes(16),
        key + key + bytes(8),
        bytes(8) + key + b"\0\0\0\0\x04\0\0\0",
        bytes(8) + key + b"\0\0\0\0\x08\0\0\0" + struct.pack(">I", len(port)) + port,
        key + key + b"\0\x01\0\x01" + struct.pack(">I", len(port)) + port,
        struct.pack(">HHxxxxQIxxxx", 22, 16, 8, 16),
        struct.pack(">HHxxxxQIxxxxQIxxxx", 38, 32, 8, 16, 100, 3),
        copied,
        bytes(BLOCK),
        bytes(2 * BLOCK),
        b"\xaa" * 16 * BLOCK,
        b"\0\0\0\0" + b"\0\x01\0\x04" + bytes(BLOCK),  # SANITIZE, OVERWRITE
        b"\0\0\0\0" + b"\x02\0\0\0",  # SET TARGET PORT GROUPS
    ]
    for page in (0x0A, 0x08, 0x3F):
        data = initiators[0].send(bytes((0x1A, 0x08, page, 0, 0xFF, 0))).good()
        lists.append(b"\0\0\0\0" + data[4:])
        lists.append(bytes(8) + data[4:])
    assert unit.unit.blocks
    return lists


class Commands(FuzzTarget):
    """Commands with data, from three initiators to two units: each is answered as SAM-5 has it, and the
    reservations stay in order. A fresh world for each batch."""

    name = "commands"
    batch = 200

    def __init__(self) -> None:
        self._lists = _parameters()
        self._cdbs = [
            (row.usage[:1], row.usage[1:], -1 if row.service_action is None else row.service_action)
            for row in TABLE
        ]
        self.renew()

    def renew(self) -> None:
        self._bench, self._initiators = world()

    def _cdb(self, chance: random.Random) -> bytes:
        first, usage, action = self._cdbs[int(chance.random() * len(self._cdbs))]
        fields = bytearray(len(usage))
        # Small numbers where most CDBs have their LBA and their length, and anything elsewhere.
        fields[len(fields) // 2] = chance.getrandbits(3)
        fields[-3 if len(fields) > 9 else -2] = (0, 1, 2, 8, 24, 36, 96, 255)[chance.getrandbits(3)]
        if not chance.getrandbits(2):
            fields[1] = (0x01, 0x03, 0x08, 0x0A, 0x1C, 0x2F, 0x3F, 0x83)[chance.getrandbits(3)]
        for _ in range(chance.getrandbits(2)):
            fields[int(chance.random() * len(fields))] = chance.getrandbits(8)
        cdb = bytearray(first + bytes(a & b for a, b in zip(fields, usage, strict=True)))
        if action >= 0:
            cdb[1] = cdb[1] & 0xE0 | action
        if not chance.getrandbits(2):
            return mutated(chance, bytes(cdb), bytes(cdb)).ljust(6, b"\0")[:260]
        return bytes(cdb)

    def feed(self, chance: random.Random) -> int:
        cdb = self._cdb(chance)
        data = choose(chance, self._lists)
        if not chance.getrandbits(2):
            data = mutated(chance, data, choose(chance, self._lists))
        if chance.getrandbits(2) and len(cdb) == 10 and cdb[0] in (0x5F, 0x42, 0x55):
            # The right length, so that what follows is looked at.
            cdb = cdb[:3] + bytes(2) + len(data).to_bytes(4, "big") + cdb[9:]
        self.last = cdb + b"|" + data
        is_sound(self._initiators[int(chance.random() * 3)].send(cdb, data))
        reservations(self._bench)
        return 1


_LOGIN = pdus.LoginRequest(
    True,
    False,
    0,
    3,
    b"\x80\0\0\0\0\x07",
    0,
    1,
    0,
    1,
    0,
    data=text(
        "InitiatorName=iqn.2003-01.org.test:fuzz",
        f"TargetName={IQN}",
        "SessionType=Normal",
        "AuthMethod=None",
        "InitialR2T=No",
        "MaxRecvDataSegmentLength=262144",
    ),
    immediate=True,
).encode()


def _requests(cmd_sn: int) -> list[bytes]:
    """One of each request, with the right CmdSN, and answers to R2Ts that may or may not be there."""
    tag, none = 16 + cmd_sn, 0xFFFFFFFF
    made: list[pdus.Pdu] = [pdus.ScsiCommand(0xC1, 0, tag, 8192, cmd_sn, 1, chosen) for chosen in CDBS]
    made += [
        pdus.ScsiCommand(0xA1, 0, tag, 8192, cmd_sn, 1, CDBS[2], data=bytes(8192)),
        pdus.ScsiCommand(0x21, 0, tag, 512000, cmd_sn, 1, CDBS[3], data=bytes(512)),
        pdus.ScsiCommand(0xA1, 0, tag, 512000, cmd_sn, 1, CDBS[3]),
        pdus.DataOut(False, 0, tag - 1, none, 1, 0, 512, data=bytes(512)),
        pdus.DataOut(True, 0, tag - 1, 1, 1, 0, 0, data=bytes(4096)),
        pdus.TaskManagementRequest(1, 0, tag, tag - 1, cmd_sn, 1, cmd_sn - 1, immediate=True),
        pdus.TaskManagementRequest(5, 0, tag, none, cmd_sn, 1),
        pdus.TextRequest(True, False, 0, tag, none, cmd_sn, 1, data=b"SendTargets=\0"),
        pdus.TextRequest(False, False, 0, tag, none, cmd_sn, 1, data=_KEYS[cmd_sn * 11 % len(_KEYS)]),
        pdus.TextRequest(False, True, 0, tag, none, cmd_sn, 1, data=b"MaxRecvDataSegmentLength="),
        pdus.TextRequest(True, False, 0, tag, cmd_sn, cmd_sn, 1, data="\u00b2\0".encode()),
        pdus.NopOut(0, tag, none, cmd_sn, 1, data=b"ping"),
        pdus.NopOut(0, none, 0x22, cmd_sn, 1, immediate=True),
        pdus.SnackRequest(1, 0, tag - 1, none, 1, 0, 0),
        pdus.LogoutRequest(1, tag, 5, cmd_sn, 1),
    ]
    return [pdu.encode() for pdu in made]


class Connections(FuzzTarget):
    """Whole connections over TCP: a login, and up to thirty requests of which some are changed. An input is a
    whole connection. A neighbour looks now and then whether its own session and data are as they were."""

    name = "connections"
    batch = 50

    def __init__(self) -> None:
        self._place = tempfile.TemporaryDirectory()
        self._rig = Rig()
        file = self._rig.file(Path(self._place.name) / "disk", 1 << 20, emulate_caw=1)
        self._tpg = self._rig.serve(file, param={"InitialR2T": "No"})
        # At another target: a cold reset is in the protocol, and ends all sessions of its own.
        other = self._rig.tpg(f"{IQN}-other")
        self._rig.portal(other)
        self._rig.lun(other, self._rig.ramdisk(1 << 20))
        self._rig.listen()
        self._neighbour = self._rig.login(other, name="iqn.2003-01.org.test:neighbour", timeout=30)
        self._neighbour.ready()
        assert self._neighbour.write(0, b"mine" * 128).status == 0
        self._requests = [_requests(cmd_sn) for cmd_sn in range(1, 32)]
        self._log = _Errors()
        logging.getLogger("isadmin.userspace").addHandler(self._log)

    def feed(self, chance: random.Random) -> int:
        stream = bytearray(_LOGIN)
        if not chance.getrandbits(4):
            stream = bytearray(mutated(chance, _LOGIN, _LOGIN))
        for requests in self._requests[: 1 + int(chance.random() * 30)]:
            wire = choose(chance, requests)
            if not chance.getrandbits(3):
                wire = mutated(chance, wire, choose(chance, requests))
            stream += wire
        self.last = bytes(stream)
        address = self._rig.address(self._tpg)
        with socket.create_connection(address, timeout=30) as sock:
            try:
                sock.sendall(stream)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(1 << 18):
                    pass
            except ConnectionError:
                pass
            except OSError as error:
                # The target has closed it before shutdown() came.
                if error.errno != errno.ENOTCONN:
                    raise
        assert not self._log.seen, self._log.seen
        return 1

    def renew(self) -> None:
        # Once in a while: all are gone but the neighbour, whose data is its own.
        eventually(lambda: len(self._rig.target.server.connections) == 1)
        self._neighbour.ready()
        assert self._neighbour.read(0, 1).data == b"mine" * 128

    def close(self) -> None:
        try:
            self.renew()
        finally:
            logging.getLogger("isadmin.userspace").removeHandler(self._log)
            self._neighbour.close()
            self._rig.close()
            self._place.cleanup()


class _Errors(logging.Handler):
    """The daemon's failures of its own; breaking the protocol is none."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(self.format(record))


ALL: dict[str, type[FuzzTarget]] = {target.name: target for target in (Decoder, Login, Commands, Connections)}
