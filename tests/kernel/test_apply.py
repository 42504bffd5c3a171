"""apply, diff, undo and confirm on the kernel's target: the integration tests' own code."""

from __future__ import annotations

import pytest

from tests.integration.test_apply import (  # noqa: F401
    configured,
    many_changes,
    test_a_bad_file_changes_nothing_and_every_problem_is_named,
    test_a_deleted_storage_object_comes_back_with_all_that_hung_on_it,
    test_a_dry_run_tells_what_could_not_be_made,
    test_a_process_that_dies_while_applying_is_undone,
    test_a_signal_does_not_end_the_undoing_of_a_batch,
    test_a_signal_that_ends_an_apply_undoes_it,
    test_a_step_that_fails_takes_everything_back,
    test_after_a_change_is_undone_unconfirmed_the_one_before_it_can_be,
    test_any_configuration_becomes_any_other_and_rtslib_says_the_same,
    test_apply_tells_its_result_as_json,
    test_changes_are_taken_back_one_after_the_other,
    test_diff_says_by_its_status_whether_there_is_a_difference,
    test_discovery_that_is_turned_off_stays_so_and_comes_back,
    test_earlier_generations_come_back,
    test_enabling_moves_no_login_method_but_by_hand,
    test_one_attribute_is_one_write,
    test_sessions_on_what_does_not_change_stay_up,
    test_values_that_no_target_takes_are_problems,
    test_what_a_killed_apply_or_undo_has_done_can_be_undone,
    test_what_is_confirmed_stays,
    test_what_is_not_confirmed_is_undone,
    test_what_somebody_else_changed_since_is_not_undone_unasked,
    test_what_was_saved_comes_back_with_blocks_of_4096,
    test_yaml_is_as_good,
    writer,
)

pytestmark = pytest.mark.kernel
