"""The userspace target's process: one event loop that owns the configfs tree, its mount, and the running
target.

Life: take the lock, clear what a killed daemon left, mount, restore the saved configuration (through the
mount, by the same command a user would type), and only then let the portals listen: a reconnecting
initiator never hears "target not found". SIGTERM or SIGINT: unmount, log the initiators out, leave nothing
behind.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from isadmin import __version__
from isadmin.errors import RESTORED, IsadminError, NoFileError, PartlyRestoredError, RefusedFileError
from isadmin.userspace import control, mounts, namespace
from isadmin.userspace import loop as loops
from isadmin.userspace.configfs.fuse import Mount
from isadmin.userspace.configfs.links import Resolver
from isadmin.userspace.configfs.tree import Tree
from isadmin.userspace.control import DaemonInfo
from isadmin.userspace.live import LiveSocket
from isadmin.userspace.model import Device
from isadmin.userspace.scsi.unit import LogicalUnit
from isadmin.userspace.target import Target

log = logging.getLogger("isadmin")


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a start, handed to the command that waits for it as one line of JSON."""

    status: int
    """An exit status of errors.py; 0, 6 and 7 come from a daemon that is up."""
    line: str
    remedy: str = ""

    def send(self, descriptor: int) -> None:
        with suppress(BrokenPipeError), os.fdopen(descriptor, "w") as pipe:
            json.dump({"status": self.status, "line": self.line, "remedy": self.remedy}, pipe)


@dataclass(frozen=True, slots=True)
class Restored:
    """How restoring the saved configuration ended."""

    status: int = 0
    line: str = ""
    result: str = ""
    """In a word of errors.RESTORED, or "failed"; empty if it was not tried."""


def notify(state: str) -> None:
    """Tell systemd (Type=notify), when it started us: sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.sendto(state.encode(), address)


_PRIORITY = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}


class _JournalFormatter(logging.Formatter):
    """sd-daemon(3) priorities: the journal adds time and process itself."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITY.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in super().format(record).split("\n"))


def start_log() -> None:
    """Log to standard error: with priorities for the journal when that is where it goes, else with times."""
    handler = logging.StreamHandler()
    if "JOURNAL_STREAM" in os.environ:
        handler.setFormatter(_JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)


def _free_scsi_host() -> int:
    """A number for loopback's emulated SCSI hosts above those of the running kernel."""
    names = (path.name.removeprefix("host") for path in Path("/sys/class/scsi_host").glob("host*"))
    return max((int(name) for name in names if name.isdigit()), default=-1) + 1


class _StatefulTarget(Target):
    """The target, told which of this machine's directories are its own."""

    def __init__(self, state: Path, mountpoint: Path, clock: Callable[[], float]) -> None:
        super().__init__(clock=clock)
        self._state = self.dbroot = state
        self._links = Resolver(str(mountpoint))

    def open_unit(self, device: Device) -> LogicalUnit:
        for name in ("fd_dev_name", "udev_path"):
            path = device.control.get(name, "").rstrip("\n")
            if path.startswith("/") and self._is_own(path):
                # Opening it would wait for ourselves.
                raise OSError(errno.EINVAL, "a file of the target's own configuration cannot be a disk", path)
        return super().open_unit(device)

    def _is_own(self, path: str) -> bool:
        try:
            return not self._links.resolve("", path).startswith("/")
        except OSError:
            return False

    def set_dbroot(self, path: str) -> None:
        """The names that LIO's tools set lead to the state directory under `exec`; on the host they are the
        kernel target's, and never looked at. The database is in the state directory whatever it is called."""
        if path not in namespace.STATE_AT and path != namespace.STATE_WHERE_PRESENT:
            super().set_dbroot(path)
        self.dbroot = self._state


class Daemon:
    """One run of the userspace target in this process."""

    def __init__(self, runtime: Path, state: Path, *, empty: bool) -> None:
        """`empty`: do not restore the saved configuration."""
        self._runtime = runtime
        self._state = state
        self._empty = empty
        self._mountpoint = runtime / "target"
        self._stopping = asyncio.Event()
        start = time.monotonic()

        def clock() -> float:
            return time.monotonic() - start

        self._target = _StatefulTarget(state, self._mountpoint, clock)
        cpus = os.cpu_count() or 1
        self._tree = Tree(self._target, clock=clock, cpus=cpus, first_scsi_host=_free_scsi_host())
        # Where tools look for the registrations that a device's serial number has (rtslib, too).
        self._tree.root.dbroot = str(state)
        self._mount: Mount | None = None
        self._live: LiveSocket | None = None

    async def run(self, report: int | None) -> None:
        """Serve until told to stop. `report` is a descriptor that gets the Report once started."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)
        keep_log = True
        try:
            self._clear_leftovers()
            self._mountpoint.mkdir(mode=0o700, exist_ok=True)
            self._attach()
            restored = Restored() if self._empty else await self._restore()
            if not self._stopping.is_set():
                loops.settle()
                self._target.start_listening()
                self._tell()
                self._announce(restored, report)
                await self._stopping.wait()
            keep_log = False
        except IsadminError:
            keep_log = False
            raise
        finally:
            await self._end(keep_log=keep_log)

    def _tell(self) -> None:
        """Answer who asks for sessions. It is no reason not to serve disks if that cannot be."""
        try:
            live = self._live = LiveSocket(self._runtime / control.LIVE_SOCKET, self._target.active_sessions)
        except OSError as error:
            log.warning("nobody will be told of sessions: %s", error)
            return
        asyncio.get_running_loop().add_reader(live.fileno(), live.answer)

    def _attach(self) -> None:
        mount = self._mount = Mount(self._tree, str(self._mountpoint))
        asyncio.get_running_loop().add_reader(mount.fileno(), self._serve, mount)

    def _serve(self, mount: Mount) -> None:
        if not mount.serve():
            log.warning("%s was unmounted by somebody else: mounting it again", self._mountpoint)
            self._detach()
            self._attach()

    def _detach(self) -> None:
        if self._mount is not None:
            asyncio.get_running_loop().remove_reader(self._mount.fileno())
            self._mount.close()
            self._mount = None

    def _clear_leftovers(self) -> None:
        """What a killed daemon leaves: its mount, which answers ENOTCONN, and its description."""
        if mounts.mounted_at(self._mountpoint):
            log.warning("%s is left from a daemon that was killed: unmounting it", self._mountpoint)
            mounts.detach(self._mountpoint)
        (self._runtime / "daemon.json").unlink(missing_ok=True)

    async def _restore(self) -> Restored:
        file = self._state / "saveconfig.json"
        if not file.exists():
            return Restored(result=RESTORED[NoFileError.status])
        child = await asyncio.create_subprocess_exec(
            *(*control.OURSELVES, "--configfs", str(self._mountpoint)),
            *("restoreconfig", str(file), "--keep-going"),
            # The first `undo` is not to take all of it back.
            env=os.environ | {"ISADMIN_NO_UNDO": "1"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        talk = asyncio.create_task(child.communicate())
        stop = asyncio.create_task(self._stopping.wait())
        await asyncio.wait((talk, stop), return_when=asyncio.FIRST_COMPLETED)
        if not talk.done():
            child.kill()
        stop.cancel()
        output, _ = await talk
        lines = [line for line in output.decode(errors="replace").splitlines() if line.strip()]
        status = child.returncode or 0
        for line in lines:
            log.log(logging.WARNING if status else logging.INFO, "restoreconfig: %s", line)
        if status in (0, NoFileError.status):
            return Restored(0, f"restored {file}" if status == 0 else "", RESTORED[status])
        if status not in (RefusedFileError.status, PartlyRestoredError.status):
            status = IsadminError.status
        result = RESTORED.get(status, "failed")
        last = lines[-1].removeprefix("isadmin: ") if lines else ""
        return Restored(status, last or f"restoring {file} failed", result)

    def _announce(self, restored: Restored, report: int | None) -> None:
        info = DaemonInfo(
            pid=os.getpid(),
            mount=str(self._mountpoint),
            state_dir=str(self._state),
            runtime_dir=str(self._runtime),
            version=__version__,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            restored=restored.line,
            restore=restored.result,
        )
        new = self._runtime / "daemon.json.new"
        new.write_text(json.dumps(info.facts()) + "\n")
        new.replace(self._runtime / "daemon.json")
        log.info("userspace target ready, mounted at %s", info.mount)
        notify(f"READY=1\nSTATUS={restored.line or 'nothing to restore'}")
        if report is not None:
            Report(restored.status, restored.line).send(report)

    async def _end(self, *, keep_log: bool) -> None:
        notify("STOPPING=1")
        if self._live is not None:
            asyncio.get_running_loop().remove_reader(self._live.fileno())
            self._live.close()
        self._detach()
        await self._target.stop()
        control.clear(self._runtime, keep_log=keep_log)
        log.info("userspace target stopped")


def run(*, empty: bool, report: int | None = None) -> int:
    """Be the daemon until told to stop; the exit status.

    Raises AlreadyRunningError, NoTargetError. With `report`, errors go there and give the status.
    """
    try:
        os.umask(0o077)
        if report is not None:
            os.set_inheritable(report, False)
        start_log()
        runtime, state = (control.make_private(path) for path in (control.runtime_dir(), control.state_dir()))
        os.environ["ISADMIN_RUNTIME_DIR"], os.environ["ISADMIN_STATE_DIR"] = str(runtime), str(state)
        control.take_lock(runtime)
        os.chdir("/")
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

        async def life() -> None:
            await Daemon(runtime, state, empty=empty).run(report)

        loops.run(life())
    except IsadminError as error:
        if report is None:
            raise
        with suppress(OSError):
            Report(error.status, str(error), error.remedy).send(report)
        return error.status
    return 0
