"""Unmodified clients in Chromium upload to the deployed stack, through Lambda: tus-js-client, Uppy with its Dashboard.

The pages are at another origin, so the API's CORS rules apply. Only in the emulated AWS: the stack there allows this
origin, and Chromium is told where the hosts are.
"""

from __future__ import annotations

import shutil
import ssl
import threading
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from ..clients.conftest import PageServer, bundle_pages
from ..support import chromium
from ..support.resumable_files import KIB, MIB, file_of, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from .conftest import Deployed, Emulated

pytestmark = [pytest.mark.deployed, pytest.mark.clients]

ORIGIN = "https://example.com"
"""The origin of the pages. ../shared/tools/emulated-aws deploys the stack with it as one of the AllowedOrigins."""
CHUNK_BYTES = 4 * MIB
MILLISECONDS = 60_000
DASHBOARD = "input.uppy-Dashboard-input >> nth=0"
CLIENTS = {
    "tus-js-client 4": ("tus", "&major=4", "input[type=file]"),
    "tus-js-client 5, with the IETF draft": ("tus", "&major=5&protocol=ietf-draft-05", "input[type=file]"),
    "Uppy": ("uppy-tus", "", DASHBOARD),
}
"""The page of each client, its options, and its input for files."""


@pytest.fixture
def site(emulated: Emulated, tmp_path: Path) -> Iterator[int]:
    """The port of a site with the pages, which speaks TLS."""
    bundle_pages(tmp_path)
    certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.load_cert_chain(emulated.folder / "server.pem")
    with ThreadingHTTPServer(("127.0.0.1", 0), PageServer) as server:
        server.socket = certificate.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def page(deployed: Deployed, site: int) -> Iterator[Page]:
    """A tab that sends the token with every request."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is missing; make clients brings it")
    executable = shutil.which("chromium")
    if not executable:
        pytest.skip("there is no chromium on the PATH; .ci/run installs it")
    PageServer.endpoint = deployed.endpoint
    hosts = f"MAP example.com:443 127.0.0.1:{site}, MAP *.amazonaws.com:443 127.0.0.1:{deployed.port}"
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(
            executable_path=executable, args=[*chromium.OPTIONS, f"--host-resolver-rules={hosts}"]
        )
        # No route: Playwright would answer the preflights itself.
        page = browser.new_page(
            ignore_https_errors=True, extra_http_headers={"Authorization": f"Bearer {deployed.token}"}
        )
        page.set_default_timeout(MILLISECONDS)
        page.on("console", lambda message: print(message.text))  # pytest shows it where the test fails
        yield page
        browser.close()


@pytest.fixture(params=CLIENTS)
def send(request: pytest.FixtureRequest, page: Page) -> Callable[[Path], dict[str, Any]]:
    """Chooses a file in a client, and returns the client's result."""
    name, query, field = CLIENTS[request.param]

    def choose(path: Path) -> dict[str, Any]:
        page.goto(f"{ORIGIN}/{name}.html?chunk={CHUNK_BYTES}{query}")
        page.set_input_files(field, path)
        page.wait_for_function("() => results.length")
        found: dict[str, Any] = page.evaluate("() => results[0]")
        return found

    return choose


def file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("size", [pytest.param(20 * KIB, id="20 KB"), pytest.param(9 * MIB, id="9 MB")])
def test_page_uploads_a_file_through_lambda(
    send: Callable[[Path], dict[str, Any]], deployed: Deployed, tmp_path: Path, size: int
) -> None:
    content = text(size)
    result = send(file(tmp_path, "notes.txt", content))
    assert "error" not in result, result
    entry = file_of(deployed.send("GET", result["url"]).json())
    redirect = deployed.send("GET", entry["url"])
    assert redirect.status_code == 302
    assert deployed.send("GET", redirect.headers["Location"]).content == content


def test_refused_content_fails_in_the_page(
    send: Callable[[Path], dict[str, Any]], deployed: Deployed, page: Page, tmp_path: Path
) -> None:
    content = b"<!doctype html><script>alert(1)</script>"
    plain = deployed.send("PUT", f"{deployed.endpoint}/photo.png", data=content)
    assert "error" in send(file(tmp_path, "photo.png", content))
    detail = plain.json()["detail"]
    if page.query_selector("#error"):
        assert page.inner_text("#error") == detail
    else:  # Uppy shows the sentence in a message box
        with page.expect_event("dialog") as dialog:
            page.on("dialog", lambda shown: shown.accept())
            page.click(".uppy-StatusBar-details")
        assert detail in dialog.value.message
