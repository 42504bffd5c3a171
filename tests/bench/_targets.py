"""The targets that the benches of the data path measure: ours and tgt, each in a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.bench._processor import processor_seconds

IQN = "iqn.2003-01.org.example:bench"
SIZE = 128 << 20
TUNED = {
    "MaxRecvDataSegmentLength": "262144",
    "FirstBurstLength": "262144",
    "MaxBurstLength": "262144",
    "InitialR2T": "No",
}
PAGE = os.sysconf("SC_PAGE_SIZE")
DEPTH = 128
"""Commands that a session may have outstanding."""


@dataclass
class Server:
    """A target that runs: its name, port, LUN and process."""

    name: str
    port: int
    lun: int
    pid: int
    tuned: bool
    """Takes 256 KiB at once."""

    @property
    def url(self) -> str:
        return f"iscsi://127.0.0.1:{self.port}/{IQN}/{self.lun}"

    def memory(self) -> int:
        """Bytes of resident memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE

    def cpu(self) -> float:
        """Seconds of CPU time so far."""
        return processor_seconds(self.pid)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


@cache
def interpreter() -> str:
    """The Python that serves: the distribution's, which users have, where it is of the version that runs the
    bench and can take its libraries. Like tgt it is built with all optimizations; one built by hand without
    them takes half as long again for every operation."""
    for path in (os.environ.get("ISADMIN_BENCH_PYTHON", ""), "/usr/bin/python3"):
        tell = "import sys; print(sys.version_info[:2])"
        if path and Path(path).exists():
            done = subprocess.run([path, "-c", tell], capture_output=True, text=True, check=False)
            if done.stdout.strip() == str(sys.version_info[:2]):
                return path
    return sys.executable


@contextmanager
def isadmin(directory: Path, *, tuned: bool) -> Iterator[Server]:
    """Our target in a process of its own."""
    port = free_port()
    image = directory / f"isadmin-{port}"
    with image.open("wb") as file:
        file.truncate(SIZE)
    command = [interpreter(), "-m", "tests.bench.datapath", "--serve", str(port), str(image)]
    # Its own standard library, not that of the Python that runs the bench.
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), *libraries])}
    with subprocess.Popen(command + (["--tuned"] if tuned else []), env=environment) as process:
        try:
            wait_for(port)
            yield Server(f"isadmin{' 256k' if tuned else ''}", port, 0, process.pid, tuned)
        finally:
            process.send_signal(signal.SIGTERM)


async def serve(port: int, image: Path, *, tuned: bool) -> None:
    """The process behind `isadmin`."""
    from isadmin.userspace import model
    from isadmin.userspace.loop import settle
    from isadmin.userspace.target import Target
    from tests.userspace.rig import ATTRIB, PARAM

    target = Target()
    fabric = model.Fabric("iscsi")
    node = fabric.targets[IQN] = model.Target(fabric, IQN)
    tpg = node.tpgs[1] = model.Tpg(node, 1, enabled=True, attrib=dict(ATTRIB), param=dict(PARAM))
    tpg.attrib["default_cmdsn_depth"] = DEPTH
    if tuned:
        tpg.param.update(TUNED)
    hba = model.Hba("fileio", "fileio_0", 0)
    control = {"fd_dev_name": str(image), "fd_dev_size": str(SIZE), "fd_buffered_io": "1"}
    device = model.Device(hba, "disk", control=control, attrib={"emulate_write_cache": 1})
    device.unit = target.open_unit(device)
    tpg.luns[0] = model.Lun(tpg, 0, device=device, relative_target_port=1)
    portal = model.Portal(tpg, f"127.0.0.1:{port}", "127.0.0.1", port)
    target.open_portal(portal)
    tpg.portals[portal.dirname] = portal
    settle()
    target.start_listening()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await target.stop(0)


@contextmanager
def tgt(directory: Path, store: str, *, tuned: bool) -> Iterator[Server]:
    """tgtd with one of its backing stores."""
    port, control = free_port(), free_port() % 30000 + 1
    image = directory / f"tgt-{port}"
    with image.open("wb") as file:
        file.truncate(SIZE)
    command = ["tgtd", "-f", "-C", str(control), "--iscsi", f"portal=127.0.0.1:{port}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(port)

            def admin(*words: str) -> None:
                subprocess.run(["tgtadm", "-C", str(control), "--lld", "iscsi", *words], check=True)

            admin("--mode", "target", "--op", "new", "--tid", "1", "-T", IQN)
            keys = {"HeaderDigest": "None,CRC32C", "DataDigest": "None,CRC32C"}
            if tuned:
                keys |= TUNED | {"MaxXmitDataSegmentLength": "262144"}
            for key, value in keys.items():
                admin("--mode", "target", "--op", "update", "--tid", "1", "-n", key, "-v", value)
            new_unit = ["--mode", "logicalunit", "--op", "new", "--tid", "1", "--lun", "1"]
            admin(*new_unit, "-b", str(image), "--bstype", store)
            admin("--mode", "target", "--op", "bind", "--tid", "1", "-I", "ALL")
            yield Server(f"tgt {store}{' 256k' if tuned else ''}", port, 1, process.pid, tuned)
        finally:
            process.kill()
