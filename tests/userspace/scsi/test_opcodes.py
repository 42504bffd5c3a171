"""The command table, what is told of it, and admission by it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isadmin.userspace.scsi.command import Operation
from isadmin.userspace.scsi.opcodes import TABLE
from isadmin.userspace.storage.ramdisk import RamStorage
from tests.userspace.scsi.bench import BLOCK, BLOCKS, Initiator, bench

CDB_LENGTH = {0: 6, 1: 10, 2: 10, 4: 16, 5: 12}


class Telling(RamStorage):
    """Memory that says it can tell holes from data, as files can."""

    __slots__ = ()
    tells_holes = True


def everything() -> Initiator:
    """A unit that offers every command."""
    world = bench(Telling(BLOCKS * BLOCK), emulate_tpu=1, emulate_tpws=1)
    world.device.lba_map = f"0 0\n0 {BLOCKS} 0:O\n"
    return world.initiator()


def label(row: Operation) -> str:
    return row.name


@pytest.mark.parametrize("row", TABLE, ids=label)
def test_rows_are_sound(row: Operation) -> None:
    assert row.usage[0] == row.opcode
    assert len(row.usage) == CDB_LENGTH[row.opcode >> 5]
    assert not row.usage[-1] & 0x04, "NACA is refused"


def test_no_command_is_there_twice() -> None:
    names = [(row.opcode, row.service_action) for row in TABLE]
    assert len(set(names)) == len(names)
    plain = {row.opcode for row in TABLE if row.service_action is None}
    assert not plain & {row.opcode for row in TABLE if row.service_action is not None}


@pytest.mark.parametrize("row", TABLE, ids=label)
def test_every_bit_outside_the_usage_data_is_refused(row: Operation) -> None:
    disk = everything()
    for index in range(1, len(row.usage)):
        for bit in range(8):
            if row.usage[index] >> bit & 1:
                continue
            cdb = bytearray(len(row.usage))
            cdb[0] = row.opcode
            cdb[1] |= row.service_action or 0
            cdb[index] |= 1 << bit
            sense = disk.send(bytes(cdb)).refused(5, 0x2400)
            assert sense[15:18] == bytes((0xC8 | bit, 0, index))


def test_naca_is_refused_everywhere() -> None:
    disk = everything()
    assert disk.send("00 00 00 00 00 04").refused(5, 0x2400)[15:18].hex() == "ca0005"


def test_unknown_operation_codes() -> None:
    disk = everything()
    for opcode in set(range(256)) - {row.opcode for row in TABLE}:
        disk.send(bytes((opcode, 0))).refused(5, 0x2000)


def report(disk: Initiator, option: int, opcode: int = 0, action: int = 0, length: int = 8192) -> bytes:
    cdb = (
        bytes((0xA3, 0x0C, option, opcode)) + action.to_bytes(2, "big") + length.to_bytes(4, "big") + bytes(2)
    )
    return disk.send(cdb).good()


def test_all_commands_are_reported() -> None:
    data = report(everything(), 0)
    assert int.from_bytes(data[:4], "big") == len(data) - 4 == 8 * len(TABLE)
    entries = {(data[i], data[i + 2] << 8 | data[i + 3]): data[i : i + 8] for i in range(4, len(data), 8)}
    assert entries[0x28, 0].hex() == "280000000000000a"
    assert entries[0x9E, 0x10].hex() == "9e00001000010010"


def test_all_commands_with_timeouts() -> None:
    data = report(everything(), 0x80)
    assert len(data) == 4 + 20 * len(TABLE)
    assert data[4:24].hex() == "0000000000020006" + "000a0000" + "00000000" + "0000001e"


def test_what_a_unit_has_not_is_not_reported() -> None:
    disk = bench(emulate_caw=0, emulate_pr=0, emulate_3pc=0, alua_support=0, max_write_same_len=0).initiator()
    data = report(disk, 0)
    reported = {data[i] for i in range(4, len(data), 8)}
    assert not reported & {0x89, 0x5E, 0x5F, 0x16, 0x17, 0x83, 0x84, 0xA4, 0x41, 0x93, 0x42}
    assert report(disk, 1, 0x89).hex() == "00010000"
    assert report(disk, 3, 0x5E, 0).hex() == "00010000"


def test_one_command() -> None:
    disk = everything()
    assert report(disk, 1, 0x28).hex() == "0003000a" + "2818ffffffff1fffff00"
    assert report(disk, 2, 0x9E, 0x10).hex() == "00030010" + "9e10" + "ff" * 12 + "0000"
    assert report(disk, 3, 0xA3, 0x0C).hex() == "0003000c" + "a30c87ffffffffffffff0000"
    assert report(disk, 3, 0x00).hex() == "00030006" + "000000000000"
    assert report(disk, 3, 0x00, 1).hex() == "00010000"
    assert report(disk, 1, 0xFF).hex() == "00010000"
    assert (
        report(disk, 0x81, 0x00).hex() == "00830006" + "000000000000" + "000a0000" + "00000000" + "0000001e"
    )


def test_reporting_options_must_fit() -> None:
    disk = everything()
    for option, opcode in ((1, 0x9E), (2, 0x28), (4, 0), (7, 0)):
        cdb = bytes((0xA3, 0x0C, option, opcode, 0, 0, 0, 0, 1, 0, 0, 0))
        disk.send(cdb).refused(5, 0x2400)


def test_dpo_and_fua_are_reported_only_where_they_work() -> None:
    disk = bench(emulate_write_cache=0).initiator()
    assert report(disk, 1, 0x28)[5] == 0x00
    assert report(disk, 1, 0x2F)[5] == 0x06


def test_task_management_functions() -> None:
    disk = everything()
    assert disk.send("a3 0d 00 00 00 00 00 00 00 10 00 00").good().hex() == "da000000"
    assert disk.send("a3 0d 80 00 00 00 00 00 00 10 00 00").good().hex() == "da00000c" + "00" * 12
    disk.send("a3 0d 00 00 00 00 00 00 00 03 00 00").refused(5, 0x2400)


@settings(max_examples=120, deadline=None)
@given(st.binary(min_size=6, max_size=16), st.binary(max_size=64), st.sampled_from(range(len(TABLE) + 8)))
def test_any_cdb_and_any_data_get_an_answer(cdb: bytes, data: bytes, row: int) -> None:
    disk = everything()
    if row < len(TABLE):
        # Mostly well-formed, so that the handlers are reached.
        usage = TABLE[row].usage
        wanted = bytes(a & b for a, b in zip(cdb.ljust(len(usage), b"\0"), usage, strict=False))
        cdb = (
            bytes((usage[0], wanted[1] & ~0x1F | TABLE[row].service_action)) + wanted[2:]
            if TABLE[row].service_action is not None
            else bytes((usage[0],)) + wanted[1:]
        )
    answer = disk.send(cdb, data * (BLOCK // 32))
    assert answer.status in {0x00, 0x02, 0x04, 0x18}
    assert (answer.status == 2) == bool(answer.sense)
