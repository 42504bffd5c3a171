"""What the plugin reports of a machine that says nothing more, how long it waits, and what it leaves out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from subprocess import TimeoutExpired
from types import SimpleNamespace

import pytest

from tests.kernel.plugin import SILENCE_LIMIT, Remote, silence_limit
from tests.kernel.vm import ROOT, VmDiedError

CONSOLE = "[   12.3] the console's last line"


def remote(request: pytest.FixtureRequest, end: Exception | None, console: str = CONSOLE) -> Remote:
    """A machine whose pytest has passed this very test, and then that is all."""

    def lines() -> Iterator[bytes]:
        for when in ("setup", "call", "teardown"):
            report = pytest.TestReport(request.node.nodeid, ("", 0, ""), {}, "passed", None, when)
            data = request.config.hook.pytest_report_to_serializable(config=request.config, report=report)
            yield json.dumps(data).encode()
        if end is not None:
            raise end

    made = object.__new__(Remote)
    made._config = request.config
    made._vm = SimpleNamespace(console=lambda: console, epitaph=lambda: console)  # type: ignore[assignment]
    made._pytest = SimpleNamespace(stderr=b"its last words", wait=lambda _: 3)  # type: ignore[assignment]
    made._lines = lines()
    made._seen = 0
    made._trouble = made._last = ""
    made._limit = silence_limit({})
    return made


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (TimeoutExpired("pytest", 900), ["no report for 900 s", "its last words", CONSOLE]),
        (VmDiedError(CONSOLE), ["the machine died", CONSOLE]),
        (None, ["ended early with status 3", "its last words"]),
    ],
    ids=["hangs", "dies", "pytest-ends"],
)
def test_trouble_is_told_once_and_then_nothing_has_run(
    request: pytest.FixtureRequest, end: Exception | None, told: list[str]
) -> None:
    made = remote(request, end)
    assert [report.outcome for report in made.reports(request.node)] == ["passed"] * 3
    (failed,) = made.reports(request.node)
    assert failed.failed
    assert all(text in str(failed.longrepr) for text in told), failed.longrepr
    (after,) = made.reports(request.node)
    assert after.failed
    assert "not run" in str(after.longrepr)


def test_an_oops_fails_the_test_in_which_it_came(request: pytest.FixtureRequest) -> None:
    made = remote(request, None, "BUG: kernel NULL pointer dereference, address: 0")
    *passed, oopsed = made.reports(request.node)
    assert [report.outcome for report in passed] == ["passed"] * 3
    assert oopsed.failed
    assert "NULL pointer" in str(oopsed.longrepr)


@pytest.mark.parametrize(
    ("said", "failures"),
    [("[   1.0] WARNING: CPU: 1 PID: 9 at lib/refcount.c:28", 1), ("[   1.0] Illegal value: 7", 0)],
    ids=["warned", "refused"],
)
def test_what_a_kernel_warned_of_fails_the_last_test(
    request: pytest.FixtureRequest, said: str, failures: int
) -> None:
    made = remote(request, None)
    made._last = request.node.nodeid
    made._vm.run = lambda _: SimpleNamespace(stdout=f"[   0.1] booted\n{said}\n")  # type: ignore[method-assign, assignment, misc]
    outcomes = [report.outcome for report in made.reports(request.node)]
    assert outcomes == ["passed"] * 3 + ["failed"] * failures


def test_long_runs_are_waited_for() -> None:
    assert silence_limit({"HOME": "/root"}) == SILENCE_LIMIT
    assert silence_limit({"ISADMIN_RANDOM_EXAMPLES": "40", "ISADMIN_APPLY_EXAMPLES": "2"}) > 3 * SILENCE_LIMIT


def collected(*options: str) -> str:
    """What a run on a machine with LIO says that it would do."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "--kernel=host"]
    done = subprocess.run(
        [*command, *options, "tests/kernel/test_golden.py", "tests/kernel/test_lio.py"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def test_tests_that_want_a_disposable_machine_are_run_on_this_one_when_asked_for() -> None:
    said = collected()
    assert re.search(r"^kernel: 3 tests left out .*--kernel-disposable", said, re.MULTILINE), said
    assert "test_every_probe" not in said
    assert "test_modules_load" in said
    said = collected("--kernel-disposable")
    assert "test_every_probe" in said
    assert "left out" not in said
