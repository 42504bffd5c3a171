"""A target that runs: model objects made by hand, served on loopback by a loop in a thread of its own.

No configfs and no daemon: what the tree would do is done here by calling the engine's methods as it does.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from isadmin.userspace import model
from isadmin.userspace.loop import EventLoop
from isadmin.userspace.target import Target
from tests.initiator import Initiator

T = TypeVar("T")

IQN = "iqn.2003-01.org.test:t1"
ATTRIB = {
    "authentication": 0,
    "cache_dynamic_acls": 1,
    "default_cmdsn_depth": 64,
    "demo_mode_discovery": 1,
    "demo_mode_write_protect": 0,
    "generate_node_acls": 1,
    "login_timeout": 15,
    "prod_mode_write_protect": 0,
    "tpg_enabled_sendtargets": 1,
}
PARAM = {
    "AuthMethod": "CHAP,None",
    "DataDigest": "CRC32C,None",
    "DataPDUInOrder": "Yes",
    "DataSequenceInOrder": "Yes",
    "DefaultTime2Retain": "20",
    "DefaultTime2Wait": "2",
    "ErrorRecoveryLevel": "0",
    "FirstBurstLength": "65536",
    "HeaderDigest": "CRC32C,None",
    "ImmediateData": "Yes",
    "InitialR2T": "Yes",
    "MaxBurstLength": "262144",
    "MaxConnections": "1",
    "MaxOutstandingR2T": "1",
    "MaxRecvDataSegmentLength": "8192",
    "MaxXmitDataSegmentLength": "262144",
    "TargetAlias": "",
}


class Rig:
    """The running target, and the hands that configure it."""

    def __init__(self) -> None:
        self.loop = EventLoop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.target: Target = self.call(lambda: Target(self.loop))
        self.root = model.Root()
        self.fabric = self.root.fabrics["iscsi"] = model.Fabric("iscsi")
        self._devices = 0

    def call(self, function: Callable[[], T]) -> T:
        """Run a function on the loop's thread, as the tree's calls do."""

        async def run() -> T:
            return function()

        return self.wait(run())

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        return future.result(30)

    def close(self) -> None:
        self.wait(self.target.stop(0.2))
        for hba in self.root.hbas.values():
            for device in hba.devices.values():
                if device.unit is not None:
                    self.call(lambda device=device: self.target.close_unit(device))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    # Configuration

    def device(self, plugin: str, control: dict[str, str], **attrib: int) -> model.Device:
        """An enabled storage object."""
        hba = self.root.hbas.setdefault(plugin, model.Hba(plugin, f"{plugin}_0", len(self.root.hbas)))
        self._devices += 1
        device = model.Device(hba, f"d{self._devices}", control=control)
        device.product = device.name
        device.serial = f"00000000-0000-0000-0000-{self._devices:012d}"
        device.attrib.update(attrib)
        hba.devices[device.name] = device
        device.unit = self.call(lambda: self.target.open_unit(device))
        return device

    def ramdisk(self, size: int = 1 << 20, **attrib: int) -> model.Device:
        return self.device("rd_mcp", {"rd_pages": str(size // 4096)}, **attrib)

    def file(self, path: Path, size: int = 1 << 20, *, buffered: bool = True, **attrib: int) -> model.Device:
        control = {"fd_dev_name": str(path), "fd_dev_size": str(size)}
        if buffered:
            control["fd_buffered_io"] = "1"
        attrib.setdefault("emulate_write_cache", int(buffered))
        return self.device("fileio", control, **attrib)

    def tpg(
        self, name: str = IQN, tag: int = 1, *, param: dict[str, str] | None = None, **attrib: int
    ) -> model.Tpg:
        """An enabled portal group, without portals."""
        target = self.fabric.targets.setdefault(name, model.Target(self.fabric, name))
        tpg = model.Tpg(
            target, tag, enabled=True, attrib={**ATTRIB, **attrib}, param={**PARAM, **(param or {})}
        )
        target.tpgs[tag] = tpg
        return tpg

    def portal(self, tpg: model.Tpg, address: str = "127.0.0.1", port: int = 0) -> model.Portal:
        """A portal, at a port of the system's choice unless one is given; its port is the real one then."""
        portal = model.Portal(tpg, f"{address}:{port}", address, port)
        self.call(lambda: self.target.open_portal(portal))
        tpg.portals[portal.dirname] = portal
        for listener in self.target.portals:
            if portal in listener.portals.values():
                portal.port = listener.port = listener.bound_port
        return portal

    def lun(self, tpg: model.Tpg, device: model.Device, number: int | None = None) -> model.Lun:
        number = len(tpg.luns) if number is None else number
        lun = model.Lun(tpg, number, device=device, relative_target_port=1)
        tpg.luns[number] = lun
        device.exports.append(lun)
        self.call(lambda: self.target.lun_changed(lun))
        return lun

    def acl(self, tpg: model.Tpg, initiator: str, **attrib: int) -> model.NodeAcl:
        acl = model.NodeAcl(tpg, initiator, attrib=attrib)
        tpg.acls[initiator] = acl
        self.call(lambda: self.target.acl_added(acl))
        return acl

    def map(
        self, acl: model.NodeAcl, lun: model.Lun, number: int | None = None, *, protect: bool = False
    ) -> model.MappedLun:
        number = lun.number if number is None else number
        mapped = model.MappedLun(acl, number, lun=lun, write_protect=protect)
        acl.mapped[number] = mapped
        lun.mapped.append(mapped)
        self.call(lambda: self.target.mapped_lun_changed(mapped))
        return mapped

    def unmap(self, mapped: model.MappedLun) -> None:
        assert mapped.lun is not None
        mapped.lun.mapped.remove(mapped)
        mapped.lun = None
        del mapped.acl.mapped[mapped.number]
        self.call(lambda: self.target.mapped_lun_changed(mapped))

    def listen(self) -> None:
        self.call(self.target.start_listening)

    def serve(self, *devices: model.Device, param: dict[str, str] | None = None, **attrib: int) -> model.Tpg:
        """A target with one portal and these devices as its LUNs, listening."""
        tpg = self.tpg(param=param, **attrib)
        self.portal(tpg)
        for device in devices:
            self.lun(tpg, device)
        self.listen()
        return tpg

    # Use

    def address(self, tpg: model.Tpg) -> tuple[str, int]:
        portal = next(iter(tpg.portals.values()))
        return portal.address, portal.port

    def login(self, tpg: model.Tpg, **options: Any) -> Initiator:
        """An initiator logged in to a portal group's first portal."""
        options.setdefault("target", tpg.target.name)
        return Initiator(self.address(tpg), **options)
