"""What this host and its target have that a command could take: value -> what it is, in one line. For
completion; what cannot be found out is left out."""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from isadmin.lio import files, sessions
from isadmin.shell.nodes.addresses import DEFAULT_PORT, is_wildcard
from isadmin.shell.nodes.sizes import human_size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from isadmin.lio.objects import Lio, Tpg
    from isadmin.lio.storage_objects import StorageObject

PROC_NET = Path("/proc/net")
BLOCK = Path("/sys/class/block")
MOUNTS = Path("/proc/self/mountinfo")
MANY = 100
"""More storage objects than that are offered without a word about each, which has to be read."""
_LOCAL = re.compile(r"\|-- (\S+)\n\s+/32 host LOCAL")


def addresses(tpg: Tpg) -> dict[str, str]:
    """The addresses of this host at which no portal of the target listens yet, the loopback's last. A portal
    at all addresses leaves only other ports to them."""
    portals = [portal for one in tpg.target.tpgs() for portal in one.portals()]
    used = {portal.address.strip("[]") for portal in portals}
    everywhere = [p.name for p in portals if p.port == DEFAULT_PORT and is_wildcard(p.address)]
    found = [(address, where) for address, where in _host_addresses() if address not in used]
    found.sort(key=lambda one: ipaddress.ip_address(one[0]).is_loopback)
    for wildcard, meaning in (("0.0.0.0", "all of IPv4"), ("::0", "all of IPv6 and IPv4")):  # noqa: S104
        if wildcard not in used:
            found.append((wildcard, meaning))
    behind = f"; needs another port: there is {everywhere[0]}" if everywhere else ""
    return {address: f"{meaning}{behind}" for address, meaning in found}


def _host_addresses() -> list[tuple[str, str]]:
    """Address and what to say of it; no link-local ones."""
    found: dict[str, str] = {}
    with suppress(OSError):
        for address in _LOCAL.findall((PROC_NET / "fib_trie").read_text()):
            found[address] = "an address of this host"
    with suppress(OSError):
        for line in (PROC_NET / "if_inet6").read_text().splitlines():
            digits, _, _, _, _, device = line.split()
            address = ipaddress.IPv6Address(int(digits, 16))
            if not address.is_link_local:
                found[str(address)] = f"an address of {device}"
    return list(found.items())


def block_devices(lio: Lio) -> dict[str, str]:
    """Block devices that nobody uses: not mounted, not part of another device, not exported, not empty."""
    mounted = set()
    with suppress(OSError):
        mounted = {line.split()[2] for line in MOUNTS.read_text().splitlines()}
    taken = {so.udev_path() for so in lio.storage_objects("block")}
    found = {}
    for device in sorted(BLOCK.glob("*")):
        with suppress(OSError, ValueError):
            size = int((device / "size").read_text()) * 512
            number = (device / "dev").read_text().strip()
            used = any((device / "holders").glob("*")) or any(device.glob(f"{device.name}*/partition"))
            path = f"/dev/{device.name.replace('!', '/')}"
            if size and not used and number not in mounted and path not in taken:
                model = device / "device" / "model"
                name = f", {model.read_text().strip()}" if model.exists() else ""
                found[path] = f"{human_size(size)}{name}"
    return found


def storage_objects(lio: Lio, without: Iterable[str] = ()) -> dict[str, str]:
    """Storage objects by their path in the shell, but those in these directories of configfs."""
    left_out = set(without)
    some = [so for so in lio.storage_objects() if so.path not in left_out]
    some.sort(key=lambda so: so.full_name)
    return {f"/backstores/{so.full_name}": _about(so) if len(some) <= MANY else "" for so in some}


def _about(so: StorageObject) -> str:
    try:
        info = so.info()
        device = so.udev_path(info)
        return f"{human_size(so.size(info))} {device}".rstrip()
    except (OSError, ValueError):
        return ""


def exported(tpg: Tpg) -> set[str]:
    """The directories of the storage objects that a portal group exports."""
    return {link[1] for lun in tpg.luns() if (link := lun.link()) is not None}


def initiators(tpg: Tpg) -> dict[str, str]:
    """Names of initiators without an ACL here, of whom the target has heard: who failed to log in, who is
    logged in without one, who has one elsewhere."""
    lio = tpg.target.lio
    known = {acl.wwn for acl in tpg.acls()}
    found: dict[str, str] = {}
    for target in sorted(lio.targets(tpg.fabric), key=lambda one: one.wwn != tpg.target.wwn):
        last = f"{target.path}/fabric_statistics/iscsi_tgt_attr"
        name = files.read_or(f"{last}/fail_intr_name", "")
        if tpg.fabric.is_valid(name):
            address = files.read_or(f"{last}/fail_intr_addr", "")
            found.setdefault(name, f"failed to log in to {target.wwn} from {address}")
        for one in target.tpgs():
            for session in sessions.of_tpg(one):
                if session.dynamic:
                    found.setdefault(session.initiator, f"logged in to {target.wwn} without an ACL")
            for acl in one.acls():
                found.setdefault(acl.wwn, f"has an ACL at {target.wwn} tpg{one.tag}")
    return {name: meaning for name, meaning in found.items() if name not in known}
