"""I_T nexuses and what they see: LUN number -> LunPath, with the unit attentions queued for each.

`LunPath.plain` is what the server's fast path goes by. It is computed in one place, LunPath.refresh, from the
path's own unit attentions and from the unit's state. Who changes one of these calls refresh:
    attentions     LunPath.attend and LunPath.next_attention, here
    unit state     LogicalUnit.refresh_paths: reservations, ALUA, START STOP UNIT, MODE SELECT, SANITIZE,
    the gate
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from isadmin.userspace.engine import Counters
from isadmin.userspace.model import Lun
from isadmin.userspace.scsi.sense import Asc
from isadmin.userspace.storage.base import Storage

if TYPE_CHECKING:
    from isadmin.userspace.scsi.copy import Result
    from isadmin.userspace.scsi.unit import LogicalUnit

RESETS = (Asc.POWER_ON_RESET, Asc.BUS_DEVICE_RESET, Asc.NEXUS_LOSS)
"""Unit attentions that make all that was queued before them meaningless (SAM-5 5.14)."""

Plain: TypeAlias = tuple[
    int,
    int,
    int,
    Callable[[int, memoryview], int],
    Callable[[int, memoryview], bool] | None,
    Storage | None,
]
"""What the fast path needs of a unit: block_shift, blocks, max_blocks; the storage's read_into_now, and its
write_now unless writes are refused; the storage itself where data may be sent from it without a copy."""

OFFLINE = 14


def state_of(lun: Lun) -> int:
    """The ALUA access state of the LUN's target port (SPC-4 6.37): 0 is active/optimized."""
    if lun.offline:
        return OFFLINE
    group = lun.port_group
    if group is None or not group.device.attrib.get("alua_support", 1):
        return 0
    return group.access_state


class LunPath:
    """One I_T nexus's access to one unit (an I_T_L nexus)."""

    __slots__ = (
        "access_state",
        "attentions",
        "configured_read_only",
        "copy_results",
        "counters",
        "flushed",
        "lost",
        "lun",
        "nexus",
        "number",
        "plain",
        "read_only",
        "unit",
    )

    def __init__(
        self,
        nexus: Nexus,
        number: int,
        unit: LogicalUnit,
        lun: Lun,
        *,
        read_only: bool,
        counters: Counters | None,
        attention: Asc,
    ) -> None:
        self.nexus = nexus
        self.number = number
        self.unit = unit
        self.lun = lun
        self.configured_read_only = read_only
        self.counters = counters or Counters()
        self.flushed = 0
        """How many of the bytes written here are sure to be on the medium."""
        self.lost = False
        """Some of the others are not, and the nexus has yet to hear of it."""
        self.attentions: list[Asc] = [attention]
        self.copy_results: dict[int, Result] = {}
        """EXTENDED COPY: list id -> what RECEIVE COPY RESULTS will tell."""
        self.access_state = 0
        """The ALUA state at the last refresh."""
        self.read_only = read_only
        """No write may pass: by the mapping, the device, or SWP."""
        self.plain: Plain | None = None
        """There is nothing special: a READ or WRITE without odd CDB bits needs only its extent checked."""

    def refresh(self) -> None:
        """Compute plain and read_only anew."""
        unit = self.unit
        self.read_only = self.configured_read_only or unit.write_protected
        self.access_state = state_of(self.lun)
        self.plain = None
        if (
            not (self.attentions or self.access_state)
            and self in unit.paths
            and unit.simple
            and unit.reservations.open_to(self)
        ):
            storage = unit.storage
            self.plain = (
                unit.block_shift,
                unit.blocks,
                unit.max_blocks,
                storage.read_into_now,
                None if self.read_only else storage.write_now,
                None if unit.gate.used else storage,
            )

    def attend(self, asc: Asc) -> None:
        """Queue a unit attention for this nexus, once."""
        if asc in RESETS:
            self.attentions.clear()
        if asc not in self.attentions:
            self.attentions.append(asc)
            self.plain = None

    def next_attention(self, *, keep: bool = False) -> Asc | None:
        """The oldest unit attention, which is thereby reported."""
        if not self.attentions:
            return None
        asc = self.attentions[0]
        if not keep:
            self.attentions.pop(0)
            if not self.attentions:
                self.refresh()
            if asc is Asc.REPORTED_LUNS_DATA_CHANGED:
                self.nexus.forget(asc)
        return asc

    def forget(self, asc: Asc) -> None:
        if asc in self.attentions:
            self.attentions.remove(asc)
            self.refresh()


class Nexus:
    """One I_T nexus: an initiator port (name and ISID) logged in to a target port (name and TPGT)."""

    __slots__ = (
        "commands",
        "initiator",
        "isid",
        "lost",
        "paths",
        "read_bytes",
        "responses",
        "target",
        "tpgt",
        "used",
        "write_bytes",
    )

    def __init__(self, initiator: str, isid: bytes, target: str, tpgt: int, *, lost: bool = False) -> None:
        self.initiator = initiator
        self.isid = isid
        """6 bytes."""
        self.target = target
        self.tpgt = tpgt
        self.lost = lost
        """The same initiator port was logged in before and was cut off: its first command hears I_T NEXUS
        LOSS."""
        self.paths: dict[int, LunPath] = {}
        self.commands = 0
        """SCSI commands that came, to whatever LUN."""
        self.responses = 0
        """Of them, those that were answered."""
        self.read_bytes = 0
        self.write_bytes = 0
        """Bytes of data that they moved."""
        self.used = False
        """A command has come: from now on changes of the LUN inventory are news."""

    @property
    def port_name(self) -> str:
        """The initiator port's name, as iSCSI's TransportID has it (SPC-4 7.6.4.6)."""
        return f"{self.initiator},i,0x{self.isid.hex()}"

    def add(
        self,
        number: int,
        unit: LogicalUnit,
        lun: Lun,
        *,
        read_only: bool = False,
        counters: Counters | None = None,
    ) -> LunPath:
        """Give the nexus a LUN. Other LUNs of a nexus in use hear REPORTED LUNS DATA HAS CHANGED."""
        attention = Asc.NEXUS_LOSS if self.lost and not self.used else Asc.POWER_ON_RESET
        path = LunPath(self, number, unit, lun, read_only=read_only, counters=counters, attention=attention)
        self._inventory_changed()
        self.paths[number] = path
        unit.attach(path)
        return path

    def remove(self, number: int) -> None:
        """Take a LUN away, if it is there."""
        path = self.paths.pop(number, None)
        if path is not None:
            path.unit.detach(path)
            self._inventory_changed()

    def replace(
        self,
        number: int,
        unit: LogicalUnit,
        lun: Lun,
        *,
        read_only: bool = False,
        counters: Counters | None = None,
    ) -> LunPath:
        """Put another unit behind a LUN, or change its write protection: the same unit keeps its path."""
        path = self.paths.get(number)
        if path is not None and path.unit is unit and path.lun is lun:
            path.configured_read_only = read_only
            path.refresh()
            return path
        if path is not None:
            self.remove(number)
        return self.add(number, unit, lun, read_only=read_only, counters=counters)

    def close(self) -> None:
        """The session is over: SPC-2 reservations and prevention of medium removal go with it."""
        for path in self.paths.values():
            path.unit.nexus_closed(path)
        self.paths.clear()

    def attend(self, asc: Asc) -> None:
        for path in self.paths.values():
            path.attend(asc)

    def forget(self, asc: Asc) -> None:
        for path in self.paths.values():
            path.forget(asc)

    def _inventory_changed(self) -> None:
        if self.used:
            self.attend(Asc.REPORTED_LUNS_DATA_CHANGED)


def lun_number(field: bytes | memoryview) -> int:
    """The LUN that an 8-byte LUN field names (SAM-5 4.7), or -1 where these targets have none.

    One level only. As LIO has it, the first two bytes are the number, so that peripheral device addressing
    reaches LUN 255 and beyond; flat space and 3-byte extended flat space addressing are understood as well.
    """
    if field[0] < 0x80:
        return -1 if any(field[2:]) else (field[0] & 0x3F) << 8 | field[1]
    if field[0] == 0xD2 and not any(field[4:]):
        return field[1] << 16 | field[2] << 8 | field[3]
    return -1


def lun_field(number: int) -> bytes:
    """The 8-byte LUN field of a LUN number as REPORT LUNS lists it: LIO's numbers, which Linux shows
    unchanged."""
    if number < 1 << 14:
        return number.to_bytes(2, "big") + bytes(6)
    return b"\xd2" + number.to_bytes(3, "big") + bytes(4)
