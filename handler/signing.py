"""Signed values that expire. A client holds them, so nothing must be stored. Pure: neither I/O nor Flask."""

from __future__ import annotations

import hashlib
import time
from functools import lru_cache
from typing import Any

from itsdangerous import SignatureExpired, URLSafeTimedSerializer

LEEWAY_SECONDS = 30
"""How far the clock of the signing machine may be ahead of ours. Tokens have the same leeway (``web/tokens.py``)."""
MAX_SIGNERS = 8
"""How many signers are kept: two purposes, and the secrets of the last minutes."""


class TimedSigner:
    """A signer of JSON values. Each signature includes the time.

    :param secret: the key, which all processes share.
    :param purpose: a value that is signed for one purpose is not valid for another purpose.
    """

    def __init__(self, secret: bytes, *, purpose: str) -> None:
        self._serializer = URLSafeTimedSerializer(secret, salt=purpose, signer_kwargs={"digest_method": hashlib.sha256})

    def sign(self, value: object) -> str:
        """Return the value with a signature, as text that is safe in a URL."""
        signed: str = self._serializer.dumps(value)
        return signed

    def verify(self, signed: str, *, max_seconds: int) -> Any:
        """Return the signed value.

        itsdangerous rejects every signature from the future when it compares the age, so the age is compared here.

        :param max_seconds: the age at which the signature expires.
        :raises BadSignature: the signature is not ours, was changed, has expired, or comes from too far in the future.
        """
        value, signed_at = self._serializer.loads(signed, return_timestamp=True)
        age = int(time.time()) - int(signed_at.timestamp())
        if not -LEEWAY_SECONDS <= age <= max_seconds:
            raise SignatureExpired(f"signed {age} seconds ago", payload=value, date_signed=signed_at)
        return value


@lru_cache(maxsize=MAX_SIGNERS)
def timed_signer(secret: bytes, *, purpose: str) -> TimedSigner:
    """Return the signer for a secret and a purpose. Each signer is made once, and then reused."""
    return TimedSigner(secret, purpose=purpose)
