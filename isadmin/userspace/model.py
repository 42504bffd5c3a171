"""LIO's objects as plain values: what configfs edits and what the running target reads.

The configfs tree owns these objects and is the only writer; the target (target.py, iscsi, scsi) holds
references and reads them. Both live on the event loop's thread, so there is no lock. After each change the
tree tells the engine (see engine.py). Numbers are ints, names and secrets str, in the units configfs uses.

    Root
      hbas -> Hba -> Device (a storage object) -> TargetPortGroup (ALUA)
      lu_groups
      fabrics -> Fabric -> Target -> Tpg -> Portal, Lun, NodeAcl -> MappedLun
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isadmin.userspace.engine import Unit


@dataclass(slots=True, eq=False)
class Root:
    """Everything under target/."""

    hbas: dict[str, Hba] = field(default_factory=dict)
    lu_groups: dict[str, LuGroup] = field(default_factory=dict)
    fabrics: dict[str, Fabric] = field(default_factory=dict)
    removed_fabrics: dict[str, Fabric] = field(default_factory=dict)
    """By name; what iscsi was set to outlives it, as in the kernel it is the module's."""
    dbroot: str = "/var/target"


@dataclass(slots=True, eq=False)
class Hba:
    """target/core/<plugin>_<number>: a backstore plugin's host bus adapter."""

    plugin: str
    """fileio, rd_mcp, iblock, pscsi or user."""
    dirname: str
    index: int
    """The kernel's HBA index: a global counter, not the number in the name."""
    next_plugin_id: int = 0
    devices: dict[str, Device] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Device:
    """A storage object: target/core/<hba>/<name>."""

    hba: Hba
    name: str
    control: dict[str, str] = field(default_factory=dict)
    """Accepted control keys: fd_dev_name, fd_dev_size, fd_buffered_io, rd_pages, rd_nullio, udev_path,
    readonly, scsi_host_id, ..., dev_config, dev_size, ..."""
    udev_path: str = ""
    alias: str = ""
    attrib: dict[str, int] = field(default_factory=dict)
    """attrib/*, by name, as configfs shows them (block_size, emulate_tpu, max_unmap_lba_count, ...)."""
    vendor: str = "LIO-ORG"
    product: str = ""
    """INQUIRY product: the plugin's, the alias (emulate_model_alias), or what was written."""
    revision: str = ""
    company_id: int = 0x001405
    serial: str = ""
    """The unit serial number, from which the NAA designator is made as LIO makes it."""
    unit: Unit | None = None
    """The running unit, from enable to removal."""
    index: int = 0
    """The kernel's device index (statistics; a global counter)."""
    lu_group: LuGroup | None = None
    port_groups: dict[str, TargetPortGroup] = field(default_factory=dict)
    exports: list[Lun] = field(default_factory=list)
    alias_set: bool = False
    udev_path_set: bool = False
    """Written at all: an alias can be set and empty."""
    aptpl: list[str] = field(default_factory=list)
    """Saved persistent reservation registrations, as written to pr/res_aptpl_metadata before `enable`."""
    next_rtpi: int = 1
    """The relative target port identifier the next LUN of this device gets."""
    plugin_id: int = 0
    """The plugin's own number of the device, counted in each HBA from its first enabled one."""
    created: float = 0.0
    """When it was enabled, in seconds on the tree's clock."""
    queue_depth_written: int = 0
    """attrib/queue_depth as it was last written: what info says of it."""
    tables: int = 0
    """rd_mcp: how many tables of pages it was enabled with."""
    lba_map: str = ""
    """LBA-dependent ALUA states, as lba_map shows them."""
    blocked: bool = False
    """user devices: action/block_dev."""

    @property
    def plugin(self) -> str:
        return self.hba.plugin


@dataclass(slots=True, eq=False)
class LuGroup:
    """target/core/alua/lu_gps/<name>."""

    name: str
    group_id: int | None = None
    members: list[Device] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class TargetPortGroup:
    """An ALUA target port group of one device: <device>/alua/<name>. States are SPC-4's (0 optimized, 1
    non-optimized, 2 standby, 3 unavailable, 4 lba-dependent, 14 offline, 15 transitioning)."""

    device: Device
    name: str
    group_id: int | None = None
    """None until tg_pt_gp_id is written: such a group cannot be used by a LUN."""
    access_state: int = 0
    access_status: int = 0
    """0 none, 1 altered by explicit STPG, 2 altered by implicit ALUA."""
    access_type: int = 3
    """0 none, 1 implicit, 2 explicit, 3 both."""
    supported: dict[str, int] = field(default_factory=dict)
    """alua_support_* flags by their file names."""
    preferred: int = 0
    nonop_delay_msecs: int = 100
    trans_delay_msecs: int = 0
    implicit_trans_secs: int = 0
    write_metadata: int = 0
    members: list[Lun] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Credentials:
    """CHAP names and secrets exactly as written, a trailing newline included (as the kernel keeps them),
    empty when unset. Bytes that are no UTF-8 are surrogate escapes: encode with errors='surrogateescape'."""

    userid: str = ""
    password: str = field(default="", repr=False)
    userid_mutual: str = ""
    password_mutual: str = field(default="", repr=False)
    userid_set: bool = False
    password_set: bool = False
    userid_mutual_set: bool = False
    password_mutual_set: bool = False
    """The kernel's NAF_* flags: written at all, and not with NULL since."""

    @property
    def one_way(self) -> bool:
        return self.userid_set and self.password_set

    @property
    def mutual(self) -> bool:
        """authenticate_target: the target must prove itself to the initiator too."""
        return self.userid_mutual_set and self.password_mutual_set


@dataclass(slots=True, eq=False)
class Fabric:
    """target/<name>: iscsi, loopback, vhost."""

    name: str
    targets: dict[str, Target] = field(default_factory=dict)
    cpus_allowed: str = ""
    """iscsi: cpus_allowed_list as a list of ranges."""
    discovery_auth: Credentials = field(default_factory=Credentials)
    enforce_discovery_auth: bool = False


@dataclass(slots=True, eq=False)
class Target:
    """An iSCSI target node, or another fabric's WWN."""

    fabric: Fabric
    name: str
    index: int = 0
    tpgs: dict[int, Tpg] = field(default_factory=dict)
    namesakes: list[Tpg] = field(default_factory=list)
    """Portal groups made under another spelling of a tag that is taken (tpgt_01): no initiator reaches them
    while the first is there."""
    cmd_completion_affinity: int = -1
    scsi_host: int = 0
    """loopback: the number of the emulated SCSI host."""

    @property
    def wwn(self) -> str:
        """What texts call it: loopback and vhost cut the prefix off a Fibre Channel name."""
        kept = self.fabric.name == "iscsi" or "naa." in self.name or "fc." not in self.name
        return self.name if kept else self.name[3:]

    def every_tpg(self) -> list[Tpg]:
        return [*self.tpgs.values(), *self.namesakes]

    def add_tpg(self, tpg: Tpg) -> None:
        if tpg.tag in self.tpgs:
            self.namesakes.append(tpg)
        else:
            self.tpgs[tpg.tag] = tpg

    def remove_tpg(self, tpg: Tpg) -> None:
        """Take out a portal group; a namesake takes its place."""
        if self.tpgs.get(tpg.tag) is not tpg:
            self.namesakes.remove(tpg)
            return
        del self.tpgs[tpg.tag]
        heir = next((other for other in self.namesakes if other.tag == tpg.tag), None)
        if heir is not None:
            self.namesakes.remove(heir)
            self.tpgs[tpg.tag] = heir


@dataclass(slots=True, eq=False)
class Tpg:
    """A target portal group; tag is the TPGT."""

    target: Target
    tag: int
    enabled: bool = False
    attrib: dict[str, int] = field(default_factory=dict)
    """attrib/*: authentication, generate_node_acls, demo_mode_write_protect, login_timeout, ..."""
    param: dict[str, str] = field(default_factory=dict)
    """param/*: the operational keys by their RFC names, as text, without a newline. Use `number` for numbers:
    they may be written in hexadecimal or octal."""
    auth: Credentials = field(default_factory=Credentials)
    """Used in demo mode; an ACL has its own."""
    nexus: str = ""
    """loopback and vhost only."""
    portals: dict[str, Portal] = field(default_factory=dict)
    luns: dict[int, Lun] = field(default_factory=dict)
    acls: dict[str, NodeAcl] = field(default_factory=dict)
    transport_online: bool = True
    """loopback: transport_status."""

    def number(self, name: str) -> int:
        """param `name` as a number."""
        text = self.param[name]
        if text.startswith("0") and text.isdigit():
            return int(text, 8)
        return int(text, 0)


@dataclass(slots=True, eq=False)
class Portal:
    """np/<dirname>: one address and port. address is canonical and without brackets: "::", "10.0.0.1"."""

    tpg: Tpg
    dirname: str
    address: str
    port: int
    iser: bool = False
    cxgbit: bool = False


@dataclass(slots=True, eq=False)
class Lun:
    """lun/lun_<number>. device is None until linked, and again once unlinked."""

    tpg: Tpg
    number: int
    dirname: str = ""
    device: Device | None = None
    link_name: str = ""
    relative_target_port: int = 0
    """The relative target port identifier of this LUN's port on its device (VPD 83h, ALUA)."""
    port_group: TargetPortGroup | None = None
    offline: int = 0
    secondary_status: int = 0
    secondary_write_metadata: int = 0
    mapped: list[MappedLun] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class NodeAcl:
    """acls/<initiator name>."""

    tpg: Tpg
    initiator: str
    attrib: dict[str, int] = field(default_factory=dict)
    """attrib/*: authentication (-1 means the TPG's), nopin_timeout, nopin_response_timeout, ..."""
    auth: Credentials = field(default_factory=Credentials)
    cmdsn_depth: int = 64
    tag: str = ""
    index: int = 0
    """The ACL's index in the MIBs (statistics)."""
    mapped: dict[int, MappedLun] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class MappedLun:
    """acls/<name>/lun_<number>: what one initiator sees as LUN <number>. A mapping whose lun has lost its
    device stays and is dead."""

    acl: NodeAcl
    number: int
    lun: Lun | None = None
    link_name: str = ""
    write_protect: bool = False
    created: float = 0.0
    """When it was linked, in seconds on the tree's clock."""

    @property
    def live(self) -> bool:
        """Whether the initiator sees a device here."""
        return self.lun is not None and self.lun.device is not None
