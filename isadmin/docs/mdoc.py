"""Manual pages in mdoc(7): text is escaped here, and nowhere else."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

DATE = "November 22, 2026"
"""When what the manual says was last gone over."""


def text(plain: str) -> str:
    """Plain text as mdoc has it: a sentence begins a line; `quoted` words stand out."""
    marked = re.sub(r"`([^`]*)`", r"\\fB\1\\fP", escaped(" ".join(plain.split()))).replace("`", "\\(ga")
    lines = []
    for sentence in re.split(r"(?<=[.!?]) (?=[A-Z\\\\0-9(*])", marked):
        lines += textwrap.wrap(sentence, 80, break_on_hyphens=False, break_long_words=False)
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in lines)


def escaped(plain: str) -> str:
    """A text in which nothing means anything to roff."""
    return plain.replace("\\", "\\e").replace('"', "\\(dq").replace("~", "\\(ti").replace("^", "\\(ha")


def word(plain: str) -> str:
    """One argument of a macro."""
    shown = escaped(plain)
    if re.fullmatch(r"[|.,:;()\[\]?!]|[A-Z][a-z]", plain):
        shown = f"\\&{shown}"
    return f'"{shown}"' if " " in shown or not shown else shown


class Page:
    """A manual page that grows line by line."""

    def __init__(self, name: str, section: int, meaning: str) -> None:
        self.name = name
        self.section = section
        self._lines = [
            '.\\" Made by "python -m isadmin.docs" from the tables of isadmin itself; not to be edited.',
            f".Dd {DATE}",
            f".Dt {name.upper()} {section}",
            ".Os",
            ".Sh NAME",
            f".Nm {name}",
            f".Nd {meaning}",
        ]

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"

    @property
    def file(self) -> str:
        """Its name as a file."""
        return f"{self.name}.{self.section}"

    def raw(self, *lines: str) -> None:
        """Lines of mdoc as they are."""
        self._lines += lines

    def heading(self, title: str) -> None:
        """A section."""
        self.raw(f".Sh {escaped(title)}")

    def subheading(self, title: str) -> None:
        """A section within one."""
        self.raw(f".Ss {escaped(title)}")

    def paragraph(self, *plain: str) -> None:
        """Paragraphs: a list where lines begin with "- ", else running text."""
        for at, one in enumerate(plain):
            if at or not self._lines[-1].startswith((".Pp", ".Sh", ".Ss", ".It", ".Xc")):
                self.raw(".Pp")
            self._body(one)

    def _body(self, plain: str) -> None:
        bullets = re.split(r"^\s*- ", plain, flags=re.MULTILINE)
        if bullets[0].strip():
            self.raw(text(bullets[0]))
        if len(bullets) > 1:
            self.raw(".Bl -bullet -compact")
            for bullet in bullets[1:]:
                self.raw(".It", text(bullet))
            self.raw(".El")

    def help(self, plain: str) -> None:
        """The text of a docstring: paragraphs parted by blank lines."""
        self.paragraph(*[one for one in re.split(r"\n\s*\n", plain.strip()) if one.strip()])

    def definitions(self, entries: Iterable[tuple[str, str]], *, compact: bool = False) -> None:
        """A list of terms, each a line of mdoc after .It, and plain texts."""
        self.raw(f".Bl -tag -width Ds{' -compact' if compact else ''}")
        for term, meaning in entries:
            self.raw(f".It {term}")
            if meaning:
                self.help(meaning)
        self.raw(".El")

    def example(self, lines: Sequence[str]) -> None:
        """Lines as a user would type or see them."""
        self.raw(".Bd -literal -offset indent", *[_example_line(line) for line in lines], ".Ed")


def _example_line(line: str) -> str:
    shown = escaped(line)
    return f"\\&{shown}" if shown.startswith((".", "'")) else shown
