"""What the configfs tree asks of the running target, and the live values it reads back.

The tree (configfs/tree.py) calls an Engine after it has checked a change against LIO's own rules and before
it makes the change visible; an OSError raised here refuses the change with that errno. The daemon's engine is
target.Target over real storage and sockets; a test hands in recorded device facts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from isadmin.userspace.model import Device, Lun, MappedLun, NodeAcl, Portal, TargetPortGroup, Tpg
from isadmin.userspace.model import Target as TargetNode


@dataclass(slots=True)
class Counters:
    """Live counters of a unit, a LUN or a mapped LUN."""

    num_cmds: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    resets: int = 0
    aborts_complete: int = 0
    aborts_no_task: int = 0
    full_stat: int = 0


@dataclass(frozen=True, slots=True)
class Registration:
    """One persistent reservation registration, in the terms of pr/*."""

    initiator: str
    isid: str
    """12 hex digits, or empty."""
    key: int
    target: str
    tpgt: int
    relative_target_port: int
    all_target_ports: bool
    holder: bool
    mapped_lun: int


@dataclass(frozen=True, slots=True)
class Reservation:
    """The reservation state of one unit: SPC-2 or SPC-3 persistent."""

    generation: int = 0
    aptpl: bool = False
    registrations: tuple[Registration, ...] = ()
    holder: Registration | None = None
    type_code: int = 0
    """SPC-4 reservation type code of the holder (1, 3, 5, 6, 7, 8), 0 without a holder."""
    spc2_holder: str = ""
    """Initiator name of an SPC-2 RESERVE, with its ISID after ',i,0x' when it has one."""


class Unit(Protocol):
    """A running storage object."""

    hw_block_size: int
    hw_max_sectors: int
    hw_queue_depth: int
    write_cache: bool
    """Whether emulate_write_cache starts as 1."""
    unmap_max_lba_count: int
    """Discard limits in logical blocks, 0 when the backing cannot discard."""
    unmap_granularity: int
    unmap_alignment: int
    max_write_same_len: int
    """The longest WRITE SAME in logical blocks."""
    rotational: bool
    facts: Mapping[str, str]
    """What only the backing knows and `info` and `wwn/` show. Block devices: 'name' (of the kernel: loop0),
    'major', 'minor'. SCSI devices: 'vendor', 'model', 'rev', 'serial', 'device_type' and the texts of
    'vpd_assoc_logical_unit', 'vpd_assoc_scsi_target_device', 'vpd_assoc_target_port',
    'vpd_protocol_identifier'. Empty for files and RAM."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    @property
    def counters(self) -> Counters: ...

    def reservation(self) -> Reservation: ...

    def load_aptpl(self, metadata: str) -> None:
        """pr/res_aptpl_metadata: take over one saved registration, already checked by the tree. The text is
        key=value pairs separated by commas: initiator_fabric, initiator_node, initiator_sid, sa_res_key,
        res_holder, res_type, res_scope, res_all_tg_pt, mapped_lun, target_fabric, target_node, tpgt,
        port_rtpi, target_lun. Called after open_unit for what was written before `enable`."""
        ...


@dataclass(frozen=True, slots=True)
class ConnectionFacts:
    cid: int
    state: str
    """LIO's name, e.g. TARG_CONN_STATE_LOGGED_IN."""
    address: str
    stat_sn: int


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """One session of a TPG, as acls/*/info and dynamic_sessions show it."""

    initiator: str
    alias: str
    sid: int
    """LIO Session ID."""
    isid: bytes
    tsih: int
    dynamic: bool
    state: str
    """LIO's name, e.g. TARG_SESS_STATE_LOGGED_IN."""
    cmd_window: int
    cmd_window_configured: int
    exp_cmd_sn: int
    max_cmd_sn: int
    itt: int
    ttt: int
    connections: tuple[ConnectionFacts, ...]
    parameters: dict[str, str] = field(default_factory=dict)
    """Negotiated operational keys by name."""
    cmd_pdus: int = 0
    rsp_pdus: int = 0
    rx_data_octets: int = 0
    tx_data_octets: int = 0
    """Data of SCSI commands."""
    rx_octets: int = 0
    tx_octets: int = 0
    """All that came and went, headers and all."""
    digest_errors: int = 0
    timeout_errors: int = 0
    index: int = 0
    """The session's index in the MIBs (statistics)."""


class SessionFailure(IntEnum):
    """Why a session ended without a logout, as fail_type shows it."""

    UNKNOWN = 0
    DIGEST = 1
    TIMEOUT = 2
    PDU_FORMAT = 3


@dataclass(slots=True)
class LoginCounters:
    """Login, logout and error statistics of one target (fabric_statistics/)."""

    accepts: int = 0
    authenticate_fails: int = 0
    authorize_fails: int = 0
    negotiate_fails: int = 0
    other_fails: int = 0
    redirects: int = 0
    normal_logouts: int = 0
    abnormal_logouts: int = 0
    cxn_errors: int = 0
    digest_errors: int = 0
    format_errors: int = 0
    last_fail_type: int = 0
    last_fail_time: float = 0.0
    """Seconds on the tree's clock (Tree's `clock` argument), 0 when nothing has failed."""
    last_session_fail_type: SessionFailure = SessionFailure.UNKNOWN
    last_session_fail_name: str = ""
    """The initiator whose session failed last."""
    fail_address: str = ""
    fail_address_type: str = ""
    fail_initiator: str = ""

    def session_failed(self, failure: SessionFailure, initiator: str) -> None:
        """A session ended without a logout."""
        if failure is SessionFailure.DIGEST:
            self.digest_errors += 1
        elif failure is SessionFailure.PDU_FORMAT:
            self.format_errors += 1
        else:
            self.cxn_errors += 1
        self.last_session_fail_type = failure
        self.last_session_fail_name = initiator


class Engine(Protocol):
    """The running target. Every call comes on the event loop's thread and must not block for long.

    An OSError from open_unit, open_portal, device_changed, tpg_changed or set_dbroot refuses the change with
    that errno and the tree puts the old value back; the other calls must not fail.
    """

    def open_unit(self, device: Device) -> Unit:
        """Open the device's storage as its control keys say. OSError: the errno `enable` ends with."""
        ...

    def close_unit(self, device: Device) -> None: ...

    def device_changed(self, device: Device, name: str) -> None:
        """attrib, wwn or alias `name` of an enabled device has its new value. An empty name: all of them,
        when `enable` has set its first values; that must not fail. `name` is a control key
        (fd_dev_size, ...) when that was written after `enable`: the kernel shows it and does not act."""
        ...

    def set_dbroot(self, path: str) -> None:
        """The directory of ALUA and APTPL metadata is to be `path`. OSError: ENOENT, ENOTDIR."""
        ...

    def alua_changed(self, group: TargetPortGroup) -> None:
        """A group's state, type or membership has changed."""
        ...

    def open_portal(self, portal: Portal) -> None:
        """Bind and listen. OSError(EINVAL) where the kernel refuses."""
        ...

    def close_portal(self, portal: Portal) -> None: ...

    def tpg_changed(self, tpg: Tpg) -> None:
        """enabled, an attribute or a parameter has changed. Disabling ends the TPG's sessions."""
        ...

    def tpg_removed(self, tpg: Tpg) -> None: ...

    def target_removed(self, target: TargetNode) -> None: ...

    def lun_changed(self, lun: Lun) -> None:
        """Linked (device set) or unlinked (device None)."""
        ...

    def access_lost(self, lun: Lun, initiator: str) -> None:
        """A LUN is about to be unlinked, or this initiator's mapping of it; an empty name stands for those
        that see it without an ACL. Their persistent registrations at its device end."""
        ...

    def acl_added(self, acl: NodeAcl) -> None: ...

    def acl_changed(self, acl: NodeAcl) -> None:
        """An attribute, credential, cmdsn_depth or the tag has changed."""
        ...

    def acl_removed(self, acl: NodeAcl) -> None:
        """Ends the initiator's sessions."""
        ...

    def mapped_lun_changed(self, mapped: MappedLun) -> None:
        """Linked, unlinked (lun None) or write_protect written."""
        ...

    def sessions(self, tpg: Tpg) -> Sequence[SessionFacts]: ...

    def session(self, acl: NodeAcl) -> SessionFacts | None:
        """The latest session that uses this ACL: a walk over thousands of ACLs asks this for each of them."""
        ...

    def lun_counters(self, lun: Lun) -> Counters: ...

    def mapped_lun_counters(self, mapped: MappedLun) -> Counters: ...

    def login_counters(self, target: TargetNode) -> LoginCounters: ...
