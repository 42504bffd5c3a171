"""Every value that can be set is taken back by `undo`, with all that the target set along with it."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from isadmin.config import document, journal
from isadmin.config.model import Flat, flatten
from isadmin.errors import IsadminError
from isadmin.lio import snapshot
from isadmin.lio.attributes import TABLES, Attribute
from isadmin.shell.preferences import Bookmarks, Preferences
from isadmin.shell.session import Session
from tests.integration.sandbox import Userspace

TARGET = "iqn.2003-01.org.linux-iscsi.test:t"
INITIATOR = "iqn.2003-01.org.linux-iscsi.test:i"
TPG = f"/iscsi/{TARGET}/tpg1"
LINES = [
    "/backstores/ramdisk create r1 1M",
    "/backstores/fileio create f1 {tmp}/f1.img 1M",
    "/backstores/fileio/f1/alua create g1 5",
    f"/iscsi create {TARGET}",
    f"{TPG}/luns create /backstores/ramdisk/r1",
    f"{TPG}/acls create {INITIATOR}",
]
PLACES = {
    "/backstores/fileio/f1": ("storage_object", ("attribute",)),
    "/backstores/ramdisk/r1": ("storage_object", ("attribute",)),
    "/backstores/fileio/f1/alua/g1": ("port_group", ("alua",)),
    TPG: ("tpg", ("attribute", "parameter", "auth")),
    f"{TPG}/acls/{INITIATOR}": ("node_acl", ("attribute", "auth")),
}
VALUES = [(place, kind, group) for place, (kind, groups) in PLACES.items() for group in groups]
FEW = 3
"""At least so many values of each group can be set."""


@pytest.fixture(scope="module")
def session(module_userspace: Userspace, module_tmp: Path) -> Session:
    done = module_userspace.isadmin(typed="\n".join(LINES).format(tmp=module_tmp) + "\n")
    assert done.returncode == 0, done.stderr
    host = module_userspace.host
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        host.prepare()
    return Session(host, Preferences(), Bookmarks(), out=io.StringIO(), err=io.StringIO())


def running(session: Session) -> Flat:
    return flatten(document.value(snapshot.dump(session.lio)))


def newest(session: Session) -> Path | None:
    """The entry of the last change."""
    return journal.newest(session.host.journal, 1)[0].file


def others(entry: Attribute, now: str) -> Iterator[str]:
    """Values to try, until the target takes one."""
    yield from (one for one in entry.choices if one != now)
    if entry.type == "number":
        number = int(now) if now.lstrip("-").isdecimal() else 0
        yield from (str(one) for one in (1 - number, 4096, number // 2, number + 1, 2) if one != number)
    elif not entry.choices:
        yield from (f"{now}other"[-20:], "4096", "1~65535")


@pytest.mark.parametrize(("place", "kind", "group"), VALUES)
def test_values_come_back(session: Session, place: str, kind: str, group: str) -> None:
    tried = 0
    before, noted = running(session), newest(session)
    node = session.root.get_node(place)
    for name, entry in TABLES[kind, group].items():
        if not entry.writable or name not in node.list_group_params(group):
            continue
        for value in others(entry, str(node.get_group_getter(group)(name))):
            with suppress(IsadminError):
                session.run_line(f"{place} set {group} {name}={value}")
            if newest(session) != noted:
                break
        else:
            continue
        tried += 1
        session.run_line("undo")
        assert running(session) == before, f"{group} {name}={value}"
    assert tried >= FEW
    assert newest(session) == noted


def test_values_set_together_come_back_together(session: Session) -> None:
    before = running(session)
    for line in (
        f"{TPG} set attribute authentication=0 generate_node_acls=1 login_timeout=20",
        f"{TPG} set parameter AuthMethod=CHAP MaxConnections=1",
        f"{TPG} set attribute generate_node_acls=0 login_timeout=25",
        f"{TPG} set auth userid=me password=a-long-secret",
        f"{TPG} disable",
        "/backstores/fileio/f1 set attribute emulate_tpu=1 emulate_caw=0",
        "/backstores/fileio/f1/alua/g1 set alua alua_access_state=2 alua_access_type=1",
    ):
        session.run_line(line)
    changed = running(session)
    assert len({key for key in before if before[key] != changed[key]}) == 3
    session.run_line("undo 7")
    assert running(session) == before


def test_of_what_others_changed_only_the_same_values_matter(session: Session) -> None:
    before = running(session)
    directory = session.host.path / f"iscsi/{TARGET}/tpgt_1/attrib"
    session.run_line(f"{TPG} set attribute login_timeout=20")
    (directory / "netif_timeout").write_text("5")
    session.run_line("undo")
    assert (directory / "login_timeout").read_text() == "15\n"
    assert (directory / "netif_timeout").read_text() == "5\n"
    (directory / "netif_timeout").write_text("2")
    assert running(session) == before


def test_a_storage_object_that_is_another_one_now_is_not_deleted(session: Session) -> None:
    before = running(session)
    for line in (
        "/backstores/ramdisk create again 1M",
        "/backstores/ramdisk/again set attribute emulate_caw=0",
    ):
        session.run_line(line)
    device = next(session.host.path.glob("core/rd_mcp_*/again"))
    device.rmdir()
    device.mkdir()
    (device / "control").write_text("rd_pages=16")
    (device / "enable").write_text("1")
    for command in ("undo", "undo 2"):
        with pytest.raises(IsadminError, match="/backstores/ramdisk/again changed since"):
            session.run_line(command)
    session.run_line("undo --force 2")
    assert running(session) == before
