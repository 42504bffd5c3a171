"""The light handles, on the tree that a real kernel had."""

from __future__ import annotations

from pathlib import Path

import pytest

from isadmin.lio import exports, files, sessions, snapshot
from isadmin.lio.exports import exports_of
from isadmin.lio.fabrics import fabric
from isadmin.lio.objects import Lio, MappedLun, NodeAcl, Tpg, lowest_free
from isadmin.lio.storage_objects import Info, PortGroup, StorageObject
from tests.lio.kernel_tree import make_tree

T1 = "iqn.2003-01.org.test:t1"
I1 = "iqn.2003-01.org.test:i1"


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Lio:
    """All kinds of storage objects, iSCSI, loopback and vhost."""
    return Lio(str(make_tree("44", tmp_path_factory.mktemp("everything"))))


@pytest.fixture(scope="module")
def tpg(everything: Lio) -> Tpg:
    (target,) = everything.targets(fabric("iscsi"))
    (tpg,) = target.tpgs()
    return tpg


def test_storage_objects(everything: Lio) -> None:
    names = {so.full_name for so in everything.storage_objects()}
    assert names == {"fileio/f1", "fileio/f2", "ramdisk/r1", "ramdisk/n1", "block/b1", "pscsi/p1", "user/u1"}
    assert {so.name for so in everything.storage_objects("ramdisk")} == {"r1", "n1"}


def test_find_storage_object(everything: Lio) -> None:
    found = everything.find_storage_object("block", "b1")
    assert found is not None
    assert found.path.endswith("/core/iblock_4/b1")
    assert everything.find_storage_object("block", "f1") is None


def so(lio: Lio, plugin: str, name: str) -> StorageObject:
    found = lio.find_storage_object(plugin, name)
    assert found is not None
    return found


def test_facts_of_fileio(everything: Lio) -> None:
    facts = so(everything, "fileio", "f1").facts()
    assert facts.pop("wwn")
    assert facts == {
        "name": "f1",
        "plugin": "fileio",
        "dev": "/run/d/f1.img",
        "write_back": True,
        "size": 8 << 20,
        "aio": False,
    }


def test_facts_of_others(everything: Lio) -> None:
    assert so(everything, "ramdisk", "r1").facts()["size"] == 2048 * 4096
    assert "nullio" not in so(everything, "ramdisk", "r1").facts()
    assert so(everything, "ramdisk", "n1").facts()["nullio"] is True
    assert so(everything, "user", "u1").facts()["config"] == "foo/bar"
    block = so(everything, "block", "b1").facts()
    assert (block["dev"], block["readonly"], block["exclusive"]) == ("/dev/loop0", False, True)
    assert set(so(everything, "pscsi", "p1").facts()) == {"name", "plugin", "dev"}


def test_alua_of_passthrough_is_not_touched(everything: Lio) -> None:
    assert so(everything, "pscsi", "p1").port_groups() == []
    assert {g.name for g in so(everything, "ramdisk", "r1").port_groups()} >= {"default_tg_pt_gp", "tpg_a"}


def test_exports_come_from_the_groups_members(everything: Lio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "_by_search", None)
    found = exports_of(everything, so(everything, "fileio", "f1"))
    assert [(lun.tpg.target.wwn, lun.number) for lun in found] == [(T1, 0)]


def test_exports_of_passthrough_are_searched(everything: Lio) -> None:
    found = exports_of(everything, so(everything, "pscsi", "p1"))
    assert [(lun.tpg.target.wwn, lun.number) for lun in found] == [(T1, 6)]


def test_exports_in_several_fabrics(everything: Lio) -> None:
    found = exports_of(everything, so(everything, "ramdisk", "r1"))
    assert {lun.tpg.fabric.name for lun in found} >= {"loopback", "vhost"}


def test_not_exported(everything: Lio) -> None:
    assert exports_of(everything, so(everything, "fileio", "f2")) == []


def test_portal_group(tpg: Tpg) -> None:
    assert tpg.enabled()
    assert [lun.number for lun in tpg.luns()] == [0, 1, 5, 6, 7]
    assert tpg.free_lun() == 2
    assert [acl.wwn for acl in tpg.acls()] == [I1]
    assert tpg.portals()


def test_luns(tpg: Tpg) -> None:
    by_number = {lun.number: lun for lun in tpg.luns()}
    assert by_number[0].storage_object() == so(tpg.target.lio, "fileio", "f1")
    assert by_number[1].port_group_name() == "tpg_a"
    assert by_number[6].port_group_name() is None, "pscsi without ALUA"
    assert by_number[0].link() is not None


def test_mapped_luns(tpg: Tpg) -> None:
    (acl,) = tpg.acls()
    shown = {m.number: (m.lun_number(), m.write_protected()) for m in acl.mapped_luns()}
    assert shown == {0: (0, False), 3: (1, True)}
    assert acl.free_lun() == 1
    assert acl.tag() == "grp1"
    assert [m.number for m in tpg.luns()[1].mappings()] == [3]


def test_dead_mapping(tmp_path: Path) -> None:
    lio = Lio(str(make_tree("48", tmp_path)))
    ((tpg,),) = [target.tpgs() for target in lio.targets(fabric("iscsi"))]
    broken = [m for m in tpg.acls()[0].mapped_luns() if m.storage_object() is None]
    assert broken
    (saved,) = [t["tpgs"][0] for t in snapshot.dump(lio)["targets"] if t["fabric"] == "iscsi"]
    alive = {lun.number for lun in tpg.luns() if lun.link() is not None}
    assert {lun["index"] for lun in saved["luns"]} == alive
    assert {m["tpg_lun"] for m in saved["node_acls"][0]["mapped_luns"]} <= alive


def test_active_session(tmp_path: Path) -> None:
    lio = Lio(str(make_tree("36", tmp_path)))
    (session,) = sessions.all_sessions(lio)
    assert (session.initiator, session.dynamic, session.state) == (I1, False, "LOGGED_IN")
    assert session.connections[0].address == "127.0.0.1"
    assert session.acl is not None


def test_dynamic_session(tmp_path: Path) -> None:
    lio = Lio(str(make_tree("39", tmp_path)))
    (session,) = sessions.all_sessions(lio)
    assert (session.initiator, session.dynamic, session.id) == ("iqn.2003-01.org.test:dyn", True, None)
    assert session.tpg is not None


def test_nothing_loaded(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    lio = Lio(str(target))
    assert lio.storage_objects() == []
    assert lio.targets(fabric("iscsi")) == []
    assert snapshot.dump(lio) == {"storage_objects": [], "targets": [], "fabric_modules": []}


def test_objects_that_come_and_go_are_seen(tmp_path: Path) -> None:
    lio = Lio(str(tmp_path))
    assert lio.find_storage_object("fileio", "a") is None
    (tmp_path / "core/fileio_0/a").mkdir(parents=True)
    assert lio.find_storage_object("fileio", "a") is not None
    (tmp_path / "core/fileio_0/a").rmdir()
    (tmp_path / "core/fileio_0/b").mkdir()
    assert lio.find_storage_object("fileio", "a") is None
    assert lio.find_storage_object("fileio", "b") is not None


def test_user_of_a_file_by_any_path(tmp_path: Path) -> None:
    image, other = tmp_path / "a.img", tmp_path / "link.img"
    image.write_bytes(b"x")
    other.symlink_to(image)
    device = tmp_path / "core/fileio_0/a"
    device.mkdir(parents=True)
    (device / "udev_path").write_text(f"{image}\n")
    lio = Lio(str(tmp_path))
    found = lio.user_of(str(other))
    assert found is not None
    assert found.name == "a"
    assert lio.user_of(str(tmp_path / "absent")) is None
    (device / "udev_path").write_text("/elsewhere\n")
    assert lio.user_of(str(image)) is None, "remembered, but not true any more"


@pytest.mark.parametrize(
    ("used", "free"), [([], 0), ([0], 1), ([1], 0), ([0, 1, 3], 2), ([3, 0, 0, 1], 2), ([0, 1, 2], 3)]
)
def test_lowest_free(used: list[int], free: int) -> None:
    assert lowest_free(used) == free


def test_info_words() -> None:
    info = Info("Status: ACTIVATED  Max Queue Depth: 0\n   File: /a b:c  Size: 5  Mode: O_DSYNC Async: 0\n")
    assert (info.status, info.word("Size"), info.word("Async"), info.word("Nothing")) == (
        "activated",
        "5",
        "0",
        "",
    )


def test_one_write_each(tmp_path: Path) -> None:
    path = tmp_path / "attribute"
    path.write_text("old-and-longer")
    files.write(str(path), "new")
    assert path.read_text() == "new-and-longer"[:3] + "-and-longer"
    assert files.read_or(str(tmp_path / "absent"), "default") == "default"


def test_handles_of_what_is_not_there(tpg: Tpg) -> None:
    assert not NodeAcl(tpg, "iqn.none").exists()
    assert not MappedLun(tpg.acls()[0], 99).exists()
    assert not PortGroup(so(tpg.target.lio, "fileio", "f1"), "../attrib").exists()


def test_a_look_at_everything_reads_what_is_met_twice_once(
    everything: Lio, tpg: Tpg, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    link = files.link

    def counted(directory: str) -> tuple[str, str] | None:
        read.append(directory)
        return link(directory)

    monkeypatch.setattr(files, "link", counted)
    first = tpg.luns()[0]
    with everything.looking():
        assert first.link() == first.link() == tpg.luns()[0].link()
        seen = everything.hbas()
        everything.storage_objects()
        assert everything.hbas() is not seen
        seen = everything.hbas()
        everything.storage_objects()
        assert everything.hbas() is seen
    assert read == [first.path]
    first.link()
    assert read == [first.path] * 2


def test_free_numbers_are_the_lowest_whoever_makes_and_removes(tmp_path: Path) -> None:
    """What this process made is not listed again; what others do is seen."""
    lio, luns = Lio(str(tmp_path)), tmp_path / "lun"

    def make(number: int) -> None:
        (luns / f"lun_{number}").mkdir()

    luns.mkdir()
    assert lio.free_number(str(luns)) == 0
    for number in (0, 1):
        assert lio.free_number(str(luns)) == number
        make(number)
        lio.made(str(luns), number)
    assert lio.free_number(str(luns)) == 2
    make(2)
    make(4)
    assert lio.free_number(str(luns)) == 3
    make(3)
    make(5)
    lio.made(str(luns), 3)
    assert lio.free_number(str(luns)) == 6
    (luns / "lun_1").rmdir()
    make(6)
    assert lio.free_number(str(luns)) == 1
    assert lio.free_number(str(tmp_path / "nosuch")) == 0


def test_a_storage_object_made_here_is_found_without_another_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lio, core = Lio(str(tmp_path)), tmp_path / "core"

    def make(number: int) -> StorageObject:
        path = core / f"rd_mcp_{number}" / f"r{number}"
        path.mkdir(parents=True)
        return StorageObject(str(path))

    (core / "alua").mkdir(parents=True)
    make(0)
    assert (lio.free_hba(), len(lio.hbas())) == (1, 1)
    listed = []
    names = files.names

    def counted(path: str) -> list[str]:
        listed.append(path)
        return names(path)

    monkeypatch.setattr(files, "names", counted)
    for number in (1, 2):
        so = make(number)
        lio.made_storage_object(so.path)
        assert lio.find_storage_object("ramdisk", so.name) == so
        assert lio.free_hba() == number + 1
    assert listed == []
    others = make(4)
    lio.made_storage_object(make(3).path)
    assert lio.find_storage_object("ramdisk", "r4") == others
    assert lio.free_hba() == 5
    assert listed == [str(core)] * 2


def test_what_this_process_removed_is_not_listed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    core, lio = tmp_path / "core", Lio(str(tmp_path))

    def remove(number: int) -> None:
        so = StorageObject(str(core / f"rd_mcp_{number}" / f"r{number}"))
        with lio.removing(so):
            Path(so.path).rmdir()
            Path(so.path).parent.rmdir()

    for number in range(4):
        (core / f"rd_mcp_{number}" / f"r{number}").mkdir(parents=True)
    assert len(lio.hbas()) == 4
    listed = []
    names = files.names

    def counted(path: str) -> list[str]:
        listed.append(path)
        return names(path)

    monkeypatch.setattr(files, "names", counted)
    remove(0)
    assert sorted(lio.hbas()) == ["rd_mcp_1", "rd_mcp_2", "rd_mcp_3"]
    assert listed == []
    # Somebody else removes one and makes one.
    (core / "rd_mcp_1" / "r1").rmdir()
    (core / "rd_mcp_1").rmdir()
    (core / "rd_mcp_9" / "r9").mkdir(parents=True)
    remove(2)
    assert sorted(lio.hbas()) == ["rd_mcp_3", "rd_mcp_9"]
    assert listed == [str(core)]
