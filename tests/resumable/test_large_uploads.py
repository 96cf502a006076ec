"""A resumable upload that is too large for its last request: the event of a manifest promotes the file."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from handler.app import create_app
from handler.settings import Settings
from handler.web.tokens import mint

from ..conftest import BUCKET
from ..support.lambda_runtime import SECRET, Context, let_a_gateway_wait
from ..support.s3_events import object_created, queued
from ..support.tokens import bearer

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from mypy_boto3_s3 import S3Client

TUS = {"Tus-Resumable": "1.0.0"}
TEXT = b"0123456789"


@pytest.fixture
def promote(s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:  # noqa: ARG001
    """The function that handles the bucket's events."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "promote")
    monkeypatch.setenv("UPLOAD_BUCKET", BUCKET)
    monkeypatch.setenv("TOKEN_SECRET", SECRET)
    sys.modules.pop("handler.lambda_function", None)
    yield importlib.import_module("handler.lambda_function").promote_handler
    sys.modules.pop("handler.lambda_function", None)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    app = create_app(Settings.from_environ({"UPLOAD_BUCKET": BUCKET, "TOKEN_SECRET": SECRET}))
    let_a_gateway_wait(monkeypatch, app)
    client = app.test_client()
    client.environ_base |= {"HTTP_AUTHORIZATION": bearer(mint(SECRET, expires_seconds=600))["Authorization"]}
    return client


@pytest.mark.parametrize("limit", ["READ_IN_TIME_BYTES", "MAX_READS_IN_TIME"])
@pytest.mark.parametrize("content", [TEXT, b"\x00" * 10], ids=["good", "refused"])
def test_event_of_the_manifest_promotes_the_file(
    promote: Any, client: FlaskClient, s3: S3Client, monkeypatch: pytest.MonkeyPatch, *, limit: str, content: bytes
) -> None:
    monkeypatch.setattr(f"handler.resumable.uploads.{limit}", 1)
    monkeypatch.setattr("handler.resumable.uploads.READ_FOR_STATUS_BYTES", 1)
    created = client.post("/upload?filename=a.txt", headers=TUS | {"Upload-Length": "10"})
    url = created.headers["Location"]
    for offset in (0, 5):
        headers = TUS | {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        response = client.patch(url, data=content[offset : offset + 5], headers=headers)
    assert response.status_code == 202
    assert response.headers["Upload-Complete"] == "?1"
    assert response.json
    assert response.json["location"] == response.headers["Location"] == url
    assert (client.get(url).json or {})["status"] == "pending"
    (manifest,) = s3.list_objects_v2(Bucket=BUCKET, Prefix="incoming/")["Contents"]
    version = s3.head_object(Bucket=BUCKET, Key=manifest["Key"])["VersionId"]
    for _ in range(2):  # the event can come twice
        promote(queued(object_created(BUCKET, manifest["Key"], version=version)), Context())
    status = client.get(url).json or {}
    assert status["status"] == ("stored" if content == TEXT else "refused")
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET, Prefix="incoming/")
    assert client.head(url).status_code == (204 if content == TEXT else 410)
