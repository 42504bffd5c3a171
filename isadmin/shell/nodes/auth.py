"""The CHAP groups: `auth` of portal groups and ACLs, `discovery_auth` of the fabric.

LIO keeps names and secrets in files of at most 255 bytes and takes NULL for none. Short secrets are taken,
with a warning: RFC 7143 wants 96 bits, and some initiators insist. Secrets never appear in a message.
"""

from __future__ import annotations

from isadmin.errors import UsageError
from isadmin.lio import files
from isadmin.lio.explain import attempting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

FILES = {
    "userid": "userid",
    "password": "password",
    "mutual_userid": "userid_mutual",
    "mutual_password": "password_mutual",
}
"""The shell's name -> the file in auth/ or discovery_auth/."""
NONE = "NULL"


def read(directory: str, name: str) -> str:
    """A name or secret, empty if there is none."""
    value = files.read_or(f"{directory}/{FILES[name]}", "")
    return "" if value == NONE else value


def check(name: str, value: str) -> None:
    """Refuse what LIO cannot keep. Raises UsageError, which shows no secret."""
    from isadmin.lio.attributes import CHAP_MAX

    if len(value.encode()) > CHAP_MAX:
        raise UsageError(f"The {name} is too long", f"at most {CHAP_MAX} bytes")
    if value.startswith(NONE):
        raise UsageError(f"The {name} begins with {NONE}, which LIO takes for none", "choose another one")
    if value != value.strip():
        raise UsageError(f"The {name} begins or ends with a blank", "a saved configuration would lose it")
    if "\n" in value or "\0" in value:
        raise UsageError(f"The {name} holds a newline or NUL", "choose another one")


def write(directories: Iterable[str], name: str, value: str) -> None:
    """Set a name or secret, in each directory; empty for none. Raises IsadminError."""
    check(name, value)
    with attempting(f"Cannot set {name}"):
        for directory in directories:
            files.write(f"{directory}/{FILES[name]}", value or NONE)


def weaknesses(directory: str, name: str, value: str) -> list[str]:
    """What to warn of after `name` was set to `value`."""
    from isadmin.lio.attributes import CHAP_SHORT

    found: list[str] = []
    if not name.endswith("password") or not value:
        return found
    if len(value.encode()) < CHAP_SHORT:
        found.append(f"the {name} has less than {CHAP_SHORT} bytes: some initiators refuse such secrets")
    other = "password" if name == "mutual_password" else "mutual_password"
    if value == read(directory, other):
        found.append(f"{name} and {other} are the same: initiators refuse that (RFC 7143 section 12.1.3)")
    return found
