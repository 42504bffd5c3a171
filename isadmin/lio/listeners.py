"""Who listens on a TCP port of this host: the other program that keeps a portal from listening."""

from __future__ import annotations

import ipaddress
import os
from contextlib import suppress
from pathlib import Path

_LISTEN = "0A"
"""TCP_LISTEN in /proc/net/tcp."""


def listeners(port: int) -> list[str]:
    """Each as "tgtd (pid 812) listens on 0.0.0.0:3260"; without a program where that cannot be seen."""
    found = []
    sockets = _sockets(port)
    programs = _programs({inode for _, inode in sockets}) if sockets else {}
    for address, inode in sockets:
        who = programs.get(inode, "another program")
        found.append(f"{who} listens on {address}:{port}")
    return found


def _sockets(port: int) -> list[tuple[str, str]]:
    """(address, inode) of every listening socket."""
    found = []
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                fields = line.split()
                address, _, number = fields[1].partition(":")
                if fields[3] == _LISTEN and int(number, 16) == port:
                    found.append((_address(address), fields[9]))
    return found


def _address(text: str) -> str:
    """An address as /proc/net/tcp writes it: words of 32 bits in the machine's byte order (little endian)."""
    words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(words))
    return f"[{address}]" if address.version == 6 else str(address)


def _programs(inodes: set[str]) -> dict[str, str]:
    """inode -> "name (pid n)", for the processes whose files this user may see."""
    found = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with suppress(OSError), os.scandir(process / "fd") as descriptors:
            for descriptor in descriptors:
                with suppress(OSError):
                    target = Path(descriptor.path).readlink().name
                    inode = target.removeprefix("socket:[").removesuffix("]")
                    if inode in inodes:
                        name = (process / "comm").read_text().strip()
                        found[inode] = f"{name} (pid {process.name})"
    return found
