"""`apply --confirm-within`: a change that is undone unless it is confirmed in time.

What is to be undone is on the disk before the first change is made, and a process of its own waits for the
time to pass: the end of the one that applied does not matter. If that one ends while it is applying, what it
did is undone at once. `confirm` removes the file; the waiting process finds it gone, and ends.

    python -m isadmin.shell.confirming CONFIGFS FILE DESCRIPTOR

is the waiting process; DESCRIPTOR is a pipe that ends with the process that applies.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from isadmin.config import generations, journal
from isadmin.errors import IsadminError

if TYPE_CHECKING:
    from isadmin.config.diff import Plan
    from isadmin.config.model import Flat
    from isadmin.shell.session import Session

NAME = "unconfirmed"
POLL = 0.2
"""Seconds between two looks at whether the change is confirmed."""
PATIENCE = 600.0
"""Seconds to wait for the lock when the time has come."""


def _directory(session: Session) -> Path:
    if session.host.journal is None:
        raise IsadminError("This target has no place where unconfirmed changes could be noted")
    return session.host.journal.parent / NAME


def _pending(directory: Path) -> Path | None:
    entries = journal.newest(directory, 1)
    return entries[0].file if entries else None


def begin(session: Session, plan: Plan, before: Flat, seconds: int) -> None:
    """Before applying a plan: note what there is now, and start the process that waits.

    Raises IsadminError if another change is unconfirmed, or if that cannot be done.
    """
    directory = _directory(session)
    if _pending(directory) is not None:
        raise IsadminError(
            "An earlier change is not confirmed yet", "type `confirm`, or wait until it is undone"
        )
    touched = plan.keys()
    origin = generations.origin_now(f"{time.time() + seconds}")
    try:
        journal.push(directory, origin, {key: before.get(key) for key in touched}, {})
        file = _pending(directory)
        assert file is not None
        _start(session, file)
    except OSError as error:
        raise IsadminError(
            f"Cannot note the change to undo: {error.strerror}", "nothing was changed"
        ) from error


def _start(session: Session, file: Path) -> None:
    reading, writing = os.pipe()
    ready, tell = os.pipe()
    # The end that stays here closes when this process ends; `settled` closes it when all is applied.
    os.set_inheritable(reading, True)
    os.set_inheritable(tell, True)
    command = [sys.executable, "-m", "isadmin.shell.confirming", str(session.host.path), str(file)]
    try:
        subprocess.Popen(
            [*command, str(reading), str(tell)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(reading, tell),
            start_new_session=True,
        )
    finally:
        os.close(reading)
        os.close(tell)
    try:
        if not select.select([ready], [], [], 30)[0] or not os.read(ready, 1):
            file.unlink(missing_ok=True)
            raise IsadminError("The process that would undo the change did not start", "nothing was changed")
    finally:
        os.close(ready)
    _writing.append(writing)


_writing: list[int] = []


def settled() -> None:
    """All of the plan is applied: from now on only time undoes it."""
    while _writing:
        descriptor = _writing.pop()
        os.write(descriptor, b"+")
        os.close(descriptor)


def called_off(session: Session) -> None:
    """Applying failed and was undone: there is nothing to confirm."""
    file = _pending(_directory(session))
    if file is not None:
        file.unlink(missing_ok=True)
    settled()


def confirm(session: Session) -> None:
    """Keep the change. Raises IsadminError if there is none to confirm."""
    file = _pending(_directory(session))
    if file is None:
        raise IsadminError("There is no change to confirm")
    file.unlink()


def main(arguments: list[str]) -> int:
    """Wait, then undo. The exit status is for nobody."""
    configfs, name, reading, tell = arguments
    file = Path(name)
    entry = journal.read(file)
    if entry is None:
        return 1
    os.write(int(tell), b"!")
    os.close(int(tell))
    deadline = float(entry.origin.command)
    applying: list[int] = [int(reading)]
    while time.time() < deadline and file.exists():
        if applying and select.select(applying, [], [], POLL)[0]:
            if not os.read(applying[0], 1):
                break
            applying.clear()
        elif not applying:
            time.sleep(POLL)
    return _undo(Path(configfs), file, entry)


def _undo(configfs: Path, file: Path, entry: journal.Entry) -> int:
    from isadmin.lio.host import choose
    from isadmin.shell import plans, undoing
    from isadmin.shell.session import Session

    host = choose(configfs=configfs)
    with host.lock(PATIENCE):
        if not file.exists():
            return 0
        host.prepare()
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - no path of anything
            session = Session(host, out=nowhere, err=nowhere)
            now = plans.running(session)
            undoing.carry_out(session, plans.back_to(now, entry.before), now)
        # What is undone cannot be undone once more.
        noted = journal.newest(host.journal, 1) if host.journal else []
        journal.forget([one for one in noted if one.before == entry.before])
        file.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
