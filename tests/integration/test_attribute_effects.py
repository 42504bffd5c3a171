"""Every attribute of a storage object does on the wire what it does in LIO: two disks that differ in one
attribute, set in configfs, and what an initiator sees of it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.initiator import Initiator
from tests.integration.sandbox import Userspace

IQN = "iqn.2003-01.org.linux-iscsi.test:attributes"
SIZE = 1 << 20
REFUSED = "refused"
Probe = Callable[[Initiator, int], object]


def answer(initiator: Initiator, lun: int, cdb: bytes, *, data: bytes = b"", length: int = 0) -> bytes | str:
    reply = initiator.cmd(cdb, lun=lun, data_out=data, expected_in=length)
    return reply.data if reply.status == 0 else REFUSED


def part(data: bytes | str, start: int, end: int) -> bytes | str:
    return data if isinstance(data, str) else data[start:end]


def settled(initiator: Initiator, lun: int) -> None:
    """Take the unit attentions; with the interlock (emulate_ua_intlck_ctrl) only REQUEST SENSE takes them."""
    while initiator.cmd(bytes((0x03, 0, 0, 0, 18, 0)), lun=lun, expected_in=18).data[2] & 0x0F:
        pass
    initiator.ready(lun)


def inquiry(start: int, end: int) -> Probe:
    return lambda i, lun: part(answer(i, lun, bytes((0x12, 0, 0, 0, 96, 0)), length=96), start, end)


def vital(page: int, start: int, end: int) -> Probe:
    return lambda i, lun: part(answer(i, lun, bytes((0x12, 1, page, 0, 96, 0)), length=96), start, end)


def mode(page: int, start: int, end: int) -> Probe:
    """Of MODE SENSE (6), without block descriptors."""
    return lambda i, lun: part(answer(i, lun, bytes((0x1A, 8, page, 0, 96, 0)), length=96), start, end)


def sent(cdb: bytes, data: bytes = b"", length: int = 0) -> Probe:
    return lambda i, lun: "done" if answer(i, lun, cdb, data=data, length=length) != REFUSED else REFUSED


def capacity(initiator: Initiator, lun: int) -> object:
    return part(answer(initiator, lun, bytes((0x9E, 0x10)).ljust(13, b"\0") + b"\x20\0\0", length=32), 0, 12)


def register(initiator: Initiator, lun: int) -> None:
    cdb = bytes((0x5F, 6, 0, 0, 0, 0, 0, 0, 24, 0))
    assert answer(initiator, lun, cdb, data=bytes(8) + (7).to_bytes(8, "big") + bytes(8)) != REFUSED


def kept_through_power_loss(initiator: Initiator, lun: int) -> object:
    """PTPL_A, after a registration that did not ask for it."""
    register(initiator, lun)
    return part(answer(initiator, lun, bytes((0x5E, 2, 0, 0, 0, 0, 0, 0, 8, 0)), length=8), 3, 4)


def registrants_format(initiator: Initiator, lun: int) -> object:
    """Whether READ FULL STATUS names an initiator port with its ISID (TransportID format 01b) or without."""
    register(initiator, lun)
    return part(answer(initiator, lun, bytes((0x5E, 3, 0, 0, 0, 0, 0, 0, 255, 0)), length=255), 32, 33)


@dataclass(frozen=True)
class Effect:
    """An attribute with two values, and what the probe sees of each. `given`: other attributes that it takes
    for it to matter."""

    one: int
    other: int
    probe: Probe
    seen: tuple[object, object]
    given: dict[str, int] = field(default_factory=dict)


def words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4, "big") for number in numbers)


THIN = {"emulate_tpu": 1}
BLOCK = bytes(512)
UNMAP_9_BLOCKS = struct.pack(">HHxxxxQIxxxx", 22, 16, 0, 9)
UNMAP_TWICE = struct.pack(">HHxxxxQIxxxxQIxxxx", 38, 32, 0, 1, 8, 1)
EFFECTS = {
    "emulate_model_alias": Effect(0, 1, inquiry(16, 24), (b"FILEIO  ", b"emulate_")),
    "emulate_fua_write": Effect(1, 0, mode(0x08, 2, 3), (b"\x10", b"\0"), {"emulate_write_cache": 1}),
    "emulate_write_cache": Effect(0, 1, mode(0x08, 6, 7), (b"\0", b"\x04")),
    "emulate_ua_intlck_ctrl": Effect(0, 2, mode(0x0A, 8, 9), (b"\0", b"\x30")),
    "emulate_tas": Effect(1, 0, mode(0x0A, 9, 10), (b"\x40", b"\0")),
    "emulate_tpu": Effect(0, 1, vital(0xB2, 5, 6), (b"\0", b"\x80")),
    "emulate_tpws": Effect(0, 1, vital(0xB2, 5, 6), (b"\0", b"\x60")),
    "emulate_caw": Effect(
        1, 0, sent(struct.pack(">BB8x3xBxx", 0x89, 0, 1), BLOCK * 2), ("done", REFUSED)
    ),
    "emulate_3pc": Effect(1, 0, inquiry(5, 6), (b"\x38", b"\x30")),
    "emulate_pr": Effect(
        1, 0, sent(bytes((0x5E, 0, 0, 0, 0, 0, 0, 0, 8, 0)), length=8), ("done", REFUSED)
    ),
    "enforce_pr_isids": Effect(1, 0, registrants_format, (b"\x45", b"\x05")),
    "is_nonrot": Effect(0, 1, vital(0xB1, 4, 6), (b"\0\0", b"\0\1")),
    "force_pr_aptpl": Effect(0, 1, kept_through_power_loss, (b"\x90", b"\x91")),
    "block_size": Effect(
        512,
        4096,
        capacity,
        (words(0, SIZE // 512 - 1, 512), words(0, SIZE // 4096 - 1, 4096)),
    ),
    "optimal_sectors": Effect(64, 128, vital(0xB0, 12, 16), (words(64), words(128))),
    "max_unmap_lba_count": Effect(
        8, 16, sent(struct.pack(">BB5xHx", 0x42, 0, 24), UNMAP_9_BLOCKS),
        (REFUSED, "done"), THIN,
    ),
    "max_unmap_block_desc_count": Effect(
        1, 2, sent(struct.pack(">BB5xHx", 0x42, 0, 40), UNMAP_TWICE),
        (REFUSED, "done"), THIN,
    ),
    "unmap_granularity": Effect(1, 8, vital(0xB0, 28, 32), (words(1), words(8)), THIN),
    "unmap_granularity_alignment": Effect(0, 4, vital(0xB0, 32, 36), (words(0), b"\x80\0\0\4"), THIN),
    "unmap_zeroes_data": Effect(0, 1, vital(0xB2, 5, 6), (b"\x80", b"\x84"), THIN),
    "max_write_same_len": Effect(
        1, 2, sent(struct.pack(">BB8xIxx", 0x93, 0, 2), BLOCK), (REFUSED, "done")
    ),
}  # fmt: skip
WITHOUT = {
    "alua_support": "only a pass-through device can change it",
    "emulate_dpo": "deprecated: the kernel takes it and forgets it",
    "emulate_fua_read": "deprecated: the kernel takes it and forgets it",
    "emulate_rest_reord": "the kernel refuses 1",
    "hw_block_size": "read-only",
    "hw_max_sectors": "read-only",
    "hw_pi_prot_type": "read-only",
    "hw_queue_depth": "read-only",
    "pgr_support": "only a pass-through device can change it",
    "pi_prot_format": "a file without protection information takes no format",
    "pi_prot_type": "no protection information is kept",
    "pi_prot_verify": "no protection information is kept",
    "queue_depth": "the kernel shows it and goes by the sessions' own depths",
}


class Disks:
    """Storage objects made through configfs, exported by one target."""

    def __init__(self, world: Userspace, directory: Path) -> None:
        self.directory = directory
        self.core = world.mount / "core" / "fileio_0"
        self.core.mkdir()
        self.tpg = world.mount / "iscsi" / IQN / "tpgt_1"
        self.tpg.mkdir(parents=True)
        (self.tpg / "np" / "127.0.0.1:3260").mkdir()
        for name, value in {
            "authentication": 0,
            "generate_node_acls": 1,
            "demo_mode_write_protect": 0,
        }.items():
            (self.tpg / "attrib" / name).write_text(f"{value}\n")
        (self.tpg / "enable").write_text("1\n")
        self.count = 0

    def make(self, name: str, attributes: dict[str, int]) -> int:
        """A disk with these attributes; its LUN."""
        lun = self.count
        self.count += 1
        device = self.core / f"{name}_{lun}"
        device.mkdir()
        (device / "control").write_text(f"fd_dev_name={self.directory}/d{lun}.img,fd_dev_size={SIZE}")
        (device / "enable").write_text("1\n")
        (device / "wwn" / "vpd_unit_serial").write_text(f"{lun:032x}\n")
        for attribute, value in attributes.items():
            (device / "attrib" / attribute).write_text(f"{value}\n")
        where = self.tpg / "lun" / f"lun_{lun}"
        where.mkdir()
        (where / "link").symlink_to(device)
        return lun


@pytest.fixture(scope="module")
def disks(module_userspace: Userspace, module_tmp: Path) -> Disks:
    return Disks(module_userspace, module_tmp)


@pytest.mark.parametrize("name", EFFECTS)
def test_an_attribute_shows_on_the_wire(disks: Disks, name: str) -> None:
    effect = EFFECTS[name]
    luns = [disks.make(name, {**effect.given, name: value}) for value in (effect.one, effect.other)]
    with Initiator(("127.0.0.1", 3260), target=IQN) as initiator:
        for lun in luns:
            settled(initiator, lun)
        seen = tuple(effect.probe(initiator, lun) for lun in luns)
        assert seen == effect.seen
        initiator.logout()


def test_no_attribute_is_left_out(disks: Disks) -> None:
    lun = disks.make("all", {})
    there = {file.name for file in (disks.core / f"all_{lun}" / "attrib").iterdir()}
    assert there == EFFECTS.keys() | WITHOUT.keys()
    assert not EFFECTS.keys() & WITHOUT.keys()
