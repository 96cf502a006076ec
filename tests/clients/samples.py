"""A picture that a browser can show, and a page that only has the name of one."""

from __future__ import annotations

import struct
import zlib
from typing import TypedDict


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(width: int, height: int) -> bytes:
    rows = [b"\0" + bytes((x + y) % 256 for x in range(width)) for y in range(height)]
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [_chunk(b"IHDR", head), _chunk(b"IDAT", zlib.compress(b"".join(rows))), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


class File(TypedDict):
    """A file, as Playwright chooses it in a file input."""

    name: str
    mimeType: str
    buffer: bytes


PHOTO = File(name="photo.png", mimeType="image/png", buffer=_png(320, 240))
FAKE = File(name="fake.png", mimeType="image/png", buffer=b"<!doctype html><script>alert(1)</script>")
