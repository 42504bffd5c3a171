"""errno to cause to remedy."""

from __future__ import annotations

import errno
import os

import pytest
from rtslib.utils import RTSLibError

from isadmin.errors import IsadminError, PermissionDeniedError
from isadmin.lio.explain import GENERAL, attempting, explain, is_rtslib_error, os_error


def raised_by_rtslib(number: int) -> RTSLibError:
    """As rtslib wraps an OSError: only in text, and as the context."""
    try:
        try:
            raise OSError(number, os.strerror(number))
        except OSError as error:
            raise RTSLibError(f"Could not create LUN in configFS: {error}")  # noqa: B904
    except RTSLibError as wrapped:
        return wrapped


def test_the_errno_is_found_inside_rtslibs_error() -> None:
    error = raised_by_rtslib(errno.EBUSY)
    assert is_rtslib_error(error)
    root = os_error(error)
    assert root is not None
    assert root.errno == errno.EBUSY
    said = explain("Could not delete LUN 3", error)
    assert said.line() == ("Could not delete LUN 3: it is still in use: delete what refers to it first")


def test_own_causes_win() -> None:
    said = explain("x", OSError(errno.EBUSY, "busy"), {errno.EBUSY: ("mounted", "unmount it")})
    assert said.line() == "x: mounted: unmount it"


def test_no_errno_at_all() -> None:
    assert explain("x", RTSLibError("WWN not valid")).line() == "x: WWN not valid"
    assert explain("", RTSLibError("WWN not valid")).line() == "WWN not valid"


def test_unknown_errno_has_the_systems_words() -> None:
    assert (
        explain("x", OSError(errno.EXDEV, "Invalid cross-device link")).line()
        == "x: Invalid cross-device link"
    )


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES])
def test_not_permitted(number: int) -> None:
    error = explain("x", OSError(number, "no"))
    assert isinstance(error, PermissionDeniedError)
    assert "root" in error.remedy


@pytest.mark.parametrize("number", GENERAL)
def test_every_cause_is_one_line(number: int) -> None:
    assert "\n" not in explain("x", OSError(number, "no")).line()


def test_attempting_chains_and_passes_the_rest() -> None:
    with pytest.raises(IsadminError) as caught, attempting("Could not"):
        raise OSError(errno.EINVAL, "no")
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(IsadminError, match=r"^mine$"), attempting("Could not"):
        raise IsadminError("mine")
    with pytest.raises(ZeroDivisionError), attempting("Could not"):
        raise ZeroDivisionError
