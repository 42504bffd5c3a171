"""The kernel's initiator at targets that isadmin configured: the kernel's own, and the one in userspace."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.sandbox import Userspace, running_userspace
from tests.kernel import openiscsi, world
from tests.kernel.forks import Forks
from tests.kernel.openiscsi import AUTHENTICATION_FAILED, Chap, Initiator

pytestmark = pytest.mark.kernel(disposable=True)

TARGET = "iqn.2003-01.org.linux-iscsi.test:disks"
NAME = "iqn.2003-01.org.linux-iscsi.test:client"
PORTAL = "127.0.0.1:3260"
ONE_WAY = Chap("alice", "alice-and-a-long-secret")
MUTUAL = Chap("alice", "alice-and-a-long-secret", "bob", "bob-and-another-secret")
SIZE = 48 << 20
ACL = f"/iscsi/{TARGET}/tpg1/acls/{NAME}"
CONFIGURE = f"""\
/backstores/fileio create name=file file_or_dev={{directory}}/disk.img size={SIZE}
/backstores/ramdisk create name=ram size={SIZE}
/iscsi create {TARGET}
/iscsi/{TARGET}/tpg1/luns create /backstores/fileio/file
/iscsi/{TARGET}/tpg1/luns create /backstores/ramdisk/ram
/iscsi/{TARGET}/tpg1 set attribute authentication=1 generate_node_acls=0
/iscsi/{TARGET}/tpg1/acls create {NAME}
{ACL} set auth userid={MUTUAL.user} password={MUTUAL.secret}
{ACL} set auth mutual_userid={MUTUAL.target_user} mutual_password={MUTUAL.target_secret}
"""


@pytest.fixture(scope="module", params=["kernel", "userspace"])
def served(
    request: pytest.FixtureRequest, lio: None, forks: Forks, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Userspace]:
    """A target with a file and RAM behind CHAP, in the kernel or in userspace."""
    directory = tmp_path_factory.mktemp("served")
    world.clear()
    if request.param == "kernel":
        target: Userspace = world.Kernel(directory, forks)
        configure(target, directory)
        yield target
        world.clear()
    else:
        subprocess.run(["modprobe", "fuse"], check=True)
        with running_userspace() as target:
            configure(target, directory)
            yield target


def configure(target: Userspace, directory: Path) -> None:
    done = target.isadmin(typed=CONFIGURE.format(directory=directory))
    assert done.returncode == 0, done.stderr


@pytest.fixture
def initiator(served: Userspace) -> Iterator[Initiator]:
    with openiscsi.running(NAME) as initiator:
        assert initiator.discover(PORTAL) == [f"{PORTAL},1 {TARGET}"]
        yield initiator


def digest(path: Path, length: int) -> str:
    with path.open("rb") as file:
        return hashlib.sha256(file.read(length)).hexdigest()


@pytest.mark.parametrize("chap", [ONE_WAY, MUTUAL], ids=["chap", "mutual-chap"])
@pytest.mark.parametrize("lun", [0, 1], ids=["fileio", "ramdisk"])
def test_what_is_written_is_read_after_another_login(
    initiator: Initiator, tmp_path: Path, chap: Chap, lun: int
) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(8 << 20))
    initiator.login(TARGET, PORTAL, chap)
    disk = initiator.disk(TARGET, lun)
    size = int(Path("/sys/block", disk.name, "size").read_text()) * 512
    assert size == SIZE
    subprocess.run(["dd", f"if={source}", f"of={disk}", "bs=256k", "oflag=direct", "status=none"], check=True)
    initiator.logout(TARGET, PORTAL)
    assert not initiator.disks(TARGET)
    initiator.login(TARGET, PORTAL)
    assert digest(initiator.disk(TARGET, lun), 8 << 20) == digest(source, 8 << 20)


@pytest.mark.parametrize(
    "chap",
    [Chap("alice", "not-the-secret-at-all"), Chap("alice", ONE_WAY.secret, "bob", "not-the-target-secret")],
    ids=["wrong-secret", "wrong-mutual"],
)
def test_wrong_secret_is_refused(initiator: Initiator, chap: Chap) -> None:
    initiator.login(TARGET, PORTAL, chap, status=AUTHENTICATION_FAILED)
    assert not initiator.disks(TARGET)


def test_file_system_keeps_its_files(initiator: Initiator, tmp_path: Path) -> None:
    initiator.login(TARGET, PORTAL, MUTUAL)
    disk = initiator.disk(TARGET, 0)
    subprocess.run(["mkfs.ext4", "-q", str(disk)], check=True)
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    files = {f"file{number}": os.urandom(number << 16) for number in range(1, 9)}
    subprocess.run(["mount", str(disk), str(mounted)], check=True)
    try:
        for name, data in files.items():
            (mounted / name).write_bytes(data)
    finally:
        subprocess.run(["umount", str(mounted)], check=True)
    initiator.logout(TARGET, PORTAL)
    initiator.login(TARGET, PORTAL)
    disk = initiator.disk(TARGET, 0)
    subprocess.run(["fsck.ext4", "-f", "-n", str(disk)], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "ro", str(disk), str(mounted)], check=True)
    try:
        assert {path.name: path.read_bytes() for path in mounted.glob("file*")} == files
    finally:
        subprocess.run(["umount", str(mounted)], check=True)
