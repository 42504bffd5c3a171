"""The fixtures of the integration tests: a userspace target and loop devices."""

from tests.integration.conftest import module_loop_devices, module_tmp, module_userspace

__all__ = ["module_loop_devices", "module_tmp", "module_userspace"]
