"""What a terminal session shows beside the line that is typed, found out in a thread: typing never waits.

The thread looks at trees of its own. What it found is forgotten after each command, since any command may
have changed it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from isadmin.shell.highlight import Commands
from isadmin.shell.node import Node
from isadmin.shell.session import Session

LOOK_AGAIN = 5.0
"""Seconds after which sessions are counted again; longer where counting them takes long."""


class Background:
    """Answers at once with what is known; `changed` is called, in the thread, when more is."""

    def __init__(self, session: Session, changed: Callable[[], None]) -> None:
        self._session = session
        self._changed = changed
        self._questions: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._commands: dict[str, Commands] = {}
        self._asked: set[str] = set()
        self.version = 0
        """Another number whenever an answer may differ from before."""
        self.sessions: int | None = None
        """How many initiators are logged in, None while that is not known."""
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="background", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; it is not waited for, since the target may have stopped answering."""
        self._questions.put(None)

    def forget(self) -> None:
        """A command was run: everything may have changed."""
        self.version += 1
        self._commands = {}
        self._asked = set()
        self._questions.put("")

    def commands_at(self, path: str) -> Commands | None:
        """The commands at a path from the current place: none if there is no such place, None if that is
        not known yet."""
        if not path:
            return commands_of(self._session.current)
        if path not in self._asked:
            self._asked.add(path)
            self._questions.put(path)
        return self._commands.get(path)

    def _run(self) -> None:
        pause = 0.0
        while True:
            try:
                path = self._questions.get(timeout=pause) if pause else ""
            except queue.Empty:
                path = ""
            if path is None:
                return
            begun = time.monotonic()
            known = self._commands
            before = self.sessions
            if path:
                known[path] = self._look(path)
            else:
                self.sessions = self._count()
            if path or self.sessions != before:
                self.version += 1
                self._changed()
            pause = max(LOOK_AGAIN, 20 * (time.monotonic() - begun))

    def _look(self, path: str) -> Commands:
        try:
            nodes = self._session.copy_of_current().get_nodes(path)
            return commands_of(nodes[0]) if nodes else {}
        except Exception:  # noqa: BLE001 - running the line will say what is wrong
            return {}

    def _count(self) -> int | None:
        from isadmin.lio.sessions import all_sessions

        try:
            return len(all_sessions(self._session.lio))
        except Exception:  # noqa: BLE001 - without a number, the bar shows none
            return None


def commands_of(node: Node) -> Commands:
    """A place's commands and their parameters."""
    return {name: _parameters(node, name) for name in node.list_commands()}


def _parameters(node: Node, command: str) -> frozenset[str] | None:
    found = node.signature(command)
    if any(p.kind is p.VAR_KEYWORD for p in found):
        return None
    return frozenset(p.name for p in found if p.kind is p.POSITIONAL_OR_KEYWORD)
