"""What the userspace target tells of directories in one request (its configfs/fuse.py).

To list a directory takes four requests, to read a file in it three, and each is a switch to another process
and back. The kernel's configfs tells nothing so, and answers all of them in no time.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

CONTENT = b"user.isadmin.content"
"""The extended attribute that tells a directory, in JSON; with .FIRST-END behind it, what is below some of
its entries."""
AT_ONCE = 8
"""Directories that are told at once with all that is below them."""
DIRECTORIES_KEPT = 1024
_SOME, _MOST = 4096, 65536
"""Bytes that most directories take, and that any can (XATTR_SIZE_MAX of linux/limits.h)."""


@dataclass(slots=True)
class Directory:
    """All that is in a directory. `texts` has the files that have a content, `links` targets as they stand
    there."""

    order: dict[str, int]
    """Its entries, and their numbers in the order in which they are listed."""
    texts: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)
    whole: bool = True
    """Every file that may be read has a content."""
    is_deep: bool = False
    """It was told with what is below it, as far as that is told so."""


def directory(path: str) -> Directory | None:
    """None where nothing is told so."""
    told = _content(path, CONTENT, _SOME) or _content(path, CONTENT, _MOST)
    if told is not None:
        return _directory(json.loads(told))
    return _listed(path) if ctypes.get_errno() in (errno.E2BIG, errno.ERANGE) else None


def _listed(path: str) -> Directory:
    """A directory that has more in it than can be told: its files are left to be read. Raises OSError."""
    found = Directory({}, whole=False)
    with os.scandir(path) as entries:
        for number, entry in enumerate(entries):
            found.order[entry.name] = number
            if entry.is_symlink():
                found.links[entry.name] = os.readlink(entry.path)
            elif entry.is_dir():
                found.directories.append(entry.name)
    return found


def _directory(entries: dict[str, Any], *, is_deep: bool = False) -> Directory:
    found = Directory(dict(zip(entries, range(len(entries)), strict=True)), is_deep=is_deep)
    for name, entry in entries.items():
        if isinstance(entry, str):
            found.texts[name] = entry.strip()
        elif isinstance(entry, list):
            found.links[name] = entry[0]
        elif isinstance(entry, dict):
            found.directories.append(name)
        elif entry is not None:
            found.whole = False
    return found


class Look:
    """What directories are when they are first asked for, with their neighbours, which are asked for next.
    As many are kept as these need, and all that have many."""

    __slots__ = ("_asked", "_crowded", "_known", "_vain")

    def __init__(self) -> None:
        self._known: OrderedDict[str, Directory | None] = OrderedDict()
        self._crowded: dict[str, Directory] = {}
        """Those with more directories than are told at once."""
        self._asked: set[str] = set()
        """Directories that are not known, but one in them was asked for."""
        self._vain: set[tuple[str, int]] = set()
        """Neighbours that are not told at once."""

    def at(self, path: str) -> Directory | None:
        """A directory as it was told, empty if there is none; None where nothing is told."""
        if path in self._crowded:
            return self._crowded[path]
        known = self._known
        if path not in known:
            parent = self._above(path)
            if parent is not None and path.rpartition("/")[2] not in parent.order:
                return Directory({})
            if parent is not None and not parent.is_deep:
                self._ask_around(path, parent)
        if path not in known:
            self._keep(path, directory(path))
        if path in self._crowded:
            return self._crowded[path]
        known.move_to_end(path)
        while len(known) > DIRECTORIES_KEPT:
            known.popitem(last=False)
        return known[path]

    def _above(self, path: str) -> Directory | None:
        """The directory that one is in, if that is known, or seems to be worth while to ask for."""
        above = path.rpartition("/")[0]
        if above in self._crowded or above in self._known:
            return self.at(above)
        if above.rpartition("/")[0] in self._crowded or above in self._asked:
            return self.at(above)
        self._asked.add(above)
        return None

    def _ask_around(self, path: str, parent: Directory) -> None:
        above, _, name = path.rpartition("/")
        first = parent.order[name] // AT_ONCE * AT_ONCE
        if (above, first) in self._vain:
            return
        told = _content(above, CONTENT + b".%d-%d" % (first, first + AT_ONCE), _MOST)
        if told is not None:
            self._keep_below(above, json.loads(told))
        if path not in self._known:
            self._vain.add((above, first))

    def _keep(self, path: str, found: Directory | None) -> None:
        if found is not None and len(found.directories) > AT_ONCE:
            self._crowded[path] = found
        else:
            self._known[path] = found

    def _keep_below(self, path: str, entries: dict[str, Any]) -> None:
        """What is below these entries of a directory. One that is told empty may have more in it."""
        for name, entry in entries.items():
            if entry and isinstance(entry, dict):
                below = f"{path}/{name}"
                self._keep(below, _directory(entry, is_deep=True))
                self._keep_below(below, entry)


_libc = ctypes.CDLL(None, use_errno=True)
_libc.getxattr.restype = ctypes.c_ssize_t


def _content(path: str, name: bytes, room: int) -> bytes | None:
    """os.getxattr asks twice for what is longer than 128 bytes."""
    buffer = ctypes.create_string_buffer(room)
    length = _libc.getxattr(os.fsencode(path), name, buffer, ctypes.c_size_t(room))
    return None if length < 0 else ctypes.string_at(buffer, length)
