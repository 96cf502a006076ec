"""Receipts: JSON Web Tokens (RFC 7519) that prove to a back end that a file is stored. Only tokens need this module.

A receipt is signed with the same secret as an upload token, so a back end verifies it with the library that mints its
tokens. Nothing can take one for the other: a receipt has an ``aud`` and a ``typ`` of its own, :mod:`.tokens` refuses a
token with either, and a back end must demand both.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import jwt

from .tokens import ALGORITHM

TYPE = "upload-receipt+jwt"
"""The ``typ`` of a receipt (RFC 8725, section 3.11: "Use Explicit Typing")."""
AUDIENCE = "receipt"
VALID_SECONDS = 24 * 60 * 60

_MEMBERS = ("id", "name", "size", "type", "sha256", "url", "folder", "meta", "fields", "stored")
"""The members of a file's entry that a receipt repeats, if the entry has them."""


class Receipts:
    """The receipts of an endpoint.

    :param secret: the first secret in ``TOKEN_SECRET``.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def make(self, entry: Mapping[str, Any]) -> str:
        """Return the receipt of a stored file, as :func:`handler.entries.file_entry` describes the file."""
        now = int(time.time())
        claims = {name: entry[name] for name in _MEMBERS if name in entry}
        if "subject" in entry:
            claims["sub"] = entry["subject"]
        claims |= {"aud": AUDIENCE, "iat": now, "exp": now + VALID_SECONDS}
        return jwt.encode(claims, self._secret, algorithm=ALGORITHM, headers={"typ": TYPE})
