"""The sentence of a 503: an error that the owner must repair never says "try again"."""

from __future__ import annotations

import errno
import io
import json
import shutil
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from handler.app import create_app
from handler.problems import StorageUnavailable
from handler.settings import Settings
from handler.storage.folder.errors import disk_errors
from handler.storage.s3.client import s3_errors

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_s3 import S3Client
    from werkzeug.test import TestResponse

TRY_AGAIN = "The storage cannot be reached just now, so this was not done. Try again in a moment."
FOR_THE_OWNER = (
    "The storage of this endpoint is not set up correctly, so this was not done. The owner finds the reason in the "
    "log, under the request id."
)


def problem_of(error: Exception) -> StorageUnavailable:
    """Return the problem for an error of botocore's or of the disk's."""
    with pytest.raises(StorageUnavailable) as caught, disk_errors(), s3_errors():
        raise error
    assert caught.value.reason, "the log has the error text"
    return caught.value


def client_error(status: int, code: str) -> ClientError:
    response = {
        "Error": {"Code": code, "Message": "arn:aws:iam::1:role/x"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "PutObject")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error",
    [
        client_error(404, "NoSuchBucket"),
        client_error(403, "AccessDenied"),
        client_error(403, "InvalidAccessKeyId"),
        client_error(403, "SignatureDoesNotMatch"),
        client_error(403, "403"),
        client_error(400, "ExpiredToken"),
        client_error(400, "400"),
        client_error(301, "PermanentRedirect"),
        client_error(400, "AuthorizationHeaderMalformed"),
        NoCredentialsError(),
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.EROFS, "Read-only file system"),
        NotADirectoryError(errno.ENOTDIR, "Not a directory"),
        FileNotFoundError(errno.ENOENT, "No such file or directory"),
    ],
    ids=repr,
)
def test_error_that_the_owner_must_repair_does_not_say_try_again(error: Exception) -> None:
    problem = problem_of(error)
    assert (problem.detail, dict(problem.headers)) == (FOR_THE_OWNER, {})


@pytest.mark.parametrize(
    "error",
    [
        client_error(503, "SlowDown"),
        client_error(500, "InternalError"),
        client_error(409, "ConditionalRequestConflict"),
        EndpointConnectionError(endpoint_url="x"),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EIO, "Input/output error"),
    ],
    ids=repr,
)
def test_error_that_passes_says_try_again(error: Exception) -> None:
    problem = problem_of(error)
    assert (problem.detail, dict(problem.headers)) == (TRY_AGAIN, {"Retry-After": "5"})


def upload(bucket: str) -> TestResponse:
    client = create_app(Settings.from_environ({"UPLOAD_BUCKET": bucket})).test_client()
    return client.post("/upload", data={"file": (io.BytesIO(b"hello"), "a.txt")})


@pytest.mark.usefixtures("s3")
def test_missing_bucket_is_named_in_the_log_only(capsys: pytest.CaptureFixture[str]) -> None:
    response = upload("a-bucket-that-is-missing")
    assert (response.status_code, (response.json or {})["detail"]) == (503, FOR_THE_OWNER)
    assert "Retry-After" not in response.headers
    assert "NoSuchBucket" not in response.text
    (reason,) = [
        entry["reason"] for line in capsys.readouterr().out.splitlines() if (entry := json.loads(line)).get("reason")
    ]
    assert "NoSuchBucket" in reason


def test_upload_without_credentials_does_not_say_try_again(s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = s3.list_buckets()["Buckets"][0]["Name"]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    response = upload(bucket)
    assert (response.status_code, (response.json or {})["detail"]) == (503, FOR_THE_OWNER)


def test_upload_to_a_folder_that_was_removed_does_not_say_try_again(tmp_path: Path) -> None:
    client = create_app(Settings.from_environ({"UPLOAD_FOLDER": str(tmp_path / "uploads")})).test_client()
    shutil.rmtree(tmp_path / "uploads")
    for response in (
        client.put("/upload/a.txt", data=b"hello"),
        client.post("/upload/s3/multipart", json={"filename": "a.txt"}),
    ):
        assert (response.status_code, (response.json or {})["detail"]) == (503, FOR_THE_OWNER)
        assert "Retry-After" not in response.headers
