"""The app on Lambda: events of API Gateway, a bucket in moto, and responses for API Gateway."""

from __future__ import annotations

import base64
import importlib
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from handler.web.access import SCOPES
from handler.web.tokens import mint

from .conftest import BUCKET
from .support import samples
from .support.lambda_runtime import SECRET, Context

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client


@pytest.fixture
def invoke(s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], dict[str, Any]]:  # noqa: ARG001
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "upload")
    monkeypatch.setenv("UPLOAD_BUCKET", BUCKET)
    monkeypatch.setenv("TOKEN_SECRET", SECRET)
    sys.modules.pop("handler.lambda_function", None)
    module = importlib.import_module("handler.lambda_function")

    def invoke(event: dict[str, Any]) -> dict[str, Any]:
        response: dict[str, Any] = module.lambda_handler(event, Context())
        return response

    return invoke


def rest_event(method: str, path: str, body: bytes = b"", **headers: str) -> dict[str, Any]:
    token = mint(SECRET, expires_seconds=60, scopes=SCOPES)
    host = "abc123.execute-api.eu-central-1.amazonaws.com"
    headers = {"Host": host, "Authorization": f"Bearer {token}"} | headers
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "requestContext": {
            "resourcePath": "/{proxy+}",
            "path": "/live" + path,
            "stage": "live",
            "protocol": "HTTP/1.1",
            "identity": {"sourceIp": "192.0.2.7"},
            "requestId": "id-of-api-gateway",
        },
        "body": base64.b64encode(body).decode() if body else None,
        "isBase64Encoded": bool(body),
    }


def header(response: dict[str, Any], name: str) -> str:
    fields = {**response.get("headers", {}), **{k: v for k, (v,) in response.get("multiValueHeaders", {}).items()}}
    return str(fields[name])


def test_file_is_uploaded_downloaded_and_deleted(invoke: Callable[..., dict[str, Any]], s3: S3Client) -> None:
    content = samples.png(100_000)
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="photo.png"\r\n\r\n' + content + b"\r\n--x--\r\n"
    )
    response = invoke(rest_event("POST", "/upload", body, **{"Content-Type": "multipart/form-data; boundary=x"}))
    assert response["statusCode"] == 201
    (file,) = json.loads(response["body"])["files"]
    # The stage is in the URL, so that it works from outside.
    assert file["url"] == (f"https://abc123.execute-api.eu-central-1.amazonaws.com/live/files/{file['id']}/photo.png")
    assert header(response, "X-Request-Id") == Context.aws_request_id
    assert s3.get_object(Bucket=BUCKET, Key=f"files/{file['id']}/photo.png")["Body"].read() == content

    response = invoke(rest_event("GET", f"/files/{file['id']}/photo.png"))
    assert response["statusCode"] == 302
    assert header(response, "Location").startswith(
        f"https://{BUCKET}.s3.eu-central-1.amazonaws.com/files/{file['id']}/"
    )

    assert invoke(rest_event("DELETE", f"/files/{file['id']}/photo.png"))["statusCode"] == 204
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET)


def test_body_sent_with_curl_t_is_stored(invoke: Callable[..., dict[str, Any]]) -> None:
    response = invoke(rest_event("PUT", "/upload/photo.jpg", samples.JPEG))
    assert (response["statusCode"], json.loads(response["body"])["message"]) == (201, "Stored photo.jpg.")


def test_lambda_has_the_limit_of_lambda(invoke: Callable[..., dict[str, Any]]) -> None:
    limits = json.loads(invoke(rest_event("GET", "/upload"))["body"])
    assert limits["max_request_bytes"] == 4 * 1024 * 1024
    response = invoke(rest_event("PUT", "/upload/a.txt", b"x" * (4 * 1024 * 1024 + 1)))
    assert response["statusCode"] == 413
    assert "4,194,304 bytes" in json.loads(response["body"])["error"]


def test_log_has_lambdas_request_id(invoke: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    invoke(rest_event("PUT", "/upload/photo.jpg", samples.JPEG))
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["request_id"] == Context.aws_request_id
