"""The commands of `/` that compare a file with the running configuration."""

from __future__ import annotations

import stat

from isadmin.errors import DIFFERENT, RefusedFileError, UsageError
from isadmin.light import Path
from isadmin.shell.nodes.saving import SavingCommands
from isadmin.shell.suggest import paths_like

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from isadmin.config.changes import Plan
    from isadmin.config.model import Flat, Key
    from isadmin.config.shape import Document


class ComparingCommands(SavingCommands):
    """What `/` can tell of a file."""

    def ui_command_check(self, file: str) -> None:
        """
        Checks a file that holds a configuration. Nothing is changed.

        Every problem is listed with its place. Keys that mean nothing to this version, what refers
        to objects that the file does not have, and values that kernel 6.1 would not take but
        another one may, are warned of.

        SEE ALSO
        ========
        diff apply restoreconfig
        """
        from isadmin.config import diff, document, shape, store
        from isadmin.lio import checking

        path = Path(file).expanduser()
        try:
            found = store.read(path, checking.problems_and_names)
        except document.BadDocumentError as error:
            for problem in error.problems:
                self.say(f"{path}: {problem}")
            self.shell.answer(problems=error.problems, warnings=[])
            count = len(error.problems)
            what = f"{path} is no acceptable configuration: {count} problem{'s' if count > 1 else ''}"
            raise RefusedFileError(what) from error
        warnings = [
            f"{place} is not known: it is kept, and does nothing" for place in shape.unknown_keys(found)
        ]
        from isadmin.config.model import flatten

        warnings += diff.dangling(flatten(document.value(found)))
        doubts = checking.doubts(found)
        warnings += doubts
        for warning in warnings:
            self.warn(f"{path}: {warning}")
        self.shell.answer(problems=[], warnings=warnings)
        self.say(f"{path} can be applied" + (" to a target that takes what is warned of" if doubts else ""))

    def ui_command_diff(self, file: str | None = None) -> None:
        """
        Shows what would have to change for the running configuration to become a saved one.

        The exit status is 0 if nothing would, 9 if something would, another one for an error.

        PARAMETERS
        ==========

        file
        ----
        A file, or the number of a generation (see `history`); if omitted, the saved
        configuration.

        SEE ALSO
        ========
        apply restoreconfig history
        """
        path = self._generation(file) if file and file.isdecimal() else self._file(file)
        plan, _ = self._plan(path, prune=True)
        self._show(plan, path, f"No difference from {path}")
        if plan:
            self.shell.status = DIFFERENT

    def _rehearse(self, plan: Plan, path: Path, nothing: str) -> None:
        """Show what would be done, and what would be in its way."""
        from isadmin.config.changes import Create
        from isadmin.config.model import StorageObject, name_of

        for change in plan.changes:
            one = change.value if isinstance(change, Create) else None
            if not isinstance(one, StorageObject) or one.plugin not in ("fileio", "block") or not one.dev:
                continue
            if not Path(one.dev).exists():
                self.warn(f"{name_of(change.key)} could not be made: there is no {one.dev}")
        self._show(plan, path, nothing)

    def _show(self, plan: Plan, path: Path, nothing: str) -> None:
        from isadmin.shell import plans

        plans.show(self.shell, plan, nothing, file=str(path))

    def _plan(
        self,
        path: Path,
        *,
        prune: bool,
        keep_going: bool = False,
        narrowed: Callable[[Document], tuple[Document, Callable[[Key], bool]]] | None = None,
    ) -> tuple[Plan, Flat]:
        """What a file would change, and the running configuration. Values that no LIO takes are a reason to
        refuse it, or, with `keep_going`, left to fail. Raises IsadminError."""
        from isadmin.config import diff, document, shape, store
        from isadmin.config.model import flatten
        from isadmin.config.spelling import respelled
        from isadmin.lio import checking
        from isadmin.shell import plans

        found = store.read(path, None if keep_going else checking.problems)
        unknown = shape.unknown_keys(found)
        if unknown:
            more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
            self.warn(f"{path}: keys that are not known do nothing: {', '.join(unknown[:3])}{more}")
        within = None
        if narrowed is not None:
            found, within = narrowed(found)
        now = plans.running(self.shell)
        wanted = respelled(flatten(document.value(found)), now)
        self._warn_of_values_not_had(path, diff.not_had(now, wanted))
        try:
            return diff.exact(now, diff.merged(now, wanted, prune=prune, within=within)), now
        except diff.DanglingError as error:
            raise RefusedFileError(f"{path}: {error}", "nothing was changed") from error

    def _warn_of_values_not_had(self, source: object, names: list[str]) -> None:
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            what = "values that this target does not have are left out"
            self.warn(f"{source}: {what}: {', '.join(names[:3])}{more}")

    def ui_complete_check(self, parameters: Mapping[str, str], text: str, current_param: str) -> list[str]:
        return paths_like(text, stat.S_IFREG)

    def ui_complete_diff(self, parameters: Mapping[str, str], text: str, current_param: str) -> list[str]:
        return paths_like(text, stat.S_IFREG)


def part_of(
    path: Path, found: Document, target: str | None, storage_object: str | None
) -> tuple[Document, Callable[[Key], bool]]:
    """The targets and storage objects of these names in a file, of whatever fabrics and plugins; and which
    keys of the running configuration belong to them. Raises UsageError for what the file does not have."""
    from isadmin.config.spelling import normalized

    objects = [so for so in found.get("storage_objects", []) if so["name"] == storage_object]
    wwn = normalized(target or "")
    targets = [one for one in found.get("targets", []) if target and normalized(one["wwn"]) == wwn]
    if storage_object and not objects:
        raise UsageError(f"{path} has no storage object {storage_object}")
    if target and not targets:
        raise UsageError(f"{path} has no target {target}")
    plugins = {so["plugin"] for so in objects}
    fabrics = {one["fabric"] for one in targets}

    def within(key: Key) -> bool:
        if key[0] in ("storage_object", "port_group"):
            return key[1] in plugins and key[2] == storage_object
        return key[0] != "fabric_module" and key[1] in fabrics and normalized(str(key[2])) == wwn

    return {"storage_objects": objects, "targets": targets}, within
