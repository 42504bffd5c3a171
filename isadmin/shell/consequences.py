"""What else goes when an object is deleted: LUNs, mappings, sessions. A person at a terminal is told and
asked before; a script is not, as with targetcli.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from isadmin.errors import IsadminError
from isadmin.lio import sessions
from isadmin.lio.exports import exports_of
from isadmin.shell.language import Command

if TYPE_CHECKING:
    from isadmin.lio.objects import Lio, Lun, NodeAcl, Tpg
    from isadmin.lio.storage_objects import StorageObject
    from isadmin.shell.session import Session

MOST = 10
"""How many of a kind are listed."""


class DeclinedError(IsadminError):
    """The user was asked, and said no."""


def argument(command: Command, name: str) -> str | None:
    """The first parameter of a command, called `name`; None if it is not given."""
    return command.arguments[0] if command.arguments else command.keywords.get(name)


def of_storage_object(lio: Lio, so: StorageObject) -> list[str]:
    """What deleting it takes along, one text each."""
    luns = exports_of(lio, so)
    return _shortened("deletes {}", (lun.place for lun in luns)) + of_luns(luns)


def of_luns(luns: Iterable[Lun]) -> list[str]:
    """What deleting them takes along."""
    mapped: list[str] = []
    losing: list[str] = []
    for lun in luns:
        place = lun.tpg.place
        mappings = lun.mappings()
        mapped += [f"{place}/acls/{one.acl.wwn}/mapped_lun{one.number}" for one in mappings]
        shown = {one.acl.wwn for one in mappings}
        seeing = (one for one in sessions.of_tpg(lun.tpg) if one.dynamic or one.initiator in shown)
        losing += [f"{one.initiator} at {place}" for one in seeing]
    unique = dict.fromkeys(losing)
    return _shortened("deletes {}", mapped) + _shortened("takes LUNs from the session of {}", unique)


def of_tpgs(tpgs: Iterable[Tpg]) -> list[str]:
    """Which sessions end with portal groups."""
    return _ended(session for tpg in tpgs for session in sessions.of_tpg(tpg))


def of_acl(acl: NodeAcl) -> list[str]:
    """Which sessions end with an ACL."""
    return _ended(sessions.of_acl(acl))


def _ended(found: Iterable[sessions.Session]) -> list[str]:
    return _shortened(
        "ends the session of {}",
        [f"{one.initiator} at {one.tpg.place}" for one in found if one.tpg is not None],
    )


def _shortened(text: str, names: Iterable[str]) -> list[str]:
    listed = list(names)
    lines = [text.format(name) for name in listed[:MOST]]
    return lines + ([text.format(f"{len(listed) - MOST} more")] if len(listed) > MOST else [])


def ask(session: Session, what: str, lines: list[str]) -> None:
    """Tell the user what a command does besides, and go on only if told to. Raises DeclinedError."""
    told = "".join(f"  {line}\n" for line in lines)
    if not session.asked(f"{what} also\n{told}Go on? [y/N] "):
        raise DeclinedError("Nothing was deleted")
