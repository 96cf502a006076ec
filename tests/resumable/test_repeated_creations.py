"""Requests that begin a resumable upload, and are repeated with their ``Idempotency-Key``: one upload, one file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from handler.web.tokens import mint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flask import Flask
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

SECRET = "a secret of this test that is long enough"
TEXT = b"0123456789" * 10
KEY = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
NAME = {"Content-Disposition": 'inline; filename="a.txt"'}
TUS = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream", "Upload-Length": "100"}
IETF = {"Upload-Complete": "?0", "Upload-Length": "100"}
PIECE = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}


@pytest.fixture(params=[TUS, IETF], ids=["tus", "ietf"])
def protocol(request: pytest.FixtureRequest) -> dict[str, str]:
    fields: dict[str, str] = request.param
    return fields


def begin(client: FlaskClient, fields: Mapping[str, str], content: bytes = b"", **more: str) -> TestResponse:
    headers = {**KEY, **NAME, **fields, **{name.replace("_", "-"): value for name, value in more.items()}}
    return client.post("/upload", data=content, headers=headers)


def path_of(response: TestResponse) -> str:
    assert response.status_code == 201, response.text
    return urlsplit(response.headers["Location"]).path


def append(client: FlaskClient, path: str, offset: int, content: bytes) -> TestResponse:
    return client.patch(path, data=content, headers=PIECE | {"Upload-Offset": str(offset)})


def offset_of(client: FlaskClient, path: str) -> str:
    return client.head(path, headers={"Tus-Resumable": "1.0.0"}).headers["Upload-Offset"]


def id_of(client: FlaskClient, path: str) -> str:
    upload: dict[str, Any] = client.get(path).json or {}
    file_id: str = upload["id"]
    return file_id


def test_repeated_creation_returns_the_same_upload(client: FlaskClient, protocol: dict[str, str]) -> None:
    first, second = begin(client, protocol), begin(client, protocol)
    assert id_of(client, path_of(first)) == id_of(client, path_of(second))
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"


def test_repeated_creation_has_the_offset(client: FlaskClient, protocol: dict[str, str]) -> None:
    path = path_of(begin(client, protocol))
    assert append(client, path, 0, TEXT[:30]).status_code == 204
    assert begin(client, protocol).headers["Upload-Offset"] == "30"


@pytest.mark.parametrize("arrived", [0, 10, 30])
def test_content_of_a_repeated_creation_is_appended_once(
    client: FlaskClient, protocol: dict[str, str], arrived: int
) -> None:
    path = path_of(begin(client, protocol, TEXT[:arrived]))
    second = begin(client, protocol, TEXT[:30])
    assert second.headers["Upload-Offset"] == "30"
    assert append(client, path, 30, TEXT[30:]).status_code == 201
    assert offset_of(client, path) == "100"


def test_creation_is_repeated_after_the_last_piece(
    client: FlaskClient, protocol: dict[str, str], stored_keys: Callable[[], list[str]]
) -> None:
    path = path_of(begin(client, protocol))
    last = client.patch(
        path,
        data=TEXT,
        headers={"Upload-Offset": "0", "Upload-Complete": "?1", "Content-Type": "application/partial-upload"},
    )
    assert last.status_code == 201, last.text
    again = begin(client, protocol)
    assert (again.status_code, again.headers["Upload-Complete"], again.json) == (201, "?1", last.json)
    assert len([key for key in stored_keys() if key.startswith("files/")]) == 1


@pytest.mark.parametrize("fields", [TUS, IETF | {"Upload-Complete": "?1"}], ids=["tus", "ietf"])
def test_whole_file_is_stored_once(
    client: FlaskClient, fields: dict[str, str], stored_keys: Callable[[], list[str]]
) -> None:
    first, second = begin(client, fields, TEXT), begin(client, fields, TEXT)
    assert (first.status_code, second.status_code) == (201, 201), second.text
    assert first.json == second.json
    assert second.headers["Idempotency-Replayed"] == "true"
    assert len([key for key in stored_keys() if key.startswith("files/")]) == 1


def test_key_is_the_same_in_every_way_of_a_whole_file(client: FlaskClient) -> None:
    first = begin(client, TUS, TEXT)
    second = client.put("/upload/a.txt", data=TEXT, headers=KEY)
    assert first.json == second.json


@pytest.mark.parametrize(
    "change",
    [
        {"Content-Disposition": 'inline; filename="b.txt"'},
        {"Upload-Length": "99"},
        {"Upload-Metadata": "filename Yi50eHQ="},
    ],
    ids=["name", "length", "metadata"],
)
def test_key_of_another_upload_is_refused(
    client: FlaskClient, protocol: dict[str, str], change: dict[str, str]
) -> None:
    begin(client, protocol)
    response = begin(client, protocol | change, Content_Disposition=change.get("Content-Disposition", "inline"))
    assert response.status_code == 422, response.text
    assert response.json
    assert response.json["type"] == "urn:problem-type:upload:idempotency-key-reused"


def test_cancelled_upload_is_gone(client: FlaskClient, protocol: dict[str, str]) -> None:
    assert client.delete(path_of(begin(client, protocol))).status_code == 204
    response = begin(client, protocol)
    assert response.status_code == 410
    assert response.json
    assert "send a new key" in response.json["detail"]


def test_refused_upload_stays_refused(client: FlaskClient, protocol: dict[str, str]) -> None:
    page = b"<!doctype html><script>alert(1)</script>"
    fields = {name: value for name, value in protocol.items() if name != "Upload-Length"}
    if protocol is TUS:
        fields["Upload-Defer-Length"] = "1"
    fields["Content-Disposition"] = 'inline; filename="a.png"'
    first, second = (begin(client, fields, page) for _ in range(2))
    assert (first.status_code, second.status_code) == (422, 422), second.text
    assert first.json
    assert second.json
    assert first.json["detail"] == second.json["detail"]


@pytest.mark.parametrize("key", ["", "a b", '"', "x" * 256])
def test_invalid_key_is_refused(client: FlaskClient, protocol: dict[str, str], key: str) -> None:
    response = begin(client, protocol, Idempotency_Key=key)
    assert response.status_code == 400, response.text
    assert response.json
    assert "Idempotency-Key" in response.json["detail"]


def test_key_belongs_to_the_subject_and_the_folder(make_app: Callable[..., Flask]) -> None:
    client = make_app(TOKEN_SECRET=SECRET).test_client()
    grants: list[dict[str, Any]] = [{"subject": "ann"}, {"subject": "bob"}, {"subject": "ann", "folder": "a"}]
    tokens = [mint(SECRET, expires_seconds=60, **grant) for grant in grants]
    paths = [path_of(begin(client, TUS, Authorization=f"Bearer {token}")) for token in tokens]
    assert len({id_of(client, path) for path in paths}) == 3
