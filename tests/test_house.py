"""The house keeps its shape: imports point one way, heavy libraries stay where used, no stray files."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "isadmin"
MODULES = sorted(PACKAGE.rglob("*.py"))

MAY_IMPORT = {
    "isadmin.errors": set(),
    "isadmin.cli": {
        "isadmin",
        "isadmin.shell",
        "isadmin.config",
        "isadmin.lio",
        "isadmin.errors",
        "isadmin.userspace",
    },
    "isadmin.__main__": {"isadmin.cli"},
    "isadmin.shell": {
        "isadmin",
        "isadmin.shell",
        "isadmin.config",
        "isadmin.lio",
        "isadmin.errors",
        "isadmin.userspace.control",
    },
    "isadmin.config": {"isadmin.config", "isadmin.errors"},
    "isadmin.lio": {
        "isadmin.lio",
        "isadmin.config.model",
        "isadmin.config.changes",
        "isadmin.config.order",
        "isadmin.config.document",
        "isadmin.config.parts",
        "isadmin.errors",
        "isadmin.userspace.control",
    },
    "isadmin.docs": {
        "isadmin",
        "isadmin.docs",
        "isadmin.shell",
        "isadmin.lio",
        "isadmin.config",
        "isadmin.errors",
        "isadmin.cli",
        "isadmin.userspace.command",
        "isadmin.userspace.control",
    },
    "isadmin.userspace.iscsi": {"isadmin.userspace.iscsi"},
    "isadmin.userspace.scsi": {
        "isadmin.userspace.scsi",
        "isadmin.userspace.storage",
        "isadmin.userspace.model",
        "isadmin.userspace.engine",
    },
    "isadmin.userspace.storage": {"isadmin.userspace.storage", "isadmin.userspace.model"},
    "isadmin.userspace.configfs": {
        "isadmin.userspace.configfs",
        "isadmin.userspace.model",
        "isadmin.userspace.engine",
        "isadmin.errors",
    },
    "isadmin.userspace": {"isadmin", "isadmin.userspace", "isadmin.errors"},
    "isadmin.light": set(),
    "isadmin": set(),
}
"""Package -> what its modules may import from the project; the most specific package rules."""
EVERYWHERE = "isadmin.light"
"""It imports nothing of the project."""

ONLY_IN = {
    "prompt_toolkit": {"isadmin.shell.repl"},
    "rtslib": {"isadmin.lio"},
    "rtslib_fb": set(),
    "mfusepy": {"isadmin.userspace.configfs.fuse"},
    "configshell": {"isadmin.shell"},
    "configshell_fb": set(),
}
SANS_IO = {"asyncio", "socket", "os", "select", "threading", "subprocess", "selectors"}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def imports_of(path: Path) -> set[str]:
    """Every module imported anywhere in the file, `from x import y` counted as x.y when y is a module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            for alias in node.names:
                deeper = ROOT.joinpath(*node.module.split("."), alias.name)
                is_module = deeper.with_suffix(".py").exists() or deeper.is_dir()
                found.add(f"{node.module}.{alias.name}" if is_module else node.module)
    return found


def allowed(importer: str, imported: str) -> bool:
    rule = max((p for p in MAY_IMPORT if within(importer, p)), key=len)
    if imported == EVERYWHERE:
        return not any(within(importer, f"isadmin.userspace.{core}") for core in ("iscsi", "scsi"))
    return any(imported == ok or (ok != "isadmin" and within(imported, ok)) for ok in MAY_IMPORT[rule])


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    importer = name_of(path)
    wrong = {i for i in imports_of(path) if within(i, "isadmin") and not allowed(importer, i)}
    assert not wrong


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_libraries_stay_in_their_rooms(path: Path) -> None:
    importer = name_of(path)
    for imported in imports_of(path):
        rooms = ONLY_IN.get(imported.split(".")[0])
        if rooms is not None:
            assert any(within(importer, room) for room in rooms), f"{importer} imports {imported}"


def test_protocol_cores_do_no_io() -> None:
    for path in MODULES:
        if any(within(name_of(path), f"isadmin.userspace.{core}") for core in ("iscsi", "scsi")):
            assert not SANS_IO & {i.split(".")[0] for i in imports_of(path)}, path


def test_heavy_libraries_are_not_imported_to_say_the_version() -> None:
    code = (
        "import sys\nsys.argv = ['isadmin', '--version']\nfrom isadmin.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'rtslib', 'configshell', 'prompt_toolkit', 'mfusepy', 'asyncio', 'pyudev'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_top_level_holds_only_what_belongs_there() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\n")
    top = {line.split("/")[0] for line in listed if line and not line.startswith(".")}
    expected = {
        "pyproject.toml",
        "isadmin",
        "tests",
        "completions",
        "man",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
    }
    assert top <= expected
