"""Portal addresses as typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isadmin.errors import UsageError
from isadmin.shell.nodes import addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("::0", "::0"),
        ("[::1]", "::1"),
        ("2001:DB8::1", "2001:db8::1"),
    ],
)
def test_accepted_and_kept_as_spelled(text: str, address: str) -> None:
    assert addresses.parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "host", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4:3260", "01.2.3.4", ":::1", "[::1", "1.2.3.4/8"],
)
def test_malformed(text: str) -> None:
    with pytest.raises(UsageError, match="Malformed portal address"):
        addresses.parse_address(text)


@pytest.mark.parametrize("text", ["fe80::1", "fe80::1%eth0", "224.0.0.1", "ff02::1"])
def test_not_for_portals(text: str) -> None:
    with pytest.raises(UsageError):
        addresses.parse_address(text)


@pytest.mark.parametrize("text", ["", "0", "65536", "-1", "x", "3260 ", "٣"])
def test_bad_port(text: str) -> None:
    with pytest.raises(UsageError, match="Malformed port"):
        addresses.parse_port(text)


@pytest.mark.parametrize(
    ("text", "portal"),
    [
        ("0.0.0.0:3260", ("0.0.0.0", 3260)),
        ("[::0]:3260", ("::0", 3260)),
        ("::0:3260", ("::0", 3260)),
        ("192.0.2.1:1", ("192.0.2.1", 1)),
    ],
)
def test_portals(text: str, portal: tuple[str, int]) -> None:
    assert addresses.parse_portal(text) == portal


@pytest.mark.parametrize("text", ["", "0.0.0.0", "[::0]", "x:1", "1.2.3.4:"])
def test_bad_portals(text: str) -> None:
    with pytest.raises(UsageError):
        addresses.parse_portal(text)


@given(st.ip_addresses())
def test_spelling_in_configfs_is_the_same_address(address: object) -> None:
    text = str(address)
    assert addresses.same_address(text, addresses.bracketed(text))


def test_one_address_two_spellings() -> None:
    assert addresses.same_address("::", "[::0]")
    assert not addresses.same_address("0.0.0.0", "[::0]")
    assert addresses.is_wildcard("[::0]")
    assert addresses.is_wildcard("0.0.0.0")
    assert not addresses.is_wildcard("::1")


def test_on_this_host() -> None:
    assert addresses.is_on_this_host("127.0.0.1")
    assert not addresses.is_on_this_host("192.0.2.77")
    assert not addresses.is_on_this_host("2001:db8::77")
