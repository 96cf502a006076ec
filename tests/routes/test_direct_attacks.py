"""Attacks with URLs, forms, ids and tokens of direct uploads: over the folder and the strict S3, and over moto where it
checks them too."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import jwt
import pytest
import requests

from handler.direct import upload_ids
from handler.direct.upload_ids import UploadId
from handler.storage.folder import direct as folder_uploads
from handler.storage.folder.incoming import LocalIncoming, remove_upload
from handler.storage.s3.copy import S3Incoming
from handler.web.access import SCOPES
from handler.web.tokens import mint

from ..support import samples
from ..support.direct_client import (
    MIB,
    SCRIPT,
    DirectClient,
    Sent,
    content_of,
    earlier,
    formed,
    judge,
    part_url,
    stored,
)
from ..support.http_client import problem
from ..support.lambda_runtime import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

STRICT = pytest.param("strict_s3", marks=pytest.mark.strict_s3)
WHERE_IT_IS_CHECKED = pytest.mark.parametrize("kind", ["folder", STRICT])
"""moto checks neither signatures nor the policy of a form."""

# Two blocks with one MD5 (X. Wang, D. Feng, X. Lai, H. Yu: "Collisions for Hash Functions MD4, MD5, HAVAL-128 and
# RIPEMD", 2004): they differ in the highest bit of six bytes.
COLLIDING = bytes.fromhex(
    "d131dd02c5e6eec4693d9a0698aff95c2fcab58712467eab4004583eb8fb7f89"
    "55ad340609f4b30283e488832571415a085125e8f7cdc99fd91dbdf280373c5b"
    "d8823e3156348f5bae6dacd436c919c6dd53e2b487da03fd02396306d248cda0"
    "e99f33420f577ee8ce54b67080a80d1ec69821bcb6a8839396f9652b6ff72a70"
)
COLLIDED = bytes(byte ^ (0x80 if index in (19, 45, 59, 83, 109, 123) else 0) for index, byte in enumerate(COLLIDING))
BINARY = {"ALLOWED_EXTENSIONS": "txt png bin=application/x-test"}


@pytest.fixture
def direct(make_app: Callable[..., Flask]) -> DirectClient:
    return DirectClient(client=make_app(**BINARY).test_client())


def before_publishing(monkeypatch: pytest.MonkeyPatch, kind: str, act: Callable[[], object]) -> None:
    """Do something once: when a file has passed every check, and just before it is copied."""
    incoming_type: Any = LocalIncoming if kind == "folder" else S3Incoming
    publish = incoming_type.copy_to_files

    def act_and_publish(self: Any, file: Any) -> Any:
        monkeypatch.setattr(incoming_type, "copy_to_files", publish)
        act()
        return publish(self, file)

    monkeypatch.setattr(incoming_type, "copy_to_files", act_and_publish)


# Overwrite a file, or write where one does not belong.


@WHERE_IT_IS_CHECKED
def test_signature_is_valid_for_one_key(direct: DirectClient, stored_keys: Callable[[], list[str]]) -> None:
    victim = direct.send("a.txt", b"the victim").json or {}
    kept = stored_keys()
    file_id = victim["files"][0]["id"]
    upload = direct.begun("b.txt")
    url = part_url(direct, upload, 1)
    for key in (f"files/{file_id}/a.txt", f"incoming/{file_id}", "secrets/upload-ids", f"refused/{file_id}.json"):
        assert direct.put_to(url.replace(upload["key"], key), b"other bytes").status in (200, 403)
    form = formed(direct, "b.txt")
    for key in (
        f"files/{file_id}/a.txt",
        f"files/{form['id']}/b.txt",
        f"incoming/{file_id}",
        "secrets/upload-ids",
        "${filename}",
    ):
        assert direct.post(form, b"other bytes", key=key).status == 403
    direct.abort(upload)
    assert stored_keys() == kept
    assert content_of(direct, victim["location"]) == b"the victim"


@pytest.mark.strict_s3
@pytest.mark.parametrize("kind", [STRICT])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("partNumber=1&", "partNumber=2&"),
        ("X-Amz-Expires=3600", "X-Amz-Expires=36000"),
        ("uploadId=", "uploads=&x="),
        ("partNumber=1&", ""),
    ],
)
def test_part_url_is_signed_as_a_whole(direct: DirectClient, old: str, new: str) -> None:
    upload = direct.begun("b.txt")
    url = part_url(direct, upload, 1)
    assert old in url
    assert direct.put_to(url.replace(old, new), b"bytes").status == 403
    assert direct.parts(upload).json == []


@pytest.mark.strict_s3
@pytest.mark.parametrize("kind", [STRICT])
def test_part_url_allows_only_the_put_of_the_part(direct: DirectClient, destination: dict[str, str]) -> None:
    upload = direct.begun("b.txt")
    url = part_url(direct, upload, 1)
    # With this field S3 would copy the key that upload ids are signed with into the client's own file.
    source = {"x-amz-copy-source": f"{destination['UPLOAD_BUCKET']}/secrets/upload-ids"}
    assert requests.put(url, headers=source, timeout=10).status_code == 403
    for method in ("GET", "HEAD", "POST", "DELETE"):
        assert requests.request(method, url, timeout=10).status_code == 403
    assert direct.parts(upload).json == []


@pytest.mark.strict_s3
@pytest.mark.parametrize("kind", [STRICT])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("x-amz-meta-name", base64.urlsafe_b64encode(b"page.html").decode().rstrip("=")),
        ("x-amz-meta-max-bytes", "1000000"),
    ],
)
def test_changed_form_field_is_rejected(
    direct: DirectClient, field: str, value: str, incoming: Callable[[], list[str]]
) -> None:
    assert direct.post(formed(direct, "b.txt"), b"bytes", **{field: value}).status == 403
    assert incoming() == []


@WHERE_IT_IS_CHECKED
def test_second_completion_changes_nothing(direct: DirectClient, incoming: Callable[[], list[str]]) -> None:
    upload = direct.begun("a.txt")
    url = part_url(direct, upload, 1)
    sent = direct.put_to(url, b"the first")
    response = direct.complete(upload, [sent])
    assert direct.put_to(url, b"the second").status == 404
    assert (
        direct.complete(upload, [Sent(status=200, etag=hashlib.md5(b"the second").hexdigest())]).json == response.json
    )
    assert stored(direct, upload["id"]) == b"the first"
    assert incoming() == []


# Send a form again.


@pytest.mark.parametrize("times", [1, 3])
def test_form_sent_again_does_not_replace_the_stored_file(
    direct: DirectClient, kind: str, times: int, incoming: Callable[[], list[str]]
) -> None:
    form = formed(direct, "a.txt")
    assert direct.post(form, b"the first").status == 204
    judge(direct, form["id"])
    for _ in range(times):
        assert direct.post(form, b"another").status == (403 if kind == "folder" else 204)
    judge(direct, form["id"])
    assert stored(direct, form["id"]) == b"the first"
    assert incoming() == []


@pytest.mark.parametrize("asked_in_between", [True, False])
@pytest.mark.parametrize(("first", "second", "verdict"), [(b"good", SCRIPT, "stored"), (SCRIPT, b"good", "refused")])
def test_first_bytes_decide_the_verdict(
    direct: DirectClient,
    *,
    first: bytes,
    second: bytes,
    verdict: str,
    asked_in_between: bool,
    incoming: Callable[[], list[str]],
    stored_keys: Callable[[], list[str]],
) -> None:
    form = formed(direct, "a.txt")
    direct.post(form, first)
    if asked_in_between:
        judge(direct, form["id"])
    direct.post(form, second)
    judge(direct, form["id"])
    judge(direct, form["id"])
    assert (direct.status(form["id"]).json or {})["status"] == verdict
    assert incoming() == []
    files = [key for key in stored_keys() if key.startswith("files/")]
    assert files == ([f"files/{form['id']}/a.txt"] if verdict == "stored" else [])
    if verdict == "stored":
        assert stored(direct, form["id"]) == first


@pytest.mark.parametrize("second", [b"the first", b"another", SCRIPT])
def test_form_sent_again_does_not_restore_a_deleted_file(
    direct: DirectClient, second: bytes, incoming: Callable[[], list[str]], stored_keys: Callable[[], list[str]]
) -> None:
    form = formed(direct, "a.txt")
    direct.post(form, b"the first")
    status: Any = direct.status(form["id"]).json
    assert direct.client.delete(status["file"]["url"]).status_code == 204
    direct.post(form, second)
    judge(direct, form["id"])
    problem(direct.status(form["id"]), 404, "not-found")
    assert incoming() == []
    assert not [key for key in stored_keys() if key.startswith(("files/", "refused/"))]


def test_repeated_completion_does_not_restore_a_deleted_file(
    direct: DirectClient, stored_keys: Callable[[], list[str]]
) -> None:
    upload = direct.begun("a.txt")
    direct.put(upload, 1, b"bytes")
    response: Any = direct.complete(upload).json
    assert direct.client.delete(response["location"]).status_code == 204
    assert direct.complete(upload).status_code == 404
    assert direct.status(upload["id"]).status_code == 404
    assert not [key for key in stored_keys() if key.startswith("files/")]


# Replace the bytes after the check.


def test_colliding_blocks_have_one_md5() -> None:
    assert COLLIDING != COLLIDED
    assert hashlib.md5(COLLIDING).digest() == hashlib.md5(COLLIDED).digest()


@pytest.mark.parametrize(("first", "second"), [(COLLIDING, COLLIDED), (COLLIDING, SCRIPT)])
def test_form_sent_again_between_check_and_copy_is_not_stored(
    direct: DirectClient,
    *,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    first: bytes,
    second: bytes,
    incoming: Callable[[], list[str]],
) -> None:
    form = formed(direct, "a.bin")
    responses: list[int] = []
    before_publishing(monkeypatch, kind, lambda: responses.append(direct.post(form, second).status))
    direct.post(form, first)
    judge(direct, form["id"])
    assert responses == [403 if kind == "folder" else 204]
    assert stored(direct, form["id"]) == first
    judge(direct, form["id"])  # as the event of the second does
    assert stored(direct, form["id"]) == first
    assert incoming() == []


@WHERE_IT_IS_CHECKED
def test_part_sent_again_between_check_and_copy_is_not_stored(
    direct: DirectClient, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = direct.begun("a.bin")
    url = part_url(direct, upload, 1)
    responses: list[int] = []
    before_publishing(monkeypatch, kind, lambda: responses.append(direct.put_to(url, COLLIDED).status))
    assert direct.put_to(url, COLLIDING).status == 200
    assert direct.complete(upload).status_code == 200
    assert responses == [404]
    assert stored(direct, upload["id"]) == COLLIDING


@pytest.mark.parametrize("kind", ["folder"])
def test_part_with_the_same_md5_during_the_completion_is_not_stored(
    direct: DirectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder knows parts by their MD5, and for a moment the directory that takes them is still there."""
    upload = direct.begun("a.bin")
    url = part_url(direct, upload, 1)
    direct.put_to(url, COLLIDING)
    responses: list[int] = []

    def put_and_remove(path: Path) -> None:
        monkeypatch.setattr(folder_uploads, "remove_upload", remove_upload)
        responses.append(direct.put_to(url, COLLIDED).status)
        remove_upload(path)

    monkeypatch.setattr(folder_uploads, "remove_upload", put_and_remove)
    assert direct.complete(upload).status_code == 200
    assert responses == [200]
    assert stored(direct, upload["id"]) == COLLIDING


# Send more than was agreed.


@WHERE_IT_IS_CHECKED
@pytest.mark.parametrize(("number", "size"), [(1, 5 * MIB + 1), (1, 5 * MIB - 1), (1, 0), (2, MIB + 1), (2, MIB - 1)])
def test_part_of_another_length_than_signed_is_rejected(direct: DirectClient, number: int, size: int) -> None:
    upload = direct.begun("a.bin", size=6 * MIB, partSize=5 * MIB)
    assert direct.put(upload, number, bytes(size)).status in (403, 413)
    assert direct.parts(upload).json == []
    problem(direct.part_url(upload, 3), 400, "malformed-request")


@pytest.mark.strict_s3
@pytest.mark.parametrize("kind", [STRICT])
def test_part_without_a_length_is_rejected(direct: DirectClient) -> None:
    upload = direct.begun("a.bin", size=10, partSize=10)
    assert requests.put(part_url(direct, upload, 1), data=iter([bytes(10)]), timeout=10).status_code in (403, 411)
    assert direct.parts(upload).json == []


@WHERE_IT_IS_CHECKED
@pytest.mark.parametrize(("declared", "setting"), [({}, "1000"), ({"size": "1000"}, "100000")])
def test_form_larger_than_its_signed_limit_is_rejected(
    make_app: Callable[..., Flask], declared: dict[str, str], setting: str, incoming: Callable[[], list[str]]
) -> None:
    direct = DirectClient(client=make_app(MAX_FILE_BYTES=setting).test_client())
    form = formed(direct, "a.txt", **declared)
    assert direct.post(form, b"x" * 1001).status in (400, 413)
    assert incoming() == []
    assert direct.post(form, b"x" * 1000).status == 204
    assert len(stored(direct, form["id"])) == 1000


@pytest.mark.parametrize("says", ["complete", "sign"])
def test_parts_of_unsigned_lengths_over_the_limit_are_rejected(
    make_app: Callable[..., Flask], says: str, incoming: Callable[[], list[str]]
) -> None:
    direct = DirectClient(client=make_app(**BINARY, MAX_FILE_BYTES=str(6 * MIB)).test_client())
    upload = direct.begun("a.bin")
    urls = [part_url(direct, upload, number) for number in (1, 2)]
    assert direct.put_to(urls[0], bytes(5 * MIB)).status == 200
    assert direct.put_to(urls[1], bytes(2 * MIB)).status == 200
    response = direct.complete(upload) if says == "complete" else direct.part_url(upload, 2)
    refusal = problem(response, 413, "file-too-large")
    assert refusal["max_bytes"] == 6 * MIB
    problem(direct.parts(upload), 404, "upload-not-found")
    assert incoming() == []
    status: Any = direct.status(upload["id"]).json
    assert status["status"] == "refused"
    assert status["problem"]["detail"] == refusal["detail"]
    assert problem(direct.complete(upload), 413, "file-too-large")["detail"] == refusal["detail"]


@pytest.mark.parametrize(
    ("number", "status"), [(1, 200), (100, 200), (101, 400), (1025, 413), (0, 400), (10_001, 400), (10**15, 400)]
)
def test_unsigned_parts_have_a_highest_number(direct: DirectClient, number: int, status: int) -> None:
    upload = direct.begun("a.bin")  # up to 5 GiB: 1,024 parts of 5 MiB
    assert direct.part_url(upload, number).status_code == status


@pytest.mark.parametrize("number", ["x", "-1", "1.0", "٣", "1" * 17, "1 ", "0x1"])
def test_invalid_part_number_is_rejected(direct: DirectClient, number: Any) -> None:
    problem(direct.part_url(direct.begun("a.bin"), number), 400, "malformed-request")


def test_metadata_cannot_raise_the_limit(direct: DirectClient) -> None:
    """The client's metadata is not the metadata of the object."""
    size = 6 * MIB
    upload = direct.begun("a.bin", metadata={"size": size, "max-bytes": 10**9})
    direct.put(upload, 1, bytes(size))
    direct.put(upload, 2, bytes(1))
    assert problem(direct.complete(upload), 413, "file-too-large")["max_bytes"] == size


@WHERE_IT_IS_CHECKED
@pytest.mark.parametrize("declared", [{"size": 10}, {"metadata": {"size": 10}}])
def test_only_part_of_small_file_is_signed_for_its_size(direct: DirectClient, declared: dict[str, Any]) -> None:
    upload = direct.begun("a.bin", **declared)
    url = part_url(direct, upload, 1)
    for length in (9, 11, 5 * MIB):
        assert direct.put_to(url, bytes(length)).status in (403, 413)
    assert direct.parts(upload).json == []
    problem(direct.part_url(upload, 2), 400, "malformed-request")
    assert direct.put_to(url, bytes(10)).status == 200
    assert direct.complete(upload).status_code == 200


@pytest.mark.parametrize("size", [5 * MIB + 1, 10**9])
def test_part_of_unknown_length_is_not_signed(direct: DirectClient, size: int) -> None:
    upload = direct.begun("a.bin", size=size)
    refusal = problem(direct.part_url(upload, 1), 400, "malformed-request")
    assert "'partSize'" in refusal["detail"]
    assert direct.part_url(direct.begun("a.bin", size=size, partSize=upload["partSize"]), 1).status_code == 200


# Read an unchecked upload.


def test_unchecked_upload_cannot_be_read(direct: DirectClient) -> None:
    upload = direct.begun("a.txt")
    etag = direct.put(upload, 1, SCRIPT).etag.strip('"')
    file_id = upload["id"]
    for path in (
        f"/files/{file_id}/a.txt",
        f"/files/{file_id}/{file_id}",
        f"/incoming/{file_id}",
        f"/incoming/{file_id}/1.{etag}",
        f"/files/../incoming/{file_id}",
        f"/files/%2e%2e/incoming/{file_id}",
        f"/files/..%2fincoming/{file_id}",
        f"/files/{file_id}/..%2f..%2fincoming%2f{file_id}%2f1.{etag}",
        f"/files/..%2f..%2fincoming%2f{file_id}/1.{etag}",
        f"/files/incoming/{file_id}",
        f"/files//incoming/{file_id}",
        "/files/../secret",
        "/secrets/upload-ids",
        f"/upload/s3/incoming/{file_id}",
        f"/upload/{file_id}/..%2fincoming",
    ):
        response = direct.client.get(path)
        assert response.status_code in (404, 405), path
        assert SCRIPT not in response.data


@pytest.mark.strict_s3
@pytest.mark.parametrize("kind", [STRICT])
def test_download_url_is_valid_for_one_key(direct: DirectClient) -> None:
    response: Any = direct.send("a.txt", b"bytes").json
    url = direct.client.get(response["location"]).headers["Location"]
    path = urlsplit(url).path.partition("files/")[2]
    upload = direct.begun("b.txt")
    direct.put(upload, 1, SCRIPT)
    for key in (upload["key"], f"files/../{upload['key']}", "secrets/upload-ids"):
        assert requests.get(url.replace(f"files/{path}", key), timeout=10).status_code == 403


# Continue the upload of another client.


def changed(upload: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return upload | changes


def every_call(direct: DirectClient, upload: dict[str, Any]) -> list[Any]:
    return [direct.part_url(upload, 1), direct.parts(upload), direct.complete(upload), direct.abort(upload)]


def test_changed_upload_id_is_rejected(direct: DirectClient) -> None:
    upload, other = direct.begun("a.txt"), direct.begun("b.txt")
    direct.put(upload, 1, b"bytes")
    payload, stamp, signature = upload["uploadId"].rsplit(".", 2)
    fake = base64.urlsafe_b64encode(json.dumps({"id": upload["id"], "upload": "x", "max_bytes": 1}).encode()).decode()
    for forged in (
        upload["uploadId"][:-1],
        upload["uploadId"] + "A",
        f"{payload}.{stamp}.{other['uploadId'].rpartition('.')[2]}",
        f"{other['uploadId'].rsplit('.', 2)[0]}.{stamp}.{signature}",
        f"{fake.rstrip('=')}.{stamp}.{signature}",
        f"{payload}.{stamp}.",
        f"{payload}..{signature}",
        upload["id"],
        "A" * 5000,
        "%00",
        "..",
    ):
        for response in every_call(direct, changed(upload, uploadId=forged)):
            assert response.status_code in (404, 405), forged
    assert direct.client.get(f"/upload/{upload['uploadId'][:-1]}").status_code == 404
    assert len(direct.parts(upload).json or []) == 1


def test_upload_id_with_another_key_is_rejected(direct: DirectClient) -> None:
    upload, other = direct.begun("a.txt"), direct.begun("b.txt")
    direct.put(upload, 1, b"bytes")
    for key in (other["key"], "", f"files/{upload['id']}/a.txt", upload["id"]):
        for response in every_call(direct, changed(upload, key=key)):
            problem(response, 404, "upload-not-found")
    assert len(direct.parts(upload).json or []) == 1


def test_upload_id_of_a_form_only_opens_the_status(direct: DirectClient) -> None:
    form = formed(direct, "a.txt")
    upload_id = urlsplit(form["status"]).path.rpartition("/")[2]
    direct.post(form, b"bytes")
    for response in every_call(direct, {"uploadId": upload_id, "key": f"incoming/{form['id']}"}):
        problem(response, 404, "upload-not-found")
    assert stored(direct, upload_id) == b"bytes"


def test_upload_id_of_another_storage_is_rejected(direct: DirectClient) -> None:
    upload = direct.begun("a.txt")
    signed = upload_ids.sign(UploadId(id=upload["id"], multipart_id="x", max_bytes=10**9), secret=bytes(32))
    for response in every_call(direct, changed(upload, uploadId=signed)):
        problem(response, 404, "upload-not-found")


@pytest.mark.parametrize("kind", ["folder"])
def test_signature_is_valid_for_one_purpose(direct: DirectClient) -> None:
    """Upload ids, parts' URLs and forms of the folder are signed with one key."""
    upload, form = direct.begun("a.txt"), formed(direct, "a.txt")
    url = part_url(direct, upload, 1)
    ticket = url.rpartition("/")[2]
    assert direct.put_to(url.replace(ticket, form["fields"]["policy"]), b"bytes").status == 403
    assert direct.put_to(url.replace(ticket, upload["uploadId"]), b"bytes").status == 403
    assert direct.post(form, b"bytes", policy=ticket).status == 403
    assert direct.post(form, b"bytes", policy=upload["uploadId"]).status == 403
    for response in every_call(direct, changed(upload, uploadId=ticket)):
        problem(response, 404, "upload-not-found")


def token(**claims: Any) -> str:
    return jwt.encode({"exp": int(time.time()) + 600, **claims}, SECRET, algorithm="HS256")


def with_token(client: Any, token: str) -> DirectClient:
    return DirectClient(client=client, prefix=f"/upload/t/{token}/s3")


@pytest.mark.parametrize("other", [{"sub": "eve"}, {}, {"sub": ""}])
def test_upload_of_another_subject_is_forbidden(make_app: Callable[..., Flask], other: dict[str, str]) -> None:
    client = make_app(TOKEN_SECRET=SECRET).test_client()
    ada, eve = (with_token(client, token(**claims)) for claims in ({"sub": "ada"}, other))
    upload = ada.begun("a.txt")
    assert ada.put(upload, 1, b"bytes").status == 200
    for response in every_call(eve, upload):
        problem(response, 403, "forbidden")
    assert "ada" not in str(base64.b64decode(upload["uploadId"].partition(".")[0] + "==", altchars=b"-_"))
    assert with_token(client, token(sub="ada", jti="a new one")).complete(upload).status_code == 200


def test_long_sub_does_not_lengthen_the_upload_id(make_app: Callable[..., Flask]) -> None:
    direct = with_token(make_app(TOKEN_SECRET=SECRET).test_client(), token(sub="ä" * 300))
    upload = direct.begun("a.txt")
    assert len(upload["uploadId"]) < 1000
    direct.put(upload, 1, b"bytes")
    assert direct.complete(upload).status_code == 200


# Use something expired.


@WHERE_IT_IS_CHECKED
@pytest.mark.parametrize(("age", "status"), [(3500, 200), (3601, 403)])
def test_part_url_expires_after_an_hour(direct: DirectClient, age: int, status: int) -> None:
    upload = direct.begun("a.txt")
    known = upload_ids.verify(upload["uploadId"], secret=secret_of(direct))
    with earlier(age):
        url = direct.client.application.extensions["services"].direct_uploads.part_url(
            known.id, known.multipart_id, 1, size=None
        )
    url = url if "://" in url else f"http://localhost/{url}"
    assert direct.put_to(url, b"bytes").status == status
    assert len(direct.parts(upload).json or []) == (1 if status == 200 else 0)


@WHERE_IT_IS_CHECKED
@pytest.mark.parametrize(("age", "status"), [(3500, 204), (3601, 403)])
def test_form_expires_after_an_hour(
    direct: DirectClient, age: int, status: int, incoming: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct.client.application.extensions["services"].promotion, "promote", lambda _: None)
    with earlier(age):
        form = formed(direct, "a.txt")
    assert direct.post(form, b"bytes").status == status
    assert len(incoming()) == (1 if status == 204 else 0)


def secret_of(direct: DirectClient) -> bytes:
    secret: bytes = direct.client.application.extensions["services"].direct_uploads.secret()
    return secret


@pytest.mark.parametrize(("age", "status"), [(24 * 3600 - 60, 200), (24 * 3600 + 1, 404)])
def test_upload_id_expires_after_a_day(direct: DirectClient, age: int, status: int) -> None:
    upload = direct.begun("a.txt")
    direct.put(upload, 1, b"bytes")
    known = upload_ids.verify(upload["uploadId"], secret=secret_of(direct))
    with earlier(age):
        old = changed(upload, uploadId=upload_ids.sign(known, secret=secret_of(direct)))
    assert direct.complete(old).status_code == status
    assert direct.client.get(f"/upload/{old['uploadId']}").status_code == status


@pytest.mark.parametrize(("ahead", "status"), [(1, 200), (28, 200), (40, 404)])
def test_upload_id_signed_by_a_fast_clock_has_some_leeway(direct: DirectClient, ahead: int, status: int) -> None:
    """By that of another function, for example. Tokens have the same leeway."""
    upload = direct.begun("a.txt")
    direct.put(upload, 1, b"bytes")
    known = upload_ids.verify(upload["uploadId"], secret=secret_of(direct))
    with earlier(-ahead):
        other = changed(upload, uploadId=upload_ids.sign(known, secret=secret_of(direct)))
    assert direct.complete(other).status_code == status
    assert direct.client.get(f"/upload/{other['uploadId']}").status_code == status


def test_expired_token_is_rejected_by_every_direct_route(make_app: Callable[..., Flask]) -> None:
    client = make_app(TOKEN_SECRET=SECRET).test_client()
    upload = with_token(client, token()).begun("a.txt")
    late = with_token(client, token(exp=int(time.time()) - 3600))
    for response in (late.begin("a.txt"), late.presigned_post("a.txt"), *every_call(late, upload)):
        problem(response, 401, "invalid-token")


# Store a type that is not allowed under an allowed name.


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.png", b"<!doctype html><html><script>alert(1)</script></html>"),
        ("a.png", samples.JPEG),
        ("a.txt", SCRIPT),
        ("a.txt", b"#!/bin/sh\nrm -rf ~\n"),
        ("a.txt", b"MZ\x90\x00\x03\x00\x00\x00"),
        ("a.txt", samples.PDF),
        ("a.png", samples.png() + b"<script>alert(1)</script>"),
        ("a.bin", b"<html><body onload=alert(1)>"),
        ("a.txt", b""),
    ],
)
@pytest.mark.parametrize("way", ["parts", "form"])
def test_content_of_another_type_is_refused(
    direct: DirectClient,
    *,
    name: str,
    content: bytes,
    way: str,
    stored_keys: Callable[[], list[str]],
    incoming: Callable[[], list[str]],
) -> None:
    if way == "parts":
        upload = direct.begun(name)
        direct.put(upload, 1, content)
        assert direct.complete(upload).status_code == 422
        file_id = upload["id"]
    else:
        form = formed(direct, name)
        assert direct.post(form, content).status == 204
        file_id = form["id"]
    assert (direct.status(file_id).json or {})["status"] == "refused"
    assert not [key for key in stored_keys() if key.startswith(("files/", "metadata/"))]
    assert incoming() == []


@pytest.mark.parametrize(
    ("name", "declared"),
    [
        ("a.html", {}),
        ("a.svg", {"type": "image/png"}),
        ("a", {}),
        ("a.png.exe", {}),
        ("a.txt", {"type": "text/html"}),
        ("a.png", {"type": "image/svg+xml"}),
        ("a.txt", {"type": "text/javascript"}),
    ],
)
def test_type_that_is_not_allowed_is_rejected_before_the_upload(
    direct: DirectClient, name: str, declared: dict[str, Any], incoming: Callable[[], list[str]]
) -> None:
    problem(direct.begin(name, **declared), 415, "type-not-allowed")
    problem(direct.presigned_post(name, **declared), 415, "type-not-allowed")
    assert incoming() == []


# Tokens in paths.


def test_missing_or_invalid_token_is_rejected_by_every_direct_route(
    make_app: Callable[..., Flask], incoming: Callable[[], list[str]]
) -> None:
    client = make_app(TOKEN_SECRET=SECRET).test_client()
    upload = with_token(client, token()).begun("a.txt")
    direct = DirectClient(client=client)
    for response in (direct.begin("a.txt"), direct.presigned_post("a.txt"), *every_call(direct, upload)):
        problem(response, 401, "token-required")
    for wrong in ("x", token()[:-2], jwt.encode({"exp": 2**33}, "another secret, which is long enough", "HS256")):
        direct = with_token(client, wrong)
        for response in (direct.begin("a.txt"), direct.presigned_post("a.txt"), *every_call(direct, upload)):
            problem(response, 401, "invalid-token")
    assert len(incoming()) == 1


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({}, 200),
        ({"scope": "upload"}, 200),
        ({"scope": "upload delete"}, 403),
        ({"scope": "delete"}, 403),
        ({"scope": ""}, 403),
        ({"exp": int(time.time()) + 3600}, 200),
        ({"exp": int(time.time()) + 2 * 3600}, 403),
    ],
)
def test_token_in_the_path_is_limited(
    make_app: Callable[..., Flask], claims: dict[str, Any], status: int, incoming: Callable[[], list[str]]
) -> None:
    client = make_app(TOKEN_SECRET=SECRET).test_client()
    direct = with_token(client, token(**claims))
    assert direct.begin("a.txt").status_code == status
    assert direct.presigned_post("a.txt").status_code == status
    assert len(incoming()) == (1 if status == 200 else 0)


def test_token_in_a_header_may_be_valid_for_longer(make_app: Callable[..., Flask]) -> None:
    client = make_app(TOKEN_SECRET=SECRET).test_client()
    bearer = {"Authorization": f"Bearer {mint(SECRET, expires_seconds=10**6, scopes=SCOPES)}"}
    response = client.post("/upload/s3/multipart", json={"filename": "a.txt"}, headers=bearer)
    assert response.status_code == 200


def test_limits_of_the_token_apply_to_the_whole_upload(
    make_app: Callable[..., Flask], stored_keys: Callable[[], list[str]], kind: str
) -> None:
    client = make_app(TOKEN_SECRET=SECRET).test_client()
    direct = with_token(client, token(max_bytes=100, extensions=["txt"]))
    problem(direct.begin("a.png"), 415, "type-not-allowed")
    problem(direct.presigned_post("a.png"), 415, "type-not-allowed")
    problem(direct.begin("a.txt", size=101), 413, "file-too-large")
    problem(direct.presigned_post("a.txt", size=101), 413, "file-too-large")
    upload = direct.begun("a.txt")
    direct.put(upload, 1, b"x" * 101)
    # A token that allows more does not make more of an upload that was begun with less.
    assert problem(with_token(client, token()).complete(upload), 413, "file-too-large")["max_bytes"] == 100
    form = formed(direct, "a.txt")
    assert direct.post(form, b"x" * 101).status == (204 if kind == "s3" else 413 if kind == "folder" else 400)
    if kind == "s3":  # moto has let it in
        assert (direct.status(form["id"]).json or {})["problem"]["max_bytes"] == 100
    assert not [key for key in stored_keys() if key.startswith("files/")]


def test_token_is_in_no_response_and_in_no_log_line(
    make_app: Callable[..., Flask], capsys: pytest.CaptureFixture[str]
) -> None:
    secret_token = token(sub="ada")
    client = make_app(TOKEN_SECRET=SECRET).test_client()
    direct = with_token(client, secret_token)
    upload = direct.begun("a.txt")
    direct.put(upload, 1, b"bytes")
    responses = [direct.parts(upload), direct.part_url(upload, 1), direct.part_url(upload, 0), direct.complete(upload)]
    responses += [
        direct.abort(upload),
        direct.presigned_post("a.txt"),
        direct.presigned_post("a.exe"),
        direct.begin("a.txt", size="?"),
    ]
    responses += [client.get(f"/upload/t/{secret_token}"), client.get(f"/upload/t/{secret_token}/s3/nothing")]
    responses += [
        client.put(f"/upload/t/{secret_token}/s3/params"),
        client.post(f"/upload/t/{secret_token}/s3/multipart"),
    ]
    for response in responses:
        assert secret_token not in response.text + str(response.headers)
    log = capsys.readouterr().out
    assert log.count('"event": "request"') >= len(responses)
    assert secret_token not in log
