"""Naming the program that has a port."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from isadmin.lio.listeners import listeners


def this_program() -> str:
    return f"{Path('/proc/self/comm').read_text().strip()} (pid {os.getpid()})"


def test_ipv4() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert listeners(port) == [f"{this_program()} listens on 127.0.0.1:{port}"]
    assert listeners(port) == []


def test_ipv6() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        assert listeners(port) == [f"{this_program()} listens on [::1]:{port}"]


def test_connections_do_not_count() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    with server, socket.create_connection(server.getsockname()) as client:
        assert listeners(client.getsockname()[1]) == []
