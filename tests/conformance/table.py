"""The table of expected results, expected.tsv: one row a test, one column a configuration (pass, fail, skip;
`-`: not run there), and why it does not pass where it does not.

Reasons stand beside each other with ` | ` between them; one that does not hold for all configurations begins
with theirs: `full, ramdisk: not thin provisioned.`
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

TABLE = Path(__file__).with_name("expected.tsv")
NOT_RUN = "-"
STATUSES = ("pass", "fail", "skip")


@dataclass(slots=True)
class Row:
    """One test: what it is expected to give in each configuration."""

    name: str
    expected: dict[str, str] = field(default_factory=dict)
    why: str = ""

    def runs_in(self, configuration: str) -> bool:
        return self.expected.get(configuration, NOT_RUN) != NOT_RUN

    def reason(self, configuration: str) -> str:
        """Why the test does not pass there; empty when the table does not say."""
        for reason in filter(None, self.why.split(" | ")):
            where, colon, text = reason.partition(": ")
            columns = where.split(", ")
            if not colon or not set(columns) <= self.expected.keys():
                return reason
            if configuration in columns:
                return text
        return ""


def read(path: Path = TABLE) -> list[Row]:
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [Row(line.pop("test"), why=line.pop("why"), expected=line) for line in lines]


def write(rows: Iterable[Row], columns: Iterable[str], path: Path = TABLE) -> None:
    columns = list(columns)
    with path.open("w") as file:
        file.write("\t".join(("test", *columns, "why")) + "\n")
        for row in rows:
            cells = (row.expected.get(column, NOT_RUN) for column in columns)
            file.write("\t".join((row.name, *cells, row.why)) + "\n")
