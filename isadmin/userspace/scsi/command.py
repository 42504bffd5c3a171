"""One SCSI command on the slow path: everything but a plain READ or WRITE.

A handler, called by dispatch.admit with the Command, does one of three things: set `data_in` and return
(done); set `work`, to run at dispatch.perform; or set `data_out_length` and `work`, to run once the
initiator's data is there. It raises sense.CheckCondition to refuse. Work may set another `work` for a
further step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING, Any, TypeAlias

from isadmin.userspace.scsi.sense import CheckCondition, Status

if TYPE_CHECKING:
    from isadmin.userspace.scsi.nexus import LunPath, Nexus
    from isadmin.userspace.scsi.unit import LogicalUnit

DPO_AND_FUA = 0x18
Buffer: TypeAlias = bytes | bytearray | memoryview


class Flags(IntFlag):
    """What the checks before a command depend on."""

    NONE = 0
    NO_UNIT = 1
    """Answered where the LUN leads nowhere and in spite of unit attentions: INQUIRY, REPORT LUNS, REQUEST
    SENSE."""
    MEDIUM = 2
    """Needs the medium: refused while the unit is stopped, being sanitized, or was not quite."""
    WRITES = 4
    """Changes the medium: refused when write protected; conflicts with every kind of reservation."""
    CHANGES = 8
    """Changes the unit's state, not the medium: conflicts with every kind of reservation."""
    FREE = 16
    """Never conflicts with a persistent reservation (its handler may still refuse)."""
    EXCLUSIVE = 32
    """Must not overlap any other I/O of the unit."""
    IN_STANDBY = 64
    """Answered in ALUA state standby (SPC-4 5.11.2.4.4)."""
    FREE_SPC2 = 128
    """Never conflicts with an SPC-2 RESERVE."""
    IN_UNAVAILABLE = 256
    """Answered in ALUA states unavailable, offline and transitioning too."""
    WHILE_SANITIZING = 512
    """Answered while a sanitize operation runs (SBC-3 4.11.2)."""
    DPO_FUA = 1024
    """Has DPO and FUA bits, where the usage data shows them; refused when the unit has no use for them."""


Wait: TypeAlias = Callable[[Callable[[], None]], None]


class Command:
    __slots__ = (
        "awaits",
        "blocking",
        "blocks",
        "cdb",
        "data_in",
        "data_out",
        "data_out_length",
        "delay",
        "done",
        "early",
        "endures",
        "exclusive",
        "expected",
        "found",
        "fua",
        "head_of_queue",
        "lba",
        "nexus",
        "operation",
        "others",
        "path",
        "scratch",
        "sense",
        "status",
        "unit",
        "work",
    )

    cdb: bytes
    nexus: Nexus
    operation: Operation
    found: LunPath | None
    """The path, or None: only handlers with NO_UNIT meet that, and only they look here."""
    path: LunPath
    unit: LogicalUnit
    status: int
    sense: bytes
    data_in: Buffer | list[Buffer]
    data_out: Buffer | None
    """The initiator's data, filled in by the transport before perform. May be shorter than data_out_length
    when the initiator announced less."""
    data_out_length: int
    """Bytes wanted from the initiator; 0: none."""
    expected: int | None
    """Bytes that the initiator announced to send, where the transport knows it."""
    early: bool
    """Answer GOOD now, then perform the rest (SANITIZE with IMMED). As always a command whose performing has
    begun is performed to its end, whether somebody still waits for it or not."""
    endures: bool
    """Aborting it ends the task alone: what it has begun goes on, and nobody waits for that (SANITIZE)."""
    delay: float
    """Seconds to wait before performing (an ALUA non-optimized path)."""
    done: bool
    blocking: bool
    exclusive: bool
    head_of_queue: bool
    """Task attribute HEAD OF QUEUE (SAM-5 8.6.2)."""
    others: tuple[LogicalUnit, ...]
    """Other units whose media the next step touches: it must take its turn at their gates too."""
    work: Callable[[Command], None] | None
    awaits: Wait | None
    """The next step has to wait for something: called with what to call, on the loop's thread, once it need
    not any more."""
    lba: int
    blocks: int
    """The extent, for the commands that have one."""
    scratch: Any
    """What one step of the work leaves for the next."""
    fua: bool
    """The medium itself is meant: written data must be on it before the answer."""

    def __init__(self, nexus: Nexus, found: LunPath | None, cdb: bytes, expected: int | None = None) -> None:
        self.nexus = nexus
        self.found = found
        if found is not None:
            self.path = found
            self.unit = found.unit
        self.cdb = cdb
        self.status = Status.GOOD
        self.sense = b""
        self.data_in = b""
        self.data_out = None
        self.data_out_length = 0
        self.expected = expected
        self.early = False
        self.endures = False
        self.delay = 0.0
        self.done = False
        self.blocking = False
        self.exclusive = False
        self.head_of_queue = False
        self.others = ()
        self.work = None
        self.awaits = None
        self.lba = 0
        self.blocks = 0
        self.fua = False

    def check(self, condition: CheckCondition) -> None:
        """End with CHECK CONDITION, its sense in the format that D_SENSE asks for."""
        descriptor = self.found is not None and self.unit.descriptor_sense
        self.end(Status.CHECK_CONDITION)
        self.sense = condition.sense(descriptor=descriptor)

    def end(self, status: int) -> None:
        self.status = status
        self.data_in = b""
        self.done = True
        self.work = None

    def answer(self, data: bytes, allocation_length: int) -> None:
        """Data-In cut to the CDB's allocation length, silently, as SPC-4 4.2.5.6 has it."""
        self.data_in = data[:allocation_length]

    def parameters(self) -> bytes:
        """The parameter list that the initiator sent."""
        return bytes(self.data_out or b"")[: self.data_out_length]


Handler: TypeAlias = Callable[[Command], None]


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the opcode table: an operation code, or one of its service actions."""

    name: str
    opcode: int
    service_action: int | None
    usage: bytes
    """CDB usage data (SPC-4 6.35.3): per CDB byte the bits that mean something; its length is the CDB's."""
    handler: Handler
    flags: Flags
    timeout: int = 30
    """Recommended command timeout, seconds."""
    offered: Callable[[LogicalUnit], bool] = lambda unit: True
    """Whether a unit has the command, by its attributes."""

    def usage_for(self, unit: LogicalUnit) -> bytes:
        """The usage data as it is on one unit: without DPO and FUA where MODE SENSE says that they mean
        nothing."""
        if self.flags & Flags.DPO_FUA and not unit.dpo_fua:
            return self.usage[:1] + bytes((self.usage[1] & ~DPO_AND_FUA,)) + self.usage[2:]
        return self.usage
