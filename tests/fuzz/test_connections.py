"""Any PDUs in any order on a connection, before and after login: it answers, rejects or closes; the daemon
logs no failure of its own, and another initiator does not notice."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isadmin.userspace import model
from isadmin.userspace.iscsi.keys import KEYS
from tests.fuzz.limits import examples
from tests.fuzz.seeds import CDBS
from tests.initiator import Initiator
from tests.userspace.rig import IQN, Rig
from tests.userspace.test_target import eventually

pytestmark = pytest.mark.usefixtures("clean_log")

SIZE = 1 << 20
REQUESTS = (0x00, 0x01, 0x02, 0x04, 0x05, 0x06, 0x10)
RESPONSES = (0x20, 0x21, 0x25, 0x31, 0x3F, 0x1C, 0x07)


@dataclass
class Place:
    """A running target, and a well-behaved initiator at another one."""

    rig: Rig
    tpg: model.Tpg
    neighbour: Initiator

    def quiet(self) -> bool:
        """Only the neighbour is connected."""
        return len(self.rig.target.server.connections) == 1


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    rig = Rig()
    try:
        file = rig.file(tmp_path_factory.mktemp("fuzz") / "disk", SIZE, emulate_caw=1)
        tpg = rig.serve(file, param={"InitialR2T": "No", "MaxOutstandingR2T": "4"})
        # A cold reset is in the protocol, and ends all sessions of its own target.
        other = rig.tpg(f"{IQN}-other")
        rig.portal(other)
        rig.lun(other, rig.ramdisk(SIZE))
        rig.listen()
        with rig.login(other, name="iqn.2003-01.org.test:neighbour") as neighbour:
            neighbour.ready()
            assert neighbour.write(0, b"mine" * 128).status == 0
            yield Place(rig, tpg, neighbour)
    finally:
        rig.close()


small = st.integers(0, 3)
numbers = st.one_of(
    small, st.sampled_from([0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF]), st.integers(0, 2**32 - 1)
)


@dataclass(frozen=True)
class Sent:
    """A PDU to be; CmdSN is the distance from the right one. lie: the data segment is said to be this much
    longer than it is."""

    opcode: int
    flags: int
    lun: int
    itt: int
    words: tuple[int, ...]
    cmd_sn: int
    cdb: bytes
    data: bytes
    ahs: bytes
    lie: int

    def encode(self, cmd_sn: int, exp_stat_sn: int) -> bytes:
        header = struct.pack(
            ">BBHIQI",
            self.opcode,
            self.flags,
            0,
            len(self.ahs) // 4 << 24 | min(len(self.data) + self.lie, 0xFFFFFF),
            self.lun << 48,
            self.itt,
        )
        if self.opcode & 0x3F == 0x01:
            rest = (
                struct.pack(">III", self.words[0], cmd_sn + self.cmd_sn & 0xFFFFFFFF, exp_stat_sn) + self.cdb
            )
        else:
            number = cmd_sn + self.cmd_sn & 0xFFFFFFFF
            rest = struct.pack(">IIIIIII", self.words[0], number, exp_stat_sn, *self.words[1:5])
        return header + rest + self.ahs + self.data + bytes(-len(self.data) % 4)

    @property
    def numbered(self) -> bool:
        return not self.opcode & 0x40 and self.opcode & 0x3F not in (0x05, 0x10)


FLAGS = st.one_of(
    st.sampled_from([0x80, 0x81, 0xC1, 0xA1, 0xE1, 0x21, 0x20, 0xC0, 0x82, 0x85]), st.integers(0, 255)
)
PDUS = st.builds(
    Sent,
    opcode=st.one_of(
        st.sampled_from(REQUESTS),
        st.sampled_from([0x01, 0x05, 0x41, 0x40, 0x42, 0x43, 0x03]),
        st.sampled_from(RESPONSES),
        st.integers(0, 255),
    ),
    flags=FLAGS,
    lun=st.sampled_from([0, 0, 0, 1, 2, 0x4001, 0xFFFF]),
    itt=st.one_of(small, numbers),
    words=st.tuples(numbers, numbers, numbers, numbers, numbers),
    cmd_sn=st.one_of(st.just(0), st.just(0), st.sampled_from([1, -1, 2, 70, 1 << 31])),
    cdb=st.one_of(st.sampled_from(CDBS), st.binary(min_size=16, max_size=16)),
    data=st.one_of(
        st.just(b""),
        st.binary(max_size=64),
        st.sampled_from(
            [bytes(512), bytes(8192), b"SendTargets=All\0", b"SendTargets=\0X=1\0", b"MaxBurstLength=1\0"]
        ),
    ),
    ahs=st.sampled_from(
        [b"", b"", b"", bytes(4), b"\0\x05\x01\0" + bytes(4), b"\0\xff\x01\0" + bytes(8), bytes(64)]
    ),
    lie=st.sampled_from([0, 0, 0, 0, 0, 4, 1 << 20]),
)


def poured(sock: socket.socket, data: bytes) -> None:
    """Send what can be sent, and take answers until the target closes or says no more. The end of our half
    makes it close at last."""
    with contextlib.suppress(OSError):
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1 << 16):
            pass


def others_are_fine(place: Place) -> None:
    assert place.neighbour.nop(b"there").data == b"there"
    eventually(place.quiet)


@examples(150)
@given(sent=st.lists(PDUS, min_size=1, max_size=12), cut=st.integers(0, 60))
def test_any_pdus_after_login(place: Place, sent: list[Sent], cut: int) -> None:
    with place.rig.login(place.tpg, timeout=30) as initiator:
        stream, cmd_sn = b"", initiator.cmd_sn
        for pdu in sent:
            stream += pdu.encode(cmd_sn, initiator.exp_stat_sn)
            cmd_sn = cmd_sn + pdu.numbered & 0xFFFFFFFF
        poured(initiator.sock, stream[: len(stream) - cut])
    others_are_fine(place)


WORDS = (
    "Yes No 0 1 16777216 -1 0x10 None CRC32C,None é Discovery Normal CHAP CHAP,None 5 7,6,5,99 ? Reject "
    f"iqn.2003-01.org.test:i {IQN} {'a' * 300}"
).split()
TEXT_KEYS = [*KEYS, "InitiatorName", "TargetName", "SessionType", "AuthMethod", "CHAP_A", "X-y"]
TEXTS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(TEXT_KEYS), st.sampled_from(["", *WORDS])).map("=".join),
        st.text(max_size=20),
    ),
    max_size=8,
).map(lambda items: "".join(f"{item}\0" for item in items).encode(errors="surrogatepass"))
NAMES = f"InitiatorName=iqn.2003-01.org.test:i\0TargetName={IQN}\0".encode()
LOGINS = st.tuples(
    st.sampled_from([0x43, 0x43, 0x43, 0x43, 0x03, 0x41, 0x40, 0x46]),
    st.one_of(st.sampled_from([0x87, 0x81, 0x04, 0x00, 0x44, 0x83, 0x8F, 0xC7]), st.integers(0, 255)),
    st.sampled_from([(0, 0), (0, 0), (1, 1), (0, 255)]),
    st.tuples(st.binary(min_size=6, max_size=6), st.sampled_from([0, 0, 1, 0xFFFF])),
    numbers,
    st.builds(bytes.__add__, st.sampled_from([NAMES, NAMES, b""]), TEXTS),
)


@examples(150)
@given(sent=st.lists(LOGINS, min_size=1, max_size=6), tail=st.binary(max_size=60))
def test_any_logins(
    place: Place,
    sent: list[tuple[int, int, tuple[int, int], tuple[bytes, int], int, bytes]],
    tail: bytes,
) -> None:
    stream = b""
    for opcode, flags, versions, (isid, tsih), number, text in sent:
        header = struct.pack(
            ">BBBBI6sHIHHII16x", opcode, flags, *versions, len(text), isid, tsih, 1, 0, 0, number, 0
        )
        stream += header + text + bytes(-len(text) % 4)
    with socket.create_connection(place.rig.address(place.tpg), timeout=30) as sock:
        poured(sock, stream + tail)
    others_are_fine(place)


@examples(50)
@given(data=st.binary(min_size=1, max_size=400), logged_in=st.booleans())
def test_any_bytes(place: Place, data: bytes, logged_in: bool) -> None:
    if logged_in:
        with place.rig.login(place.tpg, timeout=30) as initiator:
            poured(initiator.sock, data)
    else:
        with socket.create_connection(place.rig.address(place.tpg), timeout=30) as sock:
            poured(sock, data)
    others_are_fine(place)


def test_the_neighbours_data_is_its_own(place: Place) -> None:
    """After a storm from five connections at once, its data is as it was."""
    chance = random.Random(7)
    with contextlib.ExitStack() as stack:
        storm = [
            stack.enter_context(place.rig.login(place.tpg, isid=bytes((0x80, 0, 0, 0, 0, n))))
            for n in range(5)
        ]
        for initiator in storm:
            initiator.ready()
        for _ in range(40):
            initiator = chance.choice(storm)
            cdb = chance.choice(CDBS[1:5])
            initiator.send_command(cdb, data_out=bytes(8192), expected_in=8192, immediate_data=b"")
        for initiator in storm:
            initiator.sock.close()
    assert place.neighbour.read(0, 1).data == b"mine" * 128
    others_are_fine(place)
