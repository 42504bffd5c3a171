"""One spelling of WWNs: as LIO's tools spell them, or as the running target does. Pure.

Names are equal whatever the case of their letters (RFC 7143 section 4.2.7.2: iSCSI names are compared after
stringprep, which folds it; NAA, EUI and GIDs are hexadecimal numbers), and rtslib makes no other than lower
case ones. What somebody made by hand keeps its spelling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from isadmin.config.model import Flat, Key, NodeAcl, Target

_NUMBERS = ("naa.", "eui.", "ib.")


def normalized(wwn: str) -> str:
    """The spelling that rtslib gives a WWN; a name of no such type is as it is."""
    text = wwn.strip().lower()
    if text.startswith("iqn."):
        return text
    if text.startswith(_NUMBERS):
        return text.replace("-", "").replace(":", "")
    return wwn


def respelled(wanted: Flat, now: Flat) -> Flat:
    """A configuration with its WWNs as `now` spells them, the others normalized."""
    targets = {_folded(key): key for key in now if key[0] == "target"}
    acls = {_folded(key): key for key in now if key[0] == "node_acl"}
    # Of two spellings that are both there, each is its own.
    targets |= {key: key for key in now if key[0] == "target"}
    acls |= {key: key for key in now if key[0] == "node_acl"}
    result: Flat = {}
    for key, value in wanted.items():
        if len(key) > 2 and key[0] not in ("storage_object", "port_group"):
            key = _spelled(key, 2, _found(targets, ("target", *key[1:3])), wanted)
            if key[0] in ("node_acl", "mapped_lun"):
                key = _spelled(key, 4, _found(acls, ("node_acl", *key[1:5])), wanted)
            if isinstance(value, Target):
                value = replace(value, wwn=str(key[2]))
            elif isinstance(value, NodeAcl):
                value = replace(value, node_wwn=str(key[4]))
        result[key] = value
    return result


def _folded(key: Key) -> Key:
    """A target's or ACL's key, the same for all spellings."""
    return tuple(normalized(one) if isinstance(one, str) else one for one in key)


def _found(there: Mapping[Key, Key], key: Key) -> Key | None:
    return there.get(key) or there.get(_folded(key))


def _spelled(key: Key, at: int, there: Key | None, wanted: Flat) -> Key:
    """The key with the WWN at a place as it is to be; two that are both wanted stay two."""
    wwn = str(key[at])
    other = normalized(wwn) if there is None else str(there[at])
    if other == wwn or (*key[:at], other, *key[at + 1 :]) in wanted:
        return key
    return (*key[:at], other, *key[at + 1 :])
