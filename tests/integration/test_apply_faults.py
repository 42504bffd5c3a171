"""No failure and no kill, at whatever file operation, loses a configuration or leaves one that is not whole.

Each run is a forked copy of one warm process in which the n-th operation that changes a file or directory
fails or is the last: first n = 1, then 2, until a run does all it has to.
"""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isadmin.config import document, store
from isadmin.config.model import flatten
from isadmin.errors import IsadminError
from isadmin.lio import snapshot
from isadmin.lio.host import Host
from isadmin.shell.preferences import Bookmarks, Preferences
from isadmin.shell.session import Session
from tests.integration.sandbox import Userspace

CALLS = (
    *("open", "write", "fsync", "replace", "rename", "mkdir", "rmdir", "symlink", "link", "unlink"),
    *("fchown", "chmod", "truncate", "ftruncate", "utime"),
)
FAULTS = (errno.ENOSPC, errno.EIO, errno.EACCES, "kill")
DONE, FAILED, ODD = 0, 1, 2
TARGET = "iqn.2003-01.org.linux-iscsi.test:t"


class Injector:
    """Counts the calls of os that change something, and breaks the n-th."""

    def __init__(self, number: int, fault: int | str) -> None:
        self.left = number
        self.fault = fault
        self.reached = False

    def install(self) -> None:
        for name in CALLS:
            setattr(os, name, self.wrapped(name, getattr(os, name)))

    def wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            reads = name == "open" and not arguments[1] & (os.O_WRONLY | os.O_RDWR)
            if reads or (name == "write" and arguments[0] < 3):
                return real(*arguments, **keywords)
            self.left -= 1
            if self.left == 0:
                self.reached = True
                if self.fault == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                assert isinstance(self.fault, int)
                raise OSError(self.fault, os.strerror(self.fault))
            return real(*arguments, **keywords)

        return call


def run(host: Host, line: str, number: int, fault: int | str) -> tuple[bool, int]:
    """Run a command in a copy of this process: was the n-th operation reached, and how did it end."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = ODD
        injector = Injector(number, fault)
        try:
            os.close(reading)
            session = Session(host, Preferences(), Bookmarks(), out=io.StringIO(), err=io.StringIO())
            injector.install()
            try:
                session.run_line(line)
                status = DONE
            except IsadminError as error:
                status = FAILED
                if not injector.reached:
                    print(error.line(), file=sys.__stderr__)
        finally:
            os._exit(status + (10 if injector.reached else 0))
    os.close(writing)
    _, ended = os.waitpid(pid, 0)
    os.close(reading)
    if os.WIFSIGNALED(ended):
        assert os.WTERMSIG(ended) == signal.SIGKILL
        return True, FAILED
    status = os.WEXITSTATUS(ended)
    return status >= 10, status % 10


@pytest.fixture
def host(userspace: Userspace, tmp_path: Path) -> Host:
    lines = [
        "/backstores/ramdisk create r1 1M",
        f"/backstores/fileio create f1 {tmp_path}/f1.img 1M",
        f"/iscsi create {TARGET}",
        f"/iscsi/{TARGET}/tpg1/luns create /backstores/ramdisk/r1",
        "saveconfig",
    ]
    done = userspace.isadmin(typed="\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr
    found = Host("given", userspace.mount, userspace.state, userspace.runtime)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found.prepare()
    # What every copy needs is imported once.
    from isadmin.lio import apply, storage, touched, write
    from isadmin.shell import plans, undoing
    from isadmin.shell.nodes import root

    assert all((apply, storage, touched, write, plans, undoing, root))
    return found


def running(host: Host) -> dict[Any, Any]:
    host.lio.forget()
    return dict(flatten(document.value(snapshot.dump(host.lio))))


def whole(file: Path, *, killed: bool = False) -> dict[str, Any]:
    """The saved configuration, which must be one, and alone unless a save was `killed`."""
    found = store.read(file)
    # What a save writes before it is whole: only one that was killed leaves it.
    left = [path.name for path in file.parent.rglob(".*")]
    assert not left or killed, left
    return found


def test_saveconfig(host: Host) -> None:
    file = host.savefile
    assert file is not None
    old = store.read(file)
    (host.path / "core/rd_mcp_77").mkdir()
    (host.path / "core/rd_mcp_77/r77").mkdir()
    (host.path / "core/rd_mcp_77/r77/control").write_text("rd_pages=16")
    (host.path / "core/rd_mcp_77/r77/enable").write_text("1")
    new = document.ordered(snapshot.dump(host.lio))
    for fault in FAULTS:
        for number in range(1, 100):
            store.write_atomically(file, document.render(old).encode())
            reached, status = run(host, "saveconfig", number, fault)
            assert whole(file, killed=fault == "kill") in (document.ordered(old), new), (fault, number)
            if not reached:
                assert status == DONE
                assert whole(file) == new
                break
            assert status != ODD
        assert not reached
        assert number > 5
    assert run(host, "saveconfig", 1000, "kill") == (False, DONE)
    assert whole(file) == new


def test_saving_what_is_saved_already_makes_it_private(host: Host) -> None:
    file = host.savefile
    assert file is not None
    saved = file.read_bytes()
    for fault in FAULTS:
        for number in range(1, 100):
            file.chmod(0o644)
            reached, status = run(host, "saveconfig", number, fault)
            assert file.read_bytes() == saved
            assert status != ODD
            if not reached:
                assert status == DONE
                assert file.stat().st_mode & 0o777 == 0o600
                break
        assert not reached
        assert number > 1


def test_apply(host: Host, tmp_path: Path) -> None:
    file = host.savefile
    assert file is not None
    saved = file.read_bytes()
    wanted = json.loads(saved)
    (image,) = [so for so in wanted["storage_objects"] if so["plugin"] == "fileio"]
    image["size"] = 2 << 20
    wanted["storage_objects"].append({"plugin": "ramdisk", "name": "new", "size": 1 << 20, "wwn": "w"})
    wanted["targets"][0]["tpgs"][0]["luns"].append({"index": 3, "storage_object": "/backstores/ramdisk/new"})
    (tmp_path / "x.json").write_text(json.dumps(wanted))
    before = running(host)
    made = {
        ("storage_object", "ramdisk", "new"),
        ("port_group", "ramdisk", "new", "default_tg_pt_gp"),
        ("lun", "iscsi", TARGET, 1, 3),
    }
    for fault in FAULTS:
        for number in range(1, 100):
            os.truncate(image["dev"], 1 << 20)
            reached, status = run(host, f"apply {tmp_path}/x.json", number, fault)
            assert file.read_bytes() == saved
            after = running(host)
            assert status != ODD
            if fault != "kill" and status == FAILED:
                # All of it is undone, or all of it was done before something about it failed.
                assert after == before or after.keys() == before.keys() | made, (fault, number)
            # The next run starts cleanly, from whatever is there, and brings back what was.
            if after == before and reached and number % 5:
                continue
            assert run(host, f"restoreconfig {file} clear_existing=true", 1000, "kill") == (False, DONE)
            assert {key: one for key, one in running(host).items() if key[0] != "lun"} == {
                key: one for key, one in before.items() if key[0] != "lun"
            }
            if not reached:
                assert status == DONE
                break
        assert not reached
        assert number > 10


def test_undo(host: Host, tmp_path: Path) -> None:
    before = running(host)
    saved = (host.savefile or tmp_path).read_bytes()
    for fault in FAULTS:
        for number in range(1, 100):
            assert run(host, f"/iscsi/{TARGET}/tpg1 set attribute login_timeout=20", 1000, "kill")[1] == DONE
            changed = running(host)
            reached, status = run(host, "undo", number, fault)
            after = running(host)
            assert status != ODD
            assert after in (before, changed)
            if status == FAILED and fault != "kill":
                assert after in (before, changed)
            assert (host.savefile or tmp_path).read_bytes() == saved
            # The next one takes back what this one did not.
            if after == changed:
                assert run(host, "undo", 1000, "kill") == (False, DONE)
            assert running(host) == before
            if not reached:
                break
        assert not reached
        assert number > 2
