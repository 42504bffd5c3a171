"""Secrets that were kept off the command line: from a file, from standard input, or typed unseen.

set auth password_file=FILE     the content of FILE, but for the newline at its end
set auth password_file=-        a line of standard input; asked for where that is a terminal
isadmin --ask ... password=     asked for
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from isadmin.errors import IsadminError, NoFileError, UsageError
from isadmin.shell.language import Command

SUFFIX = "_file"
LONGEST = 4096
"""Bytes read of a file; more is no secret."""


def supplied(command: Command, is_secret: Callable[[str], bool], *, ask: bool, stdin_taken: bool) -> Command:
    """The command with its secrets in place. `is_secret` knows its parameters; with `ask` empty ones are
    asked for; `stdin_taken`: standard input holds the commands.

    Raises UsageError, IsadminError.
    """
    keywords: dict[str, str] = {}
    for key, value in command.keywords.items():
        name = key.removesuffix(SUFFIX)
        if name != key and is_secret(name):
            if name in command.keywords:
                raise UsageError(f"Both {name} and {key} are given", "give one of them")
            keywords[name] = _from(name, value, stdin_taken)
        elif ask and not value and is_secret(key):
            keywords[key] = asked(key)
        else:
            keywords[key] = value
    return command if keywords == command.keywords else replace(command, keywords=keywords)


def _from(name: str, file: str, stdin_taken: bool) -> str:
    if file != "-":
        return _text(name, _content(file), file)
    if sys.stdin is None:
        raise UsageError(f"Cannot read the {name}: standard input is closed")
    if sys.stdin.isatty():
        return asked(name)
    if stdin_taken:
        what = f"Cannot read the {name} from standard input, which holds the commands"
        raise UsageError(what, "name a file")
    line = sys.stdin.buffer.readline(LONGEST + 1)
    if not line:
        raise UsageError(f"Cannot read the {name}: standard input is at its end")
    return _text(name, line, "standard input")


def _content(file: str) -> bytes:
    try:
        with Path(file).expanduser().open("rb") as opened:
            return opened.read(LONGEST + 1)
    except FileNotFoundError as error:
        raise NoFileError(f"No such file {file}") from error
    except (OSError, ValueError) as error:
        raise IsadminError(f"Cannot read {file}: {getattr(error, 'strerror', None) or error}") from error


def _text(name: str, content: bytes, where: str) -> str:
    """A secret as it was read, without the newline at its end. Raises UsageError, which does not show it."""
    content = content.removesuffix(b"\n").removesuffix(b"\r")
    if not content:
        raise UsageError(f"There is no {name} in {where}", f"to have none, set {name}=")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise UsageError(f"The {name} in {where} is not UTF-8 text") from None
    if len(content) > LONGEST or "\n" in text or "\0" in text:
        raise UsageError(f"The {name} in {where} is not one line of text")
    return text


def asked(name: str) -> str:
    """What the user types twice, unseen. Raises UsageError where there is nobody to ask, or they differ."""
    from getpass import getpass

    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError as error:
        what = f"Cannot ask for the {name}: there is no terminal"
        raise UsageError(what, f"use {name}{SUFFIX}=FILE") from error
    try:
        first = getpass(f"{name}: ")
        if first != getpass(f"{name} again: "):
            raise UsageError(f"The two times, {name} was not the same", "nothing was changed; try again")
    except EOFError as error:
        raise UsageError(f"No {name} was typed") from error
    return first
