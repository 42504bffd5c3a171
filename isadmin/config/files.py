"""Files written whole or not at all, and private from their first byte."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_new(path: str, content: bytes) -> None:
    """A file that is not there yet: whole or not at all while the machine runs; after a power cut it may be
    torn. Raises OSError."""
    temporary = f"{path}.{os.urandom(8).hex()}"
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    try:
        try:
            _write_all(descriptor, content)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file's content: all of it is on the medium under its name, or the old one still is.

    A symbolic link stays one: the file it points at is replaced. A file that is replaced keeps its owner, if
    that is in this user's power. Raises OSError.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.urandom(8).hex()}")
    descriptor = os.open(temporary, _NEW, mode)
    try:
        try:
            _keep_owner(target, descriptor)
            _write_all(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(target.parent)


def sweep(directory: Path, name: str) -> None:
    """Remove what a killed write_atomically left of files whose names begin so. Only while nobody else may
    write them."""
    left = re.compile(rf"\.{re.escape(name)}.*\.[0-9a-f]{{16}}")
    with contextlib.suppress(OSError):
        for found in os.listdir(directory):
            if left.fullmatch(found):
                with contextlib.suppress(OSError):
                    (directory / found).unlink()


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _keep_owner(target: Path, descriptor: int) -> None:
    with contextlib.suppress(FileNotFoundError, PermissionError):
        old = target.stat()
        new = os.fstat(descriptor)
        if stat.S_ISREG(old.st_mode) and (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
            os.fchown(descriptor, old.st_uid, old.st_gid)


def make_directory(directory: Path) -> None:
    """Make a directory for this user alone, if it is not there; its name lasts. Raises OSError."""
    if not directory.is_dir():
        directory.mkdir(mode=0o700, exist_ok=True)
        sync_directory(directory.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory last. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
