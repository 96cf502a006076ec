"""Access without a secret: requests from this machine only, and not those of web sites."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from ..support.http_client import NO_SUCH_FILE, json_of, problem
from ..support.tokens import SECRET, Sent, bearer, folder_app, good, put, stored_files

if TYPE_CHECKING:
    from pathlib import Path

    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

pytestmark = pytest.mark.usefixtures("no_token_in_the_log")


@pytest.fixture
def local(tmp_path: Path) -> FlaskClient:
    """A client of a server that has no secret."""
    return folder_app(tmp_path).test_client()


def everything_from(client: FlaskClient, **options: Any) -> list[TestResponse]:
    """Send a request to each route, with these header fields and this environment."""
    form = {"file": (io.BytesIO(b"hello"), "a.txt")}
    return [
        client.put("/upload/a.txt", data=b"hello", **options),
        client.post("/upload", data=form, **options),
        client.get("/upload", **options),
        client.get("/", **options),
        client.get("/health", **options),
        client.get(NO_SUCH_FILE, **options),
        client.delete(NO_SUCH_FILE, **options),
        client.options("/upload", **options),
        client.get("/nothing", **options),
    ]


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "LocalHost:8000", "127.0.0.1", "127.0.0.1:8000", "[::1]", "[::1]:8000"],
)
def test_host_names_of_this_machine_are_accepted(local: FlaskClient, host: str) -> None:
    origin = f"http://{host.lower()}"
    statuses = [response.status_code for response in everything_from(local, headers={"Host": host})]
    assert statuses == [201, 201, 200, 200, 200, 404, 404, 204, 404]
    if host == host.lower():
        responses = everything_from(local, headers={"Host": host, "Origin": origin})
        assert [response.status_code for response in responses] == statuses


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "evil-localhost",
        "localhost.",
        "localhost@evil.example",
        "evil.example@localhost",
        "evil.example#localhost",
        "evil.example/localhost",
        "localhost, evil.example",
        "127.0.0.1.nip.io",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0.0.0.0",
        "0",
        "192.168.0.1",
        "[::]",
        "[::1",
        "::1]",
        "[::1]evil",
        "[::ffff:127.0.0.1]",
        "[::1%25lo]",
        "localhost:x",
        "localhost:8000:9000",
        "\xef\xbd\x8cocalhost",
        "",
        " ",
    ],
)
def test_other_host_name_is_rejected_as_dns_rebinding(local: FlaskClient, tmp_path: Path, host: str) -> None:
    for response in everything_from(local, headers={"Host": host}):
        problem(response, 403, "forbidden")
        assert "WWW-Authenticate" not in response.headers  # no token would help
    assert stored_files(tmp_path) == []


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://evil.example",
        "null",
        "",
        "file://",
        "http://localhost.evil.example",
        "http://evil.example?http://localhost:8000",
        "http://localhost:8001",
        "http://localhost:80",
        "http://localhost",
        "https://localhost:8000",
        "http://127.0.0.1:8000",
        "http://[::1]:8000",
        "http://localhost:8000/",
        "http://localhost:8000 http://evil.example",
        "http://localhost:8000, http://evil.example",
        "http://LOCALHOST:8000",
        "http://user@localhost:8000",
        "chrome-extension://abcdefgh",
        "*",
    ],
)
def test_form_of_another_site_is_rejected(local: FlaskClient, tmp_path: Path, origin: str) -> None:
    for response in everything_from(local, headers={"Host": "localhost:8000", "Origin": origin}):
        assert response.status_code == 403
        assert "Access-Control-Allow-Origin" not in response.headers
    assert stored_files(tmp_path) == []


def test_form_of_a_listed_site_is_accepted(tmp_path: Path) -> None:
    app = folder_app(tmp_path, ALLOWED_ORIGINS="http://localhost:5173 https://app.example")
    for origin in ("http://localhost:5173", "https://app.example"):
        responses = everything_from(app.test_client(), headers={"Host": "localhost:8000", "Origin": origin})
        assert 403 not in [response.status_code for response in responses]
    for origin in ("http://localhost:5174", "https://app.example.evil.example", "null"):
        responses = everything_from(app.test_client(), headers={"Host": "localhost:8000", "Origin": origin})
        assert {response.status_code for response in responses} == {403}


CROSS_SITE = {"Host": "localhost:8000", "Sec-Fetch-Site": "cross-site"}


@pytest.mark.parametrize("fields", [{}, {"Sec-Fetch-Mode": "no-cors"}, {"Referer": "https://evil.example/a"}])
def test_request_of_another_site_without_an_origin_is_rejected(
    local: FlaskClient, tmp_path: Path, fields: dict[str, str]
) -> None:
    responses = everything_from(local, headers={**CROSS_SITE, **fields})
    assert {response.status_code for response in responses} == {403}
    assert stored_files(tmp_path) == []


@pytest.mark.parametrize("site", ["same-origin", "same-site", "none"])
def test_request_of_the_same_site_without_an_origin_is_accepted(local: FlaskClient, site: str) -> None:
    responses = everything_from(local, headers={"Host": "localhost:8000", "Sec-Fetch-Site": site})
    assert 403 not in [response.status_code for response in responses]


def test_link_from_another_site_opens_the_page_and_sends_no_form(local: FlaskClient) -> None:
    followed = {**CROSS_SITE, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert local.get("/", headers=followed).status_code == 200
    assert local.get("/", headers=followed | {"Sec-Fetch-Dest": "iframe"}).status_code == 403
    assert local.post("/upload", headers=followed).status_code == 403
    assert local.put("/upload/a.txt", data=b"x", headers=followed).status_code == 403


@pytest.mark.parametrize(("allowed", "status"), [("https://app.example", 200), ("*", 200), ("https://b.example", 403)])
def test_image_on_a_page_of_a_listed_site_is_served(tmp_path: Path, allowed: str, status: int) -> None:
    client = folder_app(tmp_path, ALLOWED_ORIGINS=allowed).test_client()
    fields = {**CROSS_SITE, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image", "Referer": "https://app.example/"}
    assert client.get("/health", headers=fields).status_code == status


@pytest.mark.parametrize("address", ["10.0.0.1", "192.168.0.2", "203.0.113.7", "2001:db8::1", "fe80::1%eth0", "x", ""])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Real-Ip": "127.0.0.1", "Client-Ip": "127.0.0.1", "True-Client-Ip": "::1"},
        {"Forwarded": "for=127.0.0.1;host=localhost;proto=http"},
        {"X-Forwarded-Host": "localhost", "X-Forwarded-Server": "localhost"},
    ],
)
def test_remote_address_is_rejected(local: FlaskClient, tmp_path: Path, address: str, headers: dict[str, str]) -> None:
    for response in everything_from(
        local, headers={"Host": "localhost", **headers}, environ_overrides={"REMOTE_ADDR": address}
    ):
        assert response.status_code == 403
    assert stored_files(tmp_path) == []


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_address_is_accepted(local: FlaskClient, address: str) -> None:
    responses = everything_from(local, environ_overrides={"REMOTE_ADDR": address})
    assert 403 not in [response.status_code for response in responses]


def test_forwarded_host_is_ignored(local: FlaskClient) -> None:
    for name in ("X-Host", "X-Original-Host"):
        response = local.get("/health", headers={"Host": "evil.example", name: "localhost"})
        assert response.status_code == 403
        response = local.put("/upload/a.txt", data=b"x", headers={name: "evil.example"})
        assert json_of(response)["url"].startswith("http://localhost/files/")


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via"])
def test_proxied_request_is_rejected(local: FlaskClient, tmp_path: Path, name: str) -> None:
    response = local.put("/upload/a.txt", data=b"x", headers={name: "203.0.113.9"})
    assert response.status_code == 403
    assert "proxy" in json_of(response)["error"]
    assert stored_files(tmp_path) == []


def test_request_from_this_machine_may_delete(local: FlaskClient) -> None:
    path = json_of(put(local, None))["url"].partition("localhost")[2]
    assert local.delete(path).status_code == 204


def test_host_and_origin_are_not_checked_with_a_secret_or_in_public(tmp_path: Path, sent: Sent) -> None:
    headers = {"Host": "upload.example", "Origin": "https://app.example", **bearer(sent(good()))}
    for environ in ({"TOKEN_SECRET": SECRET}, {"ACCESS": "public"}):
        client = folder_app(tmp_path, **environ).test_client()
        response = client.put(
            "/upload/a.txt", data=b"x", headers=headers, environ_overrides={"REMOTE_ADDR": "203.0.113.7"}
        )
        assert response.status_code == 201
