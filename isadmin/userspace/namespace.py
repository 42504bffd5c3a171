"""`isadmin userspace exec`: a command in a mount namespace of its own, where the userspace target is LIO.

Other LIO tools know fixed paths. In the namespace these lead to the userspace target, and the host's files
behind them cannot be reached, so nothing the command does can touch the kernel target's configuration:
    /sys/kernel/config/target                  the mount
    /etc/target, /etc/rtslib-fb-target,
    /var/target (where it exists)              the state directory
    /run/targetcli.lock and rtslib's lock      files of the runtime directory, for no waiting on the host's
    TARGETCLI_HOME                             targetcli's preferences and log, in the state directory
A directory that the host lacks (no configfs, no /etc/target) is grafted: its parent is shown again, entry by
entry, on a tmpfs that has room for it. The host itself gets no new directory.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from isadmin.errors import IsadminError, PermissionDeniedError
from isadmin.userspace import mounts
from isadmin.userspace.control import DaemonInfo

STATE_AT = ("/etc/target", "/etc/rtslib-fb-target")
STATE_WHERE_PRESENT = "/var/target"
STATE_SUBDIRECTORIES = ("alua", "pr", "backup")
LOCKS = ("/run/targetcli.lock", "/run/rtslib_backstore.lock")
"""In the runtime directory too: control.RUNTIME_FILES."""


class CommandError(IsadminError):
    """The command cannot be run: 127 when there is none, else 126, as shells and nohup have it."""

    def __init__(self, what: str, status: int) -> None:
        super().__init__(what)
        self.status = status


def execute(info: DaemonInfo, command: list[str]) -> int:
    """Replace this process by `command`, which sees the target of `info` as the kernel's.

    Raises PermissionDeniedError without the right to make a namespace, CommandError.
    """
    try:
        _enter()
        _furnish(info)
    except PermissionError as error:
        raise PermissionDeniedError(
            f"cannot make a mount namespace ({error.strerror}: {error.filename})",
            "be root; in a container add --cap-add SYS_ADMIN, else allow user namespaces",
        ) from error
    except OSError as error:
        raise IsadminError(f"cannot prepare the namespace ({error.strerror}: {error.filename})") from error
    environment = os.environ | {"TARGETCLI_HOME": f"{info.state_dir}/targetcli"}
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 - that is the purpose
    except OSError as error:
        status = 127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126
        raise CommandError(f"cannot run {command[0]} ({error.strerror})", status) from error


def _enter() -> None:
    """Leave the host's mount namespace; an ordinary user becomes root of a user namespace."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        mounts.unshare(mounts.CLONE_NEWNS)
    else:
        mounts.unshare(mounts.CLONE_NEWNS | mounts.CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    mounts.mount("none", "/", flags=mounts.MS_REC | mounts.MS_PRIVATE)


def _furnish(info: DaemonInfo) -> None:
    for name in STATE_SUBDIRECTORIES:
        Path(info.state_dir, name).mkdir(mode=0o700, exist_ok=True)
    # All sources are opened first: what is mounted below may cover the way to them.
    state = _hold(info.state_dir)
    tree = _hold(info.mount)
    runtime = _hold(info.runtime_dir)

    _ensure_directories(["/sys/kernel/config", *STATE_AT])
    mounts.mount("tmpfs", "/sys/kernel/config", "tmpfs", data="mode=755")
    Path("/sys/kernel/config/target").mkdir()
    mounts.bind(tree, "/sys/kernel/config/target")
    for directory in (*STATE_AT, *([STATE_WHERE_PRESENT] if Path(STATE_WHERE_PRESENT).is_dir() else [])):
        mounts.bind(state, directory)
    for lock in map(Path, LOCKS):
        Path(runtime, lock.name).touch(mode=0o600)
        if not lock.exists():
            try:
                lock.touch(mode=0o600)
            except PermissionError:
                _graft(str(lock.parent), [])
                lock.touch(mode=0o600)
        mounts.bind(f"{runtime}/{lock.name}", str(lock))


def _hold(directory: str) -> str:
    """A path to `directory` that stays good whatever is mounted over it; until exec."""
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"/proc/self/fd/{descriptor}"


def _ensure_directories(paths: Iterable[str]) -> None:
    missing: dict[str, list[str]] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            missing.setdefault(str(path.parent), []).append(path.name)
    for parent, names in missing.items():
        _graft(parent, names)


def _graft(parent: str, names: Iterable[str]) -> None:
    """Make directories `names` in `parent`, for this namespace only."""
    original = _hold(parent)
    mode = stat.S_IMODE(Path(parent).stat().st_mode)
    mounts.mount("tmpfs", parent, "tmpfs", data=f"mode={mode:o}")
    for entry in os.scandir(original):
        place = Path(parent, entry.name)
        if entry.is_symlink():
            place.symlink_to(Path(entry.path).readlink())
            continue
        if entry.is_dir(follow_symlinks=False):
            place.mkdir()
        else:
            place.touch()
        mounts.bind(entry.path, str(place))
    for name in names:
        with suppress(FileExistsError):
            Path(parent, name).mkdir(mode=0o755)
