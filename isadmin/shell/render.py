"""How things look: trees, underlined sections, colors. Pure text; who prints decides where it goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from isadmin.light import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol, Self
else:
    Protocol = object

MAX_WIDTH = 132
"""targetcli's: wide enough for its trees, and what scripts that read them from a pipe expect."""

HELP = """
GENERALITIES
============
Objects to configure form a tree. Each place in it has commands of its own; the prompt shows which
place you are at, `ls` what is below it, and `cd` moves.

COMMAND SYNTAX
==============
[PATH] COMMAND [ARGUMENT...] [PARAMETER=VALUE...]

PATH says where to run the command: absolute (/iscsi), relative (../luns), "*" for each child, or
@BOOKMARK; the current place if omitted. Arguments are given in order or by name. Values with blanks
or quotes go in '...' or "...". `help COMMAND` tells more of one.

"""
HELP_COMMANDS = "The following commands are available in the current path:\n\n"


def underlined(title: str, line: str = "=") -> str:
    """A title and the line under it."""
    return f"{title}\n{line * len(title)}\n"


def section(title: str, body: str) -> str:
    """A titled text, without a newline at its end."""
    return underlined(title) + body.rstrip("\n")


@record(frozen=True, slots=True)
class Paint:
    """ANSI colors, or none. Color names are the preferences'."""

    enabled: bool = False
    default: str = ""

    FOREGROUND = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")

    def __call__(self, text: str, color: str | None = None, *, bold: bool = False) -> str:
        if not self.enabled or not text:
            return text
        codes = ["1"] if bold else []
        if color or self.default:
            codes.append(str(30 + self.FOREGROUND.index(color or self.default)))
        return f"\033[{';'.join(codes)}m{text}\033[0m" if codes else text


class Branch(Protocol):
    """What a tree is drawn of."""

    @property
    def name(self) -> str: ...
    def summary(self) -> tuple[str, bool | None]: ...
    def sorted_children(self) -> Sequence[Self]: ...


@record(frozen=True, slots=True)
class TreeStyle:
    """`width` in columns; `round_nodes` o- or +-; `status`: show summaries; `root`: show the top line."""

    width: int = MAX_WIDTH
    round_nodes: bool = True
    status: bool = True
    root: bool = True
    paint: Paint = Paint()


def tree(top: Branch, style: TreeStyle, depth: int | None = None) -> Iterator[str]:
    """The lines of a tree, `depth` levels below its top (None: all), in targetcli's layout."""
    if style.root:
        yield _line(top, "", 0, style)
        yield from _below(top, "  ", 1, style, depth)
        return
    for child in top.sorted_children():
        yield _line(child, "", 1, style)
        # targetcli then counts the levels from these.
        yield from _below(child, "  ", 2, style, None if depth is None else depth + 1)


def _below(branch: Branch, margin: str, level: int, style: TreeStyle, depth: int | None) -> Iterator[str]:
    if depth is not None and level > depth:
        return
    children = branch.sorted_children()
    for at, child in enumerate(children):
        yield _line(child, margin, level, style)
        more = "| " if at < len(children) - 1 else "  "
        yield from _below(child, margin + more, level + 1, style, depth)


def _line(branch: Branch, margin: str, level: int, style: TreeStyle) -> str:
    paint = style.paint
    color = (None, "blue", "magenta")[level % 3]
    head = f"{margin}{'o-' if style.round_nodes else '+-'} "
    name = paint(branch.name, color, bold=True)
    if not style.status:
        return head + name
    text, healthy = branch.summary()
    text = text or {True: "OK", False: "ERROR", None: "..."}[healthy]
    dots = "." * (style.width - len(head) - len(branch.name) - len(text) - 4)
    shown = text if healthy is None else paint(text, "green" if healthy else "red", bold=not healthy)
    return f"{head}{name} {paint(dots, color)}{paint(' [', bold=True)}{shown}{paint(']', bold=True)}"
