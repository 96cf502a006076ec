"""A picture that a browser can show, and a page that only has the name of one."""

from __future__ import annotations

import struct
import zlib


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(width: int, height: int) -> bytes:
    rows = b"".join(b"\0" + bytes((x * 255 // width, y * 255 // height, 128)[i % 3] for x in range(width) for i in range(3))
                    for y in range(height))  # fmt: skip
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [_chunk(b"IHDR", head), _chunk(b"IDAT", zlib.compress(rows)), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


PHOTO = _png(320, 240)
FAKE = b"<!doctype html><script>alert(1)</script>"
