"""Requests to S3, and failures of S3."""

from __future__ import annotations

import ast
import hashlib
import hmac
import io
import json
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.parsers import ResponseParserError

from handler.app import create_app
from handler.problems import StorageUnavailable
from handler.settings import Settings
from handler.storage.s3 import files as s3_module
from handler.storage.s3.client import make_client, require_s3, s3_errors
from handler.storage.s3.files import MEMORY_BYTES, S3Storage

from ..conftest import BUCKET
from ..support import fake_s3, samples
from ..support.stored_files import ID, file, put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[fake_s3.FakeS3]:
    with fake_s3.serve() as state:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", state.url)
        # botocore's pauses between attempts, without their seconds.
        monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
        yield state


@pytest.fixture
def storage(fake: fake_s3.FakeS3) -> S3Storage:  # noqa: ARG001  (the environment names it)
    return S3Storage(BUCKET, client=make_client())


def upload(name: str = "a.txt") -> Any:
    client = create_app(Settings.from_environ({"UPLOAD_BUCKET": BUCKET})).test_client()
    return client.post("/upload", data={"file": (io.BytesIO(samples.TEXT), name)})


def test_upload_makes_one_signed_conditional_put(fake: fake_s3.FakeS3) -> None:
    response = upload("Grüße.txt").json
    ((method, path, headers),) = fake.requests
    assert (method, path) == ("PUT", f"/{BUCKET}/files/{response['files'][0]['id']}/Grue.txt")
    assert headers["if-none-match"] == "*"
    assert headers["content-type"] == "text/plain"
    assert headers["content-disposition"].startswith('attachment; filename="Grue.txt"')
    assert headers["content-length"] == str(len(samples.TEXT))
    assert fake_s3.checksum(headers) == response["files"][0]["sha256"]
    assert not [name for name in headers if name.startswith("x-amz-checksum-") and "sha256" not in name]
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256")
    assert "if-none-match" in headers["authorization"], "it is signed"
    assert fake.objects[path][1] == samples.TEXT


FOR_THE_OWNER = ("forbid", "garbage as an error")
"""Responses of 403 and 400: another attempt does not help, so the response has no ``Retry-After``."""


@pytest.mark.parametrize("behaviour", ["throttle", "error", "reset", "reset in the middle", "no http"])
def test_two_failures_are_retried(fake: fake_s3.FakeS3, behaviour: str) -> None:
    fake.behaviours = [behaviour, behaviour]
    assert upload().status_code == 201
    assert [method for method, _, _ in fake.requests] == ["PUT"] * 3
    assert [body for _, body in fake.objects.values()] == [samples.TEXT]


@pytest.mark.parametrize(
    "behaviour",
    [
        "throttle",
        "error",
        "reset",
        "reset in the middle",
        "no http",
        "garbage",
        "garbage as an error",
        "forbid",
        "page",
        "page with an ETag",
    ],
)
def test_repeated_failure_is_503(fake: fake_s3.FakeS3, behaviour: str) -> None:
    fake.behaviours = [behaviour] * 100
    response = upload()
    assert response.status_code == 503
    assert response.headers.get("Retry-After") == (None if behaviour in FOR_THE_OWNER else "5")
    assert response.json["type"] == "urn:problem-type:upload:storage-unavailable"
    assert not [word for word in ("AccessDenied", "arn:", "SlowDown", "botocore", BUCKET) if word in response.text]


@pytest.mark.parametrize(
    ("behaviour", "attempts"),
    [
        ("throttle", 3),
        ("error", 3),
        ("reset", 3),
        ("no http", 3),
        ("garbage", 3),
        ("garbage as an error", 1),
        ("forbid", 1),
        ("page", 1),
    ],
)
def test_object_stored_despite_an_error_is_deleted(fake: fake_s3.FakeS3, behaviour: str, attempts: int) -> None:
    fake.behaviours = ["store, then " + behaviour] + [behaviour] * (attempts - 1)
    assert upload().status_code == 503
    assert [method for method, _, _ in fake.requests] == ["PUT"] * attempts + ["POST"], "without looking for it first"
    assert fake.objects == {}


@pytest.mark.parametrize("behaviour", ["garbage", "forbid", "throttle", "reset", "no http"])
def test_failed_cleanup_does_not_hide_the_error(
    fake: fake_s3.FakeS3, behaviour: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.behaviours = ["store, then forbid"] + [behaviour] * 100
    assert upload().status_code == 503
    fault = json.loads(capsys.readouterr().out.splitlines()[0])
    assert "PutObject" in fault["reason"]
    assert len(fake.objects) == 1, "the take-back did fail"


@pytest.mark.parametrize("error", [EndpointConnectionError(endpoint_url="x"), ResponseParserError("x")])
def test_every_error_of_botocore_is_a_storage_failure(error: Exception) -> None:
    with pytest.raises(StorageUnavailable) as caught, s3_errors():
        raise error
    assert caught.value.reason == repr(error)


def test_lost_response_to_a_successful_write_is_not_a_conflict(fake: fake_s3.FakeS3) -> None:
    fake.behaviours = ["store, then reset"]
    assert upload().status_code == 201
    assert [method for method, _, _ in fake.requests] == ["PUT", "PUT", "HEAD"], "the second write met the first"
    assert [body for _, body in fake.objects.values()] == [samples.TEXT]


def test_conflict_with_our_own_write_is_success(fake: fake_s3.FakeS3) -> None:
    fake.behaviours = ["store, then conflict"]
    assert upload().status_code == 201
    assert [method for method, _, _ in fake.requests] == ["PUT", "HEAD"]


def test_conflict_with_a_failed_write_can_be_retried(fake: fake_s3.FakeS3) -> None:
    fake.behaviours = ["conflict"]
    response = upload()
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize("behaviour", ["conflict", "good"])  # "good": it is there already, which is a 412
def test_conflict_keeps_the_other_file(
    fake: fake_s3.FakeS3, storage: S3Storage, monkeypatch: pytest.MonkeyPatch, behaviour: str
) -> None:
    theirs = put(storage, b"theirs")
    monkeypatch.setattr("handler.intake.new_id", lambda: ID)
    fake.behaviours = [behaviour]
    assert upload().status_code == 409
    assert storage.find(ID, "a.txt") == theirs
    assert [method for method, _, _ in fake.requests] == ["PUT", "PUT", "HEAD", "HEAD"], "nothing is taken back"


@pytest.mark.parametrize("behaviour", ["garbage", "forbid", "throttle", "reset", "page", "page with an ETag"])
def test_failed_read_of_s3_is_reported(fake: fake_s3.FakeS3, storage: S3Storage, behaviour: str) -> None:
    put(storage)
    fake.behaviours = [behaviour] * 100
    with pytest.raises(StorageUnavailable):
        storage.find(ID, "a.txt")
    with pytest.raises(StorageUnavailable):
        storage.delete(ID, "a.txt")
    with pytest.raises(StorageUnavailable):
        storage.contains(ID)
    fake.behaviours = ["good"] + [behaviour] * 100
    with pytest.raises(StorageUnavailable):
        storage.delete(ID, "a.txt")  # which was found
    fake.behaviours = []
    assert storage.find(ID, "a.txt") == file()


RESPONSES: list[tuple[dict[str, Any], tuple[str, ...], bool]] = [
    ({"ResponseMetadata": {"HTTPHeaders": {"x-amz-request-id": "1"}}}, (), True),
    ({"ResponseMetadata": {"HTTPHeaders": {"x-amz-id-2": "1"}}}, ("ETag",), True),
    ({"ResponseMetadata": {"HTTPHeaders": {}, "HTTPStatusCode": 204}}, (), True),
    ({"ResponseMetadata": {"HTTPHeaders": {}}, "ETag": "e"}, ("ETag",), True),
    ({"ResponseMetadata": {"HTTPHeaders": {}}, "Metadata": {"max-bytes": "1"}}, ("Metadata", "max-bytes"), True),
    ({}, (), False),
    ({}, ("ETag",), False),
    ({"ResponseMetadata": {"HTTPStatusCode": 200}}, ("ETag",), False),
    ({"ResponseMetadata": {"HTTPStatusCode": 200}}, (), False),
    ({"ResponseMetadata": {"HTTPHeaders": {"x-amz-cf-id": "CloudFront's"}}}, (), False),
    ({"ResponseMetadata": {"HTTPHeaders": {}}, "Metadata": {}}, ("Metadata", "max-bytes"), False),
    ({"ResponseMetadata": {"HTTPHeaders": {}}, "ETag": "e"}, ("CopyPartResult", "ETag"), False),
    ({"ResponseMetadata": {"HTTPHeaders": {"content-type": "text/html"}}, "ETag": "e"}, ("ETag",), False),
]


@pytest.mark.parametrize(("response", "member", "good"), RESPONSES)
def test_response_that_s3_did_not_send_is_rejected(
    response: dict[str, Any], member: tuple[str, ...], good: bool
) -> None:
    if good:
        assert require_s3(response, *member) is response
    else:
        with pytest.raises(StorageUnavailable):
            require_s3(response, *member)


@pytest.mark.parametrize("module", ["files", "direct", "copy"])
def test_every_response_of_s3_is_checked(module: str) -> None:
    """In each function that calls S3, apart from signing, there is a ``require_s3`` for each call."""
    path = Path(s3_module.__file__).with_name(f"{module}.py")
    checked = 0
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(function, ast.FunctionDef):
            continue
        called = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
        asked = [
            each.attr
            for each in called
            if isinstance(each, ast.Attribute) and ast.unparse(each.value).endswith("client")
        ]
        needed = [name for name in asked if not name.startswith("generate_presigned")]
        checks = [each for each in called if isinstance(each, ast.Name) and each.id == "require_s3"]
        if function.name != "delete_best_effort":  # nothing depends on it
            assert len(checks) >= len(needed), function.name
            checked += len(needed)
    assert checked > 3


def test_unreachable_server_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    with pytest.raises(StorageUnavailable):
        S3Storage(BUCKET, client=make_client()).find(ID, "a.txt")


def test_missing_credentials_are_503(fake: fake_s3.FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # it remembers
    assert upload().status_code == 503
    assert fake.requests == []


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_presigned_url_is_sigv4_for_the_regional_host(monkeypatch: pytest.MonkeyPatch, region: str) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    url = urlsplit(S3Storage(BUCKET, client=make_client()).download(file()))
    assert (url.scheme, url.netloc) == ("https", f"{BUCKET}.s3.{region}.amazonaws.com")
    assert url.path == f"/files/{ID}/a.txt"
    query = parse_qs(url.query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["300"]


@pytest.mark.parametrize(("head", "method"), [(False, "GET"), (True, "HEAD")])
def test_presigned_url_is_signed_for_its_method(head: bool, method: str) -> None:
    url = urlsplit(S3Storage(BUCKET, client=make_client()).download(file(), head=head))
    query, _, signature = url.query.partition("&X-Amz-Signature=")
    # AWS, "Authenticating Requests: Using Query Parameters": the signed text, and the signing key of a day.
    canonical_query = "&".join(sorted(query.split("&")))
    request = f"{method}\n{url.path}\n{canonical_query}\nhost:{url.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
    parameters = parse_qs(query)
    (time,), (credential,) = parameters["X-Amz-Date"], parameters["X-Amz-Credential"]
    scope = credential.split("/")[1:]
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = b"AWS4testing"
    for text in [*scope, f"AWS4-HMAC-SHA256\n{time}\n{'/'.join(scope)}\n{digest}"]:
        key = hmac.digest(key, text.encode(), "sha256")
    assert signature == key.hex()


def test_body_is_not_hashed_twice_over_tls() -> None:
    sent: list[Any] = []

    def stop(request: Any, **_: Any) -> None:
        sent.append(request)
        raise StorageUnavailable("stop")

    client = make_client()
    client.meta.events.register("before-send.s3", stop)
    writer = S3Storage(BUCKET, client=client).open_writer()
    writer.write(b"some bytes")
    with pytest.raises(StorageUnavailable):
        writer.commit(file())
    writer.abort()
    assert sent[0].headers["X-Amz-Content-SHA256"] == b"UNSIGNED-PAYLOAD"


def test_concurrent_uploads_share_one_memory_limit(s3: S3Client) -> None:
    storage = S3Storage(BUCKET, client=s3)
    contents = [bytes([number]) * 1024 * 1024 for number in range(20)]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        writers = [storage.open_writer() for _ in contents]
        for writer, content in zip(writers, contents, strict=True):
            writer.write(content)
        held = tracemalloc.get_traced_memory()[0] - before
        assert MEMORY_BYTES / 2 < held < MEMORY_BYTES * 1.5
        assert [writer.read(0, 2**30) for writer in writers] == contents
        for writer in writers:
            writer.abort()
            writer.abort()
        assert tracemalloc.get_traced_memory()[0] - before < MEMORY_BYTES / 2

        late = storage.open_writer()  # has all of it again, and no more
        late.write(b"x" * MEMORY_BYTES)
        assert tracemalloc.get_traced_memory()[0] - before > MEMORY_BYTES / 2
        late.write(b"x")
        assert tracemalloc.get_traced_memory()[0] - before < MEMORY_BYTES / 2
        assert late.read(MEMORY_BYTES - 1, 9) == b"xx"

        later = storage.open_writer()  # gets the memory that the last writer freed when it moved to disk
        later.write(b"x" * MEMORY_BYTES)
        assert tracemalloc.get_traced_memory()[0] - before > MEMORY_BYTES / 2
        late.abort()
        later.abort()
    finally:
        tracemalloc.stop()


def test_whole_file_in_memory_is_read_without_a_copy(s3: S3Client) -> None:
    """The check of an image looks at all of it. A copy would take more time than the check, and as much memory."""
    content = samples.png(100_000)
    writer = S3Storage(BUCKET, client=s3).open_writer()
    writer.write(content[:50_000])
    writer.write(content[50_000:])
    whole = writer.read(0, len(content))
    assert whole == content
    assert writer.read(0, len(content)) is whole
    assert writer.read(10, 20) == content[10:30]
    writer.write(b"more")
    assert whole == content
    assert writer.read(0, 2**30) == content + b"more"
    writer.abort()


def test_unwritable_temporary_folder_is_reported(s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_module, "MEMORY_BYTES", 0)
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    writer = S3Storage(BUCKET, client=s3).open_writer()
    with pytest.raises(StorageUnavailable, match="not set up correctly"):
        writer.write(b"some bytes")
    writer.abort()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_full_disk_is_reported(s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_module, "MEMORY_BYTES", 0)
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: Path("/dev/full").open("w+b"))  # noqa: SIM115
    writer = S3Storage(BUCKET, client=s3).open_writer()
    writer.write(b"some bytes")  # a buffer has it
    with pytest.raises(StorageUnavailable):
        writer.read(0, 10)
    with pytest.raises(StorageUnavailable):
        writer.commit(file())
    writer.abort()
