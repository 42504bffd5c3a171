"""SPC-2 reservations and persistent reservations."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from isadmin.userspace.kept import Kept
from isadmin.userspace.model import Lun, Tpg
from isadmin.userspace.scsi import dispatch, transport_id
from isadmin.userspace.scsi.command import Command
from isadmin.userspace.scsi.nexus import LunPath, Nexus
from isadmin.userspace.scsi.reservations import Type
from tests.userspace.scsi.bench import BLOCK, TARGET, Answer, Bench, Initiator, bench, finish
from tests.userspace.scsi.test_block import cdb

READ, WRITE = cdb(0x28, 0, 1), cdb(0x2A, 0, 1)
WE, EA, WERO, EARO, WEAR, EAAR = 1, 3, 5, 6, 7, 8
TYPES = (WE, EA, WERO, EARO, WEAR, EAAR)


@pytest.fixture
def world() -> Bench:
    return bench()


@pytest.fixture
def a(world: Bench) -> Initiator:
    return world.initiator("a")


@pytest.fixture
def b(world: Bench) -> Initiator:
    return world.initiator("b")


def out(
    who: Initiator, action: int, key: int = 0, new: int = 0, kind: int = 0, flags: int = 0, extra: bytes = b""
) -> Answer:
    data = struct.pack(">QQIBxxx", key, new, 0, flags) + extra
    return who.send(bytes((0x5F, action, kind, 0, 0)) + len(data).to_bytes(4, "big") + b"\0", data)


def register(who: Initiator, key: int, old: int = 0, flags: int = 0, extra: bytes = b"") -> Answer:
    return out(who, 0, old, key, flags=flags, extra=extra)


def reserve(who: Initiator, key: int, kind: int) -> Answer:
    return out(who, 1, key, kind=kind)


def read_in(who: Initiator, action: int, length: int = 1024) -> bytes:
    return who.send(bytes((0x5E, action, 0, 0, 0, 0, 0)) + length.to_bytes(2, "big") + b"\0").good()


def keys(who: Initiator) -> tuple[int, list[int]]:
    data = read_in(who, 0)
    generation, length = struct.unpack_from(">II", data)
    return generation, [int.from_bytes(data[i : i + 8], "big") for i in range(8, 8 + length, 8)]


def attention(who: Initiator) -> int:
    return who.send("00 00 00 00 00 00").asc


# SPC-2


def test_reserve_keeps_others_out_until_release(a: Initiator, b: Initiator) -> None:
    a.send("16 00 00 00 00 00").good()
    assert a.path.plain
    assert not b.path.plain
    b.send(READ).conflicts()
    b.send("00 00 00 00 00 00").conflicts()
    b.send("16 00 00 00 00 00").conflicts()
    b.send("12 00 00 00 24 00").good()
    b.send("17 00 00 00 00 00").good()
    b.send(READ).conflicts()
    a.send("57 00 00 00 00 00 00 00 00 00").good()
    b.send(READ).good()
    assert b.path.plain


def test_a_reservation_goes_with_its_session_and_with_a_reset(
    world: Bench, a: Initiator, b: Initiator
) -> None:
    a.send("56 00 00 00 00 00 00 00 00 00").good()
    a.nexus.close()
    b.send(READ).good()
    b.send("16 00 00 00 00 00").good()
    world.unit.reset()
    c = world.initiator("c")
    c.send(READ).good()


def test_reserve_has_no_third_party(a: Initiator) -> None:
    a.send("16 10 00 00 00 00").refused(5, 0x2400)


def test_persistent_commands_conflict_with_an_spc2_reservation(a: Initiator, b: Initiator) -> None:
    """For the holder too (SPC-2 5.5.1)."""
    a.send("16 00 00 00 00 00").good()
    for who in (a, b):
        register(who, 1).conflicts()
        for action in range(4):
            who.send(bytes((0x5E, action, 0, 0, 0, 0, 0, 1, 0, 0))).conflicts()
    a.send("17 00 00 00 00 00").good()
    register(a, 1).good()


OLD = ("16 00 00 00 00 00", "17 00 00 00 00 00", "56" + "00" * 9, "57" + "00" * 9)


def test_old_commands_conflict_with_registrations(a: Initiator, b: Initiator) -> None:
    """GOOD would say that the unit is reserved, and it would not be."""
    register(a, 1).good()
    for who in (a, b):
        for command in OLD:
            who.send(command).conflicts()
    b.send(WRITE, bytes(BLOCK)).good()


@pytest.mark.parametrize("kind", TYPES)
def test_old_commands_are_compatible_with_a_reservation(
    world: Bench, a: Initiator, b: Initiator, kind: int
) -> None:
    c = world.initiator("c")
    register(a, 1).good()
    register(c, 3).good()
    reserve(a, 1, kind).good()
    for command in OLD:
        a.send(command).good()
        b.send(command).conflicts()
        assert c.send(command).status == (0 if kind >= WERO else 0x18)
    assert world.unit.reservations.holder_spc2 is None
    assert read_in(a, 1)[21] == kind


def test_the_interlock_tells_of_the_conflict_later() -> None:
    world = bench(emulate_ua_intlck_ctrl=2)
    a, b = world.initiator("a"), world.initiator("b")
    a.send("16 00 00 00 00 00").good()
    b.send(READ).conflicts()
    a.send("17 00 00 00 00 00").good()
    b.send(READ).refused(6, 0x2C09)
    b.send(READ).refused(6, 0x2C09)
    assert b.send("03 00 00 00 12 00").good()[12:14].hex() == "2c09"
    b.send(READ).good()


# Registration


def test_register_change_and_unregister(a: Initiator, b: Initiator) -> None:
    register(a, 0).good()
    assert keys(a) == (0, [])
    register(a, 0xAAAA).good()
    register(b, 0xBBBB).good()
    assert keys(a) == (2, [0xAAAA, 0xBBBB])
    register(a, 0xCCCC, old=1).conflicts()
    register(a, 0xCCCC, old=0xAAAA).good()
    register(b, 0, old=0xBBBB).good()
    assert keys(a) == (4, [0xCCCC])


def test_register_and_ignore_existing_key(a: Initiator) -> None:
    out(a, 6, 77, 1).good()
    out(a, 6, 78, 2).good()
    assert keys(a) == (2, [2])
    out(a, 6, 79, 0).good()
    assert keys(a) == (3, [])


def test_actions_need_a_registration_and_its_key(a: Initiator, b: Initiator) -> None:
    register(a, 1).good()
    for action in (1, 2, 3, 4, 5, 7):
        out(b, action, 1, 1, WE).conflicts()
        out(a, action, 2, 1, WE).conflicts()


def test_read_keys_is_cut_but_tells_its_length(a: Initiator) -> None:
    register(a, 1).good()
    assert read_in(a, 0, 8).hex() == "0000000100000008"
    assert read_in(a, 0, 4).hex() == "00000001"


@pytest.mark.parametrize("length", [0, 8, 23])
def test_the_parameter_list_has_24_bytes(a: Initiator, length: int) -> None:
    a.send(bytes((0x5F, 0, 0, 0, 0)) + length.to_bytes(4, "big") + b"\0", bytes(length)).refused(5, 0x1A00)


def test_surplus_parameters_are_refused(a: Initiator) -> None:
    register(a, 1, extra=bytes(4)).refused(5, 0x1A00)
    out(a, 6, 0, 1, flags=0x08, extra=bytes(4)).refused(5, 0x2600)


def test_unknown_service_actions(a: Initiator) -> None:
    a.send("5e 04 00 00 00 00 00 00 ff 00").refused(5, 0x2400)
    out(a, 0x1F).refused(5, 0x2400)


# What a reservation lets through


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("registered", [False, True])
def test_access_by_another_nexus(a: Initiator, b: Initiator, kind: int, registered: bool) -> None:
    register(a, 1).good()
    if registered:
        register(b, 2).good()
    reserve(a, 1, kind).good()
    assert a.path.plain
    writes = registered and kind >= WERO
    reads = writes or kind in {WE, WERO, WEAR}
    assert bool(b.path.plain) == writes
    answer = b.send(READ)
    assert answer.status == (0 if reads else 0x18)
    assert b.send(WRITE, bytes(BLOCK)).status == (0 if writes else 0x18)
    assert b.send("1a 08 0a 00 ff 00").status == (0 if reads else 0x18)
    assert b.send("35 00 00 00 00 00 00 00 00 00").status == (0 if writes else 0x18)
    for free in (
        "00 00 00 00 00 00",
        "12 00 00 00 24 00",
        "a0" + "00" * 5 + "00000100 00 00",
        "25" + "00" * 9,
    ):
        b.send(free).good()
    b.send("1b 00 00 00 01 00").good()
    assert b.send("1b 00 00 00 00 00").status == (0 if writes else 0x18)
    if writes:
        b.send("1b 00 00 00 01 00").good()
    b.send("1e 00 00 00 00 00").good()
    read_in(b, 0)


@pytest.mark.parametrize("kind", TYPES)
def test_reserving_again(a: Initiator, b: Initiator, kind: int) -> None:
    register(a, 1).good()
    register(b, 2).good()
    reserve(a, 1, kind).good()
    reserve(a, 1, kind).good()
    other = EA if kind != EA else WE
    reserve(a, 1, other).conflicts()
    assert reserve(b, 2, kind).status == (0 if kind >= WEAR else 0x18)


def test_scope_and_type_are_checked(a: Initiator) -> None:
    register(a, 1).good()
    out(a, 1, 1, kind=0x11).refused(5, 0x2400)
    for kind in (0, 2, 4, 9):
        reserve(a, 1, kind).refused(5, 0x2400)


def test_read_reservation(a: Initiator, b: Initiator) -> None:
    register(a, 0xAB).good()
    assert read_in(a, 1).hex() == "0000000100000000"
    reserve(a, 0xAB, EARO).good()
    assert read_in(b, 1).hex() == "0000000100000010" + "00000000000000ab" + "00000000" + "00060000"
    out(a, 2, 0xAB, kind=EARO).good()
    reserve(a, 0xAB, EAAR).good()
    assert read_in(b, 1).hex() == "0000000100000010" + "00" * 12 + "00080000"


def test_report_capabilities(a: Initiator) -> None:
    assert read_in(a, 2).hex() == "00081d90ea010000"
    register(a, 1, flags=1).good()
    assert read_in(a, 2).hex() == "00081d91ea010000"


def test_read_full_status(a: Initiator, b: Initiator) -> None:
    register(a, 0xA).good()
    register(b, 0xB).good()
    reserve(b, 0xB, WE).good()
    data = read_in(a, 3)
    assert data[:8].hex() == "00000002" + f"{len(data) - 8:08x}"
    name = b"iqn.1994-05.com.example:a,i,0x00023d000001\0".ljust(44, b"\0")
    first = (
        "000000000000000a" + "00000000" + "0000" + "00000000" + "0001" + "00000030" + "4500002c" + name.hex()
    )
    assert data[8 : 8 + len(first) // 2].hex() == first
    second = data[8 + len(first) // 2 :]
    assert second[:24].hex() == "000000000000000b" + "00000000" + "0101" + "00000000" + "0001" + "00000030"


# Release, clear, preempt


@pytest.mark.parametrize("kind", TYPES)
def test_release(a: Initiator, b: Initiator, kind: int) -> None:
    register(a, 1).good()
    register(b, 2).good()
    out(a, 2, 1, kind=kind).good()
    reserve(a, 1, kind).good()
    out(a, 2, 1, kind=WE if kind != WE else EA).refused(5, 0x2604)
    out(a, 2, 1, kind=kind).good()
    assert attention(b) == 0x2A04 if kind >= WERO else b.path.plain
    b.send(READ).good()
    assert keys(a) == (2, [1, 2])


def test_release_by_another_changes_nothing(a: Initiator, b: Initiator) -> None:
    register(a, 1).good()
    register(b, 2).good()
    reserve(a, 1, EA).good()
    out(b, 2, 2, kind=EA).good()
    b.send(READ).conflicts()


def test_clear(a: Initiator, b: Initiator) -> None:
    register(a, 1).good()
    register(b, 2).good()
    reserve(a, 1, EA).good()
    out(b, 3, 2).good()
    assert attention(a) == 0x2A03
    a.send(READ).good()
    assert keys(a) == (3, [])


@pytest.mark.parametrize("kind", TYPES)
def test_unregistering_the_holder(a: Initiator, b: Initiator, kind: int) -> None:
    register(a, 1).good()
    register(b, 2).good()
    reserve(a, 1, kind).good()
    register(a, 0, old=1).good()
    if kind >= WEAR:
        a.send(WRITE, bytes(BLOCK)).conflicts()
        register(b, 0, old=2).good()
    elif kind >= WERO:
        assert attention(b) == 0x2A04
    assert read_in(a, 1)[4:] == bytes(4)
    b.send(READ).good()
    assert b.path.plain
    assert a.path.plain


def test_preempt_of_registrations_only(a: Initiator, b: Initiator) -> None:
    register(a, 1).good()
    register(b, 2).good()
    out(a, 4, 1, 3, WE).conflicts()
    out(a, 4, 1, 0, WE).refused(5, 0x2600)
    out(a, 4, 1, 2, WE).good()
    assert attention(b) == 0x2A05
    assert keys(a) == (3, [1])
    assert read_in(a, 1)[4:] == bytes(4)


@pytest.mark.parametrize("old", [WE, EA, WERO, EARO])
@pytest.mark.parametrize("new", TYPES)
def test_preempt_of_the_holder(world: Bench, a: Initiator, b: Initiator, old: int, new: int) -> None:
    c = world.initiator("c")
    for key, who in enumerate((a, b, c), 1):
        register(who, key).good()
    reserve(a, 1, old).good()
    out(b, 4, 2, 1, new).good()
    assert attention(a) == 0x2A05
    assert (attention(c) == 0x2A04) if old != new else c.path.attentions == []
    assert keys(b) == (4, [2, 3])
    assert read_in(b, 1)[21] == new
    assert world.unit.reservations.type is Type(new)


def test_preempt_of_all_registrants(world: Bench, a: Initiator, b: Initiator) -> None:
    register(a, 1).good()
    register(b, 2).good()
    reserve(a, 1, WEAR).good()
    out(b, 4, 2, 0, EA).good()
    assert attention(a) == 0x2A05
    assert keys(b) == (3, [2])
    a.send(READ).conflicts()


def test_preempt_of_some_of_all_registrants(a: Initiator, b: Initiator) -> None:
    register(a, 1).good()
    register(b, 2).good()
    reserve(a, 1, EAAR).good()
    out(b, 4, 2, 1, EA).good()
    assert keys(b) == (3, [2])
    assert read_in(b, 1)[21] == EAAR


def test_the_holder_preempts_itself_to_change_the_type(a: Initiator) -> None:
    register(a, 1).good()
    reserve(a, 1, EA).good()
    out(a, 4, 1, 1, WE).good()
    assert keys(a) == (2, [1])
    assert read_in(a, 1)[21] == WE


def test_preempt_and_abort_ends_the_commands_of_the_preempted(
    world: Bench, a: Initiator, b: Initiator
) -> None:
    aborted: list[LunPath] = []
    ended: list[Callable[[], None]] = []

    def abort(wanted: Callable[[LunPath], bool]) -> Callable[[Callable[[], None]], None]:
        aborted.extend(path for path in world.unit.paths if wanted(path))
        return ended.append

    world.unit.abort_tasks = abort
    register(a, 1).good()
    register(b, 2).good()
    reserve(a, 1, EA).good()
    data = struct.pack(">QQIBxxx", 2, 1, 0, 0)
    command = dispatch.admit(b.nexus, 0, bytes((0x5F, 5, EA, 0, 0, 0, 0, 0, 24, 0)), 24)
    command.data_out = data
    dispatch.perform(command)
    assert aborted == [a.path]
    assert command.awaits == ended.append
    assert not command.done
    finish(command).good()


def test_nobody_is_aborted_for_a_preemption_that_is_undone(world: Bench, a: Initiator, b: Initiator) -> None:
    aborted: list[object] = []
    disk = Disk(world)
    for key, who in enumerate((a, b), 1):
        register(who, key, flags=0x01).good()
    world.unit.abort_tasks = aborted.append  # type: ignore[assignment]
    disk.full = True
    finish(begin(b, 5, 2, 1, EA)).refused(4, 0x4400)
    assert aborted == []
    disk.full = False
    finish(begin(b, 5, 2, 1, EA)).good()
    assert len(aborted) == 1


# Several ports, others' registrations, moving


def second_port(world: Bench) -> Lun:
    tpg = Tpg(world.tpg.target, 2)
    lun = Lun(tpg, 0, device=world.device, relative_target_port=2)
    world.device.exports.append(lun)
    return lun


def through(world: Bench, lun: Lun, name: str) -> Initiator:
    nexus = Nexus(f"iqn.1994-05.com.example:{name}", bytes.fromhex("00023d000001"), TARGET, lun.tpg.tag)
    return Initiator(nexus, nexus.add(0, world.unit, lun)).clear()


def test_a_registration_is_for_one_port(world: Bench, a: Initiator) -> None:
    elsewhere = through(world, second_port(world), "a")
    register(a, 1).good()
    reserve(a, 1, EA).good()
    elsewhere.send(READ).conflicts()


def test_all_target_ports(world: Bench, a: Initiator) -> None:
    elsewhere = through(world, second_port(world), "a")
    register(a, 1, flags=0x04).good()
    assert keys(a) == (1, [1, 1])
    reserve(a, 1, EARO).good()
    elsewhere.send(READ).good()
    register(a, 0, old=1, flags=0x04).good()
    assert keys(a) == (2, [])


def test_isids_can_be_ignored() -> None:
    world = bench(enforce_pr_isids=0)
    first = world.initiator("a")
    nexus = Nexus(first.nexus.initiator, bytes(6), TARGET, 1)
    second = Initiator(nexus, nexus.add(0, world.unit, world.lun)).clear()
    register(first, 1).good()
    reserve(first, 1, EA).good()
    second.send(READ).good()


def transport_ids(*ids: bytes) -> bytes:
    body = b"".join(ids)
    return len(body).to_bytes(4, "big") + body


def test_spec_i_pt(world: Bench, a: Initiator, b: Initiator) -> None:
    named = transport_id.encode(b.nexus.initiator, b.nexus.isid.hex())
    register(a, 1, flags=0x08, extra=transport_ids(named)).refused(5, 0x2600)
    assert keys(a) == (0, [])
    world.known("b")
    register(a, 1, flags=0x08, extra=transport_ids(named)).good()
    assert keys(a) == (1, [1, 1])
    reserve(b, 1, EA).good()
    register(a, 2, old=1, flags=0x08, extra=transport_ids(named)).refused(5, 0x2600)


@pytest.mark.parametrize(
    ("extra", "asc"),
    [
        (b"", 0x1A00),
        (bytes((0, 0, 0, 24)), 0x1A00),
        (transport_ids(bytes(24)), 0x2600),
        (transport_ids(b"\x05\x00\x00\x14" + b"x" * 20), 0x2600),
        (transport_ids(b"\x45\x00\x00\x14" + b"iqn.a".ljust(20, b"\0")), 0x2600),
        (transport_ids(b"\x85\x00\x00\x14" + b"iqn.a".ljust(20, b"\0")), 0x2600),
        (transport_ids(b"\x05\x00\x00\x18" + b"iqn.a".ljust(20, b"\0")), 0x2600),
    ],
)
def test_bad_transport_ids(world: Bench, a: Initiator, extra: bytes, asc: int) -> None:
    world.tpg.attrib["generate_node_acls"] = 1
    register(a, 1, flags=0x08, extra=extra).refused(5, asc)
    assert keys(a) == (0, [])


def test_transport_id_bytes() -> None:
    assert transport_id.encode("iqn.a", "").hex() == "05000014" + b"iqn.a".ljust(20, b"\0").hex()
    assert transport_id.decode(transport_id.encode("iqn.a", "00023D000001".lower()) + b"rest", 0) == (
        "iqn.a",
        "00023d000001",
        28,
    )


def move(who: Initiator, key: int, new: int, port: int, name: bytes, flags: int = 0) -> Answer:
    data = struct.pack(">QQBBHI", key, new, 0, flags, port, len(name)) + name
    return who.send(bytes((0x5F, 7, 0, 0, 0)) + len(data).to_bytes(4, "big") + b"\0", data)


def test_register_and_move(world: Bench, a: Initiator) -> None:
    lun = second_port(world)
    there = through(world, lun, "b")
    lun.tpg.attrib["generate_node_acls"] = 1
    name = transport_id.encode(there.nexus.initiator, there.nexus.isid.hex())
    register(a, 1).good()
    move(a, 1, 2, 2, name).conflicts()
    reserve(a, 1, EA).good()
    move(a, 1, 0, 2, name).refused(5, 0x2600)
    move(a, 1, 2, 9, name).refused(5, 0x2600)
    move(a, 1, 2, 2, name, flags=0x02).good()
    assert keys(there) == (2, [2])
    there.send(READ).good()
    a.send(READ).conflicts()


def test_register_and_move_to_oneself_or_from_all_registrants(world: Bench, a: Initiator) -> None:
    world.tpg.attrib["generate_node_acls"] = 1
    name = transport_id.encode(a.nexus.initiator, a.nexus.isid.hex())
    register(a, 1).good()
    reserve(a, 1, WEAR).good()
    move(a, 1, 2, 1, name).conflicts()
    out(a, 2, 1, kind=WEAR).good()
    reserve(a, 1, WE).good()
    move(a, 1, 2, 1, name).refused(5, 0x2600)


# Persistence


def saved_by(world: Bench) -> list[str]:
    """What is kept for a power loss, from now on."""
    saved: list[str] = []

    def keep(text: str) -> Callable[[], None]:
        return lambda: saved.append(text)

    world.unit.keep_aptpl = keep
    return saved


def load(world: Bench, text: str) -> None:
    """Give saved registrations back, as LIO's tools do."""
    for block in text.split("PR_REG_END: ")[:-1]:
        world.unit.load_aptpl(",".join(line for line in block.split("\n") if "=" in line))


def test_aptpl_is_saved_in_lios_text_and_comes_back(world: Bench, a: Initiator, b: Initiator) -> None:
    saved = saved_by(world)
    register(b, 2).good()
    assert saved == []
    register(a, 1, flags=0x01).good()
    reserve(a, 1, EARO).good()
    assert saved[-1] == (
        "PR_REG_START: 0\ninitiator_fabric=iSCSI\ninitiator_node=iqn.1994-05.com.example:b\n"
        "initiator_sid=00023d000001\nsa_res_key=2\nres_holder=0\nres_all_tg_pt=0\nmapped_lun=0\n"
        "target_fabric=iSCSI\ntarget_node=iqn.2003-01.org.example:disk\ntpgt=1\nport_rtpi=1\ntarget_lun=0\n"
        "PR_REG_END: 0\n"
        "PR_REG_START: 1\ninitiator_fabric=iSCSI\ninitiator_node=iqn.1994-05.com.example:a\n"
        "initiator_sid=00023d000001\nsa_res_key=1\nres_holder=1\nres_type=06\nres_scope=00\nres_all_tg_pt=0\n"
        "mapped_lun=0\ntarget_fabric=iSCSI\ntarget_node=iqn.2003-01.org.example:disk\ntpgt=1\nport_rtpi=1\n"
        "target_lun=0\nPR_REG_END: 1\n"
    )
    after = bench()
    load(after, saved[-1])
    a2, b2, c2 = after.initiator("a"), after.initiator("b"), after.initiator("c")
    assert sorted(keys(a2)[1]) == [1, 2]
    a2.send(WRITE, bytes(BLOCK)).good()
    b2.send(WRITE, bytes(BLOCK)).good()
    c2.send(READ).conflicts()
    assert after.unit.reservations.aptpl_text() == saved[-1]


def test_saved_registrations_are_those_of_a_lun_whatever_its_port_is_numbered_now(
    world: Bench, a: Initiator
) -> None:
    """One initiator, registered through two LUNs with a key each; after the restart they come the other way
    round."""
    saved = saved_by(world)
    lun = Lun(world.tpg, 7, device=world.device, relative_target_port=2)
    world.device.exports.append(lun)
    a.nexus.add(7, world.unit, lun)
    a.clear().send("03 00 00 00 12 00", lun=7)
    register(a, 1, flags=0x01).good()
    data = struct.pack(">QQIBxxx", 0, 2, 0, 0x01)
    a.send("5f 00 00 00 00 00 00 00 18 00", data, lun=7).good()
    reserve(a, 1, EA).good()

    after = bench()
    after.device.exports.clear()
    load(after, saved[-1])
    other = Lun(after.tpg, 7, device=after.device, relative_target_port=1)
    after.lun.relative_target_port = 2
    before = through(after, other, "b")
    before.send(READ).conflicts()
    assert sorted(keys(before)[1]) == [1, 2], "they count before their LUNs are there"
    for one in (other, after.lun):
        after.device.exports.append(one)
        after.unit.linked(one)
    a2 = after.initiator("a")
    assert a2.path.plain
    a2.send(WRITE, bytes(BLOCK)).good()
    register(a2, 1, old=1).good()
    register(through(after, other, "a"), 2, old=2).good()
    facts = after.unit.reservation()
    found = [(r.key, r.relative_target_port, r.holder) for r in facts.registrations]
    assert found == [(1, 2, True), (2, 1, False)]


def test_a_lun_of_another_group_is_not_the_saved_one(world: Bench, a: Initiator) -> None:
    saved = saved_by(world)
    register(a, 1, flags=0x01).good()
    reserve(a, 1, EA).good()
    after = bench()
    after.device.exports.clear()
    load(after, saved[-1])
    elsewhere = second_port(after)
    after.unit.linked(elsewhere)
    through(after, elsewhere, "a").send(READ).conflicts()


def test_aptpl_ends_with_a_registration_without_it(world: Bench, a: Initiator) -> None:
    saved = saved_by(world)
    register(a, 1, flags=0x01).good()
    register(a, 2, old=1).good()
    assert saved[-1] == ""


class Disk:
    """What is kept for a power loss, on a disk that can be full. A command's steps after its change are
    performed by finish() only."""

    def __init__(self, world: Bench) -> None:
        self.kept = Kept(self._write)
        self.full = False
        self.text = ""
        world.unit.keep_aptpl = self.kept.put

    def _write(self, text: str) -> None:
        if self.full:
            raise OSError(28, "full")
        self.text = text


def begin(who: Initiator, action: int, key: int = 0, new: int = 0, kind: int = 0) -> Command:
    """A PERSISTENT RESERVE OUT with APTPL that has made its change and has yet to save it."""
    command = dispatch.admit(who.nexus, 0, bytes((0x5F, action, kind, 0, 0, 0, 0, 0, 24, 0)), 24)
    command.data_out = struct.pack(">QQIBxxx", key, new, 0, 0x01 if action in (0, 6) else 0)
    dispatch.perform(command)
    assert command.blocking
    assert not command.done
    return command


def test_a_registration_that_cannot_be_saved_is_refused_and_gone(
    world: Bench, a: Initiator, b: Initiator
) -> None:
    disk = Disk(world)
    disk.full = True
    for action in (0, 6):
        finish(begin(a, action, new=1)).refused(5, 0x5504)
        assert keys(a)[1] == []
        assert not world.unit.reservations.aptpl
    disk.full = False
    register(a, 1, flags=0x01).good()
    disk.full = True
    finish(begin(a, 0, 1, 2)).refused(5, 0x5504)
    assert keys(a)[1] == [1]
    assert "sa_res_key=1\n" in disk.text
    reserve(b, 0, EA).conflicts()


@pytest.mark.parametrize("action", [1, 2, 3, 4])
def test_what_else_cannot_be_saved_has_not_happened(
    world: Bench, a: Initiator, b: Initiator, action: int
) -> None:
    disk = Disk(world)
    for key, who in enumerate((a, b), 1):
        register(who, key, flags=0x01).good()
    if action != 1:
        reserve(b, 2, EARO).good()
    who, key, new = (b, 2, 0) if action in (2, 3) else (a, 1, 2)
    before, facts = disk.text, world.unit.reservation()
    disk.full = True
    finish(begin(who, action, key, new, EARO)).refused(4, 0x4400)
    assert disk.text == before
    after = world.unit.reservation()
    assert (after.registrations, after.holder, after.type_code) == (
        facts.registrations,
        facts.holder,
        facts.type_code,
    )
    c = world.initiator("c")
    assert c.send(READ).status == (0 if action == 1 else 0x18)


def test_a_change_on_top_of_one_that_is_undone_is_undone_with_it(
    world: Bench, a: Initiator, b: Initiator
) -> None:
    disk = Disk(world)
    first = begin(a, 0, new=1)
    disk.full = True
    dispatch.perform(first)
    second = begin(b, 0, new=2)
    finish(first).refused(5, 0x5504)
    disk.full = False
    finish(second).refused(5, 0x5504)
    assert (keys(a)[1], disk.text) == ([], "")


def test_a_change_that_a_later_one_saves_is_safe(world: Bench, a: Initiator, b: Initiator) -> None:
    disk = Disk(world)
    first, second = begin(a, 0, new=1), begin(b, 0, new=2)
    finish(second).good()
    disk.full = True
    finish(first).good()
    assert keys(a)[1] == [1, 2]
    assert disk.text.count("PR_REG_START") == 2


def test_access_that_is_lost_meanwhile_does_not_come_back(world: Bench, a: Initiator, b: Initiator) -> None:
    disk = Disk(world)
    register(a, 1, flags=0x01).good()
    reserve(a, 1, EA).good()
    disk.full = True
    command = begin(b, 0, new=2)
    world.unit.access_lost(world.lun, a.nexus.initiator)
    finish(command).refused(5, 0x5504)
    assert keys(b)[1] == []
    b.send(READ).good()


@pytest.mark.parametrize(
    "text",
    ["", "initiator_node=iqn.a", "initiator_node=iqn.a,target_node=t,tpgt=1,sa_res_key=0", "sa_res_key=x"],
)
def test_bad_saved_registrations(world: Bench, text: str) -> None:
    with pytest.raises(OSError, match="saved registration"):
        world.unit.load_aptpl(text)


def test_emulation_can_be_turned_off() -> None:
    disk = bench(emulate_pr=0).initiator()
    for command in ("5e" + "00" * 9, "5f" + "00" * 9, "16" + "00" * 5, "17" + "00" * 5):
        disk.send(command).refused(5, 0x2000)


@pytest.mark.parametrize("old", [False, True])
def test_without_emulation_nobody_is_kept_out_by_what_was_reserved(
    world: Bench, a: Initiator, b: Initiator, old: bool
) -> None:
    if old:
        a.send("16 00 00 00 00 00").good()
    else:
        register(a, 1).good()
        reserve(a, 1, EA).good()
    for emulated in (0, 1):
        world.device.attrib["emulate_pr"] = emulated
        world.unit.refresh("emulate_pr")
        assert bool(b.path.plain) != emulated
        for command, data in ((READ, b""), (WRITE, bytes(BLOCK))):
            assert b.send(command, data).status == (0x18 if emulated else 0)


def test_configfs_sees_the_state(world: Bench, a: Initiator, b: Initiator) -> None:
    register(a, 1).good()
    reserve(a, 1, WE).good()
    facts = world.unit.reservation()
    assert (facts.generation, facts.type_code, facts.aptpl) == (1, 1, False)
    assert facts.holder is not None
    assert (facts.holder.initiator, facts.holder.isid, facts.holder.key) == (
        a.nexus.initiator,
        "00023d000001",
        1,
    )
    register(a, 0, old=1).good()
    b.send("16 00 00 00 00 00").good()
    assert world.unit.reservation().spc2_holder == "iqn.1994-05.com.example:b,i,0x00023d000001"
