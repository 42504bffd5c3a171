"""Loop devices over sparse files, detached at the end whatever happens."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class LoopDevices:
    """Makes loop devices over sparse files in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.made: list[Path] = []

    def make(self, size: int, *, read_only: bool = False, sector_size: int = 512) -> Path:
        """A loop device of `size` bytes, all zero."""
        image = self._directory / f"loop-{len(self.made)}.img"
        with image.open("wb") as file:
            file.truncate(size)
        options = ["--sector-size", str(sector_size), *(["--read-only"] if read_only else [])]
        command = ["losetup", "--find", "--show", *options, str(image)]
        device = Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
        self.made.append(device)
        return device

    def detach(self) -> None:
        for device in self.made:
            subprocess.run(["losetup", "--detach", str(device)], check=True)
        self.made.clear()


@contextmanager
def loop_devices_in(directory: Path) -> Iterator[LoopDevices]:
    devices = LoopDevices(directory)
    try:
        yield devices
    finally:
        devices.detach()
