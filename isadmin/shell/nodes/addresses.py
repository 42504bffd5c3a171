"""Portal addresses: what the user types, how LIO spells it, whether this host has it."""

from __future__ import annotations

import errno

from isadmin.errors import UsageError

DEFAULT_PORT = 3260
"""RFC 7143 section 14: the registered port of iSCSI."""


def parse_address(text: str) -> str:
    """An IPv4 or IPv6 address, without brackets. Raises UsageError.

    The spelling is kept but for case (`::0` stays `::0`): it becomes the portal's name.
    """
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    import ipaddress

    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        remedy = "an IPv4 or IPv6 address, such as 192.0.2.10 or 2001:db8::10; the port is a word of its own"
        raise UsageError(f"Malformed portal address '{text}'", remedy) from None
    if isinstance(address, ipaddress.IPv6Address) and (address.scope_id or address.is_link_local):
        raise UsageError(f"Portal address '{text}' is link-local", "use an address of wider scope")
    if address.is_multicast:
        raise UsageError(f"Portal address '{text}' is a multicast address", "use an address of this host")
    return bare.lower()


def parse_port(text: str) -> int:
    """A TCP port. Raises UsageError."""
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= 65535:
        raise UsageError(f"Malformed port '{text}'", "a number from 1 to 65535")
    return int(text)


def parse_portal(text: str) -> tuple[str, int]:
    """ADDRESS:PORT, with an IPv6 address in brackets or plain (`::0:3260`). Raises UsageError."""
    address, colon, port = text.rpartition(":")
    if not colon:
        raise UsageError(f"Malformed portal '{text}'", "ADDRESS:PORT, such as 0.0.0.0:3260 or [::0]:3260")
    return parse_address(address), parse_port(port)


def bracketed(address: str) -> str:
    """The spelling in configfs: IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address


def same_address(one: str, other: str) -> bool:
    """Whether two spellings (brackets or not) are one address: `::` is `::0`."""
    import ipaddress

    try:
        return ipaddress.ip_address(one.strip("[]")) == ipaddress.ip_address(other.strip("[]"))
    except ValueError:
        return one == other


def is_wildcard(address: str) -> bool:
    """Whether it means every address of the host."""
    import ipaddress

    return ipaddress.ip_address(address.strip("[]")).is_unspecified


def is_on_this_host(address: str) -> bool:
    """Whether a socket can be bound to it here and now."""
    import socket

    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        # Anything else (no permission, no more ports) does not tell where the address is.
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL)
    return True
