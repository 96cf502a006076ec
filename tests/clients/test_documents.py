"""Snippets of the documents that need a browser or a package of npm. Their pages are of another web site."""

from __future__ import annotations

import importlib.util
import json
import mimetypes
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import pytest
import requests

from handler.web.tokens import mint, verify

from ..docs.servers import SECRET, Endpoint, environment, serve
from ..support import samples
from ..support.documents import ROOT, snippet
from .samples import FAKE, PHOTO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page

    from .samples import File

pytestmark = pytest.mark.clients

HERE = "tests/clients/test_documents.py"
PACKAGES = ROOT / ".npm" / "clients" / "node_modules"
SECONDS = 20
"""How long a page may take to show its result."""


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A server that asks for tokens."""
    with serve(tmp_path_factory.mktemp("endpoint"), token=True) as endpoint:
        yield endpoint


@dataclass
class Visit:
    """A page with a snippet in it.

    :param messages: the texts of its message boxes and of its console, in order.
    """

    page: Page
    messages: list[str] = field(default_factory=list)

    def wait_for_message(self, text: str) -> str:
        """Return the first message that contains this text."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if messages := [message for message in self.messages if text in message]:
                return messages[0]
            self.page.wait_for_timeout(50)
        raise AssertionError(f"no message contains {text!r}: {self.messages}")

    def choose(self, file: File) -> None:
        self.page.set_input_files("input[type=file]", [file])


@dataclass
class Site:
    """Another web site, of one page.

    :param contents: its answers, by path.
    """

    browser: Browser
    origin: str
    contents: dict[str, bytes]

    def open(self, html: str) -> Visit:
        self.contents["/"] = b"<!doctype html><meta charset=utf-8><link rel=icon href=data:,>" + html.encode()
        page = self.browser.new_page()
        visit = Visit(page)

        def on_dialog(dialog: Dialog) -> None:
            visit.messages.append(dialog.message)
            dialog.accept()

        def on_console(message: ConsoleMessage) -> None:
            visit.messages.append(message.text)

        page.on("dialog", on_dialog)
        page.on("console", on_console)
        page.on("pageerror", lambda error: visit.messages.append(f"fault: {error}"))
        page.goto(self.origin)
        return visit

    def open_script(self, script: str) -> Visit:
        """Open a page with a file input, an element called ``app``, and a script."""
        self.contents["/page.mjs"] = f"{script}\nwindow.ready = true;".encode()
        visit = self.open("<input type=file><div id=app></div><script type=module src=/page.mjs></script>")
        visit.page.wait_for_function("() => window.ready")
        return visit


@pytest.fixture
def site(browser: Browser) -> Iterator[Site]:
    contents: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if path not in contents:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", mimetypes.guess_type(path)[0] or "text/html")
            self.send_header("Content-Length", str(len(contents[path])))
            self.end_headers()
            self.wfile.write(contents[path])

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield Site(browser, f"http://localhost:{server.server_port}", contents)
        server.shutdown()


def bundle(script: str, folder: Path, *options: str) -> str:
    """Return a script as one module, with the packages that it imports."""
    if not PACKAGES.is_dir():
        pytest.skip(f"{PACKAGES.relative_to(ROOT)} is missing; make clients brings it with npm")
    (folder / "node_modules").symlink_to(PACKAGES)
    (folder / "script.jsx").write_text(script, encoding="utf-8")
    command = [str(PACKAGES / "esbuild" / "bin" / "esbuild"), "script.jsx", "--bundle", "--format=esm", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def names(endpoint: Endpoint, *, token: str | None = None) -> str:
    """Return the script that defines the names which the documents explain."""
    shown = endpoint.token if token is None else token
    return f'const endpoint = "{endpoint.url}/upload", token = "{shown}";\n'


PLAIN_UPPY = (
    "const uppy = new Uppy().use(AwsS3, { companionEndpoint: `${endpoint}/t/${token}`, shouldUseMultipart: true });\n"
)
"""Uppy, for snippets that expect one."""


def uppy_script(endpoint: Endpoint, script: str, folder: Path, *, token: str | None = None) -> str:
    """Return a script with Uppy's packages, and a function that uploads a file with the script's ``uppy``."""
    imports = (
        "import AwsS3 from '@uppy/aws-s3';\nimport Uppy from '@uppy/core';\nimport Dashboard from '@uppy/dashboard';\n"
    )
    upload = (
        "window.upload = async (name, bytes) => {\n"
        "  uppy.addFile({ name, type: 'image/png', data: new Blob([new Uint8Array(bytes)]) });\n"
        "  await uppy.upload();\n"
        "};\n"
    )
    return bundle(imports + names(endpoint, token=token) + script + upload, folder)


def upload_with_uppy(visit: Visit, file: File) -> None:
    visit.page.evaluate("([name, bytes]) => upload(name, bytes)", [file["name"], list(file["buffer"])])


@pytest.mark.parametrize("name", ["form", "form with a token"])
def test_form_of_the_readme_uploads_a_file(name: str, site: Site, endpoint: Endpoint) -> None:
    visit = site.open(endpoint.filled(snippet(HERE, name)).replace("TOKEN", endpoint.token))
    visit.choose(PHOTO)
    with visit.page.expect_navigation():
        visit.page.click("button")
    assert endpoint.new_files() == ["photo.png"]
    link = visit.page.get_attribute("a[href*='/files/']", "href")
    assert link
    assert requests.get(urljoin(visit.page.url, link), timeout=60).content == PHOTO["buffer"]


def test_fetch_of_the_readme_uploads_a_file(site: Site, endpoint: Endpoint) -> None:
    handler = (
        f"const input = document.querySelector('input');\ninput.onchange = async () => {{{snippet(HERE, 'fetch')}}};"
    )
    visit = site.open_script(names(endpoint) + handler)
    visit.choose(PHOTO)
    visit.wait_for_message(f"Stored: {endpoint.url}/files/")
    visit.choose(FAKE)
    visit.wait_for_message("is not a PNG image")
    assert endpoint.new_files() == ["photo.png"]


def test_uppy_of_the_readme_uploads_a_file(site: Site, endpoint: Endpoint, tmp_path: Path) -> None:
    visit = site.open_script(uppy_script(endpoint, snippet(HERE, "uppy"), tmp_path))
    visit.page.wait_for_selector(".uppy-Dashboard")
    upload_with_uppy(visit, PHOTO)
    visit.wait_for_message(f"Stored: {endpoint.url}/files/")
    assert endpoint.new_files() == ["photo.png"]


@pytest.mark.parametrize(
    ("file", "message"), [(PHOTO, "/files/"), (FAKE, "is not a PNG image")], ids=["stored", "refused"]
)
def test_uppy_reports_stored_and_refused_files(
    file: File, message: str, site: Site, endpoint: Endpoint, tmp_path: Path
) -> None:
    visit = site.open_script(uppy_script(endpoint, PLAIN_UPPY + snippet(HERE, "report"), tmp_path))
    upload_with_uppy(visit, file)
    visit.wait_for_message(message)


def test_token_of_uppy_is_renewed(site: Site, endpoint: Endpoint, tmp_path: Path) -> None:
    new_token = f"const newToken = async () => '{endpoint.token}';\n"
    again = f"window.again = async () => {{\n{snippet(HERE, 'renew')}}};\n"
    visit = site.open_script(uppy_script(endpoint, PLAIN_UPPY + new_token + again, tmp_path, token="expired"))
    upload_with_uppy(visit, PHOTO)
    assert endpoint.new_files() == []
    visit.page.evaluate("() => again()")
    assert endpoint.new_files() == ["photo.png"]


def test_tus_client_uploads_a_file(site: Site, endpoint: Endpoint, tmp_path: Path) -> None:
    imports, _, rest = snippet(HERE, "tus").partition("\n\n")
    change = f"document.querySelector('input').onchange = ({{ target: {{ files: [photo] }} }}) => {{\n{rest}}};\n"
    visit = site.open_script(bundle(imports + names(endpoint).replace(" token ", " TOKEN ") + change, tmp_path))
    visit.choose(PHOTO)
    visit.wait_for_message(f"{endpoint.url}/files/")
    visit.choose(FAKE)
    visit.wait_for_message("is not a PNG image")
    assert endpoint.new_files() == ["photo.png"]


def test_uppy_uploads_a_file_with_tus(site: Site, endpoint: Endpoint, tmp_path: Path) -> None:
    script = "const TOKEN = token, uppy = new Uppy();\n" + snippet(HERE, "Uppy with tus")
    visit = site.open_script(uppy_script(endpoint, script, tmp_path))
    upload_with_uppy(visit, PHOTO)
    assert endpoint.new_files() == ["photo.png"]


def test_tuspy_uploads_a_file(endpoint: Endpoint, tmp_path: Path) -> None:
    if importlib.util.find_spec("tusclient") is None:
        pytest.skip("tuspy is not installed; make clients brings it")
    (tmp_path / "photo.jpg").write_bytes(samples.JPEG)
    script = f"endpoint, TOKEN = {endpoint.url + '/upload'!r}, {endpoint.token!r}\n{snippet(HERE, 'tuspy')}"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    assert f"{endpoint.url}/files/" in done.stdout
    assert endpoint.new_files() == ["photo.jpg"]


def test_react_recipe_uploads_a_file(site: Site, endpoint: Endpoint, tmp_path: Path) -> None:
    """Preact runs it, under React's names."""
    mount = "render(createElement(Upload, { endpoint, token }), document.querySelector('#app'));\n"
    script = "import { createElement, render } from 'preact';\n" + snippet(HERE, "react") + names(endpoint) + mount
    options = ("--jsx=automatic", "--jsx-import-source=preact", "--alias:react=preact/compat")
    visit = site.open_script(bundle(script, tmp_path, *options))
    visit.page.set_input_files("#app input", [PHOTO])
    visit.page.get_by_text("Stored photo.png.").wait_for()
    visit.page.set_input_files("#app input", [FAKE])
    visit.page.get_by_text("is not a PNG image").wait_for()
    assert endpoint.new_files() == ["photo.png"]


def test_stored_image_is_shown(site: Site, endpoint: Endpoint) -> None:
    headers = {"Authorization": f"Bearer {endpoint.token}"}
    url = requests.put(f"{endpoint.url}/upload/photo.png", data=PHOTO["buffer"], headers=headers, timeout=60).json()[
        "url"
    ]
    html = snippet(HERE, "img")
    documented = html.partition('src="')[2].partition('"')[0]
    visit = site.open(html.replace(documented, url))
    visit.page.wait_for_function("() => document.querySelector('img').naturalWidth === 320")


VERIFY_RECEIPTS = """
import jwt from "jsonwebtoken";
import { readFileSync } from "node:fs";

const results = JSON.parse(readFileSync(0)).map((token) => {
  try {
    return jwt.verify(token, process.env.TOKEN_SECRET, { algorithms: ["HS256"], audience: "receipt" });
  } catch (error) {
    return error.message;
  }
});
console.log(JSON.stringify(results));
"""


def test_jsonwebtoken_verifies_receipts_and_no_upload_token(endpoint: Endpoint, tmp_path: Path) -> None:
    headers = {"Authorization": f"Bearer {mint(SECRET, expires_seconds=60, subject='user-7', meta={'order': 7})}"}
    response = requests.put(f"{endpoint.url}/upload/photo.png", data=PHOTO["buffer"], headers=headers, timeout=60)
    (file,) = response.json()["files"]
    forged = mint("another secret of at least 32 bytes!", expires_seconds=60)
    (tmp_path / "verify.mjs").write_text(bundle(VERIFY_RECEIPTS, tmp_path, "--platform=node", BANNER), encoding="utf-8")
    done = subprocess.run(
        ["node", "verify.mjs"],
        input=json.dumps([file["receipt"], headers["Authorization"].removeprefix("Bearer "), forged]),
        cwd=tmp_path, env=environment(TOKEN_SECRET=SECRET), capture_output=True, text=True, check=True,
    )  # fmt: skip
    claims, *errors = json.loads(done.stdout)
    assert {name: claims[name] for name in ("id", "name", "size", "url", "stored")} == {
        name: file[name] for name in ("id", "name", "size", "url", "stored")
    }
    assert (claims["sub"], claims["meta"]) == ("user-7", {"order": 7})
    assert errors == ["jwt audience invalid. expected: receipt", "invalid signature"]


BANNER = "--banner:js=import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);"
"""jsonwebtoken is CommonJS, and esbuild's modules have no ``require`` of their own."""


def test_token_made_by_node_is_accepted(tmp_path: Path) -> None:
    script = bundle(f"{snippet(HERE, 'token')}console.log(token);", tmp_path, "--platform=node")
    done = subprocess.run(
        ["node", "--input-type=module"],
        input=script, env=environment(TOKEN_SECRET=SECRET), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert verify(done.stdout.strip(), secrets=[SECRET]).scopes == {"upload"}
