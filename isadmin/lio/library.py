"""rtslib, working on the target that this process changes. It is imported when it is first needed (0.1 s)."""

from __future__ import annotations

import sys

_settings: tuple[str, str, bool] | None = None


def use(configfs: str, dbroot: str, *, modules: bool) -> None:
    """Work on the target at `configfs`, whose reservations are in `dbroot`; load kernel modules or not."""
    global _settings
    _settings = (configfs, dbroot, modules)
    if "rtslib" in sys.modules:
        load()


def load() -> None:
    """Import rtslib, if it is not yet, and point it at the target in use."""
    import rtslib.fabric
    import rtslib.node
    import rtslib.root

    if _settings is None:
        return
    rtslib.node.CFSNode.configfs_dir, dbroot, modules = _settings
    if not modules:
        for module in (rtslib.root, rtslib.fabric):
            module.modprobe = _no_module
        rtslib.root.mount_configfs = _no_mount
    rtslib.root.RTSRoot._preferred_dbroot = dbroot


def _no_module(name: str) -> None:
    from rtslib.utils import RTSLibError

    raise RTSLibError(f"this target does not have what the kernel module {name} offers")


def _no_mount() -> None:
    """The userspace target is mounted already."""
