"""Asymmetric logical unit access (SPC-4 5.11), from the target port groups of configfs."""

from __future__ import annotations

from isadmin.userspace.scsi.command import Command, Flags, Operation
from isadmin.userspace.scsi.nexus import LunPath
from isadmin.userspace.scsi.sense import Asc, CheckCondition, SenseKey

OPTIMIZED, NON_OPTIMIZED, STANDBY, UNAVAILABLE, LBA_DEPENDENT = range(5)
OFFLINE = 14
TRANSITIONING = 15

_REFUSED = {
    STANDBY: Asc.ALUA_STANDBY,
    UNAVAILABLE: Asc.ALUA_UNAVAILABLE,
    OFFLINE: Asc.TARGET_PORT_OFFLINE,
    TRANSITIONING: Asc.ALUA_TRANSITION,
}


def check(command: Command, path: LunPath, operation: Operation) -> None:
    """Refuse what the path's access state does not allow; note the delay of a non-optimized one."""
    group = path.lun.port_group
    if path.lun.offline:
        state = OFFLINE
    elif group is None or not path.unit.value("alua_support"):
        return
    else:
        state = group.access_state
        if state == NON_OPTIMIZED:
            command.delay = group.nonop_delay_msecs / 1000
            return
    if state in _REFUSED and not operation.flags & Flags.IN_STANDBY:
        raise CheckCondition(SenseKey.NOT_READY, _REFUSED[state])
