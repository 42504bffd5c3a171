"""/backstores/<plugin>/<name>: one storage object."""

from __future__ import annotations

import stat

from isadmin.errors import NoFileError
from isadmin.light import Path
from isadmin.lio import files
from isadmin.lio.explain import attempting
from isadmin.lio.storage_objects import Info, StorageObject
from isadmin.shell.language import Command
from isadmin.shell.node import Node, Summary
from isadmin.shell.nodes.alua import PortGroups
from isadmin.shell.nodes.base import LioNode
from isadmin.shell.nodes.reshaping import Reshaped
from isadmin.shell.nodes.sizes import human_size
from isadmin.shell.suggest import paths_like

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from isadmin.lio.attributes import Attribute

    Configuration = dict[str, Any]


class StorageObjectNode(Reshaped):
    """A storage object of any plugin: what differs is one line in `ls`."""

    owner = "storage_object"

    def __init__(self, parent: Node, so: StorageObject) -> None:
        super().__init__(so.name, parent)
        self.storage_object = so

    def paths(self) -> list[str]:
        return [self.storage_object.path]

    def facts(self) -> dict[str, object]:
        with attempting(f"Cannot read {self.storage_object.full_name}"):
            return self.storage_object.facts()

    def make_children(self) -> None:
        PortGroups(self, self.storage_object)

    def summary(self) -> Summary:
        so = self.storage_object
        try:
            info = so.info()
        except OSError:
            return "INCOMPLETE", False
        if not so.enabled():
            return "not enabled", False
        return _SUMMARIES.get(so.plugin, _other)(so, info), True

    def is_frozen(self, entry: Attribute) -> bool:
        so = self.storage_object
        return not so.enabled() or (entry.frozen and so.info().status == "activated")

    def why_refused(self, entry: Attribute) -> tuple[str, str] | None:
        so = self.storage_object
        if not so.enabled():
            return "the storage object is not enabled", "delete it and create it again"
        if self.is_frozen(entry):
            return "it cannot change while the storage object is exported", "delete its LUNs first"
        limit = {"optimal_sectors": "hw_max_sectors", "queue_depth": "hw_queue_depth"}.get(entry.name)
        if limit is not None:
            most = files.read_or(f"{so.path}/attrib/{limit}", "?")
            return "the value is out of range", f"it is at most {limit}, {most}"
        return None

    def changes(self, command: Command) -> bool:
        return command.name != "saveconfig" and super().changes(command)

    def locks(self, command: Command) -> bool:
        return command.name == "saveconfig" or super().locks(command)

    def ui_command_version(self) -> None:
        """
        Displays the version of this storage object's backstore plugin.
        """
        so = self.storage_object
        hba = so.path.rpartition("/")[0]
        with attempting("Cannot read the plugin's version"):
            version = Info(files.read(f"{hba}/hba_info")).word("version")
        self.shell.answer(of=f"backstore {so.plugin}", version=version or None)
        self.say(f"Backstore plugin {so.plugin} {version}")

    def ui_command_saveconfig(self, savefile: str | None = None) -> None:
        """
        Saves the configuration of this storage object, and of the targets that export it, to a
        file: the saved configuration if none is given. The rest of the file is kept.
        """
        refuse_saving_part(self, savefile)
        path = save_part(self, self.storage_object, savefile)
        so = self.storage_object
        self.say(f"Storage Object '{so.plugin}:{so.name}' config saved to {path}.")

    def ui_complete_saveconfig(self, parameters: dict[str, str], text: str, current_param: str) -> list[str]:
        return paths_like(text, stat.S_IFREG)


def refuse_saving_part(node: LioNode, savefile: str | None = None) -> None:
    """Raises IsadminError if save_part would not save: to be asked before anything is done."""
    host = node.shell.host
    if host.is_savefile(_part_file(node, savefile)) and host.waits_for_confirmation():
        from isadmin.shell import confirming

        confirming.refuse_saving(host)


def _part_file(node: LioNode, savefile: str | None) -> Path:
    path = Path(savefile).expanduser() if savefile else node.shell.host.savefile
    if path is None:
        raise NoFileError("This target has no saved configuration of its own", "name a file")
    return path


def save_part(node: LioNode, so: StorageObject, savefile: str | None = None) -> Path:
    """Bring a saved configuration up to date for one storage object only; returns the file."""
    from isadmin.config import store
    from isadmin.lio import saved

    host = node.shell.host
    path = _part_file(node, savefile)
    before: Configuration = store.read(path) if path.exists() else {}
    after = with_part(before, saved.dump(host), f"/backstores/{so.full_name}")
    keep = node.shell.preferences.number("max_backup_files") if host.is_savefile(path) else None
    node.shell.before_writing(path)
    store.save(path, after, force=True, generations=keep, command=f"saveconfig of {so.full_name}")
    return path


def with_part(before: Configuration, now: Configuration, so_path: str) -> Configuration:
    """A saved configuration in which one storage object, and the targets that export it, are as they are now.

    Gone now means gone from the result: the storage object, its LUNs and their mappings.
    """

    def is_it(so: Configuration) -> bool:
        return f"/backstores/{so['plugin']}/{so['name']}" == so_path

    def exports(target: Configuration) -> bool:
        return any(
            lun["storage_object"] == so_path for tpg in target.get("tpgs", []) for lun in tpg.get("luns", [])
        )

    after = dict(before)
    kept = [so for so in before.get("storage_objects", []) if not is_it(so)]
    after["storage_objects"] = kept + [so for so in now.get("storage_objects", []) if is_it(so)]
    running = {(t["fabric"], t["wwn"]): t for t in now.get("targets", [])}
    targets = []
    for target in before.get("targets", []):
        key = (target["fabric"], target["wwn"])
        touched = exports(target) or (key in running and exports(running[key]))
        if not touched:
            targets.append(target)
        elif key in running:
            targets.append(running[key])
    had = {(t["fabric"], t["wwn"]) for t in before.get("targets", [])}
    after["targets"] = targets + [t for key, t in running.items() if key not in had and exports(t)]
    return after


def _cache(so: StorageObject) -> str:
    return "write-back" if so.write_back() else "write-thru"


def _fileio(so: StorageObject, info: Info) -> str:
    return f"{so.udev_path(info)} ({human_size(so.size(info))}) {_cache(so)} {info.status}"


def _block(so: StorageObject, info: Info) -> str:
    readonly = "ro " if info.word("readonly") == "1" else ""
    return f"{so.udev_path(info)} ({human_size(so.size(info))}) {readonly}{_cache(so)} {info.status}"


def _ramdisk(so: StorageObject, info: Info) -> str:
    nullio = "nullio " if info.word("nullio") == "1" else ""
    return f"{nullio}({human_size(so.size(info))}) {info.status}"


def _user(so: StorageObject, info: Info) -> str:
    config = info.word("Config")
    shown = "(no config)" if config in ("", "NULL") else config.partition("/")[2]
    return f"{shown} ({human_size(so.size(info))}) {info.status}"


def _other(so: StorageObject, info: Info) -> str:
    return f"{so.udev_path(info)} {info.status}"


_SUMMARIES = {"fileio": _fileio, "block": _block, "ramdisk": _ramdisk, "user": _user}
