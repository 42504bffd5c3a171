"""What is in memory of a file, as the kernel tells it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from isadmin.userspace.storage.descriptor import in_memory
from isadmin.userspace.storage.pagecache import PageCache

PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    """A file of eight pages, on a disk."""
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    assert not in_memory(fd), "tests need a temporary directory on a disk"
    os.write(fd, b"x" * 8 * PAGE)
    os.fsync(fd)
    yield fd
    os.close(fd)


def test_what_was_written_is_there(fd: int) -> None:
    cache = PageCache(fd)
    assert cache.has(0, 8 * PAGE)
    assert cache.has(PAGE - 1, 2)
    cache.close()


def test_what_was_dropped_is_not(fd: int) -> None:
    cache = PageCache(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    assert not cache.has(0, 1)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    os.pread(fd, 1, 4 * PAGE)
    assert cache.has(4 * PAGE, PAGE)
    assert not cache.has(4 * PAGE, PAGE + 1)
    assert not cache.has(4 * PAGE - 1, 2)
    cache.close()


def test_beyond_the_end_there_is_nothing_until_the_file_grows(fd: int) -> None:
    cache = PageCache(fd)
    assert not cache.has(7 * PAGE, 2 * PAGE)
    os.pwrite(fd, b"y" * 8 * PAGE, 8 * PAGE)
    assert cache.has(7 * PAGE, 2 * PAGE)
    assert cache.has(15 * PAGE, PAGE)
    cache.close()


def test_what_cannot_be_mapped_is_never_there() -> None:
    reader, writer = os.pipe()
    cache = PageCache(reader)
    assert not cache.has(0, 1)
    os.close(reader)
    os.close(writer)
