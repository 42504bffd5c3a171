"""The configurations that were saved, one gzip file each in the directory backup/ beside the saved one.

Their names are those that targetcli gives its backups, so that both tools see and thin out one set. Who saved
a generation, when and by which command stands in the gzip file's comment (RFC 1952 section 2.3): it is
written with it or not at all. A number names a generation for good; files of other tools have none.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import os
import pwd
import struct
import time
import zlib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from isadmin.config.files import make_directory, sweep, write_atomically

DIRECTORY = "backup"
PATTERN = "saveconfig-*json*"
NAME = "saveconfig-%Y%m%d-%H:%M:%S-json.gz"
_HEADER = struct.Struct("<2sBBIBB")
_COMMENT = 0x10
"""The flag of a gzip header with a comment."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who saved it, when (ISO 8601, UTC), and by which command."""

    user: str = ""
    time: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Generation:
    """One saved configuration; `number` is None for one that another tool kept."""

    path: Path
    number: int | None
    origin: Origin


def origin_now(command: str) -> Origin:
    """This user, now."""
    return Origin(user_name(), datetime.now(UTC).isoformat(timespec="seconds"), command)


def user_name() -> str:
    """Who types: behind sudo, who typed sudo."""
    if os.environ.get("SUDO_USER"):
        return os.environ["SUDO_USER"]
    return _name_of(os.getuid())


@cache
def _name_of(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def every(*states: Path) -> list[Generation]:
    """All generations beside a saved configuration, the oldest first: in the order of their numbers, whatever
    the clock said; those of other tools among them by their time. It has two places if it is a symbolic
    link."""
    places = dict.fromkeys(os.path.realpath(state / DIRECTORY) for state in states)
    found = [_read_header(path) for place in places for path in Path(place).glob(PATTERN)]
    numbered = sorted((one for one in found if one.number is not None), key=lambda one: one.number or 0)
    latest = itertools.accumulate((one.origin.time for one in numbered), max)
    placed = [(when, 1, one.number or 0, "", one) for when, one in zip(latest, numbered, strict=True)]
    placed += [(one.origin.time, 0, 0, one.path.name, one) for one in found if one.number is None]
    return [one for *_, one in sorted(placed, key=lambda place: place[:-1])]


def find(number: int, *states: Path) -> Generation | None:
    """The generation of that number, the newest if there are several."""
    return next((one for one in reversed(every(*states)) if one.number == number), None)


def keep(
    state: Path,
    content: bytes,
    origin: Origin,
    most: int,
    *,
    spare: Generation | None = None,
    elsewhere: Path | None = None,
) -> Generation:
    """Add a generation, and delete the oldest ones beyond `most`, but for `spare`; the newest again if it has
    this content, also one that is kept `elsewhere`.

    Raises OSError.
    """
    directory = state / DIRECTORY
    make_directory(directory)
    sweep(directory, "saveconfig-")
    before = every(state)
    others = every(state, elsewhere) if elsewhere else before
    if others and others[-1].number is not None and content_of(others[-1].path) == content:
        return others[-1]
    number = 1 + max((one.number or 0 for one in others), default=0)
    path = directory / time.strftime(NAME)
    if path.exists():
        path = path.with_name(path.name.replace("-json", f".{number:06d}-json"))
    write_atomically(path, compressed(content, json.dumps({"number": number, **asdict(origin)})))
    for old in before[: max(0, len(before) + 1 - max(most, 1))]:
        if old != spare:
            with contextlib.suppress(OSError):
                old.path.unlink()
    return Generation(path, number, origin)


def content_of(path: Path) -> bytes | None:
    """What a backup holds, None if it is not whole."""
    try:
        kept = path.read_bytes()
        return gzip.decompress(kept) if path.suffix == ".gz" else kept
    except (OSError, EOFError, ValueError, zlib.error):
        return None


def compressed(content: bytes, comment: str) -> bytes:
    """A gzip file with a comment, which must hold no NUL."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body = packer.compress(content) + packer.flush()
    header = _HEADER.pack(b"\x1f\x8b", 8, _COMMENT, 0, 0, 255)
    return header + comment.encode() + b"\0" + body + struct.pack("<II", zlib.crc32(content), len(content))


def _comment(path: Path) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError:
        return ""
    if len(start) < _HEADER.size or start[:3] != b"\x1f\x8b\x08" or start[3] != _COMMENT:
        return ""
    return start[_HEADER.size :].partition(b"\0")[0].decode(errors="replace")


def _read_header(path: Path) -> Generation:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        facts = json.loads(_comment(path))
        number = int(facts.pop("number"))
        return Generation(path, number, Origin(**{key: str(value) for key, value in facts.items()}))
    user, when = "", ""
    with contextlib.suppress(OSError, KeyError):
        state = path.stat()
        when = datetime.fromtimestamp(state.st_mtime, UTC).isoformat(timespec="seconds")
        user = pwd.getpwuid(state.st_uid).pw_name
    return Generation(path, None, Origin(user, when))
