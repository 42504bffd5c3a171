"""Any commands, from several initiators, to two logical units: each gets an answer that SAM-5 knows, and what
was not asked for stays as it was."""

from __future__ import annotations

import gc
import random
import struct
import tracemalloc
from functools import cache
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import isadmin
from isadmin.userspace.scsi.opcodes import TABLE
from isadmin.userspace.scsi.sense import Status
from isadmin.userspace.storage.ramdisk import RamStorage
from tests.fuzz.limits import examples
from tests.userspace.scsi.bench import BLOCK, Answer, Bench, Initiator, bench

BLOCKS = 2048
STATUSES = {Status.GOOD, Status.CHECK_CONDITION, Status.CONDITION_MET, Status.RESERVATION_CONFLICT}
SENSE_KEYS = {0x1, 0x2, 0x3, 0x4, 0x5, 0x6, 0x7, 0xA, 0xB, 0xD, 0xE}
KEYS = (0, 1, 0xABCD, 0xFFFFFFFFFFFFFFFF)
NASTY = (0, 1, 2, 7, 8, 0x7F, 0x80, 0xFF)


def words(size: int) -> st.SearchStrategy[bytes]:
    """A big-endian field: edges, small numbers, anything."""
    top = (1 << 8 * size) - 1
    edges = st.sampled_from([0, 1, 8, 16, 24, BLOCKS - 1, BLOCKS, top >> 1, top]).map(lambda n: n & top)
    return st.one_of(edges, st.integers(0, min(64, top)), st.integers(0, top)).map(
        lambda n: n.to_bytes(size, "big")
    )


def joined(*parts: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.tuples(*parts).map(b"".join)


key = st.sampled_from(KEYS).map(lambda n: n.to_bytes(8, "big"))
byte = st.sampled_from(NASTY).map(lambda n: bytes((n,)))
some = st.binary(max_size=40)
transport_ids = st.lists(joined(st.just(b"\x45\0"), words(2), st.binary(max_size=48)), max_size=2).map(
    b"".join
)
copied = st.sampled_from([0, 1, 8, BLOCKS - 8, BLOCKS]).map(lambda n: n.to_bytes(8, "big"))
segment = joined(st.just(b"\x02\0\0\x18"), words(2), words(2), st.just(b"\0\0"), words(2), copied, copied)
"""A copy of the unit to itself, mostly: its descriptor's index is 0."""
PARAMETERS = st.one_of(
    st.binary(max_size=2 * BLOCK),
    joined(key, key, st.just(bytes(4)), byte, st.just(bytes(3))),  # PERSISTENT RESERVE OUT
    joined(key, key, st.just(bytes(4)), byte, st.just(bytes(3)), words(4), transport_ids),
    joined(key, key, st.just(b"\0"), byte, words(2), words(4), transport_ids),  # REGISTER AND MOVE
    joined(
        words(2),
        words(2),
        st.just(bytes(4)),
        st.lists(joined(words(8), words(4), some), max_size=3).map(b"".join),
    ),
    joined(st.just(bytes(4)), byte, words(2), some),  # mode parameters, target port groups
    joined(
        byte, byte, words(2), st.just(bytes(4)), words(4), words(4), some, st.binary(max_size=80)
    ),  # copies
    st.lists(segment, max_size=3).map(lambda segments: copy_list(b"".join(segments))),
    st.integers(0, 255).map(lambda n: bytes((n,)) * 2 * BLOCK),  # COMPARE AND WRITE
)


@cache
def designator() -> bytes:
    """The units' NAA designator: they are all alike."""
    _, initiators = world()
    return initiators[0].send(b"\x12\x01\x83\0\xff\0").good()[4:24]


def copy_list(segments: bytes) -> bytes:
    """Parameters of EXTENDED COPY with one copy target: the unit."""
    target = (b"\xe4\0\0\0" + designator()).ljust(28, b"\0") + b"\0\0\x02\0"
    return struct.pack(">BBHIIi", 1, 0, len(target), 0, len(segments), 0) + target + segments


@st.composite
def cdbs(draw: st.DrawFn) -> bytes:
    """A CDB: one of the table's with fields of its own, sometimes with a bit that should not be there, or
    anything at all."""
    if draw(st.integers(0, 19)) == 0:
        return draw(st.binary(min_size=6, max_size=16))
    row = draw(st.sampled_from(TABLE))
    usage = row.usage
    body = draw(joined(*(words(4) for _ in range(4))))
    cdb = bytearray(usage[0:1] + bytes(a & b for a, b in zip(body[: len(usage) - 1], usage[1:], strict=True)))
    if row.service_action is not None:
        cdb[1] = cdb[1] & 0xE0 | row.service_action
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(1, len(cdb) - 1))
        cdb[at] ^= 1 << draw(st.integers(0, 7))
    return bytes(cdb)


COMMANDS = st.tuples(st.integers(0, 2), cdbs(), PARAMETERS)


def is_sound(answer: Answer) -> None:
    """A status of SAM-5, with sense data if and only if it is CHECK CONDITION, and with data only if GOOD."""
    assert answer.status in STATUSES
    assert bool(answer.sense) == (answer.status == Status.CHECK_CONDITION)
    if answer.sense:
        assert answer.sense[0] & 0x7F in {0x70, 0x72}
        assert answer.key in SENSE_KEYS
    assert not (answer.status and answer.data)
    assert len(answer.data) <= 16 << 20


def world() -> tuple[Bench, list[Initiator]]:
    unit = bench(RamStorage(BLOCKS * BLOCK), emulate_tpu=1, emulate_tpws=1, emulate_caw=1)
    return unit, [unit.initiator(name) for name in "abc"]


@examples(120)
@given(st.lists(COMMANDS, min_size=1, max_size=12))
def test_any_commands_of_several_initiators_get_answers(sent: list[tuple[int, bytes, bytes]]) -> None:
    _, initiators = world()
    for who, cdb, data in sent:
        is_sound(initiators[who].send(cdb, data))
    # Whatever they did, everybody is still spoken to.
    for initiator in initiators:
        inquiry = initiator.send(b"\x12\0\0\0\x60\0").good()
        assert inquiry[8:16] == b"LIO-ORG "
        is_sound(initiator.send(bytes(6)))


def reservations(unit: Bench) -> None:
    """A holder is registered, and a reservation has one."""
    facts = unit.unit.reservation()
    assert (facts.holder is None) == (facts.type_code == 0)
    assert facts.holder is None or any(each.holder for each in facts.registrations)


ACTIONS = st.tuples(
    st.integers(0, 2),
    st.integers(0, 7),
    st.sampled_from([0x00, 0x01, 0x03, 0x05, 0x06, 0x07, 0x08, 0x0F]),
    key,
    key,
    st.sampled_from([0, 1, 4, 8, 0x0D]),
)


@examples(300)
@given(st.lists(ACTIONS, min_size=2, max_size=30))
def test_any_sequence_of_persistent_reservations_leaves_a_sound_state(
    sent: list[tuple[int, int, int, bytes, bytes, int]],
) -> None:
    unit, initiators = world()
    for who, action, kind, old, new, flags in sent:
        cdb = struct.pack(">BBBxxIB", 0x5F, action, kind, 24, 0)
        is_sound(initiators[who].send(cdb, old + new + bytes((0, 0, 0, 0, flags, 0, 0, 0))))
        reservations(unit)
        for part in (0, 1, 2, 3):
            data = initiators[who].send(struct.pack(">BB5xHB", 0x5E, part, 4096, 0)).data
            assert part == 2 or not data or len(data) == 8 + int.from_bytes(data[4:8], "big")


def kept() -> int:
    """Bytes that our own code has allocated and still holds; not those of the tests' other threads."""
    gc.collect()
    ours = tracemalloc.Filter(True, str(Path(isadmin.__file__).parent / "*"))
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([ours]).traces)


def test_memory_does_not_grow() -> None:
    """Ten thousand commands leave no more behind than a thousand did."""
    chance = random.Random(20)
    _, initiators = world()

    def send(count: int) -> None:
        for _ in range(count):
            row = chance.choice(TABLE)
            usage = row.usage
            cdb = bytearray(usage[:1] + bytes(chance.choice((0, 1, 24, 0xFF)) & bits for bits in usage[1:]))
            if row.service_action is not None:
                cdb[1] = cdb[1] & 0xE0 | row.service_action
            data = chance.choice((b"", chance.randbytes(24), bytes(24), bytes(BLOCK), bytes(2 * BLOCK)))
            is_sound(chance.choice(initiators).send(bytes(cdb), data))

    send(2000)
    tracemalloc.start()
    try:
        before = kept()
        send(8000)
        grown = kept() - before
    finally:
        tracemalloc.stop()
    print("GROWN", grown)
    assert grown < 64 << 10
