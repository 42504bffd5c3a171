"""What LIO counts: commands and octets of LUNs and of the sessions that use them.

The files are those of the SCSI MIB (RFC 4455), read as they are: the kernel counts octets in MiB, no queue,
and nothing of a session that demo mode let in. The userspace target tells of each session how many commands
and octets of PDUs it has seen, and how many commands wait. What is not told is None, never made up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isadmin.lio import files, live
from isadmin.lio.fabrics import FABRICS
from isadmin.lio.objects import Lun, NodeAcl

if TYPE_CHECKING:
    from isadmin.lio.host import Host
    from isadmin.lio.sessions import Session

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Counted:
    """What one LUN or session has done since it is there, in commands and octets; None: not told."""

    commands: int | None = None
    read: int | None = None
    written: int | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """What it did in a second."""

    iops: float | None = None
    read: float | None = None
    written: float | None = None


def of_lun(lun: Lun) -> Counted:
    """statistics/scsi_tgt_port of a LUN."""
    return _counted(f"{lun.path}/statistics/scsi_tgt_port", "in_cmds")


def of_acl(acl: NodeAcl) -> Counted:
    """The sum of statistics/scsi_auth_intr over an initiator's mapped LUNs."""
    found = [_counted(f"{one.path}/statistics/scsi_auth_intr", "num_cmds") for one in acl.mapped_luns()]
    return Counted(*(_sum([getattr(one, name) for one in found]) for name in ("commands", "read", "written")))


def _counted(directory: str, commands: str) -> Counted:
    read, written = (_number(f"{directory}/{name}") for name in ("read_mbytes", "write_mbytes"))
    return Counted(
        _number(f"{directory}/{commands}"),
        None if read is None else read * MIB,
        None if written is None else written * MIB,
    )


def _number(path: str) -> int | None:
    text = files.read_or(path, "")
    return int(text) if text.isdecimal() else None


def _sum(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def rate(before: Counted, after: Counted, seconds: float) -> Rate:
    """What was done in between, in a second; None where a count is not told or began anew."""

    def per_second(first: int | None, last: int | None) -> float | None:
        return None if first is None or last is None or last < first else (last - first) / seconds

    return Rate(
        per_second(before.commands, after.commands),
        per_second(before.read, after.read),
        per_second(before.written, after.written),
    )


Place = tuple[str, str, int | None]


@dataclass(frozen=True, slots=True)
class Sample:
    """Everything that counts, at one time: LUNs by their path in the shell; sessions by portal group,
    initiator and number."""

    luns: dict[str, Counted]
    sessions: dict[Place, Counted]
    queues: dict[Place | str, int | None]
    """How many commands of a session, or for a LUN, wait or are worked on; None where that is not told."""


def sample(host: Host) -> Sample:
    """All LUNs that are there and all sessions that are open."""
    lio = host.lio
    luns: dict[str, Counted] = {}
    for fabric in FABRICS:
        for target in lio.targets(fabric):
            for tpg in target.tpgs():
                for lun in tpg.luns():
                    luns[lun.place] = of_lun(lun)
    open_sessions = {}
    found = live.all_sessions(host)
    told = host.kind == "userspace" and all(session.luns is not None for session in found)
    queues: dict[Place | str, int | None] = dict.fromkeys(luns, 0 if told else None)
    for session in found:
        assert session.tpg is not None
        at = (session.tpg.place, session.initiator, session.id)
        open_sessions[at], queues[at] = of_session(session), session.queue
        for seen in session.luns or ():
            queues[seen.lun.place] = (queues.get(seen.lun.place) or 0) + seen.queue
    return Sample(luns, open_sessions, queues)


def of_session(session: Session) -> Counted:
    """What its target tells of it, else what LIO counts for its ACL's mapped LUNs."""
    if session.commands is not None:
        return Counted(session.commands, session.sent, session.received)
    return Counted() if session.acl is None else of_acl(session.acl)
