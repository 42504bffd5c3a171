"""Text as the kernel reads it: numbers, truth values, control strings, buffers.

What configfs accepts is decided by a few C functions; here they are, with their errnos. Text is what a store
got, up to its first NUL.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import NoReturn

PAGE_SIZE = 4096
TEXT = ("utf-8", "surrogateescape")
"""How bytes are text here: what is no UTF-8 survives."""
U16 = 2**16 - 1
U32 = 2**32 - 1
U64 = 2**64 - 1
_DIGITS = {8: "01234567", 10: "0123456789", 16: "0123456789abcdefABCDEF"}


def fail(number: int, what: str = "") -> NoReturn:
    """Refuse an operation with an errno."""
    raise OSError(number, os.strerror(number), what or None)


def unsigned(text: str, maximum: int = U64, base: int = 0) -> int:
    """kstrtoull and its narrower sisters: an optional "+", digits in base 8, 10 or 16 by their prefix (or in
    `base`), at most one newline after them. EINVAL if it is none, ERANGE above `maximum`."""
    digits = text[1:] if text.startswith("+") else text
    if digits.endswith("\n"):
        digits = digits[:-1]
    if base == 0:
        base = 10
        if digits.startswith("0"):
            base = 16 if digits[1:2] in ("x", "X") and digits[2:3] in _DIGITS[16] and digits[2:3] else 8
    if base == 16 and digits[:2] in ("0x", "0X"):
        digits = digits[2:]
    if not digits or digits.strip(_DIGITS[base]):
        fail(errno.EINVAL)
    number = int(digits, base)
    if number > maximum:
        fail(errno.ERANGE)
    return number


def signed(text: str, bits: int = 32) -> int:
    """kstrtoint: as `unsigned`, with an optional "-"."""
    limit = 1 << (bits - 1)
    if text.startswith("-"):
        if text[1:2] == "+":
            fail(errno.EINVAL)
        return -unsigned(text[1:], limit)
    return unsigned(text, limit - 1)


def as_int(number: int) -> int:
    """What is left of a number in an int: some files take more, and keep that much."""
    return (number + (1 << 31) & U32) - (1 << 31)


def boolean(text: str) -> int:
    """kstrtobool: only the first one or two characters count. 1 or 0; EINVAL otherwise."""
    first, second = text[:1], text[1:2]
    if first and first in "yYtT1":
        return 1
    if first and first in "nNfF0":
        return 0
    if first and first in "oO":
        if second and second in "nN":
            return 1
        if second and second in "fF":
            return 0
    fail(errno.EINVAL)


def one_of(text: str, allowed: frozenset[int] | range, maximum: int = U64) -> int:
    """A number that must be in `allowed`: EINVAL."""
    number = unsigned(text, maximum)
    if number not in allowed:
        fail(errno.EINVAL)
    return number


def loose_integer(text: str) -> int | None:
    """match_token's %d: the whole of `text` as strtol reads it in base 0, or None when it does not match."""
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    try:
        return sign * unsigned(digits.removesuffix("\n")) if not digits.startswith("+") else None
    except OSError:
        return None


def control_tokens(text: str) -> Iterator[tuple[str, str]]:
    """The key=value pairs of a control string; what is none has an empty value."""
    for token in text.replace("\n", ",").split(","):
        if token:
            key, _, value = token.partition("=")
            yield key, value


def stripped(text: str) -> str:
    """strstrip: without white space at either end, as C's isspace sees it."""
    return text.strip(" \t\n\v\f\r")


def printable_ascii(text: str) -> bool:
    return all(" " <= character <= "~" for character in text)
