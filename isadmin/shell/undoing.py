"""Taking changes of the running target back."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from isadmin.config import diff, journal, parts
from isadmin.config.changes import Plan
from isadmin.config.model import Flat, Key, name_of
from isadmin.config.parts import Known, Part
from isadmin.errors import IsadminError
from isadmin.shell import plans

if TYPE_CHECKING:
    from isadmin.shell.session import Session


def last(session: Session, count: int) -> list[journal.Entry]:
    """The last changes, the newest first. Raises IsadminError if there are not so many."""
    entries = journal.newest(session.host.journal, count)
    if not entries:
        raise IsadminError("There is no change to undo")
    if len(entries) < count:
        raise IsadminError(f"Only {len(entries)} changes can be undone", f"try `undo {len(entries)}`")
    return entries


def plan(session: Session, entries: list[journal.Entry], *, force: bool) -> tuple[Plan, Flat]:
    """What takes these changes back, the newest of which is the first; and the running configuration.

    Raises IsadminError if, without `force`, something is not any more as these changes left it; of a change
    whose process was killed, nobody knows how it was left.
    """
    now = plans.running(session)
    after: dict[Key, Known] = {}
    before: dict[Key, Known] = {}
    begun = {key for entry in entries if entry.begun for key in entry.after}
    for entry in entries:
        for key, one in entry.after.items():
            after[key] = parts.over(one, after[key]) if key in after else one
        for key, one in entry.before.items():
            before[key] = parts.over(before.get(key), one)
    if not force:
        changed = [key for key, one in after.items() if key not in begun and not _is(now, key, one)]
        if changed:
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            what = f"{name_of(changed[0])}{more} changed since"
            raise IsadminError(f"Not undone: {what}", "see `undo --dry-run --force`")
    return plans.back_to(now, before), now


def take_back(session: Session, entries: list[journal.Entry], plan: Plan, now: Flat) -> None:
    """Carry out such a plan, and forget the entries. If it fails, they stay; if this process is killed,
    too, and can be taken back from whatever was done of it. Raises IsadminError."""
    begun = [_marked(entry, journal.BEGUN) for entry in entries]
    try:
        plans.do(session, plan, now)
    except plans.HalfDoneError:
        raise
    except BaseException:
        for was, entry in zip(entries, begun, strict=True):
            _marked(entry, journal.BEGUN if was.begun else journal.DONE)
        raise
    journal.forget(begun)


def _marked(entry: journal.Entry, end: str) -> journal.Entry:
    """The entry as journal.renamed renames it, or as it was if that cannot be."""
    with suppress(OSError):
        return journal.renamed(entry, end)
    return entry


def _is(now: Flat, key: Key, one: Known) -> bool:
    """Is there at a key what an entry says?"""
    there = now.get(key)
    if there is None or one is None:
        return there is None and one is None
    whole = parts.put(there, one) if isinstance(one, Part) else one
    wanted = diff.merged({key: there}, {key: whole}, prune=True)
    return not diff.differing(key, there, wanted[key])
