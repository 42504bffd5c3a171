"""Paths below target/ are told apart by the object that they belong to, and what changes there is noted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from isadmin.config.model import Key, Tpg
from isadmin.config.parts import Part
from isadmin.lio import files
from isadmin.lio.objects import Lio
from isadmin.lio.touched import key_of, watching

IQN = "iqn.2003-01.org.test:t"
TPG = f"iscsi/{IQN}/tpgt_1"


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("core/fileio_0", None),
        ("core/alua/lu_gps/x", None),
        ("core/fileio_0/f1", ("storage_object", "fileio", "f1")),
        ("core/rd_mcp_3/r/attrib/block_size", ("storage_object", "ramdisk", "r")),
        ("core/iblock_3/b/alua/g1/preferred", ("port_group", "block", "b", "g1")),
        ("iscsi", None),
        ("nosuch/x", None),
        ("iscsi/discovery_auth/userid", ("fabric_module", "iscsi")),
        (f"iscsi/{IQN}", ("target", "iscsi", IQN)),
        (f"iscsi/{IQN}/param/cmd_completion_affinity", ("target", "iscsi", IQN)),
        (f"{TPG}/enable", ("tpg", "iscsi", IQN, 1)),
        (f"{TPG}/lun/lun_7/alias", ("lun", "iscsi", IQN, 1, 7)),
        (f"{TPG}/np/[::1]:3260", ("portal", "iscsi", IQN, 1, "[::1]", 3260)),
        (f"{TPG}/acls/iqn.i/auth/userid", ("node_acl", "iscsi", IQN, 1, "iqn.i")),
        (f"{TPG}/acls/iqn.i/lun_3/write_protect", ("mapped_lun", "iscsi", IQN, 1, "iqn.i", 3)),
    ],
)
def test_whose_path_it_is(path: str, key: Key | None) -> None:
    assert key_of(path) == key


@pytest.fixture
def lio(tmp_path: Path) -> Lio:
    tpg = tmp_path / "target" / TPG
    for directory, texts in {
        "attrib": {"login_timeout": "15", "generate_node_acls": "0", "cache_dynamic_acls": "0"},
        "param": {"AuthMethod": "CHAP", "MaxConnections": "1"},
        "auth": {"userid": "", "password": "", "userid_mutual": "", "password_mutual": ""},
        ".": {"enable": "0"},
    }.items():
        (tpg / directory).mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (tpg / directory / name).write_text(f"{text}\n")
    return Lio(str(tmp_path / "target"))


KEY: Key = ("tpg", "iscsi", IQN, 1)


def test_what_is_touched_is_seen_before_it_changes(lio: Lio, tmp_path: Path) -> None:
    tpg = Path(lio.path, TPG)
    (tmp_path / "elsewhere").mkdir()
    with watching(lio) as seen:
        (tmp_path / "elsewhere/x").write_text("1")
        (tpg / "attrib/login_timeout").read_text()
        assert seen.before == {}
        (tpg / "attrib/login_timeout").write_text("20\n")
        (tpg / "np").mkdir()
        (tpg / "np/127.0.0.1:3260").mkdir()
    (tpg / "enable").write_text("1\n")
    portal: Key = ("portal", "iscsi", IQN, 1, "127.0.0.1", 3260)
    before, after = seen.before, seen.after()
    assert before.keys() == after.keys() == {KEY, portal}
    assert before[portal] is None
    assert after[portal] is not None
    # The directory np is the portal group's own.
    assert isinstance(before[KEY], Tpg)
    assert isinstance(after[KEY], Tpg)
    assert before[KEY].attributes["login_timeout"] == 15
    assert after[KEY].attributes["login_timeout"] == 20


def test_of_an_object_in_which_values_are_set_these_are_read(lio: Lio) -> None:
    tpg = Path(lio.path, TPG)
    with watching(lio) as seen:
        files.write(f"{tpg}/attrib/login_timeout", "20")
        assert seen.before == {KEY: Part({("attributes", "login_timeout"): 15})}
        files.write(f"{tpg}/attrib/login_timeout", "25")
        files.write(f"{tpg}/enable", "1")
        files.write(f"{tpg}/auth/userid", "me")
        files.write(f"{tpg}/attrib/generate_node_acls", "1")
    values = {
        ("attributes", "login_timeout"): (15, 25),
        ("", "enable"): (False, True),
        ("chap", "userid"): (None, "me"),
        ("attributes", "generate_node_acls"): (0, 1),
        # As LIO may set them along.
        ("attributes", "cache_dynamic_acls"): (0, 0),
        ("parameters", "AuthMethod"): ("CHAP", "CHAP"),
    }
    assert seen.before == {KEY: Part({name: old for name, (old, _) in values.items()})}
    assert seen.after() == {KEY: Part({name: new for name, (_, new) in values.items()})}


def test_what_was_read_just_before_is_not_read_again(lio: Lio, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{lio.path}/{TPG}/attrib/login_timeout"
    read = []
    real = os.read

    def counted(descriptor: int, size: int) -> bytes:
        read.append(size)
        return real(descriptor, size)

    monkeypatch.setattr(os, "read", counted)
    with watching(lio) as seen:
        assert files.read(path) == "15"
        files.write(path, "20")
        assert files.read(path) == "20"
        after = seen.after()
    assert len(read) == 2
    assert (seen.before, after) == ({KEY: login_timeout(15)}, {KEY: login_timeout(20)})
    files.read(path)
    assert files.remembered is None


def login_timeout(value: int) -> Part:
    return Part({("attributes", "login_timeout"): value})


def test_an_object_is_known_whole_once_more_than_its_values_change(lio: Lio) -> None:
    tpg = Path(lio.path, TPG)
    with watching(lio) as seen:
        files.write(f"{tpg}/attrib/login_timeout", "20")
        for file in sorted(tpg.glob("*/*")):
            file.unlink()
    before = seen.before[KEY]
    assert isinstance(before, Tpg)
    assert before.attributes == {"login_timeout": 15, "generate_node_acls": 0, "cache_dynamic_acls": 0}


def test_blocks_within_a_block_add_up(lio: Lio) -> None:
    path = f"{lio.path}/{TPG}/attrib/login_timeout"
    with watching(lio) as whole:
        with watching(lio) as first:
            files.write(path, "20")
            first.after()
        with watching(lio) as second:
            files.write(path, "25")
            files.write(f"{lio.path}/{TPG}/enable", "1")
            second.after()
    along = {("parameters", "AuthMethod"): "CHAP"}
    assert whole.before == {KEY: Part({("attributes", "login_timeout"): 15, ("", "enable"): False, **along})}
    assert whole.left == {KEY: Part({("attributes", "login_timeout"): 25, ("", "enable"): True, **along})}


def test_what_goes_after_its_values_were_set_is_known_whole(lio: Lio) -> None:
    tpg = Path(lio.path, TPG)
    path = f"{tpg}/attrib/login_timeout"

    def remove() -> None:
        for file in sorted(tpg.glob("*/*")):
            file.unlink()

    whole = {"login_timeout": 15, "generate_node_acls": 0, "cache_dynamic_acls": 0}
    with watching(lio) as outer:
        with watching(lio) as inner:
            files.write(path, "20")
            inner.after()
        remove()
    assert isinstance(outer.before[KEY], Tpg)
    assert outer.before[KEY].attributes == whole


def test_what_goes_within_a_block_after_its_values_were_set_is_known_whole(lio: Lio) -> None:
    tpg = Path(lio.path, TPG)
    with watching(lio) as outer:
        files.write(f"{tpg}/attrib/login_timeout", "20")
        with watching(lio) as inner:
            (tpg / "param/MaxConnections").unlink()
            inner.after()
    before = outer.before[KEY]
    assert isinstance(before, Tpg)
    assert before.attributes["login_timeout"] == 15
    assert before.parameters == {"AuthMethod": "CHAP", "MaxConnections": "1"}
