"""luns: the storage objects that a portal group exports."""

from __future__ import annotations

from contextlib import ExitStack

from isadmin.errors import IsadminError, UsageError
from isadmin.lio import files
from isadmin.lio.explain import attempting
from isadmin.lio.objects import Lun, MappedLun, Tpg
from isadmin.lio.storage_objects import StorageObject
from isadmin.shell.language import Command
from isadmin.shell.node import Node, Summary
from isadmin.shell.nodes.base import LioNode, ObjectNode
from isadmin.shell.nodes.exporting import (
    exportable,
    exported_as,
    lun_number,
    storage_object_at,
)


class Luns(LioNode):
    """luns."""

    def __init__(self, parent: Node, tpg: Tpg) -> None:
        super().__init__("luns", parent)
        self.tpg = tpg

    def make_children(self) -> None:
        for lun in self.tpg.luns():
            LunNode(self, lun)

    def find_child(self, name: str) -> Node | None:
        number = name.removeprefix("lun")
        if number == name or not number.isdecimal():
            return None
        lun = Lun(self.tpg, int(number))
        return LunNode(self, lun) if lun.exists() else None

    def summary(self) -> Summary:
        return f"LUNs: {len(self.children)}", None

    def ui_command_create(
        self, storage_object: str, lun: str | None = None, add_mapped_luns: str | None = None
    ) -> Node | None:
        """
        Exports a storage object as a LUN of this portal group.

        PARAMETERS
        ==========

        storage_object
        --------------
        The path of a storage object, such as /backstores/block/disk1; or of a block device or
        file, for which a storage object is created first, with default parameters.

        lun
        ---
        The LUN's number, with or without "lun" before it; the lowest free one if omitted.

        add_mapped_luns
        ---------------
        If true, every ACL of the portal group gets a mapping to the LUN. If omitted, the
        preference auto_add_mapped_luns tells.

        SEE ALSO
        ========
        delete
        """
        mapping = self.flag(add_mapped_luns, self.shell.preferences.flag("auto_add_mapped_luns"))
        number = None if lun is None else lun_number(lun)
        if number is not None and Lun(self.tpg, number).exists():
            raise IsadminError(f"LUN {number} exists in tpg{self.tpg.tag} of {self.tpg.target.wwn}")
        from isadmin.lio import storage, write

        with ExitStack() as undo:
            so, made = storage_object_at(self, storage_object)
            if made:
                undo.callback(storage.delete, self.lio, so)
            if (other := exported_as(so, self.tpg)) is not None:
                raise IsadminError(f"lun for storage object {so.full_name} already exists: lun{other.number}")
            created = write.create_lun(self.tpg, so, number)
            undo.callback(write.delete_lun, created)
            mapped = self._map(created, number) if mapping else []
            undo.pop_all()
        if made:
            self.say(f"Created storage object {so.name}.")
        self.say(f"Created LUN {created.number}.")
        for one in mapped:
            self.say(f"Created LUN {created.number}->{one.number} mapping in node ACL {one.acl.wwn}")
        return self.new_node(LunNode(self, created))

    def _map(self, lun: Lun, wished: int | None) -> list[MappedLun]:
        """A mapping to a LUN in every ACL: the wished number where it is free, else the lowest free one."""
        from isadmin.lio import write

        mapped = []
        for acl in self.tpg.acls():
            number = wished
            if number is None or MappedLun(acl, number).exists():
                number = acl.free_lun()
            mapped.append(write.create_mapped_lun(acl, number, lun))
        return mapped

    def takes_along(self, command: Command) -> list[str]:
        from isadmin.shell import consequences

        lun = consequences.argument(command, "lun") if command.name == "delete" else None
        found = Lun(self.tpg, lun_number(lun)) if lun else None
        along = consequences.of_luns([found]) if found is not None and found.exists() else []
        # That mappings to a LUN go with it is what is meant, unless somebody uses it.
        return along if any("session" in line for line in along) else []

    def ui_command_delete(self, lun: str) -> None:
        """
        Deletes a LUN, given by its number, with or without "lun" before it, and all mappings to
        it. The storage object stays. Who types this at a terminal is told of sessions that lose
        it, and asked, without the option -y.

        SEE ALSO
        ========
        create
        """
        number = lun_number(lun)
        found = Lun(self.tpg, number)
        if not found.exists():
            raise IsadminError(f"No LUN {number} in tpg{self.tpg.tag} of {self.tpg.target.wwn}")
        from isadmin.lio import write

        write.delete_lun(found)
        self.say(f"Deleted LUN {number}.")

    def ui_complete_create(self, parameters: dict[str, str], text: str, current_param: str) -> dict[str, str]:
        if current_param == "add_mapped_luns":
            return {"true": "", "false": ""}
        return exportable(self.tpg, text) if current_param == "storage_object" else {}

    def ui_complete_delete(self, parameters: dict[str, str], text: str, current_param: str) -> list[str]:
        return [str(lun.number) for lun in self.tpg.luns()]


class LunNode(ObjectNode):
    """luns/lun<n>."""

    owner = "lun"

    def __init__(self, parent: Node, lun: Lun) -> None:
        super().__init__(f"lun{lun.number}", parent)
        self.lun = lun

    def paths(self) -> list[str]:
        return [self.lun.path]

    def define_groups(self) -> None:
        self.define_table_group("alua")

    def facts(self) -> dict[str, object]:
        link = self.lun.link()
        so = StorageObject(link[1]) if link else None
        return {
            "alias": link[0] if link else "",
            "alua_tg_pt_gp_name": self.lun.port_group_name(),
            "index": self.lun.number,
            "storage_object": f"/backstores/{so.full_name}" if so else "",
        }

    def summary(self) -> Summary:
        so = self.lun.storage_object()
        if so is None:
            return "BROKEN STORAGE LINK", False
        device = so.udev_path()
        shown = f" ({device})" if device else ""
        return f"{so.full_name}{shown} ({self.lun.port_group_name()})", True

    def ui_getgroup_alua(self, name: str) -> str | None:
        return self.lun.port_group_name()

    def ui_setgroup_alua(self, name: str, value: str | None) -> None:
        so = self.lun.storage_object()
        if not value:
            raise UsageError(f"Cannot set {name} to nothing", "default_tg_pt_gp is the group to go back to")
        if so is None or self.lun.port_group_name() is None:
            raise IsadminError(f"{self.name} has no ALUA", "its storage object's device does it itself")
        groups = [group.name for group in so.port_groups()]
        if value not in groups:
            listed = ", ".join(sorted(groups))
            raise IsadminError(f"{so.full_name} has no ALUA group {value}", f"there is {listed}")
        with attempting(f"Cannot set {name}"):
            files.write(f"{self.lun.path}/alua_tg_pt_gp", value)
