"""Load for a daemon that is about to be killed, and what may be found on its disks afterwards."""

from __future__ import annotations

import random
import struct
import threading

from tests.initiator import Closed, Initiator

UNIT = 4096
"""Bytes that one stamp fills: the grain of what is checked."""
SECTORS = UNIT // 512
DEPTH = 8
WRITE_10, WRITE_16, WRITE_SAME_16 = 0x2A, 0x8A, 0x93
FUA = 0x08
REGISTER_AND_IGNORE = 6
APTPL = 1
READ_BLOCKS = 512


def stamped(stamp: int, length: int) -> bytes:
    return stamp.to_bytes(8, "big") * (length // 8)


class Disk:
    """What is known of one LUN's content: the stamp last acknowledged in each unit, and those that were on
    their way when the daemon died."""

    def __init__(self, size: int) -> None:
        self.acknowledged = [0] * (size // UNIT)
        self.underway: dict[int, int] = {}
        """Unit -> stamp."""
        self.writes = 0

    def check(self, content: bytes) -> None:
        """Every unit holds what was acknowledged, or parts of what was on its way. What is there counts as
        acknowledged from now on."""
        for number, known in enumerate(self.acknowledged):
            found = content[number * UNIT : (number + 1) * UNIT]
            if found == stamped(known, UNIT):
                continue
            stamps = set(struct.unpack(f">{UNIT // 8}Q", found))
            assert stamps <= {known, self.underway.get(number, known)}, (number, known, stamps)
            # Half of it may be there: only another write makes it one thing again.
            self.acknowledged[number] = self.underway[number] if len(stamps) == 1 else -1
        self.underway.clear()

    @property
    def torn(self) -> list[int]:
        return [number for number, stamp in enumerate(self.acknowledged) if stamp < 0]


class Writer(threading.Thread):
    """An initiator with several writes under way, of all sizes and kinds, until its connection is gone."""

    def __init__(
        self, disk: Disk, address: tuple[str, int], target: str, name: str, seed: str, *, fua: bool
    ) -> None:
        super().__init__()
        self.disk = disk
        self._fua = FUA if fua else 0
        self._chance = random.Random(seed)
        self._initiator = Initiator(address, target=target, name=name, timeout=60, keys={"InitialR2T": "No"})
        self._initiator.ready()
        self._sent: dict[int, tuple[range, int, bytes]] = {}
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while True:
                while len(self._sent) < DEPTH:
                    self._send()
                self._receive()
        except (Closed, OSError):
            pass
        except BaseException as error:  # noqa: BLE001 - the test shows it
            self.error = error
        finally:
            self._initiator.close()

    def _send(self) -> None:
        chance, disk = self._chance, self.disk
        count = chance.choice((1, 1, 1, 2, 16, 64))
        start = chance.randrange(len(disk.acknowledged) - count + 1)
        units = range(start, start + count)
        if any(unit in disk.underway for unit in units):
            return
        disk.writes += 1
        stamp = disk.writes
        kind = chance.choice((WRITE_10, WRITE_10, WRITE_16, WRITE_SAME_16))
        flags = chance.choice((0, 0, self._fua)) if kind != WRITE_SAME_16 else 0
        data = stamped(stamp, 512 if kind == WRITE_SAME_16 else count * UNIT)
        if kind == WRITE_10:
            cdb = struct.pack(">BBIBHB", kind, flags, start * SECTORS, 0, count * SECTORS, 0)
        else:
            cdb = struct.pack(">BBQIBB", kind, flags, start * SECTORS, count * SECTORS, 0, 0)
        # Noted before it is sent: it may take effect although nobody hears of it.
        disk.underway |= dict.fromkeys(units, stamp)
        itt = self._initiator.next_itt()
        self._sent[itt] = units, stamp, data
        self._initiator.send_command(cdb, data_out=data, immediate_data=data[:8192], itt=itt)

    def _receive(self) -> None:
        pdu = self._initiator.receive()
        units, stamp, data = self._sent[pdu.itt]
        if pdu.opcode == 0x31:
            self._initiator.answer_r2t(pdu, data)
            return
        assert pdu.opcode == 0x21, pdu
        assert pdu.header[3] == 0, pdu
        del self._sent[pdu.itt]
        for unit in units:
            self.disk.acknowledged[unit] = stamp
            del self.disk.underway[unit]


class Registrar(threading.Thread):
    """An initiator that changes its persistent registration all the time, kept through power loss."""

    def __init__(self, address: tuple[str, int], target: str, name: str, key: int) -> None:
        super().__init__()
        self._initiator = Initiator(address, target=target, name=name, timeout=60)
        self._initiator.ready()
        self.acknowledged = key
        self.underway = key

    def run(self) -> None:
        try:
            while True:
                self.underway = self.acknowledged + 1
                cdb = struct.pack(">BBBxxIB", 0x5F, REGISTER_AND_IGNORE, 0, 24, 0)
                data = struct.pack(">QQ4xB3x", 0, self.underway, APTPL)
                assert self._initiator.cmd(cdb, data_out=data).status == 0
                self.acknowledged = self.underway
        except (Closed, OSError):
            pass
        finally:
            self._initiator.close()


def content(initiator: Initiator, size: int) -> bytes:
    """A whole LUN, as the target reads it."""
    parts = []
    for lba in range(0, size // 512, READ_BLOCKS):
        reply = initiator.read(lba, READ_BLOCKS)
        assert reply.status == 0, reply
        parts.append(reply.data)
    return b"".join(parts)


def registered_keys(initiator: Initiator) -> list[int]:
    """READ KEYS."""
    reply = initiator.cmd(struct.pack(">BB5xHB", 0x5E, 0, 256, 0), expected_in=256)
    assert reply.status == 0, reply
    length = int.from_bytes(reply.data[4:8], "big")
    return [key for (key,) in struct.iter_unpack(">Q", reply.data[8 : 8 + length])]
