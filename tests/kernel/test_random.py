"""Random operations on the kernel's configfs and on the userspace target's: the answers are equal, and the
trees."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from isadmin.userspace.configfs.tree import Tree
from isadmin.userspace.model import Device
from tests.integration.devices import loop_devices_in
from tests.integration.sandbox import Userspace, wait_until
from tests.kernel import differences, operations, randomly, world
from tests.kernel.differences import Difference
from tests.kernel.openiscsi import LIMIT
from tests.kernel.operations import Operations, Record
from tests.kernel.randomly import Step
from tests.userspace.configfs import replay
from tests.userspace.configfs.recorded import RecordedEngine, RecordedUnit

pytestmark = pytest.mark.kernel(disposable=True)

OTHER_DEVICE = randomly.FILES / "other"
"""A symbolic link to a block device for the mounted tree."""
COUNTED = re.compile(
    r".*/(inst|indx|dev|creation_time|tgt_inst|last_fail_time|port_auth_indx)|.*/scsi_port/role|.*/loopback/.*/address"
)
"""Files that say numbers and times counted from the machine's start, or addresses in its memory."""
COUNTED_IN = re.compile(r"(?<=ID: )\d+|(?<=HBA Index: )\d+")
"""Such numbers in texts that say other things, too."""
TEXTS = re.compile(r".*/(info|hba_info|alua_lu_gp)")
"""Those texts."""


class Elsewhere(Operations):
    """Operations on a mounted tree, which has a block device of its own, for a kernel shares none, and a
    place of its own for what outlives it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        dbroot = (world.MOUNT / "dbroot").read_text(), (root / "target/dbroot").read_text()
        self._pairs = (str(randomly.BLOCK_DEVICE), str(OTHER_DEVICE)), dbroot

    def run(self, record: Record) -> tuple[int, Any]:
        given = record | {"value": self._there(record["value"])} if "value" in record else record
        number, result = super().run(given)
        return number, self._here(result)

    def dump(self) -> dict[str, Record]:
        return {
            path: {name: self._here(value) for name, value in entry.items()}
            for path, entry in operations.dump(self._root).items()
        }

    def _there(self, value: Any) -> Any:
        """What is said to it."""
        for kernels, its in self._pairs if isinstance(value, str) else ():
            value = value.replace(kernels, its)
        return value

    def _here(self, value: Any) -> Any:
        """What it says."""
        for kernels, its in self._pairs if isinstance(value, str) else ():
            value = value.replace(its, kernels)
        return value


class Mounted:
    """A mounted tree, to choose steps in."""

    def __init__(self, mount: Path) -> None:
        self._mount = mount

    def listdir(self, path: str) -> list[str]:
        return [entry.name for entry in (self._mount / path).iterdir()]

    def stat(self, path: str) -> SimpleNamespace:
        return SimpleNamespace(mode=(self._mount / path).lstat().st_mode)


class Files(RecordedEngine):
    """An engine whose files are not there, but could be; with one block device, and no SCSI device."""

    def _open_fileio(self, device: Device) -> RecordedUnit:
        Path(device.control["fd_dev_name"]).parent.stat()
        return super()._open_fileio(device)

    def _open_iblock(self, device: Device) -> RecordedUnit:
        path = device.control["udev_path"]
        if path != str(randomly.BLOCK_DEVICE):
            raise OSError(errno.ENOENT, path)
        device.control["udev_path"] = "/dev/loop0"
        try:
            return super()._open_iblock(device)
        finally:
            device.control["udev_path"] = path

    def _open_pscsi(self, device: Device) -> RecordedUnit:
        raise OSError(errno.EINVAL, "no such SCSI host")


@pytest.fixture(scope="module")
def files() -> Iterator[None]:
    randomly.FILES.mkdir()
    with loop_devices_in(randomly.FILES) as devices:
        for link in (randomly.BLOCK_DEVICE, OTHER_DEVICE):
            link.symlink_to(devices.make(16 << 20))
        yield
        world.clear()
    shutil.rmtree(randomly.FILES)


@pytest.fixture
def mount(files: None) -> Iterator[Path]:
    """The directory above the mounted tree of a daemon with a network of its own: a kernel shares no port."""
    subprocess.run(["modprobe", "fuse"], check=True)
    with tempfile.TemporaryDirectory(prefix="isadmin-") as directory:
        target = Userspace(Path(directory))
        words = [sys.executable, "-m", "isadmin", "userspace", "start", "--foreground"]
        script = 'ip link set lo up && exec "$@"'
        daemon = subprocess.Popen(["unshare", "--net", "sh", "-c", script, "sh", *words], env=target.env)
        try:
            wait_until((target.mount / "core").is_dir, "the daemon's mount", LIMIT)
            yield target.mount.parent
        finally:
            daemon.terminate()
            daemon.wait()


def shown(path: str, content: Any) -> Any:
    """What a file says, as far as it can be compared."""
    if COUNTED.fullmatch(path):
        return "counted"
    return COUNTED_IN.sub("counted", content) if TEXTS.fullmatch(path) else content


def comparable(entries: dict[str, Record]) -> dict[str, Record]:
    return {
        path: entry | {"content": shown(path, entry["content"])} if "content" in entry else entry
        for path, entry in entries.items()
    }


LOOKING = ("read", "stat", "listdir", "readlink", "open_rw")
"""Operations that change nothing."""


class Answers(Protocol):
    def run(self, record: Record) -> tuple[int, Any]:
        """(errno, result)."""


def on_both(record: Record, theirs: Answers, ours: Answers) -> tuple[bool, str]:
    """Do one operation on both: did the kernel do it, and how do they differ, in words, or empty."""
    expected, found = theirs.run(record), ours.run(record)
    if record["op"] == "read":
        expected, found = ((number, shown(record["path"], text)) for number, text in (expected, found))
    return expected[0] == 0, "" if expected == found else f"{record}: kernel {expected}, here {found}"


def unlike(kernel: dict[str, Record], here: dict[str, Record]) -> dict[str, str]:
    """Each path at which two trees differ, and how."""
    kernel, here = comparable(kernel), comparable(here)
    return {
        path: f"{path}: kernel {kernel.get(path)}, here {here.get(path)}"
        for path in sorted(kernel.keys() | here.keys())
        if kernel.get(path) != here.get(path)
    }


def fresh_tree() -> Tree:
    """With what a kernel keeps when all is taken out of it."""
    tree = Tree(Files(), cpus=os.cpu_count() or 1)
    tree.root.dbroot = (world.MOUNT / "dbroot").read_text().removesuffix("\n")
    return tree


def run(steps: list[Step]) -> str:
    """Do the steps on both; the first difference in words, with what led to it, or empty."""
    world.clear()
    tree = fresh_tree()
    return replayed(randomly.records(tree, steps), replay.Replay(tree), lambda: replay.dump(tree))


def replayed(records: Iterable[Record], ours: Answers, dump: Callable[[], dict[str, Record]]) -> str:
    theirs = Operations()
    done: list[str] = []
    for record in records:
        successful, difference = on_both(record, theirs, ours)
        if difference:
            return "\n".join([difference, "after", *done])
        if successful and record["op"] not in LOOKING:
            done.append(str(record))
    different = unlike(operations.dump(), dump())
    return "\n".join([*different.values(), "after", *done]) if different else ""


EXAMPLES = int(os.environ.get("ISADMIN_RANDOM_EXAMPLES", "4"))
"""How many sequences. They are always the same: a run that failed fails again."""


def batched(writes: list[tuple[str, str]], size: int) -> Iterator[list[tuple[str, str]]]:
    for start in range(0, len(writes), size):
        yield writes[start : start + size]


STEPS = st.lists(
    st.tuples(st.sampled_from(randomly.KINDS), st.integers(0, 2**32)), min_size=150, max_size=300
)
MOUNTED = 3
"""Seed of the sequence for the mounted tree."""
KEPT = (1, 10, 101, 116, 206)
"""Seeds of sequences that have shown a difference."""


def test_a_value_written_changes_the_same_files(empty_target: Path, files: None) -> None:
    """Among them those that nobody wrote: LIO sets some values along with others."""
    tree = fresh_tree()
    ours, theirs = replay.Replay(tree), Operations()
    for record in map(randomly.record, (*randomly.START, *randomly.IDLE)):
        assert theirs.run(record)[0] == ours.run(record)[0] == 0, record
    writes = randomly.every_write(tree)
    assert len(writes) > 2000
    different: dict[str, str] = {}
    for part in batched(writes[: 120 * EXAMPLES], 40):
        for path, text in part:
            record = {"op": "write", "path": path, "value": text}
            if difference := on_both(record, theirs, ours)[1]:
                different.setdefault(path, difference)
        for path, how in unlike(operations.dump(), replay.dump(tree)).items():
            different.setdefault(path, f"{how}, after {part}")
    assert not different, "\n".join(different.values())


@pytest.mark.parametrize("listed", differences.LISTED, ids=lambda listed: listed.name)
def test_what_is_listed_differs(
    empty_target: Path, files: None, request: pytest.FixtureRequest, listed: Difference
) -> None:
    if listed.mounted:
        elsewhere = Elsewhere(request.getfixturevalue("mount"))
        ours: Answers = elsewhere
        dump = elsewhere.dump
    else:
        tree = fresh_tree()
        ours, dump = replay.Replay(tree), lambda: replay.dump(tree)
    theirs = Operations()
    *before, last = map(randomly.record, (*randomly.START, *listed.steps))
    assert not list(filter(None, (on_both(record, theirs, ours)[1] for record in before)))
    assert on_both(last, theirs, ours)[1] or unlike(operations.dump(), dump())


def of_the_mount(record: Record) -> bool:
    """Is it listed that a mounted tree cannot answer as a kernel?"""
    return record.get("value") == "" or (record["op"], record["path"]) == ("rmdir", "target")


def test_a_mounted_tree_answers_as_a_kernel(empty_target: Path, mount: Path) -> None:
    """With its real engine: files, a block device, sockets."""
    ours = Elsewhere(mount)
    steps = randomly.records(Mounted(mount / "target"), randomly.sequence(MOUNTED, 100))
    difference = replayed((record for record in steps if not of_the_mount(record)), ours, ours.dump)
    assert not difference, difference


@pytest.mark.parametrize("seed", KEPT)
def test_sequences_that_once_differed(empty_target: Path, files: None, seed: int) -> None:
    difference = run(randomly.sequence(seed))
    assert not difference, difference


@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    # Each example takes seconds: shrinking is for whoever looks at a failure.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(STEPS)
def test_same_errnos_and_same_tree(empty_target: Path, files: None, steps: list[Step]) -> None:
    difference = run(steps)
    assert not difference, difference
