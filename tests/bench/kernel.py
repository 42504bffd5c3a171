"""isadmin, targetcli 3.0 and the raw operations on the kernel's target, in one virtual machine.

    python -m tests.bench.kernel [--brief] [--luns N ...] [--most N] [--debian | --targetcli COMMAND] [--kvm]

Ramdisks, each a LUN, each mapped for two initiators: 10 and 100 of them, 10 with --brief. targetcli 3.0.2 is
installed for it, unless a COMMAND of it is given or Debian's is asked for, and
spared above --most LUNs, where its restore takes minutes. The floor does only the operations on configfs that
a command cannot do without, in a process that runs already. Under software emulation everything is some
twenty times as slow as on a machine: only ratios count. Needs what the tests in a virtual machine need.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.bench._in_kernel import COMMANDS
from tests.bench._targetcli import DEBIANS, newest
from tests.kernel.vm import Vm, missing

LIMIT = 7200.0
"""Seconds without a figure; targetcli restores 500 LUNs for an hour beside other work."""


def table(luns: int, rows: dict[str, dict[str, float]]) -> str:
    def shown(name: str) -> str:
        row = rows.get(name)
        if row is None:
            return f"{'-':>9}{'':8}"
        return f"{row['seconds']:9.2f}" + (f"{row['peak'] / 1024:7.0f}M" if "peak" in row else " " * 8)

    def times(above: str, below: str) -> str:
        if above not in rows or below not in rows:
            return f"{'-':>12}"
        return f"{rows[above]['seconds'] / rows[below]['seconds']:11.2f}x"

    lines = [f"{luns} LUNs, {2 * luns} mapped LUNs: seconds, peak memory"]
    lines.append(f"{'':14}{'floor':>9}{'isadmin':>17}{'targetcli':>17}{'targ./isad.':>20}{'isad./floor':>12}")
    for name in ("--version", *COMMANDS):
        ours, theirs, floor = (f"{tool} {name}" for tool in ("isadmin", "targetcli", "floor"))
        text = f"{name:14}{shown(floor)}{shown(ours)}{shown(theirs)}"
        lines.append(f"{text}{times(theirs, ours)}{times(ours, floor)}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--brief", action="store_true", help="10 LUNs only")
    parser.add_argument("--luns", type=int, nargs="+", help="how many, one after the other")
    parser.add_argument(
        "--most", type=int, default=100, help="with how many LUNs targetcli is still compared"
    )
    parser.add_argument("--debian", action="store_true", help="compare with Debian's targetcli")
    parser.add_argument("--targetcli", metavar="COMMAND", help="compare with this one")
    parser.add_argument(
        "--kvm", action="store_true", help="run the virtual machine with KVM, not in software"
    )
    given = parser.parse_args()
    if lacks := missing():
        sys.exit(f"no virtual machine: {lacks}")
    chosen = DEBIANS if given.debian else given.targetcli
    with tempfile.TemporaryDirectory() as directory, newest(Path(directory), chosen) as targetcli:
        if targetcli is None:
            print("targetcli 3.0.2 cannot be installed: Debian's instead")
        compare(given, targetcli or DEBIANS)
    return 0


def compare(given: argparse.Namespace, targetcli: str) -> None:
    """Measure in one machine, and print a table for each number of LUNs."""
    ours = {"isadmin": [sys.executable, "-m", "isadmin"]}
    options = {
        "luns": given.luns or ([10] if given.brief else [10, 100]),
        "most": given.most,
        "ours": ours,
        "tools": ours | {"targetcli": [targetcli]},
    }
    luns, rows = 0, dict[str, dict[str, float]]()
    with Vm(kvm=given.kvm, memory="2G") as machine:
        command = [sys.executable, "-m", "tests.bench._in_kernel"]
        running = machine.launch(command, input=json.dumps(options).encode())
        for line in running.lines(LIMIT):
            row = json.loads(line)
            if row["name"] != "luns":
                rows[row["name"]] = row
                # It can take minutes: that it goes on is worth seeing.
                print(f"{row['name']:26}{row['seconds']:9.2f} s", file=sys.stderr)
                continue
            if rows:
                print(table(luns, rows), flush=True)
            luns, rows = int(row["seconds"]), {}
        status = running.wait(LIMIT)
        if status:
            sys.exit(f"{running.stderr.decode()[-3000:]}\n{rows}\n{machine.epitaph()}")
    print(table(luns, rows))


if __name__ == "__main__":
    sys.exit(main())
