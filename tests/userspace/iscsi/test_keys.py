"""Negotiation of operational keys, row by row."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isadmin.userspace.iscsi.errors import LoginError
from isadmin.userspace.iscsi.keys import KEYS, Kind, Negotiator, OurSide, Parameters, Use, shown

OURS = {
    "HeaderDigest": "CRC32C,None",
    "DataDigest": "CRC32C,None",
    "MaxConnections": "4",
    "InitialR2T": "Yes",
    "ImmediateData": "Yes",
    "MaxRecvDataSegmentLength": "65536",
    "MaxXmitDataSegmentLength": "131072",
    "MaxBurstLength": "262144",
    "FirstBurstLength": "65536",
    "DefaultTime2Wait": "2",
    "DefaultTime2Retain": "20",
    "MaxOutstandingR2T": "4",
    "DataPDUInOrder": "Yes",
    "DataSequenceInOrder": "Yes",
    "ErrorRecoveryLevel": "2",
}


def negotiator(ours: dict[str, str] | None = None, *, discovery: bool = False) -> Negotiator:
    return Negotiator(OurSide({**OURS, **(ours or {})}), discovery=discovery)


@pytest.mark.parametrize(
    ("key", "offered", "ours", "answer"),
    [
        ("HeaderDigest", "None", "CRC32C,None", "None"),
        ("HeaderDigest", "CRC32C,None", "CRC32C,None", "CRC32C"),
        ("HeaderDigest", "None,CRC32C", "CRC32C,None", "None"),
        ("HeaderDigest", "CRC32C", "None", "Reject"),
        ("DataDigest", "SHA9,CRC32C", "CRC32C", "CRC32C"),
        ("MaxConnections", "8", "4", "4"),
        ("MaxConnections", "1", "4", "1"),
        ("MaxConnections", "0", "4", "Reject"),
        ("MaxConnections", "65536", "4", "Reject"),
        ("InitialR2T", "No", "Yes", "Yes"),
        ("InitialR2T", "No", "No", "No"),
        ("InitialR2T", "Yes", "No", "Yes"),
        ("InitialR2T", "yes", "No", "Reject"),
        ("ImmediateData", "Yes", "Yes", "Yes"),
        ("ImmediateData", "Yes", "No", "No"),
        ("ImmediateData", "No", "Yes", "No"),
        ("MaxBurstLength", "16776192", "262144", "262144"),
        ("MaxBurstLength", "0x10000", "262144", "65536"),
        ("MaxBurstLength", "511", "262144", "Reject"),
        ("MaxBurstLength", "16777216", "262144", "Reject"),
        ("FirstBurstLength", "262144", "65536", "65536"),
        ("DefaultTime2Wait", "0", "2", "2"),
        ("DefaultTime2Wait", "5", "2", "5"),
        ("DefaultTime2Retain", "0", "20", "0"),
        ("DefaultTime2Retain", "3601", "20", "Reject"),
        ("MaxOutstandingR2T", "16", "4", "4"),
        ("DataPDUInOrder", "No", "Yes", "Yes"),
        ("DataSequenceInOrder", "No", "Yes", "Yes"),
        ("ErrorRecoveryLevel", "2", "2", "0"),
        ("IFMarker", "No", "", "No"),
        ("OFMarkInt", "1~2048", "", "Reject"),
        ("TaskReporting", "FastAbort,RFC3720", "", "RFC3720"),
        ("iSCSIProtocolLevel", "2", "", "1"),
        ("X-com.example.key", "1", "", "NotUnderstood"),
        ("RDMAExtensions", "Yes", "", "NotUnderstood"),
    ],
)
def test_answers(key: str, offered: str, ours: str, answer: str) -> None:
    assert negotiator({key: ours}).answer(key, offered) == answer


def test_results_are_kept() -> None:
    side = negotiator()
    for key, value in {
        "HeaderDigest": "CRC32C",
        "MaxRecvDataSegmentLength": "262144",
        "InitialR2T": "No",
        "ImmediateData": "No",
        "MaxBurstLength": "16384",
        "FirstBurstLength": "65536",
    }.items():
        side.answer(key, value)
    found = side.finish()
    assert found.header_digest
    assert not found.data_digest
    assert found.max_xmit_data_segment_length == 131072, "param/MaxXmitDataSegmentLength limits it"
    assert found.max_recv_data_segment_length == 65536
    assert found.initial_r2t
    assert not found.immediate_data
    assert (found.max_burst_length, found.first_burst_length) == (16384, 16384)


def test_silence_means_the_defaults_of_the_standard() -> None:
    assert negotiator({"MaxRecvDataSegmentLength": "8192"}).finish() == Parameters()


def test_declared_once() -> None:
    side = negotiator()
    assert side.declarations() == b"MaxRecvDataSegmentLength=65536\0"
    assert side.declarations() == b""


@pytest.mark.parametrize("key", ["TargetAlias", "TargetAddress", "TargetPortalGroupTag", "SendTargets2"])
def test_keys_that_are_not_the_initiators(key: str) -> None:
    side = negotiator()
    if key not in KEYS:
        assert side.answer(key, "x") == "NotUnderstood"
        return
    with pytest.raises(LoginError):
        side.answer(key, "1")


def test_a_key_sent_twice() -> None:
    side = negotiator()
    side.answer("MaxBurstLength", "65536")
    with pytest.raises(LoginError):
        side.answer("MaxBurstLength", "65536")


@pytest.mark.parametrize("key", [key.name for key in KEYS.values() if Use.NORMAL_ONLY in key.use])
def test_irrelevant_in_discovery(key: str) -> None:
    assert negotiator(discovery=True).answer(key, "1") == "Irrelevant"


def test_a_later_connection_takes_over_the_sessions_results() -> None:
    first = Parameters(max_burst_length=4096, initial_r2t=False, header_digest=True)
    side = Negotiator(OurSide(OURS), discovery=False, inherited=first)
    assert side.answer("HeaderDigest", "None") == "None"
    found = side.finish()
    assert (found.max_burst_length, found.initial_r2t, found.header_digest) == (4096, False, False)
    assert side.answer("MaxBurstLength", "8192") == "Irrelevant"
    assert side.answer("SessionType", "Normal") is None
    assert side.finish().max_burst_length == 4096


@pytest.mark.parametrize("key", ["DataPDUInOrder", "DataSequenceInOrder"])
def test_order_is_kept_whatever_both_sides_say(key: str) -> None:
    assert negotiator({key: "No"}).answer(key, "No") == "Yes"


STRICT = {"MaxBurstLength": "16384", "ImmediateData": "No", "InitialR2T": "Yes", "MaxConnections": "4"}


def test_what_the_initiator_does_not_offer_is_proposed_where_its_default_is_not_ours() -> None:
    side = negotiator(STRICT)
    assert side.answer("MaxBurstLength", "65536") == "16384"
    assert side.proposals() == b"ImmediateData=No\0"
    assert side.proposals() == b""
    assert side.answer("ImmediateData", "No") is None
    found = side.finish()
    assert (found.max_burst_length, found.immediate_data, found.max_connections) == (16384, False, 1)
    with pytest.raises(LoginError, match="twice"):
        side.answer("ImmediateData", "No")


@pytest.mark.parametrize("reply", ["Irrelevant", "NotUnderstood", "Reject"])
def test_a_proposal_without_a_value_for_answer_leaves_the_default(reply: str) -> None:
    side = negotiator({"FirstBurstLength": "8192"})
    assert side.proposals() == b"FirstBurstLength=8192\0"
    assert side.answer("FirstBurstLength", reply) is None
    assert side.finish().first_burst_length == 65536


@pytest.mark.parametrize("reply", ["16384", "x", ""])
def test_an_answer_that_no_proposal_allows(reply: str) -> None:
    side = negotiator({"FirstBurstLength": "8192"})
    side.proposals()
    with pytest.raises(LoginError, match="proposal"):
        side.answer("FirstBurstLength", reply)


def test_a_digest_that_has_to_be_is() -> None:
    ours = {"HeaderDigest": "CRC32C"}
    with pytest.raises(LoginError, match="has to be CRC32C"):
        negotiator(ours).answer("HeaderDigest", "None")
    silent = negotiator(ours)
    with pytest.raises(LoginError, match="has to be negotiated"):
        silent.finish()
    assert silent.proposals() == b"HeaderDigest=CRC32C\0"
    with pytest.raises(LoginError, match="has to be negotiated"):
        silent.finish()
    agreed = silent.copy()
    assert agreed.answer("HeaderDigest", "CRC32C") is None
    assert agreed.finish().header_digest
    with pytest.raises(LoginError, match="has to be CRC32C"):
        silent.answer("HeaderDigest", "Reject")


def test_nothing_is_proposed_that_another_connection_has_settled_or_discovery_has_not() -> None:
    ours = OurSide({**STRICT, "DefaultTime2Wait": "7"})
    assert Negotiator(ours, discovery=False, inherited=Parameters()).proposals() == b""
    assert Negotiator(ours, discovery=True).proposals() == b"DefaultTime2Wait=7\0"


def test_what_our_side_cannot_read_counts_as_the_default() -> None:
    assert negotiator({"MaxBurstLength": "many"}).answer("MaxBurstLength", "1048576") == "262144"


@settings(deadline=None)
@given(st.sampled_from(sorted(KEYS)), st.text(max_size=20))
def test_any_value_gets_an_answer_in_range(key: str, value: str) -> None:
    side = negotiator()
    try:
        answer = side.answer(key, value)
    except LoginError:
        return
    row = KEYS[key]
    if row.kind is Kind.NUMBER and answer not in ("Reject", None):
        assert row.low <= int(answer or "") <= row.high
    found = side.finish()
    assert 512 <= found.max_burst_length < 1 << 24
    assert 512 <= found.first_burst_length < 1 << 24


def test_session_wide_results_as_configfs_shows_them() -> None:
    texts = shown(Parameters())
    assert texts["InitialR2T"] == "1"
    assert texts["MaxBurstLength"] == "262144"
    assert len(texts) == 11


OFFERS = st.tuples(
    st.sampled_from(["DataDigest", "InitialR2T", "MaxBurstLength", "MaxRecvDataSegmentLength", "X"]),
    st.sampled_from(["None", "CRC32C", "Yes", "No", "4096", "70000", "Irrelevant", "?"]),
)


@given(st.lists(OFFERS, max_size=8), st.integers(0, 8))
def test_a_copy_goes_on_where_the_first_was_and_leaves_it_alone(
    offers: list[tuple[str, str]], said: int
) -> None:
    def outcome(side: Negotiator, pairs: list[tuple[str, str]]) -> object:
        try:
            heard = side.receive(tuple(pairs))
        except LoginError as error:
            return str(error)
        return heard, side.declarations(), side.finish()

    first, whole = negotiator(), negotiator()
    try:
        first.receive(tuple(offers[:said]))
        whole.receive(tuple(offers[:said]))
    except LoginError:
        return
    copies = [outcome(first.copy(), offers[said:]) for _ in range(2)]
    assert copies == [outcome(whole, offers[said:])] * 2


def test_first_burst_length_is_held_to_this_logins_max_burst_length() -> None:
    ours = OurSide(OURS)
    for max_burst, answer in (("1024", "1024"), ("262144", "65536"), ("2048", "2048")):
        side = Negotiator(ours, discovery=False)
        side.answer("MaxBurstLength", max_burst)
        assert side.answer("FirstBurstLength", "65536") == answer
        assert side.finish().first_burst_length == int(answer)
