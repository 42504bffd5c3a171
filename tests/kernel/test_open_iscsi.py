"""The kernel's initiator at targets that isadmin configured: the kernel's own, and the one in userspace."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.sandbox import Userspace
from tests.kernel import openiscsi, world
from tests.kernel.forks import Forks
from tests.kernel.openiscsi import AUTHENTICATION_FAILED, LOGIN_FAILED, Chap, Initiator
from tests.kernel.served import clear

pytestmark = pytest.mark.kernel(disposable=True)

TARGET = "iqn.2003-01.org.linux-iscsi.test:disks"
ONE_WAY_NAME = "iqn.2003-01.org.linux-iscsi.test:one-way"
MUTUAL_NAME = "iqn.2003-01.org.linux-iscsi.test:mutual"
PORTAL = "127.0.0.1:3260"
ONE_WAY = Chap("alice", "alice-and-a-long-secret")
MUTUAL = Chap("alice", "alice-and-a-long-secret", "bob", "bob-and-another-secret")
SIZE = 48 << 20
DATA = 2 << 20
LUNS = (0, 1)
FIO = (
    "--name=verified",
    "--numjobs=2",
    "--size=4M",
    "--rw=randwrite",
    "--bsrange=4k-64k",
    "--direct=1",
    "--ioengine=libaio",
    "--iodepth=8",
    "--verify=crc32c",
    "--verify_fatal=1",
    "--do_verify=1",
)
"""Two files written in random order, some writes at a time, then read and held against their checksums."""
ACLS = f"/iscsi/{TARGET}/tpg1/acls"
CONFIGURE = f"""\
/backstores/fileio create name=file file_or_dev={{directory}}/disk.img size={SIZE}
/backstores/ramdisk create name=ram size={SIZE}
/iscsi create {TARGET}
/iscsi/{TARGET}/tpg1/luns create /backstores/fileio/file
/iscsi/{TARGET}/tpg1/luns create /backstores/ramdisk/ram
/iscsi/{TARGET}/tpg1 set attribute authentication=1 generate_node_acls=0
{ACLS} create {ONE_WAY_NAME}
{ACLS} create {MUTUAL_NAME}
{ACLS}/{ONE_WAY_NAME} set auth userid={ONE_WAY.user} password={ONE_WAY.secret}
{ACLS}/{MUTUAL_NAME} set auth userid={MUTUAL.user} password={MUTUAL.secret}
{ACLS}/{MUTUAL_NAME} set auth mutual_userid={MUTUAL.target_user} mutual_password={MUTUAL.target_secret}
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
        target = request.getfixturevalue("daemon")
        clear(target)
        configure(target, directory)
        yield target
        clear(target)


def configure(target: Userspace, directory: Path) -> None:
    done = target.isadmin(typed=CONFIGURE.format(directory=directory))
    assert done.returncode == 0, done.stderr


@contextmanager
def initiator_with(chap: Chap) -> Iterator[Initiator]:
    """An initiator with an ACL for these credentials, which has discovered the target."""
    with openiscsi.running(MUTUAL_NAME if chap.target_user else ONE_WAY_NAME) as initiator:
        assert initiator.discover(PORTAL) == [f"{PORTAL},1 {TARGET}"]
        yield initiator


def digest(path: Path, length: int) -> str:
    with path.open("rb") as file:
        return hashlib.sha256(file.read(length)).hexdigest()


@pytest.mark.parametrize("chap", [ONE_WAY, MUTUAL], ids=["chap", "mutual-chap"])
def test_what_is_written_is_read_after_another_login(served: Userspace, tmp_path: Path, chap: Chap) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(DATA))
    with initiator_with(chap) as initiator:
        initiator.login(TARGET, PORTAL, chap)
        for lun in LUNS:
            disk = initiator.disk(TARGET, lun)
            assert int(Path("/sys/block", disk.name, "size").read_text()) * 512 == SIZE
            command = ["dd", f"if={source}", f"of={disk}", "bs=256k", "oflag=direct", "status=none"]
            subprocess.run(command, check=True)
        initiator.logout(TARGET, PORTAL)
        assert not initiator.disks(TARGET)
        initiator.login(TARGET, PORTAL)
        for lun in LUNS:
            assert digest(initiator.disk(TARGET, lun), DATA) == digest(source, DATA)


def test_wrong_secret_is_refused(served: Userspace) -> None:
    with initiator_with(ONE_WAY) as initiator:
        wrong = replace(ONE_WAY, secret="not-the-secret-at-all")
        initiator.login(TARGET, PORTAL, wrong, status=AUTHENTICATION_FAILED)
        assert not initiator.disks(TARGET)


def test_target_with_the_wrong_secret_is_refused(served: Userspace) -> None:
    with initiator_with(MUTUAL) as initiator:
        wrong = replace(MUTUAL, target_secret="not-the-target-secret")
        initiator.login(TARGET, PORTAL, wrong, status=LOGIN_FAILED)
        assert not initiator.disks(TARGET)


def test_file_system_keeps_its_files(served: Userspace, tmp_path: Path) -> None:
    with initiator_with(MUTUAL) as initiator:
        initiator.login(TARGET, PORTAL, MUTUAL)
        disk = initiator.disk(TARGET, 0)
        subprocess.run(["mkfs.ext4", "-q", str(disk)], check=True)
        with mounted(disk, tmp_path) as directory:
            command = ["fio", *FIO, f"--directory={directory}"]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
            files = digests(directory)
            assert len(files) == 2
        check_file_system(disk)
        initiator.logout(TARGET, PORTAL)
        initiator.login(TARGET, PORTAL)
        disk = initiator.disk(TARGET, 0)
        check_file_system(disk)
        with mounted(disk, tmp_path, "ro") as directory:
            assert digests(directory) == files


def check_file_system(disk: Path) -> None:
    done = subprocess.run(["fsck.ext4", "-f", "-n", str(disk)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def digests(directory: Path) -> dict[str, str]:
    return {path.name: digest(path, path.stat().st_size) for path in directory.iterdir() if path.is_file()}


@contextmanager
def mounted(disk: Path, directory: Path, options: str = "rw") -> Iterator[Path]:
    place = directory / "mounted"
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", options, str(disk), str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)
