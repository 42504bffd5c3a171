"""alua: the ALUA target port groups of a storage object."""

from __future__ import annotations

import errno

from isadmin.errors import IsadminError, UsageError
from isadmin.lio import files
from isadmin.lio.explain import attempting
from isadmin.lio.storage_objects import PortGroup, StorageObject
from isadmin.shell.node import Node, Summary
from isadmin.shell.nodes.base import LioNode, ObjectNode

STATUSES = ("None", "Altered by Explicit STPG", "Altered by Implicit ALUA")
TYPES = ("None", "Implicit", "Explicit", "Implicit and Explicit")


class PortGroups(LioNode):
    """alua."""

    def __init__(self, parent: Node, so: StorageObject) -> None:
        super().__init__("alua", parent)
        self.storage_object = so

    def make_children(self) -> None:
        for group in self.storage_object.port_groups():
            PortGroupNode(self, group)

    def find_child(self, name: str) -> Node | None:
        group = PortGroup(self.storage_object, name)
        return PortGroupNode(self, group) if group.exists() and self.storage_object.alua_supported() else None

    def summary(self) -> Summary:
        return f"ALUA Groups: {len(self.children)}", None

    def ui_command_create(self, name: str, tag: str) -> Node | None:
        """
        Creates an ALUA target port group for this storage object. Its "tag",
        1 to 65535, is the identifier that initiators see.

        SEE ALSO
        ========
        delete
        """
        if not tag.isascii() or not tag.isdigit() or not 1 <= int(tag) <= 65535:
            raise UsageError(f"Bad tag '{tag}'", "a number from 1 to 65535")
        if not name.isprintable() or name in ("", ".", "..") or any(c in name for c in "/* "):
            raise UsageError(f"Bad name '{name}'", "it is printable, without blanks, / and *")
        if not self.storage_object.alua_supported():
            raise IsadminError(f"{self.storage_object.full_name} has no ALUA", "its device does it itself")
        if PortGroup(self.storage_object, name).exists():
            raise IsadminError(f"ALUA group {name} exists in {self.storage_object.full_name}")
        from isadmin.lio import storage

        group = storage.create_port_group(self.storage_object, name, int(tag))
        self.say(f"Created ALUA TPG {name}.")
        return self.new_node(PortGroupNode(self, group))

    def ui_command_delete(self, name: str) -> None:
        """
        Deletes an ALUA target port group. LUNs in it fall back to
        default_tg_pt_gp, which cannot be deleted.

        SEE ALSO
        ========
        create
        """
        if name == "default_tg_pt_gp":
            raise IsadminError("default_tg_pt_gp cannot be deleted", "every storage object has it")
        if not PortGroup(self.storage_object, name).exists():
            raise IsadminError(f"No ALUA group {name} in {self.storage_object.full_name}")
        from isadmin.lio import storage

        storage.delete_port_group(PortGroup(self.storage_object, name))
        self.say(f"Deleted ALUA TPG {name}.")


class PortGroupNode(ObjectNode):
    """alua/<group>."""

    owner = "port_group"

    def __init__(self, parent: Node, group: PortGroup) -> None:
        super().__init__(group.name, parent)
        self.port_group = group

    def define_groups(self) -> None:
        self.define_table_group("alua")

    def paths(self) -> list[str]:
        return [self.port_group.path]

    def summary(self) -> Summary:
        return f"ALUA state: {self.port_group.state_name()}", True

    def facts(self) -> dict[str, object]:
        from isadmin.lio.attributes import PORT_GROUP_ALUA

        names = (n for n, entry in PORT_GROUP_ALUA.items() if entry.writable or n == "tg_pt_gp_id")
        return {"name": self.port_group.name} | {name: self.ui_getgroup_alua(name) for name in names}

    def ui_getgroup_alua(self, name: str) -> object:
        if name == "members":
            return [_member(path) for path in self.port_group.member_paths()]
        with attempting(f"Cannot read {name}"):
            text = files.read(f"{self.port_group.path}/{name}")
        for key, words in (("alua_access_status", STATUSES), ("alua_access_type", TYPES)):
            if name == key and text in words:
                return str(words.index(text))
        return text

    def ui_setgroup_alua(self, name: str, value: object) -> None:
        from isadmin.lio.attributes import PORT_GROUP_ALUA

        legal = PORT_GROUP_ALUA[name].legal()
        supported = ", if the group supports it" if name == "alua_access_state" else ""
        remedy = f"it is {legal}{supported}" if legal else ""
        causes = {errno.EINVAL: (f"'{value}' is not accepted", remedy)}
        with attempting(f"Cannot set {name}", causes):
            files.write(f"{self.port_group.path}/{name}", str(value))


def _member(path: str) -> dict[str, object]:
    """A line of `members` as rtslib shows it."""
    driver, target, tpgt, lun = path.split("/")
    return {
        "driver": driver,
        "target": target,
        "tpgt": int(tpgt.rpartition("_")[2]),
        "lun": int(lun.rpartition("_")[2]),
    }
