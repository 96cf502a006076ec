"""Files for clients that send in pieces, and checks of their uploads."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .gated_server import GatedServer

KIB = 1024
MIB = 1024 * KIB


def text(size: int) -> bytes:
    """Return a text of so many bytes, in lines."""
    letters = random.Random(size).randbytes(size // 2).hex()
    return "\n".join(letters[start : start + 99] for start in range(0, len(letters), 100)).encode().ljust(size, b".")


def file_of(status: dict[str, Any]) -> dict[str, Any]:
    """Return the stored file in the status of an upload, or in the response to its last piece."""
    entry: dict[str, Any] = status["file"] if "file" in status else status["files"][0]
    return entry


def creations(server: GatedServer) -> int:
    """Return how many uploads clients have begun through the gate."""
    return len([path for method, path in server.gate.requests if method == "POST" and path.endswith("/upload")])
