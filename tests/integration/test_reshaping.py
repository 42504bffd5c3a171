"""Other sizes and other names, on a running target with an initiator logged in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.initiator import Initiator
from tests.integration.sandbox import Userspace

pytestmark = pytest.mark.integration

IQN = "iqn.2003-01.org.test:reshaping"
TPG = f"/iscsi/{IQN}/tpg1"
INITIATOR = f"{IQN}:i"
PORTAL = ("127.0.0.1", 3260)
MIB = 1 << 20
CAPACITY_CHANGED = 0x2A09
READ_CAPACITY = bytes([0x25]) + bytes(9)


@pytest.fixture
def exported(userspace: Userspace, tmp_path: Path) -> Userspace:
    """A fileio object with an ALUA group as LUN 0, mapped as LUN 3 of an ACL."""
    lines = [
        f"/backstores/fileio create disk {tmp_path}/disk.img 1M wwn=a-serial-number",
        "/backstores/fileio/disk set attribute emulate_tpu=1",
        "/backstores/fileio/disk/alua create group 5",
        f"/iscsi create {IQN}",
        f"{TPG}/luns create /backstores/fileio/disk",
        f"{TPG}/luns/lun0 set alua alua_tg_pt_gp_name=group",
        f"{TPG}/acls create {INITIATOR} add_mapped_luns=false",
        f"{TPG}/acls/{INITIATOR} create 3 lun0",
    ]
    done = userspace.isadmin(typed="\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr
    return userspace


def run(world: Userspace, *words: str, status: int = 0) -> str:
    done = world.isadmin(*words)
    assert done.returncode == status, done.stderr
    return done.stdout if not status else done.stderr


def configuration(world: Userspace, tmp_path: Path) -> dict[str, Any]:
    run(world, "saveconfig", f"{tmp_path}/now.json")
    found: dict[str, Any] = json.loads((tmp_path / "now.json").read_text())
    for tpg in (tpg for target in found["targets"] for tpg in target["tpgs"]):
        for one in [*tpg["luns"], *(lun for acl in tpg["node_acls"] for lun in acl["mapped_luns"])]:
            del one["alias"]
    return found


def hears(initiator: Initiator) -> int:
    """The unit attention that there is, or 0."""
    reply = initiator.cmd(bytes(6), lun=3)
    return reply.asc if reply.status else 0


def capacity(initiator: Initiator) -> int:
    data = initiator.cmd(READ_CAPACITY, lun=3, expected_in=8).data
    return (int.from_bytes(data[:4], "big") + 1) * int.from_bytes(data[4:], "big")


def test_a_file_grows_while_an_initiator_is_logged_in(exported: Userspace, tmp_path: Path) -> None:
    with Initiator(PORTAL, target=IQN, name=INITIATOR) as initiator:
        initiator.ready(3)
        assert capacity(initiator) == MIB
        said = run(exported, "/backstores/fileio/disk", "resize", "3M")
        assert said.startswith("Resized fileio/disk from 1.0MiB to 3.0MiB.")
        assert hears(initiator) == (CAPACITY_CHANGED if exported.tells_of_sizes else 0)
        assert capacity(initiator) == 3 * MIB
        data = b"behind what it was".ljust(512, b".")
        assert initiator.write(2 * MIB // 512, data, lun=3).status == 0
        assert initiator.read(2 * MIB // 512, 1, lun=3).data == data
    assert (tmp_path / "disk.img").stat().st_size == 3 * MIB


def test_a_file_shrinks_only_if_that_is_meant(exported: Userspace, tmp_path: Path) -> None:
    words = ("/backstores/fileio/disk", "resize", "512k")
    assert "cuts off the last 524288 bytes" in run(exported, *words, status=2)
    assert (tmp_path / "disk.img").stat().st_size == MIB
    run(exported, "-y", *words)
    assert (tmp_path / "disk.img").stat().st_size == MIB // 2
    with Initiator(PORTAL, target=IQN, name=INITIATOR) as initiator:
        initiator.ready(3)
        assert capacity(initiator) == MIB // 2


def test_another_size_is_undone_and_applied_in_place(exported: Userspace, tmp_path: Path) -> None:
    before = configuration(exported, tmp_path)
    with Initiator(PORTAL, target=IQN, name=INITIATOR) as initiator:
        initiator.ready(3)
        run(exported, "/backstores/fileio/disk", "resize", "2M")
        grown = configuration(exported, tmp_path)
        undone = exported.isadmin("undo")
        assert undone.returncode == 0
        assert f"{tmp_path}/disk.img stays as long as it was" in undone.stderr
        assert (tmp_path / "disk.img").stat().st_size == 2 * MIB
        assert configuration(exported, tmp_path) == before
        (tmp_path / "grown.json").write_text(json.dumps(grown))
        assert "size: 1048576 -> 2097152" in run(exported, "apply", f"{tmp_path}/grown.json", "--dry-run")
        run(exported, "apply", f"{tmp_path}/grown.json")
        assert hears(initiator) == (CAPACITY_CHANGED if exported.tells_of_sizes else 0)
        assert capacity(initiator) == 2 * MIB


def test_nobody_is_told_of_a_size_that_nobody_sees(userspace: Userspace, tmp_path: Path) -> None:
    run(userspace, "/backstores/fileio", "create", "lone", f"{tmp_path}/lone.img", "1M")
    said = run(userspace, "/backstores/fileio/lone", "resize", "2M")
    assert said == "Resized fileio/lone from 1.0MiB to 2.0MiB.\n"


def test_a_command_of_the_top_is_found_from_below(userspace: Userspace) -> None:
    assert "it is one of /: type / diff" in run(userspace, "/backstores", "diff", status=2)


def test_sizes_that_cannot_be(exported: Userspace) -> None:
    run(exported, "/backstores/ramdisk", "create", "memory", "1M")
    assert "keeps its size" in run(exported, "/backstores/ramdisk/memory", "resize", "2M", status=1)
    assert "512-byte blocks" in run(exported, "/backstores/fileio/disk", "resize", "1000", status=2)
    assert "missing size" in run(exported, "/backstores/fileio/disk", "resize", status=2)
    assert run(exported, "/backstores/fileio/disk", "resize", "1M").startswith("No change")


def test_a_storage_object_is_renamed_with_all_that_refers_to_it(exported: Userspace, tmp_path: Path) -> None:
    before = configuration(exported, tmp_path)
    words = ("/backstores/fileio/disk", "rename", "other")
    assert "luns/lun0" in run(exported, *words, status=2)
    assert configuration(exported, tmp_path) == before
    run(exported, "-y", *words)
    expected = json.loads(
        json.dumps(before)
        .replace('"name": "disk"', '"name": "other"')
        .replace("/backstores/fileio/disk", "/backstores/fileio/other")
    )
    assert configuration(exported, tmp_path) == expected
    run(exported, "undo")
    assert configuration(exported, tmp_path) == before


def test_a_target_is_renamed_with_all_below_it(exported: Userspace, tmp_path: Path) -> None:
    before = configuration(exported, tmp_path)
    new = f"{IQN}-2"
    with Initiator(PORTAL, target=IQN, name=INITIATOR) as initiator:
        initiator.ready(3)
        assert f"ends the session of {INITIATOR}" in run(exported, f"/iscsi/{IQN}", "rename", new, status=2)
        run(exported, "-y", f"/iscsi/{IQN}", "rename", new)
    (before_target,) = before["targets"]
    assert configuration(exported, tmp_path) == before | {"targets": [before_target | {"wwn": new}]}
    with Initiator(PORTAL, target=new, name=INITIATOR) as initiator:
        initiator.ready(3)
        assert capacity(initiator) == MIB


@pytest.mark.parametrize("name", ["disk", "a b", "", "a/b"])
def test_names_that_cannot_be(exported: Userspace, tmp_path: Path, name: str) -> None:
    before = configuration(exported, tmp_path)
    assert exported.isadmin("-y", "/backstores/fileio/disk", "rename", name).returncode in (1, 2)
    assert exported.isadmin("-y", f"/iscsi/{IQN}", "rename", name).returncode in (1, 2)
    assert exported.isadmin("-y", f"/iscsi/{IQN}", "rename", IQN).returncode == 1
    assert configuration(exported, tmp_path) == before


def test_what_cannot_be_renamed(exported: Userspace) -> None:
    run(exported, "/backstores/ramdisk", "create", "memory", "1M")
    said = run(exported, "-y", "/backstores/ramdisk/memory", "rename", "other", status=1)
    assert "would be lost" in said
    with Initiator(PORTAL, target=IQN, name=INITIATOR) as initiator:
        initiator.ready(3)
        register = bytes(8) + b"reserved" + bytes(8)
        assert initiator.cmd(bytes([0x5F, 0, 0, 0, 0, 0, 0, 0, 24, 0]), data_out=register, lun=3).status == 0
        reserve = b"reserved" + bytes(16)
        assert initiator.cmd(bytes([0x5F, 1, 1, 0, 0, 0, 0, 0, 24, 0]), data_out=reserve, lun=3).status == 0
        assert "reserved" in run(exported, "-y", "/backstores/fileio/disk", "rename", "other", status=1)


def test_a_rename_that_fails_half_way_leaves_all_as_it_was(exported: Userspace, tmp_path: Path) -> None:
    before = configuration(exported, tmp_path)
    # What the new name would be is taken by a device that no configuration shows.
    (exported.mount / "core" / "fileio_0" / "other").mkdir()
    assert exported.isadmin("-y", "/backstores/fileio/disk", "rename", "other").returncode == 1
    (exported.mount / "core" / "fileio_0" / "other").rmdir()
    assert configuration(exported, tmp_path) == before
