"""A small tree to show and change, with no target behind it, and sessions on it that keep what they print."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from isadmin.errors import IsadminError, LockedError, PermissionDeniedError
from isadmin.shell.node import Node
from isadmin.shell.preferences import Bookmarks, Preferences
from isadmin.shell.session import Session


class FakeHost:
    """Counts what a session asks of its target."""

    kind = "given"
    path = Path("/nowhere/target")

    def __init__(self, savefile: Path | None = None) -> None:
        self.savefile = savefile
        self.lio: Any = SimpleNamespace(path=str(self.path))
        self.other_savefile: str | None = None
        self.locked = 0
        self.saved = 0
        self.held = False
        self.busy = False
        self.journal = savefile.with_name("undo") if savefile else Path("/dev/null/undo")
        self.unconfirmed = self.journal.with_name("unconfirmed")
        self.allowed = True

    def is_savefile(self, path: Path) -> bool:
        return path == self.savefile

    def require(self) -> None:
        """It is always there."""

    def require_change(self) -> None:
        if not self.allowed:
            raise PermissionDeniedError("not allowed", "be root")

    def prepare(self) -> None:
        assert self.held

    def waits_for_confirmation(self) -> bool:
        return False

    @contextmanager
    def lock(self, seconds: float, waiting: Any = None) -> Iterator[None]:
        if self.busy:
            raise LockedError("x (pid 1) is changing the configuration")
        self.locked += 1
        self.held = True
        try:
            yield
        finally:
            self.held = False


class Box(Node):
    """A place with boxes in it, as a dict of dicts says."""

    reading = Node.reading | {"saveconfig"}

    def __init__(
        self, name: str, parent: Node | None, content: dict[str, Any], shell: Session | None = None
    ) -> None:
        super().__init__(name, parent, shell)
        self.content = content
        self.looked = 0

    def make_children(self) -> None:
        self.looked += 1
        for name, content in self.content.items():
            if isinstance(content, dict):
                Box(name, self, content)

    def summary(self) -> tuple[str, bool | None]:
        return f"Boxes: {len(self.children)}", None

    def define_groups(self) -> None:
        self.define_config_group_param("auth", "userid", "string")
        self.define_config_group_param("auth", "password", "string", "The secret.", secret=True)
        self.define_config_group_param("auth", "level", "number", "How sure.")
        self.define_config_group_param("auth", "kind", "string", "What it is.", writable=False)

    def ui_getgroup_auth(self, name: str) -> Any:
        return self.content.get(f"={name}", "")

    def ui_setgroup_auth(self, name: str, value: Any) -> None:
        self.content[f"={name}"] = value

    def ui_command_create(self, name: str, size: str = "1M", wwn: str | None = None) -> Node | None:
        """
        Makes a box.

        SEE ALSO
        ========
        delete
        """
        assert self.shell.host.held
        if name in self.content:
            raise IsadminError(f"Box {name} exists", "take another name")
        self.content[name] = {}
        self.say(f"Created box {name} of size {size}.")
        return self.new_node(Box(name, self, self.content[name]))

    def ui_complete_create(self, parameters: Mapping[str, str], text: str, current_param: str) -> list[str]:
        return {"name": ["disk1", "disk 2"], "size": ["1M ", "2M "]}.get(current_param, [])

    def ui_command_delete(self, name: str) -> None:
        """Removes a box."""
        del self.content[name]

    def ui_command_saveconfig(self) -> None:
        """Counts."""
        self.shell.host.saved += 1  # type: ignore[attr-defined]

    def ui_command_crash(self) -> None:
        """Fails as a mistake in the program would."""
        raise RuntimeError("unforeseen")

    def ui_command_info(self, *names: str, **more: str) -> None:
        """Shows what it was given."""
        self.say(repr((names, more)))


class Shown:
    """A session on a tree of boxes."""

    def __init__(self, content: dict[str, Any] | None = None, **options: Any) -> None:
        self.content = {"a": {"b1": {}, "b2": {}, "b10": {}}, "c": {}} if content is None else content
        self.host = FakeHost(options.pop("savefile", None))
        self.stdout, self.stderr = io.StringIO(), io.StringIO()
        self.session = Session(
            self.host,  # type: ignore[arg-type]
            options.pop("preferences", None) or Preferences(),
            options.pop("bookmarks", None) or Bookmarks(),
            out=self.stdout,
            err=self.stderr,
            make_root=lambda session: Box("/", None, self.content, session),
            **options,
        )

    def run(self, line: str) -> str:
        """Run a line; what it printed."""
        before = self.stdout.tell()
        self.session.run_line(line)
        return self.stdout.getvalue()[before:]

    @property
    def path(self) -> str:
        return self.session.current.path
