"""PDUs against literal bytes; a stream split into them whole, byte by byte and with more behind."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isadmin.userspace.iscsi import pdu as pdus
from isadmin.userspace.iscsi.codes import RejectReason
from isadmin.userspace.iscsi.errors import DigestError, ProtocolError
from isadmin.userspace.iscsi.pdu import Pdu, decode, frame

LUN_1 = "0001000000000000"
NO_LUN = "0000000000000000"
TAG = "00000011"
NO_TAG = "ffffffff"

VECTORS: dict[str, tuple[Pdu, str]] = {
    "NOP-Out": (
        pdus.NopOut(1 << 48, 0x11, 0xFFFFFFFF, 5, 6, data=b"ping", immediate=True),
        f"40800000 00000004 {LUN_1} {TAG} {NO_TAG} 00000005 00000006 {'00' * 16} 70696e67",
    ),
    "SCSI Command": (
        pdus.ScsiCommand(
            0xC1, 1 << 48, 0x11, 4096, 5, 6, bytes.fromhex("28000000000a000008000000" + "00" * 4)
        ),
        f"01c10000 00000000 {LUN_1} {TAG} 00001000 00000005 00000006 28000000000a0000 0800000000000000",
    ),
    "SCSI Command with immediate data": (
        pdus.ScsiCommand(0xA1, 0, 0x11, 5, 5, 6, bytes(16), data=b"hello"),
        f"01a10000 00000005 {NO_LUN} {TAG} 00000005 00000005 00000006 {'00' * 16} 68656c6c6f000000",
    ),
    "Task Management Request": (
        pdus.TaskManagementRequest(1, 1 << 48, 0x12, 0x11, 5, 6, 4, 0, immediate=True),
        f"42810000 00000000 {LUN_1} 00000012 {TAG} 00000005 00000006 00000004 00000000 {'00' * 8}",
    ),
    "Login Request": (
        pdus.LoginRequest(
            True, False, 0, 1, bytes.fromhex("00023d000001"), 0, 0x11, 2, 5, 6, data=b"A=b\0", immediate=True
        ),
        f"43810000 00000004 00023d000001 0000 {TAG} 0002 0000 00000005 00000006 {'00' * 16} 413d6200",
    ),
    "Text Request": (
        pdus.TextRequest(True, False, 0, 0x11, 0xFFFFFFFF, 5, 6, data=b"SendTargets=All\0"),
        f"04800000 00000010 {NO_LUN} {TAG} {NO_TAG} 00000005 00000006 {'00' * 16}"
        " 53656e64546172676574733d416c6c00",
    ),
    "Data-Out": (
        pdus.DataOut(True, 1 << 48, 0x11, 0x22, 6, 3, 1024, data=b"\xaa\xbb\xcc\xdd"),
        f"05800000 00000004 {LUN_1} {TAG} 00000022 00000000 00000006 00000000 00000003"
        " 00000400 00000000 aabbccdd",
    ),
    "Logout Request": (
        pdus.LogoutRequest(1, 0x11, 2, 5, 6, immediate=True),
        f"46810000 00000000 {NO_LUN} {TAG} 0002 0000 00000005 00000006 {'00' * 16}",
    ),
    "SNACK Request": (
        pdus.SnackRequest(1, 1 << 48, 0x11, 0x22, 6, 7, 8),
        f"10810000 00000000 {LUN_1} {TAG} 00000022 00000000 00000006 {'00' * 8} 00000007 00000008",
    ),
    "NOP-In": (
        pdus.NopIn(0, 0xFFFFFFFF, 0x22, 5, 6, 7),
        f"20800000 00000000 {NO_LUN} {NO_TAG} 00000022 00000005 00000006 00000007 {'00' * 12}",
    ),
    "SCSI Response": (
        pdus.ScsiResponse(0x11, 2, 5, 6, 7, 0x82, 0, 0, 512, data=bytes.fromhex("0004f0000500")),
        f"21820002 00000006 {NO_LUN} {TAG} 00000000 00000005 00000006 00000007 00000000 00000000 00000200"
        " 0004f00005000000",
    ),
    "Task Management Response": (
        pdus.TaskManagementResponse(0x12, 1, 5, 6, 7),
        f"22800100 00000000 {NO_LUN} 00000012 00000000 00000005 00000006 00000007 {'00' * 12}",
    ),
    "Login Response": (
        pdus.LoginResponse(True, False, 1, 3, bytes.fromhex("00023d000001"), 9, 0x11, 5, 6, 7, 0x0201),
        f"23870000 00000000 00023d000001 0009 {TAG} 00000000 00000005 00000006 00000007 0201 {'00' * 10}",
    ),
    "Text Response": (
        pdus.TextResponse(False, True, 0, 0x11, 0x22, 5, 6, 7, data=b"a=b\0"),
        f"24400000 00000004 {NO_LUN} {TAG} 00000022 00000005 00000006 00000007 {'00' * 12} 613d6200",
    ),
    "Data-In": (
        pdus.DataIn(0x83, 0, 0, 0x11, 0xFFFFFFFF, 5, 6, 7, 1, 1024, 512, data=b"\x01\x02\x03\x04"),
        f"25830000 00000004 {NO_LUN} {TAG} {NO_TAG} 00000005 00000006 00000007 00000001"
        " 00000400 00000200 01020304",
    ),
    "Logout Response": (
        pdus.LogoutResponse(0x11, 1, 5, 6, 7, 2, 20),
        f"26800100 00000000 {NO_LUN} {TAG} 00000000 00000005 00000006 00000007 00000000 0002 0014 00000000",
    ),
    "R2T": (
        pdus.R2T(1 << 48, 0x11, 0x22, 5, 6, 7, 1, 8192, 65536),
        f"31800000 00000000 {LUN_1} {TAG} 00000022 00000005 00000006 00000007 00000001 00002000 00010000",
    ),
    "Asynchronous Message": (
        pdus.AsyncMessage(1, 5, 6, 7, 0, 0, 3),
        f"32800000 00000000 {NO_LUN} {NO_TAG} 00000000 00000005 00000006 00000007"
        " 0100 0000 0000 0003 00000000",
    ),
    "Reject": (
        pdus.Reject(4, 5, 6, 7, data=bytes(48)),
        f"3f800400 00000030 {NO_LUN} {NO_TAG} 00000000 00000005 00000006 00000007 00000000"
        f" {'00' * 8} {'00' * 48}",
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_encoded_as_the_standard_has_it(name: str) -> None:
    pdu, text = VECTORS[name]
    assert pdu.encode().hex() == text.replace(" ", "")


def split(data: bytes, end: int, **options: bool) -> tuple[Pdu, int] | None:
    found = frame(data, 0, end, max_data=65536, **options)
    if found is None:
        return None
    return decode(data[:48], data[found.data : found.data_end]), found.end


@pytest.mark.parametrize("name", VECTORS)
def test_decoded_whole(name: str) -> None:
    pdu, text = VECTORS[name]
    data = bytes.fromhex(text)
    assert split(data, len(data)) == (pdu, len(data))


@pytest.mark.parametrize("name", VECTORS)
def test_decoded_byte_by_byte(name: str) -> None:
    pdu, text = VECTORS[name]
    data = bytes.fromhex(text)
    for end in range(len(data)):
        assert split(data, end) is None
    assert split(data, len(data)) == (pdu, len(data))


@pytest.mark.parametrize("name", VECTORS)
def test_decoded_with_bytes_after_it(name: str) -> None:
    pdu, text = VECTORS[name]
    data = bytes.fromhex(text)
    assert split(data + b"\xff" * 7, len(data) + 7) == (pdu, len(data))


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize(("header", "data"), [(True, False), (False, True), (True, True)])
def test_round_trip_with_digests(name: str, header: bool, data: bool) -> None:
    pdu, _ = VECTORS[name]
    wire = pdu.encode(header_digest=header, data_digest=data)
    assert split(wire, len(wire), header_digest=header, data_digest=data) == (pdu, len(wire))
    for end in range(0, len(wire), 7):
        assert end == len(wire) or split(wire, end, header_digest=header, data_digest=data) is None


@pytest.mark.parametrize("name", VECTORS)
def test_a_flipped_bit_is_noticed_by_the_digests(name: str) -> None:
    wire = VECTORS[name][0].encode(header_digest=True, data_digest=True)
    for position in (1, 20, 47, len(wire) - 5):
        broken = bytearray(wire)
        broken[position] ^= 0x10
        with pytest.raises(DigestError):
            split(bytes(broken), len(broken), header_digest=True, data_digest=True)


@settings(deadline=None)
@given(st.sampled_from(sorted(VECTORS)), st.data())
def test_every_field_has_a_place_of_its_own(name: str, draw: st.DataObject) -> None:
    """Any values come back; a header that differs in one field only decodes to that difference."""
    pdu = VECTORS[name][0]
    names = [each.name for each in fields(pdu) if each.name not in ("data", "immediate")]
    changed = draw.draw(st.sampled_from(names))
    value = getattr(pdu, changed)
    other = bytes(byte ^ 0xFF for byte in value) if isinstance(value, bytes) else value ^ 1
    altered = replace(pdu, **{changed: type(value)(other)})
    found = decode(altered.header(), altered.data)
    assert found == altered
    assert [each for each in names if getattr(found, each) != getattr(pdu, each)] == [changed]


def test_additional_header_segments_are_skipped() -> None:
    header = bytearray(pdus.ScsiCommand(0xA1, 0, 1, 4, 1, 1, bytes(16), data=b"data").header())
    header[4] = 2
    wire = bytes(header) + b"\x00\x05\x01\x00abcd" + b"data"
    found = frame(wire, 0, len(wire), max_data=8192)
    assert found is not None
    assert (found.ahs, wire[found.data : found.data_end], found.end) == (8, b"data", len(wire))


def test_too_long_a_segment_is_refused_as_soon_as_the_header_is_there() -> None:
    header = pdus.NopOut(0, 1, 2, 3, 4, data=bytes(8193)).header()
    with pytest.raises(ProtocolError):
        frame(header, 0, 48, max_data=8192)


@pytest.mark.parametrize("opcode", [0x07, 0x1C, 0x3E, 0x81])
def test_unknown_opcodes(opcode: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(bytes([opcode]) + bytes(47))
    assert caught.value.reason is RejectReason.COMMAND_NOT_SUPPORTED


@settings(deadline=None)
@given(st.binary(min_size=48, max_size=400), st.booleans(), st.booleans())
def test_any_bytes_are_a_pdu_or_a_protocol_error(data: bytes, header: bool, segment: bool) -> None:
    try:
        found = frame(data, 0, len(data), max_data=256, header_digest=header, data_digest=segment)
        if found is not None:
            assert 48 <= found.data <= found.data_end <= found.end <= len(data)
            decode(data[:48], data[found.data : found.data_end]).encode()
    except ProtocolError:
        pass
