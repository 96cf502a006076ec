"""The S3 calls, copies and time of a promotion."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Any

import pytest

from handler.storage import new_id
from handler.storage.direct import Declaration, Gone, Stored
from handler.storage.folder.files import LocalStorage
from handler.storage.folder.incoming import LocalIncoming
from handler.storage.s3 import copy as s3_copy_module
from handler.storage.s3.copy import S3Incoming

from ..conftest import BUCKET
from ..support import hashing_s3, samples
from ..support.direct_client import MIB, SCRIPT, DirectClient, content_of, formed, judge, stored
from ..support.http_client import problem
from ..support.lambda_runtime import let_a_gateway_wait
from ..support.promotions import ON_S3, copy_every_file, promotion_of, visible
from ..support.stored_files import file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_s3 import S3Client


# The cost of a form that is sent again, and of a file that somebody else is judging.


def calls_of(direct: DirectClient, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of calls to S3 from now on."""
    client = direct.client.application.extensions["services"].storage.client
    call, operations = client._make_api_call, []

    def noted(operation: str, arguments: dict[str, Any]) -> Any:
        operations.append(operation)
        return call(operation, arguments)

    monkeypatch.setattr(client, "_make_api_call", noted)
    return operations


def versions_of(s3: S3Client, destination: dict[str, str], file_id: str) -> list[str]:
    """Return the versions of an upload, the oldest first."""
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
def test_event_of_a_repeated_form_reads_and_copies_nothing(
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
def test_event_of_a_repeated_form_does_not_promote_the_first(
    direct: DirectClient,
    destination: dict[str, str],
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    *,
    pages: bool,
) -> None:
    """A thousand more forms may arrive while a large file is hashed. No event of those forms reads the file again."""
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
def test_request_does_not_list_thousands_of_versions(direct: DirectClient, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_hashing_stops_when_another_promotion_has_a_verdict(
    direct: DirectClient, monkeypatch: pytest.MonkeyPatch, *, discards: bool
) -> None:
    """The other function removes the upload, or is killed before the removal, when the file is already stored.

    Only files that the store does not hash are read.
    """
    copy_every_file(monkeypatch)
    hashing_s3.uninstall(monkeypatch)
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
    monkeypatch.setattr(s3_copy_module, "COPIED_PART_BYTES", 5 * MIB)
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
        response: Any = direct.complete(upload).json
    assert copied == 2, "of six parts"
    assert content_of(direct, response["location"]) == large


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

    def publish_together(self: LocalIncoming, file: Any) -> Any:
        all_checked.wait()
        return publish(self, file)

    uploads = direct.client.application.extensions["services"].direct_uploads
    uploads.complete(upload["id"], upload["id"], uploads.parts(upload["id"], upload["id"]))
    monkeypatch.setattr(LocalStorage, "open_writer", counted)
    monkeypatch.setattr(LocalIncoming, "copy_to_files", publish_together)
    responses: list[Any] = []
    threads = [threading.Thread(target=lambda: responses.append(judge(direct, upload["id"]))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(responses) == 10
    assert all(response == responses[0] for response in responses)
    assert len(copies) == 1


# Files that are copied in parts, or are too large for an answer's time.


def copies_of(direct: DirectClient) -> list[dict[str, Any]]:
    """Return the list of copies that S3 is asked for from now on."""
    copies: list[dict[str, Any]] = []
    client = direct.client.application.extensions["services"].storage.client
    client.meta.events.register(
        "provide-client-params.s3.UploadPartCopy", lambda params, **_: copies.append(dict(params))
    )
    return copies


@pytest.mark.parametrize("kind", ["s3", pytest.param("strict_s3", marks=pytest.mark.strict_s3)])
def test_large_file_is_copied_in_parts(direct: DirectClient, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_copy_module, "COPIED_PART_BYTES", 5 * MIB)
    direct.client.application.extensions["services"].storage.hashes_copies = kind == "s3"
    copies = copies_of(direct)
    large = samples.png(11 * MIB)
    upload = direct.begun("a.png")
    for number in range(3):
        direct.put(upload, number + 1, large[number * 5 * MIB : (number + 1) * 5 * MIB])
    response: Any = direct.complete(upload).json
    assert sorted((copy["PartNumber"], copy["CopySourceRange"]) for copy in copies) == [
        (1, f"bytes=0-{5 * MIB - 1}"),
        (2, f"bytes={5 * MIB}-{10 * MIB - 1}"),
        (3, f"bytes={10 * MIB}-{11 * MIB - 1}"),
    ]
    assert content_of(direct, response["location"]) == large


@pytest.mark.parametrize("kind", ["s3"])
def test_failed_copy_begins_no_further_part(direct: DirectClient, s3: S3Client) -> None:
    """The source is missing, so each of ten thousand parts would fail."""
    copies = copies_of(direct)
    file_id, size = new_id(), 10_000 * s3_copy_module.COPIED_PART_BYTES
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
def test_file_of_one_part_is_copied_as_a_whole(
    direct: DirectClient, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS copies a range only of an object of more than 5 MB. moto and LocalStack copy any range."""
    copy_every_file(monkeypatch)
    direct.client.application.extensions["services"].storage.hashes_copies = kind == "s3"
    copies = copies_of(direct)
    response: Any = direct.send("a.txt", b"bytes").json
    (copy,) = copies
    assert "CopySourceRange" not in copy
    assert content_of(direct, response["location"]) == b"bytes"


def test_file_too_large_to_copy_in_a_request_is_promoted_by_the_event(
    direct: DirectClient, monkeypatch: pytest.MonkeyPatch, stored_keys: Callable[[], list[str]]
) -> None:
    let_a_gateway_wait(monkeypatch, direct.client.application)
    monkeypatch.setattr("handler.direct.promotion.COPIED_IN_TIME_BYTES", 4)
    upload = direct.begun("a.txt")
    direct.put(upload, 1, b"bytes")
    for _ in range(2):
        response = direct.complete(upload)
        assert response.status_code == 202
        url = response.headers["Location"]
        assert direct.client.get(url).json == {"id": upload["id"], "status": "pending"}
        assert direct.status(upload["id"]).json == {"id": upload["id"], "status": "pending"}
    assert visible(stored_keys) == []
    judge(direct, upload["id"])
    assert (direct.client.get(url).json or {})["status"] == "stored"
    assert direct.complete(upload).status_code == 200


def test_file_with_a_declared_digest_has_a_smaller_limit_in_a_request(
    direct: DirectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_a_gateway_wait(monkeypatch, direct.client.application)
    monkeypatch.setattr("handler.direct.promotion.READ_IN_TIME_BYTES", 4)
    assert direct.send("a.txt", b"bytes").status_code == 200
    assert direct.send("a.txt", b"bytes", sha256=hashlib.sha256(b"bytes").hexdigest()).status_code == 202
