"""Counters as LIO's files have them, and what is made of two looks at them."""

from __future__ import annotations

from pathlib import Path

from isadmin.lio.counters import MIB, Counted, Rate, of_acl, of_lun, rate
from isadmin.lio.fabrics import fabric
from isadmin.lio.objects import Lio, Lun, NodeAcl, Target, Tpg


def tpg(path: Path) -> Tpg:
    return Tpg(Target(Lio(str(path)), fabric("iscsi"), "iqn.2003-01.org.test:t"), 1)


def table(directory: str, **values: str) -> None:
    Path(directory).mkdir(parents=True)
    for name, value in values.items():
        Path(directory, name).write_text(f"{value}\n")


def test_what_a_lun_has_done(tmp_path: Path) -> None:
    lun = Lun(tpg(tmp_path), 0)
    table(f"{lun.path}/statistics/scsi_tgt_port", in_cmds="7", read_mbytes="2", write_mbytes="0")
    assert of_lun(lun) == Counted(7, 2 * MIB, 0)


def test_what_is_not_told_is_not_made_up(tmp_path: Path) -> None:
    assert of_lun(Lun(tpg(tmp_path), 0)) == Counted(None, None, None)
    assert rate(Counted(1, None, 3), Counted(2, 5, 1), 1.0) == Rate(1.0, None, None)


def test_a_sessions_mapped_luns_are_added_up(tmp_path: Path) -> None:
    acl = NodeAcl(tpg(tmp_path), "iqn.2003-01.org.test:i")
    for number in range(2):
        directory = f"{acl.path}/lun_{number}/statistics/scsi_auth_intr"
        table(directory, num_cmds=f"{number + 1}", read_mbytes="1", write_mbytes="0")
    assert of_acl(acl) == Counted(3, 2 * MIB, 0)
    table(f"{acl.path}/lun_2/statistics/scsi_auth_intr")
    assert of_acl(acl) == Counted(None, None, None)


def test_rates_are_by_the_second() -> None:
    assert rate(Counted(10, 0, MIB), Counted(30, MIB, MIB), 2.0) == Rate(10.0, MIB / 2, 0.0)
