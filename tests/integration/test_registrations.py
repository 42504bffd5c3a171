"""What ends an initiator's persistent registration, besides the initiator: LIO keeps it with the access that
the initiator has, by its ACL or, without one, by what demo mode keeps of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.initiator import Initiator
from tests.integration.sandbox import Userspace, wait_until

TARGET = "iqn.2003-01.org.linux-iscsi.test:open"
TPG = f"/iscsi/{TARGET}/tpg1"
NAME = "iqn.2003-01.org.linux-iscsi.test:guest"
PORTAL = ("127.0.0.1", 3260)
KEY = b"reserved"
EXCLUSIVE_ACCESS = 3


def typed(world: Userspace, *lines: str) -> None:
    done = world.isadmin("-y", typed="\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def group(userspace: Userspace) -> Path:
    """A portal group with a LUN; its directory."""
    typed(
        userspace,
        "/backstores/ramdisk create disk 1M",
        f"/iscsi create {TARGET}",
        f"{TPG}/luns create /backstores/ramdisk/disk",
        f"{TPG} set attribute authentication=0",
    )
    return userspace.mount / "iscsi" / TARGET / "tpgt_1"


def persist(initiator: Initiator, action: int, kind: int, parameters: bytes) -> None:
    cdb = bytes([0x5F, action, kind, 0, 0, 0, 0, 0, 24, 0])
    assert initiator.cmd(cdb, data_out=parameters).status == 0


def keys(initiator: Initiator) -> bytes:
    """READ KEYS, without generation and length."""
    return initiator.cmd(bytes([0x5E, 0, 0, 0, 0, 0, 0, 0, 64, 0]), expected_in=64).data[8:]


def reserve(group: Path) -> None:
    """Register, reserve, and log out."""
    with Initiator(PORTAL, target=TARGET, name=NAME) as initiator:
        initiator.ready(0)
        persist(initiator, 0, 0, bytes(8) + KEY + bytes(8))
        persist(initiator, 1, EXCLUSIVE_ACCESS, KEY + bytes(16))
        assert keys(initiator) == KEY
        initiator.logout()
    acl = group / "acls" / NAME / "info"

    def over() -> bool:
        sessions = "" if not acl.exists() else acl.read_text()
        return "InitiatorName" not in sessions and not (group / "dynamic_sessions").read_bytes()

    wait_until(over, "the session's end")


def found() -> bytes:
    with Initiator(PORTAL, target=TARGET, name=NAME) as initiator:
        initiator.ready(0)
        return keys(initiator)


def test_a_guests_session_ends(userspace: Userspace, group: Path) -> None:
    """What it had is cached (cache_dynamic_acls), which demo mode sets."""
    typed(userspace, f"{TPG} set attribute generate_node_acls=1 demo_mode_write_protect=0")
    reserve(group)
    assert found() == KEY


def test_its_acl_mapped_lun_or_lun_is_deleted(userspace: Userspace, group: Path) -> None:
    acl = f"{TPG}/acls/{NAME}"
    typed(userspace, f"{TPG}/acls create {NAME}")
    for deleted, created in (
        (f"{TPG}/acls delete {NAME}", f"{TPG}/acls create {NAME}"),
        (f"{acl} delete 0", f"{acl} create 0 lun0"),
        (f"{TPG}/luns delete 0", f"{TPG}/luns create /backstores/ramdisk/disk 0"),
    ):
        reserve(group)
        assert found() == KEY
        typed(userspace, deleted, created)
        assert found() == b"", deleted
