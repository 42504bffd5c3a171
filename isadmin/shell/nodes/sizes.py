"""Sizes as people write and read them: 8M, 10G, 512k, 4096; [8.0MiB]."""

from __future__ import annotations

from isadmin.errors import UsageError
from isadmin.light import pattern

_SIZE = pattern(r"(?i)([0-9]+)\s*(?:([kmgt])i?)?b?")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
MAX_SIZE = 2**63 - 1
"""What a file offset can hold."""


def parse_size(text: str) -> int:
    """Bytes. Units are powers of 1024: k, M, G, T, with or without B or iB, in any case; none means bytes.

    Raises UsageError for anything else, and for 0.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"Cannot interpret size '{text}'", "a number with k, M, G or T: 512M, 10G, 4096")
    size: int = int(match.group(1)) << (10 * _POWERS[(match.group(2) or "").lower()])
    if size == 0:
        raise UsageError(f"Bad size '{text}'", "a disk has at least one block")
    if size > MAX_SIZE:
        raise UsageError(f"Bad size '{text}'", "that is more than a file can hold")
    return size


def human_size(size: int) -> str:
    """Bytes as `ls` shows them."""
    if size < 1024:
        return f"{size} bytes"
    units = ("KiB", "MiB", "GiB", "TiB", "PiB")
    power = min((size.bit_length() - 1) // 10, len(units))
    return f"{size / (1 << 10 * power):3.1f}{units[power - 1]}"
