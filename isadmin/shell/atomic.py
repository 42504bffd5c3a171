"""A batch that is done whole or not at all: what it touches is noted, and put back as it was if a line fails.

Only what the batch itself changed in the target is put back, value by value: changes that others made
meanwhile stay. The files in which it saved a configuration, preferences or bookmarks are as they were, too.
What storage objects held is no configuration: a ramdisk that was deleted comes back empty, and a file that
was made for one stays, for an initiator may have written to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from isadmin.config import parts
from isadmin.config.files import write_atomically
from isadmin.config.model import Flat, Key, StorageObject
from isadmin.config.parts import Known
from isadmin.errors import IsadminError
from isadmin.lio import saved, touched

if TYPE_CHECKING:
    from isadmin.shell.session import Session


class Kept:
    """Files as they were before they were written."""

    def __init__(self) -> None:
        self._before: dict[Path, tuple[bytes, int] | None] = {}

    def note(self, path: Path) -> None:
        """This file is about to be written. Raises IsadminError if it cannot be kept."""
        if path in self._before:
            return
        try:
            self._before[path] = path.read_bytes(), path.stat().st_mode & 0o7777
        except (FileNotFoundError, NotADirectoryError):
            self._before[path] = None
        except OSError as error:
            raise IsadminError(f"Cannot keep {path}: {error.strerror}") from error

    def put_back(self) -> bool:
        """Make all files what they were; whether any of them was anything else. Raises IsadminError."""
        changed = False
        for path, before in self._before.items():
            try:
                if before is None:
                    changed |= path.exists()
                    path.unlink(missing_ok=True)
                elif path.read_bytes() != before[0]:
                    changed = True
                    write_atomically(path, *before)
            except NotADirectoryError:
                continue
            except OSError as error:
                raise IsadminError(f"Cannot make {path} what it was: {error.strerror}") from error
        return changed


class Whole:
    """A batch that is being run whole or not at all."""

    def __init__(self, session: Session, seen: touched.Touched, kept: Kept) -> None:
        self._session = session
        self._seen = seen
        self._kept = kept
        self._was_changed = session.changed

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
        if left := [path for path in session.made_files if Path(path).exists()]:
            session.warn(f"files that it made stay: {' '.join(left)}")
        session.bookmarks.forget()
        if not self._kept.put_back() and not plan.changes:
            return "nothing had been changed"
        return "everything before it was undone"

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
    """Note what the block does to the session's target and to files, so that it can be taken back."""
    kept = Kept()
    for file in (session.preferences.user_file, session.bookmarks.file):
        if file is not None:
            kept.note(Path(file))
    session.before_writing = kept.note
    with touched.watching(session.lio) as seen:
        yield Whole(session, seen, kept)
