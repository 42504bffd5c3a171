"""Every integration test runs on the kernel's target too, or says why it does not."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

INTEGRATION = Path(__file__).parents[1] / "integration"
DAEMON = "the daemon's own"
FILE = "of a file"
TIMED = "as the one that is replaced when it is killed"
WITHOUT = {
    "test_apply_faults": "each of hundreds of system calls fails once: minutes in a machine in software",
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
    "test_apply.test_one_that_would_undo_is_replaced_when_it_is_killed": "its few seconds are over before "
    "Python has started twice in a machine in software",
    "test_apply.test_what_is_not_confirmed_is_not_saved": "it starts the target anew; a kernel's goes with "
    "its machine, and with what waits to be confirmed",
    "test_apply.test_a_timer_of_systemd_ends_with_what_is_confirmed": TIMED,
    "test_apply.test_a_timer_of_systemd_undoes_it_when_all_that_wait_are_killed": TIMED,
    "test_apply.test_commands_that_only_read_warn_of_what_is_overdue": TIMED,
    "test_apply.test_what_cannot_be_undone_keeps_no_command_from_its_work": TIMED,
    "test_apply.test_what_has_come_to_need_an_unconfirmed_change_goes_with_it": TIMED,
    "test_apply.test_what_somebody_else_has_set_since_is_not_undone_with_it": TIMED,
    "test_apply.test_what_nobody_is_left_to_undo_the_next_command_does": TIMED,
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
