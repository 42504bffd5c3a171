"""A batch that is done whole or not at all: what it touches is noted, and put back as it was if a line fails.

Only what the batch itself changed is put back, value by value: changes that others made meanwhile stay. What
storage objects held is not configuration: a ramdisk that was deleted comes back empty, a file that was
created stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from isadmin.config import parts
from isadmin.config.model import Flat, Key, StorageObject
from isadmin.config.parts import Known
from isadmin.errors import IsadminError
from isadmin.lio import saved, touched

if TYPE_CHECKING:
    from isadmin.shell.session import Session


class Whole:
    """A batch that is being run whole or not at all."""

    def __init__(self, session: Session, seen: touched.Touched) -> None:
        self._session = session
        self._seen = seen
        self._was_changed = session.changed
        self._saved = _version(session)

    def take_back(self) -> str:
        """Put everything back; what to say of it. Raises IsadminError if that is not possible."""
        from isadmin.shell import ending, plans

        session = self._session
        with session.alone():
            now = plans.running(session)
            before = self._before(now)
            try:
                plan = plans.back_to(now, before)
                with ending.held():
                    saved.carry_out(session.host, plan.changes)
            except IsadminError as error:
                raise IsadminError(f"The batch could not be undone: {error}", error.remedy) from error
            keys = plan.keys()
            plans.write_entry(
                session, "(batch undone)", {k: now.get(k) for k in keys}, {k: before.get(k) for k in keys}
            )
        session.changed = self._was_changed
        for key in keys:
            one = before.get(key)
            if isinstance(one, StorageObject) and one.plugin == "ramdisk" and key not in now:
                session.warn(f"ramdisk {one.name} was deleted and made again: it is empty")
        if _version(session) != self._saved:
            session.warn("the batch had saved what was undone: save the configuration again")
        return "nothing had been changed" if not plan.changes else "everything before it was undone"

    def _before(self, now: Flat) -> dict[Key, Known]:
        """What the batch touched as it was before, but for what others have changed of it since."""
        found: dict[Key, Known] = {}
        for key, before in self._seen.before.items():
            there = now.get(key)
            left = self._seen.left.get(key, there)
            if left is None and there is not None and before is not None:
                continue  # deleted by the batch, made again by somebody else
            found[key] = parts.rebased(before, left, there)
        return found


@contextmanager
def whole(session: Session) -> Iterator[Whole]:
    """Note what the block does to the session's target, so that it can be taken back."""
    with touched.watching(session.lio) as seen:
        yield Whole(session, seen)


def _version(session: Session) -> int | None:
    """Another one whenever the saved configuration is another."""
    try:
        return None if session.host.savefile is None else session.host.savefile.stat().st_ino
    except OSError:
        return None
