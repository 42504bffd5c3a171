"""Storage objects and their ALUA groups as light handles over their directories in configfs' core/: reading
costs what is read, and no more; a value is what configfs says now.
"""

from __future__ import annotations

import os
import stat

from isadmin.lio import files

PLUGINS = {"fileio": "fileio", "rd_mcp": "ramdisk", "iblock": "block", "pscsi": "pscsi", "user": "user"}
"""configfs' HBA prefix -> the name people know."""
PREFIXES = {name: prefix for prefix, name in PLUGINS.items()}
ALUA_STATES = {
    0: "Active/optimized",
    1: "Active/non-optimized",
    2: "Standby",
    3: "Unavailable",
    4: "LBA Dependent",
    14: "Offline",
    15: "Transitioning",
}


class StorageObject:
    """A device of a backstore plugin: core/<prefix>_<n>/<name>."""

    __slots__ = ("name", "path", "plugin")

    def __init__(self, path: str) -> None:
        hba, self.name = path.rsplit("/", 2)[-2:]
        self.plugin = PLUGINS.get(hba.rpartition("_")[0], hba)
        self.path = path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StorageObject) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def full_name(self) -> str:
        return f"{self.plugin}/{self.name}"

    def exists(self) -> bool:
        return files.is_dir(self.path)

    def info(self) -> Info:
        return Info(files.read(f"{self.path}/info"))

    def enabled(self) -> bool:
        return files.read_or(f"{self.path}/enable", "1") != "0"

    def udev_path(self, info: Info | None = None) -> str:
        path = files.read_or(f"{self.path}/udev_path", "")
        if not path and self.plugin == "fileio":
            path = (info or self.info()).word("File")
        return path

    def write_back(self) -> bool:
        return files.read_or(f"{self.path}/attrib/emulate_write_cache", "0") != "0"

    def wwn(self) -> str:
        """The T10 unit serial number."""
        return files.read_or(f"{self.path}/wwn/vpd_unit_serial", "").partition(":")[2].strip()

    def size(self, info: Info | None = None) -> int:
        """Bytes; 0 when the device does not say."""
        info = info or self.info()
        if self.plugin == "ramdisk":
            pages, _, page_size = info.word("PAGES/PAGE_SIZE").partition("*")
            return int(pages or 0) * int(page_size or 0)
        if self.plugin == "block":
            return disk_size(info.word("iBlock device"))
        if self.plugin == "fileio":
            device = info.word("File")
            if is_block_device(device):
                return device_size(device)
        return int(info.word("Size") or 0)

    def alua_supported(self) -> bool:
        """Reading the ALUA files of a passthrough device that has none crashes old kernels."""
        if self.plugin not in ("pscsi", "user"):
            return True
        return files.read_or(f"{self.path}/attrib/alua_support", "0") == "1"

    def port_groups(self) -> list[PortGroup]:
        if not self.alua_supported():
            return []
        return [PortGroup(self, name) for name in files.names(f"{self.path}/alua")]

    def facts(self) -> dict[str, object]:
        """What `info` shows, by rtslib's names."""
        info = self.info()
        facts: dict[str, object] = {"name": self.name, "plugin": self.plugin}
        if self.plugin != "pscsi":
            facts["wwn"] = self.wwn()
        if self.plugin in ("fileio", "block", "pscsi"):
            facts["dev"] = self.udev_path(info)
        if self.plugin in ("fileio", "block"):
            facts["write_back"] = self.write_back()
        if self.plugin in ("fileio", "ramdisk", "user"):
            facts["size"] = self.size(info)
        if self.plugin == "fileio":
            facts["aio"] = info.word("Async") == "1"
        elif self.plugin == "block":
            facts["readonly"] = info.word("readonly") == "1"
            facts["exclusive"] = info.word("exclusive") != "0"
        elif self.plugin == "ramdisk" and info.word("nullio") == "1":
            facts["nullio"] = True
        elif self.plugin == "user":
            facts["config"] = info.word("Config")
            facts["hw_max_sectors"] = info.word("HwMaxSectors")
        return facts


class Info:
    """A storage object's info file: `key: value` pairs in running text."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def word(self, key: str) -> str:
        """The word after `key:`, empty if the key is not there."""
        text, wanted = self.text, f"{key}:"
        at = text.find(wanted)
        while at > 0 and not text[at - 1].isspace():
            at = text.find(wanted, at + 1)
        return "" if at < 0 else next(iter(text[at + len(wanted) :].split(None, 1)), "")

    @property
    def status(self) -> str:
        """activated (exported as a LUN) or deactivated."""
        return self.word("Status").lower()


class PortGroup:
    """An ALUA target port group of a storage object."""

    __slots__ = ("name", "path", "storage_object")

    def __init__(self, storage_object: StorageObject, name: str) -> None:
        self.storage_object = storage_object
        self.name = name
        self.path = f"{storage_object.path}/alua/{name}"

    def exists(self) -> bool:
        return bool(self.name) and "/" not in self.name and files.is_dir(self.path)

    def state_name(self) -> str:
        state = int(files.read_or(f"{self.path}/alua_access_state", "0"))
        return ALUA_STATES.get(state, f"state {state}")

    def member_paths(self) -> list[str]:
        """Its LUNs as LIO writes them: <fabric>/<wwn>/tpgt_<n>/lun_<n>. The list may be cut at a page."""
        text = files.read_or(f"{self.path}/members", "")
        return [line for line in text.replace("\0", "\n").split("\n") if line]


def is_block_device(path: str) -> bool:
    try:
        return stat.S_ISBLK(os.stat(path).st_mode)
    except OSError:
        return False


def device_size(path: str) -> int:
    """Bytes of a block device, by the kernel's book (no need to open it)."""
    number = os.stat(path).st_rdev
    return _sectors(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/size")


def disk_size(name: str) -> int:
    """The same for a kernel disk name (loop0, sda1, cciss!c0d0)."""
    return _sectors(f"/sys/class/block/{name.replace('/', '!')}/size")


def _sectors(path: str) -> int:
    try:
        return int(files.read(path)) * 512
    except (OSError, ValueError):
        return 0
