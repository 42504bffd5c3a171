"""CHAP as the authenticator (RFC 7143 section 12.1.3, RFC 1994; SHA-1 to SHA3-256 by their IANA numbers).

One exchange: the initiator lists algorithms (CHAP_A), we answer with the first that we have, an identifier
and a challenge; it answers with its name and response, and, for mutual authentication, with a challenge of
its own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from isadmin.userspace.iscsi.codes import LoginStatus
from isadmin.userspace.iscsi.errors import LoginError
from isadmin.userspace.iscsi.text import parse_number

ALGORITHMS: dict[str, str] = {"5": "md5", "6": "sha1", "7": "sha256", "8": "sha3_256"}
"""CHAP_A numbers and hashlib's names of what we support."""

CHALLENGE_LENGTH = 32
MAX_CHALLENGE = 1024
"""RFC 7143: CHAP_C is at most 1024 bytes."""


@dataclass(frozen=True, slots=True)
class ChapSecrets:
    """Names and secrets of one direction or both. An empty mutual secret: we cannot prove ourselves. Bytes of
    names that are no UTF-8 are surrogate escapes."""

    name: str
    secret: bytes = field(repr=False)
    mutual_name: str = ""
    mutual_secret: bytes = field(default=b"", repr=False)


class ChallengeLedger:
    """The challenges that are out and unanswered: one that comes back to us as an initiator's own is a
    reflection, on this connection or another (RFC 7143 section 12.1.3)."""

    def __init__(self) -> None:
        self._outstanding: set[bytes] = set()

    def issue(self) -> bytes:
        challenge = secrets.token_bytes(CHALLENGE_LENGTH)
        self._outstanding.add(challenge)
        return challenge

    def forget(self, challenge: bytes) -> None:
        self._outstanding.discard(challenge)

    def __contains__(self, challenge: bytes) -> bool:
        return challenge in self._outstanding


def response(algorithm: str, identifier: int, secret: bytes, challenge: bytes) -> bytes:
    """hash(identifier, secret, challenge) with the algorithm of a CHAP_A number (RFC 1994 section 4.1)."""
    digest = hashlib.new(ALGORITHMS[algorithm], usedforsecurity=False)
    digest.update(bytes([identifier]) + secret + challenge)
    return digest.digest()


def encode_binary(value: bytes) -> str:
    return "0x" + value.hex()


def decode_binary(text: str) -> bytes:
    """A binary value in its 0x or 0b (base64) form. ValueError for anything else."""
    prefix, digits = text[:2].lower(), text[2:]
    if prefix == "0x":
        return bytes.fromhex("0" + digits if len(digits) & 1 else digits)
    if prefix == "0b":
        try:
            return base64.b64decode(digits, validate=True)
        except binascii.Error as error:
            raise ValueError("base64") from error
    raise ValueError("neither hexadecimal nor base64")


def _failure(what: str) -> LoginError:
    return LoginError(LoginStatus.AUTHENTICATION_FAILURE, what)


class Chap:
    """One login's CHAP exchange: any of `accepted` will do.

    `step` takes what a request brought and returns what the answer says; `done` is true once the initiator
    has proven itself. Failures are LoginError(AUTHENTICATION_FAILURE).
    """

    def __init__(self, accepted: Sequence[ChapSecrets], ledger: ChallengeLedger) -> None:
        self._accepted = accepted
        self._ledger = ledger
        self._algorithm = ""
        self._identifier = 0
        self._challenge = b""
        self.done = False

    def close(self) -> None:
        """The login is over: an unanswered challenge is no longer out."""
        self._ledger.forget(self._challenge)

    def step(self, keys: Mapping[str, str]) -> list[tuple[str, str]]:
        if self.done:
            raise _failure("a CHAP key after the exchange")
        if not self._algorithm:
            return self._begin(keys)
        return self._verify(keys)

    def _begin(self, keys: Mapping[str, str]) -> list[tuple[str, str]]:
        offered = keys.get("CHAP_A")
        if offered is None:
            raise _failure("CHAP without CHAP_A")
        chosen = next((item for item in offered.split(",") if item in ALGORITHMS), None)
        if chosen is None:
            raise _failure("no CHAP algorithm that both sides have")
        self._algorithm = chosen
        self._identifier = secrets.randbelow(256)
        self._challenge = self._ledger.issue()
        return [
            ("CHAP_A", chosen),
            ("CHAP_I", str(self._identifier)),
            ("CHAP_C", encode_binary(self._challenge)),
        ]

    def _verify(self, keys: Mapping[str, str]) -> list[tuple[str, str]]:
        name, answer = keys.get("CHAP_N"), keys.get("CHAP_R")
        if name is None or answer is None:
            raise _failure("no CHAP_N or CHAP_R")
        if not self._accepted:
            raise _failure("no CHAP credentials are set for this initiator")
        try:
            given = decode_binary(answer)
        except ValueError:
            raise _failure("a malformed CHAP_R") from None
        proven = None
        for accepted in self._accepted:
            wanted = response(self._algorithm, self._identifier, accepted.secret, self._challenge)
            # Both are computed before either is looked at: time tells nothing about which one was wrong.
            right_name = hmac.compare_digest(name.encode(), accepted.name.encode(errors="surrogateescape"))
            right_answer = hmac.compare_digest(given, wanted)
            if right_name and right_answer:
                proven = accepted
        if proven is None:
            raise _failure("wrong CHAP name or secret")
        reply = self._prove(keys, proven)
        self._ledger.forget(self._challenge)
        self.done = True
        return reply

    def _prove(self, keys: Mapping[str, str], accepted: ChapSecrets) -> list[tuple[str, str]]:
        """Our own response, when the initiator asks for mutual authentication."""
        identifier_text, challenge_text = keys.get("CHAP_I"), keys.get("CHAP_C")
        if identifier_text is None and challenge_text is None:
            if accepted.mutual_secret:
                # LIO's rule: where both secrets are set, both sides prove themselves.
                raise _failure("mutual CHAP is configured and the initiator did not ask for it")
            return []
        if identifier_text is None or challenge_text is None:
            raise _failure("CHAP_I and CHAP_C go together")
        if not accepted.mutual_secret:
            raise _failure("mutual CHAP is asked for and no mutual secret is set")
        try:
            identifier = parse_number(identifier_text)
            challenge = decode_binary(challenge_text)
        except ValueError:
            raise _failure("a malformed CHAP_I or CHAP_C") from None
        if identifier > 255 or not 0 < len(challenge) <= MAX_CHALLENGE:
            raise _failure("CHAP_I or CHAP_C out of range")
        if challenge in self._ledger:
            raise _failure("our own CHAP challenge came back")
        proof = response(self._algorithm, identifier, accepted.mutual_secret, challenge)
        return [("CHAP_N", accepted.mutual_name), ("CHAP_R", encode_binary(proof))]
