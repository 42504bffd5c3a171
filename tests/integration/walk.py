"""A mounted configfs tree as a dictionary, to compare before and after."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

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


def in_order(value: Any) -> Any:
    """The same JSON value with its lists sorted: rtslib's follow the directory, ours do not."""
    if isinstance(value, list):
        return sorted(map(in_order, value), key=json.dumps)
    if isinstance(value, dict):
        return {key: in_order(value[key]) for key in sorted(value)}
    return value
