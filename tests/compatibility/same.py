"""The scenarios, typed at Debian's targetcli and at isadmin on one userspace target, one after the other."""

from __future__ import annotations

import inspect
import io
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isadmin.errors import IsadminError
from isadmin.lio import saved
from isadmin.lio.host import Host
from isadmin.shell import language
from isadmin.shell.node import Node
from isadmin.shell.nodes.storage_objects import StorageObjectNode
from isadmin.shell.preferences import Bookmarks, Preferences
from isadmin.shell.session import Session
from tests.compatibility.scenarios import SCENARIOS
from tests.integration.devices import LoopDevices
from tests.integration.sandbox import Userspace
from tests.integration.walk import contents

DRIVER = Path(__file__).with_name("targetcli_driver.py")
PYTHON = "/usr/bin/python3"
"""The one that Debian's targetcli is for."""
KERNEL = "/sys/kernel/config/target"
DISK_SIZE = 1 << 20

Use = tuple[str, str, str]
"""(class of node, command, parameter): something that a scenario has tried; the parameter may be ""."""


@dataclass
class Answer:
    line: str
    out: str
    error: str | None


@dataclass
class Told:
    """What one program made of a scenario."""

    answers: list[Answer]
    tree: dict[str, str]
    saved: dict[str, Any]
    uses: set[Use] = field(default_factory=set)
    groups: set[tuple[str, str, str]] = field(default_factory=set)
    """(class of node, group, parameter) that were read or set by their names."""


class Both:
    """Types all scenarios at both programs."""

    def __init__(self, world: Userspace, directory: Path, loops: LoopDevices) -> None:
        self.host = Host("userspace", world.mount, world.state, world.runtime)
        self.tmp = directory / "tmp"
        self.disk = directory / "disk.img"
        self.places = {
            "{tmp}": str(self.tmp),
            "{disk}": str(self.disk),
            "{loop}": str(loops.make(16 << 20)),
            "{readonly}": str(loops.make(16 << 20, read_only=True)),
        }
        with self.disk.open("wb") as file:
            file.truncate(DISK_SIZE)
        self.theirs = self._targetcli(world, directory)
        self.ours = {name: self._isadmin(lines) for name, lines in SCENARIOS.items()}

    def _lines(self, lines: list[str]) -> list[str]:
        for name, place in self.places.items():
            lines = [line.replace(name, place) for line in lines]
        return lines

    def _empty(self) -> None:
        shutil.rmtree(self.tmp, ignore_errors=True)
        self.tmp.mkdir()

    def _targetcli(self, world: Userspace, directory: Path) -> dict[str, Told]:
        given, told = directory / "scenarios.json", directory / "told.json"
        scenarios = {name: self._lines(lines) for name, lines in SCENARIOS.items()}
        given.write_text(json.dumps({"tmp": str(self.tmp), "scenarios": scenarios}))
        run = [PYTHON, str(DRIVER), "run", str(given), str(told)]
        done = world.isadmin("userspace", "exec", "--", *run)
        assert done.returncode == 0, done.stdout + done.stderr
        found = json.loads(told.read_text())
        return {
            name: Told([Answer(**one) for one in result["answers"]], result["tree"], result["saved"])
            for name, result in found.items()
        }

    def _isadmin(self, lines: list[str]) -> Told:
        self._empty()
        told = Told([], {}, {})
        out = io.StringIO()
        preferences = Preferences()
        preferences.set("color_mode", value=False)
        session = Session(self.host, preferences, Bookmarks(), out=out, err=out, show_secrets=True)
        for line in self._lines(lines):
            error = None
            out.truncate(out.seek(0))
            try:
                told.uses |= uses(session, language.parse(line))
                told.groups |= groups(session, language.parse(line))
            except IsadminError:
                pass  # it is told when the line is run
            try:
                session.run_line(line)
            except IsadminError as raised:
                error = raised.line()
            told.answers.append(Answer(line, self.as_kernels(out.getvalue()), error))
        told.tree = contents(self.host.path)
        told.saved = saved.dump(self.host)
        session.run_line("/ clearconfig confirm=true")
        return told

    def as_kernels(self, text: str) -> str:
        """A text with the place that targetcli knows in place of the mount's."""
        return text.replace(str(self.host.path), KERNEL)


def kind_of(node: Node) -> str:
    """A node's class, with the plugin for storage objects."""
    name = type(node).__name__
    return f"{name}({node.storage_object.plugin})" if isinstance(node, StorageObjectNode) else name


_ANY_MORE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def uses(session: Session, command: language.Command) -> set[Use]:
    """What a command tries, where it is typed: itself and each of its parameters."""
    found: set[Use] = set()
    name = command.name or ("ls" if command.path.endswith("*") else "cd")
    for node in session.current.get_nodes(command.path):
        kind = kind_of(node)
        found.add((kind, name, ""))
        if name not in node.list_commands():
            continue
        parameters = node.signature(name)
        for parameter, _ in zip(parameters, command.arguments, strict=False):
            found.add((kind, name, parameter.name))
        for key in command.keywords:
            found.add((kind, name, key))
        if len(command.arguments) + len(command.keywords) > 1:
            found |= {(kind, name, p.name) for p in parameters if p.kind in _ANY_MORE}
    return found


def groups(session: Session, command: language.Command) -> set[tuple[str, str, str]]:
    """The values that a command reads or sets."""
    if command.name not in ("get", "set") or not command.arguments:
        return set()
    group = command.arguments[0]
    found = set()
    for node in session.current.get_nodes(command.path):
        names = command.arguments[1:] or command.keywords or node.list_group_params(group)
        found |= {(kind_of(node), group, name) for name in names}
    return found
