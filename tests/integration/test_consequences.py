"""Deleting what others hang on: a person at a terminal is told and asked, a script is not; undo brings it all
back."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.integration.sandbox import Userspace

TARGET = "iqn.2003-01.org.linux-iscsi.test:t"
INITIATOR = "iqn.2003-01.org.linux-iscsi.test:i"
TPG = f"/iscsi/{TARGET}/tpg1"
LINES = [
    "/backstores/ramdisk create other 1M",
    "/backstores/fileio create f1 {tmp}/f1.img 1M wwn=a-serial-number",
    "/backstores/fileio/f1 set attribute block_size=4096 emulate_tpu=1",
    "/backstores/fileio/f1/alua create g1 5",
    "/backstores/fileio/f1/alua/g1 set alua alua_access_state=1 alua_access_type=1",
    f"/iscsi create {TARGET}",
    f"{TPG}/luns create /backstores/ramdisk/other",
    f"{TPG}/luns create /backstores/fileio/f1 7 add_mapped_luns=false",
    f"{TPG}/luns/lun7 set alua alua_tg_pt_gp_name=g1",
    f"{TPG}/acls create {INITIATOR} add_mapped_luns=false",
    f"{TPG}/acls/{INITIATOR} create 3 lun7 write_protect=1",
    f"{TPG}/acls/{INITIATOR} create 4 lun0",
]


@pytest.fixture(scope="module")
def configured(module_userspace: Userspace, module_tmp: Path) -> Userspace:
    typed = "\n".join(LINES).format(tmp=module_tmp) + "\n"
    done = module_userspace.isadmin(typed=typed)
    assert done.returncode == 0, done.stderr
    return module_userspace


@contextmanager
def at_terminal(world: Userspace, *words: str) -> Iterator[Any]:
    command = ["-m", "isadmin", *world.options, *words]
    child = pexpect.spawn(
        sys.executable, command, env=world.env | {"TERM": "dumb"}, encoding="utf-8", timeout=60
    )
    try:
        yield child
    finally:
        child.close(force=True)


def ended(child: Any) -> int:
    child.expect(pexpect.EOF)
    child.wait()
    return int(child.exitstatus)


def configuration(world: Userspace, tmp_path: Path) -> dict[str, Any]:
    """Every value by its place, without the names of links, which configure nothing."""
    file = tmp_path / "now.json"
    done = world.isadmin("saveconfig", str(file))
    assert done.returncode == 0, done.stderr

    def leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict):
            for key, one in value.items():
                yield from leaves(one, f"{place}.{key}")
        elif isinstance(value, list):
            for at, one in enumerate(value):
                yield from leaves(one, f"{place}[{at}]")
        elif not place.endswith(".alias"):
            yield place, value

    return dict(leaves(json.loads(file.read_text()), ""))


def test_who_says_no_loses_nothing(configured: Userspace, tmp_path: Path) -> None:
    before = configuration(configured, tmp_path)
    for answer in ("n\r", "\r", "\x04"):
        with at_terminal(configured, "/backstores/fileio", "delete", "f1") as child:
            child.expect_exact(f"deletes {TPG}/luns/lun7")
            child.expect_exact(f"deletes {TPG}/acls/{INITIATOR}/mapped_lun3")
            child.expect_exact("Go on? [y/N]")
            child.send(answer)
            child.expect_exact("Nothing was deleted")
            assert ended(child) == 1
    assert configuration(configured, tmp_path) == before


@pytest.mark.parametrize("how", ["asked", "yes", "script"])
def test_all_of_it_goes_and_comes_back(configured: Userspace, tmp_path: Path, how: str) -> None:
    before = configuration(configured, tmp_path)
    words = ("/backstores/fileio", "delete", "f1")
    if how == "script":
        done = configured.isadmin(*words)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [
            f"Deleted LUN 7 of {TARGET} tpg1.",
            "Deleted storage object f1.",
        ]
    else:
        with at_terminal(configured, *(("-y",) if how == "yes" else ()), *words) as child:
            if how == "asked":
                child.expect_exact("Go on? [y/N]")
                child.send("y\r")
            child.expect_exact("Deleted storage object f1.")
            assert "Go on" not in (child.before if how == "yes" else "")
            assert ended(child) == 0
    now = configuration(configured, tmp_path)
    tpg = ".targets[0].tpgs[0]"
    left = {place: now[place] for place in now if place.endswith((".index", "].name"))}
    assert left == {
        ".storage_objects[0].name": "other",
        ".storage_objects[0].alua_tpgs[0].name": "default_tg_pt_gp",
        f"{tpg}.luns[0].index": 0,
        f"{tpg}.node_acls[0].mapped_luns[0].index": 4,
    }
    undone = configured.isadmin("undo")
    assert undone.returncode == 0, undone.stderr
    assert configuration(configured, tmp_path) == before


def test_an_unused_storage_object_goes_unasked(configured: Userspace) -> None:
    assert configured.isadmin("/backstores/ramdisk", "create", "unused", "1M").returncode == 0
    with at_terminal(configured, "/backstores/ramdisk", "delete", "unused") as child:
        child.expect_exact("Deleted storage object unused.")
        assert "Go on" not in child.before
        assert ended(child) == 0


def test_an_answer_is_seen_and_ended_in_a_shell_too(configured: Userspace) -> None:
    with at_terminal(configured) as shell:
        for answer, seen in (("no\r", "no\r\n"), ("\x04", "")):
            shell.expect_exact("/> ")
            shell.send("/backstores/fileio delete f1\r")
            shell.expect_exact("Go on? [y/N] ")
            shell.send(answer)
            shell.expect_exact("Nothing was deleted")
            assert shell.before == seen


@pytest.fixture
def session(configured: Userspace) -> Iterator[None]:
    """An initiator that is logged in."""
    image = (
        f"driver=iscsi,transport=tcp,portal=127.0.0.1:3260,target={TARGET},lun=4,initiator-name={INITIATOR}"
    )
    client = subprocess.Popen(
        ["qemu-io", "--image-opts", image],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write("length\n")
        client.stdin.flush()
        assert "1 MiB" in client.stdout.readline()
        yield
    finally:
        client.kill()
        client.communicate()


@pytest.mark.usefixtures("session")
def test_sessions_that_would_end_are_named(configured: Userspace, tmp_path: Path) -> None:
    before = configuration(configured, tmp_path)
    who = f"the session of {INITIATOR} at {TPG}"
    questions = {
        f"/iscsi delete {TARGET}": f"ends {who}",
        f"/iscsi/{TARGET} delete tag=tpg1": f"ends {who}",
        f"{TPG}/acls delete {INITIATOR}": f"ends {who}",
        f"{TPG}/luns delete 0": f"takes LUNs from {who}",
        "/backstores/ramdisk delete other": f"takes LUNs from {who}",
    }
    with at_terminal(configured) as shell:
        for line, told in questions.items():
            shell.expect_exact("/> ")
            shell.send(f"{line}\r")
            shell.expect_exact(told)
            shell.expect_exact("Go on? [y/N]")
            shell.send("no\r")
            shell.expect_exact("Nothing was deleted")
        shell.expect_exact("/> ")
        shell.send("exit\r")
        assert ended(shell) == 0
    assert configuration(configured, tmp_path) == before
