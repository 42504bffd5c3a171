"""Where a storage object is exported: its LUNs, in whatever fabric."""

from __future__ import annotations

from isadmin.lio.fabrics import FABRICS, fabric
from isadmin.lio.objects import Lio, Lun, Target, Tpg
from isadmin.lio.storage_objects import StorageObject

PAGE = 4096
"""A list of members is cut at a page."""


def exports_of(lio: Lio, so: StorageObject) -> list[Lun]:
    """The LUNs that a storage object is exported as.

    ALUA groups list their members, which spares the search; a list that nearly fills a page may be cut, and
    passthrough devices have none: then all LUNs are looked at.
    """
    if so.info().status != "activated":
        return []
    listed: list[Lun] = []
    complete = so.alua_supported()
    for group in so.port_groups():
        members = group.member_paths()
        complete = complete and len("\n".join(members)) < PAGE - 512
        for member in members:
            lun = _member(lio, member)
            if lun is None:
                complete = False
            elif _shows(lun, so):
                listed.append(lun)
    return listed if complete and listed else _by_search(lio, so)


def _shows(lun: Lun, so: StorageObject) -> bool:
    link = lun.link()
    return link is not None and link[1] == so.path


def _by_search(lio: Lio, so: StorageObject) -> list[Lun]:
    return [
        lun
        for one in FABRICS
        for target in lio.targets(one)
        for tpg in target.tpgs()
        for lun in tpg.luns()
        if _shows(lun, so)
    ]


def _member(lio: Lio, path: str) -> Lun | None:
    """The LUN of a line of `members`: <fabric>/<wwn>/tpgt_<n>/lun_<n>."""
    parts = path.split("/")
    if len(parts) != 4:
        return None
    name, wwn, tpgt, lun = parts
    try:
        kind = fabric(name.lower())
        target = Target(lio, kind, kind.wwn(wwn))
        return Lun(Tpg(target, int(tpgt.removeprefix("tpgt_"))), int(lun.removeprefix("lun_")))
    except (KeyError, ValueError):
        return None
