"""A plan leads from any configuration to any other, in an order that LIO accepts, and touches no more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from isadmin.config import document
from isadmin.config.changes import Create, Delete, Plan, Set, applied, verb
from isadmin.config.diff import FROZEN, DanglingError, diff, not_had
from isadmin.config.model import (
    Configuration,
    FabricModule,
    Flat,
    Lun,
    MappedLun,
    NodeAcl,
    PortGroup,
    StorageObject,
    Target,
    Tpg,
    flatten,
    parent_of,
    unflatten,
)
from isadmin.config.order import in_order
from tests.config.values import any_configurations, bare, configurations

IQN = "iqn.2003-01.org.test:t"
TPG = ("iscsi", IQN, 1)


@settings(max_examples=60, deadline=None)
@given(configurations(), configurations())
def test_a_plan_leads_where_it_should(a: Configuration, b: Configuration) -> None:
    plan = diff(a, b)
    assert bare(applied(flatten(a), plan.changes)) == bare(flatten(b))


@settings(max_examples=40, deadline=None)
@given(any_configurations(), any_configurations())
def test_after_a_plan_nothing_is_left_to_do(a: Configuration, b: Configuration) -> None:
    result = unflatten(applied(flatten(a), diff(a, b).changes))
    assert diff(result, b).changes == ()
    assert diff(result, b, prune=False).changes == ()


@settings(max_examples=30, deadline=None)
@given(configurations())
def test_from_a_configuration_to_itself_there_is_nothing_to_do(a: Configuration) -> None:
    assert diff(a, a).changes == ()
    assert diff(a, a, prune=False).changes == ()
    assert flatten(unflatten(flatten(a))) == flatten(a)


@pytest.mark.parametrize("said", [False, None])
def test_a_fabric_that_demands_nothing_is_as_one_that_is_not_listed(said: bool | None) -> None:
    chap = {"userid": "u", "password": "p"}
    other = Configuration(fabric_modules=(FabricModule("iscsi", said, chap),))
    assert not diff(Configuration(), other)
    on = Configuration(fabric_modules=(FabricModule("iscsi", True, {"userid": "me"}),))
    plan = diff(on, other, prune=False)
    assert applied(flatten(on), plan.changes) == plan.result
    if said is None:
        # It goes on demanding what it demands.
        assert plan.result == {("fabric_module", "iscsi"): FabricModule("iscsi", True, chap)}
    else:
        assert plan.result == {}
        assert not diff(Configuration(), other)


@settings(max_examples=40, deadline=None)
@given(configurations(), configurations())
def test_without_pruning_nothing_goes_for_not_being_wanted(a: Configuration, b: Configuration) -> None:
    try:
        plan = diff(a, b, prune=False)
    except DanglingError:
        # A LUN that stays showed, through an ALUA group or storage object, what b made into something else.
        return
    result = applied(flatten(a), plan.changes)
    assert result.keys() == flatten(a).keys() | flatten(b).keys()
    assert bare({key: result[key] for key in flatten(b)}) == bare(flatten(b))
    assert not diff(unflatten(result), b, prune=False)


@settings(max_examples=50, deadline=None)
@given(configurations(), configurations())
def test_no_step_does_what_lio_refuses(a: Configuration, b: Configuration) -> None:
    flat = flatten(a)
    for change in diff(a, b).changes:
        acceptable(flat, change)
        flat = applied(flat, [change])


def acceptable(flat: Flat, change: Create | Delete | Set) -> None:
    value = flat.get(change.key)
    if isinstance(change, Create):
        parent = parent_of(change.key)
        assert parent is None or parent in flat
        if isinstance(change.value, Lun):
            assert change.value.storage_object in {
                so.path for so in flat.values() if isinstance(so, StorageObject)
            }
        if isinstance(change.value, MappedLun):
            assert ("lun", *change.key[1:4], change.value.tpg_lun) in flat
    elif isinstance(change, Delete):
        below = [key for key in flat if parent_of(key) == change.key]
        assert all(key[-1] == "default_tg_pt_gp" for key in below)
        if isinstance(value, StorageObject):
            assert value.path not in {lun.storage_object for lun in flat.values() if isinstance(lun, Lun)}
        if isinstance(value, Lun):
            shown = {(key[1:4], one.tpg_lun) for key, one in flat.items() if isinstance(one, MappedLun)}
            assert (change.key[1:4], value.index) not in shown
        if isinstance(value, Tpg):
            assert not value.enable
    elif isinstance(value, StorageObject) and change.name in FROZEN:
        assert value.path not in {lun.storage_object for lun in flat.values() if isinstance(lun, Lun)}


@settings(max_examples=30, deadline=None)
@given(configurations())
def test_the_file_says_all_of_the_value(a: Configuration) -> None:
    text = document.render(document.of(a))
    assert flatten(document.value(document.parse(text.encode(), "x"))) == flatten(a)
    assert document.render(document.of(document.value(document.parse(text.encode(), "x")))) == text


def world(**changes: Any) -> Configuration:
    """One storage object, mapped to one initiator."""
    so = StorageObject("ramdisk", "r", size=4096, wwn="w", attributes={"block_size": 512, "is_nonrot": 0})
    lun, mapped = Lun(0, so.path, "x"), MappedLun(0, 0, False, "y")
    so, lun, mapped = (
        replace(one, **changes.get(name, {})) for name, one in (("so", so), ("lun", lun), ("mapped", mapped))
    )
    acl = NodeAcl("iqn.i", chap={"userid": "u", "password": "p"}, mapped_luns=(mapped,))
    tpg = Tpg(
        1,
        True,
        attributes={"authentication": 0},
        parameters={"AuthMethod": "CHAP"},
        luns=(lun,),
        node_acls=(acl,),
    )
    tpg = replace(tpg, **changes.get("tpg", {}))
    return Configuration((so,), (Target("iscsi", IQN, tpgs=(tpg,)),))


def steps(plan: Plan) -> list[str]:
    return [f"{verb(change)} {change.key[0]}" for change in plan.changes]


def test_one_value_is_one_change() -> None:
    plan = diff(world(), world(so={"attributes": {"block_size": 512, "is_nonrot": 1}}))
    assert plan.changes == (Set(("storage_object", "ramdisk", "r"), "attributes", "is_nonrot", 0, 1),)
    assert plan.because == {}


def test_what_lio_does_not_set_is_no_difference() -> None:
    old, new = ({"emulate_dpo": value, "emulate_fua_read": value} for value in (0, 1))
    assert not diff(world(so={"attributes": old}), world(so={"attributes": new}))


def test_what_an_object_does_not_have_is_left_out_and_named() -> None:
    wanted = world(so={"attributes": {"block_size": 512, "is_nonrot": 0, "task_timeout": 3}})
    assert not diff(world(), wanted)
    assert not_had(flatten(world()), flatten(wanted)) == ["task_timeout of /backstores/ramdisk/r"]
    assert not_had({}, flatten(wanted)) == []


def test_the_name_of_a_link_is_no_difference() -> None:
    assert not diff(world(), world(lun={"alias": "other"}, mapped={"alias": "other"}))


def test_what_cannot_change_in_place_is_made_again_with_what_hangs_on_it() -> None:
    plan = diff(world(), world(so={"size": 8192}))
    assert steps(plan) == [
        "unmap mapped_lun",
        "delete lun",
        "delete storage_object",
        "create storage_object",
        "create lun",
        "map mapped_lun",
    ]
    assert plan.because["storage_object", "ramdisk", "r"] == "size cannot be changed in place"
    assert "/backstores/ramdisk/r is made again" in plan.because["lun", *TPG, 0]


def test_a_frozen_value_is_set_while_the_lun_is_away() -> None:
    plan = diff(world(), world(so={"attributes": {"block_size": 4096, "is_nonrot": 0}}))
    assert steps(plan) == [
        "unmap mapped_lun",
        "delete lun",
        "set storage_object",
        "create lun",
        "map mapped_lun",
    ]


def test_sizes_are_as_lio_rounds_them() -> None:
    assert not diff(world(), world(so={"size": 5000}))
    file = StorageObject("fileio", "f", dev="/data/f", size=512)
    changes = diff(Configuration((file,)), Configuration((replace(file, size=1024),))).changes
    assert changes == (Set(("storage_object", "fileio", "f"), "", "size", 512, 1024),)
    device = StorageObject("fileio", "f", dev="/dev/sda", size=100)
    assert not diff(Configuration((device,)), Configuration((replace(device, size=200),)))


def test_what_a_file_does_not_say_stays() -> None:
    now = world()
    partial = Configuration((StorageObject("ramdisk", "r"),), (Target("iscsi", IQN),))
    assert not diff(now, partial, prune=False)
    assert steps(diff(now, partial)) == [
        "disable tpg",
        "unmap mapped_lun",
        "delete node_acl",
        "delete lun",
        "delete tpg",
    ]


def test_chap_values_that_are_not_said_are_none() -> None:
    acl = NodeAcl("iqn.i", mapped_luns=(MappedLun(0, 0),))
    plan = diff(world(), world(tpg={"node_acls": (acl,)}))
    assert [(change.name, change.new) for change in plan.changes if isinstance(change, Set)] == [
        ("userid", ""),
        ("password", ""),
    ]
    assert (
        "p" not in repr(NodeAcl("i", chap={"password": "p"})).replace("mapped", "").replace("repr", "")[-3:]
    )


def test_write_through_is_not_told_of_a_file_that_is_written_late() -> None:
    late = StorageObject(
        "fileio", "f", dev="/d", size=512, write_back=True, attributes={"emulate_write_cache": 1}
    )
    now = Configuration((late,))
    through = replace(late, write_back=False, attributes={})
    assert steps(diff(now, Configuration((through,)))) == ["delete storage_object", "create storage_object"]
    back = diff(Configuration((replace(late, write_back=False, attributes={"emulate_write_cache": 0}),)), now)
    assert back.changes == (
        Set(("storage_object", "fileio", "f"), "attributes", "emulate_write_cache", 0, 1),
    )


def test_authentication_takes_its_parameter_along() -> None:
    plan = diff(world(), world(tpg={"attributes": {"authentication": 1}}))
    assert [(change.name, change.new) for change in plan.changes if isinstance(change, Set)] == [
        ("authentication", 1),
        ("AuthMethod", "CHAP"),
    ]


def test_a_group_made_again_gets_its_luns_back() -> None:
    def at(number: int) -> Configuration:
        return world(so={"alua_tpgs": (PortGroup("g", number),)}, lun={"alua_tg_pt_gp_name": "g"})

    plan = diff(at(1), at(2))
    assert steps(plan) == ["delete port_group", "create port_group", "set lun"]
    assert plan.because == {("port_group", "ramdisk", "r", "g"): "tg_pt_gp_id cannot be changed in place"}


def test_what_is_not_there_cannot_be_shown() -> None:
    with pytest.raises(DanglingError) as caught:
        diff(world(), Configuration((), world().targets))
    assert caught.value.problems == [
        f"/iscsi/{IQN}/tpg1/luns/lun0 needs /backstores/ramdisk/r, which is not there"
    ]
    assert not diff(world(), Configuration((), world().targets), prune=False)
    with pytest.raises(DanglingError, match="needs lun3, which its portal group does not have"):
        diff(Configuration(), world(mapped={"tpg_lun": 3}))


@pytest.mark.parametrize(
    ("old", "new", "order"),
    [
        ((512, 16384), (4096, 2048), [("optimal_sectors", 2048), ("block_size", 4096)]),
        ((512, 100), (4096, 16384), [("optimal_sectors", 16384), ("block_size", 4096)]),
        ((4096, 100), (512, 16384), [("block_size", 512), ("optimal_sectors", 16384)]),
        ((4096, 100), (4096, 16384), [("block_size", 512), ("optimal_sectors", 16384), ("block_size", 4096)]),
        ((4096, 16384), (4096, 100), [("optimal_sectors", 100)]),
        ((512, 100), (512, 200), [("optimal_sectors", 200)]),
        ((512, 16384), (4096, 16384), [("block_size", 4096)]),
    ],
)
def test_sectors_and_their_size(
    old: tuple[int, int], new: tuple[int, int], order: list[tuple[str, int]]
) -> None:
    names = ("block_size", "optimal_sectors")
    before, after = dict(zip(names, old, strict=True)), dict(zip(names, new, strict=True))
    differing = {name: after[name] for name in names if before[name] != after[name]}
    assert list(in_order("storage_object", "attributes", before, differing, after)) == order


def test_a_state_that_only_an_implicit_change_reaches() -> None:
    old = {"alua_access_type": 2, "alua_access_state": 0, "alua_access_status": 0}
    new = old | {"alua_access_state": 1, "alua_support_standby": 0}
    differing = {"alua_access_state": 1, "alua_support_standby": 0}
    assert list(in_order("port_group", "alua", old, differing, new)) == [
        ("alua_access_type", 3),
        ("alua_access_state", 1),
        ("alua_access_status", 0),
        ("alua_access_type", 2),
        ("alua_support_standby", 0),
    ]


def test_acls_made_by_logging_in_come_before_what_they_set() -> None:
    old = {"cache_dynamic_acls": 0, "generate_node_acls": 0}
    new = {"cache_dynamic_acls": 0, "generate_node_acls": 1}
    assert list(in_order("tpg", "attributes", old, {"generate_node_acls": 1}, new)) == [
        ("generate_node_acls", 1),
        ("cache_dynamic_acls", 0),
    ]


def test_acls_made_by_logging_in_are_kept_while_they_are_made() -> None:
    """LIO takes cache_dynamic_acls=0 then, and forgets it."""
    wwn = "iqn.2003-01.org.test:t"

    def with_attributes(**attributes: int) -> Configuration:
        return Configuration(targets=(Target("iscsi", wwn, tpgs=(Tpg(1, attributes=attributes),)),))

    now = with_attributes(generate_node_acls=1, cache_dynamic_acls=1)
    for attributes in ({"cache_dynamic_acls": 0}, {"cache_dynamic_acls": 0, "generate_node_acls": 1}):
        assert not diff(now, with_attributes(**attributes))
    left = diff(now, with_attributes(cache_dynamic_acls=0, generate_node_acls=0)).changes
    assert [(one.name, one.new) for one in left if isinstance(one, Set)] == [
        ("generate_node_acls", 0),
        ("cache_dynamic_acls", 0),
    ]


@pytest.mark.parametrize(
    ("old", "new", "order"),
    [
        ((0, 0), (1, 1), [("pi_prot_type", 1), ("pi_prot_verify", 1)]),
        ((0, 0), (1, 0), [("pi_prot_type", 1), ("pi_prot_verify", 0)]),
        ((1, 0), (3, 0), [("pi_prot_type", 3), ("pi_prot_verify", 0)]),
        ((1, 1), (3, 1), [("pi_prot_type", 3)]),
        ((1, 1), (0, 0), [("pi_prot_verify", 0), ("pi_prot_type", 0)]),
        ((1, 0), (0, 0), [("pi_prot_type", 0)]),
    ],
)
def test_protection_is_checked_only_if_it_is_to_be(
    old: tuple[int, int], new: tuple[int, int], order: list[tuple[str, int]]
) -> None:
    names = ("pi_prot_type", "pi_prot_verify")
    before, after = dict(zip(names, old, strict=True)), dict(zip(names, new, strict=True))
    differing = {name: after[name] for name in names if before[name] != after[name]}
    assert list(in_order("storage_object", "attributes", before, differing, after)) == order


def test_checking_what_is_not_protected_is_no_difference() -> None:
    """LIO takes pi_prot_verify=1 then, and forgets it."""

    def with_attributes(**attributes: int) -> Configuration:
        return Configuration(storage_objects=(StorageObject("fileio", "f", attributes=attributes),))

    now = with_attributes(pi_prot_type=0, pi_prot_verify=0)
    assert not diff(now, with_attributes(pi_prot_verify=1))
    assert not diff(now, with_attributes(pi_prot_type=0, pi_prot_verify=1))
    assert diff(now, with_attributes(pi_prot_type=1, pi_prot_verify=1))


def test_passwords_are_secret_and_names_are_not() -> None:
    wwn = "iqn.2003-01.org.test:t"
    before, after = (
        Configuration(
            targets=(Target("iscsi", wwn, tpgs=(Tpg(1, chap={"userid": one, "mutual_password": one}),)),)
        )
        for one in ("old", "new")
    )
    sets = [one for one in diff(before, after).changes if isinstance(one, Set)]
    assert {one.name: one.secret for one in sets} == {"userid": False, "mutual_password": True}
    assert not Set(("tpg", "iscsi", wwn, 1), "parameters", "x_password", "a", "b").secret
