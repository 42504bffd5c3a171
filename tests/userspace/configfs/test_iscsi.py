from __future__ import annotations

import errno

import pytest

from isadmin.userspace.configfs.portals import parse_portal
from isadmin.userspace.model import Tpg
from tests.userspace.configfs.building import ACL, TPG, Box, fails, refuse
from tests.userspace.configfs.recorded import dynamic_session

TARGET = "iscsi/iqn.2003-01.org.test:t1"


@pytest.fixture
def box() -> Box:
    box = Box()
    box.tpg()
    box.tree.mkdir(ACL)
    return box


def the_tpg(box: Box) -> Tpg:
    return box.tree.root.fabrics["iscsi"].targets["iqn.2003-01.org.test:t1"].tpgs[1]


@pytest.mark.parametrize("name", ["foo", "iqn.", "IQN.2003-01.ORG:T", "n" * 223, ".hidden", "sp ace", "ü"])
def test_any_target_name_is_taken(box: Box, name: str) -> None:
    box.tree.mkdir(f"iscsi/{name}")


@pytest.mark.parametrize("name", ["n" * 224, "ü" * 112])
def test_a_target_name_has_223_bytes(box: Box, name: str) -> None:
    with fails(errno.EINVAL):
        box.tree.mkdir(f"iscsi/{name}")


@pytest.mark.parametrize("name", ["tpgt_0", "tpgt_65535", "tpgt_01", "tpgt_0x2"])
def test_tpg_names(box: Box, name: str) -> None:
    box.tree.mkdir(f"{TARGET}/{name}")


@pytest.mark.parametrize("name", ["foo", "tpgt", "tpgt_", "tpgt_x", "tpgt_65536", "tpgt_2 ", "tpg_1"])
def test_what_is_no_tpg_name(box: Box, name: str) -> None:
    with fails(errno.EINVAL):
        box.tree.mkdir(f"{TARGET}/{name}")


def test_two_names_of_one_tag(box: Box) -> None:
    first = the_tpg(box)
    box.tree.mkdir(f"{TARGET}/tpgt_01")
    box.tree.rmdir(f"{TARGET}/tpgt_01")
    assert the_tpg(box) is first


def test_the_second_of_a_tag_takes_the_place_of_the_first(box: Box) -> None:
    box.tree.mkdir(f"{TARGET}/tpgt_01")
    box.tree.mkdir(f"{TARGET}/tpgt_01/np/127.0.0.1:3260")
    with fails(errno.EINVAL):
        box.tree.mkdir(f"{TPG}/np/127.0.0.1:3260")
    box.tree.rmdir(ACL)
    box.tree.rmdir(TPG)
    assert list(the_tpg(box).portals) == ["127.0.0.1:3260"]


def test_discovery_auth_outlives_the_fabric(box: Box) -> None:
    box.write("iscsi/discovery_auth/userid", "u")
    box.write("iscsi/discovery_auth/enforce_discovery_auth", "1")
    for path in (ACL, TPG, TARGET, "iscsi"):
        box.tree.rmdir(path)
    box.tree.mkdir("iscsi")
    assert box.read("iscsi/discovery_auth/userid") == "u\n"
    assert box.read("iscsi/discovery_auth/enforce_discovery_auth") == "1\n"


@pytest.mark.parametrize("name", ["fc", "srpt", "qla2xxx", "loopback2", "xen-pvscsi"])
def test_unknown_fabrics(box: Box, name: str) -> None:
    with fails(errno.EINVAL):
        box.tree.mkdir(name)


def test_enabling(box: Box) -> None:
    path = f"{TPG}/enable"
    for text, value in (("1", True), ("n", False), ("on", True), ("0", False)):
        box.write(path, text)
        assert the_tpg(box).enabled is value
    assert len(box.calls("tpg_changed")) == 4
    box.write(path, "0")
    assert len(box.calls("tpg_changed")) == 4
    box.refuses(errno.EINVAL, path, "2", "x")


def test_the_engine_may_refuse_to_enable(box: Box) -> None:
    box.engine.tpg_changed = refuse(errno.EADDRINUSE)  # type: ignore[method-assign]
    box.refuses(errno.EADDRINUSE, f"{TPG}/enable", "1")
    box.refuses(errno.EADDRINUSE, f"{TPG}/attrib/login_timeout", "20")
    box.refuses(errno.EADDRINUSE, f"{TPG}/param/TargetAlias", "x")


def test_acls_of_guests_are_kept_as_long_as_they_are_made(box: Box) -> None:
    """As a kernel has it, which takes a 0 and forgets it."""
    made, kept = f"{TPG}/attrib/generate_node_acls", f"{TPG}/attrib/cache_dynamic_acls"
    box.takes(kept, "0")
    box.write(made, "1")
    assert box.read(kept) == "1\n"
    box.write(kept, "0")
    assert box.read(kept) == "1\n"
    box.write(made, "0")
    assert box.read(kept) == "1\n"
    box.takes(kept, "0")


def test_authentication_moves_auth_method(box: Box) -> None:
    method, switch = f"{TPG}/param/AuthMethod", f"{TPG}/attrib/authentication"
    assert box.read(method) == "CHAP\n"
    for value, expected in (("0", "CHAP,None\n"), ("0", "CHAP,None\n"), ("1", "CHAP\n")):
        box.write(switch, value)
        assert box.read(method) == expected
    box.takes(method, "None,CHAP")
    box.write(switch, "1")
    assert box.read(method) == "CHAP\n"
    box.takes(method, "None")
    box.write(switch, "1")
    assert box.read(method) == "None\n"


@pytest.mark.parametrize("given", ["None", "CHAP,None", "CHAP"])
def test_enabling_with_authentication_leaves_chap_alone(box: Box, given: str) -> None:
    method, switch = f"{TPG}/param/AuthMethod", f"{TPG}/enable"
    box.takes(method, given)
    box.write(switch, "1")
    assert box.read(method) == "CHAP\n"
    # Only what is enabled anew is looked at.
    box.takes(method, given)
    for again in ("1", "0"):
        box.write(switch, again)
        assert box.read(method) == f"{given}\n"
    box.write(f"{TPG}/attrib/authentication", "0")
    box.takes(method, given)
    box.write(switch, "1")
    assert box.read(method) == f"{given}\n"


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("login_timeout", ("5", "30"), ("4", "31")),
        ("netif_timeout", ("2", "15"), ("1", "16")),
        ("default_cmdsn_depth", ("1", "512"), ("0", "513")),
        ("default_erl", ("2",), ("3",)),
        ("generate_node_acls", ("1",), ("2", "y")),
        ("fabric_prot_type", ("1", "3"), ("2", "4")),
        ("demo_mode_discovery", ("0",), ("2",)),
    ],
)
def test_tpg_attributes(box: Box, name: str, good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    box.takes(f"{TPG}/attrib/{name}", *good)
    box.refuses(errno.EINVAL, f"{TPG}/attrib/{name}", *bad, "-1", "x")
    box.refuses(errno.ERANGE, f"{TPG}/attrib/{name}", "4294967296")


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("authentication", ("1", "0", "-1"), ("2", "-2", "x")),
        ("dataout_timeout", ("2", "60"), ("1", "61")),
        ("dataout_timeout_retries", ("1", "15"), ("0", "16")),
        ("nopin_timeout", ("0", "3", "60"), ("2", "61")),
        ("nopin_response_timeout", ("3", "60"), ("0", "2", "61")),
        ("default_erl", ("1",), ("3",)),
        ("random_r2t_offsets", ("1",), ("2",)),
    ],
)
def test_acl_attributes(box: Box, name: str, good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    box.takes(f"{ACL}/attrib/{name}", *good)
    box.refuses(errno.EINVAL, f"{ACL}/attrib/{name}", *bad)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("MaxConnections", ("1", "65535"), ("0", "65536", "x", "1,2")),
        ("MaxRecvDataSegmentLength", ("512", "16777215", "0x1000"), ("511", "16777216")),
        ("DefaultTime2Wait", ("0", "3600"), ("3601", "x")),
        ("ErrorRecoveryLevel", ("2",), ("3",)),
        ("InitialR2T", ("No", "Yes"), ("yes", "1", "Yes,No")),
        ("HeaderDigest", ("None", "CRC32C,None"), ("foo", "None,", "")),
        ("AuthMethod", ("CHAP,None", "SRP"), ("chap", "Reject")),
        ("TargetAlias", ("a b", "x=y", "a" * 255), ("a" * 256, "a,b", "NotUnderstood")),
        ("IFMarkInt", ("2048~65535", "Reject"), ("a,b",)),
    ],
)
def test_parameters(box: Box, name: str, good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    box.takes(f"{TPG}/param/{name}", *good)
    box.refuses(errno.EINVAL, f"{TPG}/param/{name}", *filter(None, bad))


def test_a_parameters_newline_is_cut_off(box: Box) -> None:
    box.write(f"{TPG}/param/MaxBurstLength", "0x400\n")
    assert box.read(f"{TPG}/param/MaxBurstLength") == "0x400\n"
    assert the_tpg(box).number("MaxBurstLength") == 1024


@pytest.mark.parametrize(("text", "number"), [("1024", 1024), ("01000", 512), ("0x200", 512), ("0", 0)])
def test_a_parameter_as_a_number(box: Box, text: str, number: int) -> None:
    the_tpg(box).param["MaxBurstLength"] = text
    assert the_tpg(box).number("MaxBurstLength") == number


@pytest.mark.parametrize("place", [f"{TPG}/auth", f"{ACL}/auth", "iscsi/discovery_auth"])
def test_secrets_are_kept_as_written(box: Box, place: str) -> None:
    for name in ("userid", "password", "userid_mutual", "password_mutual"):
        assert box.read(f"{place}/{name}") == "\n"
        box.takes(f"{place}/{name}", "a b", "trailing\n", "NULL", "ü")
    assert box.read(f"{place}/authenticate_target") == "1\n"
    box.write(f"{place}/password_mutual", "NULLified")
    assert box.read(f"{place}/authenticate_target") == "0\n"


def test_long_secrets_are_refused_or_in_a_tpg_cut_off(box: Box) -> None:
    box.refuses(errno.EINVAL, f"{ACL}/auth/userid", "u" * 256)
    box.refuses(errno.EINVAL, "iscsi/discovery_auth/password", "p" * 256)
    assert box.write(f"{TPG}/auth/userid", "u" * 256) == 256
    assert box.read(f"{TPG}/auth/userid") == "u" * 255 + "\n"


def test_a_secret_is_in_no_repr(box: Box) -> None:
    box.write(f"{ACL}/auth/password", "do-not-show-me")
    assert "do-not-show-me" not in repr(the_tpg(box).acls["iqn.2003-01.org.test:i1"].auth)


def test_discovery_is_enforced_or_not(box: Box) -> None:
    box.takes("iscsi/discovery_auth/enforce_discovery_auth", "1", "0")
    box.refuses(errno.EINVAL, "iscsi/discovery_auth/enforce_discovery_auth", "2", "x")


def test_acl_depth_and_tag(box: Box) -> None:
    box.write(f"{ACL}/cmdsn_depth", "0")
    assert box.read(f"{ACL}/cmdsn_depth") == "1\n"
    box.refuses(errno.EINVAL, f"{ACL}/cmdsn_depth", "513", "-1")
    box.write(f"{ACL}/tag", "t" * 63)
    box.refuses(errno.EINVAL, f"{ACL}/tag", "t" * 64)
    box.write(f"{ACL}/tag", "NULL")
    assert box.read(f"{ACL}/tag") == ""


def test_an_acl_starts_with_its_groups_defaults(box: Box) -> None:
    box.write(f"{TPG}/attrib/default_cmdsn_depth", "16")
    box.tree.mkdir(f"{TPG}/acls/other")
    assert box.read(f"{TPG}/acls/other/cmdsn_depth") == "16\n"


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("127.0.0.1:3260", ("127.0.0.1", 3260)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("127.0.0.1:03260", ("127.0.0.1", 0o3260)),
        ("[::0]:3260", ("::", 3260)),
        ("[2001:DB8::1]:65535", ("2001:db8::1", 65535)),
        ("[fe80::1%eth0]:3260", ("fe80::1%eth0", 3260)),
    ],
)
def test_portal_names(name: str, parsed: tuple[str, int]) -> None:
    assert parse_portal(name) == parsed


@pytest.mark.parametrize(
    "name",
    [
        "127.0.0.1",
        "127.0.0.1:x",
        "127.0.0.1:65536",
        "127.0.0.1 :3260",
        ":3260",
        "[]:3260",
        "[::1]",
        "[::1:3260",
        "::1:3260",
        "localhost:3260",
        "256.0.0.1:3260",
    ],
)
def test_what_is_no_portal_name(box: Box, name: str) -> None:
    with fails(errno.EINVAL):
        box.tree.mkdir(f"{TPG}/np/{name}")
    assert not box.calls("open_portal")


@pytest.mark.parametrize(
    ("first", "second", "place", "good"),
    [
        ("127.0.0.1:3260", "127.0.0.2:3260", TPG, True),
        ("127.0.0.1:3260", "127.0.0.1:0x0cbc", TPG, False),
        ("127.0.0.1:3260", "127.0.0.1:3260", f"{TARGET}/tpgt_2", False),
        ("127.0.0.1:3260", "127.0.0.1:3260", "iscsi/other/tpgt_1", True),
        ("127.0.0.1:3260", "0.0.0.0:3260", "iscsi/other/tpgt_1", False),
        ("0.0.0.0:3260", "127.0.0.1:3260", TPG, False),
        ("0.0.0.0:3260", "127.0.0.1:3261", TPG, True),
        ("0.0.0.0:3260", "[::1]:3260", TPG, True),
        ("127.0.0.1:3260", "[::0]:3260", TPG, False),
        ("[::0]:3260", "127.0.0.1:3260", "iscsi/other/tpgt_1", False),
        ("[::0]:3260", "[::1]:3260", "iscsi/other/tpgt_1", False),
        ("[::0]:3260", "[::0]:3260", "iscsi/other/tpgt_1", True),
    ],
)
def test_portals_beside_each_other(box: Box, first: str, second: str, place: str, good: bool) -> None:
    box.tree.mkdir(f"{TPG}/np/{first}")
    box.tpg(place)
    if good:
        box.tree.mkdir(f"{place}/np/{second}")
    else:
        with fails(errno.EINVAL):
            box.tree.mkdir(f"{place}/np/{second}")
    assert len(box.calls("open_portal")) == 1 + good


def test_a_portal_the_engine_cannot_open_is_einval(box: Box) -> None:
    box.engine.open_portal = refuse(errno.EADDRINUSE)  # type: ignore[method-assign]
    with fails(errno.EINVAL):
        box.tree.mkdir(f"{TPG}/np/127.0.0.1:3260")
    assert not the_tpg(box).portals


def test_removing_a_portal_closes_it(box: Box) -> None:
    path = f"{TPG}/np/127.0.0.1:3260"
    box.tree.mkdir(path)
    portal = the_tpg(box).portals["127.0.0.1:3260"]
    box.tree.rmdir(path)
    assert box.calls("close_portal") == [portal]
    assert not the_tpg(box).portals


def test_portal_drivers(box: Box) -> None:
    path = f"{TPG}/np/127.0.0.1:3260"
    box.tree.mkdir(path)
    box.takes(f"{path}/iser", "1", "0")
    box.refuses(errno.EINVAL, f"{path}/iser", "2", "x")
    box.takes(f"{path}/cxgbit", "0")
    box.refuses(errno.EINVAL, f"{path}/cxgbit", "1")


def test_processors(box: Box) -> None:
    path = "iscsi/cpus_allowed_list"
    assert box.read(path) == "0-3\n"
    box.takes(path, "0", "1-2", "0,2-3")
    box.write(path, "0,1,3\n")
    assert box.read(path) == "0-1,3\n"
    box.write(path, " 1 3")
    assert box.read(path) == "1,3\n"
    box.write(path, "\n")
    assert box.read(path) == "\n"
    box.refuses(errno.EINVAL, path, "x", "2-1", "1-", "4294967295", "0x1")
    box.refuses(errno.ERANGE, path, "4", "4294967294")
    box.refuses(errno.EOVERFLOW, path, "4294967296", "4294967295-4294967296")


def test_completion_affinity(box: Box) -> None:
    path = f"{TARGET}/param/cmd_completion_affinity"
    box.takes(path, "-2", "0", "3", "-1")
    box.refuses(errno.EINVAL, path, "-3", "4", "x", "4294967296")


def test_dynamic_sessions_end_with_a_nul_each(box: Box) -> None:
    box.engine.open_sessions = [dynamic_session("iqn.a"), dynamic_session("iqn.b")]
    assert box.tree.read(f"{TPG}/dynamic_sessions") == b"iqn.a\n\0iqn.b\n\0"
    assert box.read(f"{TARGET}/fabric_statistics/iscsi_instance/sessions") == "2\n"
    assert box.read(f"{ACL}/info").startswith("No active iSCSI Session")
