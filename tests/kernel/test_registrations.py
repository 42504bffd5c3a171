"""What ends a registration at the kernel's target: the integration tests' own code."""

from __future__ import annotations

import pytest

from tests.integration.test_registrations import *  # noqa: F403

pytestmark = pytest.mark.kernel
