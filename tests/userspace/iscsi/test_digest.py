"""CRC32C against the examples of RFC 3720 appendix B.4."""

from __future__ import annotations

import pytest

from isadmin.userspace.iscsi.digest import crc32c

READ = "01c00000000000000000000000000000140000000000040000000014000000182800000000000000020000000000000000"


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (bytes(32), "aa36918a"),
        (b"\xff" * 32, "43aba862"),
        (bytes(range(32)), "4e79dd46"),
        (bytes(range(31, -1, -1)), "5cdb3f11"),
        (bytes.fromhex(READ)[:48], "563a96d9"),
        (b"", "00000000"),
    ],
)
def test_the_examples_of_the_standard(data: bytes, digest: str) -> None:
    assert crc32c(data).hex() == digest
    assert crc32c(memoryview(bytearray(data))).hex() == digest
