"""Saving, restoring and clearing, as far as it needs no target: what is checked, refused and said."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from isadmin import __version__
from isadmin.config import document, store
from isadmin.config.changes import Change, applied, verb
from isadmin.config.model import flatten, name_of, unflatten
from isadmin.errors import (
    IsadminError,
    NoFileError,
    NoTargetError,
    PartlyRestoredError,
    RefusedFileError,
    UsageError,
)
from isadmin.lio import saved
from isadmin.lio.apply import Outcome
from isadmin.lio.objects import Lio
from isadmin.shell.preferences import Bookmarks, Preferences
from isadmin.shell.session import Session
from tests.shell.trees import FakeHost

EMPTY: dict[str, Any] = {"storage_objects": [], "targets": []}
DISK = {"storage_objects": [{"name": "d", "plugin": "ramdisk"}], "targets": []}
TARGET = {
    "storage_objects": [],
    "targets": [
        {
            "wwn": "iqn.t",
            "fabric": "iscsi",
            "tpgs": [{"tag": 1, "luns": [{"index": 0, "storage_object": "/backstores/ramdisk/e"}]}],
        }
    ],
}


class World:
    """A session at the root of a target that is only a document."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (directory / "target" / "core").mkdir(parents=True)
        self.running: dict[str, Any] = DISK
        self.errors: list[str] = []
        self.restored: list[list[str]] = []
        self.host = FakeHost(directory / "state" / "saveconfig.json")
        self.host.lio = Lio(str(directory / "target"))
        self.out, self.err = io.StringIO(), io.StringIO()
        self.session = Session(self.host, Preferences(), Bookmarks(), out=self.out, err=self.err)  # type: ignore[arg-type]
        monkeypatch.setattr(saved, "dump", lambda host: self.running)
        monkeypatch.setattr(saved, "worth_saving", lambda host: self.running)
        monkeypatch.setattr(saved, "carry_out", self.carry_out)

    def carry_out(
        self, host: object, changes: Sequence[Change], *, keep_going: bool = False, progress: object = None
    ) -> Outcome:
        self.restored.append([f"{verb(change)} {name_of(change.key)}" for change in changes])
        now = flatten(document.value(self.running))
        self.running = document.of(unflatten(applied(now, changes)))
        return Outcome(len(changes), failed=self.errors)

    def run(self, line: str) -> str:
        before = self.out.tell()
        self.session.run_line(line)
        return self.out.getvalue()[before:]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_saving_where_it_is_restored_from(world: World) -> None:
    file = world.host.savefile
    assert file is not None
    assert world.run("saveconfig") == f"Configuration saved to {file}\n"
    assert store.read(file) == DISK
    assert world.host.locked == 1
    world.running = dict(DISK, unknown=1)
    world.run("saveconfig")
    assert len(list((file.parent / "backup").iterdir())) == 2
    assert world.run("saveconfig") == f"Configuration saved to {file} (no change)\n"
    assert [line.split()[0] for line in world.run("history").splitlines()] == ["1", "2"]
    assert json.loads(world.run("history show 1")) == DISK


def test_saving_makes_the_session_unchanged_only_where_it_is_restored_from(
    world: World, tmp_path: Path
) -> None:
    world.session.changed = True
    world.run(f"saveconfig {tmp_path}/x.json")
    assert world.session.changed
    assert not (tmp_path / "backup").exists()
    world.run("saveconfig")
    assert not world.session.changed


def test_a_home_directory_is_understood(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    world.run("saveconfig ~/x.json")
    assert store.read(tmp_path / "x.json") == DISK


def test_nothing_is_not_saved_over_something_unasked(world: World) -> None:
    world.run("saveconfig")
    world.running = EMPTY
    with pytest.raises(RefusedFileError):
        world.run("saveconfig")
    for line in ("saveconfig --force", "saveconfig force=true", f"saveconfig {world.host.savefile} --force"):
        world.running = EMPTY
        world.run(line)
        assert store.read(world.host.savefile or Path()) == EMPTY
        world.running = DISK
        world.run("saveconfig")


def test_a_target_without_a_file_of_its_own_needs_one_named(world: World) -> None:
    world.host.savefile = None
    for line in ("saveconfig", "restoreconfig"):
        with pytest.raises(NoFileError, match="no saved configuration"):
            world.run(line)


def test_restoring(world: World, tmp_path: Path) -> None:
    world.run(f"saveconfig {tmp_path}/x.json")
    said = world.run(f"restoreconfig {tmp_path}/x.json clear_existing=true storage_object=d")
    assert said == f"Configuration restored from {tmp_path}/x.json (no change)\n"
    other = {"name": "e", "plugin": "ramdisk"}
    world.running = {"storage_objects": [other], "targets": []}
    said = world.run(f"restoreconfig {tmp_path}/x.json clear_existing=true storage_object=d")
    assert said == f"Configuration restored from {tmp_path}/x.json\n"
    world.run(f"restoreconfig {tmp_path}/x.json clear_existing=true")
    assert world.restored == [
        [],
        ["create /backstores/ramdisk/d"],
        ["delete /backstores/ramdisk/e"],
    ]
    assert world.session.changed


def test_a_partial_restore_lists_what_failed(world: World, tmp_path: Path) -> None:
    world.run(f"saveconfig {tmp_path}/x.json")
    world.running, world.errors = EMPTY, ["this", "that"]
    with pytest.raises(PartlyRestoredError, match="2 recoverable errors") as caught:
        world.run(f"restoreconfig {tmp_path}/x.json --keep-going")
    assert caught.value.status == 7
    assert world.err.getvalue() == "warning: this, skipped\nwarning: that, skipped\n"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", RefusedFileError),
        ('{"storage_objects": [', RefusedFileError),
        ("hello", RefusedFileError),
        ("[]", RefusedFileError),
        ('{"targets": [{}]}', RefusedFileError),
        (None, NoFileError),
    ],
)
def test_a_bad_file_is_refused_before_anything_is_touched(
    world: World, tmp_path: Path, content: str | None, error: type[IsadminError]
) -> None:
    if content is not None:
        (tmp_path / "x.json").write_text(content)
    with pytest.raises(error):
        world.run(f"restoreconfig {tmp_path}/x.json true")
    assert world.restored == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("target=nosuch", "has no target nosuch"),
        ("storage_object=nosuch", "has no storage object nosuch"),
        ("clear_existing=maybe", "is not true|false"),
        ("target=iqn.t", "/iscsi/iqn.t/tpg1/luns/lun0 needs /backstores/ramdisk/e, which is not there"),
        ("a b c d e f g h", "unexpected argument 'h'"),
    ],
)
def test_a_part_that_cannot_be_restored_is_refused(
    world: World, tmp_path: Path, line: str, words: str
) -> None:
    (tmp_path / "x.json").write_text(json.dumps(TARGET))
    with pytest.raises(IsadminError) as caught:
        world.run(f"restoreconfig {tmp_path}/x.json {line}" if "=" in line else f"restoreconfig {line}")
    assert words in str(caught.value)
    assert world.restored == []


def test_clearing_wants_to_be_confirmed(world: World) -> None:
    for line in ("clearconfig", "clearconfig confirm=false"):
        with pytest.raises(UsageError, match="confirm=True needs to be set"):
            world.run(line)
    assert world.running == DISK
    assert world.run("clearconfig confirm=true") == "All configuration cleared\n"
    assert document.is_empty(world.running)
    world.running, world.session.assume_yes = DISK, True
    world.run("clearconfig")
    assert document.is_empty(world.running)


def test_of_two_saved_configurations_the_one_that_is_meant_is_named(world: World) -> None:
    world.host.other_savefile = "/elsewhere/saveconfig.json"
    with pytest.raises(NoFileError):
        world.run("diff")
    warned = f"{world.host.savefile} is meant, where rtslib saves, not /elsewhere/saveconfig.json"
    assert warned in world.err.getvalue()


def test_leaving_saves_to_the_targets_own_file(world: World) -> None:
    world.session.changed = True
    world.session.finish(save=True)
    assert world.out.getvalue() == (
        f"Global pref auto_save_on_exit=true\nConfiguration saved to {world.host.savefile}\n"
    )
    world.session.finish(save=True)
    assert world.out.getvalue().count("saved") == 1


def test_leaving_says_what_is_not_saved(world: World) -> None:
    world.run("set global auto_save_on_exit=false")
    world.session.changed = True
    said = len(world.out.getvalue())
    world.session.finish(save=True)
    assert world.out.getvalue()[said:] == "Global pref auto_save_on_exit=false: the changes are not saved\n"
    assert not Path(str(world.host.savefile)).exists()


def test_version_and_sessions(world: World) -> None:
    assert world.run("version") == f"isadmin version {__version__}\n"
    assert world.run("sessions") == "(no open sessions)\n"
    assert world.run("sessions detail") == "(no open sessions)\n"
    for line in ("sessions nosuch", "sessions list x"):
        with pytest.raises(UsageError):
            world.run(line)
    with pytest.raises(IsadminError, match="no session found with sid 7"):
        world.run("sessions list 7")


def test_a_target_that_ended_is_said_and_can_be_left(world: World, tmp_path: Path) -> None:
    world.run("cd backstores/fileio")

    def gone() -> None:
        raise NoTargetError("The target is gone")

    world.host.require = gone  # type: ignore[method-assign]
    with pytest.raises(NoTargetError):
        world.run("ls")
    with pytest.raises(NoTargetError):
        world.run("/backstores/fileio pwd")
    world.run("exit")
    assert world.session.exiting


SESSION_INFO = """InitiatorName: iqn.i
InitiatorAlias: host
LIO Session ID: 3   ISID: 0x00 02 3d 00 00 01  TSIH: 1  SessionType: Normal
Session State: TARG_SESS_STATE_LOGGED_IN
---------------------[iSCSI Session Values]-----------------------
----------------------[iSCSI Connections]-------------------------
CID: 0  Connection State: TARG_CONN_STATE_LOGGED_IN
   Address 127.0.0.1 TCP  StatSN: 0x1
"""


def test_sessions_say_who_and_from_where(world: World, tmp_path: Path) -> None:
    acl = tmp_path / "target/iscsi/iqn.t/tpgt_1/acls/iqn.i"
    (acl / "lun_0").mkdir(parents=True)
    (acl / "lun_0" / "write_protect").write_text("1\n")
    (acl / "info").write_text(SESSION_INFO)
    (acl.parent.parent / "dynamic_sessions").write_text("iqn.guest\n\0")
    assert world.run("sessions") == (
        "alias: host\tsid: 3 type: Normal session-state: LOGGED_IN\n"
        "alias: \tsid: unknown type: unknown session-state: unknown\n"
    )
    assert world.run("sessions detail 3") == (
        "alias: host\tsid: 3 type: Normal session-state: LOGGED_IN\n"
        "    name: iqn.i\n"
        "    mapped-lun: 0 backstore: unknown mode: r\n"
        "    address: 127.0.0.1 (TCP)  cid: 0 connection-state: LOGGED_IN\n"
    )


@pytest.mark.parametrize(
    ("userid", "group", "initiator", "shown"),
    [
        ("u", "1", "-1", " (authenticated)"),
        ("u", "0", "1", " (authenticated)"),
        ("u", "1", "0", ""),
        ("u", "0", "-1", ""),
        ("NULL", "1", "-1", " (NOT AUTHENTICATED)"),
        ("", "0", "-1", " (NOT AUTHENTICATED)"),
        (None, "1", "-1", ""),
    ],
)
def test_sessions_say_who_has_proven_itself(
    world: World, tmp_path: Path, userid: str | None, group: str, initiator: str, shown: str
) -> None:
    tpg = tmp_path / "target/iscsi/iqn.t/tpgt_1"
    acl = tpg / "acls/iqn.i"
    for directory, authentication in ((tpg, group), (acl, initiator)):
        (directory / "attrib").mkdir(parents=True)
        (directory / "attrib/authentication").write_text(f"{authentication}\n")
    (acl / "auth").mkdir()
    if userid is not None:
        (acl / "auth/userid").write_text(f"{userid}\n")
        (acl / "auth/password").write_text("secret\n")
    (acl / "info").write_text(SESSION_INFO)
    (tpg / "dynamic_sessions").write_text("")
    assert f"    name: iqn.i{shown}\n" in world.run("sessions detail")
