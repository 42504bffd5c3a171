"""Completion for bash, zsh and fish: what they ask isadmin, and what it answers.

    isadmin --complete zsh|fish WORD...       the words after `isadmin`, the last up to the cursor (maybe "")
    isadmin --complete bash BREAKS WORD...    the same as they were typed; BREAKS is $COMP_WORDBREAKS

The answer is one candidate a line: for zsh and fish the whole word, a tab and its meaning; for bash, which
parts words at each of BREAKS, the text to put in the place of the last part. A word that ends in / or = can
go on; the others are complete, and for bash they end with a blank. Options are the scripts'
own affair; this is about paths, commands, parameters and values, which depend on what is configured. It
looks at the target that is there, and starts, loads and changes nothing; whatever fails, it offers less.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from isadmin.errors import IsadminError, NoTargetError, UsageError
from isadmin.shell import language
from isadmin.shell.suggest import Suggestion, commands, suggest_words

if TYPE_CHECKING:
    from isadmin.lio.host import Host

SHELLS = ("bash", "zsh", "fish")
UNSAFE = re.compile(r"[^\w@%+=:,./-]", re.ASCII)


class Read(Protocol):
    """The command line, read (cli.Call)."""

    flags: set[str]
    values: dict[str, str]
    words: list[str]


def main(arguments: Sequence[str], read_arguments: Callable[[Sequence[str]], Read]) -> int:
    """Print the candidates; 0 whatever came of it. Raises UsageError for a shell that is not known."""
    shell, *words = arguments or [""]
    if shell not in SHELLS:
        raise UsageError(f"--complete is for {', '.join(SHELLS)}")
    breaks = words.pop(0) if shell == "bash" and words else ""
    typed = words[-1] if words else ""
    if shell == "bash":
        words = [unquoted(word)[0] for word in words]
    last = words.pop() if words else ""
    try:
        call = read_arguments(words)
    except UsageError:
        return 0
    for suggestion in candidates(call, last):
        if shell == "bash":
            print(_for_bash(suggestion, typed, breaks))
        else:
            print(_described(suggestion, last))
    return 0


def candidates(call: Read, last: str) -> list[Suggestion]:
    """What the word after those of a command line could be, given its beginning."""
    from isadmin.lio.host import peek
    from isadmin.shell.preferences import Bookmarks, Preferences
    from isadmin.shell.session import Session

    def host() -> Host:
        given = call.values.get("configfs")
        found = peek(userspace="userspace" in call.flags, configfs=Path(given) if given else None)
        if found is None:
            raise NoTargetError("No target is running")
        return found

    try:
        session = Session(host, Preferences.of_user(), Bookmarks.of_user())
        root = session.root
        found = suggest_words(call.words, last, root)
        if not found and not call.words:
            # Without a target there are no places, but still commands.
            found = commands(root, last, len(last))
    except (IsadminError, OSError):
        return []
    return found


def _whole(suggestion: Suggestion, last: str) -> tuple[str, bool]:
    """The whole word that a suggestion makes of the last one, and whether it is complete then."""
    text = suggestion.text.rstrip(" ")
    words = language.scan(text).words
    plain = words[0].text if words else text
    return last[: len(last) - suggestion.length] + plain, text != suggestion.text


def _described(suggestion: Suggestion, last: str) -> str:
    word, _ = _whole(suggestion, last)
    return f"{_one_line(word)}\t{_one_line(suggestion.meaning)}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _for_bash(suggestion: Suggestion, typed: str, breaks: str) -> str:
    last, quote = unquoted(typed)
    word, complete = _whole(suggestion, last)
    if quote:
        # There bash parts nothing, and closes the quote itself.
        return word
    at = max((at for at in range(len(typed)) if typed[at] in breaks and _is_bare(typed, at)), default=-1)
    kept = len(unquoted(typed[: at + 1])[0])
    return escaped(word[kept:]) + (" " if complete else "")


def _is_bare(typed: str, at: int) -> bool:
    """Is this character neither quoted nor escaped?"""
    # There, a quote would open.
    return not unquoted(typed[:at])[1] and unquoted(f"{typed[:at]}'")[1] == "'"


def escaped(text: str) -> str:
    """A text as bash reads it as one word, without quotes around it."""
    return UNSAFE.sub(lambda found: f"\\{found[0]}", text)


def unquoted(word: str) -> tuple[str, str]:
    """What bash reads a word as, which may be unfinished, and the quote still open. Nothing is expanded."""
    quote = ""
    text = ""
    at = 0
    while at < len(word):
        character, following = word[at], word[at + 1 : at + 2]
        at += 1
        if character == quote:
            quote = ""
        elif character == "\\" and (not quote or (quote == '"' and following in ('"', "\\", "$", "`"))):
            text += following
            at += 1
        elif character in "'\"" and not quote:
            quote = character
        else:
            text += character
    return text, quote
