"""Reading and writing single files of configfs."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest

from isadmin.lio import files
from isadmin.lio.told import Directory


@pytest.mark.parametrize("name", ["emulate_tpu", "emulate_tpws"])
def test_what_crashes_a_kernel_is_never_written(tmp_path: Path, name: str) -> None:
    device = tmp_path / "core/fileio_0/d"
    (device / "attrib").mkdir(parents=True)
    (device / "enable").write_text("0\n")
    (device / "attrib" / name).write_text("0\n")
    with pytest.raises(OSError, match="crash"):
        files.write(f"{device}/attrib/{name}", "1")
    assert (device / "attrib" / name).read_text() == "0\n"
    (device / "enable").write_text("1\n")
    files.write(f"{device}/attrib/{name}", "1")
    assert (device / "attrib" / name).read_text() == "1\n"


def test_no_logical_unit_group_is_left_twice(tmp_path: Path) -> None:
    group = tmp_path / "alua_lu_gp"
    group.write_text("")
    with pytest.raises(OSError, match="crash"):
        files.write(str(group), "NULL\n")
    assert group.read_text() == ""
    group.write_text("LU Group Alias: default_lu_gp\nLU Group ID: 0\n")
    files.write(str(group), "NULL")
    assert group.read_text().startswith("NULL")


def test_only_numbers_as_tools_write_them_count(tmp_path: Path) -> None:
    for name in ("lun_0", "lun_00", "lun_10", "lun_2", "lun_0x10", "lun_", "lun_x", "lun_-1", "other"):
        (tmp_path / name).mkdir()
    assert files.numbered(str(tmp_path), "lun_") == [0, 2, 10]
    assert files.numbered(str(tmp_path / "nowhere"), "lun_") == []


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 8192, 70000])
def test_a_file_is_read_whole(tmp_path: Path, size: int) -> None:
    content = "".join(chr(ord("a") + number % 26) for number in range(size))
    (tmp_path / "file").write_text(f"{content}\n")
    assert files.read(str(tmp_path / "file")) == content


def test_files_that_are_not_told_at_once(tmp_path: Path) -> None:
    """A directory without the attribute of the userspace target, as the kernel's are."""
    (tmp_path / "a").write_text("1\n")
    assert files.contents(str(tmp_path)) is None


def test_what_one_thread_looks_at_another_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at everything keeps what it has seen; what others do meanwhile must not see that."""
    monkeypatch.setattr(files, "_is_small", lambda path: False)
    monkeypatch.setattr(files, "_tells", lambda path: True)
    seen: list[object] = []
    with files.looking(str(tmp_path)):
        thread = Thread(target=lambda: seen.append(files._seen(str(tmp_path))))
        look = files._looking.get()
        assert look is not None
        look._keep(str(tmp_path), Directory({"a": 0}, {"a": "old"}))
        (tmp_path / "a").write_text("new")
        thread.start()
        thread.join()
        assert files.read(str(tmp_path / "a")) == "old"
        assert seen == [None]
    assert files.read(str(tmp_path / "a")) == "new"


def test_what_tells_nothing_is_read(tmp_path: Path) -> None:
    """A directory of ordinary files is no target that tells of its directories."""
    for number in range(20):
        (tmp_path / f"core/rd_mcp_{number}").mkdir(parents=True)
    with files.looking(str(tmp_path)):
        assert files._looking.get() is None
    with files.looking(str(tmp_path / "nothing")):
        assert files._looking.get() is None
