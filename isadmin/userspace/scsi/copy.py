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
from isadmin.userspace.scsi.medium import CHUNK, sense_of
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
IN_PROGRESS, COMPLETED, FAILED = range(3)
"""COPY MANAGER STATUS (6.24)."""
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

    status: int = IN_PROGRESS
    segments: int = 0


def extended_copy(command: Command) -> None:
    length = int.from_bytes(command.cdb[10:14], "big")
    if not length:
        return
    if not HEADER <= length <= HEADER + (MAX_TARGETS + 1) * TARGET_SIZE + (MAX_SEGMENTS + 1) * SEGMENT_SIZE:
        raise list_length_error()
    command.data_out_length = length
    command.work = _check


def _aborted(asc: Asc = Asc.NO_ADDITIONAL_SENSE, *, segment: int | None = None) -> CheckCondition:
    return CheckCondition(SenseKey.COPY_ABORTED, asc, copy=segment)


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
    list_id = None if data[1] & DISCARD_RESULT == DISCARD_RESULT else data[0]
    command.scratch = (list_id, segments)
    touched = {path.unit for segment in segments for path in (segment.source, segment.destination)}
    command.others = tuple(touched - {command.unit})
    command.work = _begin


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
    reservations = unit.reservations
    free = reservations.open_to(path) if writes else reservations.readable(path)
    if not unit.open or refuses(path) or not free:
        raise _aborted(Asc.COPY_TARGET_DEVICE_NOT_REACHABLE)
    if writes and path.read_only:
        raise _aborted(Asc.WRITE_PROTECTED)


def _begin(command: Command) -> None:
    """Past all gates: from here on the copy is in progress."""
    list_id, segments = command.scratch
    result = Result()
    if list_id is not None:
        results = command.path.copy_results
        if list_id in results and results[list_id].status == IN_PROGRESS:
            raise illegal(Asc.OPERATION_IN_PROGRESS)
        results.pop(list_id, None)
        results[list_id] = result
        finished = [number for number, old in results.items() if old.status != IN_PROGRESS]
        for number in finished[: max(0, len(results) - KEPT_RESULTS)]:
            del results[number]
    command.scratch = (segments, result)
    command.blocking = any(
        s.source.unit.storage.blocking or s.destination.unit.storage.blocking for s in segments
    )
    command.work = _copy


def _copy(command: Command) -> None:
    segments, result = command.scratch
    try:
        for segment in segments:
            _copy_segment(segment, result.segments)
            result.segments += 1
    except CheckCondition:
        result.status = FAILED
        raise
    result.status = COMPLETED


def _copy_segment(segment: Segment, number: int) -> None:
    """In pieces; from the end when a copy within one unit would overwrite what is yet to be read."""
    source, destination = segment.source.unit.storage, segment.destination.unit.storage
    pieces = range(0, segment.length, CHUNK)
    if source is destination and segment.source_offset < segment.destination_offset:
        pieces = pieces[::-1]
    for offset in pieces:
        size = min(CHUNK, segment.length - offset)
        try:
            data = source.read(segment.source_offset + offset, size)
        except OSError as error:
            raise _aborted(Asc.THIRD_PARTY_DEVICE_FAILURE, segment=number) from error
        try:
            destination.write(segment.destination_offset + offset, data)
        except OSError as error:
            condition = sense_of(error, writing=True)
            if condition.asc is Asc.SPACE_ALLOCATION_FAILED:
                # As a WRITE there would have ended: who writes to thin units waits for that.
                raise condition from error
            raise _aborted(Asc.THIRD_PARTY_DEVICE_FAILURE, segment=number) from error


def copy_status(command: Command) -> None:
    """RECEIVE COPY RESULTS, COPY STATUS (6.24). Of a copy that has ended it is told once."""
    results = command.path.copy_results
    result = results.get(command.cdb[2])
    if result is None:
        raise invalid_field_in_cdb(2)
    if result.status != IN_PROGRESS:
        del results[command.cdb[2]]
    body = struct.pack(">BHBI", result.status, result.segments, 0, 0)
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
