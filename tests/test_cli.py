"""The command line: options, one-shot, batch, exit statuses, and what is printed where."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from isadmin import __version__, cli
from isadmin.errors import IsadminError, UsageError
from isadmin.lio import host
from isadmin.shell import session
from tests.shell.trees import Box, FakeHost


class World:
    """What the command line finds: a tree of boxes, and a target that only counts."""

    def __init__(self, directory: Path) -> None:
        self.content: dict[str, Any] = {"a": {}}
        self.host = FakeHost()
        self.directory = directory

    def file(self, text: str | bytes) -> str:
        path = self.directory / "batch"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(host, "choose", lambda **_: made.host)
    monkeypatch.setattr(session, "_root", lambda shell: Box("/", None, made.content, shell))
    return made


Captured = pytest.CaptureFixture[str]


def test_one_shot_runs_one_command(world: World, capsys: Captured) -> None:
    assert cli.main(["create", "x y", "size=2M"]) == 0
    assert capsys.readouterr().out == "Created box x y of size 2M.\n"
    assert "x y" in world.content
    assert cli.main(["/a create 'b c'"]) == 0
    assert "b c" in world.content["a"]


def test_a_sole_path_is_no_error(world: World, capsys: Captured) -> None:
    assert cli.main(["/a"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["nosuch"], 2, "isadmin: Command not found nosuch: see the commands here with `help`\n"),
        (["/nosuch", "ls"], 2, "isadmin: No such path /nosuch\n"),
        (["create"], 2, "isadmin: create: missing name: usage: create name [size] [wwn]\n"),
        (["create", "a"], 1, "isadmin: Box a exists: take another name\n"),
        (["crash"], 1, "isadmin: crash failed: unforeseen\n"),
        (["--nosuch"], 2, "isadmin: Unknown option --nosuch: see `isadmin --help`\n"),
        (["--version=1"], 2, "isadmin: Option --version takes no value\n"),
        (["-f"], 2, "isadmin: Option -f needs a FILE\n"),
        (["-f", "x", "ls"], 2, "isadmin: Both -f and a command: ls: give one of them\n"),
        (["-c", "x", "ls"], 2, "isadmin: Both -c and a command: ls: give one of them\n"),
        (["-c", "ls", "-f", "x"], 2, "isadmin: Both -f and -c: give one of them\n"),
        (["--atomic", "--keep-going"], 2, "isadmin: Both --atomic and --keep-going: give one of them\n"),
        (
            ["--dry-run"],
            2,
            "isadmin: Option --dry-run without a command: name the command whose changes it shows\n",
        ),
        (
            ["--dry-run", "-c", "ls"],
            2,
            "isadmin: Both --dry-run and -c: write it behind each command of the batch\n",
        ),
        (
            ["--dry-run", "info"],
            2,
            "isadmin: info: unexpected argument '--dry-run': it changes nothing of the target\n",
        ),
        (["-c", "cd /; nosuch/"], 2, "isadmin: -c:2: No such path /nosuch (in: nosuch/)\n"),
        (["-f", "/nosuch/file"], 5, "isadmin: No such file /nosuch/file\n"),
        (["-f", "/"], 1, "isadmin: Cannot read /: Is a directory\n"),
        (
            ["--userspace", "--configfs", "/x", "ls"],
            2,
            "isadmin: Both --userspace and --configfs: give one of them\n",
        ),
        (["create 'x"], 2, "isadmin: The quote ' is never closed at column 8: close it\n"),
    ],
)
def test_errors_are_one_line_with_a_status_of_their_own(
    world: World, capsys: Captured, words: list[str], status: int, said: str
) -> None:
    assert cli.main(words) == status
    assert capsys.readouterr() == ("", said)
    assert world.content == {"a": {}}


def test_the_status_is_the_errors_class(world: World, capsys: Captured) -> None:
    world.host.allowed = False
    assert cli.main(["create", "x"]) == 8
    world.host.allowed, world.host.busy = True, True
    assert cli.main(["create", "x"]) == 4
    assert capsys.readouterr().err.count("\n") == 2


def test_debug_adds_the_traceback(world: World, capsys: Captured) -> None:
    assert cli.main(["--debug", "crash"]) == 1
    said = capsys.readouterr().err
    assert "RuntimeError: unforeseen" in said
    assert said.endswith("isadmin: crash failed: unforeseen\n")


def test_an_interrupt_is_130(world: World, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Box, "ui_command_create", interrupted)
    assert cli.main(["create"]) == 130
    assert capsys.readouterr() == ("", "")


def test_options_come_first_and_words_stay_as_they_are(world: World, capsys: Captured) -> None:
    assert cli.main(["-y", "info", "-y", "--debug", "a'b"]) == 0
    assert capsys.readouterr().out == """(('-y', '--debug', "a'b"), {})\n"""
    assert cli.main(["--", "info", "--"]) == 0
    assert capsys.readouterr().out == "(('--',), {})\n"


def test_options_can_be_spelled_in_the_usual_ways() -> None:
    for words in (["-yuf", "x"], ["-y", "-u", "-fx"], ["--yes", "--userspace", "--file=x"]):
        call = cli.read_arguments(words)
        assert call.flags == {"yes", "userspace"}
        assert call.values == {"file": "x"}
    assert cli.read_arguments(["--file=", "-"]).values == {"file": ""}
    assert cli.read_arguments(["-"]).words == ["-"]
    for behind in (["--output", "json"], ["--output=json"]):
        call = cli.read_arguments(["diff", "1", *behind])
        assert (call.words, call.values) == (["diff", "1"], {"output": "json"})
    for words in (["a", "--output"], ["a", "--output", "x"], ["a", "--output=json", "b"], ["a", "json"]):
        assert (cli.read_arguments(words).words, cli.read_arguments(words).values) == (words, {})
    assert cli.read_arguments(["--", "a", "--output=json"]).words == ["a", "--output=json"]
    with pytest.raises(UsageError, match="-x"):
        cli.read_arguments(["-yx"])


def test_help_and_version_need_no_target(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(**_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(host, "choose", none)
    for words in (["--version"], ["-v"], ["version"]):
        assert cli.main(words) == 0
        assert capsys.readouterr().out == f"isadmin version {__version__}\n"
    assert cli.main(["-h"]) == 0
    said = capsys.readouterr().out
    for option in cli.OPTIONS:
        assert ", ".join(option.names) in said


def test_a_batch_runs_line_by_line(world: World, capsys: Captured) -> None:
    batch = "# boxes\n\ncd a\r\ncreate x  # the first\ncreate 'y z'\nexit\ncreate never\n"
    assert cli.main(["-f", world.file(batch)]) == 0
    assert capsys.readouterr().out == "Created box x of size 1M.\nCreated box y z of size 1M.\n"
    assert world.content == {"a": {"x": {}, "y z": {}}}


def test_a_batch_stops_at_the_first_error_and_says_where(world: World, capsys: Captured) -> None:
    name = world.file("create x\ncreate x\ncreate y\n")
    assert cli.main(["-f", name]) == 1
    said = capsys.readouterr().err
    assert said == f"isadmin: {name}:2: Box x exists: take another name (in: create x)\n"
    assert world.content == {"a": {}, "x": {}}


def test_commands_can_be_given_as_an_option(world: World, capsys: Captured) -> None:
    assert cli.main(["-c", "cd a; create 'x;y' ; /a/x;y pwd"]) == 0
    assert capsys.readouterr().out == "Created box x;y of size 1M.\n/a/x;y\n"
    assert cli.main(["--keep-going", "-c", "nosuch; create z; create z"]) == 2
    said = capsys.readouterr()
    assert [line.split(": ")[1] for line in said.err.splitlines()] == [
        "-c:1",
        "-c:3",
        "2 of 3 lines failed; the configuration was not saved",
    ]
    assert "z" in world.content


def test_a_secret_comes_from_standard_input(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Input("from the pipe\n"))
    assert cli.main(["set", "auth", "password_file=-"]) == 0
    assert world.content["=password"] == "from the pipe"
    monkeypatch.setattr(sys, "stdin", Input("set auth password_file=-\nno secret\n"))
    assert cli.main([]) == 2
    assert world.content["=password"] == "from the pipe"


def test_a_batch_shows_no_secret_in_its_error(world: World, capsys: Captured) -> None:
    for line in ("set auth password=hidden nosuch=1", "set auth password='hidden"):
        assert cli.main(["-f", world.file(line)]) == 2
        said = capsys.readouterr().err
        assert "hidden" not in said
        assert "password=********" in said


def test_a_batch_that_is_no_text_is_refused_at_its_line(world: World, capsys: Captured) -> None:
    name = world.file(b"create x\n\xff\n")
    assert cli.main(["-f", name]) == 2
    assert capsys.readouterr().err == f"isadmin: {name}:2: not UTF-8 text\n"


class Input(io.TextIOWrapper):
    def __init__(self, text: str) -> None:
        super().__init__(io.BytesIO(text.encode()))


@pytest.mark.parametrize("words", [[], ["-f", "-"]])
def test_without_a_terminal_standard_input_is_a_batch(
    world: World, capsys: Captured, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Input("create x\nnosuch\n"))
    assert cli.main(words) == 2
    assert capsys.readouterr().err.startswith("isadmin: <stdin>:2: Command not found nosuch")
    monkeypatch.setattr(sys, "stdin", None)
    assert cli.main([]) == 2


@pytest.mark.parametrize(("fails", "saved"), [(False, 1), (True, 0)])
def test_a_batch_that_changed_something_and_did_not_fail_is_saved(
    world: World, fails: bool, saved: int
) -> None:
    world.host.savefile = world.directory / "saveconfig.json"
    assert cli.main(["-f", world.file("ls\n")]) == 0
    assert world.host.saved == 0
    assert cli.main(["-f", world.file("create x\n" + "nosuch\n" * fails)]) == 2 * fails
    assert world.host.saved == saved


def test_a_batch_is_not_saved_if_the_user_says_so(world: World) -> None:
    world.host.savefile = world.directory / "saveconfig.json"
    assert cli.main(["set", "global", "auto_save_on_exit=false"]) == 0
    assert cli.main(["-f", world.file("create x\n")]) == 0
    assert world.host.saved == 0


def test_secrets_show_only_with_the_option(world: World, capsys: Captured) -> None:
    assert cli.main(["set", "auth", "password=hidden"]) == 0
    assert cli.main(["get", "auth", "password"]) == 0
    assert "hidden" not in "".join(capsys.readouterr())
    assert cli.main(["--show-secrets", "get", "auth", "password"]) == 0
    assert capsys.readouterr().out == "password=hidden \n"


def test_a_name_that_is_no_text_can_be_shown(world: World) -> None:
    code = "from isadmin import cli; cli._run = lambda _: print('a\\udcffb') or 0; exit(cli.main(['x']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"a\\udcffb\n"


def test_nobody_reading_is_no_error(world: World, tmp_path: Path) -> None:
    (tmp_path / "target" / "core").mkdir(parents=True)
    command = f"{sys.executable} -m isadmin --configfs {tmp_path}/target help | true"
    done = subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"], capture_output=True, check=False
    )
    assert (done.returncode in (0, 141), done.stderr) == (True, b"")


def test_every_error_class_has_a_status_of_its_own() -> None:
    classes = [IsadminError, *IsadminError.__subclasses__()]
    ours = [c for c in classes if c.__module__ == "isadmin.errors"]
    assert sorted(c.status for c in ours) == list(range(1, 9))
    for one in ours:
        assert f"{one.status} " in cli.help_text()
