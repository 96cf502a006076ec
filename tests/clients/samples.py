"""A picture that a browser can show, and a page that only has the name of one."""

from __future__ import annotations

import random
import struct
import zlib
from typing import TypedDict


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(width: int, height: int) -> bytes:
    """A grey picture of noise, a byte for each pixel."""
    noise = random.Random(0).randbytes(width * height)
    rows = b"".join(b"\0" + noise[start : start + width] for start in range(0, len(noise), width))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [_chunk(b"IHDR", head), _chunk(b"IDAT", zlib.compress(rows, level=1)), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _file(name: str, content: bytes) -> File:
    return File(name=name, mimeType="image/png", buffer=content)


class File(TypedDict):
    """A file, as Playwright chooses it in a file input."""

    name: str
    mimeType: str
    buffer: bytes


PAGE = b"<!doctype html><script>alert(1)</script>"
MIB = 1024 * 1024

PHOTO = _file("photo.png", _png(320, 240))
FAKE = _file("fake.png", PAGE)
FAKE_DOCUMENT = File(name="fake.pdf", mimeType="application/pdf", buffer=PAGE)
"""For Dropzone, which makes thumbnails: where it cannot make one of a picture, its own words can replace ours."""
HOSTILE_FAKE = _file("<img src=x onerror=alert(1)>.png", PAGE)
LARGE_PHOTO = _file("photo.png", _png(4096, 9 * MIB // 4096))
"""More than one part of 8 MiB."""
LARGE_FAKE = _file("fake.png", PAGE.ljust(9 * MIB))
