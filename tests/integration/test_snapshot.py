"""The one-pass snapshot is rtslib's dump, on a configuration with something of everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from isadmin.lio import snapshot
from isadmin.lio.host import rtslib_root
from tests.integration.devices import LoopDevices
from tests.integration.sandbox import Userspace
from tests.integration.walk import in_order

TARGET = "iqn.2003-01.org.linux-iscsi.test:t1"
TPG = f"/iscsi/{TARGET}/tpg1"
INITIATOR = "iqn.2003-01.org.linux-iscsi.test:i"

pytestmark = pytest.mark.filterwarnings("ignore:Will be removed in 1.0:DeprecationWarning")


def test_same_as_rtslibs_dump(userspace: Userspace, loop_devices: LoopDevices, tmp_path: Path) -> None:
    lines = [
        f"/backstores/fileio create f1 {tmp_path}/f1.img 1M",
        f"/backstores/fileio create f2 {loop_devices.make(1 << 20)} write_back=false",
        f"/backstores/block create b1 {loop_devices.make(1 << 20)} readonly=true",
        "/backstores/ramdisk create r1 1M nullio=true",
        "/backstores/fileio/f1/alua create g1 5",
        "/backstores/fileio/f1/alua/g1 set alua alua_access_state=1 preferred=1 alua_access_type=1",
        "/backstores/fileio/f1 set attribute emulate_tpu=1",
        "/iscsi set discovery_auth userid=du password=discovery-secret enable=1",
        f"/iscsi create {TARGET}",
        f"{TPG}/portals create 127.0.0.1 3261",
        f"{TPG} set attribute authentication=1",
        f"{TPG} set parameter MaxBurstLength=131072",
        f"{TPG} set auth userid=tu password=target-secret",
        f"{TPG}/luns create /backstores/fileio/f1",
        f"{TPG}/luns create /backstores/fileio/f2 7",
        f"{TPG}/luns/lun0 set alua alua_tg_pt_gp_name=g1",
        f"{TPG}/acls create {INITIATOR}1",
        f"{TPG}/acls create {INITIATOR}2 add_mapped_luns=false",
        f"{TPG}/acls/{INITIATOR}2 create 3 lun7 write_protect=1",
        f"{TPG}/acls/{INITIATOR}1 set auth userid=u password=a-long-secret mutual_userid=m mutual_password=b",
        f"{TPG}/acls tag {INITIATOR}2 group",
        f"/iscsi/{TARGET} create 2",
        "/loopback create naa.5001405000000001",
        "/loopback/naa.5001405000000001/luns create /backstores/ramdisk/r1",
        "/vhost create naa.5001405000000003",
    ]
    done = userspace.isadmin(typed="\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr
    host = userspace.host
    assert in_order(snapshot.dump(host.lio)) == in_order(rtslib_root(host).dump())
