"""Random operations on LIO's tree that are worth trying: most make sense, many do not, a few cannot.

A step is a kind and a number; which path and value it means is chosen with that number in the tree as it then
is, so that a sequence replays the same. Operations that crash kernel 6.1 are left out.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from isadmin.userspace.configfs.iscsi_attributes import KEYS


class HasMode(Protocol):
    @property
    def mode(self) -> int: ...


class Tree(Protocol):
    """What a step is chosen in: paths are relative to `target`, "" is that."""

    def listdir(self, path: str) -> list[str]: ...

    def stat(self, path: str) -> HasMode: ...


FILES = Path("/run/isadmin-random")
BLOCK_DEVICE = FILES / "block"
"""A symbolic link to one."""
CORE = (
    "fileio_0",
    "fileio_1",
    "fileio_0x1",
    "rd_mcp_0",
    "rd_mcp_1",
    "fileio_",
    "rd_mcp_x",
    "iblock_0",
    "iblock_1",
    "pscsi_0",
    "none_0",
)
TARGETS = (
    "iqn.2003-01.org.test:a",
    "iqn.2003-01.org.test:b",
    "eui.0123456789abcdef",
    "no name",
    "naa.5001405000000001",
    "naa.5001405000000002",
    "fc.5001405000000003",
)
INITIATORS = ("iqn.2003-01.org.test:i1", "iqn.2003-01.org.test:i2", "i3", "naa.5001405000000009")
PORTALS = (
    "127.0.0.1:3260",
    "127.0.0.1:3261",
    "0.0.0.0:3260",
    "[::1]:3260",
    "[::0]:3261",
    "127.0.0.1",
    "10.9.9.9:3260",
)
NAMES = {
    "": ("iscsi", "loopback", "vhost", "none"),
    "core": CORE,
    "core/HBA": ("d", "e", "alua"),
    "core/HBA/DEVICE/alua": ("g", "h", "default_tg_pt_gp"),
    "core/alua/lu_gps": ("lug", "lug2"),
    "FABRIC": TARGETS,
    "FABRIC/TARGET": ("tpgt_1", "tpgt_01", "tpgt_2", "tpgt_0x10", "tpgt_", "tpg1", "tpgt_65536"),
    "FABRIC/TARGET/TPG/np": PORTALS,
    "FABRIC/TARGET/TPG/lun": ("lun_0", "lun_1", "lun_00", "lun_", "lun0", "lun_65536", "lun_255"),
    "FABRIC/TARGET/TPG/acls": INITIATORS,
    "FABRIC/TARGET/TPG/acls/ACL": ("lun_0", "lun_1", "lun_5", "lun_x"),
}
"""Directories in which objects are made, and names to try there."""
NUMBERS = (
    "0",
    "1",
    "1\n",
    "2",
    "7",
    "64",
    "255",
    "256",
    "512",
    "4096",
    "65536",
    "4294967295",
    "4294967296",
    "-1",
)
WORDS = (
    "",
    "\n",
    "yes",
    "No",
    "Yes",
    "CHAP",
    "None",
    "CHAP,None",
    "NULL",
    "abc",
    "x" * 40,
    "x" * 300,
    " 1",
    "0x10",
    "1 2",
    "online",
    "offline",
    "naa.5001405000000005",
    "iqn.2003-01.org.test:n\n",
)
CONTROL = (
    f"fd_dev_name={FILES}/a,fd_dev_size=1048576",
    f"fd_dev_name={FILES}/b,fd_dev_size=2097152,fd_buffered_io=1",
    "fd_dev_size=4096",
    "rd_pages=256",
    "rd_pages=16,rd_nullio=1",
    "udev_path=/nowhere",
    f"udev_path={BLOCK_DEVICE}",
    f"udev_path={BLOCK_DEVICE},readonly=1",
    "scsi_host_id=77,scsi_channel_id=0,scsi_target_id=0,scsi_lun_id=0",
    "nonsense=1",
)
LEFT_OUT = re.compile(
    # Crash a kernel: not without a configured device, not twice.
    r".*/attrib/emulate_(tpu|tpws)|.*/alua_lu_gp"
    # Asks for a SCSI host of the machine's: listed in differences.py.
    r"|core/pscsi_.*/hba_mode"
    # Loads modules of hardware that is not there.
    r"|.*/np/.*/(iser|cxgbit)"
    # Where files on this machine are kept.
    r"|dbroot"
)


Operation = tuple[str, str] | tuple[str, str, str]
"""Its kind, a path, and a value."""
TPG = "target/iscsi/iqn.2003-01.org.test:a/tpgt_1"
MAPPED = f"{TPG}/acls/iqn.2003-01.org.test:i1/lun_0"
START: tuple[Operation, ...] = (
    ("mkdir", "target/core/fileio_0"),
    ("mkdir", "target/core/fileio_0/d"),
    ("write", "target/core/fileio_0/d/control", CONTROL[0]),
    ("write", "target/core/fileio_0/d/enable", "1"),
    ("mkdir", "target/core/rd_mcp_0"),
    ("mkdir", "target/core/rd_mcp_0/e"),
    ("write", "target/core/rd_mcp_0/e/control", "rd_pages=256"),
    ("write", "target/core/rd_mcp_0/e/enable", "1"),
    ("mkdir", "target/iscsi"),
    # These outlive the fabric in a kernel.
    ("write", "target/iscsi/discovery_auth/userid", "u"),
    ("write", "target/iscsi/discovery_auth/password", "p"),
    ("write", "target/iscsi/discovery_auth/userid_mutual", "mu"),
    ("write", "target/iscsi/discovery_auth/password_mutual", "mp"),
    ("write", "target/iscsi/discovery_auth/enforce_discovery_auth", "0"),
    ("write", "target/iscsi/cpus_allowed_list", "0-1"),
    ("mkdir", "target/iscsi/iqn.2003-01.org.test:a"),
    ("mkdir", TPG),
    ("mkdir", f"{TPG}/np/127.0.0.1:3260"),
    ("mkdir", f"{TPG}/lun/lun_0"),
    ("symlink", f"{TPG}/lun/lun_0/link", "target/core/fileio_0/d"),
    ("mkdir", f"{TPG}/lun/lun_1"),
    ("mkdir", f"{TPG}/acls/iqn.2003-01.org.test:i1"),
    ("mkdir", MAPPED),
    ("symlink", f"{MAPPED}/link", f"{TPG}/lun/lun_0"),
    ("write", f"{TPG}/enable", "1"),
    ("mkdir", "target/loopback"),
    ("mkdir", "target/loopback/naa.5001405000000001"),
    ("mkdir", "target/loopback/naa.5001405000000001/tpgt_1"),
    ("mkdir", "target/vhost"),
    ("mkdir", "target/vhost/naa.5001405000000002"),
    ("mkdir", "target/vhost/naa.5001405000000002/tpgt_1"),
    ("mkdir", "target/vhost/naa.5001405000000002/tpgt_1/lun/lun_0"),
)
"""A target that serves: what is most worth disturbing."""


IDLE: tuple[Operation, ...] = (
    ("mkdir", "target/core/fileio_1"),
    ("mkdir", "target/core/fileio_1/d"),
    ("write", "target/core/fileio_1/d/control", CONTROL[1]),
    ("write", "target/core/fileio_1/d/enable", "1"),
    ("mkdir", "target/core/fileio_1/d/alua/g"),
    ("write", "target/core/fileio_1/d/alua/g/tg_pt_gp_id", "5"),
    ("mkdir", "target/core/iblock_0"),
    ("mkdir", "target/core/iblock_0/d"),
    ("write", "target/core/iblock_0/d/control", CONTROL[6]),
    ("write", "target/core/iblock_0/d/enable", "1"),
)
"""Disks that nobody uses, whose values are free."""
TAKEN = (*NUMBERS[:10], "Yes", "No", "CHAP", "None", "CHAP,None", "NULL", "abc", "")
"""Values that some file takes."""


NUMBERED = re.compile(rf".*/param/({'|'.join(name for name, key in KEYS.items() if key.numbers)})")
"""Of any other text than a number a kernel takes what is one of it: listed in differences.py."""


def every_write(tree: Tree) -> list[tuple[str, str]]:
    """Each file that can be written, with each value of TAKEN, in an order that never changes. What makes,
    opens and closes objects is left out."""
    paths: list[str] = []
    left = [""]
    while left:
        directory = left.pop()
        for name in _listed(tree, directory):
            path = f"{directory}/{name}".lstrip("/")
            mode = tree.stat(path).mode
            if mode & 0o170000 == 0o040000:
                left.append(path)
            elif mode & 0o170000 == 0o100000 and mode & 0o222 and name not in ("control", "enable"):
                paths.append(path)
    writes = [
        (whole(path), value)
        for path in paths
        for value in TAKEN
        if not LEFT_OUT.fullmatch(path) and (value in NUMBERS or not NUMBERED.fullmatch(path))
    ]
    random.Random(6).shuffle(writes)
    return writes


def record(operation: Operation) -> dict[str, Any]:
    """As tests.kernel.operations has it."""
    kind, path, *value = operation
    return {"op": kind, "path": path} | ({"value": value[0]} if value else {})


def records(tree: Tree, steps: Iterable[Step]) -> Iterator[dict[str, Any]]:
    """START, then what each step's number means in the tree as it is when the step is asked for."""
    for operation in START:
        yield record(operation)
    for kind, number in steps:
        choose: Callable[[Tree, random.Random], dict[str, Any]] = globals()[f"_{kind}"]
        yield choose(tree, random.Random(number))


Step = tuple[str, int]
"""A kind and a number."""


def sequence(seed: int, steps: int = 200) -> list[Step]:
    """The same steps at all times."""
    rng = random.Random(seed)
    return [(rng.choice(KINDS), rng.getrandbits(32)) for _ in range(steps)]


KINDS = (
    "mkdir",
    "mkdir",
    "mkdir",
    "symlink",
    "write",
    "write",
    "enable",
    "control",
    "rmdir",
    "unlink",
    "read",
    "odd",
)


def whole(path: str) -> str:
    return f"target/{path}" if path else "target"


def _listed(tree: Tree, path: str) -> list[str]:
    try:
        return sorted(tree.listdir(path))
    except OSError:
        return []


def _matching(tree: Tree, pattern: str) -> list[str]:
    """Directories of the tree for a key of NAMES: capitals stand for any object made there."""
    found = [""]
    for part in filter(None, pattern.split("/")):
        found = [
            f"{path}/{name}".lstrip("/")
            for path in found
            for name in _listed(tree, path)
            if (name == part or (part.isupper() and _is_object(part, name)))
        ]
    return found


PLACES = (*NAMES, "core/HBA/DEVICE", "FABRIC/TARGET/TPG/lun/LUN", "FABRIC/TARGET/TPG/acls/ACL/LUN")
OBJECTS = {
    "HBA": re.compile(r"\w+_\w+"),
    "DEVICE": re.compile(r"\w"),
    "FABRIC": re.compile("iscsi|loopback|vhost"),
    "TARGET": re.compile(r"(iqn|eui|no|naa|fc).*"),
    "TPG": re.compile(r"tpgt_.*"),
    "ACL": re.compile(r"(i|naa).*"),
    "LUN": re.compile(r"lun_.*"),
}


def _is_object(kind: str, name: str) -> bool:
    return OBJECTS[kind].fullmatch(name) is not None and name not in ("info", "lu_gps")


def _objects(tree: Tree, rng: random.Random) -> list[str]:
    """All directories of one kind, of which there is at least one."""
    while not (found := _matching(tree, rng.choice(PLACES))):
        pass
    return found


def _walk(tree: Tree, rng: random.Random, wanted: Callable[[int], bool]) -> str | None:
    """A random walk down from some object to an entry whose mode is wanted; None when it ends elsewhere."""
    path = rng.choice(_objects(tree, rng))
    while True:
        names = _listed(tree, path)
        if not names:
            return None
        path = f"{path}/{rng.choice(names)}".lstrip("/")
        mode = tree.stat(path).mode
        if wanted(mode) and (not mode & 0o040000 or rng.random() < 0.5):
            return path
        if mode & 0o170000 != 0o040000:
            return None


def _is_link(tree: Tree, path: str) -> bool:
    return tree.stat(path).mode & 0o170000 == 0o120000


def _file(tree: Tree, rng: random.Random) -> str:
    for _ in range(30):
        path = _walk(tree, rng, lambda mode: mode & 0o170000 == 0o100000)
        if path is not None and not LEFT_OUT.fullmatch(path):
            return path
    return "version"


def _mkdir(tree: Tree, rng: random.Random) -> dict[str, Any]:
    places: list[str] = []
    while not places:
        pattern = rng.choice(list(NAMES))
        places = _matching(tree, pattern)
    path, name = rng.choice(places), rng.choice(NAMES[pattern])
    if pattern == "FABRIC/TARGET" and path.startswith("loopback/"):
        # Another spelling of a tag crashes a kernel, which has one place a tag, when both are removed.
        name = next((one for one in _listed(tree, path) if _tag(one) == _tag(name) is not None), name)
    return {"op": "mkdir", "path": whole(f"{path}/{name}".lstrip("/"))}


def _tag(name: str) -> int | None:
    """A portal group's, however its name spells it."""
    number = name.removeprefix("tpgt_")
    return int(number) if number.isdecimal() else None


def _rmdir(tree: Tree, rng: random.Random) -> dict[str, Any]:
    return {"op": "rmdir", "path": whole(rng.choice(_objects(tree, rng)))}


def _symlink(tree: Tree, rng: random.Random) -> dict[str, Any]:
    luns = _matching(tree, "FABRIC/TARGET/TPG/lun/LUN")
    # A second link into a mapping is listed in differences.py.
    mapped = [
        path
        for path in _matching(tree, "FABRIC/TARGET/TPG/acls/ACL/LUN")
        if not any(_is_link(tree, f"{path}/{name}") for name in _listed(tree, path))
    ]
    devices = _matching(tree, "core/HBA/DEVICE")
    odd = ["core", "version", "iscsi"]
    places = luns + mapped or odd
    path = rng.choice(places)
    likely = luns if path in mapped else devices
    value = rng.choice(likely if likely and rng.random() < 0.8 else luns + mapped + devices + odd)
    return {
        "op": "symlink",
        "path": whole(f"{path}/{rng.choice(('link', 'enable', 'other'))}"),
        "value": whole(value),
    }


def _unlink(tree: Tree, rng: random.Random) -> dict[str, Any]:
    places = [
        f"{path}/{name}"
        for pattern in ("FABRIC/TARGET/TPG/lun/LUN", "FABRIC/TARGET/TPG/acls/ACL/LUN")
        for path in _matching(tree, pattern)
        for name in _listed(tree, path)
        if name in ("link", "other") or rng.random() < 0.02
    ]
    return {"op": "unlink", "path": whole(rng.choice(places))} if places else _odd(tree, rng)


def _write(tree: Tree, rng: random.Random) -> dict[str, Any]:
    path = _file(tree, rng)
    pool = CONTROL if path.endswith("/control") else NUMBERS if rng.random() < 0.7 else WORDS
    value = rng.choice(pool)
    if path.endswith("/lu_gp_id") and value == "0":
        # Any number: a kernel counts them from its start.
        value = "7"
    return {"op": "write", "path": whole(path), "value": value}


def _control(tree: Tree, rng: random.Random) -> dict[str, Any]:
    devices = _matching(tree, "core/HBA/DEVICE")
    if not devices:
        return _mkdir(tree, rng)
    return {"op": "write", "path": whole(f"{rng.choice(devices)}/control"), "value": rng.choice(CONTROL)}


def _enable(tree: Tree, rng: random.Random) -> dict[str, Any]:
    places = _matching(tree, "core/HBA/DEVICE") + _matching(tree, "FABRIC/TARGET/TPG")
    if not places:
        return _mkdir(tree, rng)
    return {"op": "write", "path": whole(f"{rng.choice(places)}/enable"), "value": rng.choice("1110")}


def _read(tree: Tree, rng: random.Random) -> dict[str, Any]:
    return {"op": "read", "path": whole(_file(tree, rng))}


def _odd(tree: Tree, rng: random.Random) -> dict[str, Any]:
    path = _walk(tree, rng, lambda _: True) or "version"
    operation = rng.choice(("mkdir", "rmdir", "unlink", "creat", "readlink", "stat", "listdir", "open_rw"))
    if _is_link(tree, path):
        # Links are unlinked elsewhere, and the tree never sees what follows them.
        operation = rng.choice(("readlink", "stat", "rmdir"))
    elif operation in ("mkdir", "creat") and rng.random() < 0.7:
        path += "/new"
    return {"op": operation, "path": whole(path)}
