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
COLUMNS = f"{'IOPS':>10}{'READ MiB/s':>12}{'WRITE MiB/s':>13}{'QUEUE':>7}  "
Luns = dict[str, Rate]
Sessions = dict[counters.Place, Rate]
Queues = Mapping[counters.Place, int | None]


def show(session: Session, pause: float, times: int) -> None:
    """Print tables of what was done in `pause` seconds each: so many, or with 0 one over the other until
    Ctrl-C."""
    before, then = counters.sample(session.host), time.monotonic()
    documents: list[dict[str, object]] = []
    while not times or len(documents) < times:
        time.sleep(pause)
        after, now = counters.sample(session.host), time.monotonic()
        luns, sessions = rates(before, after, now - then)
        session.say((HOME if not times else "") + "\n".join(table(luns, sessions, after.queues)))
        session.out.flush()
        before, then = after, now
        if times:
            documents.append(document(luns, sessions, after.queues, pause))
    session.answer(samples=documents)


def rates(before: Sample, after: Sample, seconds: float) -> tuple[Luns, Sessions]:
    """What each did in between; for what was not there before, nothing can be told."""
    luns = {at: counters.rate(before.luns.get(at, Counted()), one, seconds) for at, one in after.luns.items()}
    sessions = {
        at: counters.rate(before.sessions.get(at, Counted()), one, seconds)
        for at, one in after.sessions.items()
    }
    return luns, sessions


def table(luns: Luns, sessions: Sessions, queues: Queues) -> list[str]:
    """LUNs, then sessions, the busiest first."""
    lines = [f"{COLUMNS}LUN"]
    lines += [f"{_row(rate, None)}  {place}" for place, rate in _busiest(luns)]
    lines.append(f"{COLUMNS}SESSION")
    for at, rate in _busiest(sessions):
        place, who, sid = at
        number = "" if sid is None else f" (sid {sid})"
        lines.append(f"{_row(rate, queues[at])}  {who}{number} at {place}")
    return lines


def _busiest(rates: Mapping[Any, Rate]) -> list[tuple[Any, Rate]]:
    return sorted(rates.items(), key=lambda item: (-(item[1].iops or 0), str(item[0])))


def _row(rate: Rate, queue: int | None) -> str:
    def shown(value: float | None, width: int, digits: int) -> str:
        return f"{'?':>{width}}" if value is None else f"{value:>{width}.{digits}f}"

    read, written = (None if one is None else one / counters.MIB for one in (rate.read, rate.written))
    return f"{shown(rate.iops, 10, 0)}{shown(read, 12, 1)}{shown(written, 13, 1)}{shown(queue, 7, 0)}"


def document(luns: Luns, sessions: Sessions, queues: Queues, seconds: float) -> dict[str, object]:
    """The same for JSON: octets a second."""
    return {
        "seconds": seconds,
        "luns": [{"path": place, **_facts(rate, None)} for place, rate in _busiest(luns)],
        "sessions": [
            {"path": at[0], "initiator": at[1], "sid": at[2], **_facts(rate, queues[at])}
            for at, rate in _busiest(sessions)
        ],
    }


def _facts(rate: Rate, queue: int | None) -> dict[str, float | None]:
    return {"iops": rate.iops, "read": rate.read, "written": rate.written, "queue": queue}
