"""The whole configuration at once: read as rtslib's document, and changed by a plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from isadmin.lio import snapshot
from isadmin.lio.explain import attempting
from isadmin.lio.host import Host

if TYPE_CHECKING:
    from isadmin.config.changes import Change
    from isadmin.lio.apply import Outcome, Progress

Document = dict[str, Any]


def dump(host: Host) -> Document:
    """The running configuration, in rtslib's saveconfig format. Raises IsadminError."""
    with attempting("Could not read the configuration"):
        return snapshot.dump(host.lio)


def worth_saving(host: Host) -> Document:
    """The same without storage objects that were never enabled: nothing says what they should be, and they
    could not be made again. Raises IsadminError."""
    found = dump(host)
    found["storage_objects"] = [so for so in found["storage_objects"] if _was_enabled(host, so)]
    # One that was enabled while it was read has LUNs already.
    snapshot.leave_out_dangling(found)
    return found


def _was_enabled(host: Host, so: Document) -> bool:
    if "block_size" in so.get("attributes", {}):
        # Whatever it is by now: what was read of one that was not enabled yet cannot be set.
        return bool(so["attributes"]["block_size"])
    running = host.lio.find_storage_object(so["plugin"], so["name"])
    return running is not None and running.enabled()


def carry_out(
    host: Host, changes: Sequence[Change], *, keep_going: bool = False, progress: Progress | None = None
) -> Outcome:
    """Do the changes of a plan, in order, as apply.carry_out does. Raises StepError."""
    from isadmin.lio import apply

    return apply.carry_out(host.lio, changes, keep_going=keep_going, progress=progress)
