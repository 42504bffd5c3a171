"""A file that takes its time: one file in memory on a FUSE mount, whose writes last as on an old disk.

Run as a program (python -m tests.conformance.slow MOUNT), it serves until it is unmounted.
"""

from __future__ import annotations

import errno
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isadmin.userspace.configfs.fuse import load_library
from tests.integration.sandbox import wait_until

SIZE = 16 << 20
NAME = "/disk.img"
BYTES_PER_SECOND = 1 << 20


@contextmanager
def slow_file(mount: Path) -> Iterator[Path]:
    """The file, on a mount of its own."""
    mount.mkdir()
    command = [sys.executable, "-m", __name__, str(mount)]
    process = subprocess.Popen(command, cwd=Path(__file__).resolve().parents[2])
    file = mount / NAME[1:]
    try:
        wait_until(lambda: process.poll() is not None or file.exists(), "the slow file")
        yield file
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=False)
        process.wait(30)


def serve(mount: str) -> None:
    """Serve the file until somebody unmounts it."""
    mfusepy = load_library()

    class SlowFile(mfusepy.Operations):  # type: ignore[misc, name-defined]
        """The root directory with one file."""

        use_ns = True

        def __init__(self) -> None:
            self._data = bytearray(SIZE)

        def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
            if path == "/":
                return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
            if path == NAME:
                return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": len(self._data)}
            raise OSError(errno.ENOENT, path)

        def open(self, path: str, flags: int) -> int:
            return 0

        def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
            return bytes(self._data[offset : offset + size])

        def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
            time.sleep(len(data) / BYTES_PER_SECOND)
            self._data[offset : offset + len(data)] = data
            return len(data)

        def fsync(self, path: str, datasync: int, fh: int) -> int:
            return 0

    mfusepy.FUSE(SlowFile(), mount, foreground=True, nothreads=True)


if __name__ == "__main__":
    serve(sys.argv[1])
