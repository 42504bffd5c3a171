"""/backstores/user:<handler>: storage that a process serves, through tcmu-runner."""

from __future__ import annotations

from contextlib import suppress

from isadmin.errors import IsadminError, UsageError
from isadmin.lio import files, tcmu
from isadmin.shell.node import Node
from isadmin.shell.nodes import backstores
from isadmin.shell.nodes.backstores import SIZES, Backstore
from isadmin.shell.nodes.base import LioNode
from isadmin.shell.nodes.sizes import parse_size
from isadmin.shell.nodes.storage_objects import StorageObjectNode

CONFIG_MAX = 255
"""Bytes of handler and configuration: the kernel cuts longer ones (TCMU_CONFIG_LEN)."""


def user_backstores(parent: LioNode) -> None:
    """Make a node for each handler that is there, and for those that storage objects name. As with targetcli,
    there is none where nobody can be asked."""
    found = dict.fromkeys(_named(parent), "")
    with suppress(tcmu.UnavailableError):
        found |= _handlers()
    for name, description in found.items():
        UserBackstore(parent, name, description)


def user_backstore(parent: LioNode, name: str) -> UserBackstore:
    """The node of one handler. Raises UnavailableError, UsageError."""
    if name in _named(parent):
        with suppress(tcmu.UnavailableError):
            return UserBackstore(parent, name, _handlers().get(name, ""))
        return UserBackstore(parent, name)
    found = _handlers()
    if name not in found:
        there = f"there is {', '.join(found)}" if found else "there is none"
        raise UsageError(f"tcmu-runner has no handler {name}", there)
    return UserBackstore(parent, name, found[name])


def _handlers() -> dict[str, str]:
    if not files.is_dir(backstores.TCMU):
        raise tcmu.UnavailableError("tcmu-runner does not run here", "its kernel module is not loaded")
    return {one.name: one.description for one in tcmu.handlers()}


def _named(node: LioNode) -> list[str]:
    """The handlers that storage objects have."""
    return [so.info().word("Config").partition("/")[0] for so in node.lio.storage_objects("user")]


class UserBackstore(Backstore):
    """/backstores/user:<handler>."""

    plugin = "user"

    def __init__(self, parent: Node, handler: str, description: str = "") -> None:
        self.handler = handler
        self.description = description
        super().__init__(parent, f"user:{handler}")

    def make_children(self) -> None:
        for so in self.lio.storage_objects("user"):
            if so.info().word("Config").partition("/")[0] == self.handler:
                StorageObjectNode(self, so)

    def find_child(self, name: str) -> Node | None:
        so = self.lio.find_storage_object("user", name)
        mine = so is not None and so.info().word("Config").partition("/")[0] == self.handler
        return StorageObjectNode(self, so) if so is not None and mine else None

    def ui_command_help(self, topic: str | None = None) -> None:
        super().ui_command_help(topic)
        if topic == "create":
            format_ = self.description or "The handler says nothing of it."
            self.say(f"CFGSTRING FORMAT\n=================\n{format_}\n")

    def ui_command_create(
        self,
        name: str,
        size: str,
        cfgstring: str,
        wwn: str | None = None,
        hw_max_sectors: str | None = None,
        control: str | None = None,
    ) -> Node | None:
        self.check_name(name, wwn)
        bytes_ = parse_size(size)
        config = self._config(cfgstring)
        if hw_max_sectors is not None and not (hw_max_sectors.isascii() and hw_max_sectors.isdigit()):
            raise UsageError(f"Bad hw_max_sectors '{hw_max_sectors}'", "a number of blocks")
        tcmu.check_config(self.handler, config)
        from isadmin.lio import storage

        most = None if hw_max_sectors is None else int(hw_max_sectors)
        so = storage.create_user(
            self.lio, name, config, bytes_, wwn=wwn, hw_max_sectors=most, control=control
        )
        self.say(f"Created user-backed storage object {name} size {bytes_}.")
        return self.new_node(StorageObjectNode(self, so))

    ui_command_create.__doc__ = f"""
        Creates a storage object that a handler of tcmu-runner serves. "cfgstring" tells the
        handler what: how it is written is its own affair, see `help create` there; it is asked
        before anything is made. "control" is passed to LIO as it is. "wwn" is the unit serial
        number; one is made up if it is omitted.
{SIZES}
        SEE ALSO
        ========
        delete changemedium
        """

    def ui_command_changemedium(self, name: str, size: str, cfgstring: str) -> None:
        """
        Puts another medium into a storage object, as into a drive, if the handler can.

        SEE ALSO
        ========
        create
        """
        if self.find_child(name) is None:
            raise IsadminError(f"No storage object named {name}.")
        bytes_, config = parse_size(size), self._config(cfgstring)
        if not self.shell.rehearsing:
            tcmu.change_medium(self.handler, name, bytes_, config)
        self.say("Medium Changed.")

    def _config(self, cfgstring: str) -> str:
        config = f"{self.handler}/{cfgstring}"
        if not cfgstring or any(c in config for c in ":,\n\0"):
            raise UsageError(f"Bad cfgstring '{cfgstring}'", "LIO takes no ':', no ',' and no newline in it")
        if len(config.encode()) > CONFIG_MAX:
            raise UsageError("The cfgstring is too long", f"at most {CONFIG_MAX} bytes with the handler")
        return config
