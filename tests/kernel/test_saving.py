"""saveconfig, restoring at boot and the snapshot of it all on the kernel's target: the integration tests' own
code."""

from __future__ import annotations

import pytest

from tests.integration.test_daemon_units import (  # noqa: F401
    bin_directory,
    test_the_restore_lines_restore_and_clear,
)
from tests.integration.test_save_part import test_one_storage_object_is_saved_and_forgotten  # noqa: F401
from tests.integration.test_saved_files import (  # noqa: F401
    test_it_is_restored_and_then_there_is_no_difference,
)
from tests.integration.test_snapshot import test_same_as_rtslibs_dump  # noqa: F401

pytestmark = [
    pytest.mark.kernel,
    # rtslib calls pyudev by names that pyudev no longer likes.
    pytest.mark.filterwarnings("ignore:Will be removed in 1.0:DeprecationWarning"),
]
