"""The login phase of one connection as a machine: Login Requests in, the bytes of Login Responses out.

The stages and their transits are a table (RFC 7143 section 6.3): the pair of the stage a request is in
(CSG) and where it wants to go (NSG, or None without the T bit) has an entry, or the request is an error.
What the machine cannot know - which targets there are, who may log in, which sessions exist - it asks an
Authority.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from struct import Struct
from typing import NamedTuple, Protocol, TypeAlias

from isadmin.userspace.iscsi.chap import ChallengeLedger, Chap, ChapSecrets
from isadmin.userspace.iscsi.codes import LoginStatus, Opcode, Stage
from isadmin.userspace.iscsi.errors import LoginError, ProtocolError
from isadmin.userspace.iscsi.keys import Negotiator, OurSide, Parameters
from isadmin.userspace.iscsi.pdu import padding
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

MAX_ANSWER = 8192
"""Bytes of a response's text: what an initiator takes before it has said otherwise (section 13.12)."""

_REQUEST = Struct(">xBxB4x14s2xI20x").unpack
"""A Login Request (section 11.12): T, C, CSG and NSG; Version-min; ISID, TSIH, ITT and CID; CmdSN."""
_NAMES = Struct(">6sHIH").unpack
"""ISID, TSIH, ITT, CID: what stays the same in all requests of a login (section 6.3)."""
_RESPONSE = Struct(">BBxxI12s4xIIIH10x").pack
"""A Login Response (section 11.13): opcode; T bit, CSG and NSG; data length; ISID, TSIH and ITT; StatSN;
ExpCmdSN; MaxCmdSN; status."""
_LOGIN_RESPONSE = int(Opcode.LOGIN_RESPONSE)
_TRANSIT = 0x80
_CONTINUED = 0x40
_CSG = 0x0C

_STAGES = {int(stage): stage for stage in Stage}
_CHAP_KEYS = frozenset(("CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R"))
_IDENTITY_KEYS = frozenset(("InitiatorName", "InitiatorAlias", "TargetName", "SessionType"))
LOGIN_KEYS = _CHAP_KEYS | _IDENTITY_KEYS | {"AuthMethod"}

MAX_REMEMBERED_TEXT = 2048
"""Bytes of a text whose meaning is remembered."""
MAX_REMEMBERED = 256
"""Steps that a Grant remembers: initiators of one make all say the same."""


def _way(flags: int) -> tuple[Stage, Stage | None] | None:
    """The stage that a request with these flags (byte 1) is in, and where it wants to go; None when there is
    no such way."""
    current = _STAGES.get(flags >> 2 & 3)
    following = _STAGES.get(flags & 3) if flags & _TRANSIT else None
    if current is None or (current, following) not in TRANSITS:
        return None
    if flags & _TRANSIT and (flags & _CONTINUED or following is None):
        return None
    return current, following


_WAYS = [_way(flags) for flags in range(256)]

Offer: TypeAlias = tuple[str | None, Pairs]
"""AuthMethod, and the operational keys."""


class Said(NamedTuple):
    """The keys of one text, by what they are about."""

    identity: dict[str, str]
    offer: Offer
    """AuthMethod, and all keys that are about nothing else here."""
    chap: dict[str, str]


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
    return Said(identity, (known.get("AuthMethod"), tuple(operational)), chap)


_remembered = lru_cache(1024)(_said_by)


def said_by(text: bytes) -> Said:
    """What a whole text says (do not change it). ProtocolError when it is not key=value, LoginError for what
    no text may say; operational keys are the Negotiator's. Initiators of one make all say the same, so most
    texts need no second look; what proves an identity is never kept."""
    if len(text) > MAX_REMEMBERED_TEXT or b"CHAP_" in text:
        return _said_by(text)
    return _remembered(text)


def normal_name(name: str) -> str:
    """An initiator's name as ACLs have it: names that differ in the case of letters are one (section
    4.2.7.1), which LIO, too, has in lower case."""
    return name.lower()


class Identity(NamedTuple):
    """Who logs in, and to what. target is empty in a discovery session."""

    initiator: str
    alias: str
    target: str
    discovery: bool
    isid: bytes
    tsih: int
    cid: int


class Step(NamedTuple):
    """What a request came to, and the state of the login after it."""

    flags: int
    """T bit, CSG and NSG of the response."""
    answer: bytes
    """Its text, padded."""
    length: int
    """Bytes of the text without padding."""
    stage: Stage
    method: str
    """The AuthMethod that was chosen by now."""
    negotiator: Negotiator
    """Operational keys so far. Copy it before more is said: steps are shared."""
    parameters: Parameters | None
    """What they came to, once the full-feature phase is reached."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What the Authority says about an Identity that it does not refuse.

    `steps` is the machines' memory: what requests came to under this grant, by what had been said before (see
    LoginMachine._before), the request's flags and its offer. Nothing else decides about it but CHAP, whose
    requests are not remembered, so that the next login that says the same need not be negotiated anew. It
    goes with the grant: the Authority makes another one when anything about it has changed.
    """

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
    steps: dict[tuple[object, int, Offer], Step] = field(
        init=False, default_factory=dict, compare=False, repr=False
    )

    def remember(self, before: object, flags: int, offer: Offer, step: Step) -> None:
        """Keep what a request came to, unless it is too long to be kept."""
        if sum(len(key) + len(value) for key, value in offer[1]) <= MAX_REMEMBERED_TEXT:
            if len(self.steps) >= MAX_REMEMBERED:
                self.steps.clear()
            self.steps[before, flags, offer] = step


def introduction(tpgt: int, alias: str) -> bytes:
    """What a portal group tells of itself in its first answer (RFC 7143 sections 13.6, 13.9)."""
    return format_pairs([("TargetPortalGroupTag", str(tpgt)), *([("TargetAlias", alias)] if alias else [])])


class Established(NamedTuple):
    """The session that a login has led to, and its command window."""

    tsih: int
    exp_cmd_sn: int
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


class _Unknown:
    """What has been said before is nothing to be remembered by."""


_UNKNOWN = _Unknown()


class LoginMachine:
    """One connection's login. Feed Login Requests to `receive`; send what it returns. `done` once the
    full-feature phase is reached, `failed` once a failure response was returned: close the connection
    then."""

    __slots__ = (
        "_before",
        "_chap",
        "_grant",
        "_method",
        "_names",
        "_negotiator",
        "_requests",
        "_stage",
        "_text",
        "authority",
        "cid",
        "cmd_sn",
        "done",
        "failed",
        "identity",
        "initiator",
        "parameters",
        "reason",
        "stat_sn",
    )

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.stat_sn = 1
        """StatSN of the next response."""
        self.done = False
        self.failed: LoginStatus | None = None
        self.reason = ""
        """Why it failed, for the log."""
        self.identity: Identity | None = None
        self.parameters: Parameters | None = None
        self.cmd_sn = 0
        """The CmdSN of the login requests: the first command's."""
        self.cid = 0
        self.initiator = ""
        """Its name, for reports on failed logins."""
        self._names = b""
        """ISID, TSIH, ITT and CID of the first request."""
        self._stage = Stage.SECURITY
        self._text = b""
        """What continued requests have said so far."""
        self._requests = 0
        self._grant: Grant | None = None
        self._before: object = _UNKNOWN
        """What Grant.steps knows all that was said so far by: at first whether it is a discovery session,
        then the negotiator of the last Step, which is of no other; after CHAP the former and the stage."""
        self._negotiator: Negotiator | None = None
        self._method = ""
        self._chap: Chap | None = None

    @property
    def ours(self) -> OurSide:
        """Our side of the operational keys, once the initiator has named itself."""
        assert self._grant is not None
        return self._grant.values

    def receive(self, header: bytes, data: bytes) -> bytes:
        """The response to one request, given as its basic header segment and its data, as it goes on the wire
        (sections 11.12, 11.13). Never raises: what is wrong becomes a failure response."""
        try:
            return self._receive(header, data)
        except LoginError as error:
            return self._fail(header, error.status, str(error))
        except ProtocolError as error:
            return self._fail(header, LoginStatus.INITIATOR_ERROR, str(error))

    def close(self) -> None:
        """The connection is gone, or the login over."""
        if self._chap is not None:
            self._chap.close()

    def _fail(self, header: bytes, status: LoginStatus, reason: str) -> bytes:
        self.failed = status
        self.reason = reason
        self.close()
        flags, _, names, cmd_sn = _REQUEST(header)
        return self._response(flags & _CSG, names, cmd_sn, status=status)

    def _response(
        self,
        flags: int,
        names: bytes,
        cmd_sn: int,
        text: bytes = b"",
        length: int = 0,
        made: Established | None = None,
        status: int = 0,
    ) -> bytes:
        """length: of the text, without its padding."""
        stat_sn = self.stat_sn
        self.stat_sn = stat_sn + 1 & 0xFFFFFFFF
        # Before there is a session there is room for its first command: a window never closes again.
        exp_cmd_sn = max_cmd_sn = cmd_sn
        if made is not None:
            tsih, exp_cmd_sn, max_cmd_sn = made
            names = names[:6] + tsih.to_bytes(2, "big") + names[8:]
        numbers = stat_sn, exp_cmd_sn, max_cmd_sn
        return _RESPONSE(_LOGIN_RESPONSE, flags, length, names[:12], *numbers, status) + text

    def _receive(self, header: bytes, data: bytes) -> bytes:
        flags, version_min, names, cmd_sn = _REQUEST(header)
        if self.done or self.failed is not None:
            raise LoginError(LoginStatus.INVALID_DURING_LOGIN, "a login request after the login")
        self._requests += 1
        if self._requests > MAX_REQUESTS:
            raise LoginError(LoginStatus.INITIATOR_ERROR, "a login without end")
        way = _WAYS[flags]
        if way is None:
            raise LoginError(LoginStatus.INITIATOR_ERROR, f"no way by the flags 0x{flags:02x}")
        current, following = way
        if not self._names:
            self._begin(current, version_min, names, cmd_sn)
        elif names != self._names:
            raise LoginError(LoginStatus.INITIATOR_ERROR, "another ISID, TSIH, CID or tag in mid-login")
        elif current is not self._stage:
            raise LoginError(
                LoginStatus.INITIATOR_ERROR, f"stage {int(current)} where {int(self._stage)} was agreed"
            )
        text = self._text + data if self._text else data
        if len(text) > MAX_TEXT:
            raise LoginError(LoginStatus.INITIATOR_ERROR, "a login text without end")
        if flags & _CONTINUED:
            self._text = text
            return self._response(flags & _CSG, names, cmd_sn)
        self._text = b""
        said = said_by(text)
        grant = self._grant
        if grant is None:
            grant = self._identify(names, said.identity)
        elif said.identity:
            self._same_identity(said.identity)
        before, chap = self._before, said.chap
        step = grant.steps.get((before, flags, said.offer)) if not chap else None
        if step is None:
            step = self._step(grant, current, following, said)
            if not chap and before is not _UNKNOWN:
                grant.remember(before, flags, said.offer, step)
        flags, answer, length, self._stage, method, self._negotiator, parameters = step
        if method != self._method:
            self._take_method(grant, method)
        if chap:
            self._before = self._after_chap(step)
        elif before is not _UNKNOWN:
            self._before = step.negotiator
        if parameters is None:
            return self._response(flags, names, cmd_sn, answer, length)
        self.parameters = parameters
        made = self.authority.establish(self)
        self.done = True
        self.close()
        return self._response(flags, names, cmd_sn, answer, length, made)

    def _begin(self, current: Stage, version_min: int, names: bytes, cmd_sn: int) -> None:
        """The first request."""
        self.cmd_sn = cmd_sn
        self._names = names
        self._stage = current
        if version_min > 0:
            raise LoginError(LoginStatus.UNSUPPORTED_VERSION, f"version {version_min} or newer")

    def _identify(self, names: bytes, given: dict[str, str]) -> Grant:
        """Ask the authority about the initiator."""
        isid, tsih, _, self.cid = _NAMES(names)
        self.initiator = initiator = normal_name(given.get("InitiatorName", ""))
        target = given.get("TargetName", "")
        discovery = given.get("SessionType") == "Discovery"
        if not initiator:
            raise LoginError(LoginStatus.MISSING_PARAMETER, "no InitiatorName")
        if discovery:
            target = ""
        elif not target:
            raise LoginError(LoginStatus.MISSING_PARAMETER, "no TargetName")
        self.identity = identity = Identity(
            initiator, given.get("InitiatorAlias", ""), target, discovery, isid, tsih, self.cid
        )
        grant = self.authority.identify(identity)
        if self._stage is Stage.OPERATIONAL and grant.auth_required:
            raise LoginError(LoginStatus.AUTHENTICATION_FAILURE, "the security stage was left out")
        self._grant, self._before = grant, discovery
        return grant

    def _same_identity(self, given: dict[str, str]) -> None:
        """Names may be repeated in later requests; they may not change."""
        identity = self.identity
        assert identity is not None
        known = {"InitiatorName": identity.initiator, "TargetName": identity.target}
        for key, value in given.items():
            if known.get(key) and known[key] != (normal_name(value) if key == "InitiatorName" else value):
                raise LoginError(LoginStatus.INITIATOR_ERROR, f"{key} changed in mid-login")

    def _step(self, grant: Grant, current: Stage, following: Stage | None, said: Said) -> Step:
        """What a request comes to."""
        identity = self.identity
        assert identity is not None
        answer = b""
        if self._negotiator is None:
            negotiator = Negotiator(grant.values, discovery=identity.discovery, inherited=grant.inherited)
            if not identity.discovery:
                answer = grant.introduction
        else:
            negotiator = self._negotiator.copy()
        offered, operational = said.offer
        if offered is not None:
            self._take_method(grant, self._choose_method(grant, offered))
            answer += b"AuthMethod=" + self._method.encode() + b"\0"
        if operational:
            answer += negotiator.receive(operational)
        if said.chap:
            if self._chap is None:
                raise LoginError(LoginStatus.INITIATOR_ERROR, "a CHAP key before AuthMethod=CHAP")
            answer += format_pairs(self._chap.step(said.chap))
        if current is Stage.SECURITY and not self._security_finished(grant, following):
            following = None
        if current is Stage.OPERATIONAL or following is Stage.FULL_FEATURE:
            answer += negotiator.declarations()
        if current is Stage.OPERATIONAL and following is not None and (proposals := negotiator.proposals()):
            answer += proposals
            following = None
        length = len(answer)
        if length > MAX_ANSWER:
            raise LoginError(LoginStatus.INITIATOR_ERROR, "more keys than can be answered at once")
        return Step(
            flags=current << 2 | (0 if following is None else _TRANSIT | following),
            answer=answer + padding(length),
            length=length,
            stage=TRANSITS[current, following],
            method=self._method,
            negotiator=negotiator,
            parameters=negotiator.finish() if following is Stage.FULL_FEATURE else None,
        )

    def _after_chap(self, step: Step) -> object:
        """What all that was said is known by after CHAP: which challenge it was makes no difference then."""
        assert self.identity is not None
        assert self._chap is not None
        if self._chap.done and step.negotiator.untouched:
            return self.identity.discovery, step.stage
        return _UNKNOWN

    def _choose_method(self, grant: Grant, offered: str) -> str:
        if self._method or self._stage is not Stage.SECURITY:
            raise LoginError(LoginStatus.INITIATOR_ERROR, "AuthMethod out of place")
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
        return chosen

    def _take_method(self, grant: Grant, method: str) -> None:
        self._method = method
        if method == "CHAP":
            self._chap = Chap(grant.secrets, self.authority.challenges)

    def _security_finished(self, grant: Grant, following: Stage | None) -> bool:
        if self._chap is not None:
            return self._chap.done
        if grant.auth_required and following is not None:
            raise LoginError(LoginStatus.AUTHENTICATION_FAILURE, "authentication is required")
        return True
