"""The completion scripts in the shells they are for."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from isadmin.cli import OPTIONS
from isadmin.docs import tables
from tests.docs.shells import COMPLETIONS, Terminal, fish

IQN = "iqn.2003-01.org.test:t1"
TPG = f"/iscsi/{IQN}/tpg1"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a target of plain directories, t/target, and a file."""
    directory = tmp_path_factory.mktemp("home")
    tpg = f"iscsi/{IQN}/tpgt_1"
    for name in ("core/rd_mcp_0/ram", "core/fileio_0/disk one", f"{tpg}/lun/lun_0", f"{tpg}/acls"):
        directory.joinpath("t/target", name).mkdir(parents=True)
    directory.joinpath("some-batch").touch()
    return directory


@pytest.fixture(scope="module", params=["bash", "zsh"])
def terminal(home: Path, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    made = Terminal(request.param, home)
    yield made
    made.close()


HERE = "--configfs t/target "


@pytest.mark.parametrize(
    ("typed", "last"),
    [
        ("--show", "--show-secrets"),
        ("--output j", "json"),
        ("--output=j", "--output=json"),
        ("--configfs t/tar", "t/target/"),
        ("-f some", "some-batch"),
        ("users", "userspace"),
        ("userspace sto", "stop"),
        ("userspace start --em", "--empty"),
        ("userspace status --output j", "json"),
        ("saveco", "saveconfig"),
        (f"{HERE}/isc", "/iscsi/"),
        (f"{HERE}/iscsi/iqn", f"/iscsi/{IQN}/"),
        (f"{HERE}/iscsi/{IQN[:-1]}", f"/iscsi/{IQN}/"),
        (f"{HERE}{TPG}/l", f"{TPG}/luns/"),
        (f"{HERE}{TPG}/luns cr", "create"),
        (f"{HERE}{TPG}/luns create stor", "storage_object="),
        (f"{HERE}{TPG}/luns create storage_object=/backstores/r", "storage_object=/backstores/ramdisk/ram"),
        (f"{HERE}/backstores/fileio delete di", "disk one"),
        (f"{HERE}/backstores/fileio delete 'di", "disk one"),
    ],
)
def test_tab_completes(terminal: Terminal, typed: str, last: str) -> None:
    assert terminal.completed(typed)[-1] == last


def test_tab_lists_all_options(terminal: Terminal) -> None:
    listing = terminal.listed("--")
    for option in OPTIONS:
        assert [name for name in option.names if name in listing]


def test_tab_lists_places_and_commands(terminal: Terminal) -> None:
    listing = terminal.listed(f"{HERE}/iscsi ")
    for command in ("create", "delete", "get", "info", "set"):
        assert command in listing


def test_fish_offers(home: Path) -> None:
    def offered(typed: str) -> list[str]:
        return sorted(fish(home, typed))

    assert fish(home, f"{HERE}/isc") == {"/iscsi/": "Targets: 1"}
    assert offered(f"{HERE}/iscsi/{IQN[:-1]}") == [f"/iscsi/{IQN}/"]
    assert offered(f"{HERE}{TPG}/luns create storage_object=/backstores/r") == [
        "storage_object=/backstores/ramdisk/ram"
    ]
    assert offered(f"{HERE}/backstores/fileio delete di") == ["disk one"]
    assert offered("--show") == ["--show-secrets"]
    assert offered("--output ") == ["json", "text"]
    assert offered("-f some") == ["some-batch"]
    assert offered("--configfs t/t") == ["t/target/"]
    assert offered("users") == ["userspace"]
    assert offered("userspace st") == ["start", "status", "stop"]
    assert offered("userspace start --e") == ["--empty"]
    assert offered("userspace status --output j") == ["json"]


def test_fish_tells_meanings(home: Path) -> None:
    meanings = {name: option.meaning for option in OPTIONS for name in option.names}
    offered = fish(home, "--")
    assert {name: offered[name] for name in meanings if name.startswith("--")} == {
        name: meaning for name, meaning in meanings.items() if name.startswith("--")
    }
    actions = {action.name: action.meaning for action in tables.userspace_actions()}
    assert fish(home, "userspace ") == actions


def test_the_bash_script_is_clean() -> None:
    done = subprocess.run(
        ["shellcheck", COMPLETIONS / "isadmin.bash"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(("name", "script"), [("zsh", "_isadmin"), ("fish", "isadmin.fish")])
def test_the_other_scripts_can_be_read(name: str, script: str) -> None:
    subprocess.run([name, "-n", COMPLETIONS / script], check=True)
