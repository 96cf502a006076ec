"""Uploads through Flask's test client: forms, raw bodies, and checks of the responses."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from werkzeug.test import EnvironBuilder, TestResponse, run_wsgi_app
from werkzeug.wrappers import Request

from .stored_files import fetch

if TYPE_CHECKING:
    from flask.testing import FlaskClient


TYPE = "urn:problem-type:upload:"
NO_SUCH_FILE = f"/files/{'0' * 32}/a.txt"


def post(client: FlaskClient, *files: tuple[bytes, str], field: str = "file", **headers: str) -> TestResponse:
    """Send files in a form, each as ``(content, name)``."""
    data = {field: [(io.BytesIO(content), name) for content, name in files]}
    return client.post("/upload", data=data, headers={key.replace("_", "-"): value for key, value in headers.items()})


def post_raw(client: FlaskClient, body: bytes, *, boundary: str = "x") -> TestResponse:
    """Send the body of a form as it is."""
    return client.post("/upload", data=body, content_type=f"multipart/form-data; boundary={boundary}")


def form_of(*files: tuple[bytes, str]) -> bytes:
    """Return a form's body for :func:`post_raw`, since werkzeug.test leaves the file open that holds a large body."""
    head = '--x\r\nContent-Disposition: form-data; name="file"; filename="{}"\r\n\r\n'
    return b"".join(head.format(name).encode() + content + b"\r\n" for content, name in files) + b"--x--\r\n"


def put_raw(client: FlaskClient, body: bytes, **environ: str) -> TestResponse:
    """Send a PUT with only these WSGI variables. werkzeug.test would add the missing ones."""
    environment = EnvironBuilder("/upload/a.txt", method="PUT", input_stream=io.BytesIO(body)).get_environ()
    del environment["CONTENT_LENGTH"]
    environment["REMOTE_ADDR"] = "127.0.0.1"
    request = Request(environment | environ)
    return TestResponse(*run_wsgi_app(client.application, environment | environ, buffered=True), request=request)


def json_of(response: TestResponse) -> Any:
    return response.json


def problem(response: TestResponse, status: int, slug: str) -> dict[str, Any]:
    """Assert everything that all error responses have in common, and return the body."""
    assert response.status_code == status, response.text
    assert response.mimetype == "application/problem+json"
    body: dict[str, Any] = json_of(response)
    assert body["type"] == TYPE + slug
    assert body["status"] == status
    assert body["error"] == body["detail"]
    assert body["title"]
    assert body["request_id"] == response.headers["X-Request-Id"]
    return body


def download(client: FlaskClient, url: str) -> bytes:
    """Read a stored file, through the redirect to S3 if there is one."""
    response = client.get(urlsplit(url).path)
    if response.status_code == 302:
        return fetch(response.headers["Location"])
    assert response.status_code == 200
    data: bytes = response.data
    return data


PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhello'


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
