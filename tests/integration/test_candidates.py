"""What completion offers of a running target and its host: only what can still be used, each with a word
about it."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from isadmin.shell.session import Session
from isadmin.shell.suggest import suggest
from tests.initiator import Initiator, LoginFailed
from tests.integration.devices import LoopDevices
from tests.integration.sandbox import Userspace

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:Will be removed in 1.0:DeprecationWarning"),
]

IQN = "iqn.2003-01.org.test:offered"
OTHER = "iqn.2003-01.org.test:other"
TPG = f"/iscsi/{IQN}/tpg1"
PORTAL = ("127.0.0.1", 3260)
ADDRESSES = ("198.51.100.7/24", "2001:db8::7/64")
LINES = f"""
/backstores/ramdisk create used 1M
/backstores/ramdisk create idle 2M
/iscsi create {IQN}
{TPG}/luns create /backstores/ramdisk/used
{TPG}/acls create {IQN}:known
/iscsi create {OTHER}
/iscsi/{OTHER}/tpg1/acls create {IQN}:elsewhere
"""

Offered = Callable[[str], dict[str, str]]


@pytest.fixture(scope="module")
def session(module_userspace: Userspace) -> Session:
    session = Session(module_userspace.host, out=io.StringIO(), err=io.StringIO())
    for line in LINES.strip().splitlines():
        session.run_line(line)
    return session


@pytest.fixture
def offered(session: Session) -> Offered:
    def values(line: str) -> dict[str, str]:
        session.root.refresh()
        found = suggest(line, session.root)
        return {one.text.strip(): one.meaning for one in found if one.kind == "value"}

    return values


@pytest.fixture
def addresses() -> Iterator[None]:
    """Two more addresses of the network of the test run."""
    for address in ADDRESSES:
        subprocess.run(["ip", "address", "add", address, "dev", "lo", "nodad"], check=True)
    try:
        yield
    finally:
        for address in ADDRESSES:
            subprocess.run(["ip", "address", "del", address, "dev", "lo"], check=True)


@pytest.mark.usefixtures("addresses")
def test_addresses_of_this_host_without_a_portal(offered: Offered, session: Session) -> None:
    found = offered(f"{TPG}/portals create ")
    assert list(found) == ["198.51.100.7", "2001:db8::7", "127.0.0.1", "::1", "::0"]
    assert found["2001:db8::7"].startswith("an address of lo; needs another port: there is ")
    session.run_line(f"{TPG}/portals create 198.51.100.7 3261")
    assert "198.51.100.7" not in offered(f"{TPG}/portals create ")
    session.run_line(f"{TPG}/portals delete 198.51.100.7 3261")


def test_storage_objects_that_are_not_exported(offered: Offered) -> None:
    assert offered(f"{TPG}/luns create ") == {"/backstores/ramdisk/idle": "2.0MiB"}


def test_luns_that_are_not_mapped(offered: Offered, session: Session) -> None:
    acl = f"{TPG}/acls/{IQN}:known"
    assert "lun0" not in offered(f"{acl} create 1 ")
    session.run_line(f"{acl} delete 0")
    assert offered(f"{acl} create 0 ") == {"lun0": "ramdisk/used", "/backstores/ramdisk/idle": "2.0MiB"}
    session.run_line(f"{acl} create 0 lun0")


def test_initiators_that_were_heard_of(offered: Offered, session: Session) -> None:
    with pytest.raises(LoginFailed):
        Initiator(PORTAL, target=IQN, name=f"{IQN}:stranger")
    assert offered(f"{TPG}/acls create ") == {
        f"{IQN}:stranger": f"failed to log in to {IQN} from 127.0.0.1",
        f"{IQN}:elsewhere": f"has an ACL at {OTHER} tpg1",
    }
    session.run_line(f"{TPG} set attribute generate_node_acls=1")
    with Initiator(PORTAL, target=IQN, name=f"{IQN}:guest"):
        assert offered(f"{TPG}/acls create ")[f"{IQN}:guest"] == f"logged in to {IQN} without an ACL"
    session.run_line(f"{TPG} set attribute generate_node_acls=0")


def test_block_devices_that_nobody_uses(
    offered: Offered, session: Session, loop_devices: LoopDevices, tmp_path: Path
) -> None:
    free, used = (str(loop_devices.make(1 << 20)) for _ in range(2))
    session.run_line(f"/backstores/block create disk {used}")
    found = offered("/backstores/block create new ")
    assert found[free] == "1.0MiB"
    assert used not in found
    session.run_line("/backstores/block delete disk")
