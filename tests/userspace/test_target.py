"""The running target: who may log in, what they see, and what changes of the configuration do to sessions."""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from isadmin.userspace import limits, model
from isadmin.userspace.engine import SessionFailure
from tests.initiator import Closed, Initiator, LoginFailed
from tests.userspace.rig import IQN, Rig

I1 = "iqn.2003-01.org.test:i1"
I2 = "iqn.2003-01.org.test:i2"
REPORT_LUNS = bytes.fromhex("a00000000000000000ff0000")
LUNS_CHANGED = 0x3F0E
WRITE_10 = bytes.fromhex("2a000000000000008000")
ABORT_TASK = 1


def credentials(
    name: str = "alice", secret: str = "alices-secret", mutual: bool = False
) -> model.Credentials:
    auth = model.Credentials(name + "\n", secret + "\n", userid_set=True, password_set=True)
    if mutual:
        auth.userid_mutual, auth.password_mutual = "target\n", "targets-secret\n"
        auth.userid_mutual_set = auth.password_mutual_set = True
    return auth


def refused(status: int, login: Callable[[], Initiator]) -> None:
    with pytest.raises(LoginFailed) as caught:
        login()
    assert caught.value.status == status


def luns(initiator: Initiator) -> list[int]:
    data = initiator.cmd(REPORT_LUNS, expected_in=255).data
    count = int.from_bytes(data[:4], "big") // 8
    return [int.from_bytes(data[8 + 8 * i : 10 + 8 * i], "big") for i in range(count)]


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.01)


# Logins


def test_demo_mode_and_data(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk())
    with rig.login(tpg) as initiator:
        initiator.ready()
        data = bytes(range(256)) * 64
        assert initiator.write(3, data).status == 0
        assert initiator.read(3, 32).data == data
        assert initiator.results["TargetPortalGroupTag"] == "1"
        assert rig.call(lambda: rig.target.sessions(tpg))[0].dynamic


def test_unknown_target(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk())
    refused(0x0203, lambda: rig.login(tpg, target="iqn.2003-01.org.test:other"))


def test_a_target_that_is_only_at_other_portals(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk())
    other = rig.tpg("iqn.2003-01.org.test:other")
    rig.portal(other)
    refused(0x0203, lambda: rig.login(tpg, target=other.target.name))


def test_disabled_group(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk())
    tpg.enabled = False
    refused(0x0301, lambda: rig.login(tpg))


def test_unknown_initiator(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk(), generate_node_acls=0)
    rig.acl(tpg, I1)
    refused(0x0202, lambda: rig.login(tpg, name=I2))
    counters = rig.call(lambda: rig.target.login_counters(tpg.target))
    assert (counters.authorize_fails, counters.accepts) == (1, 0)
    assert (counters.fail_initiator, counters.fail_address, counters.fail_address_type) == (
        I2,
        "127.0.0.1",
        "ipv4",
    )
    assert counters.last_fail_type == 4
    with rig.login(tpg, name=I1):
        assert counters.accepts == 1


def test_chap(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk(), generate_node_acls=0, authentication=1)
    rig.acl(tpg, I1).auth = credentials()
    with rig.login(tpg, name=I1, chap=("alice", "alices-secret")) as initiator:
        assert initiator.nop().opcode == 0x20
    refused(0x0201, lambda: rig.login(tpg, name=I1, chap=("alice", "wrong-secret")))
    refused(0x0201, lambda: rig.login(tpg, name=I1, chap=("bob", "alices-secret")))
    refused(0x0201, lambda: rig.login(tpg, name=I1))
    assert rig.call(lambda: rig.target.login_counters(tpg.target)).authenticate_fails == 3


@pytest.mark.parametrize("algorithm", ["5", "6", "7", "8"])
def test_mutual_chap(rig: Rig, algorithm: str) -> None:
    tpg = rig.serve(rig.ramdisk(), generate_node_acls=0, authentication=1)
    rig.acl(tpg, I1).auth = credentials(mutual=True)
    both = {"chap": ("alice", "alices-secret"), "mutual": ("target", "targets-secret")}
    with rig.login(tpg, name=I1, algorithms=algorithm, **both) as initiator:
        assert initiator.results["CHAP_A"] == algorithm
    refused(0x0201, lambda: rig.login(tpg, name=I1, chap=("alice", "alices-secret")))


def test_mutual_chap_that_is_not_configured(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk(), generate_node_acls=0, authentication=1)
    rig.acl(tpg, I1).auth = credentials()
    both = {"chap": ("alice", "alices-secret"), "mutual": ("target", "targets-secret")}
    refused(0x0201, lambda: rig.login(tpg, name=I1, **both))


@pytest.mark.parametrize(
    ("group", "own", "required"), [(1, -1, True), (0, -1, False), (1, 0, False), (0, 1, True)]
)
def test_an_acl_decides_about_authentication_unless_it_leaves_it_to_the_group(
    rig: Rig, group: int, own: int, required: bool
) -> None:
    tpg = rig.serve(rig.ramdisk(), generate_node_acls=0, authentication=group)
    acl = rig.acl(tpg, I1, authentication=own)
    acl.auth = credentials()
    if required:
        refused(0x0201, lambda: rig.login(tpg, name=I1))
    else:
        rig.login(tpg, name=I1).close()


def test_demo_mode_uses_the_groups_credentials(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk(), authentication=1)
    tpg.auth = credentials()
    rig.login(tpg, chap=("alice", "alices-secret")).close()
    refused(0x0201, lambda: rig.login(tpg))


def test_secrets_are_not_logged(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    tpg = rig.serve(rig.ramdisk(), generate_node_acls=0, authentication=1)
    rig.acl(tpg, I1).auth = credentials()
    refused(0x0201, lambda: rig.login(tpg, name=I1, chap=("alice", "guessed-secret")))
    eventually(lambda: "refused" in caplog.text)
    assert "alices-secret" not in caplog.text
    assert "guessed-secret" not in caplog.text
    assert I1 in caplog.text


def test_negotiated_values_come_from_the_groups_parameters(rig: Rig) -> None:
    param = {
        "MaxRecvDataSegmentLength": "0x4000",
        "MaxBurstLength": "65536",
        "FirstBurstLength": "32768",
        "InitialR2T": "No",
        "ImmediateData": "No",
        "HeaderDigest": "None",
        "TargetAlias": "My Alias",
    }
    tpg = rig.serve(rig.ramdisk(), param=param)
    with rig.login(tpg, keys={"HeaderDigest": "CRC32C,None"}) as initiator:
        found = initiator.results
        for key, value in {**param, "MaxRecvDataSegmentLength": "16384"}.items():
            assert found[key] == value
        facts = rig.call(lambda: rig.target.sessions(tpg))[0]
        assert facts.parameters["MaxBurstLength"] == "65536"
        assert facts.parameters["InitialR2T"] == "0"


def test_a_data_segment_length_beyond_our_buffers_is_cut(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk(), param={"MaxRecvDataSegmentLength": "16777215"})
    with rig.login(tpg) as initiator:
        assert initiator.results["MaxRecvDataSegmentLength"] == str(256 << 10)


# Sessions


def test_facts_of_a_session(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk(), generate_node_acls=0, default_cmdsn_depth=16)
    acl = rig.acl(tpg, I1)
    acl.cmdsn_depth = 20
    with rig.login(tpg, name=I1, alias="a client", isid=b"\x80\x11\x22\x33\x44\x55") as initiator:
        initiator.nop()
        (facts,) = rig.call(lambda: rig.target.sessions(tpg))
        assert (facts.initiator, facts.alias, facts.isid) == (I1, "a client", b"\x80\x11\x22\x33\x44\x55")
        assert facts.tsih == initiator.tsih != 0
        assert not facts.dynamic
        assert facts.state == "TARG_SESS_STATE_LOGGED_IN"
        assert (facts.cmd_window, facts.exp_cmd_sn) == (20, initiator.cmd_sn)
        assert facts.max_cmd_sn == facts.exp_cmd_sn + 19
        (connection,) = facts.connections
        assert (connection.cid, connection.state, connection.address) == (
            0,
            "TARG_CONN_STATE_LOGGED_IN",
            "127.0.0.1",
        )
        assert facts.rx_octets > 48 * 3
        initiator.logout()
    eventually(lambda: not rig.call(lambda: rig.target.sessions(tpg)))
    counters = rig.call(lambda: rig.target.login_counters(tpg.target))
    assert (counters.normal_logouts, counters.abnormal_logouts) == (1, 0)


def test_a_connection_that_is_cut_off_ends_its_session(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk())
    rig.login(tpg).close()
    eventually(lambda: not rig.call(lambda: rig.target.sessions(tpg)))
    assert rig.call(lambda: rig.target.login_counters(tpg.target)).abnormal_logouts == 1
    with rig.login(tpg) as again:
        assert again.cmd(bytes(6)).asc == 0x2907, "I_T NEXUS LOSS"


def cut_off(initiator: Initiator) -> None:
    initiator.close()


def damage_a_header(initiator: Initiator) -> None:
    initiator.sock.sendall(b"\x40\x80" + bytes(46) + b"bad!")


def send_an_unknown_opcode(initiator: Initiator) -> None:
    initiator.send(b"\x1f\x80" + bytes(46))


@pytest.mark.parametrize(
    ("end", "column", "failure"),
    [
        (cut_off, "cxn_errors", SessionFailure.TIMEOUT),
        (damage_a_header, "digest_errors", SessionFailure.DIGEST),
        (send_an_unknown_opcode, "format_errors", SessionFailure.PDU_FORMAT),
    ],
)
def test_what_sessions_fail_of_is_counted(
    rig: Rig, end: Callable[[Initiator], None], column: str, failure: SessionFailure
) -> None:
    tpg = rig.serve(rig.ramdisk())
    with rig.login(tpg, name=I1, keys={"HeaderDigest": "CRC32C"}) as initiator:
        end(initiator)
        eventually(lambda: not rig.call(lambda: rig.target.sessions(tpg)))
    counters = rig.call(lambda: rig.target.login_counters(tpg.target))
    errors = {name: getattr(counters, name) for name in ("cxn_errors", "digest_errors", "format_errors")}
    assert errors == {**dict.fromkeys(errors, 0), column: 1}
    assert (counters.last_session_fail_type, counters.last_session_fail_name) == (failure, I1)
    assert (counters.normal_logouts, counters.abnormal_logouts) == (0, 1)


def test_sessions_count_what_is_theirs(rig: Rig) -> None:
    """Commands to no LUN too; of data what moved, whichever way a command took. Two that share a LUN."""
    tpg = rig.serve(rig.ramdisk())

    def counted() -> list[tuple[int, int, int, int]]:
        facts = rig.call(lambda: rig.target.sessions(tpg))
        return [(f.cmd_pdus, f.rsp_pdus, f.rx_data_octets, f.tx_data_octets) for f in facts]

    with rig.login(tpg) as one, rig.login(tpg, isid=b"\x80\1\2\3\4\5") as other:
        assert counted() == [(0, 0, 0, 0), (0, 0, 0, 0)]
        one.ready()
        other.ready()
        assert counted() == [(2, 2, 0, 0), (2, 2, 0, 0)]
        one.write(0, bytes(2048))
        assert one.read(0, 3).status == 0
        assert one.cmd(bytes(6), lun=7).status == 2
        assert counted() == [(5, 5, 2048, 1536), (2, 2, 0, 0)]
        # READ (6) and WRITE (6) go the long way; of INQUIRY only 5 bytes fit.
        assert other.cmd(bytes.fromhex("080000000200"), expected_in=1024).status == 0
        assert other.cmd(bytes.fromhex("0a0000000100"), data_out=bytes(512)).status == 0
        assert other.cmd(bytes.fromhex("120000006000"), expected_in=5).status == 0
        assert counted() == [(5, 5, 2048, 1536), (5, 5, 512, 1029)]
        waiting = one.send_command(WRITE_10, data_out=bytes(65536), expected=65536)
        assert one.receive().opcode == 0x31
        assert one.task_management(ABORT_TASK, tag=waiting) == 0
        assert counted()[0] == (6, 5, 2048, 1536), "an aborted command has no answer"


def test_reinstatement_ends_the_old_session(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk())
    with rig.login(tpg, name=I1) as old, rig.login(tpg, name=I1) as new, rig.login(tpg, name=I2):
        with pytest.raises(Closed):
            old.nop()
        assert new.nop().opcode == 0x20
        assert new.cmd(bytes(6)).asc == 0x2907, "I_T NEXUS LOSS (section 6.3.5.1)"
        assert len(rig.call(lambda: rig.target.sessions(tpg))) == 2


def test_several_sessions_of_one_initiator(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk())
    with rig.login(tpg, isid=b"\x80\0\0\0\0\1") as a, rig.login(tpg, isid=b"\x80\0\0\0\0\2") as b:
        assert a.tsih != b.tsih
        a.ready()
        b.ready()
        assert a.write(0, b"a" * 512).status == 0
        assert b.read(0, 1).data == b"a" * 512


def test_several_connections_of_one_session(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk(), param={"MaxConnections": "2"})
    with rig.login(tpg, keys={"MaxConnections": "4"}) as first:
        assert first.results["MaxConnections"] == "2"
        only = {"tsih": first.tsih, "keys": dict.fromkeys(SESSION_KEYS, "")}
        with rig.login(tpg, cid=1, cmd_sn=first.cmd_sn, **only) as second:
            (facts,) = rig.call(lambda: rig.target.sessions(tpg))
            assert [c.cid for c in facts.connections] == [0, 1]
            refused(0x0206, lambda: rig.login(tpg, cid=2, cmd_sn=first.cmd_sn, **only))
            numbers = first.cmd_sn
            # The second command comes first, over the other connection: it waits for its turn.
            late = second.send_command(bytes(6), cmd_sn=numbers + 1)
            early = first.send_command(bytes(6), cmd_sn=numbers)
            first.finish(early)
            second.finish(late)
            second.cmd_sn = first.cmd_sn = numbers + 2
            assert first.logout(reason=1, cid=1).header[2] == 0
            with pytest.raises(Closed):
                second.nop()
        first.cmd_sn = numbers + 3
        assert first.nop().opcode == 0x20


@pytest.mark.parametrize("first", ["read", "write"])
@pytest.mark.parametrize("behind", ["read", "write"])
def test_plain_commands_over_two_connections_keep_their_order(rig: Rig, first: str, behind: str) -> None:
    """The one that was missing goes on with those that wait for it, on whichever connection they are."""
    tpg = rig.serve(rig.ramdisk(), param={"MaxConnections": "2"})
    with two_connections(rig, tpg) as (one, other):

        def send(initiator: Initiator, kind: str, cmd_sn: int) -> int:
            if kind == "read":
                return initiator.send_command(READ_ONE, expected_in=512, cmd_sn=cmd_sn)
            data = bytes([cmd_sn & 0xFF]) * 512
            return initiator.send_command(WRITE_ONE, data_out=data, immediate_data=data, cmd_sn=cmd_sn)

        number = one.cmd_sn
        # The first wake-up is slow in any case: of the next, the fast path has to notice what waits.
        for start in (number, number + 4):
            late = [send(other, behind, start + 1), send(other, behind, start + 2)]
            eventually(lambda: len(rig.target.active_sessions()[0].session.early) == 2)
            early = send(one, first, start)
            assert one.finish(early).status == 0
            assert [other.finish(tag).status for tag in late] == [0, 0]
            assert one.finish(send(one, first, start + 3)).status == 0
        last = number + 7 if first == "write" else number + 6 if behind == "write" else 0
        assert one.finish(send(one, "read", number + 8)).data == bytes([last]) * 512


def test_a_logout_of_one_connection_is_none_of_the_session(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk(), param={"MaxConnections": "2"})

    def counted() -> tuple[int, int]:
        counters = rig.target.login_counters(tpg.target)
        return counters.normal_logouts, counters.abnormal_logouts

    with two_connections(rig, tpg) as (one, other):
        other.logout(reason=1)
        with pytest.raises(Closed):
            other.receive()
        one.close()
        eventually(lambda: rig.call(counted) == (0, 1))
    with two_connections(rig, tpg) as (one, other):
        other.logout(reason=1)
        one.cmd_sn = other.cmd_sn
        one.logout(reason=1)
        eventually(lambda: rig.call(counted) == (1, 1))
    with two_connections(rig, tpg) as (one, other):
        other.logout()
        eventually(lambda: rig.call(counted) == (2, 1))


@pytest.mark.parametrize("lost", [True, False])
def test_a_command_that_is_lost_with_its_connection(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    """Nothing brings it again: after a while the session ends, and is free to be recovered."""
    monkeypatch.setattr(limits, "TICK", 0.02)
    tpg = rig.serve(rig.ramdisk(), param={"MaxConnections": "2"}, generate_node_acls=0)
    acl = rig.acl(tpg, I1, dataout_timeout=3, dataout_timeout_retries=1, nopin_timeout=0)
    rig.map(acl, tpg.luns[0])
    with two_connections(rig, tpg, name=I1) as (one, other):
        number = one.cmd_sn
        waits = [other.send_command(READ_ONE, expected_in=512, cmd_sn=number + n) for n in (1, 2)]
        (active,) = rig.target.active_sessions()
        eventually(lambda: len(active.session.early) == 2)
        if lost:
            one.close()
            with pytest.raises(Closed):
                other.receive()
            eventually(lambda: not rig.call(lambda: rig.target.sessions(tpg)))
            assert active.timeouts == 1
        else:
            time.sleep(0.05)
            one.send_command(bytes(6), cmd_sn=number)
            assert [other.finish(tag).status for tag in waits] == [0, 0]
            time.sleep(0.3)
            other.cmd_sn = number + 3
            assert other.nop(b"x").data == b"x"


READ_ONE = bytes.fromhex("28000000000000000100")
WRITE_ONE = bytes.fromhex("2a000000000000000100")


@contextmanager
def two_connections(rig: Rig, tpg: model.Tpg, **options: str) -> Iterator[tuple[Initiator, Initiator]]:
    """Two connections of one session. Both count CmdSN for themselves."""
    keys = dict.fromkeys(SESSION_KEYS, "")
    with rig.login(tpg, keys={"MaxConnections": "2"}, **options) as one:
        one.ready()
        with rig.login(tpg, cid=1, cmd_sn=one.cmd_sn, tsih=one.tsih, keys=keys, **options) as other:
            yield one, other


SESSION_KEYS = [
    "InitialR2T",
    "ImmediateData",
    "MaxBurstLength",
    "FirstBurstLength",
    "DefaultTime2Wait",
    "DefaultTime2Retain",
    "MaxOutstandingR2T",
    "MaxConnections",
    "ErrorRecoveryLevel",
    "DataPDUInOrder",
    "DataSequenceInOrder",
]


def test_connection_reinstatement(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk())
    with rig.login(tpg) as first:
        keys = dict.fromkeys(SESSION_KEYS, "")
        with rig.login(tpg, tsih=first.tsih, cmd_sn=first.cmd_sn, keys=keys) as again:
            assert again.nop().opcode == 0x20
            with pytest.raises(Closed):
                first.nop()
            assert len(rig.call(lambda: rig.target.sessions(tpg))) == 1


def test_a_session_that_is_not_there(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk())
    refused(0x020A, lambda: rig.login(tpg, tsih=4711))


# Changes while running


def dropped(initiator: Initiator) -> bool:
    """Whether the session ends, and the initiator hears of it first: asynchronous event 3."""
    message = initiator.receive()
    assert (message.opcode, message.header[36]) == (0x32, 3)
    assert message.word(40) == 2 << 16, "Time2Wait and Time2Retain"
    with pytest.raises(Closed):
        initiator.nop()
    return True


def test_disabling_a_group_ends_its_sessions(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk())
    with rig.login(tpg) as initiator:
        tpg.enabled = False
        rig.call(lambda: rig.target.tpg_changed(tpg))
        assert dropped(initiator)
    assert not rig.call(lambda: rig.target.sessions(tpg))


def test_removing_an_acl_ends_its_sessions_only(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk(), generate_node_acls=0)
    acl, _ = rig.acl(tpg, I1), rig.acl(tpg, I2)
    with rig.login(tpg, name=I1) as gone, rig.login(tpg, name=I2) as stays:
        del tpg.acls[I1]
        rig.call(lambda: rig.target.acl_removed(acl))
        assert dropped(gone)
        assert stays.nop().opcode == 0x20
    refused(0x0202, lambda: rig.login(tpg, name=I1))


def test_another_queue_depth_ends_the_acls_sessions(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk(), generate_node_acls=0)
    acl = rig.acl(tpg, I1)
    with rig.login(tpg, name=I1) as initiator:
        rig.call(lambda: rig.target.acl_changed(acl))
        assert initiator.nop().opcode == 0x20
        acl.cmdsn_depth = 8
        rig.call(lambda: rig.target.acl_changed(acl))
        assert dropped(initiator)


def test_mapping_and_unmapping_while_logged_in(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk(), rig.ramdisk(), generate_node_acls=0)
    acl = rig.acl(tpg, I1)
    rig.map(acl, tpg.luns[0])
    with rig.login(tpg, name=I1) as initiator:
        initiator.ready()
        assert luns(initiator) == [0]
        second = rig.map(acl, tpg.luns[1], 7)
        assert initiator.cmd(bytes(6)).asc == LUNS_CHANGED
        assert luns(initiator) == [0, 7]
        initiator.ready(7)
        assert initiator.write(0, b"x" * 512, lun=7).status == 0
        rig.unmap(second)
        assert initiator.cmd(bytes(6)).asc == LUNS_CHANGED
        assert luns(initiator) == [0]
        assert initiator.read(0, 1, lun=7).asc == 0x2500, "LOGICAL UNIT NOT SUPPORTED"


def test_write_protection_while_logged_in(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk(), generate_node_acls=0)
    mapped = rig.map(rig.acl(tpg, I1), tpg.luns[0])
    with rig.login(tpg, name=I1) as initiator:
        initiator.ready()
        assert initiator.write(0, b"x" * 512).status == 0
        mapped.write_protect = True
        rig.call(lambda: rig.target.mapped_lun_changed(mapped))
        reply = initiator.write(0, b"y" * 512)
        assert (reply.status, reply.key, reply.asc) == (2, 7, 0x2700)
        assert initiator.read(0, 1).data == b"x" * 512


@pytest.mark.parametrize(
    ("attrib", "acl", "protected"),
    [
        ({"demo_mode_write_protect": 1}, False, True),
        ({"demo_mode_write_protect": 1}, True, False),
        ({"prod_mode_write_protect": 1}, True, True),
        ({"prod_mode_write_protect": 1}, False, False),
    ],
)
def test_write_protection_by_mode(rig: Rig, attrib: dict[str, int], acl: bool, protected: bool) -> None:
    tpg = rig.serve(rig.ramdisk(), **attrib)
    if acl:
        rig.map(rig.acl(tpg, I1), tpg.luns[0])
    with rig.login(tpg, name=I1) as initiator:
        initiator.ready()
        assert (initiator.write(0, b"x" * 512).status == 2) is protected


def test_a_lun_that_loses_its_device(rig: Rig) -> None:
    device = rig.ramdisk()
    tpg = rig.serve(device, rig.ramdisk())
    with rig.login(tpg) as initiator:
        initiator.ready()
        initiator.ready(1)
        lun = tpg.luns[0]
        lun.device = None
        device.exports.remove(lun)
        rig.call(lambda: rig.target.lun_changed(lun))
        assert initiator.read(0, 1).asc == 0x2500
        assert initiator.cmd(bytes(6), lun=1).asc == LUNS_CHANGED
        assert luns(initiator) == [1]


def test_a_device_that_is_closed_under_its_sessions(rig: Rig) -> None:
    device = rig.ramdisk()
    tpg = rig.serve(device)
    with rig.login(tpg) as initiator:
        initiator.ready()
        rig.call(lambda: rig.target.close_unit(device))
        device.unit = None
        assert initiator.read(0, 1).asc == 0x2500


def test_an_acl_for_a_dynamic_session_takes_it_over(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk())
    with rig.login(tpg, name=I1) as initiator:
        initiator.ready()
        rig.acl(tpg, I1)
        assert not rig.call(lambda: rig.target.sessions(tpg))[0].dynamic
        assert initiator.read(0, 1).asc == 0x2500, "the ACL maps nothing"


def test_closing_a_portal_refuses_new_connections_and_keeps_old_ones(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk())
    portal = rig.portal(tpg)
    address = (portal.address, portal.port)
    with Initiator(address, target=IQN) as through_it, rig.login(tpg, isid=b"\x80\0\0\0\0\7") as other:
        del tpg.portals[portal.dirname]
        rig.call(lambda: rig.target.close_portal(portal))
        assert through_it.nop().opcode == 0x20
        assert other.nop().opcode == 0x20
    with pytest.raises(ConnectionRefusedError):
        Initiator(address, target=IQN)


def test_counters(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk(), generate_node_acls=0)
    mapped = rig.map(rig.acl(tpg, I1), tpg.luns[0])
    with rig.login(tpg, name=I1) as initiator:
        initiator.ready()
        before = rig.call(lambda: rig.target.lun_counters(tpg.luns[0])).num_cmds
        for _ in range(3):
            initiator.write(0, b"x" * 4096)
        initiator.read(0, 16)
        for counters in (
            rig.call(lambda: rig.target.lun_counters(tpg.luns[0])),
            rig.call(lambda: rig.target.mapped_lun_counters(mapped)),
        ):
            assert counters.num_cmds == before + 4
            assert (counters.read_bytes, counters.write_bytes) == (8192, 3 * 4096)


# Discovery


def discover(rig: Rig, tpg: model.Tpg, what: str = "All", **options: object) -> dict[str, list[str]]:
    with rig.login(tpg, target="", **options) as initiator:
        return initiator.send_targets(what)


def test_send_targets(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk())
    host, port = rig.address(tpg)
    other = rig.tpg("iqn.2003-01.org.test:t2", 3)
    second = rig.portal(other, "127.0.0.2")
    ipv6 = rig.portal(other, "::1")
    disabled = rig.tpg("iqn.2003-01.org.test:off")
    rig.portal(disabled)
    disabled.enabled = False
    found = {
        IQN: [f"{host}:{port},1"],
        other.target.name: [f"127.0.0.2:{second.port},3", f"[::1]:{ipv6.port},3"],
    }
    assert discover(rig, tpg) == found
    assert discover(rig, tpg, other.target.name) == {other.target.name: found[other.target.name]}
    assert discover(rig, tpg, "iqn.2003-01.org.test:none") == {}


def test_a_discovery_session_is_not_pinged(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its initiator need not know what that is (section 4.3); the kernel finds out whether it is there."""
    monkeypatch.setattr(limits, "TICK", 0.005)
    tpg = rig.serve(rig.ramdisk())
    with rig.login(tpg, target="", timeout=0.5) as initiator:
        (connection,) = rig.target.server.connections
        assert connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        with pytest.raises(TimeoutError):
            initiator.receive()
        assert list(initiator.send_targets("All")) == [IQN]


def test_a_discovery_session_ends_as_a_whole(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk())
    with rig.login(tpg, target="") as initiator:
        assert initiator.logout().header[2] == 0
    with rig.login(tpg, target="") as initiator:
        initiator.send(struct.pack(">BBHI8xIHHII16x", 0x46, 0x81, 0, 0, 9, 0, 0, initiator.cmd_sn, 0))
        assert (reject := initiator.receive()).opcode == 0x3F
        assert reject.header[2] == 0x04, "protocol error"
        with pytest.raises(Closed):
            initiator.receive()


def test_send_targets_in_a_normal_session(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk())
    rig.portal(rig.tpg("iqn.2003-01.org.test:t2"))
    with rig.login(tpg) as initiator:
        assert list(initiator.send_targets("")) == [IQN]
        assert list(initiator.send_targets(IQN)) == [IQN]
        assert initiator.send_targets("All") == {}
        assert initiator.text(b"SendTargets=All\0").data == b"SendTargets=Reject\0"


@pytest.mark.parametrize(("address", "via"), [("0.0.0.0", "127.0.0.5"), ("::", "127.0.0.5"), ("::", "::1")])
def test_a_wildcard_portal_shows_the_address_it_was_found_at(rig: Rig, address: str, via: str) -> None:
    tpg = rig.tpg()
    portal = rig.portal(tpg, address)
    rig.listen()
    with Initiator((via, portal.port)) as initiator:
        shown = f"[{via}]" if ":" in via else via
        assert initiator.send_targets() == {IQN: [f"{shown}:{portal.port},1"]}


def test_a_long_answer_comes_in_parts(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk())
    for number in range(40):
        rig.portal(rig.tpg(f"iqn.2003-01.org.test:{'x' * 100}{number}"))
    with rig.login(tpg, target="", keys={"MaxRecvDataSegmentLength": "1024"}) as initiator:
        assert len(initiator.send_targets()) == 41


def test_targets_are_hidden_from_strangers_on_request(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk(), generate_node_acls=0, demo_mode_discovery=0)
    rig.acl(tpg, I1)
    assert list(discover(rig, tpg, name=I1)) == [IQN]
    assert discover(rig, tpg, name=I2) == {}


def test_discovery_authentication(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk())
    rig.fabric.discovery_auth = credentials("dave", "daves-secret")
    assert discover(rig, tpg), "it is not enforced yet"
    rig.fabric.enforce_discovery_auth = True
    refused(0x0201, lambda: rig.login(tpg, target=""))
    refused(0x0201, lambda: rig.login(tpg, target="", chap=("dave", "other-secret")))
    assert discover(rig, tpg, chap=("dave", "daves-secret"))


def test_chap_at_discovery_is_held_to_the_initiators_acl(rig: Rig) -> None:
    tpg = rig.serve(rig.ramdisk(), generate_node_acls=0)
    rig.acl(tpg, I1).auth = credentials(mutual=True)
    both = {"chap": ("alice", "alices-secret"), "mutual": ("target", "targets-secret")}
    assert discover(rig, tpg, name=I1, **both)
    refused(0x0201, lambda: rig.login(tpg, target="", name=I1, chap=("alice", "other-secret")))
    assert discover(rig, tpg, name=I1)


# The end


def test_stop_asks_initiators_to_log_out() -> None:
    rig = Rig()
    tpg = rig.serve(rig.ramdisk())
    with rig.login(tpg) as polite, rig.login(tpg, name=I2) as deaf:
        stopping = rig.loop.create_task  # the target stops on its own loop
        done = rig.call(lambda: stopping(rig.target.stop(1)))
        message = polite.receive()
        assert (message.opcode, message.header[36]) == (0x32, 1), "an asynchronous message: log out"
        assert polite.logout().header[2] == 0
        with pytest.raises(Closed):
            polite.receive()
        assert deaf.receive().opcode == 0x32
        with pytest.raises(Closed):
            deaf.receive()
        eventually(done.done)
    rig.close()


# Real initiators


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_libiscsi_and_qemu(rig: Rig, tmp_path: Path) -> None:
    size = 4 << 20
    tpg = rig.serve(
        rig.ramdisk(size), rig.file(tmp_path / "disk", size), generate_node_acls=0, authentication=1
    )
    acl = rig.acl(tpg, I1)
    acl.auth = credentials(mutual=True)
    for lun in tpg.luns.values():
        rig.map(acl, lun)
    host, port = rig.address(tpg)
    base = f"iscsi://alice%alices-secret@{host}:{port}"
    end = "?target_user=target&target_password=targets-secret"
    # With -s it would log in to each target without the mutual credentials.
    assert f"Target:{IQN} Portal:{host}:{port},1" in run("iscsi-ls", "-i", I1, f"{base}/{end}")
    assert "LIO-ORG" in run("iscsi-inq", "-i", I1, f"{base}/{IQN}/0{end}")
    assert str(size) in run("iscsi-readcapacity16", "-i", I1, f"{base}/{IQN}/1{end}")
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(bytes(range(256)) * (size // 256))
    tpg.attrib["authentication"] = 0
    tpg.attrib["generate_node_acls"] = 1
    for lun in (0, 1):
        url = f"iscsi://{host}:{port}/{IQN}/{lun}"
        assert run("iscsi-ls", "-s", f"iscsi://{host}:{port}/").count("DIRECT_ACCESS") == 2
        run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", str(source), url)
        run("qemu-img", "convert", "-f", "raw", "-O", "raw", url, str(copy))
        assert copy.read_bytes() == source.read_bytes()
