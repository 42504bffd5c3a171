"""INQUIRY: standard data and VPD pages, byte for byte where LIO's bytes are known."""

from __future__ import annotations

import pytest

from isadmin.userspace.scsi.inquiry import naa
from tests.userspace.scsi.bench import TARGET, bench


def test_standard_data() -> None:
    data = bench().initiator().send("12 00 00 01 00 00").good()
    assert len(data) == 96
    assert data[:8].hex() == "000006025b380002"
    assert data[8:36] == b"LIO-ORG FILEIO          4.0 "
    assert data[58:66].hex() == "00a00960046004c0"
    assert not any(data[66:])


def test_allocation_length_cuts_silently() -> None:
    disk = bench().initiator()
    for length in (0, 1, 5, 36, 95):
        assert len(disk.send(f"12 00 00 00 {length:02x} 00").good()) == length


def test_a_page_code_needs_evpd() -> None:
    disk = bench().initiator()
    assert disk.send("12 00 80 00 ff 00").refused(5, 0x2400)[15:18].hex() == "c00002"
    disk.send("12 01 c0 00 ff 00").refused(5, 0x2400)
    disk.send("12 03 00 00 ff 00").refused(5, 0x2400)


def test_a_lun_that_leads_nowhere() -> None:
    disk = bench().initiator()
    assert disk.send("12 00 00 00 60 00", lun=7).good()[0] == 0x7F
    disk.send("12 01 83 00 60 00", lun=7).refused(5, 0x2400)
    disk.send("00 00 00 00 00 00", lun=7).refused(5, 0x2500)
    assert disk.send("03 00 00 00 12 00", lun=7).good().hex() == "700005000000000a00000000250000000000"


def test_supported_pages() -> None:
    assert bench().initiator().send("12 01 00 00 ff 00").good().hex() == "00000007" + "00808386b0b1b2"


def test_serial_number() -> None:
    data = bench().initiator().send("12 01 80 00 ff 00").good()
    assert data == b"\x00\x80\x00\x24" + b"11111111-2222-3333-4444-555555555555"


def test_device_identification_is_lios() -> None:
    data = bench().initiator().send("12 01 83 01 00 00").good()
    name = TARGET.encode()
    expected = (
        "01030010" + "60014051111111122223333444455555"
        "02010034"
        + (b"LIO-ORG FILEIO:11111111-2222-3333-4444-555555555555\0").hex()
        + "51940004"
        + "00000001"
        "51950004" + "00000000"
        "01060004" + "00000000"
        "53980028"
        + (name + b",t,0x0001\0").ljust(40, b"\0").hex()
        + "53a80020"
        + (name + b"\0").ljust(32, b"\0").hex()
    )
    assert data[4:].hex() == expected
    assert int.from_bytes(data[2:4], "big") == len(data) - 4


@pytest.mark.parametrize(
    ("serial", "expected"),
    [
        ("a1b2c3d4-e5f6-4a5b-8c7d-9e0f1a2b3c4d", "6001405a1b2c3d4e5f64a5b8c7d9e0f1"),
        ("f2serial", "6001405f2ea000000000000000000000"),
        ("", "60014050000000000000000000000000"),
        ("XYZ-12", "60014051200000000000000000000000"),
    ],
)
def test_naa_takes_the_hex_digits_of_the_serial(serial: str, expected: str) -> None:
    assert naa(0x001405, serial).hex() == expected


def test_naa_with_another_company() -> None:
    assert naa(0xABCDEF, "12").hex() == "6abcdef12" + "0" * 23


def test_without_a_serial_there_is_no_naa() -> None:
    world = bench()
    world.device.serial = ""
    data = world.initiator().send("12 01 83 01 00 00").good()
    assert data[4:6].hex() == "0201"
    assert world.initiators[0].send("12 01 80 00 ff 00").good().hex() == "00800000"


def test_block_limits_of_a_thick_unit() -> None:
    data = bench().initiator().send("12 01 b0 00 ff 00").good()
    assert data.hex() == (
        "00b0003c"
        + "0001"
        + "0001"
        + "00004000"
        + "00004000"
        + "00000000"
        + "00000000" * 4
        + "0000000000001000"
        + "00000100"
        + "00000000" * 4
    )


def test_block_limits_of_a_thin_unit() -> None:
    world = bench(emulate_tpu=1, unmap_granularity=8, unmap_granularity_alignment=4, emulate_caw=0)
    data = world.initiator().send("12 01 b0 00 ff 00").good()
    assert data[4:8].hex() == "00000001"
    assert data[20:36].hex() == "00002000" + "00000001" + "00000008" + "80000004"


def test_device_characteristics_and_provisioning_follow_the_attributes() -> None:
    thick = bench(is_nonrot=1).initiator()
    assert thick.send("12 01 b1 00 08 00").good().hex() == "00b1003c" + "00010000"
    assert thick.send("12 01 b2 00 ff 00").good().hex() == "00b20004" + "00000000"
    thin = bench(is_nonrot=0, emulate_tpu=1, emulate_tpws=1, unmap_zeroes_data=1).initiator()
    assert thin.send("12 01 b1 00 08 00").good().hex() == "00b1003c" + "00000000"
    assert thin.send("12 01 b2 00 ff 00").good().hex() == "00b20004" + "00e40200"


def test_extended_inquiry() -> None:
    """HEADSUP, ORDSUP, SIMPSUP; V_SUP with a volatile cache; LUICLR, in byte 7 of the page."""
    assert bench().initiator().send("12 01 86 00 0a 00").good().hex() == "0086003c" + "000701010000"
    through = bench(emulate_write_cache=0).initiator()
    assert through.send("12 01 86 00 0a 00").good().hex() == "0086003c" + "000700010000"


@pytest.mark.parametrize(("access_type", "bits"), [(0, 0x08), (1, 0x18), (2, 0x28), (3, 0x38)])
def test_tpgs_and_3pc_bits(access_type: int, bits: int) -> None:
    world = bench()
    assert world.lun.port_group is not None
    world.lun.port_group.access_type = access_type
    assert world.initiator().send("12 00 00 00 ff 00").good()[5] == bits
