"""The manual pages isadmin(8), isadmin.conf(5) and isadmin-userspace(8)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from isadmin.cli import OPTIONS, Option
from isadmin.docs import tables
from isadmin.docs.mdoc import Page, word
from isadmin.docs.tables import Command, Section
from isadmin.lio import host
from isadmin.lio.attributes import TABLES, Attribute
from isadmin.shell import language, output, preferences, render
from isadmin.userspace import command as userspace
from isadmin.userspace import control

OWNERS = {
    "storage_object": "storage objects",
    "port_group": "ALUA groups",
    "fabric": "the iSCSI fabric",
    "target": "targets",
    "tpg": "portal groups",
    "node_acl": "ACLs",
    "lun": "LUNs",
}
"""What the owners of groups are called."""

ENVIRONMENT = {
    "ISADMIN_RUNTIME_DIR": "Where locks, and the mount and log of a userspace target, are; /run/isadmin for "
    "root, else isadmin in $XDG_RUNTIME_DIR.",
    "ISADMIN_STATE_DIR": "Where the userspace target keeps its saved configuration; /var/lib/isadmin for "
    "root, else isadmin in $XDG_STATE_HOME.",
    "ISADMIN_NO_UNDO": "If set, changes are not noted for undo, as when a saved configuration is restored at "
    "boot.",
    "ISADMIN_PAGER": "What shows long results at a terminal; goes before PAGER.",
    "NO_COLOR": "If set, no colors.",
    "PAGER": "See ISADMIN_PAGER; less if neither is set.",
    "TERM": "What the terminal can do.",
    "XDG_CONFIG_HOME": "Where the user's preferences and bookmarks are, in isadmin; ~/.config if not set.",
    "XDG_RUNTIME_DIR": "See ISADMIN_RUNTIME_DIR.",
    "XDG_STATE_HOME": "Where the history of lines typed is, in isadmin, and see ISADMIN_STATE_DIR; "
    "~/.local/state if not set.",
}
DAEMON_ENVIRONMENT = {
    "JOURNAL_STREAM": "If set, lines of the log begin with their priority, as the journal reads it.",
    "NOTIFY_SOCKET": "If set, the socket of systemd that is told when the target is ready and when it stops.",
}


def _option_terms(options: Iterable[Option]) -> Iterator[tuple[str, str]]:
    for option in options:
        value = f" {word(option.value)}" if option.value else ""
        names = " , ".join(f"Fl {word(name[1:])}{f' Ar{value}' if value else ''}" for name in option.names)
        yield names, f"{option.meaning[0].upper()}{option.meaning[1:]}."


def _command(page: Page, command: Command) -> None:
    page.raw(".It Xo", f".Cm {command.name}")
    for parameter in command.parameters:
        name = word(parameter.name)
        if parameter.required:
            page.raw(f".Ar {name}")
        else:
            page.raw(f".Op Ar {name}{' ...' if parameter.many else ''}")
    page.raw(".Xc")
    page.help(command.text)
    defaults = [f"{p.name}={p.default}" for p in command.parameters if p.default]
    if defaults:
        page.paragraph(f"Default values: {', '.join(defaults)}.")
    for section in command.sections:
        _section(page, section)


def _section(page: Page, section: Section) -> None:
    if section.title == "SEE ALSO":
        page.raw(".Pp", "See also")
        names = section.text.split()
        for at, name in enumerate(names):
            page.raw(f".Cm {name}{' .' if at == len(names) - 1 else ' ,'}")
        return
    if section.title != "PARAMETERS":
        page.raw(".Pp", f".Em {word(section.title.capitalize())} :")
    if section.text:
        page.paragraph(section.text)
    if section.parts:
        mark = "Ar" if section.title == "PARAMETERS" else "Li"
        page.definitions((f"{mark} {word(part.title)}", part.text) for part in section.parts)


def _commands(page: Page) -> None:
    page.heading("COMMANDS")
    page.paragraph(
        "Each place of the tree has commands of its own, and those that every place has. "
        "Words in capitals stand for names.",
        "Every command that changes the target takes the option --dry-run: it prints what would change, as "
        "`diff` does, and changes nothing.",
    )
    page.subheading("Everywhere")
    page.raw(".Bl -tag -width Ds")
    for command in tables.commands_everywhere():
        _command(page, command)
    page.raw(".El")
    for path, kind in tables.PLACES:
        commands = tables.commands_at(kind)
        groups = tables.groups_at(kind)
        if not commands and not groups:
            continue
        page.subheading(path)
        if groups:
            page.paragraph(f"Configuration groups: {', '.join(groups)}.")
        if commands:
            page.raw(".Bl -tag -width Ds")
            for command in commands:
                _command(page, command)
            page.raw(".El")


def _attribute(entry: Attribute) -> str:
    said = [entry.meaning]
    legal = entry.legal()
    if legal:
        said.append(f"{legal[0].upper()}{legal[1:]}.")
    if entry.default and not entry.secret:
        said.append(f"Default: {entry.default}.")
    if not entry.writable:
        said.append("Read-only.")
    if entry.frozen:
        said.append("Cannot change while the storage object is exported.")
    if entry.secret:
        said.append("Shown only with --show-secrets.")
    return " ".join(said)


def _groups(page: Page) -> None:
    page.heading("CONFIGURATION GROUPS")
    page.paragraph(
        "What `get` shows and `set` changes. A target offers those of these values that it has, and the ones "
        "of newer kernels without a meaning."
    )
    for (owner, group), table in TABLES.items():
        page.subheading(f"{group} of {OWNERS[owner]}")
        page.definitions(((f"Cm {entry.name}", _attribute(entry)) for entry in table.values()), compact=True)
    page.subheading("global, everywhere")
    page.raw("The shell's preferences: see", ".Xr isadmin.conf 5 .")


def _documented(page: Page, doc: str) -> None:
    """A module's docstring: its paragraphs, and its indented tables of terms."""
    for block in re.split(r"\n\s*\n", doc.strip()):
        rows = re.findall(r"^ {4}(\S+) {2,}(.+)$", block, re.MULTILINE)
        before, *after = re.split(r"^ {4}\S+ {2,}.+\n?", block, flags=re.MULTILINE)
        if before.strip():
            page.paragraph(before)
        if rows:
            page.definitions(((f"Li {word(term)}", f"{meaning}.") for term, meaning in rows), compact=True)
        if rest := "".join(after).strip():
            page.paragraph(rest)


def _statuses(page: Page) -> None:
    page.heading("EXIT STATUS")
    page.definitions(
        (
            (str(status.number), f"{status.meaning[0].upper()}{status.meaning[1:]}.")
            for status in tables.statuses()
        ),
        compact=True,
    )


def shell() -> Page:
    """isadmin(8)."""
    page = Page("isadmin", 8, "admin shell for the Linux LIO target")
    page.heading("SYNOPSIS")
    for form in (
        (
            ".Op Ar option ...",
            ".Op Ar path",
            ".Ar command",
            ".Op Ar argument ...",
            ".Op Ar parameter Ns = Ns Ar value ...",
        ),
        (".Op Ar option ...", ".Fl f Ar file"),
        (".Op Ar option ...",),
        (".Cm userspace", ".Cm start | stop | status | exec"),
    ):
        page.raw(".Nm", *form)
    page.heading("DESCRIPTION")
    page.paragraph(
        "Configures the Linux LIO target, iSCSI and the other fabrics, in the kernel or in userspace: with "
        "one command, with the commands of a file or of standard input, or in a session at a terminal.",
        "With --userspace it works on the userspace target and starts it if need be. Otherwise on the "
        "kernel's target if there is one, else on a userspace target that is running.",
        "The options are:",
    )
    page.definitions(_option_terms(OPTIONS))
    page.subheading("A command")
    page.help(render.HELP.partition("COMMAND SYNTAX")[2].partition("\n\n")[2])
    page.subheading("Words")
    _, grammar, *rules = (language.__doc__ or "").split("\n\n")
    page.example([line.strip() for line in grammar.splitlines()])
    page.paragraph(*rules)
    page.paragraph(
        "A program's arguments are words as they are, but a sole argument with blanks in it is a whole line."
    )
    _commands(page)
    _groups(page)
    page.heading("JSON OUTPUT")
    _documented(page, output.__doc__ or "")
    page.heading("ENVIRONMENT")
    page.definitions((f"Ev {name}", meaning) for name, meaning in ENVIRONMENT.items())
    page.heading("FILES")
    saved = [f"{directory}/{host.SAVEFILE}" for directory in host.KERNEL_STATE]
    page.definitions(
        [
            (f"Pa {saved[0]}", "The kernel target's saved configuration."),
            (f"Pa {saved[1]}", "The same where Debian's tools keep it; used if there is no /etc/target."),
            (f"Pa /var/lib/isadmin/{host.SAVEFILE}", "The userspace target's saved configuration."),
            (f"Pa {preferences.SYSTEM_FILE}", "The host's preferences."),
            ("Pa ~/.config/isadmin/config.toml", "The user's preferences."),
            ("Pa ~/.config/isadmin/bookmarks.toml", "The user's bookmarks."),
            (
                "Pa ~/.local/state/isadmin/history",
                "Lines typed in sessions, but for those that may hold a secret.",
            ),
        ]
    )
    _statuses(page)
    page.heading("EXAMPLES")
    page.paragraph("A disk in memory for one initiator, on a userspace target:")
    page.example(
        [
            "# isadmin --userspace",
            "/> /backstores/ramdisk create name=scratch size=64M",
            "/> /iscsi create iqn.2023-01.com.example:storage1",
            "/> cd /iscsi/iqn.2023-01.com.example:storage1/tpg1",
            "/iscsi/iqn.20...storage1/tpg1> luns/ create /backstores/ramdisk/scratch",
            "/iscsi/iqn.20...storage1/tpg1> acls/ create iqn.2023-01.com.example:client1",
            "/iscsi/iqn.20...storage1/tpg1> exit",
        ]
    )
    page.paragraph("Who is logged in, for a script:")
    page.example(["# isadmin --output json sessions detail"])
    page.heading("SEE ALSO")
    page.raw(".Xr isadmin-saveconfig 5 ,", ".Xr isadmin.conf 5 ,", ".Xr isadmin-userspace 8")
    return page


def conf() -> Page:
    """isadmin.conf(5)."""
    page = Page("isadmin.conf", 5, "preferences of isadmin")
    page.heading("DESCRIPTION")
    page.paragraph(
        "Preferences are kept in TOML files. Those of the user have precedence over those of the host. "
        "`set global NAME=VALUE` changes the user's file and keeps its comments; `get global` shows what is "
        "in force. Names that isadmin does not know are left alone; a value of the wrong type is an error.",
        "The preferences are:",
    )
    page.definitions(_preferences())
    page.heading("FILES")
    page.definitions(
        [
            (f"Pa {preferences.SYSTEM_FILE}", "The host's."),
            (
                "Pa $XDG_CONFIG_HOME/isadmin/config.toml",
                "The user's; ~/.config/isadmin/config.toml without it.",
            ),
            ("Pa $XDG_CONFIG_HOME/isadmin/bookmarks.toml", "The user's bookmarks: a path for each name."),
        ]
    )
    page.heading("EXAMPLES")
    page.example(
        ["# A shell that never listens where it was not told to.", "auto_add_default_portal = false"]
    )
    page.heading("SEE ALSO")
    page.raw(".Xr isadmin 8")
    return page


def _preferences() -> Iterator[tuple[str, str]]:
    for one in preferences.TABLE.values():
        choices = preferences.choices_of(one)
        kind = {"bool": "true or false", "number": "number", "string": "text"}.get(one.kind, "text")
        term = f"Cm {one.name} No = Ar {word(kind)}"
        said = [one.meaning]
        if choices and one.kind != "bool":
            said.append(f"One of {', '.join(choices)}.")
        said.append(f"Default: {preferences.show_value(one, one.default)}.")
        yield term, " ".join(said)


def userspace_target() -> Page:
    """isadmin-userspace(8)."""
    page = Page("isadmin-userspace", 8, "LIO's target without the kernel")
    page.heading("SYNOPSIS")
    for action in tables.userspace_actions():
        if action.name == "exec":
            page.raw(".Nm isadmin userspace exec", ".Fl Fl", ".Ar command", ".Op Ar argument ...")
            continue
        page.raw(f".Nm isadmin userspace {action.name}")
        for option in action.options:
            if "--help" not in option.names:
                value = f" Ar {word(option.value)}" if option.value else ""
                page.raw(f".Op Fl {option.names[-1][1:]}{value}")
    page.heading("DESCRIPTION")
    page.paragraph(
        "The userspace target is a daemon that serves LIO's configfs through FUSE, and its disks over iSCSI. "
        "What configures the kernel's target configures it: isadmin with --userspace, and every other tool "
        "for LIO under `exec`. It shares nothing with the kernel's target, neither configuration nor state.",
        "The actions are:",
    )
    for at, action in enumerate(tables.userspace_actions()):
        if not at:
            page.raw(".Bl -tag -width Ds")
        page.raw(f".It Cm {action.name}")
        page.paragraph(f"{action.meaning[0].upper()}{action.meaning[1:]}.")
        options = [option for option in action.options if "--help" not in option.names]
        if options:
            page.definitions(_option_terms(options), compact=True)
    page.raw(".El")
    page.heading("ENVIRONMENT")
    daemon = {name: ENVIRONMENT[name] for name in ENVIRONMENT if "_DIR" in name or "STATE" in name}
    page.definitions(
        (f"Ev {name}", meaning) for name, meaning in sorted((daemon | DAEMON_ENVIRONMENT).items())
    )
    page.heading("FILES")
    _documented(page, (control.__doc__ or "").partition("\n\n")[2])
    page.heading("EXIT STATUS")
    rows = re.findall(r"^ {2}(\d+)  (.+)$", userspace.EPILOG, re.MULTILINE)
    page.definitions(
        ((number, f"{meaning[0].upper()}{meaning[1:]}.") for number, meaning in rows), compact=True
    )
    rest = userspace.EPILOG.strip().splitlines()[-1].strip()
    page.paragraph(f"{rest[0].upper()}{rest[1:]}.")
    page.heading("EXAMPLES")
    page.example(
        ["# isadmin userspace start", "# isadmin userspace exec -- targetcli ls", "# isadmin userspace stop"]
    )
    page.heading("SEE ALSO")
    page.raw(".Xr isadmin-saveconfig 5 ,", ".Xr isadmin 8")
    return page
