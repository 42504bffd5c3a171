"""CHAP: responses against values of another implementation, and every way the exchange goes wrong."""

from __future__ import annotations

import pytest

from isadmin.userspace.iscsi.chap import (
    CHALLENGE_LENGTH,
    ChallengeLedger,
    Chap,
    ChapSecrets,
    decode_binary,
    encode_binary,
    response,
)
from isadmin.userspace.iscsi.codes import LoginStatus
from isadmin.userspace.iscsi.errors import LoginError

SECRETS = ChapSecrets("alice", b"alices-secret")
BOTH = ChapSecrets("alice", b"alices-secret", "target", b"targets-secret")


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [
        ("5", "648de1062a3a8e9c0507feb9279069ca"),
        ("6", "1a21fa1391cffba204d0cb7dd596381d4980f1a5"),
        ("7", "0ebe208a61a08e090f07e5023c923fb1de47bba852ca502d9ad69dd2679a82b4"),
        ("8", "b3368f1cf52640dba0732b8d66499ab43f00517d271d1232160c2cee29f08684"),
    ],
)
def test_responses(algorithm: str, digest: str) -> None:
    """What openssl dgst says of identifier 0x27, the secret, and the challenge 01 to 08."""
    assert response(algorithm, 0x27, b"secretsecret1", bytes(range(1, 9))).hex() == digest


@pytest.mark.parametrize("text", ["0x0102ff", "0X0102FF", "0x102ff", "0bAQL/", "0BAQL/"])
def test_binary_values(text: str) -> None:
    assert decode_binary(text) == b"\x01\x02\xff"


@pytest.mark.parametrize("text", ["", "0x0g", "0102", "0b***", "0bAQL", "12"])
def test_malformed_binary_values(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        decode_binary(text)


def started(
    secrets: ChapSecrets | None = SECRETS, offered: str = "5", ledger: ChallengeLedger | None = None
) -> tuple[Chap, dict[str, str]]:
    chap = Chap(() if secrets is None else (secrets,), ledger if ledger is not None else ChallengeLedger())
    return chap, dict(chap.step({"CHAP_A": offered}))


def answer(told: dict[str, str], secret: bytes = b"alices-secret", name: str = "alice") -> dict[str, str]:
    digest = response(told["CHAP_A"], int(told["CHAP_I"]), secret, decode_binary(told["CHAP_C"]))
    return {"CHAP_N": name, "CHAP_R": encode_binary(digest)}


def refused(chap: Chap, keys: dict[str, str]) -> None:
    with pytest.raises(LoginError) as caught:
        chap.step(keys)
    assert caught.value.status is LoginStatus.AUTHENTICATION_FAILURE
    assert not chap.done
    assert "secret" not in str(caught.value).replace("name or secret", "").replace("mutual secret", "")


@pytest.mark.parametrize(("offered", "chosen"), [("5", "5"), ("7,6,5", "7"), ("99,8,5", "8"), ("6,8", "6")])
def test_the_first_algorithm_that_we_have_is_taken(offered: str, chosen: str) -> None:
    chap, told = started(offered=offered)
    assert told["CHAP_A"] == chosen
    assert len(decode_binary(told["CHAP_C"])) == CHALLENGE_LENGTH
    assert chap.step(answer(told)) == []
    assert chap.done


def test_challenges_differ() -> None:
    assert len({started()[1]["CHAP_C"] for _ in range(20)}) == 20


@pytest.mark.parametrize(
    "keys", [{"CHAP_A": "99"}, {"CHAP_A": ""}, {"CHAP_N": "alice", "CHAP_R": "0x00"}, {}]
)
def test_a_start_that_cannot_be(keys: dict[str, str]) -> None:
    refused(Chap([SECRETS], ChallengeLedger()), keys)


def test_wrong_secret_and_wrong_name() -> None:
    chap, told = started()
    refused(chap, answer(told, secret=b"another"))
    chap, told = started()
    refused(chap, answer(told, name="bob"))


@pytest.mark.parametrize(
    "keys", [{}, {"CHAP_N": "alice"}, {"CHAP_R": "0x00"}, {"CHAP_N": "alice", "CHAP_R": "zz"}]
)
def test_malformed_answers(keys: dict[str, str]) -> None:
    refused(started()[0], keys)


def test_without_credentials_nobody_gets_in() -> None:
    chap, told = started(secrets=None)
    refused(chap, answer(told))


def test_an_answer_to_another_challenge_is_no_answer() -> None:
    _, told = started()
    chap, _ = started()
    refused(chap, answer(told))


def test_mutual() -> None:
    chap, told = started(BOTH)
    keys = {**answer(told), "CHAP_I": "7", "CHAP_C": "0x" + "ab" * 16}
    proof = response("5", 7, b"targets-secret", b"\xab" * 16)
    assert chap.step(keys) == [("CHAP_N", "target"), ("CHAP_R", encode_binary(proof))]
    assert chap.done


def test_mutual_is_refused_where_it_cannot_be_had() -> None:
    chap, told = started(SECRETS)
    refused(chap, {**answer(told), "CHAP_I": "7", "CHAP_C": "0x" + "ab" * 16})


def test_mutual_that_is_configured_must_be_asked_for() -> None:
    chap, told = started(BOTH)
    refused(chap, answer(told))


@pytest.mark.parametrize(
    "extra",
    [
        {"CHAP_I": "7"},
        {"CHAP_C": "0xabcd"},
        {"CHAP_I": "256", "CHAP_C": "0xabcd"},
        {"CHAP_I": "x", "CHAP_C": "0xabcd"},
        {"CHAP_I": "7", "CHAP_C": "abcd"},
        {"CHAP_I": "7", "CHAP_C": "0x"},
        {"CHAP_I": "7", "CHAP_C": "0x" + "ab" * 1025},
    ],
)
def test_malformed_mutual_challenges(extra: dict[str, str]) -> None:
    chap, told = started(BOTH)
    refused(chap, {**answer(told), **extra})


def test_a_reflected_challenge_is_refused() -> None:
    chap, told = started(BOTH)
    refused(chap, {**answer(told), "CHAP_I": "7", "CHAP_C": told["CHAP_C"]})


def test_a_challenge_reflected_over_another_connection_is_refused() -> None:
    ledger = ChallengeLedger()
    _, other = started(BOTH, ledger=ledger)
    chap, told = started(BOTH, ledger=ledger)
    refused(chap, {**answer(told), "CHAP_I": "7", "CHAP_C": other["CHAP_C"]})


def test_challenges_are_forgotten_with_the_login() -> None:
    ledger = ChallengeLedger()
    chap, told = started(ledger=ledger)
    assert decode_binary(told["CHAP_C"]) in ledger
    chap.close()
    assert decode_binary(told["CHAP_C"]) not in ledger


def test_nothing_may_follow_success() -> None:
    chap, told = started()
    chap.step(answer(told))
    with pytest.raises(LoginError):
        chap.step({"CHAP_A": "5"})


def test_secrets_do_not_show() -> None:
    assert "alices" not in repr(BOTH)
    assert "targets-" not in repr(BOTH)


def test_any_of_several_credentials_will_do() -> None:
    chap = Chap([ChapSecrets("bob", b"bobs-secret"), SECRETS], ChallengeLedger())
    told = dict(chap.step({"CHAP_A": "7"}))
    chap.step(answer(told))
    assert chap.done
    chap = Chap([ChapSecrets("bob", b"bobs-secret"), SECRETS], ChallengeLedger())
    told = dict(chap.step({"CHAP_A": "7"}))
    refused(chap, answer(told, name="bob"))
