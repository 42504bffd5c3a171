"""Carry out a plan of config.diff on the running target, one change after the other (see worker.py)."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from isadmin.config.changes import Change, Create, Set, verb
from isadmin.config.model import (
    Key,
    Lun,
    MappedLun,
    Portal,
    StorageObject,
    name_of,
    parent_of,
)
from isadmin.errors import IsadminError
from isadmin.lio.explain import Causes, explain, is_rtslib_error
from isadmin.lio.objects import Lio
from isadmin.lio.worker import VALUE_CAUSES, ValueRefusedError, Worker

Progress = Callable[[int, int], None]
"""Called with how many changes are done, of how many."""


class StepError(IsadminError):
    """A change that LIO refused. `change` is which, `done` how many before it were carried out."""

    def __init__(self, change: Change, done: int, cause: IsadminError) -> None:
        super().__init__(str(cause), cause.remedy)
        self.change = change
        self.done = done
        self.status = cause.status


@dataclass(slots=True)
class Outcome:
    """What was done, and, with keep_going, what could not be: one text each."""

    done: int = 0
    not_had: list[str] = field(default_factory=list)
    """Values of new objects that this LIO does not have, one text each: they are left out."""
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def carry_out(
    lio: Lio, changes: Iterable[Change], *, keep_going: bool = False, progress: Progress | None = None
) -> Outcome:
    """Do the changes in order. With keep_going, one that LIO refuses is left out with all that needs it.

    Raises StepError, without keep_going, for the first change that LIO refuses.
    """
    outcome = Outcome()
    worker = Worker(lio, outcome.not_had, outcome.failed if keep_going else None)
    missing: set[Key] = set()
    listed = list(changes)
    for number, change in enumerate(listed):
        if progress is not None:
            progress(number, len(listed))
        if keep_going and missing and _needs(change, missing):
            missing.add(change.key)
            outcome.skipped.append(f"{verb(change)} {name_of(change.key)}")
            continue
        try:
            worker.do(change)
            outcome.done += 1
        except Exception as error:
            if isinstance(error, IsadminError):
                cause = error
            elif isinstance(error, OSError) or is_rtslib_error(error):
                cause = _explained(change, error)
            else:
                raise
            if not keep_going:
                raise StepError(change, number, cause) from error
            outcome.failed.append(cause.line())
            if isinstance(change, Create):
                missing.add(change.key)
    if progress is not None:
        progress(len(listed), len(listed))
    lio.forget()
    return outcome


def _needs(change: Change, missing: set[Key]) -> bool:
    key: Key | None = change.key
    while key is not None:
        if key in missing:
            return True
        key = parent_of(key)
    if isinstance(change, Create) and isinstance(change.value, Lun):
        plugin, name = change.value.storage_object.split("/")[2:]
        return ("storage_object", plugin, name) in missing
    if isinstance(change, Create) and isinstance(change.value, MappedLun):
        return ("lun", *change.key[1:4], change.value.tpg_lun) in missing
    return False


def _attempt(change: Change) -> str:
    if isinstance(change, Set):
        what = f"set {change.name} of" if verb(change) == "set" else verb(change)
        return f"Could not {what} {name_of(change.key)}"
    return f"Could not {verb(change)} {name_of(change.key)}"


def _explained(change: Change, error: Exception) -> IsadminError:
    if isinstance(error, ValueRefusedError):
        return explain(f"Could not set {error.name} of {name_of(change.key)}", error, VALUE_CAUSES)
    return explain(_attempt(change), error, _causes(change))


def _causes(change: Change) -> Causes:
    if isinstance(change, Set):
        shown = "the value" if change.group in ("chap", "discovery") else f"'{change.new}'"
        return {errno.EINVAL: (f"{shown} is not accepted", ""), errno.ENXIO: ("it is in use", "")}
    if isinstance(change, Create) and isinstance(change.value, Portal):
        cause = ("the address and port are in use or not acceptable", "ss -tlnp shows who listens")
        return {errno.EINVAL: cause}
    if isinstance(change, Create) and isinstance(change.value, StorageObject):
        return {
            errno.EBUSY: ("the device is in use", "unmount it, or stop what has it open"),
            errno.ENOENT: ("there is no such file or device", "is its file system mounted?"),
            errno.ENODEV: ("there is no such device", ""),
            errno.EINVAL: ("the target does not accept it", "is the device in use, or the wrong kind?"),
        }
    return {}
