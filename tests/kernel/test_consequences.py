"""Deleting what others hang on, on the kernel's target: the integration tests' own code."""

from __future__ import annotations

import pytest

from tests.integration.test_consequences import *  # noqa: F403

pytestmark = pytest.mark.kernel(long=True)
