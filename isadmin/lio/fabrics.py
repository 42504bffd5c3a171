"""The fabrics rtslib knows, as a table: listing a configuration must not cost the import of rtslib.

A test holds the table against rtslib's classes. What needs their code (names of hardware ports, the forms of
Fibre Channel and InfiniBand names) is asked of rtslib when such hardware is there.
"""

from __future__ import annotations

from isadmin.light import record
from isadmin.lio import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_HEX = frozenset("0123456789abcdef")


def _is_free_name(wwn: str) -> bool:
    """Whether wwn is written as rtslib wants it: iqn.YYYY-MM.AUTHORITY.REST, naa. and 16 digits whose first
    tells the kind, or eui. and 16 digits."""
    kind, _, rest = wwn.partition(".")
    if kind == "iqn":
        date, _, name = rest.partition(".")
        year, dash, month = date.partition("-")
        dated = len(year) == 4 and len(month) == 2 and (year + month).isdecimal() and month[0] in "01"
        return bool(dash) and dated and "." in name and " " not in name and "_" not in name
    digits = len(rest) == 16 and _HEX.issuperset(rest)
    return digits and (kind == "eui" or (kind == "naa" and rest[0] in "125cdef"))


@record(frozen=True, slots=True)
class Fabric:
    """A way to reach targets: iSCSI, the local loopback, virtual machines, Fibre Channel, ..."""

    name: str
    features: tuple[str, ...]
    """discovery_auth, acls, auth, nps (portals), tpgts (several portal groups), nexus, cpus_allowed_list."""
    wwn_types: tuple[str, ...]
    kernel_module: str
    hardware: str = ""
    """Where the kernel lists the ports; empty when targets can have any name."""
    directory: str = ""
    """Its name in configfs where that is another."""

    def has(self, feature: str) -> bool:
        return feature in self.features

    @property
    def dirname(self) -> str:
        return self.directory or self.name

    def available(self) -> bool:
        """Whether targets can be made: always, unless only hardware ports have names and there are none."""
        return not self.hardware or any(self.ports() or ())

    def ports(self) -> list[str] | None:
        """The names that targets may have, None for any."""
        if not self.hardware:
            return None
        if not files.names(self.hardware):
            return []
        return list(self.rtslib().wwns)

    def rtslib(self) -> Any:
        """rtslib's object for this fabric."""
        from isadmin.lio import library

        library.load()
        from rtslib import FabricModule

        return FabricModule(self.name)

    def wwn(self, dirname: str) -> str:
        """The target name for a directory's name: Fibre Channel's and InfiniBand's differ."""
        return str(self.rtslib().from_fabric_wwn(dirname)) if self.hardware else dirname

    def wwn_directory(self, wwn: str) -> str:
        """The directory's name for a target name."""
        return str(self.rtslib().to_fabric_wwn(wwn)) if self.hardware else wwn

    def is_valid(self, wwn: str) -> bool:
        """Whether wwn is a name for a target or an initiator of this fabric."""
        return self.normalized(wwn) is not None

    def normalized(self, wwn: str) -> str | None:
        """The one spelling of the name of a target or an initiator of this fabric; None if it is no name."""
        written_so = not self.hardware and wwn[:3] in self.wwn_types and wwn == wwn.strip().lower()
        if written_so and _is_free_name(wwn):
            return wwn
        rtslib = self.rtslib()
        from rtslib.utils import RTSLibError

        try:
            return str(rtslib.to_normalized_wwn(wwn)[0])
        except RTSLibError:
            return None


_FC = "/sys/class/fc_host"

WWN_FORMS = {
    "iqn": "iqn.YYYY-MM.ORG.DOMAIN:NAME without blanks and underscores",
    "naa": "naa.NNNNNNNNNNNNNNNN (16 hexadecimal digits, the first 1, 2, 5, or c to f)",
    "eui": "eui.NNNNNNNNNNNNNNNN (16 hexadecimal digits)",
    "ib": "ib.NNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNN (32 hexadecimal digits)",
}
"""What names of each type look like, as far as rtslib accepts them."""

FABRICS: tuple[Fabric, ...] = (
    Fabric("srpt", ("acls",), ("ib",), "ib_srpt", "/sys/class/infiniband"),
    Fabric(
        "iscsi",
        ("discovery_auth", "acls", "auth", "nps", "tpgts", "cpus_allowed_list"),
        ("iqn", "naa", "eui"),
        "iscsi_target_mod",
    ),
    Fabric("loopback", ("nexus",), ("naa",), "tcm_loop"),
    Fabric("qla2xxx", ("acls",), ("naa",), "tcm_qla2xxx", _FC),
    Fabric("efct", ("acls",), ("naa",), "efct", _FC),
    Fabric("sbp", (), ("eui",), "sbp_target", "/sys/bus/firewire/devices"),
    Fabric("tcm_fc", ("acls",), ("naa",), "tcm_fc", _FC, "fc"),
    Fabric("vhost", ("nexus", "acls", "tpgts"), ("naa",), "tcm_vhost"),
    Fabric("xen-pvscsi", ("nexus", "tpgts"), ("naa",), "xen-scsiback"),
    Fabric("ibmvscsis", (), ("free",), "ibmvscsis", "/sys/module/ibmvscsis/drivers/vio:ibmvscsis"),
)


def fabric(name: str, among: Iterable[Fabric] = FABRICS) -> Fabric:
    """The fabric of that name. Raises KeyError."""
    for candidate in among:
        if candidate.name == name:
            return candidate
    raise KeyError(name)
