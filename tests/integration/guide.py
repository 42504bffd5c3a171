"""The targetcli commands of the guide in tests/data/guide, taken out of its text.

A guide is Markdown: commands stand in fenced blocks (typed at a shell prompt after `sudo targetcli`, or in
targetcli) and in running text, in backticks. `blocks()` gives them in the order of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GUIDE = Path(__file__).resolve().parent.parent / "data" / "guide" / "guide.md"

_FENCE = re.compile(r"^\s*```")
_BLOCK = re.compile(r"^ *```\w*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_ONE_SHOT = re.compile(r"^sudo targetcli(?:\s+(?P<command>.*))?$")
_INSIDE = re.compile(r"^(?:/(?:backstores|iscsi)\b.*|saveconfig|exit)$")
_INLINE = re.compile(r"`(sudo targetcli[^`]*)`")


@dataclass(frozen=True, slots=True)
class Block:
    """The commands of one fenced block or one line of running text, which begins at `line` of the guide."""

    line: int
    commands: tuple[str, ...]


def _command(text: str) -> str | None:
    """The targetcli command line in `text`; empty for a bare `sudo targetcli`; None when it is none."""
    text = text.strip()
    if match := _ONE_SHOT.match(text):
        return match["command"] or ""
    return text if _INSIDE.match(text) else None


def blocks() -> Iterator[Block]:
    """Every block of the guide that types at least one command at targetcli."""
    fenced = False
    start = 0
    commands: list[str] = []
    for number, line in enumerate(GUIDE.read_text(encoding="utf-8").splitlines(), 1):
        if _FENCE.match(line):
            if fenced and commands:
                yield Block(start, tuple(commands))
            fenced, start, commands = not fenced, number, []
        elif fenced:
            if (command := _command(line)) is not None:
                commands.append(command)
        else:
            for inline in _INLINE.findall(line):
                command = _command(inline)
                assert command is not None
                yield Block(number, (command,))


def fenced(start: str) -> str:
    """The fenced block whose first line begins with `start`, as it is to be typed or stored."""
    for block in re.findall(
        r"^[ ]*```\w*\n(.*?)^[ ]*```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        if block.startswith(start):
            return str(block)
    raise LookupError(start)


def initiator_commands() -> list[str]:
    """What the guide types at iscsiadm, in the order of its text, without `sudo`."""
    lines = (line.strip() for line in GUIDE.read_text(encoding="utf-8").splitlines())
    return [line.removeprefix("sudo ") for line in lines if line.startswith("sudo iscsiadm ")]
