"""The shell at a terminal, several at once, and restoring, on the kernel's target: the integration tests'
own code."""

from __future__ import annotations

import pytest

from tests.integration.test_shell import *  # noqa: F403

# There is no process to kill.
del test_a_killed_target_is_said_and_the_session_can_go_on_with_the_next  # noqa: F821

pytestmark = pytest.mark.kernel(long=True)
