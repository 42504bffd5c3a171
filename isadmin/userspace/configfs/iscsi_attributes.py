"""The iSCSI fabric's settings: attrib/, param/ and auth/ of portal groups and node ACLs, discovery_auth."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from isadmin.userspace.configfs.context import Context
from isadmin.userspace.configfs.schema import File, Show, Store
from isadmin.userspace.configfs.values import TEXT, U32, fail, one_of, signed
from isadmin.userspace.model import Credentials, Fabric, NodeAcl, Tpg

NAME_MAX = 255
VALUE_MAX = 255
BOOLEAN = frozenset({0, 1})

# attrib/ of portal groups: name -> (default, allowed)

TPG_ATTRIBUTES: dict[str, tuple[int, frozenset[int] | range]] = {
    "authentication": (1, BOOLEAN),
    "login_timeout": (15, range(5, 31)),
    "netif_timeout": (2, range(2, 16)),
    "generate_node_acls": (0, BOOLEAN),
    "default_cmdsn_depth": (64, range(1, 513)),
    "cache_dynamic_acls": (0, BOOLEAN),
    "demo_mode_write_protect": (1, BOOLEAN),
    "prod_mode_write_protect": (0, BOOLEAN),
    "demo_mode_discovery": (1, BOOLEAN),
    "default_erl": (0, range(3)),
    "t10_pi": (0, BOOLEAN),
    "fabric_prot_type": (0, frozenset({0, 1, 3})),
    "tpg_enabled_sendtargets": (1, BOOLEAN),
    "login_keys_workaround": (1, BOOLEAN),
}


def tpg_changed(context: Context, tpg: Tpg, values: dict[str, Any], name: str, value: Any) -> None:
    """Set, and tell the engine, which may refuse."""
    old = values[name]
    values[name] = value
    try:
        context.engine.tpg_changed(tpg)
    except OSError:
        values[name] = old
        raise


def _move_auth_method(tpg: Tpg, authentication: int) -> None:
    """authentication=1 takes None out of AuthMethod, unless it stands alone; 0 puts it in."""
    methods = tpg.param["AuthMethod"].split(",")
    if not authentication and "None" not in methods:
        tpg.param["AuthMethod"] = ",".join([*methods, "None"])
    elif authentication and "None" in methods and methods != ["None"]:
        methods.remove("None")
        tpg.param["AuthMethod"] = ",".join(methods)


def _tpg_attribute(name: str) -> File:
    allowed = TPG_ATTRIBUTES[name][1]

    def store(context: Context, tpg: Tpg, text: str) -> None:
        value = one_of(text, allowed, U32)
        if name == "cache_dynamic_acls" and tpg.attrib["generate_node_acls"]:
            # The kernel takes a 0 and forgets it: it keeps every ACL that it makes itself.
            value = 1
        if name == "authentication":
            _move_auth_method(tpg, value)
        tpg_changed(context, tpg, tpg.attrib, name, value)
        if name == "generate_node_acls" and value:
            # Initiators without an ACL keep theirs between sessions, as the kernel has it.
            tpg.attrib["cache_dynamic_acls"] = 1

    return File(name, lambda context, tpg: f"{tpg.attrib[name]}\n", store)


TPG_ATTRIB_FILES = [_tpg_attribute(name) for name in TPG_ATTRIBUTES]


# attrib/ of node ACLs


def _acl_authentication(text: str) -> int:
    value = signed(text)
    if value not in (-1, 0, 1):
        fail(errno.EINVAL)
    return value


def _within(allowed: frozenset[int] | range) -> Callable[[str], int]:
    return lambda text: one_of(text, allowed, U32)


ACL_ATTRIBUTES: dict[str, tuple[int, Callable[[str], int]]] = {
    "authentication": (-1, _acl_authentication),
    "dataout_timeout": (3, _within(range(2, 61))),
    "dataout_timeout_retries": (5, _within(range(1, 16))),
    "default_erl": (0, _within(range(3))),
    "nopin_timeout": (15, _within(frozenset({0, *range(3, 61)}))),
    "nopin_response_timeout": (30, _within(range(3, 61))),
    "random_datain_pdu_offsets": (0, _within(BOOLEAN)),
    "random_datain_seq_offsets": (0, _within(BOOLEAN)),
    "random_r2t_offsets": (0, _within(BOOLEAN)),
}


def _acl_attribute(name: str) -> File:
    parse = ACL_ATTRIBUTES[name][1]

    def store(context: Context, acl: NodeAcl, text: str) -> None:
        acl.attrib[name] = parse(text)
        context.engine.acl_changed(acl)

    return File(name, lambda context, acl: f"{acl.attrib[name]}\n", store)


ACL_ATTRIB_FILES = [_acl_attribute(name) for name in ACL_ATTRIBUTES]


# param/ of portal groups: RFC 7143's keys


@dataclass(frozen=True, slots=True)
class Key:
    """An operational key: its default, and the values it takes."""

    default: str
    numbers: range | None = None
    words: frozenset[str] = frozenset()
    """Empty: any text."""
    is_list: bool = False


YES_NO = frozenset({"Yes", "No"})
DIGESTS = frozenset({"CRC32C", "None"})
METHODS = frozenset({"KRB5", "SPKM1", "SPKM2", "SRP", "CHAP", "None"})
LENGTHS = range(512, 16777216)
SECONDS = range(3601)
COUNTS = range(1, 65536)

KEYS: dict[str, Key] = {
    "AuthMethod": Key("CHAP", words=METHODS, is_list=True),
    "HeaderDigest": Key("CRC32C,None", words=DIGESTS, is_list=True),
    "DataDigest": Key("CRC32C,None", words=DIGESTS, is_list=True),
    "MaxConnections": Key("1", numbers=COUNTS),
    "TargetAlias": Key("LIO Target"),
    "InitialR2T": Key("Yes", words=YES_NO),
    "ImmediateData": Key("Yes", words=YES_NO),
    "MaxRecvDataSegmentLength": Key("8192", numbers=LENGTHS),
    "MaxXmitDataSegmentLength": Key("262144", numbers=LENGTHS),
    "MaxBurstLength": Key("262144", numbers=LENGTHS),
    "FirstBurstLength": Key("65536", numbers=LENGTHS),
    "DefaultTime2Wait": Key("2", numbers=SECONDS),
    "DefaultTime2Retain": Key("20", numbers=SECONDS),
    "MaxOutstandingR2T": Key("1", numbers=COUNTS),
    "DataPDUInOrder": Key("Yes", words=YES_NO),
    "DataSequenceInOrder": Key("Yes", words=YES_NO),
    "ErrorRecoveryLevel": Key("0", numbers=range(3)),
    "IFMarker": Key("No", words=YES_NO),
    "OFMarker": Key("No", words=YES_NO),
    "IFMarkInt": Key("Reject"),
    "OFMarkInt": Key("Reject"),
}


def _check_key(key: Key, value: str) -> None:
    values = value.split(",")
    if len(values) > 1 and not key.is_list:
        fail(errno.EINVAL)
    for each in values:
        if len(each.encode(*TEXT)) > VALUE_MAX:
            fail(errno.EINVAL)
        if key.words and each not in key.words:
            fail(errno.EINVAL)
        # The kernel takes the digits in front of anything and keeps the text; here the text must be a number.
        if key.numbers is not None:
            one_of(each, key.numbers)


def _store_param(name: str) -> Store:
    key = KEYS[name]

    def store(context: Context, tpg: Tpg, text: str) -> None:
        value = text[:-1] if text[-1:].isspace() else text
        if key.default != "Reject" and value in ("Reject", "NotUnderstood"):
            fail(errno.EINVAL)
        try:
            _check_key(key, value)
        except OSError:
            fail(errno.EINVAL)
        tpg_changed(context, tpg, tpg.param, name, value)

    return store


def _show_param(name: str) -> Show:
    return lambda context, tpg: f"{tpg.param[name]}\n"


PARAM_FILES = [File(name, _show_param(name), _store_param(name)) for name in KEYS]


# auth/ and discovery_auth/

SecretsOf = Callable[[Any], Credentials]


def _credential(name: str, of: SecretsOf, changed: Callable[[Context, Any], None], cut: bool) -> File:
    """Kept exactly as written, a trailing newline included. What begins with NULL unsets. Too long a text is
    refused, or in a portal group's auth/ cut off."""

    def store(context: Context, item: Any, text: str) -> None:
        data = text.encode(*TEXT)
        if len(data) > NAME_MAX:
            if not cut:
                fail(errno.EINVAL)
            text = data[:NAME_MAX].decode(*TEXT)
        credentials = of(item)
        setattr(credentials, name, text)
        setattr(credentials, f"{name}_set", not text.startswith("NULL"))
        changed(context, item)

    return File(name, lambda context, item: f"{getattr(of(item), name)}\n", store)


def auth_files(of: SecretsOf, changed: Callable[[Context, Any], None], *, cut: bool = False) -> list[File]:
    names = ("userid", "password", "userid_mutual", "password_mutual")
    return [
        *(_credential(name, of, changed, cut) for name in names),
        File("authenticate_target", lambda context, item: f"{int(of(item).mutual)}\n"),
    ]


def _tpg_auth(tpg: Tpg) -> Credentials:
    return tpg.auth


def _acl_auth(acl: NodeAcl) -> Credentials:
    return acl.auth


def _discovery_auth(fabric: Fabric) -> Credentials:
    return fabric.discovery_auth


def _store_enforce(context: Context, fabric: Fabric, text: str) -> None:
    fabric.enforce_discovery_auth = bool(one_of(text, BOOLEAN, U32))


TPG_AUTH_FILES = auth_files(_tpg_auth, lambda context, tpg: context.engine.tpg_changed(tpg), cut=True)
ACL_AUTH_FILES = auth_files(_acl_auth, lambda context, acl: context.engine.acl_changed(acl))
DISCOVERY_AUTH_FILES = [
    *auth_files(_discovery_auth, lambda context, fabric: None),
    File(
        "enforce_discovery_auth",
        lambda context, fabric: f"{int(fabric.enforce_discovery_auth)}\n",
        _store_enforce,
    ),
]
