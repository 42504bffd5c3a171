"""The mounted tree through the kernel: errnos arrive, nothing stale is cached, stores report at write."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from isadmin.lio import files, told
from isadmin.lio.told import Directory, Look
from tests.bench.configfs_walk import IQN as BENCH
from tests.bench.configfs_walk import build
from tests.integration.sandbox import Userspace

IQN = "iqn.2003-01.org.example:t1"
INITIATOR = "iqn.2003-01.org.example:i1"


@pytest.fixture
def mount(module_userspace: Userspace) -> Path:
    return module_userspace.mount


@pytest.fixture(scope="module")
def tpg(module_userspace: Userspace) -> Path:
    """A target portal group with a ramdisk as LUN 0."""
    mount = module_userspace.mount
    device = ramdisk(mount, 900)
    group = mount / "iscsi" / IQN / "tpgt_1"
    for directory in (mount / "iscsi", group.parent, group, group / "lun" / "lun_0"):
        directory.mkdir()
    (group / "lun" / "lun_0" / "link").symlink_to(device)
    return group


def ramdisk(mount: Path, number: int) -> Path:
    device = mount / "core" / f"rd_mcp_{number}" / f"r{number}"
    device.parent.mkdir()
    device.mkdir()
    (device / "control").write_text("rd_pages=256")
    (device / "enable").write_text("1\n")
    return device


def errno_of(action: Callable[[], object]) -> str:
    """The symbolic errno an action ends with."""
    try:
        action()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "done"


def store(path: Path, data: bytes) -> int:
    """One write(2), without a truncation."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        return os.write(descriptor, data)
    finally:
        os.close(descriptor)


def test_an_absent_name_is_seen_once_it_is_made(mount: Path) -> None:
    hba = mount / "core" / "fileio_1"
    device = hba / "f1"
    for _ in range(2):
        for path in (hba, device, device / "attrib", device / "attrib" / "block_size"):
            assert not path.exists()
            assert not path.exists()
        hba.mkdir()
        assert not device.exists()
        device.mkdir()
        assert (device / "attrib" / "block_size").is_file()
        device.rmdir()
        hba.rmdir()


def test_link_counts_follow_what_is_made_and_removed(mount: Path) -> None:
    core = mount / "core"
    before = core.stat().st_nlink
    assert before == 2 + sum(path.is_dir() for path in core.iterdir())
    (core / "fileio_2").mkdir()
    assert core.stat().st_nlink == before + 1
    alone = (core / "fileio_2").stat().st_nlink
    (core / "fileio_2" / "f2").mkdir()
    assert (core / "fileio_2").stat().st_nlink == alone + 1
    (core / "fileio_2" / "f2").rmdir()
    assert (core / "fileio_2").stat().st_nlink == alone
    (core / "fileio_2").rmdir()
    assert core.stat().st_nlink == before


def test_a_large_directory_is_listed_whole(mount: Path) -> None:
    """More entries than one buffer of the kernel holds."""
    names = {f"fileio_{number}" for number in range(1000, 1300)}
    for name in names:
        (mount / "core" / name).mkdir()
    found = [path.name for path in (mount / "core").iterdir()]
    assert len(found) == len(set(found))
    assert names <= set(found)
    for name in names:
        (mount / "core" / name).rmdir()
    assert not names & {path.name for path in (mount / "core").iterdir()}


def test_contents_are_always_fresh(tpg: Path) -> None:
    enable = tpg / "enable"
    with enable.open() as first:
        assert first.read() == "0\n"
        store(enable, b"1\n")
        # As in configfs an open file shows what it showed: a reader of two halves gets one whole.
        first.seek(0)
        assert first.read() == "0\n"
    assert enable.read_text() == "1\n"
    store(enable, b"0\n")
    assert enable.read_text() == "0\n"


def test_a_refused_store_fails_in_write_itself_and_once(tpg: Path) -> None:
    attribute = tpg / "attrib" / "login_timeout"
    before = attribute.read_text()
    descriptor = os.open(attribute, os.O_WRONLY)
    assert errno_of(lambda: os.write(descriptor, b"not a number\n")) == "EINVAL"
    os.close(descriptor)
    assert attribute.read_text() == before


def test_each_write_is_one_store(mount: Path) -> None:
    device = mount / "core" / "fileio_3" / "f3"
    device.parent.mkdir()
    device.mkdir()
    descriptor = os.open(device / "control", os.O_WRONLY)
    assert os.write(descriptor, b"fd_dev_name=/nowhere/f3.img") == 27
    assert os.write(descriptor, b"fd_dev_size=1048576") == 19
    os.close(descriptor)
    assert "/nowhere/f3.img" in (device / "info").read_text()
    assert "1048576" in (device / "info").read_text()
    device.rmdir()
    device.parent.rmdir()


def test_errnos_arrive(mount: Path, tpg: Path, tmp_path: Path) -> None:
    lun = tpg / "lun" / "lun_1"
    lun.mkdir()
    answers = {
        "make a file": errno_of(lambda: (mount / "file").touch()),
        "write a read-only file": errno_of(lambda: os.open(mount / "version", os.O_WRONLY)),
        "read a write-only file": errno_of(
            lambda: os.open(mount / "core/rd_mcp_900/r900/control", os.O_WRONLY)
        ),
        "open what is absent": errno_of(lambda: os.open(mount / "absent", os.O_RDONLY)),
        "make what is there": errno_of(lambda: (mount / "iscsi").mkdir()),
        "an unknown fabric": errno_of(lambda: (mount / "nonsense").mkdir()),
        "remove a fixed directory": errno_of(lambda: (tpg / "attrib").rmdir()),
        "make in a leaf": errno_of(lambda: (tpg / "attrib" / "x").mkdir()),
        "remove a device in use": errno_of(lambda: (mount / "core/rd_mcp_900/r900").rmdir()),
        "rename": errno_of(lambda: (mount / "iscsi").rename(mount / "loopback")),
        "hard link": errno_of(lambda: os.link(mount / "version", mount / "v")),
        "remove a file": errno_of(lambda: (mount / "version").unlink()),
        "link outside": errno_of(lambda: (lun / "x").symlink_to(tmp_path)),
        "link to nothing": errno_of(lambda: (lun / "x").symlink_to(tmp_path / "nothing")),
        "link to nothing inside": errno_of(lambda: (lun / "x").symlink_to(mount / "core" / "nothing")),
        "second link": errno_of(
            lambda: (tpg / "lun" / "lun_0" / "x").symlink_to(mount / "core/rd_mcp_900/r900")
        ),
        "a name too long": errno_of(lambda: (mount / "core" / ("fileio_" + "1" * 300)).mkdir()),
        "a mapped LUN of no number": errno_of(lambda: (tpg / "lun" / "lun_x").mkdir()),
    }
    lun.rmdir()
    assert answers == {
        "make a file": "EACCES",
        "write a read-only file": "EACCES",
        "read a write-only file": "done",
        "open what is absent": "ENOENT",
        "make what is there": "EEXIST",
        "an unknown fabric": "EINVAL",
        "remove a fixed directory": "EPERM",
        "make in a leaf": "EPERM",
        "remove a device in use": "EBUSY",
        "rename": "EPERM",
        "hard link": "EPERM",
        "remove a file": "EPERM",
        "link outside": "EPERM",
        "link to nothing": "ENOENT",
        "link to nothing inside": "ENOENT",
        "second link": "EEXIST",
        "a name too long": "ENAMETOOLONG",
        "a mapped LUN of no number": "EINVAL",
    }


def test_links_read_relative_and_lead_to_the_device(mount: Path, tpg: Path) -> None:
    link = tpg / "lun" / "lun_0" / "link"
    assert os.readlink(link) == "../../../../../../target/core/rd_mcp_900/r900"  # noqa: PTH115
    assert (link / "enable").read_text() == "1\n"
    assert link.resolve() == (mount / "core" / "rd_mcp_900" / "r900").resolve()


def test_a_link_made_anew_leads_to_its_new_target(mount: Path, tpg: Path) -> None:
    first, second = ramdisk(mount, 901), ramdisk(mount, 902)
    lun = tpg / "lun" / "lun_2"
    lun.mkdir()
    for device in (first, second, first):
        (lun / "link").symlink_to(device)
        assert (lun / "link").resolve() == device.resolve()
        (lun / "link").unlink()
        assert not (lun / "link").exists()
        assert not (lun / "link").is_symlink()
    lun.rmdir()


def test_a_mapped_lun_is_linked_relative(tpg: Path) -> None:
    acl = tpg / "acls" / INITIATOR
    acl.mkdir()
    (acl / "lun_0").mkdir()
    (acl / "lun_0" / "link").symlink_to("../../../lun/lun_0")
    assert (acl / "lun_0" / "link").resolve() == (tpg / "lun" / "lun_0").resolve()
    (acl / "lun_0" / "link").unlink()
    (acl / "lun_0").rmdir()
    acl.rmdir()


def test_modes_owners_and_times_can_be_changed(mount: Path) -> None:
    version = mount / "version"
    assert version.stat().st_mode & 0o777 == 0o444
    version.chmod(0o400)
    os.utime(version, ns=(1_000_000_500, 2_000_000_500))
    os.chown(version, 65534, -1)
    facts = version.stat()
    assert (facts.st_mode & 0o777, facts.st_uid, facts.st_gid) == (0o400, 65534, 0)
    assert (facts.st_atime_ns, facts.st_mtime_ns) == (1_000_000_500, 2_000_000_500)
    assert facts.st_size == 4096
    version.chmod(0o444)


def test_a_long_content_is_read_in_pieces(tpg: Path) -> None:
    path = tpg / "param" / "AuthMethod"
    whole = path.read_bytes()
    descriptor = os.open(path, os.O_RDONLY)
    pieces = []
    while piece := os.read(descriptor, 3):
        pieces.append(piece)
    os.close(descriptor)
    assert len(pieces) > 1
    assert b"".join(pieces) == whole


def test_a_file_of_the_mount_cannot_be_a_disk(mount: Path, tmp_path: Path) -> None:
    """The daemon would wait for itself; reached through a link too."""
    alias = tmp_path / "alias"
    alias.symlink_to(mount)
    device = mount / "core" / "fileio_4" / "f4"
    device.parent.mkdir()
    for path in (mount / "version", alias / "version"):
        device.mkdir()
        (device / "control").write_text(f"fd_dev_name={path},fd_dev_size=4096")
        assert errno_of(lambda: store(device / "enable", b"1\n")) == "EINVAL"
        device.rmdir()
    device.parent.rmdir()


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_a_listing_follows_what_comes_and_goes(tpg: Path) -> None:
    """Whoever made or removed it; the directory's time tells of each change."""
    luns, acl = tpg / "lun", tpg / "acls" / INITIATOR
    before = names(luns)
    for _ in range(3):
        changed = luns.stat().st_mtime_ns
        subprocess.run(["mkdir", str(luns / "lun_77")], check=True)
        assert luns.stat().st_mtime_ns > changed
        assert names(luns) == {*before, "lun_77"}
        inside = names(luns / "lun_77")
        (luns / "lun_77" / "link").symlink_to(tpg.parents[2] / "core/rd_mcp_900/r900")
        assert names(luns / "lun_77") == {*inside, "link"}
        assert names(luns / "lun_77") == {*inside, "link"}
        subprocess.run(["rm", str(luns / "lun_77" / "link")], check=True)
        assert names(luns / "lun_77") == inside
        (luns / "lun_77").rmdir()
        assert names(luns) == before
    if not acl.exists():
        acl.mkdir()
    assert INITIATOR in names(acl.parent)
    assert {entry.name for entry in os.scandir(luns) if entry.is_dir()} == before


def test_a_directory_tells_all_its_files_in_one_request(mount: Path) -> None:
    directory = ramdisk(mount, 960) / "attrib"
    one_by_one = {path.name: path.read_text().strip() for path in directory.iterdir()}
    assert files.contents(str(directory)) == one_by_one
    store(directory / "emulate_tas", b"0")
    assert files.contents(str(directory)) == {**one_by_one, "emulate_tas": "0"}
    # As in the kernel's configfs there are no others.
    unsupported = errno.errorcode[errno.EOPNOTSUPP]
    assert errno_of(lambda: os.getxattr(directory, "user.other")) == unsupported
    assert errno_of(lambda: os.getxattr(directory / "block_size", "user.other")) == unsupported
    assert files.contents(str(mount / "nothing")) is None


def test_a_file_is_told_as_it_is_read(mount: Path, tpg: Path) -> None:
    """The same content, or the same errno."""
    empty = tpg / "lun" / "lun_1"
    empty.mkdir()
    for path in [mount / "version", *tpg.rglob("*"), *(mount / "core/rd_mcp_900/r900").rglob("*")]:
        if path.is_symlink() or not path.is_file() or "statistics" in path.parts:
            continue
        told: list[bytes] = []

        def tell(path: Path = path, told: list[bytes] = told) -> None:
            told.append(os.getxattr(path, files.CONTENT))

        outcome = errno_of(tell)
        if outcome == "done":
            assert told == [path.read_bytes()], path
        else:
            assert errno_of(path.read_bytes) == outcome, path
    assert errno_of(lambda: os.getxattr(empty / "alua_tg_pt_gp", files.CONTENT)) == "ENODEV"
    assert errno_of(lambda: os.getxattr(mount / "core/rd_mcp_900/r900/control", files.CONTENT)) == "EACCES"
    empty.rmdir()


def test_directories_are_told_with_their_neighbours(mount: Path, tpg: Path) -> None:
    """All of them as they are, for a fraction of the requests; what is not there is told to be empty."""
    made = []
    for number in range(40):
        made.append(tpg / "lun" / f"lun_{100 + number}")
        made[-1].mkdir()
        (made[-1] / "link").symlink_to(mount / "core/rd_mcp_900/r900")
    look = Look()
    parts = {"statistics", "fabric_statistics"}
    paths = [path for path in sorted((mount, *mount.rglob("*"))) if not parts & set(path.parts)]
    for path in paths:
        if path.is_symlink() or not path.is_dir():
            continue
        found = look.at(str(path))
        assert found is not None
        entries = {entry.name: entry for entry in path.iterdir()}
        assert list(found.order) == list(entries)
        links = {name: str(entry.readlink()) for name, entry in entries.items() if entry.is_symlink()}
        assert found.links == links
        plain = [name for name, entry in entries.items() if name not in links and entry.is_file()]
        assert set(found.directories) == entries.keys() - links.keys() - set(plain)
        for name in plain:
            if name in found.texts:
                assert found.texts[name] == entries[name].read_text().strip()
            else:
                assert errno_of(entries[name].read_bytes) != "done"
    assert look.at(f"{tpg}/lun/lun_99") == look.at(f"{tpg}/nothing") == Directory({})
    for lun in made:
        (lun / "link").unlink()
        lun.rmdir()


def test_neighbours_are_asked_for_at_once(mount: Path, tpg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [tpg / "lun" / f"lun_{100 + number}" for number in range(64)]
    for lun in made:
        lun.mkdir()
    asked = []
    ask = told._content

    def count(path: str, name: bytes, room: int) -> bytes | None:
        asked.append((path, name))
        return ask(path, name, room)

    monkeypatch.setattr(told, "_content", count)
    look = Look()
    for lun in made:
        found = look.at(str(lun))
        assert found is not None
        assert "alua_tg_pt_gp" in found.order
        assert not found.whole
    # The first by itself, then the list, then all of them in blocks.
    assert len(asked) <= 3 + len(made) / told.AT_ONCE + 1
    for lun in made:
        lun.rmdir()
    # What it knew it still says; what is new is asked for.
    assert look.at(str(made[0])) is not None
    assert Look().at(str(made[0])) is None


def test_what_is_secret_is_as_private_as_its_file(tpg: Path) -> None:
    (tpg / "auth/password").write_text("a-long-secret")
    (tpg / "auth/password").chmod(0o200)
    said = files.contents(str(tpg / "auth"))
    assert said is not None
    assert "password" not in said
    assert "userid" in said
    (tpg / "auth/password").chmod(0o644)
    (tpg / "auth/password").write_text("NULL")


def test_what_is_too_much_to_be_told_is_listed(
    mount: Path, tpg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ten thousand LUNs are: here with no room for more than one."""
    made = [tpg / "lun" / f"lun_{100 + number}" for number in range(40)]
    for lun in made:
        lun.mkdir()
    (made[0] / "link").symlink_to(mount / "core/rd_mcp_900/r900")
    ask, roomy = told._content, Look()
    asked = []

    def ask_with_little_room(path: str, name: bytes, room: int) -> bytes | None:
        asked.append(path)
        return ask(path, name, min(room, 1024) if name == told.CONTENT else room)

    monkeypatch.setattr(told, "_content", ask_with_little_room)
    look = Look()
    for path in (tpg / "lun", *made):
        little, much = look.at(str(path)), roomy.at(str(path))
        assert little is not None
        assert much is not None
        assert list(little.order.items()) == list(much.order.items())
        assert (little.links, little.directories) == (much.links, much.directories)
    assert len(asked) < len(made) / 2
    (made[0] / "link").unlink()
    for lun in made:
        lun.rmdir()


LOOK = (
    "import sys; from isadmin.lio import files; files._MANY = int(sys.argv.pop(1)); import isadmin.__main__"
)


def test_a_large_target_is_looked_at_as_a_small_one(userspace: Userspace, tmp_path: Path) -> None:
    """With its directories told many at once, and with each read by itself."""
    build(userspace.mount, 40, whole=True)
    # Half made, and under a number that no tool gives.
    (userspace.mount / "iscsi" / BENCH / "tpgt_1/lun/lun_77").mkdir()
    (userspace.mount / "iscsi" / BENCH / "tpgt_1/lun/lun_0x4f").mkdir()
    (userspace.mount / "core/rd_mcp_77/never-enabled").mkdir(parents=True)
    (userspace.mount / "core/rd_mcp_3/r3/alua/another").mkdir()

    def answers(many: int) -> list[str]:
        lead = [sys.executable, "-c", LOOK, str(many), "--userspace"]
        found = []
        saved = str(tmp_path / f"{many}.json")
        for words in (["ls"], ["--output", "json", "ls"], ["/iscsi", "ls"], ["saveconfig", saved]):
            done = subprocess.run(
                [*lead, *words], env=userspace.env, capture_output=True, text=True, check=False
            )
            assert (done.returncode, done.stderr) == (0, ""), done.stderr
            found.append(done.stdout.replace(saved, "SAVED"))
        return [*found, Path(saved).read_text()]

    at_once, one_by_one = answers(0), answers(1 << 30)
    assert at_once == one_by_one
    assert at_once[0].count("r39") >= 4
