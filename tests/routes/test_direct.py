"""Direct uploads over each storage: the contract of Uppy's plugin for S3, and the status of uploads."""

from __future__ import annotations

import hashlib
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.app import create_app
from handler.settings import Settings
from handler.storage.direct import MAX_FORM_BYTES, MAX_PARTS, MIN_PART_BYTES, Declaration, part_bytes
from handler.web.tokens import mint

from ..support import samples
from ..support.direct_client import MIB, DirectClient, content_of
from ..support.http_client import problem
from ..support.lambda_runtime import SECRET, let_a_gateway_wait

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask import Flask
    from flask.testing import FlaskClient

LARGE = samples.png(11 * MIB)
FIRST, SECOND, THIRD = LARGE[: 5 * MIB], LARGE[5 * MIB : 10 * MIB], LARGE[10 * MIB :]


@pytest.fixture
def direct(client: FlaskClient) -> DirectClient:
    return DirectClient(client=client)


def test_file_sent_in_parts_is_stored(direct: DirectClient, kind: str, stored_keys: Callable[[], list[str]]) -> None:
    upload = direct.begun("My photo.png", type="image/png")
    assert direct.status(upload["id"]).json == {"id": upload["id"], "status": "pending"}
    sent = [direct.put(upload, number, part) for number, part in enumerate((FIRST, SECOND, THIRD), 1)]
    listed: Any = direct.parts(upload).json
    assert [(part["PartNumber"], part["Size"]) for part in listed] == [(1, 5 * MIB), (2, 5 * MIB), (3, MIB)]
    assert [part["ETag"] for part in listed] == [part_response.etag.strip('"') for part_response in sent]
    assert not [key for key in stored_keys() if key.startswith("files/")]

    response = direct.complete(upload, sent)
    assert response.status_code == 200, response.text
    answer: Any = response.json
    (file,) = answer["files"]
    assert file == {
        "id": upload["id"],
        "name": "My_photo.png",
        "original_name": "My photo.png",
        "size": len(LARGE),
        "type": "image/png",
        "sha256": None if kind == "strict_s3" else hashlib.sha256(LARGE).hexdigest(),  # which hashes no copy
        "stored": file["stored"],
        "url": answer["location"],
        "location": answer["location"],
    }
    assert answer["key"] == upload["key"] == f"incoming/{upload['id']}"
    assert content_of(direct, answer["location"]) == LARGE
    assert direct.status(upload["id"]).json == {"id": upload["id"], "status": "stored", "file": file}
    assert not [key for key in stored_keys() if key.startswith(("incoming/", "refused/", "tmp/"))]
    assert direct.complete(upload, sent).json == answer
    problem(direct.parts(upload), 404, "upload-not-found")


def test_file_sent_as_a_presigned_post_is_stored(direct: DirectClient, stored_keys: Callable[[], list[str]]) -> None:
    form: Any = direct.presigned_post("notes.txt", type="text/plain").json
    assert form["method"] == "POST"
    assert list(form["fields"])
    assert direct.client.get(form["status"]).json == {"id": form["id"], "status": "pending"}
    assert direct.post(form, samples.TEXT).status == 204
    status: Any = direct.status(form["id"]).json
    assert status["status"] == "stored"
    assert content_of(direct, status["file"]["url"]) == samples.TEXT
    assert not [key for key in stored_keys() if key.startswith(("incoming/", "refused/", "tmp/"))]


def test_refusal_has_its_reason_and_leaves_nothing(direct: DirectClient, stored_keys: Callable[[], list[str]]) -> None:
    upload = direct.begun("photo.png")
    direct.put(upload, 1, b"<html>")
    refusal = problem(direct.complete(upload), 422, "content-mismatch")
    status: Any = direct.status(upload["id"]).json
    assert status["status"] == "refused"
    assert status["problem"]["detail"] == refusal["detail"]
    assert problem(direct.complete(upload), 422, "content-mismatch")["detail"] == refusal["detail"]
    assert not [key for key in stored_keys() if key.startswith(("incoming/", "files/", "metadata/", "tmp/"))]


def test_declared_digest_is_verified(direct: DirectClient) -> None:
    digest = hashlib.sha256(LARGE).hexdigest()
    response = direct.send("a.png", FIRST, SECOND, THIRD, sha256=digest)
    assert (response.json or {})["files"][0]["sha256"] == digest
    problem(direct.send("a.png", FIRST, SECOND, THIRD, sha256="0" * 64), 422, "digest-mismatch")


# Rejected before the upload.


@pytest.mark.parametrize(
    ("declared", "status", "slug"),
    [
        ({"filename": "a.exe"}, 415, "type-not-allowed"),
        ({"filename": "a.txt", "type": "text/html"}, 415, "type-not-allowed"),
        ({"filename": "a.txt", "size": 1001}, 413, "file-too-large"),
        ({"filename": "a.txt", "size": 0}, 422, "empty-file"),
        ({"filename": "a.txt", "metadata": {"size": 1001}}, 413, "file-too-large"),
        ({"filename": ""}, 415, "type-not-allowed"),
        ({}, 400, "malformed-request"),
        ({"filename": None}, 400, "malformed-request"),
        ({"filename": 5}, 400, "malformed-request"),
        ({"filename": "a" * 4093 + ".txt"}, 400, "malformed-request"),
        ({"filename": ["a.txt"]}, 400, "malformed-request"),
        ({"filename": "a.txt", "size": -1}, 400, "malformed-request"),
        ({"filename": "a.txt", "size": 1.5}, 400, "malformed-request"),
        ({"filename": "a.txt", "size": True}, 400, "malformed-request"),
        ({"filename": "a.txt", "size": "many"}, 400, "malformed-request"),
        ({"filename": "a.txt", "size": 9, "partSize": 8}, 400, "malformed-request"),
        ({"filename": "a.txt", "size": 9, "partSize": 2**40}, 400, "malformed-request"),
        ({"filename": "a.txt", "sha256": "x"}, 400, "malformed-request"),
        ({"filename": "a.txt", "sha256": 5}, 400, "malformed-request"),
    ],
)
def test_invalid_request_is_rejected_before_the_upload(
    make_app: Callable[..., Flask],
    stored_keys: Callable[[], list[str]],
    *,
    declared: dict[str, Any],
    status: int,
    slug: str,
) -> None:
    client = make_app(MAX_FILE_BYTES="1000").test_client()
    problem(client.post("/upload/s3/multipart", json=declared), status, slug)
    assert not [key for key in stored_keys() if key.startswith(("incoming/", "files/"))]


def test_form_over_the_limit_is_rejected(make_app: Callable[..., Flask]) -> None:
    """S3 would reject the form only after 5 GiB."""
    direct = DirectClient(client=make_app(MAX_FILE_BYTES=str(2 * MAX_FORM_BYTES)).test_client())
    assert direct.presigned_post("a.txt", size=MAX_FORM_BYTES).status_code == 200
    refusal = problem(direct.presigned_post("a.txt", size=MAX_FORM_BYTES + 1), 413, "file-too-large")
    assert refusal["max_bytes"] == MAX_FORM_BYTES
    assert direct.begin("a.txt", size=MAX_FORM_BYTES + 1).status_code == 200


@pytest.mark.parametrize(
    ("metadata", "size"),
    [
        ({"size": 7}, 7),
        ({"size": "7"}, 7),
        ({"size": "seven"}, None),
        ({"size": -7, "sha256": 5, "partSize": []}, None),
        ({"size": {"size": 7}}, None),
        ({"5": 6, "filename": "b.exe", "type": "text/html"}, None),
        ([], None),
        ("size", None),
        (None, None),
    ],
)
def test_metadata_of_the_page_is_accepted(direct: DirectClient, metadata: Any, size: int | None) -> None:
    upload = direct.begun("a.txt", metadata=metadata)
    direct.put(upload, 1, b"seven..")
    assert direct.complete(upload).status_code == 200
    if size is not None:
        problem(direct.begin("a.txt", metadata=metadata | {"partSize": 3}), 400, "malformed-request")


def test_deeply_nested_metadata_is_rejected(direct: DirectClient) -> None:
    for depth in (10, 300, 500, 700, 900, 1100, 100_000):
        deep = "[" * depth + "]" * depth
        body = f'{{"filename": "a.txt", "metadata": {{"size": {deep}}}}}'
        assert direct.client.post("/upload/s3/multipart", data=body).status_code in (200, 400)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"5", b"null", b'"a"', b"\xff\xfe", b"NaN", b"{}", b"[" * 100_000, b'{"filename": 1e999}'],
)
def test_body_that_is_not_a_json_object_is_rejected(direct: DirectClient, body: bytes) -> None:
    problem(direct.client.post("/upload/s3/multipart", data=body), 400, "malformed-request")


def test_json_over_the_limit_is_rejected(direct: DirectClient) -> None:
    body = json.dumps({"filename": "a.txt", "x": "x" * 2 * MIB})
    problem(direct.client.post("/upload/s3/multipart", data=body), 413, "request-too-large")


@given(size=st.integers(min_value=1, max_value=5 * 1024**4))
@settings(deadline=None)
def test_advised_parts_are_within_s3s_limits(size: int) -> None:
    length = part_bytes(size)
    assert MIN_PART_BYTES <= length <= 5 * 1024**3
    assert -(-size // length) <= MAX_PARTS


@pytest.mark.parametrize("size", [1, 10**6, 5 * 1024**3, 5 * 1024**4])
def test_advised_parts_are_signed(make_app: Callable[..., Flask], size: int) -> None:
    direct = DirectClient(client=make_app(MAX_FILE_BYTES=str(5 * 1024**4)).test_client())
    advised = direct.begun("a.txt", size=size)["partSize"]
    upload = direct.begun("a.txt", size=size, partSize=advised)
    count = -(-size // advised)
    assert direct.part_url(upload, count).status_code == 200
    assert direct.part_url(upload, count + 1).status_code == 400


@given(name=st.text(max_size=300), sha256=st.booleans())
@settings(deadline=None)
def test_object_metadata_is_small_and_ascii(name: str, sha256: bool) -> None:
    from handler.inspection.policy import clean_name  # noqa: PLC0415

    agreed = Declaration(original_name=clean_name(name), max_bytes=5 * 1024**4, sha256="0" * 64 if sha256 else None)
    metadata = agreed.as_metadata()
    assert sum(len(key) + len(value) for key, value in metadata.items()) < 2048
    assert all(value.isascii() and value.isprintable() for value in metadata.values())
    assert Declaration.from_metadata(metadata) == agreed


# Parts that are missing, wrong, small, sent again, or many.


def test_incomplete_completion_can_be_repeated(direct: DirectClient) -> None:
    upload = direct.begun("a.png", size=len(LARGE), partSize=5 * MIB)
    problem(direct.complete(upload), 409, "upload-incomplete")
    first, third = direct.put(upload, 1, FIRST), direct.put(upload, 3, THIRD)
    problem(direct.complete(upload), 409, "upload-incomplete")
    problem(direct.complete(upload, [first, first, third]), 409, "upload-incomplete")
    second = direct.put(upload, 2, SECOND)
    for wrong in ([], [first], [first, third, second], [first, second, third, third]):
        problem(direct.complete(upload, wrong), 409, "upload-incomplete")
    assert len(direct.parts(upload).json or []) == 3
    response: Any = direct.complete(upload, [first, second, third]).json
    assert content_of(direct, response["location"]) == LARGE


@pytest.mark.parametrize(
    "parts",
    [
        5,
        "parts",
        {},
        {"PartNumber": 1},
        [5],
        [None],
        [{}],
        [{"PartNumber": 1}],
        [{"PartNumber": "one", "ETag": "x"}],
        [{"PartNumber": None, "ETag": "x"}],
        [{"PartNumber": 1e999, "ETag": "x"}],
        [{"PartNumber": 10**4000, "ETag": "x"}],
        [{"PartNumber": 1, "ETag": None}],
        [{"PartNumber": 1, "ETag": ["x"]}],
        [{"PartNumber": -1, "ETag": "x"}],
        [],
    ],
)
def test_invalid_list_of_parts_is_rejected(direct: DirectClient, parts: Any) -> None:
    upload = direct.begun("a.txt")
    direct.put(upload, 1, b"bytes")
    path = f"/upload/s3/multipart/{upload['uploadId']}/complete"
    assert direct.client.post(path, data=json.dumps({"parts": parts})).status_code in (400, 409)
    assert direct.client.post(path).status_code == 200


def test_small_part_before_the_last_is_rejected(direct: DirectClient, stored_keys: Callable[[], list[str]]) -> None:
    upload = direct.begun("a.png")
    direct.put(upload, 1, FIRST[:-1])
    direct.put(upload, 2, SECOND)
    problem(direct.complete(upload), 409, "upload-incomplete")
    assert not [key for key in stored_keys() if key.startswith("files/")]
    direct.put(upload, 1, FIRST)
    assert direct.complete(upload).status_code == 200


def test_part_sent_again_replaces_the_first(direct: DirectClient) -> None:
    upload = direct.begun("a.txt")
    for data in (b"one", b"two, longer", b"one", b"three"):
        sent = direct.put(upload, 1, data)
        (listed,) = direct.parts(upload).json or []
        assert (listed["ETag"], listed["Size"]) == (sent.etag.strip('"'), len(data))
    response: Any = direct.complete(upload, [sent]).json
    assert content_of(direct, response["location"]) == b"three"


def test_parts_in_any_order_are_stored_in_order(direct: DirectClient) -> None:
    upload = direct.begun("a.png")
    for number, data in ((3, THIRD), (1, FIRST), (2, SECOND)):
        direct.put(upload, number, data)
    response: Any = direct.complete(upload).json
    assert content_of(direct, response["location"]) == LARGE


@pytest.mark.parametrize("kind", ["s3"])
def test_more_parts_than_one_page_of_s3_are_listed(direct: DirectClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client = direct.client.application.extensions["services"].storage.client
    call, asked = client._make_api_call, []

    def three_at_once(operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "ListParts":
            asked.append(arguments.get("PartNumberMarker"))
            arguments = arguments | {"MaxParts": 3}
        return call(operation, arguments)

    upload = direct.begun("a.txt")
    for number in range(1, 8):
        direct.put(upload, number, b"x" * number)
    monkeypatch.setattr(client, "_make_api_call", three_at_once)
    listed: Any = direct.parts(upload).json
    assert [(part["PartNumber"], part["Size"]) for part in listed] == [(n, n) for n in range(1, 8)]
    assert len(asked) == 3


def test_aborting_completed_upload_is_rejected(direct: DirectClient) -> None:
    upload = direct.begun("a.txt")
    direct.put(upload, 1, b"bytes")
    response: Any = direct.complete(upload).json
    assert "completed" in problem(direct.abort(upload), 404, "upload-not-found")["detail"]
    assert content_of(direct, response["location"]) == b"bytes"
    assert direct.client.delete(response["location"]).status_code == 204
    assert direct.abort(upload).json == {}, "nothing of it is there any more"


def test_aborting_completed_upload_without_a_verdict_is_rejected(
    direct: DirectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = direct.begun("a.txt")
    direct.put(upload, 1, b"bytes")
    with monkeypatch.context() as patch:
        let_a_gateway_wait(patch, direct.client.application)
        patch.setattr("handler.direct.promotion.COPIED_IN_TIME_BYTES", 4)
        assert direct.complete(upload).status_code == 202
    problem(direct.abort(upload), 404, "upload-not-found")
    assert (direct.status(upload["id"]).json or {})["status"] == "stored"


def test_aborted_upload_is_gone(direct: DirectClient, stored_keys: Callable[[], list[str]]) -> None:
    upload = direct.begun("a.txt")
    direct.put(upload, 1, b"bytes")
    assert direct.abort(upload).json == {}
    for response in (direct.parts(upload), direct.complete(upload), direct.part_url(upload, 1)):
        problem(response, 404, "upload-not-found")
    for name in (upload["id"], upload["uploadId"]):
        problem(direct.status(name), 404, "not-found")
    assert direct.abort(upload).json == {}
    assert not [key for key in stored_keys() if key.startswith(("incoming/", "files/", "tmp/"))]


# The status of an upload.


@pytest.mark.parametrize("way", ["form", "direct"])
def test_id_without_a_token_opens_no_file(client: FlaskClient, direct: DirectClient, way: str) -> None:
    """Ids are logged. A copied id reveals that a file is stored, but not its name and URL."""
    if way == "form":
        response = client.post("/upload", data={"file": (io.BytesIO(samples.TEXT), "a.txt")})
    else:
        response = direct.send("a.txt", samples.TEXT)
    (file,) = (response.json or {})["files"]
    assert client.get(f"/upload/{file['id']}").json == {"id": file["id"], "status": "stored"}
    assert client.delete(file["url"]).status_code == 204
    assert "status" in problem(client.get(f"/upload/{file['id']}"), 404, "not-found")["detail"]


def test_id_of_pending_or_refused_upload_is_unknown(client: FlaskClient, direct: DirectClient) -> None:
    pending, refused = direct.begun("a.txt"), direct.begun("a.png")
    direct.put(refused, 1, b"<html>")
    problem(direct.complete(refused), 422, "content-mismatch")
    for upload in (pending, refused):
        problem(client.get(f"/upload/{upload['id']}"), 404, "not-found")


def test_upload_token_reveals_that_a_file_was_refused(make_app: Callable[..., Flask]) -> None:
    """But not why: the reason has the file's name in it."""
    app = make_app(TOKEN_SECRET=SECRET)
    holder, anyone = DirectClient(client=app.test_client()), app.test_client()
    holder.client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {mint(SECRET, expires_seconds=60)}"
    refused, pending = holder.begun("a.png"), holder.begun("a.png")
    holder.put(refused, 1, b"<html>")
    problem(holder.complete(refused), 422, "content-mismatch")
    url = f"/upload/{refused['id']}"
    assert holder.client.get(url).json == {"id": refused["id"], "status": "refused"}
    problem(holder.client.get(f"/upload/{pending['id']}"), 404, "not-found")
    for token in ("", "x.y.z", mint(SECRET, expires_seconds=60, scopes=["delete"])):
        problem(anyone.get(url, headers={"Authorization": f"Bearer {token}"}), 404, "not-found")


@pytest.mark.parametrize("access", [{"ACCESS": "public"}, {}], ids=["public", "own machine"])
def test_invalid_token_reveals_nothing_in_public(make_app: Callable[..., Flask], access: dict[str, str]) -> None:
    direct = DirectClient(client=make_app(**access).test_client())
    refused = direct.begun("a.png")
    direct.put(refused, 1, b"<html>")
    problem(direct.complete(refused), 422, "content-mismatch")
    response = direct.client.get(f"/upload/{refused['id']}", headers={"Authorization": "Bearer x"})
    problem(response, 404, "not-found")


@pytest.mark.parametrize("name", ["0" * 32, "A" * 32, "0" * 31, "a.txt", "%00", "x" * 5000, "..", "é"])
def test_status_of_unknown_upload_is_not_found(client: FlaskClient, name: str) -> None:
    assert client.get(f"/upload/{name}").status_code == 404


@pytest.mark.parametrize("by", ["id", "uploadId"])
def test_status_during_completion_is_stored(direct: DirectClient, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    """It had not come in when that was looked at, and is not under way any more when that is."""
    upload = direct.begun("a.txt")
    direct.put(upload, 1, b"bytes")
    uploads = direct.client.application.extensions["services"].direct_uploads
    has_multipart_upload = uploads.has_multipart_upload

    def complete_and_look(file_id: str, upload_id: str) -> bool:
        assert direct.complete(upload).status_code == 200
        in_progress: bool = has_multipart_upload(file_id, upload_id)
        return in_progress

    with monkeypatch.context() as patch:
        patch.setattr(uploads, "has_multipart_upload", complete_and_look)
        assert (direct.status(upload[by]).json or {})["status"] == "stored"


def test_status_of_deleted_file_is_not_found(direct: DirectClient) -> None:
    upload = direct.begun("a.txt")
    direct.put(upload, 1, b"bytes")
    response: Any = direct.complete(upload).json
    assert direct.client.delete(response["location"]).status_code == 204
    problem(direct.status(upload["id"]), 404, "not-found")


# Names, downloads and empty files.


@pytest.mark.parametrize("way", ["parts", "form"])
def test_download_has_the_original_name(direct: DirectClient, kind: str, way: str) -> None:
    name = 'Grüße & 日本語 50% "x".txt'
    if way == "parts":
        upload = direct.begun(name)
        direct.put(upload, 1, samples.TEXT)
        file_id = direct.complete(upload).json["files"][0]["id"]  # type: ignore[index]
    else:
        form: Any = direct.presigned_post(name).json
        assert direct.post(form, samples.TEXT).status == 204
        file_id = form["id"]
    status: Any = direct.status(file_id).json
    response = direct.client.get(status["file"]["url"])
    if kind != "folder":
        import requests  # noqa: PLC0415

        disposition = requests.get(response.headers["Location"], timeout=10).headers["Content-Disposition"]
    else:
        disposition = response.headers["Content-Disposition"]
    assert disposition.startswith('attachment; filename="Gru')
    assert "filename*=UTF-8''Gr%C3%BC%C3%9Fe%20&%20%E6%97%A5" in disposition


def test_responses_have_no_url_without_downloads(make_app: Callable[..., Flask]) -> None:
    direct = DirectClient(client=make_app(DOWNLOADS="off").test_client())
    upload = direct.begun("a.txt")
    direct.put(upload, 1, b"bytes")
    response: Any = direct.complete(upload).json
    assert "url" not in response
    assert "url" not in response["files"][0]
    assert (direct.client.get(response["location"]).json or {})["status"] == "stored"


@pytest.mark.parametrize("way", ["parts", "form"])
@pytest.mark.parametrize("declared", [{}, {"size": 0}])
def test_empty_file_is_stored_if_allowed(make_app: Callable[..., Flask], way: str, declared: dict[str, int]) -> None:
    direct = DirectClient(client=make_app(ALLOW_EMPTY_FILES="on").test_client())
    if way == "parts":
        upload = direct.begun("a.txt", **declared)
        assert direct.put(upload, 1, b"").status == 200
        response = direct.complete(upload)
        assert response.status_code == 200, response.text
        file_id = upload["id"]
    else:
        form: Any = direct.presigned_post("a.txt", **declared).json
        assert direct.post(form, b"").status == 204
        file_id = form["id"]
    status: Any = direct.status(file_id).json
    assert status["file"]["size"] == 0
    assert direct.client.get(status["file"]["url"]).status_code in (200, 302)


# Random input.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
SAID = st.dictionaries(
    st.sampled_from(["filename", "type", "size", "partSize", "sha256", "metadata", "parts", "x"]),
    JSON
    | st.sampled_from(["a.txt", "a.png", 7, "7", 10**30, "0" * 64])
    | st.dictionaries(st.sampled_from(["size", "sha256", "partSize"]), JSON, max_size=3)
    | st.lists(st.fixed_dictionaries({"PartNumber": JSON, "ETag": JSON}), max_size=3),
)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return create_app(Settings.from_environ({"UPLOAD_FOLDER": str(tmp_path_factory.mktemp("fuzz"))})).test_client()


def nothing_is_stored(client: Any) -> bool:
    folder: Path = client.application.extensions["services"].storage.folder
    return not list((folder / "files").iterdir())


@given(declared=SAID | JSON)
@settings(deadline=None)
def test_any_json_stores_nothing(fuzzed: Any, declared: Any) -> None:
    begun = fuzzed.post("/upload/s3/multipart", data=json.dumps(declared))
    assert begun.status_code < 500
    upload = (
        begun.json if begun.status_code == 200 else fuzzed.post("/upload/s3/multipart", json={"filename": "a.txt"}).json
    )
    completed = fuzzed.post(f"/upload/s3/multipart/{upload['uploadId']}/complete", data=json.dumps(declared))
    assert 400 <= completed.status_code < 500
    assert nothing_is_stored(fuzzed)


@given(query=st.dictionaries(st.sampled_from(["filename", "type", "size", "metadata[size]", "key", "x"]), st.text()))
@settings(deadline=None)
def test_any_query_stores_nothing(fuzzed: Any, query: dict[str, str]) -> None:
    for path in ("/upload/s3/params", "/upload/s3/multipart/x", "/upload/s3/multipart/x/1"):
        assert fuzzed.get(path, query_string=query).status_code < 500
    assert nothing_is_stored(fuzzed)


@given(upload_id=st.text(min_size=1), number=st.text(min_size=1), body=st.binary(max_size=100))
@settings(deadline=None)
def test_any_id_number_and_ticket_stores_nothing(fuzzed: Any, upload_id: str, number: str, body: bytes) -> None:
    from urllib.parse import quote  # noqa: PLC0415

    one, two = quote(upload_id, safe="", errors="replace"), quote(number, safe="", errors="replace")
    known = fuzzed.post("/upload/s3/multipart", json={"filename": "a.txt"}).json["uploadId"]
    base = "/upload/s3/multipart"
    for response in (
        fuzzed.get(f"{base}/{one}"),
        fuzzed.get(f"{base}/{one}/{two}"),
        fuzzed.get(f"{base}/{known}/{two}"),
        fuzzed.post(f"{base}/{one}/complete", data=body),
        fuzzed.delete(f"{base}/{one}"),
        fuzzed.get(f"/upload/{one}"),
        fuzzed.get(f"/upload/t/{one}/s3/multipart/{two}"),
        fuzzed.put(f"/upload/s3/incoming/{one}", data=body),
        fuzzed.post("/upload/s3/incoming", data=body, content_type="multipart/form-data; boundary=x"),
        fuzzed.post(
            "/upload/s3/incoming",
            data={"key": upload_id.encode("utf-8", "replace"), "policy": number.encode("utf-8", "replace"),
                  "file": (io.BytesIO(body), "a")},
        ),
    ):  # fmt: skip
        assert response.status_code < 500
    assert nothing_is_stored(fuzzed)
