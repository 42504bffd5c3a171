"""Parts of a file, by name: which objects they are, and which running ones they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from isadmin.config import diff, document
from isadmin.config.changes import verb
from isadmin.config.model import flatten, name_of
from isadmin.errors import UsageError
from isadmin.shell.nodes.comparing import part_of

NAA = "naa.5001405aaaaaaaaa"
IQN = "iqn.2003-01.org.test:t"


def target(fabric: str, wwn: str, *tags: int) -> dict[str, Any]:
    return {"fabric": fabric, "wwn": wwn, "tpgs": [{"tag": tag} for tag in tags]}


def changes(now: dict[str, Any], file: dict[str, Any], wwn: str | None, so: str | None = None) -> list[str]:
    """What restoreconfig clear_existing=true would do."""
    there = flatten(document.value(now))
    found, within = part_of(Path("f"), file, wwn, so)
    wanted = flatten(document.value(found))
    plan = diff.exact(there, diff.merged(there, wanted, prune=True, within=within))
    return [f"{verb(change)} {name_of(change.key)}" for change in plan.changes]


def test_a_target_of_another_fabric_stays() -> None:
    now = {"targets": [target("loopback", NAA, 1), target("vhost", NAA, 1)]}
    assert changes(now, {"targets": [target("loopback", NAA, 1)]}, NAA) == []
    assert changes(now, {"targets": [target("vhost", NAA, 2)]}, NAA) == [
        f"delete /vhost/{NAA}/tpg1",
        f"create /vhost/{NAA}/tpg2",
        f"enable /vhost/{NAA}/tpg2",
    ]


def test_those_of_one_name_are_all_restored() -> None:
    file = {"targets": [target("loopback", NAA), target("vhost", NAA), target("iscsi", IQN)]}
    assert changes({}, file, NAA) == [f"create /loopback/{NAA}", f"create /vhost/{NAA}"]
    disks = {"storage_objects": [{"name": "d", "plugin": plugin} for plugin in ("fileio", "ramdisk")]}
    made = changes({}, disks, None, "d")
    assert [one for one in made if "alua" not in one] == [
        f"create /backstores/{p}/d" for p in ("fileio", "ramdisk")
    ]


def test_its_name_may_be_spelled_in_any_case() -> None:
    file = {"targets": [target("iscsi", IQN.upper(), 1)]}
    for typed in (IQN, IQN.upper()):
        assert part_of(Path("f"), file, typed, None)[0]["targets"] == file["targets"]
    _, within = part_of(Path("f"), file, IQN, None)
    assert within(("tpg", "iscsi", IQN, 1))
    assert not within(("tpg", "iscsi", f"{IQN}2", 1))
    assert not within(("fabric_module", "iscsi"))


def test_what_the_file_does_not_have_is_said() -> None:
    with pytest.raises(UsageError, match="no target"):
        part_of(Path("f"), {"targets": [target("iscsi", IQN)]}, f"{IQN}2", None)
    with pytest.raises(UsageError, match="no storage object"):
        part_of(Path("f"), {}, None, "d")
