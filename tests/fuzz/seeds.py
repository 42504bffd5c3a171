"""Whole commands that fuzzers begin with: each a way into another part of the target."""

from __future__ import annotations

import struct

CDBS = [
    bytes(16),
    struct.pack(">BBIBH7x", 0x28, 0, 0, 0, 16),
    struct.pack(">BBIBH7x", 0x2A, 0, 8, 0, 16),
    struct.pack(">BBIBH7x", 0x2A, 0, 8, 0, 2000),
    struct.pack(">BBQIxx", 0x8A, 0, 0, 8),
    struct.pack(">BBQ3xB2x", 0x89, 0, 0, 1),
    struct.pack(">BBQIxx", 0x93, 8, 0, 8),
    struct.pack(">BB8xIxx", 0x83, 0, 64),
    struct.pack(">BBB5xB7x", 0x5F, 0, 1, 24),
    struct.pack(">BBBHB10x", 0x12, 1, 0x83, 255, 0),
]
"""READ, WRITE with and without the data that is there, WRITE(16), COMPARE AND WRITE, WRITE SAME with UNMAP,
EXTENDED COPY, PERSISTENT RESERVE OUT, INQUIRY; 16 bytes each."""
