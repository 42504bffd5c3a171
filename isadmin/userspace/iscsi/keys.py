"""The operational keys: one table, and the negotiation that reads it.

A row of KEYS says what a key's value is, which values are in range, what holds when nobody speaks of it,
who may offer it and how the two sides' values become the result (RFC 7143 section 13; iSCSIProtocolLevel is
RFC 7144). Our side's values are the texts of a TPG's param/* as configfs shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, Flag, auto
from typing import Any, TypeAlias

from isadmin.userspace.iscsi.codes import LoginStatus
from isadmin.userspace.iscsi.errors import LoginError
from isadmin.userspace.iscsi.text import Pairs, format_pairs, parse_number

NOT_UNDERSTOOD = "NotUnderstood"
REJECT = "Reject"
IRRELEVANT = "Irrelevant"
NO_VALUES = frozenset((NOT_UNDERSTOOD, IRRELEVANT, REJECT))
"""What is said in place of a key's value, and needs no answer."""


class Kind(Enum):
    """What a value is."""

    NUMBER = auto()
    BOOLEAN = auto()
    LIST = auto()
    DECLARED_NUMBER = auto()
    DECLARED_TEXT = auto()
    OBSOLETE = auto()


class Use(Flag):
    """Where and by whom a key may be used."""

    INITIATOR = auto()
    TARGET = auto()
    LOGIN = auto()
    FULL_FEATURE = auto()
    LEADING = auto()
    """Only on a session's first connection: the result holds for all of it."""
    NORMAL_ONLY = auto()
    """Irrelevant in discovery sessions."""


_BOTH = Use.INITIATOR | Use.TARGET


@dataclass(frozen=True, slots=True)
class Key:
    """One row. `default` is a text as on the wire; low and high bound numbers; choices bound lists, in no
    order; result makes one number or truth value of the initiator's and ours."""

    name: str
    kind: Kind
    use: Use
    default: str = ""
    low: int = 0
    high: int = 0
    choices: tuple[str, ...] = ()
    result: Callable[[int, int], int] = min
    section: str = ""
    offered: bool = field(init=False)
    leading: bool = field(init=False)
    normal_only: bool = field(init=False)
    """Parts of `use`, as plain truth values: a flag test costs as much as all else about a key."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "offered", Use.INITIATOR in self.use)
        object.__setattr__(self, "leading", Use.LEADING in self.use)
        object.__setattr__(self, "normal_only", Use.NORMAL_ONLY in self.use)


def _and(theirs: int, ours: int) -> int:
    return theirs & ours


def _or(theirs: int, ours: int) -> int:
    return theirs | ours


_LENGTH_MAX = (1 << 24) - 1
_SESSION = _BOTH | Use.LOGIN | Use.LEADING | Use.NORMAL_ONLY
_DISCOVERY_TOO = _BOTH | Use.LOGIN | Use.LEADING
_CONNECTION = _BOTH | Use.LOGIN

# fmt: off
KEYS: dict[str, Key] = {key.name: key for key in (
    Key("HeaderDigest", Kind.LIST, _CONNECTION, "None", choices=("CRC32C", "None"), section="13.1"),
    Key("DataDigest", Kind.LIST, _CONNECTION, "None", choices=("CRC32C", "None"), section="13.1"),
    Key("MaxConnections", Kind.NUMBER, _SESSION, "1", 1, 65535, section="13.2"),
    Key("TargetName", Kind.DECLARED_TEXT, Use.INITIATOR | Use.LOGIN, section="13.4"),
    Key("InitiatorName", Kind.DECLARED_TEXT, Use.INITIATOR | Use.LOGIN, section="13.5"),
    Key("TargetAlias", Kind.DECLARED_TEXT, Use.TARGET | Use.LOGIN | Use.FULL_FEATURE, section="13.6"),
    Key("InitiatorAlias", Kind.DECLARED_TEXT, Use.INITIATOR | Use.LOGIN | Use.FULL_FEATURE, section="13.7"),
    Key("TargetAddress", Kind.DECLARED_TEXT, Use.TARGET | Use.LOGIN | Use.FULL_FEATURE, section="13.8"),
    Key("TargetPortalGroupTag", Kind.DECLARED_NUMBER, Use.TARGET | Use.LOGIN, "", 0, 65535, section="13.9"),
    Key("InitialR2T", Kind.BOOLEAN, _SESSION, "Yes", result=_or, section="13.10"),
    Key("ImmediateData", Kind.BOOLEAN, _SESSION, "Yes", result=_and, section="13.11"),
    Key("MaxRecvDataSegmentLength", Kind.DECLARED_NUMBER, _BOTH | Use.LOGIN | Use.FULL_FEATURE, "8192",
        512, _LENGTH_MAX, section="13.12"),
    Key("MaxBurstLength", Kind.NUMBER, _SESSION, "262144", 512, _LENGTH_MAX, section="13.13"),
    Key("FirstBurstLength", Kind.NUMBER, _SESSION, "65536", 512, _LENGTH_MAX, section="13.14"),
    Key("DefaultTime2Wait", Kind.NUMBER, _DISCOVERY_TOO, "2", 0, 3600, result=max, section="13.15"),
    Key("DefaultTime2Retain", Kind.NUMBER, _DISCOVERY_TOO, "20", 0, 3600, section="13.16"),
    Key("MaxOutstandingR2T", Kind.NUMBER, _SESSION, "1", 1, 65535, section="13.17"),
    Key("DataPDUInOrder", Kind.BOOLEAN, _SESSION, "Yes", result=_or, section="13.18"),
    Key("DataSequenceInOrder", Kind.BOOLEAN, _SESSION, "Yes", result=_or, section="13.19"),
    Key("ErrorRecoveryLevel", Kind.NUMBER, _DISCOVERY_TOO, "0", 0, 2, section="13.20"),
    Key("SessionType", Kind.DECLARED_TEXT, Use.INITIATOR | Use.LOGIN | Use.LEADING, "Normal",
        section="13.21"),
    Key("TaskReporting", Kind.LIST, _SESSION, "RFC3720", choices=("RFC3720",), section="13.23"),
    Key("iSCSIProtocolLevel", Kind.NUMBER, _DISCOVERY_TOO, "1", 0, 31, section="RFC 7144, 7.1.1"),
    Key("IFMarker", Kind.OBSOLETE, _BOTH | Use.LOGIN, "No", section="13.25"),
    Key("OFMarker", Kind.OBSOLETE, _BOTH | Use.LOGIN, "No", section="13.25"),
    Key("IFMarkInt", Kind.OBSOLETE, _BOTH | Use.LOGIN, REJECT, section="13.25"),
    Key("OFMarkInt", Kind.OBSOLETE, _BOTH | Use.LOGIN, REJECT, section="13.25"),
)}
# fmt: on

FIXED = {"ErrorRecoveryLevel": "0", "DataPDUInOrder": "Yes", "DataSequenceInOrder": "Yes"}
"""What we can do, whatever param/* says."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a connection and its session run with. Lengths in bytes, times in seconds."""

    header_digest: bool = False
    data_digest: bool = False
    max_connections: int = 1
    initial_r2t: bool = True
    immediate_data: bool = True
    max_recv_data_segment_length: int = 8192
    """What we declared: the longest data segment the initiator may send."""
    max_xmit_data_segment_length: int = 8192
    """The initiator's MaxRecvDataSegmentLength, or our own limit where that is less."""
    max_burst_length: int = 262144
    first_burst_length: int = 65536
    default_time2wait: int = 2
    default_time2retain: int = 20
    max_outstanding_r2t: int = 1
    data_pdu_in_order: bool = True
    data_sequence_in_order: bool = True
    error_recovery_level: int = 0


DEFAULTS = Parameters()

_ATTRIBUTE = {
    "MaxRecvDataSegmentLength": "max_xmit_data_segment_length",
    "HeaderDigest": "header_digest",
    "DataDigest": "data_digest",
    "MaxConnections": "max_connections",
    "InitialR2T": "initial_r2t",
    "ImmediateData": "immediate_data",
    "MaxBurstLength": "max_burst_length",
    "FirstBurstLength": "first_burst_length",
    "DefaultTime2Wait": "default_time2wait",
    "DefaultTime2Retain": "default_time2retain",
    "MaxOutstandingR2T": "max_outstanding_r2t",
    "DataPDUInOrder": "data_pdu_in_order",
    "DataSequenceInOrder": "data_sequence_in_order",
    "ErrorRecoveryLevel": "error_recovery_level",
}

SHOWN = (
    "DataPDUInOrder",
    "DataSequenceInOrder",
    "DefaultTime2Retain",
    "DefaultTime2Wait",
    "ErrorRecoveryLevel",
    "FirstBurstLength",
    "ImmediateData",
    "InitialR2T",
    "MaxBurstLength",
    "MaxConnections",
    "MaxOutstandingR2T",
)
"""The session-wide keys that acls/<initiator>/param shows."""


def shown(parameters: Parameters) -> dict[str, str]:
    """Session-wide results as numbers in text, as acls/<initiator>/param shows them."""
    return {name: str(int(getattr(parameters, _ATTRIBUTE[name]))) for name in SHOWN}


Answer: TypeAlias = tuple[str | None, int | None]
"""The text that goes back, if any, and the result for Parameters, if any."""


class OurSide:
    """Our side of negotiations: our value texts by key (a TPG's param/*). A key that is missing or unusable
    counts as its default."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {**values, **FIXED}
        self.max_recv_data_segment_length = self._number("MaxRecvDataSegmentLength")
        self.wishes = {key.name: text for key in KEYS.values() if (text := self._wish(key))}
        """What we propose of keys of which the initiator says nothing: their defaults are not ours."""

    def _wish(self, key: Key) -> str:
        """Our value of a key, if it would change what holds when nobody speaks of it."""
        if Use.TARGET not in key.use:
            return ""
        if key.kind is Kind.LIST:
            return "" if key.default in self._list(key) else ",".join(self._list(key))
        if key.kind not in (Kind.NUMBER, Kind.BOOLEAN):
            return ""
        answer, _ = self.answer(key, key.default)
        return "" if answer in (key.default, None) else answer

    def answer(self, key: Key, value: str) -> Answer:
        """What comes of an initiator's value, whatever else was said before."""
        return _ANSWER[key.kind](self, key, value)

    def _text(self, name: str) -> str:
        return self._values.get(name, "").strip() or KEYS[name].default

    def _number(self, name: str) -> int:
        key = KEYS[name]
        try:
            number = parse_number(self._text(name))
        except ValueError:
            number = parse_number(key.default)
        return min(max(number, key.low), key.high)

    def _to_number(self, key: Key, value: str) -> Answer:
        number = _in_range(key, value)
        if number is None:
            return REJECT, None
        result = key.result(number, self._number(key.name))
        return str(result), result

    def _to_boolean(self, key: Key, value: str) -> Answer:
        if value not in ("Yes", "No"):
            return REJECT, None
        result = bool(key.result(value == "Yes", self._text(key.name) == "Yes"))
        return "Yes" if result else "No", result

    def _list(self, key: Key) -> list[str]:
        ours = [item.strip() for item in self._text(key.name).split(",")]
        return [item for item in ours if item in key.choices] or [key.default]

    def _to_list(self, key: Key, value: str) -> Answer:
        ours = self._list(key)
        for item in value.split(","):
            if item in ours:
                return item, item != "None"
        if key.default not in ours:
            # To reject it would mean to go on without, as if nobody had asked for it here.
            raise LoginError(LoginStatus.INITIATOR_ERROR, f"{key.name} has to be {' or '.join(ours)}")
        return REJECT, None

    def _to_declared_number(self, key: Key, value: str) -> Answer:
        number = _in_range(key, value)
        if number is None:
            return REJECT, None
        limit = self._values.get("MaxXmitDataSegmentLength", "").strip()
        return None, min(number, max(int(limit), 512)) if limit else number

    def _to_obsolete(self, key: Key, value: str) -> Answer:
        del value
        return key.default, None


def _in_range(key: Key, value: str) -> int | None:
    """The number that the other side says, None if it is none that the key can have."""
    try:
        number = parse_number(value)
    except ValueError:
        return None
    return number if key.low <= number <= key.high else None


_ANSWER: dict[Kind, Callable[[OurSide, Key, str], Answer]] = {
    Kind.NUMBER: OurSide._to_number,
    Kind.BOOLEAN: OurSide._to_boolean,
    Kind.LIST: OurSide._to_list,
    Kind.DECLARED_NUMBER: OurSide._to_declared_number,
    Kind.OBSOLETE: OurSide._to_obsolete,
}


class Negotiator:
    """One connection's negotiation of operational keys, as the responder.

    discovery: whether keys of normal sessions are irrelevant. inherited: the results of the session that this
    connection joins; None on a session's first (leading) one.
    """

    def __init__(self, ours: OurSide, *, discovery: bool, inherited: Parameters | None = None) -> None:
        self._ours = ours
        self._discovery = discovery
        self._leading = inherited is None
        self._seen: set[str] = set()
        self._declared = False
        self._proposed: frozenset[str] = frozenset()
        """Keys of ours that the initiator has not answered yet."""
        self._results: dict[str, Any] = {"max_recv_data_segment_length": ours.max_recv_data_segment_length}
        if inherited is not None:
            for name, attribute in _ATTRIBUTE.items():
                if KEYS[name].leading:
                    self._results[attribute] = getattr(inherited, attribute)

    @property
    def untouched(self) -> bool:
        """Nothing has been said yet."""
        return not (self._seen or self._declared)

    def copy(self) -> Negotiator:
        """Another one that has heard and said the same."""
        new = Negotiator(self._ours, discovery=self._discovery)
        new._leading = self._leading
        new._seen = self._seen.copy()
        new._declared = self._declared
        new._proposed = self._proposed
        new._results = self._results.copy()
        return new

    def declarations(self) -> bytes:
        """What we declare of ourselves, once: the first call has it, later ones are empty."""
        if self._declared:
            return b""
        self._declared = True
        return format_pairs([("MaxRecvDataSegmentLength", str(self._ours.max_recv_data_segment_length))])

    def proposals(self) -> bytes:
        """What we have to propose at the end of the negotiation, for the initiator to answer before it goes
        on; empty when that is nothing."""
        new = self._ours.wishes.keys() - self._seen
        if not self._leading:
            new = {name for name in new if not KEYS[name].leading}
        if self._discovery:
            new = {name for name in new if not KEYS[name].normal_only}
        self._seen |= new
        self._proposed |= new
        return format_pairs((name, text) for name, text in self._ours.wishes.items() if name in new)

    def receive(self, pairs: Pairs) -> bytes:
        """Our answers to keys of the initiator that come together, with our declarations once it has made
        its own. LoginError(INITIATOR_ERROR) for a key sent twice, or by the wrong side, and
        where we insist on what it does not offer."""
        said: list[bytes] = []
        for key, value in pairs:
            answer = self.answer(key, value)
            if answer is not None:
                said.append(format_pairs([(key, answer)]))
            if key == "MaxRecvDataSegmentLength":
                said.append(self.declarations())
        return b"".join(said)

    def answer(self, name: str, value: str) -> str | None:
        """Our answer to one key of the initiator, None where a declaration needs none. LoginError as from
        `receive`."""
        key = KEYS.get(name)
        if key is None:
            return NOT_UNDERSTOOD
        if name in self._proposed:
            self._settle(key, value)
            return None
        if name in self._seen:
            raise LoginError(LoginStatus.INITIATOR_ERROR, f"{name} was sent twice")
        self._seen.add(name)
        if not key.offered:
            raise LoginError(LoginStatus.INITIATOR_ERROR, f"{name} is not for the initiator to send")
        if key.kind is Kind.DECLARED_TEXT or value in NO_VALUES:
            return None
        if (self._discovery and key.normal_only) or (key.leading and not self._leading):
            # What holds for all of a session was settled by its first connection.
            return IRRELEVANT
        answer, result = self._ours.answer(key, value)
        attribute = _ATTRIBUTE.get(name)
        if attribute is not None and result is not None:
            if name == "FirstBurstLength":
                # Section 13.14: it must not exceed MaxBurstLength.
                result = min(result, self._results.get("max_burst_length", DEFAULTS.max_burst_length))
                answer = str(result)
            self._results[attribute] = result
        return answer

    def _settle(self, key: Key, value: str) -> None:
        """The initiator's answer to a proposal of ours: a default holds where it has no value for the key."""
        self._proposed -= {key.name}
        if key.kind is not Kind.LIST and value in NO_VALUES:
            return
        answer, result = self._ours.answer(key, value)
        if answer != value:
            raise LoginError(LoginStatus.INITIATOR_ERROR, f"{key.name}={value} answers no proposal of ours")
        self._results[_ATTRIBUTE[key.name]] = result

    def finish(self) -> Parameters:
        """The results. LoginError(INITIATOR_ERROR) when the initiator is silent about what we insist on."""
        for name in self._ours.wishes:
            if KEYS[name].kind is Kind.LIST and _ATTRIBUTE[name] not in self._results:
                raise LoginError(LoginStatus.INITIATOR_ERROR, f"{name} has to be negotiated")
        return Parameters(**self._results)
