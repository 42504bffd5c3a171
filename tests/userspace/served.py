"""A target that runs and is configured through its tree, as through configfs; nothing is mounted."""

from __future__ import annotations

from typing import Any

from isadmin.userspace.configfs.tree import Tree
from tests.userspace.rig import IQN, Rig

TPG = f"iscsi/{IQN}/tpgt_1"
DEVICE = "core/rd_mcp_0/r"
SERIAL = "0123456789abcdef"
ALICE = ("alice", "alices-secret")
MUTUAL = ("target", "targets-secret")


class Served:
    """A target configured through its tree: one portal, one LUN."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.tree = Tree(rig.target, cpus=1)
        for path in ("core/rd_mcp_0", DEVICE, "iscsi", f"iscsi/{IQN}", TPG, f"{TPG}/lun/lun_0"):
            self.do("mkdir", path)
        self.write(f"{DEVICE}/control", "rd_pages=16")
        self.write(f"{DEVICE}/enable", "1")
        self.write(f"{DEVICE}/wwn/vpd_unit_serial", SERIAL)
        self.do("symlink", DEVICE, f"{TPG}/lun/lun_0/link")
        self.do("mkdir", f"{TPG}/np/127.0.0.1:0")
        rig.listen()
        (listener,) = rig.target.portals
        self.address = ("127.0.0.1", listener.bound_port)
        self.write(f"{TPG}/enable", "1")

    def do(self, operation: str, *arguments: Any) -> Any:
        return self.rig.call(lambda: getattr(self.tree, operation)(*arguments))

    def write(self, path: str, value: str) -> None:
        self.do("write", path, value.encode())

    def acl(self, name: str) -> str:
        """Its directory, with LUN 0 mapped."""
        path = f"{TPG}/acls/{name}"
        self.do("mkdir", path)
        self.map(path)
        return path

    def map(self, acl: str) -> None:
        self.do("mkdir", f"{acl}/lun_0")
        self.do("symlink", f"{TPG}/lun/lun_0", f"{acl}/lun_0/link")

    def credentials(self, path: str, *, mutual: bool = False) -> None:
        self.write(f"{path}/userid", ALICE[0])
        self.write(f"{path}/password", ALICE[1])
        if mutual:
            self.write(f"{path}/userid_mutual", MUTUAL[0])
            self.write(f"{path}/password_mutual", MUTUAL[1])

    def read(self, path: str) -> str:
        text: str = self.do("read", path).decode()
        return text
