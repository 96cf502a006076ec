"""The promote function: events of S3, messages of the queue, and its log."""

from __future__ import annotations

import importlib
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from handler.problems import StorageUnavailable
from handler.storage import new_id
from handler.storage.direct import Declaration

from ..conftest import BUCKET
from ..support.direct_client import SCRIPT
from ..support.lambda_runtime import SECRET, Context
from ..support.promotions import Faults, error
from ..support.s3_events import object_created, queued

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


# The function that answers events.


@pytest.fixture
def promote(s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ARG001
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "promote")
    monkeypatch.setenv("UPLOAD_BUCKET", BUCKET)
    monkeypatch.setenv("TOKEN_SECRET", SECRET)
    sys.modules.pop("handler.lambda_function", None)
    return importlib.import_module("handler.lambda_function")


def log_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (line,) = capsys.readouterr().out.splitlines()
    entry: dict[str, Any] = json.loads(line)
    assert entry.pop("milliseconds") >= 0
    assert entry.pop("time")
    return entry


@pytest.mark.parametrize(
    ("data", "files", "problem_type"),
    [
        (b"good", [{"size": 4, "type": "text/plain"}], None),
        (SCRIPT, [], "urn:problem-type:upload:content-mismatch"),
        (None, [], None),
    ],
)
def test_event_promotes_the_upload(
    promote: Any, s3: S3Client, capsys: pytest.CaptureFixture[str], *, data: bytes | None, files: Any, problem_type: Any
) -> None:
    file_id = new_id()
    if data is not None:
        metadata = Declaration(original_name="a.txt", max_bytes=100).as_metadata()
        s3.put_object(Bucket=BUCKET, Key=f"incoming/{file_id}", Body=data, Metadata=metadata)
    capsys.readouterr()
    promote.promote_handler(object_created(BUCKET, f"incoming/{file_id}"), Context())
    expected = {
        "level": "INFO",
        "event": "promotion",
        "request_id": Context.aws_request_id,
        "id": file_id,
        "files": [{"id": file_id, **file} for file in files],
        "problem": problem_type,
    }
    assert log_of(capsys) == expected
    promote.promote_handler(
        object_created(BUCKET, f"incoming/{file_id}"), Context()
    )  # EventBridge delivers at least once
    assert log_of(capsys) == expected
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
    assert keys == ([f"files/{file_id}/a.txt"] if files else [f"refused/{file_id}.json"] if problem_type else [])


def test_event_names_the_folder_and_costs_no_call_more(
    promote: Any, s3: S3Client, capsys: pytest.CaptureFixture[str]
) -> None:
    file_id = new_id()
    declaration = Declaration(original_name="a.txt", max_bytes=100, subject="user-7", meta={"a": 1}, keep_days=7)
    s3.put_object(Bucket=BUCKET, Key=f"incoming/u7/{file_id}", Body=b"good", Metadata=declaration.as_metadata())
    capsys.readouterr()
    storage = promote._app.extensions["services"].storage
    calls: list[str] = []
    call = storage.client._make_api_call

    def noted(operation: str, arguments: dict[str, Any]) -> Any:
        calls.append(operation)
        return call(operation, arguments)

    storage.client._make_api_call = noted
    promote.promote_handler(object_created(BUCKET, f"incoming/u7/{file_id}"), Context())
    assert log_of(capsys)["files"] == [{"id": file_id, "size": 4, "type": "text/plain"}]
    stored = storage.find(file_id, "a.txt", "u7")
    assert (stored.subject, stored.meta, stored.keep_days, stored.folder) == ("user-7", {"a": 1}, 7, "u7")
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == [f"files/u7/{file_id}/a.txt"]
    in_folder = calls[:-1]  # without the find above
    calls.clear()
    s3.put_object(Bucket=BUCKET, Key=f"incoming/{file_id}", Body=b"good", Metadata=declaration.as_metadata())
    promote.promote_handler(object_created(BUCKET, f"incoming/{file_id}"), Context())
    assert calls == in_folder


@pytest.mark.parametrize(
    "key",
    [
        f"files/{'0' * 32}/a.txt",
        f"incoming/{'0' * 32}/a",
        f"incoming/{'0' * 31}",
        f"incoming/{'A' * 32}",
        f"incoming/{'0' * 32}\n",
        f"x/incoming/{'0' * 32}",
        f"incoming/../{'0' * 32}",
        f"incoming//{'0' * 32}",
        f"incoming/u/v/{'0' * 32}",
        f"incoming/{'u' * 65}/{'0' * 32}",
        "incoming/",
        "",
        None,
        5,
        {},
    ],
)
def test_event_about_another_object_is_ignored(promote: Any, key: Any) -> None:
    with pytest.raises(ValueError, match="incoming/ only"):
        promote.promote_handler(object_created(BUCKET, key), Context())


@pytest.mark.parametrize("malformed", [{}, {"detail": None}, {"detail": {"object": {}}}, {"Records": []}, None, []])
def test_malformed_s3_event_is_rejected(promote: Any, malformed: Any) -> None:
    with pytest.raises(ValueError, match="Object Created"):
        promote.promote_handler(malformed, Context())


def test_events_of_queue_messages_are_promoted(promote: Any, s3: S3Client, capsys: pytest.CaptureFixture[str]) -> None:
    events = []
    metadata = Declaration(original_name="a.txt", max_bytes=100).as_metadata()
    for _ in range(2):
        file_id = new_id()
        version = s3.put_object(Bucket=BUCKET, Key=f"incoming/{file_id}", Body=b"good", Metadata=metadata)["VersionId"]
        events.append(object_created(BUCKET, f"incoming/{file_id}", version=version))
    capsys.readouterr()
    promote.promote_handler(queued(*events), Context())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["event"], len(line["files"])) for line in lines] == [("promotion", 1)] * 2
    assert not s3.list_object_versions(Bucket=BUCKET, Prefix="incoming/").get("Versions")


@pytest.mark.parametrize(
    "records",
    [
        [],
        None,
        [None],
        [{}],
        [{"body": None}],
        [{"body": "{"}],
        [{"body": "5"}],
        [{"body": "[]"}],
        [{"body": '{"Records": [{"body": "{}"}]}'}],
    ],
)
def test_malformed_queue_message_is_rejected(promote: Any, records: Any) -> None:
    with pytest.raises(ValueError, match="Object Created"):
        promote.promote_handler({"Records": records}, Context())


def test_failed_promotion_is_logged_with_its_id_and_reason(
    promote: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file_id = new_id()
    client = promote._app.extensions["services"].storage.client
    monkeypatch.setattr(client, "_make_api_call", Faults(client, fault="forbid", at=0))
    capsys.readouterr()
    with pytest.raises(StorageUnavailable):
        promote.promote_handler(queued(object_created(BUCKET, f"incoming/{file_id}")), Context())
    line = json.loads(capsys.readouterr().out)
    assert (line["level"], line["event"], line["id"]) == ("ERROR", "promotion failed", file_id)
    assert line["request_id"] == Context.aws_request_id
    assert "AccessDenied" in line["reason"]


@pytest.mark.parametrize(
    ("operation", "status", "code"),
    [
        ("ListObjectVersions", 403, "AccessDenied"),
        ("GetObject", 400, "KMS.DisabledException"),
        ("GetObject", 403, "AccessDenied"),
        ("PutObject", 403, "AccessDenied"),
    ],
)
def test_log_names_the_call_that_failed_and_its_reason(
    promote: Any, s3: S3Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *,
    operation: str, status: int, code: str
) -> None:  # fmt: skip
    """A missing right, a disabled key and a missing version need different repairs."""
    file_id = new_id()
    metadata = Declaration(original_name="a.txt", max_bytes=100).as_metadata()
    s3.put_object(Bucket=BUCKET, Key=f"incoming/{file_id}", Body=b"good", Metadata=metadata)
    client = promote._app.extensions["services"].storage.client
    call = client._make_api_call

    def fail(called: str, arguments: dict[str, Any]) -> Any:
        if called == operation and not arguments.get("Key", "").startswith("refused/"):
            raise error(called, status, code)
        return call(called, arguments)

    monkeypatch.setattr(client, "_make_api_call", fail)
    capsys.readouterr()
    with pytest.raises(StorageUnavailable):
        promote.promote_handler(queued(object_created(BUCKET, f"incoming/{file_id}")), Context())
    line = json.loads(capsys.readouterr().out)
    assert (line["event"], line["id"]) == ("promotion failed", file_id)
    assert operation in line["reason"]
    assert code in line["reason"]


def test_missing_version_does_not_fail(promote: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The bytes were deleted before their event came, so there will never be a verdict."""
    file_id = new_id()
    capsys.readouterr()
    promote.promote_handler(queued(object_created(BUCKET, f"incoming/{file_id}", version="gone")), Context())
    entry = log_of(capsys)
    assert (entry["event"], entry["id"], entry["files"], entry["problem"]) == ("promotion", file_id, [], None)


def test_s3_failure_makes_lambda_retry_the_event(promote: Any, s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> None:
    file_id = new_id()
    metadata = Declaration(original_name="a.txt", max_bytes=100).as_metadata()
    s3.put_object(Bucket=BUCKET, Key=f"incoming/{file_id}", Body=b"good", Metadata=metadata)
    client = promote._app.extensions["services"].storage.client
    with monkeypatch.context() as patch:
        patch.setattr(client, "_make_api_call", Faults(client, fault="throttle", at=1))
        with pytest.raises(StorageUnavailable):
            promote.promote_handler(object_created(BUCKET, f"incoming/{file_id}"), Context())
    promote.promote_handler(object_created(BUCKET, f"incoming/{file_id}"), Context())
    assert s3.get_object(Bucket=BUCKET, Key=f"files/{file_id}/a.txt")["Body"].read() == b"good"
