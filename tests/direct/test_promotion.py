"""Promotion from incoming/ to a verdict: repeated, concurrent, and in buckets that are not set up correctly."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from handler.problems import StorageUnavailable
from handler.storage import new_id
from handler.storage.direct import Deleted
from handler.storage.folder.incoming import LocalIncoming
from handler.storage.folder.locks import locked
from handler.storage.s3.copy import S3Incoming
from handler.storage.s3.direct import SECRET_SECONDS

from ..conftest import BUCKET
from ..support.direct_client import SCRIPT, DirectClient, content_of, formed, judge, stored
from ..support.http_client import problem
from ..support.promotions import ON_S3, Killed, copy_every_file, visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from mypy_boto3_s3 import S3Client


# Again, and at once.


@pytest.mark.parametrize(("data", "verdict"), [(b"good", "stored"), (SCRIPT, "refused")])
def test_repeated_promotion_has_the_same_verdict(
    direct: DirectClient,
    unjudged: Callable[[bytes], str],
    data: bytes,
    verdict: str,
    incoming: Callable[[], list[str]],
) -> None:
    file_id = unjudged(data)
    first = judge(direct, file_id)
    assert first == judge(direct, file_id) == judge(direct, file_id)
    assert (direct.status(file_id).json or {})["status"] == verdict
    assert incoming() == []


def test_promotion_of_an_upload_without_bytes_has_no_verdict(direct: DirectClient) -> None:
    assert judge(direct, new_id()) is None
    assert judge(direct, formed(direct, "a.txt")["id"]) is None
    assert judge(direct, direct.begun("a.txt")["id"]) is None


def test_two_promotions_at_once_store_one_file(
    direct: DirectClient,
    kind: str,
    unjudged: Callable[[bytes], str],
    monkeypatch: pytest.MonkeyPatch,
    incoming: Callable[[], list[str]],
) -> None:
    """Both promotions check the file before one copies it."""
    incoming_type: Any = LocalIncoming if kind == "folder" else S3Incoming
    publish, both = incoming_type.copy_to_files, threading.Barrier(2, timeout=30)

    def publish_together(self: Any, file: Any) -> Any:
        both.wait()
        return publish(self, file)

    monkeypatch.setattr(incoming_type, "copy_to_files", publish_together)
    file_id = unjudged(b"good")
    verdicts: list[Any] = []
    # moto runs in this process under the GIL, without a lock: over moto, the two threads take turns.
    threads = [threading.Thread(target=lambda: verdicts.append(judge(direct, file_id))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(verdicts) == 2
    assert verdicts[0] == verdicts[1]
    assert stored(direct, file_id) == b"good"
    assert incoming() == []


@pytest.mark.parametrize("then", ["stored", "stored and deleted"])
def test_slower_promotion_adopts_the_verdict_of_the_faster_one(
    direct: DirectClient,
    kind: str,
    unjudged: Callable[[bytes], str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    then: str,
    stored_keys: Callable[[], list[str]],
) -> None:
    """After its check, a faster promotion stores the file and removes the upload. The owner may delete the file."""
    file_id = unjudged(b"good")
    incoming_type: Any = LocalIncoming if kind == "folder" else S3Incoming
    publish = incoming_type.copy_to_files

    def wait_and_publish(self: Any, file: Any) -> Any:
        monkeypatch.setattr(incoming_type, "copy_to_files", publish)
        verdict = judge(direct, file_id)
        if then != "stored":
            assert direct.client.application.extensions["services"].storage.delete(file_id, verdict.file.name)
        return publish(self, file)

    monkeypatch.setattr(incoming_type, "copy_to_files", wait_and_publish)
    verdict = judge(direct, file_id)
    if then == "stored":
        assert verdict.file.id == file_id
        assert stored(direct, file_id) == b"good"
    else:
        assert verdict == Deleted()
        assert visible(stored_keys) == []


def before_the_file_is_there(
    direct: DirectClient, monkeypatch: pytest.MonkeyPatch, kind: str, act: Callable[[], object]
) -> None:
    """Call a function once, after a file is copied and before a reader can find the copy."""
    if kind == "folder":
        target = "handler.storage.folder.incoming.locked"

        def late(directory: Path) -> Any:
            monkeypatch.setattr(target, locked)
            act()
            return locked(directory)

        monkeypatch.setattr(target, late)
        return
    client = direct.client.application.extensions["services"].storage.client
    call = client._make_api_call

    def act_and_call(operation: str, arguments: dict[str, Any]) -> Any:
        if operation in ("PutObject", "CompleteMultipartUpload"):
            monkeypatch.setattr(client, "_make_api_call", call)
            act()
        return call(operation, arguments)

    monkeypatch.setattr(client, "_make_api_call", act_and_call)


@pytest.mark.parametrize("kind", ["folder", pytest.param("strict_s3", marks=pytest.mark.strict_s3)])
@pytest.mark.parametrize("copied", [False, True])
def test_file_deleted_during_a_second_promotion_stays_deleted(
    direct: DirectClient, kind: str, unjudged: Callable[[bytes], str], monkeypatch: pytest.MonkeyPatch, *,
    copied: bool, stored_keys: Callable[[], list[str]]
) -> None:  # fmt: skip
    """moto fails when it completes an aborted upload."""
    if copied:
        copy_every_file(monkeypatch)
    file_id = unjudged(b"good")

    def store_and_delete() -> None:
        verdict = judge(direct, file_id)
        assert direct.client.application.extensions["services"].storage.delete(file_id, verdict.file.name)

    before_the_file_is_there(direct, monkeypatch, kind, store_and_delete)
    verdict = judge(direct, file_id)
    assert verdict == Deleted()
    assert visible(stored_keys) == []


@ON_S3
@pytest.mark.parametrize(("data", "copied"), [(b"good", True), (b"good", False), (b"", False)])
@pytest.mark.parametrize("killed", [False, True])
def test_copy_completed_after_the_deletion_is_deleted_again(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch, stored_keys: Callable[[], list[str]], *,
    data: bytes, copied: bool, killed: bool
) -> None:  # fmt: skip
    """Two promotions run at once. The first file is deleted before the second promotion writes its copy.

    ``If-None-Match`` succeeds over a delete marker, so the second promotion must look for the marker itself.
    """
    if copied:
        copy_every_file(monkeypatch)
    direct = DirectClient(client=make_app(ALLOW_EMPTY_FILES="on").test_client())
    services = direct.client.application.extensions["services"]
    storage, uploads = services.storage, services.direct_uploads
    form = formed(direct, "a.txt")
    assert direct.post(form, data).status == 204
    call, write = storage.client._make_api_call, "CompleteMultipartUpload" if copied else "PutObject"

    def late(operation: str, arguments: dict[str, Any]) -> Any:
        if operation != write:
            return call(operation, arguments)
        with monkeypatch.context() as patch:
            patch.setattr(storage.client, "_make_api_call", call)
            patch.setattr(uploads, "end_copies", lambda _: None)  # S3 was completing this one already
            assert judge(direct, form["id"]).file is not None
            assert storage.delete(form["id"], "a.txt")
        response = call(operation, arguments)
        assert storage.find(form["id"], "a.txt"), "S3 has let it come back"
        if killed:
            raise Killed
        monkeypatch.setattr(storage.client, "_make_api_call", call)
        return response

    with monkeypatch.context() as patch:
        patch.setattr(storage.client, "_make_api_call", late)
        if killed:
            with pytest.raises(Killed):
                judge(direct, form["id"])
    monkeypatch.setattr(storage.client, "_make_api_call", call if killed else late)
    verdict = judge(direct, form["id"])  # when it was killed, its event comes again
    assert verdict == Deleted()
    assert visible(stored_keys) == []
    problem(direct.status(form["id"]), 404, "not-found")


@ON_S3
@pytest.mark.parametrize("step", ["UploadPartCopy", "CompleteMultipartUpload"])
def test_unfinished_copy_of_a_slower_promotion_is_aborted(
    direct: DirectClient, unjudged: Callable[[bytes], str], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    copy_every_file(monkeypatch)
    file_id = unjudged(b"good")
    client = direct.client.application.extensions["services"].storage.client
    uploads = direct.client.application.extensions["services"].direct_uploads
    call = client._make_api_call
    verdicts: list[Any] = []

    def overtaken(operation: str, arguments: dict[str, Any]) -> Any:
        if operation == step and not verdicts:
            verdicts.append(None)
            verdicts[0] = judge(direct, file_id)
            left = client.list_multipart_uploads(Bucket=uploads._bucket, Prefix="files/").get("Uploads", [])
            assert left == []
        return call(operation, arguments)

    monkeypatch.setattr(client, "_make_api_call", overtaken)
    assert judge(direct, file_id) == verdicts[0]
    assert stored(direct, file_id) == b"good"


def test_event_before_or_after_the_completion_changes_nothing(direct: DirectClient) -> None:
    upload = direct.begun("a.txt")
    assert judge(direct, upload["id"]) is None
    direct.put(upload, 1, b"bytes")
    assert judge(direct, upload["id"]) is None
    response = direct.complete(upload).json
    judge(direct, upload["id"])
    assert direct.complete(upload).json == response


# Declared digests.


@pytest.mark.parametrize(("data", "status"), [(b"bytes", "stored"), (b"byteS", "refused"), (b"byte", "refused")])
def test_declared_digest_of_a_form_is_verified(direct: DirectClient, data: bytes, status: str) -> None:
    digest = hashlib.sha256(b"bytes").hexdigest()
    form = formed(direct, "a.txt", **{"metadata[sha256]": digest})
    direct.post(form, data)
    response: Any = direct.status(form["id"]).json
    assert response["status"] == status
    if status == "stored":
        assert response["file"]["sha256"] == digest
    else:
        assert response["problem"]["type"].endswith("digest-mismatch")


# Buckets that are not as they should be.


@pytest.mark.strict_s3
@pytest.mark.parametrize("kind", ["folder"])  # of which nothing is used; moto knows no version "null"
def test_bucket_without_versioning_promotes_parts_but_no_form(
    strict_s3: S3Client, make_app: Callable[..., Flask], capsys: pytest.CaptureFixture[str]
) -> None:
    bucket = f"unversioned-{new_id()}"
    strict_s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    direct = DirectClient(client=make_app(UPLOAD_BUCKET=bucket).test_client())
    form = formed(direct, "a.txt")
    assert direct.post(form, b"bytes").status == 204
    problem(direct.status(form["id"]), 503, "storage-unavailable")
    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "storage unavailable" in line]
    assert f"the bucket {bucket} has no versioning" in line["reason"]
    response: Any = direct.send("a.txt", b"bytes").json
    assert content_of(direct, response["location"]) == b"bytes"


@pytest.mark.parametrize("kind", ["s3"])
@pytest.mark.parametrize(
    "metadata", [{}, {"original-name": "a.txt"}, {"max-bytes": "1"}, {"original-name": "a.txt", "max-bytes": "many"}]
)
def test_object_not_written_with_our_urls_is_not_stored(
    direct: DirectClient, s3: S3Client, metadata: dict[str, str], stored_keys: Callable[[], list[str]]
) -> None:
    file_id = formed(direct, "a.txt")["id"]
    s3.put_object(Bucket=BUCKET, Key=f"incoming/{file_id}", Body=b"bytes", Metadata=metadata)
    with pytest.raises(StorageUnavailable, match="cannot be reached"):
        judge(direct, file_id)
    problem(direct.status(file_id), 503, "storage-unavailable")
    assert visible(stored_keys) == []


@pytest.mark.parametrize("kind", ["s3"])
def test_key_that_begins_with_an_upload_id_is_another_upload(direct: DirectClient, s3: S3Client) -> None:
    file_id = new_id()
    s3.put_object(Bucket=BUCKET, Key=f"incoming/{file_id}0", Body=b"bytes", Metadata={"original-name": "a.txt"})
    assert judge(direct, file_id) is None


# Functions that sign with one key.


@pytest.mark.parametrize("kind", ["s3", pytest.param("strict_s3", marks=pytest.mark.strict_s3)])
def test_deleted_signing_key_soon_stops_being_accepted(
    make_app: Callable[..., Flask], destination: dict[str, str], kind: str, request: pytest.FixtureRequest
) -> None:
    s3: S3Client = request.getfixturevalue(kind)
    one, other = (DirectClient(client=make_app().test_client()) for _ in range(2))
    upload = one.begun("a.txt")
    assert other.parts(upload).status_code == 200
    s3.delete_object(Bucket=destination["UPLOAD_BUCKET"], Key="secrets/upload-ids")
    now = time.time() + SECRET_SECONDS
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("handler.storage.s3.direct.time", SimpleNamespace(time=lambda: now))
        for function in (one, other):
            problem(function.parts(upload), 404, "upload-not-found")
        assert other.parts(one.begun("a.txt")).status_code == 200


@pytest.mark.parametrize("kind", ["s3"])
def test_signing_key_is_read_once_for_several_requests(direct: DirectClient) -> None:
    client = direct.client.application.extensions["services"].storage.client
    keys: list[str] = []
    client.meta.events.register("provide-client-params.s3.GetObject", lambda params, **_: keys.append(params["Key"]))
    for _ in range(3):
        direct.begun("a.txt")
    assert keys == ["secrets/upload-ids"]
