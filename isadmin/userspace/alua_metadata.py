"""ALUA states kept in files below dbroot/alua, with the names and the text that LIO gives them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePath

from isadmin.userspace.kept import replace
from isadmin.userspace.model import TargetPortGroup

FABRICS = {"iscsi": "iSCSI"}
"""What LIO calls a fabric where it is not the name of its directory."""


def wanted(group: TargetPortGroup) -> Iterator[tuple[PurePath, str]]:
    """What is to be kept of a group and of the LUNs in it: where, below dbroot/alua, and the text. What has
    never been altered is not kept."""
    serial = group.device.serial
    if group.write_metadata and group.access_status and serial and "/" not in serial:
        yield (
            PurePath(f"tpgs_{serial}", group.name),
            (
                f"tg_pt_gp_id={group.group_id}\n"
                f"alua_access_state=0x{group.access_state:02x}\n"
                f"alua_access_status=0x{group.access_status:02x}\n"
            ),
        )
    for lun in group.members:
        if lun.secondary_write_metadata and lun.secondary_status:
            tpg = lun.tpg
            fabric = FABRICS.get(tpg.target.fabric.name, tpg.target.fabric.name)
            yield (
                PurePath(fabric, f"{tpg.target.name}+{tpg.tag}", f"lun_{lun.number}"),
                (f"alua_tg_pt_offline={lun.offline}\nalua_tg_pt_status=0x{lun.secondary_status:02x}\n"),
            )


def keep(path: Path, text: str) -> None:
    """Put the text there, unless it is there already. It is on the disk when this returns."""
    try:
        if path.read_text() == text:
            return
    except OSError:
        path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, text)
