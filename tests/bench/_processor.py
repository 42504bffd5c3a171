"""Processor time of another process: steadier than wall time on a machine that does other things."""

from __future__ import annotations

import resource
import time
from pathlib import Path

CPUCLOCK_SCHED = 2
"""Which of a process's clocks: what the scheduler counted, in nanoseconds (clock_getcpuclockid(3))."""


def processor_seconds(pid: int) -> float:
    """Seconds that all threads of a process have run so far, in user and in kernel space.

    /proc/PID/stat says the same in hundredths of a second, too coarse for a few commands. Raises OSError.
    """
    return time.clock_gettime(~pid << 3 | CPUCLOCK_SCHED)


def clients_seconds() -> float:
    """Seconds of processor time that this process has taken, and those that it has waited for."""
    each = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in each)


def stolen_ticks() -> tuple[int, int]:
    """Ticks of all processors so far, those of other guests of this machine's host; and all (proc(5))."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return ticks[7], sum(ticks)
