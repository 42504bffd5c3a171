"""Trees look as targetcli's do, to the column."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from isadmin.shell.render import Paint, TreeStyle, tree

RICH = Path(__file__).parent.parent / "data" / "kernel" / "ls-rich.txt"
LINE = re.compile(r"([| ]*)o- (\S+) \.+ \[(.*)\]$")


@dataclass
class Twig:
    name: str
    text: str
    healthy: bool | None = None
    twigs: list[Twig] = field(default_factory=list)

    def summary(self) -> tuple[str, bool | None]:
        return self.text, self.healthy

    def sorted_children(self) -> list[Twig]:
        return self.twigs


def read_tree(text: str) -> Twig:
    """The tree that a listing shows."""
    stack: list[Twig] = []
    for line in text.splitlines():
        found = LINE.match(line)
        assert found is not None, line
        twig = Twig(found[2], "" if found[3] == "..." else found[3])
        level = len(found[1]) // 2
        del stack[level:]
        if stack:
            stack[-1].twigs.append(twig)
        stack.append(twig)
    return stack[0]


def test_a_rich_tree_is_drawn_as_targetcli_draws_it() -> None:
    listing = RICH.read_text()
    assert "\n".join(tree(read_tree(listing), TreeStyle())) + "\n" == listing


SMALL = Twig("/", "", None, [Twig("a", "x", True, [Twig("b", "")]), Twig("c", "", False)])


def test_depth_limits_the_levels() -> None:
    assert [line.split(" .")[0] for line in tree(SMALL, TreeStyle(), 1)] == ["o- /", "  o- a", "  o- c"]


def test_health_stands_in_for_a_missing_summary() -> None:
    ends = [line.rpartition("[")[2] for line in tree(SMALL, TreeStyle())]
    assert ends == ["...]", "x]", "...]", "ERROR]"]


def test_styles() -> None:
    plain = TreeStyle(round_nodes=False, status=False, root=False)
    assert list(tree(SMALL, plain)) == ["+- a", "  +- b", "+- c"]
    assert list(tree(SMALL, plain, 1)) == ["+- a", "  +- b", "+- c"]
    assert list(tree(SMALL, plain, 0)) == ["+- a", "+- c"]


def test_a_narrow_terminal_gets_no_dots() -> None:
    assert next(tree(SMALL, TreeStyle(width=5))) == "o- /  [...]"


def test_color_only_adds_escapes() -> None:
    colored = TreeStyle(paint=Paint(enabled=True, default="green"))
    shown = [re.sub(r"\033\[[0-9;]*m", "", line) for line in tree(SMALL, colored)]
    assert shown == list(tree(SMALL, TreeStyle()))
