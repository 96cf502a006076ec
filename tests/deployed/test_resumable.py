"""Resumable uploads and repeated requests of a deployment, request by request."""

from __future__ import annotations

import base64
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from ..support import samples
from .conftest import Deployed, eventually

if TYPE_CHECKING:
    import requests

pytestmark = pytest.mark.deployed

PIECE_BYTES = 4 * 1024 * 1024
TUS = {"Tus-Resumable": "1.0.0"}
OFFSETS = {"Content-Type": "application/offset+octet-stream"}
PARTIAL = {"Content-Type": "application/partial-upload"}


def photo(size: int) -> bytes:
    return samples.png(size)


def stored_file(deployed: Deployed, location: str) -> dict[str, Any]:
    """Return the file of a finished upload, once it is checked."""

    def stored() -> Any:
        """the verdict on the upload"""
        body = deployed.send("GET", location).json()
        return body.get("file") or next(iter(body.get("files", ())), None)

    return dict(eventually(stored))


def content_of(deployed: Deployed, file: dict[str, Any]) -> bytes:
    redirect = deployed.anonymous().send("GET", file["url"])
    return bytes(deployed.send("GET", redirect.headers["Location"]).content)


def pieces(deployed: Deployed) -> set[str]:
    """Return the keys of all bytes that are kept for uploads in pieces, not their endings."""
    listed = deployed.aws("s3").list_objects_v2(Bucket=deployed.bucket, Prefix="chunks/").get("Contents", [])
    return {each["Key"] for each in listed if each["Size"] > 1024}


def test_options_name_the_extensions_for_tus_clients(deployed: Deployed) -> None:
    response = deployed.anonymous().send("OPTIONS", deployed.endpoint)
    assert response.status_code == 204
    assert response.headers["Tus-Version"] == "1.0.0"
    extensions = set(response.headers["Tus-Extension"].split(","))
    assert extensions >= {"creation", "creation-with-upload", "creation-defer-length", "termination", "checksum"}
    assert "max-append-size=4194304" in response.headers["Upload-Limit"]


def begin_tus(deployed: Deployed, content: bytes, name: str = "a.png") -> str:
    metadata = f"filename {base64.b64encode(name.encode()).decode()}"
    fields = TUS | {"Upload-Length": str(len(content)), "Upload-Metadata": metadata}
    created = deployed.send("POST", deployed.endpoint, headers=fields)
    assert created.status_code == 201, created.text
    location = created.headers["Location"]
    assert location.startswith(f"{deployed.endpoint}/")
    return str(location)


def append_tus(deployed: Deployed, location: str, content: bytes, offset: int) -> requests.Response:
    fields = TUS | OFFSETS | {"Upload-Offset": str(offset)}
    return deployed.send("PATCH", location, headers=fields, data=content[offset : offset + PIECE_BYTES])


def test_tus_upload_is_resumed_and_stored(deployed: Deployed) -> None:
    content = photo(2 * PIECE_BYTES + 123)
    before = pieces(deployed)
    location = begin_tus(deployed, content)
    assert append_tus(deployed, location, content, 0).status_code == 204
    assert append_tus(deployed, location, content, 0).status_code == 409  # a stale writer
    head = deployed.send("HEAD", location, headers=TUS)
    assert (head.headers["Upload-Offset"], head.headers["Upload-Length"]) == (str(PIECE_BYTES), str(len(content)))
    assert head.headers["Cache-Control"] == "no-store"
    assert append_tus(deployed, location, content, PIECE_BYTES).status_code == 204
    assert append_tus(deployed, location, content, 2 * PIECE_BYTES).status_code in (200, 201, 204)
    file = stored_file(deployed, location)
    assert content_of(deployed, file) == content
    assert pieces(deployed) <= before, "the pieces are deleted after the verdict"


def test_tus_upload_is_ended_by_its_client(deployed: Deployed) -> None:
    content = photo(1000)
    location = begin_tus(deployed, content)
    assert deployed.send("DELETE", location, headers=TUS).status_code == 204
    assert deployed.send("HEAD", location, headers=TUS).status_code in (404, 410)
    assert append_tus(deployed, location, content, 0).status_code in (404, 410)


def test_refused_content_of_a_piece_is_not_stored(deployed: Deployed) -> None:
    content = b"<!doctype html><script>alert(1)</script>"
    location = begin_tus(deployed, content)
    refused = append_tus(deployed, location, content, 0)
    assert refused.status_code == 422
    assert refused.json()["type"] == "urn:problem-type:upload:content-mismatch"
    assert not deployed.stored(refused.json().get("id", "none"))


def test_upload_of_the_ietf_draft_is_resumed_and_stored(deployed: Deployed) -> None:
    content = photo(PIECE_BYTES + 123)
    fields = {"Upload-Complete": "?0", "Upload-Length": str(len(content)), "Content-Type": "image/png"}
    created = deployed.send("PUT", f"{deployed.endpoint}/a.png", headers=fields, data=content[:PIECE_BYTES])
    assert created.status_code == 201, created.text
    assert created.headers["Upload-Complete"] == "?0"
    location = created.headers["Location"]
    head = deployed.send("HEAD", location)
    assert (head.status_code, head.headers["Upload-Offset"]) == (204, str(PIECE_BYTES))
    last = PARTIAL | {"Upload-Offset": str(PIECE_BYTES), "Upload-Complete": "?1"}
    ended = deployed.send("PATCH", location, headers=last, data=content[PIECE_BYTES:])
    assert ended.status_code in (200, 201), ended.text
    assert ended.headers["Upload-Complete"] == "?1"
    assert content_of(deployed, stored_file(deployed, location)) == content


def test_upload_of_another_subject_cannot_be_continued(deployed: Deployed) -> None:
    content = photo(1000)
    location = begin_tus(deployed.with_claims(subject="user-1"), content)
    other = append_tus(deployed.with_claims(subject="user-2"), location, content, 0)
    assert other.status_code in (403, 404)


@pytest.mark.parametrize("way", ["form", "body"])
def test_repeated_request_is_stored_once(deployed: Deployed, way: str) -> None:
    key = {"Idempotency-Key": f'"{uuid.uuid4()}"'}

    def send(content: bytes) -> requests.Response:
        if way == "form":
            return deployed.send("POST", deployed.endpoint, headers=key, files={"file": ("a.txt", content)})
        return deployed.send("PUT", f"{deployed.endpoint}/a.txt", headers=key, data=content)

    first, again = send(samples.TEXT), send(samples.TEXT)
    assert (first.status_code, again.status_code) == (201, 201), again.text
    assert first.json()["files"][0]["url"] == again.json()["files"][0]["url"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert send(b"other content\n").status_code == 422
    assert len(deployed.stored(first.json()["files"][0]["id"])) == 1
