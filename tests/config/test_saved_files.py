"""Files that targetcli 2.1.53 and 3.0.2 wrote, and one as the converters of Datera's `.lio` files made them:
each loads, whole.

The first two are targetcli's own, of one configuration; only the directory of the images is replaced. The
third says what such converters said: 0 and 1 for flags, numbers as parameters, no ALUA groups, no names of
links, keys and values that LIO had once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from isadmin.config import document, shape, store

SAVED = Path(__file__).parents[1] / "data" / "saved"
FILES = sorted(path.name for path in SAVED.iterdir())
UNKNOWN = {
    "datera-converted.json": [
        "storage_objects[1].unmapped_pages",
        "targets[0].tpgs[0].node_acls[0].tcq_depth",
    ]
}


def said(value: Any) -> Any:
    """What a file says: null and "" say no more than nothing, 1 no less than true."""
    if isinstance(value, dict):
        return {key: said(one) for key, one in value.items() if one not in (None, "", {}, [])}
    if isinstance(value, list):
        return [said(one) for one in value]
    return int(value) if isinstance(value, bool) else value


def test_there_is_one_of_each_kind() -> None:
    assert FILES == ["datera-converted.json", "targetcli-2.1.json", "targetcli-3.0.json"]


@pytest.mark.parametrize("name", FILES)
def test_all_of_it_is_read_and_written_back(name: str) -> None:
    read = store.read(SAVED / name)
    assert shape.unknown_keys(read) == UNKNOWN.get(name, [])
    written = json.loads(document.render(document.of(document.value(read))))
    assert said(written) == said(document.ordered(read))


@pytest.mark.parametrize("name", FILES)
def test_a_save_keeps_what_only_others_know(name: str, tmp_path: Path) -> None:
    file = tmp_path / "saveconfig.json"
    file.write_bytes((SAVED / name).read_bytes())
    known = store.read(file)
    for group in ("storage_objects", "targets"):
        for one in known[group]:
            one.pop("unmapped_pages", None)
    store.save(file, known)
    assert shape.unknown_keys(store.read(file)) == UNKNOWN.get(name, [])
