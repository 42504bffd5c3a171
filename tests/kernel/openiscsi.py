"""open-iscsi, the kernel's initiator: its daemon, discovery, logins, and the disks that they bring."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.integration.sandbox import wait_until

ETC = Path("/etc/iscsi")
SESSIONS = Path("/sys/class/iscsi_session")
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

    def discover(self, portal: str) -> list[str]:
        """Send targets: the lines "ADDRESS:PORT,TAG TARGET"."""
        return self.admin("-m", "discovery", "-t", "sendtargets", "-p", portal).splitlines()

    def configure(self, target: str, portal: str, settings: dict[str, str]) -> None:
        for name, value in settings.items():
            self.admin("-m", "node", "-T", target, "-p", portal, "-o", "update", "-n", name, "-v", value)

    def login(self, target: str, portal: str, chap: Chap | None = None, *, status: int = 0) -> None:
        if chap:
            self.configure(target, portal, chap.settings("node.session.auth"))
        self.admin("-m", "node", "-T", target, "-p", portal, "--login", status=status)

    def logout(self, target: str, portal: str) -> None:
        self.admin("-m", "node", "-T", target, "-p", portal, "--logout")

    def disks(self, target: str) -> dict[int, Path]:
        """LUN -> device, of all sessions with the target."""
        found = {}
        for session in SESSIONS.glob("session*"):
            if (session / "targetname").read_text().strip() == target:
                for block in (session / "device").glob("target*/*:*:*:*/block/*"):
                    found[int(block.parents[1].name.rsplit(":", 1)[1])] = Path("/dev") / block.name
        return found

    def disk(self, target: str, lun: int) -> Path:
        """The device of one LUN, once the kernel has found it."""
        wait_until(lambda: lun in self.disks(target) and self.disks(target)[lun].is_block_device(), "a disk")
        return self.disks(target)[lun]


@contextmanager
def running(name: str) -> Iterator[Initiator]:
    """The initiator's daemon, with nothing discovered; all is logged out and forgotten at the end."""
    subprocess.run(["modprobe", "-a", "iscsi_tcp", "sd_mod"], check=True)
    for records in ("nodes", "send_targets"):
        shutil.rmtree(ETC / records, ignore_errors=True)
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
        subprocess.run(["iscsiadm", "-m", "node", "--logoutall=all"], capture_output=True, check=False)
        daemon.terminate()
        daemon.wait()
        for records in ("nodes", "send_targets"):
            shutil.rmtree(ETC / records, ignore_errors=True)
