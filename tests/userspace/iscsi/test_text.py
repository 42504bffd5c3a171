"""Text segments, numbers, and SendTargets."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isadmin.userspace.iscsi.errors import ProtocolError
from isadmin.userspace.iscsi.text import TargetRecord, format_pairs, parse_number, parse_pairs, send_targets

KEYS = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=63)
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=100)


@settings(deadline=None)
@given(st.lists(st.tuples(KEYS, VALUES)))
def test_round_trip(pairs: list[tuple[str, str]]) -> None:
    assert parse_pairs(format_pairs(pairs)) == pairs


def test_a_value_may_hold_equals_signs_and_padding_may_follow() -> None:
    assert parse_pairs(b"A=b=c\0B=\0\0\0\0") == [("A", "b=c"), ("B", "")]


@pytest.mark.parametrize("data", [b"novalue\0", b"=x\0", b"k" * 64 + b"=v\0", b"k=\xff\0", b"\xc3=v\0"])
def test_what_is_not_key_value(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_pairs(data)


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("262144", 262144), ("0x1F", 31), ("0Xff", 255), ("18446744073709551615", 2**64 - 1)],
)
def test_numbers(text: str, number: int) -> None:
    assert parse_number(text) == number


@pytest.mark.parametrize(
    "text", ["", "-1", "0x", "0xg", "1 ", "+1", "1_0", "٣", "18446744073709551616", "0x1" + "0" * 16]
)
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_number(text)


def test_send_targets_names_each_target_before_its_addresses() -> None:
    records = [
        TargetRecord("iqn.a", [("127.0.0.1:3260", 1), ("[::1]:3260", 2)]),
        TargetRecord("iqn.hidden", []),
        TargetRecord("iqn.b", [("127.0.0.1:3260", 1)]),
    ]
    assert send_targets(records) == (
        b"TargetName=iqn.a\0TargetAddress=127.0.0.1:3260,1\0TargetAddress=[::1]:3260,2\0"
        b"TargetName=iqn.b\0TargetAddress=127.0.0.1:3260,1\0"
    )
