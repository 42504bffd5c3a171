"""Where the userspace target answers otherwise than a kernel, and why. Whatever is listed must differ: the
random operations leave it out, so that they find what is not listed."""

from __future__ import annotations

from dataclasses import dataclass

from tests.kernel.randomly import MAPPED, TPG, Operation


@dataclass(frozen=True, slots=True)
class Difference:
    """`steps`: what leads to it from randomly.START; the last one, or the tree after it, differs."""

    name: str
    steps: tuple[Operation, ...]
    reason: str
    mounted: bool = False
    """Is it the mount's, where the tree itself answers as a kernel?"""


LISTED = (
    Difference(
        "second-link-of-a-mapping",
        (
            ("symlink", f"{TPG}/lun/lun_1/link", "target/core/rd_mcp_0/e"),
            ("unlink", f"{TPG}/lun/lun_0/link"),
            ("symlink", f"{MAPPED}/other", f"{TPG}/lun/lun_1"),
        ),
        "a kernel lets a second link into a mapping whose LUN has lost its device; here it has one",
    ),
    Difference(
        "number-with-more-behind-it",
        (("write", f"{TPG}/param/MaxBurstLength", "512abc"),),
        "a kernel takes the digits at the beginning and keeps the text; here it is refused, as a value that "
        "is not what it says",
    ),
    Difference(
        "mode-of-a-scsi-host",
        (("mkdir", "target/core/pscsi_0"), ("write", "target/core/pscsi_0/hba_mode", "1")),
        "a kernel's loopback target is a SCSI host, which pscsi can pass through; here there is none",
    ),
    Difference(
        "nothing-written",
        (("write", "target/core/rd_mcp_0/e/control", ""),),
        "what writes no bytes to a file without a page cache is not told to the file system: no EFAULT",
        mounted=True,
    ),
    Difference("top-removed", (("rmdir", "target"),), "a mounted directory is busy: no EPERM", mounted=True),
)
