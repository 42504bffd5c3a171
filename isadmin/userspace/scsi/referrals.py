"""Access states that depend on the block (SPC-4 5.15.2.7), from a device's lba_map, and what tells of them:
REPORT REFERRALS (SBC-3 5.20) and the Referrals VPD page. A map lets in what its states let in, as in LIO;
nobody is sent to another port."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from isadmin.userspace.scsi.command import Command
from isadmin.userspace.scsi.nexus import LunPath
from isadmin.userspace.scsi.sense import Asc, CheckCondition, SenseKey, illegal, invalid_field_in_cdb
from isadmin.userspace.scsi.unit import LogicalUnit

LBA_DEPENDENT = 4
STATES = {"O": 0, "A": 1, "S": 2, "U": 3}
_REFUSED = {2: Asc.ALUA_STANDBY, 3: Asc.ALUA_UNAVAILABLE}
_MEMBER = re.compile(r"(-?\d+):(\S)")


@dataclass(frozen=True, slots=True)
class Range:
    first: int
    last: int
    states: tuple[tuple[int, int], ...]
    """(target port group, access state)."""


@dataclass(frozen=True, slots=True)
class LbaMap:
    segment_size: int
    multiplier: int
    """0: the ranges are blocks of the unit; else of each `segment_size * multiplier` blocks of it."""
    ranges: tuple[Range, ...]

    def spans(self, lba: int, blocks: int) -> Iterable[Range | None]:
        """The ranges that an extent touches; None where there is none."""
        end = lba + blocks
        cycle = self.segment_size * self.multiplier
        while lba < end:
            place = lba % cycle if cycle else lba
            length = self.segment_size - 1 if cycle else None
            for found in self.ranges:
                last = found.last if length is None else found.first + length
                if found.first <= place <= last:
                    yield found
                    lba += last - place + 1
                    break
            else:
                yield None
                return


@lru_cache(maxsize=64)
def _parse(text: str) -> LbaMap | None:
    """A map as configfs shows it; None: there is none."""
    header, *lines = text.splitlines() or [""]
    if not lines:
        return None
    size, multiplier = (int(word) for word in header.split())
    ranges = []
    for line in lines:
        first, last = (int(word) for word in line.split()[:2])
        # The kernel keeps a group in 32 bits, and tells of 16.
        states = tuple((int(group), STATES[state]) for group, state in _MEMBER.findall(line))
        ranges.append(Range(first, last, states))
    return LbaMap(size, multiplier, tuple(ranges))


def lba_map(unit: LogicalUnit) -> LbaMap | None:
    return _parse(unit.device.lba_map)


def check(command: Command) -> None:
    """Refuse an extent of a path in state LBA-dependent that the path's group does not serve. What no range
    of the map has, nobody serves."""
    if not command.blocks:
        return
    group = command.path.lun.port_group
    found = lba_map(command.unit)
    for span in found.spans(command.lba, command.blocks) if found is not None else (None,):
        if span is None:
            raise CheckCondition(SenseKey.NOT_READY, Asc.ALUA_UNAVAILABLE)
        for group_id, state in span.states:
            if group is not None and group_id == group.group_id and state in _REFUSED:
                raise CheckCondition(SenseKey.NOT_READY, _REFUSED[state])


def report_referrals(command: Command) -> None:
    cdb = command.cdb
    allocation_length = int.from_bytes(cdb[10:14], "big")
    found = lba_map(command.unit)
    if found is None:
        raise illegal(Asc.INVALID_COMMAND_OPERATION_CODE)
    if allocation_length < 4:
        raise invalid_field_in_cdb(10)
    body = b""
    for each in found.ranges:
        body += struct.pack(">3xBQQ", len(each.states) & 0xFF, each.first, each.last)
        body += b"".join(struct.pack(">BxH", state, group & 0xFFFF) for group, state in each.states)
    command.answer(struct.pack(">2xH", len(body) & 0xFFFF) + body, allocation_length)


def page(path: LunPath) -> bytes:
    """SBC-3 6.6.7."""
    found = lba_map(path.unit)
    assert found is not None
    return struct.pack(">4xII", found.segment_size, found.multiplier)
