"""Facts as JSON, of the kernel's target: the integration tests' own code."""

from __future__ import annotations

import pytest

from tests.integration.test_output import *  # noqa: F403

# There is no daemon.
del test_the_daemons_status, test_the_status_of_no_daemon  # noqa: F821

pytestmark = pytest.mark.kernel(long=True)
