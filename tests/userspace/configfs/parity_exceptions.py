"""Where the tree differs from the recorded kernel, and why. Whatever is listed must differ."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class EntryException:
    """Entries of recorded states: which states by number, which paths."""

    states: range
    path: re.Pattern[str]
    reason: str


ALL = range(49)

ENTRIES = (
    EntryException(ALL, re.compile(r"\."), "configfs itself, above the tree"),
    EntryException(range(45, 49), re.compile(r"rdma_cm"), "another subsystem of configfs"),
    EntryException(range(45, 49), re.compile(r"target"), "counts target/srpt"),
    EntryException(
        range(45, 49), re.compile(r"target/srpt(/.*)?"), "needs an RDMA device: the fabric is unknown here"
    ),
)

STATES_OPERATIONS = dict.fromkeys(range(100, 105), "needs an RDMA device: target/srpt is unknown here")
"""states-ops.jsonl by n."""

PROBES: dict[int, str] = {
    5: "lists configfs itself, above the tree",
    7: "statfs is answered by the mount, not by the tree",
    30: "extended attributes are answered by the mount, not by the tree",
    151: "crashes a kernel: emulate_tpu on an unconfigured fileio is EINVAL here",
    489: "crashes a kernel: NULL twice to alua_lu_gp is EINVAL here",
}
"""probes.jsonl by n."""

PORTAL_PROBES: dict[int, str] = {}
"""portal-probes.jsonl by n."""
