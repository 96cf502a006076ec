"""Whole forms of clients that ``make clients`` cannot run, byte for byte: their boundaries, part headers and ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from ..support import samples
from ..support.http_client import download, json_of, problem

if TYPE_CHECKING:
    from flask.testing import FlaskClient

PHOTO, FAKE = samples.png(3000), b"<html><script>alert(1)</script>"
GUID = "1e5a9d0c-6a0e-4b52-8a55-9f0e3b1d7c11"
BOTH_NAMES = "filename=photo.png; filename*=utf-8''photo.png"

Form = tuple[str, bytes]
"""A Content-Type and a body."""


def dot_net(content: bytes) -> Form:
    """.NET 9 (MultipartFormDataContent.cs): a ``StringContent`` and a ``StreamContent``. The boundary is quoted, values
    are quoted only where they need it, and the file comes under two names."""
    return f'multipart/form-data; boundary="{GUID}"', b"".join(
        [
            f"--{GUID}\r\nContent-Type: text/plain; charset=utf-8\r\n".encode(),
            b"Content-Disposition: form-data; name=album\r\n\r\nHoliday",
            f"\r\n--{GUID}\r\nContent-Disposition: form-data; name=file; {BOTH_NAMES}\r\n\r\n".encode(),
            content,
            f"\r\n--{GUID}--\r\n".encode(),
        ]
    )


def react_native_on_ios(content: bytes) -> Form:
    """React Native 0.74 to 0.78 (FormData.js, RCTNetworking.mm): the script writes the header of a part."""
    limit = "uTIbjk5jYZFhAQ4Rk0nZsNmQ"
    return f"multipart/form-data; boundary={limit}", b"".join(
        [
            f'--{limit}\r\ncontent-disposition: form-data; name="album"\r\n\r\nHoliday\r\n'.encode(),
            f'--{limit}\r\ncontent-disposition: form-data; name="file"; filename="photo.png"; '.encode(),
            b"filename*=utf-8''photo.png\r\ncontent-type: image/png\r\n\r\n",
            content,
            f"\r\n--{limit}--\r\n".encode(),
        ]
    )


def react_native_on_android(content: bytes) -> Form:
    """The same through OkHttp 4 (MultipartBody.kt), which adds the type and the length to the header of a part."""
    return f"multipart/form-data; boundary={GUID}", b"".join(
        [
            f'--{GUID}\r\ncontent-disposition: form-data; name="album"\r\n'.encode(),
            b"Content-Length: 7\r\n\r\nHoliday\r\n",
            f'--{GUID}\r\ncontent-disposition: form-data; name="file"; filename="photo.png"; '.encode(),
            f"filename*=utf-8''photo.png\r\nContent-Type: image/png\r\nContent-Length: {len(content)}\r\n\r\n".encode(),
            content,
            f"\r\n--{GUID}--\r\n".encode(),
        ]
    )


def filepond_with_the_name_file(content: bytes) -> Form:
    """FilePond 4.32 with ``name: "file"``, in Chromium: the metadata is text, under the name of the file."""
    limit = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
    return f"multipart/form-data; boundary={limit}", b"".join(
        [
            f'--{limit}\r\nContent-Disposition: form-data; name="file"\r\n\r\n{{}}\r\n'.encode(),
            f'--{limit}\r\nContent-Disposition: form-data; name="file"; filename="photo.png"\r\n'.encode(),
            b"Content-Type: image/png\r\n\r\n",
            content,
            f"\r\n--{limit}--\r\n".encode(),
        ]
    )


def delphi(content: bytes) -> Form:
    """Delphi with Indy 10 (IdMultipartFormData.pas): text fields are quoted-printable, names are encoded words."""
    limit = "--------112726113000123"
    return f"multipart/form-data; boundary={limit}", b"".join(
        [
            f'--{limit}\r\nContent-Disposition: form-data; name="album"\r\nContent-Type: text/plain\r\n'.encode(),
            b"Content-Transfer-Encoding: quoted-printable\r\n\r\nH=C3=BCtte am See\r\n",
            f'--{limit}\r\nContent-Disposition: form-data; name="file"; filename="photo.png"\r\n'.encode(),
            b"Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n",
            content,
            f"\r\n--{limit}--\r\n".encode(),
        ]
    )


CLIENTS = [dot_net, react_native_on_ios, react_native_on_android, filepond_with_the_name_file, delphi]


@pytest.mark.parametrize("form", CLIENTS)
def test_photo_sent_by_a_real_client_is_stored(client: FlaskClient, form: Callable[[bytes], Form]) -> None:
    content_type, body = form(PHOTO)
    response = client.post("/upload", data=body, content_type=content_type)
    assert response.status_code == 201, response.text
    (entry,) = json_of(response)["files"]
    assert (entry["name"], entry["size"], entry["type"]) == ("photo.png", len(PHOTO), "image/png")
    assert download(client, entry["url"]) == PHOTO


@pytest.mark.parametrize("form", CLIENTS)
def test_fake_photo_sent_by_a_real_client_is_refused(client: FlaskClient, form: Callable[[bytes], Form]) -> None:
    content_type, body = form(FAKE)
    response = client.post("/upload", data=body, content_type=content_type)
    assert "'photo.png'" in problem(response, 422, "content-mismatch")["detail"]
