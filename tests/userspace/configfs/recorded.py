"""An engine of recorded facts: the devices, sessions and counters the kernel had when it was recorded."""

from __future__ import annotations

import errno
import lzma
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from json import loads
from pathlib import Path
from typing import Any

from isadmin.userspace.engine import ConnectionFacts, Counters, LoginCounters, Reservation, SessionFacts
from isadmin.userspace.model import (
    Device,
    Lun,
    MappedLun,
    NodeAcl,
    Portal,
    Target,
    TargetPortGroup,
    Tpg,
)

DATA = Path(__file__).parents[2] / "data" / "kernel"
SYSTEM = ("Linux", "x86_64", "6.1.0-56-amd64")

Entries = dict[str, dict[str, Any]]


def rows(name: str) -> Iterator[dict[str, Any]]:
    with lzma.open(DATA / f"{name}.jsonl.xz", "rt", encoding="utf-8") as lines:
        for line in lines:
            yield loads(line)


@dataclass
class RecordedUnit:
    hw_block_size: int = 512
    hw_max_sectors: int = 16384
    hw_queue_depth: int = 128
    write_cache: bool = False
    unmap_max_lba_count: int = 0
    unmap_granularity: int = 0
    unmap_alignment: int = 0
    max_write_same_len: int = 0
    rotational: bool = True
    facts: Mapping[str, str] = field(default_factory=dict)
    size: int = 8 << 20
    counters: Counters = field(default_factory=Counters)
    reserved: Reservation = field(default_factory=Reservation)
    aptpl: list[str] = field(default_factory=list)

    def reservation(self) -> Reservation:
        return self.reserved

    def load_aptpl(self, metadata: str) -> None:
        self.aptpl.append(metadata)


PAGE_LIMITED = 4294967288
LOOPS = {"/dev/loop0": "0", "/dev/loop1": "1"}
SCSI_DEBUG = {
    "vendor": "Linux   ",
    "model": "scsi_debug      ",
    "rev": "0191",
    "serial": "2000",
    "device_type": "0",
    "vpd_assoc_logical_unit": (
        "T10 VPD Identifier Association: addressed logical unit\n"
        "T10 VPD Identifier Type: T10 Vendor ID based\n"
        "T10 VPD ASCII Device Identifier: Linux   scsi_debug      2000\n"
        "T10 VPD Identifier Association: addressed logical unit\n"
        "T10 VPD Identifier Type: NAA\nT10 VPD Binary Device Identifier: 333333330000007d0\n"
    ),
    "vpd_assoc_scsi_target_device": (
        "T10 VPD Identifier Association: SCSI target device\n"
        "T10 VPD Identifier Type: NAA\nT10 VPD Binary Device Identifier: 332222220000007cd\n"
        "T10 VPD Identifier Association: SCSI target device\n"
        "T10 VPD Identifier Type: SCSI name string\n"
        "T10 VPD UTF-8 Device Identifier: naa.32222220000007CD\n"
    ),
    "vpd_assoc_target_port": (
        "T10 VPD Identifier Association: target port\n"
        "T10 VPD Identifier Type: Relative target port identifier\n"
        "T10 VPD Binary Device Identifier: 400000001\n"
        "T10 VPD Identifier Association: target port\n"
        "T10 VPD Identifier Type: NAA\nT10 VPD Binary Device Identifier: 332222220000007ce\n"
    ),
    "vpd_protocol_identifier": "T10 VPD Protocol Identifier: SAS Serial SCSI Protocol\n" * 4,
}


class RecordedEngine:
    """Says what the recorded machine said. `calls` lists what the tree told it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.claimed: dict[str, Device] = {}
        self.listeners: set[tuple[str, int]] = set()
        """Sockets of other programs."""
        self.open_sessions: list[SessionFacts] = []
        self.live: Entries = {}
        """The recorded state to take counters from."""

    # Devices

    def open_unit(self, device: Device) -> RecordedUnit:
        self.calls.append(("open_unit", device))
        return getattr(self, f"_open_{device.plugin}")(device)  # type: ignore[no-any-return]

    def _open_fileio(self, device: Device) -> RecordedUnit:
        path = device.control["fd_dev_name"]
        if path == "/run/d":
            raise OSError(errno.EISDIR, path)
        if "nosuchdir" in path:
            raise OSError(errno.ENOENT, path)
        if path not in LOOPS and "fd_dev_size" not in device.control:
            raise OSError(errno.EINVAL, path)
        return RecordedUnit(
            write_cache="fd_buffered_io" in device.control,
            unmap_max_lba_count=8192,
            unmap_granularity=1,
            max_write_same_len=4096,
        )

    def _open_rd_mcp(self, device: Device) -> RecordedUnit:
        return RecordedUnit(hw_max_sectors=PAGE_LIMITED, rotational=False)

    def _open_iblock(self, device: Device) -> RecordedUnit:
        path = device.control["udev_path"]
        if path not in LOOPS:
            raise OSError(errno.ENOENT, path)
        if path in self.claimed:
            raise OSError(errno.EBUSY, path)
        self.claimed[path] = device
        return RecordedUnit(
            hw_max_sectors=2560,
            unmap_max_lba_count=8388607,
            unmap_granularity=8,
            max_write_same_len=8388607,
            rotational=False,
            facts={"name": path.removeprefix("/dev/"), "major": "7", "minor": LOOPS[path]},
        )

    def _open_pscsi(self, device: Device) -> RecordedUnit:
        return RecordedUnit(hw_max_sectors=PAGE_LIMITED, hw_queue_depth=192, facts=SCSI_DEBUG)

    def _open_user(self, device: Device) -> RecordedUnit:
        return RecordedUnit(hw_max_sectors=128)

    def close_unit(self, device: Device) -> None:
        self.calls.append(("close_unit", device))
        self.claimed = {path: user for path, user in self.claimed.items() if user is not device}

    def device_changed(self, device: Device, name: str) -> None:
        self.calls.append(("device_changed", (device, name)))

    def alua_changed(self, group: TargetPortGroup) -> None:
        self.calls.append(("alua_changed", group))

    def set_dbroot(self, path: str) -> None:
        if not path.startswith("/"):
            raise OSError(errno.ENOENT, path)
        if path == "/etc/passwd":
            raise OSError(errno.ENOTDIR, path)

    # Portals, portal groups, ACLs

    def open_portal(self, portal: Portal) -> None:
        self.calls.append(("open_portal", portal))
        for address, port in self.listeners:
            if port == portal.port and portal.address in (address, "0.0.0.0"):
                raise OSError(errno.EADDRINUSE, portal.dirname)

    def close_portal(self, portal: Portal) -> None:
        self.calls.append(("close_portal", portal))

    def tpg_changed(self, tpg: Tpg) -> None:
        self.calls.append(("tpg_changed", tpg))
        if not tpg.enabled:
            self.open_sessions.clear()

    def tpg_removed(self, tpg: Tpg) -> None:
        self.calls.append(("tpg_removed", tpg))

    def target_removed(self, target: Target) -> None:
        self.calls.append(("target_removed", target))

    def lun_changed(self, lun: Lun) -> None:
        self.calls.append(("lun_changed", lun))

    def access_lost(self, lun: Lun, initiator: str) -> None:
        self.calls.append(("access_lost", (lun, initiator)))

    def acl_added(self, acl: NodeAcl) -> None:
        self.calls.append(("acl_added", acl))

    def acl_changed(self, acl: NodeAcl) -> None:
        self.calls.append(("acl_changed", acl))

    def acl_removed(self, acl: NodeAcl) -> None:
        self.calls.append(("acl_removed", acl))

    def mapped_lun_changed(self, mapped: MappedLun) -> None:
        self.calls.append(("mapped_lun_changed", mapped))

    # Live values

    def sessions(self, tpg: Tpg) -> Sequence[SessionFacts]:
        return self.open_sessions

    def session(self, acl: NodeAcl) -> SessionFacts | None:
        return next((s for s in self.open_sessions if s.initiator == acl.initiator and not s.dynamic), None)

    def lun_counters(self, lun: Lun) -> Counters:
        tpg = lun.tpg
        fabric = tpg.target.fabric.name
        path = f"target/{fabric}/{tpg.target.name}/tpgt_{tpg.tag}/lun/{lun.dirname}/statistics"
        return Counters(num_cmds=self._number(f"{path}/scsi_tgt_port/in_cmds"))

    def mapped_lun_counters(self, mapped: MappedLun) -> Counters:
        tpg = mapped.acl.tpg
        path = (
            f"target/iscsi/{tpg.target.name}/tpgt_{tpg.tag}/acls/{mapped.acl.initiator}/lun_{mapped.number}"
        )
        return Counters(num_cmds=self._number(f"{path}/statistics/scsi_auth_intr/num_cmds"))

    def login_counters(self, target: Target) -> LoginCounters:
        base = f"target/iscsi/{target.name}/fabric_statistics"
        failed = self._number(f"{base}/iscsi_tgt_attr/last_fail_type")
        return LoginCounters(
            accepts=self._number(f"{base}/iscsi_login_stats/accepts"),
            authenticate_fails=self._number(f"{base}/iscsi_login_stats/authenticate_fails"),
            negotiate_fails=self._number(f"{base}/iscsi_login_stats/negotiate_fails"),
            normal_logouts=self._number(f"{base}/iscsi_logout_stats/normal_logouts"),
            last_fail_type=failed,
            last_fail_time=self._number(f"{base}/iscsi_tgt_attr/last_fail_time") / 100,
            fail_address="127.0.0.1" if failed else "",
            fail_initiator="iqn.2003-01.org.test:i1" if failed else "",
        )

    def _number(self, path: str) -> int:
        return int(self.live.get(path, {}).get("content", 0))

    def take_state(self, entries: Entries, devices: Iterator[Device]) -> None:
        """Counters and sessions as they were in a recorded state."""
        self.live = entries
        for device in devices:
            if isinstance(device.unit, RecordedUnit):
                path = f"target/core/{device.hba.dirname}/{device.name}/statistics/scsi_lu/num_cmds"
                device.unit.counters.num_cmds = self._number(path)
        self.open_sessions = [
            *(session_from_info(entry, entries) for entry in entries.values() if is_session(entry)),
            *(
                dynamic_session(name)
                for path, entry in entries.items()
                if path.endswith("/dynamic_sessions")
                for name in entry["content"].split("\n\0")
                if name
            ),
        ]


INFO = re.compile(
    r"InitiatorName: (?P<initiator>\S+)\nInitiatorAlias: (?P<alias>\S*)\n"
    r"LIO Session ID: (?P<sid>\d+)   ISID: 0x(?P<isid>[0-9a-f ]+)  TSIH: (?P<tsih>\d+)  SessionType: Normal\n"
    r"Session State: (?P<state>\w+)\n.*\n.*\n (?P<values>.*)\n.*\n"
    r"CID: (?P<cid>\d+)  Connection State: (?P<connection>\w+)\n"
    r"   Address (?P<address>\S+) TCP  StatSN: (?P<stat_sn>\w+)\n"
)


def is_session(entry: dict[str, Any]) -> bool:
    content: str = entry.get("content", "")
    path: str = entry["path"]
    return path.endswith("/info") and content.startswith("InitiatorName")


def session_from_info(entry: dict[str, Any], entries: Entries) -> SessionFacts:
    """The session that acls/*/info, statistics and param show."""
    found = INFO.fullmatch(entry["content"])
    assert found is not None
    base = entry["path"].removesuffix("/info")
    numbers = [int(word, 16) for word in found["values"].split()]
    statistics = f"{base}/fabric_statistics/iscsi_sess_stats"

    def number(name: str) -> int:
        return int(entries.get(f"{statistics}/{name}", {}).get("content", 0))

    parameters = {
        path.rpartition("/")[2]: value["content"].strip()
        for path, value in entries.items()
        if path.startswith(f"{base}/param/")
    }
    for name in ("InitialR2T", "ImmediateData", "DataPDUInOrder", "DataSequenceInOrder"):
        if name in parameters:
            parameters[name] = "Yes" if parameters[name] == "1" else "No"
    return SessionFacts(
        initiator=found["initiator"],
        alias=found["alias"],
        sid=int(found["sid"]),
        isid=bytes.fromhex(found["isid"]),
        tsih=int(found["tsih"]),
        dynamic=False,
        state=found["state"],
        cmd_window=numbers[0],
        cmd_window_configured=numbers[1],
        exp_cmd_sn=numbers[2],
        max_cmd_sn=numbers[3],
        itt=numbers[4],
        ttt=numbers[5],
        connections=(
            ConnectionFacts(
                int(found["cid"]), found["connection"], found["address"], int(found["stat_sn"], 16)
            ),
        ),
        parameters=parameters,
        cmd_pdus=number("cmd_pdus"),
        rsp_pdus=number("rsp_pdus"),
        tx_data_octets=number("txdata_octs"),
        rx_data_octets=number("rxdata_octs"),
        index=number("indx"),
    )


def dynamic_session(initiator: str) -> SessionFacts:
    return SessionFacts(
        initiator, "", 1, bytes(6), 1, True, "TARG_SESS_STATE_LOGGED_IN", 0, 0, 0, 0, 0, 0, ()
    )
