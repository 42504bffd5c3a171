"""What every test shares: a network of its own, so that port 3260 is free and no traffic leaves the run; and
a directory of the run's own for preferences, where isadmin would use its user's."""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.kernel.plugin"]

CLONE_NEWNET = 0x40000000

settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("any-machine")


def own_network() -> None:
    """Move this process, and so every server and initiator it starts, into a fresh network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def pytest_configure(config: pytest.Config) -> None:
    """Leave the user's home alone, and the machine's network."""
    home = tempfile.mkdtemp(prefix="isadmin-home-")
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    os.environ["XDG_CONFIG_HOME"] = f"{home}/config"
    # Kept, compiled modules spare the thousands of starts of isadmin half their time.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # The machine of tests/kernel runs what is compiled here.
    sys.dont_write_bytecode = False
    if os.geteuid() != 0 or config.getoption("kernel") == "host":
        # The kernel's initiator speaks to its daemon in the first network namespace alone.
        return
    own_network()


@pytest.fixture
def clean_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A failure of the daemon's own is an error in its log; breaking the protocol is none."""
    caplog.set_level(logging.WARNING)
    yield
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
