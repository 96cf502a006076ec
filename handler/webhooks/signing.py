"""The signature of a webhook (Standard Webhooks, version 1.0.0: "Signature scheme" and "Webhook headers"). Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"
"""The beginning of every secret."""
MIN_SECRET_BYTES = 24
MAX_SECRET_BYTES = 64


def decode_secret(text: str) -> bytes:
    """Return the key that a secret encodes.

    :param text: ``whsec_`` and the base64 of 24 to 64 bytes. The padding may be missing.
    :raises ValueError: the text is not such a secret.
    """
    if not text.startswith(PREFIX):
        raise ValueError(f"a secret begins with {PREFIX}")
    encoded = text.removeprefix(PREFIX)
    key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise ValueError(f"a secret has {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes")
    return key


def signed_headers(keys: Sequence[bytes], *, event_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the header fields that identify and sign a request.

    :param keys: the keys to sign with. While a secret is replaced there are two, and a receiver may know either.
    :param event_id: the same for every try. A receiver recognises a repeated event by this id. It holds no dot.
    :param timestamp: the time of this try, in seconds since 1970. A receiver rejects an old one as a replay.
    :param body: the body, byte for byte.
    """
    content = f"{event_id}.{timestamp}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode("ascii") for key in keys)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
