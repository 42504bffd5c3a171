"""Sessions out of what kernel 6.1 wrote."""

from __future__ import annotations

from isadmin.lio.sessions import Connection, parse_dynamic, parse_info

ACTIVE = """InitiatorName: iqn.2003-01.org.test:i1
InitiatorAlias: vm
LIO Session ID: 1   ISID: 0x00 02 3d 00 00 02  TSIH: 2  SessionType: Normal
Session State: TARG_SESS_STATE_LOGGED_IN
---------------------[iSCSI Session Values]-----------------------
  CmdSN/WR  :  CmdSN/WC  :  ExpCmdSN  :  MaxCmdSN  :     ITT    :     TTT
 0x00000020   0x00000020   0x00000064   0x00000083   0x00000064   0x0000005d
----------------------[iSCSI Connections]-------------------------
CID: 0  Connection State: TARG_CONN_STATE_LOGGED_IN
   Address 127.0.0.1 TCP  StatSN: 0x773f74c9
"""


def test_active_session() -> None:
    (session,) = parse_info(ACTIVE)
    assert session.initiator == "iqn.2003-01.org.test:i1"
    assert (session.alias, session.id, session.tsih) == ("vm", 1, 2)
    assert (session.isid, session.type, session.state) == ("0x00 02 3d 00 00 02", "Normal", "LOGGED_IN")
    assert session.connections == [Connection(0, "LOGGED_IN", "127.0.0.1", "TCP")]


def test_several_sessions_and_connections_of_one_initiator() -> None:
    second = ACTIVE.replace("Session ID: 1 ", "Session ID: 9 ")
    second += "CID: 1  Connection State: TARG_CONN_STATE_IN_LOGIN\n   Address [::1] TCP  StatSN: 0x1\n"
    first, last = parse_info(ACTIVE + second)
    assert (first.id, last.id) == (1, 9)
    assert [c.cid for c in last.connections] == [0, 1]
    assert last.connections[1] == Connection(1, "IN_LOGIN", "[::1]", "TCP")


def test_no_session() -> None:
    assert parse_info("No active iSCSI Session for Initiator Endpoint: iqn.2003-01.org.test:i1\n") == []
    assert parse_info("") == []


def test_cut_off_text_gives_what_is_there() -> None:
    for end in range(len(ACTIVE)):
        for session in parse_info(ACTIVE[:end]):
            assert "iqn.2003-01.org.test:i1".startswith(session.initiator)


def test_dynamic_sessions_are_separated_by_nul() -> None:
    assert parse_dynamic("iqn.a:b\n\0iqn.c:d\n\0") == ["iqn.a:b", "iqn.c:d"]
    assert parse_dynamic("") == []
