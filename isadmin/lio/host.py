"""Which target is worked on: the kernel's, the userspace daemon's, or one at a given path; its files and
its lock.

             configfs                      saved configuration
kernel       /sys/kernel/config/target     /etc/target, or /etc/rtslib-fb-target where Debian's tools keep it:
                                           the one that holds one
userspace    the daemon's mount            the daemon's state directory
given        any directory `target`        $ISADMIN_STATE_DIR, else only files named explicitly
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager, suppress
from functools import cache

from isadmin.errors import NoTargetError, PermissionDeniedError
from isadmin.light import Path
from isadmin.lio import files
from isadmin.lio.objects import Lio, lio_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Literal

    from isadmin.lio.locks import Waiting
    from isadmin.userspace.control import DaemonInfo

    Kind = Literal["kernel", "userspace", "given"]
    Directory = str | os.PathLike[str]

KERNEL = "/sys/kernel/config/target"
KERNEL_STATE = ("/etc/target", "/etc/rtslib-fb-target")
SAVEFILE = "saveconfig.json"
TARGETCLI_LOCK = "/run/targetcli.lock"


class Host:
    """A target to work on: kind, path, state (where its saved configuration is, None where there is no such
    place) and runtime (where its locks are). `other_savefile`: another tool's file of the same purpose."""

    __slots__ = ("_path", "_runtime", "_state", "kind", "other_savefile")

    def __init__(
        self,
        kind: Kind,
        path: Directory,
        state: Directory | None,
        runtime: Directory,
        other_savefile: str | None = None,
    ) -> None:
        # As text: reading a target needs no pathlib.
        self.kind: Kind = kind
        self._path = os.fspath(path)
        self._state = None if state is None else os.fspath(state)
        self._runtime = os.fspath(runtime)
        self.other_savefile = other_savefile

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Host) and self._facts() == other._facts()

    def __hash__(self) -> int:
        return hash(self._facts())

    def __repr__(self) -> str:
        return f"Host{self._facts()}"

    def _facts(self) -> tuple[str | None, ...]:
        return (self.kind, self._path, self._state, self._runtime)

    @property
    def path(self) -> Path:
        return Path(self._path)

    @property
    def state(self) -> Path | None:
        return None if self._state is None else Path(self._state)

    @property
    def runtime(self) -> Path:
        return Path(self._runtime)

    @property
    def lio(self) -> Lio:
        return lio_at(self._path)

    @property
    def savefile(self) -> Path | None:
        """Where `saveconfig` saves when told no file."""
        return None if self._state is None else Path(self._state, SAVEFILE)

    def is_savefile(self, path: Path) -> bool:
        """Is this, however it is spelled or linked to, where `saveconfig` saves when told no file?"""
        own = self.savefile
        return own is not None and os.path.realpath(path) == os.path.realpath(own)

    @property
    def journal(self) -> Path:
        """Where changes are noted that `undo` can take back: those of the running target, which ends with
        the power as this directory does."""
        return Path(self._changes, "undo")

    @property
    def unconfirmed(self) -> Path:
        """What is taken back unless it is confirmed."""
        return Path(self._changes, "unconfirmed")

    def waits_for_confirmation(self) -> bool:
        """Is there something that is taken back unless it is confirmed?"""
        return os.path.isdir(f"{self._changes}/unconfirmed")

    @property
    def _changes(self) -> str:
        return f"{self._runtime}/kernel" if self.kind == "kernel" else self._runtime

    def require(self) -> None:
        """Raises NoTargetError if the target is not there any more."""
        if not os.path.isdir(f"{self._path}/core"):
            raise NoTargetError(f"The target at {self._path} is gone", _remedy(self.kind))

    def require_change(self) -> None:
        """Raises PermissionDeniedError if this user cannot change the target, NoTargetError if it is gone."""
        self.require()
        if os.access(self._path, os.W_OK | os.X_OK):
            return
        raise PermissionDeniedError(
            "This command changes the target, which this user may not", "run it as root"
        )

    def prepare(self) -> None:
        """Make this the target that rtslib works on, and load no kernel module for one that is not the
        kernel's."""
        from isadmin.lio import library

        modules = self.loads_modules()
        library.use(self._path, self._dbroot() if modules else None, modules=modules)

    def _dbroot(self) -> str:
        """Where this kernel's reservations and ALUA metadata are, moved to its state if that can still be.

        rtslib's own wish, /etc/target, says nothing about a target in userspace, need not exist where
        Debian's tools are used, and cannot be had any more once there are storage objects: then what is
        set stays. rtslib would try only when it has made the first one, and warn.
        """
        place = f"{self._path}/dbroot"
        now = files.read_or(place, "")
        movable = not any("_" in name for name in files.names(f"{self._path}/core"))
        if not movable or self._state is None or not os.path.isdir(self._state) or now == self._state:
            return now
        with suppress(OSError):
            files.write(place, self._state)
        return files.read_or(place, "")

    def loads_modules(self) -> bool:
        """Is this really the kernel's configfs, and not the userspace target shown in its place?"""
        return self.kind == "kernel" and _filesystem_of(self._path, os.stat(self._path).st_dev) == "configfs"

    @contextmanager
    def lock(self, seconds: float, waiting: Waiting | None = None) -> Iterator[None]:
        """Hold the right to change this target; other processes that want to, wait. Held for one command.

        targetcli's lock is held too: targetcli has it from its start to its end. `waiting` is told whom
        this waits for when it takes long. Raises LockedError, naming the holder, after `seconds`.
        """
        from isadmin.lio import locks

        clock = locks.Clock(seconds, waiting)
        with ExitStack() as held:
            file = f"{self._runtime}/change-{os.stat(self._path).st_dev:x}.lock"
            held.enter_context(locks.own(file, clock))
            other = self._targetcli_lock()
            if other is not None:
                held.enter_context(locks.shared(other, clock))
            yield

    def _targetcli_lock(self) -> str | None:
        """The lock of a targetcli that works on this target; under `exec` that is one of the daemon's."""
        if self.kind == "userspace":
            return f"{self._runtime}/{os.path.basename(TARGETCLI_LOCK)}"
        return TARGETCLI_LOCK if self.kind == "kernel" else None


@cache
def _filesystem_of(path: str, device: int) -> str:
    """The type of the file system, a device of this number, that a directory is on; "" if that cannot be
    told."""
    found, longest = "", -1
    with suppress(OSError):
        for line in Path("/proc/self/mounts").read_text().splitlines():
            _, place, kind, *_ = line.split(" ")
            inside = path == place or path.startswith(place.rstrip("/") + "/")
            if inside and len(place) >= longest:
                found, longest = kind, len(place)
    return found


def choose(*, userspace: bool = False, configfs: Directory | None = None) -> Host:
    """The target to work on.

    A given directory; the userspace daemon's (started if need be) if asked for; else the kernel's,
    loading it if possible; else a running userspace daemon's. Raises NoTargetError when there is none.
    """
    if configfs is not None:
        return given(configfs)
    if userspace:
        from isadmin.userspace import control

        return of_daemon(control.ensure_started())
    if os.path.isdir(KERNEL) or _load_kernel_target():
        return kernel()
    from isadmin.userspace import control

    info = control.running()
    if info is None:
        raise NoTargetError(
            "There is no kernel target here and no userspace target runs",
            "start the userspace target with `isadmin userspace start`, or add --userspace",
        )
    return of_daemon(info)


def peek(*, userspace: bool = False, configfs: Directory | None = None) -> Host | None:
    """The target that choose() would take, if it is there: nothing is started, loaded or waited for."""
    try:
        if configfs is not None:
            return given(configfs)
        if not userspace and os.path.isdir(KERNEL):
            return kernel()
        from isadmin.userspace import control

        info = control.running()
    except NoTargetError:
        return None
    return of_daemon(info) if info else None


def given(directory: Directory) -> Host:
    """The target at a directory, which must be LIO's `target` itself. Raises NoTargetError if it is not."""
    from isadmin.userspace import control

    path = Path(directory).absolute()
    try:
        os.stat(f"{path}/core")
    except PermissionError as error:
        what = f"Cannot read {path}: permission denied"
        raise PermissionDeniedError(what, "it is another user's") from error
    except OSError:
        raise NoTargetError(
            f"{path} is no LIO target: it has no directory core", "name the directory `target`"
        ) from None
    state = control.state_dir() if os.environ.get("ISADMIN_STATE_DIR") else None
    return Host("given", path, state, control.runtime_dir())


def of_daemon(info: DaemonInfo) -> Host:
    """The target of a running userspace daemon."""
    return Host("userspace", info.mount, info.state_dir, info.runtime_dir)


def kernel() -> Host:
    """The kernel's target."""
    state, other = _kernel_state()
    return Host("kernel", KERNEL, state, os.environ.get("ISADMIN_RUNTIME_DIR", "/run/isadmin"), other)


def _kernel_state() -> tuple[str, str | None]:
    """The directory that holds the saved configuration, or is there to hold one; and the saved configuration
    in the other one, if both have one: then rtslib's own is meant."""
    first, second = KERNEL_STATE
    kept = [directory for directory in KERNEL_STATE if os.path.exists(f"{directory}/{SAVEFILE}")]
    if not kept:
        return (second if os.path.isdir(second) and not os.path.isdir(first) else first), None
    if len(kept) == 1 or os.path.samefile(f"{first}/{SAVEFILE}", f"{second}/{SAVEFILE}"):
        return kept[0], None
    from isadmin.lio import library

    if library.saves_in() == second:
        first, second = second, first
    return first, f"{second}/{SAVEFILE}"


def _load_kernel_target() -> bool:
    """Mount configfs and load the target module, as rtslib does; False where that is impossible."""
    if os.geteuid() != 0 or not os.path.isdir(f"/lib/modules/{os.uname().release}"):
        return False
    import subprocess

    for command in (
        ["modprobe", "configfs"],
        ["mount", "-t", "configfs", "none", os.path.dirname(KERNEL)],
        ["modprobe", "target_core_mod"],
    ):
        with suppress(FileNotFoundError):
            subprocess.run(command, check=False, capture_output=True)
    return os.path.isdir(KERNEL)


def _remedy(kind: str) -> str:
    return "isadmin userspace start" if kind == "userspace" else ""


def rtslib_root(host: Host) -> Any:
    """rtslib's root object over this target."""
    host.prepare()
    from isadmin.lio import library

    library.load()
    from rtslib.root import RTSRoot

    return RTSRoot()
