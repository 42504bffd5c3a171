"""The table of all that targetcli 3.0 can be told is complete, isadmin takes the same, and each is tested."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from isadmin.lio.attributes import TABLES
from isadmin.shell.preferences import TABLE as PREFERENCES
from isadmin.shell.preferences import show_value
from tests.compatibility.same import DRIVER, PYTHON
from tests.compatibility.scenarios import SCENARIOS
from tests.compatibility.table import ABSTRACT, NODES, ROWS, Row

ROOT = Path(__file__).parents[2]

Arguments = dict[tuple[str, str], list[tuple[str, str | None]]]

NEW_IN_3 = {("UIBlockBackstore", "create", "exclusive")}
SAVEFILE = re.compile(r"/etc/[\w-]+/saveconfig.json")
"""Debian's targetcli before 3.0 keeps it in a directory of another name."""

OWN_DEFAULTS = {
    ("restoreconfig", "clear_existing"): "None, which means false",
    ("restoreconfig", "savefile"): "None, which means the target's own",
    ("saveconfig", "savefile"): "None, which means the target's own",
}


def arguments_in_table() -> Arguments:
    found: Arguments = {}
    for row in ROWS:
        if row.kind == "command":
            arguments = found.setdefault((row.node, row.name), [])
            if row.detail:
                arguments.append(row.argument)
    return found


@cache
def arguments_of_targetcli() -> Arguments:
    """What the classes of Debian's targetcli say of themselves."""
    done = subprocess.run([PYTHON, str(DRIVER), "classes"], check=True, capture_output=True, text=True)
    classes = json.loads(done.stdout)
    everywhere = set(classes["UINode"])
    return {
        (node, command): [(name, default) for name, default in arguments]
        for node, commands in classes.items()
        if node not in ABSTRACT
        for command, arguments in commands.items()
        if node == "UINode" or command not in everywhere
    }


def test_it_has_all_that_targetcli_says_of_itself() -> None:
    def as_in_3(arguments: Arguments) -> Arguments:
        return {
            place: [
                (name, default and SAVEFILE.sub("SAVEFILE", default))
                for name, default in given
                if (*place, name) not in NEW_IN_3
            ]
            for place, given in arguments.items()
        }

    assert as_in_3(arguments_in_table()) == as_in_3(arguments_of_targetcli())


@pytest.mark.parametrize("place", arguments_in_table(), ids="-".join)
def test_commands_take_the_same_arguments(place: tuple[str, str]) -> None:
    node, command = place
    theirs = arguments_in_table()[place]
    for kind in NODES.values() if node == "UINode" else [NODES[node]]:
        assert callable(getattr(kind, f"ui_command_{command}"))
        ours = [
            (str(p).partition(":")[0], None if p.default is p.empty else str(p.default))
            for p in kind.signature(kind.__new__(kind), command)
        ]
        for (their_name, their_default), (name, default) in zip(theirs, ours, strict=False):
            assert name == their_name
            if (command, name) in OWN_DEFAULTS:
                assert default == "None"
            else:
                assert default == their_default
        assert len(ours) >= len(theirs)
        assert all(default is not None for _, default in ours[len(theirs) :]), "it must not be needed"


OWNERS = {
    "UIFileioStorageObject": "storage_object",
    "UIALUATargetPortGroup": "port_group",
    "UIFabricModule": "fabric",
    "UITPG": "tpg",
    "UINodeACL": "node_acl",
    "UILUN": "lun",
}
GROUPS = [row for row in ROWS if row.kind == "group"]


@pytest.mark.parametrize("row", GROUPS, ids=lambda row: f"{row.node}-{row.name}-{row.detail}")
def test_groups_have_the_same_parameters(row: Row) -> None:
    name, type_, *read_only = row.detail.split()
    entry = TABLES[OWNERS[row.node], row.name].get(name)
    if entry is None:
        assert row.test.endswith("test_attributes_of_other_kernels"), f"{name} is no attribute of kernel 6.1"
        return
    # What is text to targetcli may be known better here: a number, or Yes and No.
    assert entry.type == type_ or type_ == "string" or not entry.writable
    if read_only:
        assert not entry.writable


def test_preferences_are_kept_by_name_and_default() -> None:
    ours = {name: show_value(one, one.default) for name, one in PREFERENCES.items()}
    for row in (row for row in ROWS if row.kind == "preference"):
        # targetcli's own "debug9" is no level: it makes it "debug".
        shown = {"debug9": "debug", "none": "n/a"}.get(row.detail, row.detail)
        assert ours[row.name] == (shown.lower() if shown in ("True", "False") else shown), row.name


@cache
def functions(file: str) -> dict[str, ast.FunctionDef]:
    """A test file's functions."""
    module = ast.parse((ROOT / file).read_text())
    return {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("test", sorted({row.test for row in ROWS}))
def test_the_covering_test_is_there_and_runs(test: str) -> None:
    found = re.fullmatch(r"(tests/[\w/]+\.py)::(test_\w+)(?:\[(.+)\])?", test)
    assert found, test
    file, name, parameter = found.groups()
    function = functions(file)[name]
    assert not any(
        "skip" in ast.unparse(mark) or "xfail" in ast.unparse(mark) for mark in function.decorator_list
    )
    if parameter is not None:
        assert file == "tests/compatibility/test_same_as_targetcli.py"
        assert parameter in SCENARIOS


def test_every_node_has_a_line_in_ls() -> None:
    lines = {row.node for row in ROWS if row.kind == "ls"}
    assert lines >= {row.node for row in ROWS if row.kind == "command"}


def test_no_row_is_there_twice() -> None:
    assert len({row[:4] for row in ROWS}) == len(ROWS)
