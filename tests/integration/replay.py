"""What targetcli 3.0.2 answered on kernel 6.1 (tests/data/kernel/cli.jsonl), typed again at isadmin.

Texts are compared with the places of this run put back, identifiers that are made up each time masked, and
the dots of trees shortened. What differs on purpose is in the tables below, each with its reason.
"""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isadmin.errors import IsadminError
from isadmin.lio.host import Host
from isadmin.shell.preferences import Preferences
from isadmin.shell.session import Session

RECORDED: list[dict[str, Any]] = [
    json.loads(line)
    for line in Path(__file__).parents[1].joinpath("data/kernel/cli.jsonl").read_text().splitlines()
]


@dataclass
class Answer:
    status: int
    out: str
    err: str


class Replay:
    """One session that is typed the recorded commands, on files and devices of this run."""

    def __init__(self, host: Host, directory: Path, loops: list[Path]) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.session = Session(host, Preferences(), out=self.out, err=self.err, show_secrets=True)
        self.places = {"/run/d": f"{directory}/files", "/vmshare/golden": f"{directory}/saved"}
        for place in self.places.values():
            Path(place).mkdir()
        for number, loop in enumerate(loops):
            self.places[f"/dev/loop{number}"] = f"{directory}/loop{number}"
            (directory / f"loop{number}").symlink_to(loop)
        self.places["/sys/kernel/config/target"] = str(host.path)
        self.places["/etc/target"] = str(host.state)

    def type(self, line: str) -> Answer:
        for recorded, here in self.places.items():
            line = line.replace(recorded, here)
        self.out.truncate(self.out.seek(0))
        self.err.truncate(self.err.seek(0))
        status = 0
        try:
            self.session.run_line(line)
        except IsadminError as error:
            status = error.status
            self.err.write(error.line() + "\n")
        return Answer(status, self._there(self.out.getvalue()), self.err.getvalue())

    def _there(self, text: str) -> str:
        """A text of this run with the recorded places in it."""
        for recorded, here in self.places.items():
            text = text.replace(here, recorded)
        return text


MADE_UP = (
    (re.compile(r"iqn\.2003-01\.org\.linux-iscsi\.[\w.-]+:sn\.[0-9a-f]{12}"), "<iqn>"),
    (re.compile(r"naa\.5001405(?!00000000)[0-9a-f]{9}"), "<naa>"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<serial>"),
    (re.compile(r"(?<=alias: )[0-9a-f]{10}"), "<alias>"),
    (re.compile(r"\.{3,}"), "..."),
)
"""Names, serial numbers and aliases made up each time; dots, whose number follows from the rest's length."""


def masked(text: str) -> str:
    for pattern, mask in MADE_UP:
        text = pattern.sub(mask, text)
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


EXPECTED_EDITS = (
    # A new portal group's default portal is 0.0.0.0, as guides for targetcli say; 3.0 changed it.
    ("(::0), port 3260", "(0.0.0.0), port 3260"),
    ("[::0]:3260", "0.0.0.0:3260"),
    # A fileio of 1000 bytes is refused; the replay makes one of 1024 in its place.
    ("(1000 bytes)", "(1.0KiB)"),
)
GONE = re.compile(
    # pscsi passes through to a SCSI device, which the userspace target does not have: its storage object,
    # LUN and mapped LUN are missing from every tree.
    r"^.*o- p1 .*\n.*o- alua .*\[ALUA Groups: 0\]\n|^.*o- mapped_lun2 .*\n|^.*o- lun2 .*\n",
    re.MULTILINE,
)
COUNTS = (
    (re.compile(r"(o- pscsi .*Storage Objects: )1"), r"\g<1>0"),
    (re.compile(r"(o- luns .*LUNs: )4"), r"\g<1>3"),
    (re.compile(r"(Mapped LUNs: )4"), r"\g<1>3"),
)


def expected(text: str) -> str:
    """A recorded text as it should be here."""
    text = GONE.sub("", text)
    for pattern, count in COUNTS:
        text = pattern.sub(count, text)
    text = masked(text)
    for theirs, ours in EXPECTED_EDITS:
        text = text.replace(theirs, ours)
    return text


HEADING = re.compile(r"^(\S[^\n]*)\n(=+|-+)\n", re.MULTILINE)


def headings(text: str) -> list[str]:
    """The underlined lines of a `get`: NAME=VALUE. What is said of each is isadmin's own wording."""
    return [match.group(1) for match in HEADING.finditer(text)]
