"""Every command line recorded of targetcli 3.0.2 gives the same answer, or differs for a stated reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.devices import LoopDevices
from tests.integration.replay import GONE, RECORDED, Answer, Replay, expected, headings, masked
from tests.integration.sandbox import Userspace

# rtslib calls pyudev by names that pyudev no longer likes.
pytestmark = pytest.mark.filterwarnings("ignore:Will be removed in 1.0:DeprecationWarning")

T1 = "/iscsi/iqn.2003-01.org.test:t1"
I1 = f"{T1}/tpg1/acls/iqn.2003-01.org.test:i1"

INSTEAD = {
    "/backstores/fileio create f4 /run/d/f4.img 1000": "/backstores/fileio create f4 /run/d/f4.img 1024",
    "/backstores/ramdisk create r3 0": "/backstores/ramdisk create r3 4k",
}
"""Typed after a command that isadmin refuses on purpose, so that the rest has its objects."""

REFUSED = {
    "/backstores/fileio create f4 /run/d/f4.img 1000": "1000 bytes are no whole number of blocks",
    "/backstores/ramdisk create r3 0": "a disk of no bytes is a mistake",
    "/backstores/pscsi create p1 /dev/sda": "the userspace target has no SCSI devices to pass through to",
    f"{T1}/tpg1/luns create /backstores/pscsi/p1": "see above",
}
"""Commands that succeed there and fail here, and why."""

ACCEPTED = {
    "help": "targetcli's command line takes it for an option",
    "restoreconfig /vmshare/golden/saveconfig-rich.json": "restoring what is there already is no error",
    "restoreconfig /vmshare/golden/saveconfig-rich.json clear_existing=true": "there, a restore fails on "
    "optimal_sectors after block_size=4096",
}
"""Commands that fail there and succeed here, and why; their output is isadmin's own."""

SAYS = {
    "version": "isadmin version",
    f"{T1} create 2": "Created TPG 2.\n"
    "Default portal not created: 0.0.0.0:3260 in tpg1 of iqn.2003-01.org.test:t1 is in its way.",
    f"{T1}/tpg1/portals delete ::0 3260": "Deleted network portal 0.0.0.0:3260 "
    "(the default portal; there was no ::0:3260)",
    f"{T1}/tpg1/acls create iqn.2003-01.org.test:i1": "Created Node ACL for iqn.2003-01.org.test:i1\n"
    "Created mapped LUN 0.\nCreated mapped LUN 1.\nCreated mapped LUN 7.",
    "/iscsi set discovery_auth enable=1 userid=du password=dpw": "Parameter enable is now 'True'.\n"
    "Parameter userid is now 'du'.\nParameter password is now set.",
    f"{T1}/tpg1 set auth userid=tu password=tpw": (
        "Parameter userid is now 'tu'.\nParameter password is now set."
    ),
    f"{I1} set auth userid=u password=secretsecret1 mutual_userid=mu mutual_password=msecretsecret1": (
        "Parameter userid is now 'u'.\nParameter password is now set.\n"
        "Parameter mutual_userid is now 'mu'.\nParameter mutual_password is now set."
    ),
    "/backstores/fileio delete f1": (
        "Deleted LUN 0 of iqn.2003-01.org.test:t1 tpg1.\nDeleted storage object f1."
    ),
}
"""Successful commands that say something else: `set` shows no secret, LUNs come in order, what is deleted
with something else is told, and a portal that conflicts is named."""

OWN_WORDS = {"get", "help"}
"""What attributes mean and how commands are used is told in isadmin's words: the headings are compared."""


@pytest.fixture(scope="module")
def answers(
    module_userspace: Userspace, module_loop_devices: LoopDevices, module_tmp: Path
) -> Iterator[list[Answer]]:
    loops = [module_loop_devices.make(16 << 20) for _ in range(3)]
    host = module_userspace.host
    replay = Replay(host, module_tmp, loops)
    given = []
    for record in RECORDED:
        line = record["cmd"]
        if line.startswith("! "):
            given.append(Answer(0, record["stdout"], ""))  # the recording's own bookkeeping
            continue
        given.append(replay.type(line))
        if line in INSTEAD:
            assert replay.type(INSTEAD[line]).status == 0
    return given


CASES = [n for n, record in enumerate(RECORDED) if not record["cmd"].startswith("! ")]
AFTER_HOLLOW_RESTORE = 150
"""The tree after `restoreconfig target=...` without its storage objects: there a hollow target, here none."""


@pytest.mark.parametrize("number", CASES, ids=lambda n: f"{n}-{RECORDED[n]['cmd'][:50]}")
def test_same_answer(number: int, answers: list[Answer]) -> None:
    record, answer = RECORDED[number], answers[number]
    line = record["cmd"]
    if line in REFUSED:
        assert answer.status != 0
        assert answer.out == ""
    elif line in ACCEPTED:
        assert answer.status == 0
        if record["rc"] and not record["stdout"]:
            return
    else:
        assert (answer.status == 0) == (record["rc"] == 0), answer.err
    if answer.status:
        # What was refused says nothing but the error, in one line.
        assert answer.out == ""
        *warnings, _ = answer.err.splitlines()
        assert all(warning.startswith("warning: ") for warning in warnings)
        return
    if line == "version":
        assert answer.out.startswith(SAYS[line])
    elif line in SAYS:
        assert masked(answer.out) == SAYS[line]
    elif OWN_WORDS & set(line.split()):
        theirs = {h for h in headings(record["stdout"]) if not h.startswith("logfile=")}  # there is none
        assert theirs <= set(headings(answer.out))
    elif number == AFTER_HOLLOW_RESTORE:
        assert "iscsi ... [Targets: 0]" in masked(answer.out)
    else:
        assert masked(answer.out) == expected(record["stdout"])


def test_the_rich_tree_line_for_line(answers: list[Answer]) -> None:
    """With its dots: every line as wide as targetcli's."""
    number = next(
        n for n, record in enumerate(RECORDED) if record["cmd"] == "ls" and "t2" in record["stdout"]
    )
    ours = answers[number].out.splitlines()
    theirs = GONE.sub("", RECORDED[number]["stdout"]).splitlines()
    assert len(ours) == len(theirs)
    with_places_of_this_run = ("/run/d", "/dev/loop")
    widths = {len(line) for line in ours if not any(place in line for place in with_places_of_this_run)}
    assert widths == {len(line) for line in theirs}
