"""Upload tokens: JSON Web Tokens (RFC 7519), signed with HS256. Any back end can make them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import jwt
from flask import Request

from ..problems import InvalidToken, TokenRequired
from ..storage import KEEP_DAYS, is_folder
from .access import MAX_TOKEN_SECONDS, SCOPES, UPLOAD, Grant

ALGORITHM = "HS256"
LEEWAY_SECONDS = 30
"""How far the clocks of two machines may differ."""
MAX_TOKEN_CHARS = 4096
"""Far more than our tokens have. A token may come in a URL, and the servers before us accept URLs of 8 KB."""
REMEMBERED_TOKENS = 128
"""How many valid tokens are remembered."""

EXPIRED = "The token has expired. Get a new one."
NOT_OURS = "The token is not one of this endpoint's tokens, or it was changed. Get a new one."
_SENTENCES: tuple[tuple[type[jwt.InvalidTokenError], str], ...] = (
    (jwt.ExpiredSignatureError, EXPIRED),
    (jwt.ImmatureSignatureError, "The token is not valid yet: its 'nbf' or 'iat' is in the future."),
    (jwt.InvalidAudienceError, "The token has an 'aud', so it was made for another service."),
    (jwt.exceptions.InvalidSubjectError, "The token's 'sub' is not a string (RFC 7519, section 4.1.2)."),
    (jwt.MissingRequiredClaimError, "The token has no 'exp'. Add the time at which it expires."),
)
"""The sentence for each error of PyJWT. All other errors mean that the token is not one of ours."""


_ABSENT = object()


class Claim(NamedTuple):
    """A condition that a claim of a token must meet.

    :param name: the name of the claim.
    :param is_valid: decides by the value of the claim; by ``default`` if the token does not have the claim.
    :param sentence: the error sentence for an invalid value.
    """

    name: str
    is_valid: Callable[[Any], bool]
    sentence: str
    default: Any = None


def _is_kept(meta: object) -> bool:
    """Return whether a claim ``meta`` is an object that can be kept as JSON: finite numbers, and text in UTF-8."""
    try:
        return isinstance(meta, dict) and bool(json.dumps(meta, ensure_ascii=False, allow_nan=False).encode())
    except (ValueError, RecursionError):
        return False


_CLAIMS = (
    Claim(
        "aud",
        lambda aud: aud is _ABSENT,  # PyJWT accepts "", [] and null
        "The token has an 'aud', so it was made for another service.",
        default=_ABSENT,
    ),
    Claim(
        "exp",
        lambda exp: type(exp) in (int, float),  # PyJWT accepts text too, with digits of any script
        "The token's 'exp' is not a number of seconds (RFC 7519, section 2).",
    ),
    Claim(
        "exp",
        lambda exp: bool(exp <= time.time() + MAX_TOKEN_SECONDS + LEEWAY_SECONDS),
        "The token's 'exp' is more than ten years away. It counts seconds since 1970.",
    ),
    Claim(
        "scope",
        lambda scope: isinstance(scope, str) and set(scope.split()) <= set(SCOPES),
        "The token's 'scope' is not a list of 'upload', 'delete' and 'list' with spaces between them.",
        default=UPLOAD,
    ),
    Claim(
        "max_bytes",
        lambda size: size is None or (type(size) is int and size >= 0),
        "The token's 'max_bytes' is not a whole number of bytes.",
    ),
    Claim(
        "extensions",
        lambda names: names is None or (isinstance(names, list) and all(isinstance(name, str) for name in names)),
        "The token's 'extensions' is not a list of strings.",
    ),
    Claim(
        "meta",
        lambda meta: meta is None or _is_kept(meta),
        "The token's 'meta' is not a JSON object with finite numbers and valid text.",
    ),
    Claim(
        "folder",
        lambda folder: folder is None or (isinstance(folder, str) and is_folder(folder)),
        "The token's 'folder' is not a name of 1 to 64 letters, digits, '_' and '-'.",
    ),
    Claim(
        "keep_days",
        lambda days: days is None or (type(days) is int and days in KEEP_DAYS),
        f"The token's 'keep_days' is not one of {', '.join(map(str, KEEP_DAYS))}.",
    ),
)
"""The claims that mean something here, in the order of the checks. A misspelt value must not grant more than a correct
one, so it makes the whole token invalid."""


class TokenAccess:
    """Clients with a token have the rights that it grants.

    :param secrets: the secrets that tokens may be signed with.
    :param anonymous: the rights of clients without a token; ``None`` if every client needs one.
    """

    def __init__(self, secrets: Sequence[str], *, anonymous: Grant | None) -> None:
        self._secrets = secrets
        self._anonymous = replace(anonymous, token_missing=True) if anonymous else None

    def check_request(self, request: Request) -> None:
        pass

    def grant(self, token: str | None, /) -> Grant:
        if token is not None:
            return verify(token, secrets=self._secrets)
        if self._anonymous is None:
            raise TokenRequired("A token is needed here. Send it as 'Authorization: Bearer TOKEN'.")
        return self._anonymous


def mint(  # noqa: PLR0913  (a claim each)
    secret: str,
    *,
    expires_seconds: int,
    scopes: Sequence[str] = (UPLOAD,),
    max_bytes: int | None = None,
    extensions: Sequence[str] | None = None,
    subject: str | None = None,
    meta: Mapping[str, Any] | None = None,
    folder: str | None = None,
    keep_days: int | None = None,
) -> str:
    """Make a token.

    :param secret: the first secret in ``TOKEN_SECRET``.
    :param expires_seconds: the validity, from now; at most :data:`~handler.web.access.MAX_TOKEN_SECONDS`.
    :param scopes: of :data:`~handler.web.access.SCOPES`.
    :param max_bytes: the largest file, in bytes; ``None`` for the limit of the server.
    :param extensions: the extensions that may be uploaded; ``None`` for those that the server allows.
    :param subject: the user. It is logged, and only tokens with the same subject can continue an upload.
    :param meta: a JSON object that is kept with each file.
    :param folder: the folder of a user or tenant. The token is good for files in this folder only.
    :param keep_days: the number of days after which the files expire, of :data:`~handler.storage.KEEP_DAYS`.
    """
    optional = {
        "max_bytes": max_bytes,
        "extensions": None if extensions is None else list(extensions),
        "sub": subject,
        "meta": meta,
        "folder": folder,
        "keep_days": keep_days,
    }
    claims: dict[str, Any] = {"exp": int(time.time()) + expires_seconds, "scope": " ".join(scopes)}
    claims |= {name: value for name, value in optional.items() if value is not None}
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


def verify(token: str, *, secrets: Sequence[str]) -> Grant:
    """Return the rights that a token grants.

    :param secrets: the secrets that may have signed the token: two while one of them is replaced.
    :raises InvalidToken: the token is not one of ours, has expired, or has an invalid claim.
    """
    if len(token) > MAX_TOKEN_CHARS:
        raise InvalidToken("The token is too long, so it is not one of this endpoint's tokens. Get a new one.")
    grant = _verify_once(token, tuple(secrets))
    if grant.expires is None or grant.expires <= time.time() - LEEWAY_SECONDS:  # expired while it was remembered
        raise InvalidToken(EXPIRED)
    return grant


@lru_cache(maxsize=REMEMBERED_TOKENS)
def _verify_once(token: str, secrets: tuple[str, ...]) -> Grant:
    """Return the rights that a token grants, and remember them. Invalid tokens are not remembered.

    A token comes again with each file, and with each part of a large file. To verify it takes a fifteenth of the time
    of a small upload.
    """
    return _grant(_claims(token, secrets))


def _claims(token: str, secrets: Sequence[str]) -> dict[str, Any]:
    """Return the claims of a token that one of the secrets signed.

    :raises InvalidToken: none of them signed it, or it is not valid now.
    """
    for secret in secrets:
        try:
            # PyJWT compares in constant time. It accepts only the named algorithm, and so never "none".
            decoded = jwt.decode_complete(
                token, secret, algorithms=[ALGORITHM], leeway=LEEWAY_SECONDS, options={"require": ["exp"]}
            )
        except jwt.InvalidSignatureError:
            continue
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError) as error:
            raise InvalidToken(_sentence(error)) from None
        _check_type(decoded["header"].get("typ", "JWT"))
        claims: dict[str, Any] = decoded["payload"]
        return claims
    raise InvalidToken(NOT_OURS)


def _check_type(typ: object) -> None:
    """:raises InvalidToken: the token is of another type, such as a receipt (RFC 7519, section 5.1)."""
    if not (isinstance(typ, str) and typ.lower() == "jwt"):
        raise InvalidToken("The token's 'typ' is not 'JWT', so it is not an upload token. Get an upload token.")


def _sentence(error: Exception) -> str:
    return next((sentence for kind, sentence in _SENTENCES if isinstance(error, kind)), NOT_OURS)


def _grant(claims: dict[str, Any]) -> Grant:
    """Check the claims and return the rights that they grant.

    :raises InvalidToken: a claim has an invalid value.
    """
    for claim in _CLAIMS:
        if not claim.is_valid(claims.get(claim.name, claim.default)):
            raise InvalidToken(claim.sentence)
    return Grant(
        scopes=frozenset(claims.get("scope", UPLOAD).split()),
        max_bytes=claims.get("max_bytes"),
        expires=claims["exp"],
        extensions=_normalized(claims.get("extensions")),
        subject=claims.get("sub") or None,
        folder=claims.get("folder"),
        meta=claims.get("meta") or None,
        keep_days=claims.get("keep_days"),
    )


def _normalized(extensions: list[str] | None) -> frozenset[str] | None:
    """Return the extensions in lower case, without a leading dot."""
    return None if extensions is None else frozenset(name.lower().removeprefix(".") for name in extensions)
