"""fileio's storage: opening as the kernel does, reading and writing, holes, errors."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isadmin.userspace.model import Device, Hba
from isadmin.userspace.storage import descriptor as descriptor_module
from isadmin.userspace.storage import extents, open_storage
from isadmin.userspace.storage.base import FailedAt
from isadmin.userspace.storage.descriptor import in_memory
from isadmin.userspace.storage.file import FileStorage, open_file

MIB = 1 << 20


def control(path: Path, size: int | None = MIB, *, buffered: bool = True) -> dict[str, str]:
    keys = {"fd_dev_name": str(path)}
    if size is not None:
        keys["fd_dev_size"] = str(size)
    if buffered:
        keys["fd_buffered_io"] = "1"
    return keys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "disk"


@pytest.fixture
def storage(path: Path) -> Iterator[FileStorage]:
    opened = open_file(control(path))
    yield opened
    opened.close()


def refused(code: int, keys: dict[str, str]) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is checked below
        open_file(keys)
    assert caught.value.errno == code


# Opening


def test_a_missing_file_is_created_for_its_owner_only(path: Path) -> None:
    storage = open_file(control(path))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size == 0
    assert storage.size == MIB
    storage.close()


def test_what_the_kernel_refuses_to_open(path: Path, tmp_path: Path) -> None:
    refused(errno.EINVAL, {})
    refused(errno.EINVAL, {"fd_dev_size": "4096"})
    refused(errno.ENOENT, control(tmp_path / "no" / "file"))
    refused(errno.EISDIR, control(tmp_path))
    path.touch()
    refused(errno.EINVAL, control(path, None))
    os.mkfifo(tmp_path / "fifo")
    refused(errno.EINVAL, control(tmp_path / "fifo"))


def test_a_refused_file_leaves_no_descriptor_open(path: Path) -> None:
    path.touch()
    before = len(list(Path("/proc/self/fd").iterdir()))
    refused(errno.EINVAL, control(path, None))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_facts(storage: FileStorage, path: Path) -> None:
    facts = storage.facts
    assert (facts.hw_block_size, facts.hw_max_sectors, facts.hw_queue_depth) == (512, 16384, 128)
    assert (facts.unmap_max_lba_count, facts.unmap_granularity, facts.max_write_same_len) == (8192, 1, 4096)
    assert facts.write_cache
    assert not storage.write_through
    assert storage.names == {}
    through = open_file(control(path, buffered=False))
    assert not through.facts.write_cache
    assert through.write_through
    through.close()


@pytest.mark.parametrize(("text", "size"), [("4096", 4096), ("1000", 1000)])
def test_the_size_is_what_was_written_to_control(path: Path, text: str, size: int) -> None:
    path.write_bytes(bytes(MIB))
    storage = open_file({"fd_dev_name": str(path), "fd_dev_size": text})
    assert storage.size == size
    storage.resize(8192)
    assert storage.size == 8192
    storage.close()


def test_open_storage_goes_by_the_plugin(path: Path) -> None:
    opened = open_storage(Device(Hba("fileio", "fileio_0", 0), "d", control=control(path)))
    assert isinstance(opened, FileStorage)
    opened.close()
    for plugin, code in (("pscsi", errno.EINVAL), ("user", errno.ENODEV)):
        with pytest.raises(OSError) as caught:  # noqa: PT011
            open_storage(Device(Hba(plugin, f"{plugin}_0", 0), "d"))
        assert caught.value.errno == code


# Reading and writing


def test_what_was_written_is_read(storage: FileStorage) -> None:
    storage.write(4096, b"abc" * 1000)
    assert storage.read(4096, 3000) == b"abc" * 1000
    assert storage.read(4090, 6) == bytes(6)
    place = bytearray(4)
    storage.read_into(4096, place)
    assert place == b"abca"


def test_beyond_the_end_of_a_short_file_there_are_zeros(storage: FileStorage) -> None:
    storage.write(0, b"x" * 100)
    assert storage.read(0, 512) == b"x" * 100 + bytes(412)
    assert storage.read(MIB - 512, 512) == bytes(512)
    assert storage.read_now(0, 512) is None
    assert storage.read_into_now(0, bytearray(512)) == -1


def test_data_in_the_page_cache_is_read_at_once(storage: FileStorage) -> None:
    storage.write(0, b"y" * 8192)
    assert storage.read_now(0, 8192) == b"y" * 8192
    place = bytearray(4096)
    assert storage.read_into_now(4096, memoryview(place)) == 4096
    assert place == b"y" * 4096


def test_what_is_sent_comes_from_the_file(storage: FileStorage) -> None:
    data = os.urandom(MIB)
    storage.write(0, data)
    assert storage.at_hand(0, MIB)
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        at = MIB // 2
        gone = storage.send_now(here, at, MIB // 2)
        assert 0 < gone < MIB // 2
        assert storage.send_now(here, at + gone, MIB // 2 - gone) == 0, "the socket takes no more"
        assert there.recv(gone, socket.MSG_WAITALL) == data[at : at + gone]


def test_what_cannot_be_sent_from_the_file_is_left(storage: FileStorage) -> None:
    storage.write(0, b"x" * 4096)
    here, there = socket.socketpair()
    with here, there:
        assert not storage.at_hand(0, 8192), "there are no pages beyond the end of the file"
        assert storage.send_now(here, 0, 8192) == 4096
        assert storage.send_now(here, 4096, 4096) == 0
        there.close()
        with pytest.raises(BrokenPipeError):
            storage.send_now(here, 0, 4096)


def test_reading_at_once_declines_where_the_kernel_would_wait(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write(0, b"y" * 4096)

    def would_wait(*arguments: object) -> int:
        raise BlockingIOError

    monkeypatch.setattr(os, "preadv", would_wait)
    assert storage.read_now(0, 4096) is None
    assert storage.read_into_now(0, bytearray(4096)) == -1


def test_without_rwf_nowait_nothing_is_done_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*arguments: object) -> int:
        raise OSError(errno.EOPNOTSUPP, "preadv2")

    monkeypatch.setattr(descriptor_module, "in_memory", lambda fd: False)
    with monkeypatch.context() as patched:
        patched.setattr(os, "preadv", unsupported)
        storage = open_file(control(path))
    storage.write(0, b"z" * 4096)
    assert storage.read_now(0, 4096) is None
    assert not storage.write_now(0, b"z" * 4096)
    assert storage.read(0, 4096) == b"z" * 4096
    storage.close()


def test_a_file_in_memory_is_written_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptor_module, "in_memory", lambda fd: True)
    storage = open_file(control(path))
    assert storage.write_now(0, b"m" * 512)
    assert storage.read_now(0, 512) == b"m" * 512
    place = bytearray(b"old" * 400)
    assert storage.read_into_now(0, place) == 1200
    assert place == b"m" * 512 + bytes(688), "beyond the file's end there are zeros"
    storage.write_through = True
    assert not storage.write_now(0, b"n" * 512)
    storage.close()


def test_writing_at_once_is_given_up_where_it_is_not_supported(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*arguments: object) -> int:
        raise OSError(errno.EOPNOTSUPP, "pwritev2")

    storage.write_flag = os.RWF_NOWAIT
    monkeypatch.setattr(os, "pwritev", unsupported)
    assert not storage.write_now(0, b"a")
    assert storage.write_flag is None


def test_tmpfs_is_told_from_other_filesystems() -> None:
    with Path("/proc/self/mountinfo").open() as mounts:
        assert not descriptor_module.in_memory(mounts.fileno())


def count_syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    done: list[int] = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (done.append(fd), real(fd)))
    return done


def test_write_back_syncs_only_when_asked(storage: FileStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    done = count_syncs(monkeypatch)
    storage.write(0, b"a")
    assert done == []
    storage.write(0, b"a", sync=True)
    storage.flush()
    assert done == [storage.fd, storage.fd]


def test_write_through_syncs_every_write(storage: FileStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    done = count_syncs(monkeypatch)
    storage.write_through = True
    storage.write(0, b"a")
    storage.discard(0, 4096)
    storage.zero(0, 4096)
    assert len(done) == 3


def test_a_failed_sync_is_an_error(storage: FileStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "fdatasync")

    monkeypatch.setattr(os, "fdatasync", fail)
    for step in (storage.flush, lambda: storage.write(0, b"a", sync=True)):
        with pytest.raises(OSError, match="fdatasync"):
            step()


def test_short_writes_are_finished(storage: FileStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, bytes(data)[:7], offset))
    storage.write(10, bytes(range(100)))
    assert storage.read(10, 100) == bytes(range(100))


# Space


def test_discarded_space_is_given_back_and_reads_as_zeros(storage: FileStorage, path: Path) -> None:
    storage.write(0, b"d" * (256 << 10))
    storage.flush()
    before = path.stat().st_blocks
    storage.discard(0, 128 << 10)
    assert storage.read(0, 256 << 10) == bytes(128 << 10) + b"d" * (128 << 10)
    assert path.stat().st_blocks < before
    assert path.stat().st_size == 256 << 10


def test_zero_keeps_the_rest(storage: FileStorage) -> None:
    storage.write(0, b"d" * 8192)
    storage.zero(512, 1024)
    assert storage.read(0, 8192) == b"d" * 512 + bytes(1024) + b"d" * (8192 - 1536)


@pytest.mark.parametrize("step", ["discard", "zero"])
def test_without_fallocate_zeros_are_written(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def unsupported(fd: int, mode: int, offset: int, length: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "fallocate")

    monkeypatch.setattr("isadmin.userspace.storage.file.fallocate", unsupported)
    storage.write(0, b"d" * 8192)
    getattr(storage, step)(0, 4096)
    assert storage.read(0, 8192) == bytes(4096) + b"d" * 4096


@pytest.mark.parametrize("step", ["discard", "zero"])
def test_other_errors_of_fallocate_are_errors(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(fd: int, mode: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "fallocate")

    monkeypatch.setattr("isadmin.userspace.storage.file.fallocate", full)
    with pytest.raises(OSError, match="fallocate"):
        getattr(storage, step)(0, 4096)


def test_fallocate_reports_the_kernels_errno(storage: FileStorage) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011
        descriptor_module.fallocate(storage.fd, 0, -1, 10)
    assert caught.value.errno == errno.EINVAL


def test_extents(storage: FileStorage) -> None:
    assert storage.extent(0) == (False, MIB)
    storage.write(64 << 10, b"e" * (64 << 10))
    assert storage.extent(0) == (False, 64 << 10)
    assert storage.extent(64 << 10) == (True, 128 << 10)
    assert storage.extent(128 << 10) == (False, MIB)


@pytest.fixture
def on_disk(path: Path) -> Iterator[FileStorage]:
    opened = open_file(control(path))
    if in_memory(opened.fd):
        pytest.skip("needs a filesystem on a disk")
    yield opened
    opened.close()


def test_zeros_that_were_put_down_have_space_and_holes_have_not(on_disk: FileStorage) -> None:
    on_disk.write(0, b"d" * (128 << 10))
    on_disk.flush()
    on_disk.zero(32 << 10, 64 << 10)
    assert on_disk.extent(0) == (True, 128 << 10)
    assert on_disk.extent(40 << 10) == (True, 128 << 10)
    on_disk.zero(512 << 10, 512 << 10)
    assert on_disk.extent(128 << 10) == (False, 512 << 10)
    assert on_disk.extent(512 << 10) == (True, MIB)
    on_disk.discard(32 << 10, 64 << 10)
    assert on_disk.extent(32 << 10) == (False, 96 << 10)
    assert on_disk.extent(96 << 10) == (True, 128 << 10)


def test_more_extents_than_are_told_at_once(on_disk: FileStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extents, "AT_ONCE", 1)
    on_disk.write(0, b"d" * (64 << 10))
    on_disk.flush()
    on_disk.zero(32 << 10, 32 << 10)
    mapped, end = on_disk.extent(0)
    assert mapped
    assert end == 32 << 10
    assert on_disk.extent(end) == (True, 64 << 10)


def test_without_fiemap_what_is_data_has_space(on_disk: FileStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(fd: int, request: int, argument: bytearray) -> int:
        raise OSError(errno.EOPNOTSUPP, "ioctl")

    monkeypatch.setattr(fcntl, "ioctl", unsupported)
    assert on_disk.extent(0) == (False, MIB)
    on_disk.write(64 << 10, b"e" * (64 << 10))
    assert on_disk.extent(0) == (False, 64 << 10)
    assert on_disk.extent(64 << 10) == (True, 128 << 10)
    on_disk.close()
    assert on_disk.extent(0) == (True, MIB), "when in doubt, it has"


def test_errors_tell_where_they_were(storage: FileStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel does what it can before it fails."""
    storage.write(0, bytes(MIB))
    preadv, pwrite = os.preadv, os.pwrite

    def read(fd: int, buffers: tuple[memoryview], offset: int) -> int:
        if offset >= 8192:
            raise OSError(errno.EIO, "bad")
        return preadv(fd, (buffers[0][: 8192 - offset],), offset)

    def write(fd: int, data: memoryview, offset: int) -> int:
        if offset >= 8192:
            raise OSError(errno.ENOSPC, "full")
        return pwrite(fd, data[: 8192 - offset], offset)

    def sync(fd: int) -> None:
        raise OSError(errno.EIO, "lost")

    monkeypatch.setattr(os, "preadv", read)
    monkeypatch.setattr(os, "pwrite", write)
    monkeypatch.setattr(os, "fdatasync", sync)
    with pytest.raises(FailedAt, match="bad") as caught:
        storage.read(4096, 16384)
    assert (caught.value.errno, caught.value.offset) == (errno.EIO, 8192)
    with pytest.raises(FailedAt, match="full") as caught:
        storage.write(4096, bytes(16384))
    assert (caught.value.errno, caught.value.offset) == (errno.ENOSPC, 8192)
    for step in (storage.flush, lambda: storage.write(0, b"x", sync=True)):
        with pytest.raises(FailedAt, match="lost") as caught:
            step()
        assert caught.value.offset is None


def test_a_flush_that_failed_is_told_to_all_whose_data_it_may_have_lost(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells one thread; here another's write lies between its first byte and its flush."""
    fdatasync = os.fdatasync

    def sync(fd: int) -> None:
        monkeypatch.setattr(os, "fdatasync", lost)
        with pytest.raises(FailedAt, match="lost"):
            storage.flush()
        monkeypatch.setattr(os, "fdatasync", fdatasync)

    def lost(fd: int) -> None:
        raise OSError(errno.EIO, "lost")

    for step in (storage.flush, lambda: storage.write(0, b"x", sync=True)):
        monkeypatch.setattr(os, "fdatasync", sync)
        with pytest.raises(FailedAt, match="meanwhile"):
            step()
        step()


def test_prefetch_is_only_advice(storage: FileStorage) -> None:
    storage.prefetch(0, MIB)
    assert storage.read(0, 1) == b"\0"


def test_close_twice(path: Path) -> None:
    storage = open_file(control(path))
    storage.close()
    storage.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        storage.read(0, 1)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from("wzd"), st.integers(0, 30000), st.binary(min_size=1, max_size=5000)))
)
def test_any_sequence_is_like_plain_memory(tmp_path: Path, steps: list[tuple[str, int, bytes]]) -> None:
    path = tmp_path / "any"
    path.unlink(missing_ok=True)
    storage = open_file(control(path, 65536))
    memory = bytearray(65536)
    for step, offset, data in steps:
        end = offset + len(data)
        if step == "w":
            storage.write(offset, data)
            memory[offset:end] = data
        else:
            (storage.zero if step == "z" else storage.discard)(offset, len(data))
            memory[offset:end] = bytes(len(data))
    assert storage.read(0, 65536) == memory
    storage.close()
