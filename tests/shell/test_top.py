"""The tables of `top` where there is not room for all of them."""

from __future__ import annotations

import pytest

from isadmin.lio.counters import Rate
from isadmin.shell import top


@pytest.mark.parametrize(
    ("rows", "luns", "sessions"),
    [(0, 30, 5), (24, 17, 5), (12, 5, 5), (11, 5, 4), (3, 1, 0), (2, 0, 0)],
)
def test_the_busiest_of_both_kinds_are_shown(rows: int, luns: int, sessions: int) -> None:
    all_luns = {f"/lun{number}": Rate(float(number)) for number in range(30)}
    all_sessions = {("/tpg", f"i{number}", None): Rate(float(number)) for number in range(5)}
    lines = top.table(all_luns, all_sessions, dict.fromkeys(all_sessions), rows)
    assert rows == 0 or len(lines) <= rows
    between = next(at for at, line in enumerate(lines) if line.endswith("SESSION"))
    assert [line.split()[-1] for line in lines[1:between]] == [f"/lun{29 - n}" for n in range(luns)]
    assert [line.split()[-3] for line in lines[between + 1 :]] == [f"i{4 - n}" for n in range(sessions)]


def test_the_end_of_a_long_name_is_shown() -> None:
    line = top.COLUMNS + "/iscsi/iqn.2003-01.org.example:a-rather-long-name/tpg1/luns/lun1000"
    for columns in range(len(top.COLUMNS) + 16, len(line)):
        fitted = top.fitted(line, columns)
        assert len(fitted) == columns
        assert "..." in fitted
        assert fitted.endswith("/lun1000")
    assert top.fitted(line, len(line)) == line
    assert top.fitted(line, 20) == line[:20]
