"""Reservations: SPC-2 RESERVE and RELEASE, and SPC-4 persistent reservations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isadmin.userspace.engine import Reservation
from isadmin.userspace.scsi.command import Flags, Operation

if TYPE_CHECKING:
    from isadmin.userspace.scsi.nexus import LunPath
    from isadmin.userspace.scsi.unit import LogicalUnit


class Reservations:
    __slots__ = ("holder_spc2", "unit")

    def __init__(self, unit: LogicalUnit) -> None:
        self.unit = unit
        self.holder_spc2: LunPath | None = None

    def conflicts(self, path: LunPath, operation: Operation, cdb: bytes) -> bool:
        if self.holder_spc2 is not None:
            return self.holder_spc2 is not path and not operation.flags & Flags.FREE_SPC2
        return False

    def open_to(self, path: LunPath) -> bool:
        return self.holder_spc2 is None or self.holder_spc2 is path

    def release_spc2(self, path: LunPath) -> bool:
        if self.holder_spc2 is path:
            self.holder_spc2 = None
            return True
        return False

    def clear_spc2(self) -> None:
        self.holder_spc2 = None

    def facts(self) -> Reservation:
        return Reservation()

    def load_aptpl(self, metadata: str) -> None:
        raise OSError(22, metadata[:0])
