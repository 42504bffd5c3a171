"""Real initiators (libiscsi's tools, qemu) at a target that isadmin configured: data, refusals, restarts."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.devices import LoopDevices
from tests.integration.sandbox import Userspace

TARGET = "iqn.2003-01.org.linux-iscsi.test:disks"
PORTAL = "127.0.0.1:3260"
ONE_WAY = "iqn.2003-01.org.linux-iscsi.test:one-way"
MUTUAL = "iqn.2003-01.org.linux-iscsi.test:mutual"
STRANGER = "iqn.2003-01.org.linux-iscsi.test:stranger"
USER, SECRET = "alice", "alice-and-a-long-secret"
TARGET_USER, TARGET_SECRET = "bob", "bob-and-another-secret"
SIZE = 32 << 20
LUNS = {0: "fileio", 1: "ramdisk", 2: "block"}


def url(lun: int | str = "", *, secret: str = SECRET, mutual: str = "") -> str:
    query = f"?target_user={TARGET_USER}&target_password={mutual}" if mutual else ""
    return f"iscsi://{USER}%{secret}@{PORTAL}/{TARGET}/{lun}{query}"


def tool(*command: str, status: int | None = 0) -> str:
    """Run a client; both its outputs. `status` None: any failure is expected."""
    done = subprocess.run(command, capture_output=True, errors="replace", check=False, timeout=60)
    output = done.stdout + done.stderr
    assert (done.returncode != 0) if status is None else (done.returncode == status), (command, output)
    return output


@pytest.fixture
def disks(userspace: Userspace, loop_devices: LoopDevices, tmp_path: Path) -> Userspace:
    """Three LUNs behind CHAP, for one initiator with one-way and one with mutual authentication; saved."""
    device = loop_devices.make(SIZE)
    tpg = f"/iscsi/{TARGET}/tpg1"
    chap = f"set auth userid={USER} password={SECRET}"
    lines = [
        f"/backstores/fileio create name=fileio file_or_dev={tmp_path}/fileio.img size={SIZE}",
        f"/backstores/ramdisk create name=ramdisk size={SIZE}",
        f"/backstores/block create name=block dev={device}",
        f"/iscsi create {TARGET}",
        *(f"{tpg}/luns create /backstores/{name}/{name}" for name in LUNS.values()),
        f"{tpg} set attribute authentication=1 generate_node_acls=0",
        f"{tpg}/acls create {ONE_WAY}",
        f"{tpg}/acls/{ONE_WAY} {chap}",
        f"{tpg}/acls create {MUTUAL}",
        f"{tpg}/acls/{MUTUAL} {chap} mutual_userid={TARGET_USER} mutual_password={TARGET_SECRET}",
        "saveconfig",
    ]
    done = userspace.isadmin(typed="\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr
    return userspace


WAYS = [(ONE_WAY, url), (MUTUAL, lambda lun="": url(lun, mutual=TARGET_SECRET))]


@pytest.mark.parametrize(("initiator", "address"), WAYS, ids=["chap", "mutual-chap"])
def test_discovery_and_listing(disks: Userspace, initiator: str, address: Callable[..., str]) -> None:
    if initiator == MUTUAL:
        words = f"userid={USER} password={SECRET} mutual_userid={TARGET_USER} mutual_password={TARGET_SECRET}"
        assert disks.isadmin(f"/iscsi set discovery_auth enable=1 {words}").returncode == 0
    base, _, query = address().partition("?")
    portal = base.split("/iqn.")[0] + (f"/?{query}" if query else "")
    assert f"Target:{TARGET} Portal:{PORTAL},1" in tool("iscsi-ls", "-i", initiator, portal)


def test_luns_listed(disks: Userspace) -> None:
    listing = tool("iscsi-ls", "-s", "-i", ONE_WAY, url().split("/iqn.")[0])
    luns = re.findall(r"Lun:(\d+)\s+Type:DIRECT_ACCESS \(Size:(\S+)\)", listing)
    assert [number for number, _ in luns] == ["0", "1", "2"]


@pytest.mark.parametrize(("initiator", "address"), WAYS, ids=["chap", "mutual-chap"])
@pytest.mark.parametrize("lun", LUNS)
def test_inquiry_and_capacity(
    disks: Userspace, initiator: str, address: Callable[..., str], lun: int
) -> None:
    inquiry = tool("iscsi-inq", "-i", initiator, address(lun))
    assert re.search(r"Vendor:LIO-ORG", inquiry)
    assert re.search(rf"Product:{LUNS[lun]}", inquiry)
    pages = tool("iscsi-inq", "-i", initiator, "-e", "1", "-c", "131", address(lun))
    assert "NAA" in pages
    capacity = tool("iscsi-readcapacity16", "-i", initiator, address(lun))
    assert re.search(rf"Total size:\s*{SIZE}\b", capacity)


def qemu(lun: int, *, initiator: str = ONE_WAY) -> str:
    """qemu's description of one LUN; the secret is the object named chap."""
    return (
        f"driver=raw,file.driver=iscsi,file.transport=tcp,file.portal={PORTAL},file.target={TARGET},file.lun={lun},"
        f"file.user={USER},file.password-secret=chap,file.initiator-name={initiator}"
    )


def qemu_img(verb: str, *arguments: str, secret: str = SECRET, status: int | None = 0) -> str:
    return tool("qemu-img", verb, "--object", f"secret,id=chap,data={secret}", *arguments, status=status)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_image(source: Path, lun: int) -> None:
    qemu_img("convert", "-n", "--target-image-opts", "-f", "raw", str(source), qemu(lun))


def read_image(lun: int, copy: Path) -> None:
    qemu_img("convert", "--image-opts", "-O", "raw", qemu(lun), str(copy))


@pytest.mark.parametrize("lun", LUNS)
def test_what_is_written_is_read_back(disks: Userspace, tmp_path: Path, lun: int) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(os.urandom(SIZE))
    write_image(source, lun)
    read_image(lun, copy)
    assert digest(copy) == digest(source)


@pytest.mark.parametrize("lun", LUNS)
def test_patterns_at_odd_places(disks: Userspace, lun: int) -> None:
    steps = [(0, 512, 0x11), (4096, 65536, 0x22), (1 << 20, 1 << 20, 0x33), (SIZE - 512, 512, 0x44)]
    commands = [f"write -P {byte} {at} {count}" for at, count, byte in steps] + ["flush"]
    commands += [f"read -P {byte} {at} {count}" for at, count, byte in steps]
    words = [word for command in commands for word in ("-c", command)]
    output = tool("qemu-io", "--object", f"secret,id=chap,data={SECRET}", *words, "--image-opts", qemu(lun))
    assert output.count("ops;") == 2 * len(steps)
    assert "verification failed" not in output


def test_mutual_chap_moves_data(disks: Userspace) -> None:
    for test in ("SCSI.Write10.Simple", "SCSI.Read10.Simple", "SCSI.Write16.Simple"):
        output = tool("iscsi-test-cu", "-d", "-V", "-i", MUTUAL, "-t", test, url(0, mutual=TARGET_SECRET))
        assert "[SKIPPED]" not in output.split("Suite:", 1)[1]
        assert re.search(r"tests\s+1\s+1\s+1\s+0\s+0", output), output


@pytest.mark.parametrize(
    ("initiator", "address", "message"),
    [
        (ONE_WAY, url(0, secret="not-the-secret-at-all"), "Authentication failure"),
        (STRANGER, url(0), "Authorization failure"),
        (MUTUAL, url(0), "Authentication failure"),
        (MUTUAL, url(0, mutual="not-the-target-secret"), "Invalid CHAP_R response from the target"),
        (ONE_WAY, f"iscsi://{PORTAL}/{TARGET}/0", "Authentication failure"),
        (ONE_WAY, url(0).replace(":disks", ":nothing"), "Target not found"),
    ],
    ids=[
        "wrong-secret",
        "unknown-initiator",
        "missing-mutual",
        "wrong-mutual",
        "no-credentials",
        "unknown-target",
    ],
)
def test_refused_with_the_right_status(disks: Userspace, initiator: str, address: str, message: str) -> None:
    assert message in tool("iscsi-inq", "-i", initiator, address, status=None)


def test_refused_login_names_the_initiator_in_the_statistics(disks: Userspace) -> None:
    tool("iscsi-inq", "-i", STRANGER, url(0), status=None)
    statistics = disks.mount / "iscsi" / TARGET / "fabric_statistics"
    assert (statistics / "iscsi_login_stats" / "authorize_fails").read_text() == "1\n"
    assert (statistics / "iscsi_tgt_attr" / "fail_intr_name").read_text() == f"{STRANGER}\n"


def test_a_disabled_tpg_refuses_and_an_enabled_one_serves(disks: Userspace) -> None:
    assert disks.isadmin(f"/iscsi/{TARGET}/tpg1", "disable").returncode == 0
    tool("iscsi-inq", "-i", ONE_WAY, url(0), status=None)
    assert disks.isadmin(f"/iscsi/{TARGET}/tpg1", "enable").returncode == 0
    tool("iscsi-inq", "-i", ONE_WAY, url(0))


def test_data_and_tree_survive_a_restart(disks: Userspace, tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(os.urandom(SIZE))
    write_image(source, 0)
    before = disks.isadmin("ls").stdout
    assert disks.isadmin("userspace", "stop").returncode == 0
    tool("iscsi-inq", "-i", ONE_WAY, url(0), status=None)
    assert disks.isadmin("userspace", "start", "--empty").returncode == 0
    assert TARGET not in disks.isadmin("ls").stdout
    restored = disks.isadmin("restoreconfig")
    assert restored.returncode == 0, restored.stderr
    assert disks.isadmin("ls").stdout == before
    read_image(0, copy)
    assert digest(copy) == digest(source)


def test_several_portals_serve_at_once_and_as_they_come_and_go(disks: Userspace) -> None:
    tpg = f"/iscsi/{TARGET}/tpg1"
    for line in ("delete 0.0.0.0 3260", "create 127.0.0.1 3260", "create 127.0.0.2 3261", "create ::1 3262"):
        assert disks.isadmin(f"{tpg}/portals", *line.split()).returncode == 0
    for portal in ("127.0.0.1:3260", "127.0.0.2:3261", "[::1]:3262"):
        tool("iscsi-inq", "-i", ONE_WAY, url(0).replace(PORTAL, portal))
    listing = tool("iscsi-ls", "-i", ONE_WAY, f"iscsi://{USER}%{SECRET}@127.0.0.2:3261/")
    assert all(portal in listing for portal in ("127.0.0.1:3260,1", "127.0.0.2:3261,1", "[::1]:3262,1"))
    assert disks.isadmin(f"{tpg}/portals", "delete", "127.0.0.2", "3261").returncode == 0
    tool("iscsi-inq", "-i", ONE_WAY, url(0).replace(PORTAL, "127.0.0.2:3261"), status=None)
    tool("iscsi-inq", "-i", ONE_WAY, url(0).replace(PORTAL, "[::1]:3262"))


def test_a_write_protected_mapping_refuses_writes(disks: Userspace) -> None:
    acl = f"/iscsi/{TARGET}/tpg1/acls/{ONE_WAY}"
    assert disks.isadmin(acl, "delete", "0").returncode == 0
    assert disks.isadmin(acl, "create", "0", "0", "1").returncode == 0
    words = ("qemu-io", "--object", f"secret,id=chap,data={SECRET}", "--image-opts")
    assert "ops;" in tool(*words, "-r", "-c", "read 0 512", qemu(0))
    tool(*words, "-c", "write 0 512", qemu(0), status=None)


def test_demo_mode_serves_everyone_write_protected_until_told_otherwise(disks: Userspace) -> None:
    tpg = f"/iscsi/{TARGET}/tpg1"
    done = disks.isadmin(tpg, "set", "attribute", "authentication=0", "generate_node_acls=1")
    assert done.returncode == 0, done.stderr
    options = qemu(1, initiator=STRANGER).replace(f"file.user={USER},file.password-secret=chap,", "")
    tool("qemu-io", "-c", "write 0 512", "--image-opts", options, status=None)
    assert disks.isadmin(tpg, "set", "attribute", "demo_mode_write_protect=0").returncode == 0
    tool("qemu-io", "-c", "write -P 7 0 512", "-c", "read -P 7 0 512", "--image-opts", options)
