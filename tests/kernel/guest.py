"""Runs inside the virtual machine: carries out the host's requests, which come over a virtio port.

One JSON object a line, each way. Requests: `run` (id, argv, input, cwd, env) and `signal` (id, number).
Answers carry the id of the run they belong to: `out` and `err` (base64) as they come, then `exit`. When the
host goes away the port ends, the program returns, and the machine powers off.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import threading
from pathlib import Path
from typing import IO, Any

PORT = "isadmin.tests"


def port() -> Path:
    """The device of the virtio port called PORT."""
    for entry in Path("/sys/class/virtio-ports").iterdir():
        if (entry / "name").read_text().strip() == PORT:
            return Path("/dev") / entry.name
    raise FileNotFoundError(PORT)


class Guest:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._sending = threading.Lock()
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def send(self, **message: Any) -> None:
        line = json.dumps(message).encode() + b"\n"
        with self._sending:
            while line:
                line = line[self._file.write(line) :]

    def serve(self) -> None:
        self.send(ready=os.uname().release)
        buffer = b""
        while chunk := os.read(self._file.fileno(), 65536):
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                self._take(json.loads(line))

    def _take(self, request: dict[str, Any]) -> None:
        if request["do"] == "run":
            threading.Thread(target=self._run, args=(request,), daemon=True).start()
        elif process := self._running.get(request["id"]):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, request["number"])

    def _run(self, request: dict[str, Any]) -> None:
        run = request["id"]
        try:
            process = subprocess.Popen(
                request["argv"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=request["cwd"],
                env=os.environ | request["env"],
                start_new_session=True,
            )
        except OSError as error:
            self.send(id=run, err=base64.b64encode(f"{error}\n".encode()).decode())
            self.send(id=run, exit=127)
            return
        self._running[run] = process
        assert process.stdin
        pumps = [
            threading.Thread(target=self._pump, args=(run, name, stream), daemon=True)
            for name, stream in (("out", process.stdout), ("err", process.stderr))
        ]
        for pump in pumps:
            pump.start()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(base64.b64decode(request["input"]))
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        status = process.wait()
        for pump in pumps:
            # A daemon that keeps the command's output open must not keep the command from ending.
            pump.join(1.0)
        del self._running[run]
        self.send(id=run, exit=status)

    def _pump(self, run: int, name: str, stream: IO[bytes]) -> None:
        while chunk := os.read(stream.fileno(), 32768):
            self.send(id=run, **{name: base64.b64encode(chunk).decode()})


if __name__ == "__main__":
    with port().open("r+b", buffering=0) as device:
        Guest(device).serve()
