"""Groups of values: what `get` and `set` work on, the same at every place of the tree.

A node defines the parameters of its groups, each with a type; ui_getgroup_GROUP(param) reads one,
ui_setgroup_GROUP sets it, ui_type_TYPE turns text into a value and back. The group "global" is the
shell's preferences, everywhere.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache

from isadmin.errors import IsadminError, UsageError
from isadmin.shell import preferences, render
from isadmin.shell.language import MASK, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from isadmin.shell.session import Session

    Definition = list[Any]
    """A group's parameter as configshell keeps it: [type, description, writable]."""


@cache
def _config_node() -> Any:
    """configshell's ConfigNode, which knows the types of values; without its package's __init__.

    That imports pyparsing and readline (0.2 s) and replaces the SIGINT handler, for parts not used here.
    """
    import importlib.util

    package = importlib.util.find_spec("configshell")
    assert package is not None
    assert package.submodule_search_locations is not None
    spec = importlib.util.spec_from_file_location(
        "configshell.node", f"{package.submodule_search_locations[0]}/node.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ConfigNode


GLOBAL = "global"


class Groups:
    """The part of a node that holds groups of values."""

    _shell: Session | None
    _groups: dict[str, dict[str, Definition]] | None
    _secrets: set[tuple[str, str]]

    @property
    def shell(self) -> Session:
        assert self._shell is not None
        return self._shell

    def say(self, text: str = "") -> None:
        """Print a line of result or news."""
        self.shell.say(text)

    def define_groups(self) -> None:
        """Define this node's groups, with define_config_group_param. Called when they are first needed."""

    def define_config_group_param(
        self,
        group: str,
        param: str,
        type: str,  # noqa: A002 - configshell's name
        description: str | None = None,
        writable: bool = True,
        *,
        secret: bool = False,
    ) -> None:
        """One parameter of a group. ui_getgroup_GROUP(param) reads it, ui_setgroup_GROUP(param, value)
        sets it,
        ui_type_TYPE converts it. The value of a secret one is shown only when asked for."""
        if self._groups is None:
            self._groups = {}
        if description is None:
            description = f"The {param} {group} parameter."
        self._groups.setdefault(group, {})[param] = [type, description, writable]
        if secret:
            self._secrets.add((group, param))

    def define_config_group(self, group: str, definitions: dict[str, Definition]) -> None:
        """A whole group: the name of each parameter -> [type, description, writable]. None is secret."""
        self._groups = {**(self._groups or {}), group: dict(definitions)}

    @property
    def _configuration_groups(self) -> Mapping[str, Mapping[str, Definition]]:
        if self._groups is None:
            self._groups = {}
            self.define_groups()
        return {GLOBAL: _global_group(), **self._groups}

    def list_config_groups(self) -> list[str]:
        """The names of the groups there are here."""
        return list(self._configuration_groups)

    def list_group_params(self, group: str, writable: bool | None = None) -> list[str]:
        """The names of a group's parameters, sorted: all, or those that can (not) be written."""
        definitions = self._configuration_groups.get(group, {})
        return sorted(name for name, (_, _, can) in definitions.items() if writable in (None, can))

    def get_group_param(self, group: str, param: str) -> dict[str, Any]:
        """A parameter's name, group, type, description and writable (bool)."""
        type_, description, writable = self._configuration_groups[group][param]
        return {
            "name": param,
            "group": group,
            "type": type_,
            "description": description,
            "writable": writable,
        }

    def get_group_getter(self, group: str) -> Callable[[str], Any]:
        """What reads a parameter of a group."""
        getter: Callable[[str], Any] = getattr(self, f"ui_getgroup_{group}")
        return getter

    def get_group_setter(self, group: str) -> Callable[[str, Any], None]:
        """What sets a parameter of a group."""
        setter: Callable[[str, Any], None] = getattr(self, f"ui_setgroup_{group}")
        return setter

    def get_type_method(self, type: str) -> Callable[..., Any]:  # noqa: A002 - configshell's name
        """What converts text to a value of a type (ValueError if it is none), with reverse=True back."""
        name = f"ui_type_{type}"
        if not hasattr(self, name):
            method: Callable[..., Any] = getattr(_config_node(), name).__get__(self)
            return method
        own: Callable[..., Any] = getattr(self, name)
        return own

    def _known_group(self, group: str) -> str:
        groups = self.list_config_groups()
        if group not in groups:
            raise UsageError(f"Unknown configuration group: {group}", f"there are: {' '.join(groups)}")
        return group

    def supplied(self, command: Command) -> Command:
        """A command with the secrets that its line only points to. Raises IsadminError."""
        if command.name != "set" or not command.keywords:
            return command
        from isadmin.shell import secrets

        group = command.keywords.get("group") or next(iter(command.arguments), "")
        if group not in self.list_config_groups():
            return command
        return secrets.supplied(
            command,
            lambda name: self.is_secret(group, name),
            ask=self.shell.ask,
            stdin_taken=self.shell.stdin_taken,
        )

    def is_secret(self, group: str, param: str) -> bool:
        return (group, param) in self._secrets

    def shown_value(self, group: str, param: str) -> str:
        """A parameter's value as `get` prints it."""
        value = self.get_group_getter(group)(param)
        convert = self.get_type_method(self.get_group_param(group, param)["type"])
        shown = str(convert(value, reverse=True))
        return MASK if shown and self.is_secret(group, param) and not self.shell.show_secrets else shown

    def ui_getgroup_global(self, parameter: str) -> str:
        preference = preferences.TABLE[parameter]
        return preferences.show_value(preference, self.shell.preferences[parameter])

    def ui_setgroup_global(self, parameter: str, value: preferences.Value) -> None:
        self.shell.preferences.set(parameter, value)

    def ui_type_preference(self, value: str | None = None, enum: bool = False, reverse: bool = False) -> Any:
        """Preferences are converted by their own table."""
        return value

    def ui_type_yesno(self, value: str | None = None, enum: bool = False, reverse: bool = False) -> Any:
        """Yes or No, as iSCSI's parameters say it."""
        if reverse:
            return "n/a" if value is None else value
        if value is None:
            return ("Yes", "No") if enum else "Yes|No"
        if value not in ("Yes", "No"):
            raise ValueError(f"Syntax error, '{value}' is not Yes|No.")
        return value

    def ui_eval_param(self, ui_value: str | None, type: str, default: Any) -> Any:  # noqa: A002
        """A command's parameter as a value of a type ("bool", "number", ...). Raises UsageError."""
        if ui_value is None:
            return default
        try:
            return self.get_type_method(type)(ui_value)
        except ValueError as error:
            raise UsageError(str(error)) from error

    def ui_command_get(self, group: str | None = None, *parameter: str) -> None:
        """
        Shows values of a configuration group.

        Without a group, the groups there are here are listed; without a parameter, all of the
        group's with their meaning. The group "global" holds the shell's preferences and is
        everywhere. CHAP secrets are shown as ******** unless --show-secrets was given.

        Example: get global color_mode default_portal

        SEE ALSO
        ========
        set
        """
        if group is None:
            self.shell.answer(groups=self.list_config_groups())
            self.say(self._groups_section())
            return
        names = self.list_group_params(self._known_group(group))
        for name in parameter:
            if name not in names:
                raise UsageError(f"No parameter '{name}' in group '{group}'", close_to(name, names))
        if self.shell.as_json:
            chosen = parameter or names
            self.shell.answer(
                group=group, parameters={name: self._value_facts(group, name) for name in chosen}
            )
            return
        if parameter:
            for name in parameter:
                mark = "" if self.get_group_param(group, name)["writable"] else "[ro]"
                self.say(f"{name}={self.shown_value(group, name)} {mark}")
            return
        sections = []
        for name in names:
            definition = self.get_group_param(group, name)
            head = f"{name}={self.shown_value(group, name)}" + ("" if definition["writable"] else " [ro]")
            sections.append(render.underlined(head, "-") + definition["description"] + "\n")
        self.say(render.section(f"{group.upper()} CONFIG GROUP", "\n".join(sections)))

    def _value_facts(self, group: str, name: str) -> dict[str, object]:
        """A parameter's value and definition, as `get` answers in JSON."""
        from isadmin.shell import output

        definition = self.get_group_param(group, name)
        kind = preferences.TABLE[name].kind if group == GLOBAL else definition["type"]
        value = self.get_group_getter(group)(name)
        if not isinstance(value, list):
            value = str(self.get_type_method(definition["type"])(value, reverse=True))
        hidden = bool(value) and self.is_secret(group, name) and not self.shell.show_secrets
        return {
            "value": None if hidden else output.typed(value, kind),
            "type": kind,
            "writable": definition["writable"],
            "hidden": hidden,
            "description": definition["description"],
        }

    def _groups_section(self) -> str:
        return render.section("AVAILABLE CONFIGURATION GROUPS", " ".join(self.list_config_groups()))

    def ui_command_set(self, group: str | None = None, **parameter: str) -> None:
        """
        Sets values of a configuration group.

        Without a group, the groups there are here are listed; without a parameter, those of the
        group that can be set, with their types. The group "global" holds the shell's
        preferences, is everywhere, and is kept for the next time.

        A CHAP secret need not be on the line: password_file=FILE takes it from a file,
        password_file=- from standard input or, at a terminal, unseen from the keyboard;
        likewise mutual_password_file. With the option --ask, `password=` asks for it.

        Example: set global color_mode=true default_portal=192.168.1.10:3260

        SEE ALSO
        ========
        get
        """
        if group is None:
            self.say(self._groups_section())
            return
        self._known_group(group)
        if not parameter:
            sections = []
            for name in self.list_group_params(group, writable=True):
                definition = self.get_group_param(group, name)
                kind = preferences.TABLE[name].kind if group == GLOBAL else definition["type"]
                head = render.underlined(f"{name}={kind}", "-")
                sections.append(head + definition["description"] + "\n")
            self.say(render.section(f"{group.upper()} CONFIG GROUP", "\n".join(sections)))
            return
        values = {name: self._value_to_set(group, name, text) for name, text in parameter.items()}
        for line in self._set_all(group, values):
            self.say(line)

    def _set_all(self, group: str, values: Mapping[str, Any]) -> list[str]:
        """Set all or, when one is refused, none; what to say of each. Raises IsadminError."""
        get, put = self.get_group_getter(group), self.get_group_setter(group)
        before: dict[str, Any] = {}
        said = []
        try:
            for name, value in values.items():
                old = get(name)
                put(name, value)
                before[name] = old
                secret = self.is_secret(group, name)
                shown = ("set" if value else "empty") if secret else f"'{self.shown_value(group, name)}'"
                said.append(f"Parameter {name} is now {shown}.")
        except IsadminError:
            if group != GLOBAL:
                for name, old in reversed(before.items()):
                    with suppress(IsadminError):
                        put(name, old)
            raise
        return said

    def _value_to_set(self, group: str, name: str, text: str) -> Any:
        """The value that a text means for a parameter. Raises UsageError, which shows no secret."""
        names = self.list_group_params(group)
        if name not in names:
            raise UsageError(f"Unknown parameter {name} in group '{group}'", close_to(name, names))
        definition = self.get_group_param(group, name)
        if not definition["writable"]:
            raise UsageError(f"Parameter {name} is read-only.")
        try:
            if group == GLOBAL:
                return preferences.parse_value(preferences.TABLE[name], text)
            return self.get_type_method(definition["type"])(text)
        except ValueError as error:
            reason = "it is not acceptable" if self.is_secret(group, name) else error
            raise UsageError(f"Not setting {name}! {reason}") from error

    def ui_complete_get(self, parameters: Mapping[str, str], text: str, current_param: str) -> list[str]:
        if current_param == "group":
            return self.list_config_groups()
        return self.list_group_params(parameters.get("group", ""))

    def ui_complete_set(self, parameters: Mapping[str, str], text: str, current_param: str) -> list[str]:
        if current_param == "group":
            return self.list_config_groups()
        group = parameters.get("group", "")
        names = self.list_group_params(group, writable=True)
        files = [f"{name}_file" for name in names if self.is_secret(group, name)]
        if current_param in files:
            from isadmin.shell.suggest import paths_like

            return paths_like(text, stat.S_IFREG)
        if current_param not in names:
            return [f"{name}=" for name in [*names, *files]]
        if group == GLOBAL:
            return list(preferences.choices_of(preferences.TABLE[current_param]))
        return list(self.get_type_method(self.get_group_param(group, current_param)["type"])(enum=True) or ())


@cache
def _global_group() -> dict[str, Definition]:
    return {name: ["preference", p.meaning, True] for name, p in preferences.TABLE.items()}


def close_to(word: str, words: Iterable[str]) -> str:
    """A remedy for a word that is none of those known: the nearest of them, if one is near."""
    from difflib import get_close_matches

    close = get_close_matches(word, list(words), 1)
    return f"did you mean {close[0]}?" if close else ""
