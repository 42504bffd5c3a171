"""Files that are no configuration are refused, with the place of what is wrong; good ones keep every key."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isadmin.config import document, shape
from isadmin.errors import RefusedFileError

GOOD: dict[str, Any] = {
    "storage_objects": [{"name": "d", "plugin": "fileio", "attributes": {"x": 1}, "alua_tpgs": []}],
    "targets": [
        {
            "wwn": "iqn.2003-01.org.test:t",
            "fabric": "iscsi",
            "tpgs": [
                {
                    "tag": 1,
                    "luns": [{"index": 0, "storage_object": "/backstores/fileio/d"}],
                    "portals": [{"ip_address": "0.0.0.0", "port": 3260}],
                    "node_acls": [{"node_wwn": "i", "mapped_luns": [{"index": 0, "tpg_lun": 0}]}],
                    "kept": {"unknown": [2, 1]},
                }
            ],
        }
    ],
    "fabric_modules": [],
    "unknown": "kept",
}


def parse(text: str) -> dict[str, Any]:
    return document.parse(text.encode(), "x.json")


def test_a_good_one_is_read_whole() -> None:
    assert parse(json.dumps(GOOD)) == GOOD
    assert json.loads(document.render(GOOD)) == GOOD


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "x.json is empty"),
        ("  \n", "x.json is empty"),
        (json.dumps(GOOD)[:100], "x.json:1:"),
        ('{"storage_objects": [', "x.json:1:22: cut off"),
        ("{nonsense}", "x.json:1:2: not JSON"),
        ("[]", "a list where an object should be"),
        ("3", "a number where an object should be"),
        ("null", "null where an object should be"),
        ("{}", "no storage_objects and no targets"),
        ('{"a": 1}', "no storage_objects and no targets"),
        ('{"storage_objects": {}}', "storage_objects must be a list, not an object"),
        ('{"targets": [1]}', "targets[0] must be an object, not a number"),
        ('{"storage_objects": [{"name": "x"}]}', "storage_objects[0] has no plugin"),
        ('{"storage_objects": [{"name": 1, "plugin": "fileio"}]}', "storage_objects[0].name must be text"),
        ('{"targets": [{"wwn": "x", "fabric": "iscsi", "tpgs": 1}]}', "targets[0].tpgs must be a list"),
        ('{"targets": [{"wwn": "x", "fabric": "iscsi", "tpgs": [{}]}]}', "targets[0].tpgs[0] has no tag"),
        (
            json.dumps(GOOD).replace('"port": 3260', '"port": "3260"'),
            "targets[0].tpgs[0].portals[0].port must be a number, not text",
        ),
        (json.dumps(GOOD).replace('"tpg_lun": 0', '"x": 0'), ".node_acls[0].mapped_luns[0] has no tpg_lun"),
        (json.dumps(GOOD).replace('{"x": 1}', "[]"), "storage_objects[0].attributes must be an object"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_one_is_refused_at_its_place(text: str, what: str) -> None:
    with pytest.raises(RefusedFileError) as caught:
        parse(text)
    assert what in caught.value.line()
    assert caught.value.line().startswith("x.json")
    assert caught.value.status == 6


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(RefusedFileError, match="not UTF-8"):
        document.parse(b'{"storage_objects": [], "x": "\xff\xfe"}', "x.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
KEYS = sorted({*shape.RULES, *shape.REQUIRED, "name", "plugin", "wwn", "fabric", "tag", "index"})


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(KEYS), JSON | st.dictionaries(st.sampled_from(KEYS), JSON)))
def test_any_json_is_read_or_refused(value: Any) -> None:
    text = json.dumps(value)
    if shape.problem_of(value):
        with pytest.raises(RefusedFileError):
            parse(text)
    else:
        assert parse(text) == value


def test_the_order_of_lists_does_not_matter() -> None:
    shuffled = json.loads(json.dumps(GOOD))
    shuffled["storage_objects"] = [{"name": "c", "plugin": "fileio"}, *shuffled["storage_objects"]]
    swapped = dict(shuffled, storage_objects=shuffled["storage_objects"][::-1])
    assert document.render(shuffled) == document.render(swapped)
    assert document.render(GOOD).count('"unknown": [\n              2,\n              1') == 1
    assert document.render(GOOD).endswith("}\n")


def test_empty_means_nothing_a_user_made() -> None:
    assert document.is_empty({"storage_objects": [], "targets": [], "fabric_modules": []})
    assert not document.is_empty(GOOD)


def test_every_problem_is_named_at_once() -> None:
    bad = json.loads(json.dumps(GOOD))
    bad["targets"][0]["tpgs"][0]["luns"][0]["index"] = 70000
    bad["targets"][0]["tpgs"][0]["portals"] *= 2
    bad["storage_objects"][0]["attributes"]["x"] = [1]
    bad["storage_objects"].append({"name": "a/b", "plugin": "floppy"})
    with pytest.raises(document.BadDocumentError) as caught:
        parse(json.dumps(bad))
    assert caught.value.problems == [
        "storage_objects[0].attributes.x must be a number or text, not a list",
        "storage_objects[1].name: 'a/b' is no name for a directory",
        "storage_objects[1].plugin: 'floppy' is not one of fileio, block, ramdisk, pscsi, user",
        "targets[0].tpgs[0].luns[0].index: 70000 is not 0..65535",
        "targets[0].tpgs[0].portals[1]: 0.0.0.0 3260 is in targets[0].tpgs[0].portals[0] already",
    ]
    assert caught.value.line().count("\n") == 0
    assert "5 problems: " in caught.value.line()


def test_unknown_keys_are_named() -> None:
    assert shape.unknown_keys(GOOD) == ["targets[0].tpgs[0].kept", "unknown"]
    old = {"storage_objects": [{"name": "x", "plugin": "fileio", "buffered_mode": True, "exists": 1}]}
    assert shape.unknown_keys(old) == []


def test_secrets_are_hidden() -> None:
    shown = document.without_secrets({"a": [{"chap_password": "s", "chap_userid": "u", "password": ""}]})
    assert shown == {"a": [{"chap_password": document.HIDDEN, "chap_userid": "u", "password": ""}]}


def test_yaml_says_the_same() -> None:
    text = "storage_objects: [{name: x, plugin: ramdisk, size: 4096}]"
    expected = {"storage_objects": [{"name": "x", "plugin": "ramdisk", "size": 4096}]}
    assert document.parse(text.encode(), "x.yaml", yaml=True) == expected
    for bad in ("storage_objects: [", "a: &a [*a]", "- 1", "storage_objects: !!python/name:os.system x"):
        with pytest.raises(RefusedFileError):
            document.parse(bad.encode(), "x.yaml", yaml=True)
