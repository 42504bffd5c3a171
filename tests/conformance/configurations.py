"""The LUNs that the suite is run against: one daemon, and for each configuration a few targets alike (lanes),
so that tests run beside each other and none sees another's reservations or resets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.slow import slow_file
from tests.initiator import Initiator
from tests.integration.devices import LoopDevices, loop_devices_in
from tests.integration.sandbox import Userspace, running_userspace

PORTALS = (("127.0.0.1", 3260), ("127.0.0.2", 3261))
PREFIX = "iqn.2003-01.org.linux-iscsi.conformance"
SIZE = 64 << 20
TOOLS_NAME = "iqn.2007-10.com.github:sahlberg:libiscsi:iscsi-test"
PATIENCE = "nopin_timeout=60 nopin_response_timeout=60"
CHAP = ("alice", "alice-and-a-long-secret")
MUTUAL = ("bob", "bob-and-another-secret")
PROUT_REGISTER_AND_IGNORE, PROUT_CLEAR = 6, 3
LOGICAL_UNIT_RESET = 5
KEY = 0x5E77
USED = 512 << 9
"""Bytes at the beginning of a LUN that the tests write most."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One target with one LUN, reachable through two portals."""

    target: str
    chap: bool = False
    read_only: bool = False

    @property
    def urls(self) -> tuple[str, str]:
        who = f"{CHAP[0]}%{CHAP[1]}@" if self.chap else ""
        query = f"?target_user={MUTUAL[0]}&target_password={MUTUAL[1]}" if self.chap else ""
        first, second = (f"iscsi://{who}{address}:{port}/{self.target}/0{query}" for address, port in PORTALS)
        return first, second

    def settle(self) -> None:
        """Take away what a test may leave behind: registrations and reservations, write protection by mode
        page, a stopped unit, data (MultipathIO.CompareAndWrite takes a block for zero unwritten)."""
        secrets = {"chap": CHAP, "mutual": MUTUAL} if self.chap else {}
        with Initiator(PORTALS[0], target=self.target, timeout=60, **secrets) as initiator:  # type: ignore[arg-type]
            initiator.task_management(LOGICAL_UNIT_RESET)
            initiator.ready()
            for action, key, new in ((PROUT_REGISTER_AND_IGNORE, 0, KEY), (PROUT_CLEAR, KEY, 0)):
                cdb = bytes((0x5F, action, 0, 0, 0, 0, 0, 0, 24, 0))
                data = key.to_bytes(8, "big") + new.to_bytes(8, "big") + bytes(8)
                reply = initiator.cmd(cdb, data_out=data)
                assert reply.status == 0, (self.target, action, reply)
            if not self.read_only:
                reply = initiator.write(0, bytes(USED))
                assert reply.status == 0, (self.target, reply)
            initiator.logout()


class Place:
    """Where backing files and devices are made; `stack` takes them away."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.stack = stack
        self.loops: LoopDevices = stack.enter_context(loop_devices_in(directory))

    def slow_file(self) -> Path:
        return self.stack.enter_context(slow_file(self.directory / "slow"))


Backstore = Callable[[str, Place], tuple[list[str], str]]
"""Makes what a storage object of this name stands on; the lines that make the object, and its path."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """name: the table's column. lanes: how many targets alike."""

    name: str
    backstore: Backstore
    lanes: int = 1
    read_only: bool = False
    chap: bool = False
    patient: bool = False
    """Do not give up a session that is silent for a minute, as the tool is at times."""

    def lines(self, lane: Lane, place: Place) -> list[str]:
        """What isadmin is told, to make one lane."""
        made, path = self.backstore(lane.target.rpartition(":")[2], place)
        tpg = f"/iscsi/{lane.target}/tpg1"
        login = [f"{tpg} set attribute authentication={int(self.chap)} generate_node_acls=1"]
        if self.chap:
            words = f"mutual_userid={MUTUAL[0]} mutual_password={MUTUAL[1]}"
            login.append(f"{tpg} set auth userid={CHAP[0]} password={CHAP[1]} {words}")
        acl = f"{tpg}/acls"
        patience = [f"{acl} create {TOOLS_NAME}", f"{acl}/{TOOLS_NAME} set attribute {PATIENCE}"]
        return [
            *made,
            f"/iscsi create {lane.target}",
            *(f"{tpg}/portals create {address} {port}" for address, port in PORTALS),
            f"{tpg}/luns create {path}",
            *login,
            f"{tpg} set attribute demo_mode_write_protect={int(self.read_only)} cache_dynamic_acls=1",
            *(patience if self.patient else ()),
        ]


def _fileio(*attributes: str, write_back: bool = True) -> Backstore:
    def lines(name: str, place: Place) -> tuple[list[str], str]:
        path = f"/backstores/fileio/{name}"
        file = f"{place.directory}/{name}.img size={SIZE} write_back={str(write_back).lower()}"
        made = [f"/backstores/fileio create name={name} file_or_dev={file}"]
        return [*made, *(f"{path} set attribute {' '.join(attributes)}" for _ in attributes[:1])], path

    return lines


def _ramdisk(name: str, place: Place) -> tuple[list[str], str]:
    return [f"/backstores/ramdisk create name={name} size={SIZE}"], f"/backstores/ramdisk/{name}"


def _small_blocks(name: str, place: Place) -> tuple[list[str], str]:
    """Blocks of 512 bytes on a device with 4096: eight logical blocks per physical block. The tool writes as
    many blocks at once as WRITE SAME takes, so that may be no more than one command moves."""
    path = f"/backstores/fileio/{name}"
    made = [f"/backstores/fileio create name={name} file_or_dev={place.loops.make(SIZE, sector_size=4096)}"]
    return [*made, f"{path} set attribute block_size=512 max_write_same_len=4096 {' '.join(THIN)}"], path


def _slow(name: str, place: Place) -> tuple[list[str], str]:
    path = f"/backstores/fileio/{name}"
    return [f"/backstores/fileio create name={name} file_or_dev={place.slow_file()}"], path


THIN = ("emulate_tpu=1", "emulate_tpws=1")
CONFIGURATIONS = (
    Configuration("thin", _fileio(*THIN), lanes=2),
    Configuration("full", _fileio(write_back=False), lanes=2),
    Configuration("ramdisk", _ramdisk, lanes=2),
    Configuration("read-only", _fileio(*THIN), lanes=2, read_only=True),
    Configuration("small-blocks", _small_blocks, lanes=2),
    Configuration("chap", _fileio(), lanes=2, chap=True),
    Configuration("slow", _slow, patient=True),
)
"""Columns of the table. All have two portals; chap is mutual. read-only is thin, but write protected. slow is
for what needs a slow medium; every other one runs the whole list, but for that."""


class Bench:
    """The daemon with all lanes."""

    def __init__(self, world: Userspace, lanes: dict[str, list[Lane]]) -> None:
        self.world = world
        self.lanes = lanes

    @property
    def log(self) -> str:
        return (self.world.runtime / "daemon.log").read_text()


@contextmanager
def running(directory: Path, wanted: tuple[Configuration, ...] = CONFIGURATIONS) -> Iterator[Bench]:
    """All targets of these configurations, in one daemon."""
    with ExitStack() as stack:
        place = Place(directory, stack)
        world = stack.enter_context(running_userspace())
        lanes: dict[str, list[Lane]] = {}
        lines = ["set global auto_add_default_portal=false auto_save_on_exit=false"]
        for each in wanted:
            made = [Lane(f"{PREFIX}:{each.name}-{n}", each.chap, each.read_only) for n in range(each.lanes)]
            lanes[each.name] = made
            for lane in made:
                lines += each.lines(lane, place)
        done = world.isadmin(typed="\n".join(lines) + "\n")
        assert done.returncode == 0, done.stderr
        try:
            yield Bench(world, lanes)
        finally:
            # Before what its files stand on goes.
            world.stop()
