"""The commands of `/` about the saved configuration and its generations."""

from __future__ import annotations

import stat

from isadmin.errors import NoFileError, UsageError
from isadmin.light import Path
from isadmin.shell.node import Node
from isadmin.shell.suggest import paths_like

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class SavingCommands(Node):
    """What `/` can do with saved configurations, and what is asked of a command that names one."""

    def _flag(self, text: str | None) -> bool:
        return bool(self.ui_eval_param(text, "bool", False))

    def _file(self, name: str | None) -> Path:
        """The file a user named, or the target's own. Raises NoFileError if it has none."""
        if name:
            return Path(name).expanduser()
        if self.shell.host.savefile is None:
            raise NoFileError("This target has no saved configuration of its own", "name a file")
        other = self.shell.host.other_savefile
        if other is not None:
            own = self.shell.host.savefile
            self.shell.warn(f"{own} is meant, where rtslib saves, not {other}: remove one of them")
        return self.shell.host.savefile

    # Saving

    def ui_command_saveconfig(self, savefile: str | None = None, force: str | None = None) -> None:
        """
        Saves the configuration to a file, from which `restoreconfig` makes it again.

        PARAMETERS
        ==========

        savefile
        --------
        The file; if omitted, the one that is restored when the machine starts. What was saved
        there is kept as generations in the directory "backup" beside it, as many as the
        preference max_backup_files says; `history` lists them.

        force
        -----
        If true, an empty configuration replaces a file that holds one, and any replaces a file
        that cannot be read or is no JSON, of which a copy is kept beside it. `--force` says the
        same.

        SEE ALSO
        ========
        restoreconfig clearconfig history diff
        """
        from isadmin.config import store
        from isadmin.lio import saved

        path = self._file(savefile)
        host = self.shell.host
        is_default = host.is_savefile(path)
        if is_default and not self._flag(force) and host.waits_for_confirmation():
            from isadmin.shell import confirming

            confirming.refuse_saving(host)
        from isadmin.shell import waiting

        self.shell.before_writing(path)
        with waiting.slow(self.shell, "saving the configuration"):
            changed = store.save(
                path,
                saved.worth_saving(host),
                force=self._flag(force),
                generations=self.shell.preferences.number("max_backup_files") if is_default else None,
                command="saveconfig",
            )
        if is_default:
            self.shell.changed = False
        self.say(f"Configuration saved to {path}" + ("" if changed else " (no change)"))

    def ui_command_history(self, action: str | None = None, number: str | None = None) -> None:
        """
        Lists what was saved, the newest last: number, time, user and command.

        PARAMETERS
        ==========

        action
        ------
        `show` shows one of them, as JSON, secrets hidden unless --show-secrets was given.

        number
        ------
        Which one to show.

        SEE ALSO
        ========
        saveconfig diff restoreconfig
        """
        from isadmin.config import document, generations, store

        if action is None and number is None:
            found = generations.every(*self._states())
            for one in found:
                mark = "-" if one.number is None else str(one.number)
                origin = one.origin
                command = origin.command or f"kept by another tool: {one.path}"
                self.say(f"{mark:>5}  {origin.time:25}  {origin.user:12}  {command}".rstrip())
            if not found:
                self.say("Nothing was saved yet.")
            self.shell.answer(
                generations=[
                    {
                        "number": one.number,
                        "time": one.origin.time,
                        "user": one.origin.user,
                        "command": one.origin.command,
                        "file": str(one.path),
                    }
                    for one in found
                ]
            )
            return
        if action != "show" or number is None:
            raise UsageError("history: 'show' and a number are expected", "usage: history [show N]")
        shown = store.read(self._generation(number))
        if not self.shell.show_secrets:
            shown = document.without_secrets(shown)
        self.say(document.render(shown).rstrip("\n"))
        self.shell.answer(configuration=shown)

    def _states(self) -> tuple[Path, Path]:
        """Where generations are: beside the saved configuration, and beside a symbolic link to it, where
        they were kept before it became one."""
        if self.shell.host.savefile is None:
            raise NoFileError("This target has no saved configuration of its own", "name a file")
        file = Path(self.shell.host.savefile)
        return file.resolve().parent, file.parent

    def _generation(self, number: str) -> Path:
        from isadmin.config import generations

        if not number.isdecimal():
            raise UsageError(f"A generation is a number, '{number}' given", "see `history`")
        found = generations.find(int(number), *self._states())
        if found is None:
            raise NoFileError(f"There is no generation {number}", "see `history`")
        return found.path

    # Completion

    def ui_complete_saveconfig(
        self, parameters: Mapping[str, str], text: str, current_param: str
    ) -> list[str]:
        return paths_like(text, stat.S_IFREG) if current_param == "savefile" else []

    def ui_complete_history(self, parameters: Mapping[str, str], text: str, current_param: str) -> list[str]:
        return ["show"] if current_param == "action" else []
