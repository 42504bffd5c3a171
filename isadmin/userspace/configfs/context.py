"""What the rules of the tree share: the model, the engine, counters, and a few facts of the machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from isadmin.userspace.engine import Engine
from isadmin.userspace.model import LuGroup, Root


def default_release() -> tuple[str, str, str]:
    uname = os.uname()
    return uname.sysname, uname.machine, uname.release


@dataclass(slots=True)
class Context:
    engine: Engine
    clock: Callable[[], float]
    """Seconds since the target came up: creation times and the MIBs' times are shown on this clock."""
    cpus: int
    system: tuple[str, str, str] = field(default_factory=default_release)
    """System, machine and release, as the version files show them."""
    root: Root = field(default_factory=Root)
    hbas_made: int = 0
    devices_enabled: int = 0
    """Counts attempts too: the kernel takes the index first."""
    lu_group_ids: int = 0
    """The last id given to a group that asked for any."""
    targets_made: int = 0
    acls_made: int = 0
    default_lu_group: LuGroup = field(default_factory=lambda: LuGroup("default_lu_gp", 0))
    scsi_hosts: set[int] = field(default_factory=set)
    first_scsi_host: int = 0
