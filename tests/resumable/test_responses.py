"""The table of responses, each of which satisfies tus 1.0 and the IETF's draft at once: a row for each cell."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from handler.inspection.filetypes import KNOWN
from handler.inspection.policy import Policy
from handler.problems import Problem
from handler.resumable import fields
from handler.resumable.upload_ids import verify
from handler.resumable.uploads import MANY_PIECES, MAX_LEAST_BYTES
from handler.web.resumable_messages import PIECE_TYPES
from handler.web.tokens import mint

from ..support import samples
from ..support.filetype_samples import BY_EXTENSION, VARIANTS

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

SECRET = "a secret of this test that is long enough"
TEXT = b"0123456789" * 10
PAGE = b"<!doctype html><script>alert(1)</script>"
NONE: dict[str, str] = {}
SAFE_FIELDS = {
    *("cache-control", "content-length", "content-type", "content-security-policy", "referrer-policy", "vary"),
    *("x-content-type-options", "cross-origin-resource-policy"),
}
"""The fields that every script may read (WHATWG Fetch, "CORS-safelisted response-header name"), or that are for the
browser."""
NAME = {"Content-Disposition": 'inline; filename="a.txt"'}


@pytest.fixture(params=["tus", "ietf"])
def protocol(request: pytest.FixtureRequest) -> str:
    protocol: str = request.param
    return protocol


@pytest.fixture
def uploads(make_app: Callable[..., Flask], protocol: str) -> Uploads:
    return Uploads(make_app(MAX_FILE_BYTES="1000", MAX_CONTENT_LENGTH="500").test_client(), protocol)


class Uploads:
    """A client that speaks one of the protocols."""

    def __init__(self, client: FlaskClient, protocol: str) -> None:
        self.client = client
        self.is_tus = protocol == "tus"

    def begin(
        self, content: bytes = b"", *, length: int | None = 100, whole: bool = False, headers: dict[str, str] = NONE
    ) -> TestResponse:
        sent = NAME | {"Upload-Length": str(length)} if length is not None else dict(NAME)
        if self.is_tus:
            sent |= {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}
            if length is None:
                sent["Upload-Defer-Length"] = "1"
        else:
            sent["Upload-Complete"] = "?1" if whole else "?0"
        return self.client.post("/upload", data=content, headers=sent | headers)

    def begun(self, content: bytes = b"", **more: Any) -> str:
        response = self.begin(content, **more)
        assert response.status_code == 201, response.text
        return urlsplit(response.headers["Location"]).path

    def append(
        self, path: str, offset: int, content: bytes, *, last: bool = False, headers: dict[str, str] = NONE
    ) -> TestResponse:
        sent = {"Upload-Offset": str(offset)}
        if self.is_tus:
            sent |= {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}
        else:
            sent |= {"Upload-Complete": "?1" if last else "?0", "Content-Type": "application/partial-upload"}
        return self.client.patch(path, data=content, headers=sent | headers)

    def send(self, method: str, path: str) -> TestResponse:
        headers = {"Tus-Resumable": "1.0.0"} if self.is_tus else {}
        return self.client.open(path, method=method, headers=headers)


def expect(response: TestResponse, status: int, **headers: str | None) -> None:
    """Assert the status and header fields. ``None`` stands for a missing field."""
    assert response.status_code == status, response.text
    for name, value in headers.items():
        assert response.headers.get(name.replace("_", "-")) == value, name


@pytest.mark.parametrize("path", ["/upload", "/upload/a.txt"])
def test_options_has_the_limits_and_extensions(client: FlaskClient, path: str) -> None:
    response = client.options(path)
    expect(response, 204, Tus_Version="1.0.0", Tus_Checksum_Algorithm="sha1,sha256,md5")
    assert response.headers["Tus-Extension"] == (
        "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination"
    )
    limit = response.headers["Upload-Limit"]
    assert f"max-size={response.headers['Tus-Max-Size']}, max-append-size=" in limit


def test_creation_without_content(uploads: Uploads) -> None:
    response = uploads.begin()
    expect(response, 201, Upload_Offset="0", Upload_Complete="?0")
    assert response.headers["Location"].startswith("http://localhost/upload/r.")
    assert "GMT" in response.headers["Upload-Expires"]
    assert response.headers["Upload-Limit"].startswith("max-size=1000, max-append-size=500, max-age=86")
    assert response.headers.get("Tus-Resumable") == ("1.0.0" if uploads.is_tus else None)
    assert response.data == b""


def test_creation_with_content_has_the_new_offset(uploads: Uploads) -> None:
    expect(uploads.begin(TEXT[:30]), 201, Upload_Offset="30", Upload_Complete="?0")


def test_whole_file_has_the_final_response_and_no_piece(uploads: Uploads, stored_keys: Callable[[], list[str]]) -> None:
    response = uploads.begin(TEXT, whole=True)
    expect(response, 201, Upload_Offset="100", Upload_Complete="?1")
    assert response.json
    (file,) = response.json["files"]
    assert file["sha256"] == hashlib.sha256(TEXT).hexdigest()
    assert not [key for key in stored_keys() if key.startswith("chunks/")]
    path = urlsplit(response.headers["Location"]).path
    expect(uploads.send("HEAD", path), 204, Upload_Offset="100", Upload_Complete="?1", Upload_Length="100")
    expect(uploads.send("DELETE", path), 404)


def test_offset_can_be_asked_for(uploads: Uploads) -> None:
    path = uploads.begun(TEXT[:30])
    expect(
        uploads.send("HEAD", path), 204, Upload_Offset="30", Upload_Complete="?0", Upload_Length="100",
        Cache_Control="no-store", Upload_Defer_Length=None,
    )  # fmt: skip
    response = uploads.send("GET", path)
    expect(response, 200, Upload_Offset="30", Upload_Complete="?0", Cache_Control="no-store")
    assert response.json
    assert response.json["status"] == "pending"


def test_unknown_length_is_deferred(uploads: Uploads) -> None:
    path = uploads.begun(length=None)
    deferred = "1" if uploads.is_tus else None
    expect(uploads.send("HEAD", path), 204, Upload_Length=None, Upload_Defer_Length=deferred)
    expect(uploads.append(path, 0, TEXT[:30], headers={"Upload-Length": "100"}), 204, Upload_Offset="30")
    expect(uploads.send("HEAD", path), 204, Upload_Length="100", Upload_Defer_Length=None)


def test_piece_has_the_new_offset(uploads: Uploads) -> None:
    path = uploads.begun()
    response = uploads.append(path, 0, TEXT[:30])
    expect(response, 204, Upload_Offset="30", Upload_Complete="?0")
    assert "GMT" in response.headers["Upload-Expires"]


@pytest.mark.parametrize("media_type", ["text/plain", "application/json", ""])
def test_piece_of_another_type_is_not_appended(uploads: Uploads, media_type: str) -> None:
    path = uploads.begun()
    expect(uploads.append(path, 0, TEXT[:30], headers={"Content-Type": media_type}), 415, Upload_Complete="?0")
    expect(uploads.send("HEAD", path), 204, Upload_Offset="0")


def test_last_piece_has_the_stored_file_and_can_be_repeated(uploads: Uploads) -> None:
    path = uploads.begun(TEXT[:30])
    responses = [uploads.append(path, 30, TEXT[30:], last=True) for _ in range(2)]
    for response in responses:
        expect(response, 201, Upload_Offset="100", Upload_Complete="?1")
        assert response.json
    assert responses[0].json == responses[1].json
    later = uploads.send("GET", path)
    assert later.json
    assert responses[0].json
    assert later.json["status"] == "stored"
    assert later.json["files"] == responses[0].json["files"]
    expect(uploads.send("HEAD", path), 204, Upload_Offset="100", Upload_Complete="?1")


def test_another_offset_is_a_conflict_that_names_the_offset(uploads: Uploads) -> None:
    path = uploads.begun(TEXT[:30])
    for offset in (0, 29, 31, 99):
        response = uploads.append(path, offset, b"x")
        expect(response, 409, Upload_Offset="30", Upload_Complete="?0")
        assert response.json
        assert response.json["type"] == "https://iana.org/assignments/http-problem-types#mismatching-upload-offset"
        assert (response.json["expected-offset"], response.json["provided-offset"]) == (30, offset)


def test_another_length_is_refused_and_the_upload_lives(uploads: Uploads) -> None:
    path = uploads.begun(TEXT[:30])
    response = uploads.append(path, 30, b"x", headers={"Upload-Length": "50"})
    expect(response, 400, Upload_Complete="?0")
    assert response.json
    assert response.json["type"] == "https://iana.org/assignments/http-problem-types#inconsistent-upload-length"
    expect(uploads.send("HEAD", path), 204, Upload_Offset="30")


def test_more_than_the_length_ends_the_upload(uploads: Uploads) -> None:
    path = uploads.begun(TEXT[:30])
    expect(uploads.append(path, 30, TEXT), 400, Upload_Complete="?0")
    expect(uploads.send("HEAD", path), 410, Upload_Offset=None)
    expect(uploads.append(path, 30, b"x"), 400)


def test_stale_request_with_too_much_does_not_end_the_upload(uploads: Uploads) -> None:
    path = uploads.begun(TEXT[:30])
    expect(uploads.append(path, 0, TEXT + b"x"), 409, Upload_Offset="30")
    expect(uploads.send("HEAD", path), 204, Upload_Offset="30")


def test_file_over_the_limit_is_too_large(uploads: Uploads) -> None:
    response = uploads.begin(length=1001)
    expect(response, 413)
    assert response.headers["Upload-Limit"].startswith("max-size=1000,")
    path = uploads.begun(length=None)
    expect(uploads.append(path, 0, TEXT * 5), 204)
    expect(uploads.append(path, 500, TEXT * 5), 204)
    expect(uploads.append(path, 1000, b"x"), 413)
    expect(uploads.send("HEAD", path), 410)


def test_request_over_the_limit_says_the_size_of_a_piece(uploads: Uploads) -> None:
    path = uploads.begun(length=1000)
    response = uploads.append(path, 0, TEXT * 6)
    expect(response, 413)
    assert response.json
    assert "chunkSize: 500" in response.json["detail"]
    assert "max-append-size=500" in response.headers["Upload-Limit"]
    expect(uploads.send("HEAD", path), 204, Upload_Offset="0")


def test_size_of_a_piece_is_written_as_clients_write_it(make_app: Callable[..., Flask]) -> None:
    client = make_app(MAX_CONTENT_LENGTH="5MB").test_client()
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "9000000", "Content-Type": "application/offset+octet-stream"}
    response = client.post("/upload?filename=a.txt", data=b"x" * 6_000_000, headers=headers)
    assert response.status_code == 413
    assert response.json
    assert "chunkSize: 4 * 2**20" in response.json["detail"]


def test_very_many_pieces_must_become_larger(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handler.resumable.uploads.MANY_PIECES", 3)
    path = uploads.begun(length=8)
    for offset in range(4):
        expect(uploads.append(path, offset, b"x"), 204)
    refused = uploads.append(path, 4, b"x")
    expect(refused, 400, Upload_Complete="?0")
    assert "at least 2 bytes" in refused.text
    expect(uploads.append(path, 3, b"x"), 409, Upload_Offset="4")
    expect(uploads.append(path, 4, b"xx"), 204)
    expect(uploads.append(path, 6, b"x"), 400)
    expect(uploads.append(path, 6, b"xx", last=True), 201)
    path = uploads.begun(length=5)
    for offset in range(4):
        expect(uploads.append(path, offset, b"x"), 204)
    expect(uploads.append(path, 4, b"x", last=True), 201)


def test_ten_thousand_pieces_of_one_size_are_always_enough() -> None:
    for size in (1, 100, 4096, 4 * 2**20):
        least = min(-(-(MANY_PIECES - 1) * size // MANY_PIECES), MAX_LEAST_BYTES)
        assert least <= size


@pytest.mark.parametrize("pieces", [1, 2])
def test_wrong_content_is_refused_at_the_piece_that_shows_it(uploads: Uploads, pieces: int) -> None:
    photo = {"Content-Disposition": 'inline; filename="photo.png"'}
    path = uploads.begun(length=900, headers=photo)
    if pieces == 2:  # the first is too short to show anything
        expect(uploads.append(path, 0, PAGE[:10]), 204)
    at = 10 if pieces == 2 else 0
    response = uploads.append(path, at, PAGE[at:])
    expect(response, 422, Upload_Complete="?1")
    assert response.json
    assert response.json["detail"].startswith("'photo.png' is not a PNG image.")
    expect(uploads.send("HEAD", path), 410)
    later = uploads.send("GET", path)
    assert later.json
    assert later.json["problem"]["detail"] == response.json["detail"]
    expect(uploads.append(path, len(PAGE), b"x"), 422, Upload_Complete="?1")


def test_wrong_content_of_unknown_length_is_refused_early(uploads: Uploads) -> None:
    path = uploads.begun(length=None, headers={"Content-Disposition": 'inline; filename="photo.png"'})
    expect(uploads.append(path, 0, PAGE), 422, Upload_Complete="?1")


def test_cancelled_upload_is_unknown(uploads: Uploads) -> None:
    path = uploads.begun(TEXT[:30])
    expect(uploads.send("DELETE", path), 204)
    for response in (uploads.send("HEAD", path), uploads.send("DELETE", path), uploads.append(path, 30, b"x")):
        expect(response, 404)


def test_complete_upload_cannot_be_cancelled(uploads: Uploads) -> None:
    path = uploads.begun()
    url = (uploads.append(path, 0, TEXT, last=True).json or {})["url"]
    response = uploads.send("DELETE", path)
    expect(response, 404)
    assert response.json
    assert "Delete the stored file" in response.json["detail"]
    assert uploads.client.get(urlsplit(url).path).status_code in (200, 302)


def test_checksum_is_verified_over_a_piece(uploads: Uploads) -> None:
    path = uploads.begun()
    good, bad = (base64.b64encode(hashlib.sha1(data).digest()).decode() for data in (TEXT[:30], b"other"))
    expect(uploads.append(path, 0, TEXT[:30], headers={"Upload-Checksum": f"sha1 {bad}"}), 460)
    expect(uploads.append(path, 0, TEXT[:30], headers={"Upload-Checksum": "crc32 AAAA"}), 400)
    expect(uploads.append(path, 0, TEXT[:30], headers={"Content-Digest": f"sha-256=:{'A' * 43}=:"}), 422)
    expect(uploads.send("HEAD", path), 204, Upload_Offset="0")
    expect(uploads.append(path, 0, TEXT[:30], headers={"Upload-Checksum": f"sha1 {good}"}), 204, Upload_Offset="30")


@pytest.mark.parametrize("whole", [True, False])
def test_digest_of_the_file_is_verified(uploads: Uploads, whole: bool) -> None:
    digest = f"sha-256=:{base64.b64encode(hashlib.sha256(TEXT).digest()).decode()}:"
    for value, status in ((digest, 201), (f"sha-256=:{'A' * 43}=:", 422)):
        headers = {"Repr-Digest": value, "Want-Repr-Digest": "sha-256=1"}
        if whole:
            response = uploads.begin(TEXT, whole=True, headers=headers)
        else:
            response = uploads.append(uploads.begun(TEXT[:30], headers=headers), 30, TEXT[30:], last=True)
        complete = "?0" if whole and status == 422 else "?1"  # nothing was kept of a request that was damaged
        expect(response, status, Repr_Digest=digest if status == 201 else None, Upload_Complete=complete)


# Names.


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({}, TEXT, 201),
        ({"Content-Type": "application/octet-stream"}, TEXT, 201),
        ({"Content-Type": "text/plain; charset=utf-8"}, TEXT, 201),
        ({"Content-Type": "image/png"}, samples.png(400), 201),
        ({"Content-Type": "image/png"}, TEXT, 422),
        ({}, samples.png(400), 422),
        ({"Content-Type": "application/x-unknown"}, TEXT, 400),
        ({"Content-Type": "text/html"}, TEXT, 400),
    ],
)
def test_nameless_file_gets_its_name_by_its_type(
    make_app: Callable[..., Flask], headers: dict[str, str], content: bytes, status: int
) -> None:
    client = make_app(MAX_FILE_BYTES="1000").test_client()
    response = client.post("/upload", data=content, headers={"Upload-Complete": "?1"} | headers)
    expect(response, status)
    assert response.json
    if status == 422 and not headers:
        assert "The upload has no name" in response.json["detail"]
    if status == 400:
        assert "The file has no name. Send it" in response.json["detail"]


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_file_named_like_an_upload_id_is_stored(client: FlaskClient, method: str) -> None:
    response = client.open("/upload/r.txt", method=method, data=TEXT, headers={"Upload-Complete": "?1"})
    expect(response, 201, Upload_Complete="?1")
    assert response.json
    assert response.json["files"][0]["name"] == "r.txt"


def test_whole_file_with_an_idempotency_key_is_stored_once(client: FlaskClient) -> None:
    headers = {"Upload-Complete": "?1", "Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
    first, second = (client.put("/upload/a.txt", data=TEXT, headers=headers) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json == second.json


def test_nameless_file_needs_the_permission_for_texts(make_app: Callable[..., Flask]) -> None:
    client = make_app(ALLOWED_EXTENSIONS="png").test_client()
    assert client.post("/upload", data=TEXT, headers={"Upload-Complete": "?1"}).status_code == 400


@pytest.mark.parametrize(
    ("extension", "content"), [*BY_EXTENSION.items(), *VARIANTS.values()], ids=[*BY_EXTENSION, *VARIANTS]
)
def test_beginning_of_a_good_file_is_never_refused(extension: str, content: bytes) -> None:
    policy = Policy(file_types=KNOWN, max_file_bytes=10**9, max_image_pixels=10**9)
    name = policy.inspect_name(f"a.{extension}")
    for length in {*range(min(len(content), 600)), *range(0, len(content), 997), len(content)}:
        for size in (len(content), 10**9):
            policy.inspect_beginning(name, size=size, beginning=content[:length])


def test_beginning_of_a_wrong_file_is_refused() -> None:
    policy = Policy(file_types=KNOWN, max_file_bytes=10**9, max_image_pixels=10**9)
    for extension in ("png", "pdf", "zip", "mp4", "txt", "jpg", "webm"):
        with pytest.raises(Problem):
            policy.inspect_beginning(policy.inspect_name(f"a.{extension}"), size=10**6, beginning=PAGE)


# Tokens.


def test_upload_is_continued_with_the_same_subject_only(make_app: Callable[..., Flask], protocol: str) -> None:
    client = make_app(TOKEN_SECRET=SECRET).test_client()
    uploads = Uploads(client, protocol)
    ann, bob = (
        {"Authorization": f"Bearer {mint(SECRET, expires_seconds=60, subject=name)}"} for name in ("ann", "bob")
    )
    expect(uploads.begin(), 401)
    path = uploads.begun(headers=ann)
    expect(uploads.append(path, 0, TEXT[:30]), 401)
    expect(uploads.append(path, 0, TEXT[:30], headers=bob), 403)
    expect(uploads.append(path, 0, TEXT[:30], headers=ann), 204)
    for method, status in (("HEAD", 403), ("DELETE", 403)):
        expect(client.open(path, method=method, headers=bob), status)
    expect(client.delete(path, headers=ann), 204)


def test_token_stays_in_the_path(make_app: Callable[..., Flask]) -> None:
    client = make_app(TOKEN_SECRET=SECRET).test_client()
    token = mint(SECRET, expires_seconds=60)
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "100"}
    created = client.post(f"/upload/t/{token}?filename=a.txt", headers=headers)
    expect(created, 201)
    path = urlsplit(created.headers["Location"]).path
    assert path.startswith(f"/upload/t/{token}/r.")
    piece = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    expect(client.patch(path, data=TEXT[:30], headers=piece), 204, Upload_Offset="30")
    expect(client.head(path), 204, Upload_Offset="30")
    expect(client.get(path), 200, Upload_Offset="30")
    expect(client.delete(path), 204)


@pytest.mark.parametrize("whole", [False, True], ids=["in pieces", "whole"])
def test_last_response_names_the_ignored_fields(make_app: Callable[..., Flask], protocol: str, whole: bool) -> None:
    client = make_app(METADATA_FIELDS="album").test_client()
    uploads = Uploads(client, protocol)
    fields = {"Upload-Metadata": "filename YS50eHQ=,album c3VtbWVy,color cmVk", "Upload-Length": "100"}
    kind = {"Tus-Resumable": "1.0.0"} if uploads.is_tus else {"Upload-Complete": "?1" if whole else "?0"}
    headers = fields | kind | {"Content-Type": PIECE_TYPES[0]}
    response = client.post("/upload?size=1&weight=2", data=TEXT if whole else b"", headers=headers)
    if not whole:
        response = uploads.append(urlsplit(response.headers["Location"]).path, 0, TEXT, last=True)
    expect(response, 201, Upload_Complete="?1")
    assert response.json
    assert response.json["files"][0]["fields"] == {"album": "summer"}
    assert response.json["ignored_fields"] == ["color", "size", "weight"]


def test_scripts_may_read_every_field_of_the_responses(make_app: Callable[..., Flask], protocol: str) -> None:
    client = make_app(ALLOWED_ORIGINS="https://a.example", MAX_FILE_BYTES="1000", TOKEN_SECRET=SECRET).test_client()
    uploads = Uploads(client, protocol)
    shared = {"Origin": "https://a.example", "Upload-Metadata": "filename YS50eHQ=", "Want-Repr-Digest": "sha-256=1"}
    shared |= {"Authorization": f"Bearer {mint(SECRET, expires_seconds=60)}", "Upload-Draft-Interop-Version": "8"}
    created = uploads.begin(headers=shared)
    path = urlsplit(created.headers["Location"]).path
    responses = [
        created,
        client.options("/upload", headers=shared),
        uploads.begin(length=2000, headers=shared),
        uploads.begin(headers={"Origin": shared["Origin"]}),
        uploads.append(path, 9, TEXT, headers=shared),
        client.post(path, headers=shared | {"X-HTTP-Method-Override": "x"}),
        client.patch(path, data=TEXT, headers=shared | {"Upload-Offset": "0", "Content-Type": "text/plain"}),
        client.head(path, headers=shared),
        uploads.append(path, 0, TEXT, last=True, headers=shared),
        client.get(path, headers=shared),
    ]
    assert [response.status_code for response in responses] == [201, 204, 413, 401, 409, 405, 415, 204, 201, 200]
    for response in responses:
        exposed = response.headers["Access-Control-Expose-Headers"].lower().split(", ")
        hidden = {name.lower() for name, _ in response.headers} - {*exposed, *SAFE_FIELDS}
        assert not {name for name in hidden if not name.startswith("access-control-")}, response.status


def test_upload_continues_with_a_new_token(
    make_app: Callable[..., Flask], protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_app(TOKEN_SECRET=SECRET).test_client()
    uploads = Uploads(client, protocol)
    old, new = (
        {"Authorization": f"Bearer {mint(SECRET, expires_seconds=seconds, subject='ann')}"} for seconds in (60, 900)
    )
    path = uploads.begun(headers=old)
    expect(uploads.append(path, 0, TEXT[:30], headers=old), 204)
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 300)
    expect(uploads.append(path, 30, TEXT[30:], last=True, headers=old), 401)
    expect(uploads.append(path, 30, TEXT[30:], last=True, headers=new), 201, Upload_Complete="?1")


@pytest.mark.parametrize("scope", ["delete", "list"])
def test_upload_needs_the_scope(make_app: Callable[..., Flask], protocol: str, scope: str) -> None:
    client = make_app(TOKEN_SECRET=SECRET).test_client()
    uploads = Uploads(client, protocol)
    headers = {
        name: {"Authorization": f"Bearer {mint(SECRET, expires_seconds=60, scopes=[name])}"}
        for name in ("upload", scope)
    }
    path = uploads.begun(headers=headers["upload"])
    override = {"X-HTTP-Method-Override": "DELETE", **headers[scope]}
    expect(uploads.begin(headers=headers[scope]), 403)
    expect(uploads.append(path, 0, TEXT, headers=headers[scope]), 403)
    expect(client.delete(path, headers=headers[scope]), 403)
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        assert client.open(path, method=method, headers=override).status_code == 403
    expect(uploads.append(path, 0, TEXT[:30], headers=headers["upload"]), 204)


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "PUT", "TRACE", "x"])
def test_overriding_method_is_one_of_an_upload(uploads: Uploads, method: str) -> None:
    path = uploads.begun(TEXT[:30])
    expect(
        uploads.client.post(path, headers={"X-HTTP-Method-Override": method}), 405,
        Allow="DELETE, GET, HEAD, OPTIONS, PATCH",
    )  # fmt: skip
    expect(uploads.send("HEAD", path), 204, Upload_Offset="30")


@pytest.mark.parametrize("client_name", ["tinymce", "filepond", "unknown"])
def test_resumable_upload_has_no_dialect(uploads: Uploads, client_name: str) -> None:
    refused = {"Upload-Length": "2000"}
    headers = {"Tus-Resumable": "1.0.0"} if uploads.is_tus else {"Upload-Complete": "?0"}
    response = uploads.client.post(f"/upload?for={client_name}", headers=NAME | headers | refused)
    expect(response, 413, Content_Type="application/problem+json")
    override = headers | {"X-HTTP-Method-Override": "PATCH", "Upload-Offset": "9", "Content-Type": PIECE_TYPES[1]}
    response = uploads.client.post(f"{uploads.begun()}?for={client_name}", data=b"x", headers=override)
    expect(response, 409, Content_Type="application/problem+json", Upload_Offset="0")


def test_concatenation_is_refused_in_every_protocol(uploads: Uploads, stored_keys: Callable[[], list[str]]) -> None:
    for value in ("partial", "final;/upload/r.a /upload/r.b"):
        response = uploads.begin(TEXT, whole=True, headers={"Upload-Concat": value})
        expect(response, 400)
        assert "parallelUploads" in response.text
    assert not [key for key in stored_keys() if key.startswith(("chunks/", "files/"))]


def test_changed_or_foreign_upload_id_is_unknown(uploads: Uploads) -> None:
    path = uploads.begun()
    direct = (uploads.client.post("/upload/s3/multipart", json={"filename": "a.txt"}).json or {})["uploadId"]
    changed = path[:40] + ("A" if path[40] != "A" else "B") + path[41:]
    for name in (changed, f"/upload/r.{direct}", "/upload/r.", "/upload/r.x"):
        expect(uploads.append(name, 0, b"x"), 404)
        expect(uploads.send("HEAD", name), 404)
        expect(uploads.send("DELETE", name), 404)


def test_upload_id_does_not_hold_the_subject(make_app: Callable[..., Flask]) -> None:
    app = make_app(TOKEN_SECRET=SECRET)
    headers = {"Authorization": f"Bearer {mint(SECRET, expires_seconds=60, subject='ann@example.com')}"}
    uploads = Uploads(app.test_client(), "tus")
    name = uploads.begun(headers=headers).removeprefix("/upload/")
    upload = verify(name, secret=app.extensions["services"].direct_uploads.secret())
    assert upload.subject
    assert "ann" not in repr(upload)


# Structured fields.


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("?1", True), ("?0", False), (" ?1 ", True), ("?1;a=1", True), ('?0; a="x;y"; b', False), ("?1;a=:YQ==:", True),
        ("1", None), ("true", None), ("?2", None), ("?1, ?1", None), ("", None), (None, None), ("?1;A=1", None),
        ("?1" + ";a" * 200, None),
    ],
)  # fmt: skip
def test_boolean_item(value: str | None, expected: bool | None) -> None:
    assert fields.boolean(value) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0), ("10", 10), ("10;a", 10), ("999999999999999", 999999999999999), ("1000000000000000", None),
        ("-1", None), ("1.0", None), ("1e3", None), ("abc", None), ("1, 1", None), ("\u0661", None), (None, None),
    ],
)  # fmt: skip
def test_integer_item(value: str | None, expected: int | None) -> None:
    assert fields.integer(value) == expected


def test_other_requests_import_nothing_of_it() -> None:
    """Neither a cold start nor a form imports the protocols, the service or the storages of pieces."""
    script = (
        "import io, sys, tempfile\n"
        "from handler.app import create_app\n"
        "from handler.settings import Settings\n"
        "client = create_app(Settings.from_environ({'UPLOAD_FOLDER': tempfile.mkdtemp()})).test_client()\n"
        "form = {'file': (io.BytesIO(b'hello'), 'a.txt')}\n"
        "assert client.post('/upload', data=form).status_code == 201\n"
        "assert client.put('/upload/a.txt', data=b'hello').status_code == 201\n"
        "lazy = ('handler.resumable', 'handler.web.resumable', 'handler.storage.folder.resumable')\n"
        "print([name for name in sys.modules if name.startswith(lazy)])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
