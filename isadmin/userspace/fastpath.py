"""The loop that every PDU of the full-feature phase comes through.

READs and WRITEs that need no special care (LunPath.plain) are carried out right here: one Struct unpacks
header and CDB together, and there is no object or task for a PDU. Their answers lie one behind the
other in the server's arena, data right behind its header, so that a run of them is one buffer of one send.
Everything else, and everything that would wait, goes to fullfeature.py.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from isadmin.userspace import limits
from isadmin.userspace.iscsi.codes import Opcode
from isadmin.userspace.iscsi.digest import crc32c
from isadmin.userspace.sessions import count

if TYPE_CHECKING:
    from isadmin.userspace.connection import Connection
    from isadmin.userspace.fullfeature import FullFeature
    from isadmin.userspace.scsi.nexus import LunPath

_COMMAND = Struct(">IIQIII4xHQIH")
"""A SCSI Command with its CDB (RFC 7143 section 11.3): opcode and flags; lengths of additional headers and
data; LUN; ITT; expected data transfer length; CmdSN; CDB bytes 0-1, 2-9, 10-13, 14-15. Bytes 2-9 are a
16-byte CDB's LBA, and LBA << 32 | group << 24 | length << 8 | control of a 10-byte one."""
_DATA_IN = Struct(">II8xIIIII12x")
"""A Data-In that is all of its command's data (section 11.7): opcode, flags and status; data length; ITT;
TTT; StatSN; ExpCmdSN; MaxCmdSN. LUN, DataSN, offset and residual are 0."""
_RESPONSE = Struct(">I12xI4xIII12x")
"""A SCSI Response without data (section 11.4): opcode, flags, response and status; ITT; StatSN; ExpCmdSN;
MaxCmdSN."""

_READS = frozenset((0x01C00000, 0x01C10000))
"""SCSI Command with F and R, task attribute untagged or simple."""
_WRITES = frozenset((0x01A00000, 0x01A10000))
_GOOD_DATA_IN = 0x25810000
"""F and S bits, status GOOD."""
_GOOD_RESPONSE = 0x21800000
_NO_TAG = 0xFFFFFFFF
_READ_10, _READ_16 = 0x2800, 0x8800
"""The first two bytes of CDBs without odd bits."""
_WRITING = 0x0200
"""What makes a WRITE of a READ there."""
_ODD_10 = 0xFF0000FF
"""Group number and control in bytes 2-9 of a 10-byte CDB."""
_NO_LUN = -1


def consume(
    connection: Connection, full: FullFeature, buffer: bytearray, view: memoryview, position: int, end: int
) -> int:
    """Handle the whole PDUs in buffer[position:end] (view is the same buffer); the position of the first one
    that is not whole or has to wait. ProtocolError when the stream makes no sense."""
    if connection.blocked or connection.reading >= limits.READ_AHEAD:
        return position
    unpack, pack_data_in, pack_response = _COMMAND.unpack_from, _DATA_IN.pack_into, _RESPONSE.pack_into
    reads, writes = _READS, _WRITES
    server, session, tasks, paths = full.server, full.session, full.tasks, full.paths
    max_xmit, max_recv, arena_size, flush_at = (
        full.max_xmit,
        connection.max_recv,
        limits.ARENA,
        limits.FLUSH_AT,
    )
    exp_cmd_sn, stat_sn = session.exp_cmd_sn, connection.stat_sn
    ahead = session.window - 1 - session.outstanding
    digests = connection.header_digest or connection.data_digest
    head = 52 if connection.header_digest else 48
    tail_digest = 4 if connection.data_digest else 0
    arena = server.arena
    start = used = server.arena_used
    # A run of answers that are not queued yet is arena[start:used].
    commands = read_bytes = write_bytes = sent = 0
    counted: LunPath | None = None
    known = _NO_LUN
    while end - position >= head:
        first, lengths, lun, itt, expected, cmd_sn, operation, middle, tail, last = unpack(buffer, position)
        if lun != known and ahead >= 0:
            path = paths.get(lun)
            if path is not None and path.plain:
                known, unit, storage = lun, path.unit, path.unit.storage
                shift, unit_blocks, writable = unit.block_shift, unit.blocks, not path.read_only
                read_now, write_now = storage.read_into_now, storage.write_now
                if path is not counted:
                    if counted is not None:
                        count(counted, commands, read_bytes, write_bytes)
                    counted, commands, read_bytes, write_bytes = path, 0, 0, 0
        if lun == known and cmd_sn == exp_cmd_sn and not (tasks and itt in tasks):
            kind = operation & ~_WRITING
            if kind == _READ_10:
                lba, blocks = middle >> 32, 0 if middle & _ODD_10 else middle >> 8 & 0xFFFF
            elif kind == _READ_16:
                lba, blocks = middle, 0 if last else tail
            else:
                lba = blocks = 0
            length = blocks << shift
            if length and length == expected and lba + blocks <= unit_blocks:
                if operation & _WRITING:
                    place = position + head
                    after = place + length
                    stop = after + tail_digest
                    if (
                        first in writes
                        and lengths == length
                        and stop <= end
                        and length <= max_recv
                        and writable
                        and not (digests and _damaged(view, position, head, after, stop))
                        and write_now(lba << shift, view[place:after])
                    ):
                        exp_cmd_sn = exp_cmd_sn + 1 & 0xFFFFFFFF
                        pack_response(
                            arena, used, _GOOD_RESPONSE, itt, stat_sn,
                            exp_cmd_sn, exp_cmd_sn + ahead & 0xFFFFFFFF,
                        )  # fmt: skip
                        if digests:
                            _seal(arena, used, head, used + head, used + head)
                        stat_sn = stat_sn + 1 & 0xFFFFFFFF
                        used += head
                        position = stop
                        commands += 1
                        write_bytes += length
                        continue
                elif first in reads and not lengths:
                    place = used + head
                    after = place + length
                    stop = after + tail_digest
                    if (
                        stop <= arena_size
                        and not (digests and _damaged(view, position, head, 0, 0))
                        and read_now(lba << shift, arena[place:after]) == length
                    ):
                        exp_cmd_sn = exp_cmd_sn + 1 & 0xFFFFFFFF
                        position += head
                        commands += 1
                        read_bytes += length
                        if length <= max_xmit:
                            pack_data_in(
                                arena, used, _GOOD_DATA_IN, length, itt, _NO_TAG, stat_sn,
                                exp_cmd_sn, exp_cmd_sn + ahead & 0xFFFFFFFF,
                            )  # fmt: skip
                            if digests:
                                _seal(arena, used, head, after, stop)
                            stat_sn = stat_sn + 1 & 0xFFFFFFFF
                        else:
                            if used > start:
                                connection.send(arena[start:used])
                            start = stop
                            session.exp_cmd_sn, connection.stat_sn = exp_cmd_sn, stat_sn
                            full.send_data_in(itt, arena[place:after], length, 0)
                            stat_sn = connection.stat_sn
                        used = stop
                        if used < flush_at:
                            continue
                        if used > start:
                            connection.send(arena[start:used])
                        server.arena_used = used
                        connection.flush()
                        sent += used
                        arena = server.arena
                        start = used = server.arena_used
                        if connection.blocked or connection.closed:
                            break
                        if sent >= limits.TURN and end - position >= head:
                            connection.more = True
                            break
                        continue
        if used > start:
            connection.send(arena[start:used])
            server.arena_used = used
        session.exp_cmd_sn, connection.stat_sn = exp_cmd_sn, stat_sn
        if first >> 24 == Opcode.DATA_OUT and not digests:
            following = full.data_out(view, position, end)
        else:
            following = connection.one(full, view, position, end)
        exp_cmd_sn, stat_sn = session.exp_cmd_sn, connection.stat_sn
        ahead = session.window - 1 - session.outstanding
        arena = server.arena
        start = used = server.arena_used
        known = _NO_LUN
        if following < 0:
            break
        position = following
        if connection.closed or connection.closing:
            return end
        if connection.receiving or connection.reading >= limits.READ_AHEAD:
            break
    if used > start:
        connection.send(arena[start:used])
        server.arena_used = used
    session.exp_cmd_sn, connection.stat_sn = exp_cmd_sn, stat_sn
    if counted is not None:
        if ahead >= 0:
            # What the answers have promised (see Session.advance_window).
            session.max_cmd_sn = exp_cmd_sn + ahead & 0xFFFFFFFF
        count(counted, commands, read_bytes, write_bytes)
    return position


def _damaged(view: memoryview, position: int, head: int, after: int, stop: int) -> bool:
    """Whether a digest is wrong, the header's at `position` or that of the data which ends at `after`: the
    long way will tell the initiator."""
    data = position + head
    if head > 48 and crc32c(view[position : position + 48]) != view[data - 4 : data]:
        return True
    return stop > after and crc32c(view[data:after]) != view[after:stop]


def _seal(arena: memoryview, position: int, head: int, after: int, stop: int) -> None:
    """Put the digests of an answer in their places."""
    data = position + head
    if head > 48:
        arena[position + 48 : data] = crc32c(arena[position : position + 48])
    if stop > after:
        arena[after:stop] = crc32c(arena[data:after])
