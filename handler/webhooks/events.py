"""The event of a stored file, as the webhook sends it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

FILE_STORED = "file.stored"
"""The type of the event (Standard Webhooks: "Payload structure")."""


def event_id(file_id: str) -> str:
    """Return the id of a file's event. Every try has the same id, and so has a repeated event of the bucket."""
    return f"file_{file_id}"


def file_stored(entry: Mapping[str, Any]) -> bytes:
    """Return the event of a stored file as JSON in UTF-8.

    :param entry: the file as the response to its upload describes it (``web/responses.py``). Its receipt is left out:
        the signature of the webhook already vouches for the event.
    """
    data = {name: value for name, value in entry.items() if name != "receipt"}
    event = {"type": FILE_STORED, "timestamp": data["stored"], "data": data}
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
