"""The manual: it is what the tables say now, it is sound, and nothing is missing from it."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from isadmin import cli, errors
from isadmin.config import document, shape
from isadmin.docs import documents, mdoc, pages, saveconfig, tables
from isadmin.docs.__main__ import main
from isadmin.lio.attributes import TABLES
from isadmin.shell import nodes, preferences
from isadmin.shell.node import Node
from isadmin.userspace import command

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = documents()
VARIABLE = re.compile(r"^(?:ISADMIN_\w+|XDG_\w+|NO_COLOR|PAGER|NOTIFY_SOCKET|JOURNAL_STREAM|TERM)$")
MANUAL = {name.removeprefix("man/") for name in DOCUMENTS if name.startswith("man/")}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_is_kept_is_what_the_tables_say(name: str) -> None:
    assert (ROOT / name).read_text() == DOCUMENTS[name], "run python -m isadmin.docs"


def test_nothing_else_is_kept_beside_it() -> None:
    kept = {f"{top}/{file.name}" for top in ("man", "completions") for file in (ROOT / top).iterdir()}
    assert kept == set(DOCUMENTS)


def test_the_generator_writes_only_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(tmp_path)
    assert len(capsys.readouterr().out.splitlines()) == len(DOCUMENTS)
    (tmp_path / "man" / "isadmin.8").write_text("old")
    main(tmp_path)
    assert capsys.readouterr().out == f"{tmp_path}/man/isadmin.8\n"
    assert (tmp_path / "man/isadmin.8").read_text() == DOCUMENTS["man/isadmin.8"]


@pytest.mark.parametrize("name", sorted(MANUAL))
def test_lint(name: str) -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", ROOT / "man" / name], capture_output=True, text=True, check=False
    )
    found = []
    for line in done.stdout.splitlines():
        missing = re.search(r"referenced manual not found: Xr (\S+) (\d)", line)
        if not missing or f"{missing[1]}.{missing[2]}" not in MANUAL:
            found.append(line)
    assert found == []


def rendered(page: mdoc.Page, directory: Path) -> str:
    """What a reader sees, without the line breaks and the dressing."""
    file = directory / page.file
    file.write_text(str(page))
    shown = subprocess.run(
        ["mandoc", "-T", "utf8", "-O", "width=1000", file], capture_output=True, text=True, check=True
    ).stdout
    return re.sub(r"\s+", " ", re.sub(r".\x08", "", shown))


@pytest.mark.parametrize(
    "text",
    [
        "a backslash \\ and \\e, \\fB no bold",
        ".Sh no section",
        "'quoted' at the start",
        'he said "so"',
        "~user ^x - -- --option `literal` $HOME",
        "Sh Pp Op as words",
        "First. Second! Third? (Fourth.) .hidden",
    ],
)
def test_text_reads_as_it_was_written(text: str, tmp_path: Path) -> None:
    page = mdoc.Page("x", 8, "y")
    page.heading("DESCRIPTION")
    page.paragraph(text)
    assert text.replace("`", "") in rendered(page, tmp_path)


def kinds() -> set[type[Node]]:
    """Every kind of place that there can be."""
    found = set()
    for module in pkgutil.iter_modules(nodes.__path__):
        loaded = importlib.import_module(f"isadmin.shell.nodes.{module.name}")
        found |= {
            value
            for value in vars(loaded).values()
            if inspect.isclass(value) and issubclass(value, Node) and value.__module__ == loaded.__name__
        }
    return {kind for kind in found if "make_children" in vars(kind) or not kind.__subclasses__()}


def test_every_kind_of_place_is_listed() -> None:
    listed = {kind for _, kind in tables.PLACES} | tables.UNLISTED
    assert {kind.__name__ for kind in kinds() - listed} == set()


@pytest.mark.parametrize(("path", "kind"), tables.PLACES, ids=[path for path, _ in tables.PLACES])
def test_every_command_is_explained(path: str, kind: type[Node], tmp_path: Path) -> None:
    shown = rendered(pages.shell(), tmp_path)
    for one in tables.commands_at(kind):
        assert one.text, f"{path} {one.name} has no help"
        assert re.sub(r"\s+", " ", one.meaning).replace("`", "") in shown
        given = {parameter.name for parameter in one.parameters}
        for section in one.sections:
            if section.title == "PARAMETERS":
                assert {part.title for part in section.parts} <= given, f"{path} {one.name}"


def test_every_option_attribute_and_preference_is_there() -> None:
    page = DOCUMENTS["man/isadmin.8"]
    for option in cli.OPTIONS:
        for name in option.names:
            assert f"Fl {name[1:]}" in page
    for table in TABLES.values():
        for name in table:
            assert f".It Cm {name}\n" in page
    for name in preferences.TABLE:
        assert f".It Cm {name} " in DOCUMENTS["man/isadmin.conf.5"]


def exception_classes() -> list[type[errors.IsadminError]]:
    return [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, errors.IsadminError)
    ]


def test_exit_statuses_are_unique_and_all_listed() -> None:
    listed = [status.number for status in tables.statuses()]
    assert len(set(listed)) == len(listed)
    assert {kind.status for kind in exception_classes()} < set(listed)
    drawn = dict(re.findall(r"^ +(\w+Error) +(\d+)  ", errors.__doc__ or "", re.MULTILINE))
    assert drawn == {kind.__name__: str(kind.status) for kind in exception_classes()}
    page = DOCUMENTS["man/isadmin.8"].partition(".Sh EXIT STATUS")[2].partition(".Sh ")[0]
    assert re.findall(r"^\.It (\d+)$", page, re.MULTILINE) == [str(number) for number in listed]


def test_help_and_readme_list_the_same_statuses() -> None:
    # From 128 on they are those of every program that a signal ends.
    wanted = {status.number for status in tables.statuses() if status.number < 128}
    readme = (ROOT / "README.md").read_text().partition("## Exit statuses")[2].partition("\n## ")[0]
    assert {int(number) for number in re.findall(r"^\| (\d+) \|", readme, re.MULTILINE)} == wanted
    said = cli.help_text().partition("exit status: ")[2]
    assert {int(number) for number in re.findall(r"(?:^|, |,\n)(\d+) ", said)} == wanted


def test_statuses_of_the_userspace_target_are_those_of_the_errors() -> None:
    listed = {int(number) for number in re.findall(r"^ {2}(\d+)  ", command.EPILOG, re.MULTILINE)}
    assert listed - {0} <= {kind.status for kind in exception_classes()}


def test_every_environment_variable_is_listed() -> None:
    used = set()
    for file in (ROOT / "isadmin").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                used |= set(VARIABLE.findall(node.value))
    # Between a daemon and who starts it.
    used.discard(command.REPORT_FD)
    assert used == set(pages.ENVIRONMENT) | set(pages.DAEMON_ENVIRONMENT)


def test_every_key_of_a_saved_configuration_has_a_meaning() -> None:
    assert {name: set(keys) for name, keys in saveconfig.MEANINGS.items()} == {
        name: set(rules) for name, rules in shape.RULES.items()
    }


def test_the_example_of_a_saved_configuration_is_one() -> None:
    found = document.parse(saveconfig.EXAMPLE.encode(), "the example")
    assert document.render(found) == saveconfig.EXAMPLE
    assert json.loads(saveconfig.EXAMPLE)["targets"]


def test_all_of_it_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    installed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert set(installed) == set(DOCUMENTS)
    for name, place in installed.items():
        if name.startswith("man/"):
            assert place == f"share/man/man{name[-1]}/{name.removeprefix('man/')}"
