"""The commands of `/` that change whole configurations: applied, restored, cleared, taken back."""

from __future__ import annotations

import stat
from contextlib import contextmanager

from isadmin.errors import RESTORED, IsadminError, PartlyRestoredError, UsageError
from isadmin.light import Path, replace
from isadmin.shell.language import Command
from isadmin.shell.node import Node
from isadmin.shell.nodes.comparing import ComparingCommands, part_of
from isadmin.shell.suggest import paths_like

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import ClassVar

    from isadmin.config.changes import Plan
    from isadmin.config.model import Flat, Key
    from isadmin.config.shape import Document


class ConfigurationCommands(ComparingCommands):
    """What `/` can do with whole configurations."""

    options: ClassVar[Mapping[str, Mapping[str, bool]]] = {
        "saveconfig": {"force": False},
        "restoreconfig": {"keep-going": False, "dry-run": False},
        "apply": {"dry-run": False, "prune": False, "confirm-within": True, "keep-going": False},
        "undo": {"dry-run": False, "force": False},
        "clearconfig": {},
        "diff": {},
        "check": {},
        "history": {},
        "confirm": {},
    }
    """Command -> its options as they can be typed, --NAME or --NAME VALUE, and whether they take a value."""

    reading: ClassVar[frozenset[str]] = Node.reading | {"check", "diff", "history"}

    def changes(self, command: Command) -> bool:
        if command.name in ("saveconfig", "confirm") or self._is_dry(command):
            return False
        return super().changes(command)

    def locks(self, command: Command) -> bool:
        if self._is_dry(command):
            return False
        return command.name in ("saveconfig", "confirm") or super().locks(command)

    @staticmethod
    def _is_dry(command: Command) -> bool:
        if command.name not in ("apply", "undo", "restoreconfig"):
            return False
        said = command.keywords.get("dry_run", command.keywords.get("--dry-run", "false"))
        return "--dry-run" in command.arguments or said in ("true", "1", "yes")

    def run(self, command: Command) -> Node | None:
        known = self.options.get(command.name)
        if known is None:
            return super().run(command)
        return super().run(self._with_options(command, known))

    @staticmethod
    def _with_options(command: Command, known: Mapping[str, bool]) -> Command:
        """The command with --NAME options as NAME=VALUE. Raises UsageError for one it does not have."""
        arguments: list[str] = []
        keywords = dict(command.keywords)
        words = list(command.arguments)
        words += [f"{key}={keywords.pop(key)}" for key in list(keywords) if key.startswith("--")]
        while words:
            word = words.pop(0)
            if not word.startswith("--"):
                arguments.append(word)
                continue
            name, equals, value = word[2:].partition("=")
            if name not in known:
                if name in ("output", "show-secrets", "yes", "debug"):
                    what = f"{command.name}: --{name} is an option of isadmin"
                    raise UsageError(what, "it stands before the command")
                listed = " ".join(f"--{one}" for one in known) or "none"
                raise UsageError(f"{command.name}: unknown option --{name}", f"there are: {listed}")
            if known[name] and not equals:
                if not words:
                    raise UsageError(f"{command.name}: --{name} needs a value")
                value = words.pop(0)
            key = name.replace("-", "_")
            if key in keywords:
                raise UsageError(f"{command.name}: {key} is given twice")
            keywords[key] = value if known[name] or equals else "true"
        return replace(command, arguments=tuple(arguments), keywords=keywords)

    # Applying

    def ui_command_apply(
        self,
        file: str,
        dry_run: str | None = None,
        prune: str | None = None,
        confirm_within: str | None = None,
        keep_going: str | None = None,
    ) -> None:
        """
        Makes the running configuration agree with a file, JSON or YAML, with the fewest changes.

        What does not differ is not touched: sessions on it stay up. If a step fails, everything
        done before it is undone.

        PARAMETERS
        ==========

        file
        ----
        The file.

        dry_run
        -------
        `--dry-run`: only show what would be done.

        prune
        -----
        `--prune`: also delete what the file does not have.

        confirm_within
        --------------
        `--confirm-within SECONDS`: undo everything unless `confirm` is typed in time.

        keep_going
        ----------
        `--keep-going`: what cannot be done is reported and left out, and the rest is done.

        RESULT
        ======
        The exit status is as that of `restoreconfig`. With --output json, "result" says what became
        of it, "failed" and "skipped" list what is missing, and "error" is the error's line.

        SEE ALSO
        ========
        diff confirm undo check restoreconfig
        """
        with self._result_told("applied"):
            self._apply(file, dry_run, prune, confirm_within, keep_going)

    @contextmanager
    def _result_told(self, done: str) -> Iterator[None]:
        """Answer what became of a file, in one word, if the block fails, as it does itself if not."""
        try:
            yield
        except IsadminError as error:
            if not isinstance(error, UsageError):
                result = RESTORED.get(error.status, "failed").replace(RESTORED[0], done)
                self.shell.answer(**{**self.shell.answered, "result": result, "error": error.line()})
            raise

    def _apply(
        self,
        file: str,
        dry_run: str | None,
        prune: str | None,
        confirm_within: str | None,
        keep_going: str | None,
    ) -> None:
        path = Path(file).expanduser()
        seconds = self._seconds(confirm_within)
        pruned = self._flag(prune)
        going_on = self._flag(keep_going)
        plan, now = self._plan(path, prune=pruned, keep_going=going_on)
        agrees = f"No change: the running configuration {'agrees with' if pruned else 'has all of'} {path}"
        if self._flag(dry_run):
            self._rehearse(plan, path, agrees)
            return
        if not plan:
            self.say(agrees)
            self.shell.answer(done=True, failed=[], skipped=[], result="applied", changes=0)
            return
        self._warn_of_sessions(plan)
        from isadmin.shell import plans

        mark = ""
        if seconds:
            from isadmin.shell import confirming

            mark = confirming.begin(self.shell, plan, now, seconds)
        try:
            self._carry_out(plan, now, f"apply {path}", keep_going=going_on, mark=mark)
        except (PartlyRestoredError, plans.HalfDoneError):
            self._settle(seconds, failed=False)
            raise
        except BaseException:
            self._settle(seconds, failed=True)
            raise
        self._settle(seconds, failed=False)
        self.shell.answer(**self.shell.answered, result="applied", changes=len(plan.changes))
        self.say(f"{len(plan.changes)} changes applied from {path}")
        if seconds:
            self.say(f"They are undone in {seconds} seconds unless you type `/ confirm`")

    def _settle(self, seconds: int, *, failed: bool) -> None:
        """The time to confirm runs, or there is nothing left to confirm."""
        if not seconds:
            return
        from isadmin.shell import confirming

        if failed:
            confirming.called_off(self.shell)
        else:
            confirming.settled(self.shell)

    def _warn_of_sessions(self, plan: Plan) -> None:
        from isadmin.shell import plans

        for line in plans.ended_sessions(self.shell, plan.changes):
            self.warn(f"this {line}")

    def _carry_out(self, plan: Plan, now: Flat, command: str, *, keep_going: bool, mark: str = "") -> None:
        from isadmin.shell import plans

        outcome = plans.carry_out(self.shell, plan, now, command, keep_going=keep_going, mark=mark)
        self.get_root().refresh()
        self._warn_of_values_not_had(command, outcome.not_had)
        for line in _longer_files(plan, now):
            self.warn(line)
        for line in outcome.failed:
            self.warn(f"{line}, skipped")
        for line in outcome.skipped:
            self.warn(f"skipped: {line}")
        self.shell.answer(done=not outcome.failed, failed=outcome.failed, skipped=outcome.skipped)
        if outcome.failed:
            what = f"{command.capitalize()}: {len(outcome.failed)} recoverable errors"
            if command.startswith("restoreconfig "):
                source = command.partition(" ")[2]
                what = f"Configuration restored from {source}, {len(outcome.failed)} recoverable errors"
            raise PartlyRestoredError(what, "they are listed above")

    @staticmethod
    def _seconds(text: str | None) -> int:
        if text is None:
            return 0
        if not text.isdecimal() or not 0 < int(text) <= 86400:
            raise UsageError(f"'{text}' is no time to confirm within", "it is 1 to 86400 seconds")
        return int(text)

    def ui_command_confirm(self) -> None:
        """
        Keeps what `apply --confirm-within` changed.

        SEE ALSO
        ========
        apply
        """
        from isadmin.shell import confirming

        confirming.confirm(self.shell)
        self.say("Confirmed: the changes stay")

    def ui_command_restoreconfig(
        self,
        savefile: str | None = None,
        clear_existing: str | None = None,
        target: str | None = None,
        storage_object: str | None = None,
        generation: str | None = None,
        keep_going: str | None = None,
        dry_run: str | None = None,
    ) -> None:
        """
        Makes the configuration that a file holds.

        The whole file is checked first; one that is not acceptable changes nothing. What is there
        already and does not differ is not touched. If something cannot be restored, everything is
        as it was before.

        PARAMETERS
        ==========

        savefile
        --------
        The file, plain or gzipped; if omitted, the one that is restored when the machine starts.

        clear_existing
        --------------
        If true, what the file does not have is deleted.

        target
        ------
        Restore only the target of this name.

        storage_object
        --------------
        Restore only the storage object of this name.

        generation
        ----------
        Restore an earlier saved configuration, by its number in `history`.

        keep_going
        ----------
        `--keep-going`: what cannot be restored is reported and left out, and the rest is restored.

        dry_run
        -------
        `--dry-run`: only show what would be done.

        RESULT
        ======
        The exit status tells what became of it: 0 restored, 5 there is no file, 6 refused, 7
        partly restored, any other one failed. With --output json, "result" says so in these
        words, "failed" and "skipped" list what is missing, and "error" is the error's line.

        SEE ALSO
        ========
        saveconfig clearconfig history apply undo
        """
        with self._result_told("restored"):
            self._restore(savefile, clear_existing, target, storage_object, generation, keep_going, dry_run)

    def _restore(
        self,
        savefile: str | None,
        clear_existing: str | None,
        target: str | None,
        storage_object: str | None,
        generation: str | None,
        keep_going: str | None,
        dry_run: str | None,
    ) -> None:
        clear = self._flag(clear_existing)
        if generation is not None and savefile is not None:
            raise UsageError("restoreconfig: both a file and a generation", "give one of them")
        path = self._file(savefile) if generation is None else self._generation(generation)
        narrowed = None
        if target or storage_object:

            def narrowed(found: Document) -> tuple[Document, Callable[[Key], bool]]:
                return part_of(path, found, target, storage_object)

        going_on = self._flag(keep_going)
        plan, now = self._plan(path, prune=clear, keep_going=going_on, narrowed=narrowed)
        if self._flag(dry_run):
            whole = clear and narrowed is None
            how = "agrees with" if whole else "has all that is to be restored of"
            self._rehearse(plan, path, f"No change: the running configuration {how} {path}")
            return
        self._warn_of_sessions(plan)
        self._carry_out(plan, now, f"restoreconfig {path}", keep_going=going_on)
        self.shell.answer(**self.shell.answered, result=RESTORED[0], changes=len(plan.changes))
        self.say(f"Configuration restored from {path}" + ("" if plan else " (no change)"))

    # Clearing and taking back

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
        saveconfig restoreconfig undo
        """
        from isadmin.config import diff
        from isadmin.shell import plans

        if not (self._flag(confirm) or self.shell.assume_yes):
            what = "As a precaution, confirm=True needs to be set"
            raise UsageError(what, "add confirm=true, or the option -y")
        now = plans.running(self.shell)
        plans.carry_out(self.shell, diff.exact(now, {}), now, "clearconfig")
        self._clear_rest()
        self.get_root().refresh()
        self.say("All configuration cleared")

    def _clear_rest(self) -> None:
        """What is no whole object: storage objects that were never enabled, LUNs without a device."""
        from isadmin.lio.fabrics import FABRICS

        lio = self.shell.lio
        leftovers = [target for fabric in FABRICS for target in lio.targets(fabric)]
        objects = lio.storage_objects()
        if not leftovers and not objects:
            return
        from isadmin.lio import storage, write

        for target in leftovers:
            write.delete_target(target)
        for so in objects:
            storage.delete(lio, so)

    def ui_command_undo(
        self, count: str | None = None, dry_run: str | None = None, force: str | None = None
    ) -> None:
        """
        Takes back the last change of the running target, or the last ones.

        What has been deleted is made again; the contents of a deleted ramdisk stay lost. Nothing is
        undone if values that were set were changed since by other means, or objects that were made
        or deleted are others now, unless `--force` is given. Changes can be taken back until the
        machine is booted again; what is saved, longer (see `history`).

        PARAMETERS
        ==========

        count
        -----
        How many changes to take back; 1 if omitted.

        dry_run
        -------
        `--dry-run`: only show what would be done.

        force
        -----
        `--force`: also take back what was changed since.

        SEE ALSO
        ========
        history diff
        """
        from isadmin.shell import undoing

        if count is not None and (not count.isdecimal() or int(count) < 1):
            raise UsageError(f"'{count}' is no number of changes", "usage: undo [N]")
        entries = undoing.last(self.shell, int(count or 1))
        plan, now = undoing.plan(self.shell, entries, force=self._flag(force))
        if self._flag(dry_run):
            self._rehearse(plan, Path(str(entries[-1].file)), "No change: nothing is left to take back")
            return
        self._warn_of_sessions(plan)
        undoing.take_back(self.shell, entries, plan, now)
        self.get_root().refresh()
        for line in _longer_files(plan, now):
            self.warn(line)
        for entry in entries:
            self.say(f"Undone: {entry.origin.command} ({entry.origin.user}, {entry.origin.time})")

    # Completion

    def ui_complete_restoreconfig(
        self, parameters: Mapping[str, str], text: str, current_param: str
    ) -> list[str]:
        if current_param == "savefile":
            return paths_like(text, stat.S_IFREG)
        flags = ("clear_existing", "keep_going", "dry_run")
        return ["true", "false"] if current_param in flags else []

    def ui_complete_apply(self, parameters: Mapping[str, str], text: str, current_param: str) -> list[str]:
        if current_param == "file":
            return paths_like(text, stat.S_IFREG)
        return ["true", "false"] if current_param in ("dry_run", "prune", "keep_going") else []

    def ui_complete_clearconfig(
        self, parameters: Mapping[str, str], text: str, current_param: str
    ) -> list[str]:
        return ["true"] if current_param == "confirm" else []


def _longer_files(plan: Plan, now: Flat) -> list[str]:
    """What is said of files whose objects become smaller: nothing is cut off that was not to be."""
    from isadmin.config.changes import Set
    from isadmin.config.model import StorageObject, name_of

    found = []
    for change in plan.changes:
        one = now.get(change.key)
        if not isinstance(change, Set) or change.name != "size" or not isinstance(one, StorageObject):
            continue
        if one.plugin == "fileio" and one.size is not None and int(str(change.new)) < one.size:
            name = name_of(change.key)
            found.append(f"{one.dev} stays as long as it was: {name} has its first {change.new} bytes")
    return found
