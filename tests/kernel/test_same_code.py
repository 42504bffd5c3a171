"""Every integration test runs on the kernel's target too, or says why it does not; and what runs on demand
only says why that is."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.plugin import is_kernel

INTEGRATION = Path(__file__).parents[1] / "integration"
DAEMON = "the daemon's own"
FILE = "of a file"
TIMED = "its few seconds are over before Python has started twice in a machine in software"
WITHOUT = {
    "test_crashes": "it kills the daemon",
    "test_daemon": DAEMON,
    "test_daemon_exec": DAEMON,
    "test_daemon_mount": "of the mount; test_golden has the kernel's configfs",
    "test_durability": "it traces the daemon's system calls",
    "test_generated_bad_input": "thousands of command lines, of which hardly one reaches a target",
    "test_load": "it loads and kills the daemon",
    "test_medium_errors": "it has the daemon's own reads and writes fail",
    "test_top": "what the daemon counts",
    "test_user_backstores": "its stand-in for tcmu-runner has no kernel to serve",
    "test_apply.test_what_is_not_confirmed_is_not_saved": "it starts the target anew; a kernel's goes with "
    "its machine, and with what waits to be confirmed",
    "test_apply.test_a_timer_of_systemd_ends_with_what_is_confirmed": TIMED,
    "test_apply.test_a_timer_of_systemd_undoes_it_when_all_that_wait_are_killed": TIMED,
    "test_apply.test_commands_that_only_read_warn_of_what_is_overdue": TIMED,
    "test_apply.test_what_cannot_be_undone_keeps_no_command_from_its_work": TIMED,
    "test_apply.test_what_has_come_to_need_an_unconfirmed_change_goes_with_it": TIMED,
    "test_apply.test_what_somebody_else_has_set_since_is_not_undone_with_it": TIMED,
    "test_bad_input.test_no_target_at_all_says_what_to_do": "there is no target to be missing",
    "test_daemon_units.test_only_one_unit_restores_the_kernel_target_at_boot": FILE,
    "test_daemon_units.test_systemd_accepts_it": FILE,
    "test_daemon_units.test_the_daemons_start_line_runs_it": DAEMON,
    "test_guide.test_every_command_of_the_guide_is_typed_here": FILE,
    "test_guide.test_listing_says_what_listens": DAEMON,
    "test_output.test_the_daemons_status": DAEMON,
    "test_output.test_the_status_of_no_daemon": DAEMON,
    "test_shell.test_a_killed_target_is_said_and_the_session_can_go_on_with_the_next": DAEMON,
}
"""Module, or module and test -> why it does not run on the kernel's target."""

LONG = {
    "test_apply_faults": "each of hundreds of system calls fails once",
    "test_apply_long": "what waits to be confirmed waits until Python has started more than once",
    "test_bad_input": "hundreds of lines in dozens of shells, of which hardly one reaches a target",
    "test_bench_whole": "targetcli takes half a minute a command",
    "test_consequences": "a configuration is made for each of dozens of commands that delete",
    "test_dry_run": "a configuration is made for each of dozens of commands",
    "test_guide.test_main_flow_at_other_doors[repl]": "a prompt looks at each key as it comes",
    "test_nodes": "hundreds of commands, each compared with what targetcli said",
    "test_output": "a command for each schema, which are the shell's and not the kernel's",
    "test_reshaping": "a configuration is made and read twice for each of a dozen commands",
    "test_shell": "prompts in pseudo-terminals",
    "test_undo_values": "hundreds of values are set and taken back",
}
"""Module, or module and test -> why it runs with --kernel-long only: it takes a machine in software minutes,
and what it tries that is the kernel's own is tried by others."""


def found_in(directory: Path) -> Iterator[tuple[str, str]]:
    """Module and name of each test that the modules of a directory run, where it is written."""
    package = ".".join(directory.parts[-2:])
    for path in sorted(directory.glob("test_*.py")):
        module = importlib.import_module(f"{package}.{path.stem}")
        for name, value in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("test_"):
                yield value.__module__.rsplit(".", 1)[1], name


def test_every_integration_test_runs_on_a_kernel_or_says_why_not() -> None:
    everything = set(found_in(INTEGRATION))
    here = set(found_in(Path(__file__).parent))
    left_out = {one for one in everything if one[0] in WITHOUT or ".".join(one) in WITHOUT}
    assert everything - here == left_out
    known = {module for module, _ in everything} | {".".join(one) for one in everything}
    assert WITHOUT.keys() <= known


def collected(request: pytest.FixtureRequest) -> Iterator[tuple[str, list[pytest.Item]]]:
    """Each module of this directory and its tests, parameters and all."""
    here = request.node.getparent(pytest.Module).parent
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        yield path.stem, list(pytest.Module.from_parent(here, path=path).collect())  # type: ignore[arg-type]


def test_every_test_that_takes_long_says_why(request: pytest.FixtureRequest) -> None:
    found = set()
    for module, items in collected(request):
        long = {item.name for item in items if is_kernel(item, "long")}
        whole = len(long) == len(items)
        found |= {module} if whole else {f"{module}.{name}" for name in long}
    assert found == LONG.keys()
    assert all(LONG.values())


def test_every_test_that_a_kernel_does_otherwise_is_one(request: pytest.FixtureRequest) -> None:
    """The names that UNLIKE tables leave out are those of tests."""
    tables = 0
    for module, items in collected(request):
        unlike = getattr(importlib.import_module(f"tests.kernel.{module}"), "UNLIKE", {})
        tables += bool(unlike)
        assert unlike.keys() <= {item.name for item in items}, module
    assert tables >= 3
