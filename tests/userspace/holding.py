"""A storage whose writes are held back, for tests of what happens meanwhile."""

from __future__ import annotations

import threading

import pytest

from isadmin.userspace.storage.file import FileStorage


class Held:
    """Writes to files wait for `go`, in their pool thread; what is read is always in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        self.begun = 0
        original = FileStorage.write

        def write(storage: FileStorage, offset: int, data: bytes, *, sync: bool = False) -> None:
            self.begun += 1
            assert self.go.wait(20)
            original(storage, offset, data, sync=sync)

        monkeypatch.setattr(FileStorage, "write", write)
        monkeypatch.setattr(FileStorage, "read_now", FileStorage.read)
