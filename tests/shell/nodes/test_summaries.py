"""`ls` and `get` over the tree that a real kernel had, with no target behind it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from isadmin.errors import IsadminError
from isadmin.lio.host import Host
from isadmin.shell.session import Session
from tests.lio.kernel_tree import make_tree


def session_on(target: Path, *, show_secrets: bool = False) -> Session:
    host = Host("given", target, None, target.parent)
    return Session(host, out=io.StringIO(), err=io.StringIO(), show_secrets=show_secrets)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree("44", tmp_path_factory.mktemp("kernel"))


def typed(session: Session, line: str) -> str:
    assert isinstance(session.out, io.StringIO)
    session.out.truncate(session.out.seek(0))
    session.run_line(line)
    return session.out.getvalue()


def lines(text: str) -> list[str]:
    """A tree's lines without what it is drawn with."""
    found = []
    for line in text.splitlines():
        name, _, summary = line.partition("o- ")[2].partition(" .")
        found.append(f"{name} {summary.lstrip('.').strip()}")
    return found


def test_backstores(tree: Path) -> None:
    shown = lines(typed(session_on(tree), "ls /backstores 2"))
    assert "f1 [/run/d/f1.img (8.0MiB) write-back activated]" in shown
    assert "f2 [/run/d/f2.img (4.0MiB) write-thru deactivated]" in shown
    assert "r1 [(8.0MiB) activated]" in shown
    assert "n1 [nullio (8.0MiB) deactivated]" in shown
    assert "p1 [/dev/sda activated]" in shown
    assert any(line.startswith("b1 [/dev/loop0 (") for line in shown)


def test_iscsi(tree: Path) -> None:
    shown = lines(typed(session_on(tree), "ls /iscsi"))
    assert shown[0] == "iscsi [Targets: 1]"
    assert "lun0 [fileio/f1 (/run/d/f1.img) (default_tg_pt_gp)]" in shown
    assert "lun6 [pscsi/p1 (/dev/sda) (None)]" in shown
    assert "mapped_lun3 [lun1 ramdisk/r1 (ro)]" in shown
    assert "grp1 [(iqn.2003-01.org.test:i1), Mapped LUNs: 2]" in shown


def test_other_fabrics(tree: Path) -> None:
    shown = lines(typed(session_on(tree), "ls /loopback")) + lines(typed(session_on(tree), "ls /vhost"))
    assert "naa.5001405000000001 [naa.5001405000000002]" in shown
    assert "tpg1 [naa.5001405000000004, no-gen-acls]" in shown


def test_dead_links(tmp_path: Path) -> None:
    session = session_on(make_tree("48", tmp_path))
    shown = lines(typed(session, "ls /iscsi"))
    assert "lun0 [BROKEN STORAGE LINK]" in shown
    assert "mapped_lun0 [BROKEN LUN LINK]" in shown


def test_secrets_are_masked_unless_asked_for(tree: Path) -> None:
    acl = "/iscsi/iqn.2003-01.org.test:t1/tpg1/acls/grp1"
    for command in ("get auth", "info"):
        hidden = typed(session_on(tree), f"{acl} {command}")
        assert "secret" not in hidden.replace("Secret", "")
        assert "********" in hidden
        assert "secretsecret1" in typed(session_on(tree, show_secrets=True), f"{acl} {command}")


def test_every_group_of_every_node_can_be_read(tree: Path) -> None:
    """`get GROUP` on each node: nothing fails, and each parameter has a meaning."""
    session = session_on(tree)
    places = ["/"]
    while places:
        node = session.root.get_node(places.pop())
        places += [child.path for child in node.sorted_children()]
        for group in node.list_config_groups():
            for name in node.list_group_params(group):
                assert node.get_group_param(group, name)["description"], (node.path, group, name)
                assert isinstance(node.shown_value(group, name), str)


def test_every_command_has_help(tree: Path) -> None:
    session = session_on(tree)
    places, seen = ["/"], set()
    while places:
        node = session.root.get_node(places.pop())
        places += [child.path for child in node.sorted_children()]
        if type(node) in seen:
            continue
        seen.add(type(node))
        for command in node.list_commands():
            said = typed(session, f"{node.path} help {command}")
            assert "No description" not in said
            assert "DESCRIPTION" in said


@pytest.mark.parametrize(
    "path",
    [
        "/backstores/fileio/nosuch",
        "/backstores/nosuch",
        "/iscsi/iqn.2003-01.org.test:t9",
        "/iscsi/iqn.2003-01.org.test:t1/tpg9",
        "/iscsi/iqn.2003-01.org.test:t1/tpg1/luns/lun99",
        "/iscsi/iqn.2003-01.org.test:t1/tpg1/luns/x",
        "/iscsi/iqn.2003-01.org.test:t1/tpg1/acls/iqn.2003-01.org.test:i9",
        "/iscsi/iqn.2003-01.org.test:t1/tpg1/acls/iqn.2003-01.org.test:i1",  # it is shown by its tag
        "/iscsi/iqn.2003-01.org.test:t1/tpg1/acls/grp1/mapped_lun9",
        "/iscsi/discovery_auth",
        "/iscsi/..%2f",
    ],
)
def test_paths_that_are_not_there(tree: Path, path: str) -> None:
    with pytest.raises(IsadminError, match="No such path"):
        typed(session_on(tree), f"{path} ls")
