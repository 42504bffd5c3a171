"""What the kernel's initiator does beyond logging in once, at both targets: discovery with CHAP, digests,
several sessions, a disk that grows, a target that restarts."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration import guide
from tests.integration.devices import LoopDevices
from tests.integration.sandbox import Userspace, wait_until
from tests.kernel import openiscsi, served
from tests.kernel.openiscsi import AUTHENTICATION_FAILED, LIMIT, LOGIN_FAILED, Chap, Initiator
from tests.kernel.writing import BLOCK, Disk, Writer, check, content

pytestmark = pytest.mark.kernel(disposable=True)

TARGET = "iqn.2003-01.org.linux-iscsi.test:open"
NAME = "iqn.2003-01.org.linux-iscsi.test:host"
PORTAL = "127.0.0.1:3260"
MIB = 1 << 20
SIZE = 32 * MIB
BLOCKS = range(64)
TPG = f"/iscsi/{TARGET}/tpg1"
ONE_WAY = Chap("finder", "finder-and-a-long-secret")
MUTUAL = Chap("finder", "finder-and-a-long-secret", "found", "found-and-another-secret")
DIGESTS = {"node.conn[0].iscsi.HeaderDigest": "CRC32C", "node.conn[0].iscsi.DataDigest": "CRC32C"}


def configure(target: Userspace, directory: Path, device: Path | None = None) -> None:
    """A file behind LUN 0, and a device, if any, behind LUN 1, for everybody; saved."""
    lines = [
        f"/backstores/fileio create name=file file_or_dev={directory}/disk.img size={SIZE}",
        f"/iscsi create {TARGET}",
        f"{TPG} set attribute authentication=0 generate_node_acls=1 demo_mode_write_protect=0",
        f"{TPG}/luns create /backstores/fileio/file",
    ]
    if device:
        lines += [f"/backstores/block create name=device dev={device}"]
        lines += [f"{TPG}/luns create /backstores/block/device"]
    served.configure(target, "\n".join([*lines, "saveconfig"]) + "\n")


@pytest.fixture
def initiator() -> Iterator[Initiator]:
    with openiscsi.running(NAME) as initiator:
        yield initiator


@pytest.mark.parametrize("chap", [ONE_WAY, MUTUAL], ids=["chap", "mutual-chap"])
def test_discovery_that_demands_chap(
    target: Userspace, initiator: Initiator, tmp_path: Path, chap: Chap
) -> None:
    configure(target, tmp_path)
    words = f"enable=1 userid={chap.user} password={chap.secret}"
    if chap.target_user:
        words += f" mutual_userid={chap.target_user} mutual_password={chap.target_secret}"
    served.configure(target, f"/iscsi set discovery_auth {words}\n")
    initiator.discover(PORTAL, status=AUTHENTICATION_FAILED)
    initiator.discover(PORTAL, replace(chap, secret="not-the-secret-at-all"), status=AUTHENTICATION_FAILED)
    if chap.target_user:
        wrong = replace(chap, target_secret="not-the-target-secret")
        initiator.discover(PORTAL, wrong, status=LOGIN_FAILED)
    assert initiator.discover(PORTAL, chap) == [f"{PORTAL},1 {TARGET}"]
    initiator.login(TARGET, PORTAL)
    assert initiator.disk(TARGET, 0).is_block_device()
    initiator.logout(TARGET, PORTAL)


def test_header_and_data_digests(target: Userspace, initiator: Initiator, tmp_path: Path) -> None:
    configure(target, tmp_path)
    initiator.discover(PORTAL)
    initiator.configure(TARGET, PORTAL, DIGESTS)
    initiator.login(TARGET, PORTAL)
    (session,) = openiscsi.sessions(TARGET)
    assert (session.connection("header_digest"), session.connection("data_digest")) == ("1", "1")
    writer = Writer(initiator.disk(TARGET, 0), BLOCKS)
    writer.start()
    writer.wait_for_more(100)
    written = writer.stop()
    # Much at once: several R2Ts of many data segments each, one way, and many segments the other.
    disk = initiator.disk(TARGET, 0)
    transfer = int(Path("/sys/block", disk.name, "queue/max_sectors_kb").read_text()) << 10
    assert transfer >= 2 * int(session.read("max_burst_len"))
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(os.urandom(4 * MIB))
    direct = ("bs=1M", "status=none")
    after = f"{len(BLOCKS) * BLOCK // MIB + 1}"
    subprocess.run(["dd", f"if={source}", f"of={disk}", f"seek={after}", "oflag=direct", *direct], check=True)
    initiator.logout(TARGET, PORTAL)
    initiator.login(TARGET, PORTAL)
    disk = initiator.disk(TARGET, 0)
    check(disk, written)
    words = [f"if={disk}", f"of={copy}", f"skip={after}", "count=4", "iflag=direct", *direct]
    subprocess.run(["dd", *words], check=True)
    assert copy.read_bytes() == source.read_bytes()


def test_four_sessions_show_one_disk(target: Userspace, initiator: Initiator, tmp_path: Path) -> None:
    """With what the guide sets for speed."""
    tuning = guide.fenced("# 编辑iscsid.conf\nsudo nano /etc/iscsi/iscsid.conf\n\n# 修改以下参数\n")
    settings = dict(re.findall(r"^(node\.\S+) = (\w+)$", tuning, re.MULTILINE))
    assert settings["node.session.nr_sessions"] == "4"
    configure(target, tmp_path)
    initiator.discover(PORTAL)
    initiator.configure(TARGET, PORTAL, settings)
    initiator.login(TARGET, PORTAL)
    sessions = openiscsi.sessions(TARGET)
    assert len(sessions) == 4
    wait_until(lambda: all(session.disks() for session in sessions), "four disks", LIMIT)
    disks = [session.disks()[0] for session in sessions]
    assert len(set(disks)) == 4
    done = target.isadmin("--output", "json", "sessions", "list")
    assert done.returncode == 0, done.stderr
    # LIO names an initiator of demo mode once.
    assert {session["initiator"] for session in json.loads(done.stdout)["sessions"]} == {NAME}
    # Each session writes what another one reads.
    for number, (one, other) in enumerate(zip(disks, disks[1:] + disks[:1], strict=True)):
        with Disk(one) as writing, Disk(other) as reading:
            writing.write(number, content(number, number))
            assert reading.read(number) == content(number, number)
    initiator.logout(TARGET, PORTAL)
    assert not openiscsi.sessions(TARGET)


def size_of(disk: Path) -> int:
    return int(Path("/sys/block", disk.name, "size").read_text()) * 512


def grow(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(2 * SIZE)


def test_grown_disk_is_seen_after_a_rescan(
    target: Userspace, initiator: Initiator, loop_devices: LoopDevices, tmp_path: Path
) -> None:
    """A loop device that grows, as a logical volume does, with a file system that grows after it."""
    device = loop_devices.make(SIZE)
    backing = Path(Path("/sys/block", device.name, "loop/backing_file").read_text().strip())
    configure(target, tmp_path, device)
    initiator.discover(PORTAL)
    initiator.login(TARGET, PORTAL)
    disk = initiator.disk(TARGET, 1)
    assert size_of(disk) == SIZE
    subprocess.run(["mkfs.ext4", "-q", str(disk)], check=True)
    grow(backing)
    subprocess.run(["losetup", "--set-capacity", str(device)], check=True)
    assert size_of(disk) == SIZE
    initiator.admin("-m", "session", "-R")
    wait_until(lambda: size_of(disk) == 2 * SIZE, "the new size", LIMIT)
    subprocess.run(["resize2fs", str(disk)], check=True, capture_output=True)
    subprocess.run(["fsck.ext4", "-f", "-n", str(disk)], check=True, capture_output=True)
    with Disk(disk) as writing:
        last = 2 * SIZE // BLOCK - 1
        writing.write(last, content(last, 1))
        assert writing.read(last) == content(last, 1)


def test_resized_disk_is_seen_after_a_rescan(target: Userspace, initiator: Initiator, tmp_path: Path) -> None:
    """A file that isadmin makes longer, on a target that goes on serving it."""
    configure(target, tmp_path)
    initiator.discover(PORTAL)
    initiator.login(TARGET, PORTAL)
    disk = initiator.disk(TARGET, 0)
    assert size_of(disk) == SIZE
    served.configure(target, f"/backstores/fileio/file resize {2 * SIZE}\n")
    initiator.admin("-m", "session", "-R")
    wait_until(lambda: size_of(disk) == 2 * SIZE, "the new size", LIMIT)
    with Disk(disk) as writing:
        last = 2 * SIZE // BLOCK - 1
        writing.write(last, content(last, 1))
        assert writing.read(last) == content(last, 1)
    assert len(openiscsi.sessions(TARGET)) == 1


def test_restart_of_the_daemon_is_not_seen_by_a_writer(
    lio: None, daemon: Userspace, initiator: Initiator, tmp_path: Path
) -> None:
    """Stopped and started, then killed and started, while somebody writes."""
    served.clear(daemon)
    configure(daemon, tmp_path)
    initiator.discover(PORTAL)
    initiator.login(TARGET, PORTAL)
    writer = Writer(initiator.disk(TARGET, 0), BLOCKS)
    writer.start()
    for end in (lambda: daemon.isadmin("userspace", "stop"), daemon.kill):
        writer.wait_for_more()
        end()
        assert daemon.isadmin("userspace", "status").returncode != 0
        assert writer.error is None
        daemon.start()
        writer.wait_for_more()
    written = writer.stop()
    assert len(openiscsi.sessions(TARGET)) == 1
    check(initiator.disk(TARGET, 0), written)
    initiator.logout(TARGET, PORTAL)
    initiator.login(TARGET, PORTAL)
    check(initiator.disk(TARGET, 0), written)
    initiator.logout(TARGET, PORTAL)
    served.clear(daemon)
