"""The suite against the table: any difference is a failure, and so is a traceback in the daemon's log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance import table, tool
from tests.conformance.configurations import CONFIGURATIONS, running
from tests.conformance.running import run_all
from tests.conformance.table import NOT_RUN, STATUSES

pytestmark = [pytest.mark.integration, pytest.mark.slow]
COLUMNS = [each.name for each in CONFIGURATIONS]
ROWS = table.read()


@dataclass
class Results:
    outcomes: dict[tuple[str, str], tool.Outcome]
    log: str


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    """All configurations run beside each other once: much of the time is the tool's own sleep."""
    with running(tmp_path_factory.mktemp("conformance")) as bench:
        outcomes = run_all(bench, ROWS)
        yield Results(outcomes, bench.log)


def test_the_table_has_every_test_of_the_tool() -> None:
    assert [row.name for row in ROWS] == tool.names()


def test_the_whole_list_is_run_in_every_configuration() -> None:
    """But for the slow medium, which would only take its time, and for the one test that needs it."""
    for row in ROWS:
        assert list(row.expected) == COLUMNS
        assert set(row.expected.values()) <= {*STATUSES, NOT_RUN}, row
        run = {column for column in COLUMNS if row.runs_in(column)}
        assert run == ({"slow"} if row.name == "Sanitize.Reset" else set(COLUMNS) - {"slow"}), row.name


def test_the_table_argues_whatever_does_not_pass() -> None:
    for row in ROWS:
        for column, status in row.expected.items():
            assert (status in {"pass", NOT_RUN}) or row.reason(column), (row.name, column)


def test_what_a_write_protected_lun_fails_passes_where_it_may_be_written_to() -> None:
    """Or is a fault of the tool, wherever it runs."""
    for row in ROWS:
        if row.expected["read-only"] == "fail":
            everywhere = {row.expected[column] for column in COLUMNS if row.runs_in(column)} == {"fail"}
            assert row.expected["thin"] == "pass" or everywhere, row.name


@pytest.mark.parametrize(
    ("why", "column", "reason"),
    [
        ("", "thin", ""),
        ("No disk has it.", "thin", "No disk has it."),
        ("A fault of the tool: it sleeps.", "thin", "A fault of the tool: it sleeps."),
        ("thin, full: too short. | chap: too: long.", "full", "too short."),
        ("thin, full: too short. | chap: too: long.", "chap", "too: long."),
        ("thin, full: too short.", "chap", ""),
    ],
)
def test_reasons_are_found(why: str, column: str, reason: str) -> None:
    row = table.Row("X", dict.fromkeys(COLUMNS, "skip"), why)
    assert row.reason(column) == reason


@pytest.mark.parametrize("configuration", COLUMNS)
def test_the_suite_gives_what_the_table_says(results: Results, configuration: str) -> None:
    different = [
        f"{row.name}: {outcome.status}, not {row.expected[configuration]}\n{outcome.output}"
        for row in ROWS
        if (outcome := results.outcomes.get((configuration, row.name))) is not None
        and outcome.status != row.expected[configuration]
    ]
    assert not different, "\n".join(different)


def test_the_daemon_logs_no_failure_of_its_own(results: Results) -> None:
    lines = results.log.splitlines()
    assert any("ready" in line for line in lines)
    assert not [line for line in lines if "Traceback" in line or " ERROR " in line or " CRITICAL " in line]


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        ("tests 1 1 1 0 0", 0, "pass"),
        ("  [SKIPPED] not there\n tests 1 1 1 0 0", 0, "skip"),
        ("tests 1 1 0 1 0", 0, "fail"),
        ("tests 1 0 0 0 0", 0, "fail"),
        ("tests 1 1 1 0 0", -6, "fail"),
        ("", 0, "fail"),
    ],
)
def test_what_the_tool_says_is_understood(body: str, status: int, expected: str) -> None:
    output = f"set-up [SKIPPED]\nSuite: X\n  Test: Y ...\n {body}\n"
    assert tool.judge(output, status).status == expected


def test_no_suite_is_a_failure() -> None:
    assert tool.judge("[SKIPPED] cannot log in\n", 0).status == "fail"


def test_the_table_survives_writing(tmp_path: Path) -> None:
    copy = tmp_path / "copy.tsv"
    table.write(ROWS, COLUMNS, copy)
    assert copy.read_text() == table.TABLE.read_text()
