"""A SCSI command as a task of its connection: what is known of it, and how it is performed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from isadmin.userspace.iscsi.session import Transfer
from isadmin.userspace.scsi import dispatch
from isadmin.userspace.scsi.command import Command
from isadmin.userspace.scsi.sense import Asc, CheckCondition, SenseKey

if TYPE_CHECKING:
    from isadmin.userspace.budget import Request
    from isadmin.userspace.commands import Commands
    from isadmin.userspace.scsi.gate import Gate

log = logging.getLogger("isadmin.userspace")


class Task:
    """One SCSI command from its PDU to its answer."""

    __slots__ = (
        "aborted",
        "ahead",
        "buffer",
        "command",
        "expected",
        "expecting",
        "flags",
        "full",
        "gates",
        "held_back",
        "itt",
        "lun",
        "numbered",
        "on_end",
        "over",
        "pooled",
        "reading",
        "request",
        "reserved",
        "stalled",
        "told",
        "transfer",
    )

    def __init__(
        self,
        full: Commands,
        command: Command,
        flags: int,
        lun: int,
        itt: int,
        expected: int,
        *,
        numbered: bool,
    ) -> None:
        self.full = full
        self.command = command
        self.flags = flags
        self.lun = lun
        """The LUN field, as 8 bytes big-endian."""
        self.itt = itt
        self.expected = expected
        """Expected data transfer length, bytes."""
        self.numbered = numbered
        """It took a CmdSN, so that it counts against the command window."""
        self.transfer: Transfer | None = None
        """While it collects its data."""
        self.buffer: bytearray | bytes = b""
        self.reserved = 0
        """Bytes of the server's write budget."""
        self.request: Request | None = None
        """It waits for its share of the budget."""
        self.expecting = False
        """It holds a share of the budget, and waits for data from the initiator."""
        self.reading = 0
        """Bytes counted in connection.reading."""
        self.held_back = False
        """In session.later."""
        self.stalled = 0
        """Ticks since the last write data that it waits for."""
        self.ahead: list[Gate] = []
        """Gates that it has yet to come to."""
        self.gates: list[Gate] = []
        """Gates that it is past; at the last of them, it may still be waiting (server.parked)."""
        self.pooled = False
        """In a pool thread."""
        self.aborted = False
        """Task management or the end of its connection has ended it: it goes through no gate any more, and
        has no other answer than `told`."""
        self.told = False
        """Aborted by somebody else: its initiator hears of it (TASK ABORTED) once it is over."""
        self.over = False
        """Its tag is free. What it has begun may go on."""
        self.on_end: list[Callable[[], None]] = []
        """Who waits for an aborted task to be really over."""


def abort_all(tasks: Iterable[Task], told: Callable[[Task], bool] = lambda task: False) -> list[Task]:
    """End tasks together without their answers. told: whether a task's initiator hears of it. Returns those
    that are not over yet, because a pool thread is at work on them (see Task.on_end).

    All are marked before the first one leaves its gate, which would let others of them through. Who was
    aborted before stays told, or not told, as then."""
    tasks = [task for task in tasks if not task.over]
    fresh = [task for task in tasks if not task.aborted]
    for task in fresh:
        task.aborted = True
        task.told = told(task)
    for task in fresh:
        task.full.abort(task)
    return [task for task in tasks if not task.over]


def when_over(tasks: Sequence[Task], then: Callable[[], None]) -> None:
    """Call `then` once the last of these, which are not over yet, is."""
    left = len(tasks)

    def one_over() -> None:
        nonlocal left
        left -= 1
        if not left:
            then()

    for task in tasks:
        task.on_end.append(one_over)


_READS = frozenset((0x08, 0x28, 0xA8, 0x88))
_READS_AND_WRITES = _READS | {0x0A, 0x2A, 0xAA, 0x8A}


def carried_out_now(command: Command) -> bool:
    """Carry out a READ or WRITE here and now if the page cache lets it: the pool costs more than the I/O."""
    opcode, unit = command.operation.opcode, command.unit
    if command.fua or opcode not in _READS_AND_WRITES:
        return False
    offset, length = command.lba << unit.block_shift, command.blocks << unit.block_shift
    if opcode in _READS:
        data = unit.storage.read_now(offset, length)
        if data is None:
            return False
        command.data_in = data
    else:
        out = command.data_out
        if out is None or len(out) != length or not unit.storage.write_now(offset, out):
            return False
    command.work = None
    command.done = True
    return True


def carry_out(command: Command) -> None:
    """dispatch.perform; an error of our own becomes the command's, never the daemon's."""
    try:
        dispatch.perform(command)
    except Exception:
        log.exception("command 0x%02x failed", command.cdb[0])
        command.check(CheckCondition(SenseKey.HARDWARE_ERROR, Asc.INTERNAL_TARGET_FAILURE))
