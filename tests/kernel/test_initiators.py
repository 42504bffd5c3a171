"""libiscsi's and qemu's initiators at the kernel's target: the integration tests' own code."""

from __future__ import annotations

import pytest

from tests.integration.test_initiators import *  # noqa: F403

pytestmark = pytest.mark.kernel

UNPARSED = (
    "libiscsi wants a NUL that LIO does not send behind its answer to mutual CHAP; test_open_iscsi has that, "
    "and test_open_iscsi_sessions discovery with it"
)
UNLIKE = {
    "test_discovery_and_listing[chap]": "LIO refuses credentials at a discovery that wants none",
    "test_discovery_and_listing[mutual-chap]": UNPARSED,
    "test_luns_listed": "iscsi-ls gives up at the unit attention that LIO has for changed LUNs",
    **{f"test_inquiry_and_capacity[{lun}-mutual-chap]": UNPARSED for lun in (0, 1, 2)},
    "test_mutual_chap_moves_data": UNPARSED,
    "test_refused_with_the_right_status[missing-mutual]": "LIO lets the initiator decide whether the target "
    "has to prove who it is",
    "test_refused_with_the_right_status[unknown-target]": "LIO says that its service is unavailable",
    "test_refused_login_names_the_initiator_in_the_statistics": "LIO does not know the name so early",
    "test_demo_mode_serves_everyone_write_protected_until_told_otherwise": "what a guest was "
    "granted once stays",
}
"""Test -> what a kernel's target does otherwise."""
