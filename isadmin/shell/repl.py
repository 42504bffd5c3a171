"""The session at a terminal: the only module that imports prompt_toolkit.

Tab completes, the arrow keys and Ctrl-R find earlier lines, Ctrl-C clears the line or stops a command,
Ctrl-D leaves. A paste of several lines runs them in order, up to the first that fails. Lines that hold a
secret are not remembered. Lines are colored as they are typed, and what is wrong in them is underlined;
what that takes to know is found out in a thread.

A terminal that can do nothing but print gets none of it: lines are read as the terminal itself has them
edited, so that what is shown is what is run.
"""

from __future__ import annotations

import os
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.buffer import Buffer, CompletionState
from prompt_toolkit.completion import (
    CompleteEvent,
    Completer,
    Completion,
    DummyCompleter,
    get_common_complete_suffix,
)
from prompt_toolkit.document import Document
from prompt_toolkit.filters import has_selection
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent, merge_key_bindings
from prompt_toolkit.lexers import Lexer
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.renderer import CPR_Support
from prompt_toolkit.shortcuts import radiolist_dialog
from prompt_toolkit.styles import Style

from isadmin import __version__
from isadmin.errors import IsadminError, UsageError
from isadmin.shell import highlight, pager
from isadmin.shell.background import Background
from isadmin.shell.language import LanguageError, holds_secret, parse
from isadmin.shell.node import Node
from isadmin.shell.places import Places
from isadmin.shell.session import Session
from isadmin.shell.suggest import suggest_fuzzily

PROMPT_STYLE = "fg:ansidefault"
"""As if it had none; but a blank without a style is not sent, and programs that type here wait for "> "."""
COMPLETION_PATIENCE = 1.0
"""Seconds that keys typed after Tab wait for what it completes; what comes later comes if none was typed."""


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


def state_directory() -> Path:
    """Where this user's lines and places are remembered."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path("~/.local/state").expanduser()) / "isadmin"


def _history() -> History:
    file = state_directory() / "history"
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
            found = suggest_fuzzily(document.text_before_cursor, here)
        except Exception:  # noqa: BLE001
            # What cannot be looked at cannot be suggested; running the line will say why.
            return
        for one in found:
            yield Completion(one.text, -one.length, display=one.text.rstrip(), display_meta=one.meaning)


class _Colors(Lexer):
    """Styles for the parts of a line, by what is known at the moment."""

    def __init__(self, background: Background) -> None:
        self._background = background

    def invalidation_hash(self) -> int:
        return self._background.version

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        def styled(number: int) -> StyleAndTextTuples:
            line = document.lines[number]
            return [
                (f"class:{part.kind}{' class:wrong' if part.wrong else ''}", line[part.start : part.end])
                for part in highlight.parts(line, self._background.commands_at)
            ]

        return styled


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
        self._at_terminal = screen is None
        self._plain = self._at_terminal and not _is_able(None)
        self._background = Background(session, self._redraw)
        self._completer = _TreeCompleter(session)
        self._places = Places(state_directory())
        self._prompt: PromptSession[str] = PromptSession(
            history=_history(),
            # Its own completion has no part in it, but keeps room for a menu.
            completer=DummyCompleter(),
            complete_while_typing=False,
            auto_suggest=AutoSuggestFromHistory(),
            enable_history_search=True,
            bottom_toolbar=self._toolbar if _is_able(screen) else None,
            key_bindings=self._keys(),
            lexer=_Colors(self._background),
            style=_style(session),
            color_depth=None if _wants_color(session) else ColorDepth.DEPTH_1_BIT,
            input=source,
            output=screen,
        )
        # A terminal that does not say where its cursor is lacks the bar at the bottom, and nothing else.
        self._prompt.app.renderer.cpr_not_supported_callback = None
        session.choose = self._choose

    def run(self) -> int:
        """Read and run lines until the user leaves; the exit status."""
        self.session.begin_where(self._places.read())
        if self._at_terminal:
            # Ctrl-C is for this session also where it was started with the signal ignored.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            if self._plain:
                return self._run()
            self._background.start()
            with _keys_wait(self.session):
                return self._run()
        finally:
            self._background.stop()
            self._places.write(self.session.places)

    def _run(self) -> int:
        kind = self.session.host.kind
        where = "" if kind == "kernel" else f" The {kind} target at {self.session.host.path}."
        self.session.say(f"isadmin shell version {__version__}.{where}")
        self.session.say("For help on commands, type 'help'.\n")
        while not self.session.exiting:
            try:
                text = self._read()
            except KeyboardInterrupt:
                continue
            except EOFError:
                break
            self._settle_cpr()
            self.run_text(text)
            self._background.forget()
        try:
            self.session.finish(save=True)
        except IsadminError as error:
            self._report(error)
            return error.status
        return 0

    def _read(self) -> str:
        """The next line, or lines pasted. Raises KeyboardInterrupt at Ctrl-C, EOFError at the end."""
        if not self._plain:
            return self._prompt.prompt([(PROMPT_STYLE, self.session.prompt())])
        try:
            print(self.session.prompt(), end="", flush=True)
            line = sys.stdin.readline()
        except KeyboardInterrupt:
            print()
            raise
        if not line:
            raise EOFError
        self._prompt.history.append_string(line.rstrip("\n"))
        return line

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
                with _paged(self.session):
                    self.session.run_line(_asked(line))
            except IsadminError as error:
                self._report(error)
                left = len(lines) - at - 1
                if left:
                    what = "line after this one was" if left == 1 else f"{left} lines after this one were"
                    self.session.warn(f"the {what} not run")
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
        if isinstance(error, UsageError) and (caret := error.caret()):
            print(caret, file=sys.stderr)
        print(error.line(), file=sys.stderr, flush=True)

    def _redraw(self) -> None:
        """From any thread. The prompt's own `invalidate` fails in a thread while a prompt comes or goes."""
        app = self._prompt.app
        if (loop := app.loop) is not None:
            with suppress(RuntimeError):  # This prompt has ended; the next one draws all anew.
                loop.call_soon_threadsafe(app.invalidate)

    def _toolbar(self) -> str:
        count = self._background.sessions
        told = [f"{self.session.host.kind} target"]
        if count is not None:
            told.append(f"{count or 'no'} session{'' if count == 1 else 's'}")
        if self.session.changed:
            told.append("changes not saved")
        return f" {'   '.join(told)}"

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("tab", filter=~has_selection)
        def complete(event: KeyPressEvent) -> None:
            self._complete(event.current_buffer)

        return keys

    def _complete(self, buffer: Buffer) -> None:
        """Insert what is certain and show the rest.

        The keys after Tab wait for that: completing beside them, the next one would cancel it.
        """
        if buffer.complete_state is not None:
            buffer.complete_next()
            return
        document = buffer.document
        loop = self._prompt.app.loop
        found: list[list[Completion]] = []
        late = threading.Event()

        def find() -> None:
            found.append(self._completions(document))
            if late.is_set() and loop is not None:
                with suppress(RuntimeError):  # The session has ended.
                    loop.call_soon_threadsafe(self._offer, buffer, document, found[0])

        thread = threading.Thread(target=find, name="completion", daemon=True)
        thread.start()
        thread.join(COMPLETION_PATIENCE)
        late.set()
        if found:
            self._offer(buffer, document, found[0])

    def _offer(self, buffer: Buffer, document: Document, found: list[Completion]) -> None:
        """Show completions, unless the line has changed since they were asked for."""
        if buffer.document != document or not found:
            return
        if len(found) == 1:
            buffer.delete_before_cursor(-found[0].start_position)
            buffer.insert_text(found[0].text)
            return
        common = get_common_complete_suffix(document, found)
        if common:
            buffer.insert_text(common)
            found = [one.new_completion_from_position(len(common)) for one in found]
        buffer.complete_state = CompletionState(buffer.document, found)
        buffer.on_completions_changed.fire()

    def _completions(self, document: Document) -> list[Completion]:
        return list(self._completer.get_completions(document, CompleteEvent(completion_requested=True)))

    def _choose(self, node: Node) -> str:
        """Let the user pick a place from the whole tree."""
        places = list(_places(node.get_root(), 0))
        dialog = radiolist_dialog("cd", "Where to?", values=places, default=node.path)
        leaving = KeyBindings()
        for key in ("escape", "c-c", "c-d", "q"):
            leaving.add(key, eager=True)(lambda event: event.app.exit())
        dialog.key_bindings = merge_key_bindings([dialog.key_bindings or KeyBindings(), leaving])
        chosen = dialog.run()
        return node.path if chosen is None else str(chosen)


@contextmanager
def _paged(session: Session) -> Iterator[None]:
    """Show what a command prints in a pager if it is long and this is a terminal."""
    out, err = session.out, session.err
    if out is not sys.stdout or not out.isatty() or not _is_able(None):
        yield
        return
    screen = pager.Pager(out, pager.command())
    session.out = screen
    if err.isatty():
        session.err = screen
    try:
        yield
    finally:
        session.out, session.err = out, err
        screen.finish()


def _wants_color(session: Session) -> bool:
    return session.preferences.flag("color_mode") and "NO_COLOR" not in os.environ


def _style(session: Session) -> Style:
    """The preferences' colors, for the parts of a line."""
    names = {
        "path": "color_path",
        "command": "color_command",
        "key": "color_keyword",
        "value": "color_parameter",
    }
    colors = {part: session.preferences.text(name) for part, name in names.items()}
    return Style.from_dict(
        {part: f"ansi{color}" for part, color in colors.items() if color}
        | {"comment": "italic", "wrong": "ansired underline"}
    )


@contextmanager
def _keys_wait(session: Session) -> Iterator[None]:
    """Let keys typed while a command runs wait for the prompt, unseen until then; Ctrl-D like any other.

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
    changed[3] &= ~termios.ECHO
    changed[6][termios.VEOF] = b"\0"

    @contextmanager
    def answering() -> Iterator[None]:
        """What is typed is an answer."""
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
        try:
            yield
        finally:
            termios.tcsetattr(descriptor, termios.TCSANOW, changed)

    termios.tcsetattr(descriptor, termios.TCSANOW, changed)
    session.answering = answering
    try:
        yield
    finally:
        session.answering = nullcontext
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
