"""Requests for one resumable upload that overtake each other, and S3 that is slow or fails, while a gateway waits."""

from __future__ import annotations

import base64
import hashlib
import importlib
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from handler.app import create_app
from handler.problems import StorageUnavailable
from handler.settings import Settings
from handler.storage import deadline
from handler.web.tokens import mint

from ..conftest import BUCKET
from ..support import samples
from ..support.lambda_runtime import SECRET, Context, let_a_gateway_wait
from ..support.s3_events import object_created, queued
from ..support.tokens import bearer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask.testing import FlaskClient
    from mypy_boto3_s3 import S3Client
    from werkzeug.test import TestResponse

TUS = {"Tus-Resumable": "1.0.0"}
GOOD, BAD = b"0123456789", b"\x00" * 10


class Uploads:
    """A client behind a gateway, and the calls that its requests make to S3."""

    def __init__(self, client: FlaskClient, s3: Any) -> None:
        self.client = client
        self._s3 = s3
        self._call = s3._make_api_call
        self.calls: Counter[str] = Counter()
        s3._make_api_call = self._make_api_call
        self.before: Callable[[str, str], None] = lambda _operation, _key: None
        self.after: Callable[[str, str], None] = lambda _operation, _key: None

    def _make_api_call(self, operation: str, arguments: dict[str, Any]) -> Any:
        key = arguments.get("Key") or arguments.get("Prefix") or ""
        self.calls[operation] += 1
        self.before(operation, key)
        response = self._call(operation, arguments)
        self.after(operation, key)
        return response

    def begun(self, *pieces: bytes, name: str = "a.txt", length: int = 10) -> str:
        created = self.client.post(f"/upload?filename={name}", headers=TUS | {"Upload-Length": str(length)})
        url: str = created.headers["Location"]
        offset = 0
        for piece in pieces:
            assert self.append(url, offset, piece).status_code == 204
            offset += len(piece)
        return url

    def append(self, url: str, offset: int, content: bytes, **headers: str) -> TestResponse:
        fields = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.patch(url, data=content, headers=TUS | fields | sent)

    def status(self, url: str) -> dict[str, Any]:
        body: dict[str, Any] = self.client.get(url).json or {}
        return body

    def keys(self, prefix: str) -> list[str]:
        listed = self._call("ListObjectsV2", {"Bucket": BUCKET, "Prefix": prefix})
        return [entry["Key"] for entry in listed.get("Contents", [])]

    def promote(self) -> None:
        """Handle the event of the only object under ``incoming/``."""
        (key,) = self.keys("incoming/")
        head = self._call("HeadObject", {"Bucket": BUCKET, "Key": key})
        handler = importlib.import_module("handler.lambda_function").promote_handler
        created = object_created(BUCKET, key, version=head["VersionId"])
        created["detail"]["object"]["size"] = head["ContentLength"]
        handler(queued(created), Context())


@pytest.fixture
def uploads(s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Uploads]:  # noqa: ARG001
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "promote")
    monkeypatch.setenv("UPLOAD_BUCKET", BUCKET)
    monkeypatch.setenv("TOKEN_SECRET", SECRET)
    sys.modules.pop("handler.lambda_function", None)
    app = create_app(Settings.from_environ({"UPLOAD_BUCKET": BUCKET, "TOKEN_SECRET": SECRET}))
    let_a_gateway_wait(monkeypatch, app)
    client = app.test_client()
    client.environ_base |= {"HTTP_AUTHORIZATION": bearer(mint(SECRET, expires_seconds=600))["Authorization"]}
    yield Uploads(client, app.extensions["services"].storage.client)
    sys.modules.pop("handler.lambda_function", None)


def once(call: Callable[[], object], *, operation: str, prefix: str) -> Callable[[str, str], None]:
    """Return a function that makes a call at the first call to S3 of this kind."""
    left = [call]

    def see(made: str, key: str) -> None:
        if left and made == operation and key.startswith(prefix):
            left.pop()()

    return see


def test_piece_that_arrives_after_the_refusal_does_not_change_the_verdict(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two clients send the last piece. The write of the first arrives after the pieces of the second were discarded."""
    monkeypatch.setattr("handler.inspection.policy.Policy.inspect_beginning", lambda *_, **__: None)
    url = uploads.begun()
    faster: list[TestResponse] = []
    uploads.before = once(lambda: faster.append(uploads.append(url, 0, BAD)), operation="PutObject", prefix="chunks/")
    slower = uploads.append(url, 0, GOOD)
    assert faster[0].status_code == slower.status_code == 422
    assert uploads.status(url)["status"] == "refused"
    assert uploads.keys("files/") == []


@pytest.mark.parametrize("digest", ["", "sha1"])
def test_stale_piece_of_a_wrong_type_ends_nothing(uploads: Uploads, digest: str) -> None:
    """Two clients send a piece. Only one of them is appended, and the other one is refused for its own bytes."""
    good, bad = samples.png()[:40], b"<!doctype html>" * 3
    url = uploads.begun(name="photo.png", length=len(samples.png()))
    uploads.after = once(lambda: uploads.append(url, 0, good), operation="ListObjectsV2", prefix="chunks/")
    checksum = base64.b64encode(hashlib.sha1(bad, usedforsecurity=False).digest()).decode()
    stale = uploads.append(url, 0, bad, **({"Upload_Checksum": f"sha1 {checksum}"} if digest else {}))
    assert (stale.status_code, stale.headers["Upload-Offset"]) == (409, "40")
    assert uploads.append(url, 40, samples.png()[40:]).status_code == 201


@pytest.mark.parametrize(
    ("faster", "status", "problem"),
    [
        ("DELETE", 404, "upload-not-found"),
        ("a refusal", 422, "content-mismatch"),
        ("the file", 409, "mismatching-upload-offset"),
    ],
)
def test_refused_request_gets_the_first_verdict(uploads: Uploads, faster: str, status: int, problem: str) -> None:
    """Another request ends the upload while this request, whose bytes are too many, is about to."""
    url = uploads.begun()
    end: dict[str, Callable[[], object]] = {
        "DELETE": lambda: uploads.client.delete(url, headers=TUS),
        "a refusal": lambda: uploads.append(url, 0, BAD),
        "the file": lambda: uploads.append(url, 0, GOOD),
    }
    uploads.after = once(end[faster], operation="ListObjectsV2", prefix="chunks/")
    slower = uploads.append(url, 0, GOOD + b"more")
    assert (slower.status_code, (slower.json or {})["type"].rpartition(":")[2].rpartition("#")[2]) == (status, problem)


@pytest.mark.parametrize("step", ["ListObjectVersions chunks/", "PutObject files/", "ListObjectVersions files/"])
def test_file_that_takes_too_long_is_promoted_by_its_event(uploads: Uploads, step: str) -> None:
    operation, _, prefix = step.partition(" ")
    url = uploads.begun(b"01234")
    uploads.after = once(lambda: deadline._deadline.set(0.0), operation=operation, prefix=prefix)
    with deadline.deadline(seconds=60):  # the test client runs the request in this context
        response = uploads.append(url, 5, b"56789")
    if step == "ListObjectVersions files/":  # the last call before the clean-up
        assert response.status_code == 201
        assert len(uploads.keys("chunks/")) == 2, "the facts and the ending"
        return
    assert (response.status_code, response.headers["Upload-Complete"]) == (202, "?1")
    assert uploads.keys("incoming/")
    uploads.promote()
    assert uploads.status(url)["status"] == "stored"
    assert uploads.keys("incoming/") == []
    assert len(uploads.keys("chunks/")) == 2, "the facts and the ending"


def test_failed_clean_up_does_not_hide_the_verdict(uploads: Uploads) -> None:
    url = uploads.begun(b"01234")

    def fail() -> None:
        raise StorageUnavailable("S3 is slow")

    uploads.before = once(fail, operation="DeleteObjects", prefix="")
    assert uploads.append(url, 5, b"56789").status_code == 201
    assert uploads.status(url)["status"] == "stored"


@pytest.mark.parametrize("request_again", ["GET", "PATCH"])
def test_cheap_request_reads_no_large_file(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch, request_again: str
) -> None:
    """The function ended in the middle of the promotion. Everyone who has the upload id may ask for the status."""
    monkeypatch.setattr("handler.resumable.uploads.READ_FOR_STATUS_BYTES", 9)
    url = uploads.begun(b"01234")

    def fail() -> None:
        raise StorageUnavailable("the function ended")

    uploads.before = once(fail, operation="ListObjectVersions", prefix="chunks/")
    assert uploads.append(url, 5, b"56789").status_code == 503
    uploads.calls.clear()
    if request_again == "GET":
        assert uploads.status(url)["status"] == "pending"
    else:
        assert uploads.append(url, 5, b"56789").status_code == 202
    assert uploads.calls["GetObject"] <= 3, "the facts, the refusal, and the first piece for the early check"
    uploads.promote()
    assert uploads.status(url)["status"] == "stored"


def test_early_check_reads_few_pieces(uploads: Uploads) -> None:
    url = uploads.begun(*[b"x"] * 20, length=1000)
    uploads.calls.clear()
    assert uploads.append(url, 20, b"x" * 100).status_code == 204
    assert uploads.calls == {"GetObject": 1, "ListObjectsV2": 2, "PutObject": 1}
