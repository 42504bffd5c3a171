"""Restoring at boot on the kernel's target: the integration tests' own code."""

from __future__ import annotations

import pytest

from tests.integration.test_daemon_units import (  # noqa: F401
    bin_directory,
    test_the_restore_lines_restore_and_clear,
)

pytestmark = pytest.mark.kernel
