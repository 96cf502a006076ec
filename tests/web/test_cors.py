"""Scripts of listed web sites may read our responses. By default, no site is listed."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest

from handler.storage.folder.files import LocalStorage
from handler.web import cors

from ..support.http_client import NO_SUCH_FILE
from ..support.lambda_runtime import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

# No storage has a part in it.
pytestmark = pytest.mark.parametrize("kind", ["folder"])

APP = "https://app.example"
PREFLIGHT = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    return make_app(ACCESS="public", ALLOWED_ORIGINS=f"{APP}, http://localhost:5173").test_client()


def cors_fields(response: TestResponse) -> dict[str, str]:
    return {name: value for name, value in response.headers if name.lower().startswith("access-control-")}


def listed(text: str) -> set[str]:
    return set(text.lower().split(", "))


@pytest.mark.parametrize("environ", [{"ACCESS": "public"}, {"TOKEN_SECRET": SECRET}, {}])
def test_response_without_allowed_origins_has_no_cors_field(
    make_app: Callable[..., Flask], environ: dict[str, str]
) -> None:
    client = make_app(**environ).test_client()
    for origin in (APP, "http://localhost", "null", "*"):
        for response in (
            client.get("/upload", headers={"Origin": origin}),
            client.put("/upload/a.txt", data=b"x", headers={"Origin": origin}),
            client.options("/upload", headers={"Origin": origin, **PREFLIGHT}),
        ):
            assert cors_fields(response) == {}
            assert "Origin" not in response.headers.get("Vary", "")


@pytest.mark.parametrize("origin", [APP, "http://localhost:5173"])
def test_listed_origin_is_allowed(client: FlaskClient, origin: str) -> None:
    response = client.put("/upload/a.txt", data=b"hello", headers={"Origin": origin})
    assert response.status_code == 201
    assert cors_fields(response) == {
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": cors.RESPONSE_HEADERS,
    }
    assert response.headers.getlist("Access-Control-Allow-Origin") == [origin]
    assert response.headers["Vary"] == "Origin"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://app.example",
        "https://app.example:443",
        "https://app.example:8443",
        "https://app.example/",
        "https://app.example.evil.example",
        "https://evilapp.example",
        "https://evil.app.example",
        "https://app.exampleevil",
        "https://app_example",
        "https://appXexample",
        "https://app.example@evil.example",
        "https://user@app.example",
        "https://app.example https://evil.example",
        "https://app.example, https://evil.example",
        "https://app.example%00.evil.example",
        "HTTPS://APP.EXAMPLE",
        "https://App.example",
        "//app.example",
        "app.example",
        "http://localhost",
        "http://localhost:51730",
        "null",
        "*",
        "",
        "file://",
        "\xe9",
    ],
)
def test_origin_is_compared_as_a_whole(client: FlaskClient, origin: str) -> None:
    for response in (
        client.get("/upload", headers={"Origin": origin}),
        client.options("/upload/a.txt", headers={"Origin": origin, **PREFLIGHT}),
    ):
        assert response.status_code in (200, 204), (
            "a browser keeps the answer from the script; others never asked for that"
        )
        assert cors_fields(response) == {}
        assert response.headers["Vary"] == "Origin", "else a cache gives this answer to a site that is listed"


def test_request_without_an_origin_gets_no_field(client: FlaskClient) -> None:
    response = client.get("/upload")
    assert cors_fields(response) == {}
    assert response.headers["Vary"] == "Origin"


def test_preflight_is_allowed(client: FlaskClient) -> None:
    for path in ("/upload", "/upload/a.txt", "/upload/", NO_SUCH_FILE):
        response = client.options(path, headers={"Origin": APP, **PREFLIGHT})
        assert response.status_code == (200 if path == NO_SUCH_FILE else 204)
        fields = cors_fields(response)
        assert fields["Access-Control-Allow-Origin"] == APP
        assert listed(fields["Access-Control-Allow-Methods"]) >= {"post", "put", "patch", "delete", "get", "head"}
        assert fields["Access-Control-Max-Age"] == "7200"
        assert response.data == b""


def test_preflight_needs_no_token(make_app: Callable[..., Flask]) -> None:
    """A browser sends no token with a preflight (WHATWG Fetch, "CORS-preflight fetch")."""
    client = make_app(TOKEN_SECRET=SECRET, ALLOWED_ORIGINS=APP).test_client()
    response = client.options("/upload", headers={"Origin": APP, **PREFLIGHT})
    assert (response.status_code, response.headers["Access-Control-Allow-Origin"]) == (204, APP)


@pytest.mark.parametrize(
    "wanted",
    [
        "authorization",
        "content-type",
        "cache-control,x-requested-with",  # Dropzone
        "content-digest",
        "repr-digest",
        "content-md5",
        "range",
    ],
)
def test_fields_of_clients_are_allowed(client: FlaskClient, wanted: str) -> None:
    headers = {"Origin": APP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": wanted}
    allowed = client.options("/upload", headers=headers).headers["Access-Control-Allow-Headers"]
    assert set(wanted.split(",")) <= listed(allowed)


@pytest.mark.parametrize("origins", [APP, "*"])
@pytest.mark.parametrize(
    ("requested", "added"),
    [
        ("x-csrf-token,traceparent", ["x-csrf-token", "traceparent"]),
        ("X-CSRF-TOKEN, \tX-A", ["X-CSRF-TOKEN", "X-A"]),
        ("content-type,x-a,x-a,,range", ["x-a"]),
        ("x-" + "a" * 62, ["x-" + "a" * 62]),
        ("x-" + "a" * 63, []),
        ("x a, x:a, x\xe9, x-good", ["x-good"]),
        ("", []),
        (",".join(f"x-{number:04}" for number in range(200)), []),
    ],
)
def test_preflight_allows_the_requested_fields(
    make_app: Callable[..., Flask], origins: str, requested: str, added: list[str]
) -> None:
    client = make_app(ACCESS="public", ALLOWED_ORIGINS=origins).test_client()
    headers = {"Origin": APP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": requested}
    response = client.options("/upload", headers=headers)
    assert response.headers["Access-Control-Allow-Headers"] == ", ".join([cors.REQUEST_HEADERS, *added])
    assert response.headers["Vary"] == "Origin, Access-Control-Request-Headers"
    unlisted = client.options("/upload", headers=headers | {"Origin": "https://evil.example"})
    assert ("Access-Control-Allow-Headers" in unlisted.headers) == (origins == "*")


def test_unknown_method_is_not_allowed_on_request(client: FlaskClient) -> None:
    headers = {"Origin": APP, "Access-Control-Request-Method": "TRACE"}
    response = client.options("/upload", headers=headers)
    assert "trace" not in listed(response.headers["Access-Control-Allow-Methods"])


def test_options_request_without_preflight_fields_lists_the_methods(client: FlaskClient) -> None:
    response = client.options("/upload", headers={"Origin": APP})
    assert set(cors_fields(response)) == {
        "Access-Control-Allow-Credentials",
        "Access-Control-Allow-Origin",
        "Access-Control-Expose-Headers",
    }
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}


@pytest.mark.parametrize(
    "name",
    [
        "Location",
        "ETag",
        "X-Request-Id",
        "Retry-After",
        "WWW-Authenticate",
        "X-Amzn-Remapped-WWW-Authenticate",
        "Content-Disposition",
        "Content-Range",
    ],
)
def test_fields_for_scripts_are_exposed(client: FlaskClient, name: str) -> None:
    response = client.get("/upload", headers={"Origin": APP})
    assert name.lower() in listed(response.headers["Access-Control-Expose-Headers"])


def test_every_origin_is_allowed_only_by_an_asterisk(make_app: Callable[..., Flask]) -> None:
    client = make_app(ACCESS="public", ALLOWED_ORIGINS="*").test_client()
    for origin in (APP, "https://evil.example", "null"):
        for response in (
            client.get("/upload", headers={"Origin": origin}),
            client.options("/upload", headers={"Origin": origin, **PREFLIGHT}),
        ):
            assert response.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    ("origins", "origin", "allowed", "with_credentials"),
    [
        (APP, APP, APP, True),
        (f"* {APP}", APP, APP, True),
        (f"* {APP}", "https://evil.example", "*", False),
        ("*", APP, "*", False),
        ("*", "null", "*", False),
        ("*", "*", "*", False),
    ],
)
def test_only_a_named_origin_may_send_credentials(
    make_app: Callable[..., Flask], origins: str, origin: str, allowed: str, with_credentials: bool
) -> None:
    client = make_app(ACCESS="public", ALLOWED_ORIGINS=origins).test_client()
    for response in (
        client.get("/upload", headers={"Origin": origin, "Cookie": "a=b"}),
        client.put("/upload/a.exe", data=b"x", headers={"Origin": origin}),
        client.options("/upload", headers={"Origin": origin, **PREFLIGHT}),
    ):
        assert response.headers["Access-Control-Allow-Origin"] == allowed
        assert response.headers.get("Access-Control-Allow-Credentials") == ("true" if with_credentials else None)
        assert "Set-Cookie" not in response.headers


def test_errors_have_cors_fields(make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a script sees only "network error", and cannot show the reason."""
    client = make_app(TOKEN_SECRET=SECRET, ALLOWED_ORIGINS=APP, MAX_CONTENT_LENGTH="1000").test_client()
    public = make_app(ACCESS="public", ALLOWED_ORIGINS=APP, MAX_CONTENT_LENGTH="1000").test_client()
    headers = {"Origin": APP}
    responses = {
        401: client.put("/upload/a.txt", data=b"x", headers=headers),
        403: public.delete(NO_SUCH_FILE, headers=headers),
        404: public.get("/nothing", headers=headers),
        405: public.delete("/upload", headers=headers),
        413: public.put("/upload/a.txt", data=b"x" * 1001, headers=headers),
        415: public.put("/upload/a.exe", data=b"x", headers=headers),
        422: public.post("/upload", data={"file": (io.BytesIO(b"<p>"), "a.png")}, headers=headers),
        400: public.post("/upload", data=b"x", headers=headers),
    }

    def broken(*_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(LocalStorage, "open_writer", broken)
    responses[500] = public.put("/upload/a.txt", data=b"x", headers=headers)
    for status, response in responses.items():
        assert response.status_code == status, response.text
        assert response.headers["Access-Control-Allow-Origin"] == APP
        assert response.headers["Access-Control-Allow-Credentials"] == "true"
        assert response.headers["Access-Control-Expose-Headers"] == cors.RESPONSE_HEADERS
        assert response.headers["Vary"] == "Origin"


def test_download_has_cors_fields(client: FlaskClient) -> None:
    path = client.put("/upload/a.txt", data=b"x").headers["Location"].partition("localhost")[2]
    response = client.get(path, headers={"Origin": APP})
    assert response.status_code in (200, 302)
    assert response.headers["Access-Control-Allow-Origin"] == APP
    assert cors_fields(client.get(path, headers={"Origin": "https://evil.example"})) == {}


# The log names a refused origin and the setting, because the script that was refused cannot show a reason.


def logged_reason(capsys: pytest.CaptureFixture[str]) -> str | None:
    (line,) = capsys.readouterr().out.splitlines()
    reason: str | None = json.loads(line)["reason"]
    return reason


@pytest.mark.parametrize("allowed_origins", ["", APP])
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
def test_refused_origin_is_logged_with_the_setting_that_allows_it(
    make_app: Callable[..., Flask], capsys: pytest.CaptureFixture[str], allowed_origins: str, method: str
) -> None:
    client = make_app(ACCESS="public", ALLOWED_ORIGINS=allowed_origins).test_client()
    client.open("/upload", method=method, headers={"Origin": "https://b.example", **PREFLIGHT})
    assert logged_reason(capsys) == "the origin 'https://b.example' is not in ALLOWED_ORIGINS"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": APP},
        {"Origin": "http://localhost"},
        {"Origin": "https://www.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_allowed_request_is_not_logged_as_refused(
    client: FlaskClient, capsys: pytest.CaptureFixture[str], headers: dict[str, str]
) -> None:
    client.get("/upload", headers=headers)
    assert logged_reason(capsys) is None


def test_refused_origin_is_cut_and_escaped_in_the_log(client: FlaskClient, capsys: pytest.CaptureFixture[str]) -> None:
    client.get("/upload", headers={"Origin": "https://" + "x" * 5000})
    reason = logged_reason(capsys) or ""
    assert reason.startswith("the origin 'https://xxx")
    assert len(reason) < 300
    client.get("/upload", headers={"Origin": "https://\xe9"})
    assert (logged_reason(capsys) or "").isascii()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://b.example"},
        {"Sec-Fetch-Site": "cross-site", "Referer": "https://b.example/page?secret=1"},
    ],
)
def test_web_site_refused_by_the_local_server_is_logged(
    make_app: Callable[..., Flask], capsys: pytest.CaptureFixture[str], headers: dict[str, str]
) -> None:
    response = make_app().test_client().put("/upload/a.txt", data=b"hello", headers=headers)
    assert response.status_code == 403
    assert "ALLOWED_ORIGINS" in (response.json or {})["detail"]
    assert logged_reason(capsys) == "the origin 'https://b.example' is not in ALLOWED_ORIGINS"


def test_refused_type_and_refused_origin_are_both_logged(
    client: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.put("/upload/a.exe", data=b"MZ", headers={"Origin": "https://b.example"})
    assert logged_reason(capsys) == (
        "415: .exe is not in ALLOWED_EXTENSIONS; the origin 'https://b.example' is not in ALLOWED_ORIGINS"
    )
