"""Random operations on the kernel's configfs and on the userspace tree: errnos and trees are equal."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from isadmin.userspace.configfs.tree import Tree
from isadmin.userspace.model import Device
from tests.kernel import operations, randomly, world
from tests.kernel.operations import Operations, Record
from tests.userspace.configfs import replay
from tests.userspace.configfs.recorded import RecordedEngine, RecordedUnit

pytestmark = pytest.mark.kernel(disposable=True)

DIFFERENT = re.compile(
    # Numbers and times counted from the machine's start, and addresses in its memory.
    r".*/(inst|indx|dev|creation_time|tgt_inst|last_fail_time)|.*/hba_info|.*/info|.*/statistics/.*"
    r"|.*/alua_lu_gp|target/version|target/dbroot|target/iscsi/lio_version|.*/cpus_allowed_list"
)


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
    with (randomly.FILES / "image").open("wb") as image:
        image.truncate(16 << 20)
    command = ["losetup", "--find", "--show", image.name]
    device = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    randomly.BLOCK_DEVICE.symlink_to(device)
    yield
    world.clear()
    subprocess.run(["losetup", "--detach", device], check=True)
    shutil.rmtree(randomly.FILES)


def comparable(entries: dict[str, Record]) -> dict[str, Record]:
    return {path: entry for path, entry in entries.items() if not DIFFERENT.fullmatch(path)}


def run(steps: list[tuple[str, int]]) -> str:
    """Do the steps on both; the first difference in words, or empty."""
    world.clear()
    tree = Tree(Files(), cpus=2)
    ours = replay.Replay(tree)
    theirs = Operations()
    done: list[str] = []
    for record in randomly.records(tree, steps):
        expected, found = theirs.run(record)[0], ours.run(record)[0]
        if expected != found:
            return "\n".join([*done, f"{record}: kernel errno {expected}, tree errno {found}"])
        if expected == 0 and record["op"] not in ("read", "stat", "listdir"):
            done.append(str(record))
    kernel, here = comparable(operations.dump()), comparable(replay.dump(tree))
    different = [
        f"{path}: kernel {kernel.get(path)}, tree {here.get(path)}"
        for path in sorted(kernel.keys() | here.keys())
        if kernel.get(path) != here.get(path)
    ]
    return "\n".join([*done, *different]) if different else ""


EXAMPLES = int(os.environ.get("ISADMIN_RANDOM_EXAMPLES", "4"))
"""How many sequences. They are always the same: a run that failed fails again."""


def batched(writes: list[tuple[str, str]], size: int) -> Iterator[list[tuple[str, str]]]:
    for start in range(0, len(writes), size):
        yield writes[start : start + size]


STEPS = st.lists(
    st.tuples(st.sampled_from(randomly.KINDS), st.integers(0, 2**32)), min_size=150, max_size=300
)


def test_a_value_written_changes_the_same_files(empty_target: Path, files: None) -> None:
    """Among them those that nobody wrote: LIO sets some values along with others."""
    tree = Tree(Files(), cpus=2)
    ours, theirs = replay.Replay(tree), Operations()
    for operation, path, *value in (*randomly.START, *randomly.IDLE):
        record = {"op": operation, "path": path} | ({"value": value[0]} if value else {})
        assert theirs.run(record)[0] == ours.run(record)[0] == 0, record
    writes = randomly.every_write(tree)
    assert len(writes) > 2000
    different: dict[str, str] = {}
    for part in batched(writes[: 120 * EXAMPLES], 40):
        for path, text in part:
            record = {"op": "write", "path": path, "value": text}
            expected, found = theirs.run(record)[0], ours.run(record)[0]
            if expected != found:
                different.setdefault(path, f"{path} = {text!r}: kernel errno {expected}, tree errno {found}")
        kernel, here = comparable(operations.dump()), comparable(replay.dump(tree))
        for path in kernel.keys() | here.keys():
            if kernel.get(path) != here.get(path):
                text = f"{path}: kernel {kernel.get(path)}, tree {here.get(path)}, after {part}"
                different.setdefault(path, text)
    assert not different, "\n".join(different.values())


@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    # Each example takes seconds: shrinking is for whoever looks at a failure.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(STEPS)
def test_same_errnos_and_same_tree(empty_target: Path, files: None, steps: list[tuple[str, int]]) -> None:
    difference = run(steps)
    assert not difference, difference
