"""What changed in the running target, so that it can be taken back: one file a change, the newest last.

An entry has what is known of every object that was touched, before and after: the whole object, or the values
that were set. It holds CHAP secrets: its file is 0600, its directory 0700.

A change of many steps is noted as begun before the first of them, and as done after the last: of one that is
only begun, the process that carried it out was killed, and any part of it may have been done.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isadmin.config import document
from isadmin.config.files import write_new
from isadmin.config.generations import Origin
from isadmin.config.model import Key
from isadmin.config.parts import Known, Part

MOST = 50
"""How many changes can be taken back."""
DONE, BEGUN = ".json", ".begun"

Objects = Mapping[Key, Known]
"""What there is at each key, None for nothing."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One change of the target; `file` is where it is kept, `mark` what else tells of the same change."""

    origin: Origin
    before: Objects
    after: Objects
    file: Path | None = None
    mark: str = ""

    @property
    def begun(self) -> bool:
        """Was only part of it done, as far as is known?"""
        return self.file is not None and self.file.suffix == BEGUN


def push(
    directory: Path,
    origin: Origin,
    before: Objects,
    after: Objects,
    *,
    begun: bool = False,
    mark: str = "",
) -> Entry:
    """Note a change, not waiting for a medium; the oldest ones beyond MOST are forgotten. Raises OSError."""
    names = _names(directory)
    if not names:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = {
        "user": origin.user,
        "time": origin.time,
        "command": origin.command,
        "before": _rows(before),
        "after": _rows(after),
    }
    if mark:
        facts["mark"] = mark
    number = _number(names[-1]) + 1 if names else 1
    file = f"{directory}/{number:06d}{BEGUN if begun else DONE}"
    write_new(file, json.dumps(facts).encode())
    for old in names[: max(0, len(names) + 1 - MOST)]:
        with contextlib.suppress(OSError):
            os.unlink(f"{directory}/{old}")
    return Entry(origin, before, after, Path(file), mark)


def renamed(entry: Entry, end: str) -> Entry:
    """The entry, noted as DONE or BEGUN from now on. Raises OSError."""
    if entry.file is None or entry.file.suffix == end:
        return entry
    file = entry.file.with_suffix(end)
    os.rename(entry.file, file)
    return replace(entry, file=file)


def shrunk(entry: Entry, without: Collection[Key]) -> None:
    """Drop objects from an entry, and the entry with its last one. Raises OSError."""
    before, after = (
        {key: one for key, one in objects.items() if key not in without}
        for objects in (entry.before, entry.after)
    )
    if entry.file is None or len(before) == len(entry.before):
        return
    if not before:
        forget([entry])
        return
    facts = json.loads(entry.file.read_bytes()) | {"before": _rows(before), "after": _rows(after)}
    write_new(str(entry.file), json.dumps(facts).encode())


def newest(directory: Path, count: int) -> list[Entry]:
    """The last changes, the newest first; fewer if there are not so many, or one of them is not whole."""
    found = []
    for name in reversed(_names(directory)[-count:]):
        entry = read(directory / name)
        if entry is None:
            break
        found.append(entry)
    return found


def read(file: Path) -> Entry | None:
    """The entry in a file, None if there is none that is whole."""
    try:
        facts = json.loads(file.read_bytes())
        origin = Origin(facts["user"], facts["time"], facts["command"])
        before, after = _objects(facts["before"]), _objects(facts["after"])
        return Entry(origin, before, after, file, facts.get("mark", ""))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def forget(entries: list[Entry]) -> None:
    """Drop entries that were taken back. Raises OSError."""
    for entry in entries:
        if entry.file is not None:
            entry.file.unlink(missing_ok=True)


def _names(directory: Path) -> list[str]:
    """The entries' files, which are numbered, in order."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    kept = [name for name in names if name.endswith((DONE, BEGUN)) and name.partition(".")[0].isdecimal()]
    return sorted(kept, key=_number)


def _number(name: str) -> int:
    return int(name.partition(".")[0])


def _rows(objects: Objects) -> list[Any]:
    """[key, the object's document, or null for none] or [key, [[group, name, value], ...]]"""
    return [[list(key), _raw(one)] for key, one in objects.items()]


def _raw(one: Known) -> Any:
    if isinstance(one, Part):
        return [[*name, value] for name, value in one.values.items()]
    return None if one is None else document.raw_of(one)


def _objects(rows: list[Any]) -> dict[Key, Known]:
    return {tuple(key): _known(key[0], raw) for key, raw in rows}


def _known(kind: str, raw: Any) -> Known:
    if isinstance(raw, list):
        return Part({(group, name): value for group, name, value in raw})
    return None if raw is None else document.object_of(kind, raw)
