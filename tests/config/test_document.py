"""Files that are no configuration are refused, with the place of what is wrong; good ones keep every key."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isadmin.config import document, model, shape
from isadmin.config.model import flatten
from isadmin.errors import RefusedFileError
from tests.config.values import any_configurations

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


@settings(max_examples=40, deadline=None)
@given(any_configurations())
def test_anything_a_file_may_say_is_read_back(value: model.Configuration) -> None:
    text = document.render(document.of(value))
    found = document.parse(text.encode(), "x.json")
    assert flatten(document.value(found)) == flatten(value)
    assert document.value(found).unknown == value.unknown
    assert document.render(found) == text
    as_yaml = document.parse(text.encode(), "x.yaml", yaml=True)
    assert as_yaml == found
    assert shape.problem_of(found) == ""
    assert set(shape.unknown_keys(found)) >= set(value.unknown)
    # Saved where that was, what a target shows of it loses nothing.
    assert document.carrying(found, found) == found


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


VALUES_12 = {
    "Yes": "Yes",
    "no": "no",
    "On": "On",
    "true": 1,
    "False": 0,
    "015": 15,
    "0o17": 15,
    "0x1F": 31,
    "-3": -3,
    "1:30": "1:30",
    "0b11": "0b11",
    "1_000": "1_000",
    "2020-01-01": "2020-01-01",
    "'7'": "7",
}


@pytest.mark.parametrize(("written", "meant"), VALUES_12.items())
def test_yaml_has_the_types_of_its_version_1_2(written: str, meant: object) -> None:
    text = f"storage_objects: [{{name: x, plugin: ramdisk, attributes: {{a: {written}}}}}]"
    found = document.parse(text.encode(), "x.yaml", yaml=True)
    (so,) = document.value(found).storage_objects
    assert so.attributes == {"a": meant}
    assert isinstance(so.attributes["a"], type(meant))


def test_yaml_knows_null_numbers_with_points_and_merged_objects() -> None:
    text = "a: &a {x: 1.5, y: ~}\nb:\nc: {<<: *a, x: 2}\nd: .inf\ntargets: []"
    found = document.parse(text.encode(), "x.yaml", yaml=True)
    expected = {"a": {"x": 1.5, "y": None}, "b": None, "c": {"x": 2, "y": None}, "d": float("inf")}
    assert found == {**expected, "targets": []}


@pytest.mark.parametrize("yaml", [False, True], ids=["json", "yaml"])
def test_what_is_true_for_an_iscsi_key_is_yes(yaml: bool) -> None:
    groups = '"parameters": {"InitialR2T": true, "ImmediateData": false}, "attributes": {"t10_pi": true}'
    tpg = f'{{"tag": 1, {groups}}}'
    text = f'{{"targets": [{{"fabric": "iscsi", "wwn": "iqn.2003-01.org.test:t", "tpgs": [{tpg}]}}]}}'
    (target,) = document.value(document.parse(text.encode(), "x", yaml=yaml)).targets
    assert target.tpgs[0].parameters == {"InitialR2T": "Yes", "ImmediateData": "No"}
    assert target.tpgs[0].attributes == {"t10_pi": 1}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("*sekrit", "x.yaml:1:48: not YAML: found undefined alias ..."),
        ("!sekrit x", "x.yaml:1:48: not YAML: could not determine a constructor for the tag ..."),
        ("!!int sekrit", "x.yaml: not YAML: nested too deeply, a number is too long, or a value"),
        ("[sekrit", "x.yaml:1:55: not YAML: expected ',' or ']', but got '}'"),
        ("'sekrit", "x.yaml:1:57: not YAML: found unexpected end of stream"),
        ("@sekrit", "x.yaml:1:48: not YAML: found character '@' that cannot start any token"),
        ('"\\sekrit"', "x.yaml:1:50: not YAML: found unknown escape character 's'"),
    ],
)
def test_no_error_repeats_a_secret(written: str, said: str) -> None:
    text = f"targets: [{{fabric: iscsi, x: 1, chap_password: {written}}}]"
    with pytest.raises(RefusedFileError) as caught:
        document.parse(text.encode(), "x.yaml", yaml=True)
    assert caught.value.line().startswith(said)
    assert "sekrit" not in caught.value.line()
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("yaml", [False, True], ids=["json", "yaml"])
def test_keys_that_stand_twice_are_a_problem(yaml: bool) -> None:
    tpgs = '[{"tag": 1}, {"tag": 2, "tag": 3, "attributes": {"t10_pi": 0, "t10_pi": 1, "t10_pi": 0}}]'
    target = f'{{"wwn": "iqn.2003-01.org.test:t", "fabric": "iscsi", "tpgs": {tpgs}}}'
    text = f'{{"targets": [], "x": {{"y": 1, "y": 2}}, "targets": [{target}]}}'
    with pytest.raises(document.BadDocumentError) as caught:
        document.parse(text.encode(), "x", yaml=yaml)
    assert caught.value.problems == [
        "targets is given twice",
        "targets[0].tpgs[1].tag is given twice",
        "targets[0].tpgs[1].attributes.t10_pi is given twice",
        "x.y is given twice",
    ]


def test_one_yaml_object_at_many_places_is_looked_at_once() -> None:
    lines = ["a0: &a0 {x: 1, x: 2}"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    with pytest.raises(document.BadDocumentError, match=r"a0\.x is given twice"):
        document.parse("\n".join([*lines, "targets: []"]).encode(), "x", yaml=True)
