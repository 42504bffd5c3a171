"""The bench on the kernel's target runs: briefly, and without targetcli, whose commands take a machine in
software half a minute each (test_bench_whole has it). What its figures are worth is for `python -m
tests.bench.kernel` to say."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from tests.bench import _in_kernel
from tests.bench.kernel import table

pytestmark = pytest.mark.kernel


def test_it_runs_and_prints_figures(empty_target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _in_kernel.measure(2, {"isadmin": [sys.executable, "-m", "isadmin"]})
    rows = {row["name"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    shown = table(2, rows)
    for name in _in_kernel.COMMANDS:
        assert re.search(rf"^{name} +[0-9.]+ +[0-9.]+ +[0-9]+M .*[0-9.]+x$", shown, re.MULTILINE), shown
