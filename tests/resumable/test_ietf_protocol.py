"""draft-ietf-httpbis-resumable-upload-12, row by row: each duty of the server, with its section.

The same engine serves tus, whose rows are in test_tus_protocol.py.
"""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from ..support import resumable_rows, tokens
from ..support.http_client import download
from ..support.resumable_rows import (
    CONTENT,
    GONE,
    MAX_BYTES,
    PAGE,
    PARTIAL_BYTES,
    Row,
    Uploads,
    Value,
    path_of,
)

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.test import TestResponse

PIECE_TYPE = "application/partial-upload"
INTEROP = "Upload-Draft-Interop-Version"
REST = CONTENT[PARTIAL_BYTES:]
TYPES = "https://iana.org/assignments/http-problem-types#"
MISMATCHING_OFFSET = TYPES + "mismatching-upload-offset"
INCONSISTENT_LENGTH = TYPES + "inconsistent-upload-length"
MEMBER = re.compile(r"(max-size|min-size|max-append-size|min-append-size|max-age)=(\d{1,15})")
"""A member of ``Upload-Limit`` (section 4.1.4): all values are Integers."""
DAY_SECONDS = 24 * 60 * 60


class IetfUploads(Uploads):
    """Uploads as a client of the draft sends them."""

    def send(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> TestResponse:
        response = self.raw(method, path, headers or {}, body)
        assert response.status_code not in (301, 302, 303), "a client may not keep the method (4.2.2, 4.3.2, 4.5.2)"
        return response

    def begin(self, *, length: int | None = len(CONTENT), name: str = "a.txt") -> str:
        announced = {} if length is None else {"Upload-Length": str(length)}
        response = self.send("POST", "/upload", named(name) | {"Upload-Complete": "?0"} | announced)
        assert response.status_code == 201, response.text
        return path_of(response)

    def patch(self, path: str, offset: int, content: bytes, *, is_last: bool = False) -> TestResponse:
        return self.send("PATCH", path, piece(offset, is_last=is_last), content)


def named(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'inline; filename="{name}"'}


def piece(offset: int | str, *, is_last: bool = False) -> dict[str, str]:
    """Return the header fields of an append."""
    complete = "?1" if is_last else "?0"
    return {"Upload-Offset": str(offset), "Upload-Complete": complete, "Content-Type": PIECE_TYPE}


def limits(value: str) -> dict[str, int]:
    """Return the members of ``Upload-Limit``."""
    members = [MEMBER.fullmatch(member.strip(" ")) for member in value.split(",")]
    assert all(members), value
    return {member[1]: int(member[2]) for member in members if member}


def has_limits(value: str) -> bool:
    """Whether the value has the limits that every upload has."""
    found = limits(value)
    return found["max-size"] == MAX_BYTES and found["max-append-size"] > 0


def has_age(value: str) -> bool:
    return has_limits(value) and 0 < limits(value)["max-age"] <= DAY_SECONDS


def sha256(content: bytes) -> str:
    """Return the digest of a content as the value of ``Repr-Digest`` or ``Content-Digest`` (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


def create(
    name: str,
    section: str,
    headers: Mapping[str, str],
    body: bytes = b"",
    status: int | tuple[int, ...] = 201,
    **more: Any,
) -> Row:
    sent = {"Upload-Complete": "?0", "Upload-Length": "100"} | named("a.txt") | dict(headers)
    return Row(name=f"create: {name}", section=section, state="endpoint", method=more.pop("method", "POST"),
               headers={field: value for field, value in sent.items() if value != LEFT_OUT}, body=body, status=status,
               **more)  # fmt: skip


LEFT_OUT = "left out"
"""The value of a header field that the request does not have."""


def append(
    name: str,
    section: str,
    state: str,
    headers: Mapping[str, str],
    body: bytes = b"",
    **more: Any,
) -> Row:
    sent = {field: value for field, value in headers.items() if value != LEFT_OUT}
    row: dict[str, Any] = {"status": 204, "fields": {"Upload-Complete": "?0"}} | more
    return Row(name=f"append: {name}", section=section, state=state, method="PATCH", headers=sent, body=body, **row)


def ask(name: str, state: str, *, status: int | tuple[int, ...] = (200, 204), **fields: Value) -> list[Row]:
    """Return the rows of a HEAD and a GET. The names of the fields have underscores for hyphens."""
    expected = {field.replace("_", "-"): value for field, value in fields.items()}
    return [
        Row(name=f"offset: {method} {name}", section="4.3", state=state, method=method, status=status, fields=expected)
        for method in ("HEAD", "GET")
    ]


STATE_ROWS = [
    *(append(f"the offset {value!r} is ignored", "4.1.1", "partial", piece(value), REST, status=400, after=70,
             fields={})
      for value in ("abc", "-1", "70.0", '"70"', "?1", "70 70", "70, 70", "+70", "1" * 16, "", ":NzA=:")),
    append("parameters of the offset are allowed", "4.1.1", "partial", piece("70;a=b"), REST[:1], after=71),
    append("zeros before the offset are allowed", "4.1.1", "partial", piece("0070"), REST[:1], after=71),
    append("a lower offset does not remove bytes", "4.1.1", "partial", piece(5), REST, status=409, after=70,
           fields={"Upload-Complete": "?0", "Upload-Offset": "70"}),
    *(append(f"the completeness {value!r} is ignored", "4.1.2", "partial",
             piece(70) | {"Upload-Complete": value}, REST[:1], status=400, after=70, fields={})
      for value in ("true", "1", "?2", "?", "", "?1, ?1", "yes")),
    append("parameters of the completeness are allowed", "4.1.2", "partial",
           piece(70) | {"Upload-Complete": "?0;a"}, REST[:1], after=71),
    *(create(f"the completeness {value!r} is ignored", "4.1.2", {"Upload-Complete": value}, CONTENT[:5], (400, 415),
             fields={"Location": None})
      for value in ("true", "1", "?2")),
    create("offset equal to the length is not complete", "4.1.3", {}, CONTENT,
           fields={"Upload-Complete": "?0", "Upload-Offset": "100"}, after=100),
    *(create(f"the length {value!r} is ignored", "4.1.3", {"Upload-Length": value}, CONTENT[:5],
             fields={"Upload-Complete": "?0"}, after=5)
      for value in ("abc", "-1", "1.5", '"100"', "?1")),
    create("content and length that differ", "4.1.3", {"Upload-Complete": "?1"}, CONTENT[:5], 400,
           fields={"Upload-Complete": "?0"}, problem=INCONSISTENT_LENGTH),
    create("content above the length", "4.1.3", {}, CONTENT + b"x", 400, fields={"Upload-Complete": "?0"}),
    append("another length", "4.1.3", "partial", piece(70) | {"Upload-Length": "90"}, REST[:1], status=400, after=70,
           problem=INCONSISTENT_LENGTH),
    append("the same length", "4.1.3", "partial", piece(70) | {"Upload-Length": "100"}, REST[:1], after=71),
    append("a completion below the length", "4.1.3", "partial", piece(70, is_last=True), REST[:1], status=400, after=70,
           problem=INCONSISTENT_LENGTH),
    append("a completion whose own lengths differ", "4.1.3", "deferred partial",
           piece(70, is_last=True) | {"Upload-Length": "100"}, REST[:1], status=400, after=70,
           problem=INCONSISTENT_LENGTH),
]  # fmt: skip

LIMIT_ROWS = [
    Row(name="limit: OPTIONS", section="4.1.4", state="endpoint", method="OPTIONS", status=204,
        fields={"Upload-Limit": has_limits}),
    Row(name="limit: OPTIONS with a completeness", section="4.1.4", state="endpoint", method="OPTIONS",
        headers={"Upload-Complete": "?1"}, status=(200, 204)),
    create("announces the limits", "4.1.4", {}, fields={"Upload-Limit": has_age}),
    create("above the maximum size", "4.1.4", {"Upload-Length": str(MAX_BYTES + 1)}, status=413,
           fields={"Upload-Limit": has_limits, "Location": None}),
    create("above the maximum size, with content", "4.1.4", {"Upload-Complete": "?1", "Upload-Length": LEFT_OUT},
           b"x" * (MAX_BYTES + 1), 413, fields={"Upload-Limit": has_limits}),
    append("above the maximum size", "4.1.4", "deferred", piece(0), b"x" * (MAX_BYTES + 1), status=413,
           fields={"Upload-Limit": has_limits}),
    append("an announced length above the maximum size", "4.1.4", "deferred",
           piece(0) | {"Upload-Length": str(MAX_BYTES + 1)}, CONTENT, status=413, fields={"Upload-Limit": has_limits}),
]  # fmt: skip

ALL_OF_IT = {"Upload-Complete": "?1"}

CREATE_ROWS = [
    create("without content", "4.2.2", {}, fields={"Upload-Complete": "?0", "Location": lambda url: "/upload/" in url,
                                                   "Upload-Offset": "0", "Upload-Limit": has_age}, after=0),
    create("with the first bytes", "4.2.2", {}, CONTENT[:32],
           fields={"Upload-Complete": "?0", "Location": lambda url: "/upload/" in url, "Upload-Offset": "32",
                   "Upload-Limit": has_age}, after=32),
    create("with all bytes", "4.2.2", ALL_OF_IT, CONTENT, fields={"Upload-Complete": "?1"}),
    create("with all bytes and no length", "4.2.2", ALL_OF_IT | {"Upload-Length": LEFT_OUT}, CONTENT,
           fields={"Upload-Complete": "?1"}),
    create("without a length", "4.2.2", {"Upload-Length": LEFT_OUT}, CONTENT[:5], fields={"Upload-Complete": "?0"},
           after=5),
    create("of an empty file", "4.2.1", ALL_OF_IT | {"Upload-Length": "0"}, fields={"Upload-Complete": "?1"},
           environ={"ALLOW_EMPTY_FILES": "on"}),
    create("of an empty file, which is refused by default", "4.2.1", ALL_OF_IT | {"Upload-Length": "0"}, status=422,
           problem="empty-file"),
    create("with a name in UTF-8", "4.2.1",
           {"Content-Disposition": "inline; filename=\"x.txt\"; filename*=UTF-8''%E2%82%AC.txt"}, after=0),
    create("as an attachment", "4.2.1", {"Content-Disposition": 'attachment; filename="a.txt"'}, after=0),
    create("with a type that is not allowed", "4.2.1", named("a.exe"), status=415, problem="type-not-allowed",
           fields={"Location": None}),
    create("compressed", "8", {"Content-Encoding": "gzip"}, CONTENT[:5], 415, fields={"Location": None},
           problem="content-coding-not-supported"),
    *(create(f"with the interop version {version!r}", "Draft Version Identification", {INTEROP: version}, after=0)
      for version in ("8", "6", "3", "99", "x")),
    Row(name="create: PUT with the name in the path", section="4.2.1", state="named", method="PUT",
        headers={"Upload-Complete": "?0", "Upload-Length": "100"}, body=CONTENT[:32], status=201,
        fields={"Upload-Complete": "?0", "Upload-Limit": has_age, "Upload-Offset": "32",
                "Location": lambda url: "/upload/" in url}),
    Row(name="create: PUT of all bytes", section="4.2.1", state="named", method="PUT",
        headers={"Upload-Complete": "?1"}, body=CONTENT, status=201, fields={"Upload-Complete": "?1"}),
]  # fmt: skip

OFFSET_ROWS = [
    *ask("of a new upload", "begun", Upload_Offset="0", Upload_Complete="?0", Upload_Length="100",
         Upload_Limit=has_age, Cache_Control="no-store"),
    *ask("of a partial upload", "partial", Upload_Offset="70", Upload_Complete="?0", Upload_Length="100",
         Upload_Limit=has_age, Cache_Control="no-store"),
    *ask("of a full upload that is not complete", "full", Upload_Offset="100", Upload_Complete="?0",
         Upload_Length="100"),
    *ask("without a length", "deferred", Upload_Offset="0", Upload_Complete="?0", Upload_Length=None,
         Upload_Limit=has_age),
    *ask("of a complete upload", "complete", Upload_Offset="100", Upload_Complete="?1", Upload_Length="100",
         Upload_Limit=has_limits, Cache_Control="no-store", status=(200, 201, 204)),
    *ask("of an unknown upload", "unknown", status=404, Upload_Offset=None),
    *ask("of a cancelled upload", "cancelled", status=(404, 410), Upload_Offset=None),
    *(Row(name=f"offset: HEAD with {field}", section="4.3.1", state="begun", method="HEAD", headers={field: value},
          status=400, after=0)
      for field, value in (("Upload-Offset", "10"), ("Upload-Complete", "?0"))),
]  # fmt: skip

APPEND_ROWS = [
    append("the first bytes", "4.4.2", "begun", piece(0), CONTENT[:70],
           fields={"Upload-Complete": "?0", "Upload-Offset": "70"}, after=70),
    append("no bytes", "6", "partial", piece(70), fields={"Upload-Complete": "?0", "Upload-Offset": "70"}, after=70),
    append("up to the length, not complete", "4.4.2", "partial", piece(70), REST,
           fields={"Upload-Complete": "?0", "Upload-Offset": "100"}, after=100),
    append("the end", "4.4.2", "partial", piece(70, is_last=True), REST, status=201, after=100,
           fields={"Upload-Complete": "?1", "Upload-Offset": "100"}),
    append("the end without bytes", "4.4.1", "full", piece(100, is_last=True), status=201, after=100,
           fields={"Upload-Complete": "?1", "Upload-Offset": "100"}),
    append("the end, of unknown length", "4.1.3", "deferred partial", piece(70, is_last=True), REST, status=201,
           after=100, fields={"Upload-Complete": "?1"}),
    append("the length later", "4.1.3", "deferred partial", piece(70) | {"Upload-Length": "100"}, REST[:1], after=71),
    append("without an offset", "4.4.1", "partial", piece(70) | {"Upload-Offset": LEFT_OUT}, REST, status=(400, 409),
           after=70, fields={}),
    append("without a completeness", "4.4.1", "partial", piece(70) | {"Upload-Complete": LEFT_OUT}, REST, status=400,
           after=70, fields={}),
    *(append(f"with the media type {media_type}", "4.4.2", "partial", piece(70) | {"Content-Type": media_type}, REST,
             status=415, after=70, fields={})
      for media_type in (LEFT_OUT, "text/plain", "application/octet-stream", "application/partial-uploads")),
    append("with a parameter of the media type", "4.4.2", "partial", piece(70) | {"Content-Type": f"{PIECE_TYPE};a=b"},
           REST[:1], after=71),
    append("at a higher offset", "4.4.2", "partial", piece(99), b"x", status=409, after=70,
           fields={"Upload-Complete": "?0", "Upload-Offset": "70"}, problem=MISMATCHING_OFFSET),
    append("at a lower offset", "4.4.2", "partial", piece(0), CONTENT[:70], status=409, after=70,
           fields={"Upload-Complete": "?0", "Upload-Offset": "70"}, problem=MISMATCHING_OFFSET),
    append("at a wrong offset, as the end", "4.4.2", "partial", piece(0, is_last=True), CONTENT, status=409, after=70,
           fields={"Upload-Complete": "?0", "Upload-Offset": "70"}, problem=MISMATCHING_OFFSET),
    append("more than the length", "4.4.2", "begun", piece(0), CONTENT + b"x", status=(400, 409), after=GONE),
    append("more than the length after all bytes", "4.4.2", "full", piece(100), b"x", status=(400, 409), after=GONE,
           fields={}),
    append("bytes to a complete upload", "4.1.2", "complete", piece(100), b"x",
           status=(400, 403, 409, 410), fields={}),
    append("the end of a complete upload again", "4.4.2", "complete", piece(100, is_last=True), after=100, status=201,
           fields={"Upload-Complete": "?1"}),
    append("to an unknown upload", "4.4.2", "unknown", piece(0), CONTENT, status=404, after=GONE, fields={}),
    append("to a cancelled upload", "4.5.2", "cancelled", piece(70), REST, status=(404, 410), after=GONE, fields={}),
    append("to a refused upload", "4.4.2", "refused", piece(len(PAGE)), b"x", status=(404, 409, 410, 422),
           after=GONE, fields={}),
    append("with its digest", "10.2", "partial", piece(70) | {"Content-Digest": sha256(REST[:9])}, REST[:9], after=79),
    append("with another digest", "10.2", "partial", piece(70) | {"Content-Digest": sha256(b"other")}, REST[:9],
           status=(400, 422), after=70, fields={}, problem="digest-mismatch"),
    append("as the end, with another digest", "10.2", "partial",
           piece(70, is_last=True) | {"Content-Digest": sha256(b"other")}, REST, status=(400, 422), after=70,
           fields={}, problem="digest-mismatch"),
]  # fmt: skip

CANCELLATIONS: dict[str, tuple[int | tuple[int, ...], int | str]] = {
    "begun": (204, GONE),
    "partial": (204, GONE),
    "full": (204, GONE),
    "deferred partial": (204, GONE),
    "unknown": (404, GONE),
    "cancelled": ((404, 410), GONE),
    "complete": ((404, 409), 100),  # the file is stored, and another right deletes it
}
CANCEL_ROWS = [
    Row(name=f"cancel: {state}", section="4.5.2", state=state, method="DELETE", status=status, after=after)
    for state, (status, after) in CANCELLATIONS.items()
]

ROWS = [*STATE_ROWS, *LIMIT_ROWS, *CREATE_ROWS, *OFFSET_ROWS, *APPEND_ROWS, *CANCEL_ROWS]


@pytest.fixture(params=["folder", "s3"])
def kind(request: pytest.FixtureRequest) -> str:
    """Two storages: the strict S3 would add much time, and no header field."""
    kind: str = request.param
    return kind


@pytest.fixture
def uploads(make_app: Callable[..., Flask]) -> IetfUploads:
    return IetfUploads(make_app(MAX_FILE_BYTES=str(MAX_BYTES)).test_client())


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_request_of_the_draft_is_answered_as_specified(make_app: Callable[..., Flask], row: Row) -> None:
    uploads = IetfUploads(make_app(MAX_FILE_BYTES=str(MAX_BYTES), **row.environ).test_client())
    uploads.states["named"] = lambda: "/upload/a.txt"
    response = resumable_rows.check(uploads, row)
    if row.method in ("HEAD", "DELETE") and response.status_code < 400:
        assert response.data == b""


def test_names_of_the_rows_are_unique() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


def stored(uploads: Uploads, response: TestResponse) -> bytes:
    """Return the content of the file that the response describes."""
    assert response.status_code == 201, response.text
    assert response.headers["Upload-Complete"] == "?1"
    assert response.json
    (entry,) = response.json["files"]
    assert entry["size"] == len(CONTENT)
    return download(uploads.client, entry["url"])


def test_pieces_become_the_file(uploads: IetfUploads) -> None:
    path = uploads.begin()
    assert uploads.patch(path, 0, CONTENT[:40]).status_code == 204
    offset = uploads.offset(path)
    assert isinstance(offset, int)
    assert stored(uploads, uploads.patch(path, offset, CONTENT[offset:], is_last=True)) == CONTENT


def test_final_response_is_that_of_one_request(uploads: IetfUploads) -> None:
    """The response of the completing append matches that of the first resource (4.4.2)."""
    whole = uploads.send("POST", "/upload", named("a.txt") | ALL_OF_IT, CONTENT)
    plain = uploads.send("PUT", "/upload/a.txt", {}, CONTENT)
    pieces = uploads.patch(uploads.begin(), 0, CONTENT, is_last=True)
    for response in (whole, pieces):
        assert stored(uploads, response) == CONTENT
        assert response.json
        assert plain.json
        assert response.json.keys() == plain.json.keys()
        assert response.json["files"][0].keys() == plain.json["files"][0].keys()
        assert response.json["message"] == plain.json["message"]


def test_final_response_is_repeated(uploads: IetfUploads) -> None:
    """The last response may be lost, and the client may send its last append again (4.4.2)."""
    path = uploads.begin()
    uploads.patch(path, 0, CONTENT)
    first = uploads.patch(path, 100, b"", is_last=True)
    second = uploads.patch(path, 100, b"", is_last=True)
    assert first.status_code == second.status_code == 201
    assert first.json == second.json


def test_length_is_known_after_the_completion(uploads: IetfUploads) -> None:
    path = uploads.begin(length=None)
    assert "Upload-Length" not in uploads.send("HEAD", path).headers
    assert uploads.patch(path, 0, CONTENT, is_last=True).status_code == 201
    assert uploads.send("HEAD", path).headers["Upload-Length"] == "100"


def test_offset_of_the_conflict_can_be_used(uploads: IetfUploads) -> None:
    path = uploads.states["partial"]()
    conflict = uploads.patch(path, 99, b"x")
    assert conflict.status_code == 409
    assert conflict.json
    assert conflict.json["expected-offset"] == 70
    assert conflict.json["provided-offset"] == 99
    offset = int(conflict.headers["Upload-Offset"])
    assert stored(uploads, uploads.patch(path, offset, CONTENT[offset:], is_last=True)) == CONTENT


def test_limits_do_not_become_stricter(uploads: IetfUploads) -> None:
    general = limits(uploads.send("OPTIONS", "/upload").headers["Upload-Limit"])
    path = uploads.begin()
    responses = [uploads.send("HEAD", path), uploads.patch(path, 0, CONTENT[:1]), uploads.send("HEAD", path)]
    for response in responses:
        found = limits(response.headers["Upload-Limit"])
        assert found["max-size"] >= general["max-size"]
        assert found["max-append-size"] >= general["max-append-size"]


def test_piece_above_the_maximum_append_size_is_refused(make_app: Callable[..., Flask]) -> None:
    uploads = IetfUploads(make_app(MAX_CONTENT_LENGTH="2000000").test_client())
    maximum = limits(uploads.send("OPTIONS", "/upload").headers["Upload-Limit"])["max-append-size"]
    path = uploads.begin(length=maximum + 1)
    response = uploads.patch(path, 0, b"x" * (maximum + 1))
    assert response.status_code == 413
    assert limits(response.headers["Upload-Limit"])["max-append-size"] == maximum
    assert uploads.offset(path) == 0
    assert uploads.patch(path, 0, b"x" * maximum).status_code == 204


def test_name_decides_the_type(uploads: IetfUploads) -> None:
    response = uploads.send("POST", "/upload", ALL_OF_IT | {"Content-Type": "text/plain"}, CONTENT)
    assert response.status_code == 201
    assert response.json
    assert response.json["files"][0]["name"].endswith(".txt")


def test_refusal_ends_the_upload(uploads: IetfUploads, stored_keys: Callable[[], list[str]]) -> None:
    plain = uploads.send("PUT", "/upload/photo.png", {}, PAGE)
    path = uploads.begin(length=None, name="photo.png")
    response = uploads.patch(path, 0, PAGE)
    assert response.status_code == plain.status_code
    assert response.headers["Upload-Complete"] == "?1"
    assert response.json
    assert plain.json
    assert response.json["detail"] == plain.json["detail"]
    assert uploads.send("HEAD", path).status_code == 410
    assert not [key for key in stored_keys() if key.startswith("files/")]


def test_refused_whole_file_is_complete_in_the_view_of_the_server(uploads: IetfUploads) -> None:
    response = uploads.send("POST", "/upload", named("photo.png") | ALL_OF_IT, PAGE)
    assert response.status_code in range(400, 500)
    assert response.headers["Upload-Complete"] == "?1"


@pytest.mark.parametrize("is_whole", [True, False], ids=["whole", "pieces"])
def test_digest_of_the_representation_is_verified(
    uploads: IetfUploads, stored_keys: Callable[[], list[str]], is_whole: bool
) -> None:
    def upload(digest: str) -> TestResponse:
        fields = named("a.txt") | {"Repr-Digest": digest}
        if is_whole:
            return uploads.send("POST", "/upload", fields | ALL_OF_IT, CONTENT)
        path = path_of(uploads.send("POST", "/upload", fields | {"Upload-Complete": "?0"}))
        assert uploads.patch(path, 0, CONTENT[:70]).status_code == 204
        return uploads.patch(path, 70, REST, is_last=True)

    refused = upload(sha256(b"other"))
    assert refused.status_code in (400, 409, 422)
    assert not [key for key in stored_keys() if key.startswith("files/")]
    assert stored(uploads, upload(sha256(CONTENT))) == CONTENT


def test_wanted_digest_is_returned(uploads: IetfUploads) -> None:
    response = uploads.send("POST", "/upload", named("a.txt") | ALL_OF_IT | {"Want-Repr-Digest": "sha-256=10"}, CONTENT)
    assert response.headers["Repr-Digest"] == sha256(CONTENT)
    fields = named("a.txt") | {"Upload-Complete": "?0", "Want-Repr-Digest": "sha-256=10"}
    path = path_of(uploads.send("POST", "/upload", fields))
    response = uploads.send("PATCH", path, piece(0, is_last=True) | {"Want-Repr-Digest": "sha-256=10"}, CONTENT)
    assert response.headers["Repr-Digest"] == sha256(CONTENT)


@pytest.mark.parametrize("version", [None, "9", "99", "x"])
def test_no_interim_response_without_the_interop_version(uploads: IetfUploads, version: str | None) -> None:
    headers = named("a.txt") | {"Upload-Complete": "?0"} | ({INTEROP: version} if version else {})
    response, sent = interim(uploads, "POST", "/upload", headers, b"")
    assert response.status_code == 201
    assert sent == []


def test_interim_response_has_the_location(uploads: IetfUploads) -> None:
    headers = named("a.txt") | {"Upload-Complete": "?0", INTEROP: "8"}
    response, sent = interim(uploads, "POST", "/upload", headers, CONTENT[:70])
    assert response.status_code == 201
    assert sent
    for status, fields in sent:
        assert status == 104
        assert fields[INTEROP] == "8"
        if "Upload-Offset" not in fields:
            assert fields["Location"] == response.headers["Location"]
            assert has_age(fields["Upload-Limit"])
    assert any("Location" in fields for _, fields in sent)


def test_interim_response_to_an_append_has_no_location(uploads: IetfUploads) -> None:
    path = uploads.begin()
    response, sent = interim(uploads, "PATCH", path, piece(0) | {INTEROP: "8"}, CONTENT[:70])
    assert response.status_code == 204
    for status, fields in sent:
        assert status == 104
        assert fields[INTEROP] == "8"
        assert "Location" not in fields
        assert 0 <= int(fields["Upload-Offset"]) <= PARTIAL_BYTES


def interim(
    uploads: IetfUploads, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> tuple[TestResponse, list[tuple[int, dict[str, str]]]]:
    """Send a request through a server that can send interim responses.

    :returns: the response, and the status and the header fields of each interim response.
    """
    sent: list[tuple[int, dict[str, str]]] = []

    def send_interim(status: int, fields: list[tuple[str, str]]) -> None:
        sent.append((status, dict(fields)))

    response = uploads.raw(method, path, headers, body, environ_overrides={"handler.send_interim": send_interim})
    return response, sent


def test_one_of_two_appends_wins(uploads: IetfUploads) -> None:
    """Appends at one offset do not mix, and a HEAD between them is not outdated (4.6)."""
    path = uploads.begin()
    app = uploads.client.application
    statuses: list[int] = []
    barrier = threading.Barrier(4)

    def send(content: bytes) -> None:
        client = IetfUploads(app.test_client())
        barrier.wait()
        statuses.append(client.patch(path, 0, content).status_code)

    contents = [letter * 10 for letter in (b"a", b"b", b"c", b"d")]
    threads = [threading.Thread(target=send, args=[content]) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [204, 409, 409, 409]
    assert uploads.offset(path) == 10
    response = uploads.patch(path, 10, b"e" * 90, is_last=True)
    assert stored(uploads, response) in [content + b"e" * 90 for content in contents]


def test_upload_belongs_to_the_subject_that_began_it(make_app: Callable[..., Flask]) -> None:
    uploads = IetfUploads(make_app(TOKEN_SECRET=tokens.SECRET).test_client())
    anna, ben = (tokens.bearer(tokens.good(sub=name)) for name in ("anna", "ben"))
    begin = named("a.txt") | {"Upload-Complete": "?0"}
    assert uploads.send("POST", "/upload", begin).status_code == 401
    path = path_of(uploads.send("POST", "/upload", begin | anna))
    for headers, statuses in ((ben, (403, 404)), ({}, (401, 403, 404))):
        assert uploads.send("PATCH", path, piece(0) | headers, CONTENT[:70]).status_code in statuses
        assert uploads.send("DELETE", path, headers).status_code in statuses
    assert uploads.send("PATCH", path, piece(0, is_last=True) | anna, CONTENT).status_code == 201
