"""Limits of files and requests: announced and enforced, over both storages."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from handler.web import forms
from handler.web.tokens import MAX_TOKEN_CHARS, mint

from ..support import samples
from ..support.http_client import form_of, json_of, post, post_raw, problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient


def test_file_over_the_limit_is_rejected(make_app: Callable[..., Flask], stored_keys: Callable[[], list[str]]) -> None:
    client = make_app(MAX_FILE_BYTES="1000").test_client()
    assert post(client, (b"x" * 1000, "a.txt")).status_code == 201
    before = stored_keys()
    for response in (post(client, (b"x" * 1001, "a.txt")), client.put("/upload/a.txt", data=b"x" * 1001)):
        body = problem(response, 413, "file-too-large")
        assert body["max_bytes"] == 1000
        assert "1,000 bytes" in body["error"]
    assert stored_keys() == before


MIB = 1024 * 1024


@pytest.mark.parametrize("way", ["form", "raw", "path"])
def test_request_over_both_limits_reports_the_limit_of_a_file(make_app: Callable[..., Flask], way: str) -> None:
    client = make_app(MAX_FILE_BYTES=str(MIB)).test_client()
    photo = samples.png(2_700_000)
    match way:
        case "form":
            response = post_raw(client, form_of((photo, "a.png")))
            slug = "request-too-large"
        case "raw":
            response, slug = client.post("/upload?filename=a.png", data=photo), "file-too-large"
        case _:
            response, slug = client.put("/upload/a.png", data=photo), "file-too-large"
    body = problem(response, 413, slug)
    assert body["max_bytes"] == MIB
    assert "1,048,576 bytes" in body["detail"]
    assert "2,097,152" not in body["detail"]
    assert "storage" not in body["detail"]
    assert "direct_url" not in body


@pytest.mark.parametrize(
    ("max_file_bytes", "size", "advises", "max_bytes"),
    [
        (5000, 2000, True, 1000),  # takes more another way
        (1000, 2000, False, 1000),  # does not
        (999, 2000, False, 999),
        (5000, 6000, False, 5000),  # takes it no way
    ],
)
def test_direct_upload_is_advised_only_if_its_limit_is_higher(
    make_app: Callable[..., Flask], max_file_bytes: int, size: int, advises: bool, max_bytes: int
) -> None:
    client = make_app(MAX_CONTENT_LENGTH="1000", MAX_FILE_BYTES=str(max_file_bytes)).test_client()
    body = json_of(client.put("/upload/a.txt", data=b"x" * size))
    assert (body["status"], body["max_bytes"]) == (413, max_bytes)
    assert ("direct_url" in body) == ("/upload/s3/multipart" in body["detail"]) == advises


@pytest.mark.parametrize(
    ("max_file_bytes", "advises", "max_bytes"), [(50_000, True, 10_000), (1808, False, 1808), (1809, True, 10_000)]
)
def test_limit_of_a_form_leaves_room_for_its_overhead(
    make_app: Callable[..., Flask], max_file_bytes: int, advises: bool, max_bytes: int
) -> None:
    """A form of 10,000 bytes has room for a file of 1,808 bytes with any token and any names."""
    client = make_app(MAX_CONTENT_LENGTH="10000", MAX_FILE_BYTES=str(max_file_bytes)).test_client()
    body = problem(post_raw(client, form_of((b"x" * 20_000, "a.txt"))), 413, "request-too-large")
    assert body["max_bytes"] == max_bytes
    assert ("direct_url" in body) == ("/upload/s3/multipart" in body["detail"]) == advises


def test_limit_of_the_token_is_reported(make_app: Callable[..., Flask]) -> None:
    secret = "a secret of this test that is long enough"
    client = make_app(TOKEN_SECRET=secret, MAX_CONTENT_LENGTH="1000").test_client()
    token = mint(secret, expires_seconds=60, max_bytes=500)
    headers = {"Authorization": f"Bearer {token}"}
    for response in (
        client.put("/upload/a.txt", data=b"x" * 2000, headers=headers),
        client.post("/upload/a.txt", data=b"x" * 2000, headers=headers),
    ):
        assert problem(response, 413, "file-too-large")["max_bytes"] == 500


def test_request_over_the_limit_is_rejected(
    make_app: Callable[..., Flask], stored_keys: Callable[[], list[str]]
) -> None:
    client = make_app(MAX_CONTENT_LENGTH="1000").test_client()
    for response in (post(client, (b"x" * 1000, "a.txt")), client.put("/upload/a.txt", data=b"x" * 1001)):
        body = problem(response, 413, "request-too-large")
        assert body["max_bytes"] == 1000
    assert stored_keys() == []


def test_chunked_request_over_the_limit_is_rejected(
    make_app: Callable[..., Flask], stored_keys: Callable[[], list[str]]
) -> None:
    client = make_app(MAX_CONTENT_LENGTH="1000").test_client()
    response = client.put(
        "/upload/a.txt",
        input_stream=io.BytesIO(b"x" * 1001),
        environ_overrides={"wsgi.input_terminated": True},
    )
    problem(response, 413, "request-too-large")
    assert stored_keys() == []


def test_chunked_request_at_the_limit_is_accepted(make_app: Callable[..., Flask]) -> None:
    client = make_app(MAX_CONTENT_LENGTH="1000").test_client()
    response = client.put(
        "/upload/a.txt",
        input_stream=io.BytesIO(b"x" * 1000),
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert response.status_code == 201


def test_form_with_too_many_parts_is_rejected(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
    response = post(client, *[(b"x", "a.txt")] * 101)
    problem(response, 413, "too-many-parts")
    assert stored_keys() == []


# The limits that clients can read.


def test_limits_can_be_read_before_the_upload(make_app: Callable[..., Flask]) -> None:
    app = make_app(ALLOWED_EXTENSIONS="png stl=model/stl", MAX_FILE_BYTES="20000", MAX_CONTENT_LENGTH="10000")
    response = app.test_client().get("/upload")
    assert response.status_code == 200
    assert json_of(response) == {
        "extensions": ["png", "stl"],
        "types": {"png": "image/png", "stl": "model/stl"},
        "max_file_bytes": 20_000,
        "max_image_pixels": 200_000_000,
        "max_request_bytes": 10_000,
        "max_files": 100,
        "scopes": ["delete", "list", "upload"],
        "ways": [
            {
                "name": "form",
                "method": "POST",
                "url": "http://localhost/upload",
                "field": "file",
                "fields": ["file", "files"],
                "max_bytes": 1808,
            },
            {"name": "body", "method": "PUT", "url": "http://localhost/upload/{name}", "max_bytes": 10_000},
            {"name": "direct", "method": "POST", "url": "http://localhost/upload/s3/multipart", "max_bytes": 20_000},
            {
                "name": "resumable",
                "method": "POST",
                "url": "http://localhost/upload",
                "protocols": ["tus-1.0.0", "draft-ietf-httpbis-resumable-upload", "filepond", "dropzone"],
                "max_append_bytes": 10_000,
                "max_bytes": 20_000,
            },
        ],
    }


@pytest.mark.parametrize(
    ("max_file_bytes", "max_request_bytes", "form", "body"),
    [
        (1000, 9192, 1000, 1000),
        (1001, 9192, 1000, 1001),
        (1000, 1000, 0, 1000),
        (1000, 999, 0, 999),
    ],
)
def test_smaller_of_two_limits_applies(
    make_app: Callable[..., Flask], max_file_bytes: int, max_request_bytes: int, form: int, body: int
) -> None:
    app = make_app(MAX_FILE_BYTES=str(max_file_bytes), MAX_CONTENT_LENGTH=str(max_request_bytes))
    ways = [way["max_bytes"] for way in json_of(app.test_client().get("/upload"))["ways"]]
    assert ways == [form, body, max_file_bytes, max_file_bytes]


@pytest.mark.parametrize("name", ['"' * 251 + ".txt", "\u65e5" * 251 + ".txt"])
def test_file_at_the_limit_of_a_form_is_stored(make_app: Callable[..., Flask], name: str) -> None:
    """With everything around it as long as it gets: a boundary, a token, a name as browsers write it."""
    secret = "a secret of this test that is long enough"
    app = make_app(MAX_CONTENT_LENGTH="100000", TOKEN_SECRET=secret)
    client = app.test_client()
    max_bytes = json_of(client.get("/upload"))["ways"][0]["max_bytes"]
    assert max_bytes > 90_000
    token = mint(secret, expires_seconds=60)
    token = mint(secret, expires_seconds=60, extensions=["txt", "x" * ((MAX_TOKEN_CHARS - len(token)) * 3 // 4 - 40)])
    assert MAX_TOKEN_CHARS - 60 < len(token) <= MAX_TOKEN_CHARS
    line = b"--" + b"b" * forms.MAX_BOUNDARY_CHARS
    body = b"\r\n".join(
        [
            line,
            b'Content-Disposition: form-data; name="token"\r\n',
            token.encode(),
            line,
            b'Content-Disposition: form-data; name="file"; filename="%b"' % name.replace('"', "%22").encode(),
            b"Content-Type: application/vnd.openxmlformats-officedocument.presentationml.presentation\r\n",
            b"x" * max_bytes,
            line + b"--\r\n",
        ]
    )
    response = post_raw(client, body, boundary="b" * forms.MAX_BOUNDARY_CHARS)
    assert response.status_code == 201, response.text
    assert json_of(response)["files"][0]["size"] == max_bytes
