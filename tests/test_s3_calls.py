"""docs/s3-calls.md: the S3 calls of each request. The tests expect the table, and every route must be in it."""

from __future__ import annotations

import hashlib
import importlib
import io
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import jwt
import pytest

from handler.app import create_app
from handler.settings import Settings
from handler.web.access import SCOPES
from handler.web.tokens import mint

from .conftest import BUCKET
from .support import samples
from .support.direct_client import MIB, DirectClient
from .support.lambda_runtime import SECRET, Context, let_a_gateway_wait
from .support.s3_events import object_created, queued
from .support.stored_files import put
from .support.tokens import bearer
from .support.widget_pieces import Dropzone, FilePond

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask
    from flask.testing import FlaskClient
    from mypy_boto3_s3 import S3Client

DOCUMENT = (Path(__file__).parent.parent / "docs" / "s3-calls.md").read_text(encoding="utf-8")
CHECK = "check"
"""In the table: the reads of the inspection, whose number depends on the type of the file."""
CALLS: dict[str, list[str]] = {
    label: [] if calls == "none" else calls.split(", ")
    for label, calls in re.findall(r"^\| (.+?) \| \d+(?: \+ check)? \| (.+?) \|$", DOCUMENT, re.MULTILINE)
}
NUMBERS: dict[str, str] = dict(re.findall(r"^\| (.+?) \| (\d+(?: \+ check)?) \| .+? \|$", DOCUMENT, re.MULTILINE))
OFFLINE = {"/upload/s3/incoming", "/upload/s3/incoming/<ticket>"}
Ask = Callable[[], Any]


@dataclass
class Case:
    """An app over a bucket, a token, and the S3 calls of the app."""

    app: Flask
    s3: S3Client
    calls: list[str] = field(default_factory=list)

    @property
    def holder(self) -> FlaskClient:
        client = self.app.test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {mint(SECRET, expires_seconds=600, scopes=SCOPES)}"
        return client

    @property
    def anyone(self) -> FlaskClient:
        return self.app.test_client()

    @property
    def direct(self) -> DirectClient:
        return DirectClient(client=self.holder)

    def stored(self, **claims: Any) -> dict[str, Any]:
        """Store a file by one request, with a token with these claims."""
        token = mint(SECRET, expires_seconds=600, **claims)
        headers = {"Authorization": f"Bearer {token}"}
        (file,) = (self.anyone.put("/upload/a.txt", data=samples.TEXT, headers=headers).json or {})["files"]
        return dict(file)

    def sent(self, *parts: bytes, filename: str = "a.txt", **declared: Any) -> dict[str, Any]:
        """An upload whose parts have arrived."""
        upload = self.direct.begun(filename, **declared)
        for number, part in enumerate(parts, 1):
            assert self.direct.put(upload, number, part).status == 200
        return upload

    def posted(self, *contents: bytes, filename: str = "a.txt", **query: Any) -> dict[str, Any]:
        """Send a form once for each content."""
        form: dict[str, Any] = self.direct.presigned_post(filename, **query).json or {}
        for content in contents:
            assert self.direct.post(form, content).status == 204
        return form

    def versions(self, form: dict[str, Any]) -> list[str]:
        """Return the versions of an upload, the oldest first."""
        listed = self.s3.list_object_versions(Bucket=BUCKET, Prefix=f"incoming/{form['id']}")["Versions"]
        return [version["VersionId"] for version in reversed(listed)]

    def event(self, upload: dict[str, Any], version: str) -> Any:
        """Have the promote function handle the event."""
        module = sys.modules["handler.lambda_function"]
        event = queued(object_created(BUCKET, f"incoming/{upload['id']}", version=version))
        return module.promote_handler(event, Context())

    def note(self, app: Flask) -> None:
        client = app.extensions["services"].storage.client
        call = client._make_api_call

        def noted(operation: str, arguments: dict[str, Any]) -> Any:
            is_check = operation == "GetObject" and arguments["Key"].startswith("incoming/")
            if not (is_check and self.calls[-1:] == [CHECK]):
                self.calls.append(CHECK if is_check else operation)
            return call(operation, arguments)

        client._make_api_call = noted


@pytest.fixture
def case(s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "promote")
    monkeypatch.setenv("UPLOAD_BUCKET", BUCKET)
    monkeypatch.setenv("TOKEN_SECRET", SECRET)
    sys.modules.pop("handler.lambda_function", None)
    promote = importlib.import_module("handler.lambda_function")
    app = create_app(Settings.from_environ({"UPLOAD_BUCKET": BUCKET, "TOKEN_SECRET": SECRET}))
    let_a_gateway_wait(monkeypatch, app)
    case = Case(app=app, s3=s3)
    for one_app in (app, promote._app):
        one_app.extensions["services"].direct_uploads.secret()  # which is read once in five minutes
        case.note(one_app)
    yield case
    sys.modules.pop("handler.lambda_function", None)


def to(method: str, path: str, **more: Any) -> Callable[[Case], Ask]:
    return lambda case: lambda: case.holder.open(path, method=method, **more)


KEY = {"Idempotency-Key": '"a key"'}


def keyed(case: Case, content: bytes = samples.TEXT, *, name: str = "a.txt") -> Ask:
    """A request with an idempotency key."""
    return partial(case.holder.put, f"/upload/{name}", data=content, headers=KEY)


def of_stored(method: str, **claims: Any) -> Callable[[Case], Ask]:
    """A request for a file that was stored with a token with these claims."""

    def prepare(case: Case) -> Ask:
        url = case.stored(**claims)["url"]
        return lambda: case.holder.open(url, method=method)

    return prepare


def status_of(prepare: Callable[[Case], dict[str, Any]]) -> Callable[[Case], Ask]:
    def prepared(case: Case) -> Ask:
        url = prepare(case)["status"]
        return lambda: case.anyone.get(url)

    return prepared


def completed(case: Case, *parts: bytes, **declared: Any) -> dict[str, Any]:
    upload = case.sent(*parts, **declared)
    case.direct.complete(upload)
    return upload


def completes_as_listed(content: bytes, **declared: Any) -> Callable[[Case], Ask]:
    """A completion by a client that announced the size, and lists its part."""

    def prepare(case: Case) -> Ask:
        upload = case.direct.begun(size=len(content), partSize=len(content), **declared)
        parts = [case.direct.put(upload, 1, content)]
        return lambda: case.direct.complete(upload, parts)

    return prepare


def hashed_by_s3(case: Case) -> Ask:
    upload = case.sent(LARGE, filename="a.png")
    file = (case.direct.complete(upload).json or {})["files"][0]
    assert file["sha256"] == hashlib.sha256(LARGE).hexdigest()
    return partial(case.anyone.get, file["url"])


def judged(case: Case, content: bytes, **query: Any) -> dict[str, Any]:
    form = case.posted(content, **query)
    case.event(form, case.versions(form)[0])
    return form


def completes(*parts: bytes, times: int = 1, **declared: Any) -> Callable[[Case], Ask]:
    def prepare(case: Case) -> Ask:
        upload = case.sent(*parts, **declared)
        for _ in range(times - 1):
            case.direct.complete(upload)
        return lambda: case.direct.complete(upload)

    return prepare


def events(*contents: bytes, after: int = 0, filename: str = "a.txt", **query: Any) -> Callable[[Case], Ask]:
    """Return the last event of a form that was sent several times.

    :param after: how many events came before it, of the first sendings.
    """

    def prepare(case: Case) -> Ask:
        form = case.posted(*contents, filename=filename, **query)
        versions = case.versions(form)
        for version in versions[:after]:
            case.event(form, version)
        return lambda: case.event(form, versions[-1])

    return prepare


def next_page(case: Case) -> Ask:
    for _ in range(2):
        case.stored()
    cursor = (case.holder.get("/files?limit=1").json or {})["cursor"]
    return partial(case.holder.get, f"/files?limit=1&cursor={cursor}")


def expired(case: Case) -> Ask:
    stored = datetime.now(UTC) - timedelta(days=2)
    file = put(case.app.extensions["services"].storage, keep_days=1, stored=stored.replace(microsecond=0))
    return partial(case.anyone.get, f"/{file.key}")


def event_after_completion(content: bytes, filename: str = "a.txt") -> Callable[[Case], Ask]:
    def prepare(case: Case) -> Ask:
        upload = case.sent(content, filename=filename)
        assert case.direct.complete(upload).status_code == 200
        (version,) = case.versions(upload)  # which the completion has left to the event
        return lambda: case.event(upload, version)

    return prepare


def resumable(*pieces: bytes, repeat: bool = False, method: str = "PATCH") -> Callable[[Case], Ask]:
    """A request for a resumable upload of 10 bytes: the last of these pieces, or another method after all of them.

    :param repeat: the last piece is sent once before.
    """

    def prepare(case: Case) -> Ask:
        created = case.holder.post("/upload", headers=TUS | {"Upload-Length": "10", "Upload-Metadata": "name YS50eHQ="})
        path, offset = urlsplit(created.headers["Location"]).path, 0
        asks: list[Ask] = []
        for piece in pieces:
            headers = TUS | {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
            asks.append(partial(case.holder.patch, path, data=piece, headers=headers))
            offset += len(piece)
        if method == "PATCH":
            asks = asks + asks[-1:] if repeat else asks
        else:
            asks.append(partial(case.holder.open, path, method=method, headers=TUS))
        for ask in asks[:-1]:
            ask()
        return asks[-1]

    return prepare


def filepond(*pieces: bytes, repeat: bool = False, method: str = "PATCH") -> Callable[[Case], Ask]:
    """A request of FilePond's for an upload of 10 bytes, as :func:`resumable`. Without a piece, the POST."""

    def prepare(case: Case) -> Ask:
        pond = FilePond(case.holder, b"hello you!", name="a.txt")
        if not pieces and method == "PATCH":
            return pond.begin
        pond.begin()
        offset = 0
        for piece in pieces[:-1]:
            pond.patch(offset, piece)
            offset += len(piece)
        if repeat:
            pond.patch(offset, pieces[-1])
        if method == "HEAD":
            pond.patch(offset, pieces[-1])
            return pond.offset
        return partial(pond.patch, offset, pieces[-1])

    return prepare


def dropzone(*indexes: int) -> Callable[[Case], Ask]:
    """The last of these pieces of Dropzone's, after the others. The file has three."""

    def prepare(case: Case) -> Ask:
        zone = Dropzone(case.holder, b"hello you!", name="a.txt", chunk_bytes=4)
        for index in indexes[:-1]:
            zone.post(index)
        return partial(zone.post, indexes[-1])

    return prepare


TUS = {"Tus-Resumable": "1.0.0"}
KEYED = TUS | {"Upload-Length": "10", "Idempotency-Key": "1"}
HTML = b"<html><script>alert(1)</script>"
LARGE = samples.png(9 * MIB)
DIGEST = hashlib.sha256(samples.TEXT).hexdigest()
TWO_PARTS: dict[str, Any] = {"filename": "a.png", "size": 6 * MIB, "partSize": 5 * MIB}
ID = "0" * 32

SCENARIOS: dict[str, Callable[[Case], Ask]] = {
    "`GET /`": to("GET", "/"),
    "`GET /static/<version>/<name>`": to("GET", "/static/1/page.js"),
    "`GET /health`": to("GET", "/health"),
    "`GET /openapi.json`": to("GET", "/openapi.json"),
    "`GET /upload`": to("GET", "/upload"),
    "`POST /upload`, for each file": lambda case: (
        lambda: case.holder.post("/upload", data={"file": (io.BytesIO(samples.TEXT), "a.txt")})
    ),
    "`POST /upload`, with `?filename=`": to("POST", "/upload?filename=a.txt", data=samples.TEXT),
    "`POST /upload`, a resumable upload": to(
        "POST", "/upload", headers=TUS | {"Upload-Length": "10", "Upload-Metadata": "name YS50eHQ="}
    ),
    "`POST /upload`, a resumable upload that comes whole": to(
        "POST",
        "/upload?filename=a.txt",
        data=samples.TEXT,
        headers=TUS | {"Upload-Length": str(len(samples.TEXT)), "Content-Type": "application/offset+octet-stream"},
    ),
    "`POST /upload`, a resumable upload with an `Idempotency-Key`": to("POST", "/upload?filename=a.txt", headers=KEYED),
    "`POST /upload`, a resumable upload with an `Idempotency-Key`, again": lambda case: (
        case.holder.post("/upload?filename=a.txt", headers=KEYED),
        to("POST", "/upload?filename=a.txt", headers=KEYED)(case),
    )[1],
    "`PATCH /upload/<name>`, the first piece": resumable(b"hello"),
    "`PATCH /upload/<name>`, a later piece": resumable(b"hello", b" you"),
    "`PATCH /upload/<name>`, the last piece": resumable(b"hello ", b"you!"),
    "`PATCH /upload/<name>`, the last piece again": resumable(b"hello ", b"you!", repeat=True),
    "`PATCH /upload/<name>`, at another offset": resumable(b"hello", b"you", repeat=True),
    "`GET /upload/<name>`, a resumable upload": resumable(b"hello", method="GET"),
    "`GET /upload/<name>`, a resumable upload that is stored": resumable(b"hello you!", method="GET"),
    "`POST /upload`, FilePond's first request": filepond(),
    "`PATCH /upload`, FilePond's first piece": filepond(b"hello"),
    "`PATCH /upload`, a later piece": filepond(b"hello", b" you"),
    "`PATCH /upload`, a later piece again": filepond(b"hello", b" you", repeat=True),
    "`PATCH /upload`, the last piece": filepond(b"hello ", b"you!"),
    "`GET /upload`, FilePond's offset (HEAD)": filepond(b"hello", method="HEAD"),
    "`POST /upload`, Dropzone's first piece": dropzone(0),
    "`POST /upload`, a later piece": dropzone(0, 1),
    "`POST /upload`, a later piece again": dropzone(0, 1, 1),
    "`POST /upload`, the last piece": dropzone(0, 1, 2),
    "`POST /upload`, a piece after the last": dropzone(0, 1, 2, 1),
    "`DELETE /upload/<name>`": resumable(b"hello", method="DELETE"),
    "`PUT /upload`": to("PUT", "/upload", data=b"x"),
    "`PUT /upload`, with `?filename=`": to("PUT", "/upload?filename=a.txt", data=samples.TEXT),
    "`POST /upload/<name>`": to("POST", "/upload/a.txt", data=samples.TEXT),
    "`PUT /upload/<name>`": to("PUT", "/upload/a.txt", data=samples.TEXT),
    "`PUT /upload/<name>`, refused": to("PUT", "/upload/a.png", data=HTML),
    "`PUT /upload/<name>`, without a token": lambda case: lambda: case.anyone.put("/upload/a.txt", data=samples.TEXT),
    "`PUT /upload/<name>`, a file that expires": lambda case: (
        lambda: case.anyone.put(
            "/upload/a.txt", data=samples.TEXT, headers=bearer(mint(SECRET, expires_seconds=600, keep_days=7))
        )
    ),
    "`PUT /upload/<name>`, with an `Idempotency-Key`": keyed,
    "`PUT /upload/<name>`, with an `Idempotency-Key`, again": lambda case: (keyed(case)(), keyed(case))[1],
    "`PUT /upload/<name>`, with an `Idempotency-Key`, another file": lambda case: (
        keyed(case)(),
        keyed(case, name="b.txt"),
    )[1],
    "`PUT /upload/<name>`, with an `Idempotency-Key`, a deleted file": lambda case: (
        case.holder.delete((keyed(case)().json or {})["url"]),
        keyed(case),
    )[1],
    "`PUT /upload/<name>`, with an `Idempotency-Key`, refused": lambda case: keyed(case, HTML, name="a.png"),
    "`POST /upload`, with an `Idempotency-Key`, for each file": lambda case: (
        lambda: case.holder.post("/upload", data={"file": (io.BytesIO(samples.TEXT), "a.txt")}, headers=KEY)
    ),
    "`GET /files`": lambda case: (case.stored(), partial(case.holder.get, "/files"))[1],
    "`GET /files`, the next page": next_page,
    "`GET /files`, without a token": lambda case: partial(case.anyone.get, "/files"),
    "`GET /files/<file_id>/<name>`": of_stored("GET"),
    "`GET /files/<file_id>/<name>`, a file that S3 hashed": hashed_by_s3,
    "`GET /files/<file_id>/<name>`, expired": expired,
    "`GET /files/<file_id>/<name>`, no such file": to("GET", f"/files/{ID}/a.txt"),
    "`DELETE /files/<file_id>/<name>`": of_stored("DELETE"),
    "`GET /files/<folder>/<file_id>/<name>`": of_stored("GET", folder="u7"),
    "`DELETE /files/<folder>/<file_id>/<name>`": of_stored("DELETE", folder="u7"),
    "`GET /upload/<name>`, a file's id": lambda case: partial(case.anyone.get, f"/upload/{case.stored()['id']}"),
    "`GET /upload/<name>`, an unknown id": lambda case: partial(case.anyone.get, f"/upload/{ID}"),
    "`GET /upload/<name>`, a file's id, with a token": lambda case: partial(
        case.holder.get, f"/upload/{case.stored()['id']}"
    ),
    "`GET /upload/<name>`, the id of a refused file, with a token": lambda case: partial(
        case.holder.get, f"/upload/{judged(case, HTML, filename='a.png')['id']}"
    ),
    "`GET /upload/<name>`, an unknown id, with a token": to("GET", f"/upload/{ID}"),
    "`GET /upload/<name>`, neither an id nor an upload id": to("GET", "/upload/a.b.c"),
    "`GET /upload/<name>`, parts that are pending": status_of(lambda case: case.sent(b"x")),
    "`GET /upload/<name>`, parts that are stored": status_of(lambda case: completed(case, samples.TEXT)),
    "`GET /upload/<name>`, parts that were refused": status_of(lambda case: completed(case, HTML, filename="a.png")),
    "`GET /upload/<name>`, a form that was not sent": status_of(lambda case: case.posted()),
    "`GET /upload/<name>`, a form before its event": status_of(lambda case: case.posted(samples.TEXT)),
    "`GET /upload/<name>`, a form that is stored": status_of(lambda case: judged(case, samples.TEXT)),
    "`GET /upload/<name>`, a form that was refused": status_of(lambda case: judged(case, HTML, filename="a.png")),
    "`GET /upload/s3/params`": to("GET", "/upload/s3/params?filename=a.txt"),
    "`POST /upload/s3/multipart`": to("POST", "/upload/s3/multipart", json={"filename": "a.txt"}),
    "`GET /upload/s3/multipart/<upload_id>/<part_number>`": lambda case: partial(
        case.direct.part_url, case.direct.begun(**TWO_PARTS), 2
    ),
    "`GET /upload/s3/multipart/<upload_id>/<part_number>`, without a size": lambda case: partial(
        case.direct.part_url, case.direct.begun("a.png"), 2
    ),
    "`GET /upload/s3/multipart/<upload_id>`": lambda case: partial(case.direct.parts, case.sent(b"x")),
    "`DELETE /upload/s3/multipart/<upload_id>`": lambda case: partial(case.direct.abort, case.sent(b"x")),
    "`POST /upload/s3/multipart/<upload_id>/complete`": completes(samples.TEXT),
    "`POST /upload/s3/multipart/<upload_id>/complete`, with its `size` and all parts": completes_as_listed(
        samples.TEXT, filename="a.txt"
    ),
    "`POST /upload/s3/multipart/<upload_id>/complete`, with both, of more than 8 MiB": completes_as_listed(
        b"a line\n" * (2 * MIB), filename="a.txt"
    ),
    "`POST /upload/s3/multipart/<upload_id>/complete`, with its `sha256`": completes(samples.TEXT, sha256=DIGEST),
    "`POST /upload/s3/multipart/<upload_id>/complete`, refused": completes(HTML, filename="a.png"),
    "`POST /upload/s3/multipart/<upload_id>/complete`, a part is missing": completes(samples.png(5 * MIB), **TWO_PARTS),
    "`POST /upload/s3/multipart/<upload_id>/complete`, again": completes(samples.TEXT, times=2),
    "Event of a form": events(samples.TEXT),
    "Event of a form, refused": events(HTML, filename="a.png"),
    "Event of a form that was sent again": events(samples.TEXT, b"x", after=1),
    "Event of a form that was sent again, refused": events(HTML, b"x", after=1, filename="a.png"),
    "Event of a form that was sent again, before the first was judged": events(samples.TEXT, b"x"),
    "Event of an upload in parts that its completion has judged": event_after_completion(b"bytes"),
    "Event of an upload in parts that its completion has judged, of more than 8 MiB": event_after_completion(
        LARGE, "a.png"
    ),
}


def test_every_row_is_counted() -> None:
    assert set(SCENARIOS) == set(CALLS)


@pytest.mark.parametrize("label", SCENARIOS)
def test_request_makes_the_documented_calls(case: Case, label: str) -> None:
    ask = SCENARIOS[label](case)
    case.calls.clear()
    ask()
    assert case.calls == CALLS[label]
    calls = [call for call in CALLS[label] if call != CHECK]
    assert NUMBERS[label] == f"{len(calls)}" + (" + check" if CHECK in CALLS[label] else "")


def test_every_route_is_in_the_table(case: Case) -> None:
    routes = {
        f"`{method} {rule.rule}`"
        for rule in case.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.rule.startswith("/upload/t/")
    }
    assert {label.partition(",")[0] for label in CALLS if label.startswith("`")} == routes


def test_token_in_the_path_costs_no_call(case: Case) -> None:
    token = jwt.encode({"exp": int(time.time()) + 600}, SECRET, algorithm="HS256")
    direct = DirectClient(client=case.anyone, prefix=f"/upload/t/{token}/s3")
    direct.begun("a.txt")
    assert case.calls == ["CreateMultipartUpload"]


@pytest.mark.parametrize(
    ("method", "path", "status", "calls"),
    [
        ("GET", "", 200, []),
        ("POST", "", 201, ["PutObject"]),
        ("POST", "?filename=a.txt", 201, ["PutObject"]),
        ("PUT", "?filename=a.txt", 201, ["PutObject"]),
        ("POST", "/a.txt", 201, ["PutObject"]),
        ("PUT", "/a.txt", 201, ["PutObject"]),
    ],
)
def test_token_in_the_path_costs_an_upload_no_call(
    case: Case, method: str, path: str, status: int, calls: list[str]
) -> None:
    token = jwt.encode({"exp": int(time.time()) + 600}, SECRET, algorithm="HS256")
    body = {"file": (io.BytesIO(samples.TEXT), "a.txt")} if (method, path) == ("POST", "") else samples.TEXT
    response = case.anyone.open(f"/upload/t/{token}{path}", method=method, data=body)
    assert (response.status_code, case.calls) == (status, calls)


ANYONE = [
    "/",
    "/health",
    "/openapi.json",
    "/upload",
    f"/upload/{ID}",
    "/upload/a.txt",
    "/upload/s3/params?filename=a.txt",
    "/upload/s3/multipart/x",
    "/upload/s3/multipart/x/1",
    f"/files/{ID}/a.txt",
    "/files",
    "/upload?filename=a.txt",
    "/upload/t/x",
    "/upload/t/x/a.txt",
    "/upload/t/x/s3/params?filename=a.txt",
]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ANYONE)
def test_request_without_a_token_makes_at_most_two_calls(case: Case, method: str, path: str) -> None:
    case.app.extensions["services"].direct_uploads._secret = None  # as after a cold start
    case.anyone.open(path, method=method, data=b"x" if method in ("POST", "PUT") else None)
    assert len(case.calls) <= (1 if path == f"/upload/{ID}" else 2)
