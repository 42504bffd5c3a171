"""Every targetcli command of the guide, typed at isadmin one-shot, from a batch file, and at the prompt.

Where the guide names a device of its server, the test has a loop device or a file; where it names an address,
a loopback address. `$(...)` is expanded beforehand, as a shell does.
"""

from __future__ import annotations

import itertools
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration import guide
from tests.integration.devices import LoopDevices
from tests.integration.sandbox import Userspace
from tests.integration.terminal import Terminal

WAYS = ["one-shot", "batch", "standard-input", "repl"]
COMMANDS_IN_THE_GUIDE = 51
ADDRESS = "127.0.0.10"
PROMPT = r"^/> *$"
TARGET = "iqn.2023-01.com.example:storage1"
CLIENT = "iqn.2023-01.com.example:client1"


@dataclass(frozen=True, slots=True)
class Server:
    """What stands in for the guide's server: its devices, files and address."""

    replacements: tuple[tuple[str, str], ...]
    saved_copy: Path

    def translate(self, command: str) -> str:
        for theirs, ours in self.replacements:
            command = command.replace(theirs, ours)
        assert "$(" not in command
        return command


@pytest.fixture
def server(loop_devices: LoopDevices, tmp_path: Path) -> Server:
    image = tmp_path / "disk1.img"
    with image.open("wb") as file:
        file.truncate(10 << 30)
    saved = tmp_path / "iscsi_target_config.json"
    devices = [
        "/dev/sdb1",
        "/dev/sdb",
        "/dev/vg_data/iscsi_lv",
        "/dev/vg_data/vm_storage",
        "/dev/vg_ssd/db_data",
        "/dev/vg_data/backup_storage",
        "/dev/vg_data/cluster_storage",
    ]
    pairs = [(theirs, str(loop_devices.make(32 << 20))) for theirs in devices]
    pairs += [
        ("/var/lib/iscsi_disks/disk1.img", str(image)),
        ("192.168.1.10", ADDRESS),
        ("/root/iscsi_target_config_$(date +%Y%m%d).json", str(saved)),
    ]
    return Server(tuple(pairs), saved)


def one_shot(userspace: Userspace, commands: list[str]) -> None:
    for command in commands:
        done = userspace.isadmin(*shlex.split(command))
        assert done.returncode == 0, (command, done.stderr)


def batch(userspace: Userspace, commands: list[str], tmp_path: Path) -> None:
    script = tmp_path / "guide.isadmin"
    script.write_text("\n".join(commands) + "\n")
    done = userspace.isadmin("-f", str(script))
    assert done.returncode == 0, done.stderr


def standard_input(userspace: Userspace, commands: list[str]) -> None:
    done = userspace.isadmin(typed="\n".join(commands) + "\n")
    assert done.returncode == 0, done.stderr


def repl(userspace: Userspace, commands: list[str]) -> None:
    """Keystrokes into a pseudo-terminal; each command brings the prompt back, the last ends the shell."""
    shell = Terminal([sys.executable, "-m", "isadmin", *userspace.options], userspace.env)
    try:
        for command in commands[:-1]:
            seen = shell.command(command, PROMPT)
            assert not [line for line in seen if line.startswith("isadmin:")], seen
        assert commands[-1] == "exit"
        shell.wait_for(PROMPT)
        shell.keys("exit\r")
        assert shell.ended() == 0
    finally:
        shell.close()


@pytest.fixture(params=WAYS)
def type_in(
    request: pytest.FixtureRequest, userspace: Userspace, tmp_path: Path
) -> Callable[[list[str]], None]:
    """Type command lines at isadmin in one of the ways it is used; each must succeed."""
    ways: dict[str, Callable[[list[str]], None]] = {
        "one-shot": lambda commands: one_shot(userspace, commands),
        "batch": lambda commands: batch(userspace, commands, tmp_path),
        "standard-input": lambda commands: standard_input(userspace, commands),
        "repl": lambda commands: repl(userspace, commands),
    }
    return ways[request.param]


def commands_of(*starts: str) -> Iterator[str]:
    """The guide's commands, without the bare `targetcli` that opens the shell, from the first block with
    a line beginning with each of `starts`."""
    blocks = list(guide.blocks())
    for start in starts:
        block = next(b for b in blocks if any(c.startswith(start) for c in b.commands))
        yield from filter(None, block.commands)


PREPARE = ["/backstores/block create name=disk1", "/backstores/block create name=lvm1", "/backstores/fileio"]
BUILD = ["/iscsi create", f"/iscsi/{TARGET}/tpg1/luns create", f"/iscsi/{TARGET}/tpg1/portals delete"]
NO_AUTH = [f"/iscsi/{TARGET}/tpg1 set attribute"]
ACL = [f"/iscsi/{TARGET}/tpg1/acls create"]
CHAP = [*ACL, f"/iscsi/{TARGET}/tpg1/acls/{CLIENT} set auth"]
SAVE = ["saveconfig /root", "ls", "saveconfig"]
ALTERNATIVES = {"no-auth": NO_AUTH, "acl": ACL, "chap": CHAP}
SCENARIOS = ["vm-storage", "db-storage", "backup-storage", "cluster-storage"]


def scenario(name: str) -> list[str]:
    block = next(b for b in guide.blocks() if any(c.endswith(f":{name}") for c in b.commands))
    return [c for c in block.commands if c]


def test_every_command_of_the_guide_is_typed_here() -> None:
    everything = [command for block in guide.blocks() for command in block.commands]
    assert len(everything) == COMMANDS_IN_THE_GUIDE
    typed = set(
        itertools.chain(commands_of(*PREPARE, *BUILD, *NO_AUTH, *CHAP, *SAVE), *map(scenario, SCENARIOS))
    )
    assert {c for c in everything if c} == typed


def content(path: Path) -> str:
    return path.read_text().rstrip("\n")


def linked_device(lun: Path) -> str:
    return next(str(entry.readlink()) for entry in lun.iterdir() if entry.is_symlink()).split("/core/")[1]


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_main_flow(
    alternative: str, userspace: Userspace, server: Server, type_in: Callable[[list[str]], None]
) -> None:
    lines = list(commands_of(*PREPARE, *BUILD, *ALTERNATIVES[alternative], *SAVE))
    assert lines[-1] == "exit"
    type_in([server.translate(line) for line in lines])

    core = userspace.mount / "core"
    assert {p.name for p in core.glob("*_*/*") if p.is_dir()} == {"disk1", "part1", "lvm1", "file1"}
    assert f"Size: {10 << 30} " in content(next(core.glob("fileio_*/file1")) / "info")
    tpg = userspace.mount / "iscsi" / TARGET / "tpgt_1"
    assert content(tpg / "enable") == "1"
    assert [p.name for p in (tpg / "np").iterdir()] == [f"{ADDRESS}:3260"]
    assert [p.name for p in (tpg / "lun").iterdir()] == ["lun_0"]
    assert linked_device(tpg / "lun" / "lun_0").endswith("/disk1")
    attributes = {name: content(tpg / "attrib" / name) for name in ("authentication", "generate_node_acls")}
    if alternative == "no-auth":
        assert attributes == {"authentication": "0", "generate_node_acls": "1"}
        assert content(tpg / "attrib" / "demo_mode_write_protect") == "0"
        assert not list((tpg / "acls").iterdir())
    else:
        acl = tpg / "acls" / CLIENT
        assert linked_mapping(acl) == {"lun_0": "lun_0"}
        expected = (
            ("user", "secret", "targetuser", "targetsecret") if alternative == "chap" else ("", "", "", "")
        )
        names = ("userid", "password", "userid_mutual", "password_mutual")
        assert tuple(content(acl / "auth" / name) for name in names) == expected

    for saved in (server.saved_copy, userspace.state / "saveconfig.json"):
        document = json.loads(saved.read_text())
        assert {so["name"] for so in document["storage_objects"]} == {"disk1", "part1", "lvm1", "file1"}
        assert [t["wwn"] for t in document["targets"]] == [TARGET]
        assert saved.stat().st_mode & 0o777 == 0o600


def linked_mapping(acl: Path) -> dict[str, str]:
    """Mapped LUN -> the TPG's LUN that it shows."""
    return {
        mapped.name: str(link.readlink()).rsplit("/", 1)[1]
        for mapped in acl.glob("lun_*")
        for link in mapped.iterdir()
        if link.is_symlink()
    }


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(
    name: str, userspace: Userspace, server: Server, type_in: Callable[[list[str]], None]
) -> None:
    type_in([server.translate(line) for line in scenario(name)])
    tpg = userspace.mount / "iscsi" / f"iqn.2023-01.com.example:{name}" / "tpgt_1"
    assert [p.name for p in (tpg / "np").iterdir()] == ["0.0.0.0:3260"]
    clients = {
        "vm-storage": {"esxi1", "esxi2"},
        "db-storage": {"dbserver"},
        "backup-storage": {"backupserver"},
        "cluster-storage": {"node1", "node2"},
    }[name]
    assert {p.name.rsplit(":", 1)[1] for p in (tpg / "acls").iterdir()} == clients
    for acl in (tpg / "acls").iterdir():
        assert linked_mapping(acl) == {"lun_0": "lun_0"}
    document = json.loads((userspace.state / "saveconfig.json").read_text())
    assert [t["wwn"] for t in document["targets"]] == [tpg.parent.name]


def test_short_secret_is_accepted_with_a_warning(userspace: Userspace, server: Server) -> None:
    one_shot(userspace, [server.translate(c) for c in commands_of(*PREPARE, *BUILD, *ACL)])
    line = next(commands_of(f"/iscsi/{TARGET}/tpg1/acls/{CLIENT} set auth"))
    done = userspace.isadmin(*shlex.split(line))
    assert done.returncode == 0
    assert "12" in done.stderr
    assert "authentication=1" in done.stderr
    assert "=secret" not in done.stdout + done.stderr


def test_sole_argument_is_parsed_as_a_line(userspace: Userspace) -> None:
    done = userspace.isadmin(f"/iscsi create {TARGET}")
    assert done.returncode == 0, done.stderr
    assert (userspace.mount / "iscsi" / TARGET / "tpgt_1" / "np" / "0.0.0.0:3260").is_dir()


def test_listing_says_what_listens(userspace: Userspace, server: Server) -> None:
    one_shot(userspace, [server.translate(c) for c in commands_of(*PREPARE, *BUILD)])
    listeners = subprocess.run(["ss", "-Htnl"], check=True, capture_output=True, text=True).stdout
    assert f"{ADDRESS}:3260" in listeners
    assert "0.0.0.0:3260" not in listeners
