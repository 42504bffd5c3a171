"""Connections in full-feature phase: data in every way it can travel, and every way to break the protocol."""

from __future__ import annotations

import logging
import os
import random
import resource
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from isadmin.userspace import limits, model
from tests.initiator import NONE, Closed, Initiator, Pdu
from tests.userspace.rig import Rig
from tests.userspace.test_target import eventually

SIZE = 4 << 20
WRITE = 0x2A
READ = 0x28


@pytest.fixture(params=["ramdisk", "fileio", "fileio write-through"])
def tpg(rig: Rig, request: pytest.FixtureRequest, tmp_path: Path) -> model.Tpg:
    """A target with one LUN of each kind in turn."""
    if request.param == "ramdisk":
        return rig.serve(rig.ramdisk(SIZE), param={"InitialR2T": "No", "MaxOutstandingR2T": "4"})
    device = rig.file(tmp_path / "disk", SIZE, buffered=request.param == "fileio")
    return rig.serve(device, param={"InitialR2T": "No", "MaxOutstandingR2T": "4"})


@pytest.fixture
def disk(rig: Rig) -> Iterator[Initiator]:
    """An initiator at a ramdisk, unit attentions done."""
    with rig.login(rig.serve(rig.ramdisk(SIZE))) as initiator:
        initiator.ready()
        yield initiator


def cdb(opcode: int, lba: int, blocks: int) -> bytes:
    return struct.pack(">BBIBHB", opcode, 0, lba, 0, blocks, 0)


def alive(initiator: Initiator) -> bool:
    return initiator.nop(b"still there").data == b"still there"


# Data


WAYS = [
    {},
    {"InitialR2T": "Yes"},
    {"ImmediateData": "No"},
    {"ImmediateData": "No", "InitialR2T": "Yes"},
    {"MaxRecvDataSegmentLength": "1024", "MaxBurstLength": "2048"},
    {"HeaderDigest": "CRC32C"},
    {"DataDigest": "CRC32C"},
    {"HeaderDigest": "CRC32C", "DataDigest": "CRC32C", "MaxBurstLength": "65536"},
    {"MaxOutstandingR2T": "4", "MaxBurstLength": "4096", "FirstBurstLength": "1024"},
]


@pytest.mark.parametrize(
    "keys", WAYS, ids=lambda keys: ",".join(f"{k}={v}" for k, v in keys.items()) or "plain"
)
def test_what_is_written_is_read_back(rig: Rig, tpg: model.Tpg, keys: dict[str, str]) -> None:
    blocks = 17 if "CRC32C" in keys.values() else 700
    with rig.login(tpg, keys=keys) as initiator:
        initiator.ready()
        for count, lba in ((1, 0), (8, 100), (blocks, 1000)):
            data = os.urandom(count * 512)
            assert initiator.write(lba, data).status == 0
            reply = initiator.read(lba, count)
            assert (reply.status, reply.flags, reply.residual) == (0, 0, 0)
            assert reply.data == data


def test_unsolicited_data(rig: Rig, tpg: model.Tpg) -> None:
    data = os.urandom(128 * 512)
    with rig.login(tpg) as initiator:
        initiator.ready()
        itt = initiator.send_command(
            cdb(WRITE, 5, 128), data_out=data, immediate_data=data[:4096], final=False
        )
        initiator.send_data(itt, NONE, 4096, data[4096:10240], data_sn=0, final=False)
        initiator.send_data(itt, NONE, 10240, data[10240:16384], data_sn=1)
        reply = initiator.finish(itt, data)
        assert reply.status == 0
        assert [pdu.word(40) for pdu in reply.pdus if pdu.opcode == 0x31] == [16384]
        assert initiator.read(5, 128).data == data


def test_a_long_data_out_in_small_pieces(rig: Rig) -> None:
    """It is received straight into its place, whatever the pieces."""
    tpg = rig.serve(rig.ramdisk(SIZE), param={"MaxRecvDataSegmentLength": "262144"})
    data = os.urandom(512 * 512)
    pieces = random.Random(7)
    with rig.login(tpg) as initiator:
        initiator.ready()
        itt = initiator.send_command(cdb(WRITE, 0, 512), data_out=data)
        r2t = initiator.receive()
        header = struct.pack(">BBHIQIIIIIII4x", 5, 0x80, 0, len(data), 0, itt, r2t.ttt, 0, 0, 0, 0, 0)
        wire = header + data + bytes.fromhex("40800000") + bytes(12) + struct.pack(">I", 0x99)
        wire += struct.pack(">III", NONE, initiator.cmd_sn, 0) + bytes(16)
        while wire:
            count = pieces.choice([1, 47, 48, 49, 1000, 40000])
            initiator.sock.sendall(wire[:count])
            wire = wire[count:]
            time.sleep(0.001)
        assert initiator.finish(itt).status == 0
        assert initiator.receive().itt == 0x99
        assert initiator.read(0, 512).data == data


def test_the_stream_in_single_bytes(disk: Initiator) -> None:
    sent = []
    disk.sock = _Recorder(disk.sock, sent)  # type: ignore[assignment]
    disk.send_command(cdb(WRITE, 0, 1), data_out=b"z" * 512, immediate_data=b"z" * 512)
    last = disk.send_command(cdb(READ, 0, 1), expected_in=512)
    disk.sock = disk.sock.real  # type: ignore[attr-defined]
    for byte in b"".join(sent):
        disk.sock.sendall(bytes([byte]))
    assert disk.receive().opcode == 0x21
    assert disk.finish(last).data == b"z" * 512


class _Recorder:
    """Stands for a socket and keeps what is sent."""

    def __init__(self, real: socket.socket, sent: list[bytes]) -> None:
        self.real = real
        self.sent = sent

    def sendall(self, data: bytes) -> None:
        self.sent.append(data)


def test_many_commands_in_one_segment(disk: Initiator) -> None:
    sent: list[bytes] = []
    real = disk.sock
    disk.sock = _Recorder(real, sent)  # type: ignore[assignment]
    tags = []
    for lba in range(30):
        block = bytes([lba]) * 512
        tags.append(disk.send_command(cdb(WRITE, lba, 1), data_out=block, immediate_data=block))
        tags.append(disk.send_command(cdb(READ, lba, 1), expected_in=512))
    disk.sock = real
    real.sendall(b"".join(sent))
    first = stat_sn = disk.exp_stat_sn
    for number, itt in enumerate(tags):
        pdu = disk.receive()
        assert (pdu.itt, pdu.stat_sn) == (itt, stat_sn)
        stat_sn += 1
        assert pdu.exp_cmd_sn == disk.cmd_sn - len(tags) + number + 1
        assert pdu.max_cmd_sn == pdu.exp_cmd_sn + 63
        if number % 2:
            assert pdu.data == bytes([number // 2]) * 512
    assert stat_sn == first + 60


def test_long_reads_come_in_bursts(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk(SIZE))
    with rig.login(tpg, keys={"MaxRecvDataSegmentLength": "4096", "MaxBurstLength": "10240"}) as initiator:
        initiator.ready()
        data = os.urandom(64 * 512)
        initiator.write(0, data)
        reply = initiator.read(0, 64)
        assert reply.data == data
        assert [len(pdu.data) for pdu in reply.pdus] == [4096, 4096, 2048] * 3 + [2048]
        assert [pdu.flags for pdu in reply.pdus] == [0, 0, 0x80] * 3 + [0x81]
        assert [pdu.word(36) for pdu in reply.pdus] == list(range(10)), "DataSN"
        assert {pdu.ttt for pdu in reply.pdus} == {NONE}


def test_reads_that_must_wait_for_the_disk(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They go to the pool, no more at once than allowed, and nothing behind them is lost."""
    monkeypatch.setattr(limits, "READ_AHEAD", 64 << 10)
    param = {"MaxRecvDataSegmentLength": "262144", "FirstBurstLength": "262144"}
    device = rig.file(tmp_path / "disk", SIZE)
    tpg = rig.serve(device, param=param)
    assert device.unit is not None
    storage = type(device.unit.storage)  # type: ignore[attr-defined]
    monkeypatch.setattr(storage, "read_into_now", lambda *_: -1)
    monkeypatch.setattr(storage, "read_now", lambda *_: None)
    length = 32 << 10
    chunks = [os.urandom(4 * length) for _ in range(6)]
    peak = 0

    def send() -> None:
        for number, chunk in enumerate(chunks):
            lba = number * len(chunk) // 512
            elsewhere = cdb(WRITE, lba + SIZE // 1024, len(chunk) // 512)
            tags.append(initiator.send_command(elsewhere, data_out=chunk, immediate_data=chunk))
            for part in range(4):
                at = lba + part * length // 512
                tags.append(initiator.send_command(cdb(READ, at, length // 512), expected_in=length))

    tags: list[int] = []
    with rig.login(tpg, keys={"FirstBurstLength": "262144"}) as initiator:
        initiator.ready()
        assert initiator.write(0, b"".join(chunks)).status == 0
        (connection,) = rig.target.server.connections
        sender = threading.Thread(target=send)
        sender.start()
        answers: dict[int, Pdu] = {}
        while len(answers) < len(chunks) * 5:
            pdu = initiator.receive()
            assert pdu.header[3] == 0
            answers[pdu.itt] = pdu
            peak = max(peak, connection.reading)
        sender.join()
        again = initiator.read(SIZE // 1024, 6 * 256)
        assert again.data == b"".join(chunks)
    assert peak <= 96 << 10
    for number, chunk in enumerate(chunks):
        found = b"".join(answers[tags[number * 5 + 1 + part]].data for part in range(4))
        assert found == chunk


# Residuals


@pytest.mark.parametrize(
    ("blocks", "expected", "length", "overflow", "residual"),
    [
        (2, 1024, 1024, False, 0),
        (2, 2048, 1024, False, 1024),
        (2, 512, 512, True, 512),
        (2, 0, 0, True, 1024),
    ],
)
def test_read_residuals(
    disk: Initiator, blocks: int, expected: int, length: int, overflow: bool, residual: int
) -> None:
    reply = disk.cmd(cdb(READ, 0, blocks), expected_in=1, expected=expected)
    assert reply.status == 0
    assert len(reply.data) == length
    assert (reply.overflow, reply.underflow, reply.residual) == (
        overflow,
        residual > 0 and not overflow,
        residual,
    )


@pytest.mark.parametrize(
    ("given", "overflow", "residual"), [(1024, False, 0), (2048, False, 1024), (512, True, 512)]
)
def test_write_residuals(disk: Initiator, given: int, overflow: bool, residual: int) -> None:
    disk.write(0, bytes(2048))
    reply = disk.cmd(cdb(WRITE, 0, 2), data_out=b"w" * given)
    assert reply.status == 0
    assert (reply.overflow, reply.underflow, reply.residual) == (
        overflow,
        residual > 0 and not overflow,
        residual,
    )
    assert disk.read(0, 4).data == b"w" * min(given, 1024) + bytes(2048 - min(given, 1024))


def test_short_answers_are_underflows(disk: Initiator) -> None:
    reply = disk.cmd(bytes([0x12, 0, 0, 0, 255, 0]), expected_in=255)
    assert reply.underflow
    assert reply.residual == 255 - len(reply.data)


def test_refused_commands_come_with_sense_and_swallow_their_data(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk(SIZE), param={"InitialR2T": "No"})
    with rig.login(tpg) as initiator:
        initiator.ready()
        data = bytes(16384)
        itt = initiator.send_command(
            cdb(WRITE, SIZE // 512, 32), data_out=data, immediate_data=data[:4096], final=False
        )
        initiator.send_data(itt, NONE, 4096, data[4096:8192], final=False)
        initiator.send_data(itt, NONE, 8192, data[8192:], data_sn=1)
        reply = initiator.finish(itt)
        assert (reply.status, reply.key, reply.asc) == (2, 5, 0x2100)
        assert reply.residual == 16384
        assert alive(initiator)


# Numbers


def test_commands_outside_the_window_are_ignored(disk: Initiator) -> None:
    disk.send_command(bytes(6), cmd_sn=disk.cmd_sn - 1)
    disk.send_command(bytes(6), cmd_sn=disk.cmd_sn + 64)
    assert alive(disk)
    assert disk.cmd(bytes(6)).status == 0


def test_a_command_that_comes_early_waits(disk: Initiator) -> None:
    number = disk.cmd_sn
    late = disk.send_command(cdb(READ, 0, 1), expected_in=512, cmd_sn=number + 1)
    early = disk.send_command(bytes(6), cmd_sn=number)
    disk.cmd_sn = number + 2
    assert disk.receive().itt == early
    assert disk.receive().itt == late
    assert alive(disk)


def test_immediate_commands_take_no_number(disk: Initiator) -> None:
    itt = disk.send_command(bytes(6), immediate=True)
    reply = disk.finish(itt)
    assert reply.status == 0
    assert reply.pdus[0].exp_cmd_sn == disk.cmd_sn


def test_a_tag_in_use(rig: Rig) -> None:
    with rig.login(rig.serve(rig.ramdisk(SIZE))) as initiator:
        initiator.ready()
        data = bytes(65536)
        itt = initiator.send_command(cdb(WRITE, 0, 128), data_out=data)
        r2t = initiator.receive()
        initiator.send_command(bytes(6), itt=itt)
        reject = initiator.receive()
        assert (reject.opcode, reject.header[2]) == (0x3F, 0x07), "task in progress"
        initiator.answer_r2t(r2t, data)
        assert initiator.finish(itt, data).status == 0


# Other requests


def test_pings(disk: Initiator) -> None:
    for data in (b"", b"x", b"y" * 8192):
        reply = disk.nop(data)
        assert (reply.opcode, reply.data, reply.ttt) == (0x20, data, NONE)


def test_unknown_text_keys(disk: Initiator) -> None:
    reply = disk.text(b"X-key=1\0MaxBurstLength=512\0InitiatorAlias=me\0")
    assert reply.data == b"X-key=NotUnderstood\0MaxBurstLength=Reject\0"
    assert reply.flags == 0x80


def test_a_data_segment_length_that_is_declared_anew(disk: Initiator) -> None:
    for value, answer in (("0x400", b""), ("\u00b2", b"Reject"), ("511", b"Reject"), ("", b"Reject")):
        reply = disk.text(f"MaxRecvDataSegmentLength={value}\0".encode())
        assert reply.data == (b"MaxRecvDataSegmentLength=" + answer + b"\0" if answer else b"")
    data = disk.nop(b"z" * 2048).data
    assert data == b"z" * 1024


def test_a_text_request_in_parts(disk: Initiator) -> None:
    first = disk.text(b"X-a=", final=False)
    assert (first.flags, first.data) == (0, b"")
    assert first.ttt != NONE
    assert disk.text(b"1\0", ttt=first.ttt, itt=first.itt).data == b"X-a=NotUnderstood\0"


def test_snack_is_rejected_and_nothing_else_happens(disk: Initiator) -> None:
    disk.send(struct.pack(">BBHIQII4xI8xII", 0x10, 0x81, 0, 0, 0, NONE, 0, 0, 0, 1))
    reject = disk.receive()
    assert (reject.opcode, reject.header[2]) == (0x3F, 0x03)
    assert reject.data[0] == 0x10
    assert alive(disk)


@pytest.mark.parametrize(("reason", "cid", "response"), [(0, 0, 0), (1, 0, 0), (1, 5, 1), (2, 0, 2)])
def test_logout(disk: Initiator, reason: int, cid: int, response: int) -> None:
    reply = disk.logout(reason, cid)
    assert reply.header[2] == response
    if response:
        assert alive(disk)
    else:
        with pytest.raises(Closed):
            disk.receive()


# Task management


@pytest.fixture
def pending(disk: Initiator) -> int:
    """The tag of a write that waits for its data."""
    itt = disk.send_command(cdb(WRITE, 0, 128), data_out=bytes(65536))
    assert disk.receive().opcode == 0x31
    return itt


def test_abort_task(disk: Initiator, pending: int) -> None:
    assert disk.task_management(1, tag=pending) == 0
    disk.send_data(pending, 1, 0, bytes(8192), final=False)
    assert alive(disk)
    assert disk.task_management(1, tag=pending) == 1, "it does not exist any more"


@pytest.mark.parametrize("function", [2, 4, 5, 6])
def test_functions_that_end_all_tasks(disk: Initiator, pending: int, function: int) -> None:
    assert disk.task_management(function) == 0
    disk.send_data(pending, 1, 0, bytes(8192), final=False)
    asc = disk.cmd(bytes(6)).asc if function > 4 else 0
    assert asc == (0x2903 if function > 4 else 0)
    disk.ready()
    assert disk.read(0, 1).status == 0


@pytest.mark.parametrize(
    ("function", "lun", "response"), [(2, 9, 2), (4, 9, 2), (5, 9, 2), (3, 0, 5), (8, 0, 4), (99, 0, 5)]
)
def test_functions_that_cannot_be(disk: Initiator, function: int, lun: int, response: int) -> None:
    assert disk.task_management(function, lun=lun) == response
    assert alive(disk)


def test_a_reset_by_another_initiator(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk(SIZE, emulate_tas=1))
    with rig.login(tpg) as victim, rig.login(tpg, name="iqn.2003-01.org.test:other") as other:
        victim.ready()
        other.ready()
        itt = victim.send_command(cdb(WRITE, 0, 128), data_out=bytes(65536))
        assert victim.receive().opcode == 0x31
        assert other.task_management(5) == 0
        assert victim.finish(itt).status == 0x40, "TASK ABORTED"
        assert victim.cmd(bytes(6)).asc == 0x2903


def test_a_cold_reset_ends_the_sessions(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk(SIZE))
    with rig.login(tpg) as one, rig.login(tpg, name="iqn.2003-01.org.test:other") as other:
        one.ready()
        assert one.task_management(7) == 0
        for initiator in (one, other):
            with pytest.raises(Closed):
                initiator.nop()


# Breaking the protocol


def header(opcode: int, flags: int = 0x80, *, length: int = 0, **words: int) -> bytes:
    """A header with single 32-bit words by their offset: w16=..."""
    made = bytearray(struct.pack(">BBHI40x", opcode, flags, 0, length))
    for name, value in words.items():
        struct.pack_into(">I", made, int(name[1:]), value)
    return bytes(made)


BREAKS = {
    "unknown opcode": header(0x1F),
    "a response from the initiator": header(0x21),
    "a second login": header(0x43, 0x87),
    "too long a segment": header(0x40, length=0x900000),
    "immediate data without W": header(0x41, 0xC1, length=512) + bytes(512),
    "unsolicited data that was not agreed": header(0x41, 0x21, w20=8192),
    "text that is none": header(0x44, length=4, w20=NONE) + b"junk",
    "an additional header that is none": bytes([0x41, 0xC1, 0, 0, 1]) + bytes(43) + b"\x00\x01\x09\x00",
}


@pytest.mark.parametrize("name", BREAKS)
def test_breaking_the_protocol_ends_one_connection(
    rig: Rig, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tpg = rig.serve(rig.ramdisk(SIZE))
    with rig.login(tpg) as bad, rig.login(tpg, name="iqn.2003-01.org.test:other") as good:
        good.ready()
        bad.sock.sendall(BREAKS[name])
        reject = bad.receive()
        assert reject.opcode == 0x3F
        with pytest.raises(Closed):
            bad.receive()
        assert alive(good)
        eventually(lambda: "broke the protocol" in caplog.text)
        assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 1


def test_a_bad_digest_ends_the_connection(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk(SIZE))
    with rig.login(tpg, keys={"DataDigest": "CRC32C"}) as initiator:
        initiator.ready()
        itt = initiator.next_itt()
        initiator.send(
            struct.pack(">BBHIQIIII16x", 0x40, 0x80, 0, 0, 0, itt, NONE, initiator.cmd_sn, 0),
            b"data",
            corrupt=True,
        )
        assert initiator.receive().header[2] == 0x02, "data digest error"
        with pytest.raises(Closed):
            initiator.receive()


@pytest.mark.parametrize(
    "change", [{"data_sn": 1}, {"offset": 512}, {"ttt": 999}, {"final": True}, {"ttt": NONE}], ids=str
)
def test_data_out_of_order_ends_its_command_only(disk: Initiator, change: dict[str, int]) -> None:
    itt = disk.send_command(cdb(WRITE, 0, 128), data_out=bytes(65536))
    ttt = disk.receive().ttt
    disk.send_data(itt, **{"ttt": ttt, "offset": 0, "data": bytes(8192), "final": False, **change})  # type: ignore[arg-type]
    reply = disk.finish(itt)
    assert (reply.status, reply.key, reply.asc) == (2, 0xB, 0x4705)
    disk.send_data(itt, ttt, 8192, bytes(8192), data_sn=1, final=False)
    assert alive(disk)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n" + bytes(100), header(0x01), bytes(48)])
def test_something_else_than_a_login(rig: Rig, data: bytes) -> None:
    tpg = rig.serve(rig.ramdisk(SIZE))
    with rig.login(tpg, login=False) as stranger:
        stranger.sock.sendall(data)
        with pytest.raises(Closed):
            stranger.receive()
    rig.login(tpg).close()


def test_random_bytes_after_a_login(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk(SIZE))
    noise = random.Random(3)
    with rig.login(tpg, name="iqn.2003-01.org.test:good") as good:
        good.ready()
        for _ in range(40):
            with rig.login(tpg) as bad:
                made = bytearray(noise.randbytes(48))
                made[0] = noise.choice([0, 1, 2, 4, 5, 6, 0x10, 0x40, 0x41, 0x42, made[0]])
                made[4:8] = struct.pack(">I", noise.choice([0, 0, 512, 8192, 0x01000000]))
                made[24:28] = struct.pack(">I", bad.cmd_sn)
                try:
                    bad.sock.sendall(bytes(made) + noise.randbytes(noise.choice([0, 512, 9000])))
                except OSError:
                    continue
        assert alive(good)


# Time and memory


def test_a_silent_initiator_is_pinged_and_then_dropped(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TICK", 0.02)
    tpg = rig.serve(rig.ramdisk(SIZE), generate_node_acls=0)
    rig.acl(tpg, "iqn.2003-01.org.test:dead", nopin_timeout=3, nopin_response_timeout=25)
    with rig.login(tpg, name="iqn.2003-01.org.test:dead") as initiator:
        for _ in range(3):
            ping = initiator.receive()
            assert (ping.opcode, ping.itt) == (0x20, NONE)
            assert ping.ttt != NONE
            initiator.answer_ping(ping)
        assert initiator.receive().opcode == 0x20
        with pytest.raises(Closed):
            initiator.receive()
    eventually(lambda: not rig.call(lambda: rig.target.sessions(tpg)))


def test_no_login_in_time(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TICK", 0.01)
    tpg = rig.serve(rig.ramdisk(SIZE))
    with rig.login(tpg, login=False) as initiator, pytest.raises(Closed):
        initiator.receive()


def test_write_data_that_never_comes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TICK", 0.02)
    tpg = rig.serve(rig.ramdisk(SIZE), generate_node_acls=0)
    acl = rig.acl(
        tpg, "iqn.2003-01.org.test:slow", dataout_timeout=2, dataout_timeout_retries=1, nopin_timeout=0
    )
    rig.map(acl, tpg.luns[0])
    with rig.login(tpg, name="iqn.2003-01.org.test:slow") as initiator:
        initiator.ready()
        initiator.send_command(cdb(WRITE, 0, 128), data_out=bytes(65536))
        assert initiator.receive().opcode == 0x31
        with pytest.raises(Closed):
            initiator.receive()
    eventually(lambda: rig.target.server.budget.free == limits.WRITE_BUDGET)


def test_an_initiator_that_reads_nothing_is_held_back_and_then_dropped(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TICK", 0.05)
    tpg = rig.serve(rig.ramdisk(SIZE), generate_node_acls=0)
    names = ["iqn.2003-01.org.test:deaf", "iqn.2003-01.org.test:good"]
    for name in names:
        acl = rig.acl(tpg, name, nopin_timeout=4, nopin_response_timeout=4)
        acl.cmdsn_depth = 128
        rig.map(acl, tpg.luns[0])
    with rig.login(tpg, name=names[0]) as deaf, rig.login(tpg, name=names[1], timeout=20) as good:
        deaf.ready()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(128):
            deaf.send_command(cdb(READ, 0, 2048), expected_in=1 << 20)
        held = next(
            c for c in rig.target.server.connections if c.full and c.full.session.initiator == names[0]
        )
        for _ in range(5):
            good.ready()
            assert alive(good)
            assert sum(len(part) for part in held._out) < 2 * limits.ARENA
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10, "KiB"
        eventually(lambda: held.closed)


def test_writes_wait_for_the_budget_in_turn(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """More write data than may be collected at once: the first R2Ts go out, the others wait, all end well."""
    tpg = rig.serve(rig.ramdisk(SIZE))
    rig.target.server.budget.free = 256 << 10
    size = 128 << 10
    initiators = [rig.login(tpg, name=f"iqn.2003-01.org.test:w{n}") for n in range(4)]
    for initiator in initiators:
        initiator.ready()
    tags = [
        [i.send_command(cdb(WRITE, 512 * n + 256 * m, 256), data_out=bytes(size)) for m in range(2)]
        for n, i in enumerate(initiators)
    ]
    peak = 0
    data = {(n, m): os.urandom(size) for n in range(4) for m in range(2)}

    def work(n: int) -> None:
        initiator = initiators[n]
        left = set(tags[n])
        while left:
            pdu = initiator.receive()
            if pdu.opcode == 0x31:
                initiator.answer_r2t(pdu, data[n, tags[n].index(pdu.itt)])
            else:
                assert pdu.header[3] == 0
                left.remove(pdu.itt)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        peak = max(peak, (256 << 10) - rig.target.server.budget.free)
        time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert 0 < peak <= 256 << 10
    assert rig.target.server.budget.free == 256 << 10
    for n, m in data:
        assert initiators[0].read(512 * n + 256 * m, 256).data == data[n, m]
    for initiator in initiators:
        initiator.close()


def test_an_error_of_our_own_is_the_commands(
    rig: Rig, disk: Initiator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a fault")

    (device,) = rig.root.hbas["rd_mcp"].devices.values()
    monkeypatch.setattr(type(device.unit.storage), "flush", broken)  # type: ignore[union-attr]
    reply = disk.cmd(bytes.fromhex("35000000000000000000"))
    assert (reply.status, reply.key, reply.asc) == (2, 4, 0x4400)
    assert alive(disk)
    assert "a fault" in caplog.text
