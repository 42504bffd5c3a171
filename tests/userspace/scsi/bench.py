"""A unit on a ramdisk, its nexuses, and commands as hex: what the SCSI tests are written in."""

from __future__ import annotations

from dataclasses import dataclass, field

from isadmin.userspace.model import (
    Device,
    Fabric,
    Hba,
    LuGroup,
    Lun,
    MappedLun,
    NodeAcl,
    Target,
    TargetPortGroup,
    Tpg,
)
from isadmin.userspace.scsi import dispatch
from isadmin.userspace.scsi.command import Command
from isadmin.userspace.scsi.nexus import LunPath, Nexus
from isadmin.userspace.scsi.unit import LogicalUnit
from isadmin.userspace.storage import Storage
from isadmin.userspace.storage.ramdisk import RamStorage

TARGET = "iqn.2003-01.org.example:disk"
SERIAL = "11111111-2222-3333-4444-555555555555"
BLOCK = 512
BLOCKS = 2048


@dataclass
class Answer:
    status: int
    sense: bytes
    data: bytes

    @property
    def key(self) -> int:
        return self.sense[2] & 0x0F if self.sense[0] & 0x7F == 0x70 else self.sense[1]

    @property
    def asc(self) -> int:
        where = 12 if self.sense[0] & 0x7F == 0x70 else 2
        return self.sense[where] << 8 | self.sense[where + 1]

    def good(self) -> bytes:
        assert self.status == 0, self
        return self.data

    def refused(self, key: int, asc: int) -> bytes:
        """The command ended with CHECK CONDITION and this sense."""
        assert self.status == 2, self
        assert (self.key, hex(self.asc)) == (key, hex(asc))
        return self.sense

    def conflicts(self) -> None:
        assert (self.status, self.sense, self.data) == (0x18, b"", b"")


def finish(command: Command, data_out: bytes = b"") -> Answer:
    """Perform an admitted command to its end, as the server does."""
    if not command.done and command.data_out_length:
        command.data_out = bytearray(data_out[: command.data_out_length])
    while not command.done:
        dispatch.perform(command)
    parts = command.data_in if isinstance(command.data_in, list) else [command.data_in]
    return Answer(command.status, command.sense, b"".join(bytes(part) for part in parts))


@dataclass
class Initiator:
    """A nexus and its path to the one unit, as LUN 0."""

    nexus: Nexus
    path: LunPath

    def send(self, cdb: str | bytes, data_out: bytes = b"", *, lun: int | bytes = 0) -> Answer:
        raw = bytes.fromhex(cdb) if isinstance(cdb, str) else cdb
        command = dispatch.admit(self.nexus, lun, raw.ljust(16, b"\0"), len(data_out))
        return finish(command, data_out)

    def clear(self) -> Initiator:
        """Take the unit attentions that wait."""
        while self.send("03 00 00 00 12 00").good()[2]:
            pass
        return self


@dataclass
class Bench:
    device: Device
    unit: LogicalUnit
    tpg: Tpg
    lun: Lun
    initiators: list[Initiator] = field(default_factory=list)

    def initiator(self, name: str = "a", *, read_only: bool = False, clear: bool = True) -> Initiator:
        nexus = Nexus(f"iqn.1994-05.com.example:{name}", bytes.fromhex("00023d000001"), TARGET, self.tpg.tag)
        found = Initiator(nexus, nexus.add(0, self.unit, self.lun, read_only=read_only))
        self.initiators.append(found)
        return found.clear() if clear else found

    def known(self, name: str) -> None:
        """Give an initiator an ACL that maps the LUN."""
        acl = NodeAcl(self.tpg, f"iqn.1994-05.com.example:{name}")
        acl.mapped[0] = MappedLun(acl, 0, self.lun)
        self.tpg.acls[acl.initiator] = acl


def bench(storage: Storage | None = None, plugin: str = "fileio", **attrib: int) -> Bench:
    """A unit with a write cache and a full set of attributes, on a ramdisk of 1 MiB unless told otherwise."""
    values = {
        "block_size": BLOCK,
        "emulate_write_cache": 1,
        "max_write_same_len": 4096,
        "max_unmap_lba_count": 8192,
        "max_unmap_block_desc_count": 1,
        "unmap_granularity": 1,
        "hw_max_sectors": 16384,
        "optimal_sectors": 16384,
    }
    device = Device(Hba(plugin, f"{plugin}_0", 0), "disk", attrib=values | attrib)
    device.product, device.revision, device.serial = "FILEIO", "4.0", SERIAL
    device.lu_group = LuGroup("default_lu_gp", 0)
    unit = LogicalUnit(device, storage or RamStorage(BLOCKS * BLOCK))
    device.unit = unit
    tpg = Tpg(Target(Fabric("iscsi"), TARGET), 1)
    group = TargetPortGroup(device, "default_tg_pt_gp", group_id=0)
    device.port_groups[group.name] = group
    lun = Lun(tpg, 0, device=device, relative_target_port=1, port_group=group)
    group.members.append(lun)
    device.exports.append(lun)
    return Bench(device, unit, tpg, lun)
