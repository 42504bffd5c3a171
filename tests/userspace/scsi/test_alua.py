"""ALUA: what each access state lets through; REPORT and SET TARGET PORT GROUPS."""

from __future__ import annotations

from functools import partial

import pytest

from isadmin.userspace.model import Lun, TargetPortGroup
from isadmin.userspace.scsi import dispatch
from tests.userspace.scsi.bench import BLOCK, Bench, Initiator, bench
from tests.userspace.scsi.test_block import cdb

REPORT = "a3 0a 00 00 00 00 00 00 04 00 00 00"


@pytest.fixture
def world() -> Bench:
    return bench()


def group_of(world: Bench) -> TargetPortGroup:
    group = world.lun.port_group
    assert group is not None
    return group


def enter(world: Bench, state: int) -> None:
    group_of(world).access_state = state
    world.unit.alua_changed(group_of(world))


@pytest.mark.parametrize(("state", "asc"), [(2, 0x040B), (3, 0x040C), (15, 0x040A), (14, 0x0412)])
def test_states_without_access(world: Bench, state: int, asc: int) -> None:
    disk = world.initiator()
    enter(world, state)
    disk.send("00 00 00 00 00 00").refused(6, 0x2A06)
    assert not disk.path.plain
    disk.send("00 00 00 00 00 00").refused(2, asc)
    disk.send(cdb(0x28, 0, 1)).refused(2, asc)
    disk.send("12 00 00 00 24 00").good()
    disk.send(REPORT).good()
    disk.send("03 00 00 00 12 00").good()
    assert disk.send("1a 08 0a 00 ff 00").status == (0 if state == 2 else 2)
    enter(world, 0)
    disk.send("00 00 00 00 00 00").refused(6, 0x2A06)
    assert disk.path.plain


def test_a_non_optimized_path_is_slow_but_works(world: Bench) -> None:
    disk = world.initiator()
    group_of(world).nonop_delay_msecs = 250
    enter(world, 1)
    disk.clear()
    assert not disk.path.plain
    assert dispatch.admit(disk.nexus, 0, cdb(0x28, 0, 1)).delay == 0.25
    disk.send(cdb(0x28, 0, 1)).good()


def test_an_offline_port(world: Bench) -> None:
    disk = world.initiator()
    world.lun.offline = 1
    world.unit.refresh_paths()
    assert not disk.path.plain
    disk.send("00 00 00 00 00 00").refused(2, 0x0412)


def test_alua_support_0_makes_every_path_optimized(world: Bench) -> None:
    disk = world.initiator()
    world.device.attrib["alua_support"] = 0
    enter(world, 2)
    assert disk.path.plain
    disk.send(REPORT).refused(5, 0x2400)


def test_report_target_port_groups(world: Bench) -> None:
    group = TargetPortGroup(
        world.device,
        "other",
        group_id=0x1234,
        access_state=2,
        access_status=1,
        preferred=1,
        implicit_trans_secs=9,
    )
    group.supported = {"alua_support_standby": 1, "alua_support_offline": 0}
    group.members = [Lun(world.tpg, 1, relative_target_port=7), Lun(world.tpg, 2, relative_target_port=8)]
    world.device.port_groups["other"] = group
    world.device.port_groups["unnumbered"] = TargetPortGroup(world.device, "unnumbered")
    disk = world.initiator()
    groups = "00df0000" + "00000001" + "00000001" + "829f1234" + "00010002" + "00000007" + "00000008"
    assert disk.send(REPORT).good().hex() == "0000001c" + groups
    extended = disk.send("a3 2a 00 00 00 00 00 00 04 00 00 00").good()
    assert extended.hex() == "00000020" + "10000000" + groups
    disk.send("a3 4a 00 00 00 00 00 00 04 00 00 00").refused(5, 0x2400)


def test_no_more_ports_than_can_be_counted_are_told_of(world: Bench) -> None:
    group = group_of(world)
    group.members = [Lun(world.tpg, number, relative_target_port=number) for number in range(1, 301)]
    data = world.initiator().send("a3 0a 00 00 00 00 00 00 ff ff 00 00").good()
    assert data[:4] == (8 + 4 * 255).to_bytes(4, "big")
    assert (data[11], len(data)) == (255, 12 + 4 * 255)


MAP = "0 0\n0 99 0:O 1:S\n100 199 0:S 1:O\n200 299 0:U 1:A\n300 309 1:O\n"


@pytest.fixture
def mapped(world: Bench) -> Initiator:
    """A path of group 0 whose state depends on the block."""
    world.device.lba_map = MAP
    group_of(world).access_state = 4
    return world.initiator()


@pytest.mark.parametrize(
    ("lba", "blocks", "asc"),
    [
        (0, 100, 0),
        (99, 2, 0x040B),
        (100, 1, 0x040B),
        (250, 1, 0x040C),
        (300, 10, 0),
        (309, 2, 0x040C),
        (500, 1, 0x040C),
        (500, 0, 0),
    ],
)
def test_a_state_that_depends_on_the_block(mapped: Initiator, lba: int, blocks: int, asc: int) -> None:
    assert not mapped.path.plain
    for opcode, data in ((0x28, b""), (0x2A, bytes(blocks * BLOCK)), (0x34, b"")):
        if opcode == 0x34 and not blocks:
            continue
        answer = mapped.send(cdb(opcode, lba, blocks), data)
        if asc:
            answer.refused(2, asc)
        else:
            assert answer.status in (0, 4)
    mapped.send("00" * 6).good()


def test_a_map_of_segments(world: Bench, mapped: Initiator) -> None:
    """Of each 20 blocks the first 10 are the group's."""
    world.device.lba_map = "10 2\n0 9 0:O\n10 19 0:U\n"
    for lba, blocks, good in ((0, 10, True), (5, 5, True), (5, 6, False), (1010, 1, False), (1020, 10, True)):
        assert (mapped.send(cdb(0x28, lba, blocks)).status == 0) == good


def test_without_a_map_no_block_is_served(world: Bench, mapped: Initiator) -> None:
    world.device.lba_map = ""
    mapped.send(cdb(0x28, 0, 1)).refused(2, 0x040C)
    mapped.send("9e 13" + "00" * 8 + "00000400 00 00").refused(5, 0x2400)
    mapped.send("12 01 b3 00 ff 00").refused(5, 0x2400)


def test_what_tells_of_a_map(mapped: Initiator) -> None:
    assert mapped.send("9e 13" + "00" * 8 + "00000400 00 00").good().hex() == (
        "0000006c"
        "00000002" + f"{0:016x}{99:016x}" + "00000000" + "02000001"
        "00000002" + f"{100:016x}{199:016x}" + "02000000" + "00000001"
        "00000002" + f"{200:016x}{299:016x}" + "03000000" + "01000001"
        "00000001" + f"{300:016x}{309:016x}" + "00000001"
    )
    mapped.send("9e 13" + "00" * 8 + "00000003 00 00").refused(5, 0x2400)
    assert mapped.send("12 01 86 00 ff 00").good()[8] == 0x10
    assert mapped.send("12 01 00 00 ff 00").good()[4:].hex() == "00808386b0b1b2b3"
    assert mapped.send("12 01 b3 00 ff 00").good().hex() == "00b3000c" + "00000000" + "00000000" + "00000000"


def test_set_target_port_groups(world: Bench) -> None:
    disk, other = world.initiator("a"), world.initiator("b")
    told: list[TargetPortGroup] = []
    world.unit.keep_alua = lambda groups: partial(told.extend, groups)
    disk.send("a4 0a 00 00 00 00 00 00 00 08 00 00", bytes.fromhex("00000000" + "02000000")).good()
    group = group_of(world)
    assert (group.access_state, group.access_status, told) == (2, 1, [group])
    disk.send("00 00 00 00 00 00").refused(2, 0x040B)
    other.send("00 00 00 00 00 00").refused(6, 0x2A06)
    disk.send("a4 0a 00 00 00 00 00 00 00 08 00 00", bytes.fromhex("00000000" + "00000000")).good()
    assert disk.path.plain


@pytest.mark.parametrize(
    ("data", "asc"),
    [
        ("00000000" + "02000009", 0x2600),
        ("00000000" + "0e000000", 0x2600),
        ("00000000" + "02000000" + "01000009", 0x2600),
        ("00000000" + "0200", 0x1A00),
        ("00000000", 0x1A00),
    ],
)
def test_bad_lists_change_no_group(world: Bench, data: str, asc: int) -> None:
    raw = bytes.fromhex(data)
    disk = world.initiator()
    disk.send(f"a4 0a 00 00 00 00 {len(raw):08x} 00 00", raw).refused(5, asc)
    assert group_of(world).access_state == 0


def test_set_needs_explicit_alua_and_a_supported_state(world: Bench) -> None:
    disk = world.initiator()
    group_of(world).supported["alua_support_standby"] = 0
    disk.send("a4 0a 00 00 00 00 00 00 00 08 00 00", bytes.fromhex("0000000002000000")).refused(5, 0x2600)
    group_of(world).access_type = 1
    disk.send("a4 0a 00 00 00 00 00 00 00 08 00 00", bytes.fromhex("0000000001000000")).refused(5, 0x2000)
