"""A command imports only what it uses: that is most of the time that a short one takes. isadmin/light.py says
how modules do without what is heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lio.kernel_tree import make_tree

PROGRAM = """
import os, sys
before = set(sys.modules)
import isadmin.cli
if sys.argv[1]:
    import isadmin.lio.host
    isadmin.lio.host.KERNEL = sys.argv[1]
status = isadmin.cli.main(sys.argv[2:])
sys.stderr.write(" ".join(sorted(set(sys.modules) - before)))
sys.exit(status)
"""
"""Says on standard error what a command imported, beside what any Python program has."""
HEAVY = {
    "argparse",
    "asyncio",
    "configshell",
    "configshell.node",
    "dataclasses",
    "enum",
    "inspect",
    "ipaddress",
    "json",
    "mfusepy",
    "pathlib",
    "prompt_toolkit",
    "pyudev",
    "re",
    "rtslib",
    "socket",
    "subprocess",
    "tomllib",
    "typing",
    "urllib",
    "uuid",
}
"""Libraries that take longer to import than ten disks to list."""


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All kinds of storage objects, iSCSI, loopback and vhost."""
    return make_tree("44", tmp_path_factory.mktemp("start"))


def imported(target: Path | None, *words: str) -> set[str]:
    """The modules that a command imports which is given a kernel's target."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, str(target or ""), *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    return set(done.stderr.split())


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_telling_the_version_needs_next_to_nothing(option: str) -> None:
    ours = {name for name in imported(None, option) if name.startswith("isadmin")}
    assert ours == {"isadmin", "isadmin.cli", "isadmin.errors", "isadmin.light"}


@pytest.mark.parametrize(
    "words", [("--version",), ("pwd",), ("ls",), ("ls", "/iscsi"), ("/backstores", "ls")]
)
def test_looking_needs_no_heavy_library(target: Path, words: tuple[str, ...]) -> None:
    assert HEAVY & imported(target, *words) == set()


def test_listing_needs_nothing_of_changing_saving_or_typing(target: Path) -> None:
    unused = {
        "isadmin.config.document",
        "isadmin.config.store",
        "isadmin.lio.apply",
        "isadmin.lio.attributes",
        "isadmin.lio.library",
        "isadmin.lio.locks",
        "isadmin.lio.rehearsal",
        "isadmin.lio.steps",
        "isadmin.lio.storage",
        "isadmin.lio.write",
        "isadmin.shell.plans",
        "isadmin.shell.repl",
        "isadmin.userspace.control",
    }
    assert unused & imported(target, "ls") == set()
