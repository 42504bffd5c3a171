"""What cannot be applied is told with its place, all at once; what some LIO takes is no problem."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from isadmin.config import store
from isadmin.lio import checking
from tests.lio.test_attributes import RECORDED

WWN = "iqn.2003-01.org.test:t"
SAVED = sorted((Path(__file__).parents[1] / "data" / "saved").iterdir())


def of_storage_object(**facts: Any) -> dict[str, Any]:
    return {"storage_objects": [{"name": "r", "plugin": "ramdisk", "size": 4096, **facts}]}


def of_tpg(**facts: Any) -> dict[str, Any]:
    return {"targets": [{"fabric": "iscsi", "wwn": WWN, "tpgs": [{"tag": 1, **facts}]}]}


SO, TPG = "storage_objects[0]", "targets[0].tpgs[0]"
PROBLEMS: list[tuple[dict[str, Any], list[str]]] = [
    (of_storage_object(name="a b"), [f"{SO}.name: it cannot be made here, only by hand: 'a b' has blanks"]),
    (
        of_storage_object(attributes={"block_size": "banana", "optimal_sectors": "x", "emulate_caw": 77}),
        [
            f"{SO}.attributes.block_size: 'banana' is not a number",
            f"{SO}.attributes.optimal_sectors: 'x' is not a number",
            f"{SO}.attributes.emulate_caw: '77' is not 0 or 1",
        ],
    ),
    (
        of_storage_object(alua_tpgs=[{"name": "g", "alua_access_type": "foo", "preferred": 2}]),
        [
            f"{SO}.alua_tpgs[0].alua_access_type: 'foo' is not a number",
            f"{SO}.alua_tpgs[0].preferred: '2' is not 0 or 1",
        ],
    ),
    ({"fabric_modules": [{"name": "vhost"}]}, ["fabric_modules[0].name: no fabric 'vhost' has"]),
    (
        {"fabric_modules": [{"name": "iscsi", "discovery_password": "s" * 256}]},
        ["fabric_modules[0].discovery_password is longer than 255 bytes"],
    ),
    (
        {"targets": [{"fabric": "nosuch", "wwn": WWN}]},
        ["targets[0].fabric: 'nosuch' is not one of srpt, iscsi"],
    ),
    (
        {"targets": [{"fabric": "iscsi", "wwn": "t"}]},
        ["targets[0].wwn: it cannot be made here, only by hand: 't' is no name for a target of iscsi"],
    ),
    (
        of_tpg(chap_password="\u00e9" * 128, attributes={"authentication": 77, "login_timeout": "1_0"}),
        [
            f"{TPG}.chap_password is longer than 255 bytes",
            f"{TPG}.attributes.authentication: '77' is not 0 or 1",
            f"{TPG}.attributes.login_timeout: '1_0' is not a number",
        ],
    ),
    (
        of_tpg(parameters={"InitialR2T": 1, "ImmediateData": "yes", "MaxConnections": "x" * 60}),
        [
            f"{TPG}.parameters.InitialR2T: '1' is not Yes or No",
            f"{TPG}.parameters.ImmediateData: 'yes' is not Yes or No",
            f"{TPG}.parameters.MaxConnections: it is not a number",
        ],
    ),
    (
        of_tpg(portals=[{"ip_address": ip, "port": 1} for ip in ("999.1.2.3", "::1", "[::x]", "a.example")]),
        [
            f"{TPG}.portals[0].ip_address: '999.1.2.3' is no address",
            f"{TPG}.portals[1].ip_address: '::1' is no address: IPv6 stands in brackets",
            f"{TPG}.portals[2].ip_address: '[::x]' is no address",
            f"{TPG}.portals[3].ip_address: 'a.example' is no address",
        ],
    ),
    (
        of_tpg(node_acls=[{"node_wwn": "i", "chap_userid": "u" * 256, "attributes": {"nopin_timeout": "x"}}]),
        [
            f"{TPG}.node_acls[0].chap_userid is longer than 255 bytes",
            f"{TPG}.node_acls[0].attributes.nopin_timeout: 'x' is not a number",
        ],
    ),
]


@pytest.mark.parametrize(("document", "expected"), PROBLEMS)
def test_what_no_lio_takes_is_a_problem(document: dict[str, Any], expected: list[str]) -> None:
    found = checking.problems_and_names(document)
    assert len(found) == len(expected)
    assert checking.problems(document) == [text for text in found if "by hand" not in text]
    for text, start in zip(found, expected, strict=True):
        assert text.startswith(start)
    assert checking.doubts(document) == []


def test_all_are_told_at_once_with_those_of_the_shape(tmp_path: Path) -> None:
    document = of_storage_object(size="big", attributes={"block_size": "banana"})
    document["targets"] = [7, {"fabric": "nosuch", "wwn": 3, "tpgs": [{"portals": "x"}]}]
    file = tmp_path / "x.json"
    file.write_text(json.dumps(document))
    with pytest.raises(Exception, match="problems: ") as caught:
        store.read(file, checking.problems)
    for text in (
        "size must be",
        "'banana'",
        "targets[0] must be",
        "'nosuch'",
        "has no tag",
        "portals must be",
    ):
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            of_storage_object(size=None),
            f"{SO} has no size: it cannot be made, only changed where it is there",
        ),
        (
            of_storage_object(attributes={"block_size": 8192}),
            "'8192' is not one of 512, 1024, 2048, 4096, which",
        ),
        (of_tpg(attributes={"login_timeout": 99}), "'99' is not 5 to 30, which kernel 6.1 takes"),
        (
            of_tpg(parameters={"HeaderDigest": "CRC64"}),
            "'CRC64' is not one of CRC32C, None, which kernel 6.1",
        ),
    ],
)
def test_what_another_lio_may_take_is_a_doubt(document: dict[str, Any], expected: str) -> None:
    assert checking.problems(document) == []
    (doubt,) = checking.doubts(document)
    assert expected in doubt


@pytest.mark.parametrize(
    "document",
    [
        of_storage_object(attributes={"emulate_caw": word})
        for word in (True, "1", "Yes", "no", "on", "off", "Y")
    ]
    + [
        of_storage_object(attributes={"block_size": "0x200", "new_in_linux_9": "a", "hw_queue_depth": "x"}),
        of_tpg(parameters={"InitialR2T": True, "ImmediateData": "No", "AuthMethod": "CHAP, None"}),
        of_tpg(portals=[{"ip_address": ip, "port": 3260} for ip in ("0.0.0.0", "[::0]", "[fe80::1%eth0]")]),
        of_tpg(chap_password="s" * 255),
        {"targets": [{"fabric": "qla2xxx", "wwn": "naa.2100000000000000"}]},
        {
            "targets": [
                {"fabric": "iscsi", "wwn": WWN.upper()},
                {"fabric": "vhost", "wwn": "naa.5001405000000000"},
            ]
        },
    ],
)
def test_what_lio_takes_is_neither(document: dict[str, Any]) -> None:
    assert checking.problems(document) == checking.doubts(document) == []


@pytest.mark.parametrize("key", RECORDED)
def test_what_a_kernel_shows_it_takes(key: str) -> None:
    owner, group = key.split()
    for name, facts in RECORDED[key].items():
        for value in facts["content"]:
            if owner == "port_group" and not value.lstrip("-").isdecimal():
                continue  # a word for what is saved as a number
            if owner == "storage_object" and value == "0":
                continue  # before it is enabled, a device shows 0
            assert list(checking._about(owner, group, name, value, "x")) == []


@pytest.mark.parametrize("file", SAVED, ids=lambda file: file.name)
def test_other_tools_files_have_no_problem(file: Path) -> None:
    assert checking.problems(store.read(file)) == []


def test_of_anything_at_all_something_can_be_said() -> None:
    for document in (
        None,
        7,
        [],
        {"storage_objects": None, "targets": {"tpgs": []}},
        {"targets": [None, []]},
    ):
        assert checking.problems(document) == checking.doubts(document) == []
