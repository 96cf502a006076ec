"""Access: uploads with a token, and public uploads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from handler.app import create_app
from handler.gateway import make_handler
from handler.settings import Settings
from handler.web.tokens import mint

from ..support import samples
from ..support.gateway_behaviours import Context
from ..support.gateway_events import rest_event
from ..support.http_client import NO_SUCH_FILE, json_of, problem
from ..support.tokens import (
    FILE,
    OTHER_SECRET,
    SECRET,
    Sent,
    bearer,
    folder_app,
    good,
    in_an_hour,
    post,
    put,
    sign,
    stored_files,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask import Flask
    from flask.testing import FlaskClient

pytestmark = pytest.mark.usefixtures("no_token_in_the_log")


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    return make_app(TOKEN_SECRET=SECRET).test_client()


# Where a request carries its token.


def test_upload_without_a_token_stores_nothing(client: FlaskClient, stored_keys: Callable[[], list[str]]) -> None:
    for response in (
        put(client, None),
        post(client, FILE),
        client.post("/upload", data=b"hello", content_type="text/plain"),
        client.delete(NO_SUCH_FILE),
    ):
        body = problem(response, 401, "token-required")
        assert "Authorization: Bearer" in body["error"]
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="upload"'
    assert stored_keys() == []


def test_token_in_a_header_is_accepted(client: FlaskClient, sent: Sent) -> None:
    token = sent(mint(SECRET, expires_seconds=60))
    assert put(client, token).status_code == 201
    assert post(client, FILE, **bearer(token)).status_code == 201


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer  "])
def test_scheme_is_read_in_any_case(folder_client: FlaskClient, sent: Sent, scheme: str) -> None:
    response = folder_client.put("/upload/a.txt", data=b"x", headers={"Authorization": f"{scheme} {sent(good())}"})
    assert response.status_code == 201


@pytest.mark.parametrize("scheme", ["Basic ", "Token ", "Bearer\t", "", "Bearer:", "JWT "])
def test_other_scheme_is_rejected(folder_client: FlaskClient, sent: Sent, scheme: str) -> None:
    response = folder_client.put("/upload/a.txt", data=b"x", headers={"Authorization": scheme + sent(good())})
    problem(response, 401, "token-required")


@pytest.mark.parametrize("parameter", ["/upload/a.txt?token={}", "/upload/a.txt?access_token={}"])
def test_token_in_the_query_is_ignored(folder_client: FlaskClient, sent: Sent, parameter: str) -> None:
    """Servers and proxies log queries, and browsers keep them in the history."""
    problem(folder_client.put(parameter.format(sent(good())), data=b"x"), 401, "token-required")


def test_token_in_a_cookie_is_ignored(folder_client: FlaskClient, sent: Sent) -> None:
    """Browsers add cookies to requests that other sites make them send."""
    folder_client.set_cookie("token", sent(good()))
    problem(put(folder_client, None), 401, "token-required")


def test_token_in_the_first_part_of_a_form_is_accepted(client: FlaskClient, sent: Sent) -> None:
    token = sent(mint(SECRET, expires_seconds=60))
    assert post(client, ("token", token), FILE).status_code == 201
    assert post(client, ("comment", "hi"), ("token", f" {token}\r\n"), FILE, FILE).status_code == 201


def test_token_after_the_file_is_too_late(
    client: FlaskClient, sent: Sent, stored_keys: Callable[[], list[str]]
) -> None:
    """The file is already stored when the token arrives. A file input without a choice is not a file."""
    token = sent(good())
    problem(post(client, FILE, ("token", token)), 401, "token-required")
    assert stored_keys() == []
    assert post(client, ("file", (b"", "")), ("token", token), FILE).status_code == 201


def test_token_between_files_does_not_extend_earlier_rights(
    client: FlaskClient, sent: Sent, stored_keys: Callable[[], list[str]]
) -> None:
    narrow, wide = sent(good(max_bytes=1)), sent(good())
    problem(post(client, ("token", narrow), ("file", (b"1", "a.txt")), ("token", wide), FILE), 413, "file-too-large")
    assert stored_keys() == []


def test_header_takes_precedence_over_the_field(folder_client: FlaskClient, sent: Sent) -> None:
    narrow, wide = sent(good(max_bytes=1)), sent(good())
    problem(post(folder_client, ("token", wide), FILE, **bearer(narrow)), 413, "file-too-large")
    problem(post(folder_client, ("token", wide), FILE, **bearer("x.y.z")), 401, "invalid-token")


def test_token_in_a_file_part_is_ignored(folder_client: FlaskClient, sent: Sent) -> None:
    token = sent(good())
    problem(post(folder_client, ("token", (token.encode(), "token.txt")), FILE), 400, "no-file")
    problem(post(folder_client, ("token ", token), FILE), 401, "token-required")
    problem(post(folder_client, ("Token", token), FILE), 401, "token-required")


@pytest.mark.parametrize("value", ["x", "\u00e9\u0000\u202e", "a" * 60_000])
def test_invalid_token_field_is_rejected(folder_client: FlaskClient, value: str) -> None:
    problem(post(folder_client, ("token", value), FILE), 401, "invalid-token")


@pytest.mark.parametrize("value", ["", " ", "\r\n"])
def test_empty_token_field_is_ignored(folder_client: FlaskClient, tmp_path: Path, sent: Sent, value: str) -> None:
    """A form with an empty token input sends an empty field."""
    problem(post(folder_client, ("token", value), FILE), 401, "token-required")
    problem(post(folder_client, ("token", sent(good())), ("token", value), FILE), 401, "token-required")
    for environ in ({}, {"TOKEN_SECRET": SECRET}):
        public = folder_app(tmp_path, ACCESS="public", **environ).test_client()
        assert post(public, ("token", value), FILE).status_code == 201


def test_form_without_a_file_is_reported_without_a_token(folder_client: FlaskClient) -> None:
    problem(post(folder_client, ("comment", "hi")), 400, "no-file")


# The rights of a token.


def test_max_bytes_narrows_one_file(client: FlaskClient, sent: Sent, stored_keys: Callable[[], list[str]]) -> None:
    token = sent(good(max_bytes=5))
    assert put(client, token, content=b"12345").status_code == 201
    assert post(client, ("token", token), FILE, FILE).status_code == 201
    before = stored_keys()
    for response in (
        put(client, token, content=b"123456"),
        post(client, ("token", token), ("file", (b"123456", "a.txt"))),
    ):
        body = problem(response, 413, "file-too-large")
        assert (body["max_bytes"], "5 bytes" in body["error"]) == (5, True)
    assert stored_keys() == before


def test_max_bytes_of_zero_rejects_every_file(folder_client: FlaskClient, sent: Sent) -> None:
    token = sent(good(max_bytes=0))
    problem(put(folder_client, token, content=b"1"), 413, "file-too-large")
    problem(post(folder_client, ("token", token), ("file", (b"", "a.txt"))), 422, "empty-file")


def test_max_bytes_does_not_widen_the_servers_limit(tmp_path: Path, sent: Sent) -> None:
    client = folder_app(tmp_path, TOKEN_SECRET=SECRET, MAX_FILE_BYTES="5").test_client()
    token = sent(good(max_bytes=10))
    assert problem(put(client, token, content=b"123456"), 413, "file-too-large")["max_bytes"] == 5


def test_extensions_of_a_token_narrow_the_servers(
    client: FlaskClient, sent: Sent, stored_keys: Callable[[], list[str]]
) -> None:
    token = sent(good(extensions=["png", ".PDF", "exe"]))
    assert put(client, token, name="a.png", content=samples.png()).status_code == 201
    assert put(client, token, name="a.pdf", content=samples.PDF).status_code == 201
    before = stored_keys()
    for response in (
        put(client, token, name="a.txt"),
        put(client, token, name="a.exe", content=b"MZ"),
        post(client, ("token", token), FILE),
    ):
        assert problem(response, 415, "type-not-allowed")["allowed"] == ["pdf", "png"]
    problem(put(client, token, name="a.png", content=b"no image"), 422, "content-mismatch")
    assert stored_keys() == before


@pytest.mark.parametrize("extensions", [[], ["exe"], [""], ["..txt"], ["t*"], [" txt"], ["txt,png"]])
def test_extensions_the_server_does_not_allow_are_rejected(
    folder_client: FlaskClient, sent: Sent, extensions: list[str]
) -> None:
    body = problem(put(folder_client, sent(good(extensions=extensions))), 415, "type-not-allowed")
    assert (body["allowed"], "Allowed are: none." in body["error"]) == ([], True)


@pytest.mark.parametrize("scope", ["", " ", "delete"])
def test_uploading_needs_its_scope(folder_client: FlaskClient, tmp_path: Path, sent: Sent, scope: str) -> None:
    token = sent(good(scope=scope))
    for response in (put(folder_client, token), post(folder_client, ("token", token), FILE)):
        body = problem(response, 403, "forbidden")
        assert (body["scope"], "'upload'" in body["error"]) == ("upload", True)
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="upload", error="insufficient_scope"'
    assert stored_files(tmp_path) == []


def test_deleting_needs_its_scope(client: FlaskClient, sent: Sent, stored_keys: Callable[[], list[str]]) -> None:
    path = json_of(put(client, sent(good())))["url"].partition("localhost")[2]
    before = stored_keys()
    problem(client.delete(path), 401, "token-required")
    for claims in ({}, {"scope": "upload"}, {"scope": ""}):
        response = client.delete(path, headers=bearer(sent(good(**claims))))
        assert problem(response, 403, "forbidden")["scope"] == "delete"
        assert "insufficient_scope" in response.headers["WWW-Authenticate"]
    assert stored_keys() == before
    assert client.delete(path, headers=bearer(sent(good(scope="delete")))).status_code == 204
    assert stored_keys() == []


def test_delete_without_the_scope_does_not_reveal_files(folder_client: FlaskClient, sent: Sent) -> None:
    token = sent(good())
    path = json_of(put(folder_client, token))["url"].partition("localhost")[2]
    responses = [folder_client.delete(file_path, headers=bearer(token)) for file_path in (path, NO_SUCH_FILE)]
    first, second = [{**json_of(response), "request_id": None} for response in responses]
    assert first == second


def test_reading_needs_only_the_url(client: FlaskClient, sent: Sent) -> None:
    path = json_of(put(client, sent(good())))["url"].partition("localhost")[2]
    assert client.get(path).status_code in (200, 302)
    assert client.get("/health").status_code == 200


def test_limits_reflect_the_token(folder_client: FlaskClient, sent: Sent) -> None:
    everything = json_of(folder_client.get("/upload"))
    narrowed = json_of(folder_client.get("/upload", headers=bearer(sent(good(max_bytes=5, extensions=["png", "exe"])))))
    assert narrowed["extensions"] == ["png"]
    assert narrowed["types"] == {"png": "image/png"}
    assert narrowed["max_file_bytes"] == 5
    assert [way["max_bytes"] for way in narrowed["ways"]] == [5, 5, 5, 5]
    assert "txt" in everything["extensions"]
    assert everything["max_request_bytes"] == narrowed["max_request_bytes"]


# The public.


def test_public_access_allows_uploads_but_no_deletes(
    make_app: Callable[..., Flask], stored_keys: Callable[[], list[str]]
) -> None:
    client = make_app(ACCESS="public").test_client()
    path = json_of(put(client, None))["url"].partition("localhost")[2]
    assert post(client, FILE).status_code == 201
    before = stored_keys()
    assert problem(client.delete(path), 403, "forbidden")["scope"] == "delete"
    assert stored_keys() == before


def test_public_access_without_a_secret_accepts_no_token(tmp_path: Path, sent: Sent) -> None:
    """A token signed with an empty secret is rejected, too."""
    client = folder_app(tmp_path, ACCESS="public").test_client()
    path = json_of(put(client, None))["url"].partition("localhost")[2]
    for secret in ("", "None", SECRET):
        token = sent(sign({"exp": in_an_hour(), "scope": "delete"}, secret=secret))
        assert client.delete(path, headers=bearer(token)).status_code in (401, 403)
    assert client.get(path).status_code == 200


def test_token_sets_the_rights_in_public_access(tmp_path: Path, sent: Sent) -> None:
    client = folder_app(tmp_path, ACCESS="public", TOKEN_SECRET=SECRET).test_client()
    assert put(client, None).status_code == 201
    narrow = sent(good(max_bytes=1))
    problem(put(client, narrow), 413, "file-too-large")
    problem(post(client, ("token", narrow), FILE), 413, "file-too-large")
    problem(put(client, sent(good(scope="delete"))), 403, "forbidden")
    path = json_of(put(client, None))["url"].partition("localhost")[2]
    problem(client.delete(path, headers=bearer(sent(good()))), 403, "forbidden")
    assert client.delete(path, headers=bearer(sent(good(scope="delete")))).status_code == 204


def test_delete_needs_a_token_in_public_access(tmp_path: Path) -> None:
    """RFC 9110, section 15.5.2: 403 would mean that a token does not help."""
    client = folder_app(tmp_path, ACCESS="public", TOKEN_SECRET=SECRET).test_client()
    path = json_of(put(client, None))["url"].partition("localhost")[2]
    response = client.delete(path)
    error = problem(response, 401, "token-required")["error"]
    assert ("'delete'" in error, "Authorization: Bearer" in error) == (True, True)
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="upload"'
    assert client.get(path).status_code == 200
    # Without a secret there is no such token.
    client = folder_app(tmp_path, ACCESS="public").test_client()
    assert problem(client.delete(path), 403, "forbidden")["scope"] == "delete"


# No uploads until the settings allow them.


def test_lambda_accepts_no_uploads_until_access_is_configured(
    tmp_path: Path, sent: Sent, log: Callable[[], list[dict[str, Any]]]
) -> None:
    """The function starts. API Gateway's own response to a function that fails to start has no explanation."""
    environ = {
        "AWS_LAMBDA_FUNCTION_NAME": "upload",
        "AWS_SAM_LOCAL": "true",
        "UPLOAD_FOLDER": str(tmp_path / "uploads"),
    }
    app = create_app(Settings.from_environ(environ))
    handler = make_handler(app)
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhello\r\n--x--\r\n'
    of_a_form = ("Content-Type", "multipart/form-data; boundary=x")
    for method, path, body, headers in [
        ("PUT", "/upload/a.txt", b"hello", []),
        ("PUT", "/upload/a.txt", b"hello", [("Authorization", f"Bearer {sent(good())}")]),
        (
            "PUT",
            "/upload/a.txt",
            b"hello",
            [("Authorization", f"Bearer {sent(sign({'exp': in_an_hour()}, secret=''))}")],
        ),
        ("PUT", "/upload/a.txt", b"hello", [("Host", "localhost"), ("X-Forwarded-For", "127.0.0.1")]),
        ("POST", "/upload", form, [of_a_form]),
        ("POST", "/upload", b"hello", []),
        ("DELETE", NO_SUCH_FILE, None, []),
    ]:
        log()
        response = handler(rest_event(method=method, path=path, body=body, headers=headers), Context())
        assert response["statusCode"] == 403, response
        assert json.loads(response["body"])["type"] == "urn:problem-type:upload:access-not-configured"
        assert "TOKEN_SECRET" in json.loads(response["body"])["error"]
        (reason,) = [entry for entry in log() if entry["level"] == "ERROR"]
        assert "neither TOKEN_SECRET nor ACCESS=public is set" in reason["event"]
    assert stored_files(tmp_path) == []
    assert handler(rest_event(path="/health"), Context())["statusCode"] == 200


@pytest.mark.parametrize("access", ["token", ""])
def test_lambda_without_a_secret_accepts_no_token(access: str) -> None:
    environ = {"AWS_LAMBDA_FUNCTION_NAME": "upload", "UPLOAD_BUCKET": "my-bucket", "ACCESS": access}
    assert Settings.from_environ(environ).access is None


# Without downloads.


def test_downloads_off_removes_the_route_and_the_urls(make_app: Callable[..., Flask], sent: Sent) -> None:
    client = make_app(TOKEN_SECRET=SECRET, DOWNLOADS="off").test_client()
    token = sent(good(scope="upload delete"))
    response = put(client, token)
    assert response.status_code == 201
    (file,) = json_of(response)["files"]
    assert "url" not in file
    assert "url" not in json_of(response)
    assert "Location" not in response.headers
    path = f"/files/{file['id']}/{file['name']}"
    for refused in (client.get(path), client.head(path), client.get(path, headers=bearer(token))):
        assert refused.status_code == 405
        assert set(refused.headers["Allow"].split(", ")) == {"DELETE", "OPTIONS"}
    assert b"hello" not in client.get(path).data
    page = post(client, FILE, **bearer(token), Accept="text/html")
    assert (page.status_code, "/files/" in page.text) == (201, False)
    assert client.delete(path, headers=bearer(token)).status_code == 204


# The log.


def test_log_names_the_subject(folder_client: FlaskClient, sent: Sent, log: Callable[[], list[dict[str, Any]]]) -> None:
    token = sent(good(sub="user-17", scope="upload delete"))
    path = json_of(put(folder_client, token))["url"].partition("localhost")[2]
    post(folder_client, ("token", token), FILE)
    put(folder_client, token, name="a.exe")
    put(folder_client, sent(good(sub="user-18", scope="delete")))
    folder_client.get("/upload", headers=bearer(token))
    folder_client.delete(path, headers=bearer(token))
    lines = log()
    assert [line["status"] for line in lines] == [201, 201, 415, 403, 200, 204]
    assert [line["subject"] for line in lines] == ["user-17"] * 3 + ["user-18"] + ["user-17"] * 2
    assert lines[0]["files"][0]["id"] == lines[-1]["files"][0]["id"]
    # An unknown user has no name in the log, and a forged token names nobody.
    put(folder_client, sent(good()))
    put(folder_client, None)
    put(folder_client, sent(sign({"exp": in_an_hour(), "sub": "user-17"}, secret=OTHER_SECRET)))
    put(folder_client, sent(good(sub="user-17", exp=1)))
    folder_client.get(path)
    assert [line["subject"] for line in log()] == [None] * 5


@pytest.mark.parametrize(
    ("sub", "subject"),
    [
        ("0d272383-1831-33ff-4e35-d569571b50ef", "0d272383-1831-33ff-4e35-d569571b50ef"),
        ("Ada Lovelace", "Ada Lovelace"),
        ("日本", "日本"),
        ("a\r\n\x1b[31m\u202eb\u200b\u2028\ud800", "a[31mb"),
        ("  a  ", "a"),
        ("x" * 64, "x" * 64),
        ("x" * 65, "x" * 64),
        (" " + "\0" * 100 + "x" * 65, "x" * 64),
        ("", None),
        (" \0 ", None),
    ],
)
def test_logged_subject_is_clean_and_short(
    folder_client: FlaskClient,
    sent: Sent,
    log: Callable[[], list[dict[str, Any]]],
    sub: str,
    subject: str | None,
) -> None:
    assert put(folder_client, sent(good(sub=sub))).status_code == 201
    assert [line["subject"] for line in log()] == [subject]


def test_token_is_in_no_log_line(
    folder_client: FlaskClient, sent: Sent, log: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines of a success, a refusal and a fault. After each test of this module, the fixture searches the log."""
    token = sent(good())
    put(folder_client, token)
    put(folder_client, token, name="a.exe")
    post(folder_client, ("token", token), FILE)
    post(folder_client, FILE, ("token", token))
    folder_client.put(f"/upload/{token}.txt", data=b"x")
    folder_client.get(f"/upload?token={token}")
    folder_client.get(f"/nothing/{token}", headers=bearer(token))

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr("handler.intake.Intake.begin", broken)
    assert put(folder_client, token).status_code == 500
    entries = log()
    assert [entry["status"] for entry in entries if entry["event"] == "request"] == [
        201,
        415,
        201,
        401,
        401,
        200,
        404,
        500,
    ]
    assert "a fault" in json.dumps([entry.get("exception") for entry in entries])
