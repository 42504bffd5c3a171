"""Run the suite and print what differs from the table: python -m tests.conformance [--write] [NAME ...]

NAME: a configuration, or the beginning of tests' names (Read10, ProutReserve.Access). --write takes what came
of it into the table (the reasons stay, and new ones have to be written). --verbose prints the tool's words.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tests.conformance import table
from tests.conformance.configurations import CONFIGURATIONS, running
from tests.conformance.running import run_all
from tests.conftest import own_network


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    columns = [each.name for each in CONFIGURATIONS]
    wanted = tuple(each for each in CONFIGURATIONS if each.name in options.names) or CONFIGURATIONS
    starts = tuple(name for name in options.names if name not in columns) or ("",)
    rows = table.read()
    own_network()
    chosen = [row for row in rows if row.name.startswith(starts)]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place, running(Path(place), wanted) as bench:
        outcomes = run_all(bench, chosen)
        print(bench.log)
    for row in chosen:
        for each in wanted:
            got = outcomes.get((each.name, row.name))
            if got is None:
                continue
            if options.verbose or got.status != row.expected[each.name]:
                print(f"== {each.name} {row.name}: {got.status}, not {row.expected[each.name]}\n{got.output}")
            row.expected[each.name] = got.status
    print(f"{len(outcomes)} tests in {time.monotonic() - began:.1f} s")
    if options.write:
        table.write(rows, columns)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
