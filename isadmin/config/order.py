"""Values that depend on each other, in an order in which LIO takes them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from isadmin.config.model import Value

_FIRST = (
    "generate_node_acls",
    "authentication",
    "pi_prot_type",
    "max_unmap_block_desc_count",
    "max_unmap_lba_count",
)
_SUPPORTS = "alua_support_"


def in_order(
    kind: str, group: str, old: Mapping[str, Value], differing: Mapping[str, Value], new: Mapping[str, Value]
) -> Iterator[tuple[str, Value]]:
    """The values to set, in an order in which LIO takes them; some of them twice, or for the side effect of
    another.

    Kernel 6.1: generate_node_acls=1 also sets cache_dynamic_acls; authentication changes the parameter
    AuthMethod; optimal_sectors is held against a limit that block_size divides; pi_prot_verify wants a
    pi_prot_type, which sets it to whether there is one; an access state wants to be supported, wants implicit
    changes to be allowed, and sets alua_access_status.
    """
    if group == "alua":
        yield from _alua_in_order(old, differing, new)
        return
    rest = dict(differing)
    if kind == "storage_object" and group == "attributes":
        yield from _sector_sizes(old, rest)
        if "pi_prot_verify" in rest and rest.get("pi_prot_type") in (0, "0"):
            yield "pi_prot_verify", rest.pop("pi_prot_verify")
    for name in _FIRST:
        if name in rest:
            value = rest.pop(name)
            yield name, value
            if name == "generate_node_acls" and "cache_dynamic_acls" in new:
                rest["cache_dynamic_acls"] = new["cache_dynamic_acls"]
            elif name == "pi_prot_type" and value not in (0, "0") and new.get("pi_prot_verify") in (0, "0"):
                rest["pi_prot_verify"] = new["pi_prot_verify"]
    for name in sorted(rest):
        yield name, rest[name]


def _sector_sizes(old: Mapping[str, Value], rest: dict[str, Value]) -> Iterator[tuple[str, Value]]:
    """optimal_sectors is set while blocks are as small as they ever are here."""
    if "optimal_sectors" not in rest:
        return
    sectors = rest.pop("optimal_sectors")
    before, now = _number(old.get("block_size", 512)), _number(old.get("optimal_sectors", 0))
    after, wanted = _number(rest.get("block_size", before)), _number(sectors)
    if before is None or after is None or now is None or wanted is None:
        # LIO is to say what it thinks of it.
        yield "optimal_sectors", sectors
        return
    rest.pop("block_size", None)
    if before <= after and not (before == after > 512 and wanted > now):
        yield "optimal_sectors", sectors
        if before != after:
            yield "block_size", after
        return
    smallest = 512 if before == after else after
    yield "block_size", smallest
    yield "optimal_sectors", sectors
    if smallest != after:
        yield "block_size", after


def _number(value: Value | None) -> int | None:
    """None for what is no number."""
    try:
        return None if value is None else int(value)
    except ValueError:
        return None


def _alua_in_order(
    old: Mapping[str, Value], differing: Mapping[str, Value], new: Mapping[str, Value]
) -> Iterator[tuple[str, Value]]:
    rest = dict(differing)
    for name in sorted(rest):
        if name.startswith(_SUPPORTS) and rest[name] not in (0, "0"):
            yield name, rest.pop(name)
    if "alua_access_state" in rest:
        now, wanted = _number(old.get("alua_access_type", 3)), _number(new.get("alua_access_type", 3))
        if now is not None and wanted is not None and not now & 1:
            yield "alua_access_type", wanted | 1
            rest.pop("alua_access_type", None)
            if wanted | 1 != wanted:
                rest["alua_access_type"] = wanted
        yield "alua_access_state", rest.pop("alua_access_state")
        if "alua_access_status" in new:
            rest["alua_access_status"] = new["alua_access_status"]
    for name in sorted(rest):
        yield name, rest[name]
