"""Other LIO tools on the same mount: rtslib builds it unmodified, targetcli lists it as isadmin does."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from tests.integration.devices import LoopDevices
from tests.integration.sandbox import Userspace
from tests.integration.walk import contents, in_order

TARGET = "iqn.2003-01.org.linux-iscsi.test:t1"
INITIATORS = ["iqn.2003-01.org.linux-iscsi.test:i1", "iqn.2003-01.org.linux-iscsi.test:i2"]

BUILD_WITH_RTSLIB = """
import sys
from rtslib import BlockStorageObject, FileIOStorageObject, RDMCPStorageObject
from rtslib import FabricModule, LUN, MappedLUN, NetworkPortal, NodeACL, RTSRoot, Target, TPG

directory, loop, target, *initiators = sys.argv[1:]
RTSRoot()
objects = [
    FileIOStorageObject("f1", f"{directory}/f1.img", 8 << 20, write_back=True),
    FileIOStorageObject("f2", f"{directory}/f2.img", 4 << 20, write_back=False),
    RDMCPStorageObject("r1", 8 << 20),
    BlockStorageObject("b1", loop),
]
for number, storage_object in enumerate(objects):
    storage_object.wwn = f"0000000{number}-1111-2222-3333-444444444444"
    storage_object.set_attribute("emulate_model_alias", 1)
tpg = TPG(Target(FabricModule("iscsi"), target), 1)
tpg.enable = True
tpg.set_attribute("authentication", 0)
NetworkPortal(tpg, "0.0.0.0", 3260)
luns = [LUN(tpg, number, storage_object) for number, storage_object in enumerate(objects)]
for initiator in initiators:
    acl = NodeACL(tpg, initiator)
    for lun in luns:
        MappedLUN(acl, lun.lun, lun, write_protect=False)
acl.chap_userid, acl.chap_password = "user", "a-long-enough-secret"
"""


@pytest.fixture
def built_by_rtslib(userspace: Userspace, loop_devices: LoopDevices, tmp_path: Path) -> Path:
    """The configuration, built by rtslib's own objects; the loop device that it uses."""
    loop = loop_devices.make(16 << 20)
    for name, size in (("f1.img", 8 << 20), ("f2.img", 4 << 20)):
        # The kernel makes a missing file and leaves it empty.
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    script = tmp_path / "build.py"
    script.write_text(BUILD_WITH_RTSLIB)
    command = [sys.executable, str(script), str(tmp_path), str(loop), TARGET, *INITIATORS]
    done = userspace.isadmin("userspace", "exec", "--", *command)
    assert done.returncode == 0, done.stderr
    return loop


def by_isadmin(directory: Path, loop: Path) -> str:
    tpg = f"/iscsi/{TARGET}/tpg1"
    serials = {
        name: f"0000000{n}-1111-2222-3333-444444444444" for n, name in enumerate(("f1", "f2", "r1", "b1"))
    }
    return "\n".join(
        [
            f"/backstores/fileio create f1 {directory}/f1.img 8M wwn={serials['f1']}",
            f"/backstores/fileio create f2 {directory}/f2.img 4M write_back=false wwn={serials['f2']}",
            f"/backstores/ramdisk create r1 8M wwn={serials['r1']}",
            f"/backstores/block create b1 {loop} wwn={serials['b1']}",
            f"/iscsi create {TARGET}",
            f"{tpg}/luns create /backstores/fileio/f1",
            f"{tpg}/luns create /backstores/fileio/f2",
            f"{tpg}/luns create /backstores/ramdisk/r1",
            f"{tpg}/luns create /backstores/block/b1",
            f"{tpg}/acls create {INITIATORS[0]}",
            f"{tpg}/acls create {INITIATORS[1]}",
            f"{tpg}/acls/{INITIATORS[1]} set auth userid=user password=a-long-enough-secret",
        ]
    )


def without_identifiers(tree: dict[str, str]) -> dict[str, str]:
    """The tree with link names (random), HBA numbers and the path of metadata taken out."""
    cleaned = {}
    for path, value in tree.items():
        if path == "dbroot":
            continue  # rtslib sets it to the path it sees in its namespace, isadmin leaves the daemon's
        if path.startswith("iscsi/discovery_auth/"):
            continue  # clearing leaves NULL there, as rtslib's does
        path = re.sub(r"/[0-9a-f]{10}$", "/link", path)
        path = re.sub(r"(fileio|rd_mcp|iblock)_\d+", r"\1_N", path)
        value = re.sub(r"(fileio|rd_mcp|iblock)_\d+", r"\1_N", value)
        value = re.sub(r"(HBA Index:|ID:) \d+", r"\1 N", value)
        cleaned[path] = value
    return cleaned


def test_rtslib_and_isadmin_build_the_same(
    userspace: Userspace, built_by_rtslib: Path, tmp_path: Path
) -> None:
    theirs = without_identifiers(contents(userspace.mount))
    assert userspace.isadmin("clearconfig", "confirm=true").returncode == 0
    done = userspace.isadmin(typed=by_isadmin(tmp_path, built_by_rtslib) + "\n")
    assert done.returncode == 0, done.stderr
    ours = without_identifiers(contents(userspace.mount))
    assert ours.keys() == theirs.keys()
    assert {p: (ours[p], theirs[p]) for p in ours if ours[p] != theirs[p]} == {}


def test_targetcli_and_isadmin_list_the_same(
    userspace: Userspace, built_by_rtslib: Path, system_bus: None
) -> None:
    theirs = userspace.isadmin("userspace", "exec", "--", "targetcli", "ls")
    assert theirs.returncode == 0, theirs.stderr
    ours = userspace.isadmin("ls")
    assert ours.returncode == 0, ours.stderr
    assert "Mapped LUNs: 4" in ours.stdout
    listing = theirs.stdout[theirs.stdout.index("o- /") :]
    assert ours.stdout.splitlines() == listing.splitlines()


def test_rtslib_dumps_what_isadmin_saves(userspace: Userspace, built_by_rtslib: Path, tmp_path: Path) -> None:
    dump = "import json, rtslib; print(json.dumps(rtslib.RTSRoot().dump()))"
    done = userspace.isadmin("userspace", "exec", "--", sys.executable, "-c", dump)
    assert done.returncode == 0, done.stderr
    saved = tmp_path / "saved.json"
    assert userspace.isadmin("saveconfig", str(saved)).returncode == 0
    assert in_order(json.loads(saved.read_text())) == in_order(json.loads(done.stdout))
