"""`--output json` on a running target: every command that answers with facts, held against the schemas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.initiator import Initiator
from tests.integration.sandbox import Userspace
from tests.schemas import all_valid, valid

pytestmark = pytest.mark.integration

IQN = "iqn.2003-01.org.test:json"
CLIENT = "iqn.2003-01.org.test:client"
BUILD = f"""
set global auto_add_default_portal=false
/backstores/ramdisk create r 16M
/iscsi create {IQN}
/iscsi/{IQN}/tpg1/luns create /backstores/ramdisk/r
/iscsi/{IQN}/tpg1/acls create {CLIENT}
/iscsi/{IQN}/tpg1/acls/{CLIENT} set auth userid=u password=sixteen-letters-
/iscsi/{IQN}/tpg1/portals create 127.0.0.1 3271
/loopback create naa.5001405000000001
"""


@pytest.fixture(scope="module")
def target(module_userspace: Userspace) -> Userspace:
    done = module_userspace.isadmin(typed=BUILD)
    assert done.returncode == 0, done.stderr
    return module_userspace


def ask(target: Userspace, *words: str) -> list[dict[str, Any]]:
    done = target.isadmin("--output", "json", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return all_valid(done.stdout)


def places(branch: dict[str, Any]) -> Iterator[str]:
    yield branch["path"]
    for child in branch["children"]:
        yield from places(child)


def test_every_place_answers_every_reading_command(target: Userspace) -> None:
    (tree,) = ask(target, "ls")
    paths = list(places(tree["node"]))
    assert f"/iscsi/{IQN}/tpg1/acls/{CLIENT}/mapped_lun0" in paths
    lines = [f"{path} {command}" for path in paths for command in ("status", "get", "ls depth=1")]
    done = target.isadmin("--output", "json", typed="\n".join(lines))
    assert done.returncode == 0, done.stderr
    assert [one["path"] for one in all_valid(done.stdout)] == [path for path in paths for _ in range(3)]


def test_every_group_can_be_read(target: Userspace) -> None:
    (tree,) = ask(target, "ls")
    paths = list(places(tree["node"]))
    done = target.isadmin("--output", "json", typed="\n".join(f"{path} get" for path in paths))
    groups = {one["path"]: one["groups"] for one in all_valid(done.stdout)}
    lines = [f"{path} get {group}" for path in paths for group in groups[path]]
    done = target.isadmin("--output", "json", typed="\n".join(lines))
    assert done.returncode == 0, done.stderr
    assert len(all_valid(done.stdout)) == len(lines)
    assert "sixteen-letters-" not in done.stdout


def test_info_of_every_kind_of_object(target: Userspace) -> None:
    for path in (
        "/backstores/ramdisk/r",
        "/backstores/ramdisk/r/alua/default_tg_pt_gp",
        "/iscsi",
        f"/iscsi/{IQN}",
        f"/iscsi/{IQN}/tpg1",
        f"/iscsi/{IQN}/tpg1/luns/lun0",
        f"/iscsi/{IQN}/tpg1/acls/{CLIENT}",
        f"/iscsi/{IQN}/tpg1/acls/{CLIENT}/mapped_lun0",
        f"/iscsi/{IQN}/tpg1/portals/127.0.0.1:3271",
    ):
        (found,) = ask(target, path, "info")
        assert found["facts"]
    acl = f"/iscsi/{IQN}/tpg1/acls/{CLIENT}"
    assert ask(target, acl, "info")[0]["facts"]["chap_password"] is None
    shown = ask(target, "--show-secrets", acl, "info")[0]["facts"]
    assert shown["chap_password"] == "sixteen-letters-"


def test_versions(target: Userspace) -> None:
    assert [ask(target, path, "version")[0]["of"] for path in ("/", "/iscsi", "/backstores/ramdisk/r")] == [
        "isadmin",
        "fabric iscsi",
        "backstore ramdisk",
    ]


def test_a_session_with_its_luns(target: Userspace) -> None:
    assert ask(target, "sessions")[0]["sessions"] == []
    initiator = Initiator(("127.0.0.1", 3271), name=CLIENT, target=IQN, alias="me")
    try:
        (one,) = ask(target, "sessions", "detail")[0]["sessions"]
        assert "mapped_luns" not in ask(target, "sessions")[0]["sessions"][0]
    finally:
        initiator.close()
    assert (one["initiator"], one["alias"], one["target"], one["tpgt"]) == (CLIENT, "me", IQN, 1)
    assert one["mapped_luns"] == [
        {"mapped_lun": 0, "storage_object": "/backstores/ramdisk/r", "write_protect": False}
    ]
    assert [connection["address"] for connection in one["connections"]] == ["127.0.0.1"]
    assert one["authenticated"] is None


def test_the_daemons_status(target: Userspace) -> None:
    done = target.isadmin("userspace", "status", "--output", "json")
    assert valid(done.stdout, "userspace-status-1")["running"] is True


def test_the_status_of_no_daemon(world: Userspace) -> None:
    done = world.isadmin("userspace", "status", "--output", "json")
    assert done.returncode == 3
    assert valid(done.stdout, "userspace-status-1") == {"schema": 1, "running": False}
