"""Operations on the kernel's configfs, as they were recorded: one system call each, nothing tried twice.

A record is a dictionary: op, path (below configfs, "target/..."), value or value_b64; its errno is 0 for
success.
"""

# System calls, by their names:
# ruff: noqa: PTH101, PTH102, PTH104, PTH106, PTH108, PTH115, PTH208, PTH211

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.kernel.world import CONFIGFS

Record = dict[str, Any]


def real(path: str, root: Path = CONFIGFS) -> str:
    return str(root / path) if path else str(root)


def text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(data).decode()


def read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        content = b""
        while part := os.read(descriptor, 65536):
            content += part
        return content
    finally:
        os.close(descriptor)


def write(path: str, data: bytes, flags: int = os.O_WRONLY) -> int:
    """One write: a store. Python's own files write again at their close what was refused."""
    descriptor = os.open(path, flags)
    try:
        return os.write(descriptor, data)
    finally:
        os.close(descriptor)


class Operations:
    """Each operation is a method; it returns what was recorded as its result, and raises OSError."""

    def __init__(self, root: Path = CONFIGFS) -> None:
        """`root`: the directory in which `target` is."""
        self._root = root

    def run(self, record: Record) -> tuple[int, Any]:
        """(errno, result)."""
        operation: Callable[[str, Any], Any] = getattr(self, f"do_{record['op']}")
        value = base64.b64decode(record["value_b64"]) if "value_b64" in record else record.get("value")
        try:
            return 0, operation(real(record["path"], self._root), value)
        except OSError as error:
            return error.errno or 0, None

    def do_mkdir(self, path: str, _: Any) -> None:
        os.mkdir(path)

    def do_rmdir(self, path: str, _: Any) -> None:
        os.rmdir(path)

    def do_write(self, path: str, value: str | bytes) -> int:
        return write(path, value.encode() if isinstance(value, str) else value)

    def do_write_append(self, path: str, value: str) -> int:
        return write(path, value.encode(), os.O_WRONLY | os.O_APPEND)

    def do_write_trunc(self, path: str, value: str) -> int:
        return write(path, value.encode(), os.O_WRONLY | os.O_TRUNC | os.O_CREAT)

    def do_read(self, path: str, _: Any) -> str:
        return text(read(path))

    def do_symlink(self, path: str, value: str) -> None:
        os.symlink(value if value.startswith(("/", ".")) else real(value, self._root), path)

    def do_unlink(self, path: str, _: Any) -> None:
        os.unlink(path)

    def do_readlink(self, path: str, _: Any) -> str:
        return os.readlink(path)

    def do_rename(self, path: str, value: str) -> None:
        os.rename(path, real(value, self._root))

    def do_link(self, path: str, value: str) -> None:
        os.link(path, real(value, self._root))

    def do_creat(self, path: str, _: Any) -> None:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))

    def do_mknod(self, path: str, _: Any) -> None:
        os.mknod(path, 0o644)

    def do_open_rw(self, path: str, _: Any) -> None:
        os.close(os.open(path, os.O_RDWR))

    def do_chmod(self, path: str, value: int) -> None:
        os.chmod(path, value)

    def do_chown(self, path: str, value: list[int]) -> None:
        os.chown(path, *value)

    def do_utime(self, path: str, value: float) -> None:
        os.utime(path, (value, value))

    def do_truncate(self, path: str, value: int) -> None:
        os.truncate(path, value)

    def do_listdir(self, path: str, _: Any) -> list[str]:
        return sorted(os.listdir(path))

    do_listdir_raw = do_listdir

    def do_listxattr(self, path: str, _: Any) -> list[str]:
        return os.listxattr(path)

    def do_stat(self, path: str, _: Any) -> Record:
        st = os.lstat(path)
        names = ("size", "nlink", "uid", "gid", "blksize", "blocks")
        return {"mode": oct(st.st_mode)} | {name: getattr(st, f"st_{name}") for name in names}

    def do_statfs(self, path: str, _: Any) -> Record:
        st = os.statvfs(path)
        return {"bsize": st.f_bsize, "namemax": st.f_namemax, "flag": st.f_flag, "blocks": st.f_blocks}


def dump(root: Path = CONFIGFS) -> dict[str, Record]:
    """The tree `target` in a directory: path -> path, mode, type; nlink, or size and content or errno, or
    target."""
    entries: dict[str, Record] = {}

    def walk(path: str) -> None:
        place = real(path, root)
        st = os.lstat(place)
        entry: Record = {"path": path, "mode": oct(stat.S_IMODE(st.st_mode))}
        entries[path] = entry
        if stat.S_ISLNK(st.st_mode):
            entry |= {"type": "link", "target": os.readlink(place), "size": st.st_size}
        elif stat.S_ISDIR(st.st_mode):
            entry |= {"type": "dir", "nlink": st.st_nlink}
            for child in sorted(os.listdir(place)):
                walk(f"{path}/{child}")
        else:
            entry |= {"type": "file", "size": st.st_size}
            try:
                entry["content"] = text(read(place))
            except OSError as error:
                entry["errno"] = error.errno

    walk("target")
    return entries


def load(file: Path) -> Iterator[Record]:
    for line in file.read_text().splitlines():
        yield json.loads(line)
