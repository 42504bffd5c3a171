"""The reservations of one unit: SPC-2 RESERVE, and SPC-4 persistent reservations (5.13), as state and rules.

A registration belongs to an I_T nexus, not to a session: it outlives them. It is named by the initiator port
(name and ISID) and the target port (target name, TPGT, relative target port identifier of the LUN there). The
commands that change this state are in persistent.py and below, in reserve and release.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

from isadmin.userspace.engine import Registration, Reservation
from isadmin.userspace.model import Lun
from isadmin.userspace.scsi.command import Command, Flags, Operation
from isadmin.userspace.scsi.sense import Asc, ReservationConflict

if TYPE_CHECKING:
    from isadmin.userspace.scsi.nexus import LunPath
    from isadmin.userspace.scsi.unit import LogicalUnit

MAX_REGISTRATIONS = 4096
NOTHING = -1
START_STOP_UNIT = 0x1B
PREVENT_ALLOW = 0x1E
PERSISTENT_RESERVE = frozenset((0x5E, 0x5F))


class Type(IntEnum):
    """Persistent reservation type codes (SPC-4 6.15.3.4)."""

    NONE = 0
    WRITE_EXCLUSIVE = 1
    EXCLUSIVE_ACCESS = 3
    WRITE_EXCLUSIVE_REGISTRANTS_ONLY = 5
    EXCLUSIVE_ACCESS_REGISTRANTS_ONLY = 6
    WRITE_EXCLUSIVE_ALL_REGISTRANTS = 7
    EXCLUSIVE_ACCESS_ALL_REGISTRANTS = 8

    @property
    def all_registrants(self) -> bool:
        return self >= Type.WRITE_EXCLUSIVE_ALL_REGISTRANTS

    @property
    def registrants(self) -> bool:
        """Every registrant has the holder's access (registrants only, all registrants)."""
        return self >= Type.WRITE_EXCLUSIVE_REGISTRANTS_ONLY

    @property
    def write_exclusive(self) -> bool:
        return self in {
            Type.WRITE_EXCLUSIVE,
            Type.WRITE_EXCLUSIVE_REGISTRANTS_ONLY,
            Type.WRITE_EXCLUSIVE_ALL_REGISTRANTS,
        }


@dataclass(frozen=True, slots=True)
class NexusId:
    """The I_T nexus of a registration."""

    initiator: str
    isid: str
    """12 hex digits; empty when the device does not tell ISIDs apart (enforce_pr_isids 0)."""
    target: str
    tpgt: int
    relative_target_port: int
    awaits: int = NOTHING
    """What was saved through a restart and waits for its LUN to be there again: the LUN's number. A device
    numbers its ports in the order in which they come, so only the LUN then tells which port it is."""


@dataclass(frozen=True, slots=True)
class Registrant:
    nexus: NexusId
    key: int
    all_target_ports: bool
    mapped_lun: int
    target_lun: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a change may be undone to. The generation is not in it: it counts what others may have seen."""

    registrants: dict[NexusId, Registrant]
    holder: NexusId | None
    type: Type
    aptpl: bool

    def without(self, gone: Collection[NexusId]) -> Snapshot:
        """The same as if these nexuses had never registered."""
        left = {nexus: registrant for nexus, registrant in self.registrants.items() if nexus not in gone}
        if self.holder in gone or not left:
            return replace(self, registrants=left, holder=None, type=Type.NONE)
        return replace(self, registrants=left)


class Reservations:
    __slots__ = (
        "_changes",
        "_unsaved",
        "aptpl",
        "generation",
        "holder",
        "holder_spc2",
        "registrants",
        "type",
        "unit",
    )

    def __init__(self, unit: LogicalUnit) -> None:
        self.unit = unit
        self.holder_spc2: LunPath | None = None
        self.registrants: dict[NexusId, Registrant] = {}
        """In the order of registration."""
        self.holder: NexusId | None = None
        """The one holder. None without a reservation, and with one of all registrants."""
        self.type = Type.NONE
        self.generation = 0
        self.aptpl = False
        """Registrations are saved and come back after a restart (activate persist through power loss)."""
        self._changes = 0
        self._unsaved: dict[int, Snapshot] = {}
        """Changes that are being saved, by their number, with what was before each."""

    # Who may do what

    def nexus_id(self, path: LunPath) -> NexusId:
        return self.port_id(path.nexus.initiator, path.nexus.isid.hex(), path.lun)

    def port_id(self, initiator: str, isid: str, lun: Lun) -> NexusId:
        tpg = lun.tpg
        kept = isid if self.unit.value("enforce_pr_isids") else ""
        return NexusId(initiator, kept, tpg.target.name, tpg.tag, lun.relative_target_port)

    def registrant(self, path: LunPath) -> Registrant | None:
        return self.registrants.get(self.nexus_id(path))

    def holds(self, nexus: NexusId) -> bool:
        if self.type.all_registrants:
            return nexus in self.registrants
        return self.type is not Type.NONE and self.holder == nexus

    @property
    def enforced(self) -> bool:
        """Without emulate_pr nobody is kept out; what was reserved is remembered, as in LIO."""
        return self.unit.value("emulate_pr") > 0

    def open_to(self, path: LunPath) -> bool:
        """No reservation stands in the way of any READ or WRITE of the path."""
        if not self.enforced:
            return True
        if self.holder_spc2 is not None:
            return self.holder_spc2 is path
        if self.type is Type.NONE:
            return True
        nexus = self.nexus_id(path)
        return nexus in self.registrants if self.type.registrants else self.holder == nexus

    def readable(self, path: LunPath) -> bool:
        """No reservation stands in the way of a READ of the path."""
        return self.open_to(path) or (self.holder_spc2 is None and self.type.write_exclusive)

    def conflicts(self, path: LunPath, operation: Operation, cdb: bytes) -> bool:
        """SPC-4 table 63 and SBC-3 table 5, by the operation's flags."""
        flags = operation.flags
        if not self.enforced:
            return False
        if self.holder_spc2 is not None:
            # SPC-2 5.5.1: the one kind of reservation shuts out the other, for its holder too.
            if operation.opcode in PERSISTENT_RESERVE:
                return True
            return self.holder_spc2 is not path and not flags & Flags.FREE_SPC2
        if self.type is Type.NONE or flags & Flags.FREE or self.open_to(path):
            return False
        if operation.opcode == START_STOP_UNIT and cdb[4] & 1 and not cdb[4] >> 4:
            return False
        if operation.opcode == PREVENT_ALLOW and not cdb[4] & 3:
            return False
        return bool(flags & (Flags.WRITES | Flags.CHANGES)) or not self.type.write_exclusive

    # SPC-2

    def release_spc2(self, path: LunPath) -> bool:
        """Let go if `path` is the holder; whether it was."""
        if self.holder_spc2 is not path:
            return False
        self.holder_spc2 = None
        return True

    def clear_spc2(self) -> None:
        self.holder_spc2 = None

    # Changes; each caller refreshes the unit's paths afterwards

    def add(self, registrant: Registrant) -> None:
        self.registrants[registrant.nexus] = registrant

    def remove(self, nexus: NexusId) -> None:
        """Take a registration away, and the reservation with it if that was its holder or last (SPC-4
        5.13.11.2.3).

        The other registrants of a registrants-only reservation hear RESERVATIONS RELEASED.
        """
        del self.registrants[nexus]
        if self.type is Type.NONE:
            return
        if self.type.all_registrants:
            if not self.registrants:
                self.drop()
        elif self.holder == nexus:
            announce = self.type.registrants
            self.drop()
            if announce:
                self.attend(self.registrants, Asc.RESERVATIONS_RELEASED)

    def access_lost(self, lun: Lun, initiator: str) -> None:
        """An initiator's registrations end with its access, as in LIO: with its mapping of a LUN all that it
        made through the portal group; those made without an ACL (initiator empty) with the LUN itself.

        What is kept for a power loss stays as it is until the next PERSISTENT RESERVE OUT, as in LIO too: it
        has to outlive the configuration, which is taken apart when the target stops.
        """
        tpg, port = lun.tpg, lun.relative_target_port
        gone = [
            nexus
            for nexus in self.registrants
            if (nexus.target, nexus.tpgt) == (tpg.target.name, tpg.tag)
            and (nexus.initiator == initiator if initiator else nexus.relative_target_port == port)
            and nexus.awaits == NOTHING
        ]
        # The holder last: of those that go, none needs to hear that the reservation is released.
        for nexus in sorted(gone, key=lambda nexus: nexus == self.holder):
            self.remove(nexus)
        self._unsaved = {number: before.without(gone) for number, before in self._unsaved.items()}

    def hold(self, nexus: NexusId, kind: Type) -> None:
        self.type = kind
        self.holder = None if kind.all_registrants else nexus

    def drop(self) -> None:
        self.type = Type.NONE
        self.holder = None

    def clear(self) -> None:
        self.registrants.clear()
        self.drop()

    def attend(self, nexuses: Iterable[NexusId], asc: Asc, *, but: NexusId | None = None) -> None:
        """Queue a unit attention for those of the nexuses that are logged in."""
        wanted = set(nexuses) - {but}
        for path in self.unit.paths:
            if self.nexus_id(path) in wanted:
                path.attend(asc)

    # configfs

    def facts(self) -> Reservation:
        registrations = {nexus: self._registration(r) for nexus, r in self.registrants.items()}
        holder = registrations.get(self.holder) if self.holder is not None else None
        if holder is None and self.type.all_registrants:
            holder = next(iter(registrations.values()), None)
        spc2 = self.holder_spc2
        return Reservation(
            generation=self.generation,
            aptpl=self.aptpl,
            registrations=tuple(registrations.values()),
            holder=holder,
            type_code=self.type,
            spc2_holder=spc2.nexus.port_name if spc2 is not None else "",
        )

    def _registration(self, registrant: Registrant) -> Registration:
        nexus = registrant.nexus
        return Registration(
            initiator=nexus.initiator,
            isid=nexus.isid,
            key=registrant.key,
            target=nexus.target,
            tpgt=nexus.tpgt,
            relative_target_port=nexus.relative_target_port,
            all_target_ports=registrant.all_target_ports,
            holder=self.holds(nexus),
            mapped_lun=registrant.mapped_lun,
        )

    # Changes that stand only if they can be saved

    def snapshot(self) -> Snapshot:
        return Snapshot(dict(self.registrants), self.holder, self.type, self.aptpl)

    def changed(self, before: Snapshot) -> int:
        """There is a change to be saved. Its number, for one of the two calls below."""
        self._changes += 1
        self._unsaved[self._changes] = before
        return self._changes

    def stands(self, change: int) -> bool:
        """The change has been saved. False if an earlier one has been undone since, and this one with it."""
        return self._unsaved.pop(change, None) is not None

    def undo(self, change: int) -> bool:
        """The change could not be saved: undo it, and those that came after it and are not safe either. False
        if it has been undone already."""
        before = self._unsaved.get(change)
        if before is None:
            return False
        for later in [number for number in self._unsaved if number >= change]:
            del self._unsaved[later]
        self.registrants, self.holder, self.type, self.aptpl = (
            dict(before.registrants),
            before.holder,
            before.type,
            before.aptpl,
        )
        return True

    # Persistence through power loss, in LIO's own text

    def aptpl_text(self) -> str:
        """What LIO keeps in pr/aptpl_<serial>; empty when nothing is to be kept."""
        if not self.aptpl:
            return ""
        return "".join(self._aptpl_block(i, r) for i, r in enumerate(self.registrants.values()))

    def _aptpl_block(self, index: int, registrant: Registrant) -> str:
        nexus = registrant.nexus
        lines = [f"PR_REG_START: {index}", "initiator_fabric=iSCSI", f"initiator_node={nexus.initiator}"]
        if nexus.isid:
            lines.append(f"initiator_sid={nexus.isid}")
        lines.append(f"sa_res_key={registrant.key}")
        if self.holds(nexus):
            lines += ["res_holder=1", f"res_type={int(self.type):02x}", "res_scope=00"]
        else:
            lines.append("res_holder=0")
        lines += [
            f"res_all_tg_pt={int(registrant.all_target_ports)}",
            f"mapped_lun={registrant.mapped_lun}",
            "target_fabric=iSCSI",
            f"target_node={nexus.target}",
            f"tpgt={nexus.tpgt}",
            f"port_rtpi={nexus.relative_target_port}",
            f"target_lun={registrant.target_lun}",
            f"PR_REG_END: {index}",
        ]
        return "\n".join(lines) + "\n"

    def load_aptpl(self, metadata: str) -> None:
        """Take over one saved registration: key=value pairs, as pr/res_aptpl_metadata takes them. It counts
        at once, and is its nexus's once the LUN is there (bind). OSError(EINVAL)."""
        values = dict(
            pair.split("=", 1) for pair in metadata.replace("\n", ",").split(",") if pair.count("=") == 1
        )
        try:
            target_lun = _number(values.get("target_lun", "0"))
            nexus = NexusId(
                initiator=values["initiator_node"],
                isid=values.get("initiator_sid", "").removeprefix("0x").lower(),
                target=values["target_node"],
                tpgt=_number(values["tpgt"]),
                relative_target_port=_number(values.get("port_rtpi", "0")),
                awaits=target_lun,
            )
            registrant = Registrant(
                nexus,
                key=_number(values["sa_res_key"]),
                all_target_ports=_number(values.get("res_all_tg_pt", "0")) > 0,
                mapped_lun=_number(values.get("mapped_lun", "0")),
                target_lun=target_lun,
            )
            holder = values.get("res_holder") == "1"
            held = Type(int(values.get("res_type", "0"), 16)) if holder else Type.NONE
        except (KeyError, ValueError) as error:
            raise OSError(errno.EINVAL, "not a saved registration") from error
        if not registrant.key:
            raise OSError(errno.EINVAL, "a saved registration without a key")
        if not self.unit.value("enforce_pr_isids"):
            registrant = replace(registrant, nexus=replace(nexus, isid=""))
        self.add(registrant)
        if held is not Type.NONE and self.type is Type.NONE:
            self.hold(registrant.nexus, held)
        self.aptpl = True
        for lun in self.unit.device.exports:
            self.bind(lun)
        self.unit.refresh_paths()

    def bind(self, lun: Lun) -> None:
        """A LUN of the unit is there: saved registrations that were made through it are those of its port.
        LIO goes by the target, TPGT and LUN number too, and takes the port's identifier from the LUN."""
        tpg = lun.tpg
        where = (tpg.target.name, tpg.tag, lun.number)
        bound: dict[NexusId, Registrant] = {}
        for nexus, registrant in self.registrants.items():
            if (nexus.target, nexus.tpgt, nexus.awaits) == where:
                here = replace(nexus, relative_target_port=lun.relative_target_port, awaits=NOTHING)
                bound[here] = replace(registrant, nexus=here)
                if self.holder == nexus:
                    self.holder = here
            else:
                bound[nexus] = registrant
        self.registrants = bound


def _number(text: str) -> int:
    return int(text, 16 if text.lower().startswith("0x") else 10)


def reserve(command: Command) -> None:
    """RESERVE (6), RESERVE (10) (SPC-2 7.21): the whole unit for one I_T nexus."""
    path, reservations = command.path, command.unit.reservations
    if _persistent_instead(command):
        return
    if reservations.holder_spc2 is not path:
        reservations.holder_spc2 = path
        command.unit.refresh_paths()


def release(command: Command) -> None:
    """RELEASE (6), RELEASE (10) (SPC-2 7.17): by anybody but the holder it changes nothing."""
    if not _persistent_instead(command) and command.unit.reservations.release_spc2(command.path):
        command.unit.refresh_paths()


def _persistent_instead(command: Command) -> bool:
    """The old commands do nothing for the holder of a persistent reservation, and for registrants where they
    have its access (SPC-4 5.7.3). While there are registrations they conflict for everybody else, registered
    or not (SPC-2 5.5.1): nobody may take a unit for reserved that is not."""
    reservations = command.unit.reservations
    if not reservations.registrants:
        return False
    registered = reservations.registrant(command.path) is not None
    if registered and reservations.type is not Type.NONE and reservations.open_to(command.path):
        return True
    raise ReservationConflict
