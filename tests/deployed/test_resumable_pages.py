"""Unmodified clients in Chromium upload to the deployed stack, through Lambda.

The pages are at another origin, so the API's CORS rules apply. Only in the emulated AWS: the stack there allows this
origin, and Chromium is told where the hosts are.
"""

from __future__ import annotations

import shutil
import ssl
import threading
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from ..support import chromium
from ..support.client_pages import PageServer, bundle_pages
from ..support.resumable_files import KIB, MIB, file_of, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from .conftest import Deployed, Emulated

pytestmark = [pytest.mark.deployed, pytest.mark.clients]

ORIGIN = "https://example.com"
"""The origin of the pages. ../shared/tools/emulated-aws deploys the stack with it as one of the AllowedOrigins."""
MILLISECONDS = 60_000


@dataclass(frozen=True)
class Widget:
    """A client in a page.

    :param page: the name of the page.
    :param query: its options, with the size of a piece in bytes.
    :param error: selects the element with the reason of a refusal; empty for a message box after a click on
        ``details``.
    """

    name: str
    page: str
    query: str
    error: str = "#error"
    input: str = "input[type=file] >> nth=0"
    details: str = ".uppy-StatusBar-details"


WIDGETS = [
    Widget("tus-js-client 4", "tus", "chunk=4194304&major=4"),
    Widget("tus-js-client 5, with the IETF draft", "tus", "chunk=4194304&major=5&protocol=ietf-draft-05"),
    Widget("Uppy", "uppy-tus", "chunk=4194304", error="", input="input.uppy-Dashboard-input >> nth=0"),
    Widget("FilePond", "filepond-pieces", "chunk=4000000", error=".filepond--file-status-main"),
    Widget("Dropzone", "dropzone-pieces", "chunk=4000000", error=".dz-error-message"),
    Widget("Dropzone, parallel", "dropzone-pieces", "chunk=4000000&parallel", error=".dz-error-message"),
]


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


@pytest.fixture(params=WIDGETS, ids=[widget.name for widget in WIDGETS])
def widget(request: pytest.FixtureRequest) -> Widget:
    widget: Widget = request.param
    return widget


@pytest.fixture
def send(widget: Widget, page: Page) -> Callable[[Path], dict[str, Any]]:
    """Chooses a file in a client, and returns the client's result."""

    def choose(path: Path) -> dict[str, Any]:
        page.goto(f"{ORIGIN}/{widget.page}.html?{widget.query}")
        page.set_input_files(widget.input, path)
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
    response = deployed.send("GET", result["url"]).json() if "url" in result else result["body"]
    if set(response) == {"id", "status"}:  # the id of a file that FilePond sent in one request
        (stored,) = deployed.stored(response["id"])
        url = f"{deployed.root}{stored['Key']}"
    else:
        url = file_of(response)["url"]
    redirect = deployed.send("GET", url)
    assert redirect.status_code == 302
    assert deployed.send("GET", redirect.headers["Location"]).content == content


def test_refused_content_shows_our_sentence_in_the_page(
    widget: Widget, send: Callable[[Path], dict[str, Any]], deployed: Deployed, page: Page, tmp_path: Path
) -> None:
    content = b"<!doctype html><script>alert(1)</script>"
    plain = deployed.send("PUT", f"{deployed.endpoint}/photo.png", data=content)
    detail = plain.json()["detail"]
    assert "error" in send(file(tmp_path, "photo.png", content))
    if widget.error:
        page.locator(widget.error, has_text=detail).first.wait_for(state="attached")
        return
    with page.expect_event("dialog") as dialog:
        page.on("dialog", lambda shown: shown.accept())
        page.click(widget.details)
    assert detail in dialog.value.message
