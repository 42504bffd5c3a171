"""Processor time of another process: steadier than wall time on a machine that does other things."""

from __future__ import annotations

import time

CPUCLOCK_SCHED = 2
"""Which of a process's clocks: what the scheduler counted, in nanoseconds (clock_getcpuclockid(3))."""


def processor_seconds(pid: int) -> float:
    """Seconds that all threads of a process have run so far, in user and in kernel space.

    /proc/PID/stat says the same in hundredths of a second, too coarse for a few commands. Raises OSError.
    """
    return time.clock_gettime(~pid << 3 | CPUCLOCK_SCHED)
