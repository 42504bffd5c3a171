"""The receiving side of a connection in full-feature phase: the loop that every PDU comes through.

READs and WRITEs that need no special care (LunPath.plain) are carried out right here: one Struct unpacks
header and CDB together, and there is no object or task for a PDU. Their answers lie one behind the
other in the server's arena, data right behind its header, so that a run of them is one buffer of one send.
Everything else, and everything that would wait, goes to fullfeature.py.
"""

from __future__ import annotations

from collections.abc import Generator
from struct import Struct
from typing import TYPE_CHECKING, TypeAlias

from isadmin.userspace import limits
from isadmin.userspace.iscsi.codes import Opcode
from isadmin.userspace.iscsi.digest import crc32c
from isadmin.userspace.sessions import count

if TYPE_CHECKING:
    from isadmin.userspace.connection import Connection
    from isadmin.userspace.fullfeature import FullFeature
    from isadmin.userspace.scsi.nexus import LunPath, Plain

Receiver: TypeAlias = Generator[bool, tuple[memoryview, int] | None, None]

_unpack_command = Struct(">IIQIII4xHIIIH").unpack_from
"""A SCSI Command with its CDB (RFC 7143 section 11.3): opcode and flags; lengths of additional headers and
data; LUN; ITT; expected data transfer length; CmdSN; CDB bytes 0-1, 2-5, 6-9, 10-13, 14-15. Bytes 2-5 are the
LBA of a 10-byte CDB, 6-9 its group << 24 | length << 8 | control; 2-9 are a 16-byte one's LBA. No number of
more than 30 bits is usual among them: arithmetic with longer ones takes Python twice as long."""
_unpack_exp_stat_sn = Struct(">I").unpack_from
_pack_data_in = Struct(">II8xIIIII12x").pack_into
"""A Data-In that is all of its command's data (section 11.7): opcode, flags and status; data length; ITT;
TTT; StatSN; ExpCmdSN; MaxCmdSN. LUN, DataSN, offset and residual are 0."""
_pack_response = Struct(">I12xI4xIII12x").pack_into
"""A SCSI Response without data (section 11.4): opcode, flags, response and status; ITT; StatSN; ExpCmdSN;
MaxCmdSN."""

_TEN = frozenset((0x01C02800, 0x01C12800, 0x01A02A00, 0x01A12A00))
"""Opcode and flags of a SCSI Command with F and R (W), task attribute untagged or simple, together with the
first two bytes of a READ (10) (WRITE (10)) without odd bits."""
_SIXTEEN = frozenset((0x01C08800, 0x01C18800, 0x01A08A00, 0x01A18A00))
_WRITING = 0x0200
"""What makes a WRITE of a READ there."""
_GOOD_DATA_IN = 0x25810000
"""F and S bits, status GOOD."""
_GOOD_RESPONSE = 0x21800000
_NO_TAG = 0xFFFFFFFF
_NO_LUN = -1


def receiver(connection: Connection, full: FullFeature) -> Receiver:
    """The handler of the socket's INPUT: each next() receives once, handles every whole PDU, and answers;
    send((view, end)) does the same with view[:end], received before. An exception ends the connection.
    Yields whether the initiator is likely to go on at once: it sent a single command, and had seen the status
    of all others (ExpStatSN), so that it has been waiting for this one's.

    A generator, because its variables outlast a wake-up. After a sleep a processor needs some 15 ns for each
    instruction of Python; to look up again what stays the same would be a third of those for a small read.
    """
    server, session, tasks, paths = full.server, full.session, full.tasks, full.paths
    recv_into, send = connection.sock.recv_into, connection.sock.send
    digests = connection.header_digest or connection.data_digest
    head, tail_digest = 48 + 4 * connection.header_digest, 4 * connection.data_digest
    max_recv = connection.max_recv
    budget = server.budget
    appetite = 0
    known = _NO_LUN
    path: LunPath | None = None
    plain: Plain | None = None
    alone = False
    while True:
        given = yield alone
        alone = False
        if given is not None:
            view, end = given
            # Of another long PDU, no more than its beginning is wanted here.
            appetite = 0 if end else limits.RECEIVE_AHEAD
        else:
            view = server.view
            try:
                if connection.held:
                    end = connection.receive_behind()
                else:
                    end = recv_into(view, appetite or budget.appetite)
                    connection.rx_octets += end
            except BlockingIOError:
                continue
            except OSError as error:
                connection.close(f"{error.strerror}")
                continue
            if not end:
                connection.ended()
                continue
            appetite = 0
        server.served = connection
        position = sent = commands = read_bytes = write_bytes = long_ways = 0
        latest = end - head
        exp_cmd_sn, stat_sn = session.exp_cmd_sn, connection.stat_sn
        ahead = session.fast_window - 1 - session.outstanding
        arena = server.arena
        start = used = server.arena_used
        # A run of answers that are not queued yet is arena[start:used].
        if path is None or path.plain is not plain or ahead < 0:
            known = _NO_LUN
        try:
            while position <= latest:
                (
                    first, lengths, lun, itt, expected, cmd_sn, operation, high, low, tail, last
                ) = _unpack_command(view, position)  # fmt: skip
                if lun != known:
                    known = lun
                    found = paths.get(lun)
                    if found is None or found.plain is None or ahead < 0:
                        most = 0
                    else:
                        if path is not None and commands:
                            count(path, commands, read_bytes, write_bytes)
                            commands = read_bytes = write_bytes = 0
                        path, plain = found, found.plain
                        shift, unit_blocks, most, read_now, write_now, storage = plain
                if cmd_sn == exp_cmd_sn and not (tasks and itt in tasks):
                    kind = first | operation
                    if kind in _TEN:
                        # A group number makes it more blocks than any unit takes.
                        lba, blocks = high, 0 if low & 0xFF else low >> 8
                    elif kind in _SIXTEEN:
                        lba, blocks = high << 32 | low if high else low, 0 if last else tail
                    else:
                        blocks = 0
                    if 0 < blocks <= most and lba + blocks <= unit_blocks and blocks << shift == expected:
                        length = expected
                        if not operation & _WRITING:
                            place = used + head
                            after = place + length
                            stop = after + tail_digest
                            if (
                                length >= limits.BY_REFERENCE
                                and storage is not None
                                and not (lengths or digests)
                                and stop <= limits.ARENA
                                and length <= full.max_xmit
                                and storage.at_hand(lba << shift, length)
                            ):
                                exp_cmd_sn = exp_cmd_sn + 1 & 0xFFFFFFFF
                                position += head
                                commands += 1
                                read_bytes += length
                                _pack_data_in(
                                    arena, used, _GOOD_DATA_IN, length, itt, _NO_TAG, stat_sn,
                                    exp_cmd_sn, exp_cmd_sn + ahead & 0xFFFFFFFF,
                                )  # fmt: skip
                                stat_sn = stat_sn + 1 & 0xFFFFFFFF
                                connection.send(arena[start:place])
                                server.arena_used = place
                                connection.send_stored(storage, lba << shift, length)
                                sent += place - start + length
                                arena = server.arena
                                start = used = server.arena_used
                                if connection.blocked or connection.closed:
                                    break
                                if sent >= limits.TURN and position <= latest:
                                    if connection.waits_for_turn():
                                        break
                                    sent = 0
                                continue
                            if (
                                not lengths
                                and stop <= limits.ARENA
                                and not (digests and _damaged(view, position, head, 0, 0))
                                and read_now(lba << shift, arena[place:after]) == length
                            ):
                                exp_cmd_sn = exp_cmd_sn + 1 & 0xFFFFFFFF
                                position += head
                                commands += 1
                                read_bytes += length
                                if length <= full.max_xmit:
                                    _pack_data_in(
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
                                if used < limits.FLUSH_AT:
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
                                if sent >= limits.TURN and position <= latest:
                                    if connection.waits_for_turn():
                                        break
                                    sent = 0
                                continue
                        elif lengths == length <= max_recv:
                            place = position + head
                            after = place + length
                            stop = after + tail_digest
                            if stop > end:
                                # Its data is still on its way.
                                break
                            if (
                                write_now is not None
                                and not (digests and _damaged(view, position, head, after, stop))
                                and write_now(lba << shift, view[place:after])
                            ):
                                exp_cmd_sn = exp_cmd_sn + 1 & 0xFFFFFFFF
                                _pack_response(
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
                if used > start:
                    connection.send(arena[start:used])
                    server.arena_used = used
                session.exp_cmd_sn, connection.stat_sn = exp_cmd_sn, stat_sn
                if not long_ways:
                    # No answer of this wake-up was known to who sent what it has received.
                    long_ways = 1
                    session.told = session.max_cmd_sn
                if first >> 24 == Opcode.DATA_OUT and not digests:
                    following = full.data_out(view, position, end)
                else:
                    following = connection.one(full, view, position, end)
                if connection.out_bytes >= limits.FLUSH_AT:
                    sent += connection.out_bytes
                    connection.flush()
                exp_cmd_sn, stat_sn = session.exp_cmd_sn, connection.stat_sn
                ahead = session.fast_window - 1 - session.outstanding
                arena = server.arena
                start = used = server.arena_used
                known = _NO_LUN
                if following < 0:
                    break
                position = following
                if connection.closing:
                    position = end
                    break
                if connection.receiving or connection.blocked:
                    break
                if sent >= limits.TURN and position <= latest:
                    if connection.waits_for_turn():
                        break
                    sent = 0
            session.exp_cmd_sn, connection.stat_sn = exp_cmd_sn, stat_sn
            if path is not None and commands:
                if ahead >= 0:
                    # What the answers have promised (see Session.advance_window).
                    session.max_cmd_sn = exp_cmd_sn + ahead & 0xFFFFFFFF
                count(path, commands, read_bytes, write_bytes)
                alone = commands == 1 and _unpack_exp_stat_sn(view, 28)[0] == stat_sn - 1
            if connection.out_bytes:
                if used > start:
                    connection.send(arena[start:used])
                    server.arena_used = used
                connection.flush()
            elif used > start:
                try:
                    gone = send(arena[start:used])
                except BlockingIOError:
                    gone = 0
                except OSError as error:
                    connection.close(f"{error.strerror}")
                    continue
                connection.tx_octets += gone
                if gone < used - start:
                    server.arena_used = used
                    connection.block(arena[start + gone : used])
            if position < end:
                connection.keep(view, position, end)
        except Exception as error:  # noqa: BLE001
            connection.fail(error, bytes(view[position : position + 48]))


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
