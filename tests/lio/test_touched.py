"""Paths below target/ are told apart by the object that they belong to."""

from __future__ import annotations

from pathlib import Path

import pytest

from isadmin.config.model import Key, Tpg
from isadmin.lio.objects import Lio
from isadmin.lio.touched import key_of, rebased, watching

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


def test_what_is_touched_is_seen_before_it_changes(tmp_path: Path) -> None:
    lio = Lio(str(tmp_path / "target"))
    tpg = tmp_path / "target" / TPG
    (tpg / "attrib").mkdir(parents=True)
    (tpg / "attrib/login_timeout").write_text("15\n")
    (tpg / "enable").write_text("0\n")
    (tmp_path / "elsewhere").mkdir()
    with watching(lio) as seen:
        (tmp_path / "elsewhere/x").write_text("1")
        (tpg / "attrib/login_timeout").read_text()
        assert seen.before == {}
        (tpg / "attrib/login_timeout").write_text("20\n")
        (tpg / "np").mkdir()
        (tpg / "np/127.0.0.1:3260").mkdir()
    (tpg / "enable").write_text("1\n")
    key: Key = ("tpg", "iscsi", IQN, 1)
    before, after = seen.before, seen.after()
    assert before.keys() == after.keys() == {key, ("portal", "iscsi", IQN, 1, "127.0.0.1", 3260)}
    assert before["portal", "iscsi", IQN, 1, "127.0.0.1", 3260] is None
    assert after["portal", "iscsi", IQN, 1, "127.0.0.1", 3260] is not None
    assert before[key] is not None
    assert before[key].attributes == {"login_timeout": 15}  # type: ignore[union-attr]
    assert after[key].attributes == {"login_timeout": 20}  # type: ignore[union-attr]


def test_others_changes_are_kept_value_by_value() -> None:
    before = Tpg(1, attributes={"a": 0, "b": 0}, chap={"userid": "u"}, enable=False)
    left = Tpg(1, attributes={"a": 1, "b": 0}, chap={}, enable=True)
    now = Tpg(1, attributes={"a": 1, "b": 2}, chap={"password": "p"}, enable=True)
    kept = Tpg(1, attributes={"a": 0, "b": 2}, chap={"userid": "u", "password": "p"}, enable=False)
    assert rebased(before, left, now) == kept
    assert rebased(None, left, now) is None
    assert rebased(before, None, None) == before
