"""READs that go the long way: what they may cost in memory, their turns, a storage that takes its time."""

from __future__ import annotations

import resource
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from isadmin.userspace import limits, model
from isadmin.userspace.connection import Connection
from isadmin.userspace.storage.file import FileStorage
from tests.initiator import NONE, Initiator
from tests.userspace.rig import Rig
from tests.userspace.test_target import READ_ONE, eventually, two_connections

SIZE = 16 << 20
MIB = 1 << 20
SIMPLE, ORDERED = 1, 2
NAME = "iqn.2003-01.org.test:reader"


def ten(mib: int, *, flags: int = 0) -> bytes:
    return struct.pack(">BBIBHB", 0x28, flags, 0, 0, mib * 2048, 0)


def twelve(blocks: int) -> bytes:
    return struct.pack(">BBIIBB", 0xA8, 0, 0, blocks, 0, 0)


def commands(initiator: Initiator, cdb: bytes, length: int, count: int, attribute: int = SIMPLE) -> bytes:
    """PDUs of commands that read."""
    return b"".join(
        struct.pack(
            ">BBHIQIIII16s", 1, 0xC0 | attribute, 0, 0, 0, initiator.next_itt(), length,
            initiator.number(), initiator.exp_stat_sn, cdb.ljust(16, b"\0"),
        )
        for _ in range(count)
    )  # fmt: skip


LONG_WAYS = {
    "READ (12)": (twelve(4 * 2048), 4, SIMPLE),
    "FUA": (ten(4, flags=8), 4, SIMPLE),
    "ORDERED": (ten(4), 4, ORDERED),
    "longer than the arena": (ten(8), 8, SIMPLE),
}


@pytest.mark.parametrize(
    ("kind", "way"),
    # A ramdisk has no cache, and no FUA therefore.
    [(kind, way) for kind in ("ramdisk", "file") for way in LONG_WAYS if (kind, way) != ("ramdisk", "FUA")],
)
def test_long_reads_that_nobody_takes_are_not_made(rig: Rig, tmp_path: Path, kind: str, way: str) -> None:
    cdb, mib, attribute = LONG_WAYS[way]
    device = rig.ramdisk(SIZE) if kind == "ramdisk" else rig.file(tmp_path / "disk", SIZE)
    with rig.login(rig.serve(device)) as initiator:
        initiator.ready()
        count = 20
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        initiator.sock.sendall(commands(initiator, cdb, mib * MIB, count, attribute))
        (connection,) = rig.target.server.connections
        eventually(lambda: connection.blocked)
        for _ in range(50):
            time.sleep(0.01)
            assert connection.out_bytes + connection.reading <= limits.READ_AHEAD + mib * MIB
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10, "KiB"
        received = 0
        while received < count * mib * MIB:
            pdu = initiator.receive()
            assert pdu.opcode == 0x25
            received += len(pdu.data)
        assert initiator.nop(b"x").data == b"x"


def test_long_reads_are_sent_in_turns(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a turn's share it is asked whether others wait, as in the loop of plain ones."""
    asked = []
    waits_for_turn = Connection.waits_for_turn

    def asks(connection: Connection) -> bool:
        asked.append(connection)
        return waits_for_turn(connection)

    monkeypatch.setattr(Connection, "waits_for_turn", asks)
    with rig.login(rig.serve(rig.ramdisk(SIZE))) as initiator:
        initiator.ready()
        initiator.sock.sendall(commands(initiator, twelve(512), MIB // 4, 60))
        for _ in range(60):
            assert len(initiator.receive().data) == MIB // 4
    assert len(asked) > 5


def test_commands_beyond_what_was_promised_are_ignored(rig: Rig) -> None:
    """However fast those before them are answered: who sent them cannot know of it (section 4.2.2.1)."""
    with rig.login(rig.serve(rig.ramdisk(), default_cmdsn_depth=8)) as initiator:
        initiator.ready()
        number = initiator.cmd_sn
        initiator.sock.sendall(commands(initiator, twelve(1), 512, 20))
        assert [initiator.receive().exp_cmd_sn for _ in range(8)] == list(range(number + 1, number + 9))
        initiator.cmd_sn = number + 8
        assert initiator.nop(b"next").data == b"next"
        assert initiator.read(0, 1).status == 0


class Slow:
    """A disk whose reads wait for `go`, in pool threads, until `all_at_once`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Semaphore(0)
        self.waits = True
        read = FileStorage.read

        def slow(storage: FileStorage, offset: int, length: int) -> bytes | bytearray | memoryview:
            if self.waits:
                assert self.go.acquire(timeout=20)
            return read(storage, offset, length)

        monkeypatch.setattr(FileStorage, "read", slow)
        monkeypatch.setattr(FileStorage, "read_now", lambda *_: None)
        monkeypatch.setattr(FileStorage, "read_into_now", lambda *_: -1)
        monkeypatch.setattr(FileStorage, "at_hand", lambda *_: False)

    def all_at_once(self) -> None:
        self.waits = False
        self.go.release(1000)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    slow = Slow(monkeypatch)
    yield slow
    slow.all_at_once()


@pytest.fixture
def tpg(rig: Rig, slow: Slow, tmp_path: Path) -> model.Tpg:
    """The slow disk, for an initiator that is not waited for long."""
    tpg = rig.serve(rig.file(tmp_path / "disk", SIZE), generate_node_acls=0)
    acl = rig.acl(tpg, NAME, nopin_timeout=3, nopin_response_timeout=3)
    rig.map(acl, tpg.luns[0])
    return tpg


def test_a_storage_that_is_slow_ends_no_session(
    rig: Rig, tpg: model.Tpg, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While reads wait for it, the initiator's pings and task management are answered, and ours are sent."""
    monkeypatch.setattr(limits, "TICK", 0.02)
    with rig.login(tpg, name=NAME) as initiator:
        initiator.ready()
        tags = [initiator.send_command(ten(1), expected_in=MIB) for _ in range(12)]
        (connection,) = rig.target.server.connections
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            assert initiator.nop(b"there").data == b"there"
        pings = 0
        while pings < 3:
            pdu = initiator.receive()
            assert (pdu.opcode, pdu.itt) == (0x20, NONE)
            initiator.answer_ping(pdu)
            pings += 1
        assert connection.reading <= limits.READ_AHEAD
        assert initiator.task_management(1, tag=tags.pop()) == 0, "one that is held back"
        slow.all_at_once()
        for _ in tags:
            received = 0
            while received < MIB:
                pdu = initiator.receive()
                received += len(pdu.data)
            assert pdu.itt in tags
        assert initiator.nop(b"x").data == b"x"
        assert (connection.reading, connection.closed) == (0, False)


def test_nothing_overtakes_an_ordered_command_that_is_held_back(
    rig: Rig, tpg: model.Tpg, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "READ_AHEAD", 1024)
    with rig.login(tpg, name=NAME) as initiator:
        initiator.ready()
        slow.waits = False
        assert initiator.write(0, b"before" * 512 + bytes(1024)).status == 0
        slow.waits = True
        read = struct.pack(">BBIBHB", 0x28, 0, 0, 0, 2, 0)
        first = initiator.send_command(read, expected_in=1024)
        ordered = initiator.send_command(read, expected_in=1024, attribute=ORDERED)
        data = b"after!" * 512
        cdb = struct.pack(">BBIBHB", 0x2A, 0, 0, 0, 6, 0)
        behind = initiator.send_command(cdb, data_out=data, immediate_data=data)
        assert initiator.nop(b"x").data == b"x"
        slow.all_at_once()
        for itt in (first, ordered):
            reply = initiator.finish(itt)
            assert (reply.status, reply.data) == (0, (b"before" * 512)[:1024])
        assert initiator.finish(behind).status == 0
        assert initiator.read(0, 6).data == data


def test_what_is_held_back_for_a_connection_that_ends_holds_up_no_other(
    rig: Rig, slow: Slow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "READ_AHEAD", 1024)
    tpg = rig.serve(rig.file(tmp_path / "disk", SIZE), param={"MaxConnections": "2"})
    with two_connections(rig, tpg) as (one, other):
        number = one.cmd_sn
        for ahead in range(3):
            one.send_command(READ_ONE, expected_in=512, cmd_sn=number + ahead, attribute=ORDERED)
        (active,) = rig.target.active_sessions()
        eventually(lambda: len(active.session.later) == 1)
        tag = other.send_command(READ_ONE, expected_in=512, cmd_sn=number + 3)
        eventually(lambda: len(active.session.later) == 2)
        one.close()
        slow.all_at_once()
        assert other.finish(tag).status == 0
        assert not active.session.later
