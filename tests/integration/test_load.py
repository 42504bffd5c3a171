"""Many initiators at once, initiators that die or fall silent, and a daemon that is killed under them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.sandbox import Userspace, wait_until

TARGET = "iqn.2003-01.org.linux-iscsi.test:many"
INITIATORS = 20
SECONDS = 30
LUN_SIZE = 8 << 20


def name(number: int) -> str:
    return f"iqn.2003-01.org.linux-iscsi.test:i{number}"


def options(number: int) -> str:
    return (
        f"driver=raw,file.driver=iscsi,file.transport=tcp,file.portal=127.0.0.1:3260,"
        f"file.target={TARGET},file.lun=0,file.initiator-name={name(number)}"
    )


@pytest.fixture
def many(userspace: Userspace, tmp_path: Path) -> Userspace:
    """A target with a LUN for each of the initiators, which sees that one as its LUN 0 and no other."""
    tpg = f"/iscsi/{TARGET}/tpg1"
    lines = ["set global auto_add_mapped_luns=false", f"/iscsi create {TARGET}"]
    for number in range(INITIATORS):
        lines += [
            f"/backstores/fileio create d{number} {tmp_path}/d{number}.img {LUN_SIZE}",
            f"{tpg}/luns create /backstores/fileio/d{number} {number}",
            f"{tpg}/acls create {name(number)}",
            f"{tpg}/acls/{name(number)} create mapped_lun=0 tpg_lun_or_backstore={number}",
            f"{tpg}/acls/{name(number)} set attribute nopin_timeout=3 nopin_response_timeout=3",
        ]
    done = userspace.isadmin(typed="\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr
    return userspace


class QemuIo:
    """A qemu-io that keeps one session and takes one command after the other."""

    def __init__(self, number: int) -> None:
        self.process = subprocess.Popen(
            ["qemu-io", "-t", "none", "--image-opts", options(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )
        self._answer()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        answer = b""
        while not answer.endswith(b"qemu-io> "):
            byte = self.process.stdout.read(1)
            assert byte, answer
            answer += byte
        return answer.decode()

    def do(self, command: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(command.encode() + b"\n")
        return self._answer()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def qemu_io(number: int) -> Iterator[QemuIo]:
    client = QemuIo(number)
    try:
        yield client
    finally:
        client.close()


def write_and_verify(number: int, until: float) -> int:
    """Write patterns at random places and read each back, until the given time; how many were verified."""
    chooser = random.Random(number)
    verified = 0
    with qemu_io(number) as client:
        while time.monotonic() < until:
            count = chooser.choice([512, 4096, 65536, 262144])
            place = f"{chooser.randrange(0, LUN_SIZE - count, 512)} {count}"
            pattern = chooser.randrange(1, 256)
            assert "wrote" in client.do(f"write -P {pattern} {place}")
            answer = client.do(f"read -P {pattern} {place}")
            assert "read" in answer
            assert "failed" not in answer
            verified += 1
    return verified


def test_twenty_initiators_write_and_verify(many: Userspace) -> None:
    until = time.monotonic() + SECONDS
    with ThreadPoolExecutor(INITIATORS) as pool:
        verified = list(pool.map(lambda number: write_and_verify(number, until), range(INITIATORS)))
    assert all(verified), verified
    assert "LOGGED_IN" not in "".join(
        info.read_text() for info in many.mount.glob("iscsi/*/tpgt_1/acls/*/info")
    )


def session_of(userspace: Userspace, number: int) -> str:
    return (userspace.mount / "iscsi" / TARGET / "tpgt_1" / "acls" / name(number) / "info").read_text()


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "silent"])
def test_no_session_is_left_of_a_dead_initiator(many: Userspace, ending: signal.Signals) -> None:
    with qemu_io(0) as dead, qemu_io(1) as alive:
        assert "TARG_SESS_STATE_LOGGED_IN" in session_of(many, 0)
        dead.process.send_signal(ending)
        wait_until(lambda: session_of(many, 0).startswith("No active iSCSI Session"), "the session's end")
        assert "TARG_SESS_STATE_LOGGED_IN" in session_of(many, 1)
        assert "wrote" in alive.do("write -P 1 0 4096")


def test_a_killed_daemon_loses_no_acknowledged_write(many: Userspace, tmp_path: Path) -> None:
    chooser = random.Random(1)
    acknowledged: dict[int, dict[int, int]] = {number: {} for number in range(4)}
    """Initiator -> block of 4 KiB -> the pattern that was last acknowledged there."""
    unanswered: dict[int, tuple[int, int]] = {}
    stop = False

    def write(number: int) -> None:
        own = random.Random(number)
        client = QemuIo(number)
        try:
            while not stop:
                block, pattern = own.randrange(LUN_SIZE // 4096), own.randrange(1, 256)
                unanswered[number] = block, pattern
                if "wrote" not in client.do(f"write -P {pattern} {block * 4096} 4096"):
                    return
                acknowledged[number][block] = pattern
                del unanswered[number]
        except (AssertionError, BrokenPipeError):
            return
        finally:
            client.close()

    with ThreadPoolExecutor(len(acknowledged)) as pool:
        writers = [pool.submit(write, number) for number in acknowledged]
        wait_until(lambda: all(len(done) > 50 for done in acknowledged.values()), "fifty writes each")
        time.sleep(chooser.random())
        many.kill()
        answered = {number: dict(done) for number, done in acknowledged.items()}
        stop = True
        for client in clients_of(os.getpid()):
            os.kill(client, signal.SIGKILL)
        for writer in writers:
            writer.result()
    for number, blocks in answered.items():
        image = (tmp_path / f"d{number}.img").read_bytes()
        maybe = unanswered.get(number)
        for block, pattern in blocks.items():
            found = image[block * 4096 : block * 4096 + 4096]
            allowed = {bytes([pattern]) * 4096}
            if maybe and maybe[0] == block:
                allowed.add(bytes([maybe[1]]) * 4096)
            assert found in allowed, (number, block)


def clients_of(parent: int) -> list[int]:
    """The qemu-io processes that this process has started."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,comm=", "--ppid", str(parent)], capture_output=True, text=True, check=True
    ).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if line.split()[1] == "qemu-io"]
