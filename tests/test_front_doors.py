"""The upload app behind every front door of AWS, checked by wsgiref.validate."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from wsgiref.validate import validator

import pytest

from handler.gateway import make_handler
from handler.web.access import SCOPES
from handler.web.tokens import mint

from .support import samples
from .support.gateway_behaviours import Context
from .support.gateway_events import SHAPES, EventKind, Reply
from .support.lambda_runtime import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask


@pytest.fixture(params=SHAPES)
def send(request: pytest.FixtureRequest, make_app: Callable[..., Flask]) -> Callable[..., Reply]:
    shape = SHAPES[request.param]
    handler = make_handler(validator(make_app(TOKEN_SECRET=SECRET)))
    authorization = ("Authorization", f"Bearer {mint(SECRET, expires_seconds=60, scopes=SCOPES)}")

    def send(method: str, path: str, **options: Any) -> Reply:
        options["headers"] = [authorization, *options.get("headers", ())]
        as_base64 = {"body": options.pop("base64"), "isBase64Encoded": True} if "base64" in options else {}
        return shape.read(handler(shape.event(method=method, path=path, **options) | as_base64, Context()))

    return send


def test_file_is_uploaded_downloaded_and_deleted(send: Callable[..., Reply], kind: str) -> None:
    content = samples.png(20_000)
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="photo.png"\r\n\r\n'
    body = head + content + b"\r\n--x--\r\n"
    reply = send("POST", "/upload", body=body, headers=[("Content-Type", "multipart/form-data; boundary=x")])
    assert reply.status == 201, reply
    (file,) = json.loads(reply.body)["files"]
    assert file["sha256"] == hashlib.sha256(content).hexdigest()
    assert reply.values("X-Request-Id") == ["lambda-request"]
    path = "/files/" + urlsplit(file["url"]).path.partition("/files/")[2]
    download = send("GET", path)
    if kind == "folder":
        assert download.body == content
        assert send("HEAD", path).body == b""
    else:
        assert download.status == 302
    assert send("DELETE", path).status == 204
    assert send("GET", path).status == 404


def test_unicode_name_in_the_path_is_kept(send: Callable[..., Reply]) -> None:
    path = "/upload/Gr%C3%BC%C3%9Fe%20%E6%97%A5%E6%9C%AC.txt"
    reply = send("PUT", path, body="Grüße\n".encode())
    assert reply.status == 201, reply
    (file,) = json.loads(reply.body)["files"]
    assert (file["name"], file["size"]) == ("Grue.txt", len("Grüße\n".encode()))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_invalid_base64_is_rejected(shape: EventKind) -> None:
    event = shape.event(method="PUT", path="/upload/a.txt", body=b"hello")
    event |= {"body": "=hello=", "isBase64Encoded": True}
    reply = shape.read(make_handler(lambda *_: pytest.fail("the app was called"))(event, Context()))
    assert reply.status == 400
    assert json.loads(reply.body)["type"] == "urn:problem-type:upload:malformed-request"
    assert json.loads(reply.body)["request_id"] == "lambda-request"


@pytest.mark.parametrize("kind", ["folder"])
def test_rejection_by_the_gateway_has_the_headers_of_the_app(send: Callable[..., Reply], kind: str) -> None:  # noqa: ARG001
    seen = send("PUT", "/upload", body=b"hello")
    unseen = send("PUT", "/upload", body=b"hello", base64="=hello=")
    assert (seen.status, unseen.status) == (400, 400)

    def headers(reply: Reply) -> dict[str, str]:
        return {name: value for name, value in reply.fields if name != "Content-Length"}

    assert headers(unseen) == headers(seen)
