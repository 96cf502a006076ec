"""Dropzone's pieces, over both storages: each form as dropzone 6.3.5 sends it, in any order."""

from __future__ import annotations

import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from handler.storage.folder.files import LocalStorage
from handler.storage.folder.resumable import LocalResumableUploads
from handler.storage.s3.pieces import LAST_OFFSET

from ..conftest import BUCKET
from ..support import tokens
from ..support.conditional_writes import make_atomic
from ..support.http_client import download, json_of, problem
from ..support.lambda_runtime import let_a_gateway_wait
from ..support.widget_pieces import Dropzone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flask import Flask
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

TEXT = b"0123456789" * 250
"""Two pieces of 1,000 bytes, and one of 500."""
PAGE = b"<!doctype html><script>alert(1)</script>".ljust(9000)
THREADS = 50


def content_of(client: FlaskClient, response: TestResponse) -> bytes:
    """Return the content of the file in a response."""
    assert response.status_code == 201, response.text
    assert response.json
    return download(client, response.json["files"][0]["url"])


def atomic(app: Flask) -> Flask:
    """Let the conditional writes of an app be atomic, as on AWS."""
    storage = app.extensions["services"].storage
    if hasattr(storage, "client"):
        make_atomic(storage.client)
    return app


def files(keys: list[str]) -> list[str]:
    return [key for key in keys if key.startswith("files/")]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_pieces_in_any_order_are_one_file(client: FlaskClient, order: tuple[int, ...]) -> None:
    zone = Dropzone(client, TEXT, name="Grüße.txt")
    *pieces, last = (zone.post(index) for index in order)
    assert [piece.status_code for piece in pieces] == [204, 204]
    assert [piece.data for piece in pieces] == [b"", b""]
    assert last.json
    assert last.json["files"][0]["original_name"] == "Grüße.txt"
    assert last.json["url"] == last.headers["Location"]
    assert content_of(client, last) == TEXT


def test_file_in_one_piece_is_stored_at_once(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
    zone = Dropzone(client, TEXT[:1000])
    assert content_of(client, zone.post(0)) == TEXT[:1000]
    assert not any("chunks" in key for key in stored_keys())


def test_repeated_piece_is_a_success(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
    zone = Dropzone(client, TEXT)
    for index in (0, 0, 1, 0, 1):
        assert zone.post(index).status_code == 204
    first = zone.post(2)
    assert [zone.post(index).json for index in (2, 0, 1)] == [first.json] * 3
    assert content_of(client, first) == TEXT
    assert len(files(stored_keys())) == 1


def test_other_bytes_at_the_same_place_are_refused(client: FlaskClient) -> None:
    zone = Dropzone(client, TEXT)
    zone.post(1)
    assert "other bytes" in problem(zone.post(1, b"x" * 1000), 409, "already-exists")["detail"]
    zone.post(0)
    assert content_of(client, zone.post(2)) == TEXT


@pytest.mark.parametrize(
    ("index", "size", "relation"), [(0, 999, "fewer"), (0, 1001, "more"), (2, 499, "fewer"), (2, 501, "more")]
)
def test_piece_of_another_size_is_not_kept(client: FlaskClient, index: int, size: int, relation: str) -> None:
    zone = Dropzone(client, TEXT)
    assert relation in problem(zone.post(index, b"x" * size), 400, "malformed-request")["detail"]
    *_, last = [zone.post(index) for index in range(3)]
    assert content_of(client, last) == TEXT


@pytest.mark.parametrize(
    "fields",
    [
        {"dzuuid": None},
        {"dzuuid": ""},
        {"dzuuid": "x" * 65},
        {"dzuuid": "x" * 10_240},
        {"dzchunkindex": "NaN"},
        {"dzchunkindex": "1e3"},
        {"dzchunkindex": "٣"},
        {"dztotalfilesize": "Infinity"},
        {"dztotalfilesize": "0"},
        {"dztotalfilesize": "-2500"},
        {"dzchunksize": "9" * 15},
        {"dzchunkindex": None},
        {"dzchunkindex": "-1"},
        {"dzchunkindex": "3"},
        {"dztotalfilesize": None},
        {"dztotalfilesize": "3001"},
        {"dzchunksize": "0"},
        {"dzchunksize": "x"},
        {"dztotalchunkcount": "4"},
        {"dztotalchunkcount": None},
        {"dzchunkbyteoffset": "1"},
        {"dzchunkbyteoffset": "9" * 99},
        {"dztotalfilesize": "10001", "dzchunksize": "1", "dztotalchunkcount": "10001", "dzchunkbyteoffset": "0"},
    ],
    ids=str,
)
def test_fields_that_describe_no_piece_are_refused(
    client: FlaskClient, stored_keys: Callable[[], list[str]], fields: dict[str, str | None]
) -> None:
    problem(Dropzone(client, TEXT).post(0, fields=fields), 400, "malformed-request")
    assert stored_keys() == []


def test_refused_file_is_refused_at_its_first_piece(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
    zone = Dropzone(client, PAGE, name="photo.png", chunk_bytes=8000)
    assert zone.post(1).status_code == 204
    first = problem(zone.post(0), 422, "content-mismatch")
    for index in (0, 1):
        again = problem(zone.post(index), 422, "content-mismatch")
        assert again["detail"] == first["detail"]
    assert files(stored_keys()) == []


def test_refused_whole_file_has_the_same_sentence_again(make_app: Callable[..., Flask]) -> None:
    """The first pieces look like a text, and the last one does not."""
    client = make_app().test_client()
    zone = Dropzone(client, TEXT[:2000] + b"\0" * 500)
    details = [problem(zone.post(index), 422, "content-mismatch")["detail"] for index in (0, 1, 2, 2, 0) if index == 2
               or zone.post(index).status_code != 204]  # fmt: skip
    assert len(set(details)) == 1


@pytest.mark.parametrize(
    ("name", "status", "slug"), [("a.exe", 415, "type-not-allowed"), ("a.txt", 413, "file-too-large")]
)
def test_every_piece_is_checked_before_it_is_kept(
    make_app: Callable[..., Flask],
    stored_keys: Callable[[], list[str]],
    name: str,
    status: int,
    slug: str,
) -> None:
    zone = Dropzone(make_app(MAX_FILE_BYTES="2000").test_client(), TEXT, name=name)
    for index in range(3):
        problem(zone.post(index), status, slug)
    assert stored_keys() == []


def test_another_subject_or_folder_is_another_upload(make_app: Callable[..., Flask]) -> None:
    client = make_app(TOKEN_SECRET=tokens.SECRET).test_client()
    problem(Dropzone(client, TEXT).post(0), 401, "token-required")

    def zone_of(**claims: Any) -> Dropzone:
        claims = {"exp": tokens.in_an_hour(), "scope": "upload"} | claims
        return Dropzone(client, TEXT, uuid="one", headers={"Authorization": f"Bearer {tokens.sign(claims)}"})

    ada, eve, team = zone_of(sub="ada"), zone_of(sub="eve"), zone_of(sub="ada", folder="team")
    for zone in (ada, eve, team):
        assert [zone.post(0).status_code, zone.post(1).status_code] == [204, 204]
    urls = [zone.post(2).json["url"] for zone in (ada, eve, team)]  # type: ignore[index]
    assert len(set(urls)) == 3
    assert "/files/team/" in urls[2]


def test_token_may_be_a_field_of_the_form(make_app: Callable[..., Flask]) -> None:
    client = make_app(TOKEN_SECRET=tokens.SECRET).test_client()
    token = tokens.sign({"exp": tokens.in_an_hour(), "scope": "upload"})
    zone = Dropzone(client, TEXT, form={"token": token})
    assert content_of(client, [zone.post(index) for index in range(3)][-1]) == TEXT


def test_fields_of_the_form_are_kept(make_app: Callable[..., Flask]) -> None:
    client = make_app(METADATA_FIELDS="album").test_client()
    zone = Dropzone(client, TEXT, form={"album": "south", "other": "x"})
    last = [zone.post(index) for index in range(3)][-1]
    assert last.json
    assert last.json["files"][0]["fields"] == {"album": "south"}
    assert last.json["ignored_fields"] == ["other"]


def test_piece_with_a_wrong_digest_is_not_kept(client: FlaskClient) -> None:
    zone = Dropzone(client, TEXT)
    wrong = {"Content-Digest": "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"}
    problem(Dropzone(client, b"x" * 2500, uuid=zone.uuid, headers=wrong).post(0), 422, "digest-mismatch")
    assert content_of(client, [zone.post(index) for index in range(3)][-1]) == TEXT


PIECE = b'--x\r\nContent-Disposition: form-data; name="file"; filename="notes.txt"\r\n\r\n%b\r\n'
FIELD = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'


@pytest.mark.parametrize("form", ["fields last", "two files", "cut off"])
def test_form_that_is_not_dropzones_keeps_nothing(
    client: FlaskClient, stored_keys: Callable[[], list[str]], form: str
) -> None:
    zone = Dropzone(client, TEXT)
    fields = b"".join(FIELD % (name.encode(), value.encode()) for name, value in zone.fields(0).items())
    piece = PIECE % zone.piece(0)
    body = {
        "fields last": piece + fields + b"--x--\r\n",
        "two files": fields + piece + piece + b"--x--\r\n",
        "cut off": fields + piece,
    }[form]
    response = client.post("/upload", data=body, content_type="multipart/form-data; boundary=x")
    problem(response, 400, "malformed-request")
    assert not any("/0." in key or "9999999999999" in key for key in stored_keys())
    assert content_of(client, [zone.post(index) for index in range(3)][-1]) == TEXT


@pytest.mark.parametrize("kind", ["s3"])
def test_only_the_pieces_that_fill_the_last_gaps_are_listed_whole(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 returns 1,000 keys a page. Here the pages have ten keys."""
    client = make_app().test_client()
    s3 = client.application.extensions["services"].storage.client
    call, lists = s3._make_api_call, []

    def small_pages(operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "ListObjectsV2":
            lists.append(arguments)
            arguments = {"MaxKeys": 10, **arguments}
        return call(operation, arguments)

    monkeypatch.setattr(s3, "_make_api_call", small_pages)

    def lists_of(zone: Dropzone, indexes: Iterable[int]) -> list[int]:
        """Return the number of lists that each piece takes."""
        numbers = []
        for index in indexes:
            lists.clear()
            last = zone.post(index)
            numbers.append(len(lists))
        assert content_of(client, last) == zone.content
        return numbers

    content = b"0123456789" * 10
    in_order = lists_of(Dropzone(client, content, chunk_bytes=2), range(50))
    assert in_order == [1] * 49 + [6]
    mixed = random.sample(range(50), 50)
    assert sum(lists_of(Dropzone(client, content, chunk_bytes=2), mixed)) < 120


def test_late_piece_is_deleted_again(make_app: Callable[..., Flask], stored_keys: Callable[[], list[str]]) -> None:
    client = make_app().test_client()
    stored, refused = Dropzone(client, TEXT), Dropzone(client, PAGE, name="photo.png", chunk_bytes=8000)
    for index in range(3):
        stored.post(index)
    problem(refused.post(0), 422, "content-mismatch")
    before = stored_keys()
    assert [stored.post(index).status_code for index in range(3)] == [201] * 3
    assert [refused.post(index).status_code for index in (1, 0)] == [422] * 2
    assert stored_keys() == before


def leave_files_to_the_event(monkeypatch: pytest.MonkeyPatch, app: Flask) -> None:
    """Let a gateway wait for the responses of an app, and files above 2,000 bytes be too large for its requests."""
    let_a_gateway_wait(monkeypatch, app)
    monkeypatch.setattr("handler.resumable.uploads.READ_IN_TIME_BYTES", 2000)
    monkeypatch.setattr("handler.resumable.uploads.READ_FOR_STATUS_BYTES", 2000)


@pytest.mark.parametrize("kind", ["s3"])
def test_late_piece_is_kept_until_the_event_has_promoted_the_file(
    make_app: Callable[..., Flask], stored_keys: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    leave_files_to_the_event(monkeypatch, app)
    zone = Dropzone(app.test_client(), TEXT)
    assert [zone.post(index).status_code for index in range(3)] == [204, 204, 202]
    before = stored_keys()
    assert [zone.post(index, b"x" * len(zone.piece(index))).status_code for index in range(3)] == [202] * 3
    assert stored_keys() == before


def test_upload_keeps_the_facts_of_its_first_piece(make_app: Callable[..., Flask]) -> None:
    """A stranger who knows the name of an upload cannot change its metadata, nor pieces that have arrived."""
    client = make_app(METADATA_FIELDS="album").test_client()
    zone = Dropzone(client, TEXT, form={"album": "south"})
    other = Dropzone(client, TEXT, uuid=zone.uuid, form={"album": "north"})
    assert [zone.post(0).status_code, other.post(1).status_code] == [204, 204]
    assert other.post(0, b"x" * 1000).status_code == 409
    last = other.post(2)
    assert last.json
    assert last.json["files"][0]["fields"] == {"album": "south"}
    assert content_of(client, last) == TEXT


@pytest.mark.parametrize("others", [{"chunk_bytes": 500}, {"name": "b.txt"}, {"content": TEXT + b"x"}], ids=str)
def test_another_grid_name_or_size_is_another_upload(client: FlaskClient, others: dict[str, Any]) -> None:
    zone = Dropzone(client, TEXT)
    other = Dropzone(**{"client": client, "content": TEXT, "uuid": zone.uuid, **others})
    assert [zone.post(1).status_code, zone.post(2).status_code] == [204, 204]
    assert other.post(0).status_code == 204
    assert content_of(client, zone.post(0)) == TEXT
    assert content_of(client, [other.post(index) for index in range(1, other.count)][-1]) == other.content


@pytest.mark.parametrize("kind", ["s3"])
def test_large_file_is_promoted_by_an_event_on_aws(
    make_app: Callable[..., Flask], stored_keys: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    leave_files_to_the_event(monkeypatch, app)
    zone = Dropzone(app.test_client(), TEXT)
    last = [zone.post(index) for index in range(3)][-1]
    assert last.status_code == 202
    assert last.json
    status = urlsplit(last.json["status"]).path
    assert json_of(zone.client.get(status))["status"] == "pending"
    assert [zone.post(index).status_code for index in (0, 2)] == [202, 202]
    (manifest,) = (key for key in stored_keys() if key.startswith("incoming/"))
    version = app.extensions["services"].storage.client.head_object(Bucket=BUCKET, Key=manifest)["VersionId"]
    app.extensions["services"].resumable().promote(manifest.removeprefix("incoming/"), version=version)
    assert json_of(zone.client.get(status))["status"] == "stored"
    assert content_of(zone.client, zone.post(1)) == TEXT


def test_two_last_pieces_at_once_get_the_same_response(make_app: Callable[..., Flask]) -> None:
    app = atomic(make_app())
    for _ in range(10):
        zone = Dropzone(app.test_client(), TEXT)
        zone.post(0)
        with ThreadPoolExecutor(2) as pool:
            sent = [pool.submit(Dropzone(app.test_client(), TEXT, uuid=zone.uuid).post, index) for index in (1, 2)]
            responses = [future.result() for future in sent]
        stored = [response for response in responses if response.status_code == 201]
        assert {response.status_code for response in responses} <= {201, 204}
        assert stored
        assert all(response.json == stored[0].json for response in stored)
        assert zone.post(1).json == stored[0].json


def test_pieces_of_many_threads_are_one_file(
    make_app: Callable[..., Flask], stored_keys: Callable[[], list[str]], kind: str
) -> None:
    """50 threads send all pieces in random order, each of them twice."""
    app = atomic(make_app())
    content = b"".join(b"%08d\n" % number for number in range(500))
    zone = Dropzone(app.test_client(), content, chunk_bytes=500)
    indexes = [index for index in range(zone.count) for _ in range(2 if kind == "strict_s3" else 20)]
    random.shuffle(indexes)
    with ThreadPoolExecutor(THREADS) as pool:
        responses = list(
            pool.map(
                lambda index: Dropzone(app.test_client(), content, chunk_bytes=500, uuid=zone.uuid).post(index), indexes
            )
        )
    # LocalStack cuts off the read of an object that another promotion deletes. AWS does not.
    assert {response.status_code for response in responses} - ({503} if kind == "strict_s3" else set()) == {201, 204}
    stored = [response.json for response in responses if response.status_code == 201]
    assert all(body == stored[0] for body in stored)
    assert len(files(stored_keys())) == 1
    assert content_of(app.test_client(), zone.post(0)) == content


def test_more_than_a_thousand_pieces_are_one_file(
    make_app: Callable[..., Flask], stored_keys: Callable[[], list[str]]
) -> None:
    """The first and the last pieces come as forms. The others are there, as forms would leave them."""
    app = make_app()
    content = b"0123456789" * 105
    zone = Dropzone(app.test_client(), content, chunk_bytes=1)
    first, *middle, last, again = random.sample(range(zone.count), zone.count)
    assert zone.post(first).status_code == 204
    (upload,) = {key.split("/")[1] for key in stored_keys() if key.startswith("chunks/")}
    storage = app.extensions["services"].storage
    for index in middle:
        if isinstance(storage, LocalStorage):
            LocalResumableUploads(storage).place(upload, index, iter([zone.piece(index)]))
        else:
            mark = hashlib.sha256(zone.piece(index)).hexdigest()
            key = f"chunks/{upload}/p-{LAST_OFFSET - index:013}"
            storage.client.put_object(Bucket=storage.bucket, Key=key, Body=zone.piece(index), Metadata={"mark": mark})
    assert zone.post(last).status_code == 204
    assert content_of(zone.client, zone.post(again)) == content
