"""Storage that a process serves: the real tcmu-runner, with its handler of images."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from isadmin.errors import IsadminError
from isadmin.lio import tcmu
from tests.initiator import Initiator
from tests.integration.sandbox import Userspace, system_bus, wait_until

pytestmark = pytest.mark.kernel

HANDLERS = Path("/usr/lib/x86_64-linux-gnu/tcmu-runner")
IQN = "iqn.2003-01.org.linux-iscsi.test:runner"
NODE = "/backstores/user:qcow"
BLOCKS = 8
BLOCK = 512


def ok(userspace: Userspace, *words: str) -> str:
    done = userspace.isadmin(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def runner(userspace: Userspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """tcmu-runner with one handler: that of Ceph takes long to load."""
    handlers = tmp_path / "handlers"
    handlers.mkdir()
    (handlers / "handler_qcow.so").symlink_to(HANDLERS / "handler_qcow.so")
    with system_bus(userspace):
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", userspace.env["DBUS_SYSTEM_BUS_ADDRESS"])
        words = ["tcmu-runner", "--handler-path", str(handlers), "--tcmu-log-dir", str(tmp_path)]
        with (tmp_path / "output").open("wb") as output:
            process = subprocess.Popen(words, stdout=output, stderr=output, env=userspace.env)
        try:
            wait_until(answers, "tcmu-runner has its handler")
            yield
        finally:
            # A device that nobody serves any more would keep whoever deletes it waiting.
            userspace.isadmin("clearconfig", "confirm=True")
            process.terminate()
            process.wait()


def answers() -> bool:
    with suppress(IsadminError):
        return [one.name for one in tcmu.handlers()] == ["qcow"]
    return False


def write_and_read(data: bytes) -> bytes:
    """Write the first blocks of LUN 0 by iSCSI, and read them back."""
    with Initiator(("127.0.0.1", 3260), target=IQN) as initiator:
        initiator.cmd(bytes(6))  # what a new session is told first
        written = initiator.cmd(struct.pack(">BBIBHB", 0x2A, 0, 0, 0, BLOCKS, 0), data_out=data)
        assert written.status == 0
        return initiator.cmd(struct.pack(">BBIBHB", 0x28, 0, 0, 0, BLOCKS, 0), expected_in=len(data)).data


def test_a_handlers_storage_is_exported_saved_and_restored(
    runner: None, userspace: Userspace, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(8 << 20))
    refused = userspace.isadmin(NODE, "create", "q", "8M", str(tmp_path / "no/such"))
    assert refused.returncode == 1
    assert not list(userspace.mount.glob("core/user_*")), refused.stderr
    created = ok(userspace, NODE, "create", "q", "8M", str(image))
    assert created == "Created user-backed storage object q size 8388608.\n"
    ok(userspace, "/iscsi", "create", IQN)
    ok(userspace, f"/iscsi/{IQN}/tpg1/luns", "create", f"{NODE}/q")
    ok(
        userspace,
        f"/iscsi/{IQN}/tpg1",
        "set",
        "attribute",
        "generate_node_acls=1",
        "demo_mode_write_protect=0",
    )
    listed = ok(userspace, "ls", "/")
    assert "o- q ......" in listed
    assert f"[{image} (8.0MiB) activated]" in listed
    data = b"\x5a" * (BLOCKS * BLOCK)
    assert write_and_read(data) == data
    ok(userspace, "saveconfig")
    ok(userspace, "clearconfig", "confirm=True")
    ok(userspace, "restoreconfig")
    assert ok(userspace, "ls", "/") == listed
    assert "No difference" in ok(userspace, "diff")
    assert write_and_read(bytes(len(data))) == bytes(len(data))
    assert write_and_read(data) == data
    ok(userspace, NODE, "delete", "q")
    assert "o- q ......" not in ok(userspace, "ls", "/")
    assert image.read_bytes()[: len(data) + 1] == data + b"\0"
