"""``INLINE_EXTENSIONS``: files that browsers show, and the header fields that keep this safe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from handler.inspection.filetypes import SHOWABLE

from ..support import samples
from ..support.http_client import json_of, post
from ..support.stored_files import put

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flask import Flask
    from flask.testing import FlaskClient
    from werkzeug.datastructures import Headers

ATTACHMENT_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"


def served(client: FlaskClient, path: str, *, method: str = "GET") -> tuple[int, Mapping[str, str] | Headers]:
    """Return the status and the header fields of a file, from the storage where the endpoint redirects."""
    response = client.open(path, method=method)
    if response.status_code != 302:
        return response.status_code, response.headers
    answer = requests.request(method, response.headers["Location"], timeout=10, stream=True)
    return answer.status_code, answer.headers


def stored_path(app: Flask, name: str, media_type: str) -> str:
    """Store a file of that name past the checks, and return its path."""
    file = put(app.extensions["services"].storage, name=name, original_name=name, media_type=media_type)
    return f"/{file.key}"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_named_extension_is_served_inline(make_app: Callable[..., Flask], kind: str, method: str) -> None:
    if (kind, method) in (("s3", "HEAD"), ("strict_s3", "HEAD")):
        pytest.skip("neither moto nor LocalStack changes a header field in the response to HEAD; S3 does")
    app = make_app(INLINE_EXTENSIONS="png pdf")
    path = stored_path(app, "a.png", "image/png")
    status, headers = served(app.test_client(), path, method=method)
    assert status == 200
    assert headers["Content-Disposition"] == 'inline; filename="a.png"'
    assert headers["Content-Type"] == "image/png"


def test_every_other_extension_stays_an_attachment(make_app: Callable[..., Flask]) -> None:
    app = make_app(INLINE_EXTENSIONS="png")
    for name, media_type in (("a.jpg", "image/jpeg"), ("a.txt", "text/plain")):
        path = stored_path(app, name, media_type)
        _, headers = served(app.test_client(), path)
        assert headers["Content-Disposition"].startswith("attachment; ")
        assert app.extensions["services"].storage.delete(path.split("/")[2], name)


def test_no_extension_is_inline_by_default(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    for extension, file_type in SHOWABLE.items():
        path = stored_path(app, f"a.{extension}", file_type.media_type)
        response = app.test_client().get(path)
        assert "Cross-Origin-Resource-Policy" not in response.headers
        assert "inline" not in str(response.headers)
        assert "response-content-disposition" not in response.headers.get("Location", "")
        assert app.extensions["services"].storage.delete(path.split("/")[2], f"a.{extension}")


@pytest.mark.parametrize("media_type", ["text/html", "image/svg+xml", "application/octet-stream", "image/jpeg"])
def test_extension_with_another_media_type_stays_an_attachment(make_app: Callable[..., Flask], media_type: str) -> None:
    """An object of an earlier configuration, or one that the owner wrote."""
    app = make_app(INLINE_EXTENSIONS="png")
    _, headers = served(app.test_client(), stored_path(app, "a.png", media_type))
    assert headers["Content-Disposition"] == 'attachment; filename="a.png"'


def test_original_name_is_kept_for_saving(make_app: Callable[..., Flask]) -> None:
    client = make_app(INLINE_EXTENSIONS="png").test_client()
    url = json_of(post(client, (samples.png(), "Grüße.PNG")))["url"]
    _, headers = served(client, urlsplit(url).path)
    assert headers["Content-Disposition"] == "inline; filename=\"Grue.png\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe.PNG"


def test_disposition_on_s3_is_signed(make_app: Callable[..., Flask], kind: str) -> None:
    if kind == "folder":
        pytest.skip("the endpoint itself serves the files of a folder")
    app = make_app(INLINE_EXTENSIONS="png")
    path = stored_path(app, "a.png", "image/png")
    for redirect in (app.test_client().head(path), app.test_client().get(path)):
        query = parse_qs(urlsplit(redirect.headers["Location"]).query)
        assert query["response-content-disposition"] == ['inline; filename="a.png"']
    assert redirect.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    if kind == "strict_s3":
        forged = redirect.headers["Location"].replace("inline", "attachment")
        assert requests.get(forged, timeout=10).status_code == 403


@pytest.mark.parametrize("name", ["a.png", "a.pdf"])
def test_shown_file_is_sandboxed(make_app: Callable[..., Flask], kind: str, name: str) -> None:
    if kind != "folder":
        pytest.skip("S3 sends no policy")
    app = make_app(INLINE_EXTENSIONS="png pdf")
    media_type = SHOWABLE[name.rpartition(".")[2]].media_type
    headers = app.test_client().get(stored_path(app, name, media_type)).headers
    policy = directives(headers)
    assert policy["default-src"] == "'none'"
    assert policy["sandbox"] == ""
    assert "script-src" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("name", ["a.mp4", "a.mp3"])
def test_played_file_keeps_its_origin_and_runs_no_script(make_app: Callable[..., Flask], kind: str, name: str) -> None:
    if kind != "folder":
        pytest.skip("S3 sends no policy")
    app = make_app(INLINE_EXTENSIONS="mp4 mp3")
    media_type = SHOWABLE[name.rpartition(".")[2]].media_type
    policy = directives(app.test_client().get(stored_path(app, name, media_type)).headers)
    assert policy["sandbox"] == "allow-same-origin"
    assert (policy["default-src"], policy["media-src"]) == ("'none'", "'self'")


def test_attachment_keeps_the_strictest_policy(make_app: Callable[..., Flask], kind: str) -> None:
    if kind != "folder":
        pytest.skip("S3 sends no policy")
    app = make_app(INLINE_EXTENSIONS="png")
    headers = app.test_client().get(stored_path(app, "a.txt", "text/plain")).headers
    assert headers["Content-Security-Policy"] == ATTACHMENT_POLICY


@pytest.mark.parametrize(
    ("origins", "framing"),
    [
        ("", "'self'"),
        ("https://example.com http://localhost:3000", "'self' https://example.com http://localhost:3000"),
        ("*", "'self' *"),
    ],
)
def test_pages_of_allowed_sites_may_frame_a_shown_file(
    make_app: Callable[..., Flask], kind: str, origins: str, framing: str
) -> None:
    if kind != "folder":
        pytest.skip("S3 sends no policy")
    app = make_app(INLINE_EXTENSIONS="pdf", ALLOWED_ORIGINS=origins)
    headers = app.test_client().get(stored_path(app, "a.pdf", "application/pdf")).headers
    assert directives(headers)["frame-ancestors"] == framing


FROM_PAGE: dict[str, Any] = {"Sec-Fetch-Dest": "image", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "cross-site"}


def test_page_of_an_allowed_site_shows_an_image(make_app: Callable[..., Flask]) -> None:
    """An ``<img>`` sends no ``Origin``. The server for its own machine reads the site in ``Referer``."""
    app = make_app(INLINE_EXTENSIONS="png", ALLOWED_ORIGINS="https://example.com")
    path = stored_path(app, "a.png", "image/png")
    allowed = app.test_client().get(path, headers=FROM_PAGE | {"Referer": "https://example.com/"})
    assert allowed.status_code in (200, 302)
    for referer in ({}, {"Referer": "https://evil.example/"}):
        assert app.test_client().get(path, headers=FROM_PAGE | referer).status_code == 403


def test_shown_file_is_not_loaded_as_code(make_app: Callable[..., Flask]) -> None:
    app = make_app(INLINE_EXTENSIONS="png")
    path = stored_path(app, "a.png", "image/png")
    for destination in ("script", "style", "worker"):
        assert app.test_client().get(path, headers={"Sec-Fetch-Dest": destination}).status_code == 403


def test_part_of_a_shown_file_is_inline(make_app: Callable[..., Flask], kind: str) -> None:
    if kind != "folder":
        pytest.skip("S3 answers this itself")
    app = make_app(INLINE_EXTENSIONS="mp4")
    path = stored_path(app, "a.mp4", "video/mp4")
    response = app.test_client().get(path, headers={"Range": "bytes=2-4"})
    assert (response.status_code, response.data) == (206, b"me ")
    assert response.headers["Content-Disposition"] == 'inline; filename="a.mp4"'


def directives(headers: Headers) -> dict[str, str]:
    """Return the directives of a Content-Security-Policy."""
    parts = [part.strip().partition(" ") for part in headers["Content-Security-Policy"].split(";")]
    assert len({name for name, _, _ in parts}) == len(parts)
    return {name: value for name, _, value in parts}
