"""Files that hold a configuration: written whole or not at all, read with care, kept in generations.

A saved configuration holds CHAP secrets: its file and its backups are 0600 from their first byte.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import pwd
import stat
import time
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from isadmin.config import document, shape
from isadmin.config import generations as history
from isadmin.config.files import make_directory, sweep, write_atomically
from isadmin.errors import IsadminError, NoFileError, PermissionDeniedError, RefusedFileError

Document = dict[str, Any]
GZIP = b"\x1f\x8b"
"""How gzip files begin (RFC 1952 section 2.3.1)."""


def read(path: Path, judge: document.Judge | None = None) -> Document:
    """A saved configuration, checked in shape, and by a judge of its values.

    Raises NoFileError if it is absent, RefusedFileError if it is no acceptable configuration.
    """
    named = path.with_suffix("") if path.suffix == ".gz" else path
    yaml = named.suffix in (".yaml", ".yml")
    return document.parse(_content(path), str(path), yaml=yaml, judge=judge)


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise NoFileError(f"Restore file {path} not found") from error
    except PermissionError as error:
        raise PermissionDeniedError(f"Cannot read {path}: {error.strerror}") from error
    except OSError as error:
        raise RefusedFileError(f"Cannot read {path}: {error.strerror}") from error
    try:
        return _unpacked(content)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise RefusedFileError(f"{path}: not a complete gzip file") from error


def _unpacked(content: bytes) -> bytes:
    """What a file holds, whatever its name says of gzip. Raises OSError, EOFError, ValueError, zlib.error."""
    return gzip.decompress(content) if content.startswith(GZIP) else content


def save(
    path: Path,
    configuration: Document,
    *,
    force: bool = False,
    generations: int | None = None,
    command: str = "",
) -> bool:
    """Write a configuration to a file; False if the file says exactly that already.

    Given `generations`, what is saved is kept as a generation, of this user and `command`, and no more than
    that many of them; so is what the file held before, if no generation does. Unless `force`, an empty
    configuration does not replace one that is not empty, and nothing replaces what cannot be read, or is no
    JSON: somebody may be about to mend it. With `force`, its bytes are kept beside it.

    With `generations`, nobody else may be saving there: what killed ones left half written is removed.

    Raises RefusedFileError for that and for a path that is no regular file, IsadminError if writing fails.
    """
    link, path = path.parent, Path(os.path.realpath(path))
    _refuse_odd_place(path)
    before, trouble = _existing(path)
    if trouble and not force:
        raise RefusedFileError(
            f"{path} {trouble}: not saved", "mend it, or use --force to replace it and keep a copy"
        )
    if not force and document.is_empty(configuration) and before is not None and _holds_something(before):
        raise RefusedFileError(
            f"The running configuration is empty and {path} is not: not saved", "use --force to replace it"
        )
    content = document.render(_with_unknown(configuration, before)).encode()
    try:
        make_directory(path.parent)
        kept = None
        if trouble:
            _keep_raw(path, before)
        elif generations is not None and before is not None:
            kept = _keep_before(path, before, generations, link)
        if before != content:
            # The same bytes whenever it is saved.
            packed = gzip.compress(content, mtime=0) if path.suffix == ".gz" else content
            write_atomically(path, packed)
        elif path.stat().st_mode & 0o077:
            path.chmod(0o600)
        if generations is not None:
            sweep(path.parent, path.name)
            origin = history.origin_now(command)
            history.keep(path.parent, content, origin, generations, spare=kept, elsewhere=link)
    except PermissionError as error:
        raise PermissionDeniedError(f"Cannot write {path}: {error.strerror}") from error
    except OSError as error:
        raise IsadminError(f"Cannot write {path}: {error.strerror}") from error
    return before != content


def _with_unknown(configuration: Document, before: bytes | None) -> Document:
    """With what other tools and kernels wrote into the file that is replaced, and this one cannot see in the
    target."""
    try:
        old = json.loads(before or b"")
    except (ValueError, RecursionError):
        return configuration
    if shape.problem_of(old):
        return configuration
    return document.carrying(configuration, old)


def _keep_raw(path: Path, before: bytes | None) -> None:
    """What is no configuration, and may become one again by hand, stays beside what replaces it."""
    copy = path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H:%M:%S')}.{os.urandom(4).hex()}")
    if before is None:
        # Its bytes cannot be read: they stay where they are, under another name.
        os.link(path, copy)
    else:
        write_atomically(copy, before)


def _keep_before(path: Path, before: bytes, most: int, link: Path) -> history.Generation | None:
    """What somebody else saved becomes a generation, too."""
    newest = history.every(path.parent, link)[-1:]
    if newest and history.content_of(newest[0].path) == before:
        return None
    if not _holds_something(before):
        return None
    state = path.stat()
    when = datetime.fromtimestamp(state.st_mtime, UTC).isoformat(timespec="seconds")
    user = ""
    with contextlib.suppress(KeyError):
        user = pwd.getpwuid(state.st_uid).pw_name
    origin = history.Origin(user, when, "found in the file")
    return history.keep(path.parent, before, origin, most, elsewhere=link)


def _refuse_odd_place(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        raise RefusedFileError(f"{path} is not a regular file: not saved")


def _existing(path: Path) -> tuple[bytes | None, str]:
    """What a file holds, unpacked, None for no file; and, in words, what is wrong with it that makes it
    nobody's to replace unasked."""
    try:
        content = raw = path.read_bytes()
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"cannot be read ({error.strerror})"
    try:
        content = _unpacked(raw)
        json.loads(content or b"0")
    except (OSError, EOFError, ValueError, RecursionError, zlib.error):
        return raw, "holds something that is no configuration" if content.strip() else ""
    return content, ""


def _holds_something(content: bytes) -> bool:
    """Would replacing this content lose a configuration, or what somebody else keeps in this file?"""
    if not content.strip():
        return False
    saved = json.loads(content)
    return (
        not isinstance(saved, dict)
        or bool(saved and not shape.SHAPE_KEYS & saved.keys())
        or (not document.is_empty(saved))
    )
