"""The session at a terminal: the only module that imports prompt_toolkit.

Tab completes, the arrow keys and Ctrl-R find earlier lines, Ctrl-C clears the line or stops a command,
Ctrl-D leaves. A paste of several lines runs them in order, up to the first that fails. Lines that hold a
secret are not remembered.
"""

from __future__ import annotations

import os
import sys
import termios
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.output import Output
from prompt_toolkit.renderer import CPR_Support
from prompt_toolkit.shortcuts import radiolist_dialog

from isadmin import __version__
from isadmin.errors import IsadminError
from isadmin.shell.language import LanguageError, holds_secret, parse
from isadmin.shell.node import Node
from isadmin.shell.session import Session
from isadmin.shell.suggest import suggest

PROMPT_STYLE = "fg:ansidefault"
"""As if it had none; but a blank without a style is not sent, and programs that type here wait for "> "."""


class _NoSecrets(History):
    """Leaves out lines that hold a secret."""

    def append_string(self, string: str) -> None:
        if not holds_secret(string):
            super().append_string(string)


class _FileHistory(_NoSecrets, FileHistory):
    """Kept in a file that only its user can read; one that cannot be written is not worth an error a line."""

    def store_string(self, string: str) -> None:
        with suppress(OSError):
            os.close(os.open(self.filename, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            super().store_string(string)

    def load_history_strings(self) -> Iterable[str]:
        try:
            return list(super().load_history_strings())
        except OSError:
            return []


class _MemoryHistory(_NoSecrets, InMemoryHistory):
    pass


def history_file() -> Path:
    """Where this user's lines are remembered."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path("~/.local/state").expanduser()) / "isadmin" / "history"


def _history() -> History:
    file = history_file()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return _MemoryHistory()
    return _FileHistory(str(file))


class _TreeCompleter(Completer):
    """Suggestions from a tree of its own, so that it can run beside the session."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        try:
            here = self.session.copy_of_current()
            found = suggest(document.text_before_cursor, here)
        except Exception:  # noqa: BLE001
            # What cannot be looked at cannot be suggested; running the line will say why.
            return
        for one in found:
            yield Completion(one.text, -one.length, display=one.text.rstrip(), display_meta=one.meaning)


class Repl:
    """A session at a terminal. Keys come from `source` and go to `screen`; both the terminal if None."""

    def __init__(
        self,
        session: Session,
        *,
        debug: bool = False,
        source: Input | None = None,
        screen: Output | None = None,
    ) -> None:
        self.session = session
        self.debug = debug
        self._prompt: PromptSession[str] = PromptSession(
            history=_history(),
            completer=_TreeCompleter(session),
            complete_in_thread=True,
            complete_while_typing=False,
            auto_suggest=AutoSuggestFromHistory(),
            enable_history_search=True,
            bottom_toolbar=self._toolbar if _is_able(screen) else None,
            input=source,
            output=screen,
        )
        # A terminal that does not say where its cursor is lacks the bar at the bottom, and nothing else.
        self._prompt.app.renderer.cpr_not_supported_callback = None
        session.choose = self._choose

    def run(self) -> int:
        """Read and run lines until the user leaves; the exit status."""
        with _end_of_file_is_a_key():
            return self._run()

    def _run(self) -> int:
        kind = self.session.host.kind
        where = "" if kind == "kernel" else f" The {kind} target at {self.session.host.path}."
        self.session.say(f"isadmin shell version {__version__}.{where}")
        self.session.say("For help on commands, type 'help'.\n")
        while not self.session.exiting:
            try:
                text = self._prompt.prompt([(PROMPT_STYLE, self.session.prompt())])
            except KeyboardInterrupt:
                continue
            except EOFError:
                break
            self._settle_cpr()
            self.run_text(text)
        try:
            self.session.finish(save=True)
        except IsadminError as error:
            self._report(error)
            return error.status
        return 0

    def _settle_cpr(self) -> None:
        """A terminal that did not say where its cursor is by the end of a line never will: ask no more.

        prompt_toolkit would find out after two seconds at one prompt, and waits for one second at each
        until then.
        """
        renderer = self._prompt.app.renderer
        if renderer.cpr_support is CPR_Support.UNKNOWN:
            renderer.cpr_support = CPR_Support.NOT_SUPPORTED

    def run_text(self, text: str) -> None:
        """Run the lines of one input, up to the first that fails."""
        lines = [line for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n") if line.strip()]
        for at, line in enumerate(lines):
            try:
                self.session.run_line(_asked(line))
            except IsadminError as error:
                self._report(error)
                if len(lines) - at > 1:
                    self.session.warn(f"the {len(lines) - at - 1} lines after this one were not run")
                return
            except KeyboardInterrupt:
                self.session.warn("interrupted")
                return
            if self.session.exiting:
                return

    def _report(self, error: IsadminError) -> None:
        if self.debug:
            import traceback

            traceback.print_exception(error)
        if isinstance(error, LanguageError) and error.caret():
            print(error.caret(), file=sys.stderr)
        print(error.line(), file=sys.stderr, flush=True)

    def _toolbar(self) -> str:
        unsaved = "   changes not saved" if self.session.changed else ""
        return f" {self.session.host.kind} target{unsaved}"

    def _choose(self, node: Node) -> str:
        """Let the user pick a place from the whole tree."""
        places = list(_places(node.get_root(), 0))
        chosen = radiolist_dialog("cd", "Where to?", values=places, default=node.path).run()
        return node.path if chosen is None else str(chosen)


@contextmanager
def _end_of_file_is_a_key() -> Iterator[None]:
    """Let Ctrl-D typed while a command runs wait for the prompt like any other key.

    Between two prompts the terminal reads lines; there it would turn Ctrl-D into an end of file that the
    prompt never hears of.
    """
    try:
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (OSError, ValueError, termios.error):
        yield
        return
    changed = termios.tcgetattr(descriptor)
    changed[6][termios.VEOF] = b"\0"
    termios.tcsetattr(descriptor, termios.TCSANOW, changed)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _places(node: Node, level: int) -> Iterator[tuple[str, str]]:
    yield node.path, f"{'  ' * level}{node.name}"
    for child in node.sorted_children():
        yield from _places(child, level + 1)


def _asked(line: str) -> str:
    """`create ?` asks for help on create."""
    before, blank, after = line.rstrip().rpartition(" ")
    if after != "?" or not blank:
        return line
    try:
        command = parse(before)
    except LanguageError:
        return line
    return f"{command.path} help {command.name}" if command.name else line


def _is_able(screen: Output | None) -> bool:
    """Has the terminal room and means for a bar at its bottom?"""
    return screen is not None or os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
