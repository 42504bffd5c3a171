"""Making and removing what holds a symbolic link in configfs: LUNs and mapped LUNs. In rtslib's order."""

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
    os.symlink(storage_object, f"{path}/{alias or _alias()}")


def map_lun(path: str, lun: str, *, write_protect: bool, alias: str | None = None) -> None:
    """Link a new mapped LUN to its LUN; both are paths. Raises OSError."""
    os.symlink(lun, f"{path}/{alias or _alias()}")
    files.write(f"{path}/write_protect", "1" if write_protect else "0")


def remove(path: str, link: tuple[str, str] | None = None) -> None:
    """Take away a LUN or mapped LUN, or what there is of it; `link`: its link, if that is known. Raises
    OSError."""
    link = link or files.link(path)
    if link is not None:
        os.unlink(f"{path}/{link[0]}")
    os.rmdir(path)


def _alias() -> str:
    return str(uuid.uuid4())[-10:]
