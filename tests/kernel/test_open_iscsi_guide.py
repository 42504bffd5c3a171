"""What the guide tells an initiator to do with iscsiadm, word for word, at both targets."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from tests.integration import guide
from tests.integration.sandbox import Userspace
from tests.kernel import networks, openiscsi, served, world
from tests.kernel.forks import Forks
from tests.kernel.networks import ADDRESSES
from tests.kernel.openiscsi import Initiator

pytestmark = pytest.mark.kernel(disposable=True)

COMMANDS_IN_THE_GUIDE = 15
SESSIONS_OF_A_LOGIN = 4
"""As the guide's iscsid.conf has it (node.session.nr_sessions)."""
DOMAIN = "iqn.2023-01.com.example"
CLIENT = f"{DOMAIN}:client1"
TARGETS = ("storage1", "db-storage", "backup-storage", "cluster-storage")
ISCSID = openiscsi.ETC / "iscsid.conf"
CHAP = "set auth userid=user password=secret"
MUTUAL = "set auth mutual_userid=targetuser mutual_password=targetsecret"


def configuration() -> str:
    """The guide's targets, on its addresses, with its initiator and its secrets."""
    lines = ["/backstores/ramdisk create name=disk1 size=8M"]
    lines += [f"/iscsi create {DOMAIN}:{name}" for name in TARGETS]
    groups = [f"/iscsi/{DOMAIN}:{name}/tpg1" for name in TARGETS]
    # The wildcard of one target stands in the way of every other's address.
    lines += [f"{tpg}/portals delete 0.0.0.0 3260" for tpg in groups]
    for tpg in groups:
        lines += [f"{tpg}/luns create /backstores/ramdisk/disk1", f"{tpg}/acls create {CLIENT}"]
        lines += [f"{tpg}/portals create {address} 3260" for address in ADDRESSES]
        lines += [f"{tpg}/acls/{CLIENT} {words}" for words in (CHAP, MUTUAL)]
        lines += [f"{tpg} set attribute authentication=1"]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module", params=served.KINDS)
def guides_targets(
    request: pytest.FixtureRequest, lio: None, forks: Forks, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """The guide's targets, in the kernel or in userspace."""
    if request.param == "kernel":
        chosen: Userspace = world.Kernel(tmp_path_factory.mktemp("guide"), forks)
    else:
        chosen = request.getfixturevalue("daemon")
    served.clear(chosen)
    with networks.networks():
        done = chosen.isadmin(typed=configuration())
        # It warns of the guide's short secret.
        assert done.returncode == 0, done.stderr
        yield
        served.clear(chosen)


@pytest.fixture
def initiator(guides_targets: None) -> Iterator[Initiator]:
    """The guide's client, with the secrets that the guide writes into iscsid.conf."""
    kept = ISCSID.read_text()
    settings = (
        guide.fenced("# 单向CHAP认证") + guide.fenced("# 编辑iscsid.conf\n").split("# 修改以下参数\n")[1]
    )
    assert f"node.session.nr_sessions = {SESSIONS_OF_A_LOGIN}" in settings.splitlines()
    try:
        ISCSID.write_text(f"{kept}\n{settings}")
        with openiscsi.running(CLIENT) as initiator:
            yield initiator
    finally:
        ISCSID.write_text(kept)


def run(initiator: Initiator, command: str) -> str:
    return initiator.admin(*shlex.split(command)[1:])


def test_every_command_of_the_guide(initiator: Initiator) -> None:
    commands = guide.initiator_commands()
    assert len(commands) == COMMANDS_IN_THE_GUIDE
    for number, command in enumerate(commands):
        before = {name: len(openiscsi.sessions(f"{DOMAIN}:{name}")) for name in TARGETS}
        said = run(initiator, command)
        words = shlex.split(command)
        if "discovery" in words:
            portal = words[words.index("-p") + 1]
            assert all(f"{portal},1 {DOMAIN}:{name}" in said.splitlines() for name in TARGETS)
            continue
        name, portal = words[words.index("-T") + 1].rsplit(":", 1)[1], words[words.index("-p") + 1]
        sessions = openiscsi.sessions(f"{DOMAIN}:{name}")
        if "--login" in words:
            assert len(sessions) == before[name] + SESSIONS_OF_A_LOGIN, command
            assert initiator.disk(f"{DOMAIN}:{name}", 0).is_block_device()
        elif "--logout" in words:
            assert not sessions
        elif "delete" in words:
            assert f"{portal},1 {DOMAIN}:{name}" not in initiator.admin("-m", "node")
        else:
            assert "automatic" in words, (number, command)
            record = initiator.admin("-m", "node", "-T", f"{DOMAIN}:{name}", "-p", portal)
            assert "node.startup = automatic" in record


def test_automatic_login(initiator: Initiator) -> None:
    """What the service that the guide enables does at boot with its node.startup."""
    discover, _, automatic, *_ = guide.initiator_commands()
    run(initiator, discover)
    run(initiator, automatic)
    initiator.admin("-m", "node", "--loginall=automatic")
    assert len(openiscsi.sessions(f"{DOMAIN}:storage1")) == SESSIONS_OF_A_LOGIN
    assert not openiscsi.sessions(f"{DOMAIN}:db-storage")
