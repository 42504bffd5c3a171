"""What targetcli can be told where the userspace target has nothing to tell it of: SCSI devices, tcmu-runner,
names that are none, attributes that only other kernels have. On the files that a kernel had."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest

from isadmin.lio.host import Host
from isadmin.shell.session import Session
from tests.lio.kernel_tree import make_tree


class World:
    """A session on a directory of files."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.out = io.StringIO()
        host = Host("given", target, None, target.parent)
        self.session = Session(host, out=self.out, err=io.StringIO())

    def type(self, line: str) -> str:
        self.out.truncate(self.out.seek(0))
        self.session.run_line(line)
        return self.out.getvalue()


@pytest.fixture
def kernel(tmp_path: Path) -> World:
    return World(make_tree("44", tmp_path))


def test_pscsi(kernel: World, tmp_path: Path) -> None:
    place = "/backstores/pscsi/p1"
    assert kernel.type(f"{place} status") == f"Status for {place}: /dev/sda activated\n"
    assert kernel.type(f"{place} version").startswith("Backstore plugin pscsi v")
    facts = kernel.type(f"{place} info").splitlines()
    assert {"dev: /dev/sda", "name: p1", "plugin: pscsi"} <= set(facts)
    file = tmp_path / "p1.json"
    assert kernel.type(f"{place} saveconfig {file}") == (
        f"Storage Object 'pscsi:p1' config saved to {file}.\n"
    )
    assert '"plugin": "pscsi"' in file.read_text()


def test_user_backed(kernel: World, tmp_path: Path) -> None:
    """A storage object of tcmu-runner's, shown, told and saved."""
    core = kernel.target / "core"
    ramdisk = next(path for path in core.glob("rd_mcp_*/*") if (path / "info").exists())
    directory = core / "user_7" / "u1"
    shutil.copytree(ramdisk, directory, symlinks=True)
    (directory.parent / "hba_info").write_text("HBA Index: 7 plugin: user version: 2.0\n")
    status = "Status: DEACTIVATED  Max Queue Depth: 0  SectorSize: 512  HwMaxSectors: 128\n"
    (directory / "info").write_text(
        f"{status}        Config: rbd/pool/image Size: 1048576 HwMaxSectors: 128\n"
    )
    backstore, place = "/backstores/user:rbd", "/backstores/user:rbd/u1"
    assert kernel.type(f"{backstore} status") == f"Status for {backstore}: Storage Objects: 1\n"
    assert kernel.type(f"{place} status") == f"Status for {place}: pool/image (1.0MiB) deactivated\n"
    assert kernel.type(f"{place} version") == "Backstore plugin user 2.0\n"
    assert {"config: rbd/pool/image", "name: u1"} <= set(kernel.type(f"{place} info").splitlines())
    file = tmp_path / "u1.json"
    assert kernel.type(f"{place} saveconfig {file}").endswith(f"config saved to {file}.\n")
    assert '"config": "rbd/pool/image"' in file.read_text()
    assert kernel.type(f"{backstore} delete u1 save=false --dry-run").endswith("- /backstores/user/u1\n")


def test_invalid_wwn(kernel: World) -> None:
    (kernel.target / "iscsi" / "nonsense").mkdir()
    assert kernel.type("/iscsi/nonsense status") == "Status for /iscsi/nonsense: INVALID WWN\n"
    assert "[INVALID WWN]" in kernel.type("ls /iscsi")


def test_attributes_of_other_kernels(kernel: World) -> None:
    places = {
        "/backstores/fileio/f1": ("attribute", "core/fileio_0/f1/attrib", ("control", "fabric_max_sectors")),
        "/iscsi/iqn.2003-01.org.test:t1/tpg1/acls/grp1": (
            "parameter",
            "iscsi/iqn.2003-01.org.test:t1/tpgt_1/acls/iqn.2003-01.org.test:i1/param",
            ("AuthMethod", "IFMarker", "MaxRecvDataSegmentLength"),
        ),
    }
    # All of them at first, since a type's files are the same as long as its module is loaded.
    for _, directory, names in places.values():
        for name in names:
            assert not (kernel.target / directory / name).exists()
            (kernel.target / directory / name).write_text("17\n")
    for place, (group, directory, names) in places.items():
        for name in names:
            file = kernel.target / directory / name
            assert kernel.type(f"{place} get {group} {name}") == f"{name}=17 \n"
            assert kernel.type(f"{place} set {group} {name}=18") == f"Parameter {name} is now '18'.\n"
            assert file.read_text().strip() == "18"
