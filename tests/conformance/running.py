"""Run tests of the suite, side by side on a configuration's lanes and on several configurations."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

from tests.conformance.configurations import Bench, Lane
from tests.conformance.table import Row
from tests.conformance.tool import Outcome, run


def run_all(bench: Bench, rows: Iterable[Row]) -> dict[tuple[str, str], Outcome]:
    """What came of each test (configuration, name) that the rows tell to run. A test takes whichever lane of
    its configuration is free; the lane is put in order after it."""
    free: dict[str, SimpleQueue[Lane]] = {}
    for name, lanes in bench.lanes.items():
        free[name] = SimpleQueue()
        for lane in lanes:
            free[name].put(lane)

    def one(configuration: str, name: str) -> Outcome:
        lane = free[configuration].get()
        try:
            outcome = run(name, lane.urls)
            lane.settle()
        finally:
            free[configuration].put(lane)
        return outcome

    with ThreadPoolExecutor(sum(len(lanes) for lanes in bench.lanes.values())) as pool:
        # The slow one first, which sleeps most of the time; the short ones last.
        order = sorted(bench.lanes, key=lambda name: (name != "slow", -len(bench.lanes[name])))
        wanted = [(each, row.name) for row in rows for each in order if row.runs_in(each)]
        wanted.sort(key=lambda item: item[0] != "slow")
        return dict(zip(wanted, pool.map(lambda pair: one(*pair), wanted), strict=True))
