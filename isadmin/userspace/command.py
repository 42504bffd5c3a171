"""`isadmin userspace start | stop | status | exec`: the command line of the userspace target."""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from isadmin.errors import IsadminError, NoTargetError, PartlyRestoredError, RefusedFileError, UsageError
from isadmin.userspace import control
from isadmin.userspace.control import DaemonInfo

NOT_RUNNING = 3
"""Exit status of `status` without a daemon, as LSB and systemctl have it."""
STOP_SECONDS = 60.0
REPORT_FD = "ISADMIN_REPORT_FD"

EPILOG = """\
exit status:
  0  done (start: runs now, or ran already; stop: does not run any more; status: runs)
  2  wrong usage
  3  status: not running; start: cannot start, e.g. no FUSE; exec: nothing runs
  6  start: runs, but the saved configuration was refused and nothing of it is there
  7  start: runs, but some of the saved configuration could not be restored
  exec ends with its command's status: 126 when it cannot be run, 127 when there is none
"""


class _Parser(argparse.ArgumentParser):
    """Of the commands, too: options are spelled out, and errors are ours."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"see `{self.prog} --help`")


def parser() -> argparse.ArgumentParser:
    top = _Parser(
        prog="isadmin userspace",
        description="Run the iSCSI target in user space, configured through a directory like the kernel's.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = top.add_subparsers(dest="action", metavar="start | stop | status | exec", required=True)
    start = actions.add_parser(
        "start", help="start it, restore its saved configuration, and say where it is mounted"
    )
    start.add_argument("--empty", action="store_true", help="do not restore the saved configuration")
    start.add_argument(
        "--foreground", action="store_true", help="stay in the foreground and log to standard error"
    )
    actions.add_parser("stop", help="log the initiators out and unmount; nothing runs any more")
    status = actions.add_parser("status", help="say whether it runs, and where")
    status.add_argument("--output", choices=("text", "json"), default="text", help="as text, or as JSON")
    execute = actions.add_parser(
        "exec",
        help="run a command that sees the mount at /sys/kernel/config/target",
        usage="isadmin userspace exec -- COMMAND [ARGUMENT ...]",
    )
    execute.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    return top


def main(argv: list[str]) -> int:
    """Carry out the words after `isadmin userspace`; the exit status. Raises IsadminError."""
    words = parser().parse_args(argv)
    if words.action == "start":
        return start(empty=words.empty, foreground=words.foreground)
    if words.action == "stop":
        return stop()
    if words.action == "status":
        return status(as_json=words.output == "json")
    return execute(words.words)


def start(*, empty: bool, foreground: bool) -> int:
    if foreground:
        from isadmin.userspace import daemon

        given = os.environ.pop(REPORT_FD, None)
        return daemon.run(empty=empty, report=int(given) if given else None)
    if info := control.running():
        return _runs_already(info)
    outcome = _start_in_background(empty=empty)
    info = control.wait_until_ready() if outcome.runs else None
    if info is None:
        raise outcome.error()
    if info.pid != outcome.pid:
        return _runs_already(info)
    print(f"The userspace target is running, mounted at {info.mount} (pid {info.pid}).")
    if outcome.status:
        raise outcome.error()
    if outcome.line:
        print(f"{outcome.line[0].upper()}{outcome.line[1:]}.")
    return 0


def _runs_already(info: DaemonInfo) -> int:
    print(f"The userspace target runs already, mounted at {info.mount} (pid {info.pid}).")
    return 0


@dataclass(frozen=True, slots=True)
class _Outcome:
    """A daemon's Report, and its process."""

    pid: int
    status: int
    line: str
    remedy: str

    @property
    def runs(self) -> bool:
        """Whether a daemon is up, this one or the one that was first."""
        return self.status in (0, RefusedFileError.status, PartlyRestoredError.status)

    def error(self) -> IsadminError:
        kinds = {kind.status: kind for kind in (NoTargetError, RefusedFileError, PartlyRestoredError)}
        return kinds.get(self.status, IsadminError)(self.line, self.remedy)


def _start_in_background(*, empty: bool) -> _Outcome:
    """Start a daemon and wait for its Report; of one that died without it, say where its log is."""
    runtime = control.make_private(control.runtime_dir())
    # What is relative is so to this directory, which the daemon leaves.
    directories = {"ISADMIN_RUNTIME_DIR": str(runtime), "ISADMIN_STATE_DIR": str(control.state_dir())}
    reader, writer = os.pipe()
    log = os.open(runtime / "daemon.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        process = subprocess.Popen(
            [*control.OURSELVES, "userspace", "start", "--foreground", *(["--empty"] if empty else [])],
            env=os.environ | directories | {REPORT_FD: str(writer)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[writer],
            start_new_session=True,
        )
    finally:
        os.close(writer)
        os.close(log)
    with os.fdopen(reader) as pipe:
        report = pipe.read()
    if report:
        said = json.loads(report)
        process.returncode = 0  # It lives on without us: Popen need not warn of that.
        return _Outcome(process.pid, said["status"], said["line"], said["remedy"])
    code = process.wait()
    line = f"the daemon ended with status {code} before it was ready"
    return _Outcome(process.pid, IsadminError.status, line, f"see {runtime / 'daemon.log'}")


def stop() -> int:
    """Stop the daemon; status 0 too when none runs, once what a killed one left is cleared."""
    runtime = control.runtime_dir()
    pid = control.lock_holder(runtime)
    if not pid:
        _clear(runtime)
        print("The userspace target is not running.")
        return 0
    try:
        process = os.pidfd_open(pid)
        if control.lock_holder(runtime) == pid:
            signal.pidfd_send_signal(process, signal.SIGTERM)
    except ProcessLookupError:
        return stop()
    except PermissionError as error:
        raise IsadminError(f"cannot stop the daemon (pid {pid}): it belongs to another user") from error
    waiting = select.poll()
    waiting.register(process, select.POLLIN)
    ended = waiting.poll(STOP_SECONDS * 1000)
    os.close(process)
    if not ended:
        raise IsadminError(
            f"the daemon (pid {pid}) did not stop within {STOP_SECONDS:.0f} s", f"kill -9 {pid}"
        )
    print("The userspace target has stopped.")
    return 0


def _clear(runtime: Path) -> None:
    """What a killed daemon left. Nothing is touched when one starts right now."""
    if not runtime.is_dir():
        return
    from isadmin.userspace import mounts

    with suppress(control.AlreadyRunningError):
        control.take_lock(runtime)
        mounts.detach(runtime.resolve() / "target")
        control.clear(runtime)


def status(*, as_json: bool) -> int:
    """Print whether it runs; NOT_RUNNING when not."""
    info = control.running()
    if as_json:
        facts = {"schema": 1, "running": info is not None} | (info.facts() if info else {})
        print(json.dumps(facts, indent=2))
    elif info is None:
        print("The userspace target is not running.")
    else:
        print(f"The userspace target is running, mounted at {info.mount} (pid {info.pid}).")
        print(f"Its saved configuration and state are in {info.state_dir}.")
        if info.restored:
            print(f"At its start: {info.restored}.")
    return 0 if info else NOT_RUNNING


def execute(words: list[str]) -> int:
    """Become the command, in a mount namespace of its own; returns only by an exception."""
    command = words[1:] if words[:1] == ["--"] else words
    if not command:
        raise UsageError("exec needs a command", "isadmin userspace exec -- targetcli ls")
    info = control.running()
    if info is None:
        raise NoTargetError("the userspace target is not running", "isadmin userspace start")
    from isadmin.userspace import namespace

    return namespace.execute(info, command)
