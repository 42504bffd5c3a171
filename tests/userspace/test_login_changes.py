"""Every value of configfs that decides about a login does so from the very next login on.

The table says of each value what logins come to before it is written and after, with initiators that logged
in before, so that whatever the target remembers of them is there. A file that is new in attrib/, auth/ or
param/ has to be put in the table, or among those that decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pytest

from isadmin.userspace.admission import Admission
from tests.initiator import Closed, Initiator, LoginFailed
from tests.userspace.rig import IQN, Rig
from tests.userspace.served import ALICE, MUTUAL, TPG, Served

I1 = "iqn.2003-01.org.test:i1"
I2 = "iqn.2003-01.org.test:i2"
ACL = f"{TPG}/acls/{I1}"
DISCOVERY = "iscsi/discovery_auth"

OK = "in"
REFUSED = 0x0201
"""Authentication failure."""
UNKNOWN = 0x0202
"""Authorization failure."""
NOT_FOUND = 0x0203
OFF = 0x0301
"""Service unavailable."""
NOT_MINE = "another target"
"""It does not prove itself, or not as the one it was."""
NOBODY_THERE = "nobody listens"

Outcome: TypeAlias = int | str | dict[str, Any]
"""A status; OK; or values that the login has led to, of all that it has led to."""


def outcome(served: Served, options: dict[str, Any]) -> Outcome:
    """What one login comes to: its status, or all that it has led to."""
    known = set(served.rig.target.server.connections)
    try:
        with Initiator(served.address, **{"name": I1, "target": IQN, **options}) as initiator:
            (new,) = served.rig.call(lambda: served.rig.target.server.connections - known)
            found: dict[str, Any] = {**initiator.results, "window": initiator.max_cmd_sn}
            if new.full is not None and initiator.target:
                found["max_xmit"], found["ticks"] = new.full.max_xmit, new.login_ticks
            else:
                found["targets"] = [*initiator.send_targets()]
            initiator.logout()
            return found
    except LoginFailed as failed:
        return failed.status
    except AssertionError:
        return NOT_MINE
    except ConnectionRefusedError:
        return NOBODY_THERE


Step: TypeAlias = tuple[str, ...]
"""write FILE VALUE; mkdir PATH; rmdir PATH."""


def demo(served: Served) -> None:
    """Whoever comes gets in."""
    served.write(f"{TPG}/attrib/authentication", "0")
    served.write(f"{TPG}/attrib/generate_node_acls", "1")


def demo_chap(served: Served) -> None:
    """Whoever knows the group's secrets gets in."""
    served.write(f"{TPG}/attrib/generate_node_acls", "1")
    served.credentials(f"{TPG}/auth")


def demo_mutual(served: Served) -> None:
    served.write(f"{TPG}/attrib/generate_node_acls", "1")
    served.credentials(f"{TPG}/auth", mutual=True)


def acl(served: Served) -> None:
    served.do("mkdir", ACL)
    served.write(f"{TPG}/attrib/authentication", "0")


def acl_chap(served: Served) -> None:
    served.do("mkdir", ACL)
    served.credentials(f"{ACL}/auth")


def acl_mutual(served: Served) -> None:
    served.do("mkdir", ACL)
    served.credentials(f"{ACL}/auth", mutual=True)


def discovery(served: Served) -> None:
    demo(served)


def discovery_chap(served: Served) -> None:
    demo(served)
    served.credentials(DISCOVERY)
    served.write(f"{DISCOVERY}/enforce_discovery_auth", "1")


def discovery_mutual(served: Served) -> None:
    demo(served)
    served.credentials(DISCOVERY, mutual=True)
    served.write(f"{DISCOVERY}/enforce_discovery_auth", "1")


Login: TypeAlias = tuple[dict[str, Any], Outcome, Outcome]


@dataclass
class Row:
    """A change, and what it makes of logins: each with its options, what it comes to before, and after."""

    setup: Callable[[Served], None]
    change: Step
    logins: list[Login]
    remembered: bool = field(default=True)
    """Undetected when the target does not forget what it has worked out."""

    def __str__(self) -> str:
        return f"{self.setup.__name__}-{' '.join(self.change).replace(IQN, 'T')}"


def write(path: str, value: str) -> Step:
    return "write", path, value


NOBODY: dict[str, Any] = {}
SOMEONE_ELSE = {"name": I2}
KNOWN = {"chap": ALICE}
BOTH = {"chap": ALICE, "mutual": MUTUAL}
FIND: dict[str, Any] = {"target": ""}


def credential_rows(
    setup: Callable[[Served], None], mutual: Callable[[Served], None], path: str, base: dict[str, Any]
) -> Iterator[Row]:
    """The four of an auth/, changed and taken away."""
    kept = path != DISCOVERY
    known, both = {**base, **KNOWN}, {**base, **BOTH}
    bob, new = {**base, "chap": ("bob", ALICE[1])}, {**base, "chap": (ALICE[0], "another-secret")}
    changed: list[Login] = [(known, OK, REFUSED)]
    yield Row(setup, write(f"{path}/userid", "bob"), [*changed, (bob, REFUSED, OK)], kept)
    yield Row(setup, write(f"{path}/password", "another-secret"), [*changed, (new, REFUSED, OK)], kept)
    yield Row(setup, write(f"{path}/userid", "NULL"), changed, kept)
    yield Row(setup, write(f"{path}/password", "NULL"), changed, kept)
    other_name = {**base, **KNOWN, "mutual": ("other", MUTUAL[1])}
    other_secret = {**base, **KNOWN, "mutual": (MUTUAL[0], "quite-another")}
    for name, value, now in (("userid", "other", other_name), ("password", "quite-another", other_secret)):
        logins: list[Login] = [(both, OK, NOT_MINE), (now, NOT_MINE, OK)]
        yield Row(mutual, write(f"{path}/{name}_mutual", value), logins, kept)
        logins = [(both, OK, REFUSED), (known, REFUSED, OK)]
        yield Row(mutual, write(f"{path}/{name}_mutual", "NULL"), logins, kept)


def offering(**keys: str) -> dict[str, Any]:
    return {"keys": keys}


PARAMETERS: dict[str, tuple[str, dict[str, str], Outcome, Outcome]] = {
    "HeaderDigest": (
        "None", {"HeaderDigest": "CRC32C,None"}, {"HeaderDigest": "CRC32C"}, {"HeaderDigest": "None"},
    ),
    "DataDigest": ("None", {"DataDigest": "CRC32C,None"}, {"DataDigest": "CRC32C"}, {"DataDigest": "None"}),
    "MaxConnections": ("4", {"MaxConnections": "8"}, {"MaxConnections": "1"}, {"MaxConnections": "4"}),
    "TargetAlias": ("Disks", {}, {"TargetAlias": "LIO Target"}, {"TargetAlias": "Disks"}),
    "InitialR2T": ("No", {"InitialR2T": "No"}, {"InitialR2T": "Yes"}, {"InitialR2T": "No"}),
    "ImmediateData": ("No", {"ImmediateData": "Yes"}, {"ImmediateData": "Yes"}, {"ImmediateData": "No"}),
    "MaxRecvDataSegmentLength": (
        "65536", {}, {"MaxRecvDataSegmentLength": "8192"}, {"MaxRecvDataSegmentLength": "65536"},
    ),
    "MaxXmitDataSegmentLength": (
        "4096", {"MaxRecvDataSegmentLength": "32768"}, {"max_xmit": 32768}, {"max_xmit": 4096},
    ),
    "MaxBurstLength": (
        "8192", {"MaxBurstLength": "262144"}, {"MaxBurstLength": "262144"}, {"MaxBurstLength": "8192"},
    ),
    "FirstBurstLength": (
        "4096", {"FirstBurstLength": "65536"}, {"FirstBurstLength": "65536"}, {"FirstBurstLength": "4096"},
    ),
    "DefaultTime2Wait": (
        "9", {"DefaultTime2Wait": "2"}, {"DefaultTime2Wait": "2"}, {"DefaultTime2Wait": "9"},
    ),
    "DefaultTime2Retain": (
        "3", {"DefaultTime2Retain": "20"}, {"DefaultTime2Retain": "20"}, {"DefaultTime2Retain": "3"},
    ),
    "MaxOutstandingR2T": (
        "4", {"MaxOutstandingR2T": "8"}, {"MaxOutstandingR2T": "1"}, {"MaxOutstandingR2T": "4"},
    ),
}  # fmt: skip

ROWS = [
    *credential_rows(acl_chap, acl_mutual, f"{ACL}/auth", {}),
    *credential_rows(demo_chap, demo_mutual, f"{TPG}/auth", {}),
    *credential_rows(discovery_chap, discovery_mutual, DISCOVERY, FIND),
    Row(acl_chap, write(f"{ACL}/attrib/authentication", "0"), [(NOBODY, REFUSED, OK), (KNOWN, OK, OK)]),
    Row(acl, write(f"{ACL}/attrib/authentication", "1"), [(NOBODY, OK, REFUSED)]),
    Row(acl_chap, write(f"{TPG}/attrib/authentication", "0"), [(NOBODY, REFUSED, OK)]),
    Row(acl, write(f"{TPG}/attrib/authentication", "1"), [(NOBODY, OK, REFUSED)]),
    Row(demo, write(f"{TPG}/attrib/authentication", "1"), [(NOBODY, OK, REFUSED)]),
    Row(
        demo,
        write(f"{TPG}/attrib/generate_node_acls", "0"),
        [(SOMEONE_ELSE, OK, UNKNOWN), (NOBODY, OK, UNKNOWN)],
        remembered=False,
    ),
    Row(
        acl,
        write(f"{TPG}/attrib/generate_node_acls", "1"),
        [(SOMEONE_ELSE, UNKNOWN, OK), (NOBODY, OK, OK)],
        remembered=False,
    ),
    Row(acl, ("rmdir", ACL), [(NOBODY, OK, UNKNOWN)], remembered=False),
    Row(acl, ("mkdir", f"{TPG}/acls/{I2}"), [(SOMEONE_ELSE, UNKNOWN, OK)], remembered=False),
    Row(demo_chap, ("mkdir", ACL), [(KNOWN, OK, REFUSED)], remembered=False),
    Row(acl, write(f"{ACL}/cmdsn_depth", "7"), [(NOBODY, {"window": 64}, {"window": 7})], remembered=False),
    Row(
        demo,
        write(f"{TPG}/attrib/default_cmdsn_depth", "7"),
        [(NOBODY, {"window": 64}, {"window": 7})],
        remembered=False,
    ),
    Row(
        demo,
        write(f"{TPG}/attrib/login_timeout", "30"),
        [(NOBODY, {"ticks": 15}, {"ticks": 30})],
        remembered=False,
    ),
    Row(demo, write(f"{TPG}/enable", "0"), [(NOBODY, OK, OFF)], remembered=False),
    Row(demo, ("rmdir", f"{TPG}/np/127.0.0.1:0"), [(NOBODY, OK, NOBODY_THERE)], remembered=False),
    Row(demo_chap, write(f"{TPG}/param/AuthMethod", "None"), [(KNOWN, OK, REFUSED)]),
    Row(acl_chap, write(f"{TPG}/param/AuthMethod", "None"), [(KNOWN, OK, REFUSED)]),
    Row(
        discovery,
        write(f"{DISCOVERY}/enforce_discovery_auth", "1"),
        [(FIND, {"targets": [IQN]}, REFUSED)],
        remembered=False,
    ),
    Row(
        discovery_chap,
        write(f"{DISCOVERY}/enforce_discovery_auth", "0"),
        [(FIND, REFUSED, OK), ({**FIND, **KNOWN}, OK, OK)],
        remembered=False,
    ),
    Row(
        acl,
        write(f"{TPG}/attrib/demo_mode_discovery", "0"),
        [({**FIND, **SOMEONE_ELSE}, {"targets": [IQN]}, {"targets": []}), (FIND, OK, {"targets": [IQN]})],
        remembered=False,
    ),
    *(
        Row(demo, write(f"{TPG}/param/{name}", value), [(offering(**offered), before, after)])
        for name, (value, offered, before, after) in PARAMETERS.items()
    ),
    *(
        Row(acl, write(f"{TPG}/param/{name}", value), [(offering(**offered), before, after)])
        for name, (value, offered, before, after) in PARAMETERS.items()
    ),
]

DECIDE_NOTHING = {
    f"{TPG}/attrib": {
        "cache_dynamic_acls",
        "default_erl",
        "demo_mode_write_protect",
        "fabric_prot_type",
        "login_keys_workaround",
        "netif_timeout",
        "prod_mode_write_protect",
        "t10_pi",
        # Whether a disabled group is told of: see test_target.py.
        "tpg_enabled_sendtargets",
    },
    # Level 0 is all there is; markers are no more (RFC 7143 section 13.25); Yes wins over anything else.
    f"{TPG}/param": {
        "DataPDUInOrder",
        "DataSequenceInOrder",
        "ErrorRecoveryLevel",
        "IFMarkInt",
        "IFMarker",
        "OFMarkInt",
        "OFMarker",
    },
    f"{TPG}/auth": {"authenticate_target"},
    f"{ACL}/auth": {"authenticate_target"},
    DISCOVERY: {"authenticate_target"},
    f"{ACL}/attrib": {
        "dataout_timeout",
        "dataout_timeout_retries",
        "default_erl",
        "nopin_response_timeout",
        "nopin_timeout",
        "random_datain_pdu_offsets",
        "random_datain_seq_offsets",
        "random_r2t_offsets",
    },
}


def fits(found: Outcome, wanted: Outcome) -> bool:
    if wanted == OK:
        return isinstance(found, dict)
    if isinstance(wanted, dict):
        return isinstance(found, dict) and {name: found.get(name) for name in wanted} == wanted
    return found == wanted


def surprises(served: Served, row: Row) -> list[str]:
    """Logins that do not come to what the row says."""
    row.setup(served)
    found = []
    for _ in range(2):
        for options, before, _ in row.logins:
            came = outcome(served, options)
            if not fits(came, before):
                found.append(f"before: {options}: {came}, not {before}")
    operation, path, *rest = row.change
    served.do(operation, path, *(each.encode() for each in rest))
    for options, _, after in row.logins:
        came = outcome(served, options)
        if not fits(came, after):
            found.append(f"after: {options}: {came}, not {after}")
    return found


@pytest.fixture
def served(rig: Rig) -> Served:
    return Served(rig)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_next_login_goes_by_it(served: Served, row: Row) -> None:
    assert surprises(served, row) == []


@pytest.mark.parametrize("row", [row for row in ROWS if row.remembered], ids=str)
def test_it_would_be_noticed_if_the_target_forgot_nothing(
    served: Served, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    row.setup(served)
    monkeypatch.setattr(Admission, "forget", lambda self, tpg: None)
    monkeypatch.setattr(Admission, "forget_acl", lambda self, acl: None)
    found = surprises(served, Row(lambda served: None, row.change, row.logins))
    assert found
    assert all(each.startswith("after") for each in found)


@pytest.mark.parametrize("directory", DECIDE_NOTHING)
def test_no_file_is_left_out(served: Served, directory: str) -> None:
    acl(served)
    written = {row.change[1] for row in ROWS if row.change[0] == "write"}
    decisive = {name for name in served.do("listdir", directory) if f"{directory}/{name}" in written}
    assert decisive | DECIDE_NOTHING[directory] == set(served.do("listdir", directory))
    assert not decisive & DECIDE_NOTHING[directory]


def test_a_portal_that_comes_and_goes(served: Served) -> None:
    demo(served)
    other = "iqn.2003-01.org.test:other"
    port = served.address[1]
    assert isinstance(outcome(served, {}), dict)
    for _ in range(2):
        assert outcome(served, {"target": other}) == NOT_FOUND
        for path in (f"iscsi/{other}", f"iscsi/{other}/tpgt_1"):
            served.do("mkdir", path)
        served.write(f"iscsi/{other}/tpgt_1/enable", "1")
        served.write(f"iscsi/{other}/tpgt_1/attrib/generate_node_acls", "1")
        served.write(f"iscsi/{other}/tpgt_1/attrib/authentication", "0")
        assert outcome(served, {"target": other}) == NOT_FOUND, "it has no portal"
        served.do("mkdir", f"iscsi/{other}/tpgt_1/np/127.0.0.2:{port}")
        assert outcome(served, {"target": other}) == NOT_FOUND, "it is at another portal"
        with Initiator(("127.0.0.2", port), name=I1, target=other):
            pass
        served.do("rmdir", f"iscsi/{other}/tpgt_1/np/127.0.0.2:{port}")
        with pytest.raises((Closed, OSError)):
            Initiator(("127.0.0.2", port), name=I1, target=other)
        served.do("rmdir", f"iscsi/{other}/tpgt_1")
        served.do("rmdir", f"iscsi/{other}")
    assert isinstance(outcome(served, {}), dict)


def test_a_change_in_mid_login(served: Served) -> None:
    """The ACL goes, or the group is disabled, between the requests of one login."""
    acl(served)
    for change, undo, status in (
        (lambda: served.write(f"{TPG}/enable", "0"), lambda: served.write(f"{TPG}/enable", "1"), OFF),
        (lambda: served.do("rmdir", ACL), lambda: served.do("mkdir", ACL), UNKNOWN),
    ):
        assert isinstance(outcome(served, {}), dict)
        with Initiator(served.address, name=I1, target=IQN, login=False) as initiator:
            names = f"InitiatorName={I1}\0TargetName={IQN}\0AuthMethod=None\0".encode()
            initiator.login_request(0, 1, names)
            change()
            with pytest.raises(LoginFailed) as caught:
                initiator.login_request(1, 3, b"")
            assert caught.value.status == status
        undo()
