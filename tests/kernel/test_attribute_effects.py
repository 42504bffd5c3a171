"""What attributes of the kernel's storage objects do on the wire: the integration tests' own code."""

from __future__ import annotations

import pytest

from tests.integration.test_attribute_effects import *  # noqa: F403

pytestmark = pytest.mark.kernel

UNLIKE = {
    "test_an_attribute_shows_on_the_wire[emulate_3pc]": "in the same byte LIO says that it has an embedded "
    "storage array controller (SCCS), whose commands it does not know",
    "test_an_attribute_shows_on_the_wire[enforce_pr_isids]": "LIO goes by the attribute when it looks for a "
    "registration, and names the ISID all the same when it lists them",
}
"""Test -> what a kernel's target does otherwise."""
