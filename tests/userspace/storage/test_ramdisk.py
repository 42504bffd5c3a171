"""rd_mcp's storage."""

from __future__ import annotations

import errno
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isadmin.userspace.storage.ramdisk import NullStorage, RamStorage, open_ramdisk

SIZE = 16 * 4096


@pytest.mark.parametrize("keys", [{}, {"rd_pages": "0"}, {"rd_pages": "-5"}, {"rd_pages": "x"}])
def test_a_page_count_is_needed(keys: dict[str, str]) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011
        open_ramdisk(keys)
    assert caught.value.errno == errno.EINVAL


def test_more_than_there_is() -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011
        open_ramdisk({"rd_pages": str(1 << 60)})
    assert caught.value.errno == errno.ENOMEM


def test_facts() -> None:
    storage = open_ramdisk({"rd_pages": "16"})
    assert isinstance(storage, RamStorage)
    assert storage.size == SIZE
    assert not storage.blocking
    assert storage.facts.hw_max_sectors == 4294967288
    assert not storage.facts.write_cache
    storage.resize(1)
    assert storage.size == SIZE
    assert storage.extent(5) == (True, SIZE)
    storage.flush()
    storage.prefetch(0, 5)
    storage.close()


def test_reading_and_writing_never_wait() -> None:
    storage = RamStorage(SIZE)
    storage.write(10, b"abc", sync=True)
    assert storage.write_now(13, b"def")
    assert storage.read(9, 8) == b"\0abcdef\0"
    assert storage.read_now(10, 6) == b"abcdef"
    place = bytearray(3)
    assert storage.read_into_now(10, place) == 3
    assert place == b"abc"
    storage.close()


def test_nullio_forgets() -> None:
    storage = open_ramdisk({"rd_pages": str(1 << 30), "rd_nullio": "1"})
    assert isinstance(storage, NullStorage)
    assert storage.size == 1 << 42
    storage.write(0, b"abc")
    assert storage.write_now(0, b"abc")
    assert storage.read(0, 3) == bytes(3)
    assert storage.read_now(0, 100_000) == bytes(100_000)
    place = bytearray(b"xyz")
    assert storage.read_into_now(0, place) == 3
    assert place == bytes(3)
    storage.discard(0, 1 << 40)
    storage.close()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, SIZE - 1), st.integers(1, SIZE))))
def test_any_sequence_is_like_plain_memory(steps: list[tuple[bool, int, int]]) -> None:
    storage = RamStorage(SIZE)
    memory = bytearray(SIZE)
    for number, (writes, offset, length) in enumerate(steps):
        length = min(length, SIZE - offset)
        data = bytes([number % 255 + 1]) * length if writes else bytes(length)
        if writes:
            storage.write(offset, data)
        else:
            storage.discard(offset, length)
        memory[offset : offset + length] = data
    assert storage.read(0, SIZE) == memory
    storage.close()


def test_a_ramdisk_sends_from_its_memory() -> None:
    storage = RamStorage(SIZE)
    storage.write(4096, b"m" * 4096)
    assert storage.at_hand(0, SIZE)
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        assert storage.send_now(here, 4000, 200) == 200
        assert there.recv(4096) == bytes(96) + b"m" * 104
        while storage.send_now(here, 0, SIZE):
            pass
        there.close()
        with pytest.raises(BrokenPipeError):
            storage.send_now(here, 0, 200)
    storage.close()


def test_nothing_has_nothing_to_send() -> None:
    storage = NullStorage(SIZE)
    assert not storage.at_hand(0, SIZE)
