"""`--dry-run` at every command that changes the target: what it prints is what the command does, and it does
nothing.

The commands are found in the tree, not listed here: a new one without an example fails the test, and each
value of each group is set.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from isadmin.config import diff
from isadmin.config.model import Flat
from isadmin.errors import IsadminError
from isadmin.lio import saved
from isadmin.lio.attributes import find
from isadmin.lio.host import Host
from isadmin.shell import plans
from isadmin.shell.language import Command, quote
from isadmin.shell.node import Node
from isadmin.shell.nodes.base import ObjectNode
from isadmin.shell.preferences import Preferences
from isadmin.shell.session import Session
from tests.integration.devices import LoopDevices
from tests.integration.sandbox import Userspace
from tests.integration.walk import contents

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:Will be removed in 1.0:DeprecationWarning"),
]

IQN = "iqn.2003-01.org.test:dry"
TPG = f"/iscsi/{IQN}/tpg1"
ONE, TWO = f"{IQN}:one", f"{IQN}:two"
NAA = "naa.5001405000000001"
MADE_UP = re.compile(r"iqn\.2003-01\.org\.linux-iscsi\.\S+?:sn\.[0-9a-f]{12}|naa\.5001405[0-9a-f]{9}")

SETUP = f"""
/backstores/fileio create used {{tmp}}/used.img 1M
/backstores/fileio create idle {{tmp}}/idle.img 1M
/backstores/ramdisk create memory 1M
/backstores/block create device {{loop}}
/backstores/ramdisk/memory/alua create group 7
/iscsi create {IQN}
{TPG}/luns create /backstores/fileio/used
{TPG}/luns create /backstores/ramdisk/memory
{TPG}/luns/lun1 set alua alua_tg_pt_gp_name=group
{TPG}/acls create {ONE}
{TPG}/acls create {TWO} add_mapped_luns=false
{TPG}/acls/{TWO} create 5 lun1
{TPG}/acls tag {TWO} nickname
/loopback create {NAA}
/vhost create naa.5001405000000002
"""

EXAMPLES: dict[tuple[str, str], list[str]] = {
    ("FileioBackstore", "create"): [
        "/backstores/fileio create new {tmp}/new.img 2M",
        "/backstores/fileio create new {tmp}/new.img 2M sparse=false write_back=false",
        "/backstores/fileio create new {spare}",
    ],
    ("FileioBackstore", "delete"): [
        "/backstores/fileio delete idle",
        "/backstores/fileio delete used",
        "/backstores/fileio delete idle save=true",
    ],
    ("BlockBackstore", "create"): ["/backstores/block create new {spare} readonly=true"],
    ("BlockBackstore", "delete"): ["/backstores/block delete device"],
    ("RamdiskBackstore", "create"): [
        "/backstores/ramdisk create new 10k",
        "/backstores/ramdisk create new 1M nullio=true",
    ],
    ("RamdiskBackstore", "delete"): ["/backstores/ramdisk delete memory"],
    ("PortGroups", "create"): ["/backstores/fileio/idle/alua create other 9"],
    ("PortGroups", "delete"): ["/backstores/ramdisk/memory/alua delete group"],
    ("FabricNode", "create"): ["/iscsi create", f"/iscsi create {IQN}2", "/loopback create", "/vhost create"],
    ("FabricNode", "delete"): [f"/iscsi delete {IQN}", f"/loopback delete {NAA}"],
    ("StorageObjectNode", "resize"): [
        "/backstores/fileio/used resize 2M",
        "/backstores/fileio/idle resize 512k",
    ],
    ("StorageObjectNode", "rename"): ["/backstores/fileio/idle rename other"],
    ("TargetNode", "rename"): [f"/iscsi/{IQN} rename {IQN}-renamed"],
    ("SingleTpgTarget", "rename"): [f"/loopback/{NAA} rename naa.5001405000000009"],
    ("TargetNode", "create"): [f"/iscsi/{IQN} create", f"/iscsi/{IQN} create 7"],
    ("TargetNode", "delete"): [f"/iscsi/{IQN} delete tpg1"],
    ("TpgNode", "disable"): [f"{TPG} disable"],
    ("Luns", "create"): [
        f"{TPG}/luns create /backstores/fileio/idle",
        f"{TPG}/luns create /backstores/fileio/idle lun=9 add_mapped_luns=false",
        f"{TPG}/luns create {{spare}}",
        f"/loopback/{NAA}/luns create /backstores/fileio/idle",
    ],
    ("Luns", "delete"): [f"{TPG}/luns delete lun1", f"{TPG}/luns delete 0"],
    ("Acls", "create"): [f"{TPG}/acls create {IQN}:three"],
    ("Acls", "delete"): [f"{TPG}/acls delete {ONE}"],
    ("Acls", "tag"): [f"{TPG}/acls tag {ONE} alone", f"{TPG}/acls tag {ONE} nickname"],
    ("Acls", "untag"): [f"{TPG}/acls untag nickname"],
    ("AclNode", "create"): [
        f"{TPG}/acls/nickname create 3 lun0 write_protect=1",
        f"{TPG}/acls/{ONE} create 8 /backstores/fileio/idle",
    ],
    ("AclNode", "delete"): [f"{TPG}/acls/{ONE} delete mapped_lun1"],
    ("Portals", "create"): [f"{TPG}/portals create 127.0.0.1 3261", f"{TPG}/portals create ::1 3262"],
    ("Portals", "delete"): [f"{TPG}/portals delete 0.0.0.0 3260"],
    ("Root", "clearconfig"): ["clearconfig confirm=true"],
}
"""(kind of node, command) -> lines that change something."""

NOTHING_TO_CHANGE = {
    ("TpgNode", "enable"): "has a test of its own",
    ("PortalNode", "enable_iser"): "needs an adapter: the file is not there",
    ("PortalNode", "enable_offload"): "needs an adapter: the file is not there",
    ("SingleTpgTarget", "enable"): "portal groups of loopback are always on",
    ("SingleTpgTarget", "disable"): "portal groups of loopback are always on",
    ("PscsiBackstore", "create"): "the userspace target has no SCSI devices to pass through to",
    ("PscsiBackstore", "delete"): "the userspace target has no SCSI devices to pass through to",
    ("Root", "apply"): "has its own tests",
    ("Root", "restoreconfig"): "has its own tests",
    ("Root", "undo"): "has its own tests",
}
"""(kind of node, command) -> why no example changes something."""


class World:
    """A session on a rich configuration, which each test finds as it was."""

    def __init__(self, host: Host, tmp: Path, loops: LoopDevices) -> None:
        self.out = io.StringIO()
        self.tmp = tmp
        self.places = {"tmp": str(tmp), "loop": str(loops.make(1 << 20)), "spare": str(loops.make(1 << 20))}
        self.session = Session(host, Preferences(), out=self.out, err=io.StringIO(), assume_yes=True)
        for line in SETUP.strip().splitlines():
            self.run(line)
        self.run("saveconfig")
        self.before = self.running()

    def run(self, line: str) -> str:
        self.out.truncate(self.out.seek(0))
        self.session.run_line(line.format(**self.places))
        return self.out.getvalue()

    def running(self) -> Flat:
        return plans.running(self.session)

    def files(self) -> dict[str, str]:
        """The tree, and everything that a command could write besides it."""
        state = {
            str(path): path.read_bytes().hex()
            for place in (self.session.host.state, self.tmp)
            if place is not None
            for path in sorted(place.rglob("*"))
            if path.is_file() and path.suffix != ".img"
        }
        images = {str(path): str(path.stat().st_size) for path in self.tmp.glob("*.img")}
        return contents(self.session.host.path) | state | images

    def put_back(self, after: Flat | None = None) -> None:
        """Make everything as it was, from what it is."""
        saved.carry_out(self.session.host, diff.exact(after or self.running(), self.before).changes)
        for image in self.tmp.glob("new*"):
            image.unlink()


@pytest.fixture(scope="module")
def rich(module_userspace: Userspace, module_loop_devices: LoopDevices, module_tmp: Path) -> World:
    host = module_userspace.host
    directory = module_tmp / "files"
    directory.mkdir()
    return World(host, directory, module_loop_devices)


def every_node(node: Node) -> Iterator[Node]:
    yield node
    for child in node.sorted_children():
        yield from every_node(child)


def changing(node: Node) -> Iterator[str]:
    return (name for name in node.list_commands() if node.changes(Command("", name)))


def test_every_changing_command_has_an_example(rich: World) -> None:
    found = {(type(node).__name__, name) for node in every_node(rich.session.root) for name in changing(node)}
    found -= {(kind, "set") for kind, _ in found}
    assert found == EXAMPLES.keys() | NOTHING_TO_CHANGE.keys()


def rehearsed(rich: World, line: str) -> str:
    """What a dry run of a command says."""
    return MADE_UP.sub("<made up>", rich.run(f"{line} --dry-run")).strip()


def done(rich: World, line: str) -> str:
    """What the command does, in the words of a difference; it is taken back. Raises IsadminError."""
    rich.run(line)
    after = rich.running()
    rich.put_back(after)
    if "save=" in line:
        rich.run("saveconfig")
    plan = diff.exact(rich.before, after)
    lines = plans.described(plan, rich.session.paint(), show_secrets=False)
    return MADE_UP.sub("<made up>", "\n".join(lines)).strip()


@pytest.mark.parametrize("name", EXAMPLES, ids=" ".join)
def test_says_what_the_command_does_and_does_nothing(rich: World, name: tuple[str, str]) -> None:
    files = rich.files()
    said = {line: rehearsed(rich, line) for line in EXAMPLES[name]}
    assert rich.files() == files
    assert said == {line: done(rich, line) for line in EXAMPLES[name]}
    assert all(said.values())


def test_enable(rich: World) -> None:
    rich.run(f"{TPG} disable")
    assert rehearsed(rich, f"{TPG} enable") == f"~ {TPG}\n    enable"
    assert rich.running() != rich.before
    rich.put_back()


PLACES = [
    "/backstores/fileio/idle",
    "/backstores/ramdisk/memory/alua/group",
    "/iscsi",
    TPG,
    f"{TPG}/luns/lun1",
    f"{TPG}/acls/{ONE}",
    f"{TPG}/acls/nickname",
]


def other_value(node: ObjectNode, group: str, name: str) -> str:
    """One that a parameter could have in the place of the one it has."""
    now = str(node.shown_value(group, name))
    entry = None if group == "discovery_auth" else find(node.owner, group, name)
    choices = [one for one in (entry.choices if entry else ()) if one != now]
    if choices:
        return choices[0]
    if group == "alua" and name == "alua_tg_pt_gp_name":
        return "default_tg_pt_gp"
    if now in ("True", "False"):
        return str(int(now == "False"))
    if re.fullmatch(r"-?[0-9]+", now):
        number = int(now)
        return str(1 - number if number in (0, 1) else number - 1)
    return "some text"


@pytest.mark.parametrize("place", PLACES)
def test_says_what_set_does_with_each_value(rich: World, place: str) -> None:
    node = rich.session.root.get_node(place)
    assert isinstance(node, ObjectNode)
    lines = [
        f"{place} set {group} {name}={quote(other_value(node, group, name))}"
        for group in node.list_config_groups()[1:]
        for name in node.list_group_params(group, writable=True)
    ]
    files = rich.files()
    said: dict[str, str] = {}
    for line in lines:
        with suppress(IsadminError):
            said[line] = rehearsed(rich, line)
    assert rich.files() == files
    changed = 0
    for line in lines:
        try:
            did = done(rich, line)
        except IsadminError:
            continue
        if "emulate_write_cache" in line:
            # In place it can be set; a whole configuration is made so by making the object again.
            assert said[line].endswith("attributes emulate_write_cache: 1 -> 0")
            assert "write_back cannot be changed in place" in did
            continue
        if place == "/iscsi" and "enable=" not in line:
            # A configuration holds them only where they are demanded.
            assert said[line].startswith("~ /iscsi\n    discovery ")
            assert not did
        else:
            assert said[line] == (did or "No change"), line
            changed += bool(did)
    assert changed >= len(lines) * 0.6 or place == "/iscsi"


def test_what_would_be_refused_is_refused(rich: World) -> None:
    for line in (
        "/backstores/fileio/used set attribute block_size=4096",
        "/backstores/fileio create used {tmp}/other.img 1M",
        f"{TPG}/luns create /backstores/fileio/used",
        f"{TPG}/portals create 127.0.0.1 3260",
        "/backstores/fileio delete nobody",
    ):
        with pytest.raises(IsadminError):
            rich.run(f"{line} --dry-run")
        assert rich.running() == rich.before


def test_where_nothing_is_changed_there_is_no_such_option(rich: World) -> None:
    for line in (
        "ls --dry-run",
        "set global color_mode=true --dry-run",
        "saveconfig --dry-run",
        "/backstores/fileio/used saveconfig --dry-run",
        "get global --dry-run",
    ):
        with pytest.raises(IsadminError, match="--dry-run"):
            rich.run(line)


def test_the_option_can_stand_before_the_command(rich: World, module_userspace: Userspace) -> None:
    file = str(module_userspace.state / "saveconfig.json")
    for words in (
        ["/backstores/fileio", "delete", "used"],
        [f"{TPG} set attribute login_timeout=20"],
        ["restoreconfig", file, "clear_existing=true"],
        ["apply", file],
    ):
        said = module_userspace.isadmin("--dry-run", *words)
        assert said.returncode == 0, said.stderr
        behind = f"{words[0]} --dry-run".split() if len(words) == 1 else [*words, "--dry-run"]
        assert said.stdout == module_userspace.isadmin(*behind).stdout != ""
        assert module_userspace.isadmin("--dry-run", *behind).stdout == said.stdout
        assert rich.running() == rich.before
    for words in (["ls"], ["/backstores/fileio/used", "saveconfig"], ["-c", "ls"]):
        assert module_userspace.isadmin("--dry-run", *words).returncode == 2


def test_says_whose_session_would_end(module_userspace: Userspace) -> None:
    done = module_userspace.isadmin("--output", "json", "/backstores/fileio", "delete", "used", "--dry-run")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [change["change"] for change in said["changes"]] == ["unmap", "delete", "delete"]
    assert said["sessions"] == []
    assert said["same"] is False
