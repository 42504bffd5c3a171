"""What the nodes over LIO's objects share: the configuration they show, and the groups made of files."""

from __future__ import annotations

import errno

from isadmin.errors import IsadminError, UsageError
from isadmin.light import Path
from isadmin.lio import files
from isadmin.lio.explain import attempting
from isadmin.lio.objects import Lio
from isadmin.shell.language import MASK
from isadmin.shell.node import Node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

    from isadmin.lio.attributes import Attribute
    from isadmin.lio.explain import Causes
    from isadmin.shell.groups import Definition

_DIRECTORIES = {"parameter": "param", "attribute": "attrib"}
_DEFINITIONS: dict[tuple[str, ...], dict[str, Definition]] = {}
"""(configfs, plugin or fabric, kind of object, group) -> the group's parameters."""


class LioNode(Node):
    """A node that shows something of the configuration."""

    @property
    def lio(self) -> Lio:
        """The configuration that this tree shows."""
        return self.shell.lio

    def flag(self, text: str | None, default: bool) -> bool:
        """A command's true|false parameter; 1|0 and yes|no will do. Raises UsageError."""
        if text is None:
            return default
        word = text.lower()
        if word in ("true", "1", "yes"):
            return True
        if word in ("false", "0", "no"):
            return False
        raise UsageError(f"Syntax error, '{text}' is not true|false.")


class ObjectNode(LioNode):
    """A node over one object, whose `attribute` and `parameter` groups are the files of attrib/ and param/.

    Which files there are is listed when it is asked for, once for all objects of a type: to configfs it is
    the type that has them.
    """

    owner: ClassVar[str] = ""
    """The kind of object in attributes.TABLES."""

    def paths(self) -> list[str]:
        """The object's directory; an ACL group has several: the first is read, all are written."""
        raise NotImplementedError

    def facts(self) -> dict[str, object]:
        """What `info` shows."""
        raise NotImplementedError

    def define_groups(self) -> None:
        for group in _DIRECTORIES:
            if definitions := self._definitions(group):
                self.define_config_group(group, definitions)

    def _definitions(self, group: str) -> dict[str, Definition]:
        path = self.paths()[0]
        top, hba, *_ = [*path[len(self.lio.path) + 1 :].split("/"), ""]
        kind = hba.rpartition("_")[0] if top == "core" else top
        key = (self.lio.path, kind, self.owner, group)
        if key not in _DEFINITIONS:
            found: dict[str, Definition] = {}
            for name in sorted(files.names(f"{path}/{_DIRECTORIES[group]}")):
                entry = self._entry(group, name)
                found[name] = [entry.type, entry.meaning, entry.writable]
            if not found and not files.is_dir(path):
                return found
            _DEFINITIONS[key] = found
        return _DEFINITIONS[key]

    def _entry(self, group: str, name: str) -> Attribute:
        from isadmin.lio.attributes import Attribute, find

        entry = find(self.owner, group, name)
        if entry is None:
            # A newer kernel's: all that is known is whether it can be written.
            path = Path(self.paths()[0], _DIRECTORIES[group], name)
            entry = Attribute(name, "string", "", writable=bool(path.stat().st_mode & 0o200))
        return entry

    def define_table_group(self, group: str) -> None:
        """Make a group of the attributes in the table."""
        from isadmin.lio.attributes import TABLES

        for entry in TABLES[self.owner, group].values():
            self.define_config_group_param(
                group, entry.name, entry.type, entry.meaning, entry.writable, secret=entry.secret
            )

    def ui_getgroup_attribute(self, name: str) -> str:
        return self._get("attribute", name)

    def ui_setgroup_attribute(self, name: str, value: object) -> None:
        self._set("attribute", name, value)

    def ui_getgroup_parameter(self, name: str) -> str:
        return self._get("parameter", name)

    def ui_setgroup_parameter(self, name: str, value: object) -> None:
        self._set("parameter", name, value)

    def _get(self, group: str, name: str) -> str:
        with attempting(f"Cannot read {group} {name}"):
            return files.read(f"{self.paths()[0]}/{_DIRECTORIES[group]}/{name}")

    def _set(self, group: str, name: str, value: object) -> None:
        entry = self._entry(group, name)
        legal = f"it is {entry.legal()}" if entry.legal() else ""
        if value is None:
            raise UsageError(f"Cannot set {group} {name} to nothing", legal)
        if files.pretended is not None and self.is_frozen(entry) and (refused := self.why_refused(entry)):
            raise IsadminError(f"Cannot set {group} {name}: {refused[0]}", refused[1])

        def causes() -> Causes:
            return {
                errno.EINVAL: self.why_refused(entry) or (f"'{value}' is not accepted", legal),
                errno.ENOSYS: (f"'{value}' asks for what this one cannot do", ""),
                errno.ENXIO: ("it cannot be changed while the storage object is in use", ""),
                errno.EEXIST: ("pi_prot_type has to be set first", ""),
            }

        with attempting(f"Cannot set {group} {name}", causes):
            for path in self.paths():
                files.write(f"{path}/{_DIRECTORIES[group]}/{name}", str(value))

    def is_frozen(self, entry: Attribute) -> bool:
        """Is it one that the target would not change now?"""
        return False

    def why_refused(self, entry: Attribute) -> tuple[str, str] | None:
        """Cause and remedy of EINVAL when it is not the value; None if that is not known."""
        return None

    def ui_command_info(self) -> None:
        """
        Displays what this object is, one fact a line.
        """
        facts = self.facts()
        hidden = {name for name, value in facts.items() if name.endswith("password") and value}
        if self.shell.show_secrets:
            hidden = set()
        self.shell.answer(facts={name: None if name in hidden else value for name, value in facts.items()})
        for name, value in sorted(facts.items()):
            self.say(f"{name}: {MASK if name in hidden else value}")
