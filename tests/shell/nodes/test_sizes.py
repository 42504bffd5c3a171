"""The size grammar: what targetcli takes, and what it should have refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isadmin.errors import UsageError
from isadmin.shell.nodes.sizes import human_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512", 512),
        ("512b", 512),
        ("8M", 8 << 20),
        ("4096k", 4 << 20),
        ("10G", 10 << 30),
        ("1T", 1 << 40),
        ("8MB", 8 << 20),
        ("8mb", 8 << 20),
        ("8MiB", 8 << 20),
        ("1GiB", 1 << 30),
        ("1gib", 1 << 30),
        ("2kB", 2048),
    ],
)
def test_accepted(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "0", "0M", "8X", "-8M", "8.5G", "M", "8MM", "8 M x", "1e6", "8|", "99999999T", "٨M", "0x10"]
)
def test_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_size(text)
    assert "\n" not in error.value.line()
    assert error.value.remedy


@given(st.integers(min_value=1, max_value=2**63 - 1))
def test_bytes_come_back(size: int) -> None:
    assert parse_size(str(size)) == size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1000, "1000 bytes"),
        (4096, "4.0KiB"),
        (8 << 20, "8.0MiB"),
        (10 << 30, "10.0GiB"),
        (1536 << 30, "1.5TiB"),
        (3 << 60, "3072.0PiB"),
    ],
)
def test_human_size(size: int, text: str) -> None:
    assert human_size(size) == text
