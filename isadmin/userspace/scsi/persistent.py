"""PERSISTENT RESERVE IN and PERSISTENT RESERVE OUT (SPC-4 6.15, 6.16)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from isadmin.userspace.model import Lun
from isadmin.userspace.scsi import transport_id
from isadmin.userspace.scsi.command import Command
from isadmin.userspace.scsi.reservations import (
    MAX_REGISTRATIONS,
    NexusId,
    Registrant,
    Reservations,
    Type,
)
from isadmin.userspace.scsi.sense import (
    Asc,
    CheckCondition,
    ReservationConflict,
    SenseKey,
    illegal,
    invalid_field_in_cdb,
    invalid_parameter,
    list_length_error,
)

LU_SCOPE = 0
SPEC_I_PT = 0x08
ALL_TG_PT = 0x04
APTPL = 0x01
UNREG = 0x02
REGISTERS = frozenset((0x00, 0x06, 0x07))
"""The service actions that make a registration."""
TYPES = frozenset(int(kind) for kind in Type) - {0}
_TYPE_MASK = bytes((0xEA, 0x01))
"""Which types are supported (6.15.4): all that SPC-4 knows."""


# PERSISTENT RESERVE IN


def _allocation_length(command: Command) -> int:
    return command.cdb[7] << 8 | command.cdb[8]


def read_keys(command: Command) -> None:
    reservations = command.unit.reservations
    keys = b"".join(r.key.to_bytes(8, "big") for r in reservations.registrants.values())
    header = struct.pack(">II", reservations.generation, len(keys))
    command.answer(header + keys, _allocation_length(command))


def read_reservation(command: Command) -> None:
    reservations = command.unit.reservations
    body = b""
    if reservations.type is not Type.NONE:
        # A reservation of all registrants has no one holder: key 0 (6.15.3.2).
        holder = reservations.registrants.get(reservations.holder) if reservations.holder else None
        body = struct.pack(">QIBBH", holder.key if holder else 0, 0, 0, LU_SCOPE << 4 | reservations.type, 0)
    header = struct.pack(">II", reservations.generation, len(body))
    command.answer(header + body, _allocation_length(command))


def report_capabilities(command: Command) -> None:
    aptpl = command.unit.reservations.aptpl
    # CRH, SIP_C, ATP_C, PTPL_C; TMV, ALLOW COMMANDS 001b, PTPL_A.
    body = bytes((0, 8, 0x1D, 0x90 | aptpl)) + _TYPE_MASK + bytes(2)
    command.answer(body, _allocation_length(command))


def read_full_status(command: Command) -> None:
    reservations = command.unit.reservations
    body = b""
    for registrant in reservations.registrants.values():
        nexus = registrant.nexus
        port = transport_id.encode(nexus.initiator, nexus.isid)
        holds = reservations.holds(nexus)
        body += struct.pack(
            ">QIBBIHI",
            registrant.key,
            0,
            (0x02 if registrant.all_target_ports else 0) | (0x01 if holds else 0),
            LU_SCOPE << 4 | reservations.type if holds else 0,
            0,
            nexus.relative_target_port,
            len(port),
        )
        body += port
    header = struct.pack(">II", reservations.generation, len(body))
    command.answer(header + body, _allocation_length(command))


# PERSISTENT RESERVE OUT


@dataclass(frozen=True, slots=True)
class Request:
    """A PERSISTENT RESERVE OUT with its basic parameter list (6.16.3)."""

    command: Command
    reservations: Reservations
    me: NexusId
    mine: Registrant | None
    key: int
    new_key: int
    flags: int
    kind: int
    """The TYPE field of the CDB."""
    extra: bytes
    """What follows the first 24 bytes."""
    preempted: set[NexusId] = field(default_factory=set)
    """Whose commands end with their registrations."""

    def registered(self) -> Registrant:
        """My registration, whose key I must have given."""
        if self.mine is None or self.mine.key != self.key:
            raise ReservationConflict
        return self.mine

    def reservation_type(self) -> Type:
        if self.command.cdb[2] >> 4 != LU_SCOPE:
            raise invalid_field_in_cdb(2, 7)
        if self.kind not in TYPES:
            raise invalid_field_in_cdb(2, 3)
        return Type(self.kind)


def out(step: Callable[[Request], None]) -> Callable[[Command], None]:
    """The handler of a service action: parameter list first, then `step`, then what all of them end with."""

    def work(command: Command) -> None:
        data = command.parameters()
        if len(data) < command.data_out_length:
            raise list_length_error()
        unit = command.unit
        reservations = unit.reservations
        key, new_key, _, flags = struct.unpack_from(">QQIB", data)
        me = reservations.nexus_id(command.path)
        if step is not register_and_move:
            if flags & SPEC_I_PT and step is not register:
                raise invalid_parameter(20, 3)
            if len(data) > 24 and not flags & SPEC_I_PT:
                raise list_length_error()
        before = reservations.aptpl_text()
        snapshot = reservations.snapshot()
        request = Request(
            command,
            reservations,
            me,
            reservations.registrants.get(me),
            key,
            new_key,
            flags,
            command.cdb[2] & 0x0F,
            data[24:],
        )
        try:
            step(request)
        finally:
            unit.refresh_paths()
        text = reservations.aptpl_text()
        if text != before and unit.keep_aptpl is not None:
            # The answer waits until the registrations are safe.
            command.scratch = _Saving(
                unit.keep_aptpl(text), reservations.changed(snapshot), request.preempted
            )
            command.blocking = True
            command.work = _save
        else:
            _abort(command, request.preempted)

    def handler(command: Command) -> None:
        length = int.from_bytes(command.cdb[5:9], "big")
        if length < 24 or length > 1 << 16:
            raise list_length_error()
        command.data_out_length = length
        command.work = work

    return handler


@dataclass(slots=True)
class _Saving:
    """A change of what is kept through a power loss, on its way there."""

    settle: Callable[[], None]
    change: int
    """Its number (Reservations.changed)."""
    preempted: set[NexusId]
    failed: bool = False


def _save(command: Command) -> None:
    """In the pool."""
    saving: _Saving = command.scratch
    try:
        saving.settle()
    except OSError:
        saving.failed = True
    command.blocking = False
    command.work = _saved


def _saved(command: Command) -> None:
    """What could not be saved has not happened."""
    saving: _Saving = command.scratch
    unit, reservations = command.unit, command.unit.reservations
    if not saving.failed and reservations.stands(saving.change):
        _abort(command, saving.preempted)
        return
    if saving.failed and reservations.undo(saving.change) and unit.keep_aptpl is not None:
        unit.refresh_paths()
        # A failure can come after the text got there: try to have the old one back.
        saving.settle = unit.keep_aptpl(reservations.aptpl_text())
        command.blocking = True
        command.work = _save_undone
        return
    raise _not_saved(command)


def _abort(command: Command, preempted: set[NexusId]) -> None:
    """Once it is sure that the change stands: end the commands of the preempted, and wait for that."""
    if preempted:
        nexus_id, mine = command.unit.reservations.nexus_id, command.path
        command.awaits = command.unit.abort_tasks(
            lambda path: path is not mine and nexus_id(path) in preempted
        )
        command.work = _aborted if command.awaits is not None else None


def _aborted(command: Command) -> None:
    """They have ended."""


def _save_undone(command: Command) -> None:
    saving: _Saving = command.scratch
    with suppress(OSError):
        saving.settle()
    raise _not_saved(command)


def _not_saved(command: Command) -> CheckCondition:
    if command.cdb[1] & 0x1F in REGISTERS:
        return illegal(Asc.INSUFFICIENT_REGISTRATION_RESOURCES)
    return CheckCondition(SenseKey.HARDWARE_ERROR, Asc.INTERNAL_TARGET_FAILURE)


def register(request: Request) -> None:
    """6.16.2 and 5.13.7. Without a registration the key must be 0."""
    if (request.mine.key if request.mine else 0) != request.key:
        raise ReservationConflict
    _register(request)


def register_and_ignore(request: Request) -> None:
    _register(request)


def _register(request: Request) -> None:
    reservations = request.reservations
    if not request.new_key:
        if request.mine is not None:
            reservations.remove(request.me)
            if request.flags & ALL_TG_PT:
                for other in _all_ports(request, request.me.initiator, request.me.isid):
                    if other in reservations.registrants:
                        reservations.remove(other)
            reservations.generation += 1
            _set_aptpl(request)
        return
    me = request.me
    wanted = dict.fromkeys(_ports(request, me.initiator, me.isid, me))
    if request.flags & SPEC_I_PT:
        if request.mine is not None:
            raise invalid_parameter(20, 3)
        for initiator, isid in _listed(request):
            named = NexusId(initiator, isid, me.target, me.tpgt, me.relative_target_port)
            for nexus in _ports(request, initiator, isid, named):
                if nexus in reservations.registrants:
                    raise ReservationConflict
                wanted[nexus] = None
    if len(reservations.registrants.keys() | wanted.keys()) > MAX_REGISTRATIONS:
        raise illegal(Asc.INSUFFICIENT_REGISTRATION_RESOURCES)
    all_ports = bool(request.flags & ALL_TG_PT)
    for nexus in wanted:
        reservations.add(
            Registrant(
                nexus,
                request.new_key,
                all_ports,
                request.command.path.number,
                request.command.path.lun.number,
            )
        )
    reservations.generation += 1
    _set_aptpl(request)


def _set_aptpl(request: Request) -> None:
    forced = request.command.unit.value("force_pr_aptpl")
    request.reservations.aptpl = bool(request.flags & APTPL or forced)


def _ports(request: Request, initiator: str, isid: str, here: NexusId) -> list[NexusId]:
    """This target port, or all of the unit's with ALL_TG_PT."""
    if not request.flags & ALL_TG_PT:
        return [here]
    return [here, *(n for n in _all_ports(request, initiator, isid) if n != here)]


def _all_ports(request: Request, initiator: str, isid: str) -> list[NexusId]:
    exports = request.command.unit.device.exports
    return [request.reservations.port_id(initiator, isid, lun) for lun in exports]


def _listed(request: Request) -> list[tuple[str, str]]:
    """The initiator ports that SPEC_I_PT lists, each known here."""
    data = request.extra
    if len(data) < 4:
        raise list_length_error()
    length = int.from_bytes(data[:4], "big")
    if length > len(data) - 4:
        raise list_length_error()
    rest, where = data[4 : 4 + length], 28
    ports = []
    while rest:
        initiator, isid, used = transport_id.decode(rest, where)
        if not _known(request.command.path.lun, initiator):
            raise invalid_parameter(where + 4)
        ports.append((initiator, isid))
        rest, where = rest[used:], where + used
    return ports


def _known(lun: Lun, initiator: str) -> bool:
    """Whether the initiator can have access to the LUN through its TPG."""
    tpg = lun.tpg
    acl = tpg.acls.get(initiator)
    if acl is not None:
        return any(mapped.lun is lun for mapped in acl.mapped.values())
    return bool(tpg.attrib.get("generate_node_acls"))


def reserve(request: Request) -> None:
    """5.13.9: again by the holder changes nothing."""
    request.registered()
    kind = request.reservation_type()
    reservations = request.reservations
    if reservations.type is Type.NONE:
        reservations.hold(request.me, kind)
    elif not reservations.holds(request.me) or reservations.type is not kind:
        raise ReservationConflict


def release(request: Request) -> None:
    """5.13.11.2.2: no effect by another than the holder."""
    request.registered()
    reservations = request.reservations
    if reservations.type is Type.NONE or not reservations.holds(request.me):
        return
    if request.command.cdb[2] != (LU_SCOPE << 4 | reservations.type):
        raise illegal(Asc.INVALID_RELEASE_OF_PERSISTENT_RESERVATION)
    announce = reservations.type.registrants
    reservations.drop()
    if announce:
        reservations.attend(reservations.registrants, Asc.RESERVATIONS_RELEASED, but=request.me)


def clear(request: Request) -> None:
    """5.13.11.2.6."""
    request.registered()
    reservations = request.reservations
    reservations.attend(reservations.registrants, Asc.RESERVATIONS_PREEMPTED, but=request.me)
    reservations.clear()
    reservations.generation += 1


def preempt(request: Request) -> None:
    _preempt(request)


def preempt_and_abort(request: Request) -> None:
    """5.13.11.2.6. The answer waits for those commands of the preempted that are being worked on: who has it
    knows that nothing of theirs is written any more."""
    request.preempted.update(_preempt(request))


def _preempt(request: Request) -> set[NexusId]:
    """5.13.11.2.4 and 5.13.11.2.5. Returns the nexuses whose registrations went."""
    request.registered()
    reservations = request.reservations
    registrants = reservations.registrants
    old = reservations.type
    holder = registrants.get(reservations.holder) if reservations.holder is not None else None
    takes_over = False
    if old.all_registrants and not request.new_key:
        victims = set(registrants) - {request.me}
        takes_over = True
    elif not request.new_key:
        raise invalid_parameter(8)
    else:
        victims = {nexus for nexus, r in registrants.items() if r.key == request.new_key}
        takes_over = holder is not None and holder.key == request.new_key
        if not victims:
            raise ReservationConflict
    if takes_over:
        kind = request.reservation_type()
        victims.discard(request.me)
    for nexus in victims:
        del registrants[nexus]
    if takes_over:
        reservations.hold(request.me, kind)
    elif old.all_registrants and not registrants:
        reservations.drop()
    reservations.generation += 1
    reservations.attend(victims, Asc.REGISTRATIONS_PREEMPTED, but=request.me)
    if takes_over and old is not reservations.type:
        reservations.attend(registrants, Asc.RESERVATIONS_RELEASED, but=request.me)
    return victims


def register_and_move(request: Request) -> None:
    """5.13.8: the holder registers another I_T nexus and hands the reservation over to it."""
    reservations = request.reservations
    mine = request.registered()
    if reservations.type.all_registrants or not reservations.holds(request.me):
        raise ReservationConflict
    if not request.new_key:
        raise invalid_parameter(8)
    data = request.command.parameters()
    flags, relative_target_port = data[17], int.from_bytes(data[18:20], "big")
    length = int.from_bytes(data[20:24], "big")
    if length < 24 or length > len(data) - 24:
        raise list_length_error()
    lun = _export(request, relative_target_port)
    initiator, isid, _ = transport_id.decode(data[24 : 24 + length], 24)
    if lun is None:
        raise invalid_parameter(18)
    if not _known(lun, initiator):
        raise invalid_parameter(24)
    there = reservations.port_id(initiator, isid, lun)
    if there == request.me:
        raise invalid_parameter(24)
    reservations.add(Registrant(there, request.new_key, False, mine.mapped_lun, lun.number))
    reservations.hold(there, reservations.type)
    reservations.generation += 1
    if flags & UNREG:
        del reservations.registrants[request.me]
    reservations.aptpl = bool(flags & APTPL or request.command.unit.value("force_pr_aptpl"))


def _export(request: Request, relative_target_port: int) -> Lun | None:
    for lun in request.command.unit.device.exports:
        if lun.relative_target_port == relative_target_port:
            return lun
    return None
