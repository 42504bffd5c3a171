"""A saved configuration is never lost: not by a crash, not by an empty one, not to other users' eyes."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from isadmin.config import store
from isadmin.errors import IsadminError, NoFileError, RefusedFileError

EMPTY: dict[str, Any] = {"storage_objects": [], "targets": []}


def full(*names: str) -> dict[str, Any]:
    return {"storage_objects": [{"name": n, "plugin": "ramdisk"} for n in names], "targets": []}


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "saveconfig.json"
    store.save(file, full("b", "a"))
    assert store.read(file) == full("a", "b")
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_it_is_private_from_its_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    real = os.fdopen

    def spy(descriptor: int, *rest: Any) -> Any:
        modes.append(os.fstat(descriptor).st_mode & 0o777)
        return real(descriptor, *rest)

    monkeypatch.setattr(store.os, "fdopen", spy)
    before = os.umask(0)
    try:
        store.save(tmp_path / "x.json", full("a"))
    finally:
        os.umask(before)
    assert modes == [0o600]


def test_the_order_of_things_on_the_medium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def spy_fsync(descriptor: int) -> None:
        done.append("directory" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "file")
        fsync(descriptor)

    def spy_replace(self: Path, target: Path) -> Path:
        done.append("rename")
        return replace(self, target)

    monkeypatch.setattr(store.os, "fsync", spy_fsync)
    monkeypatch.setattr(Path, "replace", spy_replace)
    store.save(tmp_path / "x.json", full("a"))
    assert done == ["file", "rename", "directory"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "saveconfig.json"
    store.save(file, full("old"))

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full_disk)
    with pytest.raises(IsadminError, match="No space left"):
        store.save(file, full("new"))
    assert store.read(file) == full("old")
    assert list(tmp_path.iterdir()) == [file]


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "config.json", tmp_path / "saveconfig.json"
    link.symlink_to(real)
    store.save(link, full("a"))
    assert link.is_symlink()
    assert store.read(real) == full("a")


def test_an_empty_configuration_does_not_replace_a_full_one_unasked(tmp_path: Path) -> None:
    file = tmp_path / "saveconfig.json"
    store.save(file, EMPTY)
    store.save(file, full("a"))
    with pytest.raises(RefusedFileError, match="empty"):
        store.save(file, EMPTY)
    assert store.read(file) == full("a")
    store.save(file, EMPTY, force=True)
    assert store.read(file) == EMPTY


def test_a_directory_or_device_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, Path("/dev/null")):
        with pytest.raises(RefusedFileError, match="not a regular file"):
            store.save(place, full("a"))


def test_one_missing_directory_is_made_two_are_not(tmp_path: Path) -> None:
    store.save(tmp_path / "one" / "x.json", full("a"))
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o700
    with pytest.raises(IsadminError, match="No such file"):
        store.save(tmp_path / "two" / "three" / "x.json", full("a"))


def backups(directory: Path) -> list[str]:
    found = sorted((directory / "backup").glob("*"))
    return [json.loads(gzip.decompress(b.read_bytes()))["storage_objects"][0]["name"] for b in found]


def test_earlier_ones_are_kept_up_to_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "saveconfig.json"
    for second, name in enumerate(["a", "b", "b", "c", "d", "e"]):
        monkeypatch.setattr(
            store.time, "strftime", lambda _, s=second: f"saveconfig-20260101-00:00:{s:02}-json.gz"
        )
        store.save(file, full(name), backups=3)
    assert backups(tmp_path) == ["b", "c", "d"]
    assert {b.stat().st_mode & 0o777 for b in (tmp_path / "backup").iterdir()} == {0o600}


def test_other_files_get_no_backups(tmp_path: Path) -> None:
    for name in "ab":
        store.save(tmp_path / "x.json", full(name))
    assert not (tmp_path / "backup").exists()


def test_a_backup_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "x.json.gz"
    file.write_bytes(gzip.compress(json.dumps(full("a")).encode()))
    assert store.read(file) == full("a")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(RefusedFileError, match="gzip"):
        store.read(file)


def test_an_absent_file_has_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(NoFileError):
        store.read(tmp_path / "none.json")
    with pytest.raises(RefusedFileError, match="Is a directory"):
        store.read(tmp_path)
