"""Saving one storage object beside what a file holds already; what fileio makes of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from isadmin.errors import UsageError
from isadmin.shell.nodes.backstores import check_blocks, check_path, make_file
from isadmin.shell.nodes.storage_objects import with_part


def storage_object(name: str, **more: Any) -> dict[str, Any]:
    return {"plugin": "ramdisk", "name": name, **more}


def target(wwn: str, *exported: str, **more: Any) -> dict[str, Any]:
    luns = [{"index": n, "storage_object": f"/backstores/ramdisk/{name}"} for n, name in enumerate(exported)]
    return {"fabric": "iscsi", "wwn": wwn, "tpgs": [{"tag": 1, "luns": luns}], **more}


def document(objects: list[dict[str, Any]], targets: list[dict[str, Any]]) -> dict[str, Any]:
    return {"storage_objects": objects, "targets": targets}


PART = "/backstores/ramdisk/b"


def test_into_an_empty_file() -> None:
    now = document([storage_object("a"), storage_object("b")], [target("t1", "a"), target("t2", "b")])
    assert with_part({}, now, PART) == document([storage_object("b")], [target("t2", "b")])


def test_a_target_without_portal_groups_stays() -> None:
    bare = {"fabric": "iscsi", "wwn": "t3"}
    now = document([storage_object("b")], [target("t2", "b"), bare])
    after = with_part(document([], [bare]), now, PART)
    assert after["targets"] == [bare, target("t2", "b")]


def test_the_rest_of_the_file_stays() -> None:
    before = document(
        [storage_object("a", size=1), storage_object("b", size=1)], [target("t1", "a", old=True)]
    )
    before["unknown"] = {"kept": True}
    now = document(
        [storage_object("a", size=2), storage_object("b", size=2)], [target("t1", "a"), target("t2", "b")]
    )
    after = with_part(before, now, PART)
    assert after["unknown"] == {"kept": True}
    assert after["storage_objects"] == [storage_object("a", size=1), storage_object("b", size=2)]
    assert after["targets"] == [target("t1", "a", old=True), target("t2", "b")]


def test_deleted_now_is_deleted_there() -> None:
    before = document([storage_object("a"), storage_object("b")], [target("t1", "a"), target("t2", "b")])
    now = document([storage_object("a")], [target("t1", "a"), target("t2")])
    assert with_part(before, now, PART) == document([storage_object("a")], [target("t1", "a"), target("t2")])


def test_a_target_that_is_gone_goes() -> None:
    before = document([storage_object("b")], [target("t2", "b")])
    assert with_part(before, document([], []), PART) == document([], [])


def test_nothing_is_changed_in_place() -> None:
    before = document([storage_object("b")], [target("t2", "b")])
    with_part(before, document([], []), PART)
    assert before == document([storage_object("b")], [target("t2", "b")])


@pytest.mark.parametrize("path", ["", "/a,b", "/a\nb", "/" + "x" * 256])
def test_paths_that_lio_would_cut(path: str) -> None:
    with pytest.raises(UsageError):
        check_path(path)


def test_paths_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert check_path("a.img") == str(tmp_path / "a.img")
    assert check_path("~/a.img") == "/home/me/a.img"


@pytest.mark.parametrize("size", [0, 1, 511, 513, 1000])
def test_sizes_that_are_no_blocks(size: int) -> None:
    with pytest.raises(UsageError):
        check_blocks(size, "a size")


@pytest.mark.parametrize("sparse", [True, False])
def test_made_files_and_taking_them_back(tmp_path: Path, sparse: bool) -> None:
    new, empty = tmp_path / "new", tmp_path / "empty"
    empty.touch()
    undo_new, undo_empty = (make_file(str(path), 8192, sparse=sparse) for path in (new, empty))
    for path in (new, empty):
        assert path.stat().st_size == 8192
        assert (path.stat().st_blocks == 0) is sparse
    undo_new()
    undo_empty()
    assert not new.exists()
    assert empty.stat().st_size == 0
