"""Fixtures of the tests on the kernel's target. `userspace` is the name that the integration tests use."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.devices import LoopDevices, loop_devices_in
from tests.integration.sandbox import BUS, Userspace
from tests.kernel import served, world
from tests.kernel.forks import Forks


@pytest.fixture(scope="session")
def lio() -> Iterator[None]:
    """The kernel's target, loaded. Ends the run where somebody uses it: the tests would destroy that."""
    if world.in_use():
        pytest.exit("this machine's target is configured: its tests would destroy the configuration")
    world.load()
    with ExitStack() as stack:
        try:
            stack.enter_context(world.kept_state())
        except world.StateKeptError as error:
            pytest.exit(str(error))
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


@pytest.fixture(scope="module")
def module_userspace(
    lio: None, forks: Forks, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[world.Kernel]:
    """The same for all tests of a module."""
    world.clear()
    yield world.Kernel(tmp_path_factory.mktemp("kernel"), forks)
    world.clear()
    world.empty_state()


@pytest.fixture(scope="module")
def module_tmp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("module")


@pytest.fixture(scope="session")
def daemon(forks: Forks) -> Iterator[Userspace]:
    """A userspace target in the machine, for all tests that use one."""
    with served.daemon(forks) as target:
        yield target


@pytest.fixture(params=served.KINDS)
def target(request: pytest.FixtureRequest, lio: None, forks: Forks, tmp_path: Path) -> Iterator[Userspace]:
    """An empty target for the kernel's initiator: LIO's, then the userspace one."""
    if request.param == "kernel":
        chosen: Userspace = world.Kernel(tmp_path, forks)
    else:
        chosen = request.getfixturevalue("daemon")
    served.clear(chosen)
    yield chosen
    served.clear(chosen)


@pytest.fixture
def loop_devices(lio: None, tmp_path: Path) -> Iterator[LoopDevices]:
    with loop_devices_in(tmp_path) as devices:
        yield devices


@pytest.fixture(scope="module")
def module_loop_devices(lio: None, module_tmp: Path) -> Iterator[LoopDevices]:
    with loop_devices_in(module_tmp) as devices:
        yield devices


@pytest.fixture(scope="session")
def system_bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A D-Bus system bus, which targetcli wants. It starts no service: not tcmu-runner, which targetcli asks
    for its handlers."""
    if Path("/run/dbus/system_bus_socket").is_socket():
        yield
        return
    Path("/run/dbus").mkdir(exist_ok=True)
    config = tmp_path_factory.mktemp("bus") / "bus.conf"
    config.write_text(BUS.format(address="unix:path=/run/dbus/system_bus_socket"))
    command = ["dbus-daemon", f"--config-file={config}", "--nopidfile", "--fork", "--print-pid"]
    pid = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    yield
    os.kill(pid, signal.SIGTERM)
