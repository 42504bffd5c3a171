"""A line -> its parts, each with what it is and whether it is wrong, for colors as one types. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from isadmin.shell import language

Kind = Literal["path", "command", "key", "value", "comment", "blank"]
Commands = Mapping[str, frozenset[str] | None]
"""The commands of a place, with the names of their parameters (None: any)."""
Known = Callable[[str], Commands | None]
"""Path -> its commands: none for no such place, None while that is not known."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the line, from `start` up to `end`."""

    start: int
    end: int
    kind: Kind
    wrong: bool = False


def parts(line: str, known: Known) -> list[Part]:
    """The parts of a line, in order and without gaps.

    Wrong is what can be no part of any command however the line goes on; what is still being typed, at
    the line's end, is not.
    """
    try:
        found = language.scan(line)
    except language.LanguageError as error:
        return _whole(parts(line[: error.position], known), line, error.position)
    marked: list[Part] = []
    words = list(found.words)
    commands: Commands | None = known("")
    if words and language.is_path(words[0]):
        path = words.pop(0)
        commands = known(path.value)
        marked.append(Part(path.start, path.end, "path", commands == {} and path.end < len(line)))
    if words:
        marked += _command(words, commands, len(line))
    if found.comment is not None:
        marked.append(Part(found.comment, len(line), "comment"))
    return _filled(marked, len(line))


def _command(words: list[language.Word], commands: Commands | None, end: int) -> list[Part]:
    first, *rest = words
    name = first.text
    # The last word may yet become another one, or a path.
    unknown = name not in (commands or {name: None}) and first.end < end
    marked = [Part(first.start, first.end, "command", unknown or first.key is not None)]
    keys = (commands or {}).get(name)
    given: set[str] = set()
    for word in rest:
        if word.key is None:
            marked.append(Part(word.start, word.end, "value"))
            continue
        after = word.value_start
        wrong = word.key in given or (keys is not None and word.key not in keys)
        given.add(word.key)
        marked.append(Part(word.start, after, "key", wrong))
        marked.append(Part(after, word.end, "value"))
    return marked


def _filled(marked: list[Part], end: int) -> list[Part]:
    """The parts with the blanks between them."""
    filled: list[Part] = []
    at = 0
    for part in marked:
        if part.start > at:
            filled.append(Part(at, part.start, "blank"))
        if part.end > part.start:
            filled.append(part)
        at = part.end
    if at < end:
        filled.append(Part(at, end, "blank"))
    return filled


def _whole(good: list[Part], line: str, bad: int) -> list[Part]:
    return [*good, Part(bad, len(line), "value", wrong=True)]
