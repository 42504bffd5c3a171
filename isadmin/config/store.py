"""Files that hold a configuration: written whole or not at all, read with care, kept in generations.

A saved configuration holds CHAP secrets: its file and its backups are 0600 from their first byte.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import stat
import time
from pathlib import Path
from typing import Any

from isadmin.config import document
from isadmin.errors import IsadminError, NoFileError, PermissionDeniedError, RefusedFileError

BACKUP_DIRECTORY = "backup"
BACKUP_PATTERN = "saveconfig-*json*"
BACKUP_NAME = "saveconfig-%Y%m%d-%H:%M:%S-json.gz"
"""As targetcli names them, so that both tools thin out one set of backups."""

Document = dict[str, Any]


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file's content: all of it is on the medium under its name, or the old one still is.

    A symbolic link stays one: the file it points at is replaced. Raises OSError.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.urandom(8).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_directory(target.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> Document:
    """A saved configuration, checked in shape.

    Raises NoFileError if it is absent, RefusedFileError if it is no acceptable configuration.
    """
    return document.parse(_content(path), str(path))


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise NoFileError(f"Restore file {path} not found") from error
    except PermissionError as error:
        raise PermissionDeniedError(f"Cannot read {path}: {error.strerror}") from error
    except OSError as error:
        raise RefusedFileError(f"Cannot read {path}: {error.strerror}") from error
    if path.suffix == ".gz":
        try:
            return gzip.decompress(content)
        except (OSError, EOFError, ValueError) as error:
            raise RefusedFileError(f"{path}: not a complete gzip file") from error
    return content


def save(path: Path, configuration: Document, *, force: bool = False, backups: int | None = None) -> None:
    """Write a configuration to a file.

    Given `backups`, an existing file that differs from its newest backup is kept as another one first,
    and no more than that many are kept. Unless `force`, an empty configuration does not replace one that
    is not empty.

    Raises RefusedFileError for that and for a path that is no regular file, IsadminError if writing fails.
    """
    path = Path(os.path.realpath(path))
    _refuse_odd_place(path)
    before = _existing(path)
    if not force and document.is_empty(configuration) and before is not None and _holds_something(before):
        raise RefusedFileError(
            f"The running configuration is empty and {path} is not: not saved", "use --force to replace it"
        )
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700)
        if backups is not None and before is not None:
            _keep_backup(path, before, backups)
        write_atomically(path, document.render(configuration).encode())
    except PermissionError as error:
        raise PermissionDeniedError(f"Cannot write {path}: {error.strerror}") from error
    except OSError as error:
        raise IsadminError(f"Cannot write {path}: {error.strerror}") from error


def _refuse_odd_place(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        raise RefusedFileError(f"{path} is not a regular file: not saved")


def _existing(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _holds_something(content: bytes) -> bool:
    """Would replacing this content lose a configuration? Unreadable content is nobody's configuration."""
    try:
        saved = json.loads(content)
    except ValueError:
        return False
    return isinstance(saved, dict) and not document.is_empty(saved)


def _keep_backup(path: Path, content: bytes, most: int) -> None:
    directory = path.parent / BACKUP_DIRECTORY
    directory.mkdir(mode=0o700, exist_ok=True)
    kept = sorted(directory.glob(BACKUP_PATTERN))
    if kept and _same(kept[-1], content):
        return
    name = time.strftime(BACKUP_NAME)
    write_atomically(directory / name, gzip.compress(content, mtime=0))
    for old in kept[: max(0, len(kept) - max(most, 1) + 1)]:
        with contextlib.suppress(OSError):
            old.unlink()


def _same(backup: Path, content: bytes) -> bool:
    try:
        kept = backup.read_bytes()
        return (gzip.decompress(kept) if backup.suffix == ".gz" else kept) == content
    except (OSError, EOFError, ValueError):
        return False
