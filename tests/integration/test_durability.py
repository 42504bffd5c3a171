"""FUA and SYNCHRONIZE CACHE are answered only after fdatasync: seen in the daemon's system calls.

The same look at a daemon whose fdatasync does nothing must find it out, else it would prove nothing.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.integration.sandbox import Userspace, running_userspace, wait_until
from tests.integration.test_load import QemuIo, name
from tests.integration.tracing import strace

TARGET = "iqn.2003-01.org.linux-iscsi.test:many"
WRITE = re.compile(r"\bpwrite(?:64|v|v2)\(\d+<(?P<path>[^>]*)>")
SYNC = re.compile(r"\b(?:fdatasync|fsync)\(\d+<(?P<path>[^>]*)>")
SEND = re.compile(r"\bsend(?:msg|to)\(\d+<TCP")
LINE = re.compile(r"^(?P<thread>\d+)\s+(?P<call>.*)$")
FAILED = re.compile(r"\) = -1 E")
RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>")


@pytest.fixture(params=["write-back", "write-through"])
def cache(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def configure(userspace: Userspace, image: Path, cache: str) -> None:
    tpg = f"/iscsi/{TARGET}/tpg1"
    lines = [
        f"/backstores/fileio create d0 {image} 4M write_back={'true' if cache == 'write-back' else 'false'}",
        f"/iscsi create {TARGET}",
        f"{tpg}/luns create /backstores/fileio/d0",
        f"{tpg}/acls create {name(0)}",
    ]
    done = userspace.isadmin(typed="\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr


def traced(pid: int, output: Path) -> AbstractContextManager[None]:
    """Follow the daemon's writes, syncs and sends into `output`."""
    calls = "trace=pwrite64,pwritev,pwritev2,fdatasync,fsync,sendmsg,sendto"
    return strace(pid, "-yy", "-s", "0", "-e", calls, "-o", str(output))


def events(trace: Path, image: Path) -> list[str]:
    """`write` and `sync` of the image where they succeed, `send` to an initiator where it begins."""
    found = []
    unfinished: dict[str, str] = {}
    for line in trace.read_text().splitlines():
        match = LINE.match(line)
        assert match, line
        thread, call = match["thread"], match["call"]
        if RESUMED.match(call):
            call = unfinished.pop(thread, "")
        elif call.endswith("<unfinished ...>"):
            if SEND.search(call):
                found.append("send")
            else:
                unfinished[thread] = call
            continue
        elif SEND.search(call):
            found.append("send")
        if FAILED.search(line):
            continue
        for kind, pattern in (("write", WRITE), ("sync", SYNC)):
            path = pattern.search(call)
            if path and path["path"] == str(image):
                found.append(kind)
    return found


def events_of(command: str, client: QemuIo, userspace: Userspace, image: Path, tmp_path: Path) -> list[str]:
    """What the daemon does with the image while the initiator waits for one command."""
    output = tmp_path / "trace"
    with traced(userspace.pid, output):
        answer = client.do(command)
        assert "failed" not in answer, answer
        wait_until(lambda: "send" in events(output, image), "the answer in the trace")
    return events(output, image)


def synced_before_answer(seen: list[str]) -> bool:
    """Was everything written made durable before the first answer?"""
    before = seen[: seen.index("send")]
    return "sync" in before and "write" not in before[before.index("sync") :]


def test_write_back_answers_a_plain_write_without_waiting(userspace: Userspace, tmp_path: Path) -> None:
    image = tmp_path / "d0.img"
    configure(userspace, image, "write-back")
    client = QemuIo(0)
    try:
        seen = events_of("write -P 1 0 4096", client, userspace, image, tmp_path)
        assert seen[:2] == ["write", "send"]
        assert not synced_before_answer(seen)
    finally:
        client.close()


@pytest.mark.parametrize("command", ["write -f -P 1 0 4096", "write -f -P 2 0 262144"], ids=["4k", "256k"])
def test_fua_is_answered_after_fdatasync(
    userspace: Userspace, tmp_path: Path, cache: str, command: str
) -> None:
    image = tmp_path / "d0.img"
    configure(userspace, image, cache)
    client = QemuIo(0)
    try:
        seen = events_of(command, client, userspace, image, tmp_path)
        assert seen.count("write") >= 1
        last_write = len(seen) - 1 - seen[::-1].index("write")
        assert synced_before_answer(seen[last_write:]), seen
    finally:
        client.close()


def test_write_through_answers_every_write_after_fdatasync(userspace: Userspace, tmp_path: Path) -> None:
    image = tmp_path / "d0.img"
    configure(userspace, image, "write-through")
    client = QemuIo(0)
    try:
        assert synced_before_answer(events_of("write -P 1 0 4096", client, userspace, image, tmp_path))
    finally:
        client.close()


def test_synchronize_cache_is_answered_after_fdatasync(userspace: Userspace, tmp_path: Path) -> None:
    image = tmp_path / "d0.img"
    configure(userspace, image, "write-back")
    client = QemuIo(0)
    try:
        client.do("write -P 1 0 4096")
        assert synced_before_answer(events_of("flush", client, userspace, image, tmp_path))
    finally:
        client.close()


def test_a_daemon_without_fdatasync_is_found_out(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text("import os\nos.fdatasync = lambda fd: None\n")
    with running_userspace(PYTHONPATH=str(broken)) as userspace:
        image = tmp_path / "d0.img"
        configure(userspace, image, "write-back")
        client = QemuIo(0)
        try:
            client.do("write -P 1 0 4096")
            for command in ("write -f -P 3 0 4096", "flush"):
                assert not synced_before_answer(events_of(command, client, userspace, image, tmp_path))
        finally:
            client.close()
