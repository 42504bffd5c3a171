"""The guide's commands on the kernel's target: the integration tests' own code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.test_guide import (  # noqa: F401
    batch,
    one_shot,
    repl,
    server,
    test_main_flow,
    test_scenario,
    test_short_secret_is_accepted_with_a_warning,
)
from tests.kernel.world import Kernel

pytestmark = pytest.mark.kernel


@pytest.fixture(params=["one-shot", "batch"])
def type_in(request: pytest.FixtureRequest, userspace: Kernel, tmp_path: Path) -> Callable[[list[str]], None]:
    """Type command lines at isadmin; each must succeed. Standard input is read as a batch file is."""
    if request.param == "one-shot":
        return lambda commands: one_shot(userspace, commands)
    return lambda commands: batch(userspace, commands, tmp_path)
