"""Fixtures of the tests on the kernel's target. `userspace` is the name that the integration tests use."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.devices import LoopDevices, loop_devices_in
from tests.kernel import world
from tests.kernel.forks import Forks


@pytest.fixture(scope="session")
def lio() -> Iterator[None]:
    """The kernel's target, loaded. Ends the run where somebody uses it: the tests would destroy that."""
    if world.in_use():
        pytest.exit("this machine's target is configured: its tests would destroy the configuration")
    world.load()
    with world.kept_state():
        yield


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    forks = Forks()
    yield forks
    forks.close()


@pytest.fixture
def empty_target(lio: None) -> Iterator[Path]:
    """LIO's configfs directory with nothing configured, nor saved, at the start and at the end."""
    world.clear()
    yield world.MOUNT
    world.clear()
    world.empty_state()


@pytest.fixture
def userspace(empty_target: Path, forks: Forks, tmp_path: Path) -> world.Kernel:
    """What the integration tests drive: here the kernel's target, empty."""
    return world.Kernel(tmp_path, forks)


@pytest.fixture
def loop_devices(lio: None, tmp_path: Path) -> Iterator[LoopDevices]:
    with loop_devices_in(tmp_path) as devices:
        yield devices


@pytest.fixture(scope="session")
def system_bus() -> Iterator[None]:
    """A D-Bus system bus, which targetcli wants."""
    if Path("/run/dbus/system_bus_socket").is_socket():
        yield
        return
    Path("/run/dbus").mkdir(exist_ok=True)
    command = ["dbus-daemon", "--system", "--nopidfile", "--fork", "--print-pid"]
    pid = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    yield
    os.kill(pid, signal.SIGTERM)
