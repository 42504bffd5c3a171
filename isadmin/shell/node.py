"""The base node of the tree that the shell shows: a place with a summary, children, commands and groups
of values.

A subclass says what is special about its place:

    class Luns(Node):
        def make_children(self):                    called when the children are first looked at
            for lun in self.tpg.luns():
                LunNode(lun, self)                  a node made with a parent is one of its children
        def find_child(self, name): ...             optional: make the one child of that name, without the
        others def summary(self): return "LUNs: 3", None   what `ls` shows; True or False beside it tells
        health def define_groups(self): ...                optional: define_config_group_param(...) calls,
        when first needed def ui_command_create(self, storage_object, lun=None): ... def
        ui_complete_create(self, parameters, text, current_param): ...

A command's parameters are text; those without a default must be given; `*names` and `**names` take any
more. Its docstring is its help. It prints with self.say, warns with self.warn, fails by raising an
IsadminError, and may return a node to move to (self.new_node does so if the user prefers it). Commands
that only look are named in `reading`: all others run under the lock, and count as changes to save. The
whole tree is forgotten before each command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import cache

from isadmin.errors import IsadminError, UsageError
from isadmin.light import replace
from isadmin.shell import render
from isadmin.shell.groups import GLOBAL, Groups, close_to
from isadmin.shell.language import DRY_RUN, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    import inspect
    from contextlib import AbstractContextManager
    from typing import Any, ClassVar

    from isadmin.shell.session import Session

Summary = tuple[str, bool | None]
_TAKES_WORDS, _TAKES_KEYS = 0x04, 0x08
"""inspect.CO_VARARGS and CO_VARKEYWORDS."""


class Node(Groups):
    """One place in the tree. `shell` is the session it is shown in; `path` where it is."""

    reading: ClassVar[frozenset[str]] = frozenset(
        {"ls", "cd", "pwd", "get", "help", "bookmarks", "refresh", "status", "info", "version", "exit"}
    )

    def __init__(self, name: str, parent: Node | None = None, shell: Session | None = None) -> None:
        # configshell's own __init__ compares the name with every sibling's and defines 14 parameters a node.
        self._name = name
        self._parent = parent
        self._shell = parent.shell if parent is not None else shell
        self._made: dict[str, Node] = {}
        self._complete = False
        self._groups = None
        self._secrets = set()
        if parent is not None:
            parent._made[name] = self

    # The tree

    @property
    def name(self) -> str:
        return self._name

    @property
    def path(self) -> str:
        names = []
        node: Node = self
        while node._parent is not None:
            names.append(node._name)
            node = node._parent
        return "/" + "/".join(reversed(names))

    def make_children(self) -> None:
        """Make every child, each with this node as its parent."""

    def find_child(self, name: str) -> Node | None:
        """Make the one child of that name, if that is possible without the others; None says "not so"."""

    def summary(self) -> Summary:
        """What `ls` shows beside the name, and whether that is well (None: neither)."""
        return "", None

    @property
    def children(self) -> list[Node]:
        """The children, in no order."""
        if not self._complete:
            self._made = {}
            self.make_children()
            self._complete = True
        return list(self._made.values())

    def sorted_children(self) -> list[Node]:
        """The children as `ls` lists them: numbers at the end of a name count as numbers."""
        return sorted(self.children, key=lambda node: _sort_key(node._name))

    def get_child(self, name: str) -> Node:
        """The child of that name. Raises UsageError."""
        child = self._made.get(name)
        if child is None and not self._complete:
            child = self.find_child(name)
        if child is None:
            child = {node._name: node for node in self.children}.get(name)
        if child is None:
            raise UsageError(f"No such path {self.path.rstrip('/')}/{name}")
        return child

    def refresh(self) -> None:
        """Forget what is known of this place and below; it is looked at again when needed."""
        self._made = {}
        self._complete = False
        self._groups = None

    def get_node(self, path: str | None) -> Node:
        """The node at a path: absolute, relative, or below a @bookmark. Raises UsageError."""
        nodes = self.get_nodes(path)
        if len(nodes) != 1:
            raise UsageError(f"{path} names {len(nodes)} places, where one is needed")
        return nodes[0]

    def get_nodes(self, path: str | None) -> list[Node]:
        """The nodes at a path in which a part may be "*", for every child. Raises UsageError."""
        path = path or "."
        if path.startswith("@"):
            name, slash, rest = path[1:].partition("/")
            if name not in self.shell.bookmarks:
                raise UsageError(f"No such bookmark {name}", "see them with `bookmarks show`")
            path = self.shell.bookmarks[name] + slash + rest
        nodes: list[Node] = [self.get_root() if path.startswith("/") else self]
        for part in path.split("/"):
            if part == "*":
                nodes = [child for node in nodes for child in node.sorted_children()]
            elif part == "..":
                nodes = [node._parent or node for node in nodes]
            elif part not in ("", "."):
                nodes = [node.get_child(part) for node in nodes]
        return nodes

    def get_root(self) -> Node:
        node: Node = self
        while node._parent is not None:
            node = node._parent
        return node

    def new_node(self, node: Node) -> Node | None:
        """What a command that created a place returns: bookmarks it as @last, goes there if preferred."""
        if self.shell.rehearsing:
            return None
        self.shell.bookmarks.note("last", node.path)
        if self.shell.preferences.flag("auto_cd_after_create"):
            self.say(f"Entering new node {node.path}")
            return node
        return None

    def warn(self, text: str) -> None:
        """Print a line that the user should heed, on standard error."""
        self.shell.warn(text)

    def looking(self) -> AbstractContextManager[None]:
        """Entered while the whole tree is shown: what is seen twice may be read once."""
        return nullcontext()

    # Commands

    def list_commands(self) -> tuple[str, ...]:
        """The names of this node's commands, sorted."""
        return _commands_of(type(self))  # type: ignore[arg-type]

    def get_command_method(self, command: str) -> Callable[..., Node | None]:
        """The method behind a command. Raises UsageError."""
        if command not in self.list_commands():
            raise UsageError(f"Command not found {command}", self._hint(command))
        method: Callable[..., Node | None] = getattr(self, f"ui_command_{command}")
        return method

    def _hint(self, command: str) -> str:
        if ";" in command:
            return "; parts the commands of -c, at the end of a word"
        if any(child._name == command for child in self.children):
            return f"to go there, type {command}/"
        if command in self.get_root().list_commands():
            return f"it is one of /: type / {command}"
        return close_to(command, self.list_commands()) or "see the commands here with `help`"

    def get_completion_method(self, command: str) -> Callable[..., Iterable[str] | None] | None:
        return getattr(self, f"ui_complete_{command}", None)

    def signature(self, command: str) -> tuple[inspect.Parameter, ...]:
        """A command's parameters."""
        return _signature(getattr(type(self), f"ui_command_{command}"))

    def get_command_syntax(self, command: str) -> tuple[str, list[str], str]:
        """(syntax, comments, default values) of a command, as help prints them; comments is always empty."""
        words = [command]
        defaults = []
        for parameter in self.signature(command):
            if parameter.kind is parameter.VAR_POSITIONAL:
                words.append(f"[{parameter.name}...]")
            elif parameter.kind is parameter.VAR_KEYWORD:
                words.append(f"[{parameter.name}=value...]")
            elif parameter.default is parameter.empty:
                words.append(parameter.name)
            else:
                words.append(f"[{parameter.name}]")
                if parameter.default is not None:
                    defaults.append(f"{parameter.name}={parameter.default}")
        return " ".join(words) + " ", [], " ".join(defaults)

    def changes(self, command: Command) -> bool:
        """Will this command, if it succeeds, have changed the target's configuration?"""
        if command.name == "set":
            group = command.keywords.get("group") or next(iter(command.arguments), None)
            given = len(command.keywords) - ("group" in command.keywords)
            return group not in (None, GLOBAL) and given > 0
        return command.name not in self.reading

    def locks(self, command: Command) -> bool:
        """Must nobody else change anything while it runs?"""
        return self.changes(command)

    def takes_along(self, command: Command) -> list[str]:
        """What goes with what this command deletes, one text each, of which a user at a terminal is told
        and asked before."""
        return []

    def rehearsed(self, command: Command) -> Command | None:
        """The command without its option --dry-run, None if it has none or knows what to do with it."""
        if DRY_RUN not in command.arguments or not self.changes(command):
            return None
        rest = list(command.arguments)
        rest.remove(DRY_RUN)
        return replace(command, arguments=tuple(rest))

    def run(self, command: Command) -> Node | None:
        """Run a command here. Raises UsageError when its words do not fit it, and whatever it raises."""
        method = self.get_command_method(command.name)
        self._check_arguments(command)
        return method(*command.arguments, **command.keywords)

    def _check_arguments(self, command: Command) -> None:
        # The signature without inspect, which takes longer to import than most commands to run.
        function = getattr(type(self), f"ui_command_{command.name}")
        code = function.__code__
        named = code.co_varnames[1 : code.co_argcount]
        required = named[: len(named) - len(function.__defaults__ or ())]
        if DRY_RUN in command.arguments:
            raise self._misused(
                command, f"unexpected argument '{DRY_RUN}'", "it changes nothing of the target"
            )
        if len(command.arguments) > len(named) and not code.co_flags & _TAKES_WORDS:
            surplus = command.arguments[len(named)]
            raise self._misused(command, f"unexpected argument '{surplus}'", _meant_by(surplus))
        given = {*named[: len(command.arguments)]}
        for key in command.keywords:
            if key in given:
                raise self._misused(command, f"{key} is given twice")
            if key == "self" or (key not in named and not code.co_flags & _TAKES_KEYS):
                raise self._misused(command, f"unexpected parameter '{key}'")
        given |= command.keywords.keys()
        missing = [name for name in required if name not in given]
        if missing:
            raise self._misused(command, f"missing {' and '.join(missing)}")

    def _misused(self, command: Command, what: str, remedy: str = "") -> UsageError:
        usage = f"usage: {self.get_command_syntax(command.name)[0].rstrip()}"
        return UsageError(f"{command.name}: {what}", remedy or usage)

    # Commands that every node has

    def ui_command_ls(self, path: str | None = None, depth: str | None = None) -> None:
        """
        Shows a place and what is below it as a tree.

        PARAMETERS
        ==========

        path
        ----
        The place: an absolute or relative path or a @bookmark; the current one if omitted.

        depth
        -----
        How many levels to show below it, 0 for all. The preference tree_max_depth is the default.

        SEE ALSO
        ========
        cd bookmarks
        """
        target = self.get_node(path)
        levels = self.shell.preferences.number("tree_max_depth")
        if depth is not None:
            if not (depth.isascii() and depth.isdigit() and len(depth) <= 9):
                raise UsageError("The tree depth must be a number.")
            levels = int(depth)
        self.shell.show_tree(target, levels or None)

    def ui_command_cd(self, path: str | None = None) -> Node | None:
        """
        Moves to another place.

        Paths are like those of files: "/" parts names and begins an absolute one, "." is here,
        ".." is one up, and @NAME is where a bookmark points. "<" and ">" go back and forth
        through the places visited. Without a path, choose one from the tree.

        SEE ALSO
        ========
        ls pwd bookmarks
        """
        if path is None:
            path = self.shell.choose_path(self)
        if path in ("<", ">"):
            return self.shell.visited(-1 if path == "<" else 1)
        return self.get_node(path)

    def ui_command_pwd(self) -> None:
        """
        Shows the current path.

        SEE ALSO
        ========
        cd ls
        """
        self.say(self.path)

    def ui_command_refresh(self) -> None:
        """
        Looks at the target again.

        Every command does so anyway; this one is kept for scripts.
        """
        self.refresh()

    def ui_command_status(self) -> None:
        """
        Shows the summary of this place, as `ls` does beside its name.

        SEE ALSO
        ========
        ls
        """
        summary, healthy = self.summary()
        self.shell.answer(summary=summary, healthy=healthy)
        self.say(f"Status for {self.path}: {summary}")

    def ui_command_exit(self) -> None:
        """
        Ends the session.

        If it changed something and the preference auto_save_on_exit is true, the configuration
        is saved first.
        """
        self.shell.exiting = True

    def ui_command_bookmarks(self, action: str, bookmark: str | None = None) -> Node | None:
        """
        Keeps names for places.

        Where a path can stand, @NAME can: `cd @mine`, `ls @mine`, `@mine create`. @last is
        where something was last created.

        PARAMETERS
        ==========

        action
        ------
        One of:
            - `add` names the current place.
            - `del` forgets a name.
            - `go` moves there.
            - `show` lists all names.

        bookmark
        --------
        The name; not needed to list.

        SEE ALSO
        ========
        ls cd
        """
        bookmarks = self.shell.bookmarks
        if action == "show" and bookmark is None:
            body = "\n".join(render.underlined(name, "-") + f"{bookmarks[name]}\n" for name in bookmarks)
            self.say(render.section("BOOKMARKS", "\n" + (body or "No bookmarks yet.\n")))
            return None
        if action not in ("add", "del", "go") or not bookmark:
            raise UsageError("Syntax error, see 'help bookmarks'.")
        if action == "add":
            if bookmark in bookmarks:
                raise IsadminError(f"Bookmark {bookmark} already exists.")
            bookmarks.note(bookmark, self.path)
            bookmarks.save()
            self.say(f"Bookmarked {self.path} as {bookmark}.")
            return None
        if bookmark not in bookmarks:
            raise UsageError(f"No such bookmark {bookmark}.")
        if action == "go":
            return self.get_node(bookmarks[bookmark])
        bookmarks.remove(bookmark)
        bookmarks.save()
        self.say(f"Deleted bookmark {bookmark}.")
        return None

    def ui_command_help(self, topic: str | None = None) -> None:
        """
        Shows the manual of a command, or the commands that are available here.
        """
        commands = self.list_commands()
        if topic is None:
            listed = "".join(f"  - {self.get_command_syntax(command)[0]}\n" for command in commands)
            self.say(render.HELP + render.underlined("AVAILABLE COMMANDS") + render.HELP_COMMANDS + listed)
            return
        if topic not in commands:
            raise UsageError(f"Cannot find help topic {topic}", close_to(topic, commands))
        syntax, _, defaults = self.get_command_syntax(topic)
        pages = [render.underlined("SYNTAX") + syntax + "\n\n"]
        if defaults:
            pages.append(render.underlined("DEFAULT VALUES") + defaults + "\n\n")
        import inspect

        text = inspect.getdoc(self.get_command_method(topic)) or "No description available."
        pages.append(render.underlined("DESCRIPTION") + "\n" + text)
        self.say("\n" + "\n".join(pages))

    def ui_complete_help(self, parameters: Mapping[str, str], text: str, current_param: str) -> list[str]:
        return list(self.list_commands())

    def ui_complete_bookmarks(
        self, parameters: Mapping[str, str], text: str, current_param: str
    ) -> list[str]:
        if current_param == "action":
            return ["add", "del", "go", "show"]
        return list(self.shell.bookmarks) if parameters.get("action") in ("del", "go") else []


def _meant_by(surplus: str) -> str:
    """What was probably meant by an argument that nobody expected; empty where that is not known."""
    if surplus.startswith("-"):
        return "options stand before the command"
    return "write NAME=VALUE without blanks" if surplus.startswith("=") else ""


@cache
def _commands_of(kind: type) -> tuple[str, ...]:
    prefix = "ui_command_"
    return tuple(
        name.removeprefix(prefix)
        for name in dir(kind)
        if name.startswith(prefix) and callable(getattr(kind, name))
    )


@cache
def _signature(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    import inspect

    return tuple(inspect.signature(function).parameters.values())[1:]


def _sort_key(name: str) -> tuple[str, int]:
    stem = name.rstrip("0123456789")
    return (stem, int(name[len(stem) :] or 0))
