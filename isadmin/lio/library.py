"""rtslib, working on the target that this process changes. It is imported when it is first needed (0.1 s)."""

from __future__ import annotations

import sys
from typing import Any

from isadmin.lio import files

_settings: tuple[str, str | None, bool] | None = None
_moving_dbroot: Any = None
"""How rtslib itself tells where reservations are, and moves them to where it wants them."""


def use(configfs: str, dbroot: str | None, *, modules: bool) -> None:
    """Work on the target at `configfs`, whose reservations are in `dbroot`, None for where they are; load
    kernel modules or not."""
    global _settings
    _settings = (configfs, dbroot, modules)
    if "rtslib" in sys.modules:
        load()


def load() -> None:
    """Import rtslib, if it is not yet, and point it at the target in use."""
    import rtslib.fabric
    import rtslib.node
    import rtslib.root

    global _moving_dbroot
    if _settings is None:
        return
    rtslib.node.CFSNode.configfs_dir, dbroot, modules = _settings
    if not modules:
        for module in (rtslib.root, rtslib.fabric):
            module.modprobe = _no_module
        rtslib.root.mount_configfs = _no_mount
    root = rtslib.root.RTSRoot
    _moving_dbroot = _moving_dbroot or root._set_dbroot
    root._set_dbroot = _read_dbroot if dbroot is None else _moving_dbroot
    root._preferred_dbroot = dbroot


def saves_in() -> str:
    """The directory of the configuration that rtslib, as it is installed, saves and restores."""
    import rtslib.root

    return str(rtslib.root.default_save_file).rpartition("/")[0]


def _read_dbroot(root: Any) -> None:
    root._dbroot = files.read_or(f"{root.path}/dbroot", root._default_dbroot)


def _no_module(name: str) -> None:
    from rtslib.utils import RTSLibError

    raise RTSLibError(f"this target does not have what the kernel module {name} offers")


def _no_mount() -> None:
    """The userspace target is mounted already."""
