"""open-iscsi, the kernel's initiator: its daemon, discovery, logins, and the disks that they bring."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.integration.sandbox import wait_until

ETC = Path("/etc/iscsi")
SESSIONS = Path("/sys/class/iscsi_session")
LIMIT = 120.0
"""Seconds; it only ends a wait that would never end."""
DOOR = "@ISCSIADM_ABSTRACT_NAMESPACE"
"""The socket on which its daemon hears iscsiadm."""
AUTHENTICATION_FAILED = 24
"""iscsiadm's exit status (ISCSI_ERR_LOGIN_AUTH_FAILED)."""
LOGIN_FAILED = 19
"""The same of a login that it gave up itself (ISCSI_ERR_FATAL_LOGIN)."""


@dataclass(frozen=True, slots=True)
class Chap:
    """Credentials; the target's own are empty without mutual authentication."""

    user: str
    secret: str
    target_user: str = ""
    target_secret: str = ""

    def settings(self, prefix: str) -> dict[str, str]:
        """As names and values of iscsiadm's records, below a prefix such as node.session.auth."""
        values = {"authmethod": "CHAP", "username": self.user, "password": self.secret}
        if self.target_user:
            values |= {"username_in": self.target_user, "password_in": self.target_secret}
        return {f"{prefix}.{name}": value for name, value in values.items()}


@dataclass(frozen=True, slots=True)
class Session:
    """A session of the kernel's, by its directory in sysfs."""

    directory: Path

    def read(self, attribute: str) -> str:
        return (self.directory / attribute).read_text().strip()

    def connection(self, attribute: str) -> str:
        """What its one connection negotiated or is connected to."""
        connection = next((self.directory / "device").glob("connection*/iscsi_connection/*"))
        return (connection / attribute).read_text().strip()

    def disks(self) -> dict[int, Path]:
        """LUN -> device."""
        blocks = (self.directory / "device").glob("target*/*:*:*:*/block/*")
        return {int(block.parents[1].name.rsplit(":", 1)[1]): Path("/dev") / block.name for block in blocks}


def sessions(target: str, name: str = "") -> list[Session]:
    """The sessions with a target, in the order of logins; those of the initiator `name` if given."""
    everything = sorted(SESSIONS.glob("session*"), key=lambda path: int(path.name.removeprefix("session")))
    found = [session for session in map(Session, everything) if session.read("targetname") == target]
    return [session for session in found if not name or session.read("initiatorname") == name]


class Initiator:
    """One initiator, by its name. Made by `running`."""

    def admin(self, *arguments: str, status: int = 0) -> str:
        """Run iscsiadm; both its outputs. Its exit status must be `status`."""
        done = subprocess.run(
            ["iscsiadm", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        output = done.stdout + done.stderr
        assert done.returncode == status, (arguments, done.returncode, output)
        return output

    def discover(self, portal: str, chap: Chap | None = None, *, status: int = 0) -> list[str]:
        """Send targets: the lines "ADDRESS:PORT,TAG TARGET"."""
        if chap is None:
            words = ["-m", "discovery", "-t", "sendtargets", "-p", portal]
            return self.admin(*words, status=status).splitlines()
        words = ["-m", "discoverydb", "-t", "sendtargets", "-p", portal]
        self.admin(*words, "-o", "new")
        for name, value in chap.settings("discovery.sendtargets.auth").items():
            self.admin(*words, "-o", "update", "-n", name, "-v", value)
        return self.admin(*words, "--discover", status=status).splitlines()

    def configure(self, target: str, portal: str, settings: dict[str, str]) -> None:
        """Change a record's settings, by name."""
        pairs = [word for name, value in settings.items() for word in ("-n", name, "-v", value)]
        self.admin("-m", "node", "-T", target, "-p", portal, "-o", "update", *pairs)

    def add_interface(self, interface: str, name: str) -> None:
        """An iface record by which this host logs in as another initiator."""
        self.admin("-m", "iface", "-I", interface, "-o", "new")
        self.admin("-m", "iface", "-I", interface, "-o", "update", "-n", "iface.initiatorname", "-v", name)

    def login(self, target: str, portal: str, chap: Chap | None = None, *, status: int = 0) -> None:
        if chap:
            self.configure(target, portal, chap.settings("node.session.auth"))
        self.admin("-m", "node", "-T", target, "-p", portal, "--login", status=status)

    def logout(self, target: str, portal: str) -> None:
        self.admin("-m", "node", "-T", target, "-p", portal, "--logout")

    def disks(self, target: str, name: str = "") -> dict[int, Path]:
        """LUN -> device, of all sessions with the target; of those of the initiator `name` if given."""
        return {lun: disk for session in sessions(target, name) for lun, disk in session.disks().items()}

    def disk(self, target: str, lun: int, name: str = "") -> Path:
        """The device of one LUN, once the kernel has found it."""

        def there() -> bool:
            disks = self.disks(target, name)
            return lun in disks and disks[lun].is_block_device()

        wait_until(there, "a disk", LIMIT)
        return self.disks(target, name)[lun]


def forget() -> None:
    """Every record of iscsiadm's; Debian keeps no interface of its own."""
    for records in ("nodes", "send_targets", "ifaces"):
        shutil.rmtree(ETC / records, ignore_errors=True)


@contextmanager
def running(name: str) -> Iterator[Initiator]:
    """The initiator's daemon, with nothing discovered; all is logged out and forgotten at the end."""
    subprocess.run(["modprobe", "-a", "iscsi_tcp", "sd_mod"], check=True)
    forget()
    (ETC / "initiatorname.iscsi").write_text(f"InitiatorName={name}\n")
    Path("/run/lock/iscsi").mkdir(parents=True, exist_ok=True)
    initiator = Initiator()
    # It signals its process group when it ends.
    daemon = subprocess.Popen(
        ["iscsid", "-f"], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: DOOR in Path("/proc/net/unix").read_text(), "the initiator's daemon")
        yield initiator
    finally:
        # 21: there was no session
        words = ["iscsiadm", "-m", "node", "--logoutall=all"]
        subprocess.run(words, capture_output=True, check=False, timeout=300)
        wait_until(lambda: _ended(daemon), "the end of the initiator's daemon", LIMIT)
        forget()


def _ended(daemon: subprocess.Popen[bytes]) -> bool:
    """Tell the daemon to end; has it? A signal just before it waits for events is lost on it."""
    daemon.terminate()
    with suppress(subprocess.TimeoutExpired):
        daemon.wait(5)
    return daemon.returncode is not None
