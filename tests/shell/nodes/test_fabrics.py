"""The fabrics whose targets are hardware ports, on a directory in configfs' place: there is no such hardware
here. What the kernel makes by itself in a new portal group is not there."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from isadmin.errors import IsadminError
from isadmin.lio.fabrics import FABRICS, Fabric
from isadmin.lio.host import Host
from isadmin.shell.session import Session

pytestmark = pytest.mark.filterwarnings("ignore:Will be removed in 1.0:DeprecationWarning")

PORTS = {
    "naa": ["naa.2100000e1e000001", "naa.2100000e1e000002"],
    "ib": [f"ib.{1:032x}", f"ib.{2:032x}"],
    "eui": ["eui.0123456789abcde1", "eui.0123456789abcde2"],
    "free": ["30000001", "30000002"],
}
HARDWARE = [fabric for fabric in FABRICS if fabric.hardware]


class World:
    def __init__(self, directory: Path) -> None:
        self.target = directory / "target"
        (self.target / "core").mkdir(parents=True)
        self.out, self.err = io.StringIO(), io.StringIO()
        host = Host("given", self.target, None, directory / "run")
        self.session = Session(host, out=self.out, err=self.err)

    def run(self, line: str) -> str:
        self.out.truncate(self.out.seek(0))
        self.session.run_line(line)
        return self.out.getvalue()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A host that has two ports of each kind."""
    monkeypatch.setattr(Fabric, "ports", lambda self: PORTS[self.wwn_types[0]] if self.hardware else None)
    return World(tmp_path)


@pytest.mark.parametrize("fabric", HARDWARE, ids=lambda fabric: fabric.name)
def test_ports_become_targets_one_after_the_other(fabric: Fabric, world: World) -> None:
    (world.target / fabric.dirname).mkdir()
    first, second = PORTS[fabric.wwn_types[0]]
    assert world.run(f"/{fabric.name} create").startswith(f"Created target {first}.")
    assert (world.target / fabric.dirname / fabric.wwn_directory(first) / "tpgt_1").is_dir()
    assert world.run(f"/{fabric.name} create").startswith(f"Created target {second}.")
    with pytest.raises(IsadminError, match="All ports"):
        world.run(f"/{fabric.name} create")
    with pytest.raises(IsadminError, match="exists"):
        world.run(f"/{fabric.name} create {first}")
    listed = world.run(f"ls /{fabric.name}")
    assert [line.split()[1] for line in listed.splitlines() if line.startswith("  o-")] == [first, second]
    assert "[Targets: 2]" in listed
    assert world.run(f"/{fabric.name}/{first} pwd") == f"/{fabric.name}/{first}\n"
    world.run(f"/{fabric.name} delete {first}")
    assert world.run(f"/{fabric.name} status") == f"Status for /{fabric.name}: Targets: 1\n"
    assert world.err.getvalue() == ""


@pytest.mark.parametrize("fabric", HARDWARE, ids=lambda fabric: fabric.name)
def test_its_ports_and_features_are_told(fabric: Fabric, world: World) -> None:
    told = world.run(f"/{fabric.name} info")
    assert f"Allowed WWNs list: {', '.join(PORTS[fabric.wwn_types[0]])}\n" in told
    assert f"Fabric module features: {', '.join(fabric.features)}\n" in told
    assert f"Corresponding kernel module: {fabric.kernel_module}\n" in told


def test_a_name_without_hardware_is_warned_of(world: World) -> None:
    (world.target / "qla2xxx").mkdir()
    world.run("/qla2xxx create naa.2100000e1e000009")
    assert world.err.getvalue() == "warning: Hardware missing for this WWN\n"


def test_without_hardware_there_is_no_such_place(tmp_path: Path) -> None:
    world = World(tmp_path)
    shown = world.run("ls / 1")
    there = {line.split()[1] for line in shown.splitlines() if line.startswith("  o-")}
    assert there == {"backstores", *(fabric.name for fabric in FABRICS if fabric.available())}
    assert {"iscsi", "loopback", "vhost", "xen-pvscsi"} <= there


@pytest.mark.parametrize("name", ["loopback", "vhost", "xen-pvscsi"])
def test_software_fabrics_make_up_names(name: str, world: World) -> None:
    (world.target / name).mkdir()
    said = world.run(f"/{name} create --dry-run")
    assert f"+ /{name}/naa.5001405" in said
    assert not list((world.target / name).iterdir())
