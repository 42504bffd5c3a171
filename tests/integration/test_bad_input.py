"""Bad input: one line that says what is wrong, the documented exit status, and nothing changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isadmin import errors
from tests.integration.devices import LoopDevices
from tests.integration.sandbox import Userspace
from tests.integration.walk import contents

FAILED = errors.IsadminError.status
USAGE = errors.UsageError.status
ABSENT = errors.NoFileError.status
REFUSED = errors.RefusedFileError.status

TARGET = "iqn.2003-01.org.linux-iscsi.test:t1"
TPG = f"/iscsi/{TARGET}/tpg1"
ACL = f"{TPG}/acls/iqn.2003-01.org.linux-iscsi.test:i1"

BAD = {
    "unknown-path": ("/nosuch ls", {FAILED, USAGE}, "nosuch"),
    "unknown-path-below": (f"/iscsi/{TARGET}/tpg9 ls", {FAILED, USAGE}, "tpg9"),
    "unknown-command": ("/iscsi frobnicate", {USAGE}, "frobnicate"),
    "missing-argument": ("/backstores/ramdisk create name=r9", {USAGE}, "size"),
    "surplus-argument": ("/backstores/ramdisk create r9 1M false wwn-9 5 6", {USAGE}, ""),
    "unknown-argument": ("/backstores/ramdisk create r9 1M colour=red", {USAGE}, "colour"),
    "argument-twice": ("/backstores/ramdisk create r9 1M name=r10", {USAGE}, "name"),
    "unparsed": ("/backstores/ramdisk create 'r9 1M", {USAGE}, "column 28"),
    "bad-size": ("/backstores/ramdisk create r9 1Q", {USAGE, FAILED}, "1Q"),
    "negative-size": ("/backstores/ramdisk create r9 -1M", {USAGE, FAILED}, "-1M"),
    "zero-size": ("/backstores/ramdisk create r9 0", {USAGE, FAILED}, "0"),
    "bad-boolean": ("/backstores/ramdisk create r9 1M nullio=perhaps", {USAGE, FAILED}, "perhaps"),
    "missing-file": ("/backstores/fileio create f9 {tmp}/missing.img", {USAGE, FAILED}, "size"),
    "missing-directory": ("/backstores/fileio create f9 {tmp}/no/f9.img 1M", {FAILED}, "{tmp}/no"),
    "file-too-small": ("/backstores/fileio create f9 {tmp}/tiny.img", {USAGE, FAILED}, "tiny.img"),
    "missing-device": ("/backstores/block create b9 /dev/nosuch", {FAILED}, "/dev/nosuch"),
    "file-as-device": ("/backstores/block create b9 {tmp}/f1.img", {FAILED}, "f1.img"),
    "device-in-use": ("/backstores/block create b9 {loop}", {FAILED}, "{loop}"),
    "file-in-use": ("/backstores/fileio create f9 {tmp}/f1.img", {FAILED}, "f1"),
    "duplicate-name": ("/backstores/ramdisk create r1 1M", {FAILED}, "r1"),
    "duplicate-target": (f"/iscsi create {TARGET}", {FAILED}, TARGET),
    "bad-iqn": ("/iscsi create iqn.not-a-date:x", {USAGE, FAILED}, "iqn.not-a-date:x"),
    "not-a-wwn": ("/iscsi create badname", {USAGE, FAILED}, "badname"),
    "bad-initiator": (f"{TPG}/acls create nobody", {USAGE, FAILED}, "nobody"),
    "duplicate-acl": (f"{TPG}/acls create iqn.2003-01.org.linux-iscsi.test:i1", {FAILED}, "i1"),
    "bad-tpg-tag": (f"/iscsi/{TARGET} create x", {USAGE, FAILED}, "x"),
    "lun-taken": (f"{TPG}/luns create /backstores/ramdisk/r2 0", {FAILED}, "0"),
    "lun-out-of-range": (f"{TPG}/luns create /backstores/ramdisk/r2 70000", {USAGE, FAILED}, "70000"),
    "lun-not-a-number": (f"{TPG}/luns create /backstores/ramdisk/r2 many", {USAGE, FAILED}, "many"),
    "unknown-storage-object": (f"{TPG}/luns create /backstores/ramdisk/r99", {FAILED, USAGE}, "r99"),
    "unknown-lun-deleted": (f"{TPG}/luns delete lun99", {USAGE, FAILED}, "99"),
    "mapped-lun-of-missing-lun": (f"{ACL} create 5 lun99", {USAGE, FAILED}, "99"),
    "portal-not-an-address": (f"{TPG}/portals create 300.1.2.3", {USAGE, FAILED}, "300.1.2.3"),
    "portal-text": (f"{TPG}/portals create here", {USAGE, FAILED}, "here"),
    "portal-bad-port": (f"{TPG}/portals create 127.0.0.1 99999", {USAGE, FAILED}, "99999"),
    "portal-port-text": (f"{TPG}/portals create 127.0.0.1 http", {USAGE, FAILED}, "http"),
    "portal-conflict": (f"{TPG}/portals create 127.0.0.1 3260", {FAILED}, "127.0.0.1"),
    "unknown-portal-deleted": (f"{TPG}/portals delete 127.0.0.1 4000", {FAILED, USAGE}, "4000"),
    "unknown-attribute": (f"{TPG} set attribute nosuch=1", {USAGE}, "nosuch"),
    "bad-attribute": (f"{TPG} set attribute authentication=maybe", {USAGE, FAILED}, "authentication"),
    "read-only-attribute": (
        "/backstores/ramdisk/r1 set attribute hw_block_size=512",
        {USAGE},
        "hw_block_size",
    ),
    "bad-parameter": (f"{TPG} set parameter MaxBurstLength=1", {USAGE, FAILED}, "MaxBurstLength"),
    "unknown-group": (f"{TPG} set nosuch a=1", {USAGE}, "nosuch"),
    "chap-name-too-long": (f"{ACL} set auth userid=" + "u" * 300, {USAGE, FAILED}, "userid"),
    "chap-secret-too-long": (f"{ACL} set auth password=" + "p" * 300, {USAGE, FAILED}, "password"),
    "half-good-set": (f"{TPG} set attribute authentication=1 nosuch=1", {USAGE}, "nosuch"),
    "unknown-acl-deleted": (f"{TPG}/acls delete iqn.2003-01.org.linux-iscsi.test:i9", {FAILED, USAGE}, "i9"),
    "unknown-target-deleted": ("/iscsi delete iqn.2003-01.org.linux-iscsi.test:t9", {FAILED, USAGE}, "t9"),
    "unknown-backstore-deleted": ("/backstores/ramdisk delete r99", {FAILED, USAGE}, "r99"),
    "restore-absent": ("restoreconfig {tmp}/absent.json", {ABSENT}, "absent.json"),
    "restore-empty": ("restoreconfig {tmp}/empty.json", {REFUSED}, "empty.json"),
    "restore-cut-off": ("restoreconfig {tmp}/cut.json", {REFUSED}, "cut.json"),
    "restore-not-json": ("restoreconfig {tmp}/text.json", {REFUSED}, "text.json"),
    "restore-wrong-shape": ("restoreconfig {tmp}/list.json", {REFUSED}, "list.json"),
    "restore-wrong-inside": ("restoreconfig {tmp}/inside.json", {REFUSED}, "inside.json"),
    "restore-clearing-cut-off": ("restoreconfig {tmp}/cut.json clear_existing=true", {REFUSED}, "cut.json"),
    "restore-directory": ("restoreconfig {tmp}", {REFUSED, ABSENT, FAILED}, "{tmp}"),
    "save-nowhere": ("saveconfig {tmp}/no/such/x.json", {FAILED}, "{tmp}/no"),
    "clear-unconfirmed": ("clearconfig", {FAILED, USAGE}, "confirm"),
}


@pytest.fixture(scope="module")
def configured(module_userspace: Userspace, module_loop_devices: LoopDevices, module_tmp: Path) -> Userspace:
    loop = module_loop_devices.make(16 << 20)
    lines = [
        "/backstores/ramdisk create r1 1M",
        "/backstores/ramdisk create r2 1M",
        f"/backstores/fileio create f1 {module_tmp}/f1.img 1M",
        f"/backstores/block create b1 {loop}",
        f"/iscsi create {TARGET}",
        f"{TPG}/luns create /backstores/ramdisk/r1",
        f"{TPG}/acls create iqn.2003-01.org.linux-iscsi.test:i1",
        "saveconfig",
    ]
    done = module_userspace.isadmin(typed="\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr
    saved = (module_userspace.state / "saveconfig.json").read_text()
    (module_tmp / "tiny.img").write_bytes(b"x" * 100)
    (module_tmp / "empty.json").write_text("")
    (module_tmp / "cut.json").write_text(saved[: len(saved) // 2])
    (module_tmp / "text.json").write_text("this is not JSON")
    (module_tmp / "list.json").write_text("[1, 2, 3]")
    inside = json.loads(saved)
    inside["targets"] = {"wwn": "x"}
    (module_tmp / "inside.json").write_text(json.dumps(inside))
    return module_userspace


@pytest.mark.parametrize("case", BAD)
def test_bad_input(
    case: str, configured: Userspace, module_loop_devices: LoopDevices, module_tmp: Path
) -> None:
    line, statuses, mentioned = BAD[case]
    places = {"tmp": str(module_tmp), "loop": str(module_loop_devices.made[0])}
    line, mentioned = (text.format(**places) for text in (line, mentioned))
    saved = configured.state / "saveconfig.json"
    before = contents(configured.mount), saved.read_bytes(), sorted(p.name for p in module_tmp.iterdir())
    done = configured.isadmin(line)
    assert done.returncode in statuses, (done.returncode, done.stderr)
    assert done.stdout == ""
    assert len(done.stderr.rstrip("\n").splitlines()) == 1 or "^" in done.stderr, done.stderr
    assert mentioned in done.stderr
    assert "Traceback" not in done.stderr
    assert "p" * 20 not in done.stderr
    after = contents(configured.mount), saved.read_bytes(), sorted(p.name for p in module_tmp.iterdir())
    assert after == before


def test_an_address_that_is_not_here_yet_is_accepted_with_a_warning(configured: Userspace) -> None:
    done = configured.isadmin(f"{TPG}/portals", "create", "127.0.0.1", "3261")
    assert done.returncode == 0
    assert "warning" not in done.stderr.lower()
    done = configured.isadmin(f"{TPG}/portals", "create", "192.0.2.77", "3262")
    assert done.returncode == 0
    assert "192.0.2.77" in done.stderr
    for address, port in (("127.0.0.1", "3261"), ("192.0.2.77", "3262")):
        assert configured.isadmin(f"{TPG}/portals", "delete", address, port).returncode == 0


def test_no_target_at_all_says_what_to_do(userspace: Userspace) -> None:
    assert userspace.isadmin("userspace", "stop").returncode == 0
    done = userspace.isadmin("ls", userspace=False)
    assert done.returncode == errors.NoTargetError.status
    assert "--userspace" in done.stderr
    assert len(done.stderr.splitlines()) == 1
