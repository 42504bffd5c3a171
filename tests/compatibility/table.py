"""targetcli.tsv: all that targetcli 3.0 can be told, node by node, with the test that covers each.

    kind         node               name        detail                          test
    command      targetcli's class  command     one argument, with its default
    group        targetcli's class  group       parameter, type, [ro]
    preference   UINode             name        default
    path         UINode             form        meaning
    ls           targetcli's class  line, ...   what stands beside a name

UINode stands for every node. A test is a file and a function in it, with its parameter where that tells.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

from isadmin.shell.node import Node
from isadmin.shell.nodes.acls import AclNode, Acls, MappedLunNode
from isadmin.shell.nodes.alua import PortGroupNode, PortGroups
from isadmin.shell.nodes.backstores import (
    Backstores,
    BlockBackstore,
    FileioBackstore,
    PscsiBackstore,
    RamdiskBackstore,
)
from isadmin.shell.nodes.fabrics import FabricNode
from isadmin.shell.nodes.luns import LunNode, Luns
from isadmin.shell.nodes.portals import PortalNode, Portals
from isadmin.shell.nodes.root import Root
from isadmin.shell.nodes.storage_objects import StorageObjectNode
from isadmin.shell.nodes.tpg import SingleTpgTarget, TargetNode, TpgNode
from isadmin.shell.nodes.user_backstores import UserBackstore

NODES: dict[str, type[Node]] = {
    "UINode": Node,
    "UIRoot": Root,
    "UIBackstores": Backstores,
    "UIPSCSIBackstore": PscsiBackstore,
    "UIRDMCPBackstore": RamdiskBackstore,
    "UIFileIOBackstore": FileioBackstore,
    "UIBlockBackstore": BlockBackstore,
    "UIUserBackedBackstore": UserBackstore,
    "UIPSCSIStorageObject": StorageObjectNode,
    "UIRamdiskStorageObject": StorageObjectNode,
    "UIFileioStorageObject": StorageObjectNode,
    "UIBlockStorageObject": StorageObjectNode,
    "UIUserBackedStorageObject": StorageObjectNode,
    "UIALUATargetPortGroups": PortGroups,
    "UIALUATargetPortGroup": PortGroupNode,
    "UIFabricModule": FabricNode,
    "UIMultiTPGTarget": TargetNode,
    "UITPG": TpgNode,
    "UITarget": SingleTpgTarget,
    "UILUNs": Luns,
    "UILUN": LunNode,
    "UINodeACLs": Acls,
    "UINodeACL": AclNode,
    "UIMappedLUN": MappedLunNode,
    "UIPortals": Portals,
    "UIPortal": PortalNode,
}
"""targetcli's classes of nodes, and isadmin's."""

PLUGINS = {
    "UIPSCSIStorageObject": "pscsi",
    "UIRamdiskStorageObject": "ramdisk",
    "UIFileioStorageObject": "fileio",
    "UIBlockStorageObject": "block",
    "UIUserBackedStorageObject": "user",
}

ABSTRACT = {"UIRTSLibNode", "UIBackstore", "UIStorageObject"}
"""What has no place of its own in targetcli's tree."""


class Row(NamedTuple):
    kind: str
    node: str
    name: str
    detail: str
    test: str

    @property
    def argument(self) -> tuple[str, str | None]:
        """A command's argument and its default, None where it must be given."""
        name, equals, default = self.detail.partition("=")
        return name, default if equals else None

    @property
    def kind_here(self) -> str:
        """The node as same.kind_of has it."""
        name = NODES[self.node].__name__
        return f"{name}({PLUGINS[self.node]})" if self.node in PLUGINS else name


def rows() -> list[Row]:
    with Path(__file__).with_name("targetcli.tsv").open(newline="") as file:
        _, *lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    return [Row(*line) for line in lines]


ROWS = rows()
