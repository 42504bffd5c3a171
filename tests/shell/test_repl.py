"""Keystrokes at the terminal session, through a pipe."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from isadmin.errors import IsadminError
from isadmin.shell import repl
from isadmin.shell.repl import Repl
from tests.shell.trees import Shown

CTRL_C, CTRL_D, UP = "\x03", "\x04", "\x1b[A"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


@contextmanager
def typing(shown: Shown) -> Iterator[tuple[Repl, PipeInput]]:
    with create_pipe_input() as keys:
        yield Repl(shown.session, source=keys, screen=DummyOutput()), keys


def typed(text: str, shown: Shown | None = None) -> Shown:
    """A session in which these keys were typed, and then it was left."""
    shown = shown or Shown()
    with typing(shown) as (session, keys):
        keys.send_text(text + CTRL_D)
        assert session.run() == 0
    return shown


def printed(shown: Shown) -> list[str]:
    return shown.stdout.getvalue().splitlines()[3:]


def test_lines_run_where_the_session_is() -> None:
    assert printed(typed("cd a\rpwd\r/c pwd\r..\rpwd\r")) == ["/a", "/c", "/"]


def test_a_session_begins_where_the_last_one_was(home: Path) -> None:
    assert printed(typed("cd a\r")) == []
    assert printed(typed("pwd\rcd /c\rcd <\rcd <\r")) == [
        "/a",
        "Taking you back to /a.",
        "Taking you back to /.",
    ]
    assert printed(typed("pwd\r")) == ["/"]
    (home / "isadmin/places").write_text("/\nno path\n/gone\n")
    assert printed(typed("pwd\r")) == ["/"]
    (home / "isadmin/places").write_text("")
    assert printed(typed("pwd\rcd <\r")) == ["/", "Reached the beginning of the path history."]


def test_exit_leaves() -> None:
    assert printed(typed("exit\rpwd\r")) == []


def test_ctrl_c_clears_the_line() -> None:
    assert printed(typed(f"nosuch{CTRL_C}pwd\r")) == ["/"]


def test_an_error_is_one_line_and_the_session_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(typed("nosuch\rcrash\rpwd\r")) == ["/"]
    assert capsys.readouterr().err == (
        "Command not found nosuch: see the commands here with `help`\ncrash failed: unforeseen\n"
    )


def test_a_line_that_cannot_be_read_gets_a_caret(capsys: pytest.CaptureFixture[str]) -> None:
    typed("create 'x\r")
    assert (
        capsys.readouterr().err == "create 'x\n       ^\nThe quote ' is never closed at column 8: close it\n"
    )


def test_debug_shows_where_an_error_is_from(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Shown()
    with create_pipe_input() as keys:
        keys.send_text(f"crash\r{CTRL_D}")
        Repl(shown.session, debug=True, source=keys, screen=DummyOutput()).run()
    assert "RuntimeError: unforeseen" in capsys.readouterr().err


def test_a_paste_runs_line_by_line_to_the_first_error() -> None:
    shown = typed("\x1b[200~cd a\npwd\n\nnosuch\npwd\npwd\x1b[201~\rpwd\r")
    assert printed(shown) == ["/a", "/a"]
    assert "the 2 lines after this one were not run" in shown.stderr.getvalue()


def test_a_question_mark_asks_for_help() -> None:
    shown = typed("create ?\r/a create x ?\r?\rinfo '?\r/a ?\r")
    assert shown.stdout.getvalue().count("Makes a box.") == 2
    assert "AVAILABLE COMMANDS" in shown.stdout.getvalue()


def test_a_line_of_before_is_suggested() -> None:
    shown = Shown()
    with typing(shown) as (session, keys):
        history = session._prompt.history  # type: ignore[attr-defined]
        history.append_string("/a/b1 pwd")
        suggestion = session._prompt.auto_suggest.get_suggestion(  # type: ignore[attr-defined]
            session._prompt.default_buffer,
            Document("/a/b1 p"),  # type: ignore[attr-defined]
        )
        assert suggestion is not None
        assert suggestion.text == "wd"
        keys.send_text(CTRL_D)
        assert session.run() == 0


def offered(text: str, shown: Shown) -> list[tuple[str, int]]:
    found = repl._TreeCompleter(shown.session).get_completions(Document(text), CompleteEvent())
    return [(one.text, one.start_position) for one in found]


def test_completions_come_from_where_the_session_is() -> None:
    shown = Shown()
    shown.run("cd a")
    assert offered("b1", shown) == [("b1/", -2), ("b10/", -2)]
    assert offered("/a/b10 pw", shown) == [("pwd ", -2)]


def test_history_is_private_and_holds_no_secret(home: Path) -> None:
    typed("set auth password=hidden\rset auth userid=me\rset auth\tpassword='a b\r")
    file = home / "isadmin" / "history"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "userid=me" in file.read_text()
    assert "password" not in file.read_text()
    again = typed(f"{UP}\r")
    assert again.content["=userid"] == "me"


def test_history_that_cannot_be_kept_is_no_error(home: Path) -> None:
    (home / "isadmin").touch()
    assert isinstance(repl._history(), repl._MemoryHistory)
    assert printed(typed("pwd\r")) == ["/"]


def test_leaving_saves_what_changed() -> None:
    assert typed("ls\r", Shown(savefile=Path("/x"))).host.saved == 0
    assert typed("create x\r", Shown(savefile=Path("/x"))).host.saved == 1
    assert typed("create x\r").host.saved == 0


def test_a_failed_save_is_the_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown(savefile=Path("/x"))

    def failing(*, save: bool) -> None:
        assert save
        raise IsadminError("no room")

    monkeypatch.setattr(shown.session, "finish", failing)
    with typing(shown) as (session, keys):
        keys.send_text(CTRL_D)
        assert session.run() == 1


def test_the_bar_says_what_is_unsaved_and_who_is_logged_in() -> None:
    shown = Shown()
    with typing(shown) as (session, _):
        assert session._toolbar() == " given target"
        shown.run("create x")
        assert session._toolbar().endswith("changes not saved")
        for count, told in ((0, "no sessions"), (1, "1 session "), (2, "2 sessions")):
            session._background.sessions = count
            assert f"   {told}" in session._toolbar()


@pytest.mark.parametrize(
    ("keys", "made"),
    [
        ("/c crea\tnew\r", "new"),
        ("/c create d\t\r", "d"),
        ("/c create disk\t1\r", "disk1"),
        ("/c eat\tnew 1M\r", "new"),
        ("/\tc create x\r", "x"),
    ],
)
def test_keys_after_tab_come_after_what_it_inserts(keys: str, made: str) -> None:
    """They are there before the answer is."""
    shown = typed(keys)
    assert set(shown.content["c"]) == {made}


def test_tab_shows_what_there_is_and_goes_through_it() -> None:
    assert printed(typed("/a/b\t\t pwd\r")) == ["/a/b1"]
    assert printed(typed("/a/b\t\t\t pwd\r")) == ["/a/b2"]


def test_tab_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repl, "COMPLETION_PATIENCE", 0.0)
    asked = threading.Event()
    answer = threading.Event()

    def slow(self: object, document: Document, event: CompleteEvent) -> Iterator[Completion]:
        asked.set()
        answer.wait()
        yield Completion("never")

    monkeypatch.setattr(repl._TreeCompleter, "get_completions", slow)
    assert printed(typed("pw\td\r")) == ["/"]
    assert asked.wait(60)
    answer.set()


def test_what_comes_late_is_offered_if_nothing_was_typed_since() -> None:
    with typing(Shown()) as (session, _):
        buffer = Buffer(document=Document("pw"))
        session._offer(buffer, Document("p"), [Completion("pwd", -1)])
        assert buffer.text == "pw"
        session._offer(buffer, buffer.document, [Completion("pwd", -2)])
        assert buffer.text == "pwd"


def styles(line: str, shown: Shown) -> list[tuple[str, ...]]:
    with typing(shown) as (session, _):
        fragments = repl._Colors(session._background).lex_document(Document(line))(0)
    return [fragment[:2] for fragment in fragments]


def test_lines_are_colored_and_errors_marked() -> None:
    assert styles("create x nosuch=1", Shown()) == [
        ("class:command", "create"),
        ("class:blank", " "),
        ("class:value", "x"),
        ("class:blank", " "),
        ("class:key class:wrong", "nosuch="),
        ("class:value", "1"),
    ]


def test_colors_are_the_preferences(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown()
    shown.run("set global color_path=green color_command=default")
    style = repl._style(shown.session)
    assert style.get_attrs_for_style_str("class:path").color == "ansigreen"
    assert style.get_attrs_for_style_str("class:command").color == ""
    assert style.get_attrs_for_style_str("class:path class:wrong").underline
    assert repl._wants_color(shown.session)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not repl._wants_color(shown.session)


def test_interrupting_a_command_keeps_the_session() -> None:
    shown = Shown()
    with typing(shown) as (session, _):

        def interrupted(line: str) -> None:
            raise KeyboardInterrupt

        shown.session.run_line = interrupted  # type: ignore[method-assign]
        session.run_text("pwd")
    assert shown.stderr.getvalue() == "warning: interrupted\n"


def test_completion_that_fails_offers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown()
    monkeypatch.setattr(shown.session, "_make_root", lambda session: None)
    assert offered("pw", shown) == []
