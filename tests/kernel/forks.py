"""isadmin's command line in processes that need not start Python anew.

Under software emulation starting the interpreter and importing takes most of a command's time. One process
imports what isadmin imports and forks for each command; everything else is as in a process of its own.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path

import isadmin

OTHERS = ("gzip", "json", "rtslib", "rtslib.root", "rtslib.fabric", "rtslib.alua")
"""What isadmin imports only where it needs it, besides its own modules."""
NOT_IMPORTED = ("isadmin.__main__", "isadmin.docs", "isadmin.shell.repl", "isadmin.userspace.")
DAEMON = "isadmin.userspace.daemon"
"""Imported once one is started."""


def warm() -> None:
    """Import what commands import: nearly all of the time that one takes under software emulation."""
    for module in pkgutil.walk_packages(isadmin.__path__, "isadmin."):
        if not module.name.startswith(NOT_IMPORTED):
            importlib.import_module(module.name)
    for name in (*OTHERS, "isadmin.userspace.command"):
        importlib.import_module(name)


class Forks:
    """Runs isadmin's command lines one at a time. Call close() at the end."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kernel.forks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self, arguments: list[str], env: Mapping[str, str], typed: str | None
    ) -> subprocess.CompletedProcess[str]:
        """Run `isadmin ARGUMENTS` with `typed` as its standard input."""
        assert self._process.stdin
        assert self._process.stdout
        with tempfile.TemporaryDirectory() as directory:
            paths = [Path(directory, name) for name in ("in", "out", "err")]
            paths[0].write_text(typed or "")
            request = {"argv": arguments, "env": dict(env), "files": [str(path) for path in paths]}
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
            assert answer, "the process that forks is gone"
            out, err = (path.read_text() for path in paths[1:])
        return subprocess.CompletedProcess(["isadmin", *arguments], int(answer), out, err)

    def start_daemon(self, env: Mapping[str, str]) -> None:
        """Run `isadmin userspace start --foreground` beside what else is run, and do not wait for it."""
        assert self._process.stdin
        assert self._process.stdout
        request = {
            "argv": ["userspace", "start", "--foreground"],
            "env": dict(env),
            "files": [os.devnull] * 3,
        }
        self._process.stdin.write(json.dumps(request | {"background": True}) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline(), "the process that forks is gone"

    def close(self) -> None:
        self._process.communicate()


def become(request: Mapping[str, object], main: object) -> int:
    """In the child: be `isadmin ARGV`. Its exit status."""
    assert callable(main)
    files, argv, env = request["files"], request["argv"], request["env"]
    assert isinstance(files, list)
    assert isinstance(argv, list)
    assert isinstance(env, dict)
    os.environ.clear()
    os.environ.update(env)
    for number, path in enumerate(files):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND
        os.dup2(os.open(path, flags, 0o600), number)
    sys.stdin, sys.stdout = open(0), open(1, "w")  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1)  # noqa: SIM115
    sys.argv = ["isadmin", *argv]
    try:
        return int(main())
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _serve() -> None:
    warm()
    from isadmin.cli import main

    for line in sys.stdin:
        request = json.loads(line)
        background = request.get("background", False)
        if background:
            importlib.import_module(DAEMON)
        pid = os.fork()
        if pid == 0:
            if background:
                os.setsid()
            os._exit(become(request, main))
        print(0 if background else os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    _serve()
