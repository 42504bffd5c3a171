"""A target for the kernel's initiator, empty at first: LIO's, or isadmin's own in userspace beside it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.sandbox import Userspace, wait_until
from tests.kernel import world
from tests.kernel.forks import Forks
from tests.kernel.openiscsi import LIMIT

KINDS = ("kernel", "userspace")


class Forked(Userspace):
    """The userspace target, with isadmin's command line forked from a warm interpreter."""

    def __init__(self, directory: Path, forks: Forks) -> None:
        super().__init__(directory)
        self._forks = forks

    def isadmin(
        self, *arguments: str, typed: str | None = None, userspace: bool = True
    ) -> subprocess.CompletedProcess[str]:
        lead = self.options if userspace and arguments[:1] != ("userspace",) else ()
        return self._forks.run([*lead, *arguments], self.env, typed)

    def start(self, *options: str) -> None:
        """Nothing when it runs."""
        assert not options
        if not self._runs():
            self._forks.start_daemon(self.env)
            wait_until(self._runs, "the daemon", LIMIT)

    def _runs(self) -> bool:
        return self.isadmin("userspace", "status").returncode == 0


@contextmanager
def daemon(forks: Forks) -> Iterator[Userspace]:
    """A userspace target that runs; ended and removed at the end."""
    subprocess.run(["modprobe", "fuse"], check=True)
    directory = Path(tempfile.mkdtemp(prefix="isadmin-"))
    target = Forked(directory, forks)
    try:
        target.start()
        yield target
    finally:
        target.stop()
        shutil.rmtree(directory)


def clear(target: Userspace) -> None:
    """Take everything out of it, and what it has saved."""
    if isinstance(target, world.Kernel):
        world.clear()
        world.empty_state()
        return
    target.start()
    done = target.isadmin("clearconfig", "confirm=true")
    assert done.returncode == 0, done.stderr
    (target.state / "saveconfig.json").unlink(missing_ok=True)


def configure(target: Userspace, lines: str) -> None:
    """Type `lines` at isadmin; all must succeed without a word of complaint."""
    done = target.isadmin(typed=lines)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
