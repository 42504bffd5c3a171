"""A line and the place it is typed at -> suggestions, each with its kind. Pure, but for the tree it is
handed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence

from isadmin.errors import IsadminError
from isadmin.light import record
from isadmin.shell import language

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspect import Parameter
    from typing import Literal

    from isadmin.shell.node import Node

    Kind = Literal["path", "command", "parameter", "value"]
Match = Callable[[str, str], bool]
"""(what could stand there, what is typed) -> does it fit?"""
MANY = 100
"""More places than that are offered without their summaries, which have to be read one by one."""


@record(frozen=True, slots=True)
class Suggestion:
    """`text` may replace the `length` characters before the cursor; `meaning` is one line about it."""

    text: str
    length: int
    kind: Kind
    meaning: str = ""


def suggest_fuzzily(line: str, here: Node) -> list[Suggestion]:
    """What suggest offers; where that is nothing, what holds the typed characters in their order, the
    nearest first."""
    found = suggest(line, here)
    if found:
        return found
    typed = line.rpartition(" ")[2].rpartition("=")[2].rpartition("/")[2]
    return sorted(suggest(line, here, holds), key=lambda one: distance(one.text, typed))


def holds(text: str, typed: str) -> bool:
    """Are the typed characters in the text, in their order? Case is no matter."""
    rest = iter(text.lower())
    return all(character in rest for character in typed.lower())


def distance(text: str, typed: str) -> tuple[bool, int, int]:
    """How far a text that holds what is typed is from it: orders texts."""
    at = text.lower().find(typed.lower())
    return (at < 0, at, len(text))


def suggest(line: str, here: Node, match: Match = str.startswith) -> list[Suggestion]:
    """What could stand at the end of `line`, typed at the node `here`; [] where nothing is known or
    readable."""
    try:
        found = language.scan(line)
    except language.LanguageError:
        return []
    if found.comment is not None:
        return []
    words = list(found.words)
    if words and words[-1].end == len(line):
        last = words.pop()
    else:
        last = language.Word("", None, len(line), len(line))
    typed = len(line) - last.start
    try:
        return _at(words, last, typed, here, match)
    except IsadminError:
        return []


def suggest_words(words: Sequence[str], last: str, here: Node) -> list[Suggestion]:
    """What could be the last of a program's arguments, each of them one word as it is; see suggest."""
    read = [_word(text) for text in words]
    try:
        return _at(read, _word(last), len(last), here, str.startswith)
    except IsadminError:
        return []


def _word(text: str) -> language.Word:
    key = language.KEY.match(text)
    if key is None:
        return language.Word(text)
    value_start = key.end() + 1
    return language.Word(text[value_start:], key[0], value_start=value_start)


def _at(
    words: list[language.Word], last: language.Word, typed: int, here: Node, match: Match
) -> list[Suggestion]:
    path = words.pop(0).value if words and language.is_path(words[0]) else None
    if not words:
        if path is not None:
            return commands(_one(here, path), last.value, typed, match)
        places = _paths(here, last.value, typed, "path", match)
        return places if language.is_path(last) else commands(here, last.value, typed, match) + places
    return _arguments(_one(here, path), words[0].text, words[1:], last, typed, match)


def _one(here: Node, path: str | None) -> Node:
    nodes = here.get_nodes(path)
    return nodes[0] if nodes else here


def commands(node: Node, typed: str, length: int, match: Match = str.startswith) -> list[Suggestion]:
    """A place's commands that begin with what is typed, which is `length` characters of the line."""
    return [
        Suggestion(f"{name} ", length, "command", _first_line(node.get_command_method(name).__doc__))
        for name in node.list_commands()
        if match(name, typed)
    ]


def _first_line(text: str | None) -> str:
    return next((line.strip() for line in (text or "").splitlines() if line.strip()), "")


def _paths(here: Node, typed: str, length: int, kind: Kind, match: Match) -> list[Suggestion]:
    """The places whose path begins with what is typed; the part that is there already is kept as it was
    typed."""
    above, slash, partial = typed.rpartition("/")
    if typed.startswith("@") and not slash:
        marks = here.shell.bookmarks
        return [
            Suggestion(f"@{name}/", length, kind, marks[name]) for name in marks if match(name, typed[1:])
        ]
    node = here.get_node(above + slash) if slash else here
    places = [child for child in node.sorted_children() if match(child.name, partial)]
    told = len(places) <= MANY
    found = [
        Suggestion(f"{above}{slash}{child.name}/", length, kind, child.summary()[0] if told else "")
        for child in places
    ]
    if partial in ("", ".", "..") and typed.endswith("."):
        found.append(Suggestion(f"{typed}/", length, kind))
    return found


def _arguments(
    node: Node,
    command: str,
    before: Sequence[language.Word],
    last: language.Word,
    typed: int,
    match: Match,
) -> list[Suggestion]:
    if command not in node.list_commands():
        return []
    parameters = node.signature(command)
    given = _given(parameters, before)
    free = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in given]
    if last.key is not None:
        length = typed - (last.value_start - last.start)
        return _values(node, command, given, last.key, last.value, length, match)
    found = _options(node, command, before, last.value, typed)
    others = [p for p in parameters if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    current = free[0].name if free else others[0].name if others else None
    if current is not None:
        found += _values(node, command, given, current, last.value, typed, match)
    help_ = node.get_command_method(command).__doc__ or ""
    found += [
        Suggestion(f"{p.name}=", typed, "parameter", _about(p, help_))
        for p in free
        if match(p.name, last.value)
    ]
    return found


def _options(
    node: Node, command: str, before: Sequence[language.Word], text: str, typed: int
) -> list[Suggestion]:
    """The options of a command, for who began one."""
    if not text.startswith("-"):
        return []
    names = dict.fromkeys(getattr(node, "options", {}).get(command, ()), "")
    words = tuple(word.value for word in before if word.key is None)
    keys = {word.key: word.value for word in before if word.key is not None}
    if node.changes(language.Command("", command, words, keys)):
        names["dry-run"] = "show what would change, and change nothing"
    return [
        Suggestion(f"--{name} ", typed, "parameter", meaning)
        for name, meaning in names.items()
        if f"--{name}".startswith(text)
    ]


def _about(parameter: Parameter, help_: str) -> str:
    """What a command's help says of a parameter, in one line, and its default."""
    lines = [line.strip() for line in help_.splitlines()]
    said = ""
    for at in range(len(lines) - 2):
        if lines[at] == parameter.name and set(lines[at + 1]) == {"-"}:
            said = lines[at + 2].partition("; ")[0].partition(". ")[0].rstrip(".:")
    default = _default(parameter)
    return f"{said} ({default})" if said and default else said or default


def _default(parameter: Parameter) -> str:
    if parameter.default is parameter.empty:
        return "required"
    return "" if parameter.default is None else f"default {parameter.default}"


def _given(parameters: Iterable[Parameter], words: Sequence[language.Word]) -> dict[str, str]:
    """The parameters that have a value, as far as the line goes."""
    given = {word.key: word.value for word in words if word.key is not None}
    names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    given.update(zip(names, [word.value for word in words if word.key is None], strict=False))
    return given


def _values(
    node: Node, command: str, given: Mapping[str, str], current: str, typed: str, length: int, match: Match
) -> list[Suggestion]:
    if current == "path" and command in ("ls", "cd"):
        return _paths(node, typed, length, "value", match)
    method = node.get_completion_method(command)
    if method is None:
        return []
    found = []
    values = method(given, typed, current) or ()
    for offered in values:
        text = offered.rstrip(" ")
        if not match(text, typed):
            continue
        if text.endswith("="):
            meaning = _meaning(node, given.get("group"), text[:-1])
            found.append(Suggestion(text, length, "parameter", meaning))
        else:
            more = "" if text.endswith("/") else " "
            meaning = values[offered] if isinstance(values, Mapping) else ""
            found.append(Suggestion(language.quote(text) + more, length, "value", meaning))
    return found


def _meaning(node: Node, group: str | None, name: str) -> str:
    if group is not None and name.endswith("_file") and node.is_secret(group, name.removesuffix("_file")):
        return f"The {name.removesuffix('_file')} from a file, or - for standard input"
    if group is None or name not in node.list_group_params(group):
        return ""
    return _first_line(node.get_group_param(group, name)["description"])


def paths_like(text: str, kind: int = 0) -> list[str]:
    """Files whose path begins with `text`: directories (with a "/"), and files of a stat type (0: any)."""
    above, slash, partial = text.rpartition("/")
    directory = os.path.expanduser(above + slash) if slash else "."  # noqa: PTH111 - "/" must stay "/"
    found = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if not entry.name.startswith(partial) or (entry.name.startswith(".") and not partial):
                    continue
                mode = entry.stat().st_mode
                if stat.S_ISDIR(mode):
                    found.append(f"{above}{slash}{entry.name}/")
                elif not kind or stat.S_IFMT(mode) == kind:
                    found.append(f"{above}{slash}{entry.name}")
    except OSError:
        return sorted(found)
    return sorted(found)
