"""The permissions of each function's role, compared with the S3 calls of the code."""

from __future__ import annotations

import hashlib
import io
import sys
from typing import TYPE_CHECKING, Any

import pytest

from handler.problems import AlreadyExists, UploadNotFound
from handler.storage.direct import Declaration
from handler.storage.resumable import Beginning, Ending
from handler.storage.s3 import copy as s3_copy
from handler.storage.s3 import direct as s3_direct
from handler.storage.s3 import files as s3
from handler.storage.s3 import pieces as s3_pieces
from handler.storage.s3.client import make_client
from handler.storage.s3.files import S3Storage
from handler.web.tokens import mint

from ..conftest import BUCKET
from ..support import samples
from ..support.direct_client import DirectClient, send_form
from ..support.lambda_runtime import SECRET
from ..support.promotions import copy_every_file
from ..support.s3_permissions import ROLES, Recorder, allowed, documented, statements, written
from ..support.stored_files import ID, fetch, file
from ..support.template import RESOURCES, TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient


def lose_a_race(uploads: Any, file_id: str) -> None:
    """Copy an upload three times: twice as two promotions at once would, and once after its file was deleted."""
    incoming = uploads.open_incoming(file_id)
    incoming.copy_to_files(file(id=file_id))
    with pytest.raises(AlreadyExists):
        incoming.copy_to_files(file(id=file_id))
    make_client().delete_object(Bucket=BUCKET, Key=file(id=file_id).key)  # with a client that is not recorded
    with pytest.raises(AlreadyExists):
        incoming.copy_to_files(file(id=file_id))


def send_pieces(storage: S3Storage) -> str:
    """Append a file in two pieces, and place a piece of another file. Return the path of the first."""
    uploads = s3_pieces.S3ResumableUploads(storage)
    for _ in range(2):
        uploads.begin(ID, Beginning(declaration=Declaration(original_name="a.txt", max_bytes=10)))
        uploads.set_length(ID, 10)
    uploads.append(ID, uploads.append(ID, 0, iter([b"some"])), iter([b" bytes"]))
    assert uploads.read(ID, 0, 99) == b"some bytes"
    uploads.end(ID, Ending.COMPLETE)
    for _ in range(2):
        uploads.hand_over(ID)
    with pytest.raises(UploadNotFound):
        uploads.place("f" * 32, 0, iter([b"some"]))
    return ID


def promote_pieces(storage: S3Storage, path: str) -> None:
    """Copy the pieces of a file, as a whole and in parts, and discard them."""
    uploads = s3_pieces.S3ResumableUploads(storage)
    incoming = uploads.open_incoming(path)
    assert incoming is not None
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(s3_pieces, "WHOLE_BYTES", 0)
        monkeypatch.setattr(s3_pieces, "ONE_PUT_BYTES", 0)
        incoming.copy_to_files(file(id=path))
        with pytest.raises(AlreadyExists):
            incoming.copy_to_files(file(id=path))
    with pytest.raises(AlreadyExists):
        incoming.copy_to_files(file(id=path))
    uploads.discard(path, make_client().head_object(Bucket=BUCKET, Key=f"incoming/{path}")["VersionId"])


def test_upload_function_has_exactly_the_permissions_it_needs(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = DirectClient(client=client)
    url = client.put("/upload/a.txt", data=samples.TEXT).json["url"]  # type: ignore[index]
    assert fetch(client.get(url).headers["Location"]) == samples.TEXT
    assert client.delete(url).status_code == 204
    app.extensions["services"].storage.delete_best_effort([file()])
    assert client.get("/files").status_code == 200
    app.extensions["services"].storage.put(file(id="e" * 32, keep_days=7), io.BytesIO(b"some bytes"))

    stored = send_form(direct, "a.txt", samples.TEXT)
    assert direct.status(stored["id"]).json["status"] == "stored"  # type: ignore[index]
    assert client.get(f"/upload/{stored['id']}").status_code == 200
    refused = send_form(direct, "a.png", samples.TEXT)
    assert direct.status(refused["id"]).json["status"] == "refused"  # type: ignore[index]
    begun = direct.begun("a.txt")
    assert direct.status(begun["id"]).json["status"] == "pending"  # type: ignore[index]
    direct.put(begun, 1, samples.TEXT)
    assert direct.parts(begun).status_code == 200
    assert direct.abort(begun).status_code == 200
    assert direct.send("a.txt", samples.TEXT, sha256=hashlib.sha256(samples.TEXT).hexdigest()).status_code == 200
    copy_every_file(monkeypatch)
    assert direct.send("a.txt", samples.TEXT).status_code == 200
    lost = send_form(direct, "a.txt", samples.TEXT)
    lose_a_race(app.extensions["services"].direct_uploads, lost["id"])
    storage = app.extensions["services"].storage
    promote_pieces(storage, send_pieces(storage))

    assert app.extensions["recorder"].permissions == documented("upload")
    assert allowed("upload") == documented("upload")
    assert app.extensions["recorder"].operations == written(s3, s3_direct, s3_copy, s3_pieces), (
        "no call was left out above"
    )


def test_promote_function_has_exactly_the_permissions_it_needs(
    client: FlaskClient, promote: Callable[[str], Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_every_file(monkeypatch)
    direct = DirectClient(client=client)
    for name, status in (("a.txt", "stored"), ("a.png", "refused")):
        form = send_form(direct, name, samples.TEXT)
        promote(form["id"])
        recorder = promote(form["id"])  # Lambda may call twice for one event
        assert direct.status(form["id"]).json["status"] == status  # type: ignore[index]
    token = mint(SECRET, expires_seconds=600, keep_days=7)
    expiring = send_form(DirectClient(client=client, prefix=f"/upload/t/{token}/s3"), "a.txt", samples.TEXT)
    promote(expiring["id"])
    lost = send_form(direct, "a.txt", samples.TEXT)
    module = sys.modules["handler.lambda_function"]
    lose_a_race(module._app.extensions["services"].direct_uploads, lost["id"])
    promote(lost["id"])
    send_pieces(S3Storage(BUCKET, client=make_client()))  # with a client that is not recorded
    promote_pieces(module._app.extensions["services"].storage, ID)

    assert recorder.permissions == documented("promote")
    assert allowed("promote") == documented("promote")


def test_notify_function_has_exactly_the_permissions_it_needs(
    client: FlaskClient, notify: Callable[[str], Recorder]
) -> None:
    stored = client.put("/upload/a.txt", data=samples.TEXT).json["files"][0]  # type: ignore[index]
    recorder = notify(f"files/{stored['id']}/a.txt")
    notify(f"files/{ID}/a.txt")  # deleted meanwhile
    assert recorder.permissions == documented("notify")
    assert allowed("notify") == documented("notify")


def test_promote_function_starts_without_access_settings(
    promote: Callable[[str], Recorder],
) -> None:
    given = set(TEMPLATE["Globals"]["Function"]["Environment"]["Variables"])
    assert "Environment" not in RESOURCES["PromoteFunction"]["Properties"]
    assert not given & {"ACCESS", "TOKEN_SECRET"}
    promote(ID)  # no upload has this id: another promotion was first


@pytest.mark.parametrize("role", ROLES)
def test_permissions_outside_the_bucket(role: str) -> None:
    log = f"{role.title()}Log"
    elsewhere = [
        (action, statement["Resource"])
        for statement in statements(role)
        for action in statement["Action"]
        if not action.startswith("s3:")
    ]
    taken = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
    queues = {"promote": "IncomingFiles", "notify": "StoredFiles"}
    queue = [(action, {"GetAtt": f"{queues[role]}.Arn"}) for action in taken] if role in queues else []
    key = ("kms:GenerateDataKey", "kms:Decrypt") if role != "notify" else ("kms:Decrypt",)
    assert elsewhere == [
        *queue,
        ("logs:CreateLogStream", {"GetAtt": f"{log}.Arn"}),
        ("logs:PutLogEvents", {"GetAtt": f"{log}.Arn"}),
        *((action, {"Ref": "KmsKeyArn"}) for action in key),
        ("xray:PutTraceSegments", "*"),
        ("xray:PutTelemetryRecords", "*"),
    ]
    (policy,) = RESOURCES[ROLES[role]]["Properties"]["Policies"]
    conditions = [entry["If"][0] for entry in policy["PolicyDocument"]["Statement"] if "If" in entry]
    assert conditions == ["UseKmsKey", "Trace"]


def test_each_function_has_its_role_and_no_other_policy() -> None:
    for name in ("Upload", "Promote", "Notify"):
        properties = RESOURCES[f"{name}Function"]["Properties"]
        assert properties["Role"] == {"GetAtt": f"{name}Role.Arn"}
        assert "Policies" not in properties
        role = RESOURCES[f"{name}Role"]["Properties"]
        assert "ManagedPolicyArns" not in role
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}


def test_conditions_of_a_role_limit_the_prefix() -> None:
    for role in ROLES:
        conditions = [statement["Condition"] for statement in statements(role) if "Condition" in statement]
        lists_versions = [["StringLike"]] if role != "notify" else []
        assert [list(condition) for condition in conditions] == [["StringLikeIfExists"], *lists_versions]
