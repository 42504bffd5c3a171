"""What a virtual machine boots: a Debian kernel from /boot and a small initramfs made here.

The initramfs holds busybox and the modules that reach the host's files: it mounts the host's root over 9p,
read-only, with a tmpfs on top, and starts guest.py there. So the machine sees this checkout, this Python and
every installed tool under their own paths, may write anywhere, and leaves nothing behind.
"""

from __future__ import annotations

import lzma
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

MODULES = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay")

INIT = """#!/bin/sh
export PATH=/bin
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for module in /modules/*; do $b insmod $module; done
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,ro,cache=loose host /lower || $b poweroff -f
$b mount -t tmpfs -o mode=755 upper /upper
$b mkdir /upper/files /upper/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work,xino=off root /root
for d in proc sys dev; do $b mount --move /$d /root/$d; done
$b mount -t tmpfs -o mode=755 run /root/run
$b mkdir -p /root/run/lock /root/dev/shm /root/dev/pts
$b mount -t tmpfs -o mode=1777 shm /root/dev/shm
$b mount -t devpts -o mode=620,ptmxmode=666 devpts /root/dev/pts
$b ln -s /proc/self/fd /root/dev/fd
$b hostname isadmin-test
$b ip link set lo up
exec $b switch_root /root /bin/sh -c '
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb
modprobe configfs && mount -t configfs configfs /sys/kernel/config
"$@"
poweroff -f || busybox poweroff -f' sh {guest}
"""
"""The shell stays process 1: it reaps what the tests' daemons leave, and powers off when guest.py ends."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """An installed kernel: its release, image and modules."""

    release: str
    image: Path
    modules: Path


def installed() -> Kernel | None:
    """The newest kernel in /boot whose modules are there and include the target, or None."""
    found = []
    for image in Path("/boot").glob("vmlinuz-*"):
        release = image.name.removeprefix("vmlinuz-")
        modules = Path("/lib/modules", release)
        needed = modules / "kernel/drivers/target", modules / "modules.dep"
        if os.access(image, os.R_OK) and all(path.exists() for path in needed):
            found.append(Kernel(release, image, modules))
    return max(found, key=lambda kernel: [int(n) for n in re.findall(r"\d+", kernel.release)], default=None)


def uncompressed(kernel: Kernel) -> Path:
    """The kernel as an ELF file, which qemu enters directly: unpacking it once here saves seconds at every
    boot. The packed image itself where it is not packed with xz."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "isadmin-tests"
    elf = cache / f"vmlinux-{kernel.release}-{kernel.image.stat().st_mtime_ns}"
    if elf.exists():
        return elf
    packed = kernel.image.read_bytes()
    start = packed.find(b"\xfd7zXZ\x00")
    if start < 0:
        return kernel.image
    unpacked = lzma.LZMADecompressor().decompress(packed[start:])
    if not unpacked.startswith(b"\x7fELF"):
        return kernel.image
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=cache, delete=False) as file:
        file.write(unpacked)
    Path(file.name).replace(elf)
    return elf


def module_files(kernel: Kernel) -> list[Path]:
    """The files of MODULES and of what they need, in loading order; built-in ones have none."""
    needs: dict[str, list[str]] = {}
    for line in (kernel.modules / "modules.dep").read_text().splitlines():
        name, _, dependencies = line.partition(":")
        needs[name] = dependencies.split()
    by_name = {re.sub(r"\.ko.*", "", Path(path).name).replace("-", "_"): path for path in needs}
    ordered: dict[str, None] = {}
    for module in MODULES:
        if path := by_name.get(module):
            # modules.dep lists what must be loaded last first
            ordered.update(dict.fromkeys([*reversed(needs[path]), path]))
    return [kernel.modules / path for path in ordered]


class _Archive:
    """A cpio archive in the "newc" format (kernel documentation, early-userspace/buffer-format)."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._inode = 0

    def add(self, name: str, mode: int, data: bytes = b"") -> None:
        self._inode += 1
        encoded = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
        for part in (header, data):
            self._parts.append(part + bytes(-len(part) % 4))

    def finish(self) -> bytes:
        self.add("TRAILER!!!", 0)
        return b"".join(self._parts)


def initramfs(kernel: Kernel, guest: str) -> bytes:
    """The archive that qemu hands to the kernel; `guest` is the shell command line that serves the host."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise FileNotFoundError("busybox is not installed: install the package busybox-static")
    archive = _Archive()
    for directory in ("bin", "modules", "proc", "sys", "dev", "lower", "upper", "root"):
        archive.add(directory, 0o40755)
    archive.add("bin/busybox", 0o100755, Path(busybox).read_bytes())
    archive.add("bin/sh", 0o120777, b"busybox")
    archive.add("init", 0o100755, INIT.replace("{guest}", guest).encode())
    for number, file in enumerate(module_files(kernel), 10):
        archive.add(f"modules/{number}-{file.name}", 0o100644, file.read_bytes())
    return archive.finish()
