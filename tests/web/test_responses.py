"""The media types and header fields of responses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..support import samples
from ..support.http_client import BROWSER, json_of, post, problem

if TYPE_CHECKING:
    from flask.testing import FlaskClient


def test_health_check_responds_ok(client: FlaskClient) -> None:
    response = client.get("/health")
    assert (response.status_code, json_of(response)) == (200, {"status": "ok"})


def test_method_that_is_not_allowed_is_rejected(client: FlaskClient) -> None:
    response = client.delete("/upload")
    assert "Allowed are: GET, HEAD, OPTIONS, PATCH, POST, PUT." in problem(response, 405, "method-not-allowed")["error"]
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}


def test_response_to_a_form_of_a_browser_is_a_page(client: FlaskClient) -> None:
    response = post(client, (samples.TEXT, "a.txt"), Accept=BROWSER)
    assert (response.status_code, response.mimetype) == (201, "text/html")
    assert "Stored a.txt." in response.text
    assert f'href="{response.headers["Location"]}"' in response.text


def test_page_lists_each_refusal(client: FlaskClient) -> None:
    response = post(client, (b"MZ", "<b>.exe"), (b"<p>", "c.png"), Accept=BROWSER)
    assert (response.status_code, response.mimetype) == (422, "text/html")
    assert "&lt;b&gt;.exe" in response.text
    assert "c.png" in response.text
    assert "<b>" not in response.text


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "application/problem+json"),
        ("*/*", "application/problem+json"),
        ("application/json", "application/json"),
        ("application/json, text/plain, */*", "application/problem+json"),
        ("application/problem+json", "application/problem+json"),
        ("image/png", "application/problem+json"),
        (BROWSER, "text/html"),
        ("text/html;q=0.5, application/json", "application/json"),
        ("rubbish;;q=x", "application/problem+json"),
    ],
)
def test_errors_have_the_media_type_that_the_client_accepts(
    client: FlaskClient, accept: str | None, media_type: str
) -> None:
    response = client.get("/nothing", headers={"Accept": accept} if accept else {})
    assert response.mimetype == media_type


def test_every_response_has_a_request_id_and_security_headers(client: FlaskClient) -> None:
    stored = post(client, (samples.TEXT, "a.txt"))
    seen = set()
    for response in (stored, client.get("/"), client.get("/nothing"), client.put("/upload/a.exe", data=b"x")):
        seen.add(response.headers["X-Request-Id"])
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Referrer-Policy"] == "same-origin", "or our own form would come with Origin: null"
        assert "Set-Cookie" not in response.headers
    assert len(seen) == 4


def test_page_may_only_send_forms_to_its_own_origin(client: FlaskClient) -> None:
    everywhere = "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    answer = post(client, (samples.TEXT, "a.txt"), Accept=BROWSER).headers["Content-Security-Policy"]
    assert answer == f"default-src 'none'; style-src 'self'; img-src 'self'; {everywhere}"
    assert (
        everywhere in client.get("/").headers["Content-Security-Policy"]
    )  # which runs scripts of its own: test_page.py
    for response in (client.get("/upload"), client.get("/nothing"), post(client, (samples.TEXT, "a.txt"))):
        assert response.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"


def test_request_id_of_the_gateway_is_used(client: FlaskClient) -> None:
    response = client.get("/health", environ_overrides={"UNIQUE_ID": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"})
    assert response.headers["X-Request-Id"] == "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
    response = client.get("/health", headers={"X-Request-Id": "forged"})
    assert response.headers["X-Request-Id"] != "forged"


def test_page_names_files_as_their_owner_does(client: FlaskClient) -> None:
    response = post(client, (samples.TEXT, "Grüße 日本.txt"), (samples.TEXT, "<b>.txt"), Accept=BROWSER)
    assert "Stored 2 files." in response.text
    assert "<bdi>Grüße 日本.txt</bdi>" in response.text
    assert "<bdi>&lt;b&gt;.txt</bdi>" in response.text
    assert "Stored Grüße 日本.txt." in post(client, (samples.TEXT, "Grüße 日本.txt"), Accept=BROWSER).text
    refused = post(client, (b"MZ", "Grüße 日本.exe"), Accept=BROWSER)
    assert "Grüße 日本.exe" in refused.text
