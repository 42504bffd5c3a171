"""What every test shares: a network of its own, so that port 3260 is free and no traffic leaves the run."""

from __future__ import annotations

import ctypes
import os
import subprocess

import pytest

pytest_plugins = ["tests.kernel.plugin"]

CLONE_NEWNET = 0x40000000


def pytest_configure(config: pytest.Config) -> None:
    """Move this process, and so every server and initiator it starts, into a fresh network namespace."""
    if os.geteuid() != 0 or config.getoption("kernel") == "host":
        # The kernel's initiator speaks to its daemon in the first network namespace alone.
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
