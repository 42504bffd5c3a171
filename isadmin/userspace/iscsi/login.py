"""The login phase of one connection as a machine: Login Requests in, the bytes of Login Responses out.

The stages and their transits are a table (RFC 7143 section 6.3): the pair of the stage a request is in
(CSG) and where it wants to go (NSG, or None without the T bit) has an entry, or the request is an error.
What the machine cannot know - which targets there are, who may log in, which sessions exist - it asks an
Authority.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import NamedTuple, Protocol

from isadmin.userspace.iscsi.chap import ChallengeLedger, Chap, ChapSecrets
from isadmin.userspace.iscsi.codes import LoginStatus, Opcode, Stage
from isadmin.userspace.iscsi.errors import LoginError, ProtocolError
from isadmin.userspace.iscsi.keys import Negotiator, OurSide, Parameters
from isadmin.userspace.iscsi.pdu import LoginRequest, padding
from isadmin.userspace.iscsi.text import MAX_TEXT, Pairs, format_pairs, parse_pairs

TRANSITS: dict[tuple[Stage, Stage | None], Stage] = {
    (Stage.SECURITY, None): Stage.SECURITY,
    (Stage.SECURITY, Stage.OPERATIONAL): Stage.OPERATIONAL,
    (Stage.SECURITY, Stage.FULL_FEATURE): Stage.FULL_FEATURE,
    (Stage.OPERATIONAL, None): Stage.OPERATIONAL,
    (Stage.OPERATIONAL, Stage.FULL_FEATURE): Stage.FULL_FEATURE,
}

MAX_REQUESTS = 64
"""Requests of one login before we give up; a real one needs two to six."""

MAX_NAME = 223
"""Bytes of an iSCSI name (section 4.2.7.1)."""

DEFAULT_WINDOW = 64
"""Commands that responses promise room for before there is a session."""

_RESPONSE = Struct(">BBxxI6sHI4xIIIH10x")
"""A Login Response (section 11.13): opcode; T bit, CSG and NSG; data length; ISID; TSIH; ITT; StatSN;
ExpCmdSN; MaxCmdSN; status."""
_LOGIN_RESPONSE = int(Opcode.LOGIN_RESPONSE)
_TRANSIT = 0x80

_STAGES = {int(stage): stage for stage in Stage}
_CHAP_KEYS = frozenset(("CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R"))
_IDENTITY_KEYS = frozenset(("InitiatorName", "InitiatorAlias", "TargetName", "SessionType"))
LOGIN_KEYS = _CHAP_KEYS | _IDENTITY_KEYS | {"AuthMethod"}

MAX_REMEMBERED_TEXT = 2048
"""Bytes of a text whose meaning is remembered."""


class Said(NamedTuple):
    """The keys of one text, by what they are about."""

    identity: dict[str, str]
    method: str | None
    """AuthMethod."""
    chap: dict[str, str]
    operational: Pairs
    """All others."""


def _said_by(text: bytes) -> Said:
    known: dict[str, str] = {}
    operational = []
    for key, value in parse_pairs(text):
        if key not in LOGIN_KEYS:
            operational.append((key, value))
        elif key in known:
            raise LoginError(LoginStatus.INITIATOR_ERROR, f"{key} was sent twice")
        elif key in ("InitiatorName", "TargetName") and len(value.encode()) > MAX_NAME:
            raise LoginError(LoginStatus.INITIATOR_ERROR, "a name of more than 223 bytes")
        elif key == "SessionType" and value not in ("Normal", "Discovery"):
            raise LoginError(LoginStatus.SESSION_TYPE_NOT_SUPPORTED, "an unknown SessionType")
        else:
            known[key] = value
    identity = {key: value for key, value in known.items() if key in _IDENTITY_KEYS}
    chap = {key: value for key, value in known.items() if key in _CHAP_KEYS}
    return Said(identity, known.get("AuthMethod"), chap, tuple(operational))


_remembered = lru_cache(128)(_said_by)


def said_by(text: bytes) -> Said:
    """What a whole text says (do not change it). ProtocolError when it is not key=value, LoginError for what
    no text may say; operational keys are the Negotiator's. Initiators of one make all say the same, so most
    texts need no second look; what proves an identity is never kept."""
    if len(text) > MAX_REMEMBERED_TEXT or b"CHAP_" in text:
        return _said_by(text)
    return _remembered(text)


class Identity(NamedTuple):
    """Who logs in, and to what. target is empty in a discovery session."""

    initiator: str
    alias: str
    target: str
    discovery: bool
    isid: bytes
    tsih: int
    cid: int


class Grant(NamedTuple):
    """What the Authority says about an Identity that it does not refuse."""

    introduction: bytes
    """TargetPortalGroupTag and TargetAlias as they go on the wire; unused in discovery."""
    values: OurSide
    """Our side's operational keys (param/*)."""
    auth_required: bool
    """AuthMethod=None is not good enough."""
    methods: tuple[str, ...] = ("CHAP", "None")
    """The AuthMethods that we have."""
    secrets: tuple[ChapSecrets, ...] = ()
    """What CHAP accepts."""
    inherited: Parameters | None = None
    """The session's parameters when this connection joins one."""


def introduction(tpgt: int, alias: str) -> bytes:
    """What a portal group tells of itself in its first answer (RFC 7143 sections 13.6, 13.9)."""
    return format_pairs([("TargetPortalGroupTag", str(tpgt)), *([("TargetAlias", alias)] if alias else [])])


class Established(NamedTuple):
    """The session that a login has led to."""

    tsih: int
    max_cmd_sn: int


class Authority(Protocol):
    """What knows the targets and the sessions."""

    challenges: ChallengeLedger

    def identify(self, identity: Identity) -> Grant:
        """Whether this initiator may log in to this target. LoginError with the status if not."""
        ...

    def establish(self, machine: LoginMachine) -> Established:
        """The login is complete: join or make the session. LoginError if it cannot be."""
        ...


@dataclass(slots=True)
class LoginMachine:
    """One connection's login. Feed Login Requests to `receive`; send what it returns. `done` once the
    full-feature phase is reached, `failed` once a failure response was returned: close the connection
    then."""

    authority: Authority
    stat_sn: int = 1
    """StatSN of the next response."""
    done: bool = False
    failed: LoginStatus | None = None
    reason: str = ""
    """Why it failed, for the log."""
    identity: Identity | None = None
    parameters: Parameters | None = None
    cmd_sn: int = 0
    """The CmdSN of the login requests: the first command's."""
    cid: int = 0
    initiator: str = ""
    """InitiatorName as given, for reports on failed logins."""
    _first: LoginRequest | None = None
    _stage: Stage = Stage.SECURITY
    _text: bytes = b""
    """What continued requests have said so far."""
    _requests: int = 0
    _grant: Grant | None = None
    _negotiator: Negotiator | None = None
    _method: str = ""
    _chap: Chap | None = None

    def receive(self, request: LoginRequest) -> bytes:
        """The response to one request, as it goes on the wire (section 11.13). Never raises: what is wrong
        becomes a failure response."""
        try:
            return self._receive(request)
        except LoginError as error:
            return self._fail(request, error.status, str(error))
        except ProtocolError as error:
            return self._fail(request, LoginStatus.INITIATOR_ERROR, str(error))

    def close(self) -> None:
        """The connection is gone, or the login over."""
        if self._chap is not None:
            self._chap.close()

    def _fail(self, request: LoginRequest, status: LoginStatus, reason: str) -> bytes:
        self.failed = status
        self.reason = reason
        self.close()
        return self._response(request, 0, status=status)

    def _response(
        self,
        request: LoginRequest,
        flags: int,
        text: bytes = b"",
        made: Established | None = None,
        status: int = 0,
    ) -> bytes:
        stat_sn, cmd_sn, length = self.stat_sn, request.cmd_sn, len(text)
        self.stat_sn = stat_sn + 1 & 0xFFFFFFFF
        if made is None:
            tsih, max_cmd_sn = request.tsih, cmd_sn + DEFAULT_WINDOW - 1 & 0xFFFFFFFF
        else:
            tsih, max_cmd_sn = made
        header = _RESPONSE.pack(
            _LOGIN_RESPONSE, flags | request.csg << 2, length, request.isid, tsih, request.itt,
            stat_sn, cmd_sn, max_cmd_sn, status,
        )  # fmt: skip
        return header + text + padding(length) if length else header

    def _receive(self, request: LoginRequest) -> bytes:
        if self.done or self.failed is not None:
            raise LoginError(LoginStatus.INVALID_DURING_LOGIN, "a login request after the login")
        self._check_header(request)
        text = self._text + request.data
        if len(text) > MAX_TEXT:
            raise LoginError(LoginStatus.INITIATOR_ERROR, "a login text without end")
        if request.continued:
            self._text = text
            return self._response(request, 0)
        self._text = b""
        said = said_by(text)
        answer = b""
        if self._grant is None:
            answer = self._identify(request, said.identity)
        elif said.identity:
            self._same_identity(said.identity)
        answer += self._answer(said)
        finished = self._stage is not Stage.SECURITY or self._security_finished(request)
        transit = request.transit and finished
        if self._stage is Stage.OPERATIONAL or (transit and request.nsg == Stage.FULL_FEATURE):
            assert self._negotiator is not None
            answer += self._negotiator.declarations()
        if not transit:
            return self._response(request, 0, answer)
        made = None
        self._stage = TRANSITS[self._stage, _STAGES[request.nsg]]
        if self._stage is Stage.FULL_FEATURE:
            made = self._establish()
        return self._response(request, _TRANSIT | request.nsg, answer, made)

    def _check_header(self, request: LoginRequest) -> None:
        self._requests += 1
        if self._requests > MAX_REQUESTS:
            raise LoginError(LoginStatus.INITIATOR_ERROR, "a login without end")
        current = _STAGES.get(request.csg)
        following = _STAGES.get(request.nsg) if request.transit else None
        if request.transit and (request.continued or following is None):
            raise LoginError(LoginStatus.INITIATOR_ERROR, "T with C, or with a reserved NSG")
        if current is None or (current, following) not in TRANSITS:
            raise LoginError(LoginStatus.INITIATOR_ERROR, f"no way from stage {request.csg} to {request.nsg}")
        first = self._first
        if first is None:
            self.cmd_sn, self.cid = request.cmd_sn, request.cid
            if request.version_min > 0:
                raise LoginError(LoginStatus.UNSUPPORTED_VERSION, f"version {request.version_min} or newer")
            self._first = request
            self._stage = current
            return
        if current is not self._stage:
            raise LoginError(
                LoginStatus.INITIATOR_ERROR, f"stage {request.csg} where {int(self._stage)} was agreed"
            )
        if (request.isid, request.tsih, request.cid, request.itt) != (
            first.isid,
            first.tsih,
            first.cid,
            first.itt,
        ):
            raise LoginError(LoginStatus.INITIATOR_ERROR, "another ISID, TSIH, CID or tag in mid-login")

    def _identify(self, request: LoginRequest, given: dict[str, str]) -> bytes:
        """Ask the authority about the initiator; what we tell of ourselves."""
        self.initiator = initiator = given.get("InitiatorName", "")
        target = given.get("TargetName", "")
        kind = given.get("SessionType", "Normal")
        if not initiator:
            raise LoginError(LoginStatus.MISSING_PARAMETER, "no InitiatorName")
        if kind == "Normal" and not target:
            raise LoginError(LoginStatus.MISSING_PARAMETER, "no TargetName")
        self.identity = identity = Identity(
            initiator,
            given.get("InitiatorAlias", ""),
            target if kind == "Normal" else "",
            kind == "Discovery",
            request.isid,
            request.tsih,
            request.cid,
        )
        grant = self.authority.identify(identity)
        self._grant = grant
        if self._stage is Stage.OPERATIONAL and grant.auth_required:
            raise LoginError(LoginStatus.AUTHENTICATION_FAILURE, "the security stage was left out")
        self._negotiator = Negotiator(grant.values, discovery=identity.discovery, inherited=grant.inherited)
        return b"" if identity.discovery else grant.introduction

    def _answer(self, said: Said) -> bytes:
        answer = b""
        if said.method is not None:
            answer = b"AuthMethod=" + self._choose_method(said.method).encode() + b"\0"
        if said.operational:
            assert self._negotiator is not None
            answer += self._negotiator.receive(said.operational)
        if said.chap:
            if self._chap is None:
                raise LoginError(LoginStatus.INITIATOR_ERROR, "a CHAP key before AuthMethod=CHAP")
            answer += format_pairs(self._chap.step(said.chap))
        return answer

    def _same_identity(self, given: dict[str, str]) -> None:
        """Names may be repeated in later requests; they may not change."""
        identity = self.identity
        assert identity is not None
        known = {"InitiatorName": identity.initiator, "TargetName": identity.target}
        for key, value in given.items():
            if known.get(key) and known[key] != value:
                raise LoginError(LoginStatus.INITIATOR_ERROR, f"{key} changed in mid-login")

    def _choose_method(self, offered: str) -> str:
        if self._method or self._stage is not Stage.SECURITY:
            raise LoginError(LoginStatus.INITIATOR_ERROR, "AuthMethod out of place")
        grant = self._grant
        assert grant is not None
        offers = offered.split(",")
        chosen: str | None
        if "None" in offers and "None" in grant.methods and not (grant.auth_required or grant.secrets):
            # CHAP cannot succeed without credentials, and nobody insists on it.
            chosen = "None"
        else:
            methods = [method for method in grant.methods if method != "None" or not grant.auth_required]
            chosen = next((method for method in offers if method in methods), None)
        if chosen is None:
            raise LoginError(LoginStatus.AUTHENTICATION_FAILURE, "no AuthMethod that both sides accept")
        self._method = chosen
        if chosen == "CHAP":
            self._chap = Chap(grant.secrets, self.authority.challenges)
        return chosen

    def _security_finished(self, request: LoginRequest) -> bool:
        grant = self._grant
        assert grant is not None
        if self._chap is not None:
            return self._chap.done
        if grant.auth_required and request.transit:
            raise LoginError(LoginStatus.AUTHENTICATION_FAILURE, "authentication is required")
        return True

    def _establish(self) -> Established:
        assert self._negotiator is not None
        self.parameters = self._negotiator.finish()
        made = self.authority.establish(self)
        self.done = True
        self.close()
        return made
