"""What a symbolic link made in the mounted tree points at, as a path of the tree.

LIO's users write a link's target in three ways: below the mount point, below /sys/kernel/config/target
(inside `exec` that is where the mount is), or relative (`../../../target/core/...`). The kernel follows it
through the file system; the daemon must do so itself, and without ever touching its own mount, which would
wait for it.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from pathlib import PurePosixPath

KERNEL_MOUNT = "/sys/kernel/config/target"
MAX_LINKS = 40
"""As many as the kernel follows (path_resolution(7))."""


def fail(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)


class Resolver:
    """Turns link targets into tree paths, for a tree mounted at an absolute path without symbolic links in
    it."""

    def __init__(self, mountpoint: str) -> None:
        self._roots = (PurePosixPath(KERNEL_MOUNT).parts, PurePosixPath(mountpoint).parts)

    def resolve(self, link: str, target: str) -> str:
        """The tree path ("" is the root) that `target` names when read from the tree path `link`; an
        absolute path when it leads to something outside the tree.

        Raises OSError: ENOENT where nothing is, ELOOP after 40 links.
        """
        if target.startswith("/"):
            return self._follow((), target)
        directory = PurePosixPath(link).parts[:-1]
        kernel, mount = self._roots
        try:
            found = self._follow((*kernel, *directory), target)
        except OSError:
            found = "/"
        return self._follow((*mount, *directory), target) if found.startswith("/") else found

    def _inside(self, where: tuple[str, ...]) -> tuple[str, ...] | None:
        for root in self._roots:
            if where[: len(root)] == root:
                return where[len(root) :]
        return None

    def _follow(self, start: tuple[str, ...], target: str) -> str:
        where = start or ("/",)
        ahead = deque(PurePosixPath(target).parts)
        links = 0
        while ahead:
            part = ahead.popleft()
            if part == "/":
                where = ("/",)
            elif part == "..":
                where = where[:-1] if len(where) > 1 else where
            else:
                where = (*where, part)
                if self._inside(where) is None and not self._leads_to_root(where):
                    next_target = self._read_link(where)
                    if next_target is not None:
                        links += 1
                        if links > MAX_LINKS:
                            raise fail(errno.ELOOP, target)
                        where = where[:-1]
                        ahead.extendleft(reversed(PurePosixPath(next_target).parts))
        inside = self._inside(where)
        return "/".join(where)[1:] if inside is None else "/".join(inside)

    def _leads_to_root(self, where: tuple[str, ...]) -> bool:
        """On the way down to a root: those directories need not exist here."""
        return any(root[: len(where)] == where for root in self._roots)

    @staticmethod
    def _read_link(where: tuple[str, ...]) -> str | None:
        path = os.path.join(*where)  # noqa: PTH118 - parts, not a path
        try:
            return os.readlink(path)  # noqa: PTH115 - a str is wanted
        except OSError as error:
            if error.errno == errno.EINVAL:
                return None
            raise
