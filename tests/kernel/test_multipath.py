"""multipath-tools over two portals of one target, one of which fails while somebody writes, at both targets.

The guide's /etc/multipath.conf, word for word.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration import guide
from tests.integration.sandbox import Userspace, wait_until
from tests.kernel import networks, openiscsi, served
from tests.kernel.networks import ADDRESSES
from tests.kernel.openiscsi import LIMIT, Initiator, Session
from tests.kernel.writing import Writer, check

pytestmark = pytest.mark.kernel(disposable=True)

TARGET = "iqn.2003-01.org.linux-iscsi.test:paths"
NAME = "iqn.2003-01.org.linux-iscsi.test:host"
TPG = f"/iscsi/{TARGET}/tpg1"
CONFIGURATION = Path("/etc/multipath.conf")
KEPT = (Path("/etc/multipath/bindings"), Path("/etc/multipath/wwids"))
"""What it remembers of disks."""
FAILING = {
    "node.session.timeo.replacement_timeout": "2",
    "node.conn[0].timeo.noop_out_interval": "2",
    "node.conn[0].timeo.noop_out_timeout": "3",
}
"""Of the path that fails: soon."""
STAYING = {"node.conn[0].timeo.noop_out_interval": "0"}
"""Of the other: not because the machine is slow."""


def sh(*words: str) -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


@contextmanager
def multipathd() -> Iterator[None]:
    """Its daemon, with the guide's configuration, and udev, on whose word it takes disks."""
    sh("modprobe", "-a", "dm_multipath", "dm_round_robin")
    CONFIGURATION.write_text(guide.fenced("defaults {"))
    udev = subprocess.Popen(["/lib/systemd/systemd-udevd"], stderr=subprocess.DEVNULL)
    daemon = subprocess.Popen(["multipathd", "-d"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        subprocess.run(["multipath", "-F"], capture_output=True, check=False)
        for process in (daemon, udev):
            process.terminate()
            process.wait()
        CONFIGURATION.unlink()
        # Else the next disk is mpathb.
        for file in KEPT:
            file.unlink(missing_ok=True)


@pytest.fixture
def initiator(target: Userspace, tmp_path: Path) -> Iterator[Initiator]:
    with networks.networks():
        lines = [
            f"/backstores/fileio create name=file file_or_dev={tmp_path}/disk.img size={16 << 20}",
            f"/iscsi create {TARGET}",
            f"{TPG} set attribute authentication=0",
            f"{TPG}/luns create /backstores/fileio/file",
            f"{TPG}/portals delete 0.0.0.0 3260",
            *(f"{TPG}/portals create {address} 3260" for address in ADDRESSES),
            f"{TPG}/acls create {NAME}",
        ]
        served.configure(target, "\n".join(lines) + "\n")
        with multipathd(), openiscsi.running(NAME) as initiator:
            yield initiator
        # It listens on the addresses, which go next.
        served.clear(target)


def paths() -> dict[str, str]:
    """Disk -> what multipathd says of it as a path."""
    listed = subprocess.run(
        ["multipathd", "show", "paths", "raw", "format", "%d %t"], check=False, capture_output=True, text=True
    )
    return dict(re.findall(r"^(sd\w+) (\w+)", listed.stdout, re.MULTILINE))


def by_address(address: str) -> Session:
    (session,) = [
        one for one in openiscsi.sessions(TARGET) if one.connection("persistent_address") == address
    ]
    return session


def wait_for_paths(expected: dict[str, str]) -> None:
    wait_until(lambda: paths() == expected, f"paths {expected}", LIMIT)


def test_writes_go_on_when_a_portal_fails(initiator: Initiator) -> None:
    for address, settings in zip(ADDRESSES, (FAILING, STAYING), strict=True):
        assert f"{address}:3260,1 {TARGET}" in initiator.discover(f"{address}:3260")
        initiator.configure(TARGET, f"{address}:3260", settings)
        initiator.login(TARGET, f"{address}:3260")
    wait_until(lambda: all(one.disks() for one in openiscsi.sessions(TARGET)), "two disks", LIMIT)
    failing, staying = (by_address(address).disks()[0].name for address in ADDRESSES)
    wait_for_paths({failing: "active", staying: "active"})
    disk = Path("/dev/mapper/mpatha")
    wait_until(disk.is_block_device, "the multipath device", LIMIT)
    assert failing in sh("multipath", "-ll")

    writer = Writer(disk, range(256))
    writer.start()
    writer.wait_for_more()
    networks.take_down(ADDRESSES[0])
    wait_for_paths({failing: "failed", staying: "active"})
    writer.wait_for_more()
    networks.add(ADDRESSES[0])
    wait_for_paths({failing: "active", staying: "active"})
    writer.wait_for_more()
    written = writer.stop()
    check(disk, written)
    # Both paths lead to the same data.
    for address in ADDRESSES:
        check(by_address(address).disks()[0], written)
