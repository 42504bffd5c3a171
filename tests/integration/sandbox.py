"""A userspace target with directories of its own, driven through the `isadmin` command as a user would."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from isadmin.lio.host import Host

COMMAND = [sys.executable, "-m", "isadmin"]


def wait_until(true: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Poll until `true()`; the limit only ends a run that hangs."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.05)


class Userspace:
    """One daemon's world: `mount` is LIO's target/ directory, `state` what is kept across restarts."""

    options: tuple[str, ...] = ("--userspace",)
    """What isadmin must be told to work on it."""
    pace = 1
    """How many times as long as here a command may take where it runs."""
    tells_of_sizes = True
    """Do initiators hear that a LUN has another size? If not, they have to look again."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.state = directory / "state"
        self.runtime = directory / "run"
        self.mount = self.runtime / "target"
        self.env = os.environ | {
            "ISADMIN_STATE_DIR": str(self.state),
            "ISADMIN_RUNTIME_DIR": str(self.runtime),
            "XDG_CONFIG_HOME": str(directory / "config"),
            "HOME": str(directory),
            **environment,
        }

    @property
    def host(self) -> Host:
        """The same target, for tests that call isadmin's own functions."""
        return Host("userspace", self.mount, self.state, self.runtime)

    def isadmin(
        self,
        *arguments: str,
        typed: str | None = None,
        userspace: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run `isadmin [--userspace] ARGUMENTS`; `typed` is its standard input. Never raises for a status."""
        lead = self.options if userspace and arguments[:1] != ("userspace",) else ()
        return subprocess.run(
            [*COMMAND, *lead, *arguments],
            env=self.env,
            input=typed,
            stdin=subprocess.DEVNULL if typed is None else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def start(self, *options: str) -> None:
        done = self.isadmin("userspace", "start", *options)
        assert done.returncode == 0, done.stderr

    @property
    def pid(self) -> int:
        """The daemon's process."""
        done = self.isadmin("userspace", "status", "--output", "json")
        assert done.returncode == 0, done.stderr
        pid = json.loads(done.stdout)["pid"]
        assert isinstance(pid, int)
        return pid

    def kill(self) -> None:
        """End the daemon as a crash would."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in _state(pid), "the daemon's end")

    def stop(self) -> None:
        self.isadmin("userspace", "stop")
        subprocess.run(["umount", "-l", str(self.mount)], stderr=subprocess.DEVNULL, check=False)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"


@contextmanager
def running_userspace(**environment: str) -> Iterator[Userspace]:
    """A started daemon with nothing configured, with additions to its environment; gone at the end."""
    directory = Path(tempfile.mkdtemp(prefix="isadmin-"))
    world = Userspace(directory, **environment)
    try:
        world.start()
        yield world
    finally:
        world.stop()
        shutil.rmtree(directory)


BUS = """<busconfig>
<type>system</type>
<listen>{address}</listen>
<policy context="default">
<allow user="*"/> <allow own="*"/> <allow send_destination="*"/> <allow receive_sender="*"/>
</policy>
</busconfig>
"""


@contextmanager
def system_bus(world: Userspace) -> Iterator[None]:
    """A D-Bus system bus of the run's own, without which targetcli does not start. It starts no service: an
    installed tcmu-runner would be asked for its handlers, in vain, whenever targetcli looks."""
    with tempfile.TemporaryDirectory() as directory:
        address = f"unix:path={directory}/bus"
        config = Path(directory, "bus.conf")
        config.write_text(BUS.format(address=address))
        words = ["dbus-daemon", f"--config-file={config}", "--nopidfile", "--nofork", "--print-address"]
        bus = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        try:
            assert bus.stdout is not None
            assert bus.stdout.readline()
            world.env["DBUS_SYSTEM_BUS_ADDRESS"] = address
            yield
        finally:
            bus.terminate()
            bus.communicate()
