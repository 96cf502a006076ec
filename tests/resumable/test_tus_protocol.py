"""tus 1.0.0, row by row: each request and its response as the specification has them.

Source: https://tus.io/protocols/resumable-upload

Three rows differ from the specification on purpose, and say so: the last PATCH answers 201 with the stored file, a
stored file is not deleted with its upload, and an empty file is refused unless the owner allows empty files.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import pytest

from ..support import resumable_rows, tokens
from ..support.http_client import download
from ..support.resumable_rows import (
    CONTENT,
    DATE,
    GONE,
    MAX_BYTES,
    PAGE,
    PARTIAL_BYTES,
    UNKNOWN,
    Row,
    Uploads,
    Value,
    path_of,
)

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.test import TestResponse

VERSION = "1.0.0"
OFFSET_TYPE = "application/offset+octet-stream"
EXTENSIONS = {
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "expiration",
    "checksum",
    "termination",
}
DAY = timedelta(days=1, minutes=1)


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def metadata(**pairs: str) -> str:
    """Return the value of ``Upload-Metadata``."""
    return ",".join(f"{key} {b64(value.encode())}" for key, value in pairs.items())


NAMED = {"Upload-Metadata": metadata(filename="a.txt")}


class TusUploads(Uploads):
    """Uploads as a tus client sends them."""

    def send(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> TestResponse:
        headers = {"Tus-Resumable": VERSION} | dict(headers or {})
        response = self.raw(method, path, headers, body)
        if method != "OPTIONS":  # "in every request and response except for OPTIONS requests", also if it is an error
            assert response.headers.get("Tus-Resumable") == VERSION, response.status
        return response

    def begin(self, *, length: int | None = len(CONTENT), name: str = "a.txt") -> str:
        announced = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
        response = self.send("POST", "/upload", announced | {"Upload-Metadata": metadata(filename=name)})
        assert response.status_code == 201, response.text
        return path_of(response)

    def patch(self, path: str, offset: int, content: bytes, *, is_last: bool = False) -> TestResponse:
        del is_last  # the length says so
        return self.send("PATCH", path, {"Upload-Offset": str(offset), "Content-Type": OFFSET_TYPE}, content)

    def complete(self) -> str:
        path = self.append(self.begin(), 0, CONTENT[:PARTIAL_BYTES])
        assert self.patch(path, PARTIAL_BYTES, CONTENT[PARTIAL_BYTES:]).status_code == 201
        return path


def is_soon(date: str) -> bool:
    """Whether a date is one that HTTP writes, in the future, and not more than a day away."""
    return bool(DATE.fullmatch(date)) and datetime.now(UTC) < parsedate_to_datetime(date) < datetime.now(UTC) + DAY


def options(
    name: str,
    *,
    state: str = "endpoint",
    headers: Mapping[str, str] | None = None,
    after: int | None = None,
    **fields: Value,
) -> Row:
    """Return the row of an OPTIONS. The names of the fields have underscores for hyphens."""
    expected = {field.replace("_", "-"): value for field, value in fields.items()}
    return Row(name=f"options: {name}", section="Core, OPTIONS", state=state, method="OPTIONS", headers=headers or {},
               status=204, fields=expected, after=after)  # fmt: skip


def head(name: str, state: str, **more: Any) -> Row:
    return Row(name=f"head: {name}", section="Core, HEAD", state=state, method="HEAD", **{"status": 204} | more)


def patch(
    name: str,
    state: str,
    offset: str | None,
    body: bytes,
    status: int | tuple[int, ...] = 204,
    *,
    headers: Mapping[str, str | None] | None = None,
    section: str = "Core, PATCH",
    **more: Any,
) -> Row:
    """Return the row of a PATCH.

    :param headers: change the usual header fields. ``None`` leaves a field out.
    """
    fields = {"Upload-Offset": offset, "Content-Type": OFFSET_TYPE} | dict(headers or {})
    sent = {field: value for field, value in fields.items() if value is not None}
    method = more.pop("method", "PATCH")
    return Row(name=f"patch: {name}", section=section, state=state, method=method, headers=sent, body=body,
               status=status, **more)  # fmt: skip


def create(
    name: str,
    headers: Mapping[str, str],
    status: int | tuple[int, ...] = 201,
    *,
    named: bool = True,
    section: str = "Creation, POST",
    **more: Any,
) -> Row:
    sent = (NAMED if named else {}) | dict(headers)
    return Row(name=f"create: {name}", section=section, state="endpoint", method="POST", headers=sent, status=status,
               **more)  # fmt: skip


def delete(name: str, state: str, status: int | tuple[int, ...], **more: Any) -> Row:
    return Row(name=f"delete: {name}", section="Termination, DELETE", state=state, method="DELETE", status=status,
               **more)  # fmt: skip


def checksum(name: str, value: str, status: int | tuple[int, ...], after: int | str, **more: Any) -> Row:
    """Return the row of a PATCH with a checksum of its 30 bytes."""
    row = {"state": "begun", "offset": "0", "body": CONTENT[:30], "fields": {}} | more
    return patch(name, headers={"Upload-Checksum": value}, status=status, after=after, section="Checksum", **row)


def digest(algorithm: str, content: bytes = CONTENT[:30]) -> str:
    return f"{algorithm} {b64(hashlib.new(algorithm, content, usedforsecurity=False).digest())}"


LENGTH = {"Upload-Length": str(len(CONTENT))}
WITH_UPLOAD = LENGTH | {"Content-Type": OFFSET_TYPE}
DEFER = {"Upload-Defer-Length": "1"}
REST = CONTENT[PARTIAL_BYTES:]
EMPTY_ALLOWED = {"ALLOW_EMPTY_FILES": "on"}

OPTIONS_ROWS = [
    options("lists the version", Tus_Version=VERSION),
    options("lists the extensions", Tus_Extension=lambda value: set(value.split(",")) == EXTENSIONS),
    options("has the maximum size", Tus_Max_Size=str(MAX_BYTES)),
    options(
        "lists the checksums", Tus_Checksum_Algorithm=lambda value: {"sha1", "sha256", "md5"} == set(value.split(","))
    ),
    options("ignores the version of the client", headers={"Tus-Resumable": "0.2.2"}, Tus_Version=VERSION),
    options("works at an upload", state="begun", Tus_Version=VERSION, after=0),
]

VERSION_ROWS = [
    Row(name=f"version: {method} with {version}", section="Core, Tus-Resumable", state=state,
        method=method, headers={"Tus-Resumable": version, **headers}, body=body, status=412,
        fields={"Tus-Version": VERSION, "Location": None}, after=after)
    for version in ("0.2.2", "2.0.0")
    for method, state, headers, body, after in [
        ("POST", "endpoint", LENGTH | NAMED, b"", None),
        ("HEAD", "partial", {}, b"", PARTIAL_BYTES),
        ("PATCH", "partial", {"Upload-Offset": "70", "Content-Type": OFFSET_TYPE}, REST, PARTIAL_BYTES),
        ("DELETE", "partial", {}, b"", PARTIAL_BYTES),
    ]
]  # fmt: skip

HEAD_ROWS = [
    head("of a new upload", "begun",
         fields={"Upload-Offset": "0", "Upload-Length": "100", "Upload-Defer-Length": None}),
    head("of a partial upload", "partial", fields={"Upload-Offset": "70", "Upload-Length": "100"}),
    head("of a complete upload", "complete", fields={"Upload-Offset": "100", "Upload-Length": "100"}),
    head("is never cached", "partial", fields={"Cache-Control": "no-store"}),
    head("of a complete upload is never cached", "complete", fields={"Cache-Control": "no-store"}),
    head("of a deferred length", "deferred",
         fields={"Upload-Offset": "0", "Upload-Defer-Length": "1", "Upload-Length": None}),
    head("of a deferred length with content", "deferred partial",
         fields={"Upload-Offset": "70", "Upload-Defer-Length": "1", "Upload-Length": None}),
    head("returns the metadata", "begun", fields=NAMED),
    head("returns the metadata of a complete upload", "complete", fields=NAMED),
    head("of an unknown upload", "unknown", status=(404, 410), fields={"Upload-Offset": None}),
    head("of a terminated upload", "cancelled", status=(404, 410), fields={"Upload-Offset": None}),
    head("of a refused upload", "refused", status=410, fields={"Upload-Offset": None}),
]  # fmt: skip

PATCH_ROWS = [
    patch("the first bytes", "begun", "0", CONTENT[:70], fields={"Upload-Offset": "70"}, after=70),
    patch("one byte", "begun", "0", CONTENT[:1], fields={"Upload-Offset": "1"}, after=1),
    patch("further bytes", "partial", "70", REST[:10], fields={"Upload-Offset": "80"}, after=80),
    # The specification says 204. The design says 201 with the stored file: tus clients take any 2xx.
    patch("the last bytes", "partial", "70", REST, 201, fields={"Upload-Offset": "100"}, after=100),
    patch("the whole file", "begun", "0", CONTENT, 201, fields={"Upload-Offset": "100"}, after=100),
    patch("no bytes", "partial", "70", b"", fields={"Upload-Offset": "70"}, after=70),
    patch("says when the upload expires", "begun", "0", CONTENT[:70], fields={"Upload-Expires": is_soon}, after=70),
    patch("at a lower offset", "partial", "0", CONTENT[:70], 409, fields={"Upload-Offset": "70"}, after=70),
    patch("at a higher offset", "partial", "71", REST[1:], 409, fields={"Upload-Offset": "70"}, after=70),
    patch("no bytes at a wrong offset", "partial", "69", b"", 409, after=70),
    patch("at an offset above the length", "partial", "1000", b"x", 409, after=70),
    patch("at an enormous offset", "partial", "9" * 30, b"x", (400, 409), after=70),
    patch("to a complete upload, at a wrong offset", "complete", "70", REST[:1], (400, 403, 409), after=100),
    patch("to a complete upload, at its end", "complete", "100", b"x", (400, 403, 409, 410)),
    patch("no bytes to a complete upload", "complete", "100", b"", (201, 204), fields={"Upload-Offset": "100"},
          after=100),
    patch("more than the length", "partial", "70", REST + b"x", 400, after=GONE),
    patch("without an offset", "partial", None, REST, (400, 409), after=70),
    *(patch(f"at the offset {offset!r}", "partial", offset, REST, 400, after=70)
      for offset in ("-1", "abc", "70.0", "", "0x46", "7 0", "+70", "1e1", "70,70", "?1")),
    patch("without a media type", "partial", "70", REST, 415, headers={"Content-Type": None}, after=70),
    *(patch(f"with the media type {media_type}", "partial", "70", REST, 415,
            headers={"Content-Type": media_type}, after=70)
      for media_type in ("text/plain", "application/octet-stream", "multipart/form-data; boundary=x",
                         "application/x-www-form-urlencoded", "application/offset+octet-streams")),
    patch("with a parameter of the media type", "partial", "70", REST[:1],
          headers={"Content-Type": OFFSET_TYPE + "; charset=utf-8"}, after=71),
    patch("with a media type in capitals", "partial", "70", REST[:1],
          headers={"Content-Type": "Application/Offset+Octet-Stream"}, after=71),
    patch("to an unknown upload", "unknown", "0", CONTENT[:70], 404, after=GONE),
    patch("to a terminated upload", "cancelled", "70", REST, (404, 410), after=GONE),
    patch("to a refused upload", "refused", str(len(PAGE)), b"x", (404, 409, 410, 422), after=GONE),
    patch("with the same length again", "partial", "70", REST[:1], headers=LENGTH, after=71),
    patch("with another length", "partial", "70", REST[:1], 400, headers={"Upload-Length": "90"}, after=70),
]  # fmt: skip

OVERRIDE_ROWS = [
    patch("by POST", "partial", "70", REST[:1], method="POST", headers={"X-HTTP-Method-Override": "PATCH"},
          section="Core, X-HTTP-Method-Override", fields={"Upload-Offset": "71"}, after=71),
    patch("by POST, the last bytes", "partial", "70", REST, 201, method="POST",
          headers={"X-HTTP-Method-Override": "PATCH"}, section="Core, X-HTTP-Method-Override", after=100),
    patch("by POST, at a wrong offset", "partial", "0", REST, 409, method="POST",
          headers={"X-HTTP-Method-Override": "PATCH"}, section="Core, X-HTTP-Method-Override", after=70),
    Row(name="override: DELETE by POST", section="Core, X-HTTP-Method-Override", state="partial", method="POST",
        headers={"X-HTTP-Method-Override": "DELETE"}, status=204, after=GONE),
    Row(name="override: HEAD by POST", section="Core, X-HTTP-Method-Override", state="partial", method="POST",
        headers={"X-HTTP-Method-Override": "HEAD"}, status=(200, 204), fields={"Upload-Offset": "70"}, after=70),
    Row(name="override: the method itself is ignored", section="Core, X-HTTP-Method-Override", state="partial",
        method="PATCH", headers={"X-HTTP-Method-Override": "DELETE", "Upload-Offset": "70",
                                 "Content-Type": OFFSET_TYPE}, status=204, after=GONE),
    create("by POST and an override", LENGTH | {"X-HTTP-Method-Override": "POST"}, after=0,
           section="Core, X-HTTP-Method-Override"),
]  # fmt: skip

CREATE_ROWS = [
    create("with a length", LENGTH, fields={"Location": lambda value: "/upload/" in value}, after=0),
    create("says the offset", LENGTH, fields={"Upload-Offset": "0"}),
    create("says when the upload expires", LENGTH, fields={"Upload-Expires": is_soon}, section="Expiration"),
    create("with a deferred length", DEFER, after=0),
    create("of the maximum size", {"Upload-Length": str(MAX_BYTES)}, after=0),
    create("above the maximum size", {"Upload-Length": str(MAX_BYTES + 1)}, 413, fields={"Location": None}),
    create("far above the maximum size", {"Upload-Length": "9" * 40}, (400, 413), fields={"Location": None}),
    create("of an empty file", {"Upload-Length": "0"}, environ=EMPTY_ALLOWED, fields={"Upload-Offset": "0"}, after=0),
    create("of an empty file, which is refused by default", {"Upload-Length": "0"}, 422, problem="empty-file"),
    create("without a length", {}, 400, fields={"Location": None}),
    create("with a length and a deferred length", LENGTH | DEFER, 400, fields={"Location": None}),
    *(create(f"with the deferred length {value!r}", {"Upload-Defer-Length": value}, 400, fields={"Location": None})
      for value in ("0", "2", "true", "")),
    *(create(f"with the length {value!r}", {"Upload-Length": value}, 400, fields={"Location": None})
      for value in ("-1", "abc", "1.0", "1e2", "", "1 0", "+5", "0x10", "100, 100")),
    create("with metadata without a value", LENGTH | {"Upload-Metadata": metadata(filename="a.txt") + ",secret"},
           section="Creation, Upload-Metadata", after=0),
    create("with an empty value", LENGTH | {"Upload-Metadata": metadata(filename="a.txt") + ",secret "},
           section="Creation, Upload-Metadata", after=0),
    create("with metadata that is not Base64", LENGTH | {"Upload-Metadata": "filename a.txt"}, 400, named=False,
           section="Creation, Upload-Metadata", fields={"Location": None}),
    create("with a key twice", LENGTH | {"Upload-Metadata": "filename YS50eHQ=,filename Yi50eHQ="}, 400, named=False,
           section="Creation, Upload-Metadata", fields={"Location": None}),
    create("with a file type that is not allowed", LENGTH | {"Upload-Metadata": metadata(filename="a.exe")}, 415,
           named=False, section="Creation, Upload-Metadata", problem="type-not-allowed", fields={"Location": None}),
    create("with the name in 'name'", LENGTH | {"Upload-Metadata": metadata(name="a.txt", type="text/plain")},
           named=False, section="Creation, Upload-Metadata", after=0),
    create("of a partial upload", LENGTH | {"Upload-Concat": "partial"}, 400, section="Concatenation",
           fields={"Location": None}),
    create("of a final upload", {"Upload-Concat": f"final;{UNKNOWN} {UNKNOWN}"}, 400, section="Concatenation",
           fields={"Location": None}),
]  # fmt: skip

WITH_UPLOAD_ROWS = [
    create("with the first bytes", WITH_UPLOAD, body=CONTENT[:5], section="Creation With Upload",
           fields={"Upload-Offset": "5", "Location": lambda value: "/upload/" in value}, after=5),
    create("with the whole file", WITH_UPLOAD, body=CONTENT, section="Creation With Upload",
           fields={"Upload-Offset": "100"}),
    create("with no bytes", WITH_UPLOAD, body=b"", section="Creation With Upload", fields={"Upload-Offset": "0"},
           after=0),
    create("with bytes and a deferred length", DEFER | {"Content-Type": OFFSET_TYPE}, body=CONTENT[:5],
           section="Creation With Upload", fields={"Upload-Offset": "5"}, after=5),
    create("with bytes of another media type", LENGTH | {"Content-Type": "text/plain"}, (400, 415), body=CONTENT[:5],
           section="Creation With Upload", fields={"Location": None}),
    create("with more bytes than the length", WITH_UPLOAD, 400, body=CONTENT + b"x", section="Creation With Upload"),
    create("with bytes and their checksum", WITH_UPLOAD | {"Upload-Checksum": digest("sha1")}, body=CONTENT[:30],
           section="Checksum", fields={"Upload-Offset": "30"}, after=30),
    create("with bytes and another checksum", WITH_UPLOAD | {"Upload-Checksum": digest("sha1", b"")}, 460,
           body=CONTENT[:30], section="Checksum"),
    create("with the whole file and another checksum", WITH_UPLOAD | {"Upload-Checksum": digest("sha1", b"")}, 460,
           body=CONTENT, section="Checksum"),
]  # fmt: skip

DEFER_ROWS = [
    patch("of a deferred length, without the length", "deferred", "0", CONTENT[:70],
          section="Creation, Upload-Defer-Length", fields={"Upload-Offset": "70"}, after=70),
    patch("of a deferred length, with the length", "deferred partial", "70", REST[:1], headers=LENGTH,
          section="Creation, Upload-Defer-Length", fields={"Upload-Offset": "71"}, after=71),
    patch("of a deferred length, with the length and the last bytes", "deferred partial", "70", REST, 201,
          headers=LENGTH, section="Creation, Upload-Defer-Length", fields={"Upload-Offset": "100"}, after=100),
    patch("of a deferred length, with the length and no bytes", "deferred partial", "70", b"", (201, 204),
          headers={"Upload-Length": "70"}, section="Creation, Upload-Defer-Length", fields={"Upload-Offset": "70"},
          after=70),
    patch("of a deferred length, with a length below the offset", "deferred partial", "70", REST[:1], 400,
          headers={"Upload-Length": "50"}, section="Creation, Upload-Defer-Length"),
    patch("of a deferred length, with a length above the maximum", "deferred partial", "70", REST[:1], 413,
          headers={"Upload-Length": str(MAX_BYTES + 1)}, section="Creation, Upload-Defer-Length"),
    patch("of a deferred length, with more bytes than the maximum", "deferred", "0", b"x" * (MAX_BYTES + 1), 413,
          section="Creation, Upload-Defer-Length"),
]  # fmt: skip

CHECKSUM_ROWS = [
    *(checksum(f"with {algorithm}", digest(algorithm), 204, 30) for algorithm in ("sha1", "sha256", "md5")),
    *(checksum(f"with another {algorithm}", digest(algorithm, b"other"), 460, 0)
      for algorithm in ("sha1", "sha256", "md5")),
    checksum("with another sha1 of later bytes", digest("sha1", b"other"), 460, 70, state="partial", offset="70",
             body=REST),
    checksum("with the sha1 of the last bytes", digest("sha1", REST), 201, 100, state="partial", offset="70",
             body=REST),
    checksum("with crc32", "crc32 AAAAAA==", 400, 0),
    checksum("with SHA1 in capitals", digest("sha1").replace("sha1", "SHA1"), 400, 0),
    checksum("without a value", "sha1", 400, 0),
    checksum("with a value that is not Base64", "sha1 ***", 400, 0),
    checksum("with a value that is too short", "sha1 AAAA", (400, 460), 0),
    checksum("without an algorithm", b64(hashlib.sha1(CONTENT[:30], usedforsecurity=False).digest()), 400, 0),
    checksum("with an empty field", "", 400, 0),
    checksum("of no bytes", digest("sha1", b""), 204, 70, state="partial", offset="70", body=b""),
]  # fmt: skip

DELETE_ROWS = [
    delete("of a new upload", "begun", 204, after=GONE),
    delete("of a partial upload", "partial", 204, after=GONE),
    delete("of an upload of a deferred length", "deferred partial", 204, after=GONE),
    delete("of an unknown upload", "unknown", (404, 410), after=GONE),
    delete("of a terminated upload", "cancelled", (404, 410), after=GONE),
    # The specification allows to terminate complete uploads. Here the file is stored, and another right deletes it.
    delete("of a complete upload", "complete", (404, 409), after=100),
]

ROWS = [
    *OPTIONS_ROWS,
    *VERSION_ROWS,
    *HEAD_ROWS,
    *PATCH_ROWS,
    *OVERRIDE_ROWS,
    *CREATE_ROWS,
    *WITH_UPLOAD_ROWS,
    *DEFER_ROWS,
    *CHECKSUM_ROWS,
    *DELETE_ROWS,
]


@pytest.fixture(params=["folder", "s3"])
def kind(request: pytest.FixtureRequest) -> str:
    """Two storages: the strict S3 would add much time, and no header field."""
    kind: str = request.param
    return kind


@pytest.fixture
def uploads(make_app: Callable[..., Flask]) -> TusUploads:
    return TusUploads(make_app(MAX_FILE_BYTES=str(MAX_BYTES)).test_client())


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_tus_request_is_answered_as_specified(make_app: Callable[..., Flask], row: Row) -> None:
    uploads = TusUploads(make_app(MAX_FILE_BYTES=str(MAX_BYTES), **row.environ).test_client())
    response = resumable_rows.check(uploads, row)
    if row.method in ("HEAD", "DELETE") and response.status_code < 400:
        assert response.data == b""


def test_table_covers_the_specification() -> None:
    assert len(ROWS) >= 80
    assert len({row.name for row in ROWS}) == len(ROWS)


def stored(uploads: Uploads, response: TestResponse) -> bytes:
    """Return the content of the file that the response describes."""
    assert response.status_code == 201, response.text
    assert response.json
    (entry,) = response.json["files"]
    assert entry["name"] == "a.txt"
    assert entry["size"] == len(CONTENT)
    return download(uploads.client, entry["url"])


def test_pieces_become_the_file(uploads: TusUploads) -> None:
    path = uploads.begin()
    for offset in range(0, 90, 10):
        assert uploads.patch(path, offset, CONTENT[offset : offset + 10]).status_code == 204
    response = uploads.patch(path, 90, CONTENT[90:])
    assert stored(uploads, response) == CONTENT
    status = uploads.client.get(path)
    assert status.status_code in (200, 201)
    assert status.json
    assert response.json
    assert response.json["files"][0]["url"] in status.text


def test_whole_file_in_the_creation_is_stored(uploads: TusUploads) -> None:
    response = uploads.send("POST", "/upload", WITH_UPLOAD | NAMED, CONTENT)
    assert stored(uploads, response) == CONTENT


def test_metadata_is_returned_as_sent(uploads: TusUploads) -> None:
    sent = f"is_confidential,filename {b64(b'a.txt')},album {b64('Sommer 🌞'.encode())},empty "
    response = uploads.send("POST", "/upload", LENGTH | {"Upload-Metadata": sent.strip()})
    assert response.status_code == 201
    assert uploads.send("HEAD", path_of(response)).headers["Upload-Metadata"] == sent.strip()


def test_metadata_fields_are_kept_with_the_file(make_app: Callable[..., Flask]) -> None:
    uploads = TusUploads(make_app(METADATA_FIELDS="album").test_client())
    fields = LENGTH | {"Upload-Metadata": metadata(filename="a.txt", album="Sommer 🌞", other="x")}
    path = path_of(uploads.send("POST", "/upload", fields))
    response = uploads.patch(path, 0, CONTENT)
    assert response.status_code == 201
    assert response.json
    assert response.json["files"][0]["fields"] == {"album": "Sommer 🌞"}


def test_deferred_length_is_recorded(uploads: TusUploads) -> None:
    path = uploads.begin(length=None)
    fields = {"Upload-Offset": "0", "Content-Type": OFFSET_TYPE} | LENGTH
    assert uploads.send("PATCH", path, fields, CONTENT[:70]).status_code == 204
    answer = uploads.send("HEAD", path)
    assert answer.headers["Upload-Length"] == "100"
    assert "Upload-Defer-Length" not in answer.headers
    other = {"Upload-Offset": "70", "Content-Type": OFFSET_TYPE, "Upload-Length": "90"}
    assert uploads.send("PATCH", path, other, REST[:1]).status_code == 400
    assert uploads.offset(path) == 70
    assert stored(uploads, uploads.patch(path, 70, REST)) == CONTENT


def test_mismatched_piece_can_be_sent_again(uploads: TusUploads) -> None:
    path = uploads.begin()
    fields = {"Upload-Offset": "0", "Content-Type": OFFSET_TYPE, "Upload-Checksum": digest("sha1", CONTENT)}
    assert uploads.send("PATCH", path, fields, CONTENT[::-1]).status_code == 460
    assert stored(uploads, uploads.send("PATCH", path, fields, CONTENT)) == CONTENT


def test_nothing_is_stored_after_a_termination(uploads: TusUploads, stored_keys: Callable[[], list[str]]) -> None:
    path = uploads.cancelled()
    assert uploads.patch(path, PARTIAL_BYTES, REST).status_code in (404, 410)
    assert uploads.client.get(path).status_code in (404, 410)
    assert not [key for key in stored_keys() if key.startswith("files/")]


def test_nothing_is_stored_before_the_last_piece(uploads: TusUploads, stored_keys: Callable[[], list[str]]) -> None:
    uploads.states["partial"]()
    assert not [key for key in stored_keys() if key.startswith("files/")]


def test_first_piece_that_shows_it_is_refused_with_the_reason(
    uploads: TusUploads, stored_keys: Callable[[], list[str]]
) -> None:
    plain = uploads.client.put("/upload/photo.png", data=PAGE)
    assert plain.json
    path = uploads.begin(length=9000, name="photo.png")
    response = uploads.patch(path, 0, PAGE)
    assert response.status_code == plain.status_code
    assert response.json
    assert response.json["detail"] == plain.json["detail"]
    assert response.headers["Upload-Complete"] == "?1"
    assert uploads.send("HEAD", path).status_code == 410
    status = uploads.client.get(path)
    assert status.json
    assert status.json["status"] == "refused"
    assert status.json["problem"]["detail"] == plain.json["detail"]
    assert not [key for key in stored_keys() if key.startswith("files/")]


def test_expired_upload_is_gone(uploads: TusUploads, monkeypatch: pytest.MonkeyPatch) -> None:
    path = uploads.states["partial"]()
    expires = parsedate_to_datetime(uploads.patch(path, 70, REST[:1]).headers["Upload-Expires"]).timestamp()
    monkeypatch.setattr("handler.signing.time.time", lambda: expires + 60)
    assert uploads.send("HEAD", path).status_code in (404, 410)
    assert uploads.patch(path, 71, REST[1:]).status_code in (404, 410)


@pytest.fixture
def secured(make_app: Callable[..., Flask]) -> TusUploads:
    """Uploads to an endpoint that asks for tokens."""
    return TusUploads(make_app(TOKEN_SECRET=tokens.SECRET, MAX_FILE_BYTES=str(MAX_BYTES)).test_client())


def test_creation_needs_a_token(secured: TusUploads) -> None:
    assert secured.send("POST", "/upload", LENGTH | NAMED).status_code == 401
    response = secured.send("POST", "/upload", LENGTH | NAMED | tokens.bearer(tokens.good(sub="anna")))
    assert response.status_code == 201


def test_upload_belongs_to_the_subject_that_began_it(secured: TusUploads) -> None:
    anna, ben = (tokens.bearer(tokens.good(sub=name)) for name in ("anna", "ben"))
    path = path_of(secured.send("POST", "/upload", LENGTH | NAMED | anna))
    piece = {"Upload-Offset": "0", "Content-Type": OFFSET_TYPE}
    for headers, statuses in ((ben, (403, 404)), ({}, (401, 403, 404))):
        assert secured.send("PATCH", path, piece | headers, CONTENT[:70]).status_code in statuses
        assert secured.send("DELETE", path, headers).status_code in statuses
    assert secured.send("PATCH", path, piece | anna, CONTENT).status_code == 201


def test_limit_of_the_token_holds(secured: TusUploads) -> None:
    headers = tokens.bearer(tokens.good(max_bytes=50))
    assert secured.send("POST", "/upload", LENGTH | NAMED | headers).status_code == 413
    deferred = secured.send("POST", "/upload", DEFER | NAMED | headers)
    piece = {"Upload-Offset": "0", "Content-Type": OFFSET_TYPE} | headers
    assert secured.send("PATCH", path_of(deferred), piece, CONTENT).status_code == 413
