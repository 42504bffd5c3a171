"""Where tests that need a real LIO run: `--kernel=vm` (a virtual machine), `host` (this machine), or `none`.

A test marked `kernel` is ordinary test code for a machine that has LIO. With `vm` the machine is booted once,
before the first test: one pytest runs all of these tests in it, beside the tests that run here, and then its
reports are handed on one by one, as if they had run here. A test marked `vm` runs on the host and drives
machines of its own.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Collection, Iterator, Mapping
from subprocess import TimeoutExpired

import pytest

from tests.kernel import vm

SILENCE_LIMIT = 900
"""Seconds without a report after which the machine is given up."""
AN_EXAMPLE = 120
"""Seconds more for each example that a run is told to try."""
BEFORE_GIVEN_UP = 60
"""Seconds before that in which the test that runs tells where it is. Not earlier: Python may crash on
telling."""
EXAMPLES = "_EXAMPLES"
"""Ends the names of environment variables that say how long a run is to be."""
OOPS = re.compile(
    r"^.*(?:BUG: kernel|BUG: unable|kernel BUG at|invalid opcode|Oops:|Kernel panic|general protection fault"
    r"|list_(?:add|del) corruption).*$",
    re.MULTILINE,
)
WARNED = re.compile(
    # A processor in software may well be found to be stuck.
    r"^.*(?:WARNING: |refcount_t: |INFO: task .* blocked for more than"
    r"|BUG: (?!soft lockup|workqueue lockup)).*$",
    re.MULTILINE,
)
"""What a kernel says more quietly, in its log alone."""
MODE = pytest.StashKey[str]()
REASON = pytest.StashKey[str]()
REMOTE = pytest.StashKey["Remote"]()
DISPOSABLE = pytest.StashKey[int]()
"""How many are left out because they want a disposable machine."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kernel", "tests that need the kernel's target")
    group.addoption(
        "--kernel", choices=("vm", "host", "none"), help="where they run (default: vm if it can be had)"
    )
    group.addoption(
        "--kernel-long", action="store_true", help="run those, too, that take long in a machine in software"
    )
    group.addoption(
        "--kernel-disposable",
        action="store_true",
        help="with --kernel=host, run those, too, that want a machine that is of no other use",
    )
    group.addoption("--kvm", action="store_true", help="run the virtual machine with KVM, not in software")
    group.addoption("--kernel-reports", type=int, metavar="FD", help="write test reports as JSON lines to FD")


def pytest_configure(config: pytest.Config) -> None:
    # Whoever ends a run politely gets what he gets by Ctrl-C: what it has started ends with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.addinivalue_line(
        "markers",
        "kernel(disposable, long): needs the kernel's target; with disposable=True, a machine for it alone; "
        "with long=True, only with --kernel-long",
    )
    config.addinivalue_line(
        "markers", "vm(long): boots virtual machines of its own; with long=True, only with --kernel-long"
    )
    lacks = vm.missing()
    chosen = config.getoption("kernel") or ("none" if lacks else "vm")
    if chosen == "vm" and lacks:
        raise pytest.UsageError(f"--kernel=vm: {lacks}")
    config.stash[MODE] = chosen
    config.stash[REASON] = lacks if chosen == "none" else ""
    if (number := config.getoption("kernel_reports")) is not None:
        config.pluginmanager.register(Reporter(config, number))


def pytest_report_header(config: pytest.Config) -> str:
    reason = config.stash[REASON]
    return f"kernel: {config.stash[MODE]}" + (f" ({reason})" if reason else "")


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    number = config.stash.get(DISPOSABLE, 0)
    said = f"kernel: {number} tests left out that want a disposable machine (--kernel-disposable runs them)"
    return [said] if number else []


def runs_in_vm(item: pytest.Item) -> bool:
    return item.config.stash[MODE] == "vm" and item.get_closest_marker("kernel") is not None


def is_kernel(item: pytest.Item, kind: str) -> bool:
    """Is it marked as a kernel's test of this kind? One that is `disposable` sets up a machine as no test
    should do to one that is used for anything else; one that is `long` takes minutes in software."""
    marks = (item.get_closest_marker(name) for name in ("kernel", "vm"))
    return any(mark.kwargs.get(kind) for mark in marks if mark is not None)


def unlike(item: pytest.Item) -> Collection[str]:
    """The tests of its module in which a kernel does otherwise."""
    module = item.getparent(pytest.Module)
    found: Collection[str] = getattr(module.obj, "UNLIKE", ()) if module is not None else ()
    return found


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what cannot run here. Those that run in the machine come last and together, after those that
    boot their own: it has gone through most of them by then."""
    mode = config.stash[MODE]
    leave_out = {"vm": (), "host": ("vm",), "none": ("vm", "kernel")}[mode]
    out = [item for item in items if any(item.get_closest_marker(name) for name in leave_out)]
    if mode == "host" and not config.getoption("kernel_disposable"):
        disposable = [item for item in items if is_kernel(item, "disposable")]
        config.stash[DISPOSABLE] = len(disposable)
        out += disposable
    if not config.getoption("kernel_long"):
        out += [item for item in items if is_kernel(item, "long")]
    # Shared test code whose module says why a kernel does otherwise.
    out += [item for item in items if item.name in unlike(item)]
    if out:
        config.hook.pytest_deselected(items=out)
        gone = set(out)
        items[:] = [item for item in items if item not in gone]
    if mode == "vm":
        items.sort(key=lambda item: 2 if runs_in_vm(item) else 1 if item.get_closest_marker("vm") else 0)


def silence_limit(environment: Mapping[str, str]) -> int:
    """Seconds that a test of a run of this length may take."""
    counts = [int(count) for name, count in environment.items() if name.endswith(EXAMPLES)]
    return SILENCE_LIMIT + AN_EXAMPLE * max(counts, default=0)


class Remote:
    """The session's machine, and the pytest in it that runs `nodes` in order."""

    def __init__(self, config: pytest.Config, nodes: list[str]) -> None:
        self._config = config
        self._vm = vm.Vm(kvm=config.getoption("kvm"), memory="1536M")
        self._seen = 0
        """How much of the console has been looked at."""
        self._trouble = ""
        """Why no more reports will come."""
        self._limit = silence_limit(os.environ)
        self._last = nodes[-1]
        try:
            self._vm.start()
            options = [
                "--kernel=host",
                "--kernel-long",
                "--kernel-disposable",
                "--kernel-reports=3",
                "-p",
                "no:cacheprovider",
                "-o",
                f"faulthandler_timeout={self._limit - BEFORE_GIVEN_UP}",
            ]
            command = [sys.executable, "-m", "pytest", *options, *nodes]
            env = {name: value for name, value in os.environ.items() if name.endswith(EXAMPLES)}
            self._pytest = self._vm.launch(
                ["sh", "-c", 'exec "$@" 3>&1 1>&2', "sh", *command], cwd=config.rootpath, env=env
            )
            self._lines = self._pytest.lines(self._limit)
        except vm.VmDiedError as error:
            self._trouble = str(error)

    def reports(self, item: pytest.Item) -> Iterator[pytest.TestReport]:
        """The item's reports, as they come; a failed one if the machine or its pytest is gone, or oopsed."""
        over = False
        while not over and not self._trouble:
            line = self._next_line()
            if line is None:
                break
            data = json.loads(line)
            assert data["nodeid"] == item.nodeid, (data["nodeid"], item.nodeid)
            report = self._config.hook.pytest_report_from_serializable(config=self._config, data=data)
            over = report.when == "teardown"
            yield report
        if not over:
            yield self._failure(item, self._trouble)
            self._trouble = "not run: the machine or its pytest ended in an earlier test"
        if oopses := self._oopses():
            yield self._failure(item, oopses)
        if item.nodeid == self._last and not self._trouble and (warnings := self._warnings()):
            yield self._failure(item, warnings)

    def _next_line(self) -> bytes | None:
        try:
            line = next(self._lines, None)
            if line is None:
                status = self._pytest.wait(10.0)
                said = self._pytest.stderr.decode(errors="replace")[-4000:]
                self._trouble = f"pytest in the machine ended early with status {status}\n{said}"
        except TimeoutExpired:
            said = self._pytest.stderr.decode(errors="replace")[-4000:]
            self._trouble = f"no report for {self._limit} s\n{said}\n{self._vm.epitaph()}"
        except vm.VmDiedError as error:
            self._trouble = f"the machine died\n{error}"
        else:
            return line
        return None

    def _oopses(self) -> str:
        console = self._vm.console()
        new, self._seen = console[self._seen :], len(console)
        return f"the kernel oopsed\n{new}" if OOPS.search(new) else ""

    def _warnings(self) -> str:
        """What the kernel warned of in any test."""
        try:
            log = self._vm.run(["dmesg"]).stdout
        except (vm.VmDiedError, TimeoutExpired) as error:
            return f"the machine does not say what its kernel warned of\n{error}"
        found = [match.start() for match in WARNED.finditer(log)]
        return f"the kernel warned, in this test or before\n{log[found[0] :][:8000]}" if found else ""

    def _failure(self, item: pytest.Item, text: str) -> pytest.TestReport:
        return pytest.TestReport(
            item.nodeid, item.location, {}, outcome="failed", longrepr=text, when="teardown", sections=[]
        )

    def stop(self) -> None:
        self._vm.stop()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Set the machine going, beside the tests that run here."""
    config = session.config
    nodes = [item.nodeid for item in session.items if runs_in_vm(item)]
    if nodes and not config.option.collectonly and not session.testsfailed:
        config.stash[REMOTE] = Remote(config, nodes)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Hand on what the machine's pytest reports of this item."""
    if not runs_in_vm(item):
        return None
    config = item.config
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in config.stash[REMOTE].reports(item):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if remote := config.stash.get(REMOTE, None):
        remote.stop()


class Reporter:
    """Writes each report as a line of JSON; in the machine's pytest."""

    def __init__(self, config: pytest.Config, number: int) -> None:
        self._config = config
        self._file = open(number, "w", encoding="utf-8")  # noqa: SIM115

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._file.write(json.dumps(data) + "\n")
        self._file.flush()
