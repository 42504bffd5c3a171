"""LIO's objects as light handles over their configfs directories: reading costs what is read, and no more.

rtslib looks at the whole of a portal group to find a free LUN, at all LUNs to resolve one mapping, at every
target to see where a storage object is exported, and at each file's mode to list attributes: with many
objects the cost of a command grows with the square. These handles hold a path and read single files; nothing
is cached, so a value is what configfs says now. Changes are made by write.py, through rtslib.

    Lio -> StorageObject -> PortGroup
        -> Target -> Tpg -> Lun, NodeAcl -> MappedLun, Portal
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from isadmin.lio import fabrics, files
from isadmin.lio.storage_objects import PLUGINS, PREFIXES, StorageObject

NOT_TARGETS = frozenset({"discovery_auth", "lio_version", "version", "cpus_allowed_list"})
"""What else is in a fabric's directory."""
MAX_LUN = 65535
FEW_PROBES = 4
"""Look-ups of storage objects by name after which listing all of them pays."""


class Lio:
    """One configuration: the directory `target` of the kernel's configfs, or of the userspace target.

    It remembers where storage objects are, because their directories' names do not tell: every look-up
    would have to open all of them. Remembered places are checked; the list is compared when the directory
    core/ has another number of subdirectories than before.
    """

    __slots__ = ("_backing", "_found", "_hbas", "_links", "_listed", "_numbers", "_probes", "_seen", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._hbas: dict[str, list[str]] = {}
        self._seen: tuple[int, ...] = ()
        self._links: dict[str, tuple[str, str] | None] | None = None
        self._found: dict[tuple[str, str], str] = {}
        self._numbers: dict[str, tuple[tuple[int, ...], set[int], int]] = {}
        self._listed = False
        self._backing: dict[str, tuple[int, int] | None] = {}
        self._probes = 0

    def hbas(self) -> dict[str, list[str]]:
        """The backstores' directories in core/ and the names of the storage objects in each."""
        core = f"{self.path}/core"
        try:
            state = os.stat(core)
        except FileNotFoundError:
            return {}
        seen = (state.st_nlink, state.st_mtime_ns, state.st_ctime_ns)
        if seen != self._seen:
            listed = [name for name in files.names(core) if name.rpartition("_")[0] in PLUGINS]
            self._hbas = {hba: self._hbas.get(hba) or files.directories(f"{core}/{hba}") for hba in listed}
            self._seen = seen
        return self._hbas

    def made_storage_object(self, path: str) -> None:
        """This process made a storage object and its backstore's directory, and nothing else did meanwhile:
        it has the lock."""
        core, hba, name = path.rsplit("/", 2)
        self.made(core, int(hba.rpartition("_")[2]))
        now = _stamp(core)
        if self._seen and now[0] == self._seen[0] + 1:
            self._hbas[hba] = [name]
            self._seen = now

    @contextmanager
    def removing(self, so: StorageObject) -> Iterator[None]:
        """Within this, this process removes a storage object and its backstore's directory, and nothing else
        does anything meanwhile: it has the lock."""
        core, hba, _ = so.path.rsplit("/", 2)
        is_known = self._seen == _stamp(core)
        yield
        now = _stamp(core)
        if is_known and now[0] == self._seen[0] - 1:
            self._hbas.pop(hba, None)
            self._seen = now

    def free_number(self, directory: str) -> int:
        """The lowest number n for which a directory has no lun_<n> (core/: no backstore's directory). What it
        has is listed when it changed."""
        stamp = _stamp(directory)
        known = self._numbers.get(directory)
        if known is None or known[0] != stamp:
            known = (stamp, set(self._numbers_in(directory)), 0)
        numbers, lowest = known[1], known[2]
        while lowest in numbers:
            lowest += 1
        self._numbers[directory] = (stamp, numbers, lowest)
        return lowest

    def _numbers_in(self, directory: str) -> list[int]:
        if directory != f"{self.path}/core":
            return files.numbered(directory, "lun_")
        return [n for name in files.names(directory) if (n := _trailing_number(name)) is not None]

    def made(self, directory: str, number: int) -> None:
        """This process made lun_<number> in a directory (in core/, a backstore's directory), and nothing else
        did meanwhile: it has the lock."""
        known = self._numbers.pop(directory, None)
        if known is None or number in known[1]:
            return
        stamp = _stamp(directory)
        if stamp[0] == known[0][0] + 1:
            known[1].add(number)
            self._numbers[directory] = (stamp, known[1], known[2])

    def forget(self) -> None:
        """Look again at everything."""
        self._hbas = {}
        self._seen = ()

    @contextmanager
    def looking(self) -> Iterator[None]:
        """For a look at everything at once, as `ls` takes it: what LUNs are linked to and where storage
        objects are is read once, and forgotten after it."""
        self._links, self._listed = {}, False
        try:
            with files.looking(self.path):
                yield
        finally:
            self._links = None

    def link(self, directory: str) -> tuple[str, str] | None:
        """The link in a LUN's directory: its name and where it leads, None if there is none."""
        if self._links is None:
            return files.link(directory)
        if directory not in self._links:
            self._links[directory] = files.link(directory)
        return self._links[directory]

    def user_of(self, path: str) -> StorageObject | None:
        """The fileio or block storage object over a file or device, by whatever path it names it."""
        wanted = _identity(path)
        if wanted is None:
            return None
        found = [
            StorageObject(f"{self.path}/core/{hba}/{name}")
            for hba, names in self.hbas().items()
            if hba.startswith(("fileio_", "iblock_"))
            for name in names
        ]
        backing = {so.path: self._backing.get(so.path) or _identity(so.udev_path()) for so in found}
        self._backing = backing
        for so in found:
            # What was remembered may have been deleted and made again over another file.
            if backing[so.path] == wanted and _identity(so.udev_path()) == wanted:
                return so
        return None

    def storage_objects(self, plugin: str | None = None) -> list[StorageObject]:
        """All storage objects (of one plugin), in no order."""
        if self._links is None or not self._listed:
            self.forget()
            self._listed = True
        return [
            StorageObject(f"{self.path}/core/{hba}/{name}")
            for hba, names in self.hbas().items()
            if plugin in (None, PLUGINS[hba.rpartition("_")[0]])
            for name in names
        ]

    def find_storage_object(self, plugin: str, name: str) -> StorageObject | None:
        """The storage object of that name, None if there is none."""
        so = self._find_storage_object(plugin, name)
        if so is None:
            self._found.pop((plugin, name), None)
        else:
            self._found[plugin, name] = so.path
        return so

    def _find_storage_object(self, plugin: str, name: str) -> StorageObject | None:
        known = self._found.get((plugin, name))
        if known is not None and files.is_dir(known):
            return StorageObject(known)
        if not self._seen and self._probes < FEW_PROBES:
            # A process that runs one command would list every directory to look into one: the newest are
            # probed first, since what was just created is what commands are mostly about.
            self._probes += 1
            return self._probe(plugin, name)
        prefix = PREFIXES[plugin] + "_"
        for hba, names in self.hbas().items():
            if name in names and hba.startswith(prefix):
                so = StorageObject(f"{self.path}/core/{hba}/{name}")
                if so.exists():
                    return so
                self.forget()
                return self._find_storage_object(plugin, name)
        return None

    def _probe(self, plugin: str, name: str) -> StorageObject | None:
        for number in reversed(files.numbered(f"{self.path}/core", f"{PREFIXES[plugin]}_")):
            so = StorageObject(f"{self.path}/core/{PREFIXES[plugin]}_{number}/{name}")
            if so.exists():
                return so
        return None

    def dbroot(self) -> str:
        """Where this target keeps persistent reservations and ALUA metadata."""
        return files.read_or(f"{self.path}/dbroot", "")

    def free_hba(self) -> int:
        """The lowest number that no backstore's directory has."""
        return self.free_number(f"{self.path}/core")

    def targets(self, fabric: fabrics.Fabric) -> list[Target]:
        """The targets of a fabric, none if the fabric is not loaded."""
        found = files.directories(f"{self.path}/{fabric.dirname}")
        return [Target(self, fabric, fabric.wwn(name)) for name in found if name not in NOT_TARGETS]


@cache
def lio_at(path: str) -> Lio:
    """The configuration at a path, with what this process remembers of it."""
    return Lio(path)


class Target:
    """A target node of a fabric."""

    __slots__ = ("fabric", "lio", "path", "wwn")

    def __init__(self, lio: Lio, fabric: fabrics.Fabric, wwn: str) -> None:
        self.lio = lio
        self.fabric = fabric
        self.wwn = wwn
        self.path = f"{lio.path}/{fabric.dirname}/{fabric.wwn_directory(wwn)}"

    def exists(self) -> bool:
        return files.is_dir(self.path)

    def tpgs(self) -> list[Tpg]:
        return [Tpg(self, tag) for tag in files.numbered(self.path, "tpgt_")]


class Tpg:
    """A target portal group; tag is its TPGT."""

    __slots__ = ("path", "tag", "target")

    def __init__(self, target: Target, tag: int) -> None:
        self.target = target
        self.tag = tag
        self.path = f"{target.path}/tpgt_{tag}"

    @property
    def fabric(self) -> fabrics.Fabric:
        return self.target.fabric

    @property
    def place(self) -> str:
        """Its path in the shell, which leaves out the only group that some fabrics' targets have."""
        place = f"/{self.fabric.name}/{self.target.wwn}"
        return f"{place}/tpg{self.tag}" if self.fabric.has("tpgts") else place

    def exists(self) -> bool:
        return files.is_dir(self.path)

    def enabled(self) -> bool:
        """A fabric without the file has its groups always enabled."""
        return files.read_or(f"{self.path}/enable", "1") != "0"

    def attribute(self, name: str) -> int:
        """attrib/<name> as a number, 0 if this fabric has no such attribute."""
        return int(files.read_or(f"{self.path}/attrib/{name}", "0"))

    def nexus(self) -> str:
        return files.read_or(f"{self.path}/nexus", "")

    def luns(self) -> list[Lun]:
        return [Lun(self, number) for number in files.numbered(f"{self.path}/lun", "lun_")]

    def acls(self) -> list[NodeAcl]:
        if not self.fabric.has("acls"):
            return []
        return [NodeAcl(self, self.fabric.wwn(name)) for name in sorted(files.names(f"{self.path}/acls"))]

    def portals(self) -> list[Portal]:
        if not self.fabric.has("nps"):
            return []
        found = []
        for name in files.names(f"{self.path}/np"):
            address, _, port = name.rpartition(":")
            found.append(Portal(self, address, int(port)))
        return found

    def free_lun(self) -> int:
        """The lowest LUN number not in use; MAX_LUN + 1 if there is none."""
        return self.target.lio.free_number(f"{self.path}/lun")


class Lun:
    """A storage object as a portal group exports it."""

    __slots__ = ("number", "path", "tpg")

    def __init__(self, tpg: Tpg, number: int) -> None:
        self.tpg = tpg
        self.number = number
        self.path = f"{tpg.path}/lun/lun_{number}"

    @property
    def place(self) -> str:
        """Its path in the shell."""
        return f"{self.tpg.place}/luns/lun{self.number}"

    def exists(self) -> bool:
        return files.is_dir(self.path)

    def link(self) -> tuple[str, str] | None:
        """(alias, path of the storage object), None if the link is gone."""
        return self.tpg.target.lio.link(self.path)

    def storage_object(self) -> StorageObject | None:
        link = self.link()
        return StorageObject(link[1]) if link else None

    def port_group_name(self, so: StorageObject | None = None) -> str | None:
        """The ALUA group of this LUN's port, None where there is no ALUA. `so`: what it exports, if known."""
        so = so or self.storage_object()
        if so is None or not so.alua_supported():
            return None
        first = files.read_or(f"{self.path}/alua_tg_pt_gp", "").partition("\n")[0]
        return first.partition(":")[2].strip() or None

    def mappings(self) -> list[MappedLun]:
        """What initiators see of it: every mapped LUN of the portal group that points here."""
        return [m for acl in self.tpg.acls() for m in acl.mapped_luns() if m.lun_number() == self.number]


class NodeAcl:
    """What one initiator may do."""

    __slots__ = ("path", "tpg", "wwn")

    def __init__(self, tpg: Tpg, wwn: str) -> None:
        self.tpg = tpg
        self.wwn = wwn
        self.path = f"{tpg.path}/acls/{tpg.fabric.wwn_directory(wwn)}"

    def exists(self) -> bool:
        return files.is_dir(self.path)

    def tag(self) -> str:
        """The name of the group of ACLs it belongs to, empty if none."""
        return files.read_or(f"{self.path}/tag", "")

    def mapped_luns(self) -> list[MappedLun]:
        return [MappedLun(self, number) for number in files.numbered(self.path, "lun_")]

    def free_lun(self) -> int:
        return self.tpg.target.lio.free_number(self.path)


class MappedLun:
    """A LUN as one initiator sees it, under a number of its own."""

    __slots__ = ("acl", "number", "path")

    def __init__(self, acl: NodeAcl, number: int) -> None:
        self.acl = acl
        self.number = number
        self.path = f"{acl.path}/lun_{number}"

    def exists(self) -> bool:
        return files.is_dir(self.path)

    def link(self) -> tuple[str, str] | None:
        """(alias, path of the LUN), None if the link is gone."""
        return files.link(self.path)

    def lun_number(self) -> int | None:
        """The number of the LUN it shows, None if that is gone."""
        link = self.link()
        if link is None:
            return None
        return int(link[1].rpartition("_")[2], 0)

    def lun(self) -> Lun | None:
        number = self.lun_number()
        return None if number is None else Lun(self.acl.tpg, number)

    def storage_object(self) -> StorageObject | None:
        """What is behind it, None if a link on the way is gone."""
        lun = self.lun()
        return None if lun is None else lun.storage_object()

    def write_protected(self) -> bool:
        return files.read_or(f"{self.path}/write_protect", "0") not in ("0", "")


class Portal:
    """An address and port where a portal group listens; address has brackets when it is IPv6."""

    __slots__ = ("address", "path", "port", "tpg")

    def __init__(self, tpg: Tpg, address: str, port: int) -> None:
        self.tpg = tpg
        self.address = address
        self.port = port
        self.path = f"{tpg.path}/np/{address}:{port}"

    @property
    def name(self) -> str:
        return f"{self.address}:{self.port}"

    def exists(self) -> bool:
        return files.is_dir(self.path)

    def iser(self) -> bool:
        return files.read_or(f"{self.path}/iser", "0") not in ("0", "")

    def offload(self) -> bool:
        return files.read_or(f"{self.path}/cxgbit", "0") not in ("0", "")


def _stamp(directory: str) -> tuple[int, ...]:
    """What differs once something came or went in a directory."""
    try:
        state = os.stat(directory)
    except FileNotFoundError:
        return ()
    return (state.st_nlink, state.st_mtime_ns, state.st_ctime_ns)


def _trailing_number(name: str) -> int | None:
    digits = name.rpartition("_")[2]
    return int(digits) if digits.isdecimal() else None


def _identity(path: str) -> tuple[int, int] | None:
    """What is one file or device, by whatever path; None if there is none."""
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return None
    if stat.S_ISBLK(state.st_mode):
        return (-1, state.st_rdev)
    return (state.st_dev, state.st_ino)


def lowest_free(used: list[int]) -> int:
    """The lowest number >= 0 that is not in the sorted list."""
    for index, number in enumerate(sorted(set(used))):
        if index != number:
            return index
    return len(set(used))
