"""The signal of a stored file: once for each file, for every way in, and without harm to the response."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from handler.signals import file_stored
from handler.storage import StoredFile

from .support.direct_client import DirectClient, formed, judge
from .support.http_client import problem
from .support.tokens import FILE, SECRET, bearer, good, post

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask
    from flask.testing import FlaskClient

CLAIMS: dict[str, Any] = {"sub": "user-7", "meta": {"a": 1}, "folder": "u7"}


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    return make_app(TOKEN_SECRET=SECRET).test_client()


@pytest.fixture
def direct(client: FlaskClient) -> DirectClient:
    return DirectClient(client=client, prefix=f"/upload/t/{good(**CLAIMS)}/s3")


@pytest.fixture
def received() -> Iterator[list[tuple[Any, StoredFile]]]:
    """The senders and the files of all signals."""
    signals: list[tuple[Any, StoredFile]] = []

    def receive(sender: Any, *, file: StoredFile) -> None:
        signals.append((sender, file))

    with file_stored.connected_to(receive):
        yield signals


def test_form_and_body_send_a_signal_for_each_file(client: FlaskClient, received: list[tuple[Any, StoredFile]]) -> None:
    response = post(client, FILE, ("file", (b"other", "b.txt")), **bearer(good(**CLAIMS)))
    assert [file.id for _, file in received] == [entry["id"] for entry in (response.json or {})["files"]]
    client.put("/upload/c.txt", data=b"x", headers=bearer(good()))
    assert [file.name for _, file in received] == ["a.txt", "b.txt", "c.txt"]
    assert {sender for sender, _ in received} == {client.application}
    first = received[0][1]
    assert (first.subject, first.meta, first.folder) == ("user-7", {"a": 1}, "u7")


def test_receiver_that_changes_its_meta_changes_no_later_file(client: FlaskClient) -> None:
    """A valid token is remembered, with its meta."""
    token = bearer(good(meta={"order": {"id": 7}}))

    def change(_: Any, *, file: StoredFile) -> None:
        assert isinstance(file.meta, dict)
        file.meta.pop("order")["id"] = 8

    with file_stored.connected_to(change):
        assert client.put("/upload/a.txt", data=b"x", headers=token).status_code == 201
    response = client.put("/upload/a.txt", data=b"x", headers=token)
    assert (response.json or {})["files"][0]["meta"] == {"order": {"id": 7}}


def test_direct_uploads_send_one_signal(direct: DirectClient, received: list[tuple[Any, StoredFile]]) -> None:
    upload = direct.begun("a.txt")
    direct.put(upload, 1, b"hello")
    for _ in range(3):
        assert direct.complete(upload).status_code == 200
    direct.status(upload["id"])
    judge(direct, f"u7/{upload['id']}")  # the event of the storage
    form = formed(direct, "b.txt")
    assert direct.post(form, b"hello").status == 204
    for _ in range(3):
        direct.status(form["id"])
        judge(direct, f"u7/{form['id']}")
    assert [(file.id, file.folder) for _, file in received] == [(upload["id"], "u7"), (form["id"], "u7")]


def test_file_is_readable_when_the_signal_is_sent(client: FlaskClient) -> None:
    storage = client.application.extensions["services"].storage
    found = []

    def receive(_sender: Any, *, file: StoredFile) -> None:
        found.append(storage.find(file.id, file.name, file.folder) == file)

    with file_stored.connected_to(receive):
        post(client, FILE, **bearer(good(**CLAIMS)))
    assert found == [True]


def test_refused_file_sends_no_signal(
    client: FlaskClient, direct: DirectClient, received: list[tuple[Any, StoredFile]]
) -> None:
    response = post(client, FILE, ("file", (b"x", "b.png")), **bearer(good()))
    problem(response, 422, "content-mismatch")
    upload = direct.begun("a.png")
    direct.put(upload, 1, b"no image")
    problem(direct.complete(upload), 422, "content-mismatch")
    assert received == []


def test_exception_of_a_receiver_is_logged_and_changes_nothing(
    client: FlaskClient, direct: DirectClient, received: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_sender: Any, **_: Any) -> None:
        raise ValueError("the receiver is broken")

    with file_stored.connected_to(fail):
        assert post(client, FILE, **bearer(good())).status_code == 201
        assert direct.send("a.txt", b"hello").status_code == 200
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    failures = [line for line in lines if line["event"] == "signal receiver failed"]
    assert len(failures) == 2
    assert all("the receiver is broken" in line["exception"] and line["id"] for line in failures)
    assert len(received) == 2, "the other receiver is called"


def test_receiver_may_connect_for_one_app(make_app: Callable[..., Flask]) -> None:
    one, other = make_app(ACCESS="public"), make_app(ACCESS="public")
    files = []

    def receive(_sender: Any, *, file: StoredFile) -> None:
        files.append(file)

    file_stored.connect(receive, sender=one)
    post(one.test_client(), FILE)
    post(other.test_client(), FILE)
    assert len(files) == 1
