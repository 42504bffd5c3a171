"""The kernel's target is there: what every other test of this directory stands on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel

CONFIGFS = Path("/sys/kernel/config")
MODULES = [
    "target_core_file",
    "target_core_iblock",
    "target_core_pscsi",
    "target_core_user",
    "iscsi_target_mod",
    "tcm_loop",
]


def test_modules_load() -> None:
    assert CONFIGFS.is_dir()
    subprocess.run(["modprobe", "-a", "target_core_mod", *MODULES], check=True)
    loaded = {line.split()[0] for line in Path("/proc/modules").read_text().splitlines()}
    assert set(MODULES) <= loaded


def test_target_directory_appears_with_the_core() -> None:
    subprocess.run(["modprobe", "target_core_mod"], check=True)
    assert (
        (CONFIGFS / "target" / "version").read_text().startswith("Target Engine Core ConfigFS Infrastructure")
    )
    with pytest.raises(OSError, match="Invalid argument"):
        (CONFIGFS / "target" / "no-such-fabric").mkdir()


def test_iscsi_fabric_is_made_and_removed() -> None:
    subprocess.run(["modprobe", "-a", "target_core_mod", "iscsi_target_mod"], check=True)
    fabric = CONFIGFS / "target" / "iscsi"
    fabric.mkdir(exist_ok=True)
    assert (fabric / "discovery_auth" / "userid").is_file()
    fabric.rmdir()
    assert not fabric.exists()
