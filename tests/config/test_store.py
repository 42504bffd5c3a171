"""A saved configuration is never lost: not by a crash, not by an empty one, not to other users' eyes."""

from __future__ import annotations

import errno
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


SYNTAX_ERROR = b'{"storage_objects": [{"name": "a", "plugin": "ramdisk"}], "targets": [],}'


@pytest.mark.parametrize("new", [EMPTY, full("b")], ids=["empty", "full"])
@pytest.mark.parametrize("kept", [None, 10], ids=["any-file", "with-generations"])
def test_what_is_no_configuration_is_replaced_by_force_alone_and_kept(
    tmp_path: Path, new: dict[str, Any], kept: int | None
) -> None:
    file = tmp_path / "saveconfig.json"
    file.write_bytes(SYNTAX_ERROR)
    with pytest.raises(RefusedFileError, match="holds something that is no configuration: not saved"):
        store.save(file, new, generations=kept)
    assert file.read_bytes() == SYNTAX_ERROR
    assert store.save(file, new, generations=kept, force=True)
    assert store.read(file) == new
    (copy,) = tmp_path.glob("saveconfig.json.*")
    assert copy.read_bytes() == SYNTAX_ERROR
    assert copy.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_what_cannot_be_read_is_replaced_by_force_alone_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    file = tmp_path / "saveconfig.json"
    store.save(file, full("a"))
    was = file.read_bytes()

    def unreadable(path: Path) -> bytes:
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", unreadable)
        for new in (EMPTY, full("b")):
            with pytest.raises(RefusedFileError, match=r"cannot be read \(.*\): not saved"):
                store.save(file, new, generations=10)
        assert store.save(file, full("b"), generations=10, force=True)
    assert store.read(file) == full("b")
    (copy,) = tmp_path.glob("saveconfig.json.*")
    assert copy.read_bytes() == was


@pytest.mark.parametrize(
    "text", ["[]", '{"name": "somebody else\'s"}', '{"storage_objects": [{"x": 1}]}', "7"]
)
def test_an_empty_configuration_does_not_replace_what_is_another_thing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(RefusedFileError, match="is empty and"):
        store.save(file, EMPTY)
    assert file.read_text() == text


@pytest.mark.parametrize("text", ["", " \n", "{}", '{"storage_objects": []}'])
def test_an_empty_configuration_replaces_nothing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    assert store.save(file, EMPTY)


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
    four = generations.find(4, tmp_path)
    assert four is not None
    assert store.read(four.path) == full("d")
    assert generations.find(1, tmp_path) is None


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


@pytest.mark.parametrize("most", [1, 2, 10])
def test_what_was_just_kept_stays_however_old_its_file_is(tmp_path: Path, most: int) -> None:
    file = tmp_path / "saveconfig.json"
    for number in range(12):
        store.save(file, full(f"n{number}"), generations=most, command="saveconfig")
    file.write_text(json.dumps(full("of 2020")))
    os.utime(file, (1577836800, 1577836800))
    store.save(file, full("new"), generations=most, command="saveconfig")
    assert names_in(tmp_path)[-2:] == ["of 2020", "new"]
    assert len(names_in(tmp_path)) == max(most, 2)
    assert [one.number for one in generations.every(tmp_path)][-2:] == [13, 14]


def test_a_clock_that_is_set_back_changes_no_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "saveconfig.json"
    years = iter(range(2030, 2020, -1))
    monkeypatch.setattr(
        generations,
        "origin_now",
        lambda command: generations.Origin("me", f"{next(years)}-01-01T00:00:00+00:00", command),
    )
    for name in "abcde":
        store.save(file, full(name), generations=3, command="saveconfig")
    assert names_in(tmp_path) == ["c", "d", "e"]


def test_generations_from_before_the_file_became_a_link_are_found(tmp_path: Path) -> None:
    file, other = tmp_path / "saveconfig.json", tmp_path / "else"
    for name in "ab":
        store.save(file, full(name), generations=5, command="saveconfig")
    other.mkdir()
    file.rename(other / "cfg.json")
    file.symlink_to(other / "cfg.json")
    store.save(file, full("c"), generations=5, command="saveconfig")
    both = (other, tmp_path)
    assert [one.number for one in generations.every(*both)] == [1, 2, 3]
    contents = [generations.content_of(one.path) or b"" for one in generations.every(*both)]
    assert [json.loads(content)["storage_objects"][0]["name"] for content in contents] == ["a", "b", "c"]
    one = generations.find(1, *both)
    assert one is not None
    assert one.path.parent == tmp_path / "backup"


def test_saving_the_same_again_says_so_and_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "saveconfig.json"
    assert store.save(file, full("b", "a"), generations=5)
    before = file.stat()
    assert not store.save(file, full("a", "b"), generations=5)
    after = file.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert len(generations.every(tmp_path)) == 1


def test_what_killed_saves_left_is_swept_away(tmp_path: Path) -> None:
    file = tmp_path / "saveconfig.json"
    (tmp_path / "backup").mkdir()
    left = [f".saveconfig.json.{'0a' * 8}", f"backup/.saveconfig-20200101-00:00:00-json.gz.{'9f' * 8}"]
    others = ["saveconfig.json.old", ".saveconfig.json.swp", f".other.json.{'0a' * 8}", "backup/.note"]
    for name in left + others:
        (tmp_path / name).touch()
    store.save(tmp_path / "other.json", full("a"))
    assert all((tmp_path / name).exists() for name in left + others)
    store.save(file, full("a"), generations=3)
    assert {name for name in left + others if (tmp_path / name).exists()} == set(others)


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


def test_what_is_saved_to_a_gzip_name_is_packed_and_read_by_what_it_is(tmp_path: Path) -> None:
    file = tmp_path / "x.json.gz"
    assert store.save(file, full("a"))
    assert (
        gzip.decompress(file.read_bytes()) == json.dumps(full("a"), sort_keys=True, indent=2).encode() + b"\n"
    )
    assert store.read(file) == full("a")
    assert not store.save(file, full("a"))
    with pytest.raises(RefusedFileError, match="is empty and"):
        store.save(file, EMPTY)
    file.write_text(json.dumps(full("plain")))
    assert store.read(file) == full("plain")
    packed = tmp_path / "x.json"
    packed.write_bytes(gzip.compress(json.dumps(full("packed")).encode()))
    assert store.read(packed) == full("packed")
    yaml = tmp_path / "x.yaml.gz"
    yaml.write_bytes(gzip.compress(b"storage_objects:\n- name: y\n  plugin: ramdisk\n"))
    assert store.read(yaml)["storage_objects"] == full("y")["storage_objects"]


def test_an_absent_file_has_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(NoFileError):
        store.read(tmp_path / "none.json")
    with pytest.raises(RefusedFileError, match="Is a directory"):
        store.read(tmp_path)


def test_what_another_kernel_has_stays_with_its_object(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    wwn = "iqn.2003-01.org.test:t"

    def saved(wwn: str, attributes: dict[str, Any], **more: Any) -> dict[str, Any]:
        acl = {"node_wwn": wwn[:-1] + "i", "attributes": attributes, **more}
        tpg = {"tag": 1, "attributes": attributes, "node_acls": [acl], **more}
        target = {"fabric": "iscsi", "wwn": wwn, "tpgs": [tpg], **more}
        so = {"name": "a", "plugin": "ramdisk", "attributes": attributes}
        return {"storage_objects": [so], "targets": [target]}

    store.save(file, saved(wwn.replace("t", "T"), {"emulate_caw": 1, "emulate_future": 2}, color="red"))
    assert store.save(file, saved(wwn, {"emulate_caw": 0}))
    assert store.read(file) == saved(wwn, {"emulate_caw": 0, "emulate_future": 2}, color="red")
    # One that was made anew under another plugin has nothing of it.
    other = saved(wwn, {"emulate_caw": 0})
    other["storage_objects"][0]["plugin"] = "fileio"
    store.save(file, other)
    assert store.read(file)["storage_objects"] == other["storage_objects"]


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
