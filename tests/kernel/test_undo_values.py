"""Every value of the kernel's target that can be set comes back by undo: the integration tests' own code."""

from __future__ import annotations

import pytest

from tests.integration.test_undo_values import *  # noqa: F403

pytestmark = [
    pytest.mark.kernel(long=True),
    # rtslib calls pyudev by names that pyudev no longer likes.
    pytest.mark.filterwarnings("ignore:Will be removed in 1.0:DeprecationWarning"),
]
