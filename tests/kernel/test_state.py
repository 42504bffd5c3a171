"""Where a kernel's target keeps what outlives it, and what isadmin saves and restores there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.walk import contents
from tests.kernel.operations import write
from tests.kernel.world import Kernel

pytestmark = pytest.mark.kernel

TARGET = "iqn.2003-01.org.linux-iscsi.test:t1"
NAME = "iqn.2003-01.org.linux-iscsi.test:i1"
BUILD = f"""\
/backstores/fileio create f1 {{directory}}/f1.img 8M
/backstores/ramdisk create r1 8M
/iscsi create {TARGET}
/iscsi/{TARGET}/tpg1 set attribute authentication=1
/iscsi/{TARGET}/tpg1/luns create /backstores/fileio/f1
/iscsi/{TARGET}/tpg1/luns create /backstores/ramdisk/r1
/iscsi/{TARGET}/tpg1/acls create {NAME}
/iscsi/{TARGET}/tpg1/acls/{NAME} set auth userid=user password=a-long-enough-secret
/iscsi/{TARGET}/tpg1 set parameter MaxBurstLength=131072
/iscsi/{TARGET}/tpg1/portals delete 0.0.0.0 3260
/iscsi/{TARGET}/tpg1/portals create 127.0.0.1 3261
saveconfig
"""


@pytest.fixture
def saved(userspace: Kernel, tmp_path: Path) -> Kernel:
    """A target with a file, RAM, an ACL and a portal of its own; saved."""
    done = userspace.isadmin(typed=BUILD.format(directory=tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    return userspace


def test_first_storage_object_moves_dbroot_to_the_state(userspace: Kernel) -> None:
    Path("/var/target/pr").mkdir(parents=True, exist_ok=True)
    write(str(userspace.mount / "dbroot"), b"/var/target")
    done = userspace.isadmin("/backstores/ramdisk", "create", "r1", "1M")
    assert (done.returncode, done.stderr) == (0, "")
    assert (userspace.mount / "dbroot").read_text() == f"{userspace.state}\n"


def test_cleared_and_restored_it_is_the_same(saved: Kernel) -> None:
    listed, before = saved.isadmin("ls").stdout, structure(saved.mount)
    document = json.loads((saved.state / "saveconfig.json").read_text())
    assert saved.isadmin("clearconfig", "confirm=true").returncode == 0
    assert not list(saved.mount.glob("core/*_*"))
    assert not list(saved.mount.glob("iscsi/iqn.*"))
    done = saved.isadmin("restoreconfig")
    assert (done.returncode, done.stderr) == (0, "")
    assert saved.isadmin("ls").stdout == listed
    assert structure(saved.mount) == before
    assert saved.isadmin("saveconfig").returncode == 0
    assert json.loads((saved.state / "saveconfig.json").read_text()) == document


def structure(mount: Path) -> dict[str, str]:
    """The tree of fabrics, without the names of links, which are made up."""
    fabrics = contents(mount / "iscsi")
    return {path: value for path, value in fabrics.items() if not value.startswith("..")}


def test_refused_value_is_one_line_with_the_reason(saved: Kernel) -> None:
    """block_size is frozen while the object is a LUN."""
    before = contents(saved.mount)
    done = saved.isadmin("/backstores/ramdisk/r1", "set", "attribute", "block_size=4096")
    assert done.returncode == 1
    assert done.stderr.startswith("isadmin: ")
    assert len(done.stderr.splitlines()) == 1
    assert contents(saved.mount) == before


def test_half_configured_objects_of_others_are_shown(saved: Kernel) -> None:
    """What somebody made by hand and never finished: no device, no LUN link, nothing enabled."""
    for path in (
        "core/fileio_77",
        "core/fileio_77/never-enabled",
        "core/rd_mcp_78",
        "iscsi/iqn.2003-01.org.linux-iscsi.test:empty",
        f"iscsi/{TARGET}/tpgt_2",
        f"iscsi/{TARGET}/tpgt_1/lun/lun_9",
        f"iscsi/{TARGET}/tpgt_1/acls/{NAME}/lun_9",
        "loopback",
        "loopback/naa.5001405000000001",
    ):
        (saved.mount / path).mkdir()
    # A mapping of a LUN that is gone.
    next(
        path for path in (saved.mount / f"iscsi/{TARGET}/tpgt_1/lun/lun_1").iterdir() if path.is_symlink()
    ).unlink()
    done = saved.isadmin("ls")
    assert (done.returncode, done.stderr) == (0, "")
    assert "iqn.2003-01.org.linux-iscsi.test:empty" in done.stdout
    assert "tpg2" in done.stdout
    done = saved.isadmin("saveconfig", str(saved.state / "half.json"))
    assert done.returncode == 0, done.stderr
    done = saved.isadmin("clearconfig", "confirm=true")
    assert done.returncode == 0, done.stderr
    assert not list(saved.mount.glob("iscsi/iqn.*"))
