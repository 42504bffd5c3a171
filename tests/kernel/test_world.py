"""What the tests on the kernel's target do to the machine that has it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.kernel import world


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of saved configurations, with one to be kept."""
    directory = tmp_path / "target"
    (directory / "backup").mkdir(parents=True)
    for name, mode in (("saveconfig.json", 0o600), ("backup/first.json.gz", 0o640), ("lock", 0o604)):
        (directory / name).write_text(name)
        (directory / name).chmod(mode)
    (directory / "backup").chmod(0o700)
    (directory / "saved").symlink_to("saveconfig.json")
    if os.geteuid() == 0:
        os.chown(directory / "lock", 7, 8)
        os.chown(directory / "backup", 9, 10)
    monkeypatch.setattr(world, "STATE", (directory, tmp_path / "not-there"))
    return directory


def facts(directory: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in (directory, *directory.rglob("*")):
        st = path.lstat()
        content = "" if path.is_dir() else path.read_text()
        found[str(path.relative_to(directory))] = (st.st_mode, st.st_uid, st.st_gid, content)
    return found


def test_what_was_saved_is_back_as_it_was(state: Path) -> None:
    before = facts(state)
    with world.kept_state():
        assert [path.name for path in state.rglob("*")] == ["backup"]
        assert facts(world.kept(state)) == before
        (state / "saveconfig.json").write_text("a test's")
        (state / "pr").mkdir()
    (state / "pr").rmdir()
    assert facts(state) == before
    assert not world.kept(state).exists()


def test_after_a_run_that_was_killed_nothing_is_touched(state: Path) -> None:
    before = facts(state)
    killed = world.kept_state()
    killed.__enter__()
    (state / "saveconfig.json").write_text("a test's")
    with pytest.raises(world.StateKeptError, match=r"target\.kept-by-isadmin-tests"), world.kept_state():
        pytest.fail("it begins")
    assert facts(world.kept(state)) == before
    assert (state / "saveconfig.json").read_text() == "a test's"
