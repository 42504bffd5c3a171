"""SCSI devices of the machine: one that is passed through (pscsi), and one that LIO makes (loopback)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.sandbox import Userspace, wait_until

pytestmark = pytest.mark.kernel

WWN = "naa.5001405001405001"
IQN = "iqn.2003-01.org.linux-iscsi.test:passed"


def disks() -> set[Path]:
    return set(Path("/dev").glob("sd[a-z]"))


def appeared(before: set[Path]) -> Path:
    """The one disk that was not there before."""
    wait_until(lambda: len(disks() - before) == 1, "a disk appears")
    (disk,) = disks() - before
    return disk


@pytest.fixture(autouse=True)
def disk_driver(lio: None) -> None:
    """Nothing loads it by itself where there is no udev."""
    subprocess.run(["modprobe", "sd_mod"], check=True)


@pytest.fixture
def disk(disk_driver: None) -> Iterator[Path]:
    """A SCSI disk of 8 MiB in memory."""
    before = disks()
    subprocess.run(["modprobe", "scsi_debug", "dev_size_mb=8"], check=True)
    yield appeared(before)
    subprocess.run(["rmmod", "scsi_debug"], check=True)


def ok(userspace: Userspace, *words: str) -> str:
    done = userspace.isadmin(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_scsi_disk_is_passed_through_saved_and_restored(disk: Path, userspace: Userspace) -> None:
    created = ok(userspace, "/backstores/pscsi", "create", "p", str(disk))
    assert f"Created pscsi storage object p using {disk}\n" in created
    ok(userspace, "/iscsi", "create", IQN)
    ok(userspace, f"/iscsi/{IQN}/tpg1/luns", "create", "/backstores/pscsi/p")
    listed = ok(userspace, "ls", "/")
    assert f"[{disk} activated]" in listed
    assert f"[pscsi/p ({disk}) " in listed
    refused = userspace.isadmin("/backstores/pscsi", "create", "again", str(disk))
    assert refused.returncode == 1
    ok(userspace, "saveconfig")
    ok(userspace, "clearconfig", "confirm=True")
    ok(userspace, "restoreconfig")
    assert ok(userspace, "ls", "/") == listed
    assert "No difference" in ok(userspace, "diff")
    ok(userspace, "/backstores/pscsi", "delete", "p")
    assert json.loads(ok(userspace, "--output", "json", "ls", "/backstores/pscsi"))["node"]["children"] == []


def test_a_loopback_lun_is_a_disk_of_this_machine(userspace: Userspace, tmp_path: Path) -> None:
    before = disks()
    image = tmp_path / "image"
    ok(userspace, "/backstores/fileio", "create", "f", str(image), "4M")
    ok(userspace, "/loopback", "create", WWN)
    ok(userspace, f"/loopback/{WWN}/luns", "create", "/backstores/fileio/f")
    disk = appeared(before)
    written = os.urandom(1 << 20)
    with disk.open("r+b", buffering=0) as device:
        assert device.seek(0, os.SEEK_END) == 4 << 20
        device.seek(1 << 20)
        device.write(written)
        os.fsync(device.fileno())
    assert image.read_bytes()[1 << 20 : 2 << 20] == written
    ok(userspace, "/loopback", "delete", WWN)
    wait_until(lambda: disks() == before, "the disk is gone")
