"""Every bench runs: briefly, as a smoke test. What its figures are worth is for the full run to say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = {"kernel"}
"""Boots a machine and starts targetcli in it: minutes. tests/kernel runs it in the machine that it has, and
whole on demand."""
BENCHES = sorted(
    {path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith(("_", "test_"))}
    - LEFT_OUT
)


def test_restoring_is_compared_at_two_sizes() -> None:
    words = ["tests.bench.restore", "--brief", "--once", "--luns", "20", "--growth", "60"]
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    _, told, ratios = done.stdout.partition("What a LUN takes of 60, against one of 20:\n")
    assert told
    assert re.search(r"^isadmin restoreconfig +\d+\.\d{3}, at most 1\.300", ratios, re.MULTILINE), ratios


@pytest.mark.parametrize("bench", BENCHES)
def test_bench_runs_and_prints_figures(bench: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"tests.bench.{bench}", "--brief"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"\d+\.\d+", done.stdout)) >= 3, done.stdout
