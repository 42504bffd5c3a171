"""What sessions see: the LUNs that the configuration gives each of them, and what was done on them."""

from __future__ import annotations

from collections.abc import Iterator

from isadmin.userspace.engine import Counters
from isadmin.userspace.model import Lun, MappedLun
from isadmin.userspace.scsi.unit import LogicalUnit
from isadmin.userspace.sessions import ActiveSession


class LunMaps:
    """The LUN maps of all portal groups and ACLs."""

    def __init__(self) -> None:
        self._of_luns: dict[Lun, Counters] = {}
        self._of_mapped: dict[MappedLun, Counters] = {}

    def _wanted(self, active: ActiveSession) -> Iterator[tuple[int, Lun, bool, Counters]]:
        """The LUNs a session ought to see: number, LUN, read-only, counters."""
        tpg, acl = active.tpg, active.acl
        if tpg is None:
            return
        if acl is not None:
            protect = tpg.attrib.get("prod_mode_write_protect", 0) > 0
            for mapped in acl.mapped.values():
                if mapped.lun is not None:
                    counters = self.mapped_lun_counters(mapped)
                    yield mapped.number, mapped.lun, mapped.write_protect or protect, counters
            return
        protect = tpg.attrib.get("demo_mode_write_protect", 1) > 0
        for lun in tpg.luns.values():
            yield lun.number, lun, protect, self._base(lun)

    def apply(self, active: ActiveSession) -> None:
        """Bring a session's nexus to what the configuration says."""
        nexus = active.nexus
        gone = set(nexus.paths)
        for number, lun, read_only, counters in self._wanted(active):
            unit = lun.device.unit if lun.device is not None else None
            if not isinstance(unit, LogicalUnit):
                continue
            if number in gone:
                gone.remove(number)
                nexus.replace(number, unit, lun, read_only=read_only, counters=counters)
            else:
                nexus.add(number, unit, lun, read_only=read_only, counters=counters)
        for number in gone:
            nexus.remove(number)
        active.refresh_paths()

    def _base(self, lun: Lun) -> Counters:
        """What dynamic sessions did on a LUN."""
        counters = self._of_luns.get(lun)
        if counters is None:
            counters = self._of_luns[lun] = Counters()
        return counters

    def lun_counters(self, lun: Lun) -> Counters:
        total = Counters()
        for part in (self._base(lun), *(self.mapped_lun_counters(mapped) for mapped in lun.mapped)):
            for name in Counters.__slots__:
                setattr(total, name, getattr(total, name) + getattr(part, name))
        return total

    def mapped_lun_counters(self, mapped: MappedLun) -> Counters:
        counters = self._of_mapped.get(mapped)
        if counters is None:
            counters = self._of_mapped[mapped] = Counters()
        return counters

    def forget_lun(self, lun: Lun) -> None:
        self._of_luns.pop(lun, None)

    def forget_mapped_lun(self, mapped: MappedLun) -> None:
        self._of_mapped.pop(mapped, None)
