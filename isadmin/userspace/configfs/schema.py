"""What a kind of directory holds: its files, its fixed subdirectories, what mkdir and symlink do in it.

The tables of the sibling modules are made of these. They are static: a tree of ten thousand LUNs has one Node
for each directory somebody made and none for the files and fixed subdirectories in it.

Order is the kernel's order of creation; readdir answers the newest first.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isadmin.userspace.configfs.context import Context

Show = Callable[["Context", Any], str]
"""A file's content, from the model object of its node. OSError: the errno read ends with."""
Store = Callable[["Context", Any, str], int | None]
"""Take a write. The number of bytes taken if that is not all of them."""


@dataclass(frozen=True, slots=True)
class File:
    """An attribute. Without `show` it is write-only (0200), without `store` read-only (0444), else 0644."""

    name: str
    show: Show | None = None
    store: Store | None = None

    @property
    def mode(self) -> int:
        if self.show is None:
            return 0o200
        return 0o444 if self.store is None else 0o644


@dataclass(slots=True, eq=False)
class Node:
    """A directory somebody made (or a fixed one with a model object of its own)."""

    kind: Kind
    name: str
    item: Any
    parent: Node | None
    group: Group
    """The group of the parent that holds this node."""
    born: float
    fixed: bool = False
    made: dict[str, dict[str, Node]] = field(default_factory=dict)
    """Nodes by group path and name."""
    link_name: str = ""
    link_to: Node | None = None
    links_here: int = 0
    changed: dict[str, float] | None = None
    """When something was made or removed in it last, by group path; None: never."""
    touched: dict[str, Any] = field(default_factory=dict)
    """Changed modes, owners and times, by path within the node."""


Make = Callable[["Context", Any, str], "tuple[Kind, Any]"]
"""mkdir: check `name` below the given object, make the model object. OSError: its errno."""


@dataclass(frozen=True, slots=True)
class Group:
    """A directory: a node's own, or a fixed one within it."""

    name: str
    files: dict[str, File]
    groups: dict[str, Group]
    make: Make | None = None
    make_errno: int = errno.EPERM
    """What mkdir ends with where it makes nothing."""
    path: str = ""
    """Within its node; "" is the node's own directory."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of node."""

    group: Group
    drop: Callable[[Context, Any], None] | None = None
    """rmdir: the model object goes."""
    check_link: Callable[[Context, Any, Any], None] | None = None
    """symlink in this directory to a node's object (None for a directory without one): OSError if refused.
    Without this rule there are no links here: EPERM."""
    link: Callable[[Context, Any, Any, str], None] | None = None
    unlink: Callable[[Context, Any], None] | None = None
    start: Callable[[Context, Any], Iterable[tuple[str, str, Kind, Any]]] | None = None
    """The fixed nodes it starts with: group path, name, kind, object."""


def group(
    name: str,
    files: Iterable[File] = (),
    groups: Iterable[Group] = (),
    make: Make | None = None,
    make_errno: int = errno.EPERM,
) -> Group:
    """A Group from lists in the order of creation."""
    return Group(name, {f.name: f for f in files}, {g.name: g for g in groups}, make, make_errno)


def _placed(g: Group, path: str) -> Group:
    below = {name: _placed(child, f"{path}/{name}" if path else name) for name, child in g.groups.items()}
    return Group(g.name, g.files, below, g.make, g.make_errno, path)


def kind(
    files: Iterable[File] = (),
    groups: Iterable[Group] = (),
    make: Make | None = None,
    *,
    drop: Callable[[Context, Any], None] | None = None,
    check_link: Callable[[Context, Any, Any], None] | None = None,
    link: Callable[[Context, Any, Any, str], None] | None = None,
    unlink: Callable[[Context, Any], None] | None = None,
    start: Callable[[Context, Any], Iterable[tuple[str, str, Kind, Any]]] | None = None,
) -> Kind:
    """A Kind from lists in the order of creation."""
    top = _placed(group("", files, groups, make), "")
    return Kind(top, drop, check_link, link, unlink, start)
