"""Trade a login of Cognito, Auth0 or another OpenID provider for an upload token, in Flask or as a Lambda function."""

from __future__ import annotations

import hashlib
import os
import time
from typing import Any

import jwt

ISSUER, CLIENT_ID, SITE = os.environ["ISSUER"], os.environ["CLIENT_ID"], os.environ["SITE"]
KEYS = jwt.PyJWKClient(ISSUER.rstrip("/") + "/.well-known/jwks.json", timeout=5)  # keeps the keys for five minutes


def upload_token(authorization: str) -> str:
    """Return an upload token for ten minutes, in a folder of the user's own.

    :param authorization: ``Bearer`` and the ID token. An access token is refused, because its ``aud`` is another.
    :raises jwt.PyJWTError: the ID token is not from this provider, not for this client, or has expired.
    """
    id_token = authorization.removeprefix("Bearer ")
    claims = jwt.decode(
        id_token, KEYS.get_signing_key_from_jwt(id_token), ["RS256"],
        issuer=ISSUER, audience=CLIENT_ID, options={"require": ["exp", "iss", "aud", "sub"]},
    )  # fmt: skip
    folder = hashlib.sha256(claims["sub"].encode()).hexdigest()[:32]  # auth0|123 cannot be a folder
    grant = {"exp": int(time.time()) + 600, "scope": "upload", "sub": claims["sub"], "folder": folder}
    return jwt.encode(grant, os.environ["TOKEN_SECRET"], "HS256")


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Respond at a Lambda function URL."""
    try:
        return {"token": upload_token(event["headers"].get("authorization", ""))}
    except jwt.PyJWTError:
        return {"statusCode": 401}


if __name__ == "__main__":
    from flask import Flask, request

    app = Flask(__name__)

    @app.route("/upload-token", methods=["POST"])
    def respond() -> Any:
        try:
            return {"token": upload_token(request.headers.get("Authorization", ""))}
        except jwt.PyJWTError:
            return {"error": "Sign in again."}, 401

    @app.after_request
    def allow_site(response: Any) -> Any:
        response.headers["Access-Control-Allow-Origin"] = SITE
        response.headers["Access-Control-Allow-Headers"] = "Authorization"
        return response

    app.run(port=int(os.environ.get("PORT", "5000")))
