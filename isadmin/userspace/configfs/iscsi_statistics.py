"""fabric_statistics/ of iSCSI targets and sessions: the iSCSI MIB's tables (RFC 4544), and session info."""

from __future__ import annotations

from collections.abc import Callable

from isadmin.userspace.configfs.context import Context
from isadmin.userspace.configfs.schema import File, group
from isadmin.userspace.configfs.statistics import hundredths, table
from isadmin.userspace.engine import LoginCounters, SessionFacts
from isadmin.userspace.model import NodeAcl, Target

VENDOR = "Datera, Inc. iSCSI-Target"
VERSION = "v4.1.0"
NO_SESSION = "No Active iSCSI Session\n"


def _constant(value: object) -> Callable[[Context, object], object]:
    return lambda context, item: value


def _of_target(show: Callable[[Context, Target], object]) -> Callable[[Context, object], object]:
    def column(context: Context, item: object) -> object:
        assert isinstance(item, Target)
        return show(context, item)

    return column


def _count(
    show: Callable[[LoginCounters], object],
) -> Callable[[Context, object], object]:
    return _of_target(lambda context, target: show(context.engine.login_counters(target)))


def _sessions(context: Context, target: Target) -> int:
    return sum(len(context.engine.sessions(tpg)) for tpg in target.every_tpg())


def _login_fails(c: LoginCounters) -> int:
    return c.authenticate_fails + c.authorize_fails + c.negotiate_fails + c.other_fails


_INSTANCE = _of_target(lambda context, target: target.index)

TARGET = group(
    "fabric_statistics",
    groups=[
        table(
            "iscsi_instance",
            {
                "inst": _INSTANCE,
                "min_ver": _constant(0),
                "max_ver": _constant(0),
                "portals": _of_target(
                    lambda context, target: sum(len(tpg.portals) for tpg in target.every_tpg())
                ),
                "nodes": _constant(1),
                "sessions": _of_target(_sessions),
                "fail_sess": _count(lambda c: c.digest_errors + c.cxn_errors + c.format_errors),
                "fail_type": _count(lambda c: int(c.last_session_fail_type)),
                "fail_rem_name": _count(lambda c: f"{c.last_session_fail_name or 'None'}\n"),
                "disc_time": _constant(0),
                "description": _constant("Storage Engine Target\n"),
                "vendor": _constant(f"{VENDOR}\n"),
                "version": _constant(f"{VERSION}\n"),
            },
        ),
        table(
            "iscsi_sess_err",
            {
                "inst": _INSTANCE,
                "digest_errors": _count(lambda c: c.digest_errors),
                "cxn_errors": _count(lambda c: c.cxn_errors),
                "format_errors": _count(lambda c: c.format_errors),
            },
        ),
        table(
            "iscsi_tgt_attr",
            {
                "inst": _INSTANCE,
                "indx": _constant(1),
                "login_fails": _count(_login_fails),
                "last_fail_time": _count(lambda c: hundredths(c.last_fail_time)),
                "last_fail_type": _count(lambda c: c.last_fail_type),
                "fail_intr_name": _count(lambda c: f"{c.fail_initiator or 'None'}\n"),
                "fail_intr_addr_type": _count(lambda c: f"{c.fail_address_type or 'ipv4'}\n"),
                "fail_intr_addr": _count(lambda c: f"{c.fail_address or '(einval)'}\n"),
            },
        ),
        table(
            "iscsi_login_stats",
            {
                "inst": _INSTANCE,
                "indx": _constant(1),
                "accepts": _count(lambda c: c.accepts),
                "other_fails": _count(lambda c: c.other_fails),
                "redirects": _count(lambda c: c.redirects),
                "authorize_fails": _count(lambda c: c.authorize_fails),
                "authenticate_fails": _count(lambda c: c.authenticate_fails),
                "negotiate_fails": _count(lambda c: c.negotiate_fails),
            },
        ),
        table(
            "iscsi_logout_stats",
            {
                "inst": _INSTANCE,
                "indx": _constant(1),
                "normal_logouts": _count(lambda c: c.normal_logouts),
                "abnormal_logouts": _count(lambda c: c.abnormal_logouts),
            },
        ),
    ],
)


# A node ACL's session


def _of_session(show: Callable[[SessionFacts], object]) -> Callable[[Context, object], object]:
    """Nothing to read without a session."""

    def column(context: Context, item: object) -> object:
        assert isinstance(item, NodeAcl)
        session = context.engine.session(item)
        return "" if session is None else show(session)

    return column


def _acl_instance(context: Context, item: object) -> object:
    assert isinstance(item, NodeAcl)
    return item.tpg.target.index


ACL = group(
    "fabric_statistics",
    groups=[
        table(
            "iscsi_sess_stats",
            {
                "inst": _acl_instance,
                "node": _of_session(lambda s: 1),
                "indx": _of_session(lambda s: s.index),
                "cmd_pdus": _of_session(lambda s: s.cmd_pdus),
                "rsp_pdus": _of_session(lambda s: s.rsp_pdus),
                "txdata_octs": _of_session(lambda s: s.tx_data_octets),
                "rxdata_octs": _of_session(lambda s: s.rx_data_octets),
                "conn_digest_errors": _of_session(lambda s: s.digest_errors),
                "conn_timeout_errors": _of_session(lambda s: s.timeout_errors),
            },
        )
    ],
)

SESSION_PARAMETERS = (
    "MaxConnections",
    "InitialR2T",
    "ImmediateData",
    "MaxBurstLength",
    "FirstBurstLength",
    "DefaultTime2Wait",
    "DefaultTime2Retain",
    "MaxOutstandingR2T",
    "DataPDUInOrder",
    "DataSequenceInOrder",
    "ErrorRecoveryLevel",
)


def _parameter(name: str) -> File:
    def show(context: Context, acl: NodeAcl) -> str:
        session = context.engine.session(acl)
        if session is None:
            return NO_SESSION
        value = session.parameters.get(name, "0")
        return f"{ {'Yes': '1', 'No': '0'}.get(value, value) }\n"

    return File(name, show)


ACL_PARAM_FILES = [_parameter(name) for name in SESSION_PARAMETERS]


def show_info(context: Context, acl: NodeAcl) -> str:
    s = context.engine.session(acl)
    if s is None:
        return f"No active iSCSI Session for Initiator Endpoint: {acl.initiator}\n"
    lines = [
        f"InitiatorName: {s.initiator}",
        f"InitiatorAlias: {s.alias}",
        f"LIO Session ID: {s.sid}   ISID: 0x{s.isid.hex(' ')}  TSIH: {s.tsih}  SessionType: Normal",
        f"Session State: {s.state}",
        "---------------------[iSCSI Session Values]-----------------------",
        "  CmdSN/WR  :  CmdSN/WC  :  ExpCmdSN  :  MaxCmdSN  :     ITT    :     TTT",
        f" 0x{s.cmd_window:08x}   0x{s.cmd_window_configured:08x}   0x{s.exp_cmd_sn:08x}"
        f"   0x{s.max_cmd_sn:08x}   0x{s.itt:08x}   0x{s.ttt:08x}",
        "----------------------[iSCSI Connections]-------------------------",
    ]
    for c in s.connections:
        lines.append(f"CID: {c.cid}  Connection State: {c.state}")
        lines.append(f"   Address {c.address} TCP  StatSN: 0x{c.stat_sn:08x}")
    return "\n".join(lines) + "\n"
