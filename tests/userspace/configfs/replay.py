"""Replays recorded operations on a Tree, as cfslib did them on the kernel."""

from __future__ import annotations

import base64
import errno
import stat
from collections.abc import Callable
from typing import Any

from isadmin.userspace.configfs.tree import Stat, Tree
from isadmin.userspace.configfs.values import fail

MOUNT = "target"
FILES = {"/run/d/f1.img": errno.ENOTDIR, "/nonexistent": errno.ENOENT}
"""What the file system answers for link targets outside configfs."""


def tree_path(path: str) -> str:
    assert path == MOUNT or path.startswith(f"{MOUNT}/"), path
    return path.removeprefix(MOUNT).strip("/")


def text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(data).decode()


def error_name(error: OSError) -> str:
    return errno.errorcode[error.errno or 0]


class Replay:
    """Each operation is a method; what cfslib recorded as its result is returned."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def run(self, record: dict[str, Any]) -> tuple[int, Any]:
        """(errno, result)."""
        operation: Callable[[str, Any], Any] | None = getattr(self, f"do_{record['op']}", None)
        if operation is None or not record["path"].startswith(MOUNT):
            return errno.ENOSYS, None
        value = base64.b64decode(record["value_b64"]) if "value_b64" in record else record.get("value")
        try:
            return 0, operation(tree_path(record["path"]), value)
        except OSError as error:
            return error.errno or 0, None

    def do_mkdir(self, path: str, value: Any) -> None:
        self.tree.mkdir(path)

    def do_rmdir(self, path: str, value: Any) -> None:
        self.tree.rmdir(path)

    def do_write(self, path: str, value: str | bytes) -> int:
        self.tree.access(path, read=False, write=True)
        return self.tree.write(path, value.encode() if isinstance(value, str) else value)

    do_write_append = do_write

    def do_write_trunc(self, path: str, value: str) -> int:
        self.tree.access(path, read=False, write=True)
        self.tree.truncate(path, 0)
        return self.do_write(path, value)

    def do_read(self, path: str, value: Any) -> str:
        self.tree.access(path, read=True, write=False)
        return text(self.tree.read(path))

    def do_symlink(self, path: str, value: str) -> None:
        if value.startswith("/"):
            fail(FILES[value])
        self.tree.symlink(tree_path(value), path)

    def do_unlink(self, path: str, value: Any) -> None:
        self.tree.unlink(path)

    def do_readlink(self, path: str, value: Any) -> str:
        return self.tree.readlink(path)

    def do_rename(self, path: str, value: str) -> None:
        self.tree.rename(path, tree_path(value))

    def do_link(self, path: str, value: str) -> None:
        self.tree.link(path, tree_path(value))

    def do_creat(self, path: str, value: Any) -> None:
        """O_CREAT without O_EXCL opens what is there."""
        try:
            self.tree.create(path)
        except FileExistsError:
            self.tree.access(path, read=False, write=True)

    def do_mknod(self, path: str, value: Any) -> None:
        self.tree.mknod(path)

    def do_open_rw(self, path: str, value: Any) -> None:
        self.tree.access(path, read=True, write=True)

    def do_chmod(self, path: str, value: int) -> None:
        self.tree.chmod(path, value)

    def do_chown(self, path: str, value: list[int]) -> None:
        self.tree.chown(path, *value)

    def do_utime(self, path: str, value: float) -> None:
        self.tree.utime(path, value, value)

    def do_truncate(self, path: str, value: int) -> None:
        self.tree.truncate(path, value)

    def do_listdir(self, path: str, value: Any) -> list[str]:
        return sorted(self.tree.listdir(path))

    def do_listdir_raw(self, path: str, value: Any) -> list[str]:
        return self.tree.listdir(path)

    def do_stat(self, path: str, value: Any) -> dict[str, Any]:
        st = self.tree.stat(path)
        names = ("size", "nlink", "uid", "gid", "blksize", "blocks")
        return {"mode": oct(st.mode)} | {name: getattr(st, name) for name in names}

    def do_partial_reads(self, path: str, value: Any) -> list[Any]:
        """Reads of one open file at 0, 3 and its end; then at offset 1; then back to 0."""
        content = text(self.tree.read(path))
        return [content[:3], content[3:], content[len(content) :], content[2:5], 0, content]

    def do_two_writes_same_fd(self, path: str, value: Any) -> list[int]:
        """Each is a store of its own, wherever the file's offset is."""
        return [self.tree.write(path, data) for data in (b"/run/x", b"/run/y")]

    def do_read_open_fd_after_rmdir(self, path: str, value: Any) -> str:
        self.tree.rmdir(path.rpartition("/")[0])
        try:
            return text(self.tree.read(path))
        except OSError as error:
            return error_name(error)


def dump(tree: Tree) -> dict[str, dict[str, Any]]:
    """The tree as cfslib dumps it: path, mode, type; nlink, or size and content or errno or target."""
    entries: dict[str, dict[str, Any]] = {}

    def walk(path: str) -> None:
        st: Stat = tree.stat(path)
        name = f"{MOUNT}/{path}" if path else MOUNT
        entry: dict[str, Any] = {"path": name, "mode": oct(stat.S_IMODE(st.mode))}
        entries[name] = entry
        if stat.S_ISLNK(st.mode):
            entry |= {"type": "link", "target": tree.readlink(path), "size": st.size}
        elif stat.S_ISDIR(st.mode):
            entry |= {"type": "dir", "nlink": st.nlink}
            for child in tree.listdir(path):
                walk(f"{path}/{child}" if path else child)
        else:
            entry |= {"type": "file", "size": st.size}
            try:
                tree.access(path, read=True, write=False)
                entry["content"] = text(tree.read(path))
            except OSError as error:
                entry["errno"] = error.errno

    walk("")
    return entries
