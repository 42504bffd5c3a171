"""Short ways to a tree with something in it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from isadmin.userspace.configfs.tree import Tree
from tests.userspace.configfs.recorded import SYSTEM, RecordedEngine

TPG = "iscsi/iqn.2003-01.org.test:t1/tpgt_1"
ACL = f"{TPG}/acls/iqn.2003-01.org.test:i1"
FILE = "core/fileio_0/f1"
RAM = "core/rd_mcp_1/r1"


class Box:
    """A tree, its engine, and its operations without ceremony."""

    def __init__(self) -> None:
        self.engine = RecordedEngine()
        self.now = 5.0
        self.tree = Tree(self.engine, clock=lambda: self.now, now=lambda: 1000.0, cpus=4, system=SYSTEM)

    def mkdirs(self, *paths: str) -> None:
        for path in paths:
            self.tree.mkdir(path)

    def write(self, path: str, value: str) -> int:
        return self.tree.write(path, value.encode())

    def read(self, path: str) -> str:
        return self.tree.read(path).decode()

    def fileio(self, path: str = FILE, *, enable: bool = True) -> str:
        hba = path.rpartition("/")[0]
        if hba.rpartition("/")[2] not in self.tree.root.hbas:
            self.tree.mkdir(hba)
        self.tree.mkdir(path)
        self.write(f"{path}/control", "fd_dev_name=/srv/f1,fd_dev_size=1048576,fd_buffered_io=1")
        if enable:
            self.write(f"{path}/enable", "1")
        return path

    def ramdisk(self, path: str = RAM) -> str:
        self.mkdirs(path.rpartition("/")[0], path)
        self.write(f"{path}/control", "rd_pages=16")
        self.write(f"{path}/enable", "1")
        return path

    def tpg(self, path: str = TPG) -> str:
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            above = "/".join(parts[:depth])
            if not self.exists(above):
                self.tree.mkdir(above)
        return path

    def lun(self, device: str, number: int = 0, tpg: str = TPG) -> str:
        path = f"{tpg}/lun/lun_{number}"
        self.tree.mkdir(path)
        self.tree.symlink(device, f"{path}/link")
        return path

    def mapped(self, lun: str, number: int = 0, acl: str = ACL) -> str:
        if not self.exists(acl):
            self.tree.mkdir(acl)
        path = f"{acl}/lun_{number}"
        self.tree.mkdir(path)
        self.tree.symlink(lun, f"{path}/link")
        return path

    def exists(self, path: str) -> bool:
        try:
            self.tree.stat(path)
        except FileNotFoundError:
            return False
        return True

    def calls(self, name: str) -> list[Any]:
        return [argument for call, argument in self.engine.calls if call == name]

    def refuses(self, number: int, path: str, *values: str) -> None:
        """Every write of `values` ends with this errno and leaves the file as it is."""
        readable = self.tree.stat(path).mode & 0o444
        before = self.tree.read(path) if readable else b""
        for value in values:
            with fails(number):
                self.write(path, value)
            if readable:
                assert self.tree.read(path) == before, value

    def takes(self, path: str, *values: str) -> None:
        """Each value reads back as a line."""
        for value in values:
            assert self.write(path, value) == len(value.encode())
            assert self.read(path) == f"{value}\n"


class fails:  # noqa: N801 - reads as a word
    """with fails(errno.EPERM): the block ends with that errno."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._raises = pytest.raises(OSError)  # noqa: PT011 - the errno is checked

    def __enter__(self) -> None:
        self._caught = self._raises.__enter__()

    def __exit__(self, *caught: Any) -> bool:
        result = self._raises.__exit__(*caught)
        found = self._caught.value.errno or 0
        assert found == self._number, f"{errno.errorcode[found]}, not {errno.errorcode[self._number]}"
        return bool(result)


def refuse(number: int) -> Callable[..., Any]:
    """An engine's method that refuses."""

    def method(*arguments: Any) -> Any:
        raise OSError(number, "refused")

    return method
