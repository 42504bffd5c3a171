"""Whole configurations for Hypothesis: what LIO could show, every object saying everything it is."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from isadmin.config.model import (
    CHAP_NAMES,
    DEFAULT_GROUP,
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
