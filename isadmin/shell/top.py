"""`top`: tables of what LUNs and sessions do right now."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from isadmin.lio import counters
from isadmin.lio.counters import Counted, Rate, Sample

if TYPE_CHECKING:
    from isadmin.shell.session import Session

HOME = "\033[H\033[J"
OTHER_SCREEN, FIRST_SCREEN = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"
"""To a screen of its own without a cursor, and back to what was there."""
COLUMNS = f"{'IOPS':>10}{'READ MiB/s':>12}{'WRITE MiB/s':>13}{'QUEUE':>7}  "
Luns = dict[str, Rate]
Sessions = dict[counters.Place, Rate]
Queues = Mapping[counters.Place | str, int | None]
Measured = tuple[Luns, Sessions, Queues]


def print_tables(session: Session, pause: float, times: int) -> None:
    """Print so many tables of what was done in `pause` seconds each."""
    documents: list[dict[str, object]] = []

    def wait() -> bool:
        time.sleep(pause)
        return True

    for measured in islice(measurements(session, wait), times):
        session.say("\n".join(table(*measured)))
        session.out.flush()
        documents.append(document(*measured, pause))
    session.answer(samples=documents)


def watch(session: Session, pause: float) -> None:
    """Draw one table over the other, on a screen of its own, until `q` or Ctrl-C; the last one stays."""
    last = ""
    try:
        with _screen(session):
            _draw(session, f"Counting for {pause:g} s; q ends.")
            for measured in measurements(session, lambda: not _quits(pause)):
                last = _draw(session, *table(*measured, rows=_rows(session)))
    except KeyboardInterrupt:
        pass
    session.say(last)


def _draw(session: Session, *lines: str) -> str:
    """Draw lines, as much of them as there is room for; past a pager. What was drawn."""
    columns = os.get_terminal_size(session.out.fileno()).columns
    drawn = "\n".join(fitted(line, columns) if columns else line for line in lines)
    _to_terminal(session, f"{HOME}{drawn}\n")
    return drawn


def fitted(line: str, columns: int) -> str:
    """A line that is not too wide: the middle of a long name is left out, since its end tells most."""
    numbers, name = line[: len(COLUMNS)], line[len(COLUMNS) :]
    room = columns - len(numbers)
    if len(name) > room > 12:
        start = room // 3
        name = f"{name[:start]}...{name[start + 3 - room :]}"
    return f"{numbers}{name}"[:columns]


def _rows(session: Session) -> int:
    """How many lines there is room for; 0: nobody knows."""
    return max(0, os.get_terminal_size(session.out.fileno()).lines - 1)


def _to_terminal(session: Session, text: str) -> None:
    rest = text.encode(errors="backslashreplace")
    while rest:
        rest = rest[os.write(session.out.fileno(), rest) :]


@contextmanager
def _screen(session: Session) -> Iterator[None]:
    """Another screen; keys are read as they come, Ctrl-C too, and not shown."""
    keys = sys.stdin.fileno() if sys.stdin.isatty() else None
    before = None if keys is None else termios.tcgetattr(keys)
    session.out.flush()
    _to_terminal(session, OTHER_SCREEN)
    try:
        if keys is not None:
            tty.setcbreak(keys, termios.TCSADRAIN)
            changed = termios.tcgetattr(keys)
            changed[6][termios.VINTR] = b"\0"
            termios.tcsetattr(keys, termios.TCSADRAIN, changed)
        yield
    finally:
        if keys is not None and before is not None:
            termios.tcsetattr(keys, termios.TCSADRAIN, before)
        _to_terminal(session, FIRST_SCREEN)


def _quits(pause: float) -> bool:
    """Wait for so long; is `q` or Ctrl-C typed before?"""
    until = time.monotonic() + pause
    if not sys.stdin.isatty():
        time.sleep(pause)
        return False
    while select.select([sys.stdin], [], [], max(0.0, until - time.monotonic()))[0]:
        key = os.read(sys.stdin.fileno(), 1)
        if key in (b"q", b"Q", b"\x03", b""):
            return True
    return False


def measurements(session: Session, wait: Callable[[], bool]) -> Iterator[Measured]:
    """What is done between each two looks, as long as `wait`, called between them, says to go on."""
    before, then = counters.sample(session.host), time.monotonic()
    while wait():
        after, now = counters.sample(session.host), time.monotonic()
        yield (*rates(before, after, now - then), after.queues)
        before, then = after, now


def rates(before: Sample, after: Sample, seconds: float) -> tuple[Luns, Sessions]:
    """What each did in between; for what was not there before, nothing can be told."""
    luns = {at: counters.rate(before.luns.get(at, Counted()), one, seconds) for at, one in after.luns.items()}
    sessions = {
        at: counters.rate(before.sessions.get(at, Counted()), one, seconds)
        for at, one in after.sessions.items()
    }
    return luns, sessions


def table(luns: Luns, sessions: Sessions, queues: Queues, rows: int = 0) -> list[str]:
    """LUNs, then sessions, the busiest first; with `rows`, no more lines than that."""
    first = [f"{_row(rate, queues.get(place))}  {place}" for place, rate in _busiest(luns)]
    then = []
    for at, rate in _busiest(sessions):
        place, who, sid = at
        number = "" if sid is None else f" (sid {sid})"
        then.append(f"{_row(rate, queues[at])}  {who}{number} at {place}")
    if rows:
        room = max(0, rows - 2)
        # What one kind leaves free, the other may use.
        first = first[: max(room - room // 2, room - len(then))]
        then = then[: room - len(first)]
    return [f"{COLUMNS}LUN", *first, f"{COLUMNS}SESSION", *then]


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
        "luns": [{"path": place, **_facts(rate, queues.get(place))} for place, rate in _busiest(luns)],
        "sessions": [
            {"path": at[0], "initiator": at[1], "sid": at[2], **_facts(rate, queues[at])}
            for at, rate in _busiest(sessions)
        ],
    }


def _facts(rate: Rate, queue: int | None) -> dict[str, float | None]:
    return {"iops": rate.iops, "read": rate.read, "written": rate.written, "queue": queue}
