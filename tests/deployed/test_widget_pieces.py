"""FilePond's and Dropzone's pieces in a deployment, request by request. tests/clients has the widgets themselves."""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from handler.units import ceil_div

from ..support import samples

if TYPE_CHECKING:
    import requests

    from .conftest import Deployed

pytestmark = pytest.mark.deployed

PIECE_BYTES = 4 * 1024 * 1024 - 64 * 1024
"""A form needs room for its other fields."""
PIECE_TYPE = "application/offset+octet-stream"
SMALL_BYTES = 1000
NAME = "Grüße 日本.png"
PAGE = b"<!doctype html><script>alert(1)</script>".ljust(2500)


def check_stored(deployed: Deployed, file: dict[str, Any], content: bytes, name: str = NAME) -> None:
    assert file["original_name"] == name
    redirect = deployed.anonymous().send("GET", file["url"])
    assert redirect.status_code == 302
    assert deployed.send("GET", redirect.headers["Location"]).content == content
    assert file["sha256"] == hashlib.sha256(content).hexdigest()


class FilePond:
    """FilePond with ``chunkUploads``.

    :param is_in_query: whether pieces go to ``/upload?patch=<id>``, which is FilePond's default.
    """

    def __init__(self, deployed: Deployed, content: bytes, *, is_in_query: bool, name: str = NAME) -> None:
        self.deployed, self.content, self.name = deployed, content, name
        fields = {"Upload-Length": str(len(content))}
        form = {"filepond": (None, "{}")}
        created = deployed.send("POST", f"{deployed.endpoint}?for=filepond", headers=fields, files=form)
        assert created.status_code == 201, created.text
        assert created.headers["Content-Type"].startswith("text/plain")
        self.id = created.text
        self.url = f"{deployed.endpoint}{'?for=filepond&patch=' if is_in_query else '/'}{self.id}"

    def patch(self, offset: int, chunk_bytes: int) -> requests.Response:
        fields = {
            "Content-Type": PIECE_TYPE,
            "Upload-Offset": str(offset),
            "Upload-Length": str(len(self.content)),
            # Browsers send these characters as they are, so the header has the bytes of UTF-8.
            "Upload-Name": self.name.encode().decode("latin-1"),
        }
        piece = self.content[offset : offset + chunk_bytes]
        return self.deployed.send("PATCH", self.url, headers=fields, data=piece)

    def offset(self) -> int:
        response = self.deployed.send("HEAD", self.url)
        assert response.status_code in (200, 204), response.headers
        return int(response.headers["Upload-Offset"])


@pytest.mark.parametrize("is_in_query", [True, False], ids=["?patch=", "path"])
def test_filepond_continues_and_stores_a_file(deployed: Deployed, is_in_query: bool) -> None:
    content = samples.png(2 * PIECE_BYTES + 123)
    pond = FilePond(deployed, content, is_in_query=is_in_query)
    assert pond.offset() == 0
    for offset in (0, PIECE_BYTES, PIECE_BYTES):  # FilePond repeats a piece after a lost response
        assert pond.patch(offset, PIECE_BYTES).status_code == 204
    assert pond.offset() == 2 * PIECE_BYTES
    last, again = (pond.patch(2 * PIECE_BYTES, PIECE_BYTES) for _ in range(2))
    assert (last.status_code, again.status_code) == (201, 201), last.text
    file = deployed.send("GET", f"{deployed.endpoint}/{pond.id}").json()["file"]
    check_stored(deployed, file, content)


def test_filepond_of_whole_pieces_sends_an_empty_last_one(deployed: Deployed) -> None:
    content = samples.png(2 * SMALL_BYTES)
    pond = FilePond(deployed, content, is_in_query=True)
    assert [pond.patch(offset, SMALL_BYTES).status_code for offset in (0, 1000, 2000)] == [204, 201, 201]
    check_stored(deployed, deployed.send("GET", f"{deployed.endpoint}/{pond.id}").json()["file"], content)


@pytest.mark.parametrize("is_in_query", [True, False], ids=["?patch=", "path"])
def test_file_that_filepond_may_not_send_is_refused_as_text(deployed: Deployed, is_in_query: bool) -> None:
    pond = FilePond(deployed, PAGE, is_in_query=is_in_query, name="photo.png")
    refused, again = pond.patch(0, SMALL_BYTES), pond.patch(0, SMALL_BYTES)
    assert (refused.status_code, again.status_code) == (422, 422)
    assert refused.headers["Content-Type"].startswith("text/plain")
    assert "photo.png" in refused.text
    assert deployed.send("HEAD", pond.url).status_code == 410


def test_filepond_upload_is_ended_by_its_id(deployed: Deployed) -> None:
    pond = FilePond(deployed, samples.png(2500), is_in_query=True)
    assert pond.patch(0, SMALL_BYTES).status_code == 204
    assert deployed.send("DELETE", f"{deployed.endpoint}/{pond.id}").status_code == 204
    assert deployed.send("HEAD", pond.url).status_code == 404


def test_page_of_another_origin_may_send_filepond_pieces(deployed: Deployed) -> None:
    """API Gateway answers no preflight itself on the URL of ``?patch=``."""
    asked = {
        "Origin": "https://example.test",
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "upload-offset,upload-length,upload-name,content-type",
    }
    response = deployed.anonymous().send("OPTIONS", f"{deployed.endpoint}?patch=x", headers=asked)
    assert response.status_code == 204
    assert "Tus-Version" in response.headers


class Dropzone:
    """Dropzone with ``chunking``: a form for each piece."""

    def __init__(self, deployed: Deployed, content: bytes, *, chunk_bytes: int, name: str = NAME) -> None:
        self.deployed, self.content, self.chunk_bytes, self.name = deployed, content, chunk_bytes, name
        self.count = ceil_div(len(content), chunk_bytes)
        self.uuid = str(uuid.uuid4())

    def post(self, index: int, **fields: str) -> requests.Response:
        offset = index * self.chunk_bytes
        form = {
            "dzuuid": self.uuid,
            "dzchunkindex": str(index),
            "dztotalfilesize": str(len(self.content)),
            "dzchunksize": str(self.chunk_bytes),
            "dztotalchunkcount": str(self.count),
            "dzchunkbyteoffset": str(offset),
        }
        file = {"file": (self.name, self.content[offset : offset + self.chunk_bytes])}
        return self.deployed.send("POST", self.deployed.endpoint, data={**form, **fields}, files=file)


@pytest.mark.parametrize(("size", "chunk_bytes"), [(2 * PIECE_BYTES + 123, PIECE_BYTES), (2500, SMALL_BYTES)])
def test_dropzone_stores_a_file_in_any_order(deployed: Deployed, size: int, chunk_bytes: int) -> None:
    content = samples.png(size)
    zone = Dropzone(deployed, content, chunk_bytes=chunk_bytes)
    assert [zone.post(index).status_code for index in (2, 0, 2)] == [204, 204, 204]
    last, again = zone.post(1), zone.post(1)
    assert (last.status_code, again.status_code) == (201, 201), last.text
    assert last.json()["url"] == again.json()["url"]
    check_stored(deployed, last.json()["files"][0], content)
    assert len(deployed.stored(last.json()["files"][0]["id"])) == 1


def test_file_that_dropzone_may_not_send_is_refused(deployed: Deployed) -> None:
    zone = Dropzone(deployed, PAGE, chunk_bytes=SMALL_BYTES, name="photo.png")
    assert zone.post(1).status_code == 204
    refused, again = zone.post(0), zone.post(1)
    assert (refused.status_code, again.status_code) == (422, 422)
    assert refused.json()["type"] == "urn:problem-type:upload:content-mismatch"
    assert refused.json()["detail"] == again.json()["detail"]


def test_wrong_place_of_a_dropzone_piece_is_refused(deployed: Deployed) -> None:
    zone = Dropzone(deployed, samples.png(2500), chunk_bytes=SMALL_BYTES)
    for fields in ({"dzchunkbyteoffset": "7"}, {"dzchunkindex": "3"}, {"dztotalfilesize": "-1"}, {"dzuuid": "x" * 65}):
        assert zone.post(0, **fields).status_code == 400
