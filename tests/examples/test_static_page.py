"""The static page and its token endpoint, with a login provider of the test's own."""

from __future__ import annotations

import base64
import hmac
import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ..clients.samples import FAKE, PHOTO
from ..docs.servers import environment
from ..support import page_server
from ..support.documents import ROOT
from .processes import commands, free_ports, python_lines, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

EXAMPLE = ROOT / "docs" / "examples" / "static_page"
CLIENT = "the client id of the page"
SECONDS = 60
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PUBLIC_PEM = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


class Provider(page_server.PageHandler):
    """Publishes the provider's public key, as Cognito and Auth0 do."""

    def answer(self, path: str) -> None:
        if path != "/.well-known/jwks.json":
            self.send_error(404)
            return
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key())) | {"kid": "1", "use": "sig"}
        self.send("application/json", json.dumps({"keys": [key]}).encode())


@dataclass(frozen=True)
class Site:
    """The page, its token endpoint and the upload endpoint, all running.

    :param issuer: the URL of the login provider.
    """

    issuer: str
    page: str
    token_endpoint: str
    endpoint: str
    folder: Path

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Return the claims of an ID token. ``None`` removes a claim."""
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "sub": "auth0|17", "iat": now, "exp": now + 60} | changed
        return {name: value for name, value in claims.items() if value is not None}

    def id_token(self, **changed: Any) -> str:
        return jwt.encode(self.claims(**changed), KEY, "RS256", {"kid": "1"})

    def trade(self, id_token: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {id_token}"}
        return requests.post(self.token_endpoint, headers=headers, timeout=SECONDS)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    token_port, endpoint_port, page_port = free_ports(3)
    page = f"http://127.0.0.1:{page_port}"
    token_endpoint = f"http://127.0.0.1:{token_port}/upload-token"
    endpoint = f"http://127.0.0.1:{endpoint_port}/upload"
    (folder / "page").mkdir()
    html = (EXAMPLE / "index.html").read_text(encoding="utf-8")
    for documented, actual in (
        ("http://127.0.0.1:8000/upload", endpoint),
        ("http://127.0.0.1:5000/upload-token", token_endpoint),
    ):
        assert documented in html
        html = html.replace(documented, actual)
    (folder / "page" / "index.html").write_text(html, encoding="utf-8")
    with page_server.serve(Provider) as issuer:
        script = re.sub(r"ISSUER=\S+ CLIENT_ID=\S+", f"ISSUER={issuer} CLIENT_ID='{CLIENT}'", commands("static_page"))
        assert issuer in script
        with run(
            script,
            log=folder / "log",
            replacements=python_lines(endpoint_port, folder / "uploads")
            | {
                "127.0.0.1:3000": f"127.0.0.1:{page_port}",
                "http.server 3000": f"http.server {page_port}",
                "-d docs/examples/static_page": f"-d {folder}/page",
                "python docs": f"PORT={token_port} {sys.executable} docs",
            },
            waits_for=[endpoint, token_endpoint, page],
        ):
            yield Site(issuer, page, token_endpoint, endpoint, folder / "uploads")


def upload(site: Site, token: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"}
    files = {"file": (PHOTO["name"], PHOTO["buffer"])}
    response = requests.post(site.endpoint, files=files, headers=headers, timeout=SECONDS)
    assert response.status_code == 201, response.text
    entry: dict[str, Any] = response.json()["files"][0]
    return entry


def test_login_is_traded_for_an_upload_token(site: Site) -> None:
    response = site.trade(site.id_token())
    assert response.headers["Access-Control-Allow-Origin"] == site.page
    entry = upload(site, response.json()["token"])
    assert entry["subject"] == "auth0|17"
    assert re.fullmatch(r"[0-9a-f]{32}", entry["folder"])
    other = upload(site, site.trade(site.id_token(sub="auth0|18")).json()["token"])
    assert other["folder"] != entry["folder"]


def test_preflight_allows_the_site(site: Site) -> None:
    headers = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    response = requests.options(site.token_endpoint, headers=headers, timeout=SECONDS)
    assert response.ok
    assert response.headers["Access-Control-Allow-Headers"].lower() == "authorization"


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "another client"},
        {"aud": None},
        {"iss": "https://example.com/"},
        {"iss": None},
        {"exp": 1},
        {"exp": None},
        {"sub": None},
    ],
    ids=str,
)
def test_invalid_claims_are_refused(site: Site, changed: dict[str, Any]) -> None:
    assert site.trade(site.id_token(**changed)).status_code == 401


def signed_with_public_key(claims: dict[str, Any]) -> str:
    """Return an ID token whose HS256 secret is the public key. PyJWT does not make such a token."""
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "kid": "1"}, claims)]
    content = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = base64.urlsafe_b64encode(hmac.digest(PUBLIC_PEM, content, "sha256")).rstrip(b"=")
    return f"{content.decode()}.{signature.decode()}"


def test_forged_logins_are_refused(site: Site) -> None:
    claims = site.claims()
    header = {"kid": "1"}
    unsigned = jwt.encode(claims, "", "none", header)
    confused = signed_with_public_key(claims)
    forged = [jwt.encode(claims, OTHER_KEY, "RS256", header), jwt.encode(claims, KEY, "RS256", {"kid": "2"})]
    for id_token in (*forged, unsigned, confused, "", "nothing"):
        assert site.trade(id_token).status_code == 401, id_token


def test_lambda_function_trades_too(site: Site) -> None:
    program = (
        "import json, sys, token_endpoint\n"
        "for authorization in sys.argv[1:]:\n"
        "    event = {'headers': {'authorization': authorization}}\n"
        "    print(json.dumps(token_endpoint.lambda_handler(event, None)))\n"
    )
    variables = {"ISSUER": site.issuer, "CLIENT_ID": CLIENT, "SITE": site.page, "TOKEN_SECRET": "s" * 32}
    done = subprocess.run(
        [sys.executable, "-c", program, f"Bearer {site.id_token()}", f"Bearer {site.id_token(exp=1)}", ""],
        cwd=EXAMPLE, env=environment(**variables), capture_output=True, text=True, check=True,
    )  # fmt: skip
    traded, expired, without = map(json.loads, done.stdout.splitlines())
    assert jwt.decode(traded["token"], "s" * 32, ["HS256"])["sub"] == "auth0|17"
    assert expired == without == {"statusCode": 401}


@pytest.mark.clients
def test_page_uploads(site: Site, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(site.page)
    page.set_input_files("input", [PHOTO])
    page.get_by_text("Sign in again.").wait_for()
    page.evaluate("(token) => sessionStorage.setItem('id_token', token)", site.id_token())
    page.set_input_files("input", [FAKE])
    page.get_by_text("is not a PNG image").wait_for()
    page.set_input_files("input", [PHOTO])
    page.get_by_text("Stored photo.png.").wait_for()
    page.close()
