"""Real shells in which isadmin's completion scripts are loaded, and what TAB makes of a line there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pexpect

ROOT = Path(__file__).resolve().parents[2]
COMPLETIONS = ROOT / "completions"
PROMPT = "READY> "
SHOW = "show() { printf '<%s>' \"$@\"; echo ' END'; }"
"""Prints the words it is given."""
SETUP = {
    "bash": [
        "bind 'set show-all-if-ambiguous on' 'set completion-query-items 0' 'set page-completions off'",
        "bind 'set enable-bracketed-paste off'",
        "set +o history",
        f"source {COMPLETIONS}/isadmin.bash",
        SHOW,
    ],
    "zsh": [
        f"fpath=({COMPLETIONS} $fpath)",
        "autoload -Uz compinit; compinit -u -D",
        "unset zle_bracketed_paste; LISTMAX=0; bindkey -e",
        "setopt no_beep no_prompt_cr no_prompt_sp no_auto_remove_slash",
        SHOW,
    ],
}
START = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"]}


def environment(directory: Path) -> dict[str, str]:
    """One in which `isadmin` is this one, and nothing of the user's is found."""
    script = directory / "bin" / "isadmin"
    script.parent.mkdir(exist_ok=True)
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m isadmin "$@"\n')
    script.chmod(0o755)
    return os.environ | {
        "PATH": f"{script.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(directory),
        "XDG_CONFIG_HOME": str(directory / "config"),
        "XDG_DATA_HOME": str(directory / "data"),
        "ISADMIN_RUNTIME_DIR": str(directory / "run"),
        "TERM": "vt100",
        "PS1": PROMPT,
        "LC_ALL": "C.UTF-8",
    }


class Terminal:
    """Bash or zsh under a pseudo-terminal."""

    def __init__(self, name: str, directory: Path) -> None:
        self.process = pexpect.spawn(
            name,
            START[name],
            env=environment(directory),
            cwd=str(directory),
            encoding="utf-8",
            dimensions=(100, 250),
            timeout=60,
        )
        self.process.expect_exact(PROMPT)
        for line in SETUP[name]:
            self.process.sendline(line)
            self.process.expect_exact(PROMPT)

    def close(self) -> None:
        self.process.close(force=True)

    def completed(self, typed: str) -> list[str]:
        """The words after `isadmin` that TAB makes of what is typed."""
        # The line is shown, not run: at its beginning a word is put that makes it another command's.
        self.process.send(f"isadmin {typed}\t\x01show \x05\r")
        self.process.expect(r"<isadmin>(.*?) END")
        assert self.process.match
        words = re.findall(r"<(.*?)>", self.process.match[1])
        self.process.expect_exact(PROMPT)
        return words

    def listed(self, typed: str) -> str:
        """What the terminal shows after TAB, as far as it lists several candidates."""
        self.process.send(f"isadmin {typed}\t\x01show \x05\r")
        self.process.expect(r"<isadmin>(.*?) END")
        assert isinstance(self.process.before, str)
        listing = self.process.before
        self.process.expect_exact(PROMPT)
        return listing


def fish(directory: Path, typed: str) -> dict[str, str]:
    """The words that fish offers for the last one of a line, and what it says of each."""
    line = f"isadmin {typed}".replace("\\", "\\\\").replace("'", "\\'")
    script = f"source {COMPLETIONS}/isadmin.fish; complete -C '{line}'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        env=environment(directory),
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return dict(line.partition("\t")[::2] for line in done.stdout.splitlines())
