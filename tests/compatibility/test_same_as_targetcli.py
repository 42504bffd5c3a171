"""Hundreds of command lines, typed at Debian's targetcli and at isadmin on the same userspace target: the
same succeed, with the same answers, and the trees and saved configurations afterwards are the same."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from isadmin.errors import IsadminError
from isadmin.shell.preferences import Bookmarks, Preferences
from isadmin.shell.session import Session
from tests.compatibility import normal
from tests.compatibility.same import Answer, Both
from tests.compatibility.scenarios import SCENARIOS
from tests.compatibility.table import ROWS
from tests.integration.devices import LoopDevices
from tests.integration.sandbox import Userspace, system_bus

pytestmark = [
    pytest.mark.integration,
    # rtslib calls pyudev by names that pyudev no longer likes.
    pytest.mark.filterwarnings("ignore:Will be removed in 1.0:DeprecationWarning"),
]

REFUSED = {
    r"ls / -1": "a depth below nothing is a mistake",
    r"ls depth=1 depth=2": "one of two values would be dropped",
    r"set global (prompt_length|tree_max_depth)=(-1|'')": "it is a number of characters, or of levels",
    r"\S+ set parameter 'TargetAlias=LIO Target'": "a quoted word is no NAME=VALUE; targetcli drops it",
    r"\S+ set auth 'userid=with blanks in it'": "a quoted word is no NAME=VALUE; targetcli drops it",
    r"\S+/lun0 set alua alua_tg_pt_gp_name=nosuch": "there is no such group; targetcli sets nothing",
    r"/iscsi set discovery_auth enable=2": "it is 0 or 1",
    r"\S+ untag nosuch": "there is no such ACL; targetcli does nothing",
    r"/(vhost|loopback)/\S+ disable": "it cannot be disabled; targetcli does nothing",
    r"restoreconfig {tmp}(/absent.json)?": "there is no such file; before 3.0 that was no failure",
    r"saveconfig {tmp}/no/such/all.json": "there is no such directory; before 3.0 it was made",
}
"""What succeeds at targetcli and fails here, and why."""

ACCEPTED = {
    r"\S+ saveconfig {tmp}/no/such.json": "one missing directory is made, as `saveconfig` of all does in 3.0",
    r"/(iscsi|loopback|vhost) version": "targetcli fails on every kernel: rtslib has no such attribute",
    r"\S+ enable_iser boolean=no": "other words for false will do",
    r"\S+ enable_offload 0": "other words for false will do",
    r"\S+/tpg1 ls": "targetcli goes on to look at a deleted LUN",
    r"ls # a comment": "comments can end a line",
}
"""What fails at targetcli and succeeds here, and why."""

SAYS = {
    r"\S*\* \S+.*|\S*/\*": "targetcli drops what follows a path that it cannot read",
    r"@\w+/\S+ \w+": "targetcli drops what follows a bookmark",
    r"set global loglevel_console=\w+": "isadmin prints no debug messages",
    r"\S+ set auth userid=['\"].*": "quotes group; targetcli drops the value",
    r"\S+ get auth userid": "see there",
    r"/backstores/ramdisk delete r1": "LUNs that go with it are told",
    r"\S+/alua delete \S+": "deleting is told, as of other objects",
    r"/iscsi/\S+ create \S+": "the portal in the way is named",
    r"/backstores/block/b1 info": "before 3.0 nothing was exclusive",
    r"version": "it tells another program's version",
    r"saveconfig .*": "that nothing has changed is told",
}
"""What succeeds at both and is answered differently, and why."""


@pytest.fixture(scope="module")
def both(module_userspace: Userspace, module_loop_devices: LoopDevices, module_tmp: Path) -> Iterator[Both]:
    with system_bus(module_userspace):
        yield Both(module_userspace, module_tmp, module_loop_devices)


def reason(table: dict[str, str], line: str) -> str | None:
    """The entry of a table that a line falls under."""
    return next((pattern for pattern in table if re.fullmatch(pattern, line)), None)


def same_words(line: str, theirs: Answer, ours: Answer) -> bool:
    names = normal.listed(line, theirs.out), normal.listed(line, ours.out)
    if names[0] is not None and names[1] is not None:
        return names[0] <= names[1]  # isadmin has more preferences
    return normal.answer(line, theirs.out) == normal.answer(line, ours.out)


def departures(both: Both, scenario: str) -> Iterator[tuple[dict[str, str], str, Answer, Answer]]:
    """(table that must explain it, line as in the scenario, targetcli's answer, isadmin's)."""
    answers = zip(
        SCENARIOS[scenario], both.theirs[scenario].answers, both.ours[scenario].answers, strict=True
    )
    for line, theirs, ours in answers:
        if (theirs.error is None) != (ours.error is None):
            yield (REFUSED if ours.error else ACCEPTED), line, theirs, ours
        elif theirs.error is None and not same_words(line, theirs, ours):
            yield SAYS, line, theirs, ours


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_same(scenario: str, both: Both) -> None:
    for table, line, *answers in departures(both, scenario):
        assert reason(table, line), (line, answers)
    theirs, ours = both.theirs[scenario], both.ours[scenario]
    assert normal.tree(ours.tree) == normal.tree(theirs.tree)
    assert normal.saved(ours.saved) == normal.saved(theirs.saved)


def test_every_stated_difference_is_one(both: Both) -> None:
    found = {
        reason(table, line) for scenario in SCENARIOS for table, line, _, _ in departures(both, scenario)
    }
    assert {*REFUSED, *ACCEPTED, *SAYS} <= found


def test_a_refusal_is_one_line_and_leaves_no_answer(both: Both) -> None:
    refusals = [one for told in both.ours.values() for one in told.answers if one.error is not None]
    assert len(refusals) > 100
    for one in refusals:
        assert one.error
        assert "\n" not in one.error
        assert all(line.startswith("warning: ") for line in one.out.splitlines()), one


def test_not_exclusive(both: Both) -> None:
    """New in 3.0, for kernels newer than the one that the userspace target is like."""
    session = Session(both.host, Preferences(), Bookmarks(), out=io.StringIO())
    with pytest.raises(IsadminError, match="exclusive=false not supported"):
        session.run_line(f"/backstores/block create b {both.places['{loop}']} exclusive=false")
    assert not list(both.host.path.glob("core/*/b"))


def test_scenarios_try_what_the_table_says(both: Both) -> None:
    for row in ROWS:
        scenario = re.search(r"test_same\[(.*)\]", row.test)
        if scenario is None or row.kind not in ("command", "group"):
            continue
        told = both.ours[scenario[1]]
        if row.kind == "group":
            assert (row.kind_here, row.name, row.detail.split()[0]) in told.groups, row
        elif row.node == "UINode":
            tried = {(command, parameter) for _, command, parameter in told.uses}
            assert (row.name, row.argument[0].lstrip("*")) in tried, row
        else:
            assert (row.kind_here, row.name, row.argument[0]) in told.uses, row
