"""libiscsi's iscsi-test-cu, one test at a time, and what came of it."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

TOOL = "iscsi-test-cu"
LIMIT = 120.0
"""Seconds; it only ends a test that hangs."""
_DONE = re.compile(r"^\s+tests\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)", re.MULTILINE)
_NOISE = ("CUnit", "Copyright", "http", "Suite:", "Run Summary", "suites", "tests", "asserts", "Elapsed")


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status`: pass, fail or skip, as the table has them. `output`: what the tool printed in the test."""

    status: str
    output: str


def names() -> list[str]:
    """All tests the tool knows, as SUITE.TEST."""
    listed = subprocess.run([TOOL, "--list"], capture_output=True, text=True, check=True).stdout
    found = [line.strip().split(".", 1)[1] for line in listed.splitlines() if line.startswith("ALL.")]
    return [name for name in found if "." in name]


def run(name: str, urls: tuple[str, str]) -> Outcome:
    """Run one test. A crash of the tool and a test without an end are failures."""
    command = [TOOL, "-d", "-S", "-v", "-t", f"ALL.{name}", *urls]
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            errors="replace",
            check=False,
            timeout=LIMIT,
        )
    except subprocess.TimeoutExpired as expired:
        return Outcome("fail", f"no end within {LIMIT} s\n{(expired.stdout or b'').decode(errors='replace')}")
    return judge(done.stdout, done.returncode)


def judge(output: str, status: int) -> Outcome:
    """The tool counts a skipped test as passed, and prints `[SKIPPED]` in its own set-up too."""
    _, found, body = output.partition("Suite:")
    totals = _DONE.search(body)
    if not found or totals is None or status < 0:
        return Outcome("fail", f"the tool ended with status {status}\n{output.strip()}")
    _, ran, passed, failed, _ = (int(number) for number in totals.groups())
    lines = [line for line in body.splitlines()[1:] if line.strip()]
    text = "\n".join(line for line in lines if not line.strip().startswith(_NOISE))
    if failed or ran != 1 or passed != 1:
        return Outcome("fail", text)
    return Outcome("skip" if "[SKIPPED]" in body else "pass", text)
