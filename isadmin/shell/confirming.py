"""`apply --confirm-within`: a change that is undone unless it is confirmed in time.

What is to be undone is on the disk before the first change is made. Two processes of their own wait for the
time to pass, and watch each other: when one is killed, the other makes a new one. Whichever is first undoes
the change, under the target's lock, with what others have made since that needs what goes; `confirm` removes
the file, and they end. The end of the process that applies does not matter; if it comes while it is applying,
what it did is undone at once. Where systemd runs, which may kill what a session leaves behind, a timer of its
own starts a third process when the time has passed. If all of them are killed, the next command that changes
the target finds the file, and undoes what is overdue before it begins; those that only read warn of it. What
LIO refuses to have undone keeps no command from being carried out: it is warned of, and tried again, until it
succeeds or is confirmed.

    python -m isadmin.shell.confirming HOST FILE APPLYING READY

is a waiting process. HOST is a host as JSON, APPLYING a socket that says "+" once all is applied and ends
with the process that applies, READY a pipe that is told when both processes wait. Without the last two, it
is the one that systemd starts.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from isadmin.config import generations, journal, parts
from isadmin.config.changes import Delete
from isadmin.config.model import Key, name_of, sort_key
from isadmin.errors import IsadminError, RefusedFileError

if TYPE_CHECKING:
    from isadmin.config.changes import Plan
    from isadmin.config.model import Flat
    from isadmin.config.parts import Known
    from isadmin.lio.host import Host
    from isadmin.shell.session import Session

POLL = 0.2
"""Seconds between two looks at whether the change is confirmed."""
PATIENCE = 600.0
"""Seconds to wait for the lock when the time has come."""
GRACE = 10
"""Seconds after the time has passed in which those that wait are left to do it."""
SYSTEMD = Path("/run/systemd/system")
"""It is there where systemd runs (sd_booted(3))."""
LONGEST_PAUSE = 60.0
"""Seconds between two tries to undo what cannot be undone, at most."""


def pending(host: Host) -> Path | None:
    """The file of the change that is not confirmed yet."""
    entries = journal.newest(host.unconfirmed, 1)
    return entries[0].file if entries else None


def _facts(entry: journal.Entry) -> tuple[int, str]:
    """(seconds to confirm within, life of the target)"""
    facts = json.loads(entry.origin.command)
    return int(facts["seconds"]), str(facts["life"])


def _life(host: Host) -> str:
    """Another text after each start of the target, which then is as it was saved."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with suppress(OSError, ValueError, KeyError):
        daemon = json.loads((host.runtime / "daemon.json").read_bytes())
        if daemon["mount"] == str(host.path):
            return f"{boot} {daemon['started']}"
    return boot


def _remaining(file: Path, seconds: int) -> float:
    """The time left: it began when the file was last touched. Raises FileNotFoundError if it is gone."""
    return file.stat().st_mtime + seconds - time.time()


# The process that applies


def begin(session: Session, plan: Plan, before: Flat, seconds: int) -> str:
    """Before applying a plan: note what there is now, and start the processes that wait. What marks the
    change, for its entry in the journal.

    Raises IsadminError if another change is unconfirmed, or if that cannot be done.
    """
    directory = session.host.unconfirmed
    if pending(session.host) is not None:
        raise IsadminError(
            "An earlier change is not confirmed yet", "type `confirm`, or wait until it is undone"
        )
    facts = json.dumps({"seconds": seconds, "life": _life(session.host)})
    file = None
    try:
        touched = {key: before.get(key) for key in sorted(plan.keys(), key=sort_key)}
        mark = os.urandom(8).hex()
        after = {key: plan.result.get(key) for key in touched}
        file = journal.push(directory, generations.origin_now(facts), touched, after, mark=mark).file
        assert file is not None
        _start(session.host, file)
        _start_timer(session.host, file, mark, seconds)
    except OSError as error:
        if file is not None:
            # Nobody waits for it.
            _drop(file)
        raise IsadminError(
            f"Cannot note the change to undo: {error.strerror}", "nothing was changed"
        ) from error
    return mark


def _start(host: Host, file: Path) -> None:
    # The end that stays here closes with this process; `settled` says that all is applied.
    ours, theirs = socket.socketpair()
    ready, tell = os.pipe()
    try:
        subprocess.Popen(
            [*_waiting(host, file), str(theirs.fileno()), str(tell)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), tell),
            start_new_session=True,
        )
    finally:
        theirs.close()
        os.close(tell)
    try:
        if not select.select([ready], [], [], 30)[0] or not os.read(ready, 1):
            file.unlink(missing_ok=True)
            raise IsadminError("The process that would undo the change did not start", "nothing was changed")
    finally:
        os.close(ready)
    _applying.append(ours)


def _start_timer(host: Host, file: Path, mark: str, seconds: int) -> None:
    """Have systemd start a process when the time has passed. It is no failure if it cannot: two wait."""
    words = ["--quiet", "--collect", f"--unit={_unit(mark)}", "--description=undo what is not confirmed"]
    words += [f"--on-active={seconds + GRACE}", "--timer-property=AccuracySec=1s"]
    if path := os.environ.get("PYTHONPATH"):
        words.append(f"--setenv=PYTHONPATH={path}")
    _tell_systemd("systemd-run", *words, *_waiting(host, file))


def _stop_timer(mark: str) -> None:
    _tell_systemd("systemctl", "--quiet", "stop", f"{_unit(mark)}.timer")


def _unit(mark: str) -> str:
    return f"isadmin-unconfirmed-{mark}"


def _tell_systemd(program: str, *words: str) -> None:
    if not SYSTEMD.is_dir():
        return
    whose = [] if os.geteuid() == 0 else ["--user"]
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(
            [program, *whose, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=10,
        )


def _waiting(host: Host, file: Path) -> list[str]:
    return [sys.executable, "-m", "isadmin.shell.confirming", _described(host), str(file)]


_applying: list[socket.socket] = []


def settled(session: Session) -> None:
    """All of the plan is applied: from now on only time undoes it."""
    file = pending(session.host)
    if file is not None:
        with suppress(OSError):
            os.utime(file)
    while _applying:
        ours = _applying.pop()
        with suppress(OSError):
            ours.send(b"+")
        ours.close()


def called_off(session: Session) -> None:
    """Applying failed and was undone: there is nothing to confirm."""
    file = pending(session.host)
    if file is not None:
        _drop(file)
    settled(session)


def _drop(file: Path) -> None:
    entry = journal.read(file)
    file.unlink(missing_ok=True)
    if entry is not None:
        _stop_timer(entry.mark)
    with suppress(OSError):
        file.parent.rmdir()


# Other commands


def confirm(session: Session) -> None:
    """Keep the change. Raises IsadminError if there is none to confirm."""
    file = pending(session.host)
    if file is None:
        raise IsadminError("There is no change to confirm")
    _drop(file)


def overdue(host: Host) -> str:
    """What to warn of: a change that should have been undone by now; "" if there is none."""
    file = pending(host)
    entry = None if file is None else journal.read(file)
    if file is None or entry is None:
        return ""
    seconds, life = _facts(entry)
    with suppress(FileNotFoundError):
        if life == _life(host) and _remaining(file, seconds) < -GRACE:
            what = f"the change of {entry.origin.time} was not confirmed in time and is not undone yet"
            return f"{what}: the next command that changes the target tries to; see {log_of(host)}"
    return ""


def refuse_saving(host: Host) -> None:
    """What will be undone must not come back when the machine starts. Raises RefusedFileError."""
    if pending(host) is not None:
        what = "The last change is not confirmed: not saved"
        raise RefusedFileError(what, "type `confirm` first; `saveconfig --force` saves it all the same")


def settle(session: Session) -> None:
    """Undo what is overdue and has nobody left who does it; under the lock. If that cannot be, it is only
    said: `confirm`, `undo` and all else must stay possible."""
    file = pending(session.host)
    entry = None if file is None else journal.read(file)
    if file is None or entry is None:
        return
    try:
        seconds, life = _facts(entry)
        if life == _life(session.host) and _remaining(file, seconds) > 0:
            return
        session.warn(_take_back(session, file, entry))
    except FileNotFoundError:
        return
    except (IsadminError, OSError) as error:
        what = f"the change of {entry.origin.time} was not confirmed in time and cannot be undone"
        cause = error.line() if isinstance(error, IsadminError) else str(error)
        session.warn(f"{what}: {cause}: `confirm` keeps it")


# The processes that wait


def _described(host: Host) -> str:
    state = None if host.state is None else str(host.state)
    return json.dumps([host.kind, str(host.path), state, str(host.runtime)])


def _host_of(text: str) -> Host:
    from isadmin.lio.host import Host

    kind, path, state, runtime = json.loads(text)
    return Host(kind, Path(path), None if state is None else Path(state), Path(runtime))


def main(arguments: list[str]) -> int:
    """Wait, then undo. The exit status is for nobody."""
    host, file = _host_of(arguments[0]), Path(arguments[1])
    if len(arguments) == 2:
        _wait_late(host, file)
        return 0
    applying, ready = socket.socket(fileno=int(arguments[2])), int(arguments[3])
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    entry = journal.read(file)
    if entry is None:
        return 1
    other = _other()
    with suppress(OSError):
        os.write(ready, b"!")
    os.close(ready)
    _wait(host, file, entry, applying, other)
    return 0


def _other() -> socket.socket:
    """Become two processes; a socket that ends when the other one does."""
    ours, theirs = socket.socketpair()
    mine, its = (ours, theirs) if os.fork() else (theirs, ours)
    its.close()
    return mine


def _wait(
    host: Host, file: Path, entry: journal.Entry, applying: socket.socket, other: socket.socket
) -> None:
    seconds, _ = _facts(entry)
    pause = 1.0
    while True:
        try:
            remaining = _remaining(file, seconds)
        except FileNotFoundError:
            return
        done = _is_applied(applying)
        if done is False or (done and remaining <= 0):
            try:
                _undo(host, file, entry)
            except Exception as error:  # noqa: BLE001 - whatever it was, it must be tried again
                _log(host, f"the change of {entry.origin.time} cannot be undone: {error}")
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        # Nothing is ever sent: it is readable once it has ended.
        if select.select([other], [], [], POLL)[0]:
            other.close()
            if file.exists():
                other = _other()


def _wait_late(host: Host, file: Path) -> None:
    """As the one that systemd has started: the time began later than its timer, when all was applied."""
    pause = 1.0
    while (entry := journal.read(file)) is not None:
        seconds, _ = _facts(entry)
        try:
            remaining = _remaining(file, seconds)
            if remaining <= 0:
                _undo(host, file, entry, after=seconds)
                continue
            time.sleep(min(remaining + POLL, LONGEST_PAUSE))
        except FileNotFoundError:
            return
        except Exception as error:  # noqa: BLE001 - whatever it was, it must be tried again
            _log(host, f"the change of {entry.origin.time} cannot be undone: {error}")
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def _is_applied(applying: socket.socket) -> bool | None:
    """Is all of the plan carried out? None: not yet; False: the process that did it has died."""
    try:
        # What both processes are to see, neither takes away.
        return bool(applying.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return None


def _undo(host: Host, file: Path, entry: journal.Entry, after: int | None = None) -> None:
    """Undo it now, or, with `after` seconds, if its time has passed once the lock is had."""
    from isadmin.shell.session import Session

    with host.lock(PATIENCE):
        if not file.exists() or (after is not None and _remaining(file, after) > 0):
            return
        host.prepare()
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - no path of anything
            _log(host, _take_back(Session(host, out=nowhere, err=nowhere), file, entry))


def _log(host: Host, text: str) -> None:
    """Nobody sees what these processes print: the system's log has it, and a file of the target's."""
    import syslog

    syslog.openlog("isadmin", syslog.LOG_PID, syslog.LOG_DAEMON)
    syslog.syslog(syslog.LOG_WARNING, text)
    with suppress(OSError):
        line = f"{datetime.now(UTC).isoformat(timespec='seconds')} {text}\n"
        descriptor = os.open(log_of(host), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as log:
            log.write(line)


def log_of(host: Host) -> Path:
    """Where the processes that wait write what they did, and why they could not."""
    return host.unconfirmed.with_name("unconfirmed.log")


def _take_back(session: Session, file: Path, entry: journal.Entry) -> str:
    """Undo a change, unless its target has ended since; what to say of it. Raises IsadminError."""
    from isadmin.shell import plans

    _, life = _facts(entry)
    what = f"the change of {entry.origin.time} was not confirmed, and ended with its target"
    along: list[Key] = []
    if life == _life(session.host):
        now = plans.running(session)
        plan = plans.back_to(now, _before(entry, now), along=True)
        plans.do(session, plan, now)
        what = f"the change of {entry.origin.time} was not confirmed in time and is undone now"
        along = _along(plan, entry)
        if along:
            what += f", with what has come to need it: {', '.join(map(name_of, along))}"
    _forget(session, entry, along)
    _drop(file)
    return what


def _forget(session: Session, entry: journal.Entry, along: list[Key]) -> None:
    """What is undone cannot be undone once more; nor what has gone with it, which was made later."""
    for one in journal.newest(session.host.journal, journal.MOST):
        if one.mark == entry.mark:
            journal.forget([one])
            return
        journal.shrunk(one, along)


def _before(entry: journal.Entry, now: Flat) -> dict[Key, Known]:
    """The objects as they were, with the values that somebody else has set in them since."""
    return {
        key: one if key not in now else parts.rebased(one, entry.after.get(key), now[key])
        for key, one in entry.before.items()
    }


def _along(plan: Plan, entry: journal.Entry) -> list[Key]:
    """What is deleted that the change itself had not made."""
    deleted = {change.key for change in plan.changes if isinstance(change, Delete)}
    return sorted(deleted - plan.result.keys() - entry.before.keys(), key=sort_key)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
