"""Giving storage objects another size, and them and targets another name."""

from __future__ import annotations

from isadmin.errors import IsadminError, UsageError
from isadmin.lio import files
from isadmin.lio.objects import Target
from isadmin.lio.storage_objects import StorageObject, is_block_device
from isadmin.shell.nodes.base import LioNode, ObjectNode
from isadmin.shell.nodes.sizes import human_size, parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from isadmin.config.model import Flat, Key, Object
    from isadmin.shell.language import Command

RESCAN = "LIO tells initiators nothing of it: rescan there (iscsiadm -m session -R)"
TOLD = "Initiators are told: CAPACITY DATA HAS CHANGED"


class Reshaped(ObjectNode):
    """What a storage object can be given besides values."""

    storage_object: StorageObject

    def takes_along(self, command: Command) -> list[str]:
        from isadmin.shell import consequences

        if command.name == "rename":
            return consequences.of_storage_object(self.lio, self.storage_object)
        size = consequences.argument(command, "size") if command.name == "resize" else None
        lost = self._lost(parse_size(size)) if size else 0
        return [f"cuts off the last {lost} bytes"] if lost else []

    def _lost(self, size: int) -> int:
        so = self.storage_object
        return max(so.size() - size, 0) if so.plugin == "fileio" else 0

    def ui_command_resize(self, size: str | None = None) -> None:
        """
        Gives the storage object another size, while initiators are logged in.

        PARAMETERS
        ==========

        size
        ----
        The new size, such as 20G, of a fileio storage object and its file. A smaller one cuts off
        what is behind it: without a terminal to ask at, that needs the option -y. A block device
        is grown by its own tools; then `resize` without a size tells what LIO makes of it.

        The userspace target tells initiators (CAPACITY DATA HAS CHANGED); LIO in the kernel does
        not, they have to scan again. Ramdisks, pscsi and user storage objects keep their size.

        SEE ALSO
        ========
        rename
        """
        so = self.storage_object
        if so.plugin not in ("fileio", "block"):
            raise IsadminError(f"A {so.plugin} storage object keeps its size", "create another one")
        on_device = so.plugin == "block" or is_block_device(so.udev_path())
        if on_device:
            if size is not None:
                raise UsageError(
                    f"{so.udev_path()} is a device, which has its own size", "grow it, then `resize` alone"
                )
            self.say(f"{so.full_name} has {so.size()} bytes now, as its device.{self._news()}")
            return
        if size is None:
            raise UsageError("resize: missing size", "usage: resize size")
        self._resize(parse_size(size))

    def _resize(self, size: int) -> None:
        from isadmin.lio import storage

        so = self.storage_object
        before = so.size()
        block = int(files.read_or(f"{so.path}/attrib/block_size", "512"))
        if size % block:
            raise UsageError(
                f"{size} bytes are not a whole number of {block}-byte blocks",
                f"{size // block * block or block} would be",
            )
        if size == before:
            self.say(f"No change: {so.full_name} has {size} bytes")
            return
        if size < before and not (self.shell.assume_yes or self.shell.can_ask or self.shell.rehearsing):
            what = f"That cuts off the last {before - size} bytes of {so.full_name}"
            raise UsageError(what, "to do it, give the option -y")
        storage.resize_fileio(so, size)
        self.say(f"Resized {so.full_name} from {human_size(before)} to {human_size(size)}.{self._news()}")

    def _news(self) -> str:
        """What initiators learn of another size, nothing if none can see the storage object."""
        if self.storage_object.info().status != "activated":
            return ""
        return f" {RESCAN if self.shell.host.loads_modules() else TOLD}"

    def ui_command_rename(self, name: str) -> None:
        """
        Gives the storage object another name. Its serial number, attributes, ALUA groups, LUNs and
        mapped LUNs stay as they are; to LIO it is deleted and made again, so initiators miss its
        LUNs for a moment: without a terminal to ask at, an exported one needs the option -y. If
        something fails, everything is as it was. Ramdisks, which would lose what is in them, and
        storage objects with persistent reservations are refused.

        SEE ALSO
        ========
        resize
        """
        so = self.storage_object
        backstore = self._parent
        assert backstore is not None
        backstore.check_name(name)  # type: ignore[attr-defined]
        if so.plugin == "ramdisk":
            raise IsadminError(f"{so.full_name} cannot be renamed: what is in it would be lost")
        if not files.read_or(f"{so.path}/pr/res_holder", "No").startswith("No "):
            raise IsadminError(f"{so.full_name} is reserved by an initiator", "release it there first")
        _need_consent(self, "rename", name)
        old, new = f"/backstores/{so.full_name}", f"/backstores/{so.plugin}/{name}"

        def renamed(key: Key, value: Object) -> tuple[Key, Object]:
            from dataclasses import replace

            from isadmin.config import model

            if key[0] in ("storage_object", "port_group") and key[1:3] == (so.plugin, so.name):
                key = (key[0], so.plugin, name, *key[3:])
                return key, replace(value, name=name) if isinstance(value, model.StorageObject) else value
            if isinstance(value, model.Lun) and value.storage_object == old:
                return key, replace(value, storage_object=new)
            return key, value

        _rename(self, renamed)
        self.say(f"Renamed {so.full_name} to {so.plugin}/{name}.")


def rename_target(node: ObjectNode, target: Target, wwn: str) -> None:
    """Give a target another name, with all that is below it; whole or not at all. Raises IsadminError."""
    from isadmin.lio import write

    fabric, old = target.fabric, target.wwn
    new = write.normalized_wwn(fabric, wwn)
    if Target(target.lio, fabric, new).exists():
        raise IsadminError(f"Target {new} exists")
    _need_consent(node, "rename", wwn)

    def renamed(key: Key, value: Object) -> tuple[Key, Object]:
        from dataclasses import replace

        from isadmin.config import model

        if key[0] in ("storage_object", "port_group", "fabric_module") or key[1:3] != (fabric.name, old):
            return key, value
        if isinstance(value, model.Target):
            value = replace(value, wwn=new)
        return (key[0], fabric.name, new, *key[3:]), value

    _rename(node, renamed)
    node.say(f"Renamed target {old} to {new}.")


def _need_consent(node: LioNode, name: str, argument: str) -> None:
    """Refuse what touches others where nobody could be asked. Raises UsageError."""
    from isadmin.shell.language import Command

    if node.shell.assume_yes or node.shell.can_ask or node.shell.rehearsing:
        return
    along = node.takes_along(Command("", name, (argument,)))
    if along:
        raise UsageError(f"{name} at {node.path} also {along[0]}", "to do it, give the option -y")


def _rename(node: ObjectNode, renamed: Callable[[Key, Object], tuple[Key, Object]]) -> None:
    from isadmin.config import diff
    from isadmin.shell import plans

    session = node.shell
    now = plans.running(session)
    wanted: Flat = dict(renamed(key, value) for key, value in now.items())
    plans.do(session, diff.exact(now, wanted), now)
    # Its place in the tree is gone.
    node.get_root().refresh()
