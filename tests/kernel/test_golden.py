"""The recorded operations again on the kernel that runs here: what the userspace tree is held to is what a
kernel does, and the machine of these tests is one that can tell."""

from __future__ import annotations

import lzma
import os
import re
import subprocess
from collections.abc import Iterator
from errno import EACCES
from json import loads
from pathlib import Path
from socket import socket

import pytest

from tests.kernel import operations, world
from tests.kernel.operations import Operations, Record, real

pytestmark = pytest.mark.kernel(disposable=True)

DATA = Path(__file__).parents[1] / "data" / "kernel"
FULL = "34-iscsi-configured.jsonl"
"""The state whose contents are compared, before any session has moved a counter."""
LISTENER = "time.sleep(60)"
"""Of a program in the way of a portal, whose end was waited for: it was gone before the next operation. The
probes of portals have one that stays."""
COUNTED = re.compile(r".*/(statistics|fabric_statistics)/.*|.*/hba_info|target/core/alua/.*|.*/info")
"""Files that show indices and times counted from the machine's start."""
RELEASE = re.compile(r"(?<= on )\d\S+\n")
"""Of the kernel, at the end of what the version files say."""


def rows(name: str) -> Iterator[Record]:
    with lzma.open(DATA / f"{name}.jsonl.xz", "rt", encoding="utf-8") as lines:
        for line in lines:
            yield loads(line)


@pytest.fixture
def machine(empty_target: Path) -> Iterator[None]:
    """What the recorded shell commands set up is there already, or is taken down again."""
    yield
    script = (
        "iscsiadm -m node --logoutall=all; iscsiadm -k 0; rm -rf /etc/iscsi/nodes/* /etc/iscsi/send_targets/*"
        "; rdma link delete rxe0; ip link delete dummy0"
    )
    subprocess.run(["sh", "-c", script], capture_output=True, check=False)
    world.clear()
    subprocess.run(["losetup", "--detach-all"], check=True)
    subprocess.run(["modprobe", "-r", "scsi_debug"], check=True)


def shell(script: str) -> None:
    """A recorded shell command; what it says is not compared, what follows shows its effect."""
    if LISTENER in script:
        return
    script = script.replace("mount -t configfs none /sys/kernel/config", "true")
    subprocess.run(["bash", "-c", script], stdin=subprocess.DEVNULL, capture_output=True, check=False)


def shape(root: str) -> dict[str, str]:
    """Path -> dir, file or link."""
    found = {root: "dir"}
    for entry in os.scandir(real(root)):
        path = f"{root}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            found |= shape(path)
        else:
            found[path] = "link" if entry.is_symlink() else "file"
    return found


def unlike(record: Record) -> list[str]:
    """The operation, done here; a line when it ends otherwise than recorded."""
    number, _ = Operations().run(record)
    expected = EACCES if record.get("result") == "EACCES" else record.get("errno", 0)
    return [f"{record}: errno {number}"] if number != expected else []


def states() -> dict[str, dict[str, Record]]:
    found: dict[str, dict[str, Record]] = {}
    entries: dict[str, Record] = {}
    for row in rows("states"):
        if "state" in row:
            entries = found[row["state"]] = {}
        else:
            entries[row["path"]] = row
    return found


def test_every_state(machine: None) -> None:
    recorded = states()
    wrong: list[str] = []
    for row in rows("states-ops"):
        if "sh" in row:
            shell(row["sh"])
        elif "op" in row:
            wrong += unlike(row)
        elif row.get("state", "") >= "02":
            # rdma_cm appears beside target with the modules of another fabric.
            entries = {p: e for p, e in recorded[row["state"]].items() if p.split("/")[0] == "target"}
            here = shape("target")
            wrong += [f"{row['state']}: {path}" for path in here.keys() ^ entries.keys()]
            wrong += [
                f"{row['state']}: {p}" for p, e in entries.items() if here.get(p, e["type"]) != e["type"]
            ]
            if row["state"] == FULL:
                wrong += contents_unlike(entries)
    assert not wrong, "\n".join(wrong[:40])


def as_recorded(entry: Record) -> Record:
    """Without what depends on which kernel it is, or on what others did in this machine before: a name or
    secret of discovery that was ever set stays NULL when it is taken back."""
    content = RELEASE.sub("RELEASE\n", entry.get("content", ""))
    if "/discovery_auth/" in entry["path"] and content == "NULL\n":
        content = "\n"
    return entry | ({"content": content} if "content" in entry else {})


def contents_unlike(recorded: dict[str, Record]) -> list[str]:
    here = {path: as_recorded(entry) for path, entry in operations.dump().items()}
    expected = {path: as_recorded(entry) for path, entry in recorded.items()}
    pairs = {path: (expected.get(path), entry) for path, entry in here.items() if not COUNTED.fullmatch(path)}
    return [f"{path}: {pair}" for path, pair in pairs.items() if pair[0] != pair[1]]


@pytest.mark.parametrize("name", ["probes", "portal-probes"])
def test_every_probe(name: str, machine: None) -> None:
    wrong: list[str] = []
    with socket() as listener:
        if name == "portal-probes":
            # Another program's, in the way of a portal.
            listener.bind(("127.0.0.1", 3999))
            listener.listen()
        for row in rows(name):
            if "sh" in row:
                shell(row["sh"])
            elif "crash" not in row and hasattr(Operations, f"do_{row['op']}"):
                wrong += unlike(row)
    assert not wrong, "\n".join(wrong[:40])
