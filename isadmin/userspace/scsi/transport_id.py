"""TransportIDs of iSCSI initiator ports (SPC-4 7.6.4.6)."""

from __future__ import annotations

from isadmin.userspace.scsi.sense import invalid_parameter

PROTOCOL_ISCSI = 0x5
NAME, NAME_AND_ISID = 0x00, 0x40
SEPARATOR = ",i,0x"


def encode(initiator: str, isid: str) -> bytes:
    """Format 01b with the ISID (12 hex digits), 00b without."""
    kind = NAME_AND_ISID if isid else NAME
    name = (f"{initiator}{SEPARATOR}{isid}" if isid else initiator).encode() + b"\0"
    # 7.6.4.6: at least 20 bytes, a multiple of four.
    name += bytes(max(20 - len(name), -len(name) % 4))
    return bytes((kind | PROTOCOL_ISCSI, 0)) + len(name).to_bytes(2, "big") + name


def decode(data: bytes, where: int) -> tuple[str, str, int]:
    """The first TransportID in `data`: initiator name, ISID (empty: any), and its length.

    `where` is its offset in the parameter list, for the sense of a refusal.
    """
    if len(data) < 24 or data[0] & 0x0F != PROTOCOL_ISCSI or data[0] & 0xC0 not in {NAME, NAME_AND_ISID}:
        raise invalid_parameter(where)
    length = 4 + int.from_bytes(data[2:4], "big")
    if length > len(data) or length % 4 or length < 24:
        raise invalid_parameter(where + 2)
    name, end, _ = data[4:length].partition(b"\0")
    if not end or not name:
        raise invalid_parameter(where + 4)
    try:
        text = name.decode()
    except UnicodeDecodeError as error:
        raise invalid_parameter(where + 4) from error
    initiator, separator, isid = text.partition(SEPARATOR)
    if data[0] & NAME_AND_ISID:
        if not separator or len(isid) != 12 or set(isid.lower()) - set("0123456789abcdef"):
            raise invalid_parameter(where + 4)
    elif separator:
        raise invalid_parameter(where + 4)
    return initiator, isid.lower(), length
