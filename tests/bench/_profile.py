"""Where a target's time goes under a load: Linux's perf, where it is installed and allowed."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from tests.bench._loads import Run
from tests.bench._targets import Server

LINES = 12


def profile(server: Server, load: Run, seconds: float) -> list[str]:
    """The functions that took most of the process's time, kernel's and its own; or why nobody knows."""
    if shutil.which("perf") is None:
        return ["no profile: perf is not installed"]
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory, "perf.data")
        record = ["perf", "record", "-e", "cpu-clock", "-o", str(data), "-p", str(server.pid)]
        with subprocess.Popen(record, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as perf:
            try:
                load(server, max(seconds, 2.0))
            finally:
                perf.send_signal(signal.SIGINT)
            _, complaint = perf.communicate()
        if not data.exists():
            return [f"no profile: {complaint.strip()}"]
        lines: list[str] = []
        for sort in ("dso", "symbol"):
            command = ["perf", "report", "-i", str(data), "--stdio", "--sort", sort]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            rows = [line.split() for line in done.stdout.splitlines() if line.strip()[:1].isdigit()]
            lines += [" ".join(row[:3]) for row in rows[: LINES if sort == "symbol" else 4]]
        return lines or ["no profile: perf saw nothing"]
