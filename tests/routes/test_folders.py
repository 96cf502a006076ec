"""Folders: a token with a folder stores, deletes and continues uploads inside it, and nothing outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from handler.storage.direct import Deleted

from ..support.direct_client import DirectClient, content_of, formed, judge
from ..support.http_client import problem
from ..support.stored_files import fetch
from ..support.tokens import FILE, SECRET, bearer, good, post

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

ALL_SCOPES = "upload delete list"


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    return make_app(TOKEN_SECRET=SECRET, METADATA_FIELDS="folder").test_client()


def store(client: FlaskClient, folder: str | None, content: bytes = b"hello") -> dict[str, Any]:
    response = client.put("/upload/a.txt", data=content, headers=bearer(good(folder=folder)))
    assert response.status_code == 201, response.text
    file: dict[str, Any] = response.json["files"][0] if response.json else {}
    return file


def path_of(file: dict[str, Any], folder: str | None = None) -> str:
    return f"/files/{folder}/{file['id']}/{file['name']}" if folder else f"/files/{file['id']}/{file['name']}"


def delete(client: FlaskClient, path: str, folder: str | None) -> TestResponse:
    return client.delete(path, headers=bearer(good(folder=folder, scope=ALL_SCOPES)))


def direct_client(client: FlaskClient, **claims: Any) -> DirectClient:
    return DirectClient(client=client, prefix=f"/upload/t/{good(**claims)}/s3")


# Inside the folder.


def test_file_is_stored_below_its_folder(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
    file = store(client, "u1")
    assert file["folder"] == "u1"
    assert f"files/u1/{file['id']}/a.txt" in stored_keys()
    assert file["url"] == f"http://localhost{path_of(file, 'u1')}"
    response = client.get(file["url"])
    content = fetch(response.headers["Location"]) if response.status_code == 302 else response.data
    assert content == b"hello"


def test_token_deletes_in_its_own_folder(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
    file = store(client, "u1")
    assert delete(client, path_of(file, "u1"), "u1").status_code == 204
    problem(delete(client, path_of(file, "u1"), "u1"), 404, "not-found")
    problem(client.get(path_of(file, "u1")), 404, "not-found")
    assert not [key for key in stored_keys() if file["id"] in key]


def test_token_without_a_folder_deletes_in_all_folders(client: FlaskClient) -> None:
    for folder in ("u1", None):
        file = store(client, folder)
        assert delete(client, path_of(file, folder), None).status_code == 204


@pytest.mark.parametrize("way", ["parts", "post"])
def test_direct_upload_goes_through_its_folder(
    client: FlaskClient, stored_keys: Callable[[], list[str]], way: str
) -> None:
    direct = direct_client(client, folder="u1")
    if way == "parts":
        upload = direct.begun("a.txt")
        assert upload["key"] == f"incoming/u1/{upload['id']}"
        assert direct.status(upload["id"]).json == {"id": upload["id"], "status": "pending"}
        sent = direct.put(upload, 1, b"hello")
        assert [part["Size"] for part in direct.parts(upload).json or []] == [5]
        assert direct.complete(upload, [sent]).status_code == 200
        problem(direct.abort(upload), 404, "upload-not-found")
    else:
        upload = formed(direct, "a.txt")
        assert direct.post(upload, b"hello").status == 204
    status: Any = direct.status(upload["id"]).json
    assert content_of(direct, status["file"]["url"]) == b"hello"
    assert [key for key in stored_keys() if key.startswith("files/")] == [f"files/u1/{upload['id']}/a.txt"]
    assert not [key for key in stored_keys() if key.startswith("incoming/")]
    assert delete(client, path_of(status["file"], "u1"), "u1").status_code == 204
    problem(direct.status(upload["id"]), 404, "not-found")
    assert judge(direct, f"u1/{upload['id']}") == Deleted()


def test_refusal_in_a_folder_is_found(client: FlaskClient) -> None:
    direct = direct_client(client, folder="u1")
    upload = direct.begun("a.png")
    direct.put(upload, 1, b"no image")
    problem(direct.complete(upload), 422, "content-mismatch")
    status: Any = direct.status(upload["id"]).json
    assert status["status"] == "refused"
    own, other = good(folder="u1"), good(folder="u2")
    assert (client.get(f"/upload/{upload['id']}", headers=bearer(own)).json or {})["status"] == "refused"
    problem(client.get(f"/upload/{upload['id']}", headers=bearer(other)), 404, "not-found")


def test_folder_may_be_named_after_a_file(client: FlaskClient) -> None:
    file = store(client, None)
    inside = store(client, file["id"])
    assert client.get(path_of(file)).status_code in (200, 302)
    assert client.get(path_of(inside, file["id"])).status_code in (200, 302)
    assert delete(client, path_of(file), None).status_code == 204
    problem(client.get(f"/upload/{file['id']}"), 404, "not-found")
    assert client.get(path_of(inside, file["id"])).status_code in (200, 302)


# Outside it.

OTHERS = [None, "u2", "U1", "u", "u11", "u1-", "1u"]


@pytest.mark.parametrize("folder", OTHERS)
def test_token_deletes_nothing_outside_its_folder(client: FlaskClient, folder: str | None) -> None:
    file = store(client, folder)
    problem(delete(client, path_of(file, folder), "u1"), 403, "forbidden")
    problem(delete(client, path_of(file, "u1"), "u1"), 404, "not-found")
    assert client.get(path_of(file, folder)).status_code in (200, 302)


@pytest.mark.parametrize(
    "path",
    [
        "/files/u1/../u2/{id}/a.txt",
        "/files/u1/%2e%2e/u2/{id}/a.txt",
        "/files/u1%2F..%2Fu2/{id}/a.txt",
        "/files/u1%2f%2e%2e%2fu2/{id}/a.txt",
        "/files/u1%5C..%5Cu2/{id}/a.txt",
        "/files/u1%252F..%252Fu2/{id}/a.txt",
        "/files/u1/..%2Fu2%2F{id}/a.txt",
        "/files/u1/{id}/..%2F..%2Fu2%2F{id}%2Fa.txt",
        "/files/u1%00/{id}/a.txt",
        "/files/u1//u2/{id}/a.txt",
        "/files//u1/{id}/a.txt",
        "/files/u1/u2/{id}/a.txt",
        "/files/./u2/{id}/a.txt",
        "/files/u2%20/{id}/a.txt",
        "/files/%752/{id}/a.txt",
        "/files/u2/{id}/a.txt?folder=u1",
        "/files/u2/{id}/a.txt/",
        "/files/{id}/a.txt?folder=u2",
    ],
)
def test_no_path_leads_out_of_the_folder(client: FlaskClient, path: str) -> None:
    file = store(client, "u2")
    response = delete(client, path.replace("{id}", file["id"]), "u1")
    assert response.status_code in (403, 404, 405), response.text
    assert client.get(path_of(file, "u2")).status_code in (200, 302)


def test_folder_of_the_token_wins_over_that_of_the_client(client: FlaskClient) -> None:
    token = bearer(good(folder="u1"))
    for response in (
        post(client, ("folder", "u2"), FILE, **token),
        client.put("/upload/a.txt?folder=u2", data=b"hello", headers=token),
        client.put("/upload?filename=../u2/a.txt", data=b"hello", headers=token),
    ):
        assert (response.json or {})["files"][0]["folder"] == "u1"
    begun = direct_client(client, folder="u1").begun("a.txt", folder="u2", metadata={"folder": "u2"})
    assert begun["key"].startswith("incoming/u1/")


@pytest.mark.parametrize("folder", OTHERS)
def test_upload_is_continued_in_its_own_folder_only(client: FlaskClient, folder: str | None) -> None:
    upload = direct_client(client, folder=folder).begun("a.txt")
    other = direct_client(client, folder="u1")
    for response in (other.part_url(upload, 1), other.parts(upload), other.complete(upload), other.abort(upload)):
        problem(response, 403, "forbidden")
    mine = direct_client(client, folder="u1").begun("a.txt")
    stranger = direct_client(client, folder=folder)
    for response in (stranger.part_url(mine, 1), stranger.parts(mine), stranger.complete(mine), stranger.abort(mine)):
        problem(response, 403, "forbidden")
    assert other.parts(mine).status_code == 200


@pytest.mark.parametrize("scope", ["upload", "list", "delete", ALL_SCOPES, ""])
@pytest.mark.parametrize("folder", OTHERS)
def test_token_sees_no_status_outside_its_folder(client: FlaskClient, folder: str | None, scope: str) -> None:
    direct = direct_client(client, folder=folder)
    upload = direct.begun("a.txt")
    direct.put(upload, 1, b"hello")
    assert direct.complete(upload).status_code == 200
    token = bearer(good(folder="u1", scope=scope))
    problem(client.get(direct.status_urls[upload["id"]], headers=token), 403, "forbidden")
    problem(client.get(f"/upload/{upload['id']}", headers=token), 404, "not-found")


def test_key_of_another_folder_does_not_fit_the_upload(client: FlaskClient) -> None:
    direct = direct_client(client, folder="u1")
    upload = direct.begun("a.txt")
    for key in (f"incoming/{upload['id']}", f"incoming/u2/{upload['id']}", f"incoming/u1/../u2/{upload['id']}"):
        problem(direct.parts({**upload, "key": key}), 404, "upload-not-found")


def test_presigned_form_is_good_for_its_folder_only(client: FlaskClient, kind: str) -> None:
    if kind == "s3":
        pytest.skip("moto checks no policy of a form")
    form = formed(direct_client(client, folder="u1"), "a.txt")
    for key in (f"incoming/{form['id']}", f"incoming/u2/{form['id']}", f"incoming/u1/../u2/{form['id']}"):
        assert direct_client(client).post(form, b"hello", key=key).status == 403
