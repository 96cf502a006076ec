"""Idempotency keys: a repeated request stores its files once, over both storages."""

from __future__ import annotations

import io
import os
import random
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests
from botocore.exceptions import ClientError, ReadTimeoutError
from werkzeug.serving import make_server

from handler.idempotency import MAX_FIELD_CHARS, MAX_KEY_CHARS, IdempotencyKey, parse_key
from handler.problems import MalformedRequest, StorageUnavailable
from handler.signals import file_stored
from handler.storage import is_id
from handler.web.tokens import mint

from ..support import samples
from ..support.http_client import download, json_of, post, problem
from ..support.lossy_proxy import lossy_proxy
from ..support.stored_files import put as put_file
from ..support.tokens import SECRET, bearer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

    from handler.storage import StoredFile

KEY = '"8e03978e-40d5-43dd-bc93-6894a57f9324"'
REPLAYED = "Idempotency-Replayed"
UPLOADS = {"folder": 1_000, "strict_s3": 1_000, "s3": 100}
"""moto searches its whole bucket for each list."""
LOST_SHARE = 0.2
MAX_TRIES = 30
"""A client tries again until it has an answer. With a fifth of the answers lost, it never tries as often."""


def put(client: FlaskClient, content: bytes = samples.TEXT, name: str = "a.txt", *, key: str = KEY) -> TestResponse:
    return client.put(f"/upload/{name}", data=content, headers={"Idempotency-Key": key})


def without_receipts(response: TestResponse) -> Any:
    """Return the body. A receipt holds the time at which it was made."""
    body = json_of(response)
    return body | {"files": [{**file, "receipt": None} for file in body["files"]]}


def assert_replayed(first: TestResponse, second: TestResponse) -> None:
    assert (first.status_code, second.status_code) == (201, 201), second.text
    assert REPLAYED not in first.headers
    assert second.headers[REPLAYED] == "true"
    assert without_receipts(first) == without_receipts(second)
    assert first.headers["Location"] == second.headers["Location"]


@pytest.fixture
def files(stored_keys: Callable[[], list[str]]) -> Callable[[], list[str]]:
    """Lists the keys of the stored files."""
    return lambda: [key for key in stored_keys() if key.startswith("files/")]


@pytest.fixture
def signalled() -> Iterator[list[StoredFile]]:
    """The files whose signal was sent."""
    received: list[StoredFile] = []

    def receive(_app: Flask, *, file: StoredFile, **_: object) -> None:
        received.append(file)

    with file_stored.connected_to(receive):
        yield received


# One file.


@pytest.mark.parametrize(
    "send",
    [
        lambda client, headers: client.put("/upload/a.txt", data=samples.TEXT, headers=headers),
        lambda client, headers: client.post("/upload/a.txt", data=samples.TEXT, headers=headers),
        lambda client, headers: client.put("/upload?filename=a.txt", data=samples.TEXT, headers=headers),
        lambda client, headers: client.post("/upload?filename=a.txt", data=samples.TEXT, headers=headers),
        lambda client, headers: client.post(
            "/upload", data={"file": (io.BytesIO(samples.TEXT), "a.txt")}, headers=headers
        ),
    ],
    ids=["PUT", "POST of a body", "PUT with a query", "POST with a query", "form"],
)
def test_repeated_request_is_replayed(
    client: FlaskClient, files: Callable[[], list[str]], signalled: list[StoredFile], send: Any
) -> None:
    responses = [send(client, {"Idempotency-Key": KEY}) for _ in range(3)]
    assert_replayed(responses[0], responses[1])
    assert_replayed(responses[0], responses[2])
    assert len(files()) == 1
    assert len(signalled) == 1
    assert download(client, json_of(responses[2])["url"]) == samples.TEXT


def test_request_without_a_key_is_stored_each_time(client: FlaskClient, files: Callable[[], list[str]]) -> None:
    for _ in range(2):
        response = client.put("/upload/a.txt", data=samples.TEXT)
        assert response.status_code == 201
        assert REPLAYED not in response.headers
    assert len(files()) == 2


def test_request_without_a_key_does_not_import_the_module(make_app: Callable[..., Flask]) -> None:
    sys.modules.pop("handler.idempotency")
    client = make_app().test_client()
    assert client.put("/upload/a.txt", data=samples.TEXT).status_code == 201
    assert "handler.idempotency" not in sys.modules
    assert put(client).status_code == 201
    assert "handler.idempotency" in sys.modules


def test_replay_survives_a_restart(make_app: Callable[..., Flask], files: Callable[[], list[str]]) -> None:
    first = put(make_app().test_client())
    assert_replayed(first, put(make_app().test_client()))
    assert len(files()) == 1


def test_every_detail_of_the_first_response_is_replayed(make_app: Callable[..., Flask]) -> None:
    app = make_app(TOKEN_SECRET=SECRET, METADATA_FIELDS="album", KEEP_DAYS="30")
    client = app.test_client()

    def send(**claims: Any) -> TestResponse:
        token = mint(SECRET, expires_seconds=600, subject="user-17", folder="u17", **claims)
        headers = bearer(token) | {"Idempotency-Key": KEY}
        return client.put("/upload/Gr%C3%BC%C3%9Fe.txt?album=summer", data=samples.TEXT, headers=headers)

    first = send(meta={"order": 7})
    assert_replayed(first, send(meta={"order": 7}))
    assert_replayed(first, send(meta={"order": 8}))  # the token was renewed, and the file is the first one
    (file,) = json_of(first)["files"]
    assert {"subject", "folder", "meta", "fields", "expires", "stored", "receipt"} <= file.keys()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (samples.TEXT + b"x", "a.txt"),
        (samples.TEXT, "b.txt"),
        (samples.TEXT, "%C3%A4.txt"),
        (samples.TEXT, "a.csv"),
    ],
    ids=["other bytes", "other name", "name outside ASCII", "other extension"],
)
def test_key_of_another_file_is_refused(
    client: FlaskClient, files: Callable[[], list[str]], content: bytes, name: str
) -> None:
    first = put(client)
    before = files()
    body = problem(put(client, content, name), 422, "idempotency-key-reused")
    assert "send a new key" in body["detail"]
    assert files() == before
    assert_replayed(first, put(client))


def test_names_that_are_stored_alike_are_different_files(client: FlaskClient) -> None:
    assert json_of(put(client, name="a%20b.txt"))["files"][0]["name"] == "a_b.txt"
    problem(put(client, name="a_b.txt"), 422, "idempotency-key-reused")


def test_key_with_other_fields_is_refused(make_app: Callable[..., Flask]) -> None:
    client = make_app(METADATA_FIELDS="album").test_client()
    assert put(client, name="a.txt?album=summer").status_code == 201
    problem(put(client, name="a.txt?album=winter"), 422, "idempotency-key-reused")
    assert put(client, name="a.txt?album=summer").headers[REPLAYED] == "true"


def test_other_key_is_another_upload(client: FlaskClient, files: Callable[[], list[str]]) -> None:
    ids = {json_of(put(client, key=key))["files"][0]["id"] for key in ("one", "two", "One")}
    assert len(ids) == len(files()) == 3


def test_refused_file_leaves_the_key_free(client: FlaskClient, files: Callable[[], list[str]]) -> None:
    problem(put(client, b"<html><script>alert(1)</script>", "a.png"), 422, "content-mismatch")
    problem(put(client, b"x", "a.exe"), 415, "type-not-allowed")
    assert REPLAYED not in put(client).headers
    assert len(files()) == 1


def test_deleted_file_is_not_stored_again(client: FlaskClient, files: Callable[[], list[str]]) -> None:
    url = urlsplit(json_of(put(client))["url"]).path
    assert client.delete(url).status_code == 204
    problem(put(client), 410, "gone")
    problem(put(client, b"other"), 410, "gone")
    assert files() == []
    assert put(client, key="new").status_code == 201


@pytest.mark.parametrize("kind", ["folder"])
def test_remains_of_a_killed_process_are_stored_anew(
    make_app: Callable[..., Flask], files: Callable[[], list[str]], destination: dict[str, str]
) -> None:
    """The process was killed after it wrote the metadata, and before the file could be read."""
    file_id = json_of(put(make_app().test_client()))["files"][0]["id"]
    folder = Path(destination["UPLOAD_FOLDER"])
    shutil.rmtree(folder / "files" / file_id)
    (folder / "judged" / file_id).unlink()
    assert (folder / "metadata" / f"{file_id}.json").exists()
    again = put(make_app().test_client())
    assert (again.status_code, REPLAYED in again.headers) == (201, False)
    assert json_of(again)["files"][0]["id"] == file_id
    assert len(files()) == 1


@pytest.mark.parametrize("kind", ["folder"])
def test_deletion_is_remembered_after_a_restart_and_for_a_day(
    make_app: Callable[..., Flask], destination: dict[str, str]
) -> None:
    client = make_app().test_client()
    file = json_of(put(client))["files"][0]
    assert client.delete(urlsplit(file["url"]).path).status_code == 204
    problem(put(make_app().test_client()), 410, "gone")
    mark = Path(destination["UPLOAD_FOLDER"]) / "judged" / file["id"]
    os.utime(mark, (0, 0))
    assert put(make_app().test_client()).status_code == 201


def test_expired_file_is_not_replayed(make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_app(KEEP_DAYS="1").test_client()
    with monkeypatch.context() as patch:
        patch.setattr("handler.intake.now", lambda: datetime(2026, 1, 1, tzinfo=UTC))
        assert put(client).status_code == 201
    problem(put(client), 410, "gone")


# Several files.

FILES = [(samples.TEXT, "a.txt"), (samples.png(), "b.png"), (samples.TEXT, "a.txt")]


def send_form(client: FlaskClient, files: list[tuple[bytes, str]] = FILES) -> TestResponse:
    return post(client, *files, Idempotency_Key=KEY)


def test_repeated_form_of_several_files_is_replayed(client: FlaskClient, files: Callable[[], list[str]]) -> None:
    first, second = send_form(client), send_form(client)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.headers[REPLAYED] == "true"
    assert json_of(first) == json_of(second)
    assert len({file["id"] for file in json_of(first)["files"]}) == len(files()) == 3


def test_form_with_one_other_file_is_refused(client: FlaskClient, files: Callable[[], list[str]]) -> None:
    assert send_form(client).status_code == 201
    problem(send_form(client, [*FILES[:2], (b"other", "a.txt")]), 422, "idempotency-key-reused")
    problem(send_form(client, [FILES[1], FILES[0]]), 422, "idempotency-key-reused")
    assert len(files()) == 3


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("error", [Killed, StorageUnavailable], ids=["killed", "failed"])
@pytest.mark.parametrize("stored_before", [0, 1, 2])
def test_form_that_was_stored_in_part_is_finished(
    make_app: Callable[..., Flask],
    files: Callable[[], list[str]],
    signalled: list[StoredFile],
    monkeypatch: pytest.MonkeyPatch,
    *,
    stored_before: int,
    error: type[BaseException],
) -> None:
    app = make_app()
    storage = app.extensions["services"].storage
    opened = storage.open_writer()
    opened.abort()
    writer = type(opened)
    commit, lock, left = writer.commit, threading.Lock(), [stored_before]

    def commit_some(self: Any, file: StoredFile) -> None:
        with lock:
            if not left[0]:
                raise error("the end")
            left[0] -= 1
            commit(self, file)

    with monkeypatch.context() as patch:
        patch.setattr(writer, "commit", commit_some)
        if error is Killed:
            with pytest.raises(Killed):
                send_form(app.test_client())
        else:
            assert send_form(app.test_client()).status_code == 503
    before = files()
    assert len(before) == stored_before
    reported = 0 if error is Killed else stored_before  # a process that was killed reports nothing
    assert sorted(file.key for file in signalled) == (sorted(before) if reported else [])
    client = make_app().test_client()
    finished = send_form(client)
    assert finished.status_code == 201
    assert REPLAYED not in finished.headers  # this request stored the rest
    assert set(before) <= set(files())
    assert len(files()) == 3
    assert [download(client, file["url"]) for file in json_of(finished)["files"]] == [data for data, _ in FILES]
    assert json_of(send_form(client)) == json_of(finished)
    assert len({file.key for file in signalled}) == len(signalled) == reported + 3 - stored_before


# Concurrent requests.


@pytest.fixture
def concurrent_app(kind: str, make_app: Callable[..., Flask]) -> Flask:
    """An app over a storage whose conditional writes are atomic. Those of S3 are, and those of its stand-ins are not:
    there writes take turns. Otherwise two first requests could even make two secrets."""
    app = make_app()
    if kind != "folder":
        s3, turn = app.extensions["services"].storage.client, threading.Lock()
        call = s3._make_api_call

        def call_in_turn(operation: str, arguments: dict[str, Any]) -> Any:
            with turn if operation == "PutObject" else nullcontext():
                return call(operation, arguments)

        s3._make_api_call = call_in_turn
    return app


def test_concurrent_requests_store_the_files_once(
    concurrent_app: Flask, files: Callable[[], list[str]], signalled: list[StoredFile]
) -> None:
    app, barrier = concurrent_app, threading.Barrier(8)

    def send(_number: int) -> TestResponse:
        client = app.test_client()
        barrier.wait()
        return send_form(client)

    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(send, range(8)))
    assert {response.status_code for response in responses} == {201}
    assert len({str(json_of(response)) for response in responses}) == 1
    assert len(files()) == len(signalled) == 3


def test_concurrent_requests_with_other_bytes_have_one_winner(
    concurrent_app: Flask, files: Callable[[], list[str]]
) -> None:
    app, barrier = concurrent_app, threading.Barrier(8)

    def send(number: int) -> int:
        client = app.test_client()
        barrier.wait()
        return put(client, b"content %d" % number).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(send, range(8)))
    assert statuses == [201] + [422] * 7
    assert len(files()) == 1


@pytest.mark.parametrize("kind", ["s3"])
@pytest.mark.parametrize("status", [409, 412])
def test_equal_file_of_a_concurrent_request_is_replayed(
    make_app: Callable[..., Flask], files: Callable[[], list[str]], signalled: list[StoredFile], status: int
) -> None:
    """The other request looked for the file at the same moment, and was faster."""
    app = make_app()
    s3 = app.extensions["services"].storage.client
    call = s3._make_api_call

    def call_second(operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "PutObject" and arguments["Key"].startswith("files/"):
            call(operation, arguments)
            raise ClientError({"ResponseMetadata": {"HTTPStatusCode": status}}, operation)  # type: ignore[typeddict-item]
        return call(operation, arguments)

    s3._make_api_call = call_second
    response = put(app.test_client())
    assert (response.status_code, response.headers[REPLAYED]) == (201, "true")
    assert len(files()) == 1
    assert signalled == []


@pytest.mark.parametrize("kind", ["s3"])
def test_deletion_leaves_the_file_that_a_concurrent_request_stored_under_another_name(
    make_app: Callable[..., Flask], files: Callable[[], list[str]]
) -> None:
    """S3 cannot let one of two names win, so each of two such requests may have been answered with its file."""
    app = make_app(TOKEN_SECRET=SECRET)
    client, storage = app.test_client(), app.extensions["services"].storage
    headers = bearer(mint(SECRET, expires_seconds=600, scopes=("upload", "delete"))) | {"Idempotency-Key": KEY}
    url = json_of(client.put("/upload/a.txt", data=samples.TEXT, headers=headers))["url"]
    _, _, file_id, _ = urlsplit(url).path.split("/")
    put_file(storage, id=file_id, name="b.txt")
    assert client.delete(url, headers=headers).status_code in (200, 204)
    problem(client.put("/upload/a.txt", data=samples.TEXT, headers=headers), 410, "gone")
    assert files() == [f"files/{file_id}/b.txt"]


@pytest.mark.parametrize("kind", ["s3"])
def test_file_that_another_request_is_storing_is_asked_for_again(
    make_app: Callable[..., Flask], files: Callable[[], list[str]]
) -> None:
    app = make_app()
    s3 = app.extensions["services"].storage.client
    call, conflicts = s3._make_api_call, [409]

    def conflict(operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "PutObject" and arguments["Key"].startswith("files/") and conflicts:
            raise ClientError({"ResponseMetadata": {"HTTPStatusCode": conflicts.pop()}}, operation)  # type: ignore[typeddict-item]
        return call(operation, arguments)

    s3._make_api_call = conflict
    response = put(app.test_client())
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert put(app.test_client()).status_code == 201
    assert len(files()) == 1


# Who may replay.


def test_key_of_another_client_is_not_replayed(make_app: Callable[..., Flask], files: Callable[[], list[str]]) -> None:
    client = make_app(TOKEN_SECRET=SECRET, ACCESS="public").test_client()
    owners: list[dict[str, Any]] = [
        {"subject": "user-1"},
        {"subject": "user-2"},
        {"subject": "user-1", "folder": "f1"},
        {"subject": "user-1", "folder": "f2"},
        {"folder": "f1"},
        {"subject": 'user-1", "f1'},
    ]
    tokens = [bearer(mint(SECRET, expires_seconds=600, **claims)) for claims in owners]
    ids = set()
    for headers in ({}, *tokens):
        response = client.put("/upload/a.txt", data=samples.TEXT, headers={"Idempotency-Key": KEY, **headers})
        assert response.status_code == 201
        assert REPLAYED not in response.headers
        ids.add(json_of(response)["files"][0]["id"])
    assert len(ids) == len(files()) == len(owners) + 1


def test_renewed_token_of_the_same_client_is_replayed(make_app: Callable[..., Flask]) -> None:
    client = make_app(TOKEN_SECRET=SECRET).test_client()
    for seconds, replayed in ((600, None), (1200, "true")):
        headers = bearer(mint(SECRET, expires_seconds=seconds, subject="user-1")) | {"Idempotency-Key": KEY}
        response = client.put("/upload/a.txt", data=samples.TEXT, headers=headers)
        assert (response.status_code, response.headers.get(REPLAYED)) == (201, replayed)


def test_key_without_a_token_gives_no_access(make_app: Callable[..., Flask]) -> None:
    client = make_app(TOKEN_SECRET=SECRET).test_client()
    problem(put(client), 401, "token-required")


def test_id_is_not_known_without_the_secret() -> None:
    key = IdempotencyKey(key="k", subject=None, folder=None)
    ids = {key.file_id(index, secret=secret) for index in range(3) for secret in (b"a" * 32, b"b" * 32)}
    assert len(ids) == 6
    assert all(map(is_id, ids))


# Browsers of other sites.


def test_script_of_an_allowed_site_may_send_a_key_and_read_the_replay(make_app: Callable[..., Flask]) -> None:
    client = make_app(ALLOWED_ORIGINS="https://example.com").test_client()
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "idempotency-key"}
    preflight = client.options("/upload/a.txt", headers={"Origin": "https://example.com", **asked})
    assert "Idempotency-Key" in preflight.headers["Access-Control-Allow-Headers"].split(", ")
    response = client.get("/upload", headers={"Origin": "https://example.com"})
    assert REPLAYED in response.headers["Access-Control-Expose-Headers"].split(", ")


# The syntax of the key.


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ('"a"', "a"),
        ("a", "a"),
        ('"a b"', "a b"),
        (r'"a\"b\\c"', r"a\"b\\c".replace("\\\\", "\\").replace('\\"', '"')),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("order/17:3+4=7", "order/17:3+4=7"),
        ("a" * MAX_KEY_CHARS, "a" * MAX_KEY_CHARS),
        (r'"' + r"\\" * MAX_KEY_CHARS + '"', "\\" * MAX_KEY_CHARS),
        ('","', ","),
    ],
)
def test_key_is_read(value: str, key: str) -> None:
    assert parse_key(value) == key


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        '""',
        '"',
        '"a',
        'a"',
        '"a"b"',
        '"a", "b"',
        "a,b",
        "a b",
        "a;b=c",
        r"a\b",
        r'"a\b"',
        '"ä"',
        "ä",
        '"a\tb"',
        "\x7f",
        "a" * (MAX_KEY_CHARS + 1),
        '"' + "a" * (MAX_KEY_CHARS + 1) + '"',
        '"' * (MAX_FIELD_CHARS + 1),
    ],
)
def test_invalid_key_is_rejected(value: str) -> None:
    with pytest.raises(MalformedRequest, match="1 to 255 characters"):
        parse_key(value)


@pytest.mark.parametrize("value", ["", '""', "a, b", "a" * 256])
def test_request_with_an_invalid_key_stores_nothing(
    client: FlaskClient, files: Callable[[], list[str]], value: str
) -> None:
    problem(put(client, key=value), 400, "malformed-request")
    problem(post(client, (samples.TEXT, "a.txt"), Idempotency_Key=value), 400, "malformed-request")
    assert files() == []


def test_quotes_are_not_part_of_the_key(client: FlaskClient) -> None:
    assert_replayed(put(client, key="k-1"), put(client, key='"k-1"'))


# Answers that are lost.


def assert_each_is_stored_once(
    send: Callable[[int], tuple[int, str]], files: Callable[[], list[str]], *, uploads: int, at_once: int
) -> None:
    """Upload files, each until it has a 201, and compare the answers with the stored files."""

    def persist(number: int) -> str:
        for _ in range(MAX_TRIES):
            status, url = send(number)
            if status == 201:
                return url
            assert status in (0, 503), status
        raise AssertionError(f"upload {number} was never answered")

    with ThreadPoolExecutor(at_once) as pool:
        urls = list(pool.map(persist, range(uploads)))
    assert sorted(urlsplit(url).path[1:] for url in urls) == sorted(files())
    assert len(set(urls)) == uploads


@pytest.mark.parametrize("kind", ["s3", pytest.param("strict_s3", marks=pytest.mark.strict_s3)])
def test_uploads_are_stored_once_although_answers_of_s3_are_lost(kind: str, concurrent_app: Flask) -> None:
    app = concurrent_app
    s3 = app.extensions["services"].storage.client
    call, chance, lost = s3._make_api_call, random.Random(1), []

    def call_and_lose(operation: str, arguments: dict[str, Any]) -> Any:
        answer = call(operation, arguments)
        if chance.random() < LOST_SHARE:
            lost.append(operation)
            raise ReadTimeoutError(endpoint_url="http://s3")
        return answer

    def send(number: int) -> tuple[int, str]:
        response = put(app.test_client(), b"content %d" % number, key=f"key-{number}")
        return response.status_code, (json_of(response) or {}).get("url", "")

    s3._make_api_call = call_and_lose
    assert_each_is_stored_once(send, partial(all_files, app), uploads=UPLOADS[kind], at_once=4)
    assert lost.count("PutObject") > UPLOADS[kind] * LOST_SHARE / 2


def all_files(app: Flask) -> list[str]:
    """Return the keys of all files, without the limit of a page."""
    storage = app.extensions["services"].storage
    keys, position = [], ""
    while True:
        try:
            page = storage.list_files(after=position, limit=1000)
        except StorageUnavailable:  # the answer was lost
            continue
        keys += [f"files/{file.id}/{file.name}" for file in page.files]
        if page.position is None:
            return keys
        position = page.position


def test_uploads_are_stored_once_although_a_proxy_loses_answers(kind: str, concurrent_app: Flask) -> None:
    app = concurrent_app
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with lossy_proxy(server.server_port, share=LOST_SHARE) as (url, proxy):

            def send(number: int) -> tuple[int, str]:
                headers = {"Idempotency-Key": f'"key {number}"', "Host": "localhost"}
                try:
                    response = requests.put(
                        f"{url}/upload/a.txt", data=b"content %d" % number, headers=headers, timeout=60
                    )
                except requests.ConnectionError:
                    return 0, ""
                return response.status_code, response.json().get("url", "")

            assert_each_is_stored_once(send, partial(all_files, app), uploads=UPLOADS[kind], at_once=4)
            assert proxy.lost > UPLOADS[kind] * LOST_SHARE / 2
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
