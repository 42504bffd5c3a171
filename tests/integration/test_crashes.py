"""A daemon that is killed under load, again and again, loses nothing that it has acknowledged.

ISADMIN_CRASHES says how many times; the tests kill it a few times only.
"""

from __future__ import annotations

import os
import random
import signal
import struct
import time
from functools import partial
from pathlib import Path

import pytest

from tests.initiator import Initiator
from tests.integration.crashes import (
    APTPL,
    REGISTER_AND_IGNORE,
    Disk,
    Registrar,
    Writer,
    content,
    registered_keys,
)
from tests.integration.sandbox import Userspace, wait_until

CRASHES = int(os.environ.get("ISADMIN_CRASHES", "6"))
SIZE = 4 << 20
ADDRESS = ("127.0.0.1", 3260)
PREFIX = "iqn.2003-01.org.linux-iscsi.test"
DISKS = {"back": "true", "through": "false"}
"""Targets, and whether their file's writes are answered before they are on the medium."""
RESERVE, RELEASE, WRITE_EXCLUSIVE = 1, 2, 1
RESERVATION_CONFLICT = 0x18
LOAD = 40
"""Writes to each disk before the end may come,"""
WAIT = 0.7
"""and the seconds after them within which it comes."""


def initiator_name(role: str) -> str:
    return f"{PREFIX}:{role}"


def configure(world: Userspace, directory: Path) -> None:
    lines = []
    for name, write_back in DISKS.items():
        tpg = f"/iscsi/{PREFIX}:{name}/tpg1"
        lines += [
            f"/backstores/fileio create {name} {directory}/{name}.img {SIZE} write_back={write_back}",
            f"/iscsi create {PREFIX}:{name}",
            f"{tpg}/luns create /backstores/fileio/{name}",
            *(f"{tpg}/acls create {initiator_name(role)}" for role in ("writer", "reader", "registrar")),
        ]
    done = world.isadmin(typed="\n".join([*lines, "saveconfig"]) + "\n")
    assert done.returncode == 0, done.stderr


def login(target: str, role: str) -> Initiator:
    initiator = Initiator(ADDRESS, target=f"{PREFIX}:{target}", name=initiator_name(role), timeout=60)
    initiator.ready()
    return initiator


def test_nothing_acknowledged_is_lost(userspace: Userspace, tmp_path: Path) -> None:
    configure(userspace, tmp_path)
    chance = random.Random(5)
    disks = {name: Disk(SIZE) for name in DISKS}
    key = 1
    for crash in range(CRASHES):
        pid = userspace.pid
        writers = [
            Writer(
                disk,
                ADDRESS,
                f"{PREFIX}:{name}",
                initiator_name("writer"),
                f"{crash} {name}",
                fua=DISKS[name] == "true",
            )
            for name, disk in disks.items()
        ]
        registrar = Registrar(ADDRESS, f"{PREFIX}:back", initiator_name("registrar"), key)
        before = [disk.writes for disk in disks.values()]
        for thread in (*writers, registrar):
            thread.start()
        wait_until(partial(busy, writers, before), "load")
        time.sleep(chance.random() * WAIT)
        os.kill(pid, signal.SIGKILL)
        for thread in (*writers, registrar):
            thread.join(60)
            assert not thread.is_alive()
        assert not [writer.error for writer in writers if writer.error]
        userspace.start()
        for name, disk in disks.items():
            with login(name, "reader") as reader:
                disk.check(content(reader, SIZE))
                mend(reader, disk)
        with login("back", "registrar") as reader:
            keys = registered_keys(reader)
            assert keys in ([registrar.acknowledged], [registrar.underway])
            key = keys[0]
    assert all(disk.writes > LOAD * CRASHES for disk in disks.values())


def persistent(initiator: Initiator, action: int, kind: int, key: int, new: int) -> int:
    """PERSISTENT RESERVE OUT with APTPL; the status."""
    cdb = struct.pack(">BBBxxIB", 0x5F, action, kind, 24, 0)
    return initiator.cmd(cdb, data_out=struct.pack(">QQ4xB3x", key, new, APTPL)).status


@pytest.mark.parametrize("ending", ["killed", "stopped"])
def test_a_reservation_kept_through_power_loss_is_in_force_again(
    userspace: Userspace, tmp_path: Path, ending: str
) -> None:
    configure(userspace, tmp_path)
    with login("back", "writer") as holder:
        assert persistent(holder, REGISTER_AND_IGNORE, 0, 0, 7) == 0
        assert persistent(holder, RESERVE, WRITE_EXCLUSIVE, 7, 0) == 0
        assert holder.write(0, b"kept" * 128).status == 0
    if ending == "killed":
        userspace.kill()
    else:
        assert userspace.isadmin("userspace", "stop").returncode == 0
    userspace.start()
    with login("back", "writer") as holder, login("back", "reader") as other:
        assert other.write(0, bytes(512)).status == RESERVATION_CONFLICT
        assert other.read(0, 1).data == b"kept" * 128
        assert holder.write(1, bytes(512)).status == 0
        assert persistent(holder, RELEASE, WRITE_EXCLUSIVE, 7, 0) == 0
        assert other.write(1, bytes(512)).status == 0


def busy(writers: list[Writer], before: list[int]) -> bool:
    """Whether each has done something, or fails to."""
    done = [writer.disk.writes - was for writer, was in zip(writers, before, strict=True)]
    return min(done) > LOAD or any(writer.error for writer in writers)


def mend(initiator: Initiator, disk: Disk) -> None:
    """Make whole the units of which a part was written."""
    for unit in disk.torn:
        assert initiator.write(unit * 8, bytes(4096)).status == 0
        disk.acknowledged[unit] = 0
