"""States of a target that others made: isadmin neither crashes nor hangs on them, and what it says holds."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from isadmin.config import document
from isadmin.config.model import flatten
from isadmin.lio import files, saved, snapshot, told
from tests.integration.sandbox import Userspace
from tests.integration.walk import contents

TARGET = "iqn.2003-01.org.linux-iscsi.test:t1"
INITIATOR = "iqn.2003-01.org.linux-iscsi.test:i1"
TPG = f"iscsi/{TARGET}/tpgt_1"
WHOLE = f"""\
/backstores/ramdisk create r1 1M
/iscsi create {TARGET}
/iscsi/{TARGET}/tpg1/luns create /backstores/ramdisk/r1
/iscsi/{TARGET}/tpg1/acls create {INITIATOR}
"""
HALF_MADE = (
    "core/fileio_77",
    "core/fileio_77/never-enabled",
    "core/fileio_77/two in one HBA",
    "core/rd_mcp_78",
    "core/rd_mcp_79",
    "core/rd_mcp_79/ram",
    "core/rd_mcp_79/ram/alua/no-number",
    "core/iblock_80",
    "core/iblock_80/no-device",
    "core/pscsi_81",
    "core/pscsi_81/no-device",
    "core/alua/lu_gps/no-number",
    "iscsi/no name at all",
    "iscsi/iqn.2003-01.org.linux-iscsi.test:empty",
    "iscsi/iqn.2003-01.org.linux-iscsi.test:disabled",
    "iscsi/iqn.2003-01.org.linux-iscsi.test:disabled/tpgt_7",
    "iscsi/iqn.2003-01.org.linux-iscsi.test:disabled/tpgt_7/lun/lun_3",
    "iscsi/iqn.2003-01.org.linux-iscsi.test:disabled/tpgt_7/np/127.0.0.2:3277",
    "iscsi/iqn.2003-01.org.linux-iscsi.test:disabled/tpgt_7/acls/anybody",
    f"iscsi/{TARGET}/tpgt_2",
    f"iscsi/{TARGET}/tpgt_0x10",
    f"iscsi/{TARGET}/tpgt_01",
    f"{TPG}/lun/lun_9",
    f"{TPG}/lun/lun_0x20",
    f"{TPG}/acls/{INITIATOR}/lun_9",
    f"{TPG}/acls/an odd name",
    "loopback",
    "loopback/naa.5001405000000001",
    "loopback/naa.5001405000000001/tpgt_1",
    "vhost",
    "vhost/naa.5001405000000002",
)
"""Directories, each made and left."""
READING = ("ls", "info", "status", "get", "sessions")


def made_by_hand(mount: Path) -> None:
    for path in HALF_MADE:
        (mount / path).mkdir()
    # A LUN whose link has a name of its own, a mapping of a LUN that is gone, a second device of an HBA.
    device = next(mount.glob("core/rd_mcp_*/r1"))
    (mount / f"{TPG}/lun/lun_9/x y").symlink_to(device)
    (mount / f"{TPG}/acls/{INITIATOR}/lun_9/z").symlink_to(mount / f"{TPG}/lun/lun_9")
    (mount / f"{TPG}/lun/lun_9/x y").unlink()


def answered(world: Userspace, *words: str, typed: str | None = None) -> str:
    """What a command prints; it succeeds and says nothing else."""
    done = world.isadmin(*words, typed=typed)
    assert (done.returncode, done.stderr) == (0, ""), (words, done.stderr)
    return done.stdout


def nodes(tree: dict[str, Any]) -> Iterator[str]:
    yield tree["path"]
    for child in tree["children"]:
        yield from nodes(child)


@pytest.fixture
def half_made(userspace: Userspace) -> Userspace:
    answered(userspace, typed=WHOLE)
    made_by_hand(userspace.mount)
    return userspace


def test_half_made_objects_are_shown_saved_and_cleared(half_made: Userspace, tmp_path: Path) -> None:
    listed = answered(half_made, "ls")
    for name in ("never-enabled", "two in one HBA", "test:empty", "tpg7", "no name at all"):
        assert name in listed
    saved = str(tmp_path / "half.json")
    answered(half_made, "saveconfig", saved)
    answered(half_made, "--yes", "clearconfig", "confirm=true")
    assert not [path for path in half_made.mount.glob("core/*_*/*") if path.is_dir()]
    assert not list(half_made.mount.glob("iscsi/*.*"))
    restored = half_made.isadmin("restoreconfig", saved, "--keep-going")
    assert restored.returncode == 7
    assert "no name at all" in restored.stderr
    left = half_made.isadmin("diff", saved)
    assert left.stdout.splitlines() == ["+ /iscsi/no name at all"]


def paths_that_answer(world: Userspace, *options: str) -> list[str]:
    """The paths of all nodes; each answers to every command that reads."""

    def run(*words: str, typed: str | None = None) -> subprocess.CompletedProcess[str]:
        return world.isadmin(*options, *words, typed=typed, userspace=not options)

    listed = run("--output", "json", "ls")
    assert (listed.returncode, listed.stderr) == (0, "")
    paths = list(nodes(json.loads(listed.stdout)["node"]))
    lines = [f"'{path}' {command}" for path in paths for command in READING]
    done = run("--keep-going", "-f", "-", typed="\n".join(lines) + "\n")
    said = done.stderr.splitlines()
    # That not every kind of node has every command is all that is wrong.
    odd = [line for line in said[:-1] if "Command not found" not in line]
    assert not odd, odd[:10]
    return paths


def test_every_node_of_half_made_objects_answers(half_made: Userspace) -> None:
    assert len(paths_that_answer(half_made)) > len(HALF_MADE)


def copied(mount: Path, place: Path) -> None:
    """A tree as it was, in ordinary files: what cannot be read is empty."""
    place.mkdir()
    for entry in os.scandir(mount):
        path, copy = Path(entry.path), place / entry.name
        if entry.is_symlink():
            copy.symlink_to(path.readlink())
        elif entry.is_dir(follow_symlinks=False):
            copied(path, copy)
        else:
            try:
                copy.write_bytes(path.read_bytes())
            except OSError:
                copy.touch()
            copy.chmod(entry.stat().st_mode & 0o777)


@pytest.fixture
def newer(userspace: Userspace, tmp_path: Path) -> Path:
    """What a kernel of the future may show: attributes, files, groups, backstores and a fabric unheard of."""
    answered(userspace, typed=WHOLE)
    root = tmp_path / "target"
    copied(userspace.mount, root)
    device = next(root.glob("core/rd_mcp_*/r1"))
    for directory in (device, root / TPG, root / TPG / "acls" / INITIATOR):
        (directory / "attrib" / "quantum_mode").write_text("entangled\n")
        (directory / "attrib" / "read_only_fact").write_text("7\n")
        (directory / "attrib" / "read_only_fact").chmod(0o444)
        (directory / "new_file").write_text("x\n")
        (directory / "new_group").mkdir()
        (directory / "new_group" / "deep").write_text("y\n")
    (root / TPG / "param" / "NewKey").write_text("Yes\n")
    (root / TPG / "lun/lun_0/new_group").mkdir()
    (root / TPG / "acls" / INITIATOR / "lun_0/new_group").mkdir()
    (root / "core/newstore_5/n1/attrib").mkdir(parents=True)
    (root / "core/newstore_5/n1/info").write_text("Status: ACTIVATED\n")
    (root / TPG / "lun/lun_5").mkdir()
    (root / TPG / "lun/lun_5/link").symlink_to(root / "core/newstore_5/n1")
    (root / TPG / "acls" / INITIATOR / "lun_5").mkdir()
    (root / TPG / "acls" / INITIATOR / "lun_5/link").symlink_to(root / TPG / "lun/lun_5")
    (root / "newfabric/some.wwn/tpgt_1/lun/lun_0").mkdir(parents=True)
    (root / "newfabric/discovery_auth").mkdir()
    return root


def test_what_newer_kernels_have_is_shown_and_kept(userspace: Userspace, newer: Path, tmp_path: Path) -> None:
    def on_it(*words: str) -> str:
        done = userspace.isadmin("--configfs", str(newer), *words, userspace=False)
        assert (done.returncode, done.stderr) == (0, ""), (words, done.stderr)
        return done.stdout

    before = contents(newer)
    listed = on_it("ls")
    assert "lun0" in listed
    # A fabric and a kind of storage unheard of are neither shown nor saved, and stay as they are; what they
    # have to do with the others is shown.
    assert not re.search("newfabric|some.wwn|o- n1", listed)
    assert re.search(r"lun5 \.+ \[newstore_5/n1 ", listed)
    assert re.search(r"mapped_lun5 \.+ \[lun5 newstore_5/n1 \(rw\)\]", listed)
    assert "quantum_mode=entangled" in on_it("/backstores/ramdisk/r1", "get", "attribute")
    saved = tmp_path / "newer.json"
    on_it("saveconfig", str(saved))
    content = json.loads(saved.read_text())
    assert {target["fabric"] for target in content["targets"]} == {"iscsi"}
    (so,), tpg = content["storage_objects"], content["targets"][0]["tpgs"][0]
    assert so["attributes"]["quantum_mode"] == "entangled"
    assert "read_only_fact" not in so["attributes"]
    assert tpg["parameters"]["NewKey"] == "Yes"
    assert [lun["index"] for lun in tpg["luns"]] == [0]
    assert [lun["index"] for lun in tpg["node_acls"][0]["mapped_luns"]] == [0]
    assert tpg["node_acls"][0]["attributes"]["quantum_mode"] == "entangled"
    assert "No difference" in on_it("diff", str(saved))
    document.value(content)
    assert contents(newer) == before


def test_every_node_of_a_newer_kernel_answers(userspace: Userspace, newer: Path) -> None:
    paths = paths_that_answer(userspace, "--configfs", str(newer))
    assert {f"/iscsi/{TARGET}/tpg1/luns/lun0", "/backstores/ramdisk/r1"} <= set(paths)


class Deleter:
    """Takes objects away and puts them back, with nothing but configfs' own operations."""

    def __init__(self, mount: Path) -> None:
        self._mount = mount
        self._device = next(mount.glob("core/rd_mcp_*/r1"))
        self._serial = (self._device / "wwn/vpd_unit_serial").read_text().partition(":")[2].strip()

    def delete(self) -> None:
        """The mapped LUN, the ACL, the LUN and the storage object, in this order."""
        acl, lun = self._mount / TPG / "acls" / INITIATOR, self._mount / TPG / "lun/lun_0"
        for directory in (acl / "lun_0", lun):
            for entry in directory.iterdir():
                if entry.is_symlink():
                    entry.unlink()
            directory.rmdir()
        acl.rmdir()
        self._device.rmdir()
        self._device.parent.rmdir()

    def make(self) -> None:
        self._device.parent.mkdir()
        self._device.mkdir()
        for name, value in (
            ("control", "rd_pages=256"),
            ("enable", "1"),
            ("wwn/vpd_unit_serial", self._serial),
        ):
            descriptor = os.open(self._device / name, os.O_WRONLY)
            os.write(descriptor, value.encode())
            os.close(descriptor)
        acl, lun = self._mount / TPG / "acls" / INITIATOR, self._mount / TPG / "lun/lun_0"
        lun.mkdir()
        (lun / "link").symlink_to(self._device)
        acl.mkdir()
        (acl / "lun_0").mkdir()
        (acl / "lun_0/link").symlink_to(lun)


@pytest.fixture
def deleter(userspace: Userspace) -> Deleter:
    answered(userspace, typed=WHOLE)
    return Deleter(userspace.mount)


def test_what_was_open_when_its_object_was_deleted_is_not_there(
    userspace: Userspace, deleter: Deleter
) -> None:
    acl = userspace.mount / TPG / "acls" / INITIATOR
    file = os.open(acl / "cmdsn_depth", os.O_RDONLY)
    try:
        deleter.delete()
        with pytest.raises(FileNotFoundError):
            os.read(file, 4096)
    finally:
        os.close(file)


def count_looks(patch: pytest.MonkeyPatch, at: int, then: Callable[[], None]) -> list[int]:
    """How often this process opens or asks something from now on; `then` is done before the `at`-th time."""
    looks = [0]

    def counting(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **keywords: Any) -> Any:
            looks[0] += 1
            if looks[0] == at:
                then()
            return call(*arguments, **keywords)

        return counted

    patch.setattr(os, "open", counting(os.open))
    patch.setattr(os, "getxattr", counting(os.getxattr))
    patch.setattr(told, "_content", counting(told._content))
    return looks


@pytest.mark.parametrize("many", [0, 1 << 30], ids=["at-once", "one-by-one"])
def test_an_object_deleted_between_listing_and_reading_is_left_out(
    userspace: Userspace, deleter: Deleter, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    """At each of many moments of one snapshot."""
    monkeypatch.setattr(files, "_MANY", many)
    lio = userspace.host.lio
    before = flatten(document.value(snapshot.dump(lio))).keys()
    with monkeypatch.context() as patch:
        looks = count_looks(patch, -1, lambda: None)
        snapshot.dump(lio)
    for moment in itertools.count(1, max(1, looks[0] // 30)):
        with monkeypatch.context() as patch:

            def delete(patch: pytest.MonkeyPatch = patch) -> None:
                patch.undo()
                deleter.delete()

            looks = count_looks(patch, moment, delete)
            lio.forget()
            found = flatten(document.value(snapshot.dump(lio))).keys()
        if looks[0] < moment:
            assert found == before
            break
        # What is found was there, and what was not touched is found.
        assert found <= before
        assert ("tpg", "iscsi", TARGET, 1) in found
        deleter.make()
    assert moment > 10


def test_what_was_enabled_while_it_was_read_is_not_saved(
    userspace: Userspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is what hangs on it: the values it had before cannot be set."""
    answered(userspace, typed=WHOLE)
    read = saved.dump(userspace.host)
    read["storage_objects"][0]["attributes"]["block_size"] = 0
    monkeypatch.setattr(saved, "dump", lambda _: read)
    found = saved.worth_saving(userspace.host)
    (tpg,) = found["targets"][0]["tpgs"]
    assert found["storage_objects"] == tpg["luns"] == tpg["node_acls"][0]["mapped_luns"] == []


def test_commands_beside_somebody_who_deletes(userspace: Userspace, deleter: Deleter, tmp_path: Path) -> None:
    over = threading.Event()
    failed: list[BaseException] = []
    file = f"{tmp_path}/saved.json"
    answered(userspace, "saveconfig", file)

    def keep_deleting() -> None:
        try:
            while not over.is_set():
                deleter.delete()
                deleter.make()
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    thread = threading.Thread(target=keep_deleting)
    thread.start()
    try:
        lines = ["ls", f"saveconfig {file} force=true", f"/iscsi/{TARGET} ls", "get global", "sessions list"]
        lines.append(f"diff {file}")
        for options in ((), ("--output", "json")):
            done = userspace.isadmin(*options, "--keep-going", typed="\n".join(lines * 5) + "\n")
            # What comes and goes all the while may be said not to be there.
            odd = [line for line in done.stderr.splitlines() if "not there (any more)" not in line]
            assert not odd or odd[-1].startswith("warning: "), odd
            assert len(odd) <= 1, "\n".join(odd)
    finally:
        over.set()
        thread.join()
    assert not failed
    # What was saved at any moment can be restored.
    answered(userspace, "restoreconfig", file)
