"""Fixtures of the integration tests: a userspace target and loop devices of each test's own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.devices import LoopDevices, loop_devices_in
from tests.integration.sandbox import Userspace, running_userspace, system_bus


@pytest.fixture
def userspace() -> Iterator[Userspace]:
    """A started daemon with nothing configured, for one test."""
    with running_userspace() as world:
        yield world


@pytest.fixture
def world() -> Iterator[Userspace]:
    """Directories for a daemon that the test starts itself; stopped and removed at the end."""
    directory = Path(tempfile.mkdtemp(prefix="isadmin-"))
    stopped = Userspace(directory)
    try:
        yield stopped
    finally:
        stopped.stop()
        shutil.rmtree(directory)


@pytest.fixture(scope="module")
def module_userspace() -> Iterator[Userspace]:
    """A started daemon that the tests of a module share."""
    with running_userspace() as world:
        yield world


@pytest.fixture
def loop_devices(tmp_path: Path) -> Iterator[LoopDevices]:
    with loop_devices_in(tmp_path) as devices:
        yield devices


@pytest.fixture(scope="module")
def module_tmp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("module")


@pytest.fixture(scope="module")
def module_loop_devices(module_tmp: Path) -> Iterator[LoopDevices]:
    with loop_devices_in(module_tmp) as devices:
        yield devices


@pytest.fixture(name="system_bus")
def its_system_bus(userspace: Userspace) -> Iterator[None]:
    """A D-Bus system bus of the test's own, which targetcli wants."""
    with system_bus(userspace):
        yield
