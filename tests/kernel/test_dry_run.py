"""--dry-run on the kernel's target: the integration tests' own code."""

from __future__ import annotations

import pytest

from tests.integration.test_dry_run import *  # noqa: F403

pytestmark = [
    pytest.mark.kernel(long=True),
    # rtslib calls pyudev by names that pyudev no longer likes.
    pytest.mark.filterwarnings("ignore:Will be removed in 1.0:DeprecationWarning"),
]
