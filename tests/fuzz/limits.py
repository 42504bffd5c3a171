"""How long the fuzzers look: ISADMIN_FUZZ_EXAMPLES says how many examples each of them tries. Without it they
try few, always the same ones, as every run of the test suite does."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

ASKED = os.environ.get("ISADMIN_FUZZ_EXAMPLES", "")


def examples(few: int) -> settings:
    """For @examples(few): the bounded number, or the one asked for."""
    return settings(
        max_examples=int(ASKED) if ASKED else few,
        derandomize=not ASKED,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
