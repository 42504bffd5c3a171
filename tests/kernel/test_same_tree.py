"""rtslib, Debian's targetcli and isadmin on the kernel's target: they build and show the same."""

from __future__ import annotations

import pytest

from tests.integration.test_same_tree import (  # noqa: F401
    built_by_rtslib,
    test_rtslib_and_isadmin_build_the_same,
    test_rtslib_dumps_what_isadmin_saves,
    test_targetcli_and_isadmin_list_the_same,
)

pytestmark = pytest.mark.kernel
