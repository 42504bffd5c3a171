"""EXTENDED COPY (LID1) and RECEIVE COPY RESULTS (SPC-4 5.17, 6.4, 6.23 to 6.27): block to block copies.

A copy target is found among the LUNs of the I_T nexus that asks, and nowhere else: naming a unit that this
initiator was given no access to is the same as naming one that does not exist.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from isadmin.userspace.scsi.alua import refuses
from isadmin.userspace.scsi.command import Command
from isadmin.userspace.scsi.inquiry import device_identification
from isadmin.userspace.scsi.medium import CHUNK
from isadmin.userspace.scsi.nexus import LunPath
from isadmin.userspace.scsi.sense import (
    Asc,
    CheckCondition,
    SenseKey,
    illegal,
    invalid_field_in_cdb,
    list_length_error,
)

HEADER = 16
MAX_TARGETS = 4
MAX_SEGMENTS = 16
TARGET_SIZE = 32
SEGMENT_SIZE = 28
MAX_LIST = MAX_TARGETS * TARGET_SIZE + MAX_SEGMENTS * SEGMENT_SIZE
MAX_SEGMENT_BYTES = 256 << 20
IDENTIFICATION_DESCRIPTOR = 0xE4
BLOCK_TO_BLOCK = 0x02
DC = 0x02
DISCARD_RESULT = 0x18
"""LIST ID USAGE 11b: nothing is kept for RECEIVE COPY RESULTS."""
KEPT_RESULTS = 16
_SEGMENT = struct.Struct(">BBHHHxxHQQ")


@dataclass(frozen=True, slots=True)
class Segment:
    source: LunPath
    destination: LunPath
    source_offset: int
    destination_offset: int
    length: int
    """Bytes."""


@dataclass(slots=True)
class Result:
    """What RECEIVE COPY RESULTS COPY STATUS tells of one list id."""

    failed: bool
    segments: int


def extended_copy(command: Command) -> None:
    length = int.from_bytes(command.cdb[10:14], "big")
    if not length:
        return
    if not HEADER <= length <= HEADER + (MAX_TARGETS + 1) * TARGET_SIZE + (MAX_SEGMENTS + 1) * SEGMENT_SIZE:
        raise list_length_error()
    command.data_out_length = length
    command.work = _check


def _aborted(asc: Asc = Asc.NO_ADDITIONAL_SENSE) -> CheckCondition:
    return CheckCondition(SenseKey.COPY_ABORTED, asc)


def _check(command: Command) -> None:
    data = command.parameters()
    if len(data) < HEADER:
        raise list_length_error()
    targets_length, segments_length, inline_length = struct.unpack_from(">H4xII", data, 2)
    end = HEADER + targets_length + segments_length
    if end + inline_length > len(data) or targets_length + segments_length > MAX_LIST:
        raise list_length_error()
    if targets_length % TARGET_SIZE:
        raise list_length_error()
    if targets_length > MAX_TARGETS * TARGET_SIZE:
        raise illegal(Asc.TOO_MANY_TARGET_DESCRIPTORS)
    targets = [
        _target(command, data[offset : offset + TARGET_SIZE])
        for offset in range(HEADER, HEADER + targets_length, TARGET_SIZE)
    ]
    segments = _segments(targets, data[HEADER + targets_length : end])
    for segment in segments:
        _reachable(segment.source, writes=False)
        _reachable(segment.destination, writes=True)
    command.scratch = (data[0], data[1] & DISCARD_RESULT == DISCARD_RESULT, segments)
    command.blocking = any(
        s.source.unit.storage.blocking or s.destination.unit.storage.blocking for s in segments
    )
    touched = {path.unit for segment in segments for path in (segment.source, segment.destination)}
    command.others = tuple(touched - {command.unit})
    command.work = _copy


def _target(command: Command, descriptor: bytes) -> LunPath:
    """The LUN that an identification descriptor (6.4.5.5) names."""
    if descriptor[0] != IDENTIFICATION_DESCRIPTOR:
        raise illegal(Asc.UNSUPPORTED_TARGET_DESCRIPTOR_TYPE)
    # LU ID TYPE and NUL are obsolete in SPC-4, and ignored.
    if descriptor[1] & 0x1F:
        raise _aborted(Asc.UNREACHABLE_COPY_TARGET)
    length = descriptor[7]
    wanted = bytes((descriptor[4] & 0x0F, descriptor[5] & 0x3F, 0, length)) + descriptor[8 : 8 + length]
    for path in command.nexus.paths.values():
        if wanted in _unit_designators(path):
            return path
    raise _aborted(Asc.UNREACHABLE_COPY_TARGET)


def _unit_designators(path: LunPath) -> list[bytes]:
    """The designators of VPD 83h that name the unit itself (association 00b)."""
    page = device_identification(path)
    found = []
    while page:
        length = 4 + page[3]
        if not page[1] & 0x30:
            found.append(page[:length])
        page = page[length:]
    return found


def _segments(targets: list[LunPath], data: bytes) -> list[Segment]:
    segments: list[Segment] = []
    while data:
        if data[0] != BLOCK_TO_BLOCK:
            raise illegal(Asc.UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE)
        if len(data) < SEGMENT_SIZE:
            raise list_length_error()
        if len(segments) == MAX_SEGMENTS:
            raise illegal(Asc.TOO_MANY_SEGMENT_DESCRIPTORS)
        segments.append(_segment(targets, data[:SEGMENT_SIZE]))
        data = data[SEGMENT_SIZE:]
    return segments


def _segment(targets: list[LunPath], data: bytes) -> Segment:
    _, flags, _, source_index, destination_index, blocks, source_lba, destination_lba = _SEGMENT.unpack(data)
    if source_index >= len(targets) or destination_index >= len(targets):
        raise _aborted(Asc.UNREACHABLE_COPY_TARGET)
    source, destination = targets[source_index], targets[destination_index]
    length = blocks * (destination if flags & DC else source).unit.block_size
    segment = Segment(
        source,
        destination,
        source_lba * source.unit.block_size,
        destination_lba * destination.unit.block_size,
        length,
    )
    for path, offset in ((source, segment.source_offset), (destination, segment.destination_offset)):
        if offset + length > path.unit.blocks * path.unit.block_size:
            raise _aborted()
    if length % destination.unit.block_size or length % source.unit.block_size or length > MAX_SEGMENT_BYTES:
        raise _aborted()
    return segment


def _reachable(path: LunPath, *, writes: bool) -> None:
    """The nexus could read (and write) the copy target itself."""
    unit = path.unit
    if not unit.open or refuses(path) or not unit.reservations.open_to(path):
        raise _aborted(Asc.COPY_TARGET_DEVICE_NOT_REACHABLE)
    if writes and path.read_only:
        raise _aborted(Asc.WRITE_PROTECTED)


def _copy(command: Command) -> None:
    list_id, discard, segments = command.scratch
    done = 0
    failure: CheckCondition | None = None
    try:
        for segment in segments:
            _copy_segment(segment)
            done += 1
    except OSError:
        failure = _aborted(Asc.COPY_TARGET_DEVICE_NOT_REACHABLE)
    command.blocking = False
    command.scratch = (list_id, discard, Result(failure is not None, done), failure)
    command.work = _finish


def _copy_segment(segment: Segment) -> None:
    """In pieces; from the end when a copy within one unit would overwrite what is yet to be read."""
    source, destination = segment.source.unit.storage, segment.destination.unit.storage
    pieces = range(0, segment.length, CHUNK)
    if source is destination and segment.source_offset < segment.destination_offset:
        pieces = pieces[::-1]
    for offset in pieces:
        size = min(CHUNK, segment.length - offset)
        data = source.read(segment.source_offset + offset, size)
        destination.write(segment.destination_offset + offset, data)


def _finish(command: Command) -> None:
    list_id, discard, result, failure = command.scratch
    results = command.path.copy_results
    results.pop(list_id, None)
    if not discard:
        results[list_id] = result
        while len(results) > KEPT_RESULTS:
            del results[next(iter(results))]
    if failure is not None:
        raise failure


def copy_status(command: Command) -> None:
    """RECEIVE COPY RESULTS, COPY STATUS (6.24): told once."""
    result = command.path.copy_results.pop(command.cdb[2], None)
    if result is None:
        raise invalid_field_in_cdb(2)
    body = struct.pack(">BHBI", 2 if result.failed else 1, result.segments, 0, 0)
    command.answer(struct.pack(">I", len(body)) + body, int.from_bytes(command.cdb[10:14], "big"))


def operating_parameters(command: Command) -> None:
    """RECEIVE COPY RESULTS, OPERATING PARAMETERS (6.26)."""
    if command.cdb[2]:
        raise invalid_field_in_cdb(2)
    codes = bytes((BLOCK_TO_BLOCK, IDENTIFICATION_DESCRIPTOR))
    body = struct.pack(
        ">B3xHHIIIII2xHBBBB3xB",
        1,  # SNLID
        MAX_TARGETS,
        MAX_SEGMENTS,
        MAX_LIST,
        MAX_SEGMENT_BYTES,
        0,
        0,
        0,
        1,
        1,
        9,
        0,
        0,
        len(codes),
    )
    body += codes
    command.answer(struct.pack(">I", len(body)) + body, int.from_bytes(command.cdb[10:14], "big"))
