"""Receipts and upload tokens: signed with one secret, and neither passes for the other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import jwt
import pytest

from handler.problems import InvalidToken
from handler.web import tokens
from handler.web.receipts import Receipts

from ..support.receipts import verified
from ..support.tokens import OTHER_SECRET, SECRET, good, sign

if TYPE_CHECKING:
    from collections.abc import Callable

ENTRY = {
    "id": "0" * 32,
    "name": "a.txt",
    "original_name": "ä.txt",
    "size": 5,
    "type": "text/plain",
    "sha256": None,
    "stored": "2026-11-27T14:00:00Z",
    "subject": "user-7",
}


def test_receipt_repeats_the_entry() -> None:
    claims = verified(Receipts(SECRET).make(ENTRY))
    assert abs(claims.pop("iat") - time.time()) < 5
    assert claims.pop("exp") > time.time() + 23 * 60 * 60
    members = ("id", "name", "size", "type", "sha256", "stored")
    assert claims == {name: ENTRY[name] for name in members} | {"sub": "user-7", "aud": "receipt"}


def test_receipt_of_another_secret_is_rejected() -> None:
    with pytest.raises(jwt.InvalidSignatureError):
        verified(Receipts(OTHER_SECRET).make(ENTRY))


@pytest.mark.parametrize("secret", [SECRET, OTHER_SECRET])
def test_receipt_is_not_an_upload_token(secret: str) -> None:
    with pytest.raises(InvalidToken):
        tokens.verify(Receipts(secret).make(ENTRY), secrets=[SECRET])


def test_either_mark_makes_a_receipt_useless_as_a_token() -> None:
    """Each alone is enough, for libraries that cannot set a ``typ``."""
    exp = int(time.time()) + 60
    for claims, header in (
        ({"exp": exp, "aud": "receipt"}, {"alg": "HS256", "typ": "JWT"}),
        ({"exp": exp}, {"alg": "HS256", "typ": "upload-receipt+jwt"}),
    ):
        with pytest.raises(InvalidToken):
            tokens.verify(sign(claims, header=header), secrets=[SECRET])


UPLOAD_TOKENS: dict[str, Callable[[], str]] = {
    "minted here": lambda: tokens.mint(SECRET, expires_seconds=60, scopes=("upload", "delete"), folder="u7"),
    "with the claims of a receipt": lambda: good(**ENTRY, iat=int(time.time())),
    "without a typ": lambda: sign({"exp": int(time.time()) + 60}, header={"alg": "HS256"}),
}


@pytest.mark.parametrize("make", UPLOAD_TOKENS.values(), ids=UPLOAD_TOKENS)
def test_upload_token_is_not_a_receipt(make: Callable[[], str]) -> None:
    token = make()
    tokens.verify(token, secrets=[SECRET])
    with pytest.raises(jwt.MissingRequiredClaimError):
        jwt.decode(token, SECRET, algorithms=["HS256"], audience="receipt")
