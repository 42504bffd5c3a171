"""A session: one user, one tree, one current place; runs what language.py read, in order, with its errors
told apart.

The tree is forgotten before each command, so what other processes changed is seen; only what a command
looks at is read again. A command that changes something holds the target's lock while it runs, and no
longer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

from isadmin.errors import IsadminError, NoTargetError, UsageError
from isadmin.light import Path, replace
from isadmin.lio.explain import explain
from isadmin.shell import language, render
from isadmin.shell.language import Command
from isadmin.shell.preferences import Bookmarks, Preferences

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import TextIO

    from isadmin.lio.host import Host
    from isadmin.lio.objects import Lio
    from isadmin.shell.node import Node


WHOLE = frozenset({"saveconfig"})
"""Commands that change no object, wherever they are."""


class OutputClosedError(BrokenPipeError):
    """Nobody reads standard output any more: stop, without a word."""


class Session:
    """What nodes call their shell.

    `host` is the target worked on, or how to find it; `show_secrets` and `assume_yes` are the options of
    those names; with `ask`, secrets that are set to nothing are asked for; `as_json` makes each result a
    document of output.py. `changed` is true while the target
    has changes of this session that are not in its saved configuration. `exiting` ends the session.
    """

    def __init__(
        self,
        host: Host | Callable[[], Host],
        preferences: Preferences | None = None,
        bookmarks: Bookmarks | None = None,
        *,
        out: TextIO | None = None,
        err: TextIO | None = None,
        show_secrets: bool = False,
        assume_yes: bool = False,
        as_json: bool = False,
        ask: bool = False,
        make_root: Callable[[Session], Node] | None = None,
    ) -> None:
        self._host = host
        self.preferences = preferences or Preferences()
        self.bookmarks = bookmarks or Bookmarks()
        self.out = out or sys.stdout
        self.err = err or sys.stderr
        self.show_secrets = show_secrets
        self.assume_yes = assume_yes
        self.as_json = as_json
        self.answered: dict[str, object] = {}
        self._said: list[str] = []
        self.ask = ask
        self.stdin_taken = False
        """Do the commands come from standard input?"""
        self.can_ask = False
        """Does a person type the commands, at a terminal?"""
        self.before_output: Callable[[], None] = _nothing
        """Called before anything is printed."""
        self.answering: Callable[[], AbstractContextManager[None]] = nullcontext
        """Entered while a question waits for its answer at the terminal."""
        self.before_writing: Callable[[Path], None] = _not_kept
        """Called with a file in which a configuration is saved, before it is."""
        self.made_files: list[str] = []
        """The files that commands made for storage objects."""
        self.rehearsing = False
        """Does a command run only to show what it would change?"""
        self.changed = False
        self.status = 0
        """The exit status of a command that did not fail."""
        self.exiting = False
        self.choose: Callable[[Node], str] | None = None
        """How an interactive session lets the user choose a path."""
        self._make_root = make_root or _root
        self._root: Node | None = None
        self._current: Node | None = None
        self._history = ["/"]
        self._history_at = 0

    @property
    def host(self) -> Host:
        """The target; found when first needed. Raises NoTargetError."""
        if callable(self._host):
            self._host = self._host()
        return self._host

    @property
    def lio(self) -> Lio:
        """The target's objects."""
        return self.host.lio

    @property
    def prefs(self) -> Preferences:
        """The preferences, by the name that configshell's nodes know."""
        return self.preferences

    @property
    def root(self) -> Node:
        if self._root is None:
            self._root = self._current = self._make_root(self)
        return self._root

    @property
    def current(self) -> Node:
        root = self.root
        return self._current or root

    def copy_of_current(self) -> Node:
        """The current place in a tree of its own, for use beside this session. Raises UsageError if it is
        gone."""
        return self._make_root(self).get_node(self.current.path)

    # What is printed

    def say(self, text: str = "") -> None:
        """Print a result, or keep it for a document. Raises OutputClosedError when nobody reads it."""
        if self.rehearsing:
            return
        if self.as_json:
            self._said.append(text)
        else:
            self._print(text)

    def answer(self, **facts: object) -> None:
        """The running command's result as JSON has it, in place of all it says."""
        self.answered = facts

    def _print(self, text: str) -> None:
        self.before_output()
        try:
            self.out.write(f"{text}\n")
        except BrokenPipeError as error:
            raise OutputClosedError from error

    def warn(self, text: str) -> None:
        """Print a warning on standard error, after the results so far."""
        self.before_output()
        self._flush()
        self.err.write(f"warning: {text}\n")
        self.err.flush()

    def _flush(self) -> None:
        try:
            self.out.flush()
        except BrokenPipeError as error:
            raise OutputClosedError from error

    def paint(self) -> render.Paint:
        """Colors, if the output is a terminal that has them and the user wants them."""
        wanted = self.preferences.flag("color_mode") and "NO_COLOR" not in os.environ
        able = self.out.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        return render.Paint(wanted and able, self.preferences.text("color_default"))

    def show_tree(self, top: Node, depth: int | None) -> None:
        """Print the tree below a node."""
        if self.as_json:
            from isadmin.shell import output

            with self.root.looking():
                self.answer(node=output.tree(top, depth))
            return
        width = render.MAX_WIDTH
        if self.out.isatty():
            # A pseudo-terminal that nobody gave a size has none.
            width = min(os.get_terminal_size(self.out.fileno()).columns or width, width)
        flag = self.preferences.flag
        style = render.TreeStyle(
            width, flag("tree_round_nodes"), flag("tree_status_mode"), flag("tree_show_root"), self.paint()
        )
        with self.root.looking():
            lines = list(render.tree(top, style, depth))
        self.say("\n".join(lines))

    # What is run

    def run_line(self, line: str) -> None:
        """Run one line as the user typed it. Raises IsadminError."""
        self.run(language.parse(line))

    def run_words(self, words: Sequence[str], *, dry_run: bool = False) -> None:
        """Run one command given as a program's arguments; `dry_run` adds its option --dry-run. Raises
        IsadminError."""
        command = language.parse_words(words)
        if dry_run and command.name and language.DRY_RUN not in command.arguments:
            command = replace(command, arguments=(*command.arguments, language.DRY_RUN))
        self.run(command)

    def run(self, command: Command) -> None:
        """Run one command. Raises IsadminError, whatever failed underneath."""
        if not command:
            return
        self._look_again()
        everywhere = "*" in command.path.split("/")
        if not command.name:
            command = replace(command, name="ls") if everywhere else Command(command.path, "cd", (".",))
        elif command.name == "?":
            command = replace(command, name="help")
        try:
            nodes = self.current.get_nodes(command.path)
            if nodes:
                command = nodes[0].supplied(command)
            for node in nodes:
                if everywhere:
                    self.say(f"[{node.path}]")
                with self._document(node, command) if self.as_json else nullcontext():
                    self._run_at(node, command)
            self._flush()
        except (IsadminError, OutputClosedError):
            raise
        except Exception as error:  # a user is never shown a traceback unasked
            raise explain(f"{command.name} failed", error) from error

    @contextmanager
    def _document(self, node: Node, command: Command) -> Iterator[None]:
        """Print one document of what a command answered, or else said; none if it failed without a word."""
        from isadmin.shell import output

        self.answered, self._said = {}, []
        path, done = node.path, False
        try:
            yield
            done = True
        finally:
            if done or self._said or self.answered:
                said: dict[str, object] = {"done": done, "messages": self._said}
                facts = self.answered or said
                self._print(output.line(command.name, path, facts))

    def _run_at(self, node: Node, command: Command) -> None:
        rehearsed = node.rehearsed(command)
        if rehearsed is not None:
            from isadmin.shell import rehearsing

            rehearsing.rehearse(self, node, rehearsed)
            return
        locks = node.locks(command)
        along = self._agreed(node, command) if locks and self.can_ask and not self.assume_yes else []
        with self.alone() if locks else nullcontext():
            if along and node.takes_along(command) != along:
                raise IsadminError("What goes along changed meanwhile: nothing was deleted", "try again")
            changes = node.changes(command)
            try:
                with self._noted(node, command) if changes else nullcontext():
                    to = node.run(command)
            except UsageError:
                raise
            except BaseException:
                self.changed |= changes
                raise
            self.changed |= changes
        if not locks:
            self._warn_if_overdue()
        if to is not None:
            self._go(to)

    def _warn_if_overdue(self) -> None:
        """What only reads undoes nothing, but does not hide that it should have been."""
        if not callable(self._host) and self._host.waits_for_confirmation():
            from isadmin.shell import confirming

            text = confirming.overdue(self._host)
            if text:
                self.warn(text)

    def _agreed(self, node: Node, command: Command) -> list[str]:
        """What a command takes along, once the user agreed to it: nobody waits for a lock meanwhile."""
        along = node.takes_along(command)
        if along:
            from isadmin.shell import consequences

            consequences.ask(self, f"{command.name} at {node.path}", along)
        return along

    def asked(self, question: str) -> bool:
        """Does the user, at the terminal, say yes to a question?"""
        self.before_output()
        self._flush()
        self.err.write(question)
        self.err.flush()
        with self.answering():
            return sys.stdin.readline().strip().lower() in ("y", "yes")

    def _noted(self, node: Node, command: Command) -> AbstractContextManager[None]:
        """Note what a command changes, for `undo`; those about whole configurations do it themselves."""
        from isadmin.shell import plans

        if command.name in WHOLE or (node.path == "/" and command.name != "set"):
            return nullcontext()
        place = "" if node.path == "/" else f"{node.path} "
        words = [command.name, *(language.quote(word) for word in command.arguments)]
        words += [f"{key}={language.quote(value)}" for key, value in command.keywords.items()]
        line = language.masked(" ".join(words))
        return plans.noted(self, f"{place}{line}")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Change the target while nobody else does. Raises PermissionDeniedError, NoTargetError,
        LockedError."""
        self.host.require_change()
        seconds = self.preferences.number("lock_timeout")
        with self.host.lock(seconds, lambda who: self.warn(f"waiting for {who}, which has the lock")):
            self.host.prepare()
            if self.host.waits_for_confirmation():
                from isadmin.shell import confirming

                confirming.settle(self)
            yield

    def _look_again(self) -> None:
        """Forget the tree; stay at the same place, or the nearest one above that is still there."""
        path = self.current.path
        root = self.root
        root.refresh()
        self._current = root
        while path != "/":
            try:
                self._current = root.get_node(path)
                return
            except NoTargetError:
                # The command will say so if it needs the target.
                return
            except UsageError:
                gone, path = path, path.rpartition("/")[0] or "/"
                self.warn(f"{gone} is gone; you are now at {path}")

    def _go(self, node: Node) -> None:
        self._current = node
        if node.path != self._history[self._history_at]:
            del self._history[self._history_at + 1 :]
            self._history.append(node.path)
            self._history_at += 1

    @property
    def places(self) -> list[str]:
        """The places visited, up to the current one."""
        return self._history[: self._history_at + 1]

    def begin_where(self, places: Sequence[str]) -> None:
        """Go on where an earlier session was, if that place is still there; its places come before this
        one's."""
        if not places:
            return
        try:
            node = self.root.get_node(places[-1])
        except IsadminError:
            return
        self._history, self._history_at, self._current = list(places), len(places) - 1, node

    def visited(self, step: int) -> Node | None:
        """The place before (-1) or after (1) this one in the history of places that still exist."""
        at = self._history_at + step
        while 0 <= at < len(self._history):
            try:
                node = self.root.get_node(self._history[at])
            except UsageError:
                at += step
                continue
            self._history_at = at
            self.say(f"Taking you back to {node.path}.")
            return node
        self.say(
            "Reached the end of the path history."
            if step > 0
            else "Reached the beginning of the path history."
        )
        return None

    def choose_path(self, node: Node) -> str:
        """Let the user choose a place. Raises UsageError where nobody can be asked."""
        if self.choose is None:
            raise UsageError("cd: missing path", "usage: cd path")
        return self.choose(node)

    def prompt(self) -> str:
        """The prompt: the current path, its middle left out if it is longer than the user wants."""
        path = self.current.path
        longest = self.preferences.number("prompt_length")
        if longest and len(path) > longest:
            half = max((longest - 3) // 2, 1)
            path = f"{path[:half]}...{path[-half:]}"
        return f"{path}> "

    def finish(self, *, save: bool) -> None:
        """End the session: save the target's configuration if it changed and the user prefers that; keep
        bookmarks.

        Raises IsadminError if saving fails.
        """
        self.bookmarks.save()
        if not (save and self.changed and self.host.savefile):
            return
        if self.preferences.flag("auto_save_on_exit"):
            self.say("Global pref auto_save_on_exit=true")
            self.run(Command("/", "saveconfig"))
        else:
            self.say("Global pref auto_save_on_exit=false: the changes are not saved")


def _nothing() -> None:
    """What is done where there is nothing to do."""


def _not_kept(path: Path) -> None:
    """Nobody wants to know what is in the file."""


def _root(session: Session) -> Node:
    from isadmin.shell.nodes.root import Root

    return Root(session)
