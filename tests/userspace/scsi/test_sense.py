"""Sense data against literal bytes of SPC-4's tables."""

from __future__ import annotations

from isadmin.userspace.scsi.sense import (
    Asc,
    CheckCondition,
    SenseKey,
    build,
    field_pointer,
    invalid_field_in_cdb,
    invalid_parameter,
)


def test_fixed_format_is_18_bytes() -> None:
    assert build(SenseKey.ILLEGAL_REQUEST, Asc.LBA_OUT_OF_RANGE).hex() == (
        "7000050000 00000a 00000000 2100 00 000000".replace(" ", "")
    )


def test_fixed_format_with_information() -> None:
    sense = build(SenseKey.MISCOMPARE, Asc.MISCOMPARE_DURING_VERIFY, information=0x01020304)
    assert sense.hex() == "f0000e010203040a000000001d0000000000"


def test_fixed_format_leaves_out_information_that_does_not_fit() -> None:
    sense = build(SenseKey.MEDIUM_ERROR, Asc.WRITE_ERROR, information=1 << 32)
    assert sense.hex() == "700003000000000a000000000c0000000000"


def test_descriptor_format_without_descriptors() -> None:
    assert build(SenseKey.UNIT_ATTENTION, Asc.POWER_ON_RESET, descriptor=True).hex() == "7206290000000000"


def test_descriptor_format_with_information_and_field_pointer() -> None:
    sense = build(
        SenseKey.ILLEGAL_REQUEST,
        Asc.INVALID_FIELD_IN_CDB,
        descriptor=True,
        information=0x1122334455667788,
        specific=field_pointer(2, 5),
    )
    assert sense.hex() == "7205240000000014" + "000a80001122334455667788" + "02060000cd000200"


def test_field_pointers() -> None:
    assert field_pointer(1, 3).hex() == "cb0001"
    assert field_pointer(0x102).hex() == "c00102"
    assert field_pointer(8, in_cdb=False).hex() == "800008"


def test_refusals_point_at_the_field() -> None:
    assert (
        invalid_field_in_cdb(1, 4).sense(descriptor=False).hex()
        == "700005000000000a0000000024" + "0000cc0001"
    )
    assert invalid_parameter(8).sense(descriptor=False).hex() == "700005000000000a0000000026" + "0000800008"


def test_a_condition_shows_itself_in_both_formats() -> None:
    condition = CheckCondition(SenseKey.DATA_PROTECT, Asc.SPACE_ALLOCATION_FAILED, information=7)
    assert condition.sense(descriptor=False).hex() == "f00007000000070a00000000270700000000"
    assert condition.sense(descriptor=True).hex() == "720727070000000c000a80000000000000000007"
