"""Making and removing what holds a symbolic link in configfs: LUNs and mapped LUNs, in rtslib's order; and
removing what is left below an object."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from isadmin.lio import files


@contextmanager
def whole(path: str) -> Iterator[None]:
    """Make the directory at `path` what it is to be: if that fails, it is removed. Raises OSError."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            remove(path)
        raise


def export(path: str, storage_object: str, alias: str | None = None) -> None:
    """Link a new LUN to its storage object; both are paths. Raises OSError."""
    _link(path, storage_object, alias)


def map_lun(path: str, lun: str, *, write_protect: bool, alias: str | None = None) -> None:
    """Link a new mapped LUN to its LUN; both are paths. Raises OSError."""
    _link(path, lun, alias)
    files.write(f"{path}/write_protect", "1" if write_protect else "0")


def remove(path: str, link: tuple[str, str] | None = None) -> None:
    """Take away a LUN or mapped LUN, or what there is of it; `link`: its link, if that is known. Raises
    OSError."""
    link = link or files.link(path)
    if link is not None:
        os.unlink(f"{path}/{link[0]}")
    os.rmdir(path)


def remove_all_below(path: str) -> None:
    """Take away what others left in an object and no configuration shows: ALUA groups without a number,
    objects under odd spellings of their numbers. In order: mapped LUNs (acls) go before LUNs (lun)."""
    with os.scandir(path) as listed:
        entries = sorted(listed, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_symlink():
            os.unlink(entry.path)
        elif entry.is_dir():
            remove_all_below(entry.path)
            # What is there by itself refuses.
            with suppress(OSError):
                os.rmdir(entry.path)


def _link(path: str, target: str, alias: str | None) -> None:
    name = alias or str(uuid.uuid4())[-10:]
    os.symlink(target, f"{path}/{name}")
    files.note_link(path, name)
