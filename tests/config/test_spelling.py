"""A WWN is the same in every spelling: none is a reason to make anything again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from isadmin.config.changes import Create, Set
from isadmin.config.diff import diff
from isadmin.config.model import Configuration, MappedLun, NodeAcl, StorageObject, Target, Tpg, flatten
from isadmin.config.model import Lun as ModelLun
from isadmin.config.spelling import normalized, respelled
from tests.config.values import configurations


@pytest.mark.parametrize(
    ("given_", "spelled"),
    [
        ("IQN.2003-01.org.Linux-ISCSI.host:T", "iqn.2003-01.org.linux-iscsi.host:t"),
        (" iqn.2003-01.org:t ", "iqn.2003-01.org:t"),
        ("naa.50014-05:C2BA34B21", "naa.5001405c2ba34b21"),
        ("EUI.02004567A425678D", "eui.02004567a425678d"),
        ("ib.FE80:0000", "ib.fe800000"),
        ("A-name.OF:its own", "A-name.OF:its own"),
    ],
)
def test_one_spelling(given_: str, spelled: str) -> None:
    assert normalized(given_) == spelled
    assert normalized(spelled) == spelled


def world(target: str, initiator: str, is_nonrot: int = 0) -> Configuration:
    so = StorageObject("ramdisk", "Disk", size=4096, attributes={"is_nonrot": is_nonrot})
    acl = NodeAcl(initiator, mapped_luns=(MappedLun(0, 0),))
    tpg = Tpg(1, True, luns=(ModelLun(0, so.path),), node_acls=(acl,))
    return Configuration((so,), (Target("iscsi", target, tpgs=(tpg,)),))


LOWER = world("iqn.2003-01.org:t", "iqn.1994-05.com:i")
UPPER = world("iqn.2003-01.ORG:T", "IQN.1994-05.com:I")


def test_spellings_are_no_difference() -> None:
    assert not diff(LOWER, UPPER)
    assert not diff(UPPER, LOWER)
    plan = diff(UPPER, world("iqn.2003-01.org:t", "iqn.1994-05.com:i", is_nonrot=1))
    assert plan.changes == (Set(("storage_object", "ramdisk", "Disk"), "attributes", "is_nonrot", 0, 1),)


def test_what_is_new_is_made_as_lio_spells_it() -> None:
    plan = diff(Configuration(), UPPER)
    made = [change.key for change in plan.changes if isinstance(change, Create)]
    assert ("storage_object", "ramdisk", "Disk") in made
    assert ("mapped_lun", "iscsi", "iqn.2003-01.org:t", 1, "iqn.1994-05.com:i", 0) in made
    names = [c.value.wwn for c in plan.changes if isinstance(c, Create) and isinstance(c.value, Target)]
    assert names == ["iqn.2003-01.org:t"]


def test_two_that_are_both_there_stay_two() -> None:
    both = Configuration(LOWER.storage_objects, LOWER.targets + UPPER.targets)
    assert flatten(both) == respelled(flatten(both), flatten(both))
    assert not diff(both, both)
    assert not diff(both, LOWER, prune=False)
    assert not diff(both, UPPER, prune=False)


@settings(max_examples=20, deadline=None)
@given(configurations())
def test_what_is_spelled_right_stays_as_it_is(a: Configuration) -> None:
    assert respelled(flatten(a), {}) == flatten(a)
