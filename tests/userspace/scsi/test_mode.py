"""MODE SENSE and MODE SELECT."""

from __future__ import annotations

import pytest

from tests.userspace.scsi.bench import BLOCK, Bench, Initiator, bench
from tests.userspace.scsi.test_block import cdb

CACHING = "0812" + "04" + "00" * 9 + "20" + "00" * 7
CONTROL = "0a0a" + "02100040" + "0000ffff001e"
RECOVERY = "010a" + "00" * 10
EXCEPTIONS = "1c0a" + "00" * 10


@pytest.fixture
def world() -> Bench:
    return bench(emulate_tas=1)


@pytest.fixture
def disk(world: Bench) -> Initiator:
    return world.initiator()


def test_all_pages(disk: Initiator) -> None:
    pages = RECOVERY + CACHING + CONTROL + EXCEPTIONS
    assert disk.send("1a 00 3f 00 ff 00").good().hex() == "43001008" + "0000080000000200" + pages
    assert disk.send("1a 08 3f 00 ff 00").good().hex() == "3b001000" + pages
    assert disk.send("5a 08 3f 00 00 00 00 00 ff 00").good().hex() == "003e001000000000" + pages
    assert (
        disk.send("5a 00 3f ff 00 00 00 00 ff 00").good().hex()
        == "0046001000000008" + "0000080000000200" + pages
    )


def test_long_lba(disk: Initiator) -> None:
    data = disk.send("5a 10 08 00 00 00 00 00 ff 00").good()
    assert data.hex() == "002a001001000010" + "00000000000008000000000000000200" + CACHING


@pytest.mark.parametrize(("code", "page"), [("08", CACHING), ("0a", CONTROL), ("1c", EXCEPTIONS)])
def test_one_page(disk: Initiator, code: str, page: str) -> None:
    assert disk.send(f"1a 08 {code} 00 ff 00").good()[4:].hex() == page


def test_page_control(disk: Initiator) -> None:
    assert disk.send("1a 08 4a 00 ff 00").good()[4:].hex() == "0a0a" + "04000800000000000000"
    assert not any(disk.send("1a 08 48 00 ff 00").good()[6:])
    assert disk.send("1a 08 8a 00 ff 00").good()[4:].hex() == CONTROL
    disk.send("1a 08 ca 00 ff 00").refused(5, 0x3900)


def test_bad_pages(disk: Initiator) -> None:
    disk.send("1a 08 02 00 ff 00").refused(5, 0x2400)
    disk.send("1a 08 0a 01 ff 00").refused(5, 0x2400)
    disk.send("1a 01 0a 00 ff 00").refused(5, 0x2400)


def test_allocation_length(disk: Initiator) -> None:
    assert len(disk.send("1a 08 3f 00 04 00").good()) == 4
    assert disk.send("1a 08 3f 00 00 00").good() == b""


def test_write_protection_shows(world: Bench) -> None:
    assert world.initiator("ro", read_only=True).send("1a 08 08 00 ff 00").good()[2] == 0x90


def test_write_through_has_neither_wce_nor_dpofua() -> None:
    data = bench(emulate_write_cache=0).initiator().send("1a 08 08 00 ff 00").good()
    assert (data[2], data[6]) == (0x00, 0x00)


@pytest.mark.parametrize(("attribute", "byte", "value"), [(0, 4, 0x00), (1, 4, 0x20), (2, 4, 0x30)])
def test_unit_attention_interlock_shows(attribute: int, byte: int, value: int) -> None:
    data = bench(emulate_ua_intlck_ctrl=attribute).initiator().send("1a 08 0a 00 ff 00").good()
    assert data[4 + byte] == value


def test_no_unrestricted_reordering_and_no_tas_show() -> None:
    data = bench(emulate_rest_reord=1, emulate_tas=0).initiator().send("1a 08 0a 00 ff 00").good()
    assert (data[7], data[9]) == (0x00, 0x00)


def control(d_sense: int = 0, swp: int = 0) -> bytes:
    page = bytearray.fromhex(CONTROL)
    page[2] |= d_sense << 2
    page[4] |= swp << 3
    return bytes(page)


def select(disk: Initiator, page: bytes) -> None:
    data = bytes(4) + page
    disk.send(f"15 10 00 00 {len(data):02x} 00", data).good()


def test_d_sense_changes_the_format_of_sense(disk: Initiator) -> None:
    select(disk, control(d_sense=1))
    assert disk.send("1a 08 0a 00 ff 00").good()[6] == 0x06
    assert disk.send("ff").refused(5, 0x2000).hex() == "7205200000000000"
    select(disk, control())
    assert disk.send("ff").refused(5, 0x2000)[0] == 0x70


def test_swp_protects_everybody_and_is_told(world: Bench, disk: Initiator) -> None:
    other = world.initiator("b")
    select(disk, control(swp=1))
    disk.send(cdb(0x2A, 0, 1), bytes(BLOCK)).refused(7, 0x2702)
    assert disk.path.read_only
    other.send(cdb(0x28, 0, 1)).refused(6, 0x2A01)
    other.send(cdb(0x2A, 0, 1), bytes(BLOCK)).refused(7, 0x2702)
    other.send(cdb(0x28, 0, 1)).good()
    assert disk.send("1a 08 0a 00 ff 00").good()[2] == 0x90
    select(other, control())
    disk.clear().send(cdb(0x2A, 0, 1), bytes(BLOCK)).good()


def test_what_changes_nothing_is_told_to_nobody(world: Bench, disk: Initiator) -> None:
    other = world.initiator("b")
    select(disk, control())
    select(disk, bytes.fromhex(CACHING))
    assert other.path.plain


def test_select_10_with_a_block_descriptor(disk: Initiator) -> None:
    short = bytes.fromhex("0000000000000008" + "0000080000000200") + control(swp=1)
    disk.send("55 10 00 00 00 00 00 00 1c 00", short).good()
    assert disk.path.read_only
    long = bytes.fromhex("0000000001000010" + "0000000000000800" + "0000000000000200") + control()
    disk.send("55 10 00 00 00 00 00 00 24 00", long).good()
    assert not disk.path.read_only


@pytest.mark.parametrize(
    ("flags", "data", "asc"),
    [
        ("00", bytes(4), 0x2400),
        ("11", bytes(4), 0x2400),
        ("10", bytes(3), 0x1A00),
        ("10", bytes(4) + b"\x0a\x0a\x02", 0x1A00),
        ("10", bytes(4) + b"\x0a", 0x1A00),
        ("10", bytes(4) + b"\x02\x0a" + bytes(10), 0x2600),
        ("10", bytes(4) + b"\x0a\x0b" + bytes(11), 0x2600),
        ("10", bytes(4) + bytes.fromhex("0812" + "00" * 18), 0x2600),
        ("10", bytes(3) + b"\x08" + bytes(4) + bytes.fromhex("00001000"), 0x2600),
        ("10", bytes(3) + b"\x08" + bytes(2), 0x1A00),
        ("10", bytes(3) + b"\x07" + bytes(8), 0x2600),
        ("10", bytes(4) + b"\x4a\x0a" + bytes(10), 0x2600),
    ],
)
def test_bad_parameter_lists_change_nothing(disk: Initiator, flags: str, data: bytes, asc: int) -> None:
    disk.send(f"15 {flags} 00 00 {len(data):02x} 00", data).refused(5, asc)
    assert disk.send("1a 08 3f 00 ff 00").good()[4:].hex() == RECOVERY + CACHING + CONTROL + EXCEPTIONS


def test_an_empty_parameter_list_is_fine(disk: Initiator) -> None:
    disk.send("15 10 00 00 00 00").good()


def test_a_reset_takes_back_what_mode_select_set(world: Bench, disk: Initiator) -> None:
    select(disk, control(d_sense=1, swp=1))
    world.unit.reset()
    disk.send("ff").refused(6, 0x2903)
    assert disk.send("1a 08 0a 00 ff 00").good()[4:].hex() == CONTROL
