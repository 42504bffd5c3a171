"""/backstores: the plugins that storage objects come from, and how each is created."""

from __future__ import annotations

import fcntl
import os
import stat
from functools import partial

from isadmin.errors import IsadminError, UsageError
from isadmin.light import Path
from isadmin.lio import files
from isadmin.lio.explain import attempting
from isadmin.lio.storage_objects import StorageObject, is_block_device
from isadmin.shell.language import Command
from isadmin.shell.node import Node, Summary
from isadmin.shell.nodes.base import LioNode
from isadmin.shell.nodes.sizes import parse_size
from isadmin.shell.nodes.storage_objects import StorageObjectNode, refuse_saving_part, save_part
from isadmin.shell.suggest import paths_like

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

BLKROGET = 0x125E
FD_MAX_DEV_NAME = 255
"""The kernel cuts a longer path without a word (target_core_file.h: 256 with the NUL)."""
SECTOR = 512
TCMU = "/sys/module/target_core_user"
"""Without this module of the kernel nothing can have a handler of tcmu-runner."""

SIZES = """
        SIZE SYNTAX
        ===========
        A number of bytes, or a number with a unit, in powers of 1024:
            - k, kB, KiB
            - M, MB, MiB
            - G, GB, GiB
            - T, TB, TiB
"""


class Backstores(LioNode):
    """/backstores."""

    def __init__(self, parent: Node) -> None:
        super().__init__("backstores", parent)

    def make_children(self) -> None:
        for kind in _KINDS:
            kind(self)
        if files.is_dir(TCMU) or any(name.startswith("user_") for name in self.lio.hbas()):
            from isadmin.shell.nodes.user_backstores import user_backstores

            user_backstores(self)

    def find_child(self, name: str) -> Node | None:
        if name.startswith("user:"):
            from isadmin.shell.nodes.user_backstores import user_backstore

            return user_backstore(self, name.removeprefix("user:"))
        return next((kind(self) for kind in _KINDS if kind.plugin == name), None)

    def summary(self) -> Summary:
        return "", None


class Backstore(LioNode):
    """/backstores/<plugin>."""

    plugin: str

    def __init__(self, parent: Node, name: str = "") -> None:
        super().__init__(name or self.plugin, parent)

    def make_children(self) -> None:
        for so in self.lio.storage_objects(self.plugin):
            StorageObjectNode(self, so)

    def find_child(self, name: str) -> Node | None:
        so = self.lio.find_storage_object(self.plugin, name)
        return None if so is None else StorageObjectNode(self, so)

    def summary(self) -> Summary:
        return f"Storage Objects: {len(self.children)}", None

    def takes_along(self, command: Command) -> list[str]:
        from isadmin.shell import consequences

        name = consequences.argument(command, "name") if command.name == "delete" else None
        so = self.lio.find_storage_object(self.plugin, name) if name and "/" not in name else None
        return [] if so is None else consequences.of_storage_object(self.lio, so)

    def ui_command_delete(self, name: str, save: str | None = None) -> None:
        """
        Deletes a storage object, and first the LUNs that export it. Files and devices keep their
        data; the contents of a ramdisk are lost. With save=true the saved configuration forgets
        it too. Who types this at a terminal is told of LUNs, mappings and sessions that go with
        it, and asked; not so with the option -y, nor in a script.

        EXAMPLE
        =======
        delete mystorage
        ----------------
        Deletes the storage object mystorage and all its LUNs.

        SEE ALSO
        ========
        create
        """
        saving = self.flag(save, False)
        so = self.lio.find_storage_object(self.plugin, name)
        if so is None:
            raise IsadminError(f"No storage object named {name}.")
        if saving:
            refuse_saving_part(self)
        from isadmin.lio import storage

        for lun in storage.delete(self.lio, so):
            self.say(f"Deleted LUN {lun.number} of {lun.tpg.target.wwn} tpg{lun.tpg.tag}.")
        self.say(f"Deleted storage object {name}.")
        if saving and not self.shell.rehearsing:
            save_part(self, so)

    def ui_complete_delete(self, parameters: dict[str, str], text: str, current_param: str) -> list[str]:
        if current_param == "name":
            return [child.name for child in self.sorted_children()]
        return ["true", "false"]

    def check_name(self, name: str, wwn: str | None = None) -> None:
        """Refuse a name that no storage object can have, or that one has; and a serial number that is not
        ASCII (SPC-4 section 7.8.17). Raises IsadminError."""
        if wwn and not (wwn.isascii() and wwn.isprintable()):
            raise UsageError(f"Bad wwn '{wwn}'", "a unit serial number is printable ASCII")
        if not name.isprintable() or name in ("", ".", "..") or any(c in name for c in "/* "):
            raise UsageError(f"Bad name '{name}'", "it is printable, without blanks, / and *")
        if len(name.encode()) > 255:
            raise UsageError("The name is too long", "at most 255 bytes")
        if self.lio.find_storage_object(self.plugin, name) is not None:
            raise IsadminError(f"Storage object {self.plugin}/{name} exists")

    def adopt(self, so: StorageObject) -> StorageObjectNode:
        """The node of a new storage object, which shows its name as its model if so preferred."""
        if self.shell.preferences.flag("export_backstore_name_as_model"):
            try:
                with attempting("Cannot export the name as the model"):
                    files.write(f"{so.path}/attrib/emulate_model_alias", "1")
            except IsadminError as error:
                from isadmin.lio import storage

                storage.delete(self.lio, so)
                error.remedy = "set global export_backstore_name_as_model=false"
                raise
        return StorageObjectNode(self, so)


class FileioBackstore(Backstore):
    """/backstores/fileio."""

    plugin = "fileio"

    def ui_command_create(
        self,
        name: str,
        file_or_dev: str,
        size: str | None = None,
        write_back: str | None = None,
        sparse: str | None = None,
        wwn: str | None = None,
    ) -> Node | None:
        caching = self.flag(write_back, True)
        hole = self.flag(sparse, True)
        self.check_name(name, wwn)
        path = check_path(file_or_dev)
        check_unused(self, path)
        undo = None
        bytes_ = None
        news = []
        if is_block_device(path):
            if size:
                news.append("Block device, size parameter ignored")
            news.append("Note: block backstore preferred for best results")
        elif Path(path).exists() and not Path(path).is_file():
            raise IsadminError(f"Path {file_or_dev} exists but is not a file")
        elif Path(path).exists() and (bytes_ := Path(path).stat().st_size):
            if size and parse_size(size) != bytes_:
                news.append(f"{file_or_dev} exists, using its size ({bytes_} bytes) instead")
            check_blocks(bytes_, file_or_dev)
        elif not size:
            raise UsageError("Attempting to create file for new fileio backstore, need a size")
        else:
            bytes_ = check_blocks(parse_size(size), "a size")
            undo = make_file(path, bytes_, sparse=hole)
            if not hole:
                news.append(f"Writing {bytes_} bytes")
        from isadmin.lio import storage

        try:
            so = storage.create_fileio(self.lio, name, path, bytes_, write_back=caching, wwn=wwn)
            node = self.adopt(so)
        except IsadminError:
            if undo:
                undo()
            raise
        if undo:
            self.shell.made_files.append(path)
        for line in (*news, f"Created fileio {name} with size {so.size()}"):
            self.say(line)
        return self.new_node(node)

    ui_command_create.__doc__ = f"""
        Creates a storage object that keeps its data in a file, or uses a block device through the
        page cache. "file_or_dev" is the path of either. A file that does not exist is made, with
        "size", as is one that is empty; any other file or device keeps its own size. A file's
        size is a multiple of 512.

        "write_back", true by default, tells initiators of a volatile write cache, which is faster.
        With write_back=false every write is on the medium before it is answered. "sparse", true by
        default, makes a new file without allocating its space. "wwn" is the unit serial number;
        one is made up if it is omitted.
{SIZES}
        SEE ALSO
        ========
        delete
        """

    def ui_complete_create(self, parameters: dict[str, str], text: str, current_param: str) -> list[str]:
        if current_param in ("write_back", "sparse"):
            return ["true", "false"]
        return paths_like(text) if current_param == "file_or_dev" else []


class BlockBackstore(Backstore):
    """/backstores/block."""

    plugin = "block"

    def ui_command_create(
        self,
        name: str,
        dev: str,
        readonly: str | None = None,
        wwn: str | None = None,
        exclusive: str | None = None,
    ) -> Node | None:
        """
        Creates a storage object over a block device: a disk, a partition, a logical volume. "dev" is
        its path. A device that is read-only makes a read-only storage object; readonly=true makes
        one of any device. "exclusive", true by default, keeps others from using the device; only
        new kernels can do without. "wwn" is the unit serial number; one is made up if it is
        omitted.

        SEE ALSO
        ========
        delete
        """
        write_protected = self.flag(readonly, False)
        alone = self.flag(exclusive, True)
        self.check_name(name, wwn)
        path = check_path(dev)
        if not Path(path).exists():
            raise IsadminError(f"Could not open {dev}", "there is no such device")
        if not is_block_device(path):
            raise IsadminError(f"{dev} is not a block device", "files are for /backstores/fileio")
        check_unused(self, path)
        if readonly is None:
            write_protected = is_readonly(path)
        if alone:
            check_idle(path)
        from isadmin.lio import storage

        so = storage.create_block(self.lio, name, path, readonly=write_protected, exclusive=alone, wwn=wwn)
        node = self.adopt(so)
        self.say(f"Created block storage object {name} using {dev}.")
        return self.new_node(node)

    def ui_complete_create(self, parameters: dict[str, str], text: str, current_param: str) -> Iterable[str]:
        if current_param in ("readonly", "exclusive"):
            return ["true", "false"]
        if current_param != "dev":
            return []
        from isadmin.shell import candidates

        return candidates.block_devices(self.lio) | dict.fromkeys(paths_like(text, stat.S_IFBLK), "")


class RamdiskBackstore(Backstore):
    """/backstores/ramdisk."""

    plugin = "ramdisk"

    def ui_command_create(
        self, name: str, size: str, nullio: str | None = None, wwn: str | None = None
    ) -> Node | None:
        nothing = self.flag(nullio, False)
        self.check_name(name, wwn)
        bytes_ = parse_size(size)
        from isadmin.lio import devices, storage

        so = storage.create_ramdisk(self.lio, name, bytes_, nullio=nothing, wwn=wwn)
        node = self.adopt(so)
        self.say(f"Created ramdisk {name} with size {size}.")
        if (paged := devices.paged(bytes_)) != bytes_:
            self.say(f"Note: rounded to pages, {paged} bytes")
        return self.new_node(node)

    ui_command_create.__doc__ = f"""
        Creates a storage object in memory, which is lost when it is deleted or the target ends.
        "size" is rounded to pages. With nullio=true there is not even memory: what is written is
        forgotten; for measuring. "wwn" is the unit serial number; one is made up if it is
        omitted.
{SIZES}
        SEE ALSO
        ========
        delete
        """

    def ui_complete_create(self, parameters: dict[str, str], text: str, current_param: str) -> list[str]:
        return ["true", "false"] if current_param == "nullio" else []


class PscsiBackstore(Backstore):
    """/backstores/pscsi."""

    plugin = "pscsi"

    def ui_command_create(self, name: str, dev: str) -> Node | None:
        """
        Creates a storage object that passes SCSI commands through to a SCSI device of this host.
        "dev" is its path (best one in /dev/disk/by-id, which stays the same), or its address in
        the form H:C:T:L.

        SEE ALSO
        ========
        delete
        """
        self.check_name(name)
        path = dev if dev.count(":") == 3 and "/" not in dev else check_path(dev)
        from isadmin.lio import storage

        so = storage.create_pscsi(self.lio, name, path)
        if is_block_device(path):
            self.say("Note: block backstore recommended for SCSI block devices")
        self.say(f"Created pscsi storage object {name} using {dev}")
        return self.new_node(StorageObjectNode(self, so))

    def ui_complete_create(self, parameters: dict[str, str], text: str, current_param: str) -> list[str]:
        return paths_like(text, stat.S_IFBLK) if current_param == "dev" else []


_KINDS: tuple[type[Backstore], ...] = (PscsiBackstore, RamdiskBackstore, FileioBackstore, BlockBackstore)


def check_path(text: str) -> str:
    """An absolute path that LIO will take. Raises UsageError."""
    path = str(Path(text).expanduser().absolute()) if text else ""
    if not path or "\0" in path or "\n" in path or "," in path:
        raise UsageError(f"Bad path '{text}'", "LIO's control file takes no commas and no newlines")
    if len(path.encode()) > FD_MAX_DEV_NAME:
        raise UsageError(f"The path {path[:40]}... is too long", f"at most {FD_MAX_DEV_NAME} bytes")
    return path


def check_unused(node: LioNode, path: str) -> None:
    """Refuse a file or device that another storage object has. Raises IsadminError."""
    so = node.lio.user_of(path)
    if so is not None:
        raise IsadminError(f"storage object for {path} already exists: {so.name}")


def make_file(path: str, size: int, *, sparse: bool) -> Callable[[], None]:
    """A file of zeroes, of a new file or an empty one; its space is allocated unless it is sparse.

    Returns what takes it back. Raises IsadminError.
    """
    if files.pretended is not None:
        return lambda: None
    new = not Path(path).exists()
    undo = Path(path).unlink if new else partial(os.truncate, path, 0)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if new else 0), 0o644)
    except OSError as error:
        raise IsadminError(f"Could not open {path}: {error.strerror}") from error
    try:
        if sparse:
            os.ftruncate(descriptor, size)
        else:
            os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        undo()
        raise IsadminError(f"Could not expand {path} to {size} bytes: {error.strerror}") from error
    finally:
        os.close(descriptor)
    return undo


def check_blocks(size: int, what: str) -> int:
    """Refuse a size that is no whole number of blocks. Raises UsageError."""
    if size < SECTOR:
        raise UsageError(f"{what} of {size} bytes is too small", f"a disk has at least {SECTOR} bytes")
    if size % SECTOR:
        raise UsageError(
            f"{what} of {size} bytes is not a whole number of {SECTOR}-byte blocks",
            f"{size // SECTOR * SECTOR} or {(size // SECTOR + 1) * SECTOR} would be",
        )
    return size


def check_idle(path: str) -> None:
    """Refuse a device that is mounted or otherwise taken. Raises IsadminError."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        raise IsadminError(
            f"Device {path} is in use or cannot be opened: {error.strerror}",
            "unmount it, or stop what has it open",
        ) from error


def is_readonly(path: str) -> bool:
    """Whether the kernel holds a block device for read-only. Raises IsadminError if it cannot be opened."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise IsadminError(f"Could not open {path}: {error.strerror}") from error
    try:
        answer = fcntl.ioctl(descriptor, BLKROGET, b"\0" * 4)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return any(answer)
