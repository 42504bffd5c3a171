"""Where the userspace target lives, whether it runs, and starting it: light enough for every command to
import.

The runtime directory holds what one running daemon needs, gone after a clean stop, and, till the next boot,
what `undo` takes back (undo/):
    lock          held by the daemon for its life, so two starts make one daemon and a dead one is noticed
    daemon.json   written when the daemon is ready (Info)
    target/       the mount: LIO's target/ directory
    daemon.log    the log of a daemon in the background, 0600
The state directory holds what must survive: saveconfig.json and its generations, reservations, ALUA metadata.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import time
from contextlib import suppress

from isadmin.errors import IsadminError, NoTargetError
from isadmin.light import Path, record

OURSELVES = (sys.executable, "-m", "isadmin")
LIVE_SOCKET = "live.sock"
"""In the runtime directory: what the daemon tells of its sessions beyond LIO's files (live.py)."""
RUNTIME_FILES = ("daemon.json", "targetcli.lock", "rtslib_backstore.lock", LIVE_SOCKET)
_FLOCK = struct.Struct("hhqqi")
"""struct flock: l_type, l_whence, l_start, l_len, l_pid."""


@record(frozen=True, slots=True)
class DaemonInfo:
    """A running daemon, as it described itself when it became ready."""

    pid: int
    mount: str
    """Its target/ directory, absolute and without symbolic links."""
    state_dir: str
    runtime_dir: str
    version: str
    started: str
    """ISO 8601, UTC."""
    restored: str
    """What became of the saved configuration: one line, empty when there was none to restore."""
    restore: str = ""
    """The same in a word of errors.RESTORED, or "failed"; empty if it was not tried."""

    def facts(self) -> dict[str, str | int]:
        from dataclasses import asdict

        return asdict(self)


def runtime_dir() -> Path:
    """$ISADMIN_RUNTIME_DIR, else /run/isadmin (root) or $XDG_RUNTIME_DIR/isadmin."""
    if given := os.environ.get("ISADMIN_RUNTIME_DIR"):
        return Path(given).absolute()
    if os.geteuid() == 0:
        return Path("/run/isadmin")
    if base := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(base) / "isadmin"
    raise NoTargetError(
        "no runtime directory: XDG_RUNTIME_DIR is not set", "set ISADMIN_RUNTIME_DIR to a directory"
    )


def state_dir() -> Path:
    """$ISADMIN_STATE_DIR, else /var/lib/isadmin (root), $XDG_STATE_HOME/isadmin (~/.local/state)."""
    if given := os.environ.get("ISADMIN_STATE_DIR"):
        return Path(given).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/isadmin")
    if base := os.environ.get("XDG_STATE_HOME"):
        return Path(base) / "isadmin"
    return Path("~/.local/state/isadmin").expanduser()


def saved_configuration() -> Path:
    """The userspace target's own saveconfig.json."""
    return state_dir() / "saveconfig.json"


def lock_holder(directory: Path) -> int:
    """The process that holds `directory`/lock, 0 when none does. Asks without taking it."""
    try:
        descriptor = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except PermissionError as error:
        raise NoTargetError(
            f"{directory} belongs to another user", "use that user, or set ISADMIN_RUNTIME_DIR"
        ) from error
    try:
        question = _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, question))
    finally:
        os.close(descriptor)
    return 0 if kind == fcntl.F_UNLCK else pid


class AlreadyRunningError(IsadminError):
    """Another daemon holds the runtime directory; not a failure of `start`."""

    status = 0


def take_lock(directory: Path) -> int:
    """Hold `directory`/lock for the life of this process; AlreadyRunningError when another process does.

    A record lock, because it names its holder. It is lost when this process closes any descriptor of the
    file, so a holder must not open that file a second time (lock_holder and running do).
    """
    path = directory / "lock"
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise AlreadyRunningError(f"a userspace target runs already: it holds {path}") from error
        # A daemon that stopped meanwhile has removed the file: a lock on that one keeps nobody out.
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)


def clear(directory: Path, *, keep_log: bool = False) -> None:
    """Remove what a daemon keeps in its runtime directory, and that, once nothing is mounted there any
    more. For the holder of the lock, which goes last."""
    with suppress(OSError):
        (directory / "target").rmdir()
    for name in (*RUNTIME_FILES, *([] if keep_log else ["daemon.log"]), "lock"):
        (directory / name).unlink(missing_ok=True)
    with suppress(OSError):
        directory.rmdir()


def make_private(directory: Path) -> Path:
    """Make `directory` for this user alone; its real path."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.stat().st_mode & 0o700 != 0o700:
            # targetcli, run under exec, takes the right to enter away from directories it saves in.
            directory.chmod(0o700)
    except OSError as error:
        raise NoTargetError(
            f"cannot make {directory} ({error.strerror})",
            "run as root, or set ISADMIN_RUNTIME_DIR and ISADMIN_STATE_DIR",
        ) from error
    return directory.resolve()


def running() -> DaemonInfo | None:
    """The daemon of this runtime directory, None when none is ready (or this user has no such directory)."""
    try:
        directory = runtime_dir()
    except NoTargetError:
        return None
    holder = lock_holder(directory)
    if not holder:
        return None
    import json

    try:
        info = DaemonInfo(**json.loads((directory / "daemon.json").read_text()))
    except (FileNotFoundError, json.JSONDecodeError, TypeError):
        return None
    return info if info.pid == holder else None


def wait_until_ready() -> DaemonInfo | None:
    """The daemon of this runtime directory, also one that is still starting; None when none is or it ends."""
    while True:
        info = running()
        if info is not None or not lock_holder(runtime_dir()):
            return info
        time.sleep(0.02)


def ensure_started() -> DaemonInfo:
    """The running daemon; starts it when there is none. NoTargetError when it cannot be started."""
    if info := running():
        return info
    import subprocess

    done = subprocess.run(
        [*OURSELVES, "userspace", "start"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    info = running()
    if info is None:
        said = done.stderr.strip().removeprefix("isadmin: ")
        raise NoTargetError(said or f"the userspace target ended with status {done.returncode}")
    if done.stderr:
        print(done.stderr.rstrip(), file=sys.stderr)
    return info
