"""Symbolic link targets, as users write them, become tree paths."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from isadmin.userspace.configfs.links import Resolver

LINK = "iscsi/iqn.2003-01.org.example:a/tpgt_1/lun/lun_0/f1"
MAPPED_LINK = "iscsi/iqn.2003-01.org.example:a/tpgt_1/acls/a/lun_0/l"


@pytest.fixture
def mountpoint(tmp_path: Path) -> Path:
    """Not mounted and not even there: resolving must never look inside."""
    return tmp_path.resolve() / "run" / "target"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("{mount}/core/fileio_0/f1", "core/fileio_0/f1"),
        ("{mount}", ""),
        ("{mount}/core/../core/./fileio_0//f1", "core/fileio_0/f1"),
        ("{mount}/../target/core", "core"),
        ("/sys/kernel/config/target/core/fileio_0/f1", "core/fileio_0/f1"),
        ("/sys/kernel/../kernel/config/target/core", "core"),
        ("../../../../../../target/core/fileio_0/f1", "core/fileio_0/f1"),
        ("../../../lun/lun_0", "iscsi/iqn.2003-01.org.example:a/tpgt_1/lun/lun_0"),
        ("../lun_1", "iscsi/iqn.2003-01.org.example:a/tpgt_1/lun/lun_1"),
        ("../../../../../../../run/target/core", "core"),
    ],
)
def test_inside(mountpoint: Path, target: str, path: str) -> None:
    link = MAPPED_LINK if target.startswith("../../../lun") else LINK
    assert Resolver(str(mountpoint)).resolve(link, target.format(mount=mountpoint)) == path


def test_a_link_on_the_way_is_followed(mountpoint: Path, tmp_path: Path) -> None:
    alias = tmp_path / "alias"
    alias.symlink_to(mountpoint.parent)
    relative = tmp_path / "relative"
    relative.symlink_to("alias/target")
    resolver = Resolver(str(mountpoint))
    assert resolver.resolve(LINK, f"{alias}/target/core") == "core"
    assert resolver.resolve(LINK, f"{relative}/core") == "core"


def test_outside_is_an_absolute_path(mountpoint: Path, tmp_path: Path) -> None:
    assert Resolver(str(mountpoint)).resolve(LINK, str(tmp_path)) == str(tmp_path.resolve())


def test_missing_is_enoent(mountpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Resolver(str(mountpoint)).resolve(LINK, f"{tmp_path}/nothing/below")


def test_a_circle_is_eloop(mountpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        Resolver(str(mountpoint)).resolve(LINK, f"{tmp_path}/one")
