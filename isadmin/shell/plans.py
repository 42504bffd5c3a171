"""Plans as a user sees them, and carrying them out so that they can be taken back."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from isadmin.config import diff, document, generations, journal, parts
from isadmin.config.changes import Change, Create, Delete, Plan, Set, verb
from isadmin.config.model import (
    DEFAULT_GROUP,
    Flat,
    Key,
    Object,
    StorageObject,
    flatten,
    name_of,
    parent_of,
)
from isadmin.config.parts import Part
from isadmin.errors import IsadminError
from isadmin.lio import rehearsal, saved
from isadmin.shell import ending, waiting
from isadmin.shell.language import MASK

if TYPE_CHECKING:
    from isadmin.lio.apply import Outcome
    from isadmin.shell.render import Paint
    from isadmin.shell.session import Session

COLORS = {"create": "green", "map": "green", "enable": "green", "set": "yellow"}
SHOWN = ("dev", "size", "config", "storage_object", "tpg_lun", "write_protect")
"""What is said of a new object."""
SIGNS = {"create": "+", "map": "+", "delete": "-", "unmap": "-"}


NO_UNDO = "ISADMIN_NO_UNDO"
"""What restores at boot sets it: the first `undo` is not to take all of that back."""


class HalfDoneError(IsadminError):
    """A plan failed, and what was done of it could not be undone."""


def running(session: Session) -> Flat:
    """The running configuration. Raises IsadminError."""
    with waiting.slow(session, "reading the configuration"):
        return flatten(document.value(saved.dump(session.host)))


# What is shown


def show(session: Session, plan: Plan, nothing: str, **facts: object) -> None:
    """Print a plan and whose session it ends or cuts, or, if there is nothing to do, `nothing`; answer with
    the same and these facts."""
    secrets = session.show_secrets
    for line in described(plan, session.paint(), show_secrets=secrets):
        session.say(line)
    ended = ended_sessions(session, plan.changes)
    for line in ended:
        session.say(f"! {line}")
    if not plan:
        session.say(nothing)
    changes = as_json(plan, show_secrets=secrets)
    session.answer(same=not plan, changes=changes, sessions=ended, **facts)


def described(plan: Plan, paint: Paint, *, show_secrets: bool) -> list[str]:
    """The plan, grouped by object: one line for each object that comes or goes, one for each value."""
    lines: list[str] = []
    last: Key | None = None
    for change in plan.changes:
        word = verb(change)
        color = COLORS.get(word, "red")
        name = name_of(change.key)
        if isinstance(change, Set):
            if change.key != last:
                lines.append(f"~ {paint(name, bold=True)}")
            lines.append(paint(f"    {_value_line(change, show_secrets=show_secrets)}", color))
            last = change.key
            continue
        last = None
        if change.key[-1] == DEFAULT_GROUP:
            # It comes and goes with its storage object.
            continue
        again = plan.because.get(change.key)
        line = paint(f"{SIGNS[word]} {name}", color)
        details = _details(change)
        if details:
            line += f"  {details}"
        lines.append(line)
        if isinstance(change, Delete) and again:
            lines.append(f"    made again: {again}")
        if isinstance(change, Delete) and _holds_data(change.value):
            lines.append("    what is in it will be lost")
    return lines


def _holds_data(one: Object) -> bool:
    """Is what was written to it lost with it?"""
    return isinstance(one, StorageObject) and one.plugin == "ramdisk" and not one.nullio


def _value_line(change: Set, *, show_secrets: bool) -> str:
    group = f"{change.group} " if change.group else ""
    if change.name == "enable":
        return verb(change)
    old, new = (_shown(change, value, show_secrets=show_secrets) for value in (change.old, change.new))
    return f"{group}{change.name}: {old} -> {new}"


def _shown(change: Set, value: object, *, show_secrets: bool) -> str:
    if value in (None, ""):
        return "(none)"
    return MASK if change.secret and not show_secrets else str(value)


def _details(change: Create | Delete) -> str:
    if isinstance(change, Delete):
        return ""
    shown = []
    for field in fields(change.value):
        value = getattr(change.value, field.name)
        if field.name in SHOWN and value not in (None, "") and value is not False:
            shown.append(f"{field.name}={value}")
    return " ".join(shown)


def as_json(plan: Plan, *, show_secrets: bool) -> list[dict[str, Any]]:
    """The changes in order, one object each."""
    found: list[dict[str, Any]] = []
    for change in plan.changes:
        facts: dict[str, Any] = {"change": verb(change), "object": name_of(change.key)}
        if isinstance(change, Set):
            hidden = change.secret and not show_secrets
            facts |= {
                "group": change.group or None,
                "name": change.name,
                "old": None if hidden else change.old,
                "new": None if hidden else change.new,
                "hidden": hidden,
            }
        elif change.key in plan.because:
            facts["made_again"] = plan.because[change.key]
        found.append(facts)
    return found


def ended_sessions(session: Session, changes: Iterable[Change]) -> list[str]:
    """Who loses a session, or the LUNs of one, by these changes: one text each."""
    from isadmin.lio.sessions import all_sessions

    listed = list(changes)
    off = {c.key[1:4] for c in listed if c.key[0] == "tpg" and verb(c) in ("disable", "delete")}
    acls = {c.key[1:5] for c in listed if isinstance(c, Delete) and c.key[0] == "node_acl"}
    luns = {c.key[1:4] for c in listed if isinstance(c, Delete) and c.key[0] == "lun"}
    mapped = {c.key[1:5] for c in listed if isinstance(c, Delete) and c.key[0] == "mapped_lun"}
    if not (off or acls or luns or mapped):
        return []
    found = []
    for one in all_sessions(session.lio):
        if one.tpg is None:
            continue
        place = (one.tpg.fabric.name, one.tpg.target.wwn, one.tpg.tag)
        who = f"{one.initiator} at {name_of(('tpg', *place))}"
        if place in off or (*place, one.initiator) in acls:
            found.append(f"ends the session of {who}")
        elif (*place, one.initiator) in mapped or (one.dynamic and place in luns):
            found.append(f"takes LUNs from the session of {who}")
    return found


# What is done


@contextmanager
def noted(session: Session, command: str) -> Iterator[None]:
    """Note what the block changes, so that `undo` can take it back."""
    from isadmin.lio import touched

    with touched.watching(session.lio) as seen:
        try:
            yield
        finally:
            before, after = seen.before, seen.after()
    write_entry(session, command, before, after)


def write_entry(
    session: Session,
    command: str,
    before: journal.Objects,
    after: journal.Objects,
    *,
    begun: bool = False,
    mark: str = "",
) -> journal.Entry | None:
    """Note a change; only a warning if that cannot be. None if there is none, or none is to be noted."""
    directory = session.host.journal
    was, became = parts.changed(before, after)
    if not was or os.environ.get(NO_UNDO):
        return None
    try:
        origin = generations.origin_now(command)
        return journal.push(directory, origin, was, became, begun=begun, mark=mark)
    except OSError as error:
        session.warn(f"undo cannot take this back: {directory}: {error.strerror}")
        return None


def carry_out(
    session: Session, plan: Plan, before: Flat, command: str, *, keep_going: bool = False, mark: str = ""
) -> Outcome:
    """Do what a plan says, as `do`, and note it for `undo`: as begun before, so that it can be taken back
    even if this process is killed meanwhile."""
    if rehearsal.runs():
        return do(session, plan, before, keep_going=keep_going)
    touched = plan.keys()
    was = {key: before.get(key) for key in touched}
    intent = {key: plan.result.get(key) for key in was}
    entry = write_entry(session, command, was, intent, begun=True, mark=mark)
    outcome = do(session, plan, before, keep_going=keep_going, entry=entry)
    if entry is None:
        return outcome
    if outcome.failed or outcome.skipped:
        after = running(session)
        with suppress(OSError):
            journal.forget([entry])
        write_entry(session, command, was, {key: after.get(key) for key in was}, mark=mark)
    else:
        # One that stays begun can be taken back all the same.
        with suppress(OSError):
            journal.renamed(entry, journal.DONE)
    return outcome


def do(
    session: Session,
    plan: Plan,
    before: Flat,
    *,
    keep_going: bool = False,
    entry: journal.Entry | None = None,
) -> Outcome:
    """Do what a plan says; if a step fails, or a signal wants to end this program, take back what was done,
    and the entry that notes it.

    Raises IsadminError, which says what failed and what became of the rest.
    """
    if rehearsal.become(plan.result):
        from isadmin.lio import apply

        return apply.Outcome(len(plan.changes))
    shown = waiting.Progress(session.err, "changes")

    def progress(done: int, of: int) -> None:
        # Between two changes, nothing is half made.
        held.obey()
        shown(done, of)

    with ending.held() as held:
        try:
            return saved.carry_out(session.host, plan.changes, keep_going=keep_going, progress=progress)
        except BaseException as error:
            shown.hide()
            _taken_back(session, plan, before, error, entry)
            if held.obeyed:
                # The terminal may be what has ended.
                with suppress(OSError):
                    session.warn(f"ended by {held.obeyed}: everything done before it was undone")
            raise


def _taken_back(
    session: Session, plan: Plan, before: Flat, error: BaseException, entry: journal.Entry | None
) -> None:
    """Undo what was done of a plan, and its entry. Raises IsadminError saying so, for an `error` that is
    one."""
    from isadmin.lio.apply import StepError

    touched = plan.keys()
    step = f" (step {error.done + 1} of {len(plan.changes)})" if isinstance(error, StepError) else ""
    try:
        back = back_to(running(session), {key: before.get(key) for key in touched})
        shown = waiting.Progress(session.err, "changes undone")
        saved.carry_out(session.host, back.changes, progress=shown)
    except IsadminError as second:
        what = f"{error}{step}; and what was done before could not be undone: {second}"
        raise HalfDoneError(what, "see `diff`, and `undo` once the cause is mended") from second
    if entry is not None:
        with suppress(OSError):
            journal.forget([entry])
    if isinstance(error, IsadminError):
        undone = (
            "; everything done before it was undone" if not isinstance(error, StepError) or error.done else ""
        )
        failure = IsadminError(f"{error}{step}{undone or '; nothing was changed'}", error.remedy)
        failure.status = error.status
        raise failure from error


def back_to(now: Flat, objects: journal.Objects, *, along: bool = False) -> Plan:
    """The plan that makes these objects be as given, None for not at all, and leaves the others, and values
    of objects that are gone. What came later and needs what goes stands in the way, or, with `along`, goes
    with it.

    Raises IsadminError if something stands in the way.
    """
    wanted = dict(now)
    for key, one in objects.items():
        if isinstance(one, Part):
            if key in now:
                wanted[key] = parts.put(now[key], one)
        elif one is not None:
            wanted[key] = one
        elif not (key[0] == "port_group" and key[-1] == DEFAULT_GROUP):
            wanted.pop(key, None)
    for key in list(wanted):
        if key[-1] == DEFAULT_GROUP and parent_of(key) not in wanted:
            del wanted[key]
    if along:
        wanted = diff.without_dangling(wanted)
    try:
        return diff.exact(now, diff.merged(now, wanted, prune=True))
    except diff.DanglingError as error:
        raise IsadminError(f"Cannot be taken back: {error}", "undo later changes first") from error
