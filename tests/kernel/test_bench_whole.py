"""The bench on the kernel's target as it is run by hand: in a machine of its own, with targetcli."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.bench._in_kernel import COMMANDS
from tests.kernel.vm import ROOT

pytestmark = pytest.mark.vm(long=True)


def test_both_shells_are_measured_and_compared(request: pytest.FixtureRequest) -> None:
    command = [sys.executable, "-m", "tests.bench.kernel", "--brief", "--debian"]
    command += ["--kvm"] * bool(request.config.getoption("kvm"))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("10 LUNs, 20 mapped LUNs")
    for name in COMMANDS:
        figures = r" +[0-9.]+ +[0-9.]+ +[0-9]+M +[0-9.]+ +[0-9]+M +[0-9.]+x +[0-9.]+x$"
        assert re.search(rf"^{name}{figures}", done.stdout, re.MULTILINE), done.stdout
