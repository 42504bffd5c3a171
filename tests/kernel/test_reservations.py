"""Persistent reservations of two initiators, as fence_scsi takes and breaks them, at both targets."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from errno import EBADE
from pathlib import Path

import pytest

from tests.integration.sandbox import Userspace
from tests.kernel import openiscsi, served
from tests.kernel.openiscsi import Initiator
from tests.kernel.writing import Disk, Writer, check, content

pytestmark = pytest.mark.kernel(disposable=True)

TARGET = "iqn.2003-01.org.linux-iscsi.test:cluster"
PORTAL = "127.0.0.1:3260"
NAMES = {node: f"iqn.2003-01.org.linux-iscsi.test:{node}" for node in ("node1", "node2")}
KEYS = {"node1": "0xabc10000", "node2": "0xabc10001"}
WRITE_EXCLUSIVE_REGISTRANTS_ONLY = "5"
BLOCKS = {"node1": range(64), "node2": range(64, 128)}
TPG = f"/iscsi/{TARGET}/tpg1"


def persist(disk: Path, *options: str, status: int = 0) -> str:
    """sg_persist, after TEST UNIT READYs that take pending unit attentions, as fence_scsi does it."""
    for _ in range(3):
        if subprocess.run(["sg_turs", str(disk)], capture_output=True, check=False).returncode == 0:
            break
    command = ["sg_persist", "--no-inquiry", *options, str(disk)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, (command, done.stdout, done.stderr)
    return done.stdout


def keys(disk: Path) -> list[str]:
    return re.findall(r"^\s+(0x[0-9a-f]+)\s*$", persist(disk, "--in", "--read-keys"), re.MULTILINE)


def holder(disk: Path) -> str:
    """The reservation: its holder's key and its type, in sg_persist's words."""
    found = re.search(r"Key=(\w+)\s+scope: (.*)", persist(disk, "--in", "--read-reservation"))
    return f"{found[1]} {found[2]}" if found else ""


def register(disk: Path, node: str) -> None:
    persist(disk, "--out", "--register-ignore", f"--param-sark={KEYS[node]}")


@pytest.fixture
def disks(target: Userspace, tmp_path: Path) -> Iterator[dict[str, Path]]:
    """One LUN as two nodes see it."""
    lines = [
        f"/backstores/fileio create name=shared file_or_dev={tmp_path}/shared.img size={8 << 20}",
        f"/iscsi create {TARGET}",
        f"{TPG} set attribute authentication=0",
        f"{TPG}/luns create /backstores/fileio/shared",
        *(f"{TPG}/acls create {name}" for name in NAMES.values()),
    ]
    served.configure(target, "\n".join(lines) + "\n")
    with openiscsi.running(NAMES["node1"]) as initiator:
        for node, name in NAMES.items():
            initiator.add_interface(node, name)
        interfaces = [word for node in NAMES for word in ("-I", node)]
        initiator.admin("-m", "discovery", "-t", "sendtargets", "-p", PORTAL, *interfaces)
        initiator.login(TARGET, PORTAL)
        yield {node: seen(initiator, name) for node, name in NAMES.items()}


def seen(initiator: Initiator, name: str) -> Path:
    return initiator.disk(TARGET, 0, name)


def test_fenced_node_cannot_write_and_the_other_goes_on(disks: dict[str, Path]) -> None:
    assert disks["node1"] != disks["node2"]
    for node, disk in disks.items():
        register(disk, node)
    mine, theirs = disks["node1"], disks["node2"]
    assert sorted(keys(mine)) == sorted(keys(theirs)) == sorted(KEYS.values())
    kind = f"--prout-type={WRITE_EXCLUSIVE_REGISTRANTS_ONLY}"
    persist(theirs, "--out", "--reserve", f"--param-rk={KEYS['node2']}", kind)
    assert holder(mine) == f"{KEYS['node2']} LU_SCOPE,  type: Write Exclusive, registrants only"
    writers = {node: Writer(disk, BLOCKS[node]) for node, disk in disks.items()}
    for writer in writers.values():
        writer.start()
    for writer in writers.values():
        writer.wait_for_more()

    # node1 fences node2, which holds the reservation.
    words = (f"--param-rk={KEYS['node1']}", f"--param-sark={KEYS['node2']}", kind)
    persist(mine, "--out", "--preempt-abort", *words)
    assert keys(mine) == [KEYS["node1"]]
    assert holder(mine) == f"{KEYS['node1']} LU_SCOPE,  type: Write Exclusive, registrants only"
    assert writers["node2"].wait_for_error().errno == EBADE
    with Disk(theirs) as fenced:
        first = BLOCKS["node2"].start
        with pytest.raises(OSError, match=rf"\[Errno {EBADE}\]"):
            fenced.write(first, content(first, 0))
        assert fenced.read(first) != content(first, 0)
    writers["node1"].wait_for_more()
    check(mine, writers["node1"].stop())
    check(mine, writers["node2"].written)

    # A fenced node cannot fence, until it is registered again.
    persist(theirs, "--out", "--preempt-abort", *words, status=24)
    register(theirs, "node2")
    with Disk(theirs) as regained:
        first = BLOCKS["node2"].start
        regained.write(first, content(first, 0))
        assert regained.read(first) == content(first, 0)


def test_released_disk_is_everybodys(disks: dict[str, Path]) -> None:
    mine, theirs = disks["node1"], disks["node2"]
    kind = f"--prout-type={WRITE_EXCLUSIVE_REGISTRANTS_ONLY}"
    key = f"--param-rk={KEYS['node1']}"
    register(mine, "node1")
    persist(mine, "--out", "--reserve", key, kind)
    with Disk(theirs) as other, pytest.raises(OSError, match=rf"\[Errno {EBADE}\]"):
        other.write(0, content(0, 1))
    persist(mine, "--out", "--release", key, kind)
    assert holder(mine) == ""
    with Disk(theirs) as other:
        other.write(0, content(0, 2))
    persist(mine, "--out", "--clear", key)
    assert keys(theirs) == []
