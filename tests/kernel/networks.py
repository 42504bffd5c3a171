"""The guide's addresses, on this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

ADDRESSES = ("192.168.1.10", "192.168.2.10")
_INTERFACE = "guide0"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def add(address: str) -> None:
    _ip("address", "add", f"{address}/24", "dev", _INTERFACE)


def take_down(address: str) -> None:
    """Nothing reaches it any more, nor leaves it; connections are not told."""
    _ip("address", "delete", f"{address}/24", "dev", _INTERFACE)


@contextmanager
def networks() -> Iterator[None]:
    """ADDRESSES, on an interface that leads nowhere else."""
    subprocess.run(["modprobe", "dummy"], check=True)
    _ip("link", "add", _INTERFACE, "up", "type", "dummy")
    try:
        for address in ADDRESSES:
            add(address)
        yield
    finally:
        _ip("link", "delete", _INTERFACE)
