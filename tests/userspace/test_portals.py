"""Which portals go together. The first block repeats, in order, what a real kernel 6.1 answered."""

from __future__ import annotations

import errno
import itertools
import logging
import socket
import time

import pytest

from isadmin.userspace import model
from isadmin.userspace.portals import PAUSE, collide, parse
from tests.initiator import Initiator
from tests.userspace.rig import IQN, Rig

EINVAL = errno.EINVAL


def open_at(rig: Rig, tpg: model.Tpg, address: str, port: int = 3260) -> int:
    """Open a portal as the tree does; the errno."""
    portal = model.Portal(tpg, f"{address}:{port}", address, port)
    try:
        rig.call(lambda: rig.target.open_portal(portal))
    except OSError as error:
        return error.errno or -1
    tpg.portals[portal.dirname] = portal
    return 0


def close_at(rig: Rig, tpg: model.Tpg, address: str, port: int = 3260) -> None:
    portal = tpg.portals.pop(f"{address}:{port}")
    rig.call(lambda: rig.target.close_portal(portal))


@pytest.mark.parametrize("listening", [False, True])
def test_what_the_kernel_answered(rig: Rig, listening: bool) -> None:
    a, b = rig.tpg("iqn.2003-01.org.test:a"), rig.tpg("iqn.2003-01.org.test:b")
    if listening:
        rig.listen()
    with socket.create_server(("127.0.0.1", 3999)):
        assert open_at(rig, a, "127.0.0.1", 3999) == EINVAL
        assert open_at(rig, a, "0.0.0.0", 3999) == EINVAL
    assert open_at(rig, a, "0.0.0.0") == 0
    assert open_at(rig, b, "0.0.0.0") == 0
    assert open_at(rig, b, "127.0.0.1") == EINVAL
    assert open_at(rig, a, "127.0.0.1") == EINVAL
    assert open_at(rig, a, "::") == EINVAL
    close_at(rig, a, "0.0.0.0")
    assert open_at(rig, a, "127.0.0.1") == EINVAL
    close_at(rig, b, "0.0.0.0")
    assert open_at(rig, a, "127.0.0.1") == 0
    assert open_at(rig, b, "127.0.0.1") == 0
    assert open_at(rig, b, "127.0.0.2") == 0
    close_at(rig, b, "127.0.0.2")
    assert open_at(rig, b, "::1") == 0
    close_at(rig, b, "::1")
    assert open_at(rig, a, "127.0.0.1", 1712) == 0
    close_at(rig, a, "127.0.0.1", 1712)
    assert open_at(rig, a, "127.0.0.1", 0) == 0


def test_the_same_portal_twice_in_one_target(rig: Rig) -> None:
    one, two = rig.tpg(tag=1), rig.tpg(tag=2)
    assert open_at(rig, one, "127.0.0.1") == 0
    assert open_at(rig, one, "127.0.0.1") == EINVAL
    assert open_at(rig, two, "127.0.0.1") == EINVAL
    assert open_at(rig, two, "127.0.0.2") == 0


def test_an_address_that_is_not_here_yet(rig: Rig) -> None:
    tpg = rig.tpg()
    rig.listen()
    assert open_at(rig, tpg, "192.0.2.77") == 0
    assert open_at(rig, tpg, "2001:db8::77") == 0


@pytest.mark.parametrize("address", ["", "localhost", "1.2.3", "::1::", "127.0.0.1/8"])
def test_malformed_addresses(rig: Rig, address: str) -> None:
    assert open_at(rig, rig.tpg(), address) == EINVAL


def test_nothing_listens_before_it_is_time(rig: Rig) -> None:
    tpg = rig.tpg()
    rig.lun(tpg, rig.ramdisk())
    assert open_at(rig, tpg, "127.0.0.1") == 0
    with pytest.raises(ConnectionRefusedError):
        Initiator(("127.0.0.1", 3260), target=IQN)
    rig.listen()
    Initiator(("127.0.0.1", 3260), target=IQN).close()
    assert open_at(rig, tpg, "127.0.0.9") == 0
    Initiator(("127.0.0.9", 3260), target=IQN).close()


def test_targets_share_a_portal(rig: Rig) -> None:
    names = ["iqn.2003-01.org.test:a", "iqn.2003-01.org.test:b"]
    for name in names:
        tpg = rig.tpg(name)
        rig.lun(tpg, rig.ramdisk())
        assert open_at(rig, tpg, "127.0.0.1") == 0
    rig.listen()
    for name in names:
        with Initiator(("127.0.0.1", 3260), target=name) as initiator:
            assert list(initiator.send_targets("")) == [name]
    close_at(rig, rig.fabric.targets[names[0]].tpgs[1], "127.0.0.1")
    with Initiator(("127.0.0.1", 3260)) as initiator:
        assert list(initiator.send_targets()) == names[1:]


def test_the_ipv6_wildcard_takes_both_families(rig: Rig) -> None:
    tpg = rig.tpg()
    rig.lun(tpg, rig.ramdisk())
    assert open_at(rig, tpg, "::") == 0
    rig.listen()
    for address in ("127.0.0.1", "::1"):
        with Initiator((address, 3260), target=IQN) as initiator:
            (session,) = rig.call(lambda: rig.target.sessions(tpg))
            assert session.connections[0].address == address
            initiator.logout()


@pytest.mark.parametrize(
    ("a", "b", "conflict"),
    [
        ("0.0.0.0", "10.0.0.1", True),
        ("10.0.0.1", "0.0.0.0", True),
        ("::", "10.0.0.1", True),
        ("0.0.0.0", "::", True),
        ("::", "::1", True),
        ("0.0.0.0", "::1", False),
        ("10.0.0.1", "10.0.0.2", False),
        ("::1", "10.0.0.2", False),
    ],
)
def test_wildcards(a: str, b: str, conflict: bool) -> None:
    assert collide(parse(a), parse(b)) is conflict


def test_connections_that_there_is_no_room_for_are_taken_later(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No descriptors left: the target does not turn in circles, and goes on when there are some again."""
    tpg = rig.tpg()
    portal = rig.portal(tpg)
    rig.listen()
    refused: list[float] = []

    def refuse(self: socket.socket) -> None:
        refused.append(time.monotonic())
        raise OSError(errno.EMFILE, "Too many open files")

    with caplog.at_level(logging.WARNING, "isadmin.userspace"):
        with monkeypatch.context() as patched:
            patched.setattr(socket.socket, "accept", refuse)
            with socket.create_connection((portal.address, portal.port)):
                while len(refused) < 3:
                    time.sleep(0.01)
        with Initiator((portal.address, portal.port), target=IQN) as initiator:
            assert initiator.nop(b"x").data == b"x"
    assert all(later - earlier >= PAUSE / 2 for earlier, later in itertools.pairwise(refused))
    assert {record.getMessage() for record in caplog.records} == {
        f"cannot take connections at 127.0.0.1:{portal.port}: Too many open files"
    }
    caplog.clear()
