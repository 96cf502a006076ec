"""The upload page as it is served: its weight, its policy, its addresses. The tests of its behaviour are in page/."""

from __future__ import annotations

import gzip
import re
import shutil
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from handler.gateway import make_handler
from handler.routes import page

from ..support.direct_client import DirectClient
from ..support.documents import section
from ..support.gateway_events import Reply, read_payload_1, rest_event
from ..support.lambda_runtime import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask import Flask
    from flask.testing import FlaskClient

MAX_KILOBYTES = 17
"""Of the page and all that it is made of, as a browser is sent them."""


def addresses(html: str) -> list[str]:
    return re.findall(r'(?:href|src|action)="([^"]*)"', html)


def directives(response: Any) -> dict[str, list[str]]:
    policy = response.headers["Content-Security-Policy"]
    return {words[0]: words[1:] for words in map(str.split, policy.split(";"))}


def test_it_is_small(make_app: Callable[..., Flask]) -> None:
    client = make_app(TOKEN_SECRET=SECRET).test_client()  # as deployed: with a field for the token
    answers = [client.get("/")]
    for address in addresses(answers[0].text):
        if "/static/" in address:
            answers.append(client.get(address, headers={"Accept-Encoding": "gzip, deflate, br"}))
            assert answers[-1].headers["Content-Encoding"] == "gzip"
    assert len(answers) == 1 + len(list(page.STATIC.iterdir()))
    assert sum(len(answer.data) for answer in answers) < MAX_KILOBYTES * 1000
    assert f"under {MAX_KILOBYTES} KB as sent" in section("docs/uploading.md", "The upload page")


def test_what_it_is_made_of_may_be_kept_for_ever(client: FlaskClient) -> None:
    for address in set(addresses(client.get("/").text)) - {"/upload"}:
        plain, packed = client.get(address), client.get(address, headers={"Accept-Encoding": "gzip"})
        source = (page.STATIC / address.rpartition("/")[2]).read_bytes()
        assert plain.data == gzip.decompress(packed.data) == source
        assert "Content-Encoding" not in plain.headers
        for response in (plain, packed):
            assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert response.headers["Vary"] == "Accept-Encoding"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.mimetype == page.MEDIA_TYPES["." + address.rpartition(".")[2]]


def test_an_address_stands_for_one_content_only(client: FlaskClient) -> None:
    address = addresses(client.get("/").text)[0]
    version = address.split("/")[2]
    assert client.get(address.replace(version, "0" * 16)).status_code == 404
    assert client.get(f"/static/{version}/page.html").status_code == 404
    assert client.get(f"/static/{version}/..%2fpage.py").status_code == 404
    assert client.get(f"/static/{version}/").status_code == 404


def test_another_content_has_another_address(
    client: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = addresses(client.get("/").text)
    copy = tmp_path / "static"
    shutil.copytree(page.STATIC, copy)
    (copy / "http.js").write_text("// another")
    monkeypatch.setattr(page, "STATIC", copy)
    page._read.cache_clear()
    after = addresses(client.get("/").text)
    page._read.cache_clear()
    assert len(after) == len(before)
    assert set(after) & set(before) == {"/upload"}  # a module that imports it by a relative name has moved with it


def test_it_passes_through_the_gateway(make_app: Callable[..., Flask]) -> None:
    handle = make_handler(make_app(ACCESS="public"))

    def get(path: str) -> Reply:
        event = rest_event(path=path, stage="live", headers=[("Accept-Encoding", "gzip, deflate, br")])
        return read_payload_1(handle(event, None))

    statics = [address for address in addresses(get("/").body.decode()) if address.startswith("/live/static/")]
    assert len(statics) == len(list(page.STATIC.iterdir()))
    for address in statics:
        reply = get(address.removeprefix("/live"))
        assert reply.status == 200
        assert gzip.decompress(reply.body) == (page.STATIC / address.rpartition("/")[2]).read_bytes()


def test_all_its_addresses_are_below_the_stage(client: FlaskClient) -> None:
    for path in ("/", ""):  # /live/ and /live
        html = client.get(path, environ_overrides={"SCRIPT_NAME": "/live"}).text
        assert addresses(html)
        assert all(re.match("/live/(static/|upload$)", address) for address in addresses(html))


def test_it_asks_nobody_else_for_anything() -> None:
    for path in page.STATIC.iterdir():
        found = set(re.findall(r"https?://[^\s\"'`)]+", path.read_text(encoding="utf-8")))
        assert found <= {"http://www.w3.org/2000/svg"}, path.name  # a name, not an address


def test_its_modules_are_asked_for_at_once(client: FlaskClient) -> None:
    html = client.get("/").text
    modules = {path.name for path in page.STATIC.glob("*.js")}
    assert set(re.findall(r'rel="modulepreload" href="[^"]*/([^"/]+)"', html)) == modules - {"page.js"}
    for module in modules:
        source = (page.STATIC / module).read_text(encoding="utf-8")
        assert set(re.findall(r'from "\./([^"]+)"', source)) <= modules


def test_its_policy_lets_nothing_in(client: FlaskClient) -> None:
    response = client.get("/")
    policy = directives(response)
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == ["'none'"]
    for directive in ("script-src", "style-src", "img-src", "form-action"):
        assert policy[directive] == ["'self'"]
    assert policy["require-trusted-types-for"] == ["'script'"]
    # And nothing in the page needs more.
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", response.text)
    assert re.findall(r"<script[^>]*", response.text) == re.findall(r'<script type="module" src="[^"]+"', response.text)


def test_its_policy_names_where_large_files_go(client: FlaskClient, kind: str) -> None:
    direct = DirectClient(client=client)
    url = urlsplit((direct.part_url(direct.begun("a.png"), 1).json or {})["url"])
    origin = "'self'" if kind == "folder" else f"{url.scheme}://{url.netloc}"
    assert directives(client.get("/"))["connect-src"] == list(dict.fromkeys(["'self'", origin]))


def test_the_other_pages_have_styles_and_no_scripts(client: FlaskClient) -> None:
    response = client.post("/upload", data={"file": "no file"}, headers={"Accept": "text/html"})
    policy = directives(response)
    assert "script-src" not in policy
    assert policy["default-src"] == ["'none'"]
    assert policy["style-src"] == policy["img-src"] == policy["form-action"] == ["'self'"]
    assert client.get(re.findall(r'rel="stylesheet" href="([^"]+)"', response.text)[0]).mimetype == "text/css"


def test_it_asks_for_a_token_where_one_is_needed(make_app: Callable[..., Flask]) -> None:
    field = 'type="password" name="token" required'
    html = make_app(TOKEN_SECRET=SECRET).test_client().get("/").text
    # Before the files: in a form without scripts it has to come first.
    assert 0 < html.index(field) < html.index('name="file"')
    for environ in ({}, {"ACCESS": "public"}, {"ACCESS": "public", "TOKEN_SECRET": SECRET}):
        assert field not in make_app(**environ).test_client().get("/").text


def test_where_nobody_may_upload_it_says_so(make_app: Callable[..., Flask]) -> None:
    response = (
        make_app(AWS_LAMBDA_FUNCTION_NAME="f", AWS_SAM_LOCAL="true")
        .test_client()
        .get("/", headers={"Accept": "text/html"})
    )
    assert response.status_code == 403
    assert "TOKEN_SECRET" in response.text


def test_it_moves_for_nobody_who_would_rather_it_did_not() -> None:
    style = (page.STATIC / "page.css").read_text(encoding="utf-8")
    still = re.sub(r"@media \(prefers-reduced-motion: no-preference\) \{\n(.*\n)*?\}\n", "", style)
    assert still != style
    assert not re.search("transition|animation", still)
