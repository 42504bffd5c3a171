"""What is saved comes back at boot: in a machine whose target has not been loaded, let alone used."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator

import pytest

from tests.integration.test_daemon_units import lines_of
from tests.kernel.vm import Vm

pytestmark = pytest.mark.vm

LIMIT = 300.0
"""Seconds; it only ends a command that hangs."""
TARGET = "iqn.2003-01.org.linux-iscsi.test:boot"
INITIATOR = "iqn.2003-01.org.linux-iscsi.test:host"
IMAGE, DEVICE = "/srv/boot.img", "/dev/loop0"
SAVED = {
    "storage_objects": [
        {"plugin": "fileio", "name": "file", "dev": IMAGE, "size": 8 << 20, "wwn": "f", "write_back": True},
        {"plugin": "block", "name": "device", "dev": DEVICE, "wwn": "d", "readonly": False},
        {"plugin": "ramdisk", "name": "memory", "size": 4 << 20, "wwn": "m"},
    ],
    "targets": [
        {
            "fabric": "iscsi",
            "wwn": TARGET,
            "tpgs": [
                {
                    "tag": 1,
                    "enable": True,
                    "attributes": {"authentication": 1},
                    "luns": [
                        {"index": 0, "storage_object": "/backstores/fileio/file"},
                        {"index": 1, "storage_object": "/backstores/block/device"},
                    ],
                    "portals": [{"ip_address": "127.0.0.1", "port": 3260, "iser": False, "offload": False}],
                    "node_acls": [
                        {
                            "node_wwn": INITIATOR,
                            "chap_userid": "user",
                            "chap_password": "a-long-enough-secret",
                            "mapped_luns": [{"index": 0, "tpg_lun": 0, "write_protect": False}],
                        }
                    ],
                }
            ],
        },
        {
            "fabric": "loopback",
            "wwn": "naa.5001405000000001",
            "tpgs": [{"tag": 1, "luns": [{"index": 0, "storage_object": "/backstores/ramdisk/memory"}]}],
        },
    ],
    "fabric_modules": [],
}
LISTED = (
    f"file .* \\[{IMAGE} \\(8.0MiB\\) write-back activated\\]",
    f"device .* \\[{DEVICE} \\(8.0MiB\\) write-thru activated\\]",
    "memory .* \\[\\(4.0MiB\\) activated\\]",
    f"{TARGET} .* \\[TPGs: 1\\]",
    f"{INITIATOR} .* \\[.*Mapped LUNs: 1\\]",
    "127.0.0.1:3260 .* \\[OK\\]",
    "naa.5001405000000001 .* \\[.*\\]",
    "lun0 .* \\[ramdisk/memory .*\\]",
)


@pytest.fixture
def machine(request: pytest.FixtureRequest) -> Iterator[Vm]:
    """Just booted, with what is saved and the disks of that."""
    with Vm(kvm=request.config.getoption("kvm")) as vm:
        # It sees what the host has: a configuration in the other place would be another one.
        vm.run("rm -f /etc/rtslib-fb-target/saveconfig.json", check=True)
        vm.write_bytes("/etc/target/saveconfig.json", json.dumps(SAVED).encode())
        vm.write_bytes(IMAGE, b"")
        vm.write_bytes("/srv/loop.img", b"")
        vm.run(f"truncate -s 8M {IMAGE} /srv/loop.img", check=True)
        vm.run(f"modprobe loop && losetup {DEVICE} /srv/loop.img", check=True)
        yield vm


def test_what_is_saved_is_restored_by_a_kernel_that_has_no_target_yet(machine: Vm) -> None:
    loaded = machine.run("cat /proc/modules; ls /sys/kernel/config").stdout
    assert "target" not in loaded
    (line,) = lines_of("isadmin-restore.service", "ExecStart")
    command = [sys.executable, "-m", *shlex.split(line)]
    assert command[2] == "isadmin"
    done = machine.run(command, timeout=LIMIT)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    listed = machine.run([*command[:3], "ls"], timeout=LIMIT).stdout
    lines = listed.splitlines()
    for pattern in LISTED:
        assert [line for line in lines if re.search(pattern, line)], (pattern, listed)
    same = machine.run([*command[:3], "diff"], timeout=LIMIT)
    assert same.returncode == 0, same.stdout
    assert machine.read_bytes("/sys/kernel/config/target/dbroot") == b"/etc/target\n"
