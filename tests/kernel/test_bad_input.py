"""Bad input to a shell on the kernel's target: the integration tests' own code."""

from __future__ import annotations

import pytest

from tests.integration.test_bad_input import *  # noqa: F403

# There is no target to be missing.
del test_no_target_at_all_says_what_to_do  # noqa: F821

pytestmark = pytest.mark.kernel(long=True)
