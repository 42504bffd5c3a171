"""What the manual and the completions are made from, gathered as values: options, commands by place, groups,
exit statuses."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass

from isadmin import cli, errors
from isadmin.lio.attributes import TABLES, Attribute
from isadmin.shell.node import Node
from isadmin.shell.nodes import (
    acls,
    alua,
    backstores,
    fabrics,
    luns,
    portals,
    root,
    storage_objects,
    tpg,
    user_backstores,
)
from isadmin.userspace import command as userspace

PLACES: tuple[tuple[str, type[Node]], ...] = (
    ("/", root.Root),
    ("/backstores", backstores.Backstores),
    ("/backstores/PLUGIN", backstores.Backstore),
    ("/backstores/fileio", backstores.FileioBackstore),
    ("/backstores/block", backstores.BlockBackstore),
    ("/backstores/ramdisk", backstores.RamdiskBackstore),
    ("/backstores/pscsi", backstores.PscsiBackstore),
    ("/backstores/user:HANDLER", user_backstores.UserBackstore),
    ("/backstores/PLUGIN/NAME", storage_objects.StorageObjectNode),
    ("/backstores/PLUGIN/NAME/alua", alua.PortGroups),
    ("/backstores/PLUGIN/NAME/alua/GROUP", alua.PortGroupNode),
    ("/FABRIC", fabrics.FabricNode),
    ("/FABRIC/WWN", tpg.TargetNode),
    ("/FABRIC/WWN/tpgTAG", tpg.TpgNode),
    ("/FABRIC/WWN/tpgTAG/luns", luns.Luns),
    ("/FABRIC/WWN/tpgTAG/luns/lunN", luns.LunNode),
    ("/FABRIC/WWN/tpgTAG/acls", acls.Acls),
    ("/FABRIC/WWN/tpgTAG/acls/WWN", acls.AclNode),
    ("/FABRIC/WWN/tpgTAG/acls/WWN/mapped_lunN", acls.MappedLunNode),
    ("/FABRIC/WWN/tpgTAG/portals", portals.Portals),
    ("/FABRIC/WWN/tpgTAG/portals/ADDRESS:PORT", portals.PortalNode),
)
"""Every kind of place in the tree, and the node that is there. Fabrics without portal groups of their own
have those of tpgTAG at WWN itself."""

UNLISTED: frozenset[type[Node]] = frozenset({tpg.SingleTpgTarget})
"""Kinds of places that have the same commands as one that is listed."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A command's parameter; `required` must be given, `many` may be given any number of times."""

    name: str
    required: bool = False
    many: bool = False
    default: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a command's help: its title, text in paragraphs, and titled parts of its own."""

    title: str
    text: str
    parts: tuple[Section, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """A command as its signature and its docstring tell it."""

    name: str
    parameters: tuple[Parameter, ...]
    text: str
    sections: tuple[Section, ...]

    @property
    def meaning(self) -> str:
        """The first line."""
        return self.text.split("\n")[0]


def command_of(kind: type[Node], name: str) -> Command:
    """A command of a kind of place."""
    method = getattr(kind, f"ui_command_{name}")
    parameters = []
    for one in list(inspect.signature(method).parameters.values())[1:]:
        many = one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        called = f"{one.name}=value" if one.kind is one.VAR_KEYWORD else one.name
        required = one.default is one.empty and not many
        default = str(one.default) if one.default not in (one.empty, None) else ""
        parameters.append(Parameter(called, required, many, default))
    text, *sections = _sections(inspect.getdoc(method) or "", "=")
    return Command(name, tuple(parameters), text.text, tuple(sections))


def _sections(text: str, line: str) -> list[Section]:
    """A text parted at its underlined titles; the first section has none."""
    pieces = re.split(rf"^(.+)\n{line}{{3,}}$\n?", text, flags=re.MULTILINE)
    found = [Section("", pieces[0].strip())]
    for title, body in zip(pieces[1::2], pieces[2::2], strict=True):
        if line == "-":
            found.append(Section(title, body.strip()))
            continue
        own, *parts = _sections(body, "-")
        found.append(Section(title, own.text, tuple(parts)))
    return found


def commands_at(kind: type[Node]) -> list[Command]:
    """The commands that a kind of place has beside those of every place, and of a listed kind that it is."""
    listed = [Node, *(other for _, other in PLACES if other is not kind and issubclass(kind, other))]
    return [
        command_of(kind, name)
        for name in _names(kind)
        if all(
            getattr(kind, f"ui_command_{name}") is not getattr(other, f"ui_command_{name}", None)
            for other in listed
        )
    ]


def commands_everywhere() -> list[Command]:
    """The commands of every place."""
    return [command_of(Node, name) for name in _names(Node)]


def _names(kind: type[Node]) -> list[str]:
    prefix = "ui_command_"
    return sorted(
        name.removeprefix(prefix)
        for name in dir(kind)
        if name.startswith(prefix) and callable(getattr(kind, name))
    )


def groups_at(kind: type[Node]) -> dict[str, list[Attribute]]:
    """The configuration groups of a kind of place: name -> attributes, from the one table."""
    owner = getattr(kind, "owner", "")
    return {group: list(table.values()) for (of, group), table in TABLES.items() if of == owner}


@dataclass(frozen=True, slots=True)
class Status:
    """An exit status and what it means."""

    number: int
    meaning: str


def statuses() -> list[Status]:
    """The exit statuses of the shell: those of the errors, drawn on top of errors.py, and the others."""
    drawn = re.findall(r"^ +(\w+Error) +(\d+)  (.+)$", errors.__doc__ or "", re.MULTILINE)
    return [
        Status(0, "done"),
        *(Status(getattr(errors, name).status, meaning.strip()) for name, _, meaning in drawn),
        Status(errors.DIFFERENT, "diff: something would change"),
        Status(cli.INTERRUPTED, "interrupted from the keyboard"),
        Status(cli.OUTPUT_CLOSED, "nobody read the output to its end"),
    ]


@dataclass(frozen=True, slots=True)
class Action:
    """An action of `isadmin userspace`: its options as cli.Option has them."""

    name: str
    meaning: str
    options: tuple[cli.Option, ...]


def userspace_actions() -> list[Action]:
    """start, stop, status and exec, from their parser."""
    parser = userspace.parser()
    (subparsers,) = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    helps = {one.dest: one.help or "" for one in subparsers._choices_actions}
    return [
        Action(name, helps.get(name, ""), tuple(_options(one))) for name, one in subparsers.choices.items()
    ]


def _options(parser: argparse.ArgumentParser) -> Iterator[cli.Option]:
    for one in parser._actions:
        if not one.option_strings:
            continue
        value = "|".join(one.choices) if one.choices else one.metavar if one.nargs != 0 else None
        assert value is None or isinstance(value, str)
        yield cli.Option(tuple(one.option_strings), value, one.help or "")
