"""CRC32C as iSCSI sends it (RFC 7143 section 13.1): four bytes, least significant first."""

from __future__ import annotations

import google_crc32c


def crc32c(data: bytes | bytearray | memoryview) -> bytes:
    """The digest of `data` in wire order."""
    value: int = google_crc32c.value(bytes(data))
    return value.to_bytes(4, "little")
