"""Saving one storage object, and forgetting one, beside the rest of the saved configuration."""

from __future__ import annotations

import json

from tests.integration.sandbox import Userspace

TARGET = "iqn.2003-01.org.linux-iscsi.test:t1"


def saved_names(userspace: Userspace) -> tuple[set[str], set[str]]:
    saved = json.loads((userspace.state / "saveconfig.json").read_text())
    return {so["name"] for so in saved["storage_objects"]}, {target["wwn"] for target in saved["targets"]}


def test_one_storage_object_is_saved_and_forgotten(userspace: Userspace) -> None:
    lines = [
        "/backstores/ramdisk create r1 1M",
        "saveconfig",
        "/backstores/ramdisk create r2 1M",
        "/backstores/ramdisk create r3 1M",
        f"/iscsi create {TARGET}",
        f"/iscsi/{TARGET}/tpg1/luns create /backstores/ramdisk/r2",
        "set global auto_save_on_exit=false",
        "/backstores/ramdisk/r2 saveconfig",
    ]
    done = userspace.isadmin(typed="\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr
    assert "Storage Object 'ramdisk:r2' config saved to" in done.stdout
    assert saved_names(userspace) == ({"r1", "r2"}, {TARGET})
    assert (userspace.state / "saveconfig.json").stat().st_mode & 0o777 == 0o600

    done = userspace.isadmin("/backstores/ramdisk", "delete", "r2", "save=true")
    assert done.returncode == 0, done.stderr
    assert saved_names(userspace) == ({"r1"}, {TARGET})
