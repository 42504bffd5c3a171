"""Types lines at targetcli and tells what it answered. Run by the Python that has targetcli, where the target
is what targetcli takes for the kernel's.

    targetcli_driver.py classes             standard output: {class: {command: [[argument, default], ...]}}
    targetcli_driver.py run IN OUT          IN: {tmp: directory to empty, scenarios: {name: [line, ...]}}
                                            OUT: {name: {answers, tree, saved}}
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import io
import json
import os
import shutil
import sys
import tempfile
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

CONFIGFS = "/sys/kernel/config/target"
LIVE = {"statistics", "fabric_statistics"}


class Screen(io.StringIO):
    """Where targetcli prints: taken away line by line."""

    def take(self) -> str:
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text


def shell_class() -> Any:
    """targetcli's shell: in a module in 3.0, in the program itself before."""
    try:
        return importlib.import_module("targetcli.targetcli_shell").TargetCLI
    except ImportError:
        loader = SourceFileLoader("targetcli_program", "/usr/bin/targetcli")
        spec = importlib.util.spec_from_loader("targetcli_program", loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
        return module.TargetCLI


def tree() -> dict[str, str]:
    """As tests/integration/walk.py reads it."""
    found = {}
    for directory, names, files in os.walk(CONFIGFS):
        names[:] = sorted(set(names) - LIVE)
        for name in names:
            path = Path(directory, name)
            found[str(path.relative_to(CONFIGFS))] = str(path.readlink()) if path.is_symlink() else ""
        for name in files:
            path = Path(directory, name)
            try:
                found[str(path.relative_to(CONFIGFS))] = path.read_text()
            except OSError as error:
                found[str(path.relative_to(CONFIGFS))] = f"errno {error.errno}"
    return found


def answers(lines: list[str], screen: Screen) -> dict[str, Any]:
    """What one session says to these lines, and the target after them, which is then cleared."""
    ui_root = importlib.import_module("targetcli.ui_root")
    kind = shell_class()
    shell = kind(tempfile.mkdtemp())
    # All its shells share one set of preferences.
    fresh = {
        "bookmarks": {},
        "loglevel_file": "debug",
        "logfile": f"{tempfile.mkdtemp()}/log",
        "path_history": ["/"],
        "path_history_index": 0,
    }
    for name, value in {**kind.default_prefs, **fresh, "color_mode": False}.items():
        shell.prefs[name] = value
    root = ui_root.UIRoot(shell, as_root=True)
    root.refresh()
    given = []
    screen.take()
    for line in lines:
        error = None
        try:
            shell.run_cmdline(line)
        except Exception as raised:  # noqa: BLE001 - whatever ends a one-shot targetcli
            error = f"{type(raised).__name__}: {raised}"
        given.append({"line": line, "out": screen.take(), "error": error})
    result = {"answers": given, "tree": tree(), "saved": root.rtsroot.dump()}
    root.rtsroot.clear_existing(confirm=True)
    screen.take()
    return result


def classes() -> dict[str, dict[str, list[list[str | None]]]]:
    """Every class of node that commands are typed at, and its commands."""
    for module in ("ui_root", "ui_backstore", "ui_target"):
        importlib.import_module(f"targetcli.{module}")
    base = importlib.import_module("targetcli.ui_node").UINode

    def below(kind: type) -> list[type]:
        subclasses: list[type] = kind.__subclasses__()
        return [kind] + [one for subclass in subclasses for one in below(subclass)]

    return {
        kind.__name__: {
            name.removeprefix("ui_command_"): [
                [str(p).partition("=")[0], None if p.default is p.empty else str(p.default)]
                for p in list(inspect.signature(method).parameters.values())[1:]
            ]
            for name, method in inspect.getmembers(kind, callable)
            if name.startswith("ui_command_")
        }
        for kind in below(base)
    }


def main(arguments: list[str]) -> None:
    if arguments[0] == "classes":
        json.dump(classes(), sys.stdout)
        return
    screen = Screen()
    sys.stdout = sys.stderr = screen
    given = json.loads(Path(arguments[1]).read_text())
    told = {}
    for name, lines in given["scenarios"].items():
        shutil.rmtree(given["tmp"], ignore_errors=True)
        Path(given["tmp"]).mkdir()
        told[name] = answers(lines, screen)
    Path(arguments[2]).write_text(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1:])
