"""Bad input for every command there is, made up from its parameters: each is refused in one line, with a
documented exit status, and nothing is changed. New commands come in by themselves.

A value that some parameter does take is stated in TAKES, with the reason: then only the one line of an error,
if there is one, is looked at, and what it did is taken back.
"""

from __future__ import annotations

import inspect
import io
import signal
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pytest

from isadmin import cli, errors
from isadmin.lio.host import Host
from isadmin.shell.node import Node
from isadmin.shell.preferences import Bookmarks, Preferences
from isadmin.shell.session import Session
from tests.integration.devices import LoopDevices
from tests.integration.sandbox import Userspace
from tests.integration.walk import contents

pytestmark = [
    pytest.mark.integration,
    # rtslib calls pyudev by names that pyudev no longer likes.
    pytest.mark.filterwarnings("ignore:Will be removed in 1.0:DeprecationWarning"),
]

TARGET = "iqn.2003-01.org.test:bad"
TPG = f"/iscsi/{TARGET}/tpg1"
CLIENT = "iqn.2003-01.org.test:client"

STATUSES = {
    kind.status
    for kind in vars(errors).values()
    if inspect.isclass(kind) and issubclass(kind, errors.IsadminError)
}
USAGE = errors.UsageError.status
SECONDS = 20
"""How long one command may take; the limit only ends a run that hangs."""

VALUES = {
    "empty": "",
    "blank": " ",
    "huge": "x" * 100_000,
    "unicode": "d\u00efsk-\u78c1\u76d8-\U0001f4be",
    "control": "a\x01\x1b[31mb",
    "negative": "-1",
    "fraction": "1.5",
    "long number": "9" * 50,
    "option": "--no-such-option",
    "dash": "-",
    "dashes": "--",
    "above": "../..",
    "root": "/",
    "nowhere": "/no/such/place",
    "wildcard": "*",
    "bookmark": "@nosuch",
    "quote": "'\"",
    "list": "a,b;c|d",
    "json": '{"a": [1]}',
}

PLAUSIBLE = {
    "name": "new",
    "size": "1M",
    "file_or_dev": "new.img",
    "tag": "7",
    "storage_object": "/backstores/ramdisk/r2",
    "lun": "5",
    "mapped_lun": "5",
    "tpg_lun_or_backstore": "lun0",
    "ip_address": "127.0.0.1",
    "ip_port": "3299",
    "wwn_or_tag": CLIENT,
    "new_tag": "new",
    "boolean": "false",
}
"""What the other parameters that must be given are given."""

NAMES = frozenset(VALUES) - {
    "empty",
    "blank",
    "huge",
    "control",
    "above",
    "root",
    "nowhere",
    "wildcard",
    "json",
}
FILES = frozenset(VALUES) - {"huge", "above", "root", "nowhere"}
TAKES: dict[str, frozenset[str]] = {
    # Printable words without / and * are names.
    "RamdiskBackstore create name": NAMES,
    "PortGroups create name": NAMES,
    # Serial numbers are ASCII; none is as good as not given.
    "RamdiskBackstore create wwn": frozenset(VALUES) - {"unicode", "control", "huge"},
    # Nothing is as good as not given.
    "Root diff file": frozenset({"empty"}),
    "Root restoreconfig savefile": frozenset({"empty"}),
    "Root restoreconfig target": frozenset({"empty"}),
    "Root restoreconfig storage_object": frozenset({"empty"}),
    # They lead to the root.
    "Root cd path": frozenset({"empty", "above", "root"}),
    "Root ls path": frozenset({"empty", "above", "root"}),
    # Files can have nearly any name.
    "Root saveconfig savefile": FILES,
    "StorageObjectNode saveconfig savefile": FILES,
}
"""Parameter -> the values that are no bad input for it, and why. All others are."""


_NO_NUMBERS = frozenset({"huge", "unicode", "fraction", "option", "list"})
KINDS = {
    "number": _NO_NUMBERS,
    "yesno": _NO_NUMBERS | {"empty"},
    "string": frozenset({"huge"}),
    "preference": frozenset({"huge", "control", "option", "json"}),
}
"""Type of a setting -> values that none of that type takes."""
UNUSED = {"logfile": "kept for targetcli's scripts, whatever it is"}


class Target:
    """A target with one of everything, and what can be seen of it."""

    def __init__(self, world: Userspace, directory: Path, loop: Path) -> None:
        self.world = world
        self.directory = directory
        self.host = Host("userspace", world.mount, world.state, world.runtime)
        lines = f"""
            /backstores/ramdisk create r1 1M
            /backstores/ramdisk create r2 1M
            /backstores/fileio create f1 {directory}/f1.img 1M
            /backstores/block create b1 {loop}
            /backstores/ramdisk/r1/alua create g1 1
            /iscsi create {TARGET}
            {TPG}/luns create /backstores/ramdisk/r1
            {TPG}/acls create {CLIENT}
            {TPG}/acls create {CLIENT}2
            {TPG}/acls tag {CLIENT}2 tagged
            /loopback create naa.5001405000000001
            /vhost create naa.5001405000000002
            saveconfig
            saveconfig {world.state}/good.json
        """
        done = world.isadmin(typed="\n".join(line.strip() for line in lines.splitlines()))
        assert done.returncode == 0, done.stderr
        self.files = set(directory.iterdir())

    def seen(self) -> dict[str, object]:
        """The tree, and every file of the target's and of the user's."""
        files = {
            str(path): path.read_bytes()
            for place in (self.world.state, self.directory, Path(self.world.env["XDG_CONFIG_HOME"]))
            for path in place.rglob("*")
            if path.is_file()
        }
        return {**contents(self.host.path), **files}

    def reset(self) -> None:
        """Take back what a command was right to do."""
        for path in set(self.directory.iterdir()) - self.files:
            path.unlink()
        session = Session(self.host, Preferences(), Bookmarks(), out=io.StringIO(), err=io.StringIO())
        session.run_line(f"restoreconfig {self.world.state}/good.json clear_existing=true")


@pytest.fixture(scope="module")
def target(
    module_userspace: Userspace, module_loop_devices: LoopDevices, module_tmp: Path
) -> Iterator[Target]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(module_tmp)
        for name in ("ISADMIN_STATE_DIR", "ISADMIN_RUNTIME_DIR", "XDG_CONFIG_HOME", "HOME"):
            patch.setenv(name, module_userspace.env[name])
        yield Target(module_userspace, module_tmp, module_loop_devices.make(16 << 20))


@contextmanager
def time_limit(words: list[str]) -> Iterator[None]:
    """Fail when a command takes too long."""

    def too_long(number: int, frame: FrameType | None) -> NoReturn:
        pytest.fail(f"not within {SECONDS} s: {shown(words)}")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def shown(words: list[str]) -> str:
    return " ".join(repr(word if len(word) < 60 else f"{word[:20]}...{len(word)}") for word in words)


def run(words: list[str]) -> tuple[int, str, str]:
    """isadmin as a program, in this process: (exit status, standard output, standard error)."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), time_limit(words):
        status = cli.main(["--userspace", *words])
    return status, out.getvalue(), err.getvalue()


def nodes(target: Target) -> dict[str, Node]:
    """One place of each kind: its class, with the backstore's or the fabric's name."""
    session = Session(target.host, Preferences(), Bookmarks(), out=io.StringIO(), err=io.StringIO())
    found: dict[str, Node] = {}
    places = [session.root]
    while places:
        node = places.pop()
        places += node.sorted_children()
        found.setdefault(f"{type(node).__name__} {node.list_commands()} {node.list_config_groups()}", node)
    return found


def commands(target: Target) -> Iterator[tuple[Node, str]]:
    """Every command, at one place that has it."""
    done = set()
    for node in nodes(target).values():
        for name in node.list_commands():
            function = getattr(type(node), f"ui_command_{name}")
            if function not in done:
                done.add(function)
                yield node, name


def never_right(node: Node, command: str) -> Iterator[list[str]]:
    """Words that no command takes."""
    parameters = node.signature(command)
    needed = [p for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    for count in range(len(needed)):
        yield ["x"] * count
    kinds = {p.kind for p in parameters}
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        yield [*["x"] * len(needed), "no_such_parameter=1"]
        yield [*["x"] * len(needed), "self=1"]
        yield ["no_such_parameter=1", "no_such_parameter=2"]
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        yield ["x"] * (len(parameters) + 1)
        yield ["x"] * 1000
    for parameter in parameters:
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            yield [f"{parameter.name}=x", f"{parameter.name}=y"]
            yield ["x"] * (parameters.index(parameter) + 1) + [f"{parameter.name}=y"]


def problem(words: list[str], statuses: set[int]) -> str | None:
    """Why an answer is not that of a command that refuses, None if it is."""
    status, out, err = run(words)
    problems = []
    if status not in statuses:
        problems.append(f"status {status}")
    if out:
        problems.append(f"standard output {out[:200]!r}")
    *before, last = err.splitlines() or [""]
    if not last.startswith("isadmin: ") or any(not line.startswith("warning: ") for line in before):
        problems.append(f"standard error {err[:300]!r}")
    if "Traceback" in err or len(last) > 2 * errors.LONGEST or not last.isprintable():
        problems.append(f"{len(last)} characters of error")
    return f"{shown(words)}: {', '.join(problems)}" if problems else None


def bad_values(node: Node, command: str) -> Iterator[tuple[str, str, list[str]]]:
    """(parameter, kind of value, words): one parameter has a value that it may not take."""
    parameters = [p for p in node.signature(command) if p.kind is p.POSITIONAL_OR_KEYWORD]
    for parameter in parameters:
        others = [
            f"{p.name}={PLAUSIBLE.get(p.name, 'x')}"
            for p in parameters
            if p.default is p.empty and p is not parameter
        ]
        for kind, value in VALUES.items():
            yield parameter.name, kind, [f"{parameter.name}={value}", *others]


def changes(before: dict[str, object], after: dict[str, object]) -> list[str]:
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def test_words_that_no_command_takes(target: Target) -> None:
    before = target.seen()
    lines = [
        [node.path, command, *words]
        for node, command in commands(target)
        for words in never_right(node, command)
    ]
    assert [one for line in lines if (one := problem(line, {USAGE}))] == []
    assert changes(before, target.seen()) == []


def test_values_that_a_parameter_does_not_take(target: Target) -> None:
    before = target.seen()
    problems: list[str] = []
    for node, command in commands(target):
        taken = []
        for name, kind, words in bad_values(node, command):
            line = [node.path, command, *words]
            if kind in TAKES.get(f"{type(node).__name__} {command} {name}", ()):
                taken.append(line)
            elif found := problem(line, STATUSES):
                problems.append(found)
        if taken:
            problems += changes(before, target.seen())
            for line in taken:
                # One of them may be in the way of the next.
                status, _, err = run(line)
                if status not in STATUSES | {0, errors.DIFFERENT} or len(err.splitlines()) > 1:
                    problems.append(f"{shown(line)}: status {status}, {err!r}")
            target.reset()
            before = target.seen()
    assert problems == []
    assert changes(before, target.seen()) == []


def test_values_that_a_setting_does_not_take(target: Target) -> None:
    before = target.seen()
    problems: list[str] = []
    for node in nodes(target).values():
        for group in node.list_config_groups():
            if group == "global" and node.path != "/":
                continue
            for name in sorted(set(node.list_group_params(group, writable=True)) - UNUSED.keys()):
                for kind in KINDS[node.get_group_param(group, name)["type"]]:
                    line = [node.path, "set", group, f"{name}={VALUES[kind]}"]
                    if found := problem(line, STATUSES):
                        problems.append(found)
    assert problems == []
    assert changes(before, target.seen()) == []
