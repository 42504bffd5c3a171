"""What of apply takes a machine in software minutes: the integration tests' own code."""

from __future__ import annotations

import pytest

from tests.integration.test_apply import (  # noqa: F401
    configured,
    test_any_configuration_becomes_any_other_and_rtslib_says_the_same,
    test_sessions_on_what_does_not_change_stay_up,
    writer,
)

pytestmark = pytest.mark.kernel(long=True)
