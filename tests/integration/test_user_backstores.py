"""Storage objects of tcmu-runner's handlers, with a bus and a tcmu-runner of the test's own.

The userspace target serves nothing that a handler would: what LIO does with such an object is not seen here.
"""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jeepney import HeaderFields, MessageType, new_error, new_method_return
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import open_dbus_connection

from isadmin.errors import IsadminError, UsageError
from isadmin.lio import storage, tcmu
from isadmin.lio.host import Host
from isadmin.shell.nodes import backstores
from isadmin.shell.session import Session
from tests.integration.sandbox import Userspace

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:Will be removed in 1.0:DeprecationWarning"),
]

DESCRIPTION = "rbd config string is of the form pool/image"


class Runner:
    """What tcmu-runner answers on the bus; `asked` is what it was asked."""

    def __init__(self, address: str) -> None:
        self.asked: list[tuple[str, tuple[object, ...]]] = []
        self._connection = open_dbus_connection(address)
        self._connection.send_and_get_reply(message_bus.RequestName(tcmu.NAME))
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._end.is_set():
            try:
                message = self._connection.receive(timeout=0.1)
            except TimeoutError:
                continue
            if message.header.message_type != MessageType.method_call:
                continue
            member = message.header.fields[HeaderFields.member]
            self.asked.append((member, message.body))
            if member == "GetManagedObjects":
                objects = {
                    f"{tcmu.TOP}/{name}": {tcmu.NAME: {"ConfigDesc": ("s", text)}}
                    for name, text in (("rbd", DESCRIPTION), ("qcow", "a path"))
                }
                reply = new_method_return(message, "a{oa{sa{sv}}}", (objects,))
            elif member == "CheckConfig":
                bad = "bad" in message.body[0]
                reply = new_method_return(message, "bs", (not bad, "no such image" if bad else ""))
            elif member == "ChangeMedium":
                bad = "bad" in message.body[2]
                reply = new_method_return(message, "is", (int(bad), "no such image" if bad else ""))
            else:
                reply = new_error(message, "org.freedesktop.DBus.Error.UnknownMethod", "s", (member,))
            self._connection.send_message(reply)

    def close(self) -> None:
        self._end.set()
        self._thread.join()
        self._connection.close()


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bus where anybody may be tcmu-runner, in the place of the system's, and its module loaded."""
    address = f"unix:path={tmp_path}/bus"
    daemon = subprocess.Popen(
        ["dbus-daemon", "--session", f"--address={address}", "--nopidfile", "--nofork", "--print-address"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert daemon.stdout is not None
        assert daemon.stdout.readline()
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        monkeypatch.setattr(backstores, "TCMU", str(tmp_path))
        yield address
    finally:
        daemon.terminate()
        daemon.communicate()


@pytest.fixture
def runner(bus: str) -> Iterator[Runner]:
    runner = Runner(bus)
    try:
        yield runner
    finally:
        runner.close()


@pytest.fixture
def run(module_userspace: Userspace) -> Callable[[str], str]:
    world = module_userspace
    out = io.StringIO()
    session = Session(Host("userspace", world.mount, world.state, world.runtime), out=out, err=io.StringIO())

    def typed(line: str) -> str:
        out.truncate(out.seek(0))
        session.run_line(line)
        return out.getvalue()

    return typed


def test_each_handler_is_a_place(runner: Runner, run: Callable[[str], str]) -> None:
    shown = run("ls /backstores 1")
    assert [line.split()[1] for line in shown.splitlines()][1:] == [
        "block",
        "fileio",
        "pscsi",
        "ramdisk",
        "user:qcow",
        "user:rbd",
    ]
    assert DESCRIPTION in run("/backstores/user:rbd help create")


def test_the_handler_is_asked_before_anything_is_made(
    runner: Runner, run: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[object, ...]] = []

    def create(lio: object, name: str, config: str, size: int, **more: object) -> object:
        made.append((name, config, size, more))
        raise IsadminError("this is as far as a test without a kernel comes")

    monkeypatch.setattr(storage, "create_user", create)
    with pytest.raises(IsadminError, match="cfgstring invalid: no such image"):
        run("/backstores/user:rbd create disk 10M pool/bad")
    assert not made
    with pytest.raises(IsadminError, match="as far as"):
        run("/backstores/user:rbd create disk 10M pool/image hw_max_sectors=128 control=max_data_area_mb=64")
    more = {"wwn": None, "hw_max_sectors": 128, "control": "max_data_area_mb=64"}
    assert made == [("disk", "rbd/pool/image", 10 << 20, more)]
    assert runner.asked[-1] == ("CheckConfig", ("rbd/pool/image",))


def test_what_it_would_make(runner: Runner, run: Callable[[str], str]) -> None:
    assert run("/backstores/user:rbd create disk 1M pool/image --dry-run") == (
        "+ /backstores/user/disk  size=1048576 config=rbd/pool/image\n"
    )


@pytest.mark.parametrize("text", ["''", "a:b", "a,b", "x" * 255])
def test_what_lio_would_not_keep_is_refused(runner: Runner, run: Callable[[str], str], text: str) -> None:
    with pytest.raises(UsageError):
        run(f"/backstores/user:rbd create disk 1M {text}")
    assert "CheckConfig" not in dict(runner.asked)


def test_a_medium_is_changed_of_what_is_there(runner: Runner, run: Callable[[str], str]) -> None:
    with pytest.raises(IsadminError, match="No storage object named disk"):
        run("/backstores/user:rbd changemedium disk 1M pool/other")
    tcmu.change_medium("rbd", "disk", 4096, "rbd/pool/other")
    assert runner.asked[-1] == ("ChangeMedium", ("disk", 4096, "rbd/pool/other"))
    with pytest.raises(IsadminError, match="ChangeMedium failed: no such image"):
        tcmu.change_medium("rbd", "disk", 4096, "rbd/pool/bad")


def test_a_handler_that_is_not_there(runner: Runner, run: Callable[[str], str]) -> None:
    with pytest.raises(UsageError, match="no handler glfs"):
        run("/backstores/user:glfs create disk 1M x")


def test_without_tcmu_runner_the_rest_is_shown(bus: str, run: Callable[[str], str]) -> None:
    assert "user:" not in run("ls /backstores 1")
    with pytest.raises(IsadminError, match="does not answer"):
        run("/backstores/user:rbd create disk 1M x")


def test_without_jeepney_it_is_said_what_is_missing(
    bus: str, run: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jeepney", None)
    assert "user:" not in run("ls /backstores 1")
    with pytest.raises(tcmu.UnavailableError) as caught:
        run("/backstores/user:rbd create disk 1M x")
    assert caught.value.line().endswith("pip install 'isadmin[tcmu]'")


def test_without_the_kernels_module_nobody_is_asked(run: Callable[[str], str]) -> None:
    with pytest.raises(tcmu.UnavailableError, match="does not run here"):
        run("/backstores/user:rbd create disk 1M x")
