"""`top` beside an initiator at work: on a pipe, as JSON, and at a terminal until Ctrl-C."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pexpect
import pytest

from isadmin.shell.top import FIRST_SCREEN
from tests.initiator import Initiator
from tests.integration.sandbox import Userspace

pytestmark = pytest.mark.integration

IQN = "iqn.2003-01.org.test:top"
TPG = f"/iscsi/{IQN}/tpg1"
LINES = f"""
/backstores/ramdisk create disk 4M
/iscsi create {IQN}
{TPG}/luns create /backstores/ramdisk/disk
{TPG}/acls create {IQN}:i
"""


@contextmanager
def load(**login: str) -> Iterator[None]:
    """An initiator that reads all the while."""
    done = threading.Event()
    with Initiator(("127.0.0.1", 3260), target=IQN, **login) as initiator:  # type: ignore[arg-type]
        initiator.ready()

        def read() -> None:
            while not done.wait(0.002):
                assert initiator.read(0, 1024).status == 0

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield
        finally:
            done.set()
            reader.join()


def test_what_is_done_is_seen_and_what_is_not_counted_is_unknown(userspace: Userspace) -> None:
    assert userspace.isadmin(typed=LINES).returncode == 0
    with load(name=f"{IQN}:i"):
        done = userspace.isadmin("--output", "json", "top", "seconds=2", "count=2")
        assert done.returncode == 0, done.stderr
        text = userspace.isadmin("top", "2").stdout.splitlines()
    first, second = json.loads(done.stdout)["samples"]
    for sample in (first, second):
        (lun,), (session,) = sample["luns"], sample["sessions"]
        assert lun["path"] == f"{TPG}/luns/lun0"
        assert (session["path"], session["initiator"]) == (TPG, f"{IQN}:i")
        for one in (lun, session):
            assert one["iops"] > 0
            assert one["read"] > 0
        assert lun["written"] == 0
        assert lun["queue"] >= 0
        assert session["queue"] >= 0
    assert [line.split()[-1] for line in text] == ["LUN", f"{TPG}/luns/lun0", "SESSION", TPG]
    assert userspace.isadmin(TPG, "set", "attribute", "generate_node_acls=1").returncode == 0
    with load(name=f"{IQN}:dynamic"):
        told = userspace.isadmin("--output", "json", "top", "1")
        listed = userspace.isadmin("sessions", "detail").stdout
        # What LIO's files tell, as the kernel's would: the daemon is not asked.
        words = ("--configfs", str(userspace.mount), "--output", "json", "top", "1")
        untold = userspace.isadmin(*words, userspace=False)
    (session,) = json.loads(told.stdout)["samples"][0]["sessions"]
    assert (session["initiator"], session["path"]) == (f"{IQN}:dynamic", TPG)
    assert session["iops"] > 0
    assert session["read"] > 0
    assert f"name: {IQN}:dynamic (dynamic)\n    mapped-lun: 0 backstore: ramdisk/disk mode: r\n" in listed
    assert "address: 127.0.0.1 (TCP)" in listed
    (session,) = json.loads(untold.stdout)["samples"][0]["sessions"]
    nothing = dict.fromkeys(("sid", "iops", "read", "written", "queue"))
    assert session == {"path": TPG, "initiator": f"{IQN}:dynamic", **nothing}


def test_what_waits_is_counted_for_its_lun_and_its_session(userspace: Userspace) -> None:
    assert userspace.isadmin(typed=LINES).returncode == 0
    with Initiator(("127.0.0.1", 3260), target=IQN, name=f"{IQN}:i") as initiator:
        initiator.ready()
        assert _queues(userspace) == [0, 0]
        # Its data never comes: the target waits for it.
        write = bytes([0x2A, 0, 0, 0, 0, 0, 0, 0, 2, 0])
        initiator.send_command(write, data_out=bytes(1024))
        assert _queues(userspace) == [1, 1]
    assert _queues(userspace) == [0]


def _queues(userspace: Userspace) -> list[int]:
    """Of the LUN, and of each session."""
    done = userspace.isadmin("--output", "json", "top", "1")
    (sample,) = json.loads(done.stdout)["samples"]
    return [one["queue"] for one in sample["luns"] + sample["sessions"]]


@pytest.mark.parametrize("end", ["q", "\x03"])
def test_at_a_terminal_it_goes_on_until_it_is_ended(userspace: Userspace, end: str) -> None:
    assert userspace.isadmin(typed=LINES).returncode == 0
    top = pexpect.spawn(
        sys.executable, ["-m", "isadmin", "-u", "top", "1"], env=userspace.env, encoding="utf-8", timeout=60
    )
    try:
        for _ in range(2):
            top.expect_exact("IOPS")
            top.expect_exact("luns/lun0")
        top.send(end)
        top.expect_exact(FIRST_SCREEN)
        top.expect_exact("luns/lun0")
        top.expect(pexpect.EOF)
        top.wait()
        assert top.exitstatus == 0
    finally:
        top.close(force=True)


@pytest.mark.parametrize("words", [("0",), ("x",), ("1", "-1"), ("99999999999999999999",)])
def test_bad_numbers(userspace: Userspace, words: tuple[str, ...]) -> None:
    done = userspace.isadmin("top", *words)
    assert done.returncode == 2
    assert "must be a number" in done.stderr
