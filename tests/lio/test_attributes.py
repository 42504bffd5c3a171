"""The table of attributes against what kernel 6.1 showed (tests/data/kernel/attributes.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from isadmin.lio.attributes import TABLES, Attribute, find

RECORDED: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).parents[1].joinpath("data/kernel/attributes.json").read_text()
)
ENTRIES = [(key, name) for key, names in RECORDED.items() for name in names]
ALL = [a for table in TABLES.values() for a in table.values()]


@pytest.mark.parametrize(("key", "name"), ENTRIES)
def test_every_file_of_the_kernel_is_in_the_table(key: str, name: str) -> None:
    owner, group = key.split()
    entry = find(owner, group, name)
    assert entry is not None
    if name == "tg_pt_gp_id":
        return  # written once, when the group is made
    mode = int(RECORDED[key][name]["mode"], 8)
    if name != "alua_support_lba_dependent":
        assert entry.writable == bool(mode & 0o200)


@pytest.mark.parametrize(("key", "name"), [e for e in ENTRIES if "port_group" not in e[0]])
def test_the_kernels_values_are_legal_and_defaults_occur(key: str, name: str) -> None:
    owner, group = key.split()
    entry = find(owner, group, name)
    assert entry is not None
    values = RECORDED[key][name]["content"]
    for value in values:
        assert is_legal(entry, value) or value in ("0", ""), "before enable a device shows 0"
    if entry.default:
        assert entry.default in values


def is_legal(entry: Attribute, value: str) -> bool:
    if entry.choices:
        return all(word in entry.choices for word in value.split(","))
    if entry.low is not None and entry.high is not None:
        return entry.low <= int(value) <= entry.high
    return True


@pytest.mark.parametrize("entry", ALL, ids=lambda a: a.name)
def test_entries_are_complete(entry: Attribute) -> None:
    assert entry.type in ("number", "string", "yesno")
    assert entry.meaning.endswith(".")
    if entry.writable and entry.type == "number":
        assert entry.legal()


def test_legal_values_in_words() -> None:
    assert find("tpg", "attribute", "authentication").legal() == "0 or 1"  # type: ignore[union-attr]
    assert find("tpg", "attribute", "default_cmdsn_depth").legal() == "1 to 512"  # type: ignore[union-attr]
    assert find("tpg", "parameter", "ImmediateData").legal() == "one of Yes, No"  # type: ignore[union-attr]


def test_passwords_are_secret_and_nothing_else() -> None:
    assert {a.name for a in ALL if a.secret} == {"password", "mutual_password"}
