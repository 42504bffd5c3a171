"""The root of the tree: what concerns the whole configuration - saving, restoring, clearing it, and its
sessions."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from isadmin import __version__
from isadmin.errors import (
    IsadminError,
    NoFileError,
    PartlyRestoredError,
    UsageError,
)
from isadmin.shell.language import Command
from isadmin.shell.node import Node
from isadmin.shell.suggest import paths_like

if TYPE_CHECKING:
    from isadmin.config.document import Document
    from isadmin.lio.objects import Lio, MappedLun
    from isadmin.lio.sessions import Session as LioSession
    from isadmin.shell.session import Session


class Root(Node):
    """`/`."""

    reading: ClassVar[frozenset[str]] = Node.reading | {"sessions"}

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

    def changes(self, command: Command) -> bool:
        return command.name != "saveconfig" and super().changes(command)

    def locks(self, command: Command) -> bool:
        return command.name == "saveconfig" or super().locks(command)

    def ui_command_saveconfig(self, savefile: str | None = None, force: str | None = None) -> None:
        """
        Saves the configuration to a file, from which `restoreconfig` makes it again.

        PARAMETERS
        ==========

        savefile
        --------
        The file; if omitted, the one that is restored when the machine starts. Earlier
        versions of that one are kept in the directory "backup" beside it, as many as the
        preference max_backup_files says.

        force
        -----
        If true, an empty configuration replaces a file that holds one. `--force` says the same.

        SEE ALSO
        ========
        restoreconfig clearconfig
        """
        from isadmin.config import store
        from isadmin.lio import saved

        if savefile == "--force":
            savefile, force = None, "true"
        forced = force == "--force" or self.ui_eval_param(force, "bool", False)
        path = self._file(savefile)
        is_default = path == self.shell.host.savefile
        store.save(
            path,
            saved.dump(self.shell.host),
            force=forced,
            backups=self.shell.preferences.number("max_backup_files") if is_default else None,
        )
        if is_default:
            self.shell.changed = False
        self.say(f"Configuration saved to {path}")

    def _file(self, name: str | None) -> Path:
        """The file a user named, or the target's own. Raises NoFileError if it has none."""
        if name:
            return Path(name).expanduser()
        if self.shell.host.savefile is None:
            raise NoFileError("This target has no saved configuration of its own", "name a file")
        return self.shell.host.savefile

    def ui_command_restoreconfig(
        self,
        savefile: str | None = None,
        clear_existing: str | None = None,
        target: str | None = None,
        storage_object: str | None = None,
    ) -> None:
        """
        Makes the configuration that a file holds.

        The whole file is checked first; one that is not acceptable changes nothing. What could
        not be restored is listed, and the exit status tells.

        PARAMETERS
        ==========

        savefile
        --------
        The file, plain or gzipped; if omitted, the one that is restored when the machine starts.

        clear_existing
        --------------
        If true, what is configured now is removed first. Else nothing in the file may exist yet.

        target
        ------
        Restore only the target of this name.

        storage_object
        --------------
        Restore only the storage object of this name.

        SEE ALSO
        ========
        saveconfig clearconfig
        """
        from isadmin.config import store
        from isadmin.lio import saved

        clear = self.ui_eval_param(clear_existing, "bool", False)
        path = self._file(savefile)
        configuration = store.read(path)
        self._check_restorable(path, configuration, target, storage_object)
        errors = saved.restore(
            self.shell.host,
            configuration,
            clear_existing=clear,
            target=target,
            storage_object=storage_object,
        )
        self.get_root().refresh()
        if errors:
            for error in errors:
                self.warn(error)
            what = f"Configuration restored from {path}, {len(errors)} recoverable errors"
            raise PartlyRestoredError(what, "they are listed above")
        self.say(f"Configuration restored from {path}")

    def _check_restorable(
        self, path: Path, configuration: Document, target: str | None, storage_object: str | None
    ) -> None:
        """Raises UsageError for a part that the file does not have, or that cannot stand alone."""
        objects = configuration.get("storage_objects", [])
        if storage_object and not any(so["name"] == storage_object for so in objects):
            raise UsageError(f"{path} has no storage object {storage_object}")
        if not target:
            return
        found = [one for one in configuration.get("targets", []) if one["wwn"] == target]
        if not found:
            raise UsageError(f"{path} has no target {target}")
        there = {f"/backstores/{so.plugin}/{so.name}" for so in self.lio.storage_objects()}
        needed = {lun["storage_object"] for tpg in found[0].get("tpgs", []) for lun in tpg.get("luns", [])}
        if needed - there:
            raise IsadminError(
                f"Target {target} needs {', '.join(sorted(needed - there))}, which is not there",
                "restore it first, with storage_object=NAME",
            )

    def ui_command_clearconfig(self, confirm: str | None = None) -> None:
        """
        Removes all targets and storage objects. Files and devices keep what is in them.

        PARAMETERS
        ==========

        confirm
        -------
        Must be true, as a precaution; the option -y says the same.

        SEE ALSO
        ========
        saveconfig restoreconfig
        """
        from isadmin.lio import saved

        if not (self.ui_eval_param(confirm, "bool", False) or self.shell.assume_yes):
            what = "As a precaution, confirm=True needs to be set"
            raise UsageError(what, "add confirm=true, or the option -y")
        saved.clear(self.shell.host)
        self.get_root().refresh()
        self.say("All configuration cleared")

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

        SEE ALSO
        ========
        status
        """
        from isadmin.lio.sessions import all_sessions

        if action not in ("list", "detail"):
            raise UsageError("action must be one of: list, detail")
        if sid is not None and not sid.isdecimal():
            raise UsageError(f"sid must be a number, '{sid}' given")
        sessions = [one for one in all_sessions(self.lio) if sid is None or one.id == int(sid)]
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
        if session.acl is None:
            self.say(f"    name: {session.initiator} (dynamic)")
        else:
            self.say(f"    name: {session.initiator}")
            for mapped in sorted(session.acl.mapped_luns(), key=lambda one: one.number):
                self.say(f"    {_mapping(mapped)}")
        for connection in session.connections:
            where = f"address: {connection.address} ({connection.transport})"
            self.say(f"    {where}  cid: {connection.cid} connection-state: {connection.state}")

    def ui_complete_saveconfig(
        self, parameters: Mapping[str, str], text: str, current_param: str
    ) -> list[str]:
        return paths_like(text, stat.S_IFREG) if current_param == "savefile" else []

    def ui_complete_restoreconfig(
        self, parameters: Mapping[str, str], text: str, current_param: str
    ) -> list[str]:
        if current_param == "savefile":
            return paths_like(text, stat.S_IFREG)
        return ["true", "false"] if current_param == "clear_existing" else []

    def ui_complete_clearconfig(
        self, parameters: Mapping[str, str], text: str, current_param: str
    ) -> list[str]:
        return ["true"] if current_param == "confirm" else []

    def ui_complete_sessions(self, parameters: Mapping[str, str], text: str, current_param: str) -> list[str]:
        return ["list", "detail"] if current_param == "action" else []


def _mapping(mapped: MappedLun) -> str:
    """One mapped LUN as `sessions detail` shows it."""
    lun = mapped.lun()
    so = None if lun is None else lun.storage_object()
    backstore = "unknown" if so is None else f"{so.plugin}/{so.name}"
    mode = "r" if mapped.write_protected() else "rw"
    return f"mapped-lun: {mapped.number} backstore: {backstore} mode: {mode}"
