"""The command line: options; then one command, a batch, or a session at the terminal; and the exit status.

Errors are printed here and nowhere else: one line each, on standard error, ending with the exit status of
their class.
"""

from __future__ import annotations

import os
import sys

from isadmin import __version__
from isadmin.errors import IsadminError, UsageError
from isadmin.light import field, record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from isadmin.lio.host import Host
    from isadmin.shell.session import Session

INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""
OUTPUT_CLOSED = 141
"""128 + SIGPIPE."""


@record(frozen=True, slots=True)
class Option:
    """One option: its spellings, what its value is called (None: it takes none), and its meaning.

    A value called a|b is one of these words.
    """

    names: tuple[str, ...]
    value: str | None
    meaning: str

    @property
    def key(self) -> str:
        return self.names[-1].lstrip("-")


OPTIONS = (
    Option(("-h", "--help"), None, "print this and exit; `help` is about the shell's commands"),
    Option(("-v", "--version"), None, "print the version and exit"),
    Option(("-f", "--file"), "FILE", "run the commands in FILE, one a line (- for standard input)"),
    Option(("-c", "--commands"), "COMMANDS", "run these commands, parted by ; at a word's end"),
    Option(("--keep-going",), None, "go on after a command of a batch failed; the exit status is its own"),
    Option(("--atomic",), None, "undo all that a batch did if one of its commands fails"),
    Option(("--dry-run",), None, "show what the command would change, and change nothing"),
    Option(("-u", "--userspace"), None, "work on the userspace target, starting it if need be"),
    Option(("--configfs",), "DIR", "work on the target whose configfs directory is DIR"),
    Option(("--show-secrets",), None, "show CHAP secrets instead of ********"),
    Option(("--ask",), None, "ask for CHAP secrets that are set to nothing (set auth password=)"),
    Option(("-y", "--yes"), None, "do not ask to confirm"),
    Option(("--output",), "text|json", "print results as text, or as JSON: one document a line"),
    Option(("--debug",), None, "show the traceback behind an error"),
)
"""Every option; help, the manual and completions are made from this."""


@record(slots=True)
class Call:
    """The command line, read: options by their long name, and the words after them."""

    flags: set[str] = field(default_factory=set)
    values: dict[str, str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)

    @property
    def json(self) -> bool:
        return self.values.get("output") == "json"


def read_arguments(arguments: Sequence[str]) -> Call:
    """Options up to the first word that is none (or "--"), then words as they are, but for --output at their
    end. Raises UsageError."""
    known = {name: option for option in OPTIONS for name in option.names}
    call = Call()
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            call.words = rest
            return call
        name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if not word.startswith("--") and len(word) > 2:
            name = word[:2]
            if name in known and known[name].value is None:
                rest.insert(0, f"-{word[2:]}")
            else:
                equals, value = "=", word[2:]
        option = known.get(name)
        if option is None:
            raise UsageError(f"Unknown option {name}", "see `isadmin --help`")
        if option.value is None:
            if equals:
                raise UsageError(f"Option {name} takes no value")
            call.flags.add(option.key)
            continue
        if not equals:
            if not rest:
                raise UsageError(f"Option {name} needs a {option.value}")
            value = rest.pop(0)
        if "|" in option.value and value not in option.value.split("|"):
            raise UsageError(f"Option {name} is one of {option.value}, not '{value}'")
        call.values[option.key] = value
    call.words = _without_output(call, rest)
    return call


def _without_output(call: Call, words: list[str]) -> list[str]:
    """The words of a command without the option --output, which may stand behind it, too: no command has an
    argument of that name."""
    name, equals, value = words[-1].partition("=") if words else ("", "", "")
    count = 1
    if len(words) > 1 and words[-2] == "--output":
        name, equals, value, count = words[-2], "=", words[-1], 2
    if name != "--output" or not equals or value not in ("text", "json") or len(words) == count:
        return words
    call.values["output"] = value
    return words[:-count]


def help_text() -> str:
    """What --help prints."""
    lines = [
        "usage: isadmin [OPTION...] [PATH] COMMAND [ARGUMENT...] [PARAMETER=VALUE...]",
        "       isadmin [OPTION...] -f FILE | -c COMMANDS",
        "       isadmin userspace start|stop|status|exec ...",
        "",
        "Configures the Linux LIO target, in the kernel or in userspace. Without a command: a session at a",
        "terminal, else the commands on standard input.",
        "",
        "options:",
    ]
    for option in OPTIONS:
        spelled = ", ".join(option.names) + (f" {option.value}" if option.value else "")
        lines.append(f"  {spelled:<22} {option.meaning}")
    lines += [
        "",
        "exit status: 0 done, 1 failed, 2 wrong usage, 3 no target, 4 locked, 5 no such file,",
        "6 file refused, 7 partly restored, 8 no permission, 9 `diff` found a difference",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run isadmin with a program's arguments (sys.argv's by default); the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if hasattr(sys.stdout, "reconfigure"):
        # A file's name may hold bytes that are no text; showing it must not fail.
        sys.stdout.reconfigure(errors="backslashreplace")
        sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        if words[:1] == ["--complete"]:
            from isadmin.shell import complete

            status = complete.main(words[1:], read_arguments)
        else:
            status = _userspace(words[1:]) if words[:1] == ["userspace"] else _run(words)
        sys.stdout.flush()
    except IsadminError as error:
        return _report(error, "isadmin: ", debug="--debug" in words)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # What is still buffered must not be tried again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OUTPUT_CLOSED
    return status


def _report(error: IsadminError, where: str, suffix: str = "", *, debug: bool = False) -> int:
    if debug:
        import traceback

        traceback.print_exception(error)
    from contextlib import suppress

    with suppress(BrokenPipeError):
        sys.stdout.flush()
    if isinstance(error, UsageError) and sys.stderr.isatty() and (caret := error.caret()):
        print(caret, file=sys.stderr)
    print(f"{where}{error.line()}{suffix}", file=sys.stderr)
    return error.status


def _userspace(words: list[str]) -> int:
    from isadmin.userspace import command

    return command.main(words)


def _run(words: Sequence[str]) -> int:
    call = read_arguments(words)
    if "help" in call.flags:
        print(help_text())
        return 0
    if "version" in call.flags or (call.words == ["version"] and not call.values.keys() - {"output"}):
        print(_version_document() if call.json else f"isadmin version {__version__}")
        return 0
    given = [f"-{key[0]}" for key in ("file", "commands") if key in call.values]
    if len(given) == 2:
        raise UsageError("Both -f and -c", "give one of them")
    if given and call.words:
        raise UsageError(f"Both {given[0]} and a command: {call.words[0]}", "give one of them")
    if call.flags >= {"atomic", "keep-going"}:
        raise UsageError("Both --atomic and --keep-going", "give one of them")
    if "dry-run" in call.flags and given:
        raise UsageError(f"Both --dry-run and {given[0]}", "write it behind each command of the batch")
    if "dry-run" in call.flags and not call.words:
        raise UsageError("Option --dry-run without a command", "name the command whose changes it shows")
    session = _session(call)
    if given or (not call.words and (sys.stdin is None or not sys.stdin.isatty())):
        return _batch(session, call)
    session.can_ask = bool(sys.stdin and sys.stdin.isatty() and sys.stderr.isatty())
    if call.words:
        session.run_words(call.words, dry_run="dry-run" in call.flags)
        session.finish(save=False)
        return session.status
    from isadmin.shell.repl import Repl

    return Repl(session, debug="debug" in call.flags).run()


def _batch(session: Session, call: Call) -> int:
    from contextlib import nullcontext

    from isadmin.shell import batch

    def report(error: IsadminError, before: str, behind: str) -> int:
        return _report(error, before, behind, debug="debug" in call.flags)

    text = call.values.get("commands")
    source = batch.opened(call.values.get("file", "-")) if text is None else nullcontext(batch.given(text))
    with source as commands:
        return batch.run(
            session,
            commands,
            report,
            keep_going="keep-going" in call.flags,
            atomic="atomic" in call.flags,
        )


def _version_document() -> str:
    from isadmin.shell import output

    return output.line("version", "/", {"of": "isadmin", "version": __version__})


def _session(call: Call) -> Session:
    from isadmin.shell.preferences import Bookmarks, Preferences
    from isadmin.shell.session import Session

    if "userspace" in call.flags and "configfs" in call.values:
        raise UsageError("Both --userspace and --configfs", "give one of them")

    def host() -> Host:
        from isadmin.lio.host import choose

        return choose(userspace="userspace" in call.flags, configfs=call.values.get("configfs") or None)

    return Session(
        host,
        Preferences.of_user(),
        Bookmarks.of_user(),
        show_secrets="show-secrets" in call.flags,
        assume_yes="yes" in call.flags,
        ask="ask" in call.flags,
        as_json=call.json,
    )
