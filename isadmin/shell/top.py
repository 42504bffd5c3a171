"""`top`: tables of what LUNs and sessions do right now."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from isadmin.lio import counters
from isadmin.lio.counters import Counted, Rate, Sample

if TYPE_CHECKING:
    from isadmin.shell.session import Session

HOME = "\033[H\033[J"
MIB = 1 << 20
COLUMNS = f"{'IOPS':>10}{'READ MiB/s':>12}{'WRITE MiB/s':>13}{'QUEUE':>7}  "
Luns = dict[str, Rate]
Sessions = dict[tuple[str, str], Rate]


def show(session: Session, pause: float, times: int) -> None:
    """Print tables of what was done in `pause` seconds each: so many, or with 0 one over the other until
    Ctrl-C."""
    before, then = counters.sample(session.lio), time.monotonic()
    documents: list[dict[str, object]] = []
    while not times or len(documents) < times:
        time.sleep(pause)
        after, now = counters.sample(session.lio), time.monotonic()
        luns, sessions = rates(before, after, now - then)
        session.say((HOME if not times else "") + "\n".join(table(luns, sessions)))
        session.out.flush()
        before, then = after, now
        if times:
            documents.append(document(luns, sessions, pause))
    session.answer(samples=documents)


def rates(before: Sample, after: Sample, seconds: float) -> tuple[Luns, Sessions]:
    """What each did in between; for what was not there before, nothing can be told."""
    luns = {at: counters.rate(before.luns.get(at, Counted()), one, seconds) for at, one in after.luns.items()}
    sessions = {
        at: counters.rate(before.sessions.get(at, Counted()), one, seconds)
        for at, one in after.sessions.items()
    }
    return luns, sessions


def table(luns: Luns, sessions: Sessions) -> list[str]:
    lines = [f"{COLUMNS}LUN"]
    lines += [f"{_row(rate)}  {place}" for place, rate in _busiest(luns)]
    lines.append(f"{COLUMNS}SESSION")
    lines += [f"{_row(rate)}  {who} at {place}" for (place, who), rate in _busiest(sessions)]
    return lines


def _busiest(rates: Mapping[Any, Rate]) -> list[tuple[Any, Rate]]:
    return sorted(rates.items(), key=lambda item: (-(item[1].iops or 0), item[0]))


def _row(rate: Rate) -> str:
    def shown(value: float | None, width: int, digits: int) -> str:
        return f"{'?':>{width}}" if value is None else f"{value:>{width}.{digits}f}"

    read, written = (None if one is None else one / MIB for one in (rate.read, rate.written))
    return f"{shown(rate.iops, 10, 0)}{shown(read, 12, 1)}{shown(written, 13, 1)}{'?':>7}"


def document(luns: Luns, sessions: Sessions, seconds: float) -> dict[str, object]:
    return {
        "seconds": round(seconds, 3),
        "luns": [{"path": place, **_facts(rate)} for place, rate in _busiest(luns)],
        "sessions": [
            {"path": place, "initiator": who, **_facts(rate)} for (place, who), rate in _busiest(sessions)
        ],
    }


def _facts(rate: Rate) -> dict[str, float | None]:
    return {"iops": rate.iops, "read": rate.read, "written": rate.written, "queue": None}
