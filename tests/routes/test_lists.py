"""``GET /files``: its scope, its pages and its folder, over both storages."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from handler.routes.files import MAX_CURSOR_CHARS, PAGE_FILES
from handler.web.access import SCOPES

from ..support import samples
from ..support.http_client import json_of, post, problem
from ..support.tokens import SECRET, bearer, good, put

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    return make_app(TOKEN_SECRET=SECRET).test_client()


def page(client: FlaskClient, token: str, **query: str) -> dict[str, Any]:
    """Return a page of the list."""
    response = client.get("/files", query_string=query, headers=bearer(token))
    assert response.status_code == 200, response.data
    body: dict[str, Any] = json_of(response)
    return body


def all_urls(client: FlaskClient, token: str, **query: str) -> list[str]:
    """Return the URLs of all files in the list, page by page."""
    urls: list[str] = []
    for _ in range(100):
        body = page(client, token, **query)
        urls += [file["url"] for file in body["files"]]
        if "cursor" not in body:
            return urls
        query["cursor"] = body["cursor"]
    raise AssertionError("the list has no end")


def stored(client: FlaskClient, **claims: Any) -> dict[str, Any]:
    (entry,) = json_of(put(client, good(**claims), content=samples.TEXT))["files"]
    return dict(entry)


def test_listed_file_has_the_entry_of_its_upload(client: FlaskClient) -> None:
    entry = stored(client)
    (listed,) = page(client, good(scope="list"))["files"]
    assert {name: listed[name] for name in ("id", "name", "size", "url")} == {
        name: entry[name] for name in ("id", "name", "size", "url")
    }
    assert set(listed) == {"id", "name", "size", "stored", "url"}
    assert client.get(urlsplit(listed["url"]).path).status_code in (200, 302)


@pytest.mark.parametrize("limit", ["1", "2", "3", "1000"])
def test_pages_hold_each_file_once(client: FlaskClient, limit: str) -> None:
    urls = [stored(client)["url"] for _ in range(5)]
    listed = all_urls(client, good(scope="list"), limit=limit)
    assert len(listed) == len(urls)
    assert set(listed) == set(urls)


def test_page_has_the_default_number_of_files(client: FlaskClient) -> None:
    assert PAGE_FILES == 100
    assert page(client, good(scope="list")) == {"files": []}
    for _ in range(3):
        stored(client)
    assert "cursor" not in page(client, good(scope="list"), limit="3")
    assert "cursor" in page(client, good(scope="list"), limit="2")


@pytest.mark.parametrize("scope", ["upload", "delete", "upload delete"])
def test_list_needs_its_scope(client: FlaskClient, scope: str) -> None:
    refused = client.get("/files", headers=bearer(good(scope=scope)))
    assert problem(refused, 403, "forbidden")["scope"] == "list"
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]


def test_list_needs_a_token(client: FlaskClient) -> None:
    problem(client.get("/files"), 401, "token-required")
    problem(client.get("/files", headers=bearer("x")), 401, "invalid-token")
    problem(client.get(f"/files?token={good(scope='list')}"), 401, "token-required")


def test_scope_list_grants_nothing_else(client: FlaskClient) -> None:
    entry = stored(client)
    token = good(scope="list")
    problem(put(client, token), 403, "forbidden")
    problem(client.delete(urlsplit(entry["url"]).path, headers=bearer(token)), 403, "forbidden")


def test_nobody_lists_without_a_secret(make_app: Callable[..., Flask]) -> None:
    client = make_app(ACCESS="public").test_client()
    assert put(client, None).status_code == 201
    problem(client.get("/files"), 403, "forbidden")


def test_public_endpoint_lists_with_a_token_only(make_app: Callable[..., Flask]) -> None:
    client = make_app(ACCESS="public", TOKEN_SECRET=SECRET).test_client()
    assert put(client, None).status_code == 201
    problem(client.get("/files"), 401, "token-required")
    assert len(page(client, good(scope="list"))["files"]) == 1


def test_own_machine_lists_without_a_token(make_app: Callable[..., Flask]) -> None:
    client = make_app().test_client()
    url = json_of(post(client, (samples.TEXT, "a.txt")))["url"]
    assert [file["url"] for file in json_of(client.get("/files"))["files"]] == [url]
    refused = client.get("/files", headers={"Origin": "https://evil.example"})
    problem(refused, 403, "forbidden")


def test_list_without_downloads_has_no_urls(make_app: Callable[..., Flask]) -> None:
    client = make_app(TOKEN_SECRET=SECRET, DOWNLOADS="off").test_client()
    put(client, good())
    (listed,) = page(client, good(scope="list"))["files"]
    assert set(listed) == {"id", "name", "size", "stored"}


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "1.5", "x", "1e2", "٣", "00001", " 1", "9" * 5000])
def test_invalid_limit_is_rejected(client: FlaskClient, limit: str) -> None:
    refused = client.get("/files", query_string={"limit": limit}, headers=bearer(good(scope="list")))
    assert "from 1 to 1000" in problem(refused, 400, "malformed-request")["detail"]


@pytest.mark.parametrize(
    "cursor",
    [
        "!",
        "a",
        "ä",
        "=" * 8,
        "a b",
        base64.urlsafe_b64encode(b"\xff\xfe\xfd").decode(),
        base64.urlsafe_b64encode(b"a\x00b").decode(),
        base64.urlsafe_b64encode(b"a\nb\n").decode(),
        "A" * (MAX_CURSOR_CHARS + 1),
        "A" * 60_000,
    ],
)
def test_invalid_cursor_is_rejected(client: FlaskClient, cursor: str) -> None:
    refused = client.get("/files", query_string={"cursor": cursor}, headers=bearer(good(scope="list")))
    assert "'cursor'" in problem(refused, 400, "malformed-request")["detail"]


def test_longest_cursor_is_accepted(client: FlaskClient) -> None:
    stored(client)
    cursor = base64.urlsafe_b64encode(b"a" * (MAX_CURSOR_CHARS // 4 * 3)).decode()
    assert len(cursor) == MAX_CURSOR_CHARS
    assert "files" in page(client, good(scope="list", folder="u" * 64), cursor=cursor)


# Folders.


def test_token_with_a_folder_lists_its_folder_only(client: FlaskClient) -> None:
    without, first, second = stored(client), stored(client, folder="u1"), stored(client, folder="u2")
    (listed,) = page(client, good(scope="list", folder="u1"))["files"]
    assert (listed["id"], listed["folder"], listed["url"]) == (first["id"], "u1", first["url"])
    everything = all_urls(client, good(scope="list"), limit="1")
    assert sorted(everything) == sorted(entry["url"] for entry in (without, first, second))


@pytest.mark.parametrize("folder", ["", "../", "../u2/", "u2/", "/", "u2"])
def test_forged_cursor_does_not_leave_the_folder(client: FlaskClient, folder: str) -> None:
    first, second = stored(client, folder="u1"), stored(client, folder="u2")
    for position in (f"{folder}", f"{folder}{second['id']}", f"files/{folder}0"):
        cursor = base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")
        urls = all_urls(client, good(scope="list", folder="u1"), cursor=cursor)
        assert set(urls) <= {first["url"]}


def test_cursor_of_another_folder_shows_nothing_of_it(client: FlaskClient) -> None:
    for _ in range(3):
        stored(client, folder="u2")
    own = stored(client, folder="u1")
    cursor = page(client, good(scope="list"), limit="1").get("cursor", "")
    assert set(all_urls(client, good(scope="list", folder="u1"), cursor=cursor)) <= {own["url"]}


def test_every_scope_is_a_scope_of_a_token(client: FlaskClient) -> None:
    assert SCOPES == ("upload", "delete", "list")
    token = good(scope=" ".join(SCOPES))
    assert put(client, token).status_code == 201
    assert len(page(client, token)["files"]) == 1
