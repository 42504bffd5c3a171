"""The tree beside a real kernel 6.1: every entry at every recorded state, every recorded operation."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

from isadmin.userspace.configfs.tree import Tree
from isadmin.userspace.engine import SessionFacts
from isadmin.userspace.model import Device
from tests.userspace.configfs import parity_exceptions as exceptions
from tests.userspace.configfs.recorded import (
    SYSTEM,
    Entries,
    RecordedEngine,
    rows,
    session_from_info,
)
from tests.userspace.configfs.replay import Replay, dump, tree_path

LISTED_PER_CENT = 3


def make_tree(engine: RecordedEngine, clock: dict[str, float] | None = None) -> Tree:
    times = clock if clock is not None else {"now": 0.0}
    tree = Tree(engine, clock=lambda: times["now"], cpus=2, system=SYSTEM, first_scsi_host=1)
    tree.root.dbroot = "/etc/target"
    return tree


def load_states() -> dict[str, Entries]:
    states: dict[str, Entries] = {}
    entries: Entries = {}
    for row in rows("states"):
        if "state" in row:
            entries = states[row["state"]] = {}
        else:
            entries[row["path"]] = row
    return states


def creation_times(states: dict[str, Entries]) -> dict[str, float]:
    """When each directory's object was enabled or linked, in seconds on the recorded machine's clock."""
    times: dict[str, float] = {}
    for entries in states.values():
        for path, entry in entries.items():
            if path.endswith("/creation_time") and entry.get("content", "3367284360\n") != "3367284360\n":
                times.setdefault(path.partition("/statistics/")[0], int(entry["content"]) / 100)
    return times


def devices(tree: Tree) -> Iterator[Device]:
    for hba in tree.root.hbas.values():
        yield from hba.devices.values()


def differences(number: int, expected: Entries, found: Entries) -> tuple[list[str], int]:
    """Unlisted differences, and listed entries that do not differ; and how many are listed."""
    wrong: list[str] = []
    listed = 0
    for path in sorted(expected.keys() | found.keys()):
        rule = next(
            (r for r in exceptions.ENTRIES if number in r.states and r.path.fullmatch(path)),
            None,
        )
        same = expected.get(path) == found.get(path)
        listed += rule is not None
        if same == (rule is not None):
            wrong.append(f"state {number}: {path}: kernel {expected.get(path)}, tree {found.get(path)}")
    return wrong, listed


def test_every_entry_at_every_state() -> None:
    states = load_states()
    created = creation_times(states)
    engine = RecordedEngine()
    clock = {"now": 0.0}
    tree = make_tree(engine, clock)
    replay = Replay(tree)
    wrong: list[str] = []
    entries_listed = entries_seen = 0
    for row in rows("states-ops"):
        if "state" in row:
            expected = states.pop(row["state"])
            number = int(row["state"][:2])
            engine.take_state(expected, devices(tree))
            new, listed = differences(number, expected, dump(tree) if number else {})
            wrong += new
            entries_listed += listed
            entries_seen += len(expected)
        elif "op" in row:
            clock["now"] = created.get(row["path"].rpartition("/")[0], 0.0)
            wrong += check(replay, row, listed=row["n"] in exceptions.STATES_OPERATIONS)
    assert not wrong, "\n".join(wrong[:40])
    assert not states
    assert entries_seen > 40_000
    assert entries_listed * 100 <= LISTED_PER_CENT * entries_seen


def recorded_answer(row: dict[str, Any]) -> tuple[int, Any]:
    """(errno, result or None). A crash has no answer."""
    result = row.get("result")
    if row.get("after_probe") and result == "EACCES":
        return errno.EACCES, None
    return row.get("errno") or 0, result


def check(replay: Replay, row: dict[str, Any], *, listed: bool) -> list[str]:
    """An unlisted difference, or a listed operation that does not differ."""
    answer = replay.run(row)
    expected = recorded_answer(row)
    same = answer[0] == expected[0] and expected[1] in (None, answer[1]) and "crash" not in row
    if "after" in row:
        same = same and replay.do_read(tree_path(row["path"]), None) == row["after"]
    return [f"{row}: {answer}{' is listed' if listed else ''}"] if same == listed else []


def check_operations(name: str, engine: RecordedEngine, listed: dict[int, str]) -> None:
    replay = Replay(make_tree(engine))
    records = list(rows(name))
    wrong: list[str] = []
    for position, row in enumerate(records):
        if "op" in row:
            wrong += check(replay, row, listed=row["n"] in listed)
        elif "--login" in row["sh"]:
            engine.open_sessions = [next_session(records[position:])]
    assert not wrong, "\n".join(wrong[:40])
    assert listed.keys() <= {row.get("n") for row in records}


def next_session(records: list[dict[str, Any]]) -> SessionFacts:
    entry = next(row for row in records if row.get("path", "").endswith("/info"))
    return session_from_info({"path": entry["path"], "content": entry["result"]}, {})


def test_every_probe() -> None:
    check_operations("probes", RecordedEngine(), exceptions.PROBES)


def test_every_portal_probe() -> None:
    engine = RecordedEngine()
    engine.listeners.add(("127.0.0.1", 3999))
    check_operations("portal-probes", engine, exceptions.PORTAL_PROBES)


def test_few_operations_are_listed() -> None:
    files = {
        "states-ops": exceptions.STATES_OPERATIONS,
        "probes": exceptions.PROBES,
        "portal-probes": exceptions.PORTAL_PROBES,
    }
    operations = sum("op" in row for name in files for row in rows(name))
    assert sum(map(len, files.values())) * 100 <= LISTED_PER_CENT * operations


def test_exceptions_say_why() -> None:
    reasons = [exception.reason for exception in exceptions.ENTRIES]
    reasons += [*exceptions.STATES_OPERATIONS.values(), *exceptions.PROBES.values()]
    assert all(reasons)
