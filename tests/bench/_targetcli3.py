"""targetcli 3.0.2 beside Debian's: in a virtual environment on Debian's Python, which has the gi it needs."""

from __future__ import annotations

import subprocess
from pathlib import Path

PACKAGES = ("targetcli==3.0.2", "rtslib-fb==2.2.4", "configshell-fb==2.0.3")
SYSTEM_PYTHON = "/usr/bin/python3"


def prepare(directory: Path) -> Path:
    """The command targetcli in `directory`, installed there if need be. CalledProcessError if not."""
    command = directory / "bin" / "targetcli"
    if not command.exists():
        options = ["--system-site-packages", "--clear"]
        subprocess.run([SYSTEM_PYTHON, "-m", "venv", *options, str(directory)], check=True)
        pip = [str(directory / "bin" / "pip"), "install", "--quiet", "--no-deps", *PACKAGES]
        subprocess.run(pip, check=True)
    return command
