"""The whole configuration at once: read as rtslib's document, and changed by a plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from isadmin.lio import snapshot
from isadmin.lio.explain import attempting
from isadmin.lio.host import Host

if TYPE_CHECKING:
    from isadmin.config.diff import Change
    from isadmin.lio.apply import Outcome, Progress

Document = dict[str, Any]


def dump(host: Host) -> Document:
    """The running configuration, in rtslib's saveconfig format. Raises IsadminError."""
    with attempting("Could not read the configuration"):
        return snapshot.dump(host.lio)


def carry_out(
    host: Host, changes: Sequence[Change], *, keep_going: bool = False, progress: Progress | None = None
) -> Outcome:
    """Do the changes of a plan, in order, as apply.carry_out does. Raises StepError."""
    from isadmin.lio import apply

    return apply.carry_out(host.lio, changes, keep_going=keep_going, progress=progress)
