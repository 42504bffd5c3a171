"""What of apply waits to be confirmed while Python starts more than once: the integration tests' own code."""

from __future__ import annotations

import pytest

from tests.integration.test_apply import (  # noqa: F401
    configured,
    test_one_that_would_undo_is_replaced_when_it_is_killed,
    test_what_nobody_is_left_to_undo_the_next_command_does,
)

pytestmark = pytest.mark.kernel(long=True)
