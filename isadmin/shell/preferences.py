"""The shell's preferences: one table, and the TOML files they are kept in.

Read in order, later ones win: the table's defaults, /etc/isadmin/config.toml,
$XDG_CONFIG_HOME/isadmin/config.toml (~/.config without it). `set global NAME=VALUE` changes the last one,
keeping its comments and unknown keys. Bookmarks live beside it in bookmarks.toml. Every name of
targetcli's group `global` is kept, so that its scripts run unchanged.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from isadmin.errors import IsadminError, RefusedFileError, UsageError
from isadmin.light import Path, record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Kind = Literal["bool", "number", "string", "color", "colordefault", "loglevel"]
    File = str | os.PathLike[str]

Value = bool | int | str | None

COLORS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
LOG_LEVELS = ("critical", "error", "warning", "info", "verbose", "debug")
"""What targetcli's scripts may set; isadmin keeps no log file of its own."""


@record(frozen=True, slots=True)
class Preference:
    """One preference: its type, its default, and its meaning as `get global` and the manual print it."""

    name: str
    kind: Kind
    default: Value
    meaning: str


TABLE: dict[str, Preference] = {
    p.name: p
    for p in (
        Preference(
            "auto_add_default_portal", "bool", True, "If true, a new target listens on default_portal."
        ),
        Preference(
            "auto_add_mapped_luns",
            "bool",
            True,
            "If true, a new LUN is mapped to every ACL, and a new ACL gets every LUN.",
        ),
        Preference(
            "auto_cd_after_create", "bool", False, "If true, the current path moves to what was just created."
        ),
        Preference(
            "auto_enable_tpgt", "bool", True, "If true, a new target portal group is enabled at once."
        ),
        Preference(
            "auto_save_on_exit",
            "bool",
            True,
            "If true, a session that changed something saves the configuration as it ends.",
        ),
        Preference(
            "auto_use_daemon", "bool", False, "Kept for targetcli's scripts: there is no command daemon."
        ),
        Preference("color_command", "color", "cyan", "Color of commands in completions."),
        Preference("color_default", "colordefault", None, "Color of text that has no other color."),
        Preference("color_keyword", "color", "cyan", "Color of parameter names in completions."),
        Preference("color_mode", "bool", True, "If true, terminals get colors."),
        Preference("color_parameter", "color", "magenta", "Color of parameter values in completions."),
        Preference("color_path", "color", "magenta", "Color of paths in completions."),
        Preference(
            "daemon_use_batch_mode",
            "bool",
            False,
            "Kept for targetcli's scripts: there is no command daemon.",
        ),
        Preference(
            "default_portal",
            "string",
            "0.0.0.0:3260",
            "ADDRESS:PORT that auto_add_default_portal listens on; [::0]:3260, IPv6 as well, in targetcli 3.",
        ),
        Preference(
            "export_backstore_name_as_model",
            "bool",
            True,
            "If true, initiators see the backstore's name as the model.",
        ),
        Preference(
            "lock_timeout", "number", 30, "Seconds to wait for another process's change before giving up."
        ),
        Preference("logfile", "string", None, "Kept for targetcli's scripts: no log file is written."),
        Preference(
            "loglevel_console",
            "loglevel",
            "info",
            "Kept for targetcli's scripts: errors and warnings always show.",
        ),
        Preference(
            "loglevel_file", "loglevel", "debug", "Kept for targetcli's scripts: no log file is written."
        ),
        Preference(
            "max_backup_files", "number", 10, "How many earlier configurations to keep beside the saved one."
        ),
        Preference("prompt_length", "number", 30, "Longest path shown in the prompt; 0 for any length."),
        Preference("tree_max_depth", "number", 0, "How many levels `ls` shows; 0 for all."),
        Preference("tree_round_nodes", "bool", True, "If true, trees are drawn with o-, else with +-."),
        Preference("tree_show_root", "bool", True, "If true, trees begin with the node they are of."),
        Preference("tree_status_mode", "bool", True, "If true, trees show each node's summary."),
    )
}


def parse_value(preference: Preference, text: str) -> Value:
    """The value a user typed. Raises ValueError with what would be right."""
    if preference.kind == "bool":
        if text.lower() not in ("true", "false"):
            raise ValueError(f"Syntax error, '{text}' is not true|false.")
        return text.lower() == "true"
    if preference.kind == "number":
        if not (text.isascii() and text.isdigit() and len(text) <= 9):
            raise ValueError(f"Syntax error, '{text}' is not a NUMBER.")
        return int(text)
    if preference.name == "default_portal" and text:
        _check_portal(text)
    choices = choices_of(preference)
    if choices and text and text not in choices:
        raise ValueError(f"Syntax error, '{text}' is not {'|'.join(choices)}.")
    if not text or (text in ("default", "none") and choices):
        return None
    return text


def _check_portal(text: str) -> None:
    from isadmin.shell.nodes.addresses import parse_portal

    try:
        parse_portal(text)
    except UsageError as error:
        raise ValueError(error.line()) from error


def choices_of(preference: Preference) -> tuple[str, ...]:
    """The values a preference can take, where they can be listed."""
    return {
        "bool": ("true", "false"),
        "color": (*COLORS, "default"),
        "colordefault": (*COLORS, "none"),
        "loglevel": LOG_LEVELS,
    }.get(preference.kind, ())


def show_value(preference: Preference, value: Value) -> str:
    """A value as `get global` prints it."""
    if preference.kind == "bool":
        return "true" if value else "false"
    if value is None:
        return {"color": "default", "colordefault": "none"}.get(preference.kind, "n/a")
    return str(value)


def user_directory() -> str:
    """Where this user's configuration files are."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return f"{home}/isadmin"


FIX = "correct it, or move it away"
SYSTEM_FILE = "/etc/isadmin/config.toml"


class Preferences:
    """The preferences of one shell: values by name, and where changes go.

    Raises RefusedFileError for a file that is no TOML or gives a preference a value of the wrong type.
    """

    def __init__(self, user_file: File | None = None, system_file: File | None = None) -> None:
        self.user_file = user_file
        self._values: dict[str, Value] = {name: p.default for name, p in TABLE.items()}
        for file in (system_file, user_file):
            if file is not None:
                self._values.update(_read(file))

    @classmethod
    def of_user(cls) -> Preferences:
        """The preferences of who runs this process."""
        return cls(f"{user_directory()}/config.toml", SYSTEM_FILE)

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(TABLE)

    def flag(self, name: str) -> bool:
        return bool(self._values[name])

    def number(self, name: str) -> int:
        value = self._values[name]
        assert isinstance(value, int)
        return value

    def text(self, name: str) -> str:
        value = self._values[name]
        return "" if value is None else str(value)

    def set(self, name: str, value: Value) -> None:
        """Change one preference, here and in the user's file. Raises IsadminError if that fails."""
        if self.user_file is not None:
            try:
                before = Path(self.user_file).read_text(encoding="utf-8")
            except (FileNotFoundError, NotADirectoryError):
                before = "# isadmin's preferences; `isadmin get global` explains each.\n"
            except (OSError, UnicodeDecodeError) as error:
                raise IsadminError(f"Cannot read {self.user_file}: {error}") from error
            _write(self.user_file, _edited(before, name, value))
        self._values[name] = value


class Bookmarks:
    """Names for paths, kept in a TOML file of their own, which is read when one is first looked at.
    `last` is where something was last created.

    Raises RefusedFileError for a file that is no TOML.
    """

    def __init__(self, file: File | None = None) -> None:
        self.file = file
        self._read: dict[str, str] | None = None
        self._unsaved = False

    @property
    def _paths(self) -> dict[str, str]:
        if self._read is None:
            known = {} if self.file is None else _load(self.file)
            self._read = {name: path for name, path in known.items() if isinstance(path, str)}
        return self._read

    @classmethod
    def of_user(cls) -> Bookmarks:
        return cls(f"{user_directory()}/bookmarks.toml")

    def __contains__(self, name: str) -> bool:
        return name in self._paths

    def __getitem__(self, name: str) -> str:
        return self._paths[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def note(self, name: str, path: str) -> None:
        """Set a bookmark; the file follows at the next save()."""
        if self._paths.get(name) != path:
            self._paths[name] = path
            self._unsaved = True

    def remove(self, name: str) -> None:
        del self._paths[name]
        self._unsaved = True

    def forget(self) -> None:
        """Go by the file again, whatever has changed since it was read."""
        self._read = None
        self._unsaved = False

    def save(self) -> None:
        """Write the file if anything changed. Raises IsadminError if it cannot be written."""
        if self._unsaved and self.file is not None:
            lines = [f"{_toml(name)} = {_toml(path)}\n" for name, path in sorted(self._paths.items())]
            _write(self.file, "".join(lines))
        self._unsaved = False


def _load(file: File) -> dict[str, object]:
    try:
        with open(file, "rb") as opened:
            text = opened.read().decode()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedFileError(f"Cannot read {file}: {error}") from error
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RefusedFileError(f"{file}: {error}", FIX) from error


def _read(file: File) -> dict[str, Value]:
    """The known preferences in a file; names it does not know are left to whoever knows them."""
    values: dict[str, Value] = {}
    for name, value in _load(file).items():
        preference = TABLE.get(name)
        if preference is None:
            continue
        wanted = {"bool": bool, "number": int}.get(preference.kind, str)
        if type(value) is not wanted:
            raise RefusedFileError(f"{file}: {name} must be a {preference.kind}", FIX)
        try:
            values[name] = parse_value(preference, str(value))
        except ValueError as error:
            raise RefusedFileError(f"{file}: {name}: {error}", FIX) from error
    return values


def _edited(before: str, name: str, value: Value) -> str:
    """The TOML text with one top-level key set, everything else as it was."""
    shown = "" if value is None else value
    line = f"{name} = {_toml(shown)}"
    lines = before.split("\n")
    tables = [at for at, text in enumerate(lines) if text.lstrip().startswith("[")]
    top = tables[0] if tables else len(lines)
    for at in range(top):
        key, equals, _ = lines[at].partition("=")
        if equals and key.strip() == name:
            lines[at] = line
            return "\n".join(lines)
    while top and not lines[top - 1].strip():
        top -= 1
    lines.insert(top, line)
    return "\n".join(lines)


def _toml(value: bool | int | str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    escaped = "".join(_toml_character(character) for character in value)
    return f'"{escaped}"'


def _toml_character(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if ord(character) < 0x20 or ord(character) == 0x7F:
        return f"\\u{ord(character):04x}"
    return character


def _write(file: File, text: str) -> None:
    from isadmin.config.files import write_atomically

    path = Path(file)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, text.encode(), mode=0o600)
    except OSError as error:
        raise IsadminError(f"Cannot write {file}: {error.strerror}") from error
