"""Fuzz for as long as you like: python -m tests.fuzz TARGET COUNT [--seed N] [--batch N]

Prints what was found, how many inputs there were in how many seconds, and the memory before and after."""

from __future__ import annotations

import argparse
import time

from tests.fuzz.mutation import Outcome, run
from tests.fuzz.targets import ALL


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("target", choices=ALL)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=0, help="begin with this batch")
    options = parser.parse_args()
    began = time.monotonic()
    last = began

    def progress(batch: int, outcome: Outcome) -> None:
        nonlocal last
        if time.monotonic() - last > 60:
            last = time.monotonic()
            print(f"{outcome.inputs:,} inputs, {len(outcome.findings)} findings", flush=True)

    outcome = run(
        ALL[options.target](), options.count, seed=options.seed, first_batch=options.batch, progress=progress
    )
    for finding in outcome.findings:
        print(f"batch {finding.batch}: {finding.what}\n  {finding.sent[:400]}")
    seconds = time.monotonic() - began
    print(
        f"{options.target}: {outcome.inputs:,} inputs (seed {options.seed}) in {seconds:.0f} s, "
        f"{len(outcome.findings)} findings, memory {outcome.memory_before >> 20} MiB, then "
        f"{outcome.memory_after >> 20} MiB"
    )
    return 1 if outcome.findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
