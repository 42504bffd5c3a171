"""lba_map: which target port groups serve which blocks (LBA-dependent ALUA, SPC-4 5.15.2.7)."""

from __future__ import annotations

import errno
import re

from isadmin.userspace.configfs.context import Context
from isadmin.userspace.configfs.values import U32, U64, fail
from isadmin.userspace.model import Device

_PAIR = re.compile(r"\s*(\d+)\s+(\d+)")
_MEMBER = re.compile(r"\s*(-?\d+):(\S)")
STATES = frozenset("OASU")


def store_lba_map(context: Context, device: Device, text: str) -> None:
    """First line: segment size and multiplier. Then a line for each range: first and last block, and
    <group>:<state> for each group, of which every line has as many. Whatever it says, LIO then has the
    device's groups support such states. EINVAL."""
    header = ""
    lines: list[str] = []
    members_wanted: int | None = None
    for line in text.split("\n"):
        if not line:
            continue
        pair = _PAIR.match(line)
        if pair is None:
            fail(errno.EINVAL)
        first, last = (int(number) & (U64 if header else U32) for number in pair.groups())
        if not header:
            header = f"{first} {last}\n"
            continue
        members = _MEMBER.findall(line, pair.end())
        if not members or any(state not in STATES for _, state in members):
            fail(errno.EINVAL)
        if members_wanted not in (None, len(members)):
            fail(errno.EINVAL)
        members_wanted = len(members)
        listed = "".join(f" {number}:{state}" for number, state in members)
        lines.append(f"{first} {last}{listed}\n")
    device.lba_map = header + "".join(lines) if lines else ""
    for port_group in device.port_groups.values():
        if port_group.group_id is not None:
            port_group.supported["alua_support_lba_dependent"] = 1
            context.engine.alua_changed(port_group)
