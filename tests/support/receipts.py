"""Receipts as a back end verifies them."""

from __future__ import annotations

from typing import Any

import jwt

from .tokens import SECRET


def verified(receipt: str) -> dict[str, Any]:
    """Return the claims of a receipt, as PyJWT verifies it."""
    decoded = jwt.decode_complete(
        receipt, SECRET, algorithms=["HS256"], audience="receipt", options={"require": ["exp", "iat", "aud"]}
    )
    assert decoded["header"] == {"alg": "HS256", "typ": "upload-receipt+jwt"}
    claims: dict[str, Any] = decoded["payload"]
    return claims
