"""The kernel's target as the tests see it: empty at the start and the end of each, driven through isadmin.

It offers what tests.integration.sandbox.Userspace offers, so that the same tests run on either.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from isadmin.lio import host
from tests.integration.sandbox import Userspace
from tests.kernel.forks import Forks

CONFIGFS = Path("/sys/kernel/config")
MOUNT = CONFIGFS / "target"
STATE = (Path("/etc/target"), Path("/etc/rtslib-fb-target"))
MODULES = (
    "target_core_mod",
    "target_core_file",
    "target_core_iblock",
    "target_core_pscsi",
    "target_core_user",
    "iscsi_target_mod",
    "tcm_loop",
    "vhost_scsi",
    "loop",
)


def load() -> None:
    """Mount configfs and load the target. CalledProcessError where this kernel has none."""
    # rtslib 2.2 insists on this directory, and the target takes it only if it is there first.
    for name in ("pr", "alua"):
        (STATE[0] / name).mkdir(parents=True, exist_ok=True)
    if not MOUNT.is_dir():
        subprocess.run(["modprobe", "configfs"], check=True)
        if not os.path.ismount(CONFIGFS):
            subprocess.run(["mount", "-t", "configfs", "configfs", str(CONFIGFS)], check=True)
    subprocess.run(["modprobe", "-a", *MODULES], check=True)


def in_use() -> bool:
    """Has somebody configured this machine's target?"""
    return any(MOUNT.glob("core/*_*")) or any(MOUNT.glob("*/*/tpgt_*"))


def clear() -> None:
    """Take everything out of LIO's tree, whatever state it is in, with nothing but its own operations."""
    for enable in MOUNT.glob("*/*/tpgt_*/enable"):
        with suppress(OSError):
            enable.write_text("0")
    # These outlive their fabric.
    for secret in (*MOUNT.glob("*/discovery_auth/userid*"), *MOUNT.glob("*/discovery_auth/password*")):
        if secret.read_text() not in ("\n", "NULL\n"):
            secret.write_text("NULL")
    for demand in MOUNT.glob("*/discovery_auth/enforce_discovery_auth"):
        demand.write_text("0")
    # Mapped LUNs before the LUNs that they show: an unlinked LUN with a mapping cannot be removed.
    for pattern in ("*/*/tpgt_*/acls/*/lun_*", "*/*/tpgt_*/lun/lun_*", "*/*/tpgt_*/np/*"):
        for directory in MOUNT.glob(pattern):
            for entry in directory.iterdir():
                if entry.is_symlink():
                    entry.unlink()
            directory.rmdir()
    patterns = ("*/*/tpgt_*/acls/*", "*/*/tpgt_*", "*/*", "*", "core/*_*/*/alua/*", "core/*_*/*", "core/*_*")
    for pattern in (*patterns, "core/alua/lu_gps/*"):
        for directory in MOUNT.glob(pattern):
            # Groups that the kernel makes itself refuse.
            with suppress(OSError):
                directory.rmdir()
    left = [*MOUNT.glob("core/*_*"), *MOUNT.glob("*/*/tpgt_*")]
    assert not left, left


class StateKeptError(Exception):
    """An earlier run was killed before it could put back what was saved on this machine; the text says where
    it is."""


def kept(directory: Path) -> Path:
    """Where what is in this directory is during a run: on disk, where it outlives a run that is killed."""
    return directory.with_name(f"{directory.name}.kept-by-isadmin-tests")


def copy_tree(source: Path, target: Path) -> None:
    """All files, with their modes, times and owners; what is at the target stays."""
    # Nobody else's from the first byte: there are secrets among them.
    mask = os.umask(0o077)
    try:
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    finally:
        os.umask(mask)
    for path in (source, *source.rglob("*")):
        owner = path.lstat()
        os.chown(target / path.relative_to(source), owner.st_uid, owner.st_gid, follow_symlinks=False)


@contextmanager
def kept_state() -> Iterator[None]:
    """What is saved on this machine is put aside, and back at the end. StateKeptError if it is aside."""
    if aside := [str(kept(directory)) for directory in STATE if kept(directory).exists()]:
        raise StateKeptError(
            f"a run that was killed left what this machine had saved in {' and '.join(aside)}: put it back, "
            "then delete that"
        )
    before = [directory for directory in STATE if directory.is_dir()]
    for directory in before:
        # Under its own name only once it is whole: nothing is deleted before.
        unfinished = kept(directory).with_name(f"{kept(directory).name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        copy_tree(directory, unfinished)
        unfinished.rename(kept(directory))
    empty_state()
    try:
        yield
    finally:
        empty_state()
        for directory in before:
            copy_tree(kept(directory), directory)
            shutil.rmtree(kept(directory))


def empty_state() -> None:
    """No file is left; directories stay."""
    for directory in STATE:
        for path in directory.rglob("*"):
            if path.is_symlink() or not path.is_dir():
                path.unlink()


class Kernel(Userspace):
    """The kernel's target: `mount` is LIO's target/ directory, `state` where isadmin saves by default."""

    options = ()
    pace = 8
    tells_of_sizes = False

    def __init__(self, directory: Path, forks: Forks) -> None:
        self.mount = MOUNT
        self.state = next(path for path in STATE if path.is_dir())
        self.runtime = directory / "run"
        self._forks = forks
        self.env = os.environ | {
            "ISADMIN_RUNTIME_DIR": str(self.runtime),
            "XDG_CONFIG_HOME": str(directory / "config"),
            "HOME": str(directory),
        }

    @property
    def host(self) -> host.Host:
        return host.Host("kernel", self.mount, self.state, self.runtime)

    def isadmin(
        self, *arguments: str, typed: str | None = None, userspace: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run `isadmin ARGUMENTS`; never raises for its exit status. `userspace exec -- COMMAND`, which shows
        a command the userspace target as the kernel's, runs COMMAND as it is; `userspace stop` and
        `userspace start` leave the target empty and restore it, as a machine does that goes down and up."""
        if arguments[:1] == ("userspace",) and arguments[1:2] in (("stop",), ("start",)):
            if arguments[1] == "stop":
                clear()
            else:
                self.start(*arguments[2:])
            return subprocess.CompletedProcess(arguments, 0, "", "")
        if arguments[:4] == ("userspace", "exec", "--", "env") and arguments[5:6] == ("isadmin",):
            return self._forks.run(list(arguments[6:]), self.env, typed)
        if arguments[:3] == ("userspace", "exec", "--"):
            return subprocess.run(
                arguments[3:], env=self.env, input=typed or "", capture_output=True, text=True, check=False
            )
        return self._forks.run(list(arguments), self.env, typed)

    def start(self, *options: str) -> None:
        """Have what is saved restored, as at boot, unless told --empty."""
        if "--empty" not in options:
            done = self.isadmin("restoreconfig")
            assert done.returncode == 0, done.stderr

    def stop(self) -> None:
        clear()
