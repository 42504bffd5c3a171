"""A virtual machine with a real LIO: boots a Debian kernel, runs commands in it, brings back what they say.

Everything happens inside the machine, on its loopback: it has no network device. The host's root is its own,
read-only under a tmpfs (image.py). It ends with this process, whatever becomes of that.
"""

from __future__ import annotations

import base64
import compileall
import contextlib
import itertools
import json
import queue
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.kernel import guest, image

QEMU = "qemu-system-x86_64"
BOOT_LIMIT = 600.0
"""Seconds; it only ends a boot that hangs."""
LAST_WORDS = 80
"""Lines of the console: a panic's reason stands some forty above its end."""
CLOCK = "clocksource=tsc tsc=reliable"
"""Emulated processors make the kernel doubt its time stamp counter; any other clock is a slow device."""
FAST = "mitigations=off nokaslr norandmaps init_on_alloc=0 rcupdate.rcu_expedited=1"
"""Code at the same address is translated once for all processes: starting a program takes a third less. What
removes an object of the target's waits half as long when grace periods are hurried."""
SOFTWARE_CPU = "max,-erms,-fsrm"
"""Without these two the kernel and libc copy eight bytes at a time, not one."""
ROOT = Path(__file__).resolve().parents[2]


class VmDiedError(Exception):
    """The machine is gone or did not come up; the text ends with its console's last lines."""


def missing() -> str:
    """What this host lacks to run a machine, in words; empty when nothing."""
    if shutil.which(QEMU) is None:
        return f"{QEMU} not found (package qemu-system-x86)"
    if shutil.which("busybox") is None:
        return "busybox not found (package busybox-static)"
    if image.installed() is None:
        return "no kernel with a target in /boot (package linux-image-amd64)"
    return ""


class Running:
    """A command that runs in the machine."""

    def __init__(self, vm: Vm, argv: Sequence[str], number: int) -> None:
        self._vm = vm
        self._argv = argv
        self.number = number
        self.answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        """What guest.py says of this command; None when the machine is gone."""
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.status: int | None = None

    def _step(self, deadline: float) -> None:
        """Take one answer. subprocess.TimeoutExpired at the deadline; VmDiedError."""
        try:
            answer = self.answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise subprocess.TimeoutExpired(self._argv, 0, bytes(self.stdout), bytes(self.stderr)) from None
        if answer is None:
            raise VmDiedError(self._vm.epitaph())
        self.stdout += base64.b64decode(answer.get("out", ""))
        self.stderr += base64.b64decode(answer.get("err", ""))
        self.status = answer.get("exit")

    def wait(self, timeout: float) -> int:
        """The exit status (negative: the signal that ended it). After `timeout` seconds it is killed, with
        its process group, and subprocess.TimeoutExpired raised."""
        deadline = time.monotonic() + timeout
        try:
            while self.status is None:
                self._step(deadline)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            raise
        return self.status

    def lines(self, timeout: float) -> Iterator[bytes]:
        """Its standard output, line by line as it comes, to its end; `timeout` seconds between two lines."""
        taken = 0
        while True:
            deadline = time.monotonic() + timeout
            while (end := self.stdout.find(b"\n", taken)) < 0 and self.status is None:
                self._step(deadline)
            if end < 0:
                return
            yield bytes(self.stdout[taken:end])
            taken = end + 1

    def signal(self, number: int) -> None:
        """Signal its process group."""
        self._vm.send({"do": "signal", "id": self.number, "number": int(number)})


class Vm:
    """One machine, from start to stop. Use as a context manager, or call start() and stop()."""

    def __init__(self, *, kvm: bool = False, memory: str = "1G", disks: Sequence[Path] = ()) -> None:
        """`disks`: raw images, opened without the host's cache, /dev/vda and on once virtio_blk is loaded."""
        self._kvm = kvm
        self._memory = memory
        self._disks = disks
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._running: dict[int, Running] = {}
        self._ready = threading.Event()
        self._sending = threading.Lock()
        self._directory = ""
        self._socket: socket.socket | None = None
        self.release = ""
        """The kernel's release, known once started."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """qemu's process."""
        assert self._process
        return self._process.pid

    def start(self) -> None:
        """Boot, and return when commands can be run. VmDiedError if it does not come up."""
        assert self._process is None
        kernel = image.installed()
        if kernel is None:
            raise VmDiedError(missing())
        try:
            self._boot(kernel)
        except BaseException:
            # Also when somebody has had enough of waiting: nobody else can end it then.
            self.kill()
            raise

    def _boot(self, kernel: image.Kernel) -> None:
        self._directory = tempfile.mkdtemp(prefix="isadmin-vm-")
        for directory in ("isadmin", "tests"):
            # It would take minutes of the machine's time.
            compileall.compile_dir(ROOT / directory, quiet=2)
        command = shlex.join([sys.executable, guest.__file__])
        initramfs = Path(self._directory, "initramfs")
        initramfs.write_bytes(image.initramfs(kernel, command))
        ours, theirs = socket.socketpair()
        self._socket = ours
        with theirs, Path(self._directory, "qemu").open("wb") as said:
            self._process = subprocess.Popen(
                # qemu must not outlive the tests, even if they are killed
                ["setpriv", "--pdeathsig", "KILL", QEMU, *self._options(kernel, initramfs, theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                pass_fds=[theirs.fileno()],
            )
        threading.Thread(target=self._receive, daemon=True).start()
        deadline = time.monotonic() + BOOT_LIMIT
        while not self._ready.wait(0.1):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise VmDiedError(f"it did not come up\n{self.epitaph()}")

    def _options(self, kernel: image.Kernel, initramfs: Path, port: int) -> list[str]:
        options = ["-M", "q35", "-smp", "2", "-m", self._memory]
        options += ["-accel", "kvm"] if self._kvm else ["-accel", "tcg,thread=multi"]
        options += ["-cpu", "host" if self._kvm else SOFTWARE_CPU]
        options += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none"]
        options += ["-monitor", "none", "-serial", f"file:{self._directory}/console"]
        options += ["-kernel", str(image.uncompressed(kernel)), "-initrd", str(initramfs)]
        options += ["-append", f"console=ttyS0 quiet panic=-1 reboot=t {FAST} {CLOCK}"]
        options += ["-device", "virtio-serial-pci", "-chardev", f"socket,id=port,fd={port}"]
        options += ["-device", f"virtserialport,chardev=port,name={guest.PORT}"]
        options += ["-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"]
        options += ["-device", "virtio-9p-pci,fsdev=host,mount_tag=host"]
        for number, disk in enumerate(self._disks):
            options += ["-drive", f"file={disk},format=raw,if=none,cache=none,id=disk{number}"]
            options += ["-device", f"virtio-blk-pci,drive=disk{number}"]
        return options

    def _receive(self) -> None:
        """Hand the answers of guest.py to the commands that they are for."""
        assert self._socket
        buffer = b""
        with contextlib.suppress(OSError):
            while chunk := self._socket.recv(1 << 16):
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    answer = json.loads(line)
                    if "ready" in answer:
                        self.release = answer["ready"]
                        self._ready.set()
                    elif running := self._running.get(answer["id"]):
                        running.answers.put(answer)
        for running in list(self._running.values()):
            running.answers.put(None)

    def send(self, request: dict[str, Any]) -> None:
        assert self._socket
        with self._sending:
            try:
                self._socket.sendall(json.dumps(request).encode() + b"\n")
            except OSError:
                raise VmDiedError(self.epitaph()) from None

    def launch(
        self,
        command: Sequence[str] | str,
        *,
        input: bytes = b"",  # noqa: A002
        cwd: Path = ROOT,
        env: Mapping[str, str] | None = None,
    ) -> Running:
        """Start a command (a string is a bash script) and do not wait."""
        argv = ["/bin/bash", "-c", command] if isinstance(command, str) else list(command)
        running = Running(self, argv, next(self._numbers))
        self._running[running.number] = running
        request = {"do": "run", "id": running.number, "argv": argv, "cwd": str(cwd), "env": dict(env or {})}
        self.send(request | {"input": base64.b64encode(input).decode()})
        return running

    def run(
        self,
        command: Sequence[str] | str,
        *,
        input: str = "",  # noqa: A002
        timeout: float = 60.0,
        cwd: Path = ROOT,
        env: Mapping[str, str] | None = None,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command (a string is a bash script) to its end. subprocess.TimeoutExpired after `timeout`
        seconds; VmDiedError when the machine dies; `check`: CalledProcessError when the status is not 0."""
        running = self.launch(command, input=input.encode(), cwd=cwd, env=env)
        status = running.wait(timeout)
        done = subprocess.CompletedProcess(command, status, running.stdout.decode(), running.stderr.decode())
        if check:
            done.check_returncode()
        return done

    def read_bytes(self, path: str | Path) -> bytes:
        """A file's content. FileNotFoundError when it cannot be read."""
        running = self.launch(["cat", "--", str(path)])
        if running.wait(60.0):
            raise FileNotFoundError(running.stderr.decode())
        return bytes(running.stdout)

    def write_bytes(self, path: str | Path, data: bytes) -> None:
        """Put a file there; its directory is made when needed."""
        script = 'mkdir -p -- "$(dirname -- "$1")" && exec cat >"$1"'
        if self.launch(["sh", "-c", script, "sh", str(path)], input=data).wait(60.0):
            raise OSError(f"cannot write {path} in the machine")

    def console(self) -> str:
        """What the kernel has printed: its errors; oopses are here."""
        try:
            return Path(self._directory, "console").read_text(errors="replace").replace("\r", "")
        except OSError:
            return ""

    def epitaph(self) -> str:
        said = Path(self._directory, "qemu")
        qemu = said.read_text(errors="replace") if said.exists() else ""
        return "\n".join([*self.console().splitlines()[-LAST_WORDS:], *qemu.splitlines()[-5:]])

    def stop(self) -> None:
        """Power off, or kill what does not within 20 s; nothing is left behind."""
        if self._process is not None and self._process.poll() is None and self._socket is not None:
            # The end of the port ends guest.py, and that the machine.
            self._socket.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(20.0)
        self.kill()

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._socket is not None:
            self._socket.close()
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
