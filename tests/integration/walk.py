"""A mounted configfs tree as a dictionary, to compare before and after."""

from __future__ import annotations

import os
from pathlib import Path

LIVE = {"statistics", "fabric_statistics"}
"""Counters: they move by themselves."""


def contents(root: Path) -> dict[str, str]:
    """Relative path -> content, link target, or '' for a directory; live counters left out."""
    found: dict[str, str] = {}
    for directory, names, files in os.walk(root):
        names[:] = sorted(set(names) - LIVE)
        base = Path(directory)
        for name in names:
            path = base / name
            found[str(path.relative_to(root))] = str(path.readlink()) if path.is_symlink() else ""
        for name in files:
            path = base / name
            try:
                found[str(path.relative_to(root))] = path.read_text()
            except OSError as error:
                found[str(path.relative_to(root))] = f"errno {error.errno}"
    return found
