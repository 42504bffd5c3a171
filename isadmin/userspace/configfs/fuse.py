"""The configfs tree as a mounted directory: libfuse's callbacks onto a Tree, errnos only.

A Mount lives in the thread that owns the tree: the event loop watches its descriptor and calls `serve`, which
answers every request that waits. So the state has one owner, without a lock, and a request costs no hand-over
between threads and no fight with the data path for the interpreter's lock.
For the same reason nothing in this process may use the mounted path itself: it would wait for its own answer.

Kernel-side caching decides the speed of everything that walks the tree. It is safe because objects appear
and vanish only through the mount, where the kernel sees it: names, absent names and attributes are cached for
a day (a directory's attributes until it is changed), symlink targets for good (a link made anew is a new
inode). Contents are never cached (direct I/O), so live values are always fresh.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import json
import logging
import os
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from isadmin.errors import NoTargetError
from isadmin.userspace.configfs.links import Resolver
from isadmin.userspace.configfs.tree import S_IFDIR, S_IFLNK, S_IFREG

if TYPE_CHECKING:
    from isadmin.userspace.configfs.tree import Stat, Tree

log = logging.getLogger(__name__)

DAY = 86400
FUSE_READDIR_PLUS = 1
FUSE_FILL_DIR_PLUS = 2
FUSE_CAP_SPLICE = 1 << 7 | 1 << 8 | 1 << 9
FUSE_CAP_CACHE_SYMLINKS = 1 << 23
ENCODING = ("utf-8", "surrogateescape")
CONTENT = b"user.isadmin.content"
"""An extended attribute: a file's content; of a directory, all that is in it as Tree.told says it, in JSON.
One request tells what takes four to list, three for each file to open, read and close, and one for a link.
With .FIRST-END behind it: those entries of a directory and all below them, as Tree.told_below."""
_ENTRIES = re.compile(rb"\.([0-9]{1,9})-([0-9]{1,9})")
LEAST_CONTENTS = 1024
RECORDS_KEPT = 4096
UNCHANGED = (1 << 32) - 1
"""An owner of chown(2) to leave as it is: -1, unsigned."""
UTIME_NOW = (1 << 30) - 1
UTIME_OMIT = (1 << 30) - 2
CALLS_A_TURN = 128
"""Requests taken, or looked for, before the event loop gets its turn again."""
TURN = 1e-3
"""Seconds after which it gets its turn in any case."""
LOOKS_BEFORE_SLEEP = 12
"""A client's next request mostly follows within 20 microseconds of an answer: looking for it that long
costs less than sleeping and being woken, and halves the time of a walk."""


class _Args(ctypes.Structure):
    """struct fuse_args."""

    _fields_ = (
        ("argc", ctypes.c_int),
        ("argv", ctypes.POINTER(ctypes.c_char_p)),
        ("allocated", ctypes.c_int),
    )


class _Buffer(ctypes.Structure):
    """struct fuse_buf, with room at its end: newer libraries have more members."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("mem", ctypes.c_void_p),
        ("fd", ctypes.c_int),
        ("pos", ctypes.c_longlong),
        ("later", ctypes.c_ulonglong * 8),
    )


def load_library() -> Any:
    """mfusepy over libfuse3. NoTargetError names the package or the container option that is missing."""
    for name in ("libfuse3.so.4", "libfuse3.so.3"):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        # Left to itself mfusepy prefers libfuse 2, whose calls differ.
        os.environ["FUSE_LIBRARY_PATH"] = name
        break
    else:
        raise NoTargetError("libfuse3 is not installed", "apt install fuse3 (or dnf install fuse3)")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise NoTargetError(
            "/dev/fuse is missing or not accessible",
            "modprobe fuse, or start the container with --device /dev/fuse --cap-add SYS_ADMIN",
        )
    import mfusepy

    return mfusepy


class Operations:
    """libfuse's callbacks: arguments in, a Tree's method, an errno out. Paths are bytes with a slash."""

    def __init__(self, tree: Tree, resolver: Resolver, c_stat: Any) -> None:
        self.tree = tree
        self._resolver = resolver
        self._c_stat = c_stat
        self._records: dict[Stat, Any] = {}
        self._types = {kind: self._of_type(kind) for kind in (S_IFDIR, S_IFREG, S_IFLNK)}
        self._listings: dict[int, list[tuple[bytes, int]] | None] = {}
        """Directory handle -> its names and their types when they were first asked for; None before."""
        self._contents: dict[int, bytes | None] = {}
        """File handle -> content read through it, None before the first read (it fills a buffer)."""
        self._handles = itertools.count(1)

    def callbacks(self) -> dict[str, Callable[..., int]]:
        """Operation name as in struct fuse_operations -> a callable that never raises."""
        names = (
            "getattr opendir readdir releasedir readlink mkdir rmdir symlink unlink rename link "
            "mknod create open read write release truncate chmod chown utimens getxattr"
        )
        return {name: _guarded(getattr(self, f"_{name}")) for name in names.split()}

    def _getattr(self, path: bytes, buffer: Any, info: Any) -> int:
        buffer[0] = self._record(self.tree.stat(_text(path)))
        return 0

    def _record(self, facts: Stat) -> Any:
        """`facts` as a struct stat; kept, because nearly all objects share a few."""
        record = self._records.get(facts)
        if record is None:
            if len(self._records) >= RECORDS_KEPT:
                self._records.clear()
            record = self._records[facts] = self._c_stat()
            record.st_mode, record.st_nlink, record.st_size = facts.mode, facts.nlink, facts.size
            record.st_uid, record.st_gid = facts.uid, facts.gid
            record.st_blksize, record.st_blocks = facts.blksize, facts.blocks
            for stamp, value in (
                (record.st_atimespec, facts.atime),
                (record.st_mtimespec, facts.mtime),
                (record.st_ctimespec, facts.ctime),
            ):
                stamp.tv_sec, stamp.tv_nsec = divmod(round(value * 1e9), 10**9)
        return record

    def _opendir(self, path: bytes, info: Any) -> int:
        self.tree.access(_text(path), read=True, write=False)
        handle = next(self._handles)
        self._listings[handle] = None
        info.contents.fh = handle
        return 0

    def _releasedir(self, path: bytes, info: Any) -> int:
        del self._listings[info.contents.fh]
        return 0

    def _readdir(self, path: bytes, buffer: Any, filler: Any, offset: int, info: Any, flags: int) -> int:
        """One bufferful from entry number `offset`: names and types; with FUSE_READDIR_PLUS
        each name goes with its attributes: a walk needs no look-up for each. libfuse hands those on only when
        entries have offsets."""
        handle = info.contents.fh
        listing = self._listings[handle]
        if listing is None or offset == 0:
            listed = [(name.encode(*ENCODING), kind) for name, kind in self.tree.entries(_text(path))]
            listing = self._listings[handle] = [(b".", S_IFDIR), (b"..", S_IFDIR), *listed]
        if not flags & FUSE_READDIR_PLUS:
            types = self._types
            for number in range(offset, len(listing)):
                name, kind = listing[number]
                if filler(buffer, name, types[kind], number + 1, 0):
                    break
            return 0
        directory = _text(path)
        own = [self.tree.stat(directory)] * max(2 - offset, 0)
        names = (name.decode(*ENCODING) for name, _ in listing[max(offset, 2) :])
        found = itertools.chain(own, self.tree.stats(directory, names))
        for number, facts in enumerate(found, offset):
            if facts is None:
                continue
            if filler(buffer, listing[number][0], self._record(facts), number + 1, FUSE_FILL_DIR_PLUS):
                break
        return 0

    def _of_type(self, kind: int) -> Any:
        """A struct stat of which only the type is told."""
        record = self._c_stat()
        record.st_mode = kind
        return record

    def _readlink(self, path: bytes, buffer: int, size: int) -> int:
        target = self.tree.readlink(_text(path)).encode(*ENCODING)[: size - 1] + b"\0"
        ctypes.memmove(buffer, target, len(target))
        return 0

    def _mkdir(self, path: bytes, mode: int) -> int:
        self.tree.mkdir(_text(path), mode)
        return 0

    def _rmdir(self, path: bytes) -> int:
        self.tree.rmdir(_text(path))
        return 0

    def _symlink(self, target: bytes, path: bytes) -> int:
        link = _text(path)
        self.tree.symlink(self._resolver.resolve(link, target.decode(*ENCODING)), link)
        return 0

    def _unlink(self, path: bytes) -> int:
        self.tree.unlink(_text(path))
        return 0

    def _rename(self, old: bytes, new: bytes, flags: int) -> int:
        self.tree.rename(_text(old), _text(new))
        return 0

    def _link(self, old: bytes, new: bytes) -> int:
        self.tree.link(_text(old), _text(new))
        return 0

    def _mknod(self, path: bytes, mode: int, device: int) -> int:
        self.tree.mknod(_text(path))
        return 0

    def _create(self, path: bytes, mode: int, info: Any) -> int:
        self.tree.create(_text(path))
        return self._open_file(info)

    def _open(self, path: bytes, info: Any) -> int:
        mode = info.contents.flags & os.O_ACCMODE
        self.tree.access(_text(path), read=mode != os.O_WRONLY, write=mode != os.O_RDONLY)
        return self._open_file(info)

    def _open_file(self, info: Any) -> int:
        handle = next(self._handles)
        self._contents[handle] = None
        info.contents.fh = handle
        return 0

    def _read(self, path: bytes, buffer: Any, size: int, offset: int, info: Any) -> int:
        handle = info.contents.fh
        content = self._contents[handle]
        if content is None:
            content = self._contents[handle] = self.tree.read(_text(path))
        part = content[offset : offset + size]
        if part:
            ctypes.memmove(buffer, part, len(part))
        return len(part)

    def _write(self, path: bytes, buffer: Any, size: int, offset: int, info: Any) -> int:
        self._contents[info.contents.fh] = None
        return self.tree.write(_text(path), ctypes.string_at(buffer, size))

    def _release(self, path: bytes, info: Any) -> int:
        self._contents.pop(info.contents.fh, None)
        return 0

    def _getxattr(self, path: bytes, name: bytes, buffer: Any, size: int) -> int:
        """CONTENT. Nothing here has other extended attributes, as nothing in configfs has."""
        which = name.removeprefix(CONTENT)
        entries = _ENTRIES.fullmatch(which)
        if not name.startswith(CONTENT) or (which and not entries):
            return -errno.EOPNOTSUPP
        place = _text(path)
        if self.tree.stat(place).mode & S_IFDIR:
            if 0 < size < LEAST_CONTENTS:
                # Whoever tries a small buffer first comes again.
                return -errno.ERANGE
            if entries:
                first, end = (int(number) for number in entries.groups())
                told = json.dumps(self.tree.told_below(place, slice(first, end))).encode()
            else:
                told = json.dumps(self.tree.told(place)).encode()
        else:
            self.tree.access(place, read=True, write=False)
            told = self.tree.read(place)
        if size:
            if size < len(told):
                return -errno.ERANGE
            ctypes.memmove(buffer, told, len(told))
        return len(told)

    def _truncate(self, path: bytes, size: int, info: Any) -> int:
        self.tree.truncate(_text(path), size)
        return 0

    def _chmod(self, path: bytes, mode: int, info: Any) -> int:
        self.tree.chmod(_text(path), mode)
        return 0

    def _chown(self, path: bytes, uid: int, gid: int, info: Any) -> int:
        self.tree.chown(_text(path), *(-1 if one == UNCHANGED else one for one in (uid, gid)))
        return 0

    def _utimens(self, path: bytes, times: Any, info: Any) -> int:
        now = time.time()
        facts = self.tree.stat(_text(path))
        atime = _seconds(times.contents.actime, now, facts.atime) if times else now
        mtime = _seconds(times.contents.modtime, now, facts.mtime) if times else now
        self.tree.utime(_text(path), atime, mtime)
        return 0


def _text(path: bytes | None) -> str:
    """A path of the tree; libfuse has none for what was removed while it was open. Raises OSError."""
    if path is None:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    return path[1:].decode(*ENCODING)


def _seconds(stamp: Any, now: float, before: float) -> float:
    """A struct timespec of utimensat(2), with its two special values."""
    if stamp.tv_nsec == UTIME_NOW:
        return now
    if stamp.tv_nsec == UTIME_OMIT:
        return before
    return float(stamp.tv_sec) + float(stamp.tv_nsec) / 1e9


def _guarded(operation: Callable[..., int]) -> Callable[..., int]:
    """An exception must not leave a callback: libfuse gets an errno instead."""

    def call(*arguments: Any) -> int:
        try:
            return operation(*arguments)
        except OSError as error:
            return -(error.errno or errno.EIO)
        except Exception:
            log.exception("configfs:%s failed", operation.__name__)
            return -errno.EIO

    return call


class Mount:
    """The tree, mounted. `fileno()` becomes readable when requests wait; then call `serve`."""

    def __init__(self, tree: Tree, mountpoint: str) -> None:
        """Mount `tree` at an existing directory, given without symbolic links.

        NoTargetError when libfuse3 or /dev/fuse is missing or the mount is refused.
        """
        self.mountpoint = mountpoint
        self.closed = False
        mfusepy = load_library()
        library = self._library = mfusepy._libfuse
        library.fuse_new.restype = library.fuse_get_session.restype = ctypes.c_void_p
        handle, session = ctypes.c_void_p, ctypes.c_void_p

        operations = mfusepy.fuse_operations()
        prototypes = dict(mfusepy.fuse_operations._fields_)
        callbacks = Operations(tree, Resolver(mountpoint), mfusepy.c_stat).callbacks()
        for name, callback in callbacks.items():
            setattr(operations, name, prototypes[name](callback))
        operations.init = prototypes["init"](self._init)
        self._operations = operations

        timeouts = ",".join(f"{kind}_timeout={DAY}" for kind in ("attr", "entry", "negative"))
        words = ("isadmin", "-o", f"{timeouts},fsname=isadmin")
        argv = (ctypes.c_char_p * (len(words) + 1))(*(word.encode() for word in words), None)
        arguments = _Args(len(words), argv, 0)
        self._fuse = handle(
            library.fuse_new(
                ctypes.byref(arguments), ctypes.byref(operations), ctypes.sizeof(operations), None
            )
        )
        if not self._fuse:
            raise NoTargetError("libfuse3 refused its options", "see the lines above")
        if library.fuse_mount(self._fuse, os.fsencode(mountpoint)) != 0:
            library.fuse_destroy(self._fuse)
            raise NoTargetError(
                f"cannot mount at {mountpoint}",
                "be root or install fusermount3 (apt install fuse3); "
                "start a container with --device /dev/fuse --cap-add SYS_ADMIN",
            )
        self._session = session(library.fuse_get_session(self._fuse))
        self._fd: int = library.fuse_session_fd(self._session)
        os.set_blocking(self._fd, False)
        self._buffer = _Buffer()

    def _init(self, connection: Any, config: Any) -> None:
        config.contents.direct_io = 1
        config.contents.hard_remove = 1
        facts = connection.contents
        # Requests are small: a pipe between the kernel and us costs more than it saves.
        facts.want = (facts.want | facts.capable & FUSE_CAP_CACHE_SYMLINKS) & ~FUSE_CAP_SPLICE

    def fileno(self) -> int:
        return self._fd

    def serve(self) -> bool:
        """Answer the requests that wait. False when the file system was unmounted."""
        receive, process = self._library.fuse_session_receive_buf, self._library.fuse_session_process_buf
        session, buffer = self._session, ctypes.byref(self._buffer)
        idle = 0
        end = time.monotonic() + TURN
        for _ in range(CALLS_A_TURN):
            if receive(session, buffer) > 0:
                process(session, buffer)
                idle = 0
                if time.monotonic() > end:
                    break
            else:
                idle += 1
                if idle > LOOKS_BEFORE_SLEEP:
                    break
        return not self._library.fuse_session_exited(session)

    def close(self) -> None:
        """Unmount, at once for new users and lazily for those inside; harmless when already unmounted."""
        if not self.closed:
            self.closed = True
            self._library.fuse_unmount(self._fuse)
            self._library.fuse_destroy(self._fuse)
