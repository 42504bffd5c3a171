"""What targetcli said on a kernel, asked of isadmin on a kernel: the integration tests' own code."""

from __future__ import annotations

import pytest

from tests.integration.test_nodes import *  # noqa: F403

pytestmark = [
    pytest.mark.kernel(long=True),
    # rtslib calls pyudev by names that pyudev no longer likes.
    pytest.mark.filterwarnings("ignore:Will be removed in 1.0:DeprecationWarning"),
]
