from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isadmin.userspace.configfs.values import (
    U16,
    boolean,
    control_tokens,
    loose_integer,
    signed,
    stripped,
    unsigned,
)
from tests.userspace.configfs.building import fails


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("1\n", 1),
        ("+7", 7),
        ("010", 8),
        ("0x10", 16),
        ("0XfF", 255),
        ("00", 0),
        ("18446744073709551615", 2**64 - 1),
    ],
)
def test_numbers_are_read_in_base_0(text: str, number: int) -> None:
    assert unsigned(text) == number


@pytest.mark.parametrize(
    "text", ["", "\n", "x", "-1", " 1", "1 ", "08", "0x", "0xg", "1\n\n", "1.0", "++1", "٣", "1_0"]
)
def test_what_is_no_number_is_einval(text: str) -> None:
    with fails(errno.EINVAL):
        unsigned(text)


@pytest.mark.parametrize(("text", "maximum"), [("65536", U16), ("18446744073709551616", 2**64 - 1)])
def test_a_number_too_large_is_erange(text: str, maximum: int) -> None:
    with fails(errno.ERANGE):
        unsigned(text, maximum)


def test_base_10_knows_no_prefix() -> None:
    assert unsigned("010", base=10) == 10
    with fails(errno.EINVAL):
        unsigned("0x10", base=10)


@pytest.mark.parametrize(
    ("text", "number"), [("-1", -1), ("-0x10", -16), ("2147483647", 2**31 - 1), ("-2147483648", -(2**31))]
)
def test_signed_numbers(text: str, number: int) -> None:
    assert signed(text) == number


@pytest.mark.parametrize("text", ["2147483648", "-2147483649"])
def test_signed_numbers_have_an_end(text: str) -> None:
    with fails(errno.ERANGE):
        signed(text)


@pytest.mark.parametrize("text", ["--1", "-+1", "-", ""])
def test_signed_needs_digits(text: str) -> None:
    with fails(errno.EINVAL):
        signed(text)


@pytest.mark.parametrize("text", ["1", "y", "Yes", "true", "T", "on", "oN", "10"])
def test_truth(text: str) -> None:
    assert boolean(text) == 1


@pytest.mark.parametrize("text", ["0", "n", "No", "false", "off", "Of", "00"])
def test_falsehood(text: str) -> None:
    assert boolean(text) == 0


@pytest.mark.parametrize("text", ["", "2", "-1", " 1", "o", "ox", "\n"])
def test_neither(text: str) -> None:
    with fails(errno.EINVAL):
        boolean(text)


def test_control_tokens() -> None:
    assert list(control_tokens("a=1,,b\nc=x=y,d=\n")) == [("a", "1"), ("b", ""), ("c", "x=y"), ("d", "")]


def test_loose_integers() -> None:
    assert [loose_integer(text) for text in ("5", "-5", "0x10", "x", "5x", "", "+5")] == [
        5,
        -5,
        16,
        None,
        None,
        None,
        None,
    ]


def test_stripped_takes_c_white_space_only() -> None:
    assert stripped(" \t\v a b \r\n") == "a b"
    assert stripped("\u00a0a\u2003") == "\u00a0a\u2003"


@given(st.integers(0, 2**64 - 1))
def test_every_number_in_every_base(number: int) -> None:
    assert unsigned(str(number)) == unsigned(hex(number)) == unsigned(f"0{number:o}") == number


@given(st.text(max_size=8))
def test_any_text_is_a_number_or_an_errno(text: str) -> None:
    for parse in (unsigned, signed, boolean):
        try:
            assert isinstance(parse(text), int)
        except OSError as error:
            assert error.errno in (errno.EINVAL, errno.ERANGE)  # noqa: PT017 - either outcome is right
