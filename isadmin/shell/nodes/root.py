"""The root of the tree: what concerns the whole configuration - saving, restoring, clearing it, and its
sessions."""

from __future__ import annotations

from isadmin import __version__
from isadmin.errors import IsadminError, UsageError
from isadmin.shell.nodes.configuration import ConfigurationCommands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from typing import ClassVar

    from isadmin.lio.objects import Lio, MappedLun
    from isadmin.lio.sessions import Session as LioSession
    from isadmin.shell.node import Node
    from isadmin.shell.session import Session


class Root(ConfigurationCommands):
    """`/`."""

    reading: ClassVar[frozenset[str]] = ConfigurationCommands.reading | {"sessions", "top"}

    def __init__(self, shell: Session) -> None:
        super().__init__("/", shell=shell)

    @property
    def lio(self) -> Lio:
        """The configuration that this tree shows."""
        return self.shell.lio

    def looking(self) -> AbstractContextManager[None]:
        return self.lio.looking()

    def make_children(self) -> None:
        self.shell.host.require()
        from isadmin.shell.nodes.backstores import Backstores
        from isadmin.shell.nodes.fabrics import fabric_nodes

        Backstores(self)
        fabric_nodes(self)

    def find_child(self, name: str) -> Node | None:
        self.shell.host.require()
        if name == "backstores":
            from isadmin.shell.nodes.backstores import Backstores

            return Backstores(self)
        from isadmin.shell.nodes.fabrics import fabric_node

        return fabric_node(self, name)

    def ui_command_version(self) -> None:
        """
        Shows which isadmin this is.
        """
        self.shell.answer(of="isadmin", version=__version__)
        self.say(f"isadmin version {__version__}")

    def ui_command_sessions(self, action: str = "list", sid: str | None = None) -> None:
        """
        Lists the sessions of initiators that are logged in.

        PARAMETERS
        ==========

        action
        ------
        One of:
            - `list` one line a session
            - `detail` with addresses and the LUNs they see

        sid
        ---
        Only the session of this number.

        An initiator is shown as authenticated if its ACL lets nobody in without CHAP, and as not
        authenticated if the ACL has no name and secret; of others LIO does not tell.

        SEE ALSO
        ========
        status
        """
        from isadmin.lio.live import all_sessions

        if action not in ("list", "detail"):
            raise UsageError("action must be one of: list, detail")
        if sid is not None and not sid.isdecimal():
            raise UsageError(f"sid must be a number, '{sid}' given")
        sessions = [one for one in all_sessions(self.shell.host) if sid is None or one.id == int(sid)]
        if not sessions and sid is not None:
            raise IsadminError(f"no session found with sid {int(sid)}")
        if self.shell.as_json:
            from isadmin.shell import output

            detail = action == "detail"
            self.shell.answer(sessions=[output.session(one, detail=detail) for one in sessions])
            return
        if not sessions:
            self.say("(no open sessions)")
        for session in sessions:
            self._say_session(session, detail=action == "detail")

    def _say_session(self, session: LioSession, *, detail: bool) -> None:
        number = "unknown" if session.id is None else session.id
        kind, state = session.type or "unknown", session.state or "unknown"
        self.say(f"alias: {session.alias}\tsid: {number} type: {kind} session-state: {state}")
        if not detail:
            return
        proven = {None: "", True: " (authenticated)", False: " (NOT AUTHENTICATED)"}[session.authenticated]
        self.say(f"    name: {session.initiator}{' (dynamic)' if session.dynamic else proven}")
        if session.luns is not None:
            for lun in session.luns:
                mode = "r" if lun.read_only else "rw"
                self.say(f"    mapped-lun: {lun.number} backstore: {lun.storage_object} mode: {mode}")
        elif session.acl is not None:
            for mapped in sorted(session.acl.mapped_luns(), key=lambda one: one.number):
                self.say(f"    {_mapping(mapped)}")
        for connection in session.connections:
            where = f"address: {connection.address} ({connection.transport})"
            self.say(f"    {where}  cid: {connection.cid} connection-state: {connection.state}")

    def ui_command_top(self, seconds: str | None = None, count: str | None = None) -> None:
        """
        Shows what LUNs and sessions do: commands and MiB a second, from LIO's counters, the busiest
        first. At a terminal the table is drawn anew until `q` or Ctrl-C; elsewhere, and with
        --output json, it is printed once.

        PARAMETERS
        ==========

        seconds
        -------
        How long to count for a table; 2 if omitted.

        count
        -----
        How many tables to print, one after the other.

        LIO counts octets in whole MiB. What it does not tell is shown as "?": how many commands
        wait or are worked on (the queue), and what sessions without an ACL do. The userspace target
        tells all of it. Its queue is that of the moment: commands that wait for data, for others
        or for a medium, not those that are answered as soon as they are looked at.

        SEE ALSO
        ========
        sessions
        """
        from isadmin.shell import top

        pause = _number("seconds", seconds, 2, 3600)
        times = _number("count", count, 0, 10**9)
        if times or self.shell.as_json or not self.shell.out.isatty():
            top.print_tables(self.shell, pause, times or 1)
        else:
            top.watch(self.shell, pause)

    def ui_complete_sessions(self, parameters: Mapping[str, str], text: str, current_param: str) -> list[str]:
        return ["list", "detail"] if current_param == "action" else []


def _number(name: str, text: str | None, default: int, most: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or not 1 <= int(text) <= most:
        raise UsageError(f"{name} must be a number from 1 to {most}, '{text}' given")
    return int(text)


def _mapping(mapped: MappedLun) -> str:
    """One mapped LUN as `sessions detail` shows it."""
    lun = mapped.lun()
    so = None if lun is None else lun.storage_object()
    backstore = "unknown" if so is None else f"{so.plugin}/{so.name}"
    mode = "r" if mapped.write_protected() else "rw"
    return f"mapped-lun: {mapped.number} backstore: {backstore} mode: {mode}"
