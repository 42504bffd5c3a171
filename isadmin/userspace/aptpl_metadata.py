"""Persistent reservation registrations that outlive a power loss (APTPL), kept where LIO keeps them and
rtslib looks for them: pr/aptpl_<unit serial number> below the dbroot."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def keep(dbroot: Path, serial: str, text: str) -> None:
    """Keep a unit's registrations (Reservations.aptpl_text); none when the text is empty. When this returns,
    the file is on the disk, or gone. OSError when it cannot be kept."""
    if not serial or "/" in serial:
        raise OSError(errno.EINVAL, "registrations are kept by the unit serial number", serial)
    directory = dbroot / "pr"
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"aptpl_{serial}"
    if text:
        replacement = path.with_name(f".{path.name}.new")
        with replacement.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        replacement.replace(path)
    else:
        path.unlink(missing_ok=True)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
