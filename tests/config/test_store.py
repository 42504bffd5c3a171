"""A saved configuration is never lost: not by a crash, not by an empty one, not to other users' eyes."""

from __future__ import annotations

import gzip
import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from isadmin.config import generations, store
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
    real = os.write

    def spy(descriptor: int, content: bytes) -> int:
        modes.append(os.fstat(descriptor).st_mode & 0o777)
        return real(descriptor, content)

    monkeypatch.setattr(os, "write", spy)
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

    monkeypatch.setattr(os, "fsync", spy_fsync)
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

    monkeypatch.setattr(os, "fsync", full_disk)
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


def names_in(directory: Path) -> list[str]:
    contents = [generations.content_of(one.path) for one in generations.every(directory)]
    return [json.loads(content)["storage_objects"][0]["name"] for content in contents if content]


def test_what_was_saved_is_kept_up_to_a_number(tmp_path: Path) -> None:
    file = tmp_path / "saveconfig.json"
    for last, name in zip("-abbcd", "abbcde", strict=True):
        changed = store.save(file, full(name), generations=3, command=f"save {name}")
        assert changed == (last != name)
    assert names_in(tmp_path) == ["c", "d", "e"]
    found = generations.every(tmp_path)
    assert [one.number for one in found] == [3, 4, 5]
    assert [one.origin.command for one in found] == ["save c", "save d", "save e"]
    assert {one.origin.user for one in found} == {generations.user_name()}
    assert {b.stat().st_mode & 0o777 for b in (tmp_path / "backup").iterdir()} == {0o600}
    four = generations.find(tmp_path, 4)
    assert four is not None
    assert store.read(four.path) == full("d")
    assert generations.find(tmp_path, 1) is None


def test_what_somebody_else_saved_is_kept_too(tmp_path: Path) -> None:
    file = tmp_path / "saveconfig.json"
    (tmp_path / "backup").mkdir()
    theirs = tmp_path / "backup" / "saveconfig-20200101-00:00:00-json.gz"
    theirs.write_bytes(gzip.compress(json.dumps(full("old")).encode()))
    os.utime(theirs, (0, 0))
    file.write_text(json.dumps(full("found")))
    store.save(file, full("new"), generations=10, command="saveconfig")
    assert names_in(tmp_path) == ["old", "found", "new"]
    assert [one.number for one in generations.every(tmp_path)] == [None, 1, 2]
    assert generations.every(tmp_path)[1].origin.command == "found in the file"
    assert generations.every(tmp_path)[1].origin.user == pwd.getpwuid(os.getuid()).pw_name


def test_saving_the_same_again_says_so_and_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "saveconfig.json"
    assert store.save(file, full("b", "a"), generations=5)
    before = file.stat()
    assert not store.save(file, full("a", "b"), generations=5)
    after = file.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert len(generations.every(tmp_path)) == 1


def test_the_owner_stays(tmp_path: Path) -> None:
    file = tmp_path / "saveconfig.json"
    store.save(file, full("a"))
    if os.geteuid() == 0:
        os.chown(file, 1, 1)
    owner = file.stat().st_uid
    store.save(file, full("b"))
    assert file.stat().st_uid == owner


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


def test_what_newer_tools_wrote_stays_with_its_object(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    old = full("a", "gone")
    old["storage_objects"][0]["color"] = "red"
    old["comment"] = "ours"
    file.write_text(json.dumps(old))
    assert store.save(file, full("a", "b"))
    saved = store.read(file)
    assert saved["comment"] == "ours"
    assert [so.get("color") for so in saved["storage_objects"]] == ["red", None]
    assert not store.save(file, full("b", "a"))
