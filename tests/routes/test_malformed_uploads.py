"""Malformed requests: forms, media types, lengths and codings, over both storages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..support import samples
from ..support.http_client import PART, post, post_raw, problem, put_raw

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.testing import FlaskClient


@pytest.mark.parametrize(
    ("body", "slug"),
    [
        (b"\r\n", "malformed-request"),
        (b"hello", "malformed-request"),
        (PART, "malformed-request"),
        (PART + b"\r\n--x", "malformed-request"),
        (PART + b"\r\n--x\r\n", "malformed-request"),
        (b"--x\r\n\r\nno headers\r\n--x--\r\n", "malformed-request"),
        (b"--x\r\nContent-Type: text/plain\r\n\r\nno disposition\r\n--x--\r\n", "malformed-request"),
        (b"--x\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\nx\r\n--x--\r\n", "malformed-request"),
        (b"p" * 1_000_000 + b"\r\n" + PART + b"\r\n--x--\r\n", "malformed-request"),
        (PART.replace(b"\r\n", b"\n") + b"\n--x--\n", "malformed-request"),
        (PART.replace(b"\r\n", b"\r") + b"\r--x--\r", "malformed-request"),
        (PART + b"\n--x--\r\n", "malformed-request"),
        (PART + b"\r\n--x--junk\r\n--x--\r\n", "malformed-request"),
        (b"junk" + PART + b"\r\n--x--\r\n", "no-file"),
        (PART.replace(b"a.txt", b'a.txt"; filename="b.txt') + b"\r\n--x--\r\n", "malformed-request"),
        (PART.replace(b'"a.txt"', b"\"a.txt\"; filename*=utf-8''b.csv") + b"\r\n--x--\r\n", "malformed-request"),
        (PART.replace(b'"a.txt"', b"\"a.txt\"; filename *=utf-8''b.txt") + b"\r\n--x--\r\n", "malformed-request"),
        (
            PART.replace(b'"a.txt"', b'"a.txt"\r\nContent-Disposition: form-data') + b"\r\n--x--\r\n",
            "malformed-request",
        ),
        (PART.replace(b'"a.txt"', b'"a.txt"\r\nContent-Type: multipart/mixed; boundary=y'), "malformed-request"),
        (PART.replace(b'"a.txt"', b'"a.txt"\r\nContent-Transfer-Encoding: base64'), "malformed-request"),
        (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"a" * 70_000, "malformed-request"),
        (b"--x--\r\n", "no-file"),
        (PART.replace(b'; filename="a.txt"', b"") + b"\r\n--x--\r\n", "no-file"),
        (PART.replace(b'"file"', b'"photo"') + b"\r\n--x--\r\n", "no-file"),
        (PART.replace(b'name="file"; ', b"") + b"\r\n--x--\r\n", "no-file"),
        (PART.replace(b"a.txt", b"") + b"\r\n--x--\r\n", "no-file"),
    ],
)
def test_malformed_form_is_rejected(
    client: FlaskClient, stored_keys: Callable[[], list[str]], body: bytes, slug: str
) -> None:
    problem(post_raw(client, body), 400, slug)
    assert stored_keys() == []


@pytest.mark.parametrize(
    ("content_type", "slug"),
    [
        ("multipart/form-data", "malformed-request"),
        ("multipart/form-data; boundary=", "malformed-request"),
        ("multipart/form-data; boundary=" + "x" * 201, "malformed-request"),
        ("multipart/form-data; boundary=\xe9", "malformed-request"),
        ("multipart/mixed; boundary=x", "no-file"),
        ("application/x-www-form-urlencoded", "no-file"),
        ("application/json", "no-file"),
        ("", "no-file"),
    ],
)
def test_invalid_content_type_of_a_form_is_rejected(client: FlaskClient, content_type: str, slug: str) -> None:
    problem(client.post("/upload", data=PART + b"\r\n--x--\r\n", content_type=content_type), 400, slug)


@pytest.mark.parametrize(
    "content_type",
    ["Multipart/Form-Data; Boundary=x", "multipart/form-data;boundary=x", 'multipart/form-data; boundary="x"'],
)
def test_media_type_ignores_case(client: FlaskClient, content_type: str) -> None:
    response = client.post("/upload", data=PART + b"\r\n--x--\r\n", content_type=content_type)
    assert response.status_code == 201, response.text


def test_file_in_another_part_is_reported(client: FlaskClient) -> None:
    body = problem(post(client, (samples.TEXT, "a.txt"), field="photo"), 400, "no-file")
    assert "'photo'" in body["error"]


def test_body_of_unknown_length_is_rejected(client: FlaskClient) -> None:
    problem(put_raw(client, b"hello"), 411, "length-required")


def test_truncated_body_is_rejected(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
    problem(put_raw(client, b"hello", CONTENT_LENGTH="10"), 400, "malformed-request")
    assert stored_keys() == []


def test_content_range_is_rejected(client: FlaskClient) -> None:
    response = client.put("/upload/a.txt", data=b"hello", headers={"Content-Range": "bytes 0-4/10"})
    problem(response, 400, "malformed-request")


def test_compressed_body_is_rejected(client: FlaskClient) -> None:
    response = client.put("/upload/a.txt", data=b"hello", headers={"Content-Encoding": "gzip"})
    problem(response, 415, "content-coding-not-supported")
    assert response.headers["Accept-Encoding"] == "identity"
    response = client.put("/upload/a.txt", data=b"hello", headers={"Content-Encoding": "Identity"})
    assert response.status_code == 201


def test_body_without_a_name_is_rejected(client: FlaskClient) -> None:
    assert "photo.jpg" in problem(client.put("/upload/", data=b"hello"), 400, "malformed-request")["error"]
