"""States that others made of the kernel's target: the integration tests' own code."""

from __future__ import annotations

import pytest

from tests.integration.test_made_by_others import *  # noqa: F403

pytestmark = pytest.mark.kernel
