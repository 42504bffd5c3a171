"""The bytes behind logical units: files, memory, block devices.

base.py        what a unit may ask, and what a device says of itself
descriptor.py  reads and writes of a file descriptor that never stall the event loop
file.py        fileio
block.py       iblock
ramdisk.py     rd_mcp, rd_nullio
"""

from __future__ import annotations

import errno

from isadmin.userspace.model import Device
from isadmin.userspace.storage.base import Facts, Storage
from isadmin.userspace.storage.block import open_block
from isadmin.userspace.storage.file import open_file
from isadmin.userspace.storage.ramdisk import open_ramdisk

__all__ = ["Facts", "Storage", "open_storage"]


def open_storage(device: Device) -> Storage:
    """Open the storage that a storage object's control keys name.

    Raises OSError with the errno LIO's `enable` ends with. pscsi and user objects have no device here: they
    end as pscsi does for a host that does not exist (EINVAL), and with ENODEV.
    """
    match device.plugin:
        case "fileio":
            return open_file(device.control)
        case "rd_mcp":
            return open_ramdisk(device.control)
        case "iblock":
            return open_block(device.control)
        case "pscsi":
            raise OSError(errno.EINVAL, "no SCSI host for this object")
    raise OSError(errno.ENODEV, "no device for this kind of object")
