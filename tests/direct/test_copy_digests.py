"""The SHA-256 of files that S3 copies: hashed by S3, verified before anyone can read the file, and found again."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from handler.problems import StorageUnavailable
from handler.storage.s3 import copy as s3_copy_module
from handler.storage.s3.client import object_size
from handler.storage.s3.files import checksum_of, sha256_of_checksum

from ..conftest import BUCKET
from ..support import hashing_s3, samples
from ..support.direct_client import MIB, DirectClient, content_of, formed, judge
from ..support.http_client import problem
from ..support.promotions import ON_S3, copy_every_file, error, visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client

ONLY_S3 = pytest.mark.parametrize("kind", ["s3"])
DIGEST = hashlib.sha256(b"bytes").hexdigest()


def client_of(direct: DirectClient) -> Any:
    return direct.client.application.extensions["services"].storage.client


def change(direct: DirectClient, monkeypatch: pytest.MonkeyPatch, changed: Callable[..., Any]) -> list[str]:
    """Put a function in front of all calls to S3.

    :param changed: gets the operation, its arguments, and the function that calls S3.
    :returns: the operations from now on.
    """
    client, operations = client_of(direct), []
    call = client._make_api_call

    def replaced(operation: str, arguments: dict[str, Any]) -> Any:
        operations.append(operation)
        return changed(operation, arguments, call)

    monkeypatch.setattr(client, "_make_api_call", replaced)
    return operations


def unchanged(operation: str, arguments: dict[str, Any], call: Callable[..., Any]) -> Any:
    return call(operation, arguments)


def file_entry(response: Any) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    (file,) = response.json["files"]
    return dict(file)


# A copy of one part.


@pytest.mark.parametrize("declared", [{}, {"sha256": DIGEST}])
@pytest.mark.parametrize("copied", [False, True])
def test_digest_of_a_file_of_one_part_is_known_everywhere(
    direct: DirectClient, monkeypatch: pytest.MonkeyPatch, kind: str, *, declared: dict[str, str], copied: bool
) -> None:
    if copied:
        copy_every_file(monkeypatch)
    is_known = kind != "strict_s3" or not copied or bool(declared)  # LocalStack hashes no copy
    upload = direct.begun("a.txt", **declared)
    part = direct.put(upload, 1, b"bytes")
    file = file_entry(direct.complete(upload, [part]))
    assert file["sha256"] == (DIGEST if is_known else None)
    assert file_entry(direct.complete(upload, [part])) == file
    assert (direct.status(upload["id"]).json or {})["file"] == file
    services = direct.client.application.extensions["services"]
    assert services.storage.find(upload["id"], "a.txt").sha256 == file["sha256"]  # as the webhook reports it


@ONLY_S3
def test_digest_of_a_copied_file_is_verified_without_reading(
    direct: DirectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_every_file(monkeypatch)
    monkeypatch.setattr("handler.storage.s3.direct.HEAD_BYTES", len(b"bytes") - 1)  # the check needs one more read
    direct.begun("a.txt")  # which reads the secret
    calls = change(direct, monkeypatch, unchanged)
    plain = file_entry(direct.send("a.txt", b"bytes"))
    without_digest, calls[:] = calls[:], []
    declared = file_entry(direct.send("a.txt", b"bytes", sha256=DIGEST))
    assert calls == without_digest
    assert calls.count("GetObject") == 2  # the metadata with the first bytes, and the last byte for the check
    assert plain["sha256"] == declared["sha256"] == DIGEST


@ON_S3
@pytest.mark.parametrize("copied", [False, True])
def test_other_digest_than_declared_is_refused_before_anyone_can_read(
    direct: DirectClient, monkeypatch: pytest.MonkeyPatch, stored_keys: Callable[[], list[str]], *, copied: bool
) -> None:
    if copied:
        copy_every_file(monkeypatch)
    calls = change(direct, monkeypatch, unchanged)
    upload = direct.begun("a.txt", sha256="0" * 64)
    direct.put(upload, 1, b"bytes")
    calls.clear()
    problem(direct.complete(upload), 422, "digest-mismatch")
    assert calls.count("CompleteMultipartUpload") == 1, "of the parts, and not of the copy"
    assert calls.count("PutObject") == 1, "of the refusal, and not of the file"
    assert visible(stored_keys) == []
    uploads = client_of(direct).list_multipart_uploads(Bucket=direct_bucket(direct))
    assert [entry for entry in uploads.get("Uploads", []) if upload["id"] in entry["Key"]] == []


def direct_bucket(direct: DirectClient) -> str:
    bucket: str = direct.client.application.extensions["services"].storage.bucket
    return bucket


@ONLY_S3
@pytest.mark.parametrize("parts", [1, 2])
def test_completion_without_a_checksum_is_rejected_by_s3(
    direct: DirectClient, monkeypatch: pytest.MonkeyPatch, stored_keys: Callable[[], list[str]], parts: int
) -> None:
    """So every other test in which S3 copies shows that the completion lists the checksums."""
    copy_every_file(monkeypatch)
    monkeypatch.setattr(s3_copy_module, "COPIED_PART_BYTES", 5 * MIB)

    def forget(operation: str, arguments: dict[str, Any], call: Callable[..., Any]) -> Any:
        if operation == "CompleteMultipartUpload" and arguments["Key"].startswith("files/"):
            assert len(arguments["MultipartUpload"]["Parts"]) == parts
            for part in arguments["MultipartUpload"]["Parts"]:
                assert part.pop("ChecksumSHA256")
        return call(operation, arguments)

    content = b"bytes" * (MIB * parts)
    upload = direct.begun("a.txt")
    direct.put(upload, 1, content)
    with monkeypatch.context() as patch:
        change(direct, patch, forget)
        problem(direct.complete(upload), 503, "storage-unavailable")
    assert visible(stored_keys) == []
    file = file_entry(direct.complete(upload))
    assert content_of(direct, file["url"]) == content


# A copy of several parts.


@ONLY_S3
@pytest.mark.parametrize("declared", [False, True])
def test_composite_checksum_is_not_taken_for_a_digest(
    direct: DirectClient, s3: S3Client, monkeypatch: pytest.MonkeyPatch, *, declared: bool
) -> None:
    monkeypatch.setattr(s3_copy_module, "COPIED_PART_BYTES", 5 * MIB)
    large = samples.png(11 * MIB)
    digest = hashlib.sha256(large).hexdigest()
    upload = direct.begun("a.png", **({"sha256": digest} if declared else {}))
    direct.put(upload, 1, large)
    file = file_entry(direct.complete(upload))
    head = s3.head_object(Bucket=BUCKET, Key=f"files/{upload['id']}/a.png", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"].endswith("-3")
    assert file["sha256"] == (digest if declared else None)
    assert file_entry(direct.complete(upload)) == file


@ONLY_S3
@pytest.mark.parametrize("parts", [1, 2])
def test_composite_checksum_without_a_hyphen_is_not_taken_for_a_digest(
    direct: DirectClient, monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    """moto leaves the hyphen out, and so may a store that speaks S3's protocol."""
    monkeypatch.setattr(s3_copy_module, "COPIED_PART_BYTES", 5 * MIB if parts == 2 else 10 * MIB)
    url = file_entry(direct.send("a.png", samples.png(9 * MIB)))["url"]

    def without_hyphen(operation: str, arguments: dict[str, Any], call: Callable[..., Any]) -> Any:
        response = call(operation, arguments)
        if operation == "HeadObject" and "PartNumber" not in arguments:
            checksum, hyphen, count = response["ChecksumSHA256"].partition("-")
            assert (hyphen, count) == ("-", str(parts))
            response["ChecksumSHA256"] = checksum
        return response

    change(direct, monkeypatch, without_hyphen)
    storage = direct.client.application.extensions["services"].storage
    _, _, file_id, name = url.removeprefix("http://localhost").split("/")
    assert storage.find(file_id, name).sha256 is None


@ONLY_S3
def test_declared_digest_of_several_parts_is_verified_by_reading(
    direct: DirectClient, monkeypatch: pytest.MonkeyPatch, stored_keys: Callable[[], list[str]]
) -> None:
    monkeypatch.setattr(s3_copy_module, "COPIED_PART_BYTES", 5 * MIB)
    calls = change(direct, monkeypatch, unchanged)
    upload = direct.begun("a.png", sha256="0" * 64)
    direct.put(upload, 1, samples.png(11 * MIB))
    calls.clear()
    problem(direct.complete(upload), 422, "digest-mismatch")
    assert "UploadPartCopy" not in calls
    assert visible(stored_keys) == []


@pytest.mark.parametrize(
    ("checksum", "digest"),
    [
        (checksum_of(DIGEST), DIGEST),
        (f"{checksum_of(DIGEST)}-1", None),
        (f"{checksum_of(DIGEST)}-2", None),
        (checksum_of(DIGEST)[:-4], None),
        ("", None),
        (None, None),
        ("é" * 44, None),
        ("A" * 44, None),
    ],
)
def test_only_a_checksum_of_the_whole_content_is_a_digest(checksum: str | None, digest: str | None) -> None:
    assert sha256_of_checksum(checksum) == digest


# Stores that do not report the checksum of a part.


@ONLY_S3
@pytest.mark.parametrize(
    "answer", [{}, {"ChecksumSHA256": checksum_of(hashlib.sha256(b"other").hexdigest())}, 400, 404, 416, 501]
)
def test_unverifiable_checksum_of_a_part_is_not_a_digest(
    direct: DirectClient, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    copy_every_file(monkeypatch)
    url = file_entry(direct.send("a.txt", b"bytes"))["url"]

    def without_parts(operation: str, arguments: dict[str, Any], call: Callable[..., Any]) -> Any:
        if "PartNumber" not in arguments:
            return call(operation, arguments)
        if isinstance(answer, int):
            raise error(operation, answer, str(answer))
        response = call(operation, arguments)
        del response["ChecksumSHA256"]
        return response | answer

    change(direct, monkeypatch, without_parts)
    storage = direct.client.application.extensions["services"].storage
    _, _, file_id, name = url.removeprefix("http://localhost").split("/")
    assert storage.find(file_id, name).sha256 is None


@ONLY_S3
@pytest.mark.parametrize("status", [403, 500, 503])
def test_failure_to_ask_for_the_checksum_of_a_part_is_a_failure(
    direct: DirectClient, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    copy_every_file(monkeypatch)
    url = file_entry(direct.send("a.txt", b"bytes"))["url"]

    def fail(operation: str, arguments: dict[str, Any], call: Callable[..., Any]) -> Any:
        if "PartNumber" in arguments:
            raise error(operation, status, "SlowDown")
        return call(operation, arguments)

    change(direct, monkeypatch, fail)
    problem(direct.client.get(url), 503, "storage-unavailable")


@ONLY_S3
@pytest.mark.parametrize("refuses", [None, 400, 501])
def test_store_that_hashes_no_copy_is_asked_once(
    direct: DirectClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], refuses: int | None
) -> None:
    """A store may return no checksum of a part, or reject the request for one."""
    copy_every_file(monkeypatch)
    hashing_s3.uninstall(monkeypatch)

    def refuse(operation: str, arguments: dict[str, Any], call: Callable[..., Any]) -> Any:
        if refuses and operation == "CreateMultipartUpload" and "ChecksumAlgorithm" in arguments:
            raise error(operation, refuses, "NotImplemented")
        return call(operation, arguments)

    calls = change(direct, monkeypatch, refuse)
    capsys.readouterr()
    for asked in (True, False):
        calls.clear()
        file = file_entry(direct.send("a.txt", b"bytes", sha256=DIGEST))
        assert file["sha256"] == DIGEST
        assert content_of(direct, file["url"]) == b"bytes"
        assert calls.count("CreateMultipartUpload") == (3 if asked else 2)  # one is of the upload itself
    problem(direct.send("a.txt", b"bytes", sha256="0" * 64), 422, "digest-mismatch")
    assert file_entry(direct.send("a.txt", b"bytes"))["sha256"] is None
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (warning,) = [line for line in lines if line["level"] == "WARNING"]
    assert "does not hash copies" in warning["event"]
    assert client_of(direct).list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []


@ONLY_S3
def test_refused_copy_without_checksums_is_a_failure(
    direct: DirectClient, monkeypatch: pytest.MonkeyPatch, stored_keys: Callable[[], list[str]]
) -> None:
    """A lasting error of another cause does not become a loop."""
    copy_every_file(monkeypatch)
    form = formed(direct, "a.txt")
    assert direct.post(form, b"bytes").status == 204

    def refuse(operation: str, arguments: dict[str, Any], call: Callable[..., Any]) -> Any:
        if operation == "CreateMultipartUpload":
            raise error(operation, 400, "InvalidRequest")
        return call(operation, arguments)

    with monkeypatch.context() as patch:
        calls = change(direct, patch, refuse)
        with pytest.raises(StorageUnavailable):
            judge(direct, form["id"])
    assert calls.count("CreateMultipartUpload") == 2
    assert visible(stored_keys) == []
    # Nor does it make the process take S3 for a store that hashes no copy.
    assert judge(direct, form["id"]).file.sha256 == DIGEST


# An old botocore.


@ONLY_S3
@pytest.mark.parametrize("copied", [False, True])
def test_old_botocore_stores_uploads_without_mpu_object_size(
    direct: DirectClient, monkeypatch: pytest.MonkeyPatch, *, copied: bool
) -> None:
    """botocore before 1.36.0 does not know the parameter, and rejects each call that has it."""
    if copied:
        copy_every_file(monkeypatch)
    model = client_of(direct).meta.service_model.operation_model("CompleteMultipartUpload")
    members = dict(model.input_shape.members)
    assert object_size(client_of(direct), 5) == {"MpuObjectSize": 5}
    monkeypatch.setitem(model.input_shape.__dict__, "members", members)
    del members["MpuObjectSize"]
    assert object_size(client_of(direct), 5) == {}
    size = {"size": 5, "partSize": 5}
    file = file_entry(direct.send("a.txt", b"bytes", **size))
    assert content_of(direct, file["url"]) == b"bytes"
    upload = direct.begun("a.txt", **size)
    part = direct.put(upload, 1, b"bytes")
    with monkeypatch.context() as patch:
        patch.setitem(part.__dict__, "etag", "0" * 32)
        problem(direct.complete(upload, [part]), 409, "upload-incomplete")
    assert direct.complete(upload, [direct.put(upload, 1, b"bytes")]).status_code == 200
