"""Reject PDUs (RFC 7143 section 11.17): the reason, the header that was wrong, and what then follows."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from isadmin.userspace.iscsi.codes import RejectReason
from tests.initiator import NONE, Closed, Initiator
from tests.userspace.rig import Rig

WRITE = struct.pack(">BBIBHB", 0x2A, 0, 0, 0, 128, 0)


def snack(i: Initiator) -> bytes:
    return struct.pack(">BBHIQII4xI8xII", 0x10, 0x81, 0, 0, 0, NONE, NONE, i.exp_stat_sn, 0, 1)


def response(i: Initiator) -> bytes:
    return struct.pack(">BBHIQIIIIII8x", 0x21, 0x80, 0, 0, 0, 9, 0, i.exp_stat_sn, i.cmd_sn, i.cmd_sn, 0)


def unknown(i: Initiator) -> bytes:
    return struct.pack(">BBHIQIIII16x", 0x5C, 0x80, 0, 0, 0, 9, NONE, i.cmd_sn, i.exp_stat_sn)


def same_tag(i: Initiator) -> bytes:
    itt = i.send_command(WRITE, data_out=bytes(65536))
    assert i.receive().opcode == 0x31
    return struct.pack(">BBHIQIIII16s", 0x01, 0xA1, 0, 0, 0, itt, 65536, i.number(), i.exp_stat_sn, WRITE)


def strange_reason(i: Initiator) -> bytes:
    return struct.pack(">BBHI8xIHHII16x", 0x46, 0x89, 0, 0, 9, 0, 0, i.cmd_sn, i.exp_stat_sn)


def strange_tag(i: Initiator) -> bytes:
    return struct.pack(">BBHIQIIII16x", 0x44, 0x80, 0, 0, 0, 9, 0x77, i.cmd_sn, i.exp_stat_sn)


def long_data(i: Initiator) -> bytes:
    """Write data with an additional header."""
    return struct.pack(">BBBxIQIIIIIIII", 0x05, 0x80, 0, 0x01000000, 0, 9, NONE, 0, 0, 0, 0, 0, 0)


REJECTED: list[tuple[Callable[[Initiator], bytes], RejectReason, bool]] = [
    (snack, RejectReason.SNACK_REJECT, True),
    (same_tag, RejectReason.TASK_IN_PROGRESS, True),
    (strange_reason, RejectReason.INVALID_PDU_FIELD, True),
    (strange_tag, RejectReason.INVALID_PDU_FIELD, False),
    (response, RejectReason.PROTOCOL_ERROR, False),
    (unknown, RejectReason.COMMAND_NOT_SUPPORTED, False),
    (long_data, RejectReason.PROTOCOL_ERROR, False),
]
"""What is sent, the reason, and whether the connection goes on. A data digest error is in test_server.py."""
NEVER = {
    RejectReason.TOO_MANY_IMMEDIATE_COMMANDS: "they are refused by a status, TASK SET FULL",
    RejectReason.INVALID_DATA_ACK: "there is no DataACK SNACK at ErrorRecoveryLevel 0",
    RejectReason.OUT_OF_RESOURCES: "what there is no room for waits",
    RejectReason.NEGOTIATION_RESET: "a text negotiation that contradicts itself starts anew by its tag",
    RejectReason.WAITING_FOR_LOGOUT: "nothing is received after a logout",
}


@pytest.mark.parametrize(("made", "reason", "goes_on"), REJECTED)
def test_reject(rig: Rig, made: Callable[[Initiator], bytes], reason: RejectReason, goes_on: bool) -> None:
    tpg = rig.serve(rig.ramdisk())
    with rig.login(tpg) as initiator:
        initiator.ready()
        sent = made(initiator)
        initiator.send(sent)
        reject = initiator.receive()
        assert (reject.opcode, reject.header[2], reject.itt) == (0x3F, reason, NONE)
        assert reject.data == sent
        if goes_on:
            assert initiator.nop(b"there").data == b"there"
        else:
            with pytest.raises(Closed):
                initiator.receive()


def test_every_reason_is_tried_or_argued() -> None:
    tried = {reason for _, reason, _ in REJECTED} | {RejectReason.DATA_DIGEST_ERROR}
    assert tried | NEVER.keys() == set(RejectReason)
    assert not tried & NEVER.keys()
