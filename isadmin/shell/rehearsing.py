"""`--dry-run` at every command that changes the target: its changes are shown as `diff` shows them, and none
is made."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from isadmin.config import diff
from isadmin.lio import rehearsal
from isadmin.shell import plans

if TYPE_CHECKING:
    from isadmin.shell.language import Command
    from isadmin.shell.node import Node
    from isadmin.shell.session import Session


def rehearse(session: Session, node: Node, command: Command) -> None:
    """Print what a command would change. Raises the IsadminError with which it would be refused."""
    session.host.prepare()
    now = plans.running(session)
    with rehearsal.of(session.lio, now) as noted:
        session.rehearsing = True
        try:
            node.run(command)
        finally:
            session.rehearsing = False
    plan = diff.exact(now, noted.wanted)
    plans.show(session, replace(plan, changes=(*plan.changes, *noted.others)), "No change")
