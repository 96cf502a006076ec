"""The completion of an upload behind a gateway: what it costs, and its event, which cleans up after it."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Any

import pytest

from ..conftest import BUCKET
from ..support import samples
from ..support.direct_client import MIB, SCRIPT, DirectClient, content_of, judge
from ..support.http_client import problem
from ..support.lambda_runtime import let_a_gateway_wait
from ..support.promotions import ON_S3, Killed, copy_every_file, visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client

ONLY_S3 = pytest.mark.parametrize("kind", ["s3"])
COPIED = pytest.mark.parametrize("copied", [False, True])
DIGEST = hashlib.sha256(b"bytes").hexdigest()


@pytest.fixture
def behind_a_gateway(direct: DirectClient, monkeypatch: pytest.MonkeyPatch) -> DirectClient:
    let_a_gateway_wait(monkeypatch, direct.client.application)
    return direct


def client_of(direct: DirectClient) -> Any:
    return direct.client.application.extensions["services"].storage.client


def note(direct: DirectClient, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of calls to S3 from now on."""
    client, operations = client_of(direct), []
    call = client._make_api_call

    def noted(operation: str, arguments: dict[str, Any]) -> Any:
        operations.append(operation)
        return call(operation, arguments)

    monkeypatch.setattr(client, "_make_api_call", noted)
    return operations


def sent(direct: DirectClient, content: bytes, filename: str = "a.txt", **declared: Any) -> tuple[Any, list[Any]]:
    """Send a file in one part, and return the upload and its parts."""
    upload = direct.begun(filename, **declared)
    return upload, [direct.put(upload, 1, content)]


def sized(content: bytes) -> dict[str, Any]:
    return {"size": len(content), "partSize": len(content)}


TEXT = b"a line of text\n" * (400 * 1024)  # 6 MB
PDF = samples.PDF[:9] + b"%" + b"a" * (6 * MIB) + b"\n" + samples.PDF[9:]


# The cost.


@ONLY_S3
@pytest.mark.parametrize(
    ("filename", "content"),
    [("a.txt", TEXT), ("a.png", samples.png(6 * MIB)), ("a.pdf", PDF)],
    ids=["text", "image", "document"],
)
@pytest.mark.parametrize("digest", [False, True])
def test_ordinary_completion_makes_at_most_six_calls(
    behind_a_gateway: DirectClient, monkeypatch: pytest.MonkeyPatch, *, filename: str, content: bytes, digest: bool
) -> None:
    """All calls count, also the reads of the inspection."""
    direct = behind_a_gateway
    declared = sized(content) | ({"sha256": hashlib.sha256(content).hexdigest()} if digest else {})
    upload, parts = sent(direct, content, filename, **declared)
    calls = note(direct, monkeypatch)
    response = direct.complete(upload, parts)
    assert response.status_code == 200, response.text
    assert len(calls) <= 6, calls
    assert (response.json or {})["files"][0]["sha256"] == hashlib.sha256(content).hexdigest()


@ONLY_S3
def test_completion_of_a_larger_file_makes_five_calls_besides_the_reads(
    behind_a_gateway: DirectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct, content = behind_a_gateway, TEXT * 3
    upload, parts = sent(direct, content, **sized(content))
    calls = note(direct, monkeypatch)
    assert direct.complete(upload, parts).status_code == 200
    assert len([call for call in calls if call != "GetObject"]) == 5, calls
    assert calls.count("GetObject") == 2, "the beginning with the metadata, and the end of a text"


@ONLY_S3
def test_completion_without_a_list_or_a_gateway_makes_six_calls(
    direct: DirectClient, monkeypatch: pytest.MonkeyPatch, incoming: Callable[[], list[str]]
) -> None:
    upload, _ = sent(direct, TEXT)
    calls = note(direct, monkeypatch)
    assert direct.complete(upload).status_code == 200
    assert len(calls) == 6, calls
    assert incoming() == []


# The list of parts. S3 compares it, so that no ListParts is necessary.


def test_list_that_names_other_parts_is_rejected_and_loses_nothing(direct: DirectClient) -> None:
    content = samples.png(6 * MIB)
    upload = direct.begun("a.png", size=len(content), partSize=5 * MIB)
    one = direct.put(upload, 1, content[: 5 * MIB])
    assert "1,048,576 bytes" not in problem(direct.complete(upload, [one]), 409, "upload-incomplete")["detail"]
    two = direct.put(upload, 2, content[5 * MIB :])
    for parts, detail in (
        ([one], "these parts: 2."),
        ([two, one], "these parts: 1, 2."),
        ([one, two, two], "these parts: 3."),
    ):
        assert problem(direct.complete(upload, parts), 409, "upload-incomplete")["detail"].endswith(detail)
    assert len(direct.parts(upload).json or []) == 2
    response: Any = direct.complete(upload, [one, two]).json
    assert content_of(direct, response["location"]) == content


@pytest.mark.parametrize("etag", ["", "<x>", "../../secret", "\x00", "é", "a" * 5000, "0" * 32, '"', "a/b"])
def test_list_with_a_strange_etag_is_rejected_and_loses_nothing(direct: DirectClient, etag: str) -> None:
    upload, parts = sent(direct, b"bytes", size=5)
    url = f"/upload/s3/multipart/{upload['uploadId']}/complete"
    body = {"parts": [{"PartNumber": 1, "ETag": etag}]}
    problem(direct.client.post(url, json=body), 409, "upload-incomplete")
    assert direct.complete(upload, parts).status_code == 200


# The event, which discards the bytes and ends slower copies.


@ON_S3
@COPIED
@pytest.mark.parametrize("content", [b"bytes", SCRIPT])
def test_event_discards_the_bytes_that_a_request_has_judged(
    behind_a_gateway: DirectClient, monkeypatch: pytest.MonkeyPatch, incoming: Callable[[], list[str]], *,
    content: bytes, copied: bool
) -> None:  # fmt: skip
    direct = behind_a_gateway
    if copied:
        copy_every_file(monkeypatch)
    upload, parts = sent(direct, content, **sized(content))
    first = direct.complete(upload, parts)
    assert first.status_code == (200 if content == b"bytes" else 422)
    assert incoming() == [upload["key"]]
    assert direct.complete(upload, parts).json == first.json or content == SCRIPT
    status = direct.status(upload["id"]).json
    judge(direct, upload["id"])  # the event
    assert incoming() == []
    assert direct.complete(upload, parts).status_code == first.status_code
    assert direct.status(upload["id"]).json == status


@ON_S3
def test_event_ends_copies_that_are_slower_than_the_request(
    behind_a_gateway: DirectClient, monkeypatch: pytest.MonkeyPatch, destination: dict[str, str]
) -> None:
    direct = behind_a_gateway
    copy_every_file(monkeypatch)
    upload, parts = sent(direct, b"bytes", **sized(b"bytes"))
    assert direct.complete(upload, parts).status_code == 200
    client, bucket = client_of(direct), destination["UPLOAD_BUCKET"]
    client.create_multipart_upload(Bucket=bucket, Key=f"files/{upload['id']}/a.txt")  # of a function that was killed
    judge(direct, upload["id"])
    assert client.list_multipart_uploads(Bucket=bucket, Prefix="files/").get("Uploads", []) == []


@ONLY_S3
@COPIED
@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize("sized_parts", [False, True])
def test_completion_killed_after_any_call_is_finished_by_a_retry_or_by_its_event(
    behind_a_gateway: DirectClient, s3: S3Client, monkeypatch: pytest.MonkeyPatch, stored_keys: Callable[[], list[str]],
    incoming: Callable[[], list[str]], *, copied: bool, deleted: bool, sized_parts: bool
) -> None:  # fmt: skip
    """The call was done, and then the function was killed. The client retries, or gives up; the event comes always."""
    direct = behind_a_gateway
    if copied:
        copy_every_file(monkeypatch)
    client = client_of(direct)
    call = client._make_api_call
    for at in range(20):
        upload, parts = sent(direct, b"bytes", **(sized(b"bytes") if sized_parts else {}))
        calls: list[str] = []

        def killed(operation: str, arguments: dict[str, Any]) -> Any:
            response = call(operation, arguments)
            calls.append(operation)  # noqa: B023
            if len(calls) == at + 1:  # noqa: B023
                raise Killed
            return response

        with monkeypatch.context() as patch:
            patch.setattr(client, "_make_api_call", killed)
            try:
                direct.complete(upload, parts)
                was_killed = False
            except Killed:
                was_killed = True
        retried: Any = direct.complete(upload, parts) if at % 2 else None
        if retried is not None:
            assert retried.status_code == 200
        # A client that gives up before the parts are joined leaves an upload that the lifecycle rules abort.
        is_joined = f"files/{upload['id']}/a.txt" in stored_keys() or bool(versions_of(s3, upload["key"]))
        if deleted and f"files/{upload['id']}/a.txt" in stored_keys():
            services = direct.client.application.extensions["services"]
            assert services.storage.delete(upload["id"], "a.txt")
            judge(direct, upload["id"])
            assert f"files/{upload['id']}/a.txt" not in stored_keys(), "a deleted file stays deleted"
            problem(direct.complete(upload, parts), 404, "not-found")
        elif is_joined:
            judge(direct, upload["id"])  # the event
            file: Any = (direct.complete(upload, parts).json or {})["files"][0]
            assert file["sha256"] == DIGEST
            assert retried is None or retried.json["files"][0] == file
            assert content_of(direct, file["url"]) == b"bytes"
        else:
            assert direct.abort(upload).status_code == 200
        assert incoming() == []
        assert s3.list_multipart_uploads(Bucket=BUCKET, Prefix="files/").get("Uploads", []) == []
        if not was_killed:
            break
    assert not was_killed, "there is an end to the calls"
    assert at >= 4


def versions_of(s3: S3Client, key: str) -> list[Any]:
    return s3.list_object_versions(Bucket=BUCKET, Prefix=key).get("Versions", [])


@ONLY_S3
@COPIED
@pytest.mark.parametrize("then", ["promoted", "promoted and deleted"])
def test_event_between_any_two_calls_of_the_completion_changes_no_answer(
    behind_a_gateway: DirectClient, monkeypatch: pytest.MonkeyPatch, stored_keys: Callable[[], list[str]],
    incoming: Callable[[], list[str]], *, copied: bool, then: str
) -> None:  # fmt: skip
    direct = behind_a_gateway
    if copied:
        copy_every_file(monkeypatch)
    client = client_of(direct)
    call = client._make_api_call
    storage = direct.client.application.extensions["services"].storage
    for at in range(20):
        upload, parts = sent(direct, b"bytes", **sized(b"bytes"))
        calls: list[str] = []

        def overtaken(operation: str, arguments: dict[str, Any]) -> Any:
            calls.append(operation)  # noqa: B023
            if len(calls) == at + 1 and at > 0:  # noqa: B023  (there is no event before the parts are joined)
                with monkeypatch.context() as patch:
                    patch.setattr(client, "_make_api_call", call)
                    event_in_another_process(direct, upload["id"])  # noqa: B023
                    if then != "promoted":
                        assert storage.delete(upload["id"], "a.txt")  # noqa: B023
            return call(operation, arguments)

        with monkeypatch.context() as patch:
            patch.setattr(client, "_make_api_call", overtaken)
            response: Any = direct.complete(upload, parts)
        if then == "promoted" or at == 0 or len(calls) <= at:
            assert response.status_code == 200, (at, response.text)
            judge(direct, upload["id"])
            assert content_of(direct, response.json["location"]) == b"bytes"
        else:
            # After the last look for a deletion, the completion may report the file that is deleted meanwhile.
            assert response.status_code in (404, 200), (at, response.text)
            judge(direct, upload["id"])
            assert f"files/{upload['id']}/a.txt" not in visible(stored_keys), at
        assert incoming() == []
        if len(calls) <= at:
            break
    assert len(calls) <= at, "there is an end to the calls"


def event_in_another_process(direct: DirectClient, file_id: str) -> None:
    """Promote an upload without the deadline of the request that is running."""
    thread = threading.Thread(target=judge, args=(direct, file_id))  # a thread has a context of its own
    thread.start()
    thread.join()
