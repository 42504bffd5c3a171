"""Failures and kills at every operation that changes the kernel's target: the integration tests' own code."""

from __future__ import annotations

import pytest

from tests.integration.test_apply_faults import *  # noqa: F403

pytestmark = pytest.mark.kernel(long=True)
