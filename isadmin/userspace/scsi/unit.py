"""A logical unit: a storage object's bytes with the state that SCSI gives them.

All state is changed on the event loop's thread only; work that runs in a pool thread touches the storage
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from isadmin.userspace.engine import Counters, Reservation
from isadmin.userspace.model import Device, Lun, TargetPortGroup
from isadmin.userspace.scsi.command import Wait
from isadmin.userspace.scsi.gate import Gate
from isadmin.userspace.scsi.nexus import LunPath
from isadmin.userspace.scsi.reservations import Reservations
from isadmin.userspace.scsi.sense import Asc
from isadmin.userspace.storage import Storage

MAX_TRANSFER_BYTES = 8 << 20
"""The longest transfer a unit takes, whatever its device could do: memory stays bounded."""

NO_FAILURE, UNRESTRICTED, RESTRICTED = range(3)

DEFAULTS = {
    "alua_support": 1,
    "emulate_3pc": 1,
    "emulate_caw": 1,
    "emulate_dpo": 1,
    "emulate_fua_read": 1,
    "emulate_fua_write": 1,
    "emulate_pr": 1,
    "emulate_tas": 1,
    "enforce_pr_isids": 1,
    "pgr_support": 1,
}
"""What attributes are that the tree has not set (yet); 0 for all others but those the device's facts tell."""


class LogicalUnit:
    """Implements engine.Unit.

    `storage`, `block_size`, `block_shift`, `blocks` and `max_blocks` are plain attributes for the fast path.
    """

    __slots__ = (
        "_facts",
        "abort_tasks",
        "attrib",
        "block_shift",
        "block_size",
        "blocks",
        "counters",
        "descriptor_sense",
        "device",
        "facts",
        "gate",
        "hw_block_size",
        "hw_max_sectors",
        "hw_queue_depth",
        "keep_alua",
        "keep_aptpl",
        "max_blocks",
        "max_write_same_len",
        "paths",
        "prevented",
        "reservations",
        "rotational",
        "sanitize_failure",
        "sanitized",
        "sanitizing",
        "simple",
        "software_write_protect",
        "stopped",
        "storage",
        "unmap_alignment",
        "unmap_granularity",
        "unmap_max_lba_count",
        "write_cache",
        "write_protected",
    )

    def __init__(self, device: Device, storage: Storage) -> None:
        facts = storage.facts
        self.device = device
        self.attrib = device.attrib
        self.storage = storage
        self.hw_block_size = facts.hw_block_size
        self.hw_max_sectors = facts.hw_max_sectors
        self.hw_queue_depth = facts.hw_queue_depth
        self.unmap_max_lba_count = facts.unmap_max_lba_count
        self.unmap_granularity = facts.unmap_granularity
        self.unmap_alignment = facts.unmap_alignment
        self.max_write_same_len = facts.max_write_same_len
        self.facts = storage.names
        self.rotational = facts.rotational
        self.write_cache = device.plugin == "fileio" and facts.write_cache
        self._facts = {
            "block_size": facts.hw_block_size,
            "emulate_write_cache": int(self.write_cache),
            "hw_max_sectors": facts.hw_max_sectors,
            "optimal_sectors": facts.hw_max_sectors,
            "max_unmap_lba_count": facts.unmap_max_lba_count,
            "max_unmap_block_desc_count": 1 if facts.unmap_max_lba_count else 0,
            "unmap_granularity": facts.unmap_granularity,
            "max_write_same_len": facts.max_write_same_len,
            "is_nonrot": int(not facts.rotational),
        }
        self.counters = Counters()
        self.paths: dict[LunPath, None] = {}
        """In the order of the logins."""
        self.gate = Gate(self.refresh_paths)
        self.reservations = Reservations(self)
        self.keep_aptpl: Callable[[str], Callable[[], None]] | None = None
        """Set by the target: take Reservations.aptpl_text(), empty when nothing is to be kept, as the newest.
        What it returns is called in a pool thread: it comes back once that text or a later one is safe, and
        raises OSError if that cannot be."""
        self.keep_alua: Callable[[Sequence[TargetPortGroup]], Callable[[], None]] | None = None
        """Set by the target: the same for what SET TARGET PORT GROUPS has made of groups, if that is wanted;
        what it returns raises nothing."""
        self.abort_tasks: Callable[[Callable[[LunPath], bool]], Wait | None] = lambda wanted: None
        """Set by the target: abort the commands here of wanted paths (PREEMPT AND ABORT), those of sessions
        that are gone too. What it returns waits for those that run; None: there is none."""
        self.stopped = False
        self.sanitizing = False
        self.sanitized = 0
        """How much of the operation is done, in 65536ths."""
        self.sanitize_failure = NO_FAILURE
        """Whether the last one failed, and whether EXIT FAILURE MODE helps then: SANITIZE's AUSE bit."""
        self.software_write_protect = False
        self.descriptor_sense = False
        self.prevented: set[LunPath] = set()
        """Paths that prevent medium removal."""
        self.simple = True
        self.write_protected = storage.read_only
        self.block_size = 0
        self.block_shift = 0
        self.blocks = 0
        self.max_blocks = 0
        self.refresh()

    # engine.Unit

    @property
    def size(self) -> int:
        return self.storage.size

    def reservation(self) -> Reservation:
        return self.reservations.facts()

    def load_aptpl(self, metadata: str) -> None:
        self.reservations.load_aptpl(metadata)

    # attributes

    def value(self, name: str) -> int:
        """An attribute of configfs, or what it will be at first."""
        found = self.attrib.get(name)
        if found is None:
            found = self._facts.get(name, DEFAULTS.get(name, 0))
        return found

    @property
    def volatile(self) -> bool:
        """Writes are answered before they are on the medium (WCE)."""
        if self.device.plugin == "iblock":
            return self.storage.facts.write_cache
        return self.value("emulate_write_cache") > 0

    @property
    def thin(self) -> bool:
        """Logical block provisioning management is on (LBPME)."""
        return self.value("emulate_tpu") > 0 or self.value("emulate_tpws") > 0

    @property
    def erasable(self) -> bool:
        """SANITIZE BLOCK ERASE leaves no block mapped, and GET LBA STATUS can tell."""
        return self.thin and self.storage.tells_holes

    @property
    def dpo_fua(self) -> bool:
        """DPO and FUA mean something here (the DPOFUA bit of MODE SENSE)."""
        return self.volatile and self.value("emulate_fua_write") > 0 and self.value("emulate_dpo") > 0

    @property
    def open(self) -> bool:
        """The medium can be had: neither START STOP UNIT nor SANITIZE has closed it."""
        return not (self.stopped or self.sanitizing or self.sanitize_failure)

    def refresh(self, name: str = "") -> None:
        """Take over a changed attribute; without a name, all of them."""
        if name in {"", "block_size", "hw_max_sectors"}:
            self.block_size = self.value("block_size") or self.hw_block_size
            self.block_shift = self.block_size.bit_length() - 1
            self.max_blocks = (
                min(
                    self.value("hw_max_sectors") * self.hw_block_size or MAX_TRANSFER_BYTES,
                    MAX_TRANSFER_BYTES,
                )
                // self.block_size
            )
        if name == "fd_dev_size":
            self.storage.resize(int(self.device.control.get(name, self.storage.size)))
        self.storage.write_through = not self.volatile
        self.refresh_capacity()
        self.refresh_paths()

    def refresh_capacity(self) -> None:
        """Look at the device's size again. A change is news to every nexus (SBC-3 4.7.1)."""
        size = self.storage.size
        # LIO counts one block however small the device is.
        blocks = max(1, size // self.block_size)
        if blocks != self.blocks:
            if self.blocks:
                self.attend(Asc.CAPACITY_CHANGED)
            self.blocks = blocks

    # paths

    def attach(self, path: LunPath) -> None:
        self.paths[path] = None
        path.refresh()

    def detach(self, path: LunPath) -> None:
        self.nexus_closed(path)

    def nexus_closed(self, path: LunPath) -> None:
        """The path's session is over (or the LUN is gone from it)."""
        self.paths.pop(path, None)
        path.plain = None
        self.prevented.discard(path)
        if self.reservations.release_spc2(path):
            self.refresh_paths()

    def linked(self, lun: Lun) -> None:
        """A LUN of the unit is there."""
        if self.reservations.registrants:
            self.reservations.bind(lun)
            self.refresh_paths()

    def access_lost(self, lun: Lun, initiator: str) -> None:
        """The initiator will see the LUN no more; an empty name: all those without an ACL."""
        self.reservations.access_lost(lun, initiator)
        self.refresh_paths()

    def attend(self, asc: Asc, *, but: LunPath | None = None) -> None:
        """Queue a unit attention for every path, except one."""
        for path in self.paths:
            if path is not but:
                path.attend(asc)

    def flush_failed(self, told: LunPath) -> None:
        """A flush has failed, of which one path is told. Linux tells of lost data once, whoever has written
        it; so those that have written since their last flush hear of it with the next."""
        told.lost = False
        if self.volatile:
            for path in list(self.paths):
                if path is not told and path.counters.write_bytes > path.flushed:
                    path.lost = True

    def refresh_paths(self) -> None:
        """The unit's state has changed: compute what the fast path goes by anew."""
        self.simple = self.open and not self.gate.busy
        self.write_protected = self.storage.read_only or self.software_write_protect
        for path in self.paths:
            path.refresh()

    def alua_changed(self, group: TargetPortGroup, *, but: LunPath | None = None) -> None:
        """Something about a target port group of this device has changed. A new access state is news to those
        whose paths it is; `but` is the path that asked for it."""
        for path in self.paths:
            before = path.access_state
            path.refresh()
            if path.access_state != before and path is not but:
                path.attend(Asc.ALUA_STATE_CHANGED)

    # task management effects (SAM-5 7; the server ends its own commands)

    def reset(self) -> None:
        """LOGICAL UNIT RESET, and each unit's part of a target reset: SPC-2 reservation, prevention and SWP
        go; persistent reservations stay; everybody hears of it."""
        self.reservations.clear_spc2()
        self.prevented.clear()
        self.stopped = False
        self.software_write_protect = False
        self.descriptor_sense = False
        self.counters.resets += 1
        self.attend(Asc.BUS_DEVICE_RESET)
        self.refresh_paths()

    def commands_cleared(self, paths: Iterable[LunPath]) -> None:
        """CLEAR TASK SET by another nexus: who had commands there hears that they are gone."""
        for path in paths:
            path.attend(Asc.COMMANDS_CLEARED_BY_ANOTHER_INITIATOR)
