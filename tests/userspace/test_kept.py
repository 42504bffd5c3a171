"""Of a state that changes while it is written, the file holds the newest, and nobody is told too early."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from isadmin.userspace import alua_metadata, aptpl_metadata
from isadmin.userspace.kept import Kept, replace

SERIAL = "5eria1"


class Slow:
    """A writer that is held up at its first text, and fails for some."""

    def __init__(self, *failing: str) -> None:
        self.written: list[str] = []
        self.started = threading.Event()
        self.go_on = threading.Event()
        self._failing = failing

    def __call__(self, text: str) -> None:
        if not self.started.is_set():
            self.started.set()
            assert self.go_on.wait(10)
        if text in self._failing:
            raise OSError(5, "no room", text)
        self.written.append(text)


def in_threads(slow: Slow, *settles: Callable[[], None]) -> list[Future[None]]:
    """Call the first; once it writes, the others; then let it go on."""
    with ThreadPoolExecutor(len(settles)) as pool:
        running = [pool.submit(settles[0])]
        assert slow.started.wait(10)
        running += [pool.submit(settle) for settle in settles[1:]]
        slow.go_on.set()
    return running


def test_a_later_text_is_never_replaced_by_an_earlier_one() -> None:
    slow = Slow()
    kept = Kept(slow)
    first = kept.put("1")
    second, third = kept.put("2"), kept.put("3")
    for done in in_threads(slow, third, first, second):
        done.result()
    assert slow.written == ["3"]


def test_what_comes_while_another_is_written_is_written_after_it() -> None:
    slow = Slow()
    kept = Kept(slow)
    first = kept.put("1")
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(first)
        assert slow.started.wait(10)
        other = pool.submit(kept.put("2"))
        slow.go_on.set()
        one.result()
        other.result()
    assert slow.written == ["1", "2"]


def test_a_failure_is_told_to_all_that_it_concerns() -> None:
    slow = Slow("2")
    kept = Kept(slow)
    first, second = kept.put("1"), kept.put("2")
    for done in in_threads(slow, first, second):
        with pytest.raises(OSError, match="no room"):
            done.result()
    assert slow.written == []
    kept.put("3")()
    assert slow.written == ["3"]


def test_a_failure_of_an_earlier_text_is_made_good_by_a_later_one() -> None:
    slow = Slow("1")
    kept = Kept(slow)
    first = kept.put("1")
    with ThreadPoolExecutor(1) as pool:
        one = pool.submit(first)
        assert slow.started.wait(10)
        second = kept.put("2")
        slow.go_on.set()
        one.result()
    second()
    assert slow.written == ["2"]


def test_two_writers_of_one_name_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two units of one serial number share a file. Both have their text in a file of its own before either is
    renamed."""
    both = threading.Barrier(2, timeout=10)
    fsync = os.fsync

    def slow(handle: int) -> None:
        fsync(handle)
        if os.fstat(handle).st_size == 3:
            both.wait()

    monkeypatch.setattr(os, "fsync", slow)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(partial(replace, tmp_path / "name", text)) for text in ("one", "two")]:
            done.result()
    assert (tmp_path / "name").read_text() in {"one", "two"}
    assert [path.name for path in tmp_path.iterdir()] == ["name"]


def test_a_failed_replacement_leaves_the_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "full")

    aptpl_metadata.keep(tmp_path, SERIAL, "old\n")
    kept = tmp_path / "pr" / f"aptpl_{SERIAL}"
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        aptpl_metadata.keep(tmp_path, SERIAL, "new\n")
    with pytest.raises(OSError, match="full"):
        alua_metadata.keep(kept, "new\n")
    assert kept.read_text() == "old\n"
    assert list(kept.parent.iterdir()) == [kept]


def test_the_name_is_on_the_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []

    def note(handle: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))

    monkeypatch.setattr(os, "fsync", note)
    alua_metadata.keep(tmp_path / "alua" / "gold", "state\n")
    aptpl_metadata.keep(tmp_path, SERIAL, "")
    assert synced[-2:] == [str(tmp_path / "alua"), str(tmp_path / "pr")]
