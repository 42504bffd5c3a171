"""Text segments: key=value pairs, each ended by a NUL (RFC 7143 section 6.1), and SendTargets answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from isadmin.userspace.iscsi.errors import ProtocolError

Pairs: TypeAlias = tuple[tuple[str, str], ...]
"""key=value pairs in their order."""

MAX_KEY = 63
"""Section 6.1: a key name has at most 63 characters."""
MAX_TEXT = 65536
"""The longest text a sequence of continued requests may add up to before we give up."""


def parse_pairs(data: bytes) -> list[tuple[str, str]]:
    """The pairs of a whole text in their order. ProtocolError when it is not key=value."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ProtocolError("a text segment that is not UTF-8") from None
    pairs = []
    for item in text.split("\0"):
        if not item:
            continue
        key, separator, value = item.partition("=")
        if not separator or not key or len(key) > MAX_KEY or not key.isascii():
            raise ProtocolError("a text segment that is not key=value")
        pairs.append((key, value))
    return pairs


def format_pairs(pairs: Iterable[tuple[str, str]]) -> bytes:
    """The wire form of pairs. Values that were configured as other bytes than UTF-8 go out as these bytes."""
    return "".join([f"{key}={value}\0" for key, value in pairs]).encode(errors="surrogateescape")


@dataclass(frozen=True, slots=True)
class TargetRecord:
    """One target as SendTargets tells it: its name and (address:port, target portal group tag)."""

    name: str
    addresses: Sequence[tuple[str, int]]


def send_targets(records: Iterable[TargetRecord]) -> bytes:
    """The answer to SendTargets (RFC 7143 appendix C): a target without an address is left out."""
    pairs: list[tuple[str, str]] = []
    for record in records:
        if not record.addresses:
            continue
        pairs.append(("TargetName", record.name))
        pairs.extend(("TargetAddress", f"{address},{tag}") for address, tag in record.addresses)
    return format_pairs(pairs)


def parse_number(text: str) -> int:
    """A decimal or 0x constant (RFC 7143 section 6.1). ValueError for anything else, also for 2**64 and
    more."""
    if text[:2] in ("0x", "0X"):
        digits = text[2:]
        if not digits or not all(c in "0123456789abcdefABCDEF" for c in digits):
            raise ValueError(text)
        number = int(digits, 16)
    else:
        if not text.isascii() or not text.isdigit() or len(text) > 20:
            raise ValueError(text)
        number = int(text)
    if number >> 64:
        raise ValueError(text)
    return number
