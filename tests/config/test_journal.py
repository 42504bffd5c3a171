"""Changes are noted whole, in order, and not without end."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings

from isadmin.config import journal
from isadmin.config.generations import Origin
from isadmin.config.model import Configuration, Key, Object, StorageObject, flatten
from tests.config.values import any_configurations, configurations

WHO = Origin("somebody", "2026-01-01T00:00:00+00:00", "a command")
KEY: Key = ("storage_object", "ramdisk", "r")


def at(size: int) -> dict[Key, Object | None]:
    return {KEY: StorageObject("ramdisk", "r", size=size)}


@settings(max_examples=20, deadline=None)
@given(configurations() | any_configurations())
def test_every_object_comes_back_as_it_was(value: Configuration) -> None:
    objects = dict(flatten(value))
    rows = journal._rows(objects)
    assert journal._objects(rows) == objects
    assert journal._objects(journal._rows({KEY: None})) == {KEY: None}


def test_a_change_is_begun_and_then_done(tmp_path: Path) -> None:
    directory = tmp_path / "undo"
    journal.push(directory, WHO, at(1), {KEY: None})
    pushed = journal.push(directory, WHO, at(2), {KEY: None}, begun=True, mark="m")
    begun, earlier = journal.newest(directory, 2)
    assert begun == pushed
    assert (begun.begun, begun.mark, earlier.begun, earlier.mark) == (True, "m", False, "")
    assert journal.renamed(begun, journal.BEGUN) is begun
    done = journal.renamed(begun, journal.DONE)
    assert journal.newest(directory, 1) == [done]
    assert (done.begun, done.mark, done.before) == (False, "m", at(2))
    journal.push(directory, WHO, at(3), {KEY: None})
    assert [entry.before for entry in journal.newest(directory, 3)] == [at(3), at(2), at(1)]
    journal.forget([done])
    assert [entry.before for entry in journal.newest(directory, 3)] == [at(3), at(1)]


def test_what_is_gone_for_good_is_dropped_from_an_entry(tmp_path: Path) -> None:
    directory = tmp_path / "undo"
    other: Key = ("storage_object", "ramdisk", "s")
    both = {**at(1), other: None}
    entry = journal.push(directory, WHO, both, both, mark="m")
    journal.shrunk(entry, [("lun", "iscsi", "t", 1, 0)])
    assert journal.newest(directory, 1) == [entry]
    journal.shrunk(entry, [other])
    (left,) = journal.newest(directory, 1)
    assert (left.before, left.after, left.mark, left.file) == (at(1), at(1), "m", entry.file)
    journal.shrunk(left, [KEY, other])
    assert journal.newest(directory, 1) == []


def test_the_newest_come_first(tmp_path: Path) -> None:
    directory = tmp_path / "undo"
    assert journal.newest(directory, 3) == []
    for size in (1, 2, 3):
        journal.push(directory, WHO, at(size), {KEY: None})
    found = journal.newest(directory, 2)
    assert [entry.before for entry in found] == [at(3), at(2)]
    assert found[0].origin == WHO
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}
    journal.forget(found)
    assert [entry.before for entry in journal.newest(directory, 9)] == [at(1)]


def test_there_is_an_end_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MOST", 2)
    for size in (1, 2, 3, 4):
        journal.push(tmp_path, WHO, at(size), at(size))
    assert [entry.before for entry in journal.newest(tmp_path, 9)] == [at(4), at(3)]


def test_what_is_not_whole_ends_the_list(tmp_path: Path) -> None:
    for size in (1, 2, 3):
        journal.push(tmp_path, WHO, at(size), at(size))
    (tmp_path / "000002.json").write_text('{"before": [')
    (tmp_path / "notes.txt").write_text("")
    assert [entry.before for entry in journal.newest(tmp_path, 9)] == [at(3)]


def test_numbers_are_in_order_however_long(tmp_path: Path) -> None:
    for name in ("000007.json", "999999.json", "1000000.json", ".000008.json.tmp"):
        (tmp_path / name).write_text("")
    journal.push(tmp_path, WHO, at(1), at(2))
    assert [path.name for path in sorted(tmp_path.glob("*1.json"))] == ["1000001.json"]
