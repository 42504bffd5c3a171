"""A command that fails leaves nothing half made: what it did before it failed is taken back."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.sandbox import Userspace
from tests.integration.walk import contents

TARGET = "iqn.2003-01.org.linux-iscsi.test:t1"
OTHER = "iqn.2003-01.org.linux-iscsi.test:t2"
TPG = f"/iscsi/{TARGET}/tpg1"
ACL = f"{TPG}/acls/iqn.2003-01.org.linux-iscsi.test:i1"

FAILING = {
    "set-first-good-then-refused": f"{ACL} set auth userid=other password={'p' * 300}",
    "set-first-good-then-refused-by-the-target": (
        f"{TPG} set attribute login_timeout=20 default_cmdsn_depth=100000"
    ),
    "set-discovery": "/iscsi set discovery_auth enable=1 userid=x password=NULLx",
    "lun-for-a-new-storage-object-when-the-number-is-taken": f"{TPG}/luns create {{tmp}}/new.img 0",
    "mapped-lun-number-taken": f"{ACL} create 0 {{tmp}}/new.img",
    "mapped-lun-number-bad": f"{ACL} create 99999999999 {{tmp}}/new.img",
    "fileio-of-a-bad-serial": f"/backstores/fileio create f9 {{tmp}}/f9.img 1M wwn={'s' * 300}",
    "ramdisk-of-a-bad-serial": f"/backstores/ramdisk create r9 1M wwn={'s' * 300}",
    "acl-of-a-bad-name": f"{TPG}/acls create iqn.2003-01.org.linux-iscsi.test:_",
    "alua-tag-taken": "/backstores/ramdisk/r1/alua create g2 7",
}


@pytest.fixture(scope="module")
def configured(module_userspace: Userspace, module_tmp: Path) -> Iterator[Userspace]:
    (module_tmp / "new.img").write_bytes(bytes(1 << 20))
    lines = [
        "/backstores/ramdisk create r1 1M",
        "/backstores/ramdisk/r1/alua create g1 7",
        f"/iscsi create {TARGET}",
        f"{TPG}/luns create /backstores/ramdisk/r1",
        f"{TPG}/acls create iqn.2003-01.org.linux-iscsi.test:i1",
        f"{ACL} set auth userid=user password=a-long-enough-secret",
    ]
    done = module_userspace.isadmin(typed="\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr
    return module_userspace


@pytest.mark.parametrize("case", FAILING)
def test_nothing_is_left(case: str, configured: Userspace, module_tmp: Path) -> None:
    before = contents(configured.mount), sorted(module_tmp.iterdir())
    done = configured.isadmin(FAILING[case].format(tmp=module_tmp))
    assert done.returncode != 0
    assert done.stdout == ""
    after = contents(configured.mount), sorted(module_tmp.iterdir())
    unset = {path for path, text in after[0].items() if text == "NULL\n" and before[0].get(path) == "\n"}
    assert {p: t for p, t in after[0].items() if p not in unset} == {
        p: t for p, t in before[0].items() if p not in unset
    }
    assert after[1] == before[1]


def test_deleting_a_lun_deletes_its_mappings_under_other_numbers(configured: Userspace) -> None:
    lines = [
        "/backstores/ramdisk create m1 1M",
        f"{TPG}/luns create /backstores/ramdisk/m1 5 add_mapped_luns=false",
        f"{ACL} create 9 lun5",
        f"{TPG}/luns delete lun5",
        "/backstores/ramdisk delete m1",
    ]
    before = contents(configured.mount)
    done = configured.isadmin(typed="\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr
    assert contents(configured.mount) == before


def test_a_second_target_beside_a_specific_portal_is_made_without_one(configured: Userspace) -> None:
    lines = [
        f"{TPG}/portals delete 0.0.0.0 3260",
        f"{TPG}/portals create 127.0.0.1 3260",
        f"/iscsi create {OTHER}",
    ]
    done = configured.isadmin(typed="\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr
    assert f"Default portal not created: 127.0.0.1:3260 in tpg1 of {TARGET}" in done.stdout
    shown = configured.isadmin(f"/iscsi/{OTHER}/tpg1/portals", "ls")
    assert "[Portals: 0]" in shown.stdout


def test_a_portal_that_cannot_listen_takes_its_target_back(configured: Userspace) -> None:
    assert configured.isadmin(f"{TPG}/portals", "delete", "127.0.0.1", "3260").returncode == 0
    before = contents(configured.mount)
    with socket.create_server(("127.0.0.1", 3260)):
        done = configured.isadmin("/iscsi", "create", "iqn.2003-01.org.linux-iscsi.test:t3")
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"(pid {os.getpid()}) listens on 127.0.0.1:3260" in done.stderr
    assert contents(configured.mount) == before
