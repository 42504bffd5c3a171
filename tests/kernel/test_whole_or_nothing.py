"""A command that fails on the kernel's target leaves nothing half made: the integration tests' own code."""

from __future__ import annotations

import pytest

from tests.integration.test_whole_or_nothing import *  # noqa: F403

pytestmark = pytest.mark.kernel
