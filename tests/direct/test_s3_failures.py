"""Failures of S3 at each call that a verdict takes."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any

import pytest

from ..conftest import BUCKET
from ..support.direct_client import SCRIPT, DirectClient, content_of, judge, stored
from ..support.http_client import problem
from ..support.promotions import FAULTS, Faults, visible

if TYPE_CHECKING:
    from collections.abc import Callable


# S3 fails, at each of the calls that a verdict takes.


def way(kind: str, direct: DirectClient, unjudged: Callable[[bytes], str], data: bytes) -> str:
    if kind == "form":
        return unjudged(data)
    upload = direct.begun("a.txt", sha256=hashlib.sha256(data).hexdigest())
    direct.put(upload, 1, data)
    uploads = direct.client.application.extensions["services"].direct_uploads
    (listed,) = uploads._client.list_multipart_uploads(Bucket=BUCKET, Prefix=upload["key"])["Uploads"]
    uploads.complete(upload["id"], listed["UploadId"], uploads.parts(upload["id"], listed["UploadId"]))
    file_id: str = upload["id"]
    return file_id


@pytest.mark.parametrize("kind", ["s3"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("by", ["form", "parts"])
@pytest.mark.parametrize("data", [b"good", SCRIPT])
def test_promotion_survives_a_failure_of_any_s3_call(
    direct: DirectClient,
    unjudged: Callable[[bytes], str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    fault: str,
    by: str,
    data: bytes,
    stored_keys: Callable[[], list[str]],
    incoming: Callable[[], list[str]],
) -> None:
    client = direct.client.application.extensions["services"].storage.client
    failed = 0
    for at in range(100):
        file_id = way(by, direct, unjudged, data)
        faults = Faults(client, fault=fault, at=at)
        with monkeypatch.context() as patch:
            patch.setattr(client, "_make_api_call", faults)
            response = direct.status(file_id)
        if response.status_code == 503:
            failed += 1
        else:
            assert response.status_code == 200, response.text
        for key in visible(stored_keys):  # whole, and good
            assert client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"good"
        verdict = judge(direct, file_id)
        if data == SCRIPT:
            assert verdict.problem["type"].endswith("content-mismatch")
        else:
            assert verdict.file.id == file_id
            assert stored(direct, file_id) == b"good"
        assert incoming() == []
        if faults.calls <= at:
            break
    assert faults.calls <= at, "there is an end to the calls"
    assert failed >= 5


@pytest.mark.parametrize("kind", ["s3"])
@pytest.mark.parametrize("fault", FAULTS)
def test_upload_survives_a_failure_of_any_s3_call(
    direct: DirectClient, monkeypatch: pytest.MonkeyPatch, fault: str, stored_keys: Callable[[], list[str]]
) -> None:
    """The client repeats each request after a 503, and the upload succeeds."""
    client = direct.client.application.extensions["services"].storage.client

    def until_it_works(ask: Callable[[], Any]) -> Any:
        for _ in range(2):
            response = ask()
            if response.status_code != 503:
                break
        assert response.status_code == 200, response.text
        return response.json

    for at in range(100):
        faults = Faults(client, fault=fault, at=at)
        monkeypatch.setattr(direct.client.application.extensions["services"].direct_uploads, "_secret", None)
        with monkeypatch.context() as patch:
            patch.setattr(client, "_make_api_call", faults)
            upload = until_it_works(lambda: direct.begin("a.txt"))
            url = until_it_works(lambda: direct.part_url(upload, 1))["url"]  # noqa: B023
            direct.put_to(url, b"good")
            until_it_works(lambda: direct.parts(upload))  # noqa: B023
            answer = until_it_works(lambda: direct.complete(upload))  # noqa: B023
            assert until_it_works(lambda: direct.status(upload["id"]))["status"] == "stored"  # noqa: B023
        assert content_of(direct, answer["location"]) == b"good"
        assert f"files/{upload['id']}/a.txt" in stored_keys()
        if faults.calls <= at:
            break
    assert faults.calls <= at


@pytest.mark.parametrize("kind", ["s3"])
@pytest.mark.parametrize("answered", [b"<html>a proxy's page</html>", b"", b"good and more"])
def test_wrong_range_from_s3_does_not_refuse_the_file(
    direct: DirectClient, unjudged: Callable[[bytes], str], monkeypatch: pytest.MonkeyPatch, answered: bytes
) -> None:
    file_id = unjudged(b"good")
    client = direct.client.application.extensions["services"].storage.client
    call = client._make_api_call

    def lie(operation: str, arguments: dict[str, Any]) -> Any:
        response = call(operation, arguments)
        if operation == "GetObject" and arguments["Key"].startswith("incoming/"):
            response["Body"].close()
            response["Body"] = io.BytesIO(answered)
        return response

    with monkeypatch.context() as patch:
        patch.setattr(client, "_make_api_call", lie)
        problem(direct.status(file_id), 503, "storage-unavailable")
    assert stored(direct, file_id) == b"good"
