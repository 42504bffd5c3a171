"""What completion offers of the kernel's target: the integration tests' own code."""

from __future__ import annotations

import pytest

from tests.integration.test_candidates import *  # noqa: F403

pytestmark = [
    pytest.mark.kernel,
    # rtslib calls pyudev by names that pyudev no longer likes.
    pytest.mark.filterwarnings("ignore:Will be removed in 1.0:DeprecationWarning"),
]

UNLIKE = {"test_initiators_that_were_heard_of": "LIO does not know the name of who is refused so early"}
"""Test -> what a kernel's target does otherwise."""
