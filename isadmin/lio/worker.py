"""One change of a plan, made on configfs.

What rtslib does in a time that grows with the number of objects - every LUN looks through all storage
objects, every mapping through all LUNs - is done here by the same operations on configfs, in the same order,
on the paths themselves; pass-through and user devices, and groups of fabrics with a nexus, are made through
write.py. A new object's values are written where they differ from what a fresh one of its kind has: that is
read once for all that must be alike.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from isadmin.config import order
from isadmin.config.changes import Change, Create, Delete, Set
from isadmin.config.model import (
    DEFAULT_GROUP,
    FabricModule,
    Key,
    Lun,
    MappedLun,
    NodeAcl,
    Object,
    Portal,
    PortGroup,
    StorageObject,
    Target,
    Tpg,
    Value,
    name_of,
)
from isadmin.errors import IsadminError
from isadmin.lio import devices, fabrics, files, steps
from isadmin.lio.explain import explain
from isadmin.lio.objects import Lio
from isadmin.lio.snapshot import CHAP_FILES
from isadmin.lio.storage_objects import PREFIXES
from isadmin.lio.storage_objects import StorageObject as StorageObjectHandle

DIRECTORIES = {"attributes": "attrib", "parameters": "param"}


class Worker:
    """Does changes on one configfs directory, and remembers what spares looking."""

    def __init__(self, lio: Lio, not_had: list[str], refused: list[str] | None = None) -> None:
        """A value of a new object that LIO does not know is noted in `not_had`; with `refused`, one that it
        does not take is noted there, and no error."""
        self._lio = lio
        self._not_had = not_had
        self._refused = refused
        self._doing = ""
        self._root = lio.path
        self._places: dict[tuple[str, str], str] = {}
        self._numbers: set[int] = set()
        self._next = 0
        for hba, names in lio.hbas().items():
            prefix, _, number = hba.rpartition("_")
            with suppress(ValueError):
                self._numbers.add(int(number))
            for name in names:
                self._places[prefix, name] = f"{lio.path}/core/{hba}/{name}"
        self._fresh: dict[tuple[object, ...], dict[str, Value]] = {}
        self._fabrics: dict[str, fabrics.Fabric] = {one.name: one for one in fabrics.FABRICS}
        self._made: set[str] = set()

    def do(self, change: Change) -> None:
        """Carry out one change, whole or not at all. Raises OSError, RTSLibError or IsadminError."""
        self._doing = name_of(change.key)
        if isinstance(change, Set):
            self._set(change)
        elif isinstance(change, Create):
            self._create(change.key, change.value)
        else:
            self._delete(change)

    # Where things are

    def _so_path(self, plugin: str, name: str) -> str:
        path = self._places.get((PREFIXES.get(plugin, plugin), name))
        if path is None:
            raise IsadminError(f"There is no storage object /backstores/{plugin}/{name}")
        return path

    def _fabric(self, name: str) -> fabrics.Fabric:
        try:
            return self._fabrics[name]
        except KeyError:
            known = ", ".join(self._fabrics)
            raise IsadminError(f"Unknown fabric '{name}'", f"there are: {known}") from None

    def _path(self, key: Key) -> str:
        kind, *rest = key
        if kind == "storage_object":
            return self._so_path(str(rest[0]), str(rest[1]))
        if kind == "port_group":
            return f"{self._so_path(str(rest[0]), str(rest[1]))}/alua/{rest[2]}"
        fabric = self._fabric(str(rest[0]))
        path = f"{self._root}/{fabric.dirname}"
        if kind == "fabric_module":
            return path
        path += f"/{fabric.wwn_directory(str(rest[1]))}"
        if len(rest) > 2:
            path += f"/tpgt_{rest[2]}"
        if kind == "lun":
            path += f"/lun/lun_{rest[3]}"
        elif kind == "portal":
            path += f"/np/{rest[3]}:{rest[4]}"
        elif kind in ("node_acl", "mapped_lun"):
            path += f"/acls/{fabric.wwn_directory(str(rest[3]))}"
            if kind == "mapped_lun":
                path += f"/lun_{rest[4]}"
        return path

    # Making

    def _create(self, key: Key, value: Object) -> None:
        if isinstance(value, FabricModule):
            self._load(value.name)
            self._discovery(value)
            return
        if isinstance(value, StorageObject):
            self._create_storage_object(value)
            return
        if isinstance(value, PortGroup):
            self._create_port_group(key, value)
            return
        if isinstance(value, Target):
            self._load(value.fabric)
            wwn = value.wwn
            if not self._fabric(value.fabric).is_valid(wwn):
                raise IsadminError(f"'{wwn}' is no name for a target of {value.fabric}")
        path = self._path(key)
        if isinstance(value, Tpg) and self._fabric(str(key[1])).has("nexus"):
            self._create_with_nexus(key, value)
        else:
            self._make_directory(path, value)
        with steps.whole(path):
            self._fill(key, path, value)

    @staticmethod
    def _make_directory(path: str, value: Object) -> None:
        try:
            os.mkdir(path)
        except FileExistsError:
            # What a killed process left of a LUN: a configuration does not show it.
            if not isinstance(value, Lun | MappedLun) or files.link(path) is not None:
                raise

    def _fill(self, key: Key, path: str, value: Object) -> None:
        """What belongs into a directory that was just made."""
        if isinstance(value, Lun):
            plugin, name = value.storage_object.split("/")[2:]
            steps.export(path, self._so_path(plugin, name), value.alias)
            if value.alua_tg_pt_gp_name not in (None, DEFAULT_GROUP):
                files.write(f"{path}/alua_tg_pt_gp", str(value.alua_tg_pt_gp_name))
        elif isinstance(value, MappedLun):
            lun = self._path(("lun", *key[1:4], value.tpg_lun))
            steps.map_lun(path, lun, write_protect=bool(value.write_protect), alias=value.alias)
        elif isinstance(value, Portal):
            for name in ("iser", "offload"):
                if getattr(value, name):
                    self._set_field(path, name, True)
        elif isinstance(value, NodeAcl):
            alike = ("node_acl", *key[1:4])
            self._set_values("node_acl", path, "attributes", value.attributes, alike)
            self._set_chap(f"{path}/auth", value.chap)
            if value.tag:
                files.write(f"{path}/tag", value.tag)
        elif isinstance(value, Tpg | Target):
            kind = str(key[0])
            self._set_values(kind, path, "attributes", value.attributes, None)
            self._set_values(kind, path, "parameters", value.parameters, None)
            if isinstance(value, Tpg):
                self._set_chap(f"{path}/auth", value.chap)

    def _load(self, name: str) -> None:
        if name not in self._made:
            fabric = self._fabric(name)
            if not os.path.isdir(f"{self._root}/{fabric.dirname}"):
                from isadmin.lio import write

                write.load_fabric(self._lio, fabric)
            self._made.add(name)

    def _create_with_nexus(self, key: Key, value: Tpg) -> None:
        from isadmin.lio import objects, write

        fabric = self._fabric(str(key[1]))
        write.create_tpg(objects.Target(self._lio, fabric, str(key[2])), value.tag)

    def _discovery(self, value: FabricModule) -> None:
        directory = f"{self._path(('fabric_module', value.name))}/discovery_auth"
        self._set_chap(directory, {name: value.discovery.get(name, "") for name in CHAP_FILES})
        if value.discovery_enable_auth is not None:
            files.write(f"{directory}/enforce_discovery_auth", str(int(value.discovery_enable_auth)))

    def _set_chap(self, directory: str, values: Mapping[str, Value]) -> None:
        for name, value in values.items():
            files.write(f"{directory}/{CHAP_FILES[name]}", str(value) or "NULL")

    def _create_port_group(self, key: Key, value: PortGroup) -> None:
        path = self._path(key)
        so = str(key[1])
        if value.name != DEFAULT_GROUP:
            os.mkdir(path)
            try:
                if value.tg_pt_gp_id is not None:
                    files.write(f"{path}/tg_pt_gp_id", str(value.tg_pt_gp_id))
                self._set_alua(path, value.alua, ("port_group", so))
            except BaseException:
                with suppress(OSError):
                    os.rmdir(path)
                raise
            return
        if so in ("pscsi", "user") and not os.path.isdir(path):
            return
        self._set_alua(path, value.alua, ("default", so))

    def _set_alua(self, path: str, values: Mapping[str, Value], alike: tuple[object, ...]) -> None:
        now = self._fresh.get(alike)
        if now is None:
            from isadmin.lio import snapshot

            now = self._fresh[alike] = snapshot.alua_values(path)
        differing = {name: value for name, value in values.items() if str(now.get(name)) != str(value)}
        for name, value in order.in_order("port_group", "alua", now, differing, values):
            files.write(f"{path}/{name}", str(value))

    def _set_values(
        self,
        kind: str,
        path: str,
        group: str,
        values: Mapping[str, Value],
        alike: tuple[object, ...] | None,
        skip: frozenset[str] = frozenset(),
    ) -> None:
        """Bring a new object's values to what they are to be; all with the same `alike` begin the same."""
        if not values:
            return
        directory = f"{path}/{DIRECTORIES[group]}"
        now = None if alike is None else self._fresh.get((*alike, group))
        if now is None or not now.keys() >= values.keys():
            now = {name: files.read_or(f"{directory}/{name}", "") for name in values}
            if alike is not None:
                self._fresh[(*alike, group)] = now
        differing = {
            name: value for name, value in values.items() if now[name] != str(value) and name not in skip
        }
        for name, value in order.in_order(kind, group, now, differing, values):
            self._write_value(directory, name, value)

    def _write_value(self, directory: str, name: str, value: Value) -> None:
        try:
            files.write(f"{directory}/{name}", str(value))
        except OSError as error:
            if not os.path.exists(f"{directory}/{name}") and os.path.isdir(directory):
                self._not_had.append(f"{name} of {self._doing}")
                return
            if self._refused is None:
                raise ValueRefusedError(name, error) from error
            self._refused.append(
                explain(f"Could not set {name} of {self._doing}", error, VALUE_CAUSES).line()
            )

    # Storage objects

    def _create_storage_object(self, so: StorageObject) -> None:
        if not so.name or any(c in so.name for c in "/ \t\n"):
            raise IsadminError(f"Bad name '{so.name}' of a storage object", "it has no blanks and no /")
        prefix = PREFIXES.get(so.plugin)
        if prefix is None:
            raise IsadminError(f"Unknown plugin '{so.plugin}'")
        while self._next in self._numbers:
            self._next += 1
        path = devices.make(f"{self._root}/core", self._next, so, self._dbroot)
        self._numbers.add(self._next)
        self._places[prefix, so.name] = path
        try:
            self._set_values("storage_object", path, "attributes", so.attributes, devices.alike(so))
        except BaseException:
            with suppress(OSError):
                os.rmdir(path)
                os.rmdir(os.path.dirname(path))
            del self._places[prefix, so.name]
            raise

    def _dbroot(self) -> str:
        """Where reservations are kept, read once."""
        found = self._fresh.get(("dbroot",))
        if found is None:
            found = self._fresh["dbroot",] = {"path": self._lio.dbroot()}
        return str(found["path"])

    # Setting

    def _set(self, change: Set) -> None:
        path = self._path(change.key)
        if change.group in DIRECTORIES:
            files.write(f"{path}/{DIRECTORIES[change.group]}/{change.name}", str(change.new))
        elif change.group == "alua":
            files.write(f"{path}/{change.name}", str(change.new))
        elif change.group in ("chap", "discovery"):
            directory = "auth" if change.group == "chap" else "discovery_auth"
            self._set_chap(f"{path}/{directory}", {change.name: change.new or ""})
        else:
            self._set_field(path, change.name, change.new)

    def _set_field(self, path: str, name: str, value: Value | None) -> None:
        """One of diff.IN_PLACE."""
        if name == "wwn":
            files.write(f"{path}/wwn/vpd_unit_serial", f"{value}\n")
        elif name == "size":
            self._set_size(path, int(value or 0))
        elif name == "alua_tg_pt_gp_name":
            files.write(f"{path}/alua_tg_pt_gp", str(value))
        elif name == "tag":
            files.write(f"{path}/tag", str(value) if value else "NULL")
        elif name == "discovery_enable_auth":
            files.write(f"{path}/discovery_auth/enforce_discovery_auth", str(int(bool(value))))
        elif name in ("iser", "offload"):
            files.write(f"{path}/{'cxgbit' if name == 'offload' else name}", str(int(bool(value))))
        else:
            # A fabric without the file has its groups always on.
            file = f"{path}/{name}"
            if name != "enable" or os.path.exists(file):
                method = files.read_or(f"{path}/param/AuthMethod", "") if name == "enable" and value else ""
                files.write(file, str(int(bool(value))))
                # LIO takes None out of it where authentication is demanded.
                if method and files.read(f"{path}/param/AuthMethod") != method:
                    files.write(f"{path}/param/AuthMethod", method)

    @staticmethod
    def _set_size(path: str, size: int) -> None:
        """Of a fileio object. Its file grows if need be; it never shrinks, which would cut off data."""
        file = StorageObjectHandle(path).udev_path()
        if os.stat(file).st_size < size:
            os.truncate(file, size)
        files.write(f"{path}/control", f"fd_dev_size={size}")

    # Deleting

    def _delete(self, change: Delete) -> None:
        key, value = change.key, change.value
        if isinstance(value, FabricModule):
            self._discovery(replace(value, discovery_enable_auth=False, discovery={}))
            return
        path = self._path(key)
        if isinstance(value, Lun | MappedLun):
            link = files.link(path)
            if link is not None:
                os.unlink(f"{path}/{link[0]}")
        elif isinstance(value, Portal):
            for name in ("iser", "offload"):
                if getattr(value, name):
                    self._set_field(path, name, False)
        elif isinstance(value, NodeAcl | Tpg):
            # A configuration does not show LUNs and mappings that somebody left without a device.
            below = path if isinstance(value, NodeAcl) else f"{path}/lun"
            for name in files.names(below):
                if name.startswith("lun_"):
                    with suppress(OSError):
                        steps.remove(f"{below}/{name}")
        try:
            os.rmdir(path)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            steps.remove_all_below(path)
            os.rmdir(path)
        if isinstance(value, StorageObject):
            hba = os.path.dirname(path)
            del self._places[PREFIXES.get(value.plugin, value.plugin), value.name]
            # Another storage object may share it, as LIO allows.
            with suppress(OSError):
                os.rmdir(hba)
                with suppress(ValueError):
                    self._numbers.discard(int(hba.rpartition("_")[2]))


VALUE_CAUSES = {errno.EINVAL: ("the value is not accepted", ""), errno.ENXIO: ("it is in use", "")}


class ValueRefusedError(OSError):
    """An OSError that says which value of a new object LIO refused."""

    def __init__(self, name: str, error: OSError) -> None:
        super().__init__(error.errno, error.strerror)
        self.name = name
