"""The mutation fuzzer, for as long as every run of the tests affords: no exception, no hang, no growth."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.limits import ASKED
from tests.fuzz.mutation import FuzzTarget, mutated, run
from tests.fuzz.targets import ALL

FEW = {"decoder": 30_000, "login": 10_000, "commands": 15_000, "connections": 200}
GROWTH = 24 << 20
"""Bytes by which the process may grow: what the allocator keeps, not a leak's worth of the inputs."""


@pytest.mark.parametrize("name", ALL)
def test_any_input_gets_an_answer(name: str) -> None:
    count = int(ASKED) if ASKED else FEW[name]
    outcome = run(ALL[name](), count)
    assert not outcome.findings
    assert outcome.inputs >= count
    assert outcome.grown < GROWTH


def test_a_change_is_a_change_and_always_the_same() -> None:
    seed, other = bytes(range(64)), bytes(64)
    made = [mutated(random.Random(n), seed, other) for n in range(200)]
    assert made == [mutated(random.Random(n), seed, other) for n in range(200)]
    assert sum(each != seed for each in made) > 150
    assert len(set(made)) > 150


class Broken(FuzzTarget):
    """Something with a fault of its own, and memory that grows."""

    name = "broken"

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    def feed(self, chance: random.Random) -> int:
        self.last = chance.randbytes(4)
        self.kept.append(bytes(4096))
        if self.last[0] == 7:
            raise KeyError(7)
        return 1


def test_faults_are_found() -> None:
    outcome = run(Broken(), 20_000)
    assert outcome.findings
    assert all(each.sent.startswith("07") and "KeyError" in each.what for each in outcome.findings)
    again = run(Broken(), 1, first_batch=outcome.findings[0].batch)
    assert again.inputs == 1


class Leaking(Broken):
    def feed(self, chance: random.Random) -> int:
        self.kept.append(bytes(4096))
        return 1


def test_growth_is_found() -> None:
    assert run(Leaking(), 20_000).grown > GROWTH
