"""Mounting and unmounting: mount(2), umount2(2) and unshare(2) through libc; what is mounted."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
from pathlib import Path

MS_BIND = 1 << 12
MS_REC = 1 << 14
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def mount(source: str, target: str, kind: str = "none", flags: int = 0, data: str = "") -> None:
    """mount(2). OSError."""
    words = (
        os.fsencode(source),
        os.fsencode(target),
        kind.encode(),
        ctypes.c_ulong(flags),
        data.encode() or None,
    )
    _check(_libc.mount(*words), target)


def bind(source: str, target: str) -> None:
    """Show `source`, with all that is mounted below it, at `target` too."""
    mount(source, target, flags=MS_BIND | MS_REC)


def unshare(flags: int) -> None:
    """unshare(2). OSError."""
    _check(_libc.unshare(flags), "unshare")


def mounted_at(path: Path) -> bool:
    """Whether something is mounted exactly there. Looks at the kernel's list only: a dead mount cannot hang
    it."""
    wanted = os.fspath(path)
    with Path("/proc/self/mountinfo").open(encoding="utf-8", errors="surrogateescape") as lines:
        return any(_unescaped(line.split(" ", 5)[4]) == wanted for line in lines)


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def detach(path: Path) -> None:
    """Unmount everything at `path`, lazily, so that users inside do not prevent it. OSError."""
    while mounted_at(path):
        if os.geteuid() == 0:
            _check(_libc.umount2(os.fsencode(path), MNT_DETACH), str(path))
        else:
            subprocess.run(["fusermount3", "-u", "-z", "--", path], check=True, capture_output=True)
