"""Tokens as any back end could make them, good or bad, and uploads that carry them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from handler.app import create_app
from handler.settings import Settings

from ..conftest import BufferedClient

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from flask import Flask
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse


SECRET = "the secret of these tests has more than 32 bytes"
OLD_SECRET = "the secret that is being retired is long enough"
OTHER_SECRET = "the secret of some other service is long enough"
HOUR_SECONDS = 3600


@dataclass
class Sent:
    """The tokens that a test has sent."""

    tokens: set[str] = field(default_factory=set)

    def __call__(self, token: str) -> str:
        self.tokens.add(token)
        return token


def in_an_hour() -> int:
    return int(time.time()) + HOUR_SECONDS


def sign(claims: Mapping[str, Any] | bytes, *, secret: str = SECRET, header: Mapping[str, Any] | bytes = b"") -> str:
    """Sign a token with HS256 and any claims. PyJWT refuses to make most of these."""
    header = header or {"alg": "HS256", "typ": "JWT"}
    signed = ".".join(
        base64url(part if isinstance(part, bytes) else json.dumps(part).encode()) for part in (header, claims)
    )
    return f"{signed}.{base64url(hmac.digest(secret.encode(), signed.encode(), hashlib.sha256))}"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def good(**claims: Any) -> str:
    """Sign a token that expires in an hour."""
    return sign({"exp": in_an_hour()} | claims)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def put(client: FlaskClient, token: str | None, *, name: str = "a.txt", content: bytes = b"hello") -> TestResponse:
    return client.put(f"/upload/{name}", data=content, headers=bearer(token) if token is not None else {})


def post(client: FlaskClient, *parts: tuple[str, str | tuple[bytes, str]], **headers: str) -> TestResponse:
    """Send a form with its parts in this order: ``(field, text)`` or ``(field, (content, file name))``."""
    body = b""
    for name, value in parts:
        content, file_name = (value.encode(), None) if isinstance(value, str) else value
        extra = f'; filename="{file_name}"' if file_name is not None else ""
        body += f'--x\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'.encode() + content + b"\r\n"
    return client.post(
        "/upload", data=body + b"--x--\r\n", content_type="multipart/form-data; boundary=x", headers=headers
    )


FILE = ("file", (b"hello", "a.txt"))


def folder_app(tmp_path: Path, **environ: str) -> Flask:
    app = create_app(Settings.from_environ({"UPLOAD_FOLDER": str(tmp_path / "uploads"), **environ}))
    app.test_client_class = BufferedClient
    return app


def stored_files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "uploads").rglob("*") if path.is_file()]
