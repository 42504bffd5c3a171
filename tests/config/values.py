"""Whole configurations for Hypothesis: what LIO could show, every object saying everything it is."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from isadmin.config.model import (
    CHAP_NAMES,
    DEFAULT_GROUP,
    PLUGINS,
    Configuration,
    FabricModule,
    Flat,
    Lun,
    MappedLun,
    NodeAcl,
    Portal,
    PortGroup,
    StorageObject,
    Target,
    Tpg,
)

NAMES = st.sampled_from("abc")
FLAG = st.sampled_from((0, 1))


@st.composite
def port_groups(draw: st.DrawFn, name: str, number: int) -> PortGroup:
    alua = {
        "alua_access_state": draw(st.sampled_from((0, 1, 2))),
        "alua_access_type": draw(st.sampled_from((1, 3))),
        "alua_access_status": 0,
        "preferred": draw(FLAG),
    }
    return PortGroup(name, number, alua)


@st.composite
def storage_objects(draw: st.DrawFn, plugin: str, name: str) -> StorageObject:
    attributes = {
        "block_size": draw(st.sampled_from((512, 4096))),
        "optimal_sectors": draw(st.sampled_from((8, 1024))),
        "emulate_tpu": draw(FLAG) if plugin == "fileio" else 0,
        "emulate_write_cache": 0,
        "is_nonrot": draw(FLAG),
    }
    so = StorageObject(plugin, name, wwn=draw(st.sampled_from(("w1", "w2"))), attributes=attributes)
    if plugin == "ramdisk":
        so = replace(so, size=draw(st.sampled_from((4096, 8192))), nullio=draw(st.sampled_from((None, True))))
    else:
        cache = draw(FLAG)
        so = replace(
            so,
            dev=f"/data/{name}-{draw(FLAG)}",
            size=1 << 20,
            aio=False,
            write_back=bool(cache),
            attributes={**attributes, "emulate_write_cache": cache},
        )
    groups = [draw(port_groups(DEFAULT_GROUP, 0))]
    groups += [
        draw(port_groups(group, draw(st.sampled_from((number, number + 5)))))
        for number, group in ((1, "g1"), (2, "g2"))
        if draw(st.booleans())
    ]
    return replace(so, alua_tpgs=tuple(groups))


CHAP = st.dictionaries(st.sampled_from(CHAP_NAMES), st.sampled_from(("x", "y")), max_size=4)


@st.composite
def tpgs(draw: st.DrawFn, tag: int, exports: tuple[StorageObject, ...]) -> Tpg:
    luns = []
    for index in range(3):
        if exports and draw(st.booleans()):
            so = draw(st.sampled_from(exports))
            group = draw(st.sampled_from([one.name for one in so.alua_tpgs]))
            luns.append(Lun(index, so.path, draw(st.sampled_from(("l1", "l2"))), group))
    acls = []
    for name in draw(st.sets(NAMES, max_size=2)):
        mapped = []
        for index in range(2):
            if luns and draw(st.booleans()):
                lun = draw(st.sampled_from(luns))
                mapped.append(MappedLun(index, lun.index, draw(st.booleans()), "m"))
        tag_name = draw(st.sampled_from((None, "t")))
        attributes = {"nopin_timeout": draw(st.sampled_from((10, 15)))}
        acls.append(NodeAcl(f"iqn.2003-01.org.test:{name}", tag_name, draw(CHAP), attributes, tuple(mapped)))
    # A target cannot listen twice at one place.
    ports = draw(st.sets(st.sampled_from((3260 + 2 * tag, 3261 + 2 * tag)), max_size=2))
    generate = draw(FLAG)
    # LIO keeps the ACLs that it makes.
    attributes = {"authentication": draw(FLAG), "generate_node_acls": generate}
    attributes["cache_dynamic_acls"] = generate or draw(FLAG)
    return Tpg(
        tag,
        draw(st.booleans()),
        draw(CHAP),
        attributes,
        {"AuthMethod": draw(st.sampled_from(("CHAP", "CHAP,None"))), "MaxConnections": "1"},
        tuple(luns),
        tuple(Portal("127.0.0.1", port, False, False) for port in sorted(ports)),
        tuple(acls),
    )


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    """Any configuration, of few names so that two of them have much in common."""
    objects = tuple(
        draw(storage_objects(plugin, name))
        for plugin, name in sorted(
            draw(st.sets(st.tuples(st.sampled_from(("fileio", "ramdisk")), NAMES), max_size=4))
        )
    )
    targets = []
    for name in sorted(draw(st.sets(NAMES, max_size=2))):
        tags = sorted(draw(st.sets(st.sampled_from((1, 2)), max_size=2)))
        groups = tuple(draw(tpgs(tag, objects)) for tag in tags)
        targets.append(Target("iscsi", f"iqn.2003-01.org.test:{name}", {}, {}, groups))
    modules = ()
    if draw(st.booleans()):
        modules = (FabricModule("iscsi", True, draw(CHAP)),)
    return Configuration(objects, tuple(targets), modules)


def bare(flat: Flat) -> Flat:
    """Without the names of links, which configure nothing."""
    return {
        key: replace(value, alias=None) if isinstance(value, Lun | MappedLun) else value
        for key, value in flat.items()
    }


# Anything that a file may say: objects that leave things out, of every plugin and of many fabrics, with
# names, texts and keys that nobody expects. Not all of it can be made; all of it is to be read and compared.

ODD = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="/"), min_size=1, max_size=8
)
ODD_NAMES = st.sampled_from(("a", "b", "\u00e9t\u00e9", "\u540d", "x-1")) | ODD.filter(
    lambda text: text not in (".", "..")
)
FLAGS = st.sampled_from((None, False, True))
SIZES = st.sampled_from((None, 4096, 1 << 40))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | ODD,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(ODD, inner, max_size=2),
    max_leaves=4,
)
UNKNOWN = st.dictionaries(ODD.map(lambda text: f"x-{text}"), JSON, max_size=2)
VALUES = st.dictionaries(
    st.sampled_from(("emulate_tpu", "is_nonrot", "new_in_linux_9", "block_size")),
    st.sampled_from((0, 1, 512, "1", "a text")),
    max_size=3,
)
WWNS = {
    "iscsi": ("iqn.2003-01.org.test:a", "iqn.2003-01.org.test:b", "eui.02004567a425678d"),
    "loopback": ("naa.5001405000000001",),
    "vhost": ("naa.5001405000000001", "naa.5001405000000002"),
    "srpt": ("ib.fe800000000000000000000000000001",),
    "xen-pvscsi": ("naa.5001405000000003",),
}
ODD_CHAP = st.dictionaries(st.sampled_from(CHAP_NAMES), ODD, max_size=2)


@st.composite
def any_storage_objects(draw: st.DrawFn, plugin: str, name: str) -> StorageObject:
    so = StorageObject(
        plugin,
        name,
        wwn=draw(st.none() | ODD),
        attributes=draw(VALUES),
        alua_tpgs=tuple(
            PortGroup(group, draw(st.none() | st.integers(1, 3)), draw(ALUA), draw(UNKNOWN))
            for group in sorted(draw(st.sets(ODD_NAMES, max_size=2)))
        ),
        unknown=draw(UNKNOWN),
    )
    if plugin == "ramdisk":
        return replace(so, size=draw(SIZES), nullio=draw(FLAGS))
    if plugin == "user":
        so = replace(so, size=draw(SIZES), hw_max_sectors=draw(st.sampled_from((None, 128, 8192))))
        return replace(so, config=f"file/{draw(ODD)}", control=draw(st.none() | ODD))
    so = replace(so, dev=draw(st.none() | ODD.map(lambda text: f"/data/{text}")))
    if plugin == "block":
        return replace(so, readonly=draw(FLAGS), exclusive=draw(FLAGS))
    if plugin == "fileio":
        return replace(so, size=draw(SIZES), write_back=draw(FLAGS), aio=draw(FLAGS))
    return so


ALUA = st.dictionaries(
    st.sampled_from(("preferred", "nonop_delay_msecs", "alua_support_offline")), FLAG, max_size=2
)


@st.composite
def any_tpgs(draw: st.DrawFn, tag: int, exports: tuple[StorageObject, ...]) -> Tpg:
    indexes = sorted(draw(st.sets(st.sampled_from((0, 1, 255, 65535)), max_size=2))) if exports else []
    luns = tuple(
        Lun(index, draw(st.sampled_from(exports)).path, draw(st.none() | ODD), None, draw(UNKNOWN))
        for index in indexes
    )
    acls = []
    for name in sorted(draw(st.sets(ODD_NAMES, max_size=2))):
        mapped = tuple(
            MappedLun(index, draw(st.sampled_from(luns)).index, draw(FLAGS), None, draw(UNKNOWN))
            for index in (sorted(draw(st.sets(st.sampled_from((0, 4294967295)), max_size=2))) if luns else [])
        )
        acl = NodeAcl(
            f"iqn.2003-01.org.test:{name.lower()}", draw(st.none() | ODD), draw(ODD_CHAP), {}, mapped
        )
        acls.append(replace(acl, unknown=draw(UNKNOWN)))
    portals = tuple(
        Portal(address, 3260, draw(FLAGS), draw(FLAGS), draw(UNKNOWN))
        for address in sorted(draw(st.sets(st.sampled_from(("0.0.0.0", "[::0]", "[fe80::1]")), max_size=2)))
    )
    unique = {acl.node_wwn: acl for acl in acls}
    parameters = draw(st.dictionaries(st.sampled_from(("MaxConnections", "TargetAlias")), ODD, max_size=2))
    chap, unknown = draw(ODD_CHAP), draw(UNKNOWN)
    return Tpg(tag, draw(FLAGS), chap, {}, parameters, luns, portals, tuple(unique.values()), unknown)


@st.composite
def any_configurations(draw: st.DrawFn) -> Configuration:
    """Anything that a file may say."""
    kinds = st.tuples(st.sampled_from(PLUGINS), ODD_NAMES)
    objects = tuple(
        draw(any_storage_objects(plugin, name)) for plugin, name in sorted(draw(st.sets(kinds, max_size=3)))
    )
    targets = []
    for fabric in sorted(draw(st.sets(st.sampled_from(sorted(WWNS)), max_size=2))):
        wwn = draw(st.sampled_from(WWNS[fabric]))
        tags = sorted(draw(st.sets(st.sampled_from((0, 1, 65535)), max_size=2)))
        groups = tuple(draw(any_tpgs(tag, objects)) for tag in tags)
        targets.append(Target(fabric, wwn, {}, {}, groups, draw(UNKNOWN)))
    modules = tuple(
        FabricModule("iscsi", draw(FLAGS), draw(ODD_CHAP), draw(UNKNOWN)) for _ in range(draw(FLAG))
    )
    return Configuration(objects, tuple(targets), modules, draw(UNKNOWN))
