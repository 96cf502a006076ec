"""The largest file in pieces: a bucket takes a larger file only directly."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from handler.storage.direct import MAX_IN_PIECES_BYTES
from handler.units import GIB

from ..support.contract import CONTRACT

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

LARGE = str(MAX_IN_PIECES_BYTES + 1)


@pytest.fixture
def limit(kind: str) -> int:
    return 100 * GIB if kind == "folder" else MAX_IN_PIECES_BYTES


@pytest.fixture
def endpoint(make_app: Callable[..., Flask]) -> FlaskClient:
    return make_app(MAX_FILE_BYTES=str(100 * GIB)).test_client()


def begin(endpoint: FlaskClient, protocol: str) -> TestResponse:
    match protocol:
        case "Dropzone":
            fields = {"dzuuid": "1", "dztotalfilesize": LARGE, "dzchunksize": str(5 * 2**20), "dzchunkindex": "0"}
            count = -(-int(LARGE) // (5 * 2**20))
            fields |= {"dztotalchunkcount": str(count), "dzchunkbyteoffset": "0"}
            return endpoint.post("/upload", data=fields | {"file": (io.BytesIO(b"x"), "a.txt")})
        case "FilePond":
            return endpoint.post("/upload", headers={"Upload-Length": LARGE})
        case "tus":
            headers = {"Tus-Resumable": "1.0.0", "Upload-Metadata": "filename YS50eHQ="}
        case _:
            headers = {"Upload-Complete": "?0", "Content-Disposition": 'inline; filename="a.txt"'}
    return endpoint.post("/upload", headers=headers | {"Upload-Length": LARGE})


@pytest.mark.parametrize("protocol", ["tus", "IETF", "FilePond", "Dropzone"])
def test_too_large_file_in_pieces_is_sent_to_the_direct_way(endpoint: FlaskClient, kind: str, protocol: str) -> None:
    response = begin(endpoint, protocol)
    if kind == "folder":
        assert response.status_code != 413
        return
    assert response.status_code == 413
    assert response.json
    assert "begin with POST /upload/s3/multipart" in response.json["detail"]
    assert response.json["max_bytes"] == MAX_IN_PIECES_BYTES
    assert "/upload/s3/multipart" in CONTRACT["paths"]
    assert endpoint.post("/upload/s3/multipart", json={"filename": "a.txt", "size": int(LARGE)}).status_code < 300


def test_limit_is_reported(endpoint: FlaskClient, limit: int) -> None:
    options = endpoint.options("/upload")
    assert options.headers["Tus-Max-Size"] == str(limit)
    assert options.headers["Upload-Limit"].startswith(f"max-size={limit}, ")
    ways = {way["name"]: way for way in (endpoint.get("/upload").json or {})["ways"]}
    assert (ways["resumable"]["max_bytes"], ways["direct"]["max_bytes"]) == (limit, 100 * GIB)
    begun = endpoint.post("/upload?filename=a.txt", headers={"Tus-Resumable": "1.0.0", "Upload-Defer-Length": "1"})
    assert begun.headers["Upload-Limit"].startswith(f"max-size={limit}, ")


def test_length_that_comes_later_has_the_same_limit(endpoint: FlaskClient, limit: int) -> None:
    tus = {"Tus-Resumable": "1.0.0"}
    begun = endpoint.post("/upload?filename=a.txt", headers=tus | {"Upload-Defer-Length": "1"})
    headers = tus | {"Upload-Offset": "0", "Upload-Length": str(limit + 1)}
    response = endpoint.patch(
        begun.headers["Location"], data=b"x", content_type="application/offset+octet-stream", headers=headers
    )
    assert response.status_code == 413
    assert ("POST /upload/s3/multipart" in (response.json or {})["detail"]) == (limit == MAX_IN_PIECES_BYTES)


def test_smaller_limit_has_the_usual_sentence(make_app: Callable[..., Flask]) -> None:
    response = begin(make_app(MAX_FILE_BYTES="1000").test_client(), "tus")
    assert response.status_code == 413
    assert response.json
    assert "s3/multipart" not in response.json["detail"]
