"""Where the fields of PDUs lie in their 48-byte basic header segments (RFC 7143 section 11), as annotations;
and what encodes and decodes, made from them: no PDU has code of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter, itemgetter
from struct import Struct, calcsize
from typing import Annotated, Any, NamedTuple, get_type_hints

BHS_LENGTH = 48


class Word(NamedTuple):
    """Where a field of whole bytes begins in the header, and its struct code (big-endian)."""

    at: int
    code: str


class Bits(NamedTuple):
    """The bits that a field has in byte 1."""

    mask: int


Flags = Annotated[int, Bits(0xFF)]
Final = Annotated[bool, Bits(0x80)]
"""F, or T (transit) in a login."""
Continued = Annotated[bool, Bits(0x40)]
CurrentStage = Annotated[int, Bits(0x0C)]
NextStage = Annotated[int, Bits(0x03)]
Code = Annotated[int, Bits(0x7F)]
"""A request's function or reason."""
SnackType = Annotated[int, Bits(0x0F)]
Byte2 = Annotated[int, Word(2, "B")]
Byte3 = Annotated[int, Word(3, "B")]
Lun = Annotated[int, Word(8, "Q")]
Isid = Annotated[bytes, Word(8, "6s")]
Tsih = Annotated[int, Word(14, "H")]
TaskTag = Annotated[int, Word(16, "I")]
Cid = Annotated[int, Word(20, "H")]
Word20 = Annotated[int, Word(20, "I")]
Word24 = Annotated[int, Word(24, "I")]
Word28 = Annotated[int, Word(28, "I")]
Word32 = Annotated[int, Word(32, "I")]
Word36 = Annotated[int, Word(36, "I")]
Word40 = Annotated[int, Word(40, "I")]
Word44 = Annotated[int, Word(44, "I")]
Cdb = Annotated[bytes, Word(32, "16s")]
Byte36 = Annotated[int, Word(36, "B")]
Byte37 = Annotated[int, Word(37, "B")]
Half36 = Annotated[int, Word(36, "H")]
Half38 = Annotated[int, Word(38, "H")]
Half40 = Annotated[int, Word(40, "H")]
Half42 = Annotated[int, Word(42, "H")]


class Layout:
    """How one class of PDUs lies in its header, worked out of its annotations once.

    Bit 0x80 of byte 1 is set where no field has it: it is F in all PDUs, and reserved ones set it too.
    """

    __slots__ = ("bits", "closed", "opened", "order", "struct", "words")

    def __init__(self, cls: type[Any]) -> None:
        places = {
            name: hint.__metadata__[0]
            for name, hint in get_type_hints(cls, include_extras=True).items()
            if hasattr(hint, "__metadata__")
        }
        masks = {name: place.mask for name, place in places.items() if isinstance(place, Bits)}
        words = {name: place for name, place in places.items() if isinstance(place, Word)}
        words["data_length"] = Word(4, "I")
        in_order = sorted(words, key=lambda name: words[name].at)
        used = sum(masks.values())
        constant = ~used & 0x80
        self.opened = [tuple(_taken(byte, mask) for mask in masks.values()) for byte in range(256)]
        """The fields of byte 1 for each value that it may have."""
        self.bits: Callable[[Any], object] = attrgetter(*masks) if masks else _no_bits
        """The fields of byte 1 of a PDU: a key of `closed`."""
        self.closed: dict[object, int] = {
            values[0] if len(values) == 1 else values: byte | constant
            for byte, values in enumerate(self.opened)
            if not byte & ~used
        }
        """Byte 1 for the values of its fields."""
        self.struct = Struct(_format([words[name] for name in in_order]))
        """Byte 0, byte 1, and the words."""
        self.words: Callable[[Any], tuple[Any, ...]] = attrgetter(*in_order)
        names = [*masks, "", "", *in_order]
        self.order: Callable[[tuple[Any, ...]], tuple[Any, ...]] = itemgetter(
            *(names.index(each.name) for each in fields(cls) if each.name in places)
        )
        """Out of opened + unpacked, the class's arguments."""


def _taken(byte: int, mask: int) -> bool | int:
    value = (byte & mask) // (mask & -mask)
    return bool(value) if mask in (0x80, 0x40) else value


def _no_bits(_: object) -> tuple[()]:
    return ()


def _format(words: list[Word]) -> str:
    codes, position = [">BB"], 2
    for word in words:
        codes.append(f"{word.at - position}x{word.code}")
        position = word.at + calcsize(f">{word.code}")
    codes.append(f"{BHS_LENGTH - position}x")
    return "".join(codes)
