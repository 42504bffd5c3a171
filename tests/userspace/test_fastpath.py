"""The loop of plain READs and WRITEs: it answers as the long way does, and leaves all that is odd to it."""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from isadmin.userspace import limits
from isadmin.userspace.storage.descriptor import DescriptorStorage
from tests.initiator import Closed, Initiator
from tests.userspace.rig import Rig

SIZE = 4 << 20
BLOCKS = SIZE // 512
SIMPLE, ORDERED = 1, 2
"""Task attributes: a command with the second one goes the long way."""


def ten(opcode: int, lba: int, blocks: int, *, flags: int = 0, group: int = 0, control: int = 0) -> bytes:
    return struct.pack(">BBIBHB", opcode, flags, lba, group, blocks, control)


def sixteen(opcode: int, lba: int, blocks: int, *, flags: int = 0, group: int = 0, control: int = 0) -> bytes:
    return struct.pack(">BBQIBB", opcode, flags, lba, blocks, group, control)


READS = [
    ten(0x28, 5, 3),
    ten(0x28, BLOCKS - 3, 3),
    ten(0x28, BLOCKS - 2, 3),
    ten(0x28, 5, 0),
    ten(0x28, 5, 3, group=1),
    ten(0x28, 5, 3, control=4),
    ten(0x28, 5, 3, flags=0x20),
    ten(0x28, 5, 3, flags=1),
    sixteen(0x88, 5, 3),
    sixteen(0x88, BLOCKS, 3),
    sixteen(0x88, 1 << 63, 3),
    sixteen(0x88, 5, 3, group=1),
    sixteen(0x88, 5, 3, control=4),
    sixteen(0x88, 5, 0),
    ten(0x28, 5, 2),
    ten(0x28, 5, 4),
    ten(0x2B, 5, 3),
]


@pytest.fixture(params=["None", "HeaderDigest", "DataDigest", "both"])
def disk(rig: Rig, request: pytest.FixtureRequest) -> Iterator[Initiator]:
    """An initiator at a ramdisk, with each choice of digests in turn."""
    keys = {key: "CRC32C" for key in ("HeaderDigest", "DataDigest") if request.param in (key, "both")}
    with rig.login(rig.serve(rig.ramdisk(SIZE)), keys=keys) as initiator:
        initiator.ready()
        initiator.write(0, os.urandom(16 << 9))
        yield initiator


@pytest.fixture
def plain(rig: Rig) -> Iterator[Initiator]:
    """The same without digests, which cost the initiator of the tests a lot."""
    with rig.login(rig.serve(rig.ramdisk(SIZE))) as initiator:
        initiator.ready()
        yield initiator


@pytest.mark.parametrize("cdb", READS, ids=lambda cdb: cdb.hex())
def test_reads_end_as_they_do_the_long_way(disk: Initiator, cdb: bytes) -> None:
    replies = []
    for attribute in (SIMPLE, ORDERED):
        reply = disk.finish(disk.send_command(cdb, expected_in=3 * 512, attribute=attribute))
        replies.append((reply.status, reply.data, reply.sense, reply.flags & 0x06, reply.residual))
    assert replies[0] == replies[1]


@pytest.mark.parametrize(
    "cdb",
    [bytes((cdb[0] | 2,)) + cdb[1:] for cdb in READS if cdb[0] in (0x28, 0x88)],
    ids=lambda cdb: cdb.hex(),
)
def test_writes_end_as_they_do_the_long_way(disk: Initiator, cdb: bytes) -> None:
    outcomes = []
    for attribute in (SIMPLE, ORDERED):
        disk.write(0, bytes(16 * 512))
        data = bytes(range(256)) * 6
        itt = disk.send_command(cdb, data_out=data, immediate_data=data, attribute=attribute)
        reply = disk.finish(itt, data)
        outcomes.append(
            (reply.status, reply.sense, reply.flags & 0x06, reply.residual, disk.read(0, 16).data)
        )
    assert outcomes[0] == outcomes[1]


def test_a_protected_unit_refuses_plain_writes(rig: Rig) -> None:
    with rig.login(rig.serve(rig.ramdisk(SIZE), demo_mode_write_protect=1)) as initiator:
        initiator.ready()
        data = bytes(512)
        itt = initiator.send_command(ten(0x2A, 0, 1), data_out=data, immediate_data=data)
        reply = initiator.finish(itt, data)
        assert (reply.status, reply.key) == (2, 7)


@pytest.mark.parametrize("flush_at", [1, 10_000, limits.FLUSH_AT])
def test_turns_keep_every_answer_in_order(
    plain: Initiator, monkeypatch: pytest.MonkeyPatch, flush_at: int
) -> None:
    """However early a connection has to let others in, nothing is lost or late for good."""
    monkeypatch.setattr(limits, "FLUSH_AT", flush_at)
    monkeypatch.setattr(limits, "TURN", 5000)
    whole = plain.read(0, 64 * 8).data
    tags = [plain.send_command(ten(0x28, 8 * n, 8), expected_in=4096) for n in range(60)]
    for number, itt in enumerate(tags):
        pdu = plain.receive()
        assert pdu.itt == itt
        assert pdu.data == whole[4096 * number : 4096 * (number + 1)]
    assert plain.nop(b"x").data == b"x"


def test_a_long_read_is_sent_in_turns(plain: Initiator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TURN", 3000)
    data = os.urandom(1 << 20)
    for start in range(0, len(data), 1 << 18):
        plain.write(start // 512, data[start : start + (1 << 18)])
    reply = plain.finish(plain.send_command(ten(0x28, 0, 2048), expected_in=len(data)))
    assert reply.data == data


LONG = {"MaxRecvDataSegmentLength": "262144"}
QUARTER = 1 << 18


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each call has sent straight from a file."""
    counts: list[int] = []
    original = DescriptorStorage.send_now

    def counting(storage: DescriptorStorage, sock: socket.socket, offset: int, length: int) -> int:
        gone = original(storage, sock, offset, length)
        counts.append(gone)
        return gone

    monkeypatch.setattr(DescriptorStorage, "send_now", counting)
    return counts


def fill(initiator: Initiator) -> bytes:
    """A mebibyte of random data at the unit's beginning."""
    data = os.urandom(4 * QUARTER)
    for start in range(0, len(data), QUARTER):
        assert initiator.write(start // 512, data[start : start + QUARTER]).status == 0
    return data


def test_what_is_in_memory_is_sent_from_there(rig: Rig, tmp_path: Path, sent: list[int]) -> None:
    with rig.login(rig.serve(rig.file(tmp_path / "disk", SIZE)), keys=LONG) as initiator:
        initiator.ready()
        data = fill(initiator)
        lbas = [0, 512, 1024, 1536, 7, 1, 1024]
        tags = [initiator.send_command(ten(0x28, lba, 512), expected_in=QUARTER) for lba in lbas]
        for lba, itt in zip(lbas, tags, strict=True):
            reply = initiator.finish(itt)
            assert (reply.status, reply.residual) == (0, 0)
            assert reply.data == data[lba * 512 : lba * 512 + QUARTER]
            assert [pdu.flags for pdu in reply.pdus] == [0x81]
        assert sum(sent) >= QUARTER
        assert initiator.nop(b"x").data == b"x"


def test_an_initiator_that_takes_its_time_gets_all_of_it(
    rig: Rig, tmp_path: Path, sent: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the socket does not take at once is copied, and so is what exceeds a turn."""
    monkeypatch.setattr(limits, "TURN", 300_000)
    with rig.login(rig.serve(rig.file(tmp_path / "disk", SIZE)), keys=LONG) as initiator:
        initiator.ready()
        data = fill(initiator)
        lbas = [number % 4 * 512 for number in range(60)]
        tags = [initiator.send_command(ten(0x28, lba, 512), expected_in=QUARTER) for lba in lbas]
        (connection,) = rig.target.server.connections
        deadline = time.monotonic() + 30
        while not connection.blocked:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for lba, itt in zip(lbas, tags, strict=True):
            assert initiator.finish(itt).data == data[lba * 512 : lba * 512 + QUARTER]
        assert any(0 < gone < QUARTER for gone in sent)


def test_a_unit_with_atomic_commands_sends_copies(rig: Rig, tmp_path: Path, sent: list[int]) -> None:
    with rig.login(rig.serve(rig.file(tmp_path / "disk", SIZE)), keys=LONG) as initiator:
        initiator.ready()
        data = fill(initiator)
        compare = struct.pack(">BBQxxxBxx", 0x89, 0, 0, 1)
        both = data[:512] + bytes(512)
        itt = initiator.send_command(compare, data_out=both, immediate_data=both)
        assert initiator.finish(itt, both).status == 0
        reply = initiator.finish(initiator.send_command(ten(0x28, 0, 512), expected_in=QUARTER))
        assert reply.data == bytes(512) + data[512:QUARTER]
    assert not sent


def test_what_others_cut_off_a_file_is_zeros(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it happens between the look at the page cache and the sending."""
    with rig.login(rig.serve(rig.file(tmp_path / "disk", SIZE)), keys=LONG) as initiator:
        initiator.ready()
        data = fill(initiator)
        monkeypatch.setattr(DescriptorStorage, "at_hand", lambda *_: True)
        os.truncate(tmp_path / "disk", 4096)
        reply = initiator.finish(initiator.send_command(ten(0x28, 0, 512), expected_in=QUARTER))
        assert reply.data == data[:4096] + bytes(QUARTER - 4096)


def test_a_medium_that_fails_in_the_middle_ends_one_connection(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its status is on its way already: the initiator must not take it for that of the data."""
    tpg = rig.serve(rig.file(tmp_path / "disk", SIZE))
    with rig.login(tpg, keys=LONG) as initiator, rig.login(tpg, name="iqn.2003-01.org.test:other") as other:
        for one in (initiator, other):
            one.ready()
        fill(initiator)

        def fails(*_: object) -> int:
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as patched:
            patched.setattr(DescriptorStorage, "send_now", lambda *_: 4096)
            patched.setattr(DescriptorStorage, "read_into", fails)
            initiator.send_command(ten(0x28, 0, 512), expected_in=QUARTER)
            with pytest.raises(Closed):
                initiator.receive()
        assert other.read(0, 8).status == 0


def test_two_initiators_with_turns_each_get_their_own(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that have to wait lie in an arena that the next connection must not use."""
    monkeypatch.setattr(limits, "TURN", 20_000)
    monkeypatch.setattr(limits, "SHORT_TURN", 7_000)
    monkeypatch.setattr(limits, "SHORT_TURNS", 5)
    tpg = rig.serve(rig.ramdisk(SIZE))
    with rig.login(tpg) as one, rig.login(tpg, name="iqn.2003-01.org.test:other") as other:
        for initiator in (one, other):
            initiator.ready()
        data = os.urandom(1 << 20)
        for start in range(0, len(data), 1 << 18):
            one.write(start // 512, data[start : start + (1 << 18)])
        pending = [
            (initiator, initiator.send_command(ten(0x28, lba, 256), expected_in=256 * 512), lba)
            for lba in range(0, 1024, 128)
            for initiator in (one, other)
        ]
        for initiator, itt, lba in pending:
            assert initiator.finish(itt).data == data[lba * 512 : (lba + 256) * 512]


def test_commands_after_one_that_waits_keep_their_tags_apart(rig: Rig) -> None:
    """A tag in use is refused in the loop as everywhere (RFC 7143 section 11.3.1's unique task tags)."""
    tpg = rig.serve(rig.ramdisk(SIZE))
    with rig.login(tpg, keys={"ImmediateData": "No", "InitialR2T": "Yes"}) as initiator:
        initiator.ready()
        itt = initiator.send_command(ten(0x2A, 0, 1), data_out=bytes(512))
        assert initiator.receive().opcode == 0x31
        initiator.send_command(ten(0x28, 0, 1), expected_in=512, itt=itt)
        pdu = initiator.receive()
        assert (pdu.opcode, pdu.header[2]) == (0x3F, 0x07)


def test_damaged_data_is_not_written(rig: Rig) -> None:
    """RFC 7143 section 7.7: a wrong data digest is told, and at ErrorRecoveryLevel 0 ends the connection."""
    tpg = rig.serve(rig.ramdisk(SIZE))
    with rig.login(tpg, keys={"HeaderDigest": "CRC32C", "DataDigest": "CRC32C"}) as initiator:
        initiator.ready()
        header = struct.pack(
            ">BBHIQIIII16s", 1, 0xA1, 0, 0, 0, initiator.next_itt(), 512, initiator.number(), 0,
            ten(0x2A, 0, 1).ljust(16, b"\0"),
        )  # fmt: skip
        initiator.send(header, b"x" * 512, corrupt=True)
        pdu = initiator.receive()
        assert (pdu.opcode, pdu.header[2]) == (0x3F, 0x02)
        with pytest.raises(Closed):
            initiator.receive()
    with rig.login(tpg) as initiator:
        initiator.ready()
        assert initiator.read(0, 1).data == bytes(512)


def test_a_damaged_header_ends_the_connection(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk(SIZE))
    with rig.login(tpg, keys={"HeaderDigest": "CRC32C"}) as initiator:
        initiator.ready()
        header = struct.pack(
            ">BBHIQIIII16s", 1, 0xC1, 0, 0, 0, initiator.next_itt(), 512, initiator.number(), 0,
            ten(0x28, 0, 1).ljust(16, b"\0"),
        )  # fmt: skip
        initiator.sock.sendall(header + bytes(4))
        assert initiator.receive().opcode == 0x3F
        with pytest.raises(Closed):
            initiator.receive()


def test_a_lun_that_is_gone_is_not_read_any_more(rig: Rig) -> None:
    """What the loop remembers of a LUN between two wake-ups ends with it."""
    tpg = rig.serve()
    lun = rig.lun(tpg, rig.ramdisk(SIZE))
    mapped = rig.map(rig.acl(tpg, "iqn.2003-01.org.test:i1"), lun, 3)
    with rig.login(tpg, name="iqn.2003-01.org.test:i1") as initiator:
        initiator.ready(3)
        assert initiator.finish(initiator.send_command(ten(0x28, 0, 1), lun=3, expected_in=512)).status == 0
        rig.unmap(mapped)
        reply = initiator.finish(initiator.send_command(ten(0x28, 0, 1), lun=3, expected_in=512))
        assert (reply.status, reply.key, reply.asc) == (2, 5, 0x2500)


def test_the_longest_transfer_is_kept_to(rig: Rig) -> None:
    """MAXIMUM TRANSFER LENGTH (SBC-3 6.6.4), lowered while the initiator is at work."""
    device = rig.ramdisk(SIZE)
    with rig.login(rig.serve(device)) as initiator:
        initiator.ready()
        assert initiator.read(0, 16).status == 0
        device.attrib["hw_max_sectors"] = 8
        unit = device.unit
        assert unit is not None
        rig.call(lambda: unit.refresh("hw_max_sectors"))
        assert initiator.read(0, 8).status == 0
        assert initiator.read(0, 9).key == 5
