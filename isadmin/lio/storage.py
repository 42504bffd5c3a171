"""Creating, resizing and deleting storage objects and their ALUA groups.

Each function does one thing whole or not at all: what is left behind when a later step fails is removed. They
raise IsadminError, with the cause and the remedy where the errno tells.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from isadmin.config import model
from isadmin.errors import IsadminError, UsageError
from isadmin.lio import devices, files, rehearsal
from isadmin.lio.devices import PAGE, paged
from isadmin.lio.explain import attempting, explain, is_rtslib_error
from isadmin.lio.exports import exports_of
from isadmin.lio.objects import Lio, Lun
from isadmin.lio.storage_objects import PREFIXES, PortGroup, StorageObject, device_size, is_block_device
from isadmin.lio.write import delete_lun


def create_fileio(
    lio: Lio, name: str, dev: str, size: int | None, *, write_back: bool, wwn: str | None
) -> StorageObject:
    """A file or block device. size in bytes for a file, None for a device."""
    if size is None and is_block_device(dev):
        size = device_size(dev)
    return _create(
        lio, model.StorageObject("fileio", name, dev=dev, size=size, wwn=wwn, write_back=write_back)
    )


def create_block(
    lio: Lio, name: str, dev: str, *, readonly: bool, exclusive: bool, wwn: str | None
) -> StorageObject:
    """A block device, or a partition of one."""
    so = _create(
        lio, model.StorageObject("block", name, dev=dev, wwn=wwn, readonly=readonly, exclusive=exclusive)
    )
    if not exclusive and not rehearsal.runs() and so.info().word("exclusive") != "0":
        delete(lio, so)
        raise IsadminError(f"Could not create block {name}: exclusive=false not supported by this kernel")
    return so


def create_ramdisk(lio: Lio, name: str, size: int, *, nullio: bool, wwn: str | None) -> StorageObject:
    """Memory (size in bytes, rounded to pages), or with nullio nothing: writes vanish, reads are zeroes."""
    return _create(lio, model.StorageObject("ramdisk", name, size=paged(size), wwn=wwn, nullio=nullio))


def create_pscsi(lio: Lio, name: str, dev: str) -> StorageObject:
    """A SCSI device passed through; dev is a path or H:C:T:L."""
    return _create(lio, model.StorageObject("pscsi", name, dev=dev))


def create_user(
    lio: Lio,
    name: str,
    config: str,
    size: int,
    *,
    wwn: str | None,
    hw_max_sectors: int | None,
    control: str | None,
) -> StorageObject:
    """A device served by a process (tcmu-runner); config is <handler>/<its argument>."""
    return _create(
        lio,
        model.StorageObject(
            "user",
            name,
            config=config,
            size=size,
            wwn=wwn,
            hw_max_sectors=hw_max_sectors,
            control=control,
        ),
    )


def _create(lio: Lio, value: model.StorageObject) -> StorageObject:
    plugin, name = value.plugin, value.name
    what = f"Could not create {plugin} {name}"
    if not name or any(c in name for c in "/ \t\n"):
        raise UsageError(f"Bad name '{name}'", "a storage object's name has no blanks and no /")
    if lio.find_storage_object(plugin, name) is not None:
        raise IsadminError(f"Storage object {plugin}/{name} exists")
    core, number = f"{lio.path}/core", lio.free_hba()
    path = f"{core}/{PREFIXES[plugin]}_{number}/{name}"
    if rehearsal.adds(path, value, enable="1", info=_info(value)):
        return StorageObject(path)
    try:
        devices.make(core, number, value, lio.dbroot)
    except Exception as error:
        if isinstance(error, IsadminError):
            raise IsadminError(f"{what}: {error}", error.remedy) from error
        if isinstance(error, OSError) or is_rtslib_error(error):
            raise explain(what, error, CAUSES) from error
        raise
    lio.made_storage_object(path)
    return StorageObject(path)


def _info(so: model.StorageObject) -> str:
    """What the info file of a new storage object says."""
    device = f"File: {so.dev} " if so.plugin == "fileio" else ""
    pages = f"PAGES/PAGE_SIZE: {so.size // PAGE}*{PAGE}" if so.plugin == "ramdisk" and so.size else ""
    return f"Status: DEACTIVATED {device}Size: {so.size or 0} {pages}"


CAUSES = {
    errno.EBUSY: ("the device is in use", "unmount it, or stop what has it open"),
    errno.ENOENT: ("there is no such file or device", ""),
    errno.ENODEV: ("there is no such device", ""),
    errno.EINVAL: ("the target does not accept it", "is the device in use, or the wrong kind?"),
}


def delete(lio: Lio, so: StorageObject) -> list[Lun]:
    """Delete it, first the LUNs it is exported as, which are returned. Files and devices keep their data."""
    with attempting(f"Could not delete storage object {so.name}"):
        exports = exports_of(lio, so)
        for lun in exports:
            delete_lun(lun)
        if rehearsal.removes(so.path):
            return exports
        with lio.removing(so):
            _remove(so)
    return exports


def _remove(so: StorageObject) -> None:
    try:
        os.rmdir(so.path)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        for group in so.port_groups():
            if group.name != model.DEFAULT_GROUP:
                os.rmdir(group.path)
        os.rmdir(so.path)
    with suppress(OSError):
        os.rmdir(so.path.rpartition("/")[0])


def resize_fileio(so: StorageObject, size: int) -> None:
    """Another size, in bytes, for a fileio object and its file: both or neither. A file that is longer
    already is cut only where its object shrinks."""
    file = so.udev_path()
    shrinks = size < so.size()
    with attempting(f"Could not resize {file}"):
        before = os.stat(file).st_size
        if before < size and not rehearsal.runs():
            os.truncate(file, size)
    try:
        with attempting(f"Could not resize {so.full_name}"):
            files.write(f"{so.path}/control", f"fd_dev_size={size}")
    except IsadminError:
        if before < size and not rehearsal.runs():
            with suppress(OSError):
                os.truncate(file, before)
        raise
    with attempting(f"Could not shrink {file}"):
        if shrinks and before > size and not rehearsal.runs():
            os.truncate(file, size)


def create_port_group(so: StorageObject, name: str, tag: int) -> PortGroup:
    """An ALUA target port group; tag is its identifier, 1 to 65535."""
    group = PortGroup(so, name)
    if rehearsal.adds(group.path, model.PortGroup(name, tag)):
        return group
    causes = {errno.EINVAL: ("the tag is in use or out of range", "tags are 1 to 65535, one a group")}
    with attempting(f"Could not create ALUA group {name}", causes):
        os.mkdir(group.path)
        try:
            files.write(f"{group.path}/tg_pt_gp_id", str(tag))
        except BaseException:
            with suppress(OSError):
                os.rmdir(group.path)
            raise
    return group


def delete_port_group(group: PortGroup) -> None:
    """LUNs in it fall back to default_tg_pt_gp."""
    if rehearsal.removes(group.path):
        return
    with attempting(f"Could not delete ALUA group {group.name}"):
        os.rmdir(group.path)
