"""From incoming/ to a verdict: again, at once, by an S3 or a disk that fails at any step, and by events."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError, ConnectionClosedError

from handler.direct.promotion import Promotion
from handler.intake import Intake
from handler.problems import Forbidden, InternalError, StorageUnavailable, UploadIncomplete, UploadNotFound
from handler.storage import direct as direct_module
from handler.storage import new_id
from handler.storage.direct import Declaration, Deleted, Gone, PresignedPost, Refused, Stored, UploadedPart
from handler.storage.folder.direct import LocalDirectUploads
from handler.storage.folder.files import LocalStorage
from handler.storage.folder.incoming import LocalIncoming
from handler.storage.folder.locks import locked
from handler.storage.s3 import copy as s3_copy_module
from handler.storage.s3.copy import S3Incoming
from handler.storage.s3.direct import SECRET_SECONDS

from ..conftest import BUCKET
from ..support import samples
from ..support.direct_client import MIB, SCRIPT, DirectClient, content_of, formed, judge, stored
from ..support.folder_uploads import begun, part_ticket
from ..support.http_client import problem
from ..support.lambda_runtime import SECRET, Context, let_a_gateway_wait
from ..support.s3_events import object_created, queued
from ..support.stored_files import file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from flask import Flask
    from flask.testing import FlaskClient
    from mypy_boto3_s3 import S3Client


ON_S3 = pytest.mark.parametrize("kind", ["s3", pytest.param("strict_s3", marks=pytest.mark.strict_s3)])


class Killed(BaseException):
    """As a process ends: nothing catches it, and nothing is tidied up."""


@pytest.fixture
def direct(client: FlaskClient) -> DirectClient:
    return DirectClient(client=client)


@pytest.fixture
def unjudged(direct: DirectClient, kind: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], str]:
    """Sends a form that nobody judges yet."""

    def send(data: bytes) -> str:
        form = formed(direct, "a.txt")
        with monkeypatch.context() as patch:
            if kind == "folder":  # which judges at once
                patch.setattr(promotion_of(direct), "promote", lambda _: None)
            assert direct.post(form, data).status == 204
        file_id: str = form["id"]
        return file_id

    return send


def promotion_of(direct: DirectClient) -> Promotion:
    promotion: Promotion = direct.client.application.extensions["services"].promotion
    return promotion


def visible(stored_keys: Callable[[], list[str]]) -> list[str]:
    return [key for key in stored_keys() if key.startswith("files/")]


# Again, and at once.


@pytest.mark.parametrize(("data", "verdict"), [(b"good", "stored"), (SCRIPT, "refused")])
def test_judging_again_says_the_same(
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


def test_judging_what_never_came_is_no_verdict(direct: DirectClient) -> None:
    assert judge(direct, new_id()) is None
    assert judge(direct, formed(direct, "a.txt")["id"]) is None
    assert judge(direct, direct.begun("a.txt")["id"]) is None


def test_two_judge_at_once(
    direct: DirectClient,
    kind: str,
    unjudged: Callable[[bytes], str],
    monkeypatch: pytest.MonkeyPatch,
    incoming: Callable[[], list[str]],
) -> None:
    """Both have checked the file before either copies it."""
    incoming_type: Any = LocalIncoming if kind == "folder" else S3Incoming
    publish, both = incoming_type.copy_to_files, threading.Barrier(2, timeout=30)

    def publish_together(self: Any, file: Any) -> None:
        both.wait()
        publish(self, file)

    monkeypatch.setattr(incoming_type, "copy_to_files", publish_together)
    file_id = unjudged(b"good")
    verdicts: list[Any] = []
    # moto is a part of this process, and holds the GIL and no lock: there they take turns in what each asks of it.
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
def test_a_second_judge_that_was_held_up(
    direct: DirectClient,
    kind: str,
    unjudged: Callable[[bytes], str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    then: str,
    stored_keys: Callable[[], list[str]],
) -> None:
    """It has checked the file when another one stores it, removes what came in, and perhaps the owner the file."""
    file_id = unjudged(b"good")
    incoming_type: Any = LocalIncoming if kind == "folder" else S3Incoming
    publish = incoming_type.copy_to_files

    def wait_and_publish(self: Any, file: Any) -> None:
        monkeypatch.setattr(incoming_type, "copy_to_files", publish)
        verdict = judge(direct, file_id)
        if then != "stored":
            assert direct.client.application.extensions["services"].storage.delete(file_id, verdict.file.name)
        publish(self, file)

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
    """Do something once: when a file is copied, and just before it could be found."""
    if kind == "folder":
        where = "handler.storage.folder.incoming.locked"

        def late(directory: Path) -> Any:
            monkeypatch.setattr(where, locked)
            act()
            return locked(directory)

        monkeypatch.setattr(where, late)
        return
    client = direct.client.application.extensions["services"].storage.client
    call = client._make_api_call

    def act_and_call(operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "CompleteMultipartUpload":
            monkeypatch.setattr(client, "_make_api_call", call)
            act()
        return call(operation, arguments)

    monkeypatch.setattr(client, "_make_api_call", act_and_call)


@pytest.mark.parametrize("kind", ["folder", pytest.param("strict_s3", marks=pytest.mark.strict_s3)])
def test_a_file_deleted_while_a_second_judge_has_copied_it_already(
    direct: DirectClient,
    kind: str,
    unjudged: Callable[[bytes], str],
    monkeypatch: pytest.MonkeyPatch,
    stored_keys: Callable[[], list[str]],
) -> None:
    """moto fails when what it completes was aborted."""
    file_id = unjudged(b"good")

    def store_and_delete() -> None:
        verdict = judge(direct, file_id)
        assert direct.client.application.extensions["services"].storage.delete(file_id, verdict.file.name)

    before_the_file_is_there(direct, monkeypatch, kind, store_and_delete)
    verdict = judge(direct, file_id)
    assert verdict == Deleted()
    assert visible(stored_keys) == []


@ON_S3
@pytest.mark.parametrize("data", [b"good", b""])
@pytest.mark.parametrize("killed", [False, True])
def test_copy_completed_after_the_deletion_is_deleted_again(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch, stored_keys: Callable[[], list[str]], *,
    data: bytes, killed: bool
) -> None:  # fmt: skip
    """Two judge it at once. The file of the first is deleted before the second writes, and to ``If-None-Match`` a file
    with a delete marker is none. The second may even end before it can look for one."""
    direct = DirectClient(client=make_app(ALLOW_EMPTY_FILES="on").test_client())
    services = direct.client.application.extensions["services"]
    storage, uploads = services.storage, services.direct_uploads
    form = formed(direct, "a.txt")
    assert direct.post(form, data).status == 204
    call, write = storage.client._make_api_call, "CompleteMultipartUpload" if data else "PutObject"

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
def test_what_a_slower_judge_has_begun_to_copy_is_ended(
    direct: DirectClient, unjudged: Callable[[bytes], str], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
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


def test_an_event_before_and_after_the_completion(direct: DirectClient) -> None:
    upload = direct.begun("a.txt")
    assert judge(direct, upload["id"]) is None
    direct.put(upload, 1, b"bytes")
    assert judge(direct, upload["id"]) is None
    answer = direct.complete(upload).json
    judge(direct, upload["id"])
    assert direct.complete(upload).json == answer


# What a declared digest does.


@pytest.mark.parametrize(("data", "status"), [(b"bytes", "stored"), (b"byteS", "refused"), (b"byte", "refused")])
def test_a_forms_declared_digest(direct: DirectClient, data: bytes, status: str) -> None:
    digest = hashlib.sha256(b"bytes").hexdigest()
    form = formed(direct, "a.txt", **{"metadata[sha256]": digest})
    direct.post(form, data)
    answer: Any = direct.status(form["id"]).json
    assert answer["status"] == status
    if status == "stored":
        assert answer["file"]["sha256"] == digest
    else:
        assert answer["problem"]["type"].endswith("digest-mismatch")


# The cost of a form that is sent again, and of a file that somebody else is judging.


def calls_of(direct: DirectClient, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls to S3 from here on."""
    client = direct.client.application.extensions["services"].storage.client
    call, operations = client._make_api_call, []

    def noted(operation: str, arguments: dict[str, Any]) -> Any:
        operations.append(operation)
        return call(operation, arguments)

    monkeypatch.setattr(client, "_make_api_call", noted)
    return operations


def versions_of(s3: S3Client, destination: dict[str, str], file_id: str) -> list[str]:
    """The versions that came in under an id, the oldest first."""
    listed = s3.list_object_versions(Bucket=destination["UPLOAD_BUCKET"], Prefix=f"incoming/{file_id}")
    return [version["VersionId"] for version in reversed(listed.get("Versions", []))]


def sent(direct: DirectClient, contents: Sequence[bytes], **query: Any) -> str:
    """Send a form several times.

    :returns: its id.
    """
    form = formed(direct, "a.txt", **query)
    for data in contents:
        assert direct.post(form, data).status == 204
    file_id: str = form["id"]
    return file_id


@ON_S3
@pytest.mark.parametrize(
    ("first", "look"), [(b"good", "HeadObject"), (SCRIPT, "GetObject")]
)  # of the file, or of the reason why it is refused
def test_event_of_form_that_was_sent_again_reads_and_copies_nothing(
    direct: DirectClient,
    destination: dict[str, str],
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    *,
    first: bytes,
    look: str,
) -> None:
    s3 = request.getfixturevalue(kind)
    file_id = sent(direct, [first, b"x", b"y"])
    one, two, three = versions_of(s3, destination, file_id)
    promotion = promotion_of(direct)
    verdict = promotion.promote(file_id, version=one)
    assert versions_of(s3, destination, file_id) == [two, three], "each is deleted by its own event"
    calls = calls_of(direct, monkeypatch)
    assert promotion.promote(file_id, version=two) == verdict
    assert calls == ["ListObjectVersions", look, "DeleteObject"]
    assert versions_of(s3, destination, file_id) == [three]


@ON_S3
@pytest.mark.parametrize("pages", [False, True])
def test_event_of_form_that_was_sent_again_leaves_the_first_to_its_own_event(
    direct: DirectClient,
    destination: dict[str, str],
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    *,
    pages: bool,
) -> None:
    """While a large file is hashed a thousand more may come in: none of their events reads it again."""
    s3 = request.getfixturevalue(kind)
    file_id = sent(direct, [b"good", b"x", b"y", b"z"], **{"metadata[sha256]": hashlib.sha256(b"good").hexdigest()})
    one, two, three, four = versions_of(s3, destination, file_id)
    promotion = promotion_of(direct)
    client = direct.client.application.extensions["services"].storage.client
    if pages:  # as if two versions were a thousand
        call = client._make_api_call

        def two_a_page(operation: str, arguments: dict[str, Any]) -> Any:
            more = {"MaxKeys": 2} if operation == "ListObjectVersions" else {}
            return call(operation, arguments | more)

        monkeypatch.setattr(client, "_make_api_call", two_a_page)
    with monkeypatch.context() as patch:
        calls = calls_of(direct, patch)
        assert promotion.promote(file_id, version=two) is None
        listed = ["ListObjectVersions"] * (2 if pages else 1)
        assert calls == ["ListObjectVersions", "GetObject", *listed, "DeleteObject"]  # GetObject: it is not refused
    assert versions_of(s3, destination, file_id) == [one, three, four]
    verdict = promotion.promote(file_id, version=one)
    assert verdict is not None
    assert isinstance(verdict, Stored)
    assert versions_of(s3, destination, file_id) == [three, four]


@ON_S3
def test_request_does_not_go_through_thousands_of_versions(
    direct: DirectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = sent(direct, [b"good", b"x", b"y"])
    client = direct.client.application.extensions["services"].storage.client
    call = client._make_api_call

    def two_a_page(operation: str, arguments: dict[str, Any]) -> Any:
        more = {"MaxKeys": 2} if operation == "ListObjectVersions" else {}
        return call(operation, arguments | more)

    with monkeypatch.context() as patch:
        patch.setattr(client, "_make_api_call", two_a_page)
        problem(direct.status(file_id), 503, "storage-unavailable")
    assert stored(direct, file_id) == b"good"


@ON_S3
def test_piled_up_versions_are_deleted_in_one_call(
    direct: DirectClient,
    monkeypatch: pytest.MonkeyPatch,
    incoming: Callable[[], list[str]],
) -> None:
    """For an event that names no version."""
    file_id = sent(direct, [b"good", b"x", b"y", b"z"])
    assert stored(direct, file_id) == b"good"
    assert len(incoming()) == 3
    calls = calls_of(direct, monkeypatch)
    judge(direct, file_id)
    assert calls == ["ListObjectVersions", "HeadObject", "ListObjectVersions", "DeleteObjects"]
    assert incoming() == []


@ON_S3
@pytest.mark.parametrize("discards", [True, False])
def test_hashing_stops_when_somebody_else_has_decided(
    direct: DirectClient, monkeypatch: pytest.MonkeyPatch, *, discards: bool
) -> None:
    """The other function removes what came in; or it is killed before that, and the file is there."""
    monkeypatch.setattr(s3_copy_module, "CHUNK_BYTES", 1)
    data = b"x" * 100
    file_id = sent(direct, [data], **{"metadata[sha256]": hashlib.sha256(data).hexdigest()})
    uploads = direct.client.application.extensions["services"].direct_uploads
    read, reads = S3Incoming.read, 0

    def overtaken(self: S3Incoming, offset: int, length: int) -> bytes:
        nonlocal reads
        reads += length == 1
        if reads == 10:
            with monkeypatch.context() as patch:
                patch.setattr(S3Incoming, "read", read)
                if not discards:
                    patch.setattr(uploads, "discard", lambda *_: None)
                assert judge(direct, file_id).file is not None
        return read(self, offset, length)

    with monkeypatch.context() as patch:
        patch.setattr(S3Incoming, "read", overtaken)
        assert judge(direct, file_id).file.sha256 == hashlib.sha256(data).hexdigest()
    assert reads == (10 if discards else s3_copy_module.CHUNKS_PER_LOOK)


@ON_S3
def test_slower_copy_stops_at_its_next_part(direct: DirectClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct_module, "PART_BYTES", 5 * MIB)
    monkeypatch.setattr(s3_copy_module, "COPIES_AT_ONCE", 1)
    large = samples.png(26 * MIB)
    upload = direct.begun("a.png", size=len(large), partSize=26 * MIB)
    direct.put(upload, 1, large)
    client = direct.client.application.extensions["services"].storage.client
    call, copied = client._make_api_call, 0

    def overtaken(operation: str, arguments: dict[str, Any]) -> Any:
        nonlocal copied
        copied += operation == "UploadPartCopy"
        if copied == 2 and operation == "UploadPartCopy":
            with monkeypatch.context() as patch:
                patch.setattr(client, "_make_api_call", call)
                assert judge(direct, upload["id"]).file is not None
        return call(operation, arguments)

    with monkeypatch.context() as patch:
        patch.setattr(client, "_make_api_call", overtaken)
        answer: Any = direct.complete(upload).json
    assert copied == 2, "of six parts"
    assert content_of(direct, answer["location"]) == large


@pytest.mark.parametrize("kind", ["folder"])
def test_ten_completions_at_once_make_one_copy(direct: DirectClient, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = direct.begun("a.txt")
    direct.put(upload, 1, b"bytes")
    copies: list[str] = []
    open_writer, publish = LocalStorage.open_writer, LocalIncoming.copy_to_files
    all_checked = threading.Barrier(10, timeout=30)

    def counted(self: LocalStorage, **keywords: Any) -> Any:
        copies.append("")
        return open_writer(self, **keywords)

    def publish_together(self: LocalIncoming, file: Any) -> None:
        all_checked.wait()
        publish(self, file)

    uploads = direct.client.application.extensions["services"].direct_uploads
    uploads.complete(upload["id"], upload["id"], uploads.parts(upload["id"], upload["id"]))
    monkeypatch.setattr(LocalStorage, "open_writer", counted)
    monkeypatch.setattr(LocalIncoming, "copy_to_files", publish_together)
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(judge(direct, upload["id"]))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 10
    assert all(answer == answers[0] for answer in answers)
    assert len(copies) == 1


# Files that are copied in parts, or are too large for an answer's time.


def copies_of(direct: DirectClient) -> list[dict[str, Any]]:
    """What S3 is asked to copy from here on."""
    copies: list[dict[str, Any]] = []
    client = direct.client.application.extensions["services"].storage.client
    client.meta.events.register(
        "provide-client-params.s3.UploadPartCopy", lambda params, **_: copies.append(dict(params))
    )
    return copies


@pytest.mark.parametrize("kind", ["s3", pytest.param("strict_s3", marks=pytest.mark.strict_s3)])
def test_a_large_file_is_copied_in_parts(direct: DirectClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct_module, "PART_BYTES", 5 * MIB)
    copies = copies_of(direct)
    large = samples.png(11 * MIB)
    upload = direct.begun("a.png")
    for number in range(3):
        direct.put(upload, number + 1, large[number * 5 * MIB : (number + 1) * 5 * MIB])
    answer: Any = direct.complete(upload).json
    assert sorted((copy["PartNumber"], copy["CopySourceRange"]) for copy in copies) == [
        (1, f"bytes=0-{5 * MIB - 1}"),
        (2, f"bytes={5 * MIB}-{10 * MIB - 1}"),
        (3, f"bytes={10 * MIB}-{11 * MIB - 1}"),
    ]
    assert content_of(direct, answer["location"]) == large


@pytest.mark.parametrize("kind", ["s3"])
def test_a_copy_that_fails_ends_with_the_parts_that_were_begun(direct: DirectClient, s3: S3Client) -> None:
    """The source is not there: each of ten thousand parts would fail."""
    copies = copies_of(direct)
    file_id, size = new_id(), 10_000 * direct_module.PART_BYTES
    large = S3Incoming(
        size=size,
        declaration=Declaration(original_name="a.txt", max_bytes=size),
        storage=direct.client.application.extensions["services"].storage,
        source={"Bucket": BUCKET, "Key": f"incoming/{file_id}", "VersionId": "x"},
    )
    with pytest.raises(Gone):
        large.copy_to_files(file(b"", id=file_id))
    assert len(copies) < 5_000, "some fail while the others are still being handed out"
    assert s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []


@pytest.mark.parametrize("kind", ["s3", pytest.param("strict_s3", marks=pytest.mark.strict_s3)])
def test_a_small_file_is_copied_as_a_whole(direct: DirectClient) -> None:
    """AWS copies a range only of an object of more than 5 MB; neither of these two minds."""
    copies = copies_of(direct)
    answer: Any = direct.send("a.txt", b"bytes").json
    (copy,) = copies
    assert "CopySourceRange" not in copy
    assert content_of(direct, answer["location"]) == b"bytes"


def test_what_takes_too_long_is_judged_by_the_event(
    direct: DirectClient, monkeypatch: pytest.MonkeyPatch, stored_keys: Callable[[], list[str]]
) -> None:
    let_a_gateway_wait(monkeypatch, direct.client.application)
    monkeypatch.setattr("handler.direct.promotion.COPIED_IN_TIME_BYTES", 4)
    upload = direct.begun("a.txt")
    direct.put(upload, 1, b"bytes")
    for _ in range(2):
        response = direct.complete(upload)
        assert response.status_code == 202
        where = response.headers["Location"]
        assert direct.client.get(where).json == {"id": upload["id"], "status": "pending"}
        assert direct.status(upload["id"]).json == {"id": upload["id"], "status": "pending"}
    assert visible(stored_keys) == []
    judge(direct, upload["id"])
    assert (direct.client.get(where).json or {})["status"] == "stored"
    assert direct.complete(upload).status_code == 200


def test_what_has_to_be_read_takes_longer(direct: DirectClient, monkeypatch: pytest.MonkeyPatch) -> None:
    let_a_gateway_wait(monkeypatch, direct.client.application)
    monkeypatch.setattr("handler.direct.promotion.READ_IN_TIME_BYTES", 4)
    assert direct.send("a.txt", b"bytes").status_code == 200
    assert direct.send("a.txt", b"bytes", sha256=hashlib.sha256(b"bytes").hexdigest()).status_code == 202


# Buckets that are not as they should be.


@pytest.mark.strict_s3
@pytest.mark.parametrize("kind", ["folder"])  # of which nothing is used; moto knows no version "null"
def test_without_versioning_a_form_cannot_be_judged_and_parts_can(
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
    answer: Any = direct.send("a.txt", b"bytes").json
    assert content_of(direct, answer["location"]) == b"bytes"


@pytest.mark.parametrize("kind", ["s3"])
@pytest.mark.parametrize(
    "metadata", [{}, {"original-name": "a.txt"}, {"max-bytes": "1"}, {"original-name": "a.txt", "max-bytes": "many"}]
)
def test_what_was_not_written_with_our_urls(
    direct: DirectClient, s3: S3Client, metadata: dict[str, str], stored_keys: Callable[[], list[str]]
) -> None:
    file_id = formed(direct, "a.txt")["id"]
    s3.put_object(Bucket=BUCKET, Key=f"incoming/{file_id}", Body=b"bytes", Metadata=metadata)
    with pytest.raises(StorageUnavailable, match="cannot be reached"):
        judge(direct, file_id)
    problem(direct.status(file_id), 503, "storage-unavailable")
    assert visible(stored_keys) == []


@pytest.mark.parametrize("kind", ["s3"])
def test_a_longer_key_is_another_upload(direct: DirectClient, s3: S3Client) -> None:
    file_id = new_id()
    s3.put_object(Bucket=BUCKET, Key=f"incoming/{file_id}0", Body=b"bytes", Metadata={"original-name": "a.txt"})
    assert judge(direct, file_id) is None


# Functions that sign with one key.


@pytest.mark.parametrize("kind", ["s3", pytest.param("strict_s3", marks=pytest.mark.strict_s3)])
def test_a_key_that_is_deleted_is_soon_good_nowhere(
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
def test_a_key_is_not_read_for_every_request(direct: DirectClient) -> None:
    client = direct.client.application.extensions["services"].storage.client
    keys: list[str] = []
    client.meta.events.register("provide-client-params.s3.GetObject", lambda params, **_: keys.append(params["Key"]))
    for _ in range(3):
        direct.begun("a.txt")
    assert keys == ["secrets/upload-ids"]


# S3 fails, at each of the calls that a verdict takes.

FAULTS = ["throttle", "forbid", "cut off", "cut off after it was done", "garbage", "page", "page with an ETag"]
PAGE = b"<html><head><title>Sign in to use this network</title></head><body/></html>"


class Body(io.BytesIO):
    """The body of a response, as botocore reads it."""

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        yield self.read()


PAGE_FIELDS = {
    "page": {"Content-Type": "text/html"},
    "page with an ETag": {"Content-Type": "application/xhtml+xml", "ETag": '"e"'},
}


def page(request: Any, *, fields: dict[str, str], **_: object) -> AWSResponse:
    """A response that a proxy makes to any request: botocore takes its 200 for S3's."""
    headers = fields | {"Content-Length": str(len(PAGE))}
    return AWSResponse(request.url, 200, headers, Body(PAGE))  # type: ignore[arg-type]


class Faults:
    """Lets the n-th call to S3 fail.

    :param at: which one, from 0.
    """

    def __init__(self, client: S3Client, *, fault: str, at: int) -> None:
        self.calls = 0
        self._fault, self._at = fault, at
        self._events: Any = client.meta.events
        self._call: Callable[..., Any] = client._make_api_call  # type: ignore[attr-defined]

    def __call__(self, operation: str, arguments: dict[str, Any]) -> Any:
        self.calls += 1
        if self.calls - 1 != self._at:
            return self._call(operation, arguments)
        match self._fault:
            case "throttle":
                raise error(operation, 503, "SlowDown")
            case "forbid":
                raise error(operation, 403, "AccessDenied")
            case "cut off after it was done":
                self._call(operation, arguments)
            case "garbage":
                return {"ResponseMetadata": {"HTTPStatusCode": 200}}
            case "page" | "page with an ETag":
                answer = partial(page, fields=PAGE_FIELDS[self._fault])
                self._events.register_first("before-send.s3", answer)
                try:
                    return self._call(operation, arguments)
                finally:
                    self._events.unregister("before-send.s3", answer)
        raise ConnectionClosedError(endpoint_url="https://s3")


def error(operation: str, status: int, code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)  # type: ignore[typeddict-item]


def way(kind: str, direct: DirectClient, unjudged: Callable[[bytes], str], data: bytes) -> str:
    if kind == "form":
        return unjudged(data)
    upload = direct.begun("a.txt", sha256=hashlib.sha256(data).hexdigest())
    direct.put(upload, 1, data)
    uploads = direct.client.application.extensions["services"].direct_uploads
    (found,) = uploads._client.list_multipart_uploads(Bucket=BUCKET, Prefix=upload["key"])["Uploads"]
    uploads.complete(upload["id"], found["UploadId"], uploads.parts(upload["id"], found["UploadId"]))
    file_id: str = upload["id"]
    return file_id


@pytest.mark.parametrize("kind", ["s3"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("by", ["form", "parts"])
@pytest.mark.parametrize("data", [b"good", SCRIPT])
def test_s3_fails_at_any_call(
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
def test_s3_fails_at_any_call_of_a_whole_upload(
    direct: DirectClient, monkeypatch: pytest.MonkeyPatch, fault: str, stored_keys: Callable[[], list[str]]
) -> None:
    """Every request is made again after a 503, as clients do; it ends well."""
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
def test_other_bytes_than_asked_for_are_no_reason_to_refuse(
    direct: DirectClient, unjudged: Callable[[bytes], str], monkeypatch: pytest.MonkeyPatch, answered: bytes
) -> None:
    file_id = unjudged(b"good")
    client = direct.client.application.extensions["services"].storage.client
    call = client._make_api_call

    def lie(operation: str, arguments: dict[str, Any]) -> Any:
        answer = call(operation, arguments)
        if operation == "GetObject" and arguments["Key"].startswith("incoming/"):
            answer["Body"].close()
            answer["Body"] = io.BytesIO(answered)
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(client, "_make_api_call", lie)
        problem(direct.status(file_id), 503, "storage-unavailable")
    assert stored(direct, file_id) == b"good"


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
    found: dict[str, Any] = json.loads(line)
    assert found.pop("milliseconds") >= 0
    assert found.pop("time")
    return found


@pytest.mark.parametrize(
    ("data", "files", "problem_type"),
    [
        (b"good", [{"size": 4, "type": "text/plain"}], None),
        (SCRIPT, [], "urn:problem-type:upload:content-mismatch"),
        (None, [], None),
    ],
)
def test_an_event(
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
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
    assert keys == ([f"files/{file_id}/a.txt"] if files else [f"refused/{file_id}.json"] if problem_type else [])


@pytest.mark.parametrize(
    "key",
    [
        f"files/{'0' * 32}/a.txt",
        f"incoming/{'0' * 32}/a",
        f"incoming/{'0' * 31}",
        f"incoming/{'A' * 32}",
        f"incoming/{'0' * 32}\n",
        f"x/incoming/{'0' * 32}",
        "incoming/",
        "",
        None,
        5,
        {},
    ],
)
def test_an_event_about_something_else(promote: Any, key: Any) -> None:
    with pytest.raises(ValueError, match="incoming/ only"):
        promote.promote_handler(object_created(BUCKET, key), Context())


@pytest.mark.parametrize("malformed", [{}, {"detail": None}, {"detail": {"object": {}}}, {"Records": []}, None, []])
def test_what_is_no_event_of_s3(promote: Any, malformed: Any) -> None:
    with pytest.raises(ValueError, match="Object Created"):
        promote.promote_handler(malformed, Context())


def test_events_from_the_queue(promote: Any, s3: S3Client, capsys: pytest.CaptureFixture[str]) -> None:
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
def test_message_that_is_no_event_is_rejected(promote: Any, records: Any) -> None:
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


def test_lambda_is_to_call_again_when_s3_fails(promote: Any, s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> None:
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


# The folder: killed, filled up, and shared.


@pytest.fixture
def folder(tmp_path: Path) -> LocalDirectUploads:
    return LocalDirectUploads(LocalStorage(tmp_path / "uploads"))


def local_promotion(uploads: LocalDirectUploads, make_app: Callable[..., Flask]) -> Promotion:
    intake: Intake = make_app().extensions["services"].intake
    return Promotion(uploads, intake=intake)


STEPS = {
    "rename": "os.rename",
    "link": "os.link",
    "mkdir": "os.mkdir",
    "unlink": "os.unlink",
    "rmdir": "os.rmdir",
    "fsync": "os.fsync",
    "flock": "handler.storage.folder.locks.fcntl.flock",
    "touch": "pathlib.Path.touch",
}


class Steps:
    """Counts what is asked of the file system, and at the n-th step ends the process, or has the disk fail."""

    def __init__(self, patch: pytest.MonkeyPatch, *, at: int, dies: bool) -> None:
        self.steps = 0
        self._at, self._dies, self._dead = at, dies, False
        for name in STEPS.values():
            self._wrap(patch, name)

    def _wrap(self, patch: pytest.MonkeyPatch, name: str) -> None:
        module, _, attribute = name.rpartition(".")
        owner: Any = {"os": os, "pathlib.Path": Path}.get(module) or sys.modules["fcntl"]
        original = getattr(owner, attribute)

        def step(*arguments: Any, **keywords: Any) -> Any:
            if self._dead:
                raise Killed
            self.steps += 1
            if self.steps - 1 == self._at:
                self._dead = self._dies
                raise Killed if self._dies else OSError(28, "No space left on device")
            return original(*arguments, **keywords)

        patch.setattr(owner, attribute, step)


@pytest.mark.parametrize("kind", ["folder"])
@pytest.mark.parametrize("dies", [True, False])
@pytest.mark.parametrize("data", [b"good", SCRIPT])
def test_the_disk_or_the_process_fails_at_any_step(
    make_app: Callable[..., Flask], destination: dict[str, str], *, dies: bool, data: bytes
) -> None:
    root = Path(destination["UPLOAD_FOLDER"])
    for at in range(200):
        uploads: Any = make_app().extensions["services"].direct_uploads
        promotion = local_promotion(uploads, make_app)
        file_id = new_id()
        declaration = Declaration(original_name="a.txt", max_bytes=100)

        def attempt(uploads: Any, promotion: Promotion, file_id: str, declaration: Declaration) -> None:
            """What is done already is not done again, as by a client that makes each request until it works."""
            if promotion.promote(file_id) is not None:
                return
            if not uploads.has_multipart_upload(file_id, file_id):
                uploads.begin(file_id, declaration)
            if not uploads.parts(file_id, file_id):
                ticket = uploads.part_url(file_id, file_id, 1, size=None).rpartition("/")[2]
                uploads.take_part(ticket, [data])
            uploads.complete(file_id, file_id, uploads.parts(file_id, file_id))
            assert promotion.promote(file_id) is not None

        with pytest.MonkeyPatch.context() as patch:
            steps = Steps(patch, at=at, dies=dies)
            with contextlib.suppress(Killed, StorageUnavailable):
                attempt(uploads, promotion, file_id, declaration)
        for path in (root / "files").glob("*/*"):
            assert path.read_bytes() == b"good"
        restarted: Any = make_app().extensions["services"].direct_uploads  # which is another process, in effect
        promotion = local_promotion(restarted, make_app)
        attempt(restarted, promotion, file_id, declaration)
        verdict = promotion.promote(file_id)
        assert verdict is not None
        if data == SCRIPT:
            assert isinstance(verdict, Refused)
        else:
            assert isinstance(verdict, Stored)
            assert (root / verdict.file.key).read_bytes() == b"good"
        assert not (root / "incoming" / f"{file_id}.complete").exists()
        if steps.steps <= at:
            break
    assert steps.steps <= at, "there is an end to the steps"
    assert at > 15


@pytest.mark.parametrize("kind", ["folder"])
def test_a_file_that_was_stored_when_the_process_was_killed_can_be_deleted(
    direct: DirectClient,
    unjudged: Callable[[bytes], str],
    make_app: Callable[..., Flask],
    stored_keys: Callable[[], list[str]],
) -> None:
    """It was there, and nothing said yet that there had been a verdict."""
    file_id = unjudged(b"good")

    def killed(*_: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "touch", killed)
        with pytest.raises(Killed):
            judge(direct, file_id)
    assert visible(stored_keys) == [f"files/{file_id}/a.txt"]
    restarted = DirectClient(client=make_app().test_client())
    assert restarted.client.application.extensions["services"].storage.delete(file_id, "a.txt")
    assert restarted.status(file_id).status_code == 404
    assert visible(stored_keys) == []


def test_two_send_the_same_part_at_once(folder: LocalDirectUploads, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is about to put its part in its place when the other is: one of them stays, in any case."""
    file_id = begun(folder)
    folder.take_part(part_ticket(folder, file_id, 1), [b"before"])
    both = threading.Barrier(2, timeout=30)
    rename = Path.rename

    def rename_together(self: Path, target: Path) -> Path:
        if self.name == "data":
            both.wait()
        renamed = rename(self, target)
        if self.name == "data":
            both.wait()
        return renamed

    monkeypatch.setattr(Path, "rename", rename_together)
    threads = [
        threading.Thread(target=folder.take_part, args=(part_ticket(folder, file_id, 1), [data]))
        for data in (b"a", b"b")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (part,) = folder.parts(file_id, file_id)
    assert part.etag in {hashlib.md5(data).hexdigest() for data in (b"a", b"b")}


def test_a_part_that_comes_while_the_upload_is_completed(folder: LocalDirectUploads) -> None:
    file_id = begun(folder)
    folder.take_part(part_ticket(folder, file_id, 1), [b"listed"])
    listed = folder.parts(file_id, file_id)
    folder.take_part(part_ticket(folder, file_id, 1), [b"sent again"])
    with pytest.raises(UploadIncomplete):
        folder.complete(file_id, file_id, listed)
    assert folder.open_incoming(file_id) is None
    folder.complete(file_id, file_id, folder.parts(file_id, file_id))
    completed = folder.open_incoming(file_id)
    assert completed is not None
    assert completed.read(0, 100) == b"sent again"
    with pytest.raises(UploadNotFound):
        folder.take_part(part_ticket(folder, file_id, 1), [b"late"])
    with pytest.raises(UploadNotFound):
        folder.complete(file_id, file_id, listed)


def test_aborting_an_upload_while_it_is_completed_comes_too_late(
    folder: LocalDirectUploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An abort that found nothing to wait for would say that an upload is forgotten which is then stored."""
    file_id = begun(folder)
    folder.take_part(part_ticket(folder, file_id, 1), [b"bytes"])
    close, found = LocalDirectUploads._close, []

    def abort() -> None:
        folder.abort(file_id, file_id)
        found.append(folder.arrived(file_id))

    thread = threading.Thread(target=abort)

    def close_during_the_abort(self: LocalDirectUploads, file_id: str, directory: Path) -> None:
        thread.start()
        thread.join(timeout=0.3)  # without the lock it ends here
        close(self, file_id, directory)

    monkeypatch.setattr(LocalDirectUploads, "_close", close_during_the_abort)
    folder.complete(file_id, file_id, folder.parts(file_id, file_id))
    thread.join()
    assert found == [True]


def test_a_completion_that_the_disk_refuses_loses_no_part(
    folder: LocalDirectUploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = begun(folder)
    folder.take_part(part_ticket(folder, file_id, 1), [b"bytes"])
    listed = folder.parts(file_id, file_id)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("os.link", "handler.storage.folder.direct._rename_unless_taken"):
        with monkeypatch.context() as patch:
            patch.setattr(name, full)
            with pytest.raises(StorageUnavailable):
                folder.complete(file_id, file_id, listed)
        assert folder.parts(file_id, file_id) == listed
    folder.complete(file_id, file_id, listed)
    assert folder.open_incoming(file_id) is not None


def test_parts_left_by_a_killed_completion_count_no_more(
    folder: LocalDirectUploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a client could replace them, and would be told that the file with the earlier ones is its own."""
    file_id = begun(folder)
    folder.take_part(part_ticket(folder, file_id, 1), [b"first"])

    remove = LocalDirectUploads._remove

    def killed_after_closing(self: LocalDirectUploads, upload: Path) -> None:
        if upload.suffix != ".complete":
            raise SystemExit
        remove(self, upload)

    listed = folder.parts(file_id, file_id)
    with monkeypatch.context() as patch:
        patch.setattr(LocalDirectUploads, "_remove", killed_after_closing)
        with pytest.raises(SystemExit):
            folder.complete(file_id, file_id, listed)
    assert not folder.has_multipart_upload(file_id, file_id)
    with pytest.raises(UploadNotFound):
        folder.take_part(part_ticket(folder, file_id, 1), [b"second"])
    with pytest.raises(UploadNotFound):
        folder.parts(file_id, file_id)
    completed = folder.open_incoming(file_id)
    assert completed is not None
    assert completed.read(0, 100) == b"first"
    folder.discard(file_id)
    assert not folder.has_multipart_upload(file_id, file_id)


def sent_form(folder: LocalDirectUploads, form: PresignedPost, data: bytes) -> bool:
    """Send a form; ``False`` if it was sent before."""
    try:
        folder.take_post(key=form.fields["key"], policy=form.fields["policy"], chunks=[data])
    except Forbidden:
        return False
    return True


def test_of_two_forms_sent_at_once_one_is_taken(folder: LocalDirectUploads, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise both would be told that their bytes have arrived, and those of one would be lost."""
    file_id = new_id()
    form = folder.presigned_post(file_id, Declaration(original_name="a.txt", max_bytes=100))
    close, taken = LocalDirectUploads._close, []
    thread = threading.Thread(target=lambda: taken.append(sent_form(folder, form, b"other")))

    def close_during_the_other(self: LocalDirectUploads, file_id: str, directory: Path) -> None:
        monkeypatch.undo()
        thread.start()
        thread.join(timeout=0.3)  # without the lock it ends here
        close(self, file_id, directory)

    monkeypatch.setattr(LocalDirectUploads, "_close", close_during_the_other)
    assert sent_form(folder, form, b"first")
    thread.join()
    assert taken == [False]
    completed = folder.open_incoming(file_id)
    assert completed is not None
    assert completed.read(0, 100) == b"first"


def test_form_sent_again_while_the_first_is_judged_is_refused(
    folder: LocalDirectUploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = new_id()
    form = folder.presigned_post(file_id, Declaration(original_name="a.txt", max_bytes=100))
    assert sent_form(folder, form, b"first")

    def judged_meanwhile(self: LocalDirectUploads, file_id: str) -> LocalIncoming | None:
        monkeypatch.undo()
        self.refuse(file_id, InternalError().as_dict())
        self.discard(file_id)
        return self.open_incoming(file_id)

    monkeypatch.setattr(LocalDirectUploads, "open_incoming", judged_meanwhile)
    assert not sent_form(folder, form, b"again")


def test_status_of_a_file_that_is_deleted_at_this_moment(
    folder: LocalDirectUploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = begun(folder)
    directory = folder._folder / "files" / file_id
    scandir, listdir = os.scandir, os.listdir

    def list_after_the_delete(function: Callable[..., Any]) -> Callable[..., Any]:
        def list_(path: Any) -> Any:
            if Path(path) == directory and directory.exists():
                directory.rmdir()
            return function(path)

        return list_

    for ask in (folder.find_verdict, folder._storage.contains, folder._storage.release):
        directory.mkdir()
        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", list_after_the_delete(scandir))
            patch.setattr(os, "listdir", list_after_the_delete(listdir))
            assert not ask(file_id)
        assert not directory.exists()


def test_part_of_an_upload_that_is_removed_at_this_moment_is_not_found(
    folder: LocalDirectUploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = begun(folder)
    scandir = os.scandir

    def scan_after_the_removal(path: Any) -> Any:
        if path in (folder._open(file_id), str(folder._open(file_id))):
            monkeypatch.undo()
            folder.abort(file_id, file_id)
        return scandir(path)

    ticket = part_ticket(folder, file_id, 1)
    monkeypatch.setattr(os, "scandir", scan_after_the_removal)
    with pytest.raises(UploadNotFound):
        folder.take_part(ticket, [b"bytes"])


def test_a_part_that_is_on_its_way_when_the_upload_is_completed(folder: LocalDirectUploads) -> None:
    file_id = begun(folder)
    folder.take_part(part_ticket(folder, file_id, 1), [b"first"])

    def slow() -> Iterator[bytes]:
        yield b"sec"
        folder.complete(file_id, file_id, folder.parts(file_id, file_id))
        yield b"ond"

    with pytest.raises(UploadNotFound):
        folder.take_part(part_ticket(folder, file_id, 1), slow())
    completed = folder.open_incoming(file_id)
    assert completed is not None
    assert completed.read(0, 100) == b"first"


def test_two_servers_on_one_folder(folder: LocalDirectUploads, tmp_path: Path) -> None:
    other = LocalDirectUploads(LocalStorage(tmp_path / "uploads"))
    assert other.secret() == folder.secret()
    assert len(folder.secret()) == 32
    assert (tmp_path / "uploads" / "secret").stat().st_mode & 0o077 == 0
    file_id = begun(folder)
    etag = other.take_part(part_ticket(folder, file_id, 1), [b"bytes"])
    assert folder.parts(file_id, file_id) == [UploadedPart(number=1, etag=etag, size=5)]


def test_many_servers_make_one_secret(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    secrets: list[bytes] = []
    threads = [threading.Thread(target=lambda: secrets.append(LocalDirectUploads(storage).secret())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(secrets) == 8
    assert len(set(secrets)) == 1


DAY = 24 * 60 * 60


def test_what_is_swept_and_what_is_not(folder: LocalDirectUploads, tmp_path: Path) -> None:
    root, now = tmp_path / "uploads", time.time()
    ages = {"young": -60.0, "old": 60.0}
    for place, limit in (("incoming", DAY), ("judged", DAY), ("refused", 7 * DAY)):
        for name, beyond in ages.items():
            path = root / place / name
            if place == "incoming":
                path.mkdir()
                (path / "declaration.json").touch()
                os.utime(path / "declaration.json", (now, now - limit - beyond))
            else:
                path.touch()
            os.utime(path, (now, now - limit - beyond))
    active = root / "incoming" / "active"  # an old directory with a part that has just come
    active.mkdir()
    (active / f"1.{'0' * 32}").touch()
    os.utime(active, (now, now - 2 * DAY))
    killed = root / "tmp" / "killed"  # by a process that ended in the middle of a part, while this one ran already
    killed.mkdir()
    (killed / "data").touch()
    claim = root / "metadata" / f"{'0' * 32}.json"  # or in the middle of a commit
    claim.touch()
    for path in (killed / "data", killed, claim):
        os.utime(path, (now, now - DAY - 60))
    folder._swept = 0
    folder.begin("new", Declaration(original_name="a.txt", max_bytes=1))
    assert sorted(path.name for path in (root / "incoming").iterdir()) == ["active", "new", "young"]
    assert [path.name for path in (root / "judged").iterdir()] == ["young"]
    assert [path.name for path in (root / "refused").iterdir()] == ["young"]
    assert list((root / "tmp").iterdir()) == []
    assert list((root / "metadata").iterdir()) == []


def test_sweeping_is_done_now_and_then_alone(folder: LocalDirectUploads, tmp_path: Path) -> None:
    old = tmp_path / "uploads" / "judged" / "old"
    old.touch()
    os.utime(old, (0, 0))
    folder.presigned_post("new", Declaration(original_name="a.txt", max_bytes=1))
    assert old.exists()


@pytest.mark.parametrize("kind", ["folder"])
def test_a_part_is_not_held_in_memory(client: FlaskClient) -> None:
    import tracemalloc  # noqa: PLC0415

    direct = DirectClient(client=client)
    upload = direct.begun("a.png")
    url = (direct.part_url(upload, 1).json or {})["url"]
    size = 64 * MIB

    class Endless:
        """A body that nobody holds."""

        left = size

        def read(self, wanted: int = -1) -> bytes:
            given = min(self.left, size if wanted < 0 else wanted)
            self.left -= given
            return bytes(given)

        readline = read

    tracemalloc.start()
    response = client.put(url, environ_overrides={"wsgi.input": Endless(), "CONTENT_LENGTH": str(size)})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert response.status_code == 200
    assert (direct.parts(upload).json or [])[0]["Size"] == size
    assert peak < 8 * MIB


@pytest.mark.parametrize("kind", ["folder"])
def test_a_connection_that_ends_in_the_middle_leaves_nothing(
    client: FlaskClient, stored_keys: Callable[[], list[str]]
) -> None:
    direct = DirectClient(client=client)
    upload = direct.begun("a.txt")
    url = (direct.part_url(upload, 1).json or {})["url"]
    before = stored_keys()
    assert client.put(url, data=b"half", environ_overrides={"CONTENT_LENGTH": "8"}).status_code == 400
    form = formed(direct, "a.txt")
    cut = b'--x\r\nContent-Disposition: form-data; name="key"\r\n\r\n' + form["fields"]["key"].encode()
    cut += b'\r\n--x\r\nContent-Disposition: form-data; name="policy"\r\n\r\n' + form["fields"]["policy"].encode()
    cut += b'\r\n--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf of it'
    response = client.post(form["url"], data=cut, content_type="multipart/form-data; boundary=x")
    assert response.status_code == 400
    assert stored_keys() == before
    assert direct.post(form, b"the whole").status == 204, "the form is still good"
    assert stored(direct, form["id"]) == b"the whole"


@pytest.mark.parametrize("kind", ["folder"])
def test_a_form_that_could_not_be_judged_at_once(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    direct = DirectClient(client=client)
    form = formed(direct, "a.txt")

    def full(*_: object) -> None:
        raise StorageUnavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(LocalIncoming, "copy_to_files", full)
        assert direct.post(form, b"bytes").status == 204
    assert "the disk is full" in capsys.readouterr().out
    assert stored(direct, form["id"]) == b"bytes"
