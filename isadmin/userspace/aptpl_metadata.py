"""Persistent reservation registrations that outlive a power loss (APTPL), kept where LIO keeps them and
rtslib looks for them: pr/aptpl_<unit serial number> below the dbroot."""

from __future__ import annotations

import errno
from pathlib import Path

from isadmin.userspace.kept import replace, sync_directory


def keep(dbroot: Path, serial: str, text: str) -> None:
    """Keep a unit's registrations (Reservations.aptpl_text); none when the text is empty. When this returns,
    the file is on the disk, or gone. OSError when it cannot be kept."""
    if not serial or "/" in serial:
        raise OSError(errno.EINVAL, "registrations are kept by the unit serial number", serial)
    directory = dbroot / "pr"
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"aptpl_{serial}"
    if text:
        replace(path, text)
    else:
        path.unlink(missing_ok=True)
        sync_directory(directory)
