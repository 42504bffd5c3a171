"""The handlers of tcmu-runner, which serve storage objects of the plugin `user` from processes.

They are asked for over D-Bus (org.kernel.TCMUService1), through jeepney, if that is installed (the extra
`tcmu`). Without the kernel's module target_core_user there can be none: then the bus is not asked.
"""

from __future__ import annotations

from isadmin.errors import IsadminError
from isadmin.light import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jeepney.io.blocking import DBusConnection

NAME = "org.kernel.TCMUService1"
TOP = "/org/kernel/TCMUService1"
PATIENCE = 2.0
"""Seconds until an answer must be there."""


@record(frozen=True, slots=True)
class Handler:
    """One kind of storage: its name (rbd, qcow, glfs, ...), and how its configuration is written."""

    name: str
    description: str = ""


class UnavailableError(IsadminError):
    """Nobody can be asked."""


def handlers() -> list[Handler]:
    """The handlers that are there. Raises UnavailableError."""
    (objects,) = _call(TOP, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
    return [
        Handler(path.rpartition("/")[2], _text(interfaces.get(NAME, {}).get("ConfigDesc")))
        for path, interfaces in sorted(objects.items())
    ]


def check_config(handler: str, config: str) -> None:
    """Ask a handler whether it takes a configuration, <handler>/<its own>. Raises IsadminError with its
    reason."""
    ok, reason = _call(f"{TOP}/{handler}", NAME, "CheckConfig", "s", (config,))
    if not ok:
        raise IsadminError(f"cfgstring invalid: {reason}", f"see `/backstores/user:{handler} help create`")


def change_medium(handler: str, name: str, size: int, config: str) -> None:
    """Put another medium, of `size` bytes, into a device. Raises IsadminError."""
    status, reason = _call(f"{TOP}/{handler}", NAME, "ChangeMedium", "sts", (name, size, config))
    if status:
        raise IsadminError(f"ChangeMedium failed: {reason}")


def _text(variant: object) -> str:
    """A D-Bus variant that should hold a string."""
    return str(variant[1]) if isinstance(variant, tuple) and len(variant) == 2 else ""


def _call(
    path: str, interface: str, method: str, signature: str = "", body: tuple[object, ...] = ()
) -> tuple[Any, ...]:
    try:
        from jeepney import DBusAddress, DBusErrorResponse, new_method_call
        from jeepney.io.blocking import open_dbus_connection
        from jeepney.wrappers import unwrap_msg
    except ImportError as error:
        raise UnavailableError(
            "tcmu-runner cannot be asked: jeepney is not installed", "pip install 'isadmin[tcmu]'"
        ) from error
    address = DBusAddress(path, NAME, interface)
    connection: DBusConnection
    try:
        with open_dbus_connection("SYSTEM") as connection:
            message = new_method_call(address, method, signature or None, body)
            answer: tuple[Any, ...] = unwrap_msg(connection.send_and_get_reply(message, timeout=PATIENCE))
    except DBusErrorResponse as error:
        raise UnavailableError(f"tcmu-runner does not answer: {error}", "is it running?") from error
    except (OSError, RuntimeError, TimeoutError) as error:
        raise UnavailableError(f"tcmu-runner cannot be asked: {error}", "does the system bus run?") from error
    return answer
