"""One change at a time, across processes: locks of files, taken with a time limit, that name their holder."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from isadmin.errors import IsadminError, LockedError, PermissionDeniedError

POLL = 0.05
"""Seconds between two tries for a lock that somebody else holds."""
PATIENCE = 1.0
"""Seconds of waiting after which the user is told."""
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
Waiting = Callable[[str], None]
"""Told once, in words, who is waited for."""


class Clock:
    """How long one change has waited for its locks, and whom it told."""

    def __init__(self, seconds: float, waiting: Waiting | None = None) -> None:
        self._start = time.monotonic()
        self._seconds = seconds
        self._waiting = waiting

    def wait(self, who: str) -> None:
        """Let a little time pass. Raises LockedError when there is none left."""
        passed = time.monotonic() - self._start
        if passed >= self._seconds:
            raise LockedError(f"{who} is changing the configuration", "try again when it is done")
        if self._waiting is not None and passed >= PATIENCE:
            self._waiting(who)
            self._waiting = None
        time.sleep(POLL)


@contextmanager
def own(file: str, clock: Clock) -> Iterator[None]:
    """Hold a lock file of isadmin's own, which is there while it is held and says who does.

    Raises LockedError, PermissionDeniedError.
    """
    descriptor = _take_own(file, clock)
    try:
        yield
    finally:
        # Removed while still held: whoever waits for this file finds it gone and makes a new one.
        with suppress(FileNotFoundError):
            os.unlink(file)
        os.close(descriptor)


def _take_own(file: str, clock: Clock) -> int:
    while True:
        with _refusals_said(file):
            try:
                descriptor = os.open(file, _FLAGS, 0o644)
            except FileNotFoundError:
                Path(file).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                descriptor = os.open(file, _FLAGS, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.stat(file).st_ino == os.fstat(descriptor).st_ino:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()} {os.path.basename(sys.argv[0])}\n".encode(), 0)
                return descriptor
        except (BlockingIOError, FileNotFoundError):
            pass
        except BaseException:
            os.close(descriptor)
            raise
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").split()
        os.close(descriptor)
        clock.wait(f"{holder[1]} (pid {holder[0]})" if len(holder) == 2 else "another process")


@contextmanager
def shared(file: str, clock: Clock) -> Iterator[None]:
    """Hold the lock file of another tool, which stays where it is.

    Raises LockedError, PermissionDeniedError.
    """
    with _refusals_said(file):
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                clock.wait(_holder(descriptor))
        yield
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    """Who has locked this file, by the kernel's list of locks; it names none outside our PID namespace."""
    inode = f":{os.fstat(descriptor).st_ino}"
    with suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and fields[5].endswith(inode):
                return f"{_program(fields[4])} (pid {fields[4]})"
    return "another program"


def _program(pid: str) -> str:
    """A process by the name of its program; a script by its own."""
    words = Path("/proc", pid, "cmdline").read_bytes().decode(errors="replace").split("\0")
    name = Path(words[0]).name
    script = words[1] if name.startswith("python") and len(words) > 1 else ""
    return Path(script).name if script and not script.startswith("-") else name


@contextmanager
def _refusals_said(file: str) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise PermissionDeniedError(f"Cannot lock {file}: {error.strerror}", "run as root") from error
    except OSError as error:
        raise IsadminError(f"Cannot lock {file}: {error.strerror}") from error
