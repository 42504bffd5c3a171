"""The targetcli that a bench compares with: Debian's, and 3.0.2 in an environment made for the run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEBIANS = "/usr/bin/targetcli"
PACKAGES = ("targetcli==3.0.2", "rtslib-fb==2.2.4", "configshell-fb==2.0.3")
"""Debian's rtslib, which would do for pip, fails on a mapped LUN above 255."""
SYSTEM_PYTHON = "/usr/bin/python3"
"""targetcli needs PyGObject, which Debian's Python has."""


@contextmanager
def newest(directory: Path, given: str | None = None) -> Iterator[str | None]:
    """targetcli 3.0.2's program: the one given, else one installed below `directory` while this runs; None
    where that cannot be done."""
    if given is not None or shutil.which(SYSTEM_PYTHON) is None:
        yield given
        return
    place = directory / "targetcli3"
    make = [SYSTEM_PYTHON, "-m", "venv", "--system-site-packages", "--without-pip", str(place)]
    python = str(place / "bin/python")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", *PACKAGES]
    try:
        done = [
            subprocess.run(words, capture_output=True, check=False).returncode for words in (make, install)
        ]
        yield str(place / "bin/targetcli") if done == [0, 0] else None
    finally:
        shutil.rmtree(place, ignore_errors=True)
