"""TEST UNIT READY, REQUEST SENSE, REPORT LUNS, START STOP UNIT, ...; LUNs, unit attentions, nexuses."""

from __future__ import annotations

import pytest

from isadmin.userspace.scsi.nexus import Nexus, lun_field, lun_number
from isadmin.userspace.scsi.sense import Asc
from tests.userspace.scsi.bench import BLOCK, TARGET, Bench, Initiator, bench
from tests.userspace.scsi.test_block import FailingStorage, cdb


@pytest.fixture
def world() -> Bench:
    return bench()


def report_luns(disk: Initiator, select: int = 0) -> list[str]:
    data = disk.send(bytes((0xA0, 0, select, 0, 0, 0, 0, 0, 4, 0, 0, 0))).good()
    assert int.from_bytes(data[:4], "big") == len(data) - 8
    return [data[i : i + 8].hex() for i in range(8, len(data), 8)]


# Unit attentions


def test_the_first_command_of_a_nexus_hears_of_power_on(world: Bench) -> None:
    disk = world.initiator(clear=False)
    assert not disk.path.plain
    disk.send("12 00 00 00 24 00").good()
    assert report_luns(disk) == ["0000000000000000"]
    disk.send("00 00 00 00 00 00").refused(6, 0x2900)
    assert disk.path.plain
    disk.send("00 00 00 00 00 00").good()


def test_request_sense_fetches_a_unit_attention(world: Bench) -> None:
    disk = world.initiator(clear=False)
    assert disk.send("03 00 00 00 12 00").good().hex() == "700006000000000a00000000290000000000"
    assert disk.send("03 01 00 00 12 00").good().hex() == "7200000000000000"
    disk.send("00 00 00 00 00 00").good()


def test_a_nexus_that_was_lost(world: Bench) -> None:
    nexus = Nexus("iqn.a", bytes(6), TARGET, 1, lost=True)
    disk = Initiator(nexus, nexus.add(0, world.unit, world.lun))
    disk.send("00 00 00 00 00 00").refused(6, 0x2907)


def test_unit_attentions_are_told_in_order_and_once(world: Bench) -> None:
    disk = world.initiator()
    for asc in (Asc.MODE_PARAMETERS_CHANGED, Asc.CAPACITY_CHANGED, Asc.MODE_PARAMETERS_CHANGED):
        disk.path.attend(asc)
    disk.send(cdb(0x28, 0, 1)).refused(6, 0x2A01)
    disk.send(cdb(0x28, 0, 1)).refused(6, 0x2A09)
    disk.send(cdb(0x28, 0, 1)).good()


def test_a_reset_outdates_other_unit_attentions(world: Bench) -> None:
    disk = world.initiator()
    disk.path.attend(Asc.MODE_PARAMETERS_CHANGED)
    world.unit.reset()
    disk.send("00 00 00 00 00 00").refused(6, 0x2903)
    disk.send("00 00 00 00 00 00").good()
    assert world.unit.counters.resets == 1


def test_commands_that_another_has_cleared_are_told_of(world: Bench) -> None:
    disk, other = world.initiator("a"), world.initiator("b")
    world.unit.commands_cleared([other.path])
    disk.send("00 00 00 00 00 00").good()
    other.send("00 00 00 00 00 00").refused(6, 0x2F00)


def test_a_unit_attention_comes_before_an_unknown_command(world: Bench) -> None:
    disk = world.initiator(clear=False)
    disk.send("ff").refused(6, 0x2900)
    disk.send("ff").refused(5, 0x2000)


# LUNs


@pytest.mark.parametrize(
    ("field", "number"),
    [
        ("0000000000000000", 0),
        ("0005000000000000", 5),
        ("0100000000000000", 256),
        ("4005000000000000", 5),
        ("4100000000000000", 256),
        ("d200400000000000", 16384),
        ("c101000000000000", -1),
        ("0000000100000000", -1),
        ("8000000000000000", -1),
        ("d200400001000000", -1),
    ],
)
def test_lun_fields(field: str, number: int) -> None:
    assert lun_number(bytes.fromhex(field)) == number
    if number >= 0 and not field.startswith("4"):
        assert lun_field(number).hex() == field


def test_report_luns_lists_the_nexus_own(world: Bench) -> None:
    disk = world.initiator()
    disk.nexus.add(300, world.unit, world.lun)
    disk.nexus.add(2, world.unit, world.lun)
    assert report_luns(disk) == ["0000000000000000", "0002000000000000", "012c000000000000"]
    assert report_luns(disk, 2) == report_luns(disk)
    assert report_luns(disk, 1) == []
    disk.send("a0 00 03 00 00 00 00 00 00 10 00 00").refused(5, 0x2400)
    disk.send("a0 00 00 00 00 00 00 00 00 0f 00 00").refused(5, 0x2400)


def test_report_luns_of_a_nexus_without_luns(world: Bench) -> None:
    disk = world.initiator()
    disk.nexus.remove(0)
    assert report_luns(disk) == ["0000000000000000"]


def test_changes_of_the_lun_inventory_are_told_once(world: Bench) -> None:
    disk = world.initiator()
    disk.nexus.add(1, world.unit, world.lun)
    disk.nexus.add(2, world.unit, world.lun)
    assert not disk.path.plain
    report_luns(disk)
    assert disk.path.plain
    disk.nexus.remove(2)
    disk.send("00 00 00 00 00 00").refused(6, 0x3F0E)
    disk.send("00 00 00 00 00 00").good()
    disk.send("00 00 00 00 00 00", lun=2).refused(5, 0x2500)
    assert list(world.unit.paths) == [disk.path, disk.nexus.paths[1]]


def test_one_unit_tells_of_the_inventory_for_all_of_the_nexus(world: Bench) -> None:
    """As LUICLR promises; other nexuses, and other attentions of the unit, wait for their own turn."""
    disk, other = world.initiator("a"), world.initiator("b")
    for who in (disk, other):
        who.nexus.add(1, world.unit, world.lun)
    disk.send("00 00 00 00 00 00").refused(6, 0x3F0E)
    assert disk.nexus.paths[1].attentions == [Asc.POWER_ON_RESET]
    disk.nexus.add(2, world.unit, world.lun)
    disk.send("00 00 00 00 00 00").refused(6, 0x3F0E)
    assert Asc.REPORTED_LUNS_DATA_CHANGED not in disk.nexus.paths[1].attentions
    other.send("00 00 00 00 00 00").refused(6, 0x3F0E)


def test_a_nexus_without_commands_hears_nothing_of_its_luns(world: Bench) -> None:
    nexus = Nexus("iqn.a", bytes(6), TARGET, 1)
    first = nexus.add(0, world.unit, world.lun)
    nexus.add(1, world.unit, world.lun)
    assert first.attentions == [Asc.POWER_ON_RESET]


def test_write_protecting_a_lun_keeps_its_path(world: Bench) -> None:
    disk = world.initiator()
    assert disk.nexus.replace(0, world.unit, world.lun, read_only=True) is disk.path
    assert disk.path.read_only
    disk.send(cdb(0x2A, 0, 1), bytes(BLOCK)).refused(7, 0x2700)


def test_replacing_a_unit_is_another_lun(world: Bench) -> None:
    disk = world.initiator()
    other = bench()
    path = disk.nexus.replace(0, other.unit, other.lun)
    assert not world.unit.paths
    assert path.attentions == [Asc.POWER_ON_RESET]


def test_a_closed_nexus_is_forgotten(world: Bench) -> None:
    disk = world.initiator()
    disk.send("1e 00 00 00 01 00").good()
    assert world.unit.prevented == {disk.path}
    disk.nexus.close()
    assert not world.unit.paths
    assert world.unit.prevented == set()
    assert disk.nexus.paths == {}


def test_commands_are_counted(world: Bench) -> None:
    disk = world.initiator()
    before = world.unit.counters.num_cmds
    disk.send("00 00 00 00 00 00").good()
    disk.send("ff").refused(5, 0x2000)
    assert world.unit.counters.num_cmds == before + 2
    assert disk.path.counters.num_cmds == before + 2


# START STOP UNIT and others


def test_stop_and_start(world: Bench) -> None:
    disk, other = world.initiator("a"), world.initiator("b")
    disk.send("1b 00 00 00 00 00").good()
    assert not other.path.plain
    other.send("00 00 00 00 00 00").refused(2, 0x0402)
    other.send(cdb(0x28, 0, 1)).refused(2, 0x0402)
    assert other.send("03 00 00 00 12 00").good()[2] == 2
    other.send("12 00 00 00 24 00").good()
    other.send("1b 00 00 00 01 00").good()
    assert disk.path.plain
    disk.send(cdb(0x28, 0, 1)).good()


def test_stopping_flushes_unless_told_not_to() -> None:
    storage = FailingStorage()
    disk = bench(storage).initiator()
    disk.send("1b 00 00 00 00 00").good()
    assert storage.flushed == 1
    disk.send("1b 00 00 00 04 00").good()
    assert storage.flushed == 1


def test_there_is_nothing_to_eject(world: Bench) -> None:
    disk = world.initiator()
    disk.send("1b 00 00 00 02 00").refused(5, 0x2400)
    disk.send("1b 00 00 00 13 00").good()
    disk.send("1b 00 00 00 41 00").refused(5, 0x2400)
    disk.send("00 00 00 00 00 00").good()


def test_prevent_and_allow(world: Bench) -> None:
    disk = world.initiator()
    disk.send("1e 00 00 00 01 00").good()
    disk.send("1e 00 00 00 00 00").good()
    assert world.unit.prevented == set()


def test_log_sense(world: Bench) -> None:
    disk = world.initiator()
    assert disk.send("4d 00 40 00 00 00 00 00 ff 00").good().hex() == "00000002" + "002f"
    assert disk.send("4d 00 40 ff 00 00 00 00 ff 00").good().hex() == "40ff0006" + "0000" + "00ff" + "2f00"
    assert disk.send("4d 00 6f 00 00 00 00 00 ff 00").good().hex() == "2f000008" + "00000304" + "00000000"
    disk.send("4d 00 4d 00 00 00 00 00 ff 00").refused(5, 0x2400)
    disk.send("4d 01 40 00 00 00 00 00 ff 00").refused(5, 0x2400)
