"""Logins as a load: one after another, several at a time, and a thousand at once, as after a restart.

The client costs less than any target: what it sends is made before, and of the answers it reads no more than
their status. Each login is libiscsi's: a security stage without authentication, then all operational keys.

    python -m tests.bench._logins PORT LUN    reads at depth 1 until its input ends; prints the median and the
                                              longest time a read took, in milliseconds
"""

from __future__ import annotations

import resource
import select
import socket
import statistics
import struct
import subprocess
import sys
import time
from contextlib import ExitStack

from tests.bench._loads import Load, Run
from tests.bench._targets import IQN, Server
from tests.initiator import Initiator

OPERATIONAL = {
    "HeaderDigest": "None",
    "DataDigest": "None",
    "InitialR2T": "No",
    "ImmediateData": "Yes",
    "MaxBurstLength": "262144",
    "FirstBurstLength": "262144",
    "MaxRecvDataSegmentLength": "262144",
    "DataPDUInOrder": "Yes",
    "DataSequenceInOrder": "Yes",
    "MaxConnections": "1",
    "DefaultTime2Wait": "2",
    "DefaultTime2Retain": "0",
    "MaxOutstandingR2T": "1",
    "ErrorRecoveryLevel": "0",
    "IFMarker": "No",
    "OFMarker": "No",
}
PATIENCE = 60.0
"""Seconds for all of a thousand."""


def _login(csg: int, nsg: int, keys: dict[str, str], isid: bytes) -> bytes:
    data = "".join(f"{key}={value}\0" for key, value in keys.items()).encode()
    header = struct.pack(
        ">BBHI6sHIHHII16x", 0x43, 0x80 | csg << 2 | nsg, 0, len(data), isid, 0, 0x55, 0, 0, 1, 0
    )
    return header + data + bytes(-len(data) & 3)


def requests(number: int) -> tuple[bytes, bytes, bytes]:
    """The two login requests and the logout request of one session among many."""
    names = {
        "InitiatorName": f"iqn.2003-01.org.example:i{number}",
        "SessionType": "Normal",
        "TargetName": IQN,
    }
    isid = b"\x80\0\0\0" + number.to_bytes(2, "big")
    logout = struct.pack(">BBHI8xIHHII16x", 0x46, 0x80, 0, 0, 0x56, 0, 0, 1, 3)
    return _login(0, 1, names | {"AuthMethod": "None"}, isid), _login(1, 3, OPERATIONAL, isid), logout


def _whole(answer: bytes) -> bool:
    """Whether this is all of an answer. RuntimeError when it is no good one."""
    if len(answer) < 48:
        if not answer:
            raise RuntimeError("the target closes the connection of a login")
        return False
    if answer[0] != 0x26 and (answer[0] != 0x23 or answer[36:38] != b"\0\0"):
        raise RuntimeError(f"a login is refused: {answer[:48].hex()}")
    return len(answer) >= 48 + (int.from_bytes(answer[5:8], "big") + 3 & ~3)


def _receive(sock: socket.socket) -> None:
    answer = sock.recv(4096)
    while not _whole(answer):
        answer += sock.recv(4096)


def logins(at_a_time: int) -> Run:
    """Log in and out again, so many sessions at a time."""

    def run(server: Server, seconds: float) -> Load:
        scripts = [requests(number) for number in range(at_a_time)]
        start = now = time.perf_counter()
        count = 0
        while now - start < seconds:
            sockets = [socket.create_connection(("127.0.0.1", server.port)) for _ in scripts]
            for step in range(3):
                for sock, script in zip(sockets, scripts, strict=True):
                    sock.send(script[step])
                for sock in sockets:
                    _receive(sock)
            for sock in sockets:
                sock.close()
            count += at_a_time
            now = time.perf_counter()
        return Load(count, now - start)

    return run


def at_once(sessions: int) -> Run:
    """So many sessions log in as soon as they can. RuntimeError when one is refused or does not get in."""

    def run(server: Server, seconds: float) -> Load:
        del seconds
        raise_descriptor_limit()
        scripts = [requests(number) for number in range(sessions)]
        with ExitStack() as stack:
            epoll = stack.enter_context(select.epoll())
            waiting: dict[int, tuple[socket.socket, int, bytes]] = {}
            start = time.perf_counter()
            for _ in scripts:
                sock = stack.enter_context(socket.socket())
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", server.port))
                epoll.register(sock.fileno(), select.EPOLLOUT)
                waiting[sock.fileno()] = (sock, 0, b"")
            scripts_by_descriptor = dict(zip(waiting, scripts, strict=True))
            while waiting:
                if time.perf_counter() - start > PATIENCE:
                    raise RuntimeError(f"{len(waiting)} of {sessions} sessions do not get in")
                for descriptor, _ in epoll.poll(1):
                    sock, step, answer = waiting[descriptor]
                    if step:
                        answer += sock.recv(4096)
                        if not _whole(answer):
                            waiting[descriptor] = (sock, step, answer)
                            continue
                    if step == 2:
                        epoll.unregister(descriptor)
                        del waiting[descriptor]
                        continue
                    sock.send(scripts_by_descriptor[descriptor][step])
                    waiting[descriptor] = (sock, step + 1, b"")
                    epoll.modify(descriptor, select.EPOLLIN)
            return Load(sessions, time.perf_counter() - start)

    return run


def beside_a_storm(server: Server, sessions: int) -> tuple[float, float]:
    """The median and the longest time, in milliseconds, of another client's reads while they log in."""
    command = [sys.executable, "-m", "tests.bench._logins", str(server.port), str(server.lun)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        at_once(sessions)(server, 0)
        median, longest = reader.communicate()[0].split()
    return float(median), float(longest)


def read_until_told() -> None:
    """The reader beside a storm."""
    with Initiator(("127.0.0.1", int(sys.argv[1])), target=IQN, timeout=PATIENCE) as initiator:
        lun = int(sys.argv[2])
        initiator.ready(lun)
        print("ready", flush=True)
        took = []
        while not select.select([sys.stdin], [], [], 0)[0]:
            start = time.perf_counter()
            initiator.read(0, 8, lun=lun)
            took.append(time.perf_counter() - start)
        print(statistics.median(took) * 1e3, max(took) * 1e3)


def raise_descriptor_limit() -> None:
    """As many descriptors as the system allows, as the daemon takes them too."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    read_until_told()
