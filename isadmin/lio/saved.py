"""The whole configuration at once: dumped as rtslib's JSON document, restored from one, cleared."""

from __future__ import annotations

from typing import Any

from isadmin.errors import IsadminError
from isadmin.lio import snapshot
from isadmin.lio.explain import attempting, explain, is_rtslib_error
from isadmin.lio.host import Host, rtslib_root

Document = dict[str, Any]


def dump(host: Host) -> Document:
    """The running configuration, in rtslib's saveconfig format. Raises IsadminError."""
    with attempting("Could not read the configuration"):
        return snapshot.dump(host.lio)


def restore(
    host: Host,
    configuration: Document,
    *,
    clear_existing: bool = False,
    target: str | None = None,
    storage_object: str | None = None,
) -> list[str]:
    """Make a configuration that was checked in shape; what could not be restored, one text each.

    Raises IsadminError, with nothing changed, if something in it exists already and may not be cleared.
    """
    root = rtslib_root(host)
    configuration = part_of(configuration, target, storage_object)
    if not clear_existing:
        _refuse_existing(host, configuration)
    try:
        return [str(error) for error in root.restore(configuration, target, storage_object, clear_existing)]
    except Exception as error:
        if isinstance(error, OSError) or is_rtslib_error(error):
            return [f"{explain('Stopped', error).line()}"]
        raise


def part_of(configuration: Document, target: str | None, storage_object: str | None) -> Document:
    """What is to be restored: all, or only a target or storage object (or both) of those names.

    rtslib itself leaves the rest alone, but refuses it all when any of the rest exists.
    """
    if not target and not storage_object:
        return configuration
    return {
        "storage_objects": [
            one for one in configuration.get("storage_objects", []) if one["name"] == storage_object
        ],
        "targets": [one for one in configuration.get("targets", []) if one["wwn"] == target],
    }


def _refuse_existing(host: Host, configuration: Document) -> None:
    there = {(so.plugin, so.name) for so in host.lio.storage_objects()}
    for so in configuration.get("storage_objects", []):
        key = (so["plugin"], so["name"])
        if key in there:
            raise _exists(f"storageobject '{key[0]}:{key[1]}'")
    running = {one.wwn for one in rtslib_root(host).targets}
    for one in configuration.get("targets", []):
        if one["wwn"] in running:
            raise _exists(f"target with wwn {one['wwn']}")


def _exists(what: str) -> IsadminError:
    return IsadminError(f"{what} exist not restoring", "nothing was changed; clear_existing=true replaces it")


def clear(host: Host) -> None:
    """Remove every target and storage object. Raises IsadminError."""
    with attempting("Could not clear the configuration"):
        rtslib_root(host).clear_existing(confirm=True)
