"""errno -> cause -> remedy, in one place: what LIO or rtslib refused, in words to act on."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from isadmin.errors import IsadminError, PermissionDeniedError

Causes = Mapping[int, tuple[str, str]]
"""errno -> (cause, remedy); the remedy may be empty."""

GENERAL: dict[int, tuple[str, str]] = {
    errno.ENOENT: ("it is not there (any more)", "look again with ls"),
    errno.EEXIST: ("it exists already", ""),
    errno.EBUSY: ("it is still in use", "delete what refers to it first"),
    errno.ENOTEMPTY: ("it is not empty", "delete what it holds first"),
    errno.EINVAL: ("the target does not accept it", ""),
    errno.ENOSYS: ("this target does not support it", ""),
    errno.EOPNOTSUPP: ("this target does not support it", ""),
    errno.ENODEV: ("there is no device behind it", "delete and create it again"),
    errno.ENAMETOOLONG: ("the name is too long", ""),
    errno.EOVERFLOW: ("the value is too long", ""),
    errno.ENOSPC: ("there is no space left", ""),
    errno.ENOMEM: ("there is not enough memory", ""),
    errno.EROFS: ("the file system is read-only", ""),
    errno.EFAULT: ("the value is empty", ""),
    errno.ENOTCONN: ("the userspace target has ended", "isadmin userspace start"),
    errno.EIO: ("the target failed on it", "see the target's log"),
}


def os_error(error: BaseException) -> OSError | None:
    """The OSError at the root of an error: rtslib wraps them and keeps only their text."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno is not None:
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def is_rtslib_error(error: BaseException) -> bool:
    """Whether rtslib raised it, told without importing rtslib."""
    utils = sys.modules.get("rtslib.utils")
    return utils is not None and isinstance(error, utils.RTSLibError)


def explain(
    what: str, error: BaseException, causes: Causes | Callable[[], Causes] | None = None
) -> IsadminError:
    """The error to show for `error` while doing `what` ("Could not create LUN 3"). `causes`, or what they
    return, win."""
    if callable(causes):
        causes = causes()
    root = os_error(error)
    if root is None:
        return IsadminError(f"{what}: {error}" if what else str(error))
    number = root.errno or 0
    if number in (errno.EPERM, errno.EACCES) and number not in (causes or {}):
        return PermissionDeniedError(f"{what}: permission denied", "run isadmin as root")
    cause, remedy = (causes or {}).get(number) or GENERAL.get(number) or (root.strerror or str(root), "")
    return IsadminError(f"{what}: {cause}", remedy)


@contextmanager
def attempting(what: str, causes: Causes | Callable[[], Causes] | None = None) -> Iterator[None]:
    """Turn the OSError or RTSLibError of the block into an IsadminError that says what could not be done."""
    try:
        yield
    except IsadminError:
        raise
    except Exception as error:
        if isinstance(error, OSError) or is_rtslib_error(error):
            raise explain(what, error, causes) from error
        raise
