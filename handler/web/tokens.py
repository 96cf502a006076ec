"""Upload tokens: JSON Web Tokens (RFC 7519), signed with HS256, that any back end can mint."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jwt
from flask import Request

from ..problems import InvalidToken, TokenRequired
from .access import MAX_TOKEN_SECONDS, SCOPES, UPLOAD, Grant

ALGORITHM = "HS256"
LEEWAY_SECONDS = 30
"""What the clocks of two machines may differ."""
MAX_TOKEN_CHARS = 4096
"""Far more than one of ours has: it may come in a URL, and of those the servers before us take 8 KB."""


class TokenAccess:
    """Whoever has a token may do what it says.

    :param secrets: what tokens may be signed with.
    :param anonymous: what needs no token, if anything does not.
    """

    def __init__(self, secrets: Sequence[str], *, anonymous: Grant | None) -> None:
        self._secrets = secrets
        self._anonymous = replace(anonymous, token_missing=True) if anonymous else None

    def check_request(self, request: Request) -> None:
        pass

    def grant(self, token: str | None) -> Grant:
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
) -> str:
    """Make a token.

    :param secret: the first of ``TOKEN_SECRET``.
    :param expires_seconds: how long it is good, from now; at most :data:`~handler.web.access.MAX_TOKEN_SECONDS`.
    :param subject: whom it is for: the log has it, and only its bearer goes on with an upload that it began.
    """
    claims: dict[str, Any] = {"exp": int(time.time()) + expires_seconds, "scope": " ".join(scopes)}
    if max_bytes is not None:
        claims["max_bytes"] = max_bytes
    if extensions is not None:
        claims["extensions"] = list(extensions)
    if subject is not None:
        claims["sub"] = subject
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


def verify(token: str, *, secrets: Sequence[str]) -> Grant:
    """What a token grants.

    :param secrets: any of which may have signed it: two while one takes the other's place.
    :raises InvalidToken: it is not ours, has expired, or says something that has no meaning here.
    """
    if len(token) > MAX_TOKEN_CHARS:
        raise InvalidToken("The token is too long to be one of ours.")
    grant = _remembered(token, tuple(secrets))
    if grant.expires is None or grant.expires <= time.time() - LEEWAY_SECONDS:
        raise _expired()  # since it was remembered
    return grant


@lru_cache(maxsize=128)
def _remembered(token: str, secrets: tuple[str, ...]) -> Grant:
    """What a token grants that was good when it was first seen. It comes again with each file, and with each part of a
    large one, and to verify it is a fifteenth of what a small upload takes. What is not good is not remembered."""
    return _grant(_claims(token, secrets))


def _claims(token: str, secrets: Sequence[str]) -> dict[str, Any]:
    for secret in secrets:
        try:
            # PyJWT compares in constant time, and takes no other algorithm than the named one, "none" included.
            claims: dict[str, Any] = jwt.decode(
                token, secret, algorithms=[ALGORITHM], leeway=LEEWAY_SECONDS, options={"require": ["exp"]}
            )
        except jwt.InvalidSignatureError:
            continue
        except jwt.ExpiredSignatureError:
            raise _expired() from None
        except jwt.ImmatureSignatureError:
            raise InvalidToken("The token is not good yet: its 'nbf' or 'iat' is in the future.") from None
        except jwt.InvalidAudienceError:
            raise InvalidToken("The token has an 'aud': it was made for another service.") from None
        except jwt.exceptions.InvalidSubjectError:
            raise InvalidToken("The token's 'sub' is not a string (RFC 7519, section 4.1.2).") from None
        except jwt.MissingRequiredClaimError:
            raise InvalidToken("The token has no 'exp': it has to say when it expires.") from None
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError):
            break
        return claims
    raise InvalidToken("The token is not one of this endpoint's, or it was changed on the way.")


def _expired() -> InvalidToken:
    return InvalidToken("The token has expired. Get a new one.")


def _grant(claims: dict[str, Any]) -> Grant:
    """The claims that mean something here, each checked: one that is misspelt must not grant more than it says."""
    if type(claims["exp"]) not in (int, float):  # PyJWT takes text too, in digits of any script
        raise InvalidToken("The token's 'exp' is not a number of seconds (RFC 7519, section 2).")
    if claims["exp"] > time.time() + MAX_TOKEN_SECONDS + LEEWAY_SECONDS:
        raise InvalidToken("The token's 'exp' is more than ten years away. It counts seconds since 1970.")
    scope = claims.get("scope", UPLOAD)
    if not (isinstance(scope, str) and set(scope.split()) <= set(SCOPES)):
        raise InvalidToken("The token's 'scope' is not 'upload', 'delete' or both with a space between them.")
    max_bytes = claims.get("max_bytes")
    if max_bytes is not None and (type(max_bytes) is not int or max_bytes < 0):
        raise InvalidToken("The token's 'max_bytes' is not a whole number of bytes.")
    extensions = claims.get("extensions")
    if extensions is not None and not (
        isinstance(extensions, list) and all(isinstance(extension, str) for extension in extensions)
    ):
        raise InvalidToken("The token's 'extensions' is not a list of strings.")
    return Grant(
        scopes=frozenset(scope.split()),
        max_bytes=max_bytes,
        expires=claims["exp"],
        extensions=None
        if extensions is None
        else frozenset(extension.lower().removeprefix(".") for extension in extensions),
        subject=claims.get("sub") or None,
    )
