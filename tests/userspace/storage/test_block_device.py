"""iblock's storage, on loop devices."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from isadmin.userspace.storage import block
from isadmin.userspace.storage.block import BlockStorage, open_block
from isadmin.userspace.storage.file import open_file
from tests.integration.devices import LoopDevices, loop_devices_in

MIB = 1 << 20


@pytest.fixture
def loops(tmp_path: Path) -> Iterator[LoopDevices]:
    with loop_devices_in(tmp_path) as devices:
        yield devices


@pytest.fixture
def storage(loops: LoopDevices) -> Iterator[BlockStorage]:
    opened = open_block({"udev_path": str(loops.make(MIB))})
    yield opened
    opened.close()


def refused(code: int, keys: dict[str, str]) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011
        open_block(keys).close()
    assert caught.value.errno == code


def test_what_the_kernel_refuses_to_open(tmp_path: Path, loops: LoopDevices) -> None:
    refused(errno.EINVAL, {})
    refused(errno.ENOENT, {"udev_path": "/dev/no-such-device"})
    (tmp_path / "file").touch()
    refused(errno.ENOTBLK, {"udev_path": str(tmp_path / "file")})
    read_only = str(loops.make(MIB, read_only=True))
    refused(errno.EACCES, {"udev_path": read_only})
    opened = open_block({"udev_path": read_only, "readonly": "1"})
    assert opened.read_only
    opened.close()


def test_a_claimed_device_is_busy(loops: LoopDevices) -> None:
    device = str(loops.make(MIB))
    first = open_block({"udev_path": device})
    refused(errno.EBUSY, {"udev_path": device})
    first.close()
    open_block({"udev_path": device}).close()


def test_facts(storage: BlockStorage, loops: LoopDevices) -> None:
    number = loops.made[0].stat().st_rdev
    assert storage.names == {
        "name": loops.made[0].name,
        "major": str(os.major(number)),
        "minor": str(os.minor(number)),
    }
    facts = storage.facts
    assert (facts.hw_block_size, facts.physical_block_size) == (512, 512)
    assert facts.write_cache
    assert facts.hw_max_sectors > 0
    assert facts.unmap_max_lba_count > 0
    assert facts.max_write_same_len > 0
    assert storage.size == MIB


def test_reading_and_writing(storage: BlockStorage) -> None:
    storage.write(4096, b"b" * 4096, sync=True)
    assert storage.read(0, 8192) == bytes(4096) + b"b" * 4096
    assert storage.read_now(4096, 4096) == b"b" * 4096
    storage.flush()
    with pytest.raises(OSError, match="beyond the end"):
        storage.read(MIB, 512)


def test_space(storage: BlockStorage) -> None:
    storage.write(0, b"b" * 65536)
    storage.discard(0, 4096)
    storage.zero(4096, 4096)
    assert storage.read(4096, 8192) == bytes(4096) + b"b" * 4096
    assert storage.extent(0) == (True, MIB)


def test_without_the_ioctls_zeros_are_written(storage: BlockStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(fd: int, request: int, argument: bytes) -> bytes:
        raise OSError(errno.EOPNOTSUPP, "ioctl")

    storage.write(0, b"b" * 8192)
    monkeypatch.setattr(fcntl, "ioctl", unsupported)
    storage.discard(0, 4096)
    storage.zero(4096, 4096)
    assert storage.read(0, 8192) == b"b" * 4096 + bytes(4096)


def test_other_errors_of_the_ioctls_are_errors(
    storage: BlockStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(fd: int, request: int, argument: bytes) -> bytes:
        raise OSError(errno.EIO, "ioctl")

    monkeypatch.setattr(fcntl, "ioctl", broken)
    for step in (storage.discard, storage.zero):
        with pytest.raises(OSError, match="ioctl"):
            step(0, 4096)


def test_a_grown_device_is_seen(storage: BlockStorage, loops: LoopDevices, tmp_path: Path) -> None:
    os.truncate(tmp_path / "loop-0.img", 2 * MIB)
    subprocess.run(["losetup", "--set-capacity", str(loops.made[0])], check=True)
    assert storage.size == 2 * MIB
    storage.resize(5)
    assert storage.size == 2 * MIB


def test_fileio_on_a_device_is_the_whole_of_it(loops: LoopDevices, tmp_path: Path) -> None:
    """Whatever fd_dev_size says, and as large as the device becomes."""
    keys = {"fd_dev_name": str(loops.make(MIB)), "fd_buffered_io": "1", "fd_dev_size": "4096"}
    opened = open_file(keys)
    assert opened.size == MIB
    assert not opened.discard_zeroes
    assert opened.extent(0) == (True, MIB)
    opened.write(MIB - 512, b"e" * 512)
    assert opened.read(MIB - 512, 512) == b"e" * 512
    os.truncate(tmp_path / "loop-0.img", 2 * MIB)
    subprocess.run(["losetup", "--set-capacity", str(loops.made[0])], check=True)
    assert opened.size == 2 * MIB
    opened.close()


def test_a_queue_that_says_nothing() -> None:
    assert block._queue_value(Path("/nonexistent"), "nr_requests", 128) == 128
