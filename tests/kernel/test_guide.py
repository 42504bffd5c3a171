"""The guide's commands on the kernel's target: the integration tests' own code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.test_guide import (  # noqa: F401
    Server,
    batch,
    one_shot,
    repl,
    server,
    standard_input,
    test_main_flow,
    test_scenario,
    test_short_secret_is_accepted_with_a_warning,
    test_sole_argument_is_parsed_as_a_line,
)
from tests.kernel.world import Kernel

pytestmark = pytest.mark.kernel


@pytest.fixture(params=["one-shot", "batch"])
def type_in(request: pytest.FixtureRequest, userspace: Kernel, tmp_path: Path) -> Callable[[list[str]], None]:
    """Type command lines at isadmin; each must succeed."""
    if request.param == "one-shot":
        return lambda commands: one_shot(userspace, commands)
    return lambda commands: batch(userspace, commands, tmp_path)


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(standard_input, id="standard-input"),
        # A prompt that looks at each key as it comes takes a machine in software minutes.
        pytest.param(repl, id="repl", marks=pytest.mark.kernel(long=True)),
    ],
)
def test_main_flow_at_other_doors(
    way: Callable[[Kernel, list[str]], None],
    userspace: Kernel,
    server: Server,  # noqa: F811
) -> None:
    """At standard input and, in a pseudo-terminal, at the prompt."""
    test_main_flow("chap", userspace, server, lambda lines: way(userspace, lines))
