"""A directory `target` with what a real kernel's configfs held at a recorded state, as plain files."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from pathlib import Path

STATES = Path(__file__).parents[1] / "data/kernel/states.jsonl.xz"


def entries(state: str) -> Iterator[dict[str, str]]:
    """The entries of the state whose name begins so."""
    inside = False
    with lzma.open(STATES, "rt") as lines:
        for line in lines:
            if line.startswith('{"state"'):
                inside = json.loads(line)["state"].startswith(state)
            elif inside:
                yield json.loads(line)


def make_tree(state: str, above: Path) -> Path:
    """Make the tree below `above`; returns the directory `target`. Files that did not answer are left out."""
    for entry in entries(state):
        path = above / entry["path"]
        if entry["type"] == "dir":
            path.mkdir(exist_ok=True)
        elif entry["type"] == "link":
            path.symlink_to(entry["target"])
        elif "content" in entry:
            path.write_text(entry["content"])
    return above / "target"
