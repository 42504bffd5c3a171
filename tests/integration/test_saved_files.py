"""Files of other tools, and of other times, are restored; what this target does not have is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.config.test_saved_files import FILES, SAVED
from tests.integration.sandbox import Userspace

OBSOLETE = (
    "fabric_max_sectors of /backstores/fileio/f1",
    "values that this target does not have are left out",
    "storage_objects[1].unmapped_pages",
)


@pytest.mark.parametrize("name", FILES)
def test_it_is_restored_and_then_there_is_no_difference(
    name: str, module_userspace: Userspace, tmp_path: Path
) -> None:
    for image in ("f1.img", "f2.img"):
        (tmp_path / image).write_bytes(bytes(1 << 20))
    file = tmp_path / name
    file.write_text((SAVED / name).read_text().replace("@DIRECTORY@", str(tmp_path)))
    assert module_userspace.isadmin("check", str(file)).returncode == 0
    done = module_userspace.isadmin("restoreconfig", str(file), "clear_existing=true")
    assert done.returncode == 0, done.stderr
    warned = [text for text in OBSOLETE if text in done.stderr]
    assert warned == (list(OBSOLETE) if name.startswith("datera") else [])
    different = module_userspace.isadmin("--output", "json", "diff", str(file))
    assert json.loads(different.stdout)["changes"] == []
    assert different.returncode == 0
