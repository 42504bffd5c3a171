"""What `create` of LUNs and of mapped LUNs share: finding or making the storage object that a user named."""

from __future__ import annotations

from isadmin.errors import IsadminError, UsageError
from isadmin.light import Path, pattern
from isadmin.lio.exports import exports_of
from isadmin.lio.objects import MAX_LUN, Lun, Tpg
from isadmin.lio.storage_objects import StorageObject, is_block_device
from isadmin.shell.node import Node
from isadmin.shell.nodes.backstores import check_blocks, check_path, check_unused
from isadmin.shell.nodes.base import LioNode
from isadmin.shell.nodes.storage_objects import StorageObjectNode
from isadmin.shell.suggest import paths_like

_BACKSTORE_PATH = pattern(r"/+backstores/+([^/@*]+)/+([^/@*]+)/*")


def lun_number(text: str) -> int:
    """7 or lun7. Raises UsageError."""
    digits = text[3:] if text.lower().startswith("lun") else text
    if not (digits.isascii() and digits.isdigit()) or int(digits) > MAX_LUN:
        raise UsageError(f"Bad LUN '{text}'", f"a number from 0 to {MAX_LUN}, or lun and such a number")
    return int(digits)


def storage_object_at(node: LioNode, text: str) -> tuple[StorageObject, bool]:
    """The storage object a user named, by its path in the tree or its file's; True if it was just created.

    Raises IsadminError.
    """
    known = _BACKSTORE_PATH.fullmatch(text)
    if known:
        plugin, name = known.groups()
        if plugin == "user" and (found := node.lio.find_storage_object(plugin, name)) is not None:
            # As a saved configuration calls it, whatever its handler is.
            return found, False
        so = node.get_root().get_child("backstores").get_child(plugin).get_child(name)
        return _expect_storage_object(so, text), False
    try:
        return _expect_storage_object(node.get_node(text), text), False
    except UsageError as error:
        if not text.startswith("/") or not Path(text).exists():
            raise IsadminError(
                f"'{text}' is neither a storage object nor a block device or file",
                "see the storage objects with `ls /backstores`",
            ) from error
    return _create_at(node, text), True


def _expect_storage_object(node: Node, text: str) -> StorageObject:
    if not isinstance(node, StorageObjectNode):
        raise IsadminError(f"'{text}' is no storage object", "see them with `ls /backstores`")
    return node.storage_object


def _create_at(node: LioNode, text: str) -> StorageObject:
    """A storage object over a file or device, named after it."""
    from isadmin.lio import storage

    path = check_path(text)
    check_unused(node, path)
    name = Path(path).name
    if is_block_device(path):
        return storage.create_block(node.lio, name, path, readonly=False, exclusive=True, wwn=None)
    if not Path(path).is_file():
        raise IsadminError(f"'{text}' is neither a block device nor a file")
    size = check_blocks(Path(path).stat().st_size, text)
    return storage.create_fileio(node.lio, name, path, size, write_back=False, wwn=None)


def exported_as(so: StorageObject, tpg: Tpg) -> Lun | None:
    """The LUN by which a portal group exports a storage object, None if it does not."""
    for lun in exports_of(tpg.target.lio, so):
        if lun.tpg.path == tpg.path:
            return lun
    return None


def exportable(tpg: Tpg, text: str) -> dict[str, str]:
    """For completion: what a portal group does not export yet: storage objects by their path, and files."""
    from isadmin.shell import candidates

    found = candidates.storage_objects(tpg.target.lio, candidates.exported(tpg))
    return found | dict.fromkeys(paths_like(text) if text else (), "")
