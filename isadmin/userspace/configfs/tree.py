"""LIO's configfs tree as a Python object: directories, attributes, rules and errnos of kernel 6.1, no mount.

    tree = Tree(engine)
    tree.mkdir("core/fileio_0")
    tree.write("core/fileio_0/f1/control", b"fd_dev_name=/srv/f1.img,fd_dev_size=1048576")

Paths are relative to LIO's `target` directory, without a leading slash; "" is that directory. Everything
raises OSError with the errno a kernel would answer. The generic rules of configfs are here, those of LIO in
the modules beside; the tree itself does no I/O: the engine does.
"""

from __future__ import annotations

import errno
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from isadmin.userspace.configfs.context import Context, default_release
from isadmin.userspace.configfs.core import ROOT
from isadmin.userspace.configfs.schema import File, Group, Kind, Node
from isadmin.userspace.configfs.values import PAGE_SIZE, TEXT, fail
from isadmin.userspace.engine import Engine
from isadmin.userspace.model import Root

Told: TypeAlias = "str | int | list[str] | dict[str, Told] | None"
"""What Tree.told says of an entry."""

MOST_TOLD = 128
"""Directories that are told at once."""
NAME_MAX = 255
S_IFDIR = 0o040000
S_IFREG = 0o100000
S_IFLNK = 0o120000


class Stat(NamedTuple):
    """What lstat shows. Times are seconds since the epoch; size of a file is always a page."""

    mode: int
    nlink: int
    size: int
    uid: int
    gid: int
    atime: float
    mtime: float
    ctime: float
    blksize: int = PAGE_SIZE
    blocks: int = 0


@dataclass(slots=True)
class _Touched:
    """What chmod, chown and utime changed."""

    mode: int | None = None
    uid: int = 0
    gid: int = 0
    atime: float | None = None
    mtime: float | None = None
    ctime: float | None = None


class _Place(NamedTuple):
    """Where a path leads: a directory (name ""), or a file or link `name` in it."""

    node: Node
    group: Group
    name: str = ""
    file: File | None = None
    is_link: bool = False

    @property
    def key(self) -> str:
        """The path within the node."""
        return "/".join(part for part in (self.group.path, self.name) if part)


def _page(text: str) -> bytes:
    """As much of a file's content as configfs shows."""
    return text.encode(*TEXT)[:PAGE_SIZE]


class Tree:
    """The directory tree. `root` is the model it edits.

    clock: seconds since the target came up, for LIO's own creation times (default: since the tree was made).
    now: seconds since the epoch, for the times of files. cpus: processors, for cpus_allowed_list.
    system: (system, machine, release) of the version files. first_scsi_host: the lowest number for loopback's
    emulated SCSI hosts.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Callable[[], float] | None = None,
        now: Callable[[], float] = time.time,
        cpus: int = 1,
        system: tuple[str, str, str] | None = None,
        first_scsi_host: int = 0,
    ) -> None:
        if clock is None:
            start = time.monotonic()

            def clock() -> float:
                return time.monotonic() - start

        self._now = now
        self._context = Context(
            engine, clock, cpus, system or default_release(), first_scsi_host=first_scsi_host
        )
        node = self._new_node(ROOT, "", self._context.root, None, ROOT.group)
        self._top = _Place(node, node.kind.group)
        self._near_path, self._near = "", self._top

    @property
    def root(self) -> Root:
        return self._context.root

    # Looking

    def stat(self, path: str) -> Stat:
        return self._stat(self._find(path))

    def stats(self, path: str, names: Iterable[str]) -> Iterator[Stat | None]:
        """What there is of these names in a directory, in their order; None for one that is gone."""
        directory = self._find(path)
        for name in names:
            place = self._step(directory, name)
            yield None if place is None else self._stat(place)

    def _stat(self, place: _Place) -> Stat:
        if place.is_link:
            mode, nlink, size = S_IFLNK | 0o777, 1, 0
        elif place.file is not None:
            mode, nlink, size = S_IFREG | place.file.mode, 1, PAGE_SIZE
        else:
            mode, nlink, size = S_IFDIR | 0o755, 2 + len(place.group.groups), 0
            nlink += len(place.node.made.get(place.group.path, ()))
        born = changed = place.node.born
        if place.node.changed is not None and not place.name:
            changed = place.node.changed.get(place.group.path, born)
        touched: _Touched | None = place.node.touched.get(place.key) if place.node.touched else None
        if touched is None:
            return Stat(mode, nlink, size, 0, 0, born, changed, changed)
        if touched.mode is not None:
            mode = mode & ~0o7777 | touched.mode
        return Stat(
            mode,
            nlink,
            size,
            touched.uid,
            touched.gid,
            born if touched.atime is None else touched.atime,
            changed if touched.mtime is None else touched.mtime,
            changed if touched.ctime is None else touched.ctime,
        )

    def listdir(self, path: str) -> list[str]:
        """Names in a directory, newest first, as configfs reads them out."""
        return [name for name, _ in self.entries(path)]

    def entries(self, path: str) -> list[tuple[str, int]]:
        """What listdir lists, each with its type: S_IFDIR, S_IFREG or S_IFLNK."""
        return list(self._entries(self._directory(path)))

    def _entries(self, place: _Place) -> Iterator[tuple[str, int]]:
        """The newest first."""
        node, group = place.node, place.group
        return itertools.chain(
            [(node.link_name, S_IFLNK)] if node.link_name and not group.path else (),
            zip(reversed(node.made.get(group.path, {})), itertools.repeat(S_IFDIR), strict=False),
            zip(reversed(group.groups), itertools.repeat(S_IFDIR), strict=False),
            zip(reversed(group.files), itertools.repeat(S_IFREG), strict=False),
        )

    def readlink(self, path: str) -> str:
        """The link's target as configfs gives it: relative, through the root of configfs."""
        place = self._find(path)
        target = place.node.link_to
        if not place.is_link or target is None:
            fail(errno.EINVAL, path)
        return "../" * (path.count("/") + 1) + "target/" + self._path_of(target)

    def access(self, path: str, *, read: bool, write: bool) -> None:
        """What open checks: EISDIR, EACCES for a file that cannot be read or written."""
        place = self._find(path)
        if place.is_link:
            fail(errno.ELOOP, path)
        if place.file is None:
            if write:
                fail(errno.EISDIR, path)
            return
        mode = place.file.mode
        if place.node.touched:
            mode = self._stat(place).mode
        if read and (place.file.show is None or not mode & 0o444):
            fail(errno.EACCES, path)
        if write and (place.file.store is None or not mode & 0o222):
            fail(errno.EACCES, path)

    def read(self, path: str) -> bytes:
        """A file's whole content, rendered now."""
        file, node = self._file(path)
        if file.show is None:
            fail(errno.EACCES, path)
        return _page(file.show(self._context, node.item))

    def told(self, path: str) -> dict[str, Told]:
        """All that is in a directory, as listed: a file's content, the errno of one that has none now, None
        of one that cannot be read; a link's target in a list; {} of a directory."""
        place = self._directory(path)
        return {name: self._told(place, path, name, kind) for name, kind in self._entries(place)}

    def told_below(self, path: str, entries: slice) -> dict[str, Told]:
        """The same of some of its entries, and of what was made in them, at any depth. ERANGE when that is
        more than MOST_TOLD directories: it would hold up the data path."""
        return self._below(path, entries, [MOST_TOLD])

    def _below(self, path: str, entries: slice, room: list[int]) -> dict[str, Told]:
        place = self._directory(path)
        made_in = place.node.made
        made = made_in.get(place.group.path, {})
        found: dict[str, Told] = {}
        for name, kind in itertools.islice(self._entries(place), entries.start, entries.stop):
            child = made.get(name)
            crowd = made_in.get(f"{place.group.path}/{name}".lstrip("/"), {})
            if kind == S_IFDIR and (child or crowd):
                room[0] -= 1
                if room[0] < max(map(len, child.made.values() if child else (crowd,)), default=0):
                    fail(errno.ERANGE, path)
                found[name] = self._below(f"{path}/{name}".lstrip("/"), slice(None), room)
            else:
                found[name] = self._told(place, path, name, kind)
        return found

    def _directory(self, path: str) -> _Place:
        place = self._find(path)
        if place.name:
            fail(errno.ENOTDIR, path)
        return place

    def _told(self, place: _Place, path: str, name: str, kind: int) -> Told:
        if kind == S_IFDIR:
            return {}
        if kind == S_IFLNK:
            return [self.readlink(f"{path}/{name}")]
        return self._content(place, name, place.group.files[name])

    def _content(self, place: _Place, name: str, file: File) -> str | int | None:
        node = place.node
        mode = self._stat(place._replace(name=name, file=file)).mode if node.touched else file.mode
        if file.show is None or not mode & 0o444:
            return None
        try:
            text = file.show(self._context, node.item)
        except OSError as error:
            return error.errno or errno.EIO
        return text if len(text) < PAGE_SIZE // 4 else _page(text).decode(*TEXT)

    # Changing

    def write(self, path: str, data: bytes) -> int:
        """One store. Returns the bytes taken, of which there are at most 4095."""
        file, node = self._file(path)
        if file.store is None:
            fail(errno.EACCES, path)
        if not data:
            fail(errno.EFAULT, path)
        data = data[: PAGE_SIZE - 1]
        text = data.split(b"\0", 1)[0].decode(*TEXT)
        taken = file.store(self._context, node.item, text)
        return len(data) if taken is None else taken

    def mkdir(self, path: str, mode: int = 0o755) -> None:
        parent, name = self._parent(path)
        if self._step(parent, name) is not None:
            fail(errno.EEXIST, path)
        if parent.group.make is None:
            fail(parent.group.make_errno, path)
        kind, item = parent.group.make(self._context, parent.node.item, name)
        node = self._new_node(kind, name, item, parent.node, parent.group)
        parent.node.made.setdefault(parent.group.path, {})[name] = node
        self._changed(parent.node, parent.group.path)
        if mode & 0o7777 != 0o755:
            self._touch(_Place(node, node.kind.group)).mode = mode & 0o7777

    def rmdir(self, path: str) -> None:
        place = self._find(path)
        if place.name:
            fail(errno.ENOTDIR, path)
        node = place.node
        if place.group.path or node.fixed or node.parent is None:
            fail(errno.EPERM, path)
        if node.links_here:
            fail(errno.EBUSY, path)
        if node.link_name or any(not child.fixed for made in node.made.values() for child in made.values()):
            fail(errno.ENOTEMPTY, path)
        del node.parent.made[node.group.path][node.name]
        self._changed(node.parent, node.group.path)
        self._forget()
        if node.kind.drop is not None:
            node.kind.drop(self._context, node.item)

    def symlink(self, source_path: str, path: str) -> None:
        """Make the link `path` to the tree path `source_path`; one beginning with "/" is outside the tree."""
        parent, name = self._parent(path)
        if self._step(parent, name) is not None:
            fail(errno.EEXIST, path)
        kind = parent.node.kind
        if parent.group.path or kind.check_link is None or kind.link is None:
            fail(errno.EPERM, path)
        if source_path.startswith("/"):
            fail(errno.EPERM, source_path)
        source = self._find(source_path, follow=True)
        if source.name:
            fail(errno.ENOTDIR, source_path)
        item = None if source.group.path else source.node.item
        kind.check_link(self._context, parent.node.item, item)
        parent.node.link_name = name
        parent.node.link_to = source.node
        source.node.links_here += 1
        self._changed(parent.node, "")
        kind.link(self._context, parent.node.item, item, name)

    def unlink(self, path: str) -> None:
        place = self._find(path)
        if not place.name:
            fail(errno.EISDIR, path)
        node = place.node
        if not place.is_link or node.link_to is None:
            fail(errno.EPERM, path)
        node.link_to.links_here -= 1
        self._forget()
        node.link_name, node.link_to = "", None
        self._changed(node, "")
        node.touched.pop(place.key, None)
        if node.kind.unlink is not None:
            node.kind.unlink(self._context, node.item)

    def create(self, path: str) -> None:
        """Making a file: EACCES always, unless the name is taken or its directory missing."""
        parent, name = self._parent(path)
        fail(errno.EACCES if self._step(parent, name) is None else errno.EEXIST, path)

    mknod = create

    def link(self, path: str, new: str) -> None:
        self._find(path)
        self._parent(new)
        fail(errno.EPERM, path)

    def rename(self, old: str, new: str) -> None:
        self._find(old)
        self._parent(new)
        fail(errno.EPERM, old)

    def chmod(self, path: str, mode: int) -> None:
        self._touch(self._find(path)).mode = mode & 0o7777

    def chown(self, path: str, uid: int, gid: int) -> None:
        """-1 leaves an owner as it is."""
        touched = self._touch(self._find(path))
        touched.uid = touched.uid if uid == -1 else uid
        touched.gid = touched.gid if gid == -1 else gid

    def utime(self, path: str, atime: float, mtime: float) -> None:
        touched = self._touch(self._find(path))
        touched.atime, touched.mtime = atime, mtime

    def truncate(self, path: str, size: int) -> None:
        """Accepted and without effect on a file, as O_TRUNC is."""
        place = self._find(path)
        if place.file is None:
            fail(errno.EISDIR, path)

    # Finding

    def _new_node(self, kind: Kind, name: str, item: object, parent: Node | None, group: Group) -> Node:
        node = Node(kind, name, item, parent, group, self._now())
        if kind.start is not None:
            for below, child_name, child_kind, child_item in kind.start(self._context, item):
                child_group = kind.group
                for part in below.split("/"):
                    child_group = child_group.groups[part]
                child = self._new_node(child_kind, child_name, child_item, node, child_group)
                child.fixed = True
                node.made.setdefault(below, {})[child_name] = child
        return node

    @staticmethod
    def _step(place: _Place, name: str) -> _Place | None:
        node, group = place.node, place.group
        made = node.made.get(group.path)
        if made is not None:
            child = made.get(name)
            if child is not None:
                return _Place(child, child.kind.group)
        below = group.groups.get(name)
        if below is not None:
            return _Place(node, below)
        file = group.files.get(name)
        if file is not None:
            return _Place(node, group, name, file)
        if name == node.link_name and not group.path:
            return _Place(node, group, name, None, True)
        return None

    def _find(self, path: str, *, follow: bool = False) -> _Place:
        if not path:
            return self._top
        above, _, name = path.rpartition("/")
        # Whoever walks a directory asks for one name after the other in it.
        if above != self._near_path:
            place = self._top
            if above:
                for part in above.split("/"):
                    place = self._enter(place, part, path)
            self._near_path, self._near = above, place
        place = self._enter(self._near, name, path)
        return self._followed(place, path) if follow and place.is_link else place

    def _enter(self, place: _Place, name: str, path: str) -> _Place:
        if place.name:
            place = self._followed(place, path)
        step = self._step(place, name)
        if step is None:
            fail(errno.ENAMETOOLONG if len(name.encode(*TEXT)) > NAME_MAX else errno.ENOENT, path)
        return step

    def _changed(self, node: Node, path: str) -> None:
        """Note the time at which something came or went in a directory of a node."""
        if node.changed is None:
            node.changed = {}
        node.changed[path] = self._now()

    def _forget(self) -> None:
        """Directories or links have come or gone."""
        self._near_path, self._near = "", self._top

    @staticmethod
    def _followed(place: _Place, path: str) -> _Place:
        target = place.node.link_to
        if not place.is_link or target is None:
            fail(errno.ENOTDIR, path)
        return _Place(target, target.kind.group)

    def _parent(self, path: str) -> tuple[_Place, str]:
        above, _, name = path.rpartition("/")
        parent = self._find(above, follow=True)
        if parent.name:
            fail(errno.ENOTDIR, path)
        if not name:
            fail(errno.EEXIST, path)
        if len(name.encode(*TEXT)) > NAME_MAX:
            fail(errno.ENAMETOOLONG, path)
        return parent, name

    def _file(self, path: str) -> tuple[File, Node]:
        place = self._find(path)
        if place.is_link:
            fail(errno.ELOOP, path)
        if place.file is None:
            fail(errno.EISDIR, path)
        return place.file, place.node

    def _touch(self, place: _Place) -> _Touched:
        touched: _Touched = place.node.touched.setdefault(place.key, _Touched())
        touched.ctime = self._now()
        return touched

    @staticmethod
    def _path_of(node: Node) -> str:
        parts: list[str] = []
        while node.parent is not None:
            parts.append(node.name)
            if node.group.path:
                parts.append(node.group.path)
            node = node.parent
        return "/".join(reversed(parts))
