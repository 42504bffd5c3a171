"""The login machine: whole logins, every stage with every kind of request, and any sequence of requests."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isadmin.userspace.iscsi.chap import ChallengeLedger, ChapSecrets
from isadmin.userspace.iscsi.codes import LoginStatus, Stage
from isadmin.userspace.iscsi.errors import LoginError
from isadmin.userspace.iscsi.keys import Negotiator, OurSide, Parameters
from isadmin.userspace.iscsi.login import (
    LOGIN_KEYS,
    MAX_REMEMBERED,
    MAX_REMEMBERED_TEXT,
    TRANSITS,
    Established,
    Grant,
    Identity,
    LoginMachine,
    introduction,
    said_by,
)
from isadmin.userspace.iscsi.pdu import LoginRequest, LoginResponse, decode, frame
from isadmin.userspace.iscsi.text import format_pairs, parse_pairs

ISID = bytes.fromhex("800000000001")
NAMES = {"InitiatorName": "iqn.2003-01.org.test:i", "TargetName": "iqn.2003-01.org.test:t"}
OPERATIONAL = {"MaxRecvDataSegmentLength": "262144", "InitialR2T": "No", "MaxBurstLength": "65536"}


class Targets:
    """An authority that knows one target."""

    def __init__(self, **grant: object) -> None:
        self.challenges = ChallengeLedger()
        self.grant = Grant(
            **{
                "introduction": introduction(3, "disks"),
                "values": OurSide({}),
                "auth_required": False,
                **grant,
            }  # type: ignore[arg-type]
        )
        self.asked: list[Identity] = []
        self.established = 0
        self.refuse: LoginStatus | None = None

    def identify(self, identity: Identity) -> Grant:
        self.asked.append(identity)
        if not identity.discovery and identity.target != NAMES["TargetName"]:
            raise LoginError(LoginStatus.NOT_FOUND, "no such target")
        return self.grant

    def establish(self, machine: LoginMachine) -> Established:
        if self.refuse is not None:
            raise LoginError(self.refuse, "not now")
        self.established += 1
        return Established(77, machine.cmd_sn, 200)


def request(
    csg: int,
    nsg: int,
    keys: dict[str, str] | bytes,
    *,
    transit: bool = True,
    continued: bool = False,
    isid: bytes = ISID,
    tsih: int = 0,
    cid: int = 1,
    itt: int = 9,
    version_min: int = 0,
) -> LoginRequest:
    data = keys if isinstance(keys, bytes) else format_pairs(keys.items())
    return LoginRequest(
        transit, continued, csg, nsg, isid, tsih, itt, cid, 100, 0, 0, version_min, data=data, immediate=True
    )


def receive(machine: LoginMachine, sent: LoginRequest) -> LoginResponse:
    """The machine's response as a value, whole and without a byte too many."""
    wire = machine.receive(sent.header(), sent.data)
    found = frame(wire, 0, len(wire), max_data=1 << 24)
    assert found is not None
    assert found.end == len(wire)
    response = decode(wire[:48], wire[found.data : found.data_end])
    assert isinstance(response, LoginResponse)
    assert response.encode() == wire
    return response


def keys_of(response: LoginResponse) -> dict[str, str]:
    return dict(parse_pairs(response.data))


def ok(response: LoginResponse) -> dict[str, str]:
    assert response.status == LoginStatus.SUCCESS
    return keys_of(response)


def failed(machine: LoginMachine, sent: LoginRequest, status: LoginStatus) -> None:
    response = receive(machine, sent)
    assert response.status == status
    assert machine.failed is status
    assert not machine.done
    assert not response.transit


def test_a_login_without_authentication() -> None:
    targets = Targets()
    machine = LoginMachine(targets)
    first = receive(machine, request(0, 1, {**NAMES, "SessionType": "Normal", "AuthMethod": "None"}))
    assert ok(first) == {"TargetPortalGroupTag": "3", "TargetAlias": "disks", "AuthMethod": "None"}
    assert (first.transit, first.csg, first.nsg) == (True, 0, 1)
    second = receive(machine, request(1, 3, OPERATIONAL))
    assert ok(second) == {"InitialR2T": "Yes", "MaxBurstLength": "65536", "MaxRecvDataSegmentLength": "8192"}
    assert (second.transit, second.csg, second.nsg, second.tsih) == (True, 1, 3, 77)
    assert second.stat_sn == first.stat_sn + 1
    assert (second.exp_cmd_sn, second.max_cmd_sn, second.isid) == (100, 200, ISID)
    assert machine.done
    assert machine.parameters is not None
    assert machine.parameters.max_burst_length == 65536
    assert targets.asked == [Identity(NAMES["InitiatorName"], "", NAMES["TargetName"], False, ISID, 0, 1)]


def test_a_login_in_one_request() -> None:
    machine = LoginMachine(Targets())
    response = receive(machine, request(1, 3, {**NAMES, **OPERATIONAL}))
    assert ok(response)["MaxBurstLength"] == "65536"
    assert response.tsih == 77
    assert machine.done


def test_initiators_names_that_differ_in_the_case_of_letters_are_one() -> None:
    targets = Targets()
    machine = LoginMachine(targets)
    receive(
        machine, request(0, 1, {**NAMES, "InitiatorName": "iqn.2003-01.org.test:I", "AuthMethod": "None"})
    )
    ok(receive(machine, request(1, 3, {**OPERATIONAL, "InitiatorName": "IQN.2003-01.org.test:i"})))
    assert machine.done
    assert targets.asked[0].initiator == machine.initiator == "iqn.2003-01.org.test:i"


def test_the_command_window_never_shrinks_during_a_login() -> None:
    machine = LoginMachine(Targets())
    first = receive(machine, request(0, 1, {**NAMES, "AuthMethod": "None"}))
    assert (first.exp_cmd_sn, first.max_cmd_sn) == (100, 100)
    last = receive(machine, request(1, 3, OPERATIONAL))
    assert (last.exp_cmd_sn, last.max_cmd_sn) == (100, 200)


def test_a_proposal_of_ours_is_answered_before_the_login_goes_on() -> None:
    machine = LoginMachine(Targets(values=OurSide({"ImmediateData": "No", "HeaderDigest": "CRC32C"})))
    receive(machine, request(0, 1, {**NAMES, "AuthMethod": "None"}))
    second = receive(machine, request(1, 3, OPERATIONAL))
    found = ok(second)
    assert (found["ImmediateData"], found["HeaderDigest"]) == ("No", "CRC32C")
    assert (second.transit, second.csg) == (False, 1)
    assert not machine.done
    third = receive(machine, request(1, 3, {"ImmediateData": "No", "HeaderDigest": "CRC32C"}))
    assert ok(third) == {}
    assert machine.parameters is not None
    assert (machine.parameters.immediate_data, machine.parameters.header_digest) == (False, True)


def test_a_digest_that_has_to_be_and_is_left_out() -> None:
    machine = LoginMachine(Targets(values=OurSide({"DataDigest": "CRC32C"})))
    failed(machine, request(0, 3, {**NAMES, "AuthMethod": "None"}), LoginStatus.INITIATOR_ERROR)


def test_more_keys_than_can_be_answered() -> None:
    machine = LoginMachine(Targets())
    many = {f"X-{number}": "1" for number in range(1000)}
    failed(machine, request(1, 3, {**NAMES, **many}), LoginStatus.INITIATOR_ERROR)


def test_names_that_are_no_utf_8() -> None:
    """As configfs has them: bytes that are no UTF-8 are surrogate escapes."""
    secrets = ChapSecrets("us\udce9r", b"a-long-secret", "t\udcff", b"another-secret")
    targets = Targets(auth_required=True, secrets=(secrets,), introduction=introduction(3, "d\udce9"))
    machine = LoginMachine(targets)
    first = receive(machine, request(0, 0, {**NAMES, "AuthMethod": "CHAP"}, transit=False))
    assert first.status == LoginStatus.SUCCESS
    assert b"TargetAlias=d\xe9\0" in first.data
    receive(machine, request(0, 0, {"CHAP_A": "5"}, transit=False))
    wrong = request(0, 1, {"CHAP_N": "user", "CHAP_R": "0x00"})
    failed(machine, wrong, LoginStatus.AUTHENTICATION_FAILURE)


def test_from_security_straight_to_full_feature() -> None:
    machine = LoginMachine(Targets())
    response = receive(machine, request(0, 3, {**NAMES, "AuthMethod": "None"}))
    assert ok(response)["MaxRecvDataSegmentLength"] == "8192"
    assert machine.done


def test_discovery() -> None:
    machine = LoginMachine(Targets())
    response = receive(
        machine, request(0, 1, {"InitiatorName": "iqn.i", "SessionType": "Discovery", "AuthMethod": "None"})
    )
    assert ok(response) == {"AuthMethod": "None"}
    assert ok(receive(machine, request(1, 3, {"MaxBurstLength": "65536"})))["MaxBurstLength"] == "Irrelevant"
    assert machine.done
    assert machine.identity is not None
    assert machine.identity.discovery


SECRETS = ChapSecrets("alice", b"alices-secret", "target", b"targets-secret")
ONE_WAY = ChapSecrets("alice", b"alices-secret")


def chap_answer(told: dict[str, str], secret: bytes = b"alices-secret") -> dict[str, str]:
    message = bytes([int(told["CHAP_I"])]) + secret + bytes.fromhex(told["CHAP_C"][2:])
    return {"CHAP_N": "alice", "CHAP_R": "0x" + hashlib.sha256(message).hexdigest()}


def with_chap(
    secret: bytes = b"alices-secret", targets: Targets | None = None
) -> tuple[LoginMachine, LoginRequest]:
    """A machine that waits for the CHAP answer, and that answer."""
    machine = LoginMachine(targets or Targets(auth_required=True, secrets=(ONE_WAY,)))
    first = receive(machine, request(0, 1, {**NAMES, "AuthMethod": "CHAP,None"}))
    assert ok(first)["AuthMethod"] == "CHAP"
    assert not first.transit
    second = receive(machine, request(0, 0, {"CHAP_A": "7,5"}, transit=False))
    told = ok(second)
    assert told["CHAP_A"] == "7"
    assert not second.transit
    return machine, request(0, 1, chap_answer(told, secret))


def test_a_login_with_chap() -> None:
    machine, answer = with_chap()
    response = receive(machine, answer)
    assert ok(response) == {}
    assert response.transit
    assert ok(receive(machine, request(1, 3, {})))["MaxRecvDataSegmentLength"] == "8192"
    assert machine.done


def test_a_wrong_secret() -> None:
    machine, answer = with_chap(b"another-secret")
    failed(machine, answer, LoginStatus.AUTHENTICATION_FAILURE)


def test_mutual_chap() -> None:
    targets = Targets(auth_required=True, secrets=(SECRETS,))
    machine, answer = with_chap(targets=targets)
    answer.data += format_pairs([("CHAP_I", "5"), ("CHAP_C", "0x" + "11" * 16)])
    proof = hashlib.sha256(b"\x05targets-secret" + b"\x11" * 16).hexdigest()
    assert ok(receive(machine, answer)) == {"CHAP_N": "target", "CHAP_R": "0x" + proof}


def test_transit_waits_for_chap() -> None:
    machine = LoginMachine(Targets(auth_required=True, secrets=(ONE_WAY,)))
    receive(machine, request(0, 1, {**NAMES, "AuthMethod": "CHAP"}))
    response = receive(machine, request(0, 1, {"CHAP_A": "5"}))
    assert not response.transit
    failed(machine, request(1, 3, {}), LoginStatus.INITIATOR_ERROR)


@pytest.mark.parametrize(
    "keys", [{"AuthMethod": "None"}, {"AuthMethod": "KRB5"}, {}], ids=["None", "unknown method", "no method"]
)
def test_required_authentication_is_not_optional(keys: dict[str, str]) -> None:
    machine = LoginMachine(Targets(auth_required=True, secrets=(ONE_WAY,)))
    failed(machine, request(0, 1, {**NAMES, **keys}), LoginStatus.AUTHENTICATION_FAILURE)


def test_the_security_stage_cannot_be_skipped() -> None:
    machine = LoginMachine(Targets(auth_required=True, secrets=(ONE_WAY,)))
    failed(machine, request(1, 3, NAMES), LoginStatus.AUTHENTICATION_FAILURE)


@pytest.mark.parametrize(
    ("offered", "secrets", "chosen"),
    [
        ("CHAP,None", None, "None"),
        ("CHAP,None", ONE_WAY, "CHAP"),
        ("None,CHAP", ONE_WAY, "None"),
        ("None", None, "None"),
    ],
)
def test_choice_of_method_where_none_is_required(
    offered: str, secrets: ChapSecrets | None, chosen: str
) -> None:
    machine = LoginMachine(Targets(secrets=() if secrets is None else (secrets,)))
    assert ok(receive(machine, request(0, 1, {**NAMES, "AuthMethod": offered})))["AuthMethod"] == chosen


@pytest.mark.parametrize(
    ("keys", "status"),
    [
        ({}, LoginStatus.MISSING_PARAMETER),
        ({"InitiatorName": "iqn.i"}, LoginStatus.MISSING_PARAMETER),
        ({"TargetName": "iqn.t"}, LoginStatus.MISSING_PARAMETER),
        ({"InitiatorName": "iqn.i", "TargetName": "iqn.other"}, LoginStatus.NOT_FOUND),
        ({**NAMES, "SessionType": "Other"}, LoginStatus.SESSION_TYPE_NOT_SUPPORTED),
        ({**NAMES, "InitiatorName": "x" * 224}, LoginStatus.INITIATOR_ERROR),
        ({**NAMES, "TargetAddress": "127.0.0.1"}, LoginStatus.INITIATOR_ERROR),
        ({**NAMES, "CHAP_A": "5"}, LoginStatus.INITIATOR_ERROR),
    ],
)
def test_first_requests_that_fail(keys: dict[str, str], status: LoginStatus) -> None:
    failed(LoginMachine(Targets()), request(0, 1, keys), status)


@pytest.mark.parametrize(
    "data",
    [
        b"InitiatorName=iqn.i\0InitiatorName=iqn.j\0TargetName=iqn.2003-01.org.test:t\0",
        b"nothing to see\0",
        b"\xff=\0",
    ],
)
def test_malformed_texts(data: bytes) -> None:
    failed(LoginMachine(Targets()), request(0, 1, data), LoginStatus.INITIATOR_ERROR)


def test_a_version_we_do_not_have() -> None:
    failed(LoginMachine(Targets()), request(0, 1, NAMES, version_min=1), LoginStatus.UNSUPPORTED_VERSION)


@pytest.mark.parametrize("status", [LoginStatus.TOO_MANY_CONNECTIONS, LoginStatus.SERVICE_UNAVAILABLE])
def test_refused_at_the_last_moment(status: LoginStatus) -> None:
    targets = Targets()
    targets.refuse = status
    failed(LoginMachine(targets), request(1, 3, NAMES), status)


def test_a_continued_text() -> None:
    machine = LoginMachine(Targets())
    text = format_pairs({**NAMES, "AuthMethod": "None"}.items())
    empty = receive(machine, request(0, 0, text[:30], transit=False, continued=True))
    assert (empty.status, empty.data, empty.transit) == (0, b"", False)
    assert ok(receive(machine, request(0, 1, text[30:])))["AuthMethod"] == "None"


def test_a_text_without_end() -> None:
    machine = LoginMachine(Targets())
    for _ in range(8):
        receive(machine, request(0, 0, b"x" * 8192, transit=False, continued=True))
    failed(machine, request(0, 0, b"x", transit=False, continued=True), LoginStatus.INITIATOR_ERROR)


def test_a_login_without_end() -> None:
    machine = LoginMachine(Targets())
    receive(machine, request(0, 0, {**NAMES, "AuthMethod": "None"}, transit=False))
    while machine.failed is None:
        assert machine.stat_sn < 100
        receive(machine, request(0, 0, {}, transit=False))
    assert machine.failed is LoginStatus.INITIATOR_ERROR


@pytest.mark.parametrize(
    "change", [{"isid": bytes(6)}, {"tsih": 1}, {"cid": 2}, {"itt": 10}], ids=["isid", "tsih", "cid", "itt"]
)
def test_nobody_changes_in_mid_login(change: dict[str, int]) -> None:
    machine = LoginMachine(Targets())
    receive(machine, request(0, 1, {**NAMES, "AuthMethod": "None"}))
    failed(machine, request(1, 3, {}, **change), LoginStatus.INITIATOR_ERROR)  # type: ignore[arg-type]


@pytest.mark.parametrize("keys", [{"InitiatorName": "iqn.other"}, {"TargetName": "iqn.other"}])
def test_names_stay(keys: dict[str, str]) -> None:
    machine = LoginMachine(Targets())
    receive(machine, request(0, 1, {**NAMES, "AuthMethod": "None"}))
    failed(machine, request(1, 3, keys), LoginStatus.INITIATOR_ERROR)


def test_names_may_be_repeated() -> None:
    machine = LoginMachine(Targets())
    receive(machine, request(0, 1, {**NAMES, "AuthMethod": "None"}))
    assert receive(machine, request(1, 3, NAMES)).transit


def test_a_request_after_the_login() -> None:
    machine = LoginMachine(Targets())
    receive(machine, request(1, 3, NAMES))
    assert receive(machine, request(1, 3, {})).status == LoginStatus.INVALID_DURING_LOGIN


@pytest.mark.parametrize("stage", [Stage.SECURITY, Stage.OPERATIONAL])
@pytest.mark.parametrize("csg", range(4))
@pytest.mark.parametrize("nsg", range(4))
@pytest.mark.parametrize("transit", [False, True])
@pytest.mark.parametrize("continued", [False, True])
def test_every_stage_with_every_header(
    stage: Stage, csg: int, nsg: int, transit: bool, continued: bool
) -> None:
    """A pair of stages that the table has not is an error, and so is T with C; all else goes on."""
    machine = LoginMachine(Targets())
    if stage is Stage.OPERATIONAL:
        receive(machine, request(0, 1, {**NAMES, "AuthMethod": "None"}))
        keys = {}
    else:
        receive(machine, request(0, 0, {**NAMES, "AuthMethod": "None"}, transit=False))
        keys = {}
    response = receive(machine, request(csg, nsg, keys, transit=transit, continued=continued))
    known = {int(s) for s in Stage}
    following = Stage(nsg) if transit and nsg in known else None
    legal = (
        csg == stage
        and not (transit and continued)
        and not (transit and following is None)
        and (Stage(csg), following) in TRANSITS
    )
    assert (response.status == LoginStatus.SUCCESS) is legal
    assert (machine.failed is None) is legal
    assert machine.done is (legal and following is Stage.FULL_FEATURE)
    assert response.transit is (legal and transit)


REQUESTS = st.builds(
    request,
    st.integers(0, 3),
    st.integers(0, 3),
    st.one_of(
        st.binary(max_size=200),
        st.dictionaries(
            st.sampled_from(
                [*NAMES, *OPERATIONAL, "AuthMethod", "CHAP_A", "CHAP_N", "CHAP_R", "SessionType", "X-a"]
            ),
            st.sampled_from(
                [*NAMES.values(), "None", "CHAP", "5", "0x00", "Yes", "65536", "Discovery", "Normal"]
            ),
        ),
        st.just({**NAMES, "AuthMethod": "None"}),
        st.just({**NAMES, "AuthMethod": "CHAP"}),
    ),
    transit=st.booleans(),
    continued=st.booleans(),
)


@settings(deadline=None)
@given(st.lists(REQUESTS, max_size=8), st.booleans())
def test_any_requests_get_answers_and_no_way_round_authentication(
    sent: list[LoginRequest], required: bool
) -> None:
    targets = Targets(auth_required=required, secrets=(ONE_WAY,))
    machine = LoginMachine(targets)
    for each in sent:
        response = receive(machine, each)
        if machine.failed is not None:
            assert response.status == machine.failed
            break
    # Nobody knows the secret here.
    assert not (required and machine.done)
    assert targets.established == machine.done


SENSIBLE = [
    request(0, 1, {**NAMES, "AuthMethod": "None"}),
    request(0, 1, {**NAMES, "AuthMethod": "CHAP,None"}),
    request(0, 1, {**NAMES, "AuthMethod": "None", "InitiatorAlias": "another"}),
    request(0, 0, {**NAMES, "AuthMethod": "None"}, transit=False),
    request(0, 3, {**NAMES, "AuthMethod": "None", **OPERATIONAL}),
    request(1, 3, {**NAMES, **OPERATIONAL}),
    request(0, 1, {"InitiatorName": NAMES["InitiatorName"], "SessionType": "Discovery"}),
    request(0, 0, {"CHAP_A": "7,5"}, transit=False),
    request(0, 1, {}),
    request(1, 3, {}),
    request(1, 3, OPERATIONAL),
    request(1, 3, {"MaxBurstLength": "4096"}),
    request(1, 1, {"MaxBurstLength": "8192"}, transit=False),
    request(1, 1, {"DataDigest": "None"}, transit=False),
]


def heard(targets: Targets, sent: list[LoginRequest]) -> list[object]:
    """All that one login hears, and what it ends with. CHAP is answered as by one who knows the secret."""
    machine = LoginMachine(targets)
    responses: list[object] = []
    for each in sent:
        response = receive(machine, each)
        told = keys_of(response)
        if "CHAP_C" in told:
            challenged = receive(machine, request(0, 1, chap_answer(told)))
            responses.append((challenged.status, challenged.transit, challenged.data))
            del told["CHAP_C"], told["CHAP_I"]
        responses.append((response.header()[:4], response.header()[24:], told))
    machine.close()
    return [*responses, machine.done, machine.failed, machine.parameters]


@settings(deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(SENSIBLE) | REQUESTS, max_size=5), min_size=2, max_size=8),
    st.booleans(),
    st.booleans(),
)
def test_what_is_remembered_answers_as_a_login_of_its_own_does(
    logins: list[list[LoginRequest]], required: bool, known: bool
) -> None:
    """Logins that begin alike and go on differently, over and over, under one grant."""
    grant = {"auth_required": required, "secrets": (ONE_WAY,) if known else ()}
    shared = Targets(**grant)
    for sent in [*logins, *logins]:
        assert heard(shared, sent) == heard(Targets(**grant), sent)


def test_a_login_is_negotiated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = Targets(secrets=(ONE_WAY,))
    for logins in (
        [request(0, 1, {**NAMES, "AuthMethod": "None,CHAP"}), request(1, 3, OPERATIONAL)],
        [request(0, 1, {**NAMES, "AuthMethod": "CHAP"}), SENSIBLE[7], request(1, 3, OPERATIONAL)],
    ):
        first = heard(targets, logins)
        with monkeypatch.context() as patch:
            patch.setattr(Negotiator, "receive", None)
            assert heard(targets, logins) == first


def test_another_initiator_that_says_the_same_shares_the_memory_and_not_the_identity() -> None:
    targets = Targets()
    for number in range(3):
        name = f"iqn.2003-01.org.test:i{number}"
        machine = LoginMachine(targets)
        receive(machine, request(0, 1, {**NAMES, "InitiatorName": name, "AuthMethod": "None"}))
        receive(machine, request(1, 3, OPERATIONAL))
        assert machine.identity is not None
        assert machine.identity.initiator == name
    assert len(targets.grant.steps) == 2


def test_a_grant_that_differs_remembers_nothing_of_the_other() -> None:
    targets = Targets()
    heard(targets, [SENSIBLE[0], SENSIBLE[10]])
    assert targets.grant.steps
    assert not replace(targets.grant, inherited=Parameters(max_burst_length=4096)).steps


def test_the_memory_is_bounded() -> None:
    targets = Targets()
    for number in range(1000):
        heard(targets, [SENSIBLE[0], request(1, 3, {"MaxBurstLength": str(512 + number)})])
    heard(targets, [SENSIBLE[0], request(1, 3, {"X-long": "x" * 5000})])
    assert 0 < len(targets.grant.steps) <= MAX_REMEMBERED
    assert all(len(step.answer) < 200 for step in targets.grant.steps.values())


TEXTS = st.lists(
    st.tuples(
        st.sampled_from(["InitiatorName", "TargetName", "AuthMethod", "CHAP_A", "CHAP_R", "DataDigest", "X"]),
        st.sampled_from(["", "a", "b"]),
    ),
    max_size=5,
)


@given(TEXTS)
def test_a_text_says_the_same_every_time(given: list[tuple[str, str]]) -> None:
    text = format_pairs(given)
    once = [key for key, _ in given if key in LOGIN_KEYS]
    if len(once) != len(set(once)):
        for _ in range(2):
            with pytest.raises(LoginError):
                said_by(text)
        return
    said = said_by(text)
    assert said == said_by(text)
    method, operational = said.offer
    chosen = {} if method is None else {"AuthMethod": method}
    assert {**said.identity, **said.chap, **chosen} == {k: v for k, v in given if k in LOGIN_KEYS}
    assert operational == tuple((k, v) for k, v in given if k not in LOGIN_KEYS)


def test_what_proves_an_identity_and_long_texts_are_not_kept() -> None:
    kept = said_by(b"X-kept=1\0")
    assert said_by(b"X-kept=1\0") is kept
    for text in (b"CHAP_N=alice\0CHAP_R=0x00\0", b"X=" + b"x" * MAX_REMEMBERED_TEXT):
        assert said_by(text) is not said_by(text)
