"""What shells are told when they ask for completions: pure, and on a target of plain directories."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isadmin import cli
from isadmin.lio import host
from isadmin.shell import complete
from isadmin.userspace import control

BREAKS = " \t\n\"'@><=;|&(:"
IQN = "iqn.2003-01.org.test:t1"
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def target(tmp_path: Path) -> str:
    """The directories of a target with one portal group, as far as completion looks at them."""
    top = tmp_path / "target"
    for directory in (
        "core/fileio_0/disk one",
        "core/rd_mcp_0/ram",
        f"iscsi/{IQN}/tpgt_1/lun/lun_0",
        f"iscsi/{IQN}/tpgt_1/acls",
        f"iscsi/{IQN}/tpgt_1/np",
        f"iscsi/{IQN}/tpgt_1/attrib",
    ):
        (top / directory).mkdir(parents=True)
    return str(top)


def ask(capsys: Captured, shell: str, *words: str) -> list[str]:
    breaks = (BREAKS,) if shell == "bash" else ()
    assert cli.main(["--complete", shell, *breaks, *words]) == 0
    found = capsys.readouterr()
    assert found.err == ""
    return found.out.splitlines()


def test_paths(target: str, capsys: Captured) -> None:
    here = ("--configfs", target)
    assert ask(capsys, "fish", *here, "/isc") == ["/iscsi/\tTargets: 1"]
    assert ask(capsys, "fish", *here, "/iscsi/")[0].startswith(f"/iscsi/{IQN}/\t")
    assert [line.split("\t")[0] for line in ask(capsys, "zsh", *here, "/backstores/")] == [
        f"/backstores/{plugin}/" for plugin in ("block", "fileio", "pscsi", "ramdisk")
    ]


def test_commands_and_parameters(target: str, capsys: Captured) -> None:
    here = ("--configfs", target)
    assert "create\tExports a storage object as a LUN of this portal group." in ask(
        capsys, "fish", *here, f"/iscsi/{IQN}/tpg1/luns", ""
    )
    create = (*here, "/backstores/fileio", "create")
    assert ask(capsys, "fish", *create, "x", "/f", "write_") == ["write_back=\t"]
    assert ask(capsys, "fish", *create, "write_back=t") == ["write_back=true\t"]
    assert "auth\t" not in ask(capsys, "fish", *here, "/", "get", "")
    assert ask(capsys, "fish", *here, "/iscsi", "set", "discovery_auth", "mutual_user")[0].startswith(
        "mutual_userid=\t"
    )


def test_bash_gets_the_part_after_the_last_break(target: str, capsys: Captured) -> None:
    here = ("--configfs", target)
    assert ask(capsys, "bash", *here, f"/iscsi/{IQN[:-1]}") == ["t1/"]
    assert ask(capsys, "bash", *here, "/iscsi/iqn") == [f"/iscsi/{IQN}/"]
    assert ask(capsys, "bash", *here, "/backstores/fileio", "create", "sparse=f") == ["false "]
    assert ask(capsys, "bash", *here, f"'/iscsi/{IQN[:-1]}") == [f"/iscsi/{IQN}/"]


def test_bash_keeps_words_whole_if_the_user_took_the_breaks_away(target: str, capsys: Captured) -> None:
    typed = ["--complete", "bash", " \t\n", "--configfs", target, f"/iscsi/{IQN[:-1]}"]
    assert cli.main(typed) == 0
    assert capsys.readouterr().out == f"/iscsi/{IQN}/\n"


def test_blanks_in_names_are_escaped_for_bash_only(target: str, capsys: Captured) -> None:
    here = ("--configfs", target)
    assert ask(capsys, "fish", *here, "/backstores/fileio", "delete", "disk") == ["disk one\t"]
    assert ask(capsys, "bash", *here, "/backstores/fileio", "delete", "disk") == ["disk\\ one "]
    assert ask(capsys, "bash", *here, "/backstores/fileio", "delete", "disk\\ o") == ["disk\\ one "]
    assert ask(capsys, "bash", *here, "/backstores/fileio", "delete", "'disk o") == ["disk one"]


def test_without_a_target_there_are_still_commands(tmp_path: Path, capsys: Captured) -> None:
    found = ask(capsys, "fish", "--configfs", str(tmp_path), "sa")
    assert found == [
        "saveconfig\tSaves the configuration to a file, from which `restoreconfig` makes it again."
    ]
    assert ask(capsys, "fish", "--configfs", str(tmp_path), "/iscsi/") == []


def test_asking_starts_nothing(monkeypatch: pytest.MonkeyPatch, capsys: Captured, tmp_path: Path) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError

    for module, name in ((host, "choose"), (host, "_load_kernel_target"), (control, "ensure_started")):
        monkeypatch.setattr(module, name, never)
    monkeypatch.setattr(subprocess, "Popen", never)
    monkeypatch.setenv("ISADMIN_RUNTIME_DIR", str(tmp_path / "run"))
    ask(capsys, "zsh", "--userspace", "/")
    assert not (tmp_path / "run").exists()


def test_asking_imports_only_what_it_needs(target: str) -> None:
    code = (
        "import sys\nfrom isadmin.cli import main\n"
        f"assert main(['--complete', 'fish', '--configfs', {target!r}, '/iscsi/']) == 0\n"
        "heavy = {'rtslib', 'configshell', 'prompt_toolkit', 'mfusepy', 'asyncio', 'argparse'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert IQN in done.stdout


def test_the_mode_is_the_scripts_own_affair() -> None:
    assert "--complete" not in cli.help_text()


@pytest.mark.parametrize("words", [["--nonsense", ""], ["--configfs"], ["nosuch", "x", ""], ["a=b", ""], []])
def test_a_line_that_makes_no_sense_has_no_completion(words: list[str], capsys: Captured) -> None:
    ask(capsys, "fish", *words)


def test_an_unknown_shell_is_an_error(capsys: Captured) -> None:
    assert cli.main(["--complete", "csh", "x"]) == 2
    assert "bash, zsh, fish" in capsys.readouterr().err


@given(st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"])))
def test_what_is_escaped_is_one_word_of_that_value(text: str) -> None:
    assert complete.unquoted(complete.escaped(text)) == (text, "")
    if text:
        assert shlex.split(complete.escaped(text)) == [text]


@given(st.text("ab'\"\\ $"))
def test_unquoting_agrees_with_the_shell_where_the_word_is_finished(word: str) -> None:
    text, quote = complete.unquoted(word)
    try:
        whole = shlex.split(word)
    except ValueError:
        return
    assert quote == ""
    if len(whole) == 1 and " " not in word and "$" not in word:
        assert text == whole[0]
