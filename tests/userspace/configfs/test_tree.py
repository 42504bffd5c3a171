"""What holds for every directory, whatever LIO makes of it."""

from __future__ import annotations

import errno
import stat

import pytest

from isadmin.userspace.configfs.tree import MOST_TOLD, Told, Tree
from tests.userspace.configfs.building import ACL, FILE, TPG, Box, fails


@pytest.fixture
def box() -> Box:
    return Box()


def test_an_empty_tree(box: Box) -> None:
    assert box.tree.listdir("") == ["core", "dbroot", "version"]
    assert box.tree.listdir("core/alua/lu_gps") == ["default_lu_gp"]


def test_a_directory_counts_its_subdirectories(box: Box) -> None:
    box.fileio()
    assert box.tree.stat("core").nlink == 4
    st = box.tree.stat(FILE)
    assert (st.nlink, st.size, stat.S_ISDIR(st.mode)) == (8, 0, True)


def test_a_file_is_a_page(box: Box) -> None:
    st = box.tree.stat("version")
    assert (st.mode, st.nlink, st.size, st.blksize, st.blocks) == (0o100444, 1, 4096, 4096, 0)
    assert (st.atime, st.mtime, st.ctime) == (1000.0, 1000.0, 1000.0)


def test_names_come_newest_first(box: Box) -> None:
    box.mkdirs("core/fileio_0", "core/rd_mcp_1", "iscsi")
    assert box.tree.listdir("core") == ["rd_mcp_1", "fileio_0", "alua"]
    assert box.tree.listdir("iscsi") == ["discovery_auth", "cpus_allowed_list", "lio_version"]


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("nosuch", errno.ENOENT),
        ("nosuch/deeper", errno.ENOENT),
        ("version/deeper", errno.ENOTDIR),
        ("core/" + "n" * 256, errno.ENAMETOOLONG),
        ("core//alua", errno.ENOENT),
    ],
)
def test_paths_that_lead_nowhere(box: Box, path: str, number: int) -> None:
    for look in (box.tree.stat, box.tree.listdir, box.tree.readlink, box.tree.rmdir, box.tree.unlink):
        with fails(number):
            look(path)


def test_a_directory_is_no_file(box: Box) -> None:
    with fails(errno.EISDIR):
        box.tree.read("core")
    with fails(errno.EISDIR):
        box.tree.write("core", b"1")
    with fails(errno.EISDIR):
        box.tree.unlink("core")
    with fails(errno.EISDIR):
        box.tree.truncate("core", 0)
    with fails(errno.EISDIR):
        box.tree.access("core", read=True, write=True)
    box.tree.access("core", read=True, write=False)


def test_a_file_is_no_directory(box: Box) -> None:
    with fails(errno.ENOTDIR):
        box.tree.listdir("version")
    with fails(errno.ENOTDIR):
        box.tree.rmdir("version")
    with fails(errno.ENOTDIR):
        box.tree.mkdir("version/x")
    with fails(errno.EINVAL):
        box.tree.readlink("version")


def test_files_are_not_made_nor_removed(box: Box) -> None:
    with fails(errno.EACCES):
        box.tree.create("core/x")
    with fails(errno.EACCES):
        box.tree.mknod("core/x")
    with fails(errno.EEXIST):
        box.tree.create("version")
    with fails(errno.ENOENT):
        box.tree.create("nosuch/x")
    with fails(errno.EPERM):
        box.tree.unlink("version")


def test_nothing_is_renamed_nor_hard_linked(box: Box) -> None:
    box.mkdirs("core/fileio_0")
    with fails(errno.EPERM):
        box.tree.rename("core/fileio_0", "core/fileio_1")
    with fails(errno.EPERM):
        box.tree.link("version", "version2")
    with fails(errno.ENOENT):
        box.tree.rename("nosuch", "core/fileio_1")


@pytest.mark.parametrize(
    "path", ["", "core", "core/alua", "core/alua/lu_gps/default_lu_gp", f"{FILE}/attrib"]
)
def test_fixed_directories_stay(box: Box, path: str) -> None:
    box.fileio()
    with fails(errno.EPERM):
        box.tree.rmdir(path)


@pytest.mark.parametrize("path", [f"{FILE}/x", f"{FILE}/attrib/x", f"{FILE}/pr/x", "core/alua/x"])
def test_leaf_directories_take_no_directory(box: Box, path: str) -> None:
    box.fileio()
    with fails(errno.EPERM):
        box.tree.mkdir(path)


def test_a_name_is_taken_once(box: Box) -> None:
    box.fileio()
    for path in ("core", "version", "core/fileio_0", FILE, f"{FILE}/attrib"):
        with fails(errno.EEXIST):
            box.tree.mkdir(path)


def test_what_holds_something_is_not_removed(box: Box) -> None:
    box.fileio()
    box.tree.mkdir(f"{FILE}/alua/group")
    for path in ("core/fileio_0", FILE):
        with fails(errno.ENOTEMPTY):
            box.tree.rmdir(path)
    box.tree.rmdir(f"{FILE}/alua/group")
    box.tree.rmdir(FILE)
    box.tree.rmdir("core/fileio_0")
    assert box.tree.listdir("core") == ["alua"]


def test_a_link(box: Box) -> None:
    box.fileio()
    box.tpg()
    link = f"{box.lun(FILE)}/link"
    st = box.tree.stat(link)
    assert (st.mode, st.size, st.nlink) == (0o120777, 0, 1)
    assert box.tree.readlink(link) == "../../../../../../target/core/fileio_0/f1"
    assert box.tree.listdir(f"{TPG}/lun/lun_0")[:2] == ["link", "statistics"]
    assert box.tree.stat(f"{link}/enable").size == 4096
    assert box.read(f"{link}/enable") == "1\n"
    with fails(errno.ELOOP):
        box.tree.read(link)
    with fails(errno.EEXIST):
        box.tree.symlink(FILE, link)
    with fails(errno.ENOTDIR):
        box.tree.rmdir(link)


def test_what_a_link_leads_to_is_busy(box: Box) -> None:
    box.fileio()
    box.tpg()
    lun = box.lun(FILE)
    with fails(errno.EBUSY):
        box.tree.rmdir(FILE)
    with fails(errno.ENOTEMPTY):
        box.tree.rmdir(lun)
    box.tree.unlink(f"{lun}/link")
    box.tree.rmdir(lun)
    box.tree.rmdir(FILE)


def test_links_belong_in_luns_and_mapped_luns_only(box: Box) -> None:
    box.fileio()
    box.tpg()
    for path in ("x", "core/x", f"{FILE}/x", f"{TPG}/lun/x", f"{TPG}/acls/x"):
        with fails(errno.EPERM):
            box.tree.symlink(FILE, path)


def test_link_targets(box: Box) -> None:
    box.fileio()
    box.tpg()
    box.tree.mkdir(f"{TPG}/lun/lun_0")
    link = f"{TPG}/lun/lun_0/x"
    for source, number in (
        ("/etc", errno.EPERM),
        ("core/nosuch", errno.ENOENT),
        (f"{FILE}/enable", errno.ENOTDIR),
        (f"{FILE}/attrib", errno.EFAULT),
        ("core", errno.EFAULT),
    ):
        with fails(number):
            box.tree.symlink(source, link)
    assert not box.exists(link)


def test_a_link_may_be_named_through_a_link(box: Box) -> None:
    box.fileio()
    box.tpg()
    first = f"{box.lun(FILE)}/link"
    box.tree.mkdir(f"{TPG}/lun/lun_1")
    box.tree.symlink(first, f"{TPG}/lun/lun_1/x")
    assert box.tree.readlink(f"{TPG}/lun/lun_1/x").endswith(f"target/{FILE}")


def test_modes_owners_and_times_can_be_set(box: Box) -> None:
    box.fileio()
    path = f"{FILE}/attrib/block_size"
    box.tree.chmod(path, 0o600)
    box.tree.chown(path, 5, -1)
    box.tree.chown(path, -1, 6)
    box.tree.utime(path, 1.5, 2.5)
    st = box.tree.stat(path)
    assert (st.mode, st.uid, st.gid, st.atime, st.mtime, st.ctime) == (0o100600, 5, 6, 1.5, 2.5, 1000.0)
    assert box.tree.stat(f"{FILE}/attrib/queue_depth").mode == 0o100644
    box.tree.chmod(FILE, 0o700)
    assert box.tree.stat(FILE).mode == 0o40700
    box.tree.rmdir(FILE)
    box.fileio()
    assert box.tree.stat(path).mode == 0o100644


def test_mkdir_has_a_mode(box: Box) -> None:
    box.tree.mkdir("core/fileio_0", 0o700)
    assert box.tree.stat("core/fileio_0").mode == 0o40700


def test_opening_asks_for_the_mode_and_for_what_the_file_can_do(box: Box) -> None:
    box.fileio()
    box.tree.access(f"{FILE}/enable", read=True, write=True)
    for path, read, write in (
        ("version", False, True),
        (f"{FILE}/control", True, False),
        (f"{FILE}/control", True, True),
    ):
        with fails(errno.EACCES):
            box.tree.access(path, read=read, write=write)
    box.tree.chmod("version", 0o666)
    with fails(errno.EACCES):
        box.tree.access("version", read=True, write=True)
    box.tree.chmod("dbroot", 0o444)
    with fails(errno.EACCES):
        box.tree.access("dbroot", read=False, write=True)


def test_a_write_of_nothing_is_efault(box: Box) -> None:
    with fails(errno.EFAULT):
        box.tree.write("dbroot", b"")


def test_a_store_takes_a_page_at_most(box: Box) -> None:
    box.fileio(enable=False)
    assert box.tree.write(f"{FILE}/control", b"fd_dev_name=" + b"n" * 5000) == 4095


def test_text_ends_at_its_first_nul(box: Box) -> None:
    box.fileio()
    assert box.tree.write(f"{FILE}/udev_path", b"bin\0ary") == 3
    assert box.tree.read(f"{FILE}/udev_path") == b"bin\n"


def test_bytes_that_are_no_text_survive(box: Box) -> None:
    box.fileio()
    assert box.tree.write(f"{FILE}/udev_path", b"\xff\xfe") == 2
    assert box.tree.read(f"{FILE}/udev_path") == b"\xff\xfe\n"


def test_truncating_changes_nothing(box: Box) -> None:
    box.tree.truncate("dbroot", 0)
    assert box.read("dbroot") == "/var/target\n"


def test_an_open_name_is_gone_with_its_directory(box: Box) -> None:
    box.fileio()
    assert box.read(f"{FILE}/enable") == "1\n"
    box.tree.rmdir(FILE)
    with fails(errno.ENOENT):
        box.tree.read(f"{FILE}/enable")


def test_a_mapped_luns_link(box: Box) -> None:
    box.fileio()
    box.tpg()
    mapped = box.mapped(box.lun(FILE))
    assert box.tree.readlink(f"{mapped}/link") == f"../../../../../../../target/{TPG}/lun/lun_0"
    assert box.tree.stat(ACL).nlink == 7


def told_one_by_one(tree: Tree, directory: str) -> dict[str, Told]:
    """What `told` says, by other calls."""
    found: dict[str, Told] = {}
    for name, kind in tree.entries(directory):
        path = f"{directory}/{name}" if directory else name
        if kind == stat.S_IFDIR:
            found[name] = {}
        elif kind == stat.S_IFLNK:
            found[name] = [tree.readlink(path)]
        elif not tree.stat(path).mode & 0o444:
            found[name] = None
        else:
            try:
                found[name] = tree.read(path).decode()
            except OSError as error:
                found[name] = error.errno
    return found


def exported(box: Box) -> None:
    """Storage objects, a target, LUNs, one of them without a link, and mappings."""
    box.fileio()
    box.ramdisk()
    box.tpg()
    box.mapped(box.lun(FILE))
    box.tree.mkdir(f"{TPG}/lun/lun_7")


def test_a_directory_told_at_once(box: Box) -> None:
    exported(box)
    directories = [""]
    for directory in directories:
        told = box.tree.told(directory)
        assert list(told.items()) == list(told_one_by_one(box.tree, directory).items())
        directories += [f"{directory}/{name}".lstrip("/") for name, what in told.items() if what == {}]
    assert len(directories) > 50
    assert box.tree.told(f"{TPG}/lun/lun_7")["alua_tg_pt_gp"] == errno.ENODEV
    assert box.tree.told(FILE)["control"] is None
    box.tree.chmod(f"{FILE}/attrib/emulate_tas", 0)
    assert box.tree.told(f"{FILE}/attrib")["emulate_tas"] is None
    with fails(errno.ENOTDIR):
        box.tree.told(f"{FILE}/info")
    with fails(errno.ENOENT):
        box.tree.told(f"{FILE}/nothing")


def test_some_directories_with_what_was_made_in_them(box: Box) -> None:
    exported(box)

    def check(directory: str, told: dict[str, Told]) -> int:
        """How many directories are told."""
        flat = {name: {} if isinstance(what, dict) else what for name, what in told.items()}
        everything = told_one_by_one(box.tree, directory)
        assert flat == {name: everything[name] for name in flat}
        below = [(f"{directory}/{name}".lstrip("/"), what) for name, what in told.items()]
        return 1 + sum(check(path, what) for path, what in below if what and isinstance(what, dict))

    whole = box.tree.told_below("", slice(0, 99))
    assert list(whole) == box.tree.listdir("")
    assert check("", whole) > 10
    # What LIO makes with an object is not told with it, unless something was made there.
    object_below = box.tree.told_below(FILE.rpartition("/")[0], slice(0, 99))["f1"]
    assert isinstance(object_below, dict)
    assert object_below["attrib"] == {}
    assert "default_tg_pt_gp" in str(object_below["alua"])
    luns = box.tree.listdir(f"{TPG}/lun")
    for part in (slice(0, 1), slice(1, 2), slice(1, 9), slice(5, 9)):
        assert list(box.tree.told_below(f"{TPG}/lun", part)) == luns[part]


def test_what_is_told_at_once_is_bounded(box: Box) -> None:
    box.fileio()
    box.tpg()
    for number in range(MOST_TOLD + 1):
        box.tree.mkdir(f"{TPG}/lun/lun_{number}")
    assert len(box.tree.told_below(f"{TPG}/lun", slice(0, MOST_TOLD))) == MOST_TOLD
    for path, part in ((f"{TPG}/lun", slice(0, MOST_TOLD + 1)), (TPG, slice(0, 9)), ("", slice(0, 9))):
        with fails(errno.ERANGE):
            box.tree.told_below(path, part)
